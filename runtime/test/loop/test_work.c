#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>

#include "base/mem.h"
#include "loop/work.h"

#define JOBS 20000

typedef struct job {
  ae_task task;
  int number;
  struct bench *bench;
} job;

typedef struct bench {
  ae_loop loop;
  ae_worker *worker;
  job *jobs;
  int handled;  /* by the worker's thread */
  int batches;  /* by the worker's thread */
  int answered; /* by the loop's */
  int pushed;   /* by the loop's */
  int step;     /* jobs in flight at once */
  sigset_t blocked;
} bench;

static void push_some(bench *b);

static void answer(ae_task *task) {
  job *j = AE_CONTAINER(task, job, task);
  bench *b = j->bench;
  assert_int_equal(j->number, b->answered);
  b->answered++;
  if (b->answered == JOBS) ae_loop_release(&b->loop);
  if (b->answered == b->pushed) push_some(b);
}

/* Hands each batch back whole. */
static void handle(void *data, ae_task *batch) {
  bench *b = data;
  ae_task *last = NULL;
  for (ae_task *task = batch; task; task = task->next) {
    job *j = AE_CONTAINER(task, job, task);
    assert_int_equal(j->number, b->handled);
    b->handled++;
    last = task;
  }
  b->batches++;
  pthread_sigmask(SIG_SETMASK, NULL, &b->blocked);
  ae_loop_post_all(&b->loop, batch, last);
}

static void push_some(bench *b) {
  for (int i = 0; i < b->step && b->pushed < JOBS; i++) {
    ae_worker_push(b->worker, &b->jobs[b->pushed++].task);
  }
}

static void round_trips(unsigned spin_us, int step) {
  bench *b = ae_zalloc(sizeof *b);
  b->step = step;
  b->jobs = ae_zalloc(JOBS * sizeof *b->jobs);
  for (int i = 0; i < JOBS; i++) b->jobs[i] = (job){{NULL, answer}, i, b};
  assert_int_equal(ae_loop_init(&b->loop, NULL), AE_OK);
  assert_int_equal(ae_worker_start(&b->worker, "a name that is cut", spin_us,
                                   handle, b, NULL),
                   AE_OK);
  ae_loop_hold(&b->loop);
  push_some(b);
  ae_loop_run(&b->loop);
  assert_int_equal(b->answered, JOBS);
  ae_worker_stop(b->worker);
  assert_int_equal(b->handled, JOBS);
  assert_in_range(b->batches, 1, JOBS);
  assert_true(sigismember(&b->blocked, SIGINT)); /* signals are the loop's */
  ae_loop_clear(&b->loop);
  ae_free(b->jobs);
  ae_free(b);
}

static void one_at_a_time_asleep_between(void **state) {
  (void)state;
  round_trips(0, 1);
}
static void one_at_a_time_with_spinning(void **state) {
  (void)state;
  round_trips(50, 1);
}
static void many_at_a_time(void **state) {
  (void)state;
  round_trips(20, 500);
}

static void count(void *data, ae_task *batch) {
  for (; batch; batch = batch->next) ++*(int *)data;
}

static void stopping_handles_what_was_pushed(void **state) {
  (void)state;
  for (int round = 0; round < 200; round++) {
    int handled = 0;
    ae_worker *worker;
    ae_task tasks[10];
    unsigned spin = round % 2 ? 100 : 0;
    assert_int_equal(
        ae_worker_start(&worker, "count", spin, count, &handled, NULL), AE_OK);
    for (int i = 0; i < round % 11; i++) ae_worker_push(worker, &tasks[i]);
    ae_worker_stop(worker);
    assert_int_equal(handled, round % 11);
  }
  ae_worker_stop(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_at_a_time_asleep_between),
      cmocka_unit_test(one_at_a_time_with_spinning),
      cmocka_unit_test(many_at_a_time),
      cmocka_unit_test(stopping_handles_what_was_pushed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
