#include "loop/loop.h"

#include "base/clock.h"
#include "base/mem.h"

/* The handles are unreferenced: they keep no loop alive by themselves. `wake`
 * is referenced while something is held, `idle` is active (and counts) while
 * something is deferred. */

static void run_posted(ae_loop *loop) {
  ae_task *task =
      atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
  ae_task *oldest = NULL;
  while (task) {
    ae_task *next = task->next;
    task->next = oldest;
    oldest = task;
    task = next;
  }
  while (oldest) {
    task = oldest;
    oldest = task->next;
    task->run(task);
  }
}

/* Only what was there when it began: a task that defers itself again must not
 * keep the loop from its handles. */
static void run_deferred(ae_loop *loop) {
  ae_task *task = loop->deferred_first;
  loop->deferred_first = NULL;
  loop->deferred_last = &loop->deferred_first;
  while (task) {
    ae_task *next = task->next;
    task->run(task);
    task = next;
  }
  if (!loop->deferred_first) uv_idle_stop(&loop->idle);
}

static void on_wake(uv_async_t *wake) {
  run_posted(AE_CONTAINER(wake, ae_loop, wake));
}

/* Being active is all: the poll for I/O then does not wait. */
static void on_idle(uv_idle_t *idle) {
  (void)idle;
}

void ae__loop_stamp(ae_loop *loop) {
  loop->stamp = ae_clock_mono();
  loop->stamped = 16;
}

static void on_prepare(uv_prepare_t *prepare) {
  ae_loop_time_passed(AE_CONTAINER(prepare, ae_loop, prepare));
}

static void on_check(uv_check_t *check) {
  ae_loop *loop = AE_CONTAINER(check, ae_loop, check);
  ae_loop_time_passed(loop);
  if (loop->deferred_first) run_deferred(loop);
}

ae_status ae_loop_init(ae_loop *loop, ae_error *err) {
  memset(loop, 0, sizeof *loop);
  loop->deferred_last = &loop->deferred_first;
  int error = uv_loop_init(&loop->uv);
  if (error) goto no_loop;
  error = uv_async_init(&loop->uv, &loop->wake, on_wake);
  if (error) goto no_wake;
  uv_unref((uv_handle_t *)&loop->wake);
  uv_idle_init(&loop->uv, &loop->idle);
  uv_check_init(&loop->uv, &loop->check);
  uv_check_start(&loop->check, on_check);
  uv_unref((uv_handle_t *)&loop->check);
  uv_prepare_init(&loop->uv, &loop->prepare);
  uv_prepare_start(&loop->prepare, on_prepare);
  uv_unref((uv_handle_t *)&loop->prepare);
  return AE_OK;

no_wake:
  uv_loop_close(&loop->uv);
no_loop:
  ae_error_set(err, AE_STORE_UNAVAILABLE, "no event loop: %s",
               uv_strerror(error));
  ae_error_cstr(err, "cause", uv_strerror(error));
  return AE_STORE_UNAVAILABLE;
}

void ae_loop_clear(ae_loop *loop) {
  AE_ASSERT_CMP(loop->pending, ==, 0);
  while (loop->deferred_first || atomic_load(&loop->posted)) {
    run_posted(loop);
    run_deferred(loop);
  }
  uv_close((uv_handle_t *)&loop->wake, NULL);
  uv_close((uv_handle_t *)&loop->idle, NULL);
  uv_close((uv_handle_t *)&loop->check, NULL);
  uv_close((uv_handle_t *)&loop->prepare, NULL);
  /* Twice: the callbacks of others' uv_close may come in this turn too. */
  uv_run(&loop->uv, UV_RUN_NOWAIT);
  uv_run(&loop->uv, UV_RUN_NOWAIT);
  AE_ASSERT_CMP(uv_loop_close(&loop->uv), ==, 0);
}

void ae_loop_run(ae_loop *loop) {
  for (;;) {
    bool stopped = uv_run(&loop->uv, UV_RUN_DEFAULT) != 0;
    if (stopped) return;
    /* What was posted while nobody held still runs. */
    if (!atomic_load(&loop->posted)) return;
    run_posted(loop);
  }
}

void ae_loop_stop(ae_loop *loop) {
  uv_stop(&loop->uv);
}

void ae_loop_defer(ae_loop *loop, ae_task *task) {
  if (!loop->deferred_first) uv_idle_start(&loop->idle, on_idle);
  task->next = NULL;
  *loop->deferred_last = task;
  loop->deferred_last = &task->next;
}

/* `newest` to `oldest`, linked that way, in front of what is there. */
static void push(ae_loop *loop, ae_task *newest, ae_task *oldest) {
  ae_task *head = atomic_load_explicit(&loop->posted, memory_order_relaxed);
  do {
    oldest->next = head;
  } while (!atomic_compare_exchange_weak_explicit(&loop->posted, &head, newest,
                                                  memory_order_release,
                                                  memory_order_relaxed));
  /* Whoever posted first has waked it; it takes all at once. `head` is only
   * compared: the loop may have run that task already. */
  if (!head) uv_async_send(&loop->wake);
}

void ae_loop_post(ae_loop *loop, ae_task *task) {
  push(loop, task, task);
}

void ae_loop_post_all(ae_loop *loop, ae_task *first, ae_task *last) {
  ae_task *newest = NULL;
  for (ae_task *task = first;;) {
    ae_task *next = task->next;
    task->next = newest;
    newest = task;
    if (task == last) break;
    task = next;
  }
  push(loop, newest, first);
}

void ae_loop_hold(ae_loop *loop) {
  if (loop->pending++ == 0) uv_ref((uv_handle_t *)&loop->wake);
}

void ae_loop_release(ae_loop *loop) {
  AE_ASSERT_CMP(loop->pending, >, 0);
  if (--loop->pending == 0) uv_unref((uv_handle_t *)&loop->wake);
}
