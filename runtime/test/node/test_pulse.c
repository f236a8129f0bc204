/* A loop that lives, and one that stands still. */
#include "node/pulse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

typedef struct world {
  ae_loop loop;
  ae_pulse *pulse;
  unsigned beats;
  unsigned wanted;  /* the loop stops at this many */
  unsigned hang_at; /* this beat does not return until the log says so */
  unsigned long errors;
  bool stopped;
} world;

static void on_beat(void *data) {
  world *w = data;
  w->beats++;
  if (w->beats == w->hang_at)
    while (ae_log_errors() == w->errors) usleep(1000);
  if (w->beats >= w->wanted) ae_loop_stop(&w->loop);
}

static void on_stopped(void *data) {
  world *w = data;
  w->stopped = true;
}

static void start(world *w, const ae_pulse_options *options) {
  ae_error err = {0};
  assert_int_equal(ae_loop_init(&w->loop, &err), AE_OK);
  assert_int_equal(ae_pulse_start(&w->loop, options, &w->pulse, &err), AE_OK);
  ae_loop_hold(&w->loop);
}

static void run_to(world *w, unsigned beats) {
  w->wanted = beats;
  ae_loop_run(&w->loop);
}

static void stop(world *w) {
  ae_pulse_stop(w->pulse, on_stopped, w);
  assert_false(w->stopped);
  ae_loop_release(&w->loop);
  ae_loop_run(&w->loop);
  assert_true(w->stopped);
  ae_loop_clear(&w->loop);
}

static void it_beats(void **state) {
  (void)state;
  world w = {.errors = ae_log_errors()};
  ae_pulse_counts counts;
  const ae_pulse_options options = {
      .every_ms = 1, .silence_ms = 600000, .beat = on_beat, .data = &w};
  start(&w, &options);
  run_to(&w, 20);
  ae_pulse_count(w.pulse, &counts);
  assert_int_equal(counts.beats, 20);
  assert_int_equal(counts.standstills, 0);
  assert_true(counts.late_ms <= counts.longest_ms);
  stop(&w);
  assert_int_equal(w.beats, 20);
  assert_int_equal(ae_log_errors(), w.errors);
}

static void it_tells_of_a_standstill(void **state) {
  (void)state;
  world w = {.errors = ae_log_errors(), .hang_at = 3};
  ae_pulse_counts counts;
  const ae_pulse_options options = {
      .every_ms = 1, .silence_ms = 200, .beat = on_beat, .data = &w};
  start(&w, &options);
  run_to(&w, 5);
  assert_true(ae_log_errors() > w.errors);
  ae_pulse_count(w.pulse, &counts);
  assert_true(counts.standstills >= 1);
  assert_true(counts.longest_ms >= 200);
  stop(&w);
}

static void it_does_not_keep_the_loop(void **state) {
  (void)state;
  world w = {0};
  const ae_pulse_options options = {0};
  start(&w, &options);
  ae_loop_release(&w.loop);
  ae_loop_run(&w.loop);
  ae_loop_hold(&w.loop);
  stop(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_beats),
      cmocka_unit_test(it_tells_of_a_standstill),
      cmocka_unit_test(it_does_not_keep_the_loop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
