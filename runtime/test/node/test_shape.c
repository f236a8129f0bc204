#include "node/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

/* Checks settings written as JSON; the message, or "" where they are right. */
static const char *check(const char *json) {
  static char text[1024];
  ae_buf packed = {0};
  ae_error err = {0};
  ae__shape top = {.key = "", .kind = AE__RECORD, .fields = ae__settings};
  assert_int_equal(ae_json_read(ae_str_of(json), &packed, &err), AE_OK);
  ae_status status = ae__shape_check(&top, "", ae_buf_view(&packed), &err);
  snprintf(text, sizeof text, "%s", ae_error_text(&err));
  assert_int_equal(status, text[0] ? AE_MALFORMED : AE_OK);
  ae_buf_clear(&packed);
  ae_error_clear(&err);
  return text;
}

static void assert_says(const char *json, const char *part) {
  const char *text = check(json);
  if (!strstr(text, part)) fail_msg("%s: \"%s\" lacks %s", json, text, part);
}

static void takes_what_is_right(void **state) {
  (void)state;
  static const char *const good[] = {
      "{}",
      "[]", /* an empty Lua table */
      "{\"store\":\"memory\",\"data\":\"d\",\"replicas\":3}",
      "{\"store\":\"sqlite:a b.db\"}",
      "{\"store\":\"nats://a:4222,nats://b:4222\"}",
      "{\"listen\":\"127.0.0.1:0\",\"node\":\"a.b\",\"shards\":64}",
      "{\"listen\":\"[::1]:7070\"}",
      "{\"log\":\"debug\",\"judge\":{\"actors\":0}}",
      "{\"tokens\":[{\"name\":\"ci\",\"namespaces\":[\"bank.*\",\">\"],"
      "\"rights\":[\"admin\"]}]}",
      "{\"grants\":{\"ops\":[\"bank.>\"]},\"tls\":{\"certificate\":\"c\"}}",
      "{\"nats\":{\"user\":\"u\",\"password\":\"p\",\"tls\":{\"ca\":\"x\"}}}",
      "{\"namespaces\":[]}",
      "{\"namespaces\":{\"bank\":{\"modules\":\"bank\",\"retry\":\"patient\","
      "\"limits\":{\"handler_ms\":0.5,\"memory_mb\":64,\"live_actors\":10,"
      "\"commands_per_s\":1.5,\"events_per_s\":1e9,\"bytes\":1},\"retention\":{"
      "\"days\":365,\"bytes\":1}}}}",
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    assert_string_equal(check(good[i]), "");
}

static void names_the_place_and_the_nearest(void **state) {
  (void)state;
  assert_says("{\"stoer\":1}", "stoer is no setting; did you mean store?");
  assert_says("{\"xyzzy\":1}", "known are store, data, replicas");
  assert_says("{\"namespaces\":{\"a\":{\"limit\":{}}}}",
              "namespaces.a.limit is no setting; did you mean limits?");
  assert_says("{\"namespaces\":{\"a\":{\"limits\":{\"memory\":1}}}}",
              "namespaces.a.limits.memory");
  assert_says("{\"store\":5}", "store must be a text");
  assert_says("{\"store\":\"\"}", "not empty");
  assert_says("{\"store\":\"postgres:x\"}", "sqlite:FILE");
  assert_says("{\"replicas\":0}", "from 1 to 5");
  assert_says("{\"replicas\":1.5}", "whole number");
  assert_says("{\"replicas\":-1}", "whole number");
  assert_says("{\"replicas\":\"1\"}", "whole number");
  assert_says("{\"listen\":\"7070\"}", "HOST:PORT");
  assert_says("{\"listen\":\"a:99999\"}", "HOST:PORT");
  assert_says("{\"log\":\"loud\"}", "debug, info, warn or error");
  assert_says("{\"judge\":5}", "judge must be a table");
  assert_says("{\"namespaces\":[1]}", "namespaces must be a table");
  assert_says("{\"namespaces\":{\"a b\":{}}}", "namespaces");
  assert_says("{\"namespaces\":{\"a\":{\"limits\":{\"handler_ms\":0}}}}",
              "above 0");
  assert_says("{\"namespaces\":{\"a\":{\"retention\":{\"days\":0}}}}",
              "namespaces.a.retention.days");
  assert_says("{\"tokens\":{\"a\":1}}", "tokens must be a list");
  assert_says("{\"tokens\":[{\"name\":\"a\",\"namespaces\":[\"a.>.b\"]}]}",
              "tokens[1].namespaces[1]");
  assert_says("{\"grants\":{\"ops\":\"bank\"}}", "grants.ops must be a list");
}

static void reads_what_a_person_wrote(void **state) {
  (void)state;
  ae_buf out = {0};
  ae_error err = {0};
  ae_str nearest;
  const ae__shape *shards =
      ae__shape_field(ae__settings, AE_STR("shards"), &nearest);
  const ae__shape *store =
      ae__shape_field(ae__settings, AE_STR("store"), &nearest);
  assert_int_equal(ae__shape_parse(shards, "S", "64", &out, &err), AE_OK);
  assert_int_equal(out.len, 1);
  assert_int_equal(ae__shape_parse(shards, "S", "many", &out, &err),
                   AE_MALFORMED);
  assert_non_null(strstr(ae_error_text(&err), "S must be a number"));
  ae_buf_reset(&out);
  assert_int_equal(ae__shape_parse(store, "S", "{x", &out, &err), AE_OK);
  assert_memory_equal(out.ptr, "\xa2{x", 3);
  ae_buf_clear(&out);
  ae_error_clear(&err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_what_is_right),
      cmocka_unit_test(names_the_place_and_the_nearest),
      cmocka_unit_test(reads_what_a_person_wrote),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
