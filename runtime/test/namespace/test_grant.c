#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pack.h"
#include "namespace/grant.h"
#include "namespace/pattern.h"

static void rights_have_words(void **state) {
  (void)state;
  static const ae_right rights[] = {AE_RIGHT_COMMAND, AE_RIGHT_READ,
                                    AE_RIGHT_LISTEN, AE_RIGHT_ADMIN};
  unsigned all = 0;
  for (size_t i = 0; i < 4; i++) {
    const char *word = ae_right_word(rights[i]);
    assert_int_equal(ae_right_of(ae_str_of(word)), rights[i]);
    all |= rights[i];
  }
  assert_int_equal(all, AE_RIGHTS_ALL);
  assert_string_equal(ae_right_word(AE_RIGHT_LISTEN), "listen");
  assert_int_equal(ae_right_of(AE_STR("")), 0);
  assert_int_equal(ae_right_of(AE_STR("Listen")), 0);
  assert_int_equal(ae_right_of(AE_STR("listens")), 0);
}

static void a_pattern_covers_what_it_holds(void **state) {
  (void)state;
  static const struct {
    const char *wide, *narrow;
    bool covers;
  } cases[] = {
      {"a", "a", true},        {"a", "b", false},
      {"a", "A", false},       {"a", "a.b", false},
      {"a.b", "a", false},     {"*", "a", true},
      {"*", "*", true},        {"a", "*", false},
      {"*", ">", false},       {">", "*", true},
      {">", ">", true},        {">", "a.*.>", true},
      {"a.>", "a.b", true},    {"a.>", "a.>", true},
      {"a.>", "a.*", true},    {"a.>", "a", false},
      {"a.>", ">", false},     {"a.>", "*.b", false},
      {"*.>", "a.>", true},    {"*.>", "a", false},
      {"*.*", "a.b", true},    {"*.*", "a.*", true},
      {"*.*", "a.>", false},   {"*.*", "*.*.*", false},
      {"*.b", "a.b", true},    {"*.b", "*.b", true},
      {"*.b", "*.*", false},   {"a.*.c", "a.b.c", true},
      {"a.*.c", "a.>", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (ae_pattern_covers(ae_str_of(cases[i].wide),
                          ae_str_of(cases[i].narrow)) != cases[i].covers)
      fail_msg("%s over %s", cases[i].wide, cases[i].narrow);
}

static void a_right_holds_in_its_namespaces(void **state) {
  (void)state;
  const char *namespaces[] = {"bank", "eu.*"};
  const ae_grant grant = {.name = "ann",
                          .rights = AE_RIGHT_READ | AE_RIGHT_LISTEN,
                          .namespaces = namespaces,
                          .namespace_count = 2};
  static const char *const within[] = {"bank", "eu.bank", "eu._"};
  static const char *const without[] = {"Bank", "ban",    "bank.eu", "ba_nk",
                                        "eu",   "eu.a.b", "b",       ""};
  for (size_t i = 0; i < 3; i++) {
    ae_str ns = ae_str_of(within[i]);
    assert_true(ae_grant_allows(&grant, AE_RIGHT_READ, ns));
    assert_true(ae_grant_allows(&grant, AE_RIGHT_LISTEN, ns));
    assert_false(ae_grant_allows(&grant, AE_RIGHT_COMMAND, ns));
    assert_false(ae_grant_allows(&grant, AE_RIGHT_ADMIN, ns));
  }
  for (size_t i = 0; i < 8; i++)
    assert_false(ae_grant_allows(&grant, AE_RIGHT_READ, ae_str_of(without[i])));
  const ae_grant local = {.rights = AE_RIGHT_READ, .all = true};
  assert_true(ae_grant_allows(&local, AE_RIGHT_READ, AE_STR("any")));
  assert_false(ae_grant_allows(&local, AE_RIGHT_COMMAND, AE_STR("any")));
  const ae_grant nobody = {0};
  assert_false(ae_grant_allows(&nobody, AE_RIGHT_READ, AE_STR("bank")));
}

static ae_status try(const ae_grant *grant, const char *pattern,
                     const char *needs) {
  ae_error err = {0};
  ae_status status = ae_grant_subscribe(grant, ae_str_of(pattern), &err);
  assert_int_equal(status, err.status);
  if (status != AE_OK) {
    ae_buf fact = {0};
    ae_pack_cstr(&fact, "needs");
    ae_pack_cstr(&fact, needs);
    assert_int_equal(err.nfacts, 1);
    assert_true(ae_str_eq(ae_buf_view(&fact), ae_buf_view(&err.facts)));
    ae_buf_clear(&fact);
  }
  ae_error_clear(&err);
  assert_int_equal(ae_grant_subscribe(grant, ae_str_of(pattern), NULL), status);
  return status;
}

static void a_wildcard_is_granted_by_itself(void **state) {
  (void)state;
  const char *namespaces[] = {"bank", "eu.>"};
  const char *wildcards[] = {"us.*", "asia.>"};
  ae_grant grant = {.name = "ann",
                    .rights = AE_RIGHT_LISTEN,
                    .namespaces = namespaces,
                    .namespace_count = 2,
                    .wildcards = wildcards,
                    .wildcard_count = 2};
  assert_int_equal(try(&grant, "bank", NULL), AE_OK);
  assert_int_equal(try(&grant, "eu.a.b", NULL), AE_OK);
  assert_int_equal(try(&grant, "us.*", NULL), AE_OK);
  assert_int_equal(try(&grant, "asia.*.x", NULL), AE_OK);
  /* To hold a right in many namespaces is not to watch them at once. */
  assert_int_equal(try(&grant, "eu.>", "a grant of eu.>"), AE_FORBIDDEN);
  assert_int_equal(try(&grant, "us.>", "a grant of us.>"), AE_FORBIDDEN);
  assert_int_equal(try(&grant, "*", "a grant of *"), AE_FORBIDDEN);
  assert_int_equal(try(&grant, "shop", "listen"), AE_FORBIDDEN);
  grant.rights = AE_RIGHT_READ | AE_RIGHT_ADMIN | AE_RIGHT_COMMAND;
  assert_int_equal(try(&grant, "bank", "listen"), AE_FORBIDDEN);
  assert_int_equal(try(&grant, "us.*", "listen"), AE_FORBIDDEN);
  grant = (ae_grant){.rights = AE_RIGHTS_ALL, .all = true};
  assert_int_equal(try(&grant, ">", NULL), AE_OK);
  assert_int_equal(try(&grant, "shop", NULL), AE_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rights_have_words),
      cmocka_unit_test(a_pattern_covers_what_it_holds),
      cmocka_unit_test(a_right_holds_in_its_namespaces),
      cmocka_unit_test(a_wildcard_is_granted_by_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
