#define _GNU_SOURCE /* pthread_setname_np */
#include "loop/work.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* A worker sleeps only after it has said so in `asleep` and then found the
 * inbox empty; a push looks at `asleep` only after it has filled the inbox.
 * Both are sequentially consistent, so one of the two sees the other. */
struct ae_worker {
  _Atomic(ae_task *) inbox; /* newest first */
  _Atomic bool asleep;
  _Atomic bool stopping;
  pthread_mutex_t lock; /* only around sleeping */
  pthread_cond_t waked;
  pthread_t thread;
  ae_worker_handler handler;
  void *data;
  uint64_t spin_ns; /* 0: sleeps at once */
  char name[16];
};

static ae_task *take(ae_worker *worker) {
  ae_task *task = atomic_exchange(&worker->inbox, NULL);
  ae_task *oldest = NULL;
  while (task) {
    ae_task *next = task->next;
    task->next = oldest;
    oldest = task;
    task = next;
  }
  return oldest;
}

static void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static bool spin(ae_worker *worker) {
  uint64_t until = ae_clock_mono() + worker->spin_ns;
  do {
    for (int i = 0; i < 64; i++) {
      if (atomic_load_explicit(&worker->inbox, memory_order_relaxed)) {
        return true;
      }
      rest();
    }
    if (atomic_load_explicit(&worker->stopping, memory_order_relaxed)) {
      return false;
    }
    sched_yield(); /* to the loop thread, where it waits for this core */
  } while (ae_clock_mono() < until);
  return false;
}

static void sleep_for_work(ae_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  atomic_store(&worker->asleep, true);
  while (!atomic_load(&worker->inbox) && !atomic_load(&worker->stopping)) {
    pthread_cond_wait(&worker->waked, &worker->lock);
  }
  atomic_store(&worker->asleep, false);
  pthread_mutex_unlock(&worker->lock);
}

static void wake(ae_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  pthread_cond_signal(&worker->waked);
  pthread_mutex_unlock(&worker->lock);
}

/* Whether spinning pays is tried, not known: where the cores are busy, what is
 * waited for may be waiting for this very core. It is tried after `patience`
 * sleeps in a row that were shorter than a spin, and goes on while it finds
 * work; each time in vain doubles the patience, each success halves it. */
#define PATIENCE_MAX 4096

static void *run(void *arg) {
  ae_worker *worker = arg;
  bool spinning = worker->spin_ns > 0;
  unsigned patience = 1;
  unsigned brief = 0; /* sleeps in a row */
  for (;;) {
    ae_task *batch = take(worker);
    if (batch) {
      worker->handler(worker->data, batch);
      continue;
    }
    if (atomic_load(&worker->stopping)) {
      /* Pushed before the stop, seen after it. */
      batch = take(worker);
      if (!batch) return NULL;
      worker->handler(worker->data, batch);
      continue;
    }
    if (spinning) {
      if (spin(worker)) {
        if (patience > 1) patience /= 2;
        continue;
      }
      if (patience < PATIENCE_MAX) patience *= 2;
      spinning = false;
      brief = 0;
    }
    uint64_t from = worker->spin_ns ? ae_clock_mono() : 0;
    sleep_for_work(worker);
    if (!worker->spin_ns) continue;
    brief = ae_clock_mono() - from < worker->spin_ns ? brief + 1 : 0;
    spinning = brief >= patience;
  }
}

ae_status ae_worker_start(ae_worker **out, const char *name, unsigned spin_us,
                          ae_worker_handler handler, void *data,
                          ae_error *err) {
  ae_worker *worker = ae_zalloc(sizeof *worker);
  worker->handler = handler;
  worker->data = data;
  worker->spin_ns = (uint64_t)spin_us * 1000;
  strncpy(worker->name, name, sizeof worker->name - 1);
  pthread_mutex_init(&worker->lock, NULL);
  pthread_cond_init(&worker->waked, NULL);
  /* Signals are the loop thread's. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&worker->thread, NULL, run, worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    pthread_cond_destroy(&worker->waked);
    pthread_mutex_destroy(&worker->lock);
    ae_free(worker);
    ae_error_set(err, AE_STORE_UNAVAILABLE, "no thread for '%s': %s", name,
                 strerror(error));
    ae_error_cstr(err, "cause", strerror(error));
    return AE_STORE_UNAVAILABLE;
  }
  pthread_setname_np(worker->thread, worker->name);
  *out = worker;
  return AE_OK;
}

void ae_worker_push(ae_worker *worker, ae_task *task) {
  ae_task *head = atomic_load_explicit(&worker->inbox, memory_order_relaxed);
  do {
    task->next = head;
  } while (!atomic_compare_exchange_weak(&worker->inbox, &head, task));
  if (atomic_load(&worker->asleep)) wake(worker);
}

void ae_worker_stop(ae_worker *worker) {
  if (!worker) return;
  atomic_store(&worker->stopping, true);
  wake(worker);
  pthread_join(worker->thread, NULL);
  pthread_cond_destroy(&worker->waked);
  pthread_mutex_destroy(&worker->lock);
  ae_free(worker);
}
