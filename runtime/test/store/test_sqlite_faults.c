/* Every step of the SQLite backend fails once, at each of its passages: what
 * was acknowledged is there, what was refused is not, and service goes on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/sqlite_support.h"

enum { ACTORS = 5, GROUP = 12 };

static const struct fixture *const under_test = &sqlite_fixture;

static int setup(void **state) {
  *state = world_new(under_test);
  return 0;
}

static int teardown(void **state) {
  ae_fault_reset();
  world_free(*state);
  return 0;
}

struct model {
  uint64_t version[ACTORS];
  uint64_t commits;
  unsigned ids; /* command ids made so far */
  bool stored[4096];
};

static const char *const names[ACTORS] = {"bank/account/a", "bank/account/b",
                                          "bank/account/c", "shop/cart/a",
                                          "shop/cart/b"};

static void id_name(char *out, size_t size, unsigned id) {
  snprintf(out, size, "c-%u", id);
}

/* One group: chains of several actors, half of the commits with an id. */
static unsigned group_append(struct world *world, struct model *model) {
  struct outcome outcomes[GROUP];
  uint64_t next[ACTORS];
  unsigned ids[GROUP], failed = 0;
  char id[16];
  memcpy(next, model->version, sizeof next);
  ae_store_cork(world->store);
  for (unsigned i = 0; i < GROUP; i++) {
    unsigned a = i % ACTORS;
    ids[i] = i % 2 ? model->ids++ : 0;
    id_name(id, sizeof id, ids[i]);
    append_start(world, &outcomes[i], names[a], next[a]++, 1, i % 2 ? id : NULL,
                 0);
  }
  ae_store_uncork(world->store);
  for (unsigned i = 0; i < GROUP; i++) {
    world_until(world, &outcomes[i].done);
    ae_status status = outcomes[i].append.status;
    if (status == AE_OK) {
      model->version[i % ACTORS]++;
      model->commits++;
      assert_int_equal(outcomes[i].append.current_version,
                       model->version[i % ACTORS]);
      if (i % 2) model->stored[ids[i]] = true;
    } else {
      failed++;
      assert_true(status == AE_STORE_FULL || status == AE_STORE_UNAVAILABLE ||
                  status == AE_VERSION_CONFLICT);
      assert_true(strlen(ae_error_text(&outcomes[i].error)) > 0);
    }
    outcome_clear(&outcomes[i]);
  }
  return failed;
}

static void model_check(struct world *world, const struct model *model) {
  struct kept_list list = {0};
  char id[16];
  uint64_t position;
  for (int a = 0; a < ACTORS; a++) {
    read_all(world, names[a], 1, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.latest, model->version[a]);
    assert_int_equal(list.events, model->version[a]);
    assert_int_equal(list.damaged, 0);
    for (size_t i = 0; i < list.count; i++)
      assert_int_equal(list.at[i].first_version, i + 1);
  }
  for (unsigned i = 1; i < model->ids; i++) {
    bool found = false;
    id_name(id, sizeof id, i);
    for (int a = 0; a < ACTORS && !found; a++) {
      lookup_of(world, names[a], id, &position, NULL);
      found = position > 0;
    }
    assert_int_equal(found, model->stored[i]);
  }
  scan_all(world, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.count, model->commits);
  assert_int_equal(stats_of(world, NULL).commits, model->commits);
  kept_clear(&list);
}

static void nth_of(struct world *world, struct model *model, const char *name,
                   int error) {
  for (unsigned nth = 1; nth < 200; nth++) {
    ae_fault_arm(name, nth, error);
    unsigned failed = group_append(world, model);
    ae_fault_reset();
    /* Where there was no room once, halves are tried, and fit. */
    if (error == ENOSPC && nth < 40) continue;
    if (failed == 0) {
      assert_true(nth > 1);
      break;
    }
    assert_int_equal(failed, GROUP);
    assert_int_equal(group_append(world, model), 0);
  }
  model_check(world, model);
  world_reopen(world);
  model_check(world, model);
}

static void each_step_of_an_append_fails(void **state) {
  struct world *world = *state;
  struct model model = {.ids = 1};
  static const char *const steps[] = {"sqlite.begin", "sqlite.insert",
                                      "sqlite.commit", "sqlite.read"};
  static const int errors[] = {EIO, ENOSPC, EACCES, EAGAIN};
  assert_int_equal(group_append(world, &model), 0);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    /* An actor that is not in memory is read. */
    world_reopen(world);
    for (size_t k = 0; k < sizeof errors / sizeof *errors; k++) {
      if (i == 3) world_reopen(world);
      if (errors[k] == EIO || errors[k] == ENOSPC)
        nth_of(world, &model, steps[i], errors[k]);
      else {
        ae_fault_arm(steps[i], 1, errors[k]);
        assert_int_equal(group_append(world, &model), GROUP);
        ae_fault_reset();
      }
    }
  }
  assert_int_equal(group_append(world, &model), 0);
  model_check(world, &model);
}

/* Where all fail, all fail, and the message says what to do. */
static void a_full_disk_is_said(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  char fact[64];
  ae_fault_arm("sqlite.insert", 0, ENOSPC);
  append_start(world, &outcome, "bank/account/a", 0, 1, NULL, 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_STORE_FULL);
  fact_of(&outcome.error, "cause", fact, sizeof fact);
  assert_string_equal(fact, "the disk is full");
  assert_non_null(strstr(ae_error_text(&outcome.error), "make room"));
  outcome_clear(&outcome);
  ae_fault_reset();
  append_ok(world, "bank/account/a", 0, 1, NULL);
}

/* What was taken back leaves no trace in the counts, nor in what is scanned. */
static void a_scan_after_a_group_that_failed(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  ae_fault_arm("sqlite.commit", 1, EIO);
  assert_int_equal(append_try(world, "bank/account/a", 1, 1, NULL),
                   AE_STORE_UNAVAILABLE);
  ae_fault_reset();
  for (int round = 0; round < 2; round++) {
    scan_all(world, "bank", 0, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_true(list.end);
    assert_int_equal(list.count, 1);
    assert_int_equal(stats_of(world, "bank").position, 1);
    world_reopen(world);
  }
  kept_clear(&list);
}

/* The index rides in groups of appends; a failure of its step is theirs. */
static void each_step_of_the_index_fails(void **state) {
  struct world *world = *state;
  struct model model = {.ids = 1};
  char name[64];
  uint64_t more = 0;
  for (int a = 0; a < 325; a++) {
    snprintf(name, sizeof name, "many/account/a-%d", a);
    append_many(world, name, 0, 200);
    more += 200;
  }
  assert_int_equal(stats_of(world, NULL).unindexed, 65000);
  unsigned failed = 0;
  for (unsigned nth = 1; nth <= 80; nth++) {
    ae_fault_arm("sqlite.index", nth % 3 + 1, nth % 2 ? EIO : EROFS);
    for (int i = 0; i < 3; i++) failed += group_append(world, &model);
    ae_fault_reset();
  }
  assert_true(failed > 0);
  while (stats_of(world, NULL).unindexed > 65536)
    assert_int_equal(group_append(world, &model), 0);
  for (int round = 0; round < 2; round++) {
    struct kept_list list = {0};
    for (int a = 0; a < 325; a += 7) {
      snprintf(name, sizeof name, "many/account/a-%d", a);
      read_all(world, name, 1, UINT64_MAX, &list);
      assert_int_equal(list.events, 200);
    }
    assert_int_equal(stats_of(world, "many").commits, more);
    assert_int_equal(stats_of(world, "many").actors, 325);
    kept_clear(&list);
    /* Closing without an index loses nothing either. */
    ae_fault_arm("sqlite.index", 0, EIO);
    world_close(world);
    ae_fault_reset();
    world_open(world, AE_STORE_WRITE);
  }
  assert_int_equal(group_append(world, &model), 0);
}

static void each_step_of_other_writes_fails(void **state) {
  struct world *world = *state;
  char text[200];
  uint64_t checkpoint;
  append_many(world, "bank/account/a", 0, 50);
  static const char *const steps[] = {"sqlite.begin", "sqlite.row",
                                      "sqlite.snapshot", "sqlite.commit"};
  ae_row rows[] = {{AE_STR("a"), AE_STR("1")},
                   {AE_STR("b"), AE_STR("2")},
                   {AE_STR("c"), AE_STR("3")}};
  ae_rows_read how = {.ns = AE_STR("bank"), .projection = AE_STR("p")};
  uint64_t was = 0;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    for (unsigned nth = 1; nth <= 4; nth++) {
      ae_fault_arm(steps[i], nth, EIO);
      ae_status status = rows_put(world, "bank", "p", rows, 3, was, was + 1);
      ae_fault_reset();
      if (status == AE_OK) was++;
      rows_get(world, &how, text, sizeof text, &checkpoint);
      assert_int_equal(checkpoint, was);
      assert_string_equal(text, was ? "a=1 b=2 c=3" : "");
      uint64_t before = stats_of(world, "bank").snapshots;
      ae_fault_arm(steps[i], nth, EIO);
      status =
          snapshot_save(world, "bank/account/a", 10 * i + nth, 1, "s", true);
      ae_fault_reset();
      assert_int_equal(stats_of(world, "bank").snapshots,
                       before + (status == AE_OK));
      assert_int_equal(snapshot_load(world, "bank/account/a", 10 * i + nth, 1,
                                     text, NULL) == 10 * i + nth,
                       status == AE_OK);
    }
  }
  assert_true(was > 0);
}

static void each_step_of_a_trim_fails(void **state) {
  struct world *world = *state;
  static const char *const steps[] = {"sqlite.index", "sqlite.begin",
                                      "sqlite.trim", "sqlite.commit"};
  uint64_t trimmed, left, gone = 0;
  append_many(world, "bank/account/a", 0, 600);
  snapshot_save(world, "bank/account/a", 590, 1, "base", true);
  uint64_t bytes = stats_of(world, NULL).bytes;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    for (unsigned nth = 1; nth <= 30; nth += 7) {
      struct kept_list list = {0};
      append_ok(world, "shop/cart/a", 5 * i + nth / 7, 1, NULL);
      bytes -= bytes / 60;
      ae_fault_arm(steps[i], nth, EIO);
      ae_status status = trim_of(world, "bank", 0, bytes, &trimmed, &left);
      ae_fault_reset();
      if (status == AE_OK) gone += trimmed;
      read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
      assert_int_equal(list.count, 600 - gone);
      assert_int_equal(list.base, gone ? 590 : 0);
      assert_int_equal(stats_of(world, "bank").commits, 600 - gone);
      kept_clear(&list);
    }
  }
  assert_true(gone > 0);
}

/* All of it or nothing. */
static void each_step_of_a_delete_fails(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  static const char *const steps[] = {"sqlite.index", "sqlite.begin",
                                      "sqlite.delete", "sqlite.commit"};
  append_many(world, "shop/cart/a", 0, 20);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    for (unsigned nth = 1; nth < 20; nth++) {
      append_many(world, "bank/account/a", 0, 300);
      snapshot_save(world, "bank/account/a", 100, 1, "s", false);
      ae_fault_arm(steps[i], nth, nth % 2 ? EIO : ENOSPC);
      ae_status status = delete_of(world, "bank", NULL);
      ae_fault_reset();
      uint64_t left = status == AE_OK ? 0 : 300;
      assert_int_equal(stats_of(world, "bank").commits, left);
      read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
      assert_int_equal(list.events, left);
      if (nth % 3 == 0) world_reopen(world);
      assert_int_equal(stats_of(world, "bank").snapshots, left ? 1 : 0);
      scan_all(world, NULL, 0, UINT64_MAX, &list);
      assert_int_equal(list.count, 20 + left);
      if (left == 0) break;
      assert_int_equal(delete_of(world, "bank", NULL), AE_OK);
    }
  }
  kept_clear(&list);
}

static void each_step_of_a_begin_fails(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  char name[64];
  uint64_t position;
  static const char *const steps[] = {"sqlite.begin", "sqlite.begun",
                                      "sqlite.commit"};
  static const char *const ids[] = {"c-1", "c-2"};
  unsigned actors = 0;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    snprintf(name, sizeof name, "bank/account/%zu", i);
    ae_fault_arm(steps[i], 1, EIO);
    assert_int_equal(begin_of(world, name, 9, "at 9", ids, 2),
                     AE_STORE_UNAVAILABLE);
    ae_fault_reset();
    assert_int_equal(lookup_of(world, name, "c-1", &position, NULL), 0);
    assert_int_equal(position, 0);
    assert_int_equal(stats_of(world, "bank").actors, actors);
    /* Another takes the number that it would have had. */
    append_ok(world, "shop/cart/x", i, 1, NULL);
    assert_int_equal(begin_of(world, name, 9, "at 9", ids, 2), AE_OK);
    append_ok(world, name, 9, 1, NULL);
    actors++;
    for (int round = 0; round < 2; round++) {
      assert_int_equal(stats_of(world, "bank").actors, actors);
      assert_int_equal(stats_of(world, "bank").snapshots, actors);
      assert_int_equal(lookup_of(world, name, "c-1", &position, NULL), 10);
      assert_true(position == UINT64_MAX);
      read_all(world, "shop/cart/x", 1, UINT64_MAX, &list);
      assert_int_equal(list.events, i + 1);
      world_reopen(world);
    }
  }
  kept_clear(&list);
}

/* Nothing is stored behind what could not be, where that was asked for. */
static void an_ordered_store_leaves_no_holes(void **state) {
  struct world *world = *state;
  char name[GROUP][64];
  world_close(world);
  ae_store_options options = {.url = world->url, .ordered = true};
  assert_int_equal(ae_store_open(&world->loop, &options, &world->store, NULL),
                   AE_OK);
  for (unsigned nth = 1; nth <= 40; nth += 3) {
    struct outcome outcomes[GROUP];
    ae_store_cork(world->store);
    for (int i = 0; i < GROUP; i++) {
      snprintf(name[i], sizeof name[i], "bank/account/%u-%d", nth, i);
      append_start(world, &outcomes[i], name[i], 0, 1, NULL, 0);
    }
    /* Three in a row: halves of the group meet it too. */
    for (unsigned k = 0; k < 3; k++)
      ae_fault_arm("sqlite.insert", nth + k * (nth % 5), ENOSPC);
    ae_store_uncork(world->store);
    bool hole = false;
    for (int i = 0; i < GROUP; i++) {
      world_until(world, &outcomes[i].done);
      if (outcomes[i].append.status != AE_OK) hole = true;
      assert_int_equal(outcomes[i].append.status, hole ? AE_STORE_FULL : AE_OK);
      outcome_clear(&outcomes[i]);
    }
    ae_fault_reset();
  }
}

/* What it left in memory may not be so: nothing more is written. */
static void a_delete_that_cannot_look_again(void **state) {
  struct world *world = *state;
  append_many(world, "bank/account/a", 0, 30);
  append_many(world, "shop/cart/a", 0, 20);
  ae_fault_arm("sqlite.again", 1, EIO);
  assert_int_equal(delete_of(world, "bank", NULL), AE_STORE_UNAVAILABLE);
  ae_fault_reset();
  assert_int_equal(append_try(world, "shop/cart/a", 20, 1, NULL),
                   AE_STORE_UNAVAILABLE);
  world_reopen(world);
  assert_int_equal(stats_of(world, NULL).commits, 20);
  append_ok(world, "shop/cart/a", 20, 1, NULL);
  ae_fault_arm("sqlite.compact", 1, ENOSPC);
  assert_int_equal(compact_of(world), AE_STORE_FULL);
  ae_fault_reset();
  assert_int_equal(compact_of(world), AE_OK);
  append_ok(world, "shop/cart/a", 21, 1, NULL);
}

static void a_failing_read_says_so(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, 5000);
  for (unsigned nth = 1; nth <= 3; nth++) {
    ae_fault_arm("sqlite.read", nth, EIO);
    scan_all(world, "bank", 0, UINT64_MAX, &list);
    ae_fault_reset();
    if (list.status == AE_OK) {
      assert_int_equal(list.count, 5000);
      assert_true(nth > 1);
    } else {
      assert_int_equal(list.status, AE_STORE_UNAVAILABLE);
      assert_int_equal(list.count, nth == 1 ? 0 : 4096);
    }
  }
  ae_fault_arm("sqlite.read", 1, EIO);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  ae_fault_reset();
  assert_int_equal(list.status, AE_STORE_UNAVAILABLE);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 5000);
  kept_clear(&list);
}

/* SQLite's own log cannot be brought in: it grows, and nothing is lost. */
static void checkpoints_fail(void **state) {
  struct world *world = *state;
  ae_fault_arm("sqlite.checkpoint", 0, EIO);
  for (int i = 0; i < 60; i++) {
    struct outcome outcome;
    append_start(world, &outcome, "bank/account/a", (uint64_t)i, 1, NULL,
                 1 << 20);
    world_until(world, &outcome.done);
    assert_int_equal(outcome.append.status, AE_OK);
    outcome_clear(&outcome);
  }
  world_reopen(world);
  ae_fault_reset();
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 60);
}

/* What the last write came to is remembered, and a write that succeeds clears
 * it; what the store rightly refused is no failure of it. */
static void health_follows_the_writes(void **state) {
  struct world *world = *state;
  ae_error err = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  assert_int_equal(ae_store_health(world->store, &err), AE_OK);
  static const struct {
    const char *step;
    int error;
    ae_status status;
  } failures[] = {
      {"sqlite.commit", EIO, AE_STORE_UNAVAILABLE},
      {"sqlite.insert", ENOSPC, AE_STORE_FULL},
      {"sqlite.begin", EACCES, AE_STORE_UNAVAILABLE},
  };
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
    ae_fault_arm(failures[i].step, 0, failures[i].error);
    assert_int_equal(append_try(world, "bank/account/a", 1 + i, 1, NULL),
                     failures[i].status);
    assert_int_equal(ae_store_health(world->store, &err), failures[i].status);
    assert_int_equal(err.status, failures[i].status);
    assert_non_null(strstr(ae_error_text(&err), ".db"));
    if (strcmp(failures[i].step, "sqlite.insert") != 0)
      assert_int_equal(probe_of(world), failures[i].status);
    ae_fault_reset();
    assert_int_equal(ae_store_health(world->store, NULL), failures[i].status);
    if (i % 2 == 0) assert_int_equal(probe_of(world), AE_OK);
    append_ok(world, "bank/account/a", 1 + i, 1, NULL);
    assert_int_equal(ae_store_health(world->store, NULL), AE_OK);
  }
  assert_int_equal(append_try(world, "bank/account/a", 0, 1, NULL),
                   AE_VERSION_CONFLICT);
  assert_int_equal(ae_store_health(world->store, NULL), AE_OK);
  ae_stats before = stats_of(world, NULL);
  assert_int_equal(probe_of(world), AE_OK);
  assert_int_equal(stats_of(world, NULL).commits, before.commits);
  ae_error_clear(&err);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(each_step_of_an_append_fails),
      TEST(a_full_disk_is_said),
      TEST(a_scan_after_a_group_that_failed),
      TEST(each_step_of_the_index_fails),
      TEST(each_step_of_other_writes_fails),
      TEST(each_step_of_a_trim_fails),
      TEST(each_step_of_a_delete_fails),
      TEST(a_delete_that_cannot_look_again),
      TEST(each_step_of_a_begin_fails),
      TEST(an_ordered_store_leaves_no_holes),
      TEST(a_failing_read_says_so),
      TEST(checkpoints_fail),
      TEST(health_follows_the_writes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
