/* The time limit of scripts: a thread that watches the calls of all threads
 * which run some, and the way out of a call that took too long. The state
 * machine is drawn in watchdog.c.
 *
 * A call is in one of two modes. In Lua's mode the script runs, and nothing of
 * the host is held: it can be left at almost any instruction. In the host's
 * mode (the gate, and host functions that a script calls) it is never
 * interrupted; what may take long there polls. */
#ifndef AE_SCRIPT_WATCHDOG_H
#define AE_SCRIPT_WATCHDOG_H

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "base/status.h"

/* The way out. The compiler's own saves three registers in place of a call; the
 * mask of signals need not be kept: ae__watchdog_left. Sanitizers want to see
 * the C library's, and ThreadSanitizer's handler around ours blocks all. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
typedef void *ae__jump[5];
#define AE__JUMP_SET(jump) __builtin_setjmp(jump)
#define AE__JUMP(jump) __builtin_longjmp(jump, 1)
#else
typedef sigjmp_buf ae__jump;
#if defined(__SANITIZE_THREAD__)
#define AE__JUMP_SET(jump) sigsetjmp(jump, 1)
#else
#define AE__JUMP_SET(jump) sigsetjmp(jump, 0)
#endif
#define AE__JUMP(jump) siglongjmp(jump, 1)
#endif

/* One of each thread that runs scripts. */
typedef struct ae__watched {
  _Atomic uint64_t call;      /* odd: a call is under way. By the thread */
  _Atomic uint64_t limit;     /* ns of CPU time that it has. By the thread */
  _Atomic uint64_t condemned; /* the call to be left. By the watchdog */
  _Atomic uint64_t since; /* its CPU time when it was first seen, ns. Before */
  volatile sig_atomic_t lua; /* Lua's mode. By the thread */
  sigjmp_buf jump;           /* out of the call under way */
  /* the watchdog's */
  struct ae__watched *next;
  bool listed;
  pthread_t thread;
  clockid_t clock;  /* CPU time of the thread */
  uint64_t seen;    /* the call that it last saw */
  uint64_t seen_at; /* CPU time then, ns */
  unsigned signals; /* sent because of it */
} ae__watched;

extern _Thread_local ae__watched ae__here;
extern _Atomic bool ae__watchdog_asleep;

/* While held the watchdog has a thread. AE_STORE_UNAVAILABLE: the system gives
 * none. */
ae_status ae__watchdog_hold(ae_error *err);
void ae__watchdog_release(void);
/* Makes the calling thread one that is watched, until it ends. */
void ae__watchdog_list(void);
void ae__watchdog_wake(void);
/* Leaves the call under way, for the AE__JUMP_SET of ae__here.jump. */
_Noreturn void ae__watchdog_leave(void);
/* There: it can be left again. ns of CPU time that the call took since it was
 * first seen, which is a look after it began. */
uint64_t ae__watchdog_left(void);

/* -- by the thread that runs a script -- */

static inline void ae__watched_begin(uint64_t limit) {
  ae__watched *here = &ae__here;
  if (__builtin_expect(!here->listed, 0)) ae__watchdog_list();
  uint64_t call = atomic_load_explicit(&here->call, memory_order_relaxed);
  atomic_store_explicit(&here->limit, limit, memory_order_relaxed);
  atomic_store_explicit(&here->call, (call + 1) | 1, memory_order_release);
  /* Without a fence between the store and the load it may be missed that the
   * watchdog falls asleep just now: it then looks again a second later. */
  if (atomic_load_explicit(&ae__watchdog_asleep, memory_order_relaxed))
    ae__watchdog_wake();
}

/* The next handler of the same entry: its time starts anew. */
static inline void ae__watched_restart(void) {
  ae__watched *here = &ae__here;
  uint64_t call = atomic_load_explicit(&here->call, memory_order_relaxed);
  atomic_store_explicit(&here->call, call + 2, memory_order_release);
}

static inline void ae__watched_end(void) {
  ae__watched *here = &ae__here;
  uint64_t call = atomic_load_explicit(&here->call, memory_order_relaxed);
  atomic_store_explicit(&here->call, (call + 1) & ~UINT64_C(1),
                        memory_order_release);
}

static inline bool ae__watched_late(void) {
  ae__watched *here = &ae__here;
  return atomic_load_explicit(&here->condemned, memory_order_relaxed) ==
         atomic_load_explicit(&here->call, memory_order_relaxed);
}

/* For host code that walks what a script made, and holds nothing that must be
 * given back: leaves the call where its time is up. */
static inline void ae__poll(void) {
  if (__builtin_expect(ae__watched_late(), 0)) ae__watchdog_leave();
}

/* In loops whose steps are short. */
static inline void ae__poll_each(size_t step) {
  if ((step & 255) == 255) ae__poll();
}

/* -- modes: each lasts to the end of its block, however that is left, by an
 * error of Lua too: LuaJIT's errors unwind the C stack, and this context is
 * compiled with -fexceptions -- */

static inline sig_atomic_t ae__mode_set(sig_atomic_t lua) {
  sig_atomic_t before = ae__here.lua;
  atomic_signal_fence(memory_order_seq_cst);
  ae__here.lua = lua;
  atomic_signal_fence(memory_order_seq_cst);
  return before;
}

static inline void ae__mode_back(const sig_atomic_t *before) {
  atomic_signal_fence(memory_order_seq_cst);
  ae__here.lua = *before;
  atomic_signal_fence(memory_order_seq_cst);
  if (*before) ae__poll(); /* a host function is left, perhaps by its error */
}

#define AE__MODE(lua)                             \
  __attribute__((cleanup(ae__mode_back), unused)) \
  sig_atomic_t ae__mode_before = ae__mode_set(lua)
/* What the script does may be left. Whoever says so holds nothing. */
#define AE__LUA_MODE AE__MODE(1)
#define AE__HOST_MODE AE__MODE(0)

/* luaL_error of a function that scripts call, which holds nothing: LuaJIT may
 * look for long for who catches it (for each frame of C through all of Lua's
 * below), and can be left there. */
#define ae__raise(L, ...) (ae__here.lua = 1, luaL_error(L, __VA_ARGS__))

/* Head of a C function that scripts can call. */
#define AE__HOST_FUNCTION(name)           \
  static int name##_inside(lua_State *L); \
  static int name(lua_State *L) {         \
    AE__HOST_MODE;                        \
    return name##_inside(L);              \
  }                                       \
  static int name##_inside(lua_State *L)

#endif
