/* History through modules, where it is whole and where it begins at a base. */
#include "node/check.h"

#include "base/clock.h"
#include "base/json.h"
#include "node/history.h"
#include "node/world.h"

static ae_ref ref_of(const char *id) {
  return (ae_ref){AE_STR("cell"), AE_STR("counter"), ae_str_of(id)};
}

/* One commit of one event. */
static void add(world *w, const char *id, int n) {
  assert_int_equal(world_add(w, "cell", id, n), AE_OK);
}

static void on_write(ae_write *write, ae_status status, const ae_error *err) {
  (void)err;
  *(ae_status *)write->data = status;
}

static void snapshot(world *w, const char *id, uint64_t version, int sum,
                     bool base) {
  ae_buf state = {0};
  ae_status status = AE_CANCELED;
  ae_pack_map(&state, 1);
  ae_pack_cstr(&state, "sum");
  ae_pack_int(&state, sum);
  ae_snapshot_write write = {.write = {.cb = on_write, .data = &status},
                             .ref = ref_of(id),
                             .version = version,
                             .shape = 1,
                             .state = ae_buf_view(&state),
                             .base = base};
  assert_int_equal(ae_store_save_snapshot(ae_node_store(w->node), &write, NULL),
                   AE_OK);
  ae_loop_run(&w->loop);
  assert_int_equal(status, AE_OK);
  ae_buf_clear(&state);
}

static uint64_t trim(world *w) {
  ae_status status = AE_CANCELED;
  ae_trim write = {.write = {.cb = on_write, .data = &status},
                   .ns = AE_STR("cell"),
                   .before = ae_clock_now() + 1000000};
  assert_int_equal(ae_store_trim(ae_node_store(w->node), &write, NULL), AE_OK);
  ae_loop_run(&w->loop);
  assert_int_equal(status, AE_OK);
  return write.trimmed;
}

/* -- what was seen -- */

typedef struct seen {
  ae_buf text;
  ae_status status;
  uint64_t version;
  unsigned done;
  bool stop;
} seen;

static bool on_step(ae_history *history, const ae_history_step *step) {
  seen *s = history->data;
  ae_buf_printf(&s->text, "%llu:", (unsigned long long)step->event->version);
  ae_json_write(step->before, &s->text);
  ae_json_write(step->after, &s->text);
  return !s->stop;
}

static void on_history_done(ae_history *history, ae_status status,
                            uint64_t version, const ae_error *err) {
  seen *s = history->data;
  (void)err;
  s->status = status;
  s->version = version;
  s->done++;
}

static void walk(world *w, const char *id, seen *s) {
  ae_history history = {
      .ref = ref_of(id), .step = on_step, .done = on_history_done, .data = s};
  assert_int_equal(ae_history_start(w->node, &history, NULL), AE_OK);
  assert_int_equal(s->done, 0);
  ae_loop_run(&w->loop);
  assert_int_equal(s->done, 1);
}

static void on_mistake(ae_check *check, const ae_error *err, ae_str stored,
                       ae_str replayed) {
  seen *s = check->data;
  ae_buf_printf(&s->text, "%s|", ae_error_text(err));
  if (stored.len > 0) ae_json_write(stored, &s->text);
  if (replayed.len > 0) ae_json_write(replayed, &s->text);
}

static void on_progress(ae_check *check) {
  seen *s = check->data;
  if (s->stop) ae_check_stop(check);
}

static void on_check_done(ae_check *check, ae_status status,
                          const ae_error *err) {
  seen *s = check->data;
  (void)err;
  s->status = status;
  s->done++;
}

static ae_check_counts run_check(world *w, seen *s) {
  ae_check check = {.mistake = on_mistake,
                    .progress = on_progress,
                    .done = on_check_done,
                    .data = s};
  assert_int_equal(ae_check_start(w->node, &check, NULL), AE_OK);
  assert_int_equal(s->done, 0);
  ae_loop_run(&w->loop);
  assert_int_equal(s->done, 1);
  assert_int_equal(check.total, check.counts.commits);
  return check.counts;
}

/* -- tests -- */

static int set_up(void **state) {
  *state = world_new("memory");
  return 0;
}

static void an_empty_store_is_right(void **state) {
  seen s = {0};
  ae_check_counts counts = run_check(*state, &s);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(counts.events, 0);
  assert_int_equal(s.text.len, 0);
  s.done = 0;
  walk(*state, "none", &s);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 0);
}

static void each_event_shows_before_and_after(void **state) {
  world *w = *state;
  seen s = {0};
  add(w, "a", 1);
  add(w, "a", 2);
  walk(w, "a", &s);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 2);
  assert_string_equal(ae_buf_cstr(&s.text),
                      "1:{\"sum\":0}{\"sum\":1}2:{\"sum\":1}{\"sum\":3}");
  ae_buf_reset(&s.text);
  s.done = 0;
  s.stop = true;
  walk(w, "a", &s);
  assert_int_equal(s.status, AE_CANCELED);
  assert_string_equal(ae_buf_cstr(&s.text), "1:{\"sum\":0}{\"sum\":1}");
  ae_buf_clear(&s.text);
}

/* The base is truth: what it says need not be what the events made. */
static void history_begins_at_a_base(void **state) {
  world *w = *state;
  seen s = {0};
  for (int i = 1; i <= 10; i++) add(w, "a", i);
  add(w, "b", 1);
  snapshot(w, "a", 8, 1000, true);
  assert_true(trim(w) > 0);
  walk(w, "a", &s);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 10);
  assert_string_equal(
      ae_buf_cstr(&s.text),
      "9:{\"sum\":1000}{\"sum\":1009}10:{\"sum\":1009}{\"sum\":1019}");
  ae_buf_reset(&s.text);
  s.done = 0;
  ae_check_counts counts = run_check(w, &s);
  assert_int_equal(s.status, AE_OK);
  assert_string_equal(ae_buf_cstr(&s.text), "");
  assert_int_equal(counts.actors, 2);
  /* Later snapshots are caches, and compared. */
  snapshot(w, "a", 9, 1009, false);
  s.done = 0;
  run_check(w, &s);
  assert_string_equal(ae_buf_cstr(&s.text), "");
  snapshot(w, "a", 10, 7, false);
  s.done = 0;
  run_check(w, &s);
  assert_non_null(strstr(ae_buf_cstr(&s.text), "snapshot at version 10"));
  assert_non_null(strstr(ae_buf_cstr(&s.text), "|{\"sum\":7}{\"sum\":1019}"));
  ae_buf_clear(&s.text);
}

static void a_snapshot_is_held_against_the_events(void **state) {
  world *w = *state;
  seen s = {0};
  for (int i = 1; i <= 3; i++) add(w, "a", i);
  for (int i = 1; i <= 3; i++) add(w, "b", i);
  snapshot(w, "a", 2, 3, false);
  snapshot(w, "b", 2, 4, false);
  ae_check_counts counts = run_check(w, &s);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(counts.mistakes, 1);
  assert_int_equal(counts.events, 6);
  const char *text = ae_buf_cstr(&s.text);
  assert_non_null(strstr(text, "cell/counter/b: the snapshot at version 2"));
  assert_non_null(strstr(text, "|{\"sum\":4}{\"sum\":3}"));
  ae_buf_clear(&s.text);
}

/* Code that runs elsewhere, which takes twice as much. */
static const char rival[] =
    "local event = require('aether.event')\n"
    "return { initial = { sum = 0 }, snapshot = { version = %d, every = 100 "
    "},\n"
    "  decide = { add = function() return {} end,\n"
    "    gone = function() return {} end },\n"
    "  evolve = { Added = function(state, added)\n"
    "    if added.n == 13 then error('unlucky') end\n"
    "    state.sum = state.sum + 2 * added.n\n"
    "  end } }\n";

static void on_note(ae_check *check, const ae_error *err, ae_str before,
                    ae_str after) {
  seen *s = check->data;
  ae_buf_printf(&s->text, "note: ");
  on_mistake(check, err, before, after);
}

static void states_are_held_against_a_rivals(void **state) {
  world *w = *state;
  add(w, "a", 5);
  add(w, "b", 13); /* it makes no state of this one */
  add(w, "c", 0);
  for (int shape = 1; shape <= 2; shape++) {
    seen s = {0};
    ae_buf text = {0};
    ae_buf_printf(&text, rival, shape);
    const ae_script_source source = {AE_STR("counter"), ae_buf_view(&text)};
    const ae_check_rival one = {AE_STR("cell"), &source, 1};
    ae_check check = {.mistake = on_mistake,
                      .note = on_note,
                      .done = on_check_done,
                      .data = &s,
                      .rivals = &one,
                      .rival_count = 1};
    assert_int_equal(ae_check_start(w->node, &check, NULL), AE_OK);
    ae_loop_run(&w->loop);
    assert_int_equal(s.status, AE_OK);
    assert_int_equal(check.counts.differing, 1);
    assert_int_equal(check.counts.mistakes, shape == 1);
    assert_non_null(strstr(ae_buf_cstr(&s.text),
                           "note: cell/counter has no command gone any more|"));
    assert_non_null(strstr(ae_buf_cstr(&s.text),
                           shape == 1
                               ? "|cell/counter/a at version 1 would have "
                                 "another state: where the new one is right, "
                                 "raise snapshot.version in "
                               : "|note: cell/counter/a at version 1 would "
                                 "have another state|"));
    assert_non_null(strstr(ae_buf_cstr(&s.text), "|{\"sum\":10}{\"sum\":5}"));
    ae_buf_clear(&text);
    ae_buf_clear(&s.text);
  }
}

static void a_check_can_be_stopped(void **state) {
  world *w = *state;
  seen s = {.stop = true};
  add(w, "a", 1);
  run_check(w, &s);
  assert_int_equal(s.status, AE_CANCELED);
}

int main(void) {
#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(an_empty_store_is_right),
      TEST(each_event_shows_before_and_after),
      TEST(history_begins_at_a_base),
      TEST(a_snapshot_is_held_against_the_events),
      TEST(states_are_held_against_a_rivals),
      TEST(a_check_can_be_stopped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
