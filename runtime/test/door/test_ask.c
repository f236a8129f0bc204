#include "door/ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json.h"

static ae_buf bytes;
static ae_command command;
static ae__asked asked;
static ae_error err;

static ae_status read(const char *line) {
  asked = (ae__asked){.line = 1};
  return ae__ask_read(ae_str_of(line), &bytes, &command, &asked, &err);
}

static void assert_str(ae_str text, const char *expected) {
  assert_int_equal(text.len, strlen(expected));
  assert_memory_equal(text.ptr, expected, text.len);
}

static void reads_all_fields(void **state) {
  (void)state;
  assert_int_equal(
      read("{\"actor\":\"bank/account/a/b\",\"command\":\"deposit\","
           "\"data\":{\"amount\":5},\"id\":\"x\",\"expected_version\":0,"
           "\"metadata\":{\"user\":\"u\"}}"),
      AE_OK);
  assert_str(command.ref.ns, "bank");
  assert_str(command.ref.type, "account");
  assert_str(command.ref.id, "a/b");
  assert_str(command.name, "deposit");
  assert_str(command.data,
             "\x81\xa6"
             "amount\x05");
  assert_str(command.id, "x");
  assert_true(command.expects);
  assert_int_equal(command.expected_version, 0);
  assert_str(command.metadata, "\x81\xa4user\xa1u");
  assert_int_equal(read("{\"actor\":\"a/b/c\",\"command\":\"d\"}"), AE_OK);
  assert_str(command.data, "\x80");
  assert_null(command.id.ptr);
  assert_false(command.expects);
  assert_int_equal(command.metadata.len, 0);
}

static void assert_wrong(const char *line, ae_status status, const char *part) {
  assert_int_equal(read(line), status);
  if (!strstr(ae_error_text(&err), part))
    fail_msg("%s: \"%s\" lacks %s", line, ae_error_text(&err), part);
}

static void says_what_is_wrong(void **state) {
  (void)state;
#define AND "\"actor\":\"a/b/c\",\"command\":\"d\","
  assert_wrong("", AE_MALFORMED, "");
  assert_wrong("[]", AE_MALFORMED, "object");
  assert_wrong("{}", AE_MALFORMED, "`actor`");
  assert_wrong("{\"actor\":1}", AE_MALFORMED, "`actor`");
  assert_wrong("{\"actor\":\"a/b/c\"}", AE_MALFORMED, "`command`");
  assert_wrong("{\"actor\":\"a/b/c\",\"command\":\"\"}", AE_MALFORMED,
               "`command`");
  assert_wrong("{\"actor\":\"a/B/c\",\"command\":\"d\"}", AE_INVALID_NAME, "B");
  assert_wrong("{" AND "\"data\":[]}", AE_MALFORMED, "`data`");
  assert_wrong("{" AND "\"data\":null}", AE_MALFORMED, "`data`");
  assert_wrong("{" AND "\"id\":\"\"}", AE_MALFORMED, "`id`");
  assert_wrong("{" AND "\"id\":7}", AE_MALFORMED, "`id`");
  assert_wrong("{" AND "\"expected_version\":-1}", AE_MALFORMED,
               "`expected_version`");
  assert_wrong("{" AND "\"expected_version\":1.5}", AE_MALFORMED,
               "`expected_version`");
  assert_wrong("{" AND "\"metadata\":[]}", AE_MALFORMED, "`metadata`");
  assert_wrong("{" AND "\"dta\":{}}", AE_MALFORMED, "did you mean `data`?");
  assert_wrong("{" AND "\"id\":\"a\",\"id\":\"b\"}", AE_MALFORMED,
               "equal keys");
#undef AND
}

/* What was understood is said again, unless it is too long to be a name. */
static void keeps_what_it_understood(void **state) {
  (void)state;
  assert_int_equal(read("{\"actor\":\"a/b/c\",\"comand\":\"d\",\"id\":\"i\"}"),
                   AE_MALFORMED);
  assert_str(asked.actor, "a/b/c");
  assert_str(asked.id, "i");
  assert_null(asked.command.ptr);
  ae_buf line = {0};
  ae_buf_printf(&line, "{\"command\":\"d\",\"actor\":\"");
  for (int i = 0; i < 1000; i++) ae_buf_byte(&line, 'x');
  ae_buf_printf(&line, "\"}");
  assert_int_not_equal(read(ae_buf_cstr(&line)), AE_OK);
  assert_null(asked.actor.ptr);
  assert_str(asked.command, "d");
  ae_buf_clear(&line);
}

static int clear(void **state) {
  (void)state;
  ae_buf_clear(&bytes);
  ae_error_clear(&err);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_all_fields),
      cmocka_unit_test(says_what_is_wrong),
      cmocka_unit_test(keeps_what_it_understood),
  };
  return cmocka_run_group_tests(tests, NULL, clear);
}
