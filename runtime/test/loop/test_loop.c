#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/mem.h"
#include "loop/loop.h"

typedef struct step {
  ae_task task;
  ae_loop *loop;
  int number;
  int *seen; /* numbers in the order run */
  int *count;
} step;

static void note(ae_task *task) {
  step *s = AE_CONTAINER(task, step, task);
  s->seen[(*s->count)++] = s->number;
}

static void note_and_defer_next(ae_task *task) {
  step *s = AE_CONTAINER(task, step, task);
  note(task);
  if (s->number < 5) {
    s->number++;
    ae_loop_defer(s->loop, task); /* free for reuse when run is entered */
  }
}

static int setup(void **state) {
  ae_loop *loop = ae_zalloc(sizeof *loop);
  ae_error err = {0};
  assert_int_equal(ae_loop_init(loop, &err), AE_OK);
  *state = loop;
  return 0;
}

static int teardown(void **state) {
  ae_loop_clear(*state);
  ae_free(*state);
  return 0;
}

static void an_empty_loop_ends_at_once(void **state) {
  ae_loop_run(*state);
  ae_loop_run(*state);
}

static void deferred_tasks_run_in_order(void **state) {
  ae_loop *loop = *state;
  int seen[10], count = 0;
  step steps[10];
  for (int i = 0; i < 10; i++) {
    steps[i] = (step){{NULL, note}, loop, i, seen, &count};
    ae_loop_defer(loop, &steps[i].task);
  }
  assert_int_equal(count, 0); /* never before the return */
  ae_loop_run(loop);
  assert_int_equal(count, 10);
  for (int i = 0; i < 10; i++) assert_int_equal(seen[i], i);
}

static void a_task_defers_itself(void **state) {
  ae_loop *loop = *state;
  int seen[10], count = 0;
  step s = {{NULL, note_and_defer_next}, loop, 0, seen, &count};
  ae_loop_defer(loop, &s.task);
  ae_loop_run(loop);
  assert_int_equal(count, 6);
}

static ae_task *endless;
static void again(ae_task *task) {
  ae_loop *loop = ((step *)task)->loop;
  ae_loop_defer(loop, task);
  endless = task;
}

static void stop_loop(uv_timer_t *timer) {
  ae_loop_stop(timer->data);
  uv_close((uv_handle_t *)timer, NULL);
}

/* Work that never ends must not keep timers and sockets from their turn. */
static void handles_get_their_turn(void **state) {
  ae_loop *loop = *state;
  step s = {{NULL, again}, loop, 0, NULL, NULL};
  uv_timer_t timer;
  uv_timer_init(&loop->uv, &timer);
  timer.data = loop;
  uv_timer_start(&timer, stop_loop, 1, 0);
  ae_loop_defer(loop, &s.task);
  ae_loop_run(loop);
  assert_ptr_equal(endless, &s.task);
  s.task.run = note;
  int seen[2], count = 0;
  s.seen = seen;
  s.count = &count;
  ae_loop_run(loop);
  assert_int_equal(count, 1);
}

static void deferred_runs_before_the_loop_sleeps_cb(uv_timer_t *timer) {
  step *s = timer->data;
  ae_loop_defer(s->loop, &s->task);
  ae_loop_hold(s->loop);
  uv_close((uv_handle_t *)timer, NULL);
}

static void release(ae_task *task) {
  step *s = AE_CONTAINER(task, step, task);
  note(task);
  ae_loop_release(s->loop);
}

/* Held and with nothing else to wake it, a sleep would be for ever. */
static void deferred_runs_before_the_loop_sleeps(void **state) {
  ae_loop *loop = *state;
  int seen[1], count = 0;
  step s = {{NULL, release}, loop, 0, seen, &count};
  uv_timer_t timer;
  uv_timer_init(&loop->uv, &timer);
  timer.data = &s;
  uv_timer_start(&timer, deferred_runs_before_the_loop_sleeps_cb, 0, 0);
  ae_loop_run(loop);
  assert_int_equal(count, 1);
}

static void posted_from_the_loop_runs_too(void **state) {
  ae_loop *loop = *state;
  int seen[3], count = 0;
  step steps[3];
  for (int i = 0; i < 3; i++) {
    steps[i] = (step){{NULL, note}, loop, i, seen, &count};
  }
  steps[0].task.next = &steps[1].task;
  ae_loop_post_all(loop, &steps[0].task, &steps[1].task);
  ae_loop_post(loop, &steps[2].task);
  ae_loop_run(loop); /* although nobody holds */
  assert_int_equal(count, 3);
  for (int i = 0; i < 3; i++) assert_int_equal(seen[i], i);
}

static void closing_runs_what_is_left(void **state) {
  (void)state;
  ae_loop loop;
  assert_int_equal(ae_loop_init(&loop, NULL), AE_OK);
  int seen[2], count = 0;
  step a = {{NULL, note}, &loop, 0, seen, &count};
  step b = {{NULL, note}, &loop, 1, seen, &count};
  ae_loop_defer(&loop, &a.task);
  ae_loop_post(&loop, &b.task);
  ae_loop_clear(&loop);
  assert_int_equal(count, 2);
}

/* -- many threads -- */

#define THREADS 4
#define POSTS 20000
#define BATCH 8

typedef struct sender sender;
typedef struct posted {
  ae_task task;
  sender *from;
  int number;
} posted;
struct sender {
  pthread_t thread;
  ae_loop *loop;
  posted *posts;
  int expected; /* the next number; touched by the loop thread only */
  int *left;    /* of all senders */
};

static void receive(ae_task *task) {
  posted *p = AE_CONTAINER(task, posted, task);
  assert_int_equal(p->number, p->from->expected);
  p->from->expected++;
  if (--*p->from->left == 0) ae_loop_release(p->from->loop);
}

static void *send_all(void *arg) {
  sender *s = arg;
  for (int i = 0; i < POSTS;) {
    if (i % 3 || i + BATCH > POSTS) {
      ae_loop_post(s->loop, &s->posts[i++].task);
      continue;
    }
    for (int j = 0; j + 1 < BATCH; j++) {
      s->posts[i + j].task.next = &s->posts[i + j + 1].task;
    }
    ae_loop_post_all(s->loop, &s->posts[i].task, &s->posts[i + BATCH - 1].task);
    i += BATCH;
  }
  return NULL;
}

static void posts_of_each_thread_keep_their_order(void **state) {
  ae_loop *loop = *state;
  sender senders[THREADS];
  int left = THREADS * POSTS;
  ae_loop_hold(loop);
  for (int i = 0; i < THREADS; i++) {
    sender *s = &senders[i];
    *s = (sender){.loop = loop, .left = &left};
    s->posts = ae_zalloc(POSTS * sizeof *s->posts);
    for (int j = 0; j < POSTS; j++) {
      s->posts[j] = (posted){{NULL, receive}, s, j};
    }
    assert_int_equal(pthread_create(&s->thread, NULL, send_all, s), 0);
  }
  ae_loop_run(loop);
  assert_int_equal(left, 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(senders[i].thread, NULL);
    assert_int_equal(senders[i].expected, POSTS);
    ae_free(senders[i].posts);
  }
}

#define NAP_MS 20

typedef struct nap {
  uv_timer_t timer;
  ae_task task;
  ae_loop *loop;
  uint64_t before, after;
} nap;

static void wake_up(uv_timer_t *timer) {
  nap *n = AE_CONTAINER(timer, nap, timer);
  n->after = ae_loop_time(n->loop);
  uv_close((uv_handle_t *)timer, NULL);
}

static void lie_down(ae_task *task) {
  nap *n = AE_CONTAINER(task, nap, task);
  uv_update_time(&n->loop->uv);
  uv_timer_init(&n->loop->uv, &n->timer);
  uv_timer_start(&n->timer, wake_up, NAP_MS, 0);
  n->before = ae_loop_time(n->loop);
}

static void time_passes_while_the_loop_sleeps(void **state) {
  nap n = {.task.run = lie_down, .loop = *state};
  ae_loop_defer(n.loop, &n.task);
  ae_loop_run(n.loop);
  /* libuv's own clock has whole ms. */
  assert_true(n.after - n.before >= (NAP_MS - 2) * UINT64_C(1000000));
}

static void time_stands_for_a_few_calls_and_never_goes_back(void **state) {
  ae_loop *loop = *state;
  uint64_t first = ae_loop_time(loop), last = first;
  unsigned same = 1;
  for (; (last = ae_loop_time(loop)) == first; same++)
    if (same > 1000) fail_msg("it stands still");
  assert_int_equal(same, 16);
  assert_true(last > first);
  ae_loop_time_passed(loop);
  assert_true(ae_loop_time(loop) > last);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(an_empty_loop_ends_at_once, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(deferred_tasks_run_in_order, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_task_defers_itself, setup, teardown),
      cmocka_unit_test_setup_teardown(handles_get_their_turn, setup, teardown),
      cmocka_unit_test_setup_teardown(deferred_runs_before_the_loop_sleeps,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(posted_from_the_loop_runs_too, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(time_passes_while_the_loop_sleeps, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(
          time_stands_for_a_few_calls_and_never_goes_back, setup, teardown),
      cmocka_unit_test(closing_runs_what_is_left),
      cmocka_unit_test_setup_teardown(posts_of_each_thread_keep_their_order,
                                      setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
