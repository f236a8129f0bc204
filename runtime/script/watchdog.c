/* Stopping a script that does not stop by itself.
 *
 *   a thread that runs scripts                     the watchdog's thread
 *
 *              begin         ae__call                asleep ◄──┐
 *   OUTSIDE ─────────► HOST ─────────► LUA             │ begin │ nothing ran
 *    ▲  ▲               │ ▲             │ ▲            ▼       │ for a while
 *    │  └───── end ─────┘ └── returns, ─┘ │          looking ──┘
 *    │                        raises,     │            │ call n used its limit
 *    │                        calls a ────┘            ▼
 *    │                        host function          CONDEMNED n: signals the
 *    │                                                 thread until its call
 *    └──── a jump: from LUA by the signal ◄─────── is another
 *                      from HOST by a poll
 *
 *   transition            function
 *   OUTSIDE ⇄ HOST        ae__watched_begin, _end
 *   HOST ⇄ LUA            AE__LUA_MODE, AE__HOST_MODE
 *   seen → CONDEMNED      look
 *   LUA → OUTSIDE         on_signal → ae__watchdog_leave
 *   HOST → OUTSIDE        ae__poll → ae__watchdog_leave
 *
 * Invariants
 * 1. `call` is odd exactly from begin to end, and grows with each handler: a
 *    number names one call of one handler on one thread for ever.
 * 2. `condemned` is only ever a number that was seen in `call`, whose handler
 *    had taken its limit of the thread's CPU time since then. So a process that
 *    is stopped, swapped out or short of CPU does not use up a limit.
 * 3. The signal leaves a call only in LUA, and only where `call` is the one
 *    condemned; one that comes late does nothing.
 * 4. In LUA no frame of the host holds memory, a lock or a half-changed
 *    structure. The host's code that may run then is the allocator of the
 *    state's region, which goes with the state.
 * 5. Neither is it left inside another library: libgcc's unwinder holds a lock
 *    while it looks for a frame, libc and the dynamic linker have theirs. Only
 *    in LuaJIT's own code, the machine code it made, the program's, libm (which
 *    may change the rounding: it is set back) and those leaf functions of libc
 *    that LuaJIT is in for long, where it was LuaJIT that called them: the
 *    unwinder calls some too. Elsewhere the signal returns, and the next one
 *    comes soon.
 * 6. The signal is blocked while it is handled: a second one would find this
 *    program's code interrupted, whatever the first one interrupted. After a
 *    jump it is unblocked again, so that entering a script saves no mask and
 *    needs no system call.
 * 7. After the jump nothing looks into the state again; the region is given
 *    back whole.
 */
#define _GNU_SOURCE /* dl_iterate_phdr, REG_RIP, thread names */
#include "script/watchdog.h"

#include <dlfcn.h>
#include <link.h>
#include <lua.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/mem.h"

/* ThreadSanitizer keeps signals back until a call into libc, except those that
 * a fault would raise. */
#if defined(__SANITIZE_THREAD__)
#define SIGNAL SIGTRAP
#define SANITIZED 1
#else
#define SIGNAL SIGURG
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#endif

#define MS 1000000            /* ns */
#define LOOK (4 * MS)         /* between two looks, at most */
#define SOON (MS / 2)         /* at least */
#define HURRY (MS / 10)       /* between the first signals to one call */
#define HURRIED 100           /* of them; then every */
#define SIGNAL_EVERY (2 * MS) /* in case it is in the host's mode */
#define QUIET 25              /* looks without a call, then it sleeps */
#define SLEEP ((uint64_t)1000 * MS)

_Thread_local ae__watched ae__here;
_Atomic bool ae__watchdog_asleep;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake; /* of the watchdog; CLOCK_MONOTONIC */
  unsigned holds;
  bool running; /* there is a thread */
  bool stop;    /* it is to end */
  pthread_t thread;
  ae__watched *first; /* listed threads */
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* -- where a call may be left -- */

typedef struct range {
  uintptr_t from, to;
} range;

#define RANGES 256
static range forbidden[RANGES]; /* code of other libraries */
static size_t nforbidden;
static range leaves[8]; /* functions among them that hold nothing */
static size_t nleaves;
static bool no_leaving; /* libraries could not be told apart */

static bool within(const range *ranges, size_t count, uintptr_t at) {
  for (size_t i = 0; i < count; i++)
    if (at >= ranges[i].from && at < ranges[i].to) return true;
  return false;
}

static int add_library(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  const uintptr_t ours[] = {(uintptr_t)(void *)lua_newstate,
                            (uintptr_t)(void *)add_library,
                            (uintptr_t)(void *)(double (*)(double))floor};
  range code[RANGES];
  size_t count = 0;
  bool allowed = false, libc = false;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    uintptr_t from = info->dlpi_addr + part->p_vaddr;
    range it = {from, from + part->p_memsz};
    for (size_t n = 0; n < sizeof ours / sizeof *ours; n++)
      allowed = allowed || within(&it, 1, ours[n]);
    libc = libc || within(&it, 1, (uintptr_t)(void *)malloc);
    if (count < RANGES) code[count++] = it;
  }
  if (allowed && !libc) return 0;
  if (nforbidden + count > RANGES) *(bool *)data = true;
  for (size_t i = 0; i < count && nforbidden < RANGES; i++)
    forbidden[nforbidden++] = code[i];
  return 0;
}

#if !SANITIZED
/* libgcc's, in no header: the frame description of the function around `pc`,
 * from which its length can be read. */
struct bases {
  void *text, *data, *function;
};
extern const void *_Unwind_Find_FDE(void *pc, struct bases *bases);

/* With the encoding that all of libc has on this machine: 32 bits, relative. */
static void add_leaf(void *function) {
  struct bases bases;
  const uint8_t *fde = _Unwind_Find_FDE(function, &bases);
  if (!fde || nleaves == sizeof leaves / sizeof *leaves) return;
  int32_t to_cie, begin;
  uint32_t length;
  memcpy(&to_cie, fde + 4, 4);
  memcpy(&begin, fde + 8, 4);
  memcpy(&length, fde + 12, 4);
  const uint8_t *cie = fde + 4 - to_cie;
  const char *augmentation = (const char *)cie + 9;
  uintptr_t from = (uintptr_t)(fde + 8) + (uintptr_t)(intptr_t)begin;
  if (augmentation[0] != 'z' || from != (uintptr_t)bases.function) return;
  if ((uintptr_t)function < from || (uintptr_t)function >= from + length)
    return;
  leaves[nleaves++] = (range){from, from + length};
}

static void add_leaves(void) {
  void *functions[] = {memcpy, memmove, memset, memcmp, memchr};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    add_leaf(functions[i]);
}
#endif

static void find_code(void) {
  dl_iterate_phdr(add_library, &no_leaving);
#if !SANITIZED
  add_leaves();
#endif
}

typedef struct place {
  uintptr_t at;     /* the instruction */
  uintptr_t caller; /* of a function that has no frame of its own */
} place;

static place interrupted(const void *context) {
  const ucontext_t *at = context;
#if defined(__x86_64__)
  const greg_t *regs = at->uc_mcontext.gregs;
  return (place){(uintptr_t)regs[REG_RIP], *(uintptr_t *)regs[REG_RSP]};
#elif defined(__aarch64__)
  return (place){(uintptr_t)at->uc_mcontext.pc,
                 (uintptr_t)at->uc_mcontext.regs[30]};
#else
#error "where does a ucontext_t of this machine keep the program counter?"
#endif
}

/* Runs in the handler: reads only what was there before the first call. */
static bool may_leave(place it) {
  if (no_leaving) return false;
  if (within(leaves, nleaves, it.at)) it.at = it.caller;
  return !within(forbidden, nforbidden, it.at);
}

/* -- the thread that is watched -- */

void ae__watchdog_leave(void) {
  ae__here.lua = 0;
  AE__JUMP(ae__here.jump);
}

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  const ae__watched *here = &ae__here;
  uint64_t call = atomic_load_explicit(&here->call, memory_order_relaxed);
  if (!(call & 1) || !here->lua || !ae__watched_late()) return;
  if (may_leave(interrupted(context))) ae__watchdog_leave();
}

static pthread_key_t at_end;

static void unlist(void *watched) {
  ae__watched *here = watched;
  pthread_mutex_lock(&dog.lock);
  ae__watched **link = &dog.first;
  while (*link != here) link = &(*link)->next;
  *link = here->next;
  here->listed = false;
  pthread_mutex_unlock(&dog.lock);
}

/* A child of fork has neither the watchdog's thread nor this one's clock. */
static void forked(void) {
  dog.first = NULL;
  ae__here.listed = false;
}

static void set_up(void) {
  find_code();
  AE_ASSERT_CMP(pthread_atfork(NULL, NULL, forked), ==, 0);
  AE_ASSERT_CMP(pthread_key_create(&at_end, unlist), ==, 0);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&dog.wake, &monotonic);
  pthread_condattr_destroy(&monotonic);
  struct sigaction action = {.sa_sigaction = on_signal,
                             .sa_flags = SA_SIGINFO | SA_RESTART};
  sigemptyset(&action.sa_mask);
  AE_ASSERT_CMP(sigaction(SIGNAL, &action, NULL), ==, 0);
}

static void unblock(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGNAL);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static uint64_t ns_of(clockid_t clock) {
  struct timespec now = {0};
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t ae__watchdog_left(void) {
  ae__watched *here = &ae__here;
  unblock();
  atomic_load_explicit(&here->condemned, memory_order_acquire);
  return ns_of(here->clock) -
         atomic_load_explicit(&here->since, memory_order_relaxed);
}

void ae__watchdog_list(void) {
  ae__watched *here = &ae__here;
  here->thread = pthread_self();
  AE_ASSERT_CMP(pthread_getcpuclockid(here->thread, &here->clock), ==, 0);
  unblock(); /* a thread may be born with it blocked */
  pthread_setspecific(at_end, here);
  pthread_mutex_lock(&dog.lock);
  here->next = dog.first;
  dog.first = here;
  here->listed = true;
  pthread_mutex_unlock(&dog.lock);
}

/* -- the watchdog -- */

/* ns until the next look at it; 0: it runs nothing new. */
static uint64_t look(ae__watched *it) {
  uint64_t call = atomic_load_explicit(&it->call, memory_order_acquire);
  uint64_t limit = atomic_load_explicit(&it->limit, memory_order_relaxed);
  if (call != it->seen) {
    it->seen = call;
    it->signals = 0;
    if (call & 1) it->seen_at = ns_of(it->clock);
    return LOOK;
  }
  if (!(call & 1)) return 0;
  uint64_t used = ns_of(it->clock) - it->seen_at;
  if (used < limit) {
    uint64_t left = limit - used;
    return left > LOOK ? LOOK : left < SOON ? SOON : left;
  }
  atomic_store_explicit(&it->since, it->seen_at, memory_order_relaxed);
  atomic_store_explicit(&it->condemned, call, memory_order_release);
  pthread_kill(it->thread, SIGNAL);
  it->signals++;
  return it->signals < HURRIED ? HURRY : SIGNAL_EVERY;
}

static void wait_for(uint64_t ns) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(ns / 1000000000);
  until.tv_nsec += (long)(ns % 1000000000);
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait(&dog.wake, &dog.lock, &until);
}

static void *watch(void *unused) {
  (void)unused;
  unsigned quiet = 0;
  pthread_mutex_lock(&dog.lock);
  while (!dog.stop) {
    uint64_t next = 0;
    for (ae__watched *it = dog.first; it; it = it->next) {
      uint64_t wait = look(it);
      if (wait > 0 && (next == 0 || wait < next)) next = wait;
    }
    quiet = next > 0 ? 0 : quiet + 1;
    if (quiet < QUIET) {
      wait_for(next > 0 ? next : LOOK);
      continue;
    }
    quiet = 0;
    atomic_store(&ae__watchdog_asleep, true);
    wait_for(SLEEP);
    atomic_store(&ae__watchdog_asleep, false);
  }
  pthread_mutex_unlock(&dog.lock);
  return NULL;
}

void ae__watchdog_wake(void) {
  pthread_mutex_lock(&dog.lock);
  if (atomic_exchange(&ae__watchdog_asleep, false))
    pthread_cond_signal(&dog.wake);
  pthread_mutex_unlock(&dog.lock);
}

static int start(void) {
  /* Signals are for other threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  dog.stop = false;
  int error = pthread_create(&dog.thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) pthread_setname_np(dog.thread, "watchdog");
  return error;
}

/* Serialises starting and ending the thread, which waits for it. */
static pthread_mutex_t holding = PTHREAD_MUTEX_INITIALIZER;

ae_status ae__watchdog_hold(ae_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_up);
  int error = 0;
  pthread_mutex_lock(&holding);
  if (dog.holds == 0) error = start();
  if (error == 0) dog.holds++;
  pthread_mutex_unlock(&holding);
  if (error == 0) return AE_OK;
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "there is no thread for the time limit of handlers: %s",
               strerror(error));
  ae_error_cstr(err, "cause", strerror(error));
  return AE_STORE_UNAVAILABLE;
}

void ae__watchdog_release(void) {
  pthread_mutex_lock(&holding);
  AE_ASSERT_CMP(dog.holds, >, 0);
  if (--dog.holds == 0) {
    pthread_mutex_lock(&dog.lock);
    dog.stop = true;
    pthread_cond_signal(&dog.wake);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(dog.thread, NULL);
  }
  pthread_mutex_unlock(&holding);
}
