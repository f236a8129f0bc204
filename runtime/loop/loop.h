/* The one thread that touches state: a libuv loop, a queue by which other
 * threads hand results over, and tasks that run later in the same turn. */
#ifndef AE_LOOP_LOOP_H
#define AE_LOOP_LOOP_H

#include <stdatomic.h>
#include <uv.h>

#include "base/status.h"

/* Something to run. The owner keeps it alive until it has run; it is free for
 * reuse when `run` is entered. */
typedef struct ae_task {
  struct ae_task *next; /* private */
  void (*run)(struct ae_task *task);
} ae_task;

typedef struct ae_loop {
  uv_loop_t uv;
  uv_async_t wake;           /* one for all other threads */
  uv_idle_t idle;            /* active while `now` holds something */
  uv_check_t check;          /* runs what was deferred */
  uv_prepare_t prepare;      /* before the loop may sleep: time passes */
  _Atomic(ae_task *) posted; /* from other threads, newest first */
  ae_task *deferred_first;   /* from this thread, oldest first */
  ae_task **deferred_last;
  unsigned pending; /* see ae_loop_hold */
  uint64_t stamp;   /* see ae_loop_time */
  unsigned stamped; /* how often it may still be given */
} ae_loop;

ae_status ae_loop_init(ae_loop *loop, ae_error *err);
/* Every handle of others must be closed; asserts it. */
void ae_loop_clear(ae_loop *loop);
/* Runs until ae_loop_stop, or until nothing is held, deferred or active. */
void ae_loop_run(ae_loop *loop);
void ae_loop_stop(ae_loop *loop);
/* From the loop thread: `task` runs after the present callback returned, in
 * the order deferred, before the loop sleeps. */
void ae_loop_defer(ae_loop *loop, ae_task *task);
/* From any thread: `task` runs on the loop thread, in the order posted by one
 * thread. Wakes the loop at most once for many. */
void ae_loop_post(ae_loop *loop, ae_task *task);
/* Several at once, linked by `next`, oldest first. */
void ae_loop_post_all(ae_loop *loop, ae_task *first, ae_task *last);
/* While held, ae_loop_run goes on although no handle is active: who waits for
 * a post holds. */
void ae_loop_hold(ae_loop *loop);
void ae_loop_release(ae_loop *loop);

/* Private. */
void ae__loop_stamp(ae_loop *loop);
/* The monotonic clock in ns, for statistics of many small things: read once for
 * up to 16 calls in a row, never from before the loop slept. Loop thread. */
static inline uint64_t ae_loop_time(ae_loop *loop) {
  if (loop->stamped == 0) ae__loop_stamp(loop);
  loop->stamped--;
  return loop->stamp;
}
/* Something took long: the next ae_loop_time reads the clock. */
static inline void ae_loop_time_passed(ae_loop *loop) {
  loop->stamped = 0;
}

#endif
