/* Histories that reach over several index batches: before they are indexed,
 * while they are, after it, after a reopening, and to a reader beside. */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/sqlite_support.h"

enum { ACTORS = 37, IDS = 400 };

struct history {
  uint64_t version[ACTORS];
  uint64_t commits;
  unsigned ids;
  struct {
    int actor;
    uint64_t position;
  } id[IDS];
};

static uint64_t draw(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 33;
}

static void name_of(char *out, size_t size, int actor) {
  /* One is hot, the others are not. */
  snprintf(out, size, "%s/account/a-%d", actor % 3 ? "bank" : "shop", actor);
}

static void write_some(struct world *world, struct history *history,
                       uint64_t *seed, int groups) {
  enum { GROUP = 500 };
  struct outcome *all = ae_zalloc(GROUP * sizeof *all);
  char names[ACTORS][64], id[32];
  for (int a = 0; a < ACTORS; a++) name_of(names[a], sizeof names[a], a);
  for (int round = 0; round < groups; round++) {
    int actors[GROUP];
    ae_store_cork(world->store);
    for (int i = 0; i < GROUP; i++) {
      int a = draw(seed) % 2 ? 0 : (int)(draw(seed) % ACTORS);
      uint32_t events = 1 + draw(seed) % 3;
      bool has_id = i == 0 && history->ids < IDS;
      actors[i] = a;
      snprintf(id, sizeof id, "c-%u", history->ids);
      append_start(world, &all[i], names[a], history->version[a], events,
                   has_id ? id : NULL, 0);
      history->version[a] += events;
      if (has_id) history->id[history->ids++].actor = a;
    }
    ae_store_uncork(world->store);
    for (int i = 0; i < GROUP; i++) {
      world_until(world, &all[i].done);
      assert_int_equal(all[i].append.status, AE_OK);
      if (i == 0 && all[i].append.id_count)
        history->id[history->ids - 1].position = all[i].append.position;
      assert_int_equal(history->version[actors[i]] >= 1, true);
      outcome_clear(&all[i]);
    }
    history->commits += GROUP;
  }
  ae_free(all);
}

static void contiguous(const struct kept_list *list) {
  for (size_t i = 1; i < list->count; i++) {
    assert_int_equal(list->at[i].first_version,
                     list->at[i - 1].first_version + list->at[i - 1].events);
    assert_true(list->at[i].position > list->at[i - 1].position);
  }
}

static void check(struct world *world, const struct history *history,
                  uint64_t *seed) {
  struct kept_list list = {0};
  char name[64], id[32];
  uint64_t commits = 0;
  for (int a = 0; a < ACTORS; a++) {
    name_of(name, sizeof name, a);
    read_all(world, name, 1, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.latest, history->version[a]);
    assert_int_equal(list.events, history->version[a]);
    contiguous(&list);
    commits += list.count;
    for (int i = 0; i < 5 && history->version[a] > 0; i++) {
      uint64_t from = 1 + draw(seed) % history->version[a];
      uint64_t to = from + draw(seed) % 900;
      uint64_t last = to < history->version[a] ? to : history->version[a];
      read_all(world, name, from, to, &list);
      assert_true(list.count > 0);
      contiguous(&list);
      const struct kept *end = &list.at[list.count - 1];
      assert_true(list.at[0].first_version <= from);
      assert_true(list.at[0].first_version + list.at[0].events > from);
      assert_true(end->first_version <= last);
      assert_true(end->first_version + end->events > last);
    }
  }
  assert_int_equal(commits, history->commits);
  for (unsigned i = 0; i < history->ids; i++) {
    uint64_t position;
    name_of(name, sizeof name, history->id[i].actor);
    snprintf(id, sizeof id, "c-%u", i);
    lookup_of(world, name, id, &position, NULL);
    assert_int_equal(position, history->id[i].position);
  }
  assert_int_equal(stats_of(world, NULL).commits, history->commits);
  kept_clear(&list);
}

static void histories_over_batches(void **state) {
  (void)state;
  struct world *world = world_new(&sqlite_fixture);
  struct history history = {0};
  uint64_t seed = 99;
  struct world reader = {.fixture = &sqlite_fixture};
  snprintf(reader.url, sizeof reader.url, "%s", world->url);
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  world_open(&reader, AE_STORE_READ);
  /* 131 groups of 500 fill a batch; look before, at and behind its end. */
  static const int steps[] = {100, 31, 3, 10, 60, 61, 20};
  uint64_t unindexed = 0;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    write_some(world, &history, &seed, steps[i]);
    check(world, &history, &seed);
    check(&reader, &history, &seed);
    unindexed = stats_of(world, NULL).unindexed;
    assert_int_equal(stats_of(&reader, NULL).unindexed, unindexed);
  }
  assert_true(unindexed < history.commits / 2);
  /* A tail that a killed writer would leave. */
  ae_fault_arm("sqlite.index", 0, 5);
  world_close(world);
  ae_fault_reset();
  check(&reader, &history, &seed);
  world_open(world, AE_STORE_WRITE);
  assert_int_equal(stats_of(world, NULL).unindexed, unindexed);
  check(world, &history, &seed);
  world_reopen(world);
  assert_int_equal(stats_of(world, NULL).unindexed, 0);
  check(world, &history, &seed);
  check(&reader, &history, &seed);
  write_some(world, &history, &seed, 5);
  check(&reader, &history, &seed);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  world_free(world);
}

/* More actors than are kept in memory. */
static void more_actors_than_memory(void **state) {
  (void)state;
  enum { COUNT = 300000, GROUP = 1000 };
  struct world *world = world_new(&sqlite_fixture);
  struct outcome *all = ae_zalloc(GROUP * sizeof *all);
  char name[64], names[GROUP][64];
  for (int round = 0; round < 2; round++) {
    for (int from = 0; from < COUNT; from += GROUP) {
      if (round == 1 && from % 30000) continue;
      ae_store_cork(world->store);
      for (int i = 0; i < GROUP; i++) {
        snprintf(names[i], sizeof names[i], "bank/account/a-%d", from + i);
        append_start(world, &all[i], names[i], (uint64_t)round, 1, NULL, 0);
      }
      ae_store_uncork(world->store);
      for (int i = 0; i < GROUP; i++) {
        world_until(world, &all[i].done);
        assert_int_equal(all[i].append.status, AE_OK);
        outcome_clear(&all[i]);
      }
    }
  }
  assert_int_equal(stats_of(world, "bank").actors, COUNT);
  for (int i = 0; i < COUNT; i += 10007) {
    snprintf(name, sizeof name, "bank/account/a-%d", i);
    assert_int_equal(lookup_of(world, name, NULL, NULL, NULL),
                     i % 30000 < GROUP ? 2 : 1);
  }
  struct kept_list list = {0};
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.events, COUNT + COUNT / 30);
  assert_int_equal(list.damaged, 0);
  kept_clear(&list);
  ae_free(all);
  world_free(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(histories_over_batches),
      cmocka_unit_test(more_actors_than_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
