/* Quotas of a namespace, over a memory store. Rates of next to nothing stand
 * for a bucket that holds one token and never fills again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "actor/world.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define NEVER 0.001 /* a second */

static void expect_refused(sent *s, const char *limit) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\"queue\":\"%s\"", limit);
  assert_int_equal(s->status, AE_OVERLOADED);
  if (!strstr(ae_buf_cstr(&s->error), wanted))
    fail_msg("%s is not in %s", wanted, s->error.ptr);
}

static uint64_t retry_after(sent *s) {
  const char *at = strstr(ae_buf_cstr(&s->error), "\"retry_after\":");
  return at ? strtoull(at + 14, NULL, 10) : 0;
}

static ae_realm_counts counts(const ae_realm *realm) {
  ae_realm_counts out;
  ae_realm_count(realm, &out);
  return out;
}

static void test_commands_a_second(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_realm *shop =
      world_realm(w, "shop", &(ae_limits){.commands_per_s = NEVER});
  sent s;
  /* What is not understood does not count. */
  assert_int_equal(tell(w, "shop/none/a", "open", "{}"), AE_UNKNOWN_TYPE);
  assert_int_equal(tell(w, "shop/account/", "open", "{}"), AE_INVALID_NAME);
  assert_int_equal(tell(w, "shop/account/a", "open", "{}"), AE_OK);
  for (int i = 0; i < 3; i++) {
    hand_in(w, &s, "shop/account/b", "open", "{}", NULL, -1);
    expect_refused(&s, "commands_per_s");
    assert_in_range(retry_after(&s), 900000, 1000000);
    sent_clear(&s);
  }
  assert_int_equal(counts(shop).refused[AE_LIMIT_COMMANDS], 3);
  assert_int_equal(counts(shop).live, 1);
  assert_int_equal(counts(shop).limits.live_actors, 100000);
  assert_int_equal(tell(w, "bank/account/a", "open", "{}"), AE_OK);
  world_close(w);
}

/* Never more than a second's worth and what the time brought. */
static void test_commands_at_their_rate(void **state) {
  (void)state;
  enum { SENT = 3000, RATE = 500 };
  world *w = world_open(0, 0, 0);
  sent *s = ae_zalloc(SENT * sizeof *s);
  uint64_t from = ae_clock_mono();
  world_realm(w, "shop", &(ae_limits){.commands_per_s = RATE});
  unsigned accepted = 0;
  for (int i = 0; i < SENT; i++) {
    submit(w, &s[i], "shop/account/a", "touch", "{}", NULL, -1);
    if (i % 100 == 0) ae_loop_run(&w->loop);
  }
  ae_loop_run(&w->loop);
  double passed = (double)(ae_clock_mono() - from) / 1e9;
  for (int i = 0; i < SENT; i++) {
    accepted += s[i].status == AE_OK;
    if (s[i].status != AE_OK) expect_refused(&s[i], "commands_per_s");
    sent_clear(&s[i]);
  }
  assert_true(accepted >= RATE);
  assert_true(accepted <= RATE + RATE * passed + 1);
  ae_free(s);
  world_close(w);
}

static void test_events_leave_a_debt(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_realm *shop = world_realm(w, "shop", &(ae_limits){.events_per_s = NEVER});
  sent s;
  /* What stores nothing gives its room back. */
  assert_int_equal(tell(w, "shop/account/a", "touch", "{}"), AE_OK);
  assert_int_equal(tell(w, "shop/account/a", "withdraw", "{\"amount\":1}"),
                   AE_REJECTED);
  assert_int_equal(tell(w, "shop/account/a", "break_now", "{}"),
                   AE_SCRIPT_ERROR);
  assert_int_equal(tell(w, "shop/account/a", "opne", "{}"), AE_UNKNOWN_COMMAND);
  hand_in(w, &s, "shop/account/a", "open", "{}", NULL, 5);
  assert_int_equal(s.status, AE_VERSION_CONFLICT);
  sent_clear(&s);
  hand_in(w, &s, "shop/account/a", "twice", "{\"amount\":1}", "id", -1);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.events, 2);
  sent_clear(&s);
  hand_in(w, &s, "shop/account/a", "touch", "{}", NULL, -1);
  expect_refused(&s, "events_per_s");
  assert_in_range(retry_after(&s), 1900000, 2000000);
  sent_clear(&s);
  assert_int_equal(counts(shop).refused[AE_LIMIT_EVENTS], 1);
  world_close(w);
}

static void test_what_joins_stores_nothing(void **state) {
  (void)state;
  enum { TIMES = 3 };
  world *w = world_open(0, 0, 0);
  world_realm(w, "shop", &(ae_limits){.events_per_s = TIMES});
  uint64_t from = ae_clock_mono();
  /* Three with one id take three rooms, store one event, give two back. */
  sent s[TIMES];
  for (int i = 0; i < TIMES; i++)
    submit(w, &s[i], "shop/account/a", "open", "{}", "id", -1);
  ae_loop_run(&w->loop);
  for (int i = 0; i < TIMES; i++) {
    assert_int_equal(s[i].status, AE_OK);
    assert_int_equal(s[i].repeated, i > 0);
    sent_clear(&s[i]);
  }
  unsigned accepted = 0;
  for (int i = 0; i < 10; i++)
    accepted += tell(w, "shop/account/a", "deposit", "{\"amount\":1}") == AE_OK;
  double passed = (double)(ae_clock_mono() - from) / 1e9;
  assert_true(accepted >= 2);
  assert_true(accepted <= 2 + TIMES * passed + 1);
  world_close(w);
}

/* -- bytes -- */

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(bool *)read->data = true;
}

static uint64_t stored_bytes(world *w, const char *ns) {
  bool done = false;
  ae_stats_read read = {.ns = ae_str_of(ns), .cb = on_stats, .data = &done};
  assert_int_equal(ae_store_stats(w->store, &read, NULL), AE_OK);
  ae_loop_run(&w->loop);
  assert_true(done);
  return read.stats.bytes;
}

static void on_closed(void *data) {
  ((world *)data)->closed = true;
}

/* As a new start over the same store; the namespace's script goes on. */
static ae_realm *restart(world *w, const ae_limits *limits) {
  ae_actors_close(w->actors, on_closed, w);
  while (!w->closed) ae_loop_run(&w->loop);
  w->closed = false;
  w->actors = ae_actors_new(&w->loop, w->store, NULL);
  w->realm =
      ae_actors_realm(w->actors, AE_STR("bank"), w->script, NULL, (ae_str){0});
  return ae_actors_realm(w->actors, AE_STR("shop"), w->others[0], limits,
                         (ae_str){0});
}

static void test_bytes_are_those_of_records(void **state) {
  (void)state;
  const ae_limits limits = {.bytes = 3000};
  world *w = world_open(0, 0, 0);
  ae_realm *shop = world_realm(w, "shop", &limits);
  sent s;
  uint64_t before = 0;
  for (int i = 0; i < 100; i++) {
    /* Rejections that are kept with their ids take bytes too. */
    char id[16];
    snprintf(id, sizeof id, "id-%d", i);
    hand_in(w, &s, "shop/account/a", i % 2 ? "deposit" : "withdraw",
            i % 2 ? "{\"amount\":1}" : "{\"amount\":1000}", id, -1);
    if (s.status == AE_OVERLOADED) break;
    assert_int_equal(s.status, i % 2 ? AE_OK : AE_REJECTED);
    before = counts(shop).bytes;
    sent_clear(&s);
  }
  expect_refused(&s, "bytes");
  assert_int_equal(retry_after(&s), 0);
  sent_clear(&s);
  assert_int_equal(counts(shop).bytes, before);
  assert_int_equal(stored_bytes(w, "shop"), before);
  assert_in_range(before, 3000, 3400);
  assert_int_equal(counts(shop).refused[AE_LIMIT_BYTES], 1);
  /* Reading goes on, and so do others. */
  seen look_at;
  look(w, &look_at, "shop/account/a", UINT64_MAX);
  ae_loop_run(&w->loop);
  assert_int_equal(look_at.status, AE_OK);
  ae_buf_clear(&look_at.json);
  assert_int_equal(tell(w, "bank/account/a", "open", "{}"), AE_OK);
  /* Known from the first command on. */
  shop = restart(w, &limits);
  hand_in(w, &s, "shop/account/b", "open", "{}", NULL, -1);
  expect_refused(&s, "bytes");
  sent_clear(&s);
  assert_int_equal(counts(shop).bytes, before);
  shop = restart(w, &(ae_limits){.bytes = before + 1});
  assert_int_equal(tell(w, "shop/account/b", "open", "{}"), AE_OK);
  assert_int_equal(tell(w, "shop/account/b", "touch", "{}"), AE_OVERLOADED);
  assert_int_equal(counts(shop).bytes, stored_bytes(w, "shop"));
  world_close(w);
}

static void on_written(ae_write *write, ae_status status, const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(bool *)write->data = true;
}

/* Retention below a base snapshot of everything but the last commit. */
static void trim(world *w, const char *actor, uint64_t base) {
  bool done = false;
  ae_buf state = {0};
  ae_pack_map(&state, 0);
  ae_snapshot_write snapshot = {.write = {.cb = on_written, .data = &done},
                                .version = base,
                                .shape = 1,
                                .state = ae_buf_view(&state),
                                .base = true};
  assert_int_equal(ae_ref_parse(ae_str_of(actor), &snapshot.ref, NULL), AE_OK);
  assert_int_equal(ae_store_save_snapshot(w->store, &snapshot, NULL), AE_OK);
  ae_loop_run(&w->loop);
  assert_true(done);
  done = false;
  ae_trim trim = {.write = {.cb = on_written, .data = &done},
                  .ns = snapshot.ref.ns,
                  .bytes = 1};
  assert_int_equal(ae_store_trim(w->store, &trim, NULL), AE_OK);
  ae_loop_run(&w->loop);
  assert_true(done);
  assert_true(trim.trimmed > 0);
  ae_buf_clear(&state);
}

static void test_room_that_retention_made_is_noticed(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_realm *shop = world_realm(w, "shop", &(ae_limits){.bytes = 2000});
  uint64_t version = 0;
  while (tell(w, "shop/account/a", "deposit", "{\"amount\":1}") == AE_OK)
    version++;
  assert_true(version > 3);
  trim(w, "shop/account/a", version - 1);
  while (tell(w, "shop/account/b", "deposit", "{\"amount\":1}") != AE_OK)
    usleep(10000); /* the store is not asked with each command */
  assert_int_equal(counts(shop).bytes, stored_bytes(w, "shop"));
  assert_true(counts(shop).bytes < 2000);
  world_close(w);
}

/* Commands that come before the bytes are known wait for them, in order. */
static void test_what_waits_keeps_its_order(void **state) {
  (void)state;
  enum { COMMANDS = 20 };
  world *w = world_open(0, 0, 0);
  world_realm(w, "shop", &(ae_limits){.bytes = 1000000});
  sent s[COMMANDS];
  for (int i = 0; i < COMMANDS; i++) {
    submit(w, &s[i], "shop/account/a", "deposit", "{\"amount\":1}", NULL, -1);
    uv_run(&w->loop.uv, UV_RUN_NOWAIT);
  }
  ae_loop_run(&w->loop);
  for (int i = 0; i < COMMANDS; i++) {
    assert_int_equal(s[i].status, AE_OK);
    assert_int_equal(s[i].version, i + 1);
    sent_clear(&s[i]);
  }
  world_close(w);
}

static void test_what_waits_ends_with_the_actors(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  world_realm(w, "shop", &(ae_limits){.bytes = 1000000});
  sent s[3];
  for (int i = 0; i < 3; i++)
    submit(w, &s[i], "shop/account/a", "open", "{}", NULL, -1);
  uv_run(&w->loop.uv, UV_RUN_NOWAIT); /* one turn: the store is being asked */
  world_close(w);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(s[i].calls, 1);
    sent_clear(&s[i]);
  }
}

/* -- live actors -- */

static void test_live_actors(void **state) {
  (void)state;
  enum { ACTORS = 5, LIVE = 2 };
  world *w = world_open(0, 0, 0);
  ae_realm *shop = world_realm(w, "shop", &(ae_limits){.live_actors = LIVE});
  sent s[ACTORS];
  for (int round = 0; round < 3; round++) {
    /* All at once: two find room, and the others are at no fault. */
    for (int i = 0; i < ACTORS; i++) {
      char actor[32];
      snprintf(actor, sizeof actor, "shop/account/%d", (i + round) % ACTORS);
      submit(w, &s[i], actor, "deposit", "{\"amount\":1}", NULL, -1);
    }
    ae_loop_run(&w->loop);
    for (int i = 0; i < ACTORS; i++) {
      if (i < LIVE)
        assert_int_equal(s[i].status, AE_OK);
      else
        expect_refused(&s[i], "live_actors");
      sent_clear(&s[i]);
    }
    assert_int_equal(ae_realm_live(shop), LIVE);
  }
  /* One after the other: idle ones make room. */
  for (int i = 0; i < ACTORS * 2; i++) {
    char actor[32];
    snprintf(actor, sizeof actor, "shop/account/%d", i % ACTORS);
    assert_int_equal(tell(w, actor, "deposit", "{\"amount\":1}"), AE_OK);
    assert_int_equal(ae_realm_live(shop), LIVE);
  }
  assert_int_equal(counts(shop).refused[AE_LIMIT_ACTORS], 9);
  world_close(w);
}

/* -- one over its quota, beside another -- */

static void test_one_over_its_quota_is_alone_with_it(void **state) {
  (void)state;
  enum { LOUD = 4000, QUIET = 400, EVERY = LOUD / QUIET };
  static const struct {
    ae_limits limits;
    ae_limit over;
  } cases[] = {{{.commands_per_s = NEVER}, AE_LIMIT_COMMANDS},
               {{.events_per_s = NEVER}, AE_LIMIT_EVENTS},
               {{.bytes = 1}, AE_LIMIT_BYTES},
               {{.live_actors = 1}, AE_LIMIT_ACTORS}};
  for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
    world *w = world_open(0, 0, 0);
    ae_realm *loud = world_realm(w, "a", &cases[n].limits);
    ae_realm *quiet = world_realm(w, "a.b", NULL);
    sent *s = ae_zalloc((LOUD + QUIET) * sizeof *s);
    sent *at = s;
    assert_int_equal(tell(w, "a/account/0", "open", "{}"), AE_OK);
    for (int i = 0; i < LOUD; i++) {
      char actor[32];
      snprintf(actor, sizeof actor, "a/account/%d", i);
      submit(w, at++, actor, "deposit", "{\"amount\":1}", NULL, -1);
      if (i % EVERY) continue;
      submit(w, at++, "a.b/account/x", "deposit", "{\"amount\":1}", NULL, -1);
    }
    ae_loop_run(&w->loop);
    uint64_t refused = 0, version = 0;
    for (sent *it = s; it < at; it++) {
      assert_int_equal(it->calls, 1);
      if (strncmp(it->name, "a.b/", 4) == 0) {
        assert_int_equal(it->status, AE_OK);
        assert_int_equal(it->version, ++version);
      } else {
        refused += it->status == AE_OVERLOADED;
      }
      sent_clear(it);
    }
    assert_int_equal(version, QUIET);
    assert_true(refused > LOUD / 2);
    assert_int_equal(counts(loud).refused[cases[n].over], refused);
    for (int i = 0; i < AE_LIMIT_COUNT; i++)
      assert_int_equal(counts(quiet).refused[i], 0);
    ae_free(s);
    world_close(w);
  }
}

int main(void) {
  ae_log_setup(AE_LOG_ERROR, AE_LOG_JSON);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_commands_a_second),
      cmocka_unit_test(test_commands_at_their_rate),
      cmocka_unit_test(test_events_leave_a_debt),
      cmocka_unit_test(test_what_joins_stores_nothing),
      cmocka_unit_test(test_bytes_are_those_of_records),
      cmocka_unit_test(test_room_that_retention_made_is_noticed),
      cmocka_unit_test(test_what_waits_keeps_its_order),
      cmocka_unit_test(test_what_waits_ends_with_the_actors),
      cmocka_unit_test(test_live_actors),
      cmocka_unit_test(test_one_over_its_quota_is_alone_with_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
