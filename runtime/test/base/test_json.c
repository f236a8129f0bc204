#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/uuid7.h"

static void becomes(const char *text, const char *expected) {
  ae_buf pack = {0}, out = {0};
  ae_error err = {0};
  if (ae_json_read(ae_str_of(text), &pack, &err)) {
    fail_msg("%s: %s", text, ae_error_text(&err));
  }
  assert_true(ae_pack_valid(ae_buf_view(&pack)));
  ae_json_write(ae_buf_view(&pack), &out);
  assert_string_equal(ae_buf_cstr(&out), expected);
  ae_buf_clear(&pack);
  ae_buf_clear(&out);
  ae_error_clear(&err);
}

static void refused_str(ae_str text, uint64_t at) {
  ae_buf pack = {0};
  ae_error err = {0};
  ae_buf_str(&pack, AE_STR("before"));
  if (ae_json_read(text, &pack, &err) != AE_MALFORMED) {
    fail_msg("%.*s: taken", AE_FMT(text));
  }
  assert_int_equal(pack.len, 6);
  ae_str key;
  uint64_t where;
  ae_unpack facts = ae_unpack_of(ae_buf_view(&err.facts));
  assert_true(ae_unpack_str(&facts, &key) && ae_str_eq(key, AE_STR("at")));
  assert_true(ae_unpack_uint(&facts, &where));
  if (where != at) fail_msg("%.*s: %s", AE_FMT(text), ae_error_text(&err));
  ae_error_clear(&err);
  ae_buf_clear(&pack);
}

static void refused(const char *text, uint64_t at) {
  refused_str(ae_str_of(text), at);
}

static void values_go_through(void **state) {
  (void)state;
  becomes("null", "null");
  becomes(" true ", "true");
  becomes("\t\r\nfalse\n", "false");
  becomes("{}", "{}");
  becomes("[ ]", "[]");
  becomes("{\"b\":[1,{\"a\":null}],\"a\":\"x\"}",
          "{\"b\":[1,{\"a\":null}],\"a\":\"x\"}");
  becomes("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\"",
          "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\"");
  becomes("\"\\u00fc\\ud83d\\ude00\"", "\"\xc3\xbc\xf0\x9f\x98\x80\"");
  becomes("\"gr\xc3\xbc\xc3\x9f \xe4\xb8\x96\"",
          "\"gr\xc3\xbc\xc3\x9f \xe4\xb8\x96\"");
  becomes("\"\x7f\xc2\x80\xc2\x9b\xc2\xa0\"",
          "\"\\u007f\\u0080\\u009b\xc2\xa0\"");
  becomes("{\"\":1}", "{\"\":1}");
}

static void integers_stay_exact(void **state) {
  (void)state;
  becomes("0", "0");
  becomes("-0", "0");
  becomes("9007199254740993", "9007199254740993");
  becomes("9223372036854775807", "9223372036854775807");
  becomes("9223372036854775808", "9223372036854775808");
  becomes("18446744073709551615", "18446744073709551615");
  becomes("-9223372036854775808", "-9223372036854775808");
  refused("18446744073709551616", 0);
  refused("[-9223372036854775809]", 1);
  refused("{\"a\":[0,99999999999999999999999]}", 8);
}

static void doubles_are_shortest_and_come_back(void **state) {
  (void)state;
  becomes("0.1", "0.1");
  becomes("-0.0", "-0.0");
  becomes("5.0", "5.0"); /* still a double when read again */
  becomes("1e5", "100000.0");
  becomes("1e300", "1e+300");
  becomes("5e-324", "5e-324");
  becomes("1.7976931348623157e308", "1.7976931348623157e+308");
  becomes("18446744073709551616.0", "1.8446744073709552e+19");
  refused("1e309", 0);
  refused("[1.5,-1e999]", 5);
  /* Random bit patterns, through text and back. */
  ae_uuid7 random = {.state = {3, 1, 4, 1}, .seeded = true};
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = ae_uuid7_random(&random);
    double value;
    memcpy(&value, &bits, 8);
    if (!isfinite(value)) continue;
    ae_buf pack = {0}, text = {0}, again = {0};
    ae_pack_double(&pack, value);
    ae_json_write(ae_buf_view(&pack), &text);
    assert_int_equal(ae_json_read(ae_buf_view(&text), &again, NULL), AE_OK);
    assert_true(ae_str_eq(ae_buf_view(&pack), ae_buf_view(&again)));
    ae_buf_clear(&pack);
    ae_buf_clear(&text);
    ae_buf_clear(&again);
  }
}

static void what_is_no_json_is_refused_where_it_is_not(void **state) {
  (void)state;
  refused("", 0);
  refused("  ", 0);
  refused("NaN", 0);
  refused("-NaN", 1);
  refused("Infinity", 0);
  refused("-Infinity", 1);
  refused("True", 0);
  refused("nul", 0);
  refused("trueX", 4);
  refused("1 2", 2);
  refused("{}x", 2);
  refused("[1,]", 3);
  refused("[1 2]", 3);
  refused("[1}", 2);
  refused("[", 1);
  refused("[1", 2);
  refused("{\"a\":1,}", 7);
  refused("{a:1}", 1);
  refused("{\"a\" 1}", 5);
  refused("{\"a\":1", 6);
  refused("{\"a\"", 4);
  refused("{", 1);
  refused("{1:2}", 1);
  refused("'a'", 0);
  refused("/*c*/1", 0);
  refused("1//c", 1);
  refused(".5", 0);
  refused("+1", 0);
  refused("1.", 2);
  refused("1.e5", 2);
  refused("1e", 2);
  refused("1e+", 3);
  refused("-", 1);
  refused("01", 0);
  refused("-01", 0);
  refused("0x10", 1);
  refused("1.2.3", 3);
  refused("\"a", 0);
  refused("\"a\\", 2);
  refused("\"\\x\"", 1);
  refused("\"\\u12g4\"", 1);
  refused("\"\\u12", 1);
  refused("\"a\nb\"", 2);
  refused("\"a\tb\"", 2);
  refused("\v1", 0);
  refused(
      "\xef\xbb\xbf"
      "1",
      0);
  refused_str((ae_str){"1\0", 2}, 1);
  refused_str((ae_str){"\"a\0b\"", 5}, 2);
}

static void broken_unicode_is_refused(void **state) {
  (void)state;
  refused("\"a\xff\"", 2);
  refused("\"\xed\xa0\x80\"", 1);
  refused("\"\xc3\"", 1);
  refused("{\"\xc0\x80\":1}", 2);
  refused("\"\\ud800\"", 1);
  refused("\"\\udc00\"", 1);
  refused("\"\\ud800\\u0041\"", 1);
  refused("\"\\ud800x\"", 1);
}

static void keys_are_never_lost(void **state) {
  (void)state;
  refused("{\"a\":1,\"a\":2}", 0);
  refused("[{\"x\":{}},{\"b\":{\"a\":1,\"\\u0061\":2}}]", 15);
  refused("{\"a\\u0000b\":1}", 3);
  becomes("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}",
          "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}");
}

static void depth_is_bounded(void **state) {
  (void)state;
  for (int depth = AE_PACK_DEPTH; depth <= AE_PACK_DEPTH + 1; depth++) {
    for (int maps = 0; maps < 2; maps++) {
      ae_buf text = {0}, out = {0};
      const char *open = maps ? "{\"a\":" : "[";
      for (int i = 0; i < depth; i++) ae_buf_str(&text, ae_str_of(open));
      ae_buf_byte(&text, '1');
      for (int i = 0; i < depth; i++) ae_buf_byte(&text, maps ? '}' : ']');
      if (depth <= AE_PACK_DEPTH) {
        becomes(ae_buf_cstr(&text), ae_buf_cstr(&text));
      } else {
        refused(ae_buf_cstr(&text), AE_PACK_DEPTH * strlen(open));
      }
      ae_buf_clear(&text);
      ae_buf_clear(&out);
    }
  }
}

static void a_failure_leaves_nothing_for_the_next(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    refused("[1,2", 4);
    refused("{\"a\":1,\"a\":1}", 0);
    becomes("[1,2]", "[1,2]");
    becomes("12", "12");
  }
}

static void written(ae_str pack, const char *expected) {
  ae_buf out = {0};
  ae_json_write(pack, &out);
  assert_string_equal(ae_buf_cstr(&out), expected);
  ae_buf_clear(&out);
}

static void msgpack_that_json_lacks_has_a_form(void **state) {
  (void)state;
  written(AE_STR("\xc4\x00"), "\"\"");
  written(AE_STR("\xc4\x01"
                 "f"),
          "\"Zg==\"");
  written(AE_STR("\xc4\x02"
                 "fo"),
          "\"Zm8=\"");
  written(AE_STR("\xc4\x03"
                 "foo"),
          "\"Zm9v\"");
  written(AE_STR("\xc4\x03\xff\xfe\xfd"), "\"//79\"");
  written(AE_STR("\x82\x01\xc0\xfe\xc3"), "{\"1\":null,\"-2\":true}");
  written(AE_STR("\xca\x3f\x80\0\0"), "1.0");
  written(AE_STR("\xcb\x7f\xf0\0\0\0\0\0\0"), "null"); /* infinity */
  written(AE_STR("\xcb\x7f\xf8\0\0\0\0\0\0"), "null"); /* NaN */
  written(AE_STR("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
          "18446744073709551615");
}

static void damage_still_makes_json(void **state) {
  (void)state;
  written((ae_str){0}, "null");
  written(AE_STR("\xc1"), "null");
  written(AE_STR("\x92\x01\xc1"), "[1,null]");
  written(AE_STR("\x81\xa1"
                 "a\xc1"),
          "{\"a\":null}");
  written(AE_STR("\x81\x90\x01"), "{\"\":null}");
  written(AE_STR("\x81\xa3"
                 "ab"),
          "{\"\":null}"); /* a key cut short */
  written(AE_STR("\x93\x01\xc1\x02"), "[1,null]");
  written(AE_STR("\xa2"
                 "a\xff"),
          "\"a\xef\xbf\xbd\"");
  written(AE_STR("\xa1\xc3"), "\"\xef\xbf\xbd\"");
  char deep[200];
  memset(deep, 0x91, sizeof deep);
  ae_buf out = {0};
  ae_json_write((ae_str){deep, sizeof deep}, &out);
  assert_int_equal(out.ptr[0], '[');
  ae_buf_clear(&out);
  /* The deepest value that is valid, inside the levels of an outcome. */
  ae_buf pack = {0};
  for (int i = 0; i < AE_PACK_DEPTH + 4; i++) ae_pack_array(&pack, 1);
  ae_pack_int(&pack, 7);
  ae_json_write(ae_buf_view(&pack), &out);
  assert_int_equal(out.ptr[AE_PACK_DEPTH + 4], '7');
  ae_buf_clear(&out);
  ae_buf_clear(&pack);
}

static void people_get_lines(void **state) {
  (void)state;
  ae_buf pack = {0}, out = {0};
  ae_json_read(AE_STR("{\"a\":[1,{\"b\":[]}],\"c\":{}}"), &pack, NULL);
  ae_json_write_pretty(ae_buf_view(&pack), 0, &out);
  assert_string_equal(ae_buf_cstr(&out),
                      "{\n"
                      "  \"a\": [\n"
                      "    1,\n"
                      "    {\n"
                      "      \"b\": []\n"
                      "    }\n"
                      "  ],\n"
                      "  \"c\": {}\n"
                      "}");
  ae_buf_reset(&out);
  ae_json_write_pretty(AE_STR("\x91\x01"), 4, &out);
  assert_string_equal(ae_buf_cstr(&out), "[\n      1\n    ]");
  ae_buf_clear(&pack);
  ae_buf_clear(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_go_through),
      cmocka_unit_test(integers_stay_exact),
      cmocka_unit_test(doubles_are_shortest_and_come_back),
      cmocka_unit_test(what_is_no_json_is_refused_where_it_is_not),
      cmocka_unit_test(broken_unicode_is_refused),
      cmocka_unit_test(keys_are_never_lost),
      cmocka_unit_test(depth_is_bounded),
      cmocka_unit_test(a_failure_leaves_nothing_for_the_next),
      cmocka_unit_test(msgpack_that_json_lacks_has_a_form),
      cmocka_unit_test(damage_still_makes_json),
      cmocka_unit_test(people_get_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
