/* Namespaces that are brought within their retention. */
#include "node/retention.h"

#include "base/clock.h"
#include "base/json.h"
#include "node/check.h"
#include "node/retire.h"
#include "node/world.h"

#define DAY (INT64_C(86400) * 1000000)

static ae_ref ref_of(const char *ns, const char *id) {
  return (ae_ref){ae_str_of(ns), AE_STR("counter"), ae_str_of(id)};
}

static void add_many(world *w, const char *ns, const char *id, int count) {
  for (int i = 0; i < count; i++)
    assert_int_equal(world_add(w, ns, id, 1), AE_OK);
}

static ae_namespace_config *config_of(world *w, const char *ns) {
  for (size_t i = 0; i < w->config.namespace_count; i++)
    if (strcmp(w->config.namespaces[i].name, ns) == 0)
      return &w->config.namespaces[i];
  fail();
  return NULL;
}

/* -- what is there -- */

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(bool *)read->data = true;
}

static ae_stats stats_of(world *w, const char *ns) {
  bool done = false;
  ae_stats_read read = {.ns = ae_str_of(ns), .cb = on_stats, .data = &done};
  assert_int_equal(ae_store_stats(ae_node_store(w->node), &read, NULL), AE_OK);
  world_until(w, &done);
  return read.stats;
}

typedef struct looked_at {
  bool done;
  ae_status status;
  uint64_t version;
  char json[64];
} looked_at;

static void on_state(ae_state_read *read, ae_status status, uint64_t version,
                     ae_str state, const ae_error *err) {
  looked_at *l = read->data;
  (void)err;
  ae_buf json = {0};
  l->done = true;
  l->status = status;
  l->version = version;
  if (status == AE_OK) ae_json_write(state, &json);
  snprintf(l->json, sizeof l->json, "%s", json.len ? ae_buf_cstr(&json) : "");
  ae_buf_clear(&json);
}

static looked_at state_of(world *w, const char *ns, const char *id,
                          uint64_t at) {
  looked_at l = {0};
  ae_state_read read = {
      .ref = ref_of(ns, id), .at = at, .cb = on_state, .data = &l};
  ae_actors_state(ae_node_actors(w->node), &read);
  world_until(w, &l.done);
  return l;
}

static void assert_sum(world *w, const char *ns, const char *id, int sum) {
  char wanted[32];
  looked_at l = state_of(w, ns, id, UINT64_MAX);
  ae_ref ref = ref_of(ns, id);
  snprintf(wanted, sizeof wanted, "{\"sum\":%d}", sum);
  assert_int_equal(l.status, AE_OK);
  assert_int_equal(l.version, sum);
  assert_string_equal(l.json, wanted);
  /* And built anew. */
  ae_actors_forget(ae_node_actors(w->node), &ref);
  l = state_of(w, ns, id, UINT64_MAX);
  assert_string_equal(l.json, wanted);
}

static void on_mistake(ae_check *check, const ae_error *err, ae_str stored,
                       ae_str replayed) {
  (void)check;
  (void)stored;
  (void)replayed;
  fail_msg("%s", ae_error_text(err));
}

static void on_checked(ae_check *check, ae_status status, const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(bool *)check->data = true;
}

static void assert_right(world *w) {
  bool done = false;
  ae_check check = {.mistake = on_mistake, .done = on_checked, .data = &done};
  assert_int_equal(ae_check_start(w->node, &check, NULL), AE_OK);
  world_until(w, &done);
}

/* -- looks -- */

typedef struct looking {
  int64_t now;
  bool looked, stopped;
} looking;

static int64_t clock_of(void *data) {
  return ((looking *)data)->now;
}

static void on_looked(void *data) {
  ((looking *)data)->looked = true;
}

static void on_stopped(void *data) {
  ((looking *)data)->stopped = true;
}

static ae_retention *begin(world *w, looking *l) {
  const ae_retention_options options = {
      .now = clock_of, .looked = on_looked, .data = l};
  l->looked = l->stopped = false;
  ae_retention *retention = ae_retention_start(w->node, &options);
  assert_non_null(retention);
  return retention;
}

static void stop(world *w, ae_retention *retention, looking *l) {
  ae_retention_stop(retention, on_stopped, l);
  assert_false(l->stopped);
  world_until(w, &l->stopped);
}

/* One look, `later` µs from now. */
static void look(world *w, int64_t later) {
  looking l = {.now = ae_clock_now() + later};
  ae_retention *retention = begin(w, &l);
  world_until(w, &l.looked);
  stop(w, retention, &l);
}

/* -- tests -- */

static int in_memory(void **state) {
  *state = world_new("memory");
  return 0;
}

static int in_sqlite(void **state) {
  *state = world_new("sqlite");
  return 0;
}

static void nothing_is_removed_unasked(void **state) {
  world *w = *state;
  bool done = false;
  assert_null(ae_retention_start(w->node, &(ae_retention_options){0}));
  assert_null(ae_retention_once(w->node, on_stopped, &done));
}

static void what_is_old_goes_but_the_last(void **state) {
  world *w = *state;
  add_many(w, "cell", "a", 10);
  add_many(w, "cell", "b", 1);
  add_many(w, "other", "a", 10);
  config_of(w, "cell")->retention_days = 2;
  look(w, DAY);
  assert_int_equal(stats_of(w, "cell").commits, 11);
  assert_int_equal(stats_of(w, "cell").trimmed, 0);
  look(w, 3 * DAY);
  assert_int_equal(stats_of(w, "cell").commits, 2);
  assert_int_equal(stats_of(w, "cell").trimmed, 9);
  assert_int_equal(stats_of(w, "other").commits, 10);
  assert_int_equal(stats_of(w, "other").trimmed, 0);
  assert_sum(w, "cell", "a", 10);
  assert_sum(w, "cell", "b", 1);
  assert_sum(w, "other", "a", 10);
  assert_right(w);
  assert_int_equal(state_of(w, "cell", "a", 5).status, AE_HISTORY_TRIMMED);
  assert_string_equal(state_of(w, "cell", "a", 9).json, "{\"sum\":9}");
  add_many(w, "cell", "a", 5);
  assert_sum(w, "cell", "a", 15);
  assert_right(w);
  look(w, 6 * DAY);
  assert_int_equal(stats_of(w, "cell").commits, 2);
  assert_sum(w, "cell", "a", 15);
  assert_int_equal(state_of(w, "cell", "a", 9).status, AE_HISTORY_TRIMMED);
}

static void days_are_looked_at_once_a_day(void **state) {
  world *w = *state;
  ae_namespace_config *cell = config_of(w, "cell");
  cell->retention_days = 1;
  add_many(w, "cell", "a", 3);
  look(w, 2 * DAY);
  assert_int_equal(stats_of(w, "cell").commits, 1);
  add_many(w, "cell", "a", 3);
  look(w, 2 * DAY + DAY / 2);
  assert_int_equal(stats_of(w, "cell").commits, 4);
  look(w, 3 * DAY + DAY / 2);
  assert_int_equal(stats_of(w, "cell").commits, 1);
  add_many(w, "cell", "a", 3);
  cell->retention_bytes = 100; /* changed: at once */
  look(w, 3 * DAY + DAY / 2);
  assert_int_equal(stats_of(w, "cell").commits, 1);
  add_many(w, "cell", "a", 3);
  cell->retention_bytes = 0;
  look(w, 2 * DAY); /* the clock was put back */
  assert_int_equal(stats_of(w, "cell").commits, 1);
  assert_sum(w, "cell", "a", 12);
}

static void bytes_are_kept_below(void **state) {
  world *w = *state;
  char id[8];
  ae_namespace_config *cell = config_of(w, "cell");
  for (int i = 0; i < 20; i++) {
    snprintf(id, sizeof id, "a%d", i);
    add_many(w, "cell", id, 10);
  }
  uint64_t all = stats_of(w, "cell").bytes;
  cell->retention_bytes = all;
  look(w, 0);
  assert_int_equal(stats_of(w, "cell").bytes, all);
  cell->retention_bytes = all / 2;
  look(w, 0);
  ae_stats half = stats_of(w, "cell");
  assert_true(half.bytes <= all / 2);
  assert_true(half.bytes > all / 4); /* no more than is needed */
  /* The oldest went. */
  assert_int_equal(state_of(w, "cell", "a0", 1).status, AE_HISTORY_TRIMMED);
  assert_int_equal(state_of(w, "cell", "a19", 1).status, AE_OK);
  for (int i = 0; i < 20; i++) {
    snprintf(id, sizeof id, "a%d", i);
    assert_sum(w, "cell", id, 10);
  }
  assert_right(w);
  /* Little too much is let be for an hour. */
  int more = 0;
  while (stats_of(w, "cell").bytes <= all / 2) {
    add_many(w, "cell", "a0", 1);
    more++;
  }
  look(w, DAY / 48);
  assert_true(stats_of(w, "cell").bytes > all / 2);
  look(w, DAY / 12);
  assert_true(stats_of(w, "cell").bytes <= all / 2);
  /* What cannot be reached is no loop without end. */
  cell->retention_bytes = 1;
  look(w, DAY / 6);
  assert_int_equal(stats_of(w, "cell").commits, 20);
  for (int i = 0; i < 20; i++) {
    snprintf(id, sizeof id, "a%d", i);
    assert_sum(w, "cell", id, i == 0 ? 10 + more : 10);
  }
}

/* Wherever it is stopped, all is whole, and the next look goes on. */
static void it_can_be_stopped_anywhere(void **state) {
  world *w = *state;
  char id[8];
  config_of(w, "cell")->retention_days = 1;
  int sum = 0;
  for (int turns = 0; turns < 40; turns++) {
    looking l = {.now = ae_clock_now() + (turns + 2) * 2 * DAY};
    for (int i = 0; i < 3; i++) {
      snprintf(id, sizeof id, "a%d", i);
      add_many(w, "cell", id, 3);
    }
    sum += 3;
    ae_retention *retention = begin(w, &l);
    for (int n = 0; n < turns && !l.looked; n++) world_turn(w);
    stop(w, retention, &l);
    for (int i = 0; i < 3; i++) {
      snprintf(id, sizeof id, "a%d", i);
      assert_sum(w, "cell", id, sum);
    }
  }
  look(w, 200 * DAY);
  assert_int_equal(stats_of(w, "cell").commits, 3);
  assert_right(w);
}

static void the_node_ends_it(void **state) {
  world *w = *state;
  config_of(w, "cell")->retention_bytes = 1;
  add_many(w, "cell", "a", 50);
  assert_int_equal(ae_node_start(w->node, NULL), AE_OK);
  for (int n = 0; n < 3; n++) world_turn(w);
  world_close(w);
}

static void once_is_for_those_who_end(void **state) {
  world *w = *state;
  looking l = {0};
  config_of(w, "cell")->retention_bytes = 1;
  add_many(w, "cell", "a", 50);
  ae_retention *retention = ae_retention_once(w->node, on_stopped, &l);
  assert_non_null(retention);
  assert_false(l.stopped);
  ae_retention_hurry(retention);
  world_until(w, &l.stopped);
  assert_int_equal(stats_of(w, "cell").commits, 50);
  l.stopped = false;
  assert_non_null(ae_retention_once(w->node, on_stopped, &l));
  world_until(w, &l.stopped);
  assert_int_equal(stats_of(w, "cell").commits, 1);
  assert_sum(w, "cell", "a", 50);
}

/* -- bases of another snapshot.version -- */

static void on_written(ae_write *write, ae_status status, const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(bool *)write->data = true;
}

static void save_base(world *w, uint64_t version, int sum) {
  ae_buf state = {0};
  bool done = false;
  ae_pack_map(&state, 1);
  ae_pack_cstr(&state, "sum");
  ae_pack_int(&state, sum);
  ae_snapshot_write write = {.write = {.cb = on_written, .data = &done},
                             .ref = ref_of("cell", "a"),
                             .version = version,
                             .shape = 7,
                             .state = ae_buf_view(&state),
                             .base = true};
  assert_int_equal(ae_store_save_snapshot(ae_node_store(w->node), &write, NULL),
                   AE_OK);
  world_until(w, &done);
  ae_buf_clear(&state);
}

/* While the events are there, they tell; then it, whatever made it. */
static void a_base_is_truth_where_history_begins(void **state) {
  world *w = *state;
  bool done = false;
  add_many(w, "cell", "a", 10);
  save_base(w, 8, 1000);
  assert_sum(w, "cell", "a", 10);
  assert_right(w);
  ae_trim trim = {.write = {.cb = on_written, .data = &done},
                  .ns = AE_STR("cell"),
                  .bytes = 1};
  assert_int_equal(ae_store_trim(ae_node_store(w->node), &trim, NULL), AE_OK);
  world_until(w, &done);
  assert_int_equal(trim.trimmed, 8);
  ae_ref ref = ref_of("cell", "a");
  ae_actors_forget(ae_node_actors(w->node), &ref);
  assert_string_equal(state_of(w, "cell", "a", UINT64_MAX).json,
                      "{\"sum\":1002}");
  assert_right(w);
  /* Later bases are of the code that runs. */
  config_of(w, "cell")->retention_bytes = 1;
  look(w, 0);
  assert_int_equal(stats_of(w, "cell").commits, 1);
  assert_string_equal(state_of(w, "cell", "a", UINT64_MAX).json,
                      "{\"sum\":1002}");
  assert_right(w);
}

/* Nothing rests on it yet, and the code that made it is gone. */
static void a_base_that_was_left_gives_way(void **state) {
  world *w = *state;
  add_many(w, "cell", "a", 20);
  save_base(w, 20, 1000);
  uint64_t all = stats_of(w, "cell").bytes;
  config_of(w, "cell")->retention_bytes = all / 2;
  look(w, 0);
  assert_true(stats_of(w, "cell").trimmed > 5);
  assert_sum(w, "cell", "a", 20);
  config_of(w, "cell")->retention_bytes = 1;
  look(w, 0);
  assert_int_equal(stats_of(w, "cell").commits, 1);
  assert_sum(w, "cell", "a", 20);
  assert_right(w);
}

#define IN_BOTH(test)                                             \
  {#test "_in_memory", test, in_memory, world_tear_down, NULL}, { \
#test "_in_sqlite", test, in_sqlite, world_tear_down, NULL    \
  }

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_BOTH(nothing_is_removed_unasked),
      IN_BOTH(what_is_old_goes_but_the_last),
      IN_BOTH(days_are_looked_at_once_a_day),
      IN_BOTH(bytes_are_kept_below),
      IN_BOTH(it_can_be_stopped_anywhere),
      IN_BOTH(the_node_ends_it),
      IN_BOTH(once_is_for_those_who_end),
      IN_BOTH(a_base_is_truth_where_history_begins),
      IN_BOTH(a_base_that_was_left_gives_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
