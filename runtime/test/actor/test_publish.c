/* What the bus is told of by the actors: what was stored, once, in the order of
 * versions, and before the outcome. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "actor/world.h"
#include "base/log.h"
#include "base/mem.h"

static const ae_grant everything = {.rights = AE_RIGHTS_ALL, .all = true};

static ae_subscription *listen_in(world *w, const char *ns) {
  ae_subscription *subscription;
  ae_subscription_options options = {
      .pattern = ae_str_of(ns), .buffer = 100000, .grant = &everything};
  assert_int_equal(ae_bus_subscribe(w->bus, &options, &subscription, NULL),
                   AE_OK);
  return subscription;
}

/* What it holds, fetched: "TYPE/ID VERSION EVENT" with a space behind each. */
static char *heard(ae_subscription *subscription) {
  static char text[4096];
  size_t len = 0;
  ae_event event;
  text[0] = 0;
  while (ae_subscription_next(subscription, &event)) {
    assert_true(event.position > 0);
    len +=
        (size_t)snprintf(text + len, sizeof text - len, "%.*s/%.*s %llu %.*s ",
                         AE_FMT(event.ref.type), AE_FMT(event.ref.id),
                         (unsigned long long)event.version, AE_FMT(event.type));
    assert_true(len < sizeof text);
  }
  return text;
}

static void test_what_was_stored_is_published(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_subscription *bank = listen_in(w, "bank");
  ae_subscription *other = listen_in(w, "bank.eu");
  assert_int_equal(tell(w, "bank/account/a", "deposit", "{\"amount\":5}"),
                   AE_OK);
  assert_int_equal(tell(w, "bank/account/a", "twice", "{\"amount\":1}"), AE_OK);
  assert_int_equal(tell(w, "bank/account/b", "open", "{}"), AE_OK);
  assert_string_equal(heard(bank),
                      "account/a 1 Deposited account/a 2 Deposited "
                      "account/a 3 Deposited account/b 1 Opened ");
  assert_string_equal(heard(other), "");
  ae_subscription_close(bank);
  ae_subscription_close(other);
  world_close(w);
}

static void test_what_was_not_stored_is_not(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_subscription *bank = listen_in(w, "bank");
  assert_int_equal(tell(w, "bank/account/a", "withdraw", "{\"amount\":5}"),
                   AE_REJECTED);
  assert_int_equal(tell(w, "bank/account/a", "touch", "{}"), AE_OK);
  assert_int_equal(tell(w, "bank/account/a", "break_now", "{}"),
                   AE_SCRIPT_ERROR);
  assert_int_equal(tell(w, "bank/account/a", "deposit", "{\"amount\":13}"),
                   AE_SCRIPT_ERROR);
  assert_int_equal(tell(w, "bank/account/a", "none", "{}"), AE_UNKNOWN_COMMAND);
  sent s;
  hand_in(w, &s, "bank/account/a", "open", "{}", NULL, 7);
  assert_int_equal(s.status, AE_VERSION_CONFLICT);
  sent_clear(&s);
  /* A rejection is kept with its id, and is no event. */
  hand_in(w, &s, "bank/account/a", "withdraw", "{\"amount\":5}", "id-1", -1);
  assert_int_equal(s.status, AE_REJECTED);
  assert_true(s.position > 0);
  sent_clear(&s);
  assert_string_equal(heard(bank), "");
  ae_bus_counts counts;
  ae_bus_count(w->bus, AE_STR("bank"), &counts);
  assert_int_equal(counts.published, 0);
  ae_subscription_close(bank);
  world_close(w);
}

static void test_a_repeated_command_is_told_of_once(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_subscription *bank = listen_in(w, "bank");
  for (int i = 0; i < 3; i++) {
    sent s;
    hand_in(w, &s, "bank/account/a", "open", "{}", "id-1", -1);
    assert_int_equal(s.status, AE_OK);
    assert_int_equal(s.repeated, i > 0);
    sent_clear(&s);
  }
  assert_string_equal(heard(bank), "account/a 1 Opened ");
  ae_subscription_close(bank);
  world_close(w);
}

static void test_a_conflict_is_told_of_when_it_was_settled(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_subscription *bank = listen_in(w, "bank");
  assert_int_equal(tell(w, "bank/memo/m", "add", "{\"n\":1}"), AE_OK);
  assert_int_equal(intrude(w, "bank/memo/m", 1, "Added", 7, false), AE_OK);
  assert_int_equal(tell(w, "bank/memo/m", "add", "{\"n\":1}"), AE_OK);
  /* What another wrote was not stored here: its own node tells of it. */
  assert_string_equal(heard(bank), "memo/m 1 Added memo/m 3 Added ");
  ae_subscription_close(bank);
  world_close(w);
}

/* A command that spoils the state cuts the batch: what was decided before it is
 * stored and told, what comes behind is too. */
static void test_a_cut_batch_is_told_of(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_subscription *bank = listen_in(w, "bank");
  sent s[4];
  static const char *const names[] = {"open", "deposit", "break_now",
                                      "deposit"};
  for (int i = 0; i < 4; i++)
    submit(w, &s[i], "bank/account/a", names[i], "{\"amount\":1}", NULL, -1);
  ae_loop_run(&w->loop);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(s[i].calls, 1);
    sent_clear(&s[i]);
  }
  assert_string_equal(
      heard(bank),
      "account/a 1 Opened account/a 2 Deposited account/a 3 Deposited ");
  ae_subscription_close(bank);
  world_close(w);
}

/* -- before the outcome -- */

typedef struct asker {
  sent sent;
  ae_subscription *subscription;
} asker;

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  asker *a = command->context;
  assert_int_equal(outcome->status, AE_OK);
  a->sent.calls++;
  ae_event mine, told;
  while (ae_outcome_event(outcome, &mine)) {
    assert_true(ae_subscription_next(a->subscription, &told));
    assert_int_equal(told.version, mine.version);
    assert_int_equal(told.position, mine.position);
    assert_int_equal(told.index, mine.index);
    assert_memory_equal(told.id.bytes, mine.id.bytes, 16);
    assert_true(ae_ref_eq(&told.ref, &mine.ref));
    assert_true(ae_str_eq(told.data, mine.data));
  }
}

static void test_who_has_an_outcome_finds_its_events(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_subscription *bank = listen_in(w, "bank");
  asker askers[3];
  for (int i = 0; i < 3; i++) {
    submit(w, &askers[i].sent, "bank/account/a", i == 1 ? "twice" : "deposit",
           "{\"amount\":1}", i == 2 ? "id" : NULL, -1);
    askers[i].subscription = bank;
    askers[i].sent.command.cb = on_outcome;
    askers[i].sent.command.context = &askers[i];
  }
  ae_loop_run(&w->loop);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(askers[i].sent.calls, 1);
    sent_clear(&askers[i].sent);
  }
  assert_string_equal(heard(bank), "");
  ae_subscription_close(bank);
  world_close(w);
}

/* -- many at once, evicted and loaded again meanwhile -- */

static void test_versions_come_in_order_and_whole(void **state) {
  (void)state;
  enum { ACTORS = 20, COMMANDS = 2000 };
  world *w = world_open(30, 0, 0);
  ae_subscription *bank = listen_in(w, "*");
  sent *s = ae_zalloc(COMMANDS * sizeof *s);
  unsigned seed = 11;
  uint64_t events = 0;
  for (int i = 0; i < COMMANDS; i++) {
    static const char *const names[] = {"deposit", "twice", "withdraw",
                                        "break_now"};
    char actor[64];
    snprintf(actor, sizeof actor, "bank/account/%d", rand_r(&seed) % ACTORS);
    submit(w, &s[i], actor, names[rand_r(&seed) % 4], "{\"amount\":1}", NULL,
           -1);
    if (i % 97 == 0) ae_loop_run(&w->loop);
  }
  ae_loop_run(&w->loop);
  for (int i = 0; i < COMMANDS; i++) {
    assert_int_equal(s[i].calls, 1);
    events += s[i].events;
    sent_clear(&s[i]);
  }
  uint64_t versions[ACTORS] = {0}, told = 0;
  ae_event event;
  while (ae_subscription_next(bank, &event)) {
    char id[8] = "";
    memcpy(id, event.ref.id.ptr, event.ref.id.len);
    assert_int_equal(event.version, ++versions[atoi(id)]);
    told++;
  }
  assert_int_equal(told, events);
  assert_int_equal(stats(w).events, events);
  ae_bus_counts counts;
  ae_bus_count(w->bus, AE_STR("bank"), &counts);
  assert_int_equal(counts.published, events);
  assert_int_equal(counts.delivered, events);
  assert_int_equal(counts.dropped, 0);
  ae_subscription_close(bank);
  ae_free(s);
  world_close(w);
}

int main(void) {
  ae_log_setup(AE_LOG_ERROR, AE_LOG_JSON);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_was_stored_is_published),
      cmocka_unit_test(test_what_was_not_stored_is_not),
      cmocka_unit_test(test_a_repeated_command_is_told_of_once),
      cmocka_unit_test(test_a_conflict_is_told_of_when_it_was_settled),
      cmocka_unit_test(test_a_cut_batch_is_told_of),
      cmocka_unit_test(test_who_has_an_outcome_finds_its_events),
      cmocka_unit_test(test_versions_come_in_order_and_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
