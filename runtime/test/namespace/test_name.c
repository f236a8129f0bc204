#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "namespace/encode.h"
#include "namespace/name.h"
#include "namespace/pattern.h"

typedef ae_status (*checker)(ae_str name, ae_error *err);

static void good(checker check, const char *name) {
  ae_error err = {0};
  if (check(ae_str_of(name), &err)) fail_msg("%s", ae_error_text(&err));
  ae_error_clear(&err);
}

static void bad_str(checker check, ae_str name) {
  ae_error err = {0};
  if (check(name, &err) != AE_INVALID_NAME) fail_msg("'%.*s'", AE_FMT(name));
  assert_int_equal(err.status, AE_INVALID_NAME);
  /* One clean line, whatever the name holds. */
  assert_true(ae_str_utf8(ae_buf_view(&err.message)));
  for (size_t i = 0; i < err.message.len; i++) {
    assert_true((uint8_t)err.message.ptr[i] >= ' ');
  }
  assert_int_equal(check(name, NULL), AE_INVALID_NAME);
  ae_error_clear(&err);
}

static void bad(checker check, const char *name) {
  bad_str(check, ae_str_of(name));
}

static char *repeat(char c, size_t n) {
  static char text[400];
  memset(text, c, n);
  text[n] = 0;
  return text;
}

static void namespaces(void **state) {
  (void)state;
  good(ae_namespace_check, "a");
  good(ae_namespace_check, "default");
  good(ae_namespace_check, "Eu.Bank-1_x");
  good(ae_namespace_check, "-");
  good(ae_namespace_check, "1.2.3");
  good(ae_namespace_check, repeat('a', 64));
  bad(ae_namespace_check, repeat('a', 65));
  bad(ae_namespace_check, "");
  bad(ae_namespace_check, ".");
  bad(ae_namespace_check, "..");
  bad(ae_namespace_check, ".a");
  bad(ae_namespace_check, "a.");
  bad(ae_namespace_check, "a..b");
  bad(ae_namespace_check, "a b");
  bad(ae_namespace_check, "a/b");
  bad(ae_namespace_check, "a*");
  bad(ae_namespace_check, ">");
  bad(ae_namespace_check, "$aether");
  bad(ae_namespace_check, "gr\xc3\xbc\xc3\x9f");
  bad(ae_namespace_check, "a\n\x1b[31m");
  bad(ae_namespace_check, "\xff");
  bad_str(ae_namespace_check, (ae_str){"a\0b", 3});
  bad_str(ae_namespace_check, (ae_str){0});
}

static void types_and_modules(void **state) {
  (void)state;
  static const checker both[] = {ae_type_check, ae_module_check};
  for (int i = 0; i < 2; i++) {
    good(both[i], "a");
    good(both[i], "account");
    good(both[i], "a_1");
    good(both[i], repeat('z', 64));
    bad(both[i], repeat('z', 65));
    bad(both[i], "");
    bad(both[i], "Account");
    bad(both[i], "1a");
    bad(both[i], "_a");
    bad(both[i], "a-b");
    bad(both[i], "a.b");
    bad_str(both[i], (ae_str){"a\0", 2});
  }
  bad(ae_type_check, "events");
  bad(ae_type_check, "commands");
  bad(ae_type_check, "projections");
  bad(ae_type_check, "admin");
  good(ae_module_check, "events");
  good(ae_type_check, "event");
}

static void ids(void **state) {
  (void)state;
  good(ae_id_check, "a-1");
  good(ae_id_check, "/");
  good(ae_id_check, "with/slashes and spaces\n");
  good(ae_id_check, "gr\xc3\xbc\xc3\x9f");
  good(ae_id_check, repeat('x', 255));
  bad(ae_id_check, repeat('x', 256));
  bad(ae_id_check, "");
  bad(ae_id_check, "\xff");
  bad(ae_id_check, "\xed\xa0\x80");
  assert_int_equal(ae_id_check((ae_str){"a\0b", 3}, NULL), AE_OK);
}

static void the_message_shows_name_and_rule(void **state) {
  (void)state;
  ae_error err = {0};
  ae_namespace_check(AE_STR("a\nb'"), &err);
  assert_string_equal(
      ae_error_text(&err),
      "'a\\x0ab\\x27' is no namespace: use 1 to 64 of A-Z, a-z, 0-9, '.', "
      "'_' and '-', no dot at an end and no two side by side");
  ae_type_check(AE_STR("events"), &err);
  assert_non_null(
      strstr(ae_error_text(&err), "'events' is no type: the doors"));
  ae_error_clear(&err);
}

/* -- patterns -- */

static void which_patterns_there_are(void **state) {
  (void)state;
  good(ae_pattern_check, "bank");
  good(ae_pattern_check, "*");
  good(ae_pattern_check, ">");
  good(ae_pattern_check, "eu.*.x");
  good(ae_pattern_check, "eu.>");
  good(ae_pattern_check, "*.>");
  good(ae_pattern_check, repeat('a', 64));
  bad(ae_pattern_check, repeat('a', 65));
  bad(ae_pattern_check, "");
  bad(ae_pattern_check, ".");
  bad(ae_pattern_check, "a.");
  bad(ae_pattern_check, ".a");
  bad(ae_pattern_check, "a..b");
  bad(ae_pattern_check, ">.a");
  bad(ae_pattern_check, ">.");
  bad(ae_pattern_check, "a*");
  bad(ae_pattern_check, "**");
  bad(ae_pattern_check, "a.>b");
  bad(ae_pattern_check, "a b");
  bad(ae_pattern_check, "\xff");
  assert_false(ae_pattern_wild(AE_STR("a.b")));
  assert_true(ae_pattern_wild(AE_STR("a.*")));
  assert_true(ae_pattern_wild(AE_STR("*.a")));
  assert_true(ae_pattern_wild(AE_STR(">")));
}

static void matches(const char *pattern, const char *name, bool expected) {
  good(ae_pattern_check, pattern);
  if (ae_pattern_match(ae_str_of(pattern), ae_str_of(name)) != expected) {
    fail_msg("%s %s", pattern, name);
  }
}

static void what_a_pattern_matches(void **state) {
  (void)state;
  matches("bank", "bank", true);
  matches("bank", "Bank", false);
  matches("bank", "bank.eu", false);
  matches("bank", "ban", false);
  matches("bank.eu", "bank", false);
  matches("*", "bank", true);
  matches("*", "bank.eu", false);
  matches("*.*", "bank.eu", true);
  matches("*.*", "bank", false);
  matches("*.eu", "bank.eu", true);
  matches("*.eu", "bank.us", false);
  matches("bank.*.x", "bank.eu.x", true);
  matches("bank.*.x", "bank.eu.y", false);
  matches(">", "bank", true);
  matches(">", "bank.eu.x", true);
  matches("bank.>", "bank.eu.x", true);
  matches("bank.>", "bank.eu", true);
  matches("bank.>", "bank", false); /* `>` is one token at least */
  matches("bank.>", "banks.eu", false);
}

/* -- tokens -- */

static void encodes(const char *name, const char *token) {
  ae_buf out = {0}, back = {0};
  ae_encode(ae_str_of(name), &out);
  assert_string_equal(ae_buf_cstr(&out), token);
  assert_true(ae_decode(ae_buf_view(&out), &back));
  assert_string_equal(ae_buf_cstr(&back), name);
  ae_buf_clear(&out);
  ae_buf_clear(&back);
}

static void names_become_tokens_and_come_back(void **state) {
  (void)state;
  encodes("", "");
  encodes("bank-1", "bank-1");
  encodes("a.b", "a_2eb");
  encodes("a_b", "a_5fb");
  encodes("a b*>", "a_20b_2a_3e");
  encodes("gr\xc3\xbc\xc3\x9f", "gr_c3_bc_c3_9f");
  for (int a = 0; a < 256; a++) {
    for (int b = 0; b < 256; b++) {
      char name[2] = {(char)a, (char)b};
      ae_buf out = {0}, back = {0};
      ae_encode((ae_str){name, 2}, &out);
      assert_true(ae_decode(ae_buf_view(&out), &back));
      assert_int_equal(back.len, 2);
      assert_memory_equal(back.ptr, name, 2);
      ae_buf_clear(&out);
      ae_buf_clear(&back);
    }
  }
}

static void other_tokens_are_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {"_",    "a_",     "_2",  "_2E",  "_zz",
                                      "_41",  "_2d",    "a.b", "a b",  "*",
                                      "\xc3", "a_5fb_", "_5",  "_5f_4"};
  ae_buf out = {0};
  ae_buf_str(&out, AE_STR("before"));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    if (ae_decode(ae_str_of(wrong[i]), &out)) fail_msg("'%s'", wrong[i]);
    assert_int_equal(out.len, 6);
  }
  ae_buf_clear(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(namespaces),
      cmocka_unit_test(types_and_modules),
      cmocka_unit_test(ids),
      cmocka_unit_test(the_message_shows_name_and_rule),
      cmocka_unit_test(which_patterns_there_are),
      cmocka_unit_test(what_a_pattern_matches),
      cmocka_unit_test(names_become_tokens_and_come_back),
      cmocka_unit_test(other_tokens_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
