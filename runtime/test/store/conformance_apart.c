/* Names made to be mistaken for each other never share anything. */
#include <stdio.h>

#include "store/conformance.h"

#define N63 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const char *const spaces[] = {
    "a",     "A", "a.b", "a_b", "a-b", "a.B",  "a.b.c", "ab",     "b", "a_5fb",
    "a.5fb", "_", "-",   "0",   "00",  "a__b", "nULL",  "sqlite", N63, N63 "n"};
#define SPACES (sizeof spaces / sizeof *spaces)

static const char *const actors[] = {"t/x",         "t/X",
                                     "t/x ",        "t/ x",
                                     "t/x/y",       "t/x%2Fy",
                                     "t/x%",        "t/x%25",
                                     "t/*",         "t/>",
                                     "t/..",        "t/.",
                                     "t/'",         "t/\"",
                                     "t/x\n",       "t/x\\n",
                                     "t/\t",        "t//",
                                     "t//x",        "t/\xc3\xa4",
                                     "t/a\xcc\x88", "t/\x01",
                                     "tx/x",        "t_/x",
                                     "t_x/y",       "t/x;",
                                     "t/--",        "t/NULL",
                                     "t/0",         "t/00",
                                     "t/x.y",       "t/x_y",
                                     "t/x_2ey",     "t/\xf0\x9f\x99\x82"};
#define ACTORS (sizeof actors / sizeof *actors)

static uint64_t positions[SPACES];

/* The n-th gets n + 1 commits, the first with the same command id in all. */
static void fill(struct world *world) {
  for (size_t n = 0; n < SPACES; n++) {
    char actor[100], text[16];
    snprintf(actor, sizeof actor, "%s/t/x", spaces[n]);
    snprintf(text, sizeof text, "s%zu", n);
    positions[n] = append_ok(world, actor, 0, 1, "the same id");
    if (n > 0) append_many(world, actor, 1, (uint32_t)n);
    assert_int_equal(snapshot_save(world, actor, n + 1, 1, text, true), AE_OK);
    const ae_row row = {AE_STR("k"), ae_str_of(text)};
    assert_int_equal(rows_put(world, spaces[n], "p", &row, 1, 0, n + 100),
                     AE_OK);
  }
}

static void check(struct world *world, size_t n, uint64_t commits) {
  char actor[100], text[64], wanted[64];
  struct kept_list list = {0};
  uint64_t position;
  size_t record;
  snprintf(actor, sizeof actor, "%s/t/x", spaces[n]);
  assert_int_equal(lookup_of(world, actor, "the same id", &position, &record),
                   n + 1);
  if (commits == n + 1) assert_int_equal(position, positions[n]);
  scan_all(world, spaces[n], 0, UINT64_MAX, &list);
  assert_int_equal(list.count, commits);
  for (size_t i = 0; i < list.count; i++)
    assert_string_equal(list.at[i].actor, actor);
  kept_clear(&list);
  list = (struct kept_list){0};
  read_all(world, actor, 1, UINT64_MAX, &list);
  assert_int_equal(list.count, commits);
  assert_int_equal(list.latest, n + 1);
  kept_clear(&list);
  ae_stats stats = stats_of(world, spaces[n]);
  assert_int_equal(stats.commits, commits);
  assert_int_equal(stats.events, commits);
  assert_int_equal(stats.actors, 1);
  assert_int_equal(stats.snapshots, 1);
  snprintf(wanted, sizeof wanted, "s%zu", n);
  assert_int_equal(snapshot_load(world, actor, UINT64_MAX, 1, text, NULL),
                   n + 1);
  assert_string_equal(text, wanted);
  snprintf(wanted, sizeof wanted, "k=s%zu", n);
  ae_rows_read how = {.ns = ae_str_of(spaces[n]), .projection = AE_STR("p")};
  rows_get(world, &how, text, sizeof text, &position);
  assert_string_equal(text, wanted);
  assert_int_equal(position, n + 100);
}

static void namespaces_are_apart(void **state) {
  struct world *world = *state;
  fill(world);
  for (size_t n = 0; n < SPACES; n++) check(world, n, n + 1);
  if (world->fixture->durable) {
    world_reopen(world);
    for (size_t n = 0; n < SPACES; n++) check(world, n, n + 1);
  }
  ae_stats all = stats_of(world, NULL);
  assert_int_equal(all.commits, SPACES * (SPACES + 1) / 2);
  assert_int_equal(all.actors, SPACES);
}

/* What retention takes from one, it takes from no other. */
static void retention_is_of_one_namespace(void **state) {
  struct world *world = *state;
  uint64_t trimmed;
  fill(world);
  for (size_t n = 2; n < 5; n++) { /* a.b, a_b, a-b */
    assert_int_equal(trim_of(world, spaces[n], 0, 1, &trimmed, NULL), AE_OK);
    assert_int_equal(trimmed, n); /* all but the last */
    for (size_t i = 0; i < SPACES; i++)
      check(world, i, i >= 2 && i <= n ? 1 : i + 1);
  }
}

static void actors_are_apart(void **state) {
  struct world *world = *state;
  char actor[100], text[64], wanted[64];
  for (size_t n = 0; n < ACTORS; n++) {
    snprintf(actor, sizeof actor, "a.b/%s", actors[n]);
    append_ok(world, actor, 0, 1, "the same id");
    if (n > 0) append_many(world, actor, 1, (uint32_t)n);
    snprintf(text, sizeof text, "s%zu", n);
    assert_int_equal(snapshot_save(world, actor, n + 1, 1, text, false), AE_OK);
  }
  for (int again = 0; again < 2; again++) {
    if (again && !world->fixture->durable) break;
    if (again) world_reopen(world);
    for (size_t n = 0; n < ACTORS; n++) {
      uint64_t position;
      size_t record;
      struct kept_list list = {0};
      snprintf(actor, sizeof actor, "a.b/%s", actors[n]);
      assert_int_equal(
          lookup_of(world, actor, "the same id", &position, &record), n + 1);
      read_all(world, actor, 1, UINT64_MAX, &list);
      assert_int_equal(list.count, n + 1);
      for (size_t i = 0; i < list.count; i++)
        assert_string_equal(list.at[i].actor, actor);
      assert_int_equal(list.at[0].position, position);
      kept_clear(&list);
      snprintf(wanted, sizeof wanted, "s%zu", n);
      assert_int_equal(snapshot_load(world, actor, UINT64_MAX, 1, text, NULL),
                       n + 1);
      assert_string_equal(text, wanted);
    }
    assert_int_equal(stats_of(world, "a.b").actors, ACTORS);
    assert_int_equal(stats_of(world, "a").actors, 0);
    assert_int_equal(stats_of(world, "a_b").commits, 0);
  }
}

const struct CMUnitTest conformance_apart[] = {
    CONFORMS(namespaces_are_apart),
    CONFORMS(retention_is_of_one_namespace),
    CONFORMS(actors_are_apart),
};
const size_t conformance_apart_count =
    sizeof conformance_apart / sizeof *conformance_apart;
