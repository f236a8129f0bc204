/* The status document, and what of it a grant shows. */
#include "node/status.h"

#include <errno.h>

#include "base/fault.h"
#include "base/json.h"
#include "node/world.h"

static const char *only_cell[] = {"cell"};
static const char *all_of_them[] = {">"};

static const ae_grant person = {
    .name = "person", .rights = AE_RIGHTS_ALL, .all = true};
static const ae_grant of_cell = {.name = "of cell",
                                 .rights = AE_RIGHTS_ALL,
                                 .namespaces = only_cell,
                                 .namespace_count = 1};
static const ae_grant of_all = {.name = "of all",
                                .rights = AE_RIGHT_ADMIN,
                                .namespaces = all_of_them,
                                .namespace_count = 1};
static const ae_grant reader = {.name = "reader",
                                .rights = AE_RIGHT_READ,
                                .namespaces = all_of_them,
                                .namespace_count = 1};

typedef struct seen {
  ae_buf document; /* msgpack */
  ae_buf json;
  bool done;
} seen;

static void on_status(ae_status_read *read, ae_str document) {
  seen *s = read->data;
  assert_false(s->done);
  assert_true(ae_pack_valid(document));
  ae_buf_str(&s->document, document);
  ae_json_write(document, &s->json);
  ae_buf_cstr(&s->json);
  s->done = true;
}

static void look(world *w, const ae_grant *grant, seen *s) {
  ae_status_read read = {.grant = grant, .cb = on_status, .data = s};
  *s = (seen){0};
  ae_node_status(w->node, &read);
  assert_false(s->done);
  world_until(w, &s->done);
}

static void seen_clear(seen *s) {
  ae_buf_clear(&s->document);
  ae_buf_clear(&s->json);
}

/* The value at a path of keys, as JSON. "": there is none. */
static void expect(const seen *s, const char *const *path, const char *json) {
  ae_str at = ae_buf_view(&s->document);
  ae_buf text = {0};
  bool there = true;
  for (; there && *path; path++) there = ae_unpack_field(at, *path, &at);
  if (there) ae_json_write(at, &text);
  assert_string_equal(ae_buf_cstr(&text), json);
  ae_buf_clear(&text);
}
#define EXPECT(s, json, ...) \
  expect(s, (const char *const[]){__VA_ARGS__, NULL}, json)

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

static void a_person_sees_all(void **state) {
  world *w = *state;
  seen s;
  assert_int_equal(ae_node_start(w->node, NULL), AE_OK);
  ae_node_set_url(w->node, "http://127.0.0.1:7070");
  for (int i = 0; i < 3; i++)
    assert_int_equal(world_add(w, "cell", "a", i), AE_OK);
  assert_int_equal(world_add(w, "other", "b", 1), AE_OK);
  look(w, &person, &s);
  EXPECT(&s, "\"http://127.0.0.1:7070\"", "url");
  EXPECT(&s, "true", "ready");
  EXPECT(&s, "false", "draining");
  EXPECT(&s, "[]", "wrong");
  EXPECT(&s, "4", "store", "commits");
  EXPECT(&s, "4", "store", "events");
  EXPECT(&s, "2", "store", "actors");
  EXPECT(&s, "\"is fsynced\"", "store", "promise");
  EXPECT(&s, "3", "namespaces", "cell", "store", "events");
  EXPECT(&s, "1", "namespaces", "other", "store", "events");
  EXPECT(&s, "1", "namespaces", "cell", "live_actors");
  EXPECT(&s, "3", "namespaces", "cell", "types", "counter", "accepted");
  EXPECT(&s, "3", "namespaces", "cell", "bus", "published");
  EXPECT(&s, "50", "namespaces", "cell", "limits", "handler_ms");
  EXPECT(&s, "64", "namespaces", "cell", "limits", "memory_mb");
  EXPECT(&s, "null", "namespaces", "cell", "limits", "commands_per_s");
  EXPECT(&s, "null", "namespaces", "cell", "retention", "days");
  const char *json = ae_buf_cstr(&s.json);
  assert_non_null(strstr(json, "\"version\":\"" AE_VERSION "\""));
  assert_non_null(strstr(json, "\"name\":\"counter\",\"kind\":\"aggregate\","));
  assert_non_null(
      strstr(json, "\"commands\":[\"add\"],\"events\":[\"Added\"]"));
  seen_clear(&s);
}

/* Nothing of another namespace: names, figures, nor their sum. */
static void a_grant_sees_its_own(void **state) {
  world *w = *state;
  seen s;
  for (int i = 0; i < 5; i++)
    assert_int_equal(world_add(w, "other", "b", i), AE_OK);
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  look(w, &of_cell, &s);
  assert_null(strstr(ae_buf_cstr(&s.json), "other"));
  EXPECT(&s, "", "store", "commits");
  EXPECT(&s, "1", "namespaces", "cell", "store", "events");
  seen_clear(&s);
  look(w, &of_all, &s);
  EXPECT(&s, "6", "store", "commits");
  EXPECT(&s, "5", "namespaces", "other", "store", "events");
  seen_clear(&s);
  look(w, &reader, &s);
  EXPECT(&s, "{}", "namespaces");
  EXPECT(&s, "", "store", "commits");
  EXPECT(&s, "true", "ready");
  seen_clear(&s);
}

static void it_says_what_is_wrong(void **state) {
  world *w = *state;
  seen s;
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  ae_fault_arm("sqlite.begin", 0, ENOSPC);
  assert_int_equal(world_add(w, "cell", "a", 1), AE_STORE_FULL);
  look(w, &of_cell, &s);
  EXPECT(&s, "false", "ready");
  const char *json = ae_buf_cstr(&s.json);
  assert_non_null(strstr(json, "\"wrong\":[{\"code\":\"store_full\","));
  seen_clear(&s);
  ae_fault_reset();
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  ae_node_drain(w->node);
  look(w, &of_cell, &s);
  EXPECT(&s, "[]", "wrong");
  EXPECT(&s, "false", "ready");
  EXPECT(&s, "true", "draining");
  seen_clear(&s);
}

/* What is asked when the node closes is still answered. */
static void it_closes_under_way(void **state) {
  world *w = *state;
  seen s = {0};
  ae_status_read read = {.grant = &person, .cb = on_status, .data = &s};
  assert_int_equal(world_add(w, "cell", "a", 1), AE_OK);
  ae_node_status(w->node, &read);
  world_close(w);
  assert_true(s.done);
  EXPECT(&s, "1", "namespaces", "cell", "types", "counter", "accepted");
  seen_clear(&s);
}

int main(void) {
#define TEST(name, set_up) \
  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_person_sees_all, on_disk),
      TEST(a_grant_sees_its_own, in_memory),
      TEST(it_says_what_is_wrong, on_disk),
      TEST(it_closes_under_way, on_disk),
      TEST(it_closes_under_way, in_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
