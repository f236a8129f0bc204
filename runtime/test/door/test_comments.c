#include "door/http/comments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static ae__comments *comments;

static void read(const char *text) {
  ae__comments_free(comments);
  comments = ae__comments_in(ae_str_of(text));
}

static int tear_down(void **state) {
  (void)state;
  ae__comments_free(comments);
  comments = NULL;
  return 0;
}

static void assert_is(ae_str got, const char *expected) {
  if (!ae_str_eq(got, ae_str_of(expected)))
    fail_msg("\"%.*s\", not \"%s\"", AE_FMT(got), expected);
}

static void finds_what_stands_above(void **state) {
  (void)state;
  read(
      "--- A bank account. It never goes below zero.\n"
      "-- On two lines.\n"
      "local event = require('aether.event')\n"
      "\n"
      "local account = {}\n"
      "-- decide: a command comes in\n"
      "local decide = {}\n"
      "--- Takes money out.\n"
      "--\n"
      "-- @param state what is there\n"
      "-- @return events\n"
      "function decide.withdraw(state, withdraw)\n"
      "end\n"
      "--- Puts money in.\n"
      "decide.deposit = function() end\r\n"
      "  ---   Indented.  \r\n"
      "  function account.decide.close(state) end\n"
      "--- Of something else.\n"
      "local function helper() end\n"
      "--- Apart.\n"
      "\n"
      "function decide.open() end\n"
      "-- No documentation.\n"
      "function decide.touch() end\n");
  assert_is(ae__comments_module(comments),
            "A bank account. It never goes below zero.\nOn two lines.");
  assert_is(ae__comments_command(comments, AE_STR("withdraw")),
            "Takes money out.");
  assert_is(ae__comments_command(comments, AE_STR("deposit")),
            "Puts money in.");
  assert_is(ae__comments_command(comments, AE_STR("close")), "Indented.");
  assert_is(ae__comments_command(comments, AE_STR("open")), "");
  assert_is(ae__comments_command(comments, AE_STR("touch")), "");
  assert_is(ae__comments_command(comments, AE_STR("with")), "");
}

static void takes_no_other_for_one(void **state) {
  (void)state;
  read("local x = 1\n--- Late.\nlocal y = 2\n");
  assert_is(ae__comments_module(comments), "");
  read("\n\n-- A licence.\n\n--- The module.\n\n--- Another.\nlocal x\n");
  assert_is(ae__comments_module(comments), "The module.");
  read("--- One.\nfunction undecide.withdraw() end\n");
  assert_is(ae__comments_command(comments, AE_STR("withdraw")), "");
  read("--- One.\nfunction decide.withdraw.x() end\n");
  assert_is(ae__comments_command(comments, AE_STR("withdraw")), "");
  assert_is(ae__comments_command(comments, AE_STR("x")), "");
  read("--- \xff\xfe\nlocal x\n");
  assert_is(ae__comments_module(comments), "");
  static const char *const odd[] = {"",
                                    "\n",
                                    "---",
                                    "---\n",
                                    "--- x",
                                    "decide.",
                                    "--- x\nfunction decide.",
                                    "--- x\nfunction ",
                                    "--- x\ndecide.a",
                                    "--- x\n.decide.a(",
                                    "-",
                                    "--- @x\n---\n--\n"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) read(odd[i]);
}

static void a_file_that_is_not_there_has_none(void **state) {
  (void)state;
  ae__comments_free(comments);
  comments = ae__comments_of("/nowhere/at/all.lua");
  assert_is(ae__comments_module(comments), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(finds_what_stands_above, tear_down),
      cmocka_unit_test_teardown(takes_no_other_for_one, tear_down),
      cmocka_unit_test_teardown(a_file_that_is_not_there_has_none, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
