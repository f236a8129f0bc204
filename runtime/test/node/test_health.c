/* When a node says that it is ready, and when not. */
#include <errno.h>

#include "base/fault.h"
#include "base/log.h"
#include "node/world.h"

static int in_memory(void **state) {
  *state = world_new("memory");
  return 0;
}

static int on_disk(void **state) {
  *state = world_new("sqlite");
  return 0;
}

static int tear_down(void **state) {
  ae_fault_reset();
  return world_tear_down(state);
}

static void count_wrong(void *data, ae_str ns, const ae_error *err) {
  assert_int_equal(ns.len, 0);
  assert_true(err->message.len > 0);
  ++*(int *)data;
}

static int wrong(world *w) {
  int count = 0;
  ae_node_wrong(w->node, count_wrong, &count);
  return count;
}

static void it_is_ready_until_it_drains(void **state) {
  world *w = *state;
  ae_error why = {0};
  assert_int_equal(ae_node_start(w->node, &why), AE_OK);
  assert_int_equal(ae_node_ready(w->node, &why), AE_OK);
  assert_int_equal(wrong(w), 0);
  ae_node_drain(w->node);
  assert_int_equal(ae_node_ready(w->node, &why), AE_CANCELED);
  assert_non_null(strstr(ae_error_text(&why), "stopping"));
  assert_int_equal(wrong(w), 0);
  /* What comes all the same is served. */
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  ae_error_clear(&why);
}

static void it_knows_where_it_is(void **state) {
  world *w = *state;
  assert_null(ae_node_url(w->node));
  ae_node_set_url(w->node, "http://127.0.0.1:1");
  ae_node_set_url(w->node, "http://127.0.0.1:2");
  assert_string_equal(ae_node_url(w->node), "http://127.0.0.1:2");
  assert_true(ae_node_started(w->node) > 1600000000000000);
  assert_non_null(ae_node_realm(w->node, AE_STR("cell")));
  assert_null(ae_node_realm(w->node, AE_STR("nowhere")));
}

static bool ready(world *w) {
  return ae_node_ready(w->node, NULL) == AE_OK;
}

/* Red with the first write that fails, and green again by itself: whoever
 * balances load sends nothing to a red node that would show it. */
static void a_store_that_fails_and_comes_back(void **state) {
  world *w = *state;
  ae_error why = {0};
  ae_pulse_counts counts;
  unsigned long errors = ae_log_errors();
  assert_int_equal(ae_node_start(w->node, &why), AE_OK);
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  ae_fault_arm("sqlite.begin", 0, EIO);
  assert_int_equal(world_add(w, "cell", "a", 1), AE_STORE_UNAVAILABLE);
  assert_int_equal(ae_node_ready(w->node, &why), AE_STORE_UNAVAILABLE);
  assert_non_null(strstr(ae_error_text(&why), "events.db"));
  assert_int_equal(wrong(w), 1);
  /* The pulse probes in vain, and says so once. */
  do {
    world_turn(w);
    ae_node_pulse(w->node, &counts);
  } while (counts.beats < 2);
  assert_false(ready(w));
  assert_int_equal(ae_log_errors(), errors + 1);
  ae_fault_reset();
  while (!ready(w)) world_turn(w);
  assert_int_equal(wrong(w), 0);
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  ae_error_clear(&why);
}

/* Each step of a close with something under way. */
static void it_closes_while_it_probes(void **state) {
  world *w = *state;
  ae_pulse_counts counts;
  assert_int_equal(ae_node_start(w->node, NULL), AE_OK);
  ae_fault_arm("sqlite.begin", 0, EIO);
  assert_int_equal(world_add(w, "cell", "a", 1), AE_STORE_UNAVAILABLE);
  do {
    world_turn(w);
    ae_node_pulse(w->node, &counts);
  } while (counts.beats < 1);
  world_close(w);
}

int main(void) {
#define TEST(name, set_up) \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(it_is_ready_until_it_drains, in_memory),
      TEST(it_knows_where_it_is, in_memory),
      TEST(a_store_that_fails_and_comes_back, on_disk),
      TEST(it_closes_while_it_probes, on_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
