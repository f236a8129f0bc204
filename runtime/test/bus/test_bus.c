/* Who hears what of the bus, and what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/log.h"
#include "bus/listener.h"

static void a_name_hears_its_own_namespace_alone(void **state) {
  (void)state;
  listening l;
  ear bank, other;
  listening_open(&l);
  ear_new(&bank, &l, "bank");
  ear_new(&other, &l, "other");
  publish(l.bus, "bank/account/a", "Opened Deposited", 1, 7);
  publish(l.bus, "shop/order/o", "Placed", 1, 1);
  ae_loop_run(&l.loop);
  assert_int_equal(bank.wakes, 1);
  assert_int_equal(other.wakes, 0);
  assert_string_equal(ear_hears(&bank),
                      "bank/account/a 1 Opened\nbank/account/a 2 Deposited\n");
  assert_string_equal(ear_hears(&other), "");
  ear_counts(&bank, 2, 0, 0);
  bus_counts(&l, "bank", 2, 2, 0, 1);
  bus_counts(&l, "shop", 1, 0, 0, 0);
  bus_counts(&l, "other", 0, 0, 0, 1);
  bus_counts(&l, "none", 0, 0, 0, 0);
  ear_close(&bank);
  ear_close(&other);
  bus_counts(&l, "bank", 2, 2, 0, 0);
  bus_counts(&l, "other", 0, 0, 0, 0);
  listening_close(&l);
}

static void an_event_is_whole(void **state) {
  (void)state;
  listening l;
  ear e;
  listening_open(&l);
  ear_new(&e, &l, "bank");
  publish(l.bus, "bank/account/a", "Opened Closed", 5, 42);
  ae_event event;
  assert_true(ae_subscription_next(e.subscription, &event));
  assert_true(ae_subscription_next(e.subscription, &event));
  assert_true(ae_str_eq(event.type, AE_STR("Closed")));
  assert_int_equal(event.version, 6);
  assert_int_equal(event.position, 42);
  assert_int_equal(event.index, 1);
  assert_int_equal(event.revision, 1);
  assert_int_equal(event.time, 1700000000000000);
  assert_true(ae_str_eq(event.ref.id, AE_STR("a")));
  ae_str text;
  assert_true(ae_unpack_field(event.data, "text", &text));
  /* The record of the last one is there until the next call, or the close. */
  assert_true(ae_str_eq(event.type, AE_STR("Closed")));
  ear_close(&e);
  listening_close(&l);
}

/* Names made to be mistaken for each other. */
static void confusing_names_are_kept_apart(void **state) {
  (void)state;
  char longest[65], nearly[65];
  memset(longest, 'a', 64);
  memset(nearly, 'a', 63);
  longest[64] = nearly[63] = 0;
  const char *names[] = {"a",     "A",     "a.b",  "a_b", "a-b",  "a.B",  "ab",
                         "a.b.c", "b",     "b.a",  "_",   "-",    "a_",   "_a",
                         "a__b",  "a_5fb", "a.5f", "0",   nearly, longest};
  enum { NAMES = sizeof names / sizeof *names };
  listening l;
  ear ears[NAMES];
  listening_open(&l);
  for (size_t i = 0; i < NAMES; i++) ear_new(&ears[i], &l, names[i]);
  for (size_t i = 0; i < NAMES; i++) {
    char actor[100];
    snprintf(actor, sizeof actor, "%s/account/x", names[i]);
    publish(l.bus, actor, "Opened", i + 1, i + 1);
  }
  for (size_t i = 0; i < NAMES; i++) {
    char expected[120];
    snprintf(expected, sizeof expected, "%s/account/x %zu Opened\n", names[i],
             i + 1);
    assert_string_equal(ear_hears(&ears[i]), expected);
    bus_counts(&l, names[i], 1, 1, 0, 1);
    ear_close(&ears[i]);
  }
  listening_close(&l);
}

static void what_is_no_pattern_is_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {"",
                                      ".",
                                      "..",
                                      "a..b",
                                      ".a",
                                      "a.",
                                      "a>",
                                      ">.a",
                                      "a*",
                                      "*a",
                                      "a.b*.c",
                                      "%61",
                                      "a%2eb",
                                      "a/b",
                                      "a b",
                                      "$aether",
                                      "a\n",
                                      "\xc3\xa4",
                                      "a.\xff",
                                      "aaaaaaaaaaaaaaaaaaaaaaaa"
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                      "aaaaaaaaa"};
  listening l;
  listening_open(&l);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ear e;
    ae_error err = {0};
    assert_int_equal(ear_open(&e, &l, wrong[i], NULL, NULL, 0, &err),
                     AE_INVALID_NAME);
    assert_null(e.subscription);
    assert_true(ae_str_utf8(ae_buf_view(&err.message)));
    assert_non_null(strstr(ae_error_text(&err), "is no namespace pattern"));
    ae_error_clear(&err);
  }
  listening_close(&l);
}

static void wildcards_hear_what_they_match(void **state) {
  (void)state;
  static const char *const names[] = {"a", "a.b", "a.b.c", "a.c", "b", "b.b"};
  static const struct {
    const char *pattern, *hears; /* one digit for each of names */
  } cases[] = {{"*", "100010"},     {">", "111111"},   {"a.*", "010100"},
               {"a.>", "011100"},   {"*.b", "010001"}, {"*.*", "010101"},
               {"*.*.*", "001000"}, {"*.>", "011101"}, {"a", "100000"}};
  enum { CASES = sizeof cases / sizeof *cases, NAMES = 6 };
  /* Subscribed before and after the namespaces are known. */
  for (int known = 0; known < 2; known++) {
    listening l;
    ear ears[CASES];
    listening_open(&l);
    for (size_t n = 0; n < NAMES && known; n++) {
      char actor[32];
      snprintf(actor, sizeof actor, "%s/t/x", names[n]);
      publish(l.bus, actor, "Before", 1, 1);
    }
    for (size_t i = 0; i < CASES; i++) ear_new(&ears[i], &l, cases[i].pattern);
    for (size_t n = 0; n < NAMES; n++) {
      char actor[32];
      size_t matching = 0;
      for (size_t i = 0; i < CASES; i++) matching += cases[i].hears[n] == '1';
      snprintf(actor, sizeof actor, "%s/t/x", names[n]);
      bus_counts(&l, names[n], known ? 1 : 0, 0, 0, matching);
      publish(l.bus, actor, "Told", 2, 2);
      bus_counts(&l, names[n], known ? 2 : 1, 0, 0, matching);
    }
    for (size_t i = 0; i < CASES; i++) {
      char expected[200] = "";
      for (size_t n = 0; n < NAMES; n++)
        if (cases[i].hears[n] == '1')
          snprintf(expected + strlen(expected), 40, "%s/t/x 2 Told\n",
                   names[n]);
      assert_string_equal(ear_hears(&ears[i]), expected);
      ear_close(&ears[i]);
    }
    for (size_t n = 0; n < NAMES; n++)
      assert_false(ae_bus_listened(l.bus, ae_str_of(names[n])));
    listening_close(&l);
  }
}

static void filters_choose_types_and_actors(void **state) {
  (void)state;
  static const struct {
    const char *types, *actor, *hears;
  } cases[] = {
      {NULL, NULL,
       "b/account/a-1 1 Opened\nb/account/a-1 2 Deposited\n"
       "b/account/a-1 3 Opened\nb/account/b*x 1 Closed\n"
       "b/acc/a-1 9 Opened\n"},
      {"Opened", NULL,
       "b/account/a-1 1 Opened\nb/account/a-1 3 Opened\nb/acc/a-1 9 Opened\n"},
      {"Deposited Closed", NULL,
       "b/account/a-1 2 Deposited\nb/account/b*x 1 Closed\n"},
      {"Zebra Closed Ant Opened Closed Opene Yak Closing B Deposit", NULL,
       "b/account/a-1 1 Opened\nb/account/a-1 3 Opened\n"
       "b/account/b*x 1 Closed\nb/acc/a-1 9 Opened\n"},
      {"Open", NULL, ""},
      {"Openedx", NULL, ""},
      {"opened", NULL, ""},
      {NULL, "acc/*", "b/acc/a-1 9 Opened\n"},
      {NULL, "*/b*", "b/account/b*x 1 Closed\n"},
      {NULL, "*/b*x", "b/account/b*x 1 Closed\n"},
      {NULL, "acc*/a-1",
       "b/account/a-1 1 Opened\nb/account/a-1 2 Deposited\n"
       "b/account/a-1 3 Opened\nb/acc/a-1 9 Opened\n"},
      {NULL, "account/a-", ""},
      {NULL, "account/a-12", ""},
      {NULL, "accounts/*", ""},
      {"Closed", "account/a*", ""},
      {"Opened Closed", "account/*",
       "b/account/a-1 1 Opened\nb/account/a-1 3 Opened\n"
       "b/account/b*x 1 Closed\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    listening l;
    ear e;
    listening_open(&l);
    assert_int_equal(
        ear_open(&e, &l, "b", cases[i].types, cases[i].actor, 0, NULL), AE_OK);
    publish(l.bus, "b/account/a-1", "Opened Deposited Opened", 1, 1);
    publish(l.bus, "b/account/b*x", "Closed", 1, 2);
    publish(l.bus, "b/acc/a-1", "Opened", 9, 3);
    publish(l.bus, "bb/account/a-1", "Opened", 1, 1);
    assert_string_equal(ear_hears(&e), cases[i].hears);
    ae_subscription_counts counts;
    ae_subscription_count(e.subscription, &counts);
    assert_int_equal(counts.dropped, 0);
    bus_counts(&l, "b", 5, counts.delivered, 0, 1);
    ear_close(&e);
    listening_close(&l);
  }
}

static void what_is_no_filter_is_refused(void **state) {
  (void)state;
  static const char *const actors[] = {
      "account", "/", "account/", "/a",   "Account/*", "acc*unt/*", "**/a",
      "a b/c",   "*", "admin/a",  "*a/b", "a/\xff*",   "a/\xff",    "\xff/a"};
  listening l;
  ear e;
  ae_error err = {0};
  listening_open(&l);
  for (size_t i = 0; i < sizeof actors / sizeof *actors; i++) {
    assert_int_equal(ear_open(&e, &l, "b", NULL, actors[i], 0, &err),
                     AE_INVALID_NAME);
    assert_null(e.subscription);
    assert_non_null(strstr(ae_error_text(&err), "is no pattern of actors"));
    ae_error_clear(&err);
  }
  assert_int_equal(ear_open(&e, &l, "b", "\xff", NULL, 0, &err),
                   AE_INVALID_NAME);
  assert_non_null(strstr(ae_error_text(&err), "is no type of events"));
  ae_error_clear(&err);
  const ae_str none = {0};
  ae_subscription_options options = {.pattern = AE_STR("b"),
                                     .types = &none,
                                     .type_count = 1,
                                     .grant = &everything};
  assert_int_equal(ae_bus_subscribe(l.bus, &options, &e.subscription, NULL),
                   AE_INVALID_NAME);
  listening_close(&l);
}

/* -- grants -- */

static char *log_of(void (*run)(listening *l), listening *l) {
  FILE *file = tmpfile();
  assert_non_null(file);
  int kept = dup(2);
  dup2(fileno(file), 2);
  run(l);
  dup2(kept, 2);
  close(kept);
  rewind(file);
  static char text[4096];
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  return text;
}

static void subscribe_as_ann(listening *l) {
  const char *namespaces[] = {"bank", "eu.*"};
  const char *wildcards[] = {"eu.>"};
  const ae_grant ann = {.name = "ann",
                        .rights = AE_RIGHT_LISTEN,
                        .namespaces = namespaces,
                        .namespace_count = 2,
                        .wildcards = wildcards,
                        .wildcard_count = 1};
  static const struct {
    const char *pattern;
    ae_status status;
  } cases[] = {
      {"bank", AE_OK},     {"eu.bank", AE_OK},      {"eu.*", AE_OK},
      {"eu.x.>", AE_OK},   {"shop", AE_FORBIDDEN},  {"eu", AE_FORBIDDEN},
      {"*", AE_FORBIDDEN}, {">", AE_FORBIDDEN},     {"*.bank", AE_FORBIDDEN},
      {"eu.*.x", AE_OK},   {"bank.>", AE_FORBIDDEN}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ae_subscription *subscription;
    ae_error err = {0};
    ae_subscription_options options = {.pattern = ae_str_of(cases[i].pattern),
                                       .grant = &ann};
    assert_int_equal(ae_bus_subscribe(l->bus, &options, &subscription, &err),
                     cases[i].status);
    if (cases[i].status != AE_OK) {
      assert_null(subscription);
      assert_non_null(strstr(ae_error_text(&err), "ann"));
      assert_int_equal(err.nfacts, 1); /* needs */
    }
    ae_subscription_close(subscription);
    ae_error_clear(&err);
  }
}

static void wildcards_need_a_grant_and_are_logged(void **state) {
  (void)state;
  listening l;
  listening_open(&l);
  ae_log_setup(AE_LOG_INFO, AE_LOG_JSON);
  const char *log = log_of(subscribe_as_ann, &l);
  size_t lines = 0;
  for (const char *at = log; (at = strchr(at, '\n')); at++) lines++;
  assert_int_equal(lines, 3);
  assert_non_null(strstr(log, "\"level\":\"warn\""));
  assert_non_null(strstr(log, "\"pattern\":\"eu.*\""));
  assert_non_null(strstr(log, "\"pattern\":\"eu.x.>\""));
  assert_non_null(strstr(log, "\"pattern\":\"eu.*.x\""));
  assert_non_null(strstr(log, "\"by\":\"ann\""));
  bus_counts(&l, "eu.x", 0, 0, 0, 0);
  listening_close(&l);
}

int main(void) {
  ae_log_setup(AE_LOG_ERROR, AE_LOG_JSON);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_hears_its_own_namespace_alone),
      cmocka_unit_test(an_event_is_whole),
      cmocka_unit_test(confusing_names_are_kept_apart),
      cmocka_unit_test(what_is_no_pattern_is_refused),
      cmocka_unit_test(wildcards_hear_what_they_match),
      cmocka_unit_test(filters_choose_types_and_actors),
      cmocka_unit_test(what_is_no_filter_is_refused),
      cmocka_unit_test(wildcards_need_a_grant_and_are_logged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
