/* Actors over a memory store, through real Lua modules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "actor/world.h"
#include "base/map.h"
#include "base/mem.h"

static void test_accepts_and_rejects(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s;
  hand_in(w, &s, "bank/account/a", "deposit", "{\"amount\":5}", NULL, -1);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 1);
  assert_true(s.position > 0);
  assert_string_equal(ae_buf_cstr(&s.types), "Deposited ");
  sent_clear(&s);
  hand_in(w, &s, "bank/account/a", "withdraw", "{\"amount\":6}", NULL, -1);
  assert_int_equal(s.status, AE_REJECTED);
  assert_int_equal(s.version, 1);
  assert_string_equal(ae_buf_cstr(&s.error),
                      "{\"code\":\"rejected\",\"message\":"
                      "\"insufficient_funds\",\"reason\":"
                      "\"insufficient_funds\",\"details\":{\"balance\":5}}");
  sent_clear(&s);
  hand_in(w, &s, "bank/account/a", "touch", "{}", NULL, -1);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 1);
  assert_int_equal(s.events, 0);
  sent_clear(&s);
  hand_in(w, &s, "bank/account/a", "twice", "{\"amount\":2}", NULL, 1);
  assert_int_equal(s.version, 3);
  assert_string_equal(ae_buf_cstr(&s.types), "Deposited Deposited ");
  sent_clear(&s);
  expect_state(w, "bank/account/a", UINT64_MAX, 3,
               "{\"balance\":9,\"open\":false}");
  expect_state(w, "bank/account/a", 2, 2, "{\"balance\":7,\"open\":false}");
  expect_state(w, "bank/account/none", UINT64_MAX, 0,
               "{\"balance\":0,\"open\":false}");
  seen late;
  look(w, &late, "bank/account/a", 99);
  ae_loop_run(&w->loop);
  assert_int_equal(late.status, AE_NOT_FOUND);
  ae_buf_clear(&late.json);
  ae_type_counts counts = counts_of(w, "account");
  assert_int_equal(counts.commands, 4);
  assert_int_equal(counts.accepted, 3);
  assert_int_equal(counts.rejected, 1);
  assert_int_equal(counts.events, 3);
  world_close(w);
}

static void test_names_what_is_unknown(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  static const struct {
    const char *actor, *command;
    ae_status status;
    const char *says;
  } cases[] = {
      {"bonk/account/a", "open", AE_UNKNOWN_NAMESPACE, "\"nearest\":\"bank\""},
      {"bank/acount/a", "open", AE_UNKNOWN_TYPE, "\"nearest\":\"account\""},
      {"bank/friendly/a", "open", AE_UNKNOWN_TYPE, "friendly"},
      {"bank/account/a", "opne", AE_UNKNOWN_COMMAND, "\"nearest\":\"open\""},
      {"bank/account/", "open", AE_INVALID_NAME, "id"},
      {"bank/Account/a", "open", AE_INVALID_NAME, "Account"},
      {"b nk/account/a", "open", AE_INVALID_NAME, "b nk"},
      {"bank/account/\xff", "open", AE_INVALID_NAME, "UTF-8"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sent s;
    hand_in(w, &s, cases[i].actor, cases[i].command, "{}", NULL, -1);
    assert_int_equal(s.status, cases[i].status);
    if (!strstr(ae_buf_cstr(&s.error), cases[i].says))
      fail_msg("%s lacks %s", ae_buf_cstr(&s.error), cases[i].says);
    sent_clear(&s);
  }
  assert_int_equal(stats(w).commits, 0);
  world_close(w);
}

static void test_stores_a_turn_as_one_commit(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s[20];
  for (int i = 0; i < 20; i++)
    submit(w, &s[i], "bank/account/hot", i == 7 ? "withdraw" : "deposit",
           i == 7 ? "{\"amount\":1000}" : "{\"amount\":1}", NULL, -1);
  ae_loop_run(&w->loop);
  uint64_t version = 0;
  for (int i = 0; i < 20; i++) {
    assert_int_equal(s[i].calls, 1);
    assert_int_equal(s[i].status, i == 7 ? AE_REJECTED : AE_OK);
    if (i != 7) version++;
    assert_int_equal(s[i].version, version);
    assert_int_equal(s[i].events, i == 7 ? 0 : 1);
    assert_int_equal(s[i].types.len, i == 7 ? 0 : strlen("Deposited "));
    sent_clear(&s[i]);
  }
  assert_int_equal(stats(w).commits, 1);
  assert_int_equal(stats(w).events, 19);
  world_close(w);
}

static void test_an_id_takes_effect_once(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s, t, u;
  hand_in(w, &s, "bank/account/a", "deposit", "{\"amount\":5}", "one", -1);
  hand_in(w, &t, "bank/account/a", "withdraw", "{\"amount\":9}", "two", -1);
  assert_int_equal(t.status, AE_REJECTED);
  sent_clear(&t);
  uint64_t position = s.position;
  sent_clear(&s);
  assert_int_equal(tell(w, "bank/account/a", "deposit", "{\"amount\":100}"),
                   AE_OK);
  /* the same again: accepted as it was, at the version that it had */
  hand_in(w, &s, "bank/account/a", "deposit", "{\"amount\":5}", "one", -1);
  assert_int_equal(s.status, AE_OK);
  assert_true(s.repeated);
  assert_int_equal(s.version, 1);
  assert_int_equal(s.position, position);
  assert_string_equal(ae_buf_cstr(&s.types), "Deposited ");
  sent_clear(&s);
  /* rejected as it was, though there is enough by now */
  hand_in(w, &t, "bank/account/a", "withdraw", "{\"amount\":9}", "two", -1);
  assert_int_equal(t.status, AE_REJECTED);
  assert_true(t.repeated);
  assert_non_null(strstr(ae_buf_cstr(&t.error), "\"balance\":5"));
  sent_clear(&t);
  /* another command under the same id */
  hand_in(w, &u, "bank/account/a", "deposit", "{\"amount\":6}", "one", -1);
  assert_int_equal(u.status, AE_ID_REUSED);
  sent_clear(&u);
  /* another actor may use it */
  hand_in(w, &u, "bank/account/b", "deposit", "{\"amount\":6}", "one", -1);
  assert_int_equal(u.status, AE_OK);
  sent_clear(&u);
  /* in flight: the second joins the first; other data is refused */
  submit(w, &s, "bank/account/c", "deposit", "{\"amount\":1}", "x", -1);
  submit(w, &t, "bank/account/c", "deposit", "{\"amount\":1}", "x", -1);
  submit(w, &u, "bank/account/c", "deposit", "{\"amount\":2}", "x", -1);
  ae_loop_run(&w->loop);
  assert_int_equal(s.calls + t.calls + u.calls, 3);
  assert_int_equal(s.version, 1);
  assert_false(s.repeated);
  assert_int_equal(t.version, 1);
  assert_true(t.repeated);
  assert_string_equal(ae_buf_cstr(&t.types), "Deposited ");
  assert_int_equal(u.status, AE_ID_REUSED);
  sent_clear(&s);
  sent_clear(&t);
  sent_clear(&u);
  expect_state(w, "bank/account/a", UINT64_MAX, 2,
               "{\"balance\":105,\"open\":false}");
  world_close(w);
}

static void test_a_failing_script_spoils_only_its_command(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s[5];
  submit(w, &s[0], "bank/account/a", "deposit", "{\"amount\":1}", NULL, -1);
  submit(w, &s[1], "bank/account/a", "break_now", "{}", NULL, -1);
  submit(w, &s[2], "bank/account/a", "deposit", "{\"amount\":2}", NULL, -1);
  submit(w, &s[3], "bank/account/a", "deposit", "{\"amount\":13}", NULL, -1);
  submit(w, &s[4], "bank/account/a", "deposit", "{\"amount\":3}", "k", -1);
  ae_loop_run(&w->loop);
  assert_int_equal(s[0].status, AE_OK);
  assert_int_equal(s[1].status, AE_SCRIPT_ERROR);
  assert_non_null(strstr(ae_buf_cstr(&s[1].error), "broken on purpose"));
  assert_int_equal(s[2].status, AE_OK);
  assert_int_equal(s[3].status, AE_SCRIPT_ERROR);
  assert_int_equal(s[4].status, AE_OK);
  assert_int_equal(s[4].version, 3);
  for (int i = 0; i < 5; i++) sent_clear(&s[i]);
  expect_state(w, "bank/account/a", UINT64_MAX, 3,
               "{\"balance\":6,\"open\":false}");
  ae_type_counts counts = counts_of(w, "account");
  assert_int_equal(counts.failed, 2);
  world_close(w);
}

static void test_expected_version_of_the_caller(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s, t;
  tell(w, "bank/account/a", "deposit", "{\"amount\":1}");
  hand_in(w, &s, "bank/account/a", "deposit", "{\"amount\":1}", NULL, 0);
  assert_int_equal(s.status, AE_VERSION_CONFLICT);
  assert_non_null(strstr(ae_buf_cstr(&s.error), "\"attempted_version\":0"));
  assert_non_null(strstr(ae_buf_cstr(&s.error), "\"current_version\":1"));
  sent_clear(&s);
  /* deciding nothing does not slip through */
  hand_in(w, &s, "bank/account/a", "touch", "{}", NULL, 7);
  assert_int_equal(s.status, AE_VERSION_CONFLICT);
  sent_clear(&s);
  /* compared when its turn comes, against what came before it in the batch */
  submit(w, &s, "bank/account/a", "deposit", "{\"amount\":1}", NULL, 1);
  submit(w, &t, "bank/account/a", "deposit", "{\"amount\":1}", NULL, 1);
  ae_loop_run(&w->loop);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(t.status, AE_VERSION_CONFLICT);
  assert_non_null(strstr(ae_buf_cstr(&t.error), "\"current_version\":2"));
  sent_clear(&s);
  sent_clear(&t);
  /* a policy that sees only additions goes on */
  tell(w, "bank/memo/m", "add", "{\"n\":1}");
  tell(w, "bank/memo/m", "add", "{\"n\":1}");
  hand_in(w, &s, "bank/memo/m", "add", "{\"n\":5}", NULL, 1);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 3);
  sent_clear(&s);
  tell(w, "bank/memo/m", "wipe", "{}");
  hand_in(w, &s, "bank/memo/m", "add", "{\"n\":5}", NULL, 3);
  assert_int_equal(s.status, AE_VERSION_CONFLICT);
  assert_non_null(
      strstr(ae_buf_cstr(&s.error), "\"reason\":\"wiped_meanwhile\""));
  sent_clear(&s);
  /* one from the future waits by its policy, then goes on */
  hand_in(w, &s, "bank/memo/m", "add", "{\"n\":5}", NULL, 40);
  assert_int_equal(s.status, AE_OK);
  sent_clear(&s);
  ae_type_counts counts = counts_of(w, "memo");
  /* The one that its policy had wait 5 ms; libuv's clock has whole ms. */
  uint64_t waited = 0;
  for (unsigned i = 1; i <= AE_TOOK; i++)
    if (ae_took_bounds[i - 1] >= 2500000) waited += counts.took[i];
  assert_true(waited >= 1);
  assert_true(counts.took_ns >= 3000000);
  assert_int_equal(counts.conflicts, 3);
  assert_int_equal(counts.retries, 2);
  world_close(w);
}

static void test_another_writer_was_first(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s[3];
  tell(w, "bank/memo/m", "add", "{\"n\":1}");
  assert_int_equal(intrude(w, "bank/memo/m", 1, "Added", 10, false), AE_OK);
  for (int i = 0; i < 3; i++)
    submit(w, &s[i], "bank/memo/m", "add", "{\"n\":100}", i == 1 ? "i" : NULL,
           -1);
  ae_loop_run(&w->loop);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(s[i].calls, 1);
    assert_int_equal(s[i].status, AE_OK);
    assert_int_equal(s[i].version, 3 + i);
    sent_clear(&s[i]);
  }
  expect_state(w, "bank/memo/m", UINT64_MAX, 5, "{\"n\":311}");
  /* the policy refuses after a wipe */
  assert_int_equal(intrude(w, "bank/memo/m", 5, "Wiped", 0, false), AE_OK);
  hand_in(w, &s[0], "bank/memo/m", "add", "{\"n\":1}", NULL, -1);
  assert_int_equal(s[0].status, AE_VERSION_CONFLICT);
  assert_non_null(strstr(ae_buf_cstr(&s[0].error), "\"attempts\":1"));
  sent_clear(&s[0]);
  expect_state(w, "bank/memo/m", UINT64_MAX, 6, "{\"n\":0}");
  world_close(w);
}

static void test_evicts_and_reloads(void **state) {
  (void)state;
  world *w = world_open(10, 0, 0);
  char name[64];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 200; i++) {
      snprintf(name, sizeof name, "bank/account/%d", i);
      assert_int_equal(tell(w, name, "deposit", "{\"amount\":2}"), AE_OK);
      assert_true(ae_realm_live(w->realm) <= 10);
    }
  }
  for (int i = 0; i < 200; i++) {
    snprintf(name, sizeof name, "bank/account/%d", i);
    expect_state(w, name, UINT64_MAX, 3, "{\"balance\":6,\"open\":false}");
  }
  world_close(w);
}

static void test_snapshots_are_saved_and_used(void **state) {
  (void)state;
  world *w = world_open(1, 0, 0);
  for (int i = 0; i < 25; i++)
    assert_int_equal(tell(w, "bank/account/a", "deposit", "{\"amount\":1}"),
                     AE_OK);
  ae_type_counts counts = counts_of(w, "account");
  assert_int_equal(counts.snapshots, 2);
  assert_int_equal(stats(w).snapshots > 0, 1);
  assert_int_equal(tell(w, "bank/account/b", "open", "{}"), AE_OK);
  for (uint64_t at = 1; at <= 25; at++) {
    char json[64];
    snprintf(json, sizeof json, "{\"balance\":%d,\"open\":false}", (int)at);
    expect_state(w, "bank/account/a", at, at, json);
  }
  assert_int_equal(tell(w, "bank/account/a", "withdraw", "{\"amount\":25}"),
                   AE_OK);
  world_close(w);
}

static void test_a_damaged_actor_is_read_only(void **state) {
  (void)state;
  world *w = world_open(1, 0, 0);
  tell(w, "bank/memo/m", "add", "{\"n\":1}");
  assert_int_equal(intrude(w, "bank/memo/m", 1, "Added", 2, true), AE_OK);
  assert_int_equal(intrude(w, "bank/memo/m", 2, "Added", 4, false), AE_OK);
  tell(w, "bank/memo/other", "add", "{\"n\":1}"); /* evicts it */
  sent s;
  hand_in(w, &s, "bank/memo/m", "add", "{\"n\":8}", NULL, -1);
  assert_int_equal(s.status, AE_ACTOR_DAMAGED);
  assert_non_null(strstr(ae_buf_cstr(&s.error), "\"version\":2"));
  sent_clear(&s);
  seen look_at;
  look(w, &look_at, "bank/memo/m", UINT64_MAX);
  ae_loop_run(&w->loop);
  assert_int_equal(look_at.status, AE_REPLAY_ERROR);
  ae_buf_clear(&look_at.json);
  expect_state(w, "bank/memo/m", 1, 1, "{\"n\":1}");
  assert_int_equal(stats(w).events, 4);
  world_close(w);
}

/* Its history grew beside it: what it knew is stale, and a command that is
 * under way ends first. */
static void test_a_forgotten_actor_is_loaded_again(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  ae_ref ref;
  sent s;
  ae_ref_parse(AE_STR("bank/memo/m"), &ref, NULL);
  ae_actors_forget(w->actors, &ref); /* not live */
  tell(w, "bank/memo/m", "add", "{\"n\":1}");
  assert_int_equal(intrude(w, "bank/memo/m", 1, "Added", 2, false), AE_OK);
  expect_state(w, "bank/memo/m", UINT64_MAX, 1, "{\"n\":1}");
  ae_actors_forget(w->actors, &ref);
  expect_state(w, "bank/memo/m", UINT64_MAX, 2, "{\"n\":3}");
  submit(w, &s, "bank/memo/m", "add", "{\"n\":4}", NULL, -1);
  ae_actors_forget(w->actors, &ref);
  ae_loop_run(&w->loop);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 3);
  sent_clear(&s);
  expect_state(w, "bank/memo/m", UINT64_MAX, 3, "{\"n\":7}");
  ref.type = AE_STR("nothing");
  ae_actors_forget(w->actors, &ref);
  ref.ns = AE_STR("nowhere");
  ae_actors_forget(w->actors, &ref);
  world_close(w);
}

static void test_too_large_and_too_many(void **state) {
  (void)state;
  world *w = world_open(0, 4, 0);
  sent s[8];
  hand_in(w, &s[0], "bank/account/a", "stuff", "{\"size\":9000000}", NULL, -1);
  assert_int_equal(s[0].status, AE_TOO_LARGE);
  sent_clear(&s[0]);
  submit(w, &s[0], "bank/account/a", "deposit", "{\"amount\":1}", NULL, -1);
  submit(w, &s[1], "bank/account/a", "stuff", "{\"size\":8000000}", NULL, -1);
  submit(w, &s[2], "bank/account/a", "stuff", "{\"size\":8000000}", NULL, -1);
  ae_loop_run(&w->loop);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(s[i].status, AE_OK);
    assert_int_equal(s[i].version, i + 1);
    sent_clear(&s[i]);
  }
  int refused = 0;
  world_realm(w, "shop", NULL);
  sent other[4];
  for (int i = 0; i < 8; i++)
    submit(w, &s[i], "bank/account/b", "deposit", "{\"amount\":1}", NULL, -1);
  for (int i = 0; i < 4; i++) /* has a queue of its own */
    submit(w, &other[i], "shop/account/b", "open", "{}", "id", -1);
  ae_loop_run(&w->loop);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(other[i].status, AE_OK);
    sent_clear(&other[i]);
  }
  for (int i = 0; i < 8; i++) {
    if (s[i].status == AE_OVERLOADED) refused++;
    sent_clear(&s[i]);
  }
  assert_int_equal(refused, 4);
  world_close(w);
}

/* What commands bring besides events counts too: metadata, details. */
static void test_large_metadata_is_bounded(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  sent s[13];
  char ids[13][8];
  ae_buf metadata = {0}, huge = {0};
  ae_pack_map(&metadata, 1);
  ae_pack_cstr(&metadata, "note");
  ae_buf_add(&huge, metadata.ptr, metadata.len);
  ae_buf text = {0};
  for (int i = 0; i < 9000000; i++) ae_buf_byte(&text, 'x');
  ae_pack_str(&metadata, (ae_str){text.ptr, 1000000});
  ae_pack_str(&huge, ae_buf_view(&text));
  for (int i = 0; i < 13; i++) {
    snprintf(ids[i], sizeof ids[i], "id-%d", i);
    bool accepted = i % 2 == 0;
    submit(w, &s[i], "bank/account/a", accepted ? "deposit" : "withdraw",
           accepted ? "{\"amount\":1}" : "{\"amount\":100}", ids[i], -1);
    s[i].command.metadata = ae_buf_view(i == 6 ? &huge : &metadata);
  }
  ae_loop_run(&w->loop);
  for (int i = 0; i < 13; i++) {
    assert_int_equal(s[i].calls, 1);
    assert_int_equal(s[i].status, i == 6       ? AE_TOO_LARGE
                                  : i % 2 == 0 ? AE_OK
                                               : AE_REJECTED);
    sent_clear(&s[i]);
  }
  expect_state(w, "bank/account/a", UINT64_MAX, 6,
               "{\"balance\":6,\"open\":false}");
  ae_buf_clear(&text);
  ae_buf_clear(&huge);
  ae_buf_clear(&metadata);
  world_close(w);
}

static void test_makes_room_when_memory_is_refused(void **state) {
  (void)state;
  world *w = world_open(0, 0, 8u << 20);
  char name[64];
  /* each holds about 200 KB: all of them do not fit, some always do */
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "bank/account/%d", i);
    sent s;
    hand_in(w, &s, name, "stuff", "{\"size\":200000}", NULL, -1);
    if (s.status != AE_OK) fail_msg("%d: %s", i, ae_buf_cstr(&s.error));
    sent_clear(&s);
  }
  /* one that never fits */
  sent s;
  hand_in(w, &s, "bank/account/big", "stuff", "{\"size\":7900000}", NULL, -1);
  assert_int_equal(s.status, AE_SCRIPT_MEMORY);
  sent_clear(&s);
  assert_int_equal(tell(w, "bank/account/1", "deposit", "{\"amount\":1}"),
                   AE_OK);
  world_close(w);
}

static void test_close_gives_every_outcome(void **state) {
  (void)state;
  world *w = world_open(0, 0, 0);
  enum { N = 300 };
  sent *s = ae_zalloc(N * sizeof *s);
  char name[64];
  for (int i = 0; i < N; i++) {
    snprintf(name, sizeof name, "bank/%s/%d", i % 3 ? "account" : "memo",
             i % 20);
    if (i % 3)
      submit(w, &s[i], name, "deposit", "{\"amount\":1}", i % 5 ? NULL : "id",
             -1);
    else /* conflicts that wait */
      submit(w, &s[i], name, "add", "{\"n\":1}", NULL, i % 2 ? -1 : 90000);
  }
  seen look_at;
  look(w, &look_at, "bank/account/1", UINT64_MAX);
  world_close(w);
  for (int i = 0; i < N; i++) {
    assert_int_equal(s[i].calls, 1);
    sent_clear(&s[i]);
  }
  assert_int_equal(look_at.calls, 1);
  ae_buf_clear(&look_at.json);
  ae_free(s);
}

/* Random commands, some with ids and some repeated, another writer now and
 * then: states must be those of a trivially right model. */
static void test_against_a_model(void **state) {
  (void)state;
  enum { ACTORS = 12, ROUNDS = 120, BURST = 25 };
  world *w = world_open(5, 0, 0);
  long sums[ACTORS] = {0};
  uint64_t versions[ACTORS] = {0};
  unsigned seed = 20261123;
  sent *s = ae_zalloc(BURST * sizeof *s);
  bool used[ACTORS][64] = {{false}};
  uint64_t refused = 0;
  for (int round = 0; round < ROUNDS; round++) {
    int of[BURST], add[BURST], id[BURST];
    for (int i = 0; i < BURST; i++) {
      of[i] = rand_r(&seed) % ACTORS;
      id[i] = rand_r(&seed) % 4 ? -1 : rand_r(&seed) % 64;
      add[i] = id[i] >= 0 ? id[i] : rand_r(&seed) % 100;
      char name[64], json[64], key[16];
      snprintf(name, sizeof name, "bank/memo/%d", of[i]);
      snprintf(json, sizeof json, "{\"n\":%d}", add[i]);
      snprintf(key, sizeof key, "id%d", id[i]);
      /* ids are read until the outcome: keep them in the struct's own name */
      submit(w, &s[i], name, "add", json, NULL, -1);
      if (id[i] >= 0) {
        /* sent again with an id: the first one counts as any other */
        ae_loop_run(&w->loop);
        assert_int_equal(s[i].calls, 1);
        bool done = s[i].status == AE_OK;
        if (!done) assert_int_equal(s[i].status, AE_OVERLOADED);
        refused += !done;
        sums[of[i]] += done ? add[i] : 0;
        versions[of[i]] += done;
        sent_clear(&s[i]);
        submit(w, &s[i], name, "add", json, key, -1);
        ae_loop_run(&w->loop);
        assert_int_equal(s[i].repeated, used[of[i]][id[i]]);
        if (used[of[i]][id[i]]) continue;
        used[of[i]][id[i]] = true;
      }
      sums[of[i]] += add[i];
      versions[of[i]]++;
    }
    ae_loop_run(&w->loop);
    for (int i = 0; i < BURST; i++) {
      assert_int_equal(s[i].calls, 1);
      if (s[i].status == AE_OVERLOADED) { /* more at once than may live */
        refused++;
        sums[of[i]] -= add[i];
        versions[of[i]]--;
      } else {
        assert_int_equal(s[i].status, AE_OK);
      }
      sent_clear(&s[i]);
    }
    assert_true(ae_realm_live(w->realm) <= 5);
    int who = rand_r(&seed) % ACTORS;
    char name[64];
    snprintf(name, sizeof name, "bank/memo/%d", who);
    assert_int_equal(intrude(w, name, versions[who], "Added", 7, false), AE_OK);
    sums[who] += 7;
    versions[who]++;
  }
  for (int i = 0; i < ACTORS; i++) {
    char name[64], json[64];
    snprintf(name, sizeof name, "bank/memo/%d", i);
    snprintf(json, sizeof json, "{\"n\":%ld}", sums[i]);
    expect_state(w, name, versions[i], versions[i], json);
  }
  ae_realm_counts counts;
  ae_realm_count(w->realm, &counts);
  assert_true(refused > 0);
  assert_int_equal(counts.refused[AE_LIMIT_ACTORS], refused);
  ae_free(s);
  world_close(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_accepts_and_rejects),
      cmocka_unit_test(test_names_what_is_unknown),
      cmocka_unit_test(test_stores_a_turn_as_one_commit),
      cmocka_unit_test(test_an_id_takes_effect_once),
      cmocka_unit_test(test_a_failing_script_spoils_only_its_command),
      cmocka_unit_test(test_expected_version_of_the_caller),
      cmocka_unit_test(test_another_writer_was_first),
      cmocka_unit_test(test_evicts_and_reloads),
      cmocka_unit_test(test_snapshots_are_saved_and_used),
      cmocka_unit_test(test_a_damaged_actor_is_read_only),
      cmocka_unit_test(test_a_forgotten_actor_is_loaded_again),
      cmocka_unit_test(test_too_large_and_too_many),
      cmocka_unit_test(test_large_metadata_is_bounded),
      cmocka_unit_test(test_makes_room_when_memory_is_refused),
      cmocka_unit_test(test_close_gives_every_outcome),
      cmocka_unit_test(test_against_a_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
