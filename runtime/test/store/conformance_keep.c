/* Conformance: snapshots, rows, retention, counts, and a random walk against
 * a trivially right model. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/conformance.h"

/* -- snapshots -- */

static void the_newest_snapshot_at_or_below(void **state) {
  struct world *world = *state;
  char text[64];
  bool base;
  append_many(world, "bank/account/a", 0, 100);
  append_many(world, "bank/account/b", 0, 10);
  assert_int_equal(
      snapshot_load(world, "bank/account/a", UINT64_MAX, 1, text, &base), 0);
  assert_int_equal(
      snapshot_save(world, "bank/account/a", 20, 1, "at 20", false), AE_OK);
  assert_int_equal(
      snapshot_save(world, "bank/account/a", 60, 1, "at 60", false), AE_OK);
  assert_int_equal(
      snapshot_save(world, "bank/account/a", 40, 1, "at 40", false), AE_OK);
  assert_int_equal(snapshot_save(world, "bank/account/a", 70, 2, "new", false),
                   AE_OK);
  assert_int_equal(
      snapshot_load(world, "bank/account/a", UINT64_MAX, 1, text, &base), 60);
  assert_string_equal(text, "at 60");
  assert_false(base);
  assert_int_equal(snapshot_load(world, "bank/account/a", 59, 1, text, &base),
                   40);
  assert_int_equal(snapshot_load(world, "bank/account/a", 20, 1, text, &base),
                   20);
  assert_int_equal(snapshot_load(world, "bank/account/a", 19, 1, text, &base),
                   0);
  assert_int_equal(
      snapshot_load(world, "bank/account/a", UINT64_MAX, 2, text, &base), 70);
  assert_int_equal(
      snapshot_load(world, "bank/account/a", UINT64_MAX, 3, text, &base), 0);
  assert_int_equal(
      snapshot_load(world, "bank/account/b", UINT64_MAX, 1, text, &base), 0);
  /* written again */
  snapshot_save(world, "bank/account/a", 60, 1, "at 60 again", false);
  snapshot_load(world, "bank/account/a", UINT64_MAX, 1, text, &base);
  assert_string_equal(text, "at 60 again");
  assert_int_equal(stats_of(world, "bank").snapshots, 4);
}

static void snapshots_do_not_pile_up(void **state) {
  struct world *world = *state;
  char text[64];
  append_many(world, "bank/account/a", 0, 100);
  snapshot_save(world, "bank/account/a", 5, 1, "base", true);
  for (uint64_t version = 10; version <= 100; version += 10)
    snapshot_save(world, "bank/account/a", version, 1, "x", false);
  assert_true(stats_of(world, "bank").snapshots <= 6);
  assert_int_equal(
      snapshot_load(world, "bank/account/a", UINT64_MAX, 1, text, NULL), 100);
  assert_int_equal(snapshot_load(world, "bank/account/a", 9, 1, text, NULL), 5);
}

static void a_base_counts_whatever_its_shape(void **state) {
  struct world *world = *state;
  char text[64];
  bool base;
  append_many(world, "bank/account/a", 0, 50);
  snapshot_save(world, "bank/account/a", 30, 1, "base", true);
  assert_int_equal(
      snapshot_load(world, "bank/account/a", UINT64_MAX, 9, text, &base), 30);
  assert_true(base);
  assert_string_equal(text, "base");
  assert_int_equal(snapshot_fitting(world, "bank/account/a", 9), 0);
  assert_int_equal(snapshot_fitting(world, "bank/account/a", 1), 30);
  snapshot_save(world, "bank/account/a", 20, 9, "fits", false);
  assert_int_equal(snapshot_fitting(world, "bank/account/a", 9), 20);
}

static void a_snapshot_of_what_is_not_there(void **state) {
  struct world *world = *state;
  append_many(world, "bank/account/a", 0, 5);
  assert_int_equal(snapshot_save(world, "bank/account/a", 6, 1, "x", false),
                   AE_NOT_FOUND);
  assert_int_equal(snapshot_save(world, "bank/account/a", 0, 1, "x", false),
                   AE_NOT_FOUND);
  assert_int_equal(snapshot_save(world, "bank/account/z", 1, 1, "x", false),
                   AE_NOT_FOUND);
  assert_int_equal(stats_of(world, NULL).snapshots, 0);
}

/* -- rows -- */

#define ROW(k, v)                                            \
  {                                                          \
    .key = {k, sizeof(k) - 1}, .value = { v, sizeof(v) - 1 } \
  }

static void rows_are_put_and_found(void **state) {
  struct world *world = *state;
  char text[400];
  uint64_t checkpoint;
  ae_rows_read how = {.ns = AE_STR("bank"), .projection = AE_STR("balances")};
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "");
  assert_int_equal(checkpoint, 0);
  ae_row rows[] = {ROW("b", "2"),     ROW("a", "1"), ROW("ab", "12"),
                   ROW("abc", "123"), ROW("c", "3"), ROW("b\xff", "f")};
  assert_int_equal(rows_put(world, "bank", "balances", rows, 6, 0, 10), AE_OK);
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "a=1 ab=12 abc=123 b=2 b\xff=f c=3");
  assert_int_equal(checkpoint, 10);
  how.prefix = AE_STR("a");
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "a=1 ab=12 abc=123");
  how.from = AE_STR("ab");
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "ab=12 abc=123");
  how.after = true;
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "abc=123");
  how.after = false;
  how.limit = 1;
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "ab=12");
  how = (ae_rows_read){.ns = AE_STR("bank"),
                       .projection = AE_STR("balances"),
                       .from = AE_STR("b"),
                       .exact = true};
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "b=2");
  how.from = AE_STR("bb");
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "");
  how.exact = false;
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "b\xff=f c=3");
  how.prefix = AE_STR("b\xff");
  how.from = AE_STR("");
  rows_get(world, &how, text, sizeof text, NULL);
  assert_string_equal(text, "b\xff=f");
  /* others see nothing of it */
  how = (ae_rows_read){.ns = AE_STR("bank"), .projection = AE_STR("balance")};
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "");
  how = (ae_rows_read){.ns = AE_STR("shop"), .projection = AE_STR("balances")};
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "");
  assert_int_equal(checkpoint, 0);
}

static void rows_and_checkpoint_go_together(void **state) {
  struct world *world = *state;
  char text[400];
  uint64_t checkpoint;
  ae_rows_read how = {.ns = AE_STR("bank"), .projection = AE_STR("p")};
  ae_row first[] = {ROW("a", "1"), ROW("b", "2")};
  ae_row then[] = {ROW("a", ""), ROW("b", "3"), ROW("x", ""), ROW("c", "4")};
  assert_int_equal(rows_put(world, "bank", "p", first, 2, 0, 5), AE_OK);
  assert_int_equal(rows_put(world, "bank", "p", then, 4, 0, 9),
                   AE_VERSION_CONFLICT);
  assert_int_equal(rows_put(world, "bank", "p", then, 4, 6, 9),
                   AE_VERSION_CONFLICT);
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "a=1 b=2");
  assert_int_equal(checkpoint, 5);
  assert_int_equal(rows_put(world, "bank", "p", then, 4, 5, 9), AE_OK);
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "b=3 c=4");
  assert_int_equal(checkpoint, 9);
  assert_int_equal(rows_put(world, "bank", "p", NULL, 0, 9, 12), AE_OK);
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_string_equal(text, "b=3 c=4");
  assert_int_equal(checkpoint, 12);
}

static void many_rows(void **state) {
  struct world *world = *state;
  enum { COUNT = 5000 };
  char(*keys)[16] = ae_alloc(COUNT * sizeof *keys);
  ae_row *rows = ae_alloc(COUNT * sizeof *rows);
  for (int i = 0; i < COUNT; i++) {
    int n = (i * 7919) % COUNT;
    snprintf(keys[i], sizeof *keys, "k-%06d", n);
    rows[i] = (ae_row){.key = ae_str_of(keys[i]), .value = AE_STR("v")};
  }
  assert_int_equal(rows_put(world, "bank", "p", rows, COUNT, 0, 1), AE_OK);
  char text[64], want[64], key[16] = "";
  for (int i = 0; i < COUNT; i++) {
    ae_rows_read how = {.ns = AE_STR("bank"),
                        .projection = AE_STR("p"),
                        .from = ae_str_of(key),
                        .after = true,
                        .limit = 1};
    rows_get(world, &how, text, sizeof text, NULL);
    snprintf(key, sizeof key, "k-%06d", i);
    snprintf(want, sizeof want, "%s=v", key);
    assert_string_equal(text, want);
  }
  ae_free(rows);
  ae_free(keys);
}

/* -- retention -- */

static void trim_by_bytes(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  uint64_t trimmed, left, position;
  append_ok(world, "bank/account/a", 0, 1, "c-1");
  append_many(world, "bank/account/a", 1, 99);
  append_many(world, "bank/account/b", 0, 50);
  append_many(world, "shop/account/a", 0, 50);
  ae_stats before = stats_of(world, "bank");
  /* without a base nothing may go */
  assert_int_equal(trim_of(world, "bank", 0, 1, &trimmed, &left), AE_OK);
  assert_int_equal(trimmed, 0);
  assert_int_equal(left, before.bytes);
  snapshot_save(world, "bank/account/a", 80, 1, "plain", false);
  trim_of(world, "bank", 0, 1, &trimmed, &left);
  assert_int_equal(trimmed, 0);
  snapshot_save(world, "bank/account/a", 60, 1, "base", true);
  /* a limit that half of it fits in */
  trim_of(world, "bank", 0, before.bytes - before.bytes / 10, &trimmed, &left);
  assert_true(trimmed > 0 && trimmed < 60);
  assert_true(left <= before.bytes - before.bytes / 10);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.base, 60);
  assert_int_equal(list.latest, 100);
  assert_int_equal(list.count, 100 - trimmed);
  assert_int_equal(list.at[0].first_version, trimmed + 1);
  trim_of(world, "bank", 0, 1, &trimmed, &left);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 40);
  assert_int_equal(list.at[0].first_version, 61);
  assert_int_equal(list.events, 40);
  read_all(world, "bank/account/b", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 50);
  assert_int_equal(list.base, 0);
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 90);
  scan_all(world, "shop", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 50);
  ae_stats after = stats_of(world, "bank");
  assert_int_equal(after.commits, 90);
  assert_int_equal(after.events, 90);
  assert_int_equal(after.bytes, left);
  assert_int_equal(after.position, before.position);
  /* the id outlives its commit */
  size_t record;
  lookup_of(world, "bank/account/a", "c-1", &position, &record);
  assert_true(position > 0);
  assert_int_equal(record, 0);
  assert_int_equal(append_try(world, "bank/account/a", 100, 1, "c-1"),
                   AE_DUPLICATE);
  append_ok(world, "bank/account/a", 100, 1, NULL);
  assert_int_equal(snapshot_load(world, "bank/account/a", 79, 1, NULL, NULL),
                   60);
  kept_clear(&list);
}

static void trim_by_age_keeps_the_last_commit(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  uint64_t trimmed, left;
  append_many(world, "bank/account/a", 0, 20);
  int64_t between = world->time;
  append_many(world, "bank/account/a", 20, 20);
  snapshot_save(world, "bank/account/a", 40, 1, "base", true);
  trim_of(world, "bank", between, 0, &trimmed, &left);
  assert_int_equal(trimmed, 20);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 20);
  assert_int_equal(list.at[0].first_version, 21);
  trim_of(world, "bank", world->time + 1, 0, &trimmed, &left);
  assert_int_equal(trimmed, 19);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 1);
  assert_int_equal(list.at[0].first_version, 40);
  assert_int_equal(list.latest, 40);
  assert_true(left > 0);
  trim_of(world, "nowhere", world->time + 1, 1, &trimmed, &left);
  assert_int_equal(trimmed, 0);
  assert_int_equal(left, 0);
  append_ok(world, "bank/account/a", 40, 1, NULL);
  kept_clear(&list);
}

/* A snapshot that nothing can be built on any more is no use. */
static void trim_takes_snapshots_along(void **state) {
  struct world *world = *state;
  uint64_t trimmed;
  append_many(world, "bank/account/a", 0, 40);
  append_many(world, "bank/account/b", 0, 10);
  assert_int_equal(stats_of(world, "bank").trimmed, 0);
  snapshot_save(world, "bank/account/b", 5, 1, "other", false);
  snapshot_save(world, "bank/account/a", 10, 1, "cache", false);
  snapshot_save(world, "bank/account/a", 20, 1, "old base", true);
  snapshot_save(world, "bank/account/a", 30, 1, "base", true);
  snapshot_save(world, "bank/account/a", 35, 1, "newer", false);
  assert_int_equal(stats_of(world, "bank").snapshots, 5);
  trim_of(world, "bank", 0, 1, &trimmed, NULL);
  assert_int_equal(trimmed, 30);
  assert_int_equal(stats_of(world, "bank").snapshots, 3);
  /* Up to where something is missing. */
  uint64_t gone = stats_of(world, "bank").trimmed;
  struct kept_list list = {0};
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.at[0].position, gone + 1);
  kept_clear(&list);
  assert_int_equal(stats_of(world, "shop").trimmed, 0);
  assert_int_equal(snapshot_load(world, "bank/account/a", 29, 1, NULL, NULL),
                   0);
  assert_int_equal(snapshot_load(world, "bank/account/a", 34, 1, NULL, NULL),
                   30);
  assert_int_equal(snapshot_load(world, "bank/account/a", 40, 1, NULL, NULL),
                   35);
  assert_int_equal(snapshot_load(world, "bank/account/b", 9, 1, NULL, NULL), 5);
}

static void trim_can_be_ended(void **state) {
  struct world *world = *state;
  uint64_t trimmed, left;
  append_many(world, "bank/account/a", 0, 5000);
  snapshot_save(world, "bank/account/a", 4999, 1, "base", true);
  uint64_t bytes = stats_of(world, "bank").bytes;
  trim_ended(world, "bank", 1, &trimmed, &left);
  assert_true(trimmed < 4999);
  assert_int_equal(stats_of(world, "bank").bytes, left);
  assert_true(trimmed == 0 ? left == bytes : left < bytes);
  uint64_t before = trimmed;
  assert_int_equal(trim_of(world, "bank", 0, 1, &trimmed, &left), AE_OK);
  assert_int_equal(trimmed, 4999 - before);
  assert_int_equal(stats_of(world, "bank").commits, 1);
}

/* -- counts -- */

static void counts_of_each_namespace(void **state) {
  struct world *world = *state;
  append_many(world, "bank/account/a", 0, 10);
  append_ok(world, "bank/account/b", 0, 5, "c-1");
  uint64_t last = append_ok(world, "shop/cart/x", 0, 2, NULL);
  ae_stats bank = stats_of(world, "bank"), shop = stats_of(world, "shop"),
           all = stats_of(world, NULL), none = stats_of(world, "none");
  assert_int_equal(bank.commits, 11);
  assert_int_equal(bank.events, 15);
  assert_int_equal(bank.actors, 2);
  assert_int_equal(shop.commits, 1);
  assert_int_equal(shop.events, 2);
  assert_int_equal(shop.actors, 1);
  assert_int_equal(shop.position, last);
  assert_int_equal(all.commits, 12);
  assert_int_equal(all.events, 17);
  assert_int_equal(all.actors, 3);
  assert_int_equal(all.position, conformance_shared() ? bank.position : last);
  assert_int_equal(all.bytes, bank.bytes + shop.bytes);
  assert_true(bank.bytes > 11 * 60);
  assert_int_equal(none.commits, 0);
  assert_int_equal(none.position, 0);
}

/* -- a random walk -- */

enum { MODEL_ACTORS = 12, MODEL_IDS = 40 };

struct model {
  uint64_t version[MODEL_ACTORS];
  uint64_t commits[MODEL_ACTORS];
  uint64_t id[MODEL_ACTORS][MODEL_IDS]; /* position */
};

static uint64_t draw(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static void model_check(struct world *world, const struct model *model) {
  struct kept_list list = {0};
  char name[64], id[16];
  uint64_t commits = 0;
  for (int a = 0; a < MODEL_ACTORS; a++) {
    snprintf(name, sizeof name, "%s/account/a-%d", a % 2 ? "bank" : "shop", a);
    read_all(world, name, 1, UINT64_MAX, &list);
    assert_int_equal(list.latest, model->version[a]);
    assert_int_equal(list.count, model->commits[a]);
    assert_int_equal(list.events, model->version[a]);
    assert_int_equal(list.damaged, 0);
    commits += model->commits[a];
    for (int i = 0; i < MODEL_IDS; i++) {
      uint64_t position;
      snprintf(id, sizeof id, "c-%d", i);
      lookup_of(world, name, id, &position, NULL);
      assert_int_equal(position, model->id[a][i]);
    }
  }
  scan_all(world, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.count, commits);
  assert_int_equal(stats_of(world, NULL).commits, commits);
  kept_clear(&list);
}

/* A namespace is deleted: its actors begin anew. */
static void forget(struct world *world, struct model *model, int odd) {
  ae_delete was;
  uint64_t commits = 0;
  for (int a = odd; a < MODEL_ACTORS; a += 2) {
    commits += model->commits[a];
    model->version[a] = model->commits[a] = 0;
    memset(model->id[a], 0, sizeof model->id[a]);
  }
  assert_int_equal(delete_of(world, odd ? "bank" : "shop", &was), AE_OK);
  assert_int_equal(was.commits, commits);
}

static void a_random_walk(void **state) {
  struct world *world = *state;
  struct model model = {0};
  uint64_t seed = 20231114;
  char name[64], id[16];
  for (int step = 1; step <= 3000; step++) {
    if (draw(&seed) % 250 == 0) forget(world, &model, draw(&seed) % 2);
    int a = (int)(draw(&seed) % MODEL_ACTORS);
    int i = draw(&seed) % 3 ? -1 : (int)(draw(&seed) % MODEL_IDS);
    uint32_t events = (uint32_t)(draw(&seed) % 4);
    if (events == 0 && i < 0) events = 1;
    uint64_t expected = model.version[a];
    if (draw(&seed) % 8 == 0) expected += draw(&seed) % 3;
    if (draw(&seed) % 8 == 0 && expected > 0) expected--;
    snprintf(name, sizeof name, "%s/account/a-%d", a % 2 ? "bank" : "shop", a);
    snprintf(id, sizeof id, "c-%d", i);
    struct outcome outcome;
    append_start(world, &outcome, name, expected, events, i < 0 ? NULL : id, 0);
    world_until(world, &outcome.done);
    ae_status want = expected != model.version[a]   ? AE_VERSION_CONFLICT
                     : i >= 0 && model.id[a][i] > 0 ? AE_DUPLICATE
                                                    : AE_OK;
    if (outcome.append.status != want)
      fail_msg("%s at %llu: %s", name, (unsigned long long)expected,
               ae_error_text(&outcome.error));
    if (want == AE_OK) {
      model.version[a] += events;
      model.commits[a]++;
      if (i >= 0) model.id[a][i] = outcome.append.position;
    }
    outcome_clear(&outcome);
    if (world->fixture->durable && step % 500 == 0) world_reopen(world);
    if (step % 1000 == 0) model_check(world, &model);
  }
}

static void a_probe_leaves_nothing(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 2, NULL);
  ae_stats before = stats_of(world, NULL);
  assert_int_equal(probe_of(world), AE_OK);
  assert_int_equal(ae_store_health(world->store, NULL), AE_OK);
  ae_stats after = stats_of(world, NULL);
  assert_int_equal(after.commits, before.commits);
  assert_int_equal(after.position, before.position);
  scan_all(world, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 1);
  append_ok(world, "bank/account/a", 2, 1, NULL);
  kept_clear(&list);
}

const struct CMUnitTest conformance_keep[] = {
    CONFORMS(the_newest_snapshot_at_or_below),
    CONFORMS(snapshots_do_not_pile_up),
    CONFORMS(a_base_counts_whatever_its_shape),
    CONFORMS(a_snapshot_of_what_is_not_there),
    CONFORMS(rows_are_put_and_found),
    CONFORMS(rows_and_checkpoint_go_together),
    CONFORMS(many_rows),
    CONFORMS(trim_by_bytes),
    CONFORMS(trim_by_age_keeps_the_last_commit),
    CONFORMS(trim_takes_snapshots_along),
    CONFORMS(trim_can_be_ended),
    CONFORMS(counts_of_each_namespace),
    CONFORMS(a_probe_leaves_nothing),
    CONFORMS(a_random_walk),
};
const size_t conformance_keep_count =
    sizeof conformance_keep / sizeof *conformance_keep;
