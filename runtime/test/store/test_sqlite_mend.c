/* Rows that were lost or changed in the file, and what stands for them then;
 * each step fails once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>
#include "base/fault.h"
#include "base/mem.h"

#include "store/sqlite_support.h"

static int setup(void **state) {
  *state = world_new(&sqlite_fixture);
  return 0;
}

static int teardown(void **state) {
  ae_fault_reset();
  world_free(*state);
  return 0;
}

/* Changes the file while nobody has it open. */
static void change(struct world *world, const char *text) {
  sqlite3 *db;
  char *message = NULL;
  world_close(world);
  assert_int_equal(sqlite3_open(sqlite_path(world), &db), SQLITE_OK);
  if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
    fail_msg("%s: %s", text, message);
  sqlite3_close(db);
  world_open(world, AE_STORE_WRITE);
}

static void whole(struct world *world, const char *actor, uint64_t latest) {
  struct kept_list list = {0};
  for (int round = 0; round < 2; round++) {
    read_all(world, actor, 1, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.damaged, 0);
    assert_int_equal(list.latest, latest);
    assert_int_equal(list.events, latest);
    ae_stats stats = stats_of(world, "bank");
    scan_all(world, "bank", 0, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.count, stats.commits);
    assert_int_equal(list.events, stats.events);
    assert_int_equal(list.at[list.count - 1].position, stats.position);
    world_reopen(world);
  }
  kept_clear(&list);
}

/* Positions: a has 1..20 but for 7, 14, …, which are b's. */
static void fill(struct world *world) {
  uint64_t a = 0, b = 0;
  for (int position = 1; position <= 20; position++) {
    if (position % 7 == 0)
      append_ok(world, "bank/account/b", b++, 1, NULL);
    else
      append_ok(world, "bank/account/a", a++, 1, NULL);
  }
}

static void rows_that_were_lost(void **state) {
  struct world *world = *state;
  static const struct {
    const char *text;
    struct mending mending;
    uint64_t position;
  } cases[] = {
      /* in the middle: the commit behind names its number */
      {"DELETE FROM log WHERE position=5",
       {.after = 4, .until = 6, .version = 4, .events = 1},
       5},
      /* several */
      {"DELETE FROM log WHERE position IN (8, 9, 10)",
       {.after = 6, .until = 11, .version = 6, .events = 3},
       10},
      /* the first, the last */
      {"DELETE FROM log WHERE position=1",
       {.after = 0, .until = 2, .version = 0, .events = 1},
       1},
      {"DELETE FROM log WHERE position=20",
       {.after = 19, .until = 0, .version = 17, .events = 1},
       20},
      /* one of two, and a link that leads nowhere */
      {"DELETE FROM log WHERE position=9;"
       "UPDATE log SET previous=0 WHERE position=10",
       {.after = 8, .until = 10, .version = 7, .events = 1},
       9},
      /* a row whose columns are wrong */
      {"UPDATE log SET version=99, count=7 WHERE position=12",
       {.after = 11, .until = 13, .version = 10, .events = 1},
       12},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mending m = cases[i].mending;
    m.latest = 18;
    fill(world);
    change(world, cases[i].text);
    assert_int_equal(mend_of(world, "bank/account/a", &m), AE_OK);
    assert_int_equal(m.position, cases[i].position);
    whole(world, "bank/account/a", 18);
    whole(world, "bank/account/b", 2);
    append_many(world, "bank/account/a", 18, 300);
    whole(world, "bank/account/a", 318);
    /* Positions begin anew with the file. */
    world_close(world);
    remove(sqlite_path(world));
    world_open(world, AE_STORE_WRITE);
  }
}

static void no_number_is_free(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  fill(world);
  struct mending m = {
      .latest = 18, .after = 2, .until = 3, .version = 2, .events = 1};
  assert_int_equal(mend_of(world, "bank/account/a", &m), AE_STORE_FULL);
  whole(world, "bank/account/a", 18);
  kept_clear(&list);
}

static void each_step_fails(void **state) {
  struct world *world = *state;
  static const char *const steps[] = {"sqlite.index", "sqlite.begin",
                                      "sqlite.mend", "sqlite.commit",
                                      "sqlite.again"};
  uint64_t latest = 0, position;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    for (unsigned nth = 1; nth < 40; nth++) {
      struct kept_list list = {0};
      append_many(world, "bank/account/a", latest, 4);
      append_ok(world, "bank/account/a", latest + 4, 1, NULL);
      latest += 5;
      read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
      bool truncate = nth % 2 == 0;
      struct mending m = {.latest = latest,
                          .after = list.at[list.count - 3].position,
                          .until = list.at[list.count - 1].position,
                          .version = latest - 2,
                          .events = 1,
                          .truncate = truncate};
      if (truncate) m.until = m.events = 0;
      ae_fault_arm(steps[i], nth, nth % 3 ? EIO : ENOSPC);
      ae_status status = mend_of(world, "bank/account/a", &m);
      ae_fault_reset();
      if (i == 4) world_reopen(world); /* it was done */
      bool done = status == AE_OK || i == 4;
      if (done && truncate) latest -= 2;
      whole(world, "bank/account/a", latest);
      kept_clear(&list);
      if (status == AE_OK && nth > 2) break;
    }
  }
  lookup_of(world, "bank/account/a", "none", &position, NULL);
  assert_int_equal(position, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(rows_that_were_lost),
      TEST(no_number_is_free),
      TEST(each_step_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
