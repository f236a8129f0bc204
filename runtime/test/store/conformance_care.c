/* Conformance: what operators ask of a store. */
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "store/conformance.h"

/* -- delete -- */

static const char *const confusing[] = {"a", "a.b", "a_b", "A", "ab", "a-b"};
enum { CONFUSING = sizeof confusing / sizeof *confusing };

static void fill(struct world *world, const char *ns) {
  char name[64];
  snprintf(name, sizeof name, "%s/account/x", ns);
  append_ok(world, name, 0, 2, "c-1");
  append_many(world, name, 2, 300);
  snapshot_save(world, name, 200, 1, ns, true);
  snapshot_save(world, name, 300, 1, ns, false);
  snprintf(name, sizeof name, "%s/account/\xc3\xa9/y z", ns);
  append_ok(world, name, 0, 1, NULL);
  ae_row row = {.key = AE_STR("k"), .value = ae_str_of(ns)};
  rows_put(world, ns, "p", &row, 1, 0, 9);
}

static void check(struct world *world, const char *ns, bool there) {
  struct kept_list list = {0};
  char name[64], text[64];
  uint64_t position, checkpoint;
  ae_stats stats = stats_of(world, ns);
  assert_int_equal(stats.commits, there ? 302 : 0);
  assert_int_equal(stats.events, there ? 303 : 0);
  assert_int_equal(stats.actors, there ? 2 : 0);
  assert_int_equal(stats.snapshots, there ? 2 : 0);
  assert_int_equal(stats.bytes > 0, there);
  assert_int_equal(stats.position > 0, there);
  snprintf(name, sizeof name, "%s/account/x", ns);
  assert_int_equal(lookup_of(world, name, "c-1", &position, NULL),
                   there ? 302 : 0);
  assert_int_equal(position > 0, there);
  read_all(world, name, 1, UINT64_MAX, &list);
  assert_int_equal(list.status, AE_OK);
  assert_int_equal(list.events, there ? 302 : 0);
  assert_int_equal(list.latest, there ? 302 : 0);
  scan_all(world, ns, 0, UINT64_MAX, &list);
  assert_int_equal(list.status, AE_OK);
  assert_int_equal(list.count, there ? 302 : 0);
  assert_int_equal(snapshot_load(world, name, UINT64_MAX, 1, text, NULL),
                   there ? 300 : 0);
  ae_rows_read how = {.ns = ae_str_of(ns), .projection = AE_STR("p")};
  rows_get(world, &how, text, sizeof text, &checkpoint);
  assert_int_equal(checkpoint, there ? 9 : 0);
  assert_int_equal(strlen(text) > 0, there);
  kept_clear(&list);
}

static void a_namespace_is_deleted(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  for (int i = 0; i < CONFUSING; i++) fill(world, confusing[i]);
  uint64_t last = stats_of(world, NULL).position;
  /* The last of them holds the last commit of all. */
  for (int gone = CONFUSING - 1; gone >= 0; gone--) {
    ae_delete was;
    assert_int_equal(delete_of(world, confusing[gone], &was), AE_OK);
    assert_int_equal(was.commits, 302);
    assert_int_equal(was.events, 303);
    assert_int_equal(was.actors, 2);
    for (int round = 0; round < 2; round++) {
      for (int i = 0; i < CONFUSING; i++) check(world, confusing[i], i < gone);
      scan_all(world, NULL, 0, UINT64_MAX, &list);
      assert_int_equal(list.status, AE_OK);
      assert_true(list.end);
      assert_int_equal(list.count, 302 * (size_t)gone);
      if (!world->fixture->durable) break;
      world_reopen(world);
    }
  }
  /* Twice in a row, and one that never was. */
  assert_int_equal(delete_of(world, "a", NULL), AE_OK);
  assert_int_equal(delete_of(world, "never", NULL), AE_OK);
  /* It begins anew, with the same ids; positions still rise, unless they are
   * of a stream that is another one now. */
  uint64_t next = append_ok(world, "a/account/x", 0, 2, "c-1");
  if (!world->fixture->shared) assert_true(next > last);
  assert_int_equal(stats_of(world, "a").actors, 1);
  assert_int_equal(append_try(world, "a/account/x", 2, 1, "c-1"), AE_DUPLICATE);
  append_many(world, "a/account/x", 2, 300);
  read_all(world, "a/account/x", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 302);
  kept_clear(&list);
}

static void what_is_asked_before_a_delete_is_done_before(void **state) {
  struct world *world = *state;
  struct outcome outcomes[3];
  ae_delete was;
  if (world->fixture->shared) return; /* others may append at any moment */
  ae_store_cork(world->store);
  for (uint64_t i = 0; i < 3; i++)
    append_start(world, &outcomes[i], "bank/account/a", i, 1, NULL, 0);
  assert_int_equal(delete_of(world, "bank", &was), AE_OK);
  ae_store_uncork(world->store);
  assert_int_equal(was.commits, 3);
  for (int i = 0; i < 3; i++) {
    world_until(world, &outcomes[i].done);
    assert_int_equal(outcomes[i].append.status, AE_OK);
    outcome_clear(&outcomes[i]);
  }
  assert_int_equal(stats_of(world, "bank").commits, 0);
  append_ok(world, "bank/account/a", 0, 1, NULL);
}

struct follower {
  ae_scan scan;
  size_t seen;
  bool end;
};

static void on_follow(ae_scan *scan, ae_status status, const ae_page *page,
                      const ae_error *err) {
  struct follower *follower = scan->data;
  (void)err;
  assert_int_equal(status, AE_OK);
  follower->seen += page->count;
  follower->end = page->end;
  ae_scan_more(scan);
}

static void a_live_scan_goes_on_after_a_delete(void **state) {
  struct world *world = *state;
  struct follower all = {.scan = {.until = UINT64_MAX, .live = true}};
  struct follower bank = all;
  if (world->fixture->shared) return; /* its file goes with the stream */
  all.scan.cb = bank.scan.cb = on_follow;
  all.scan.data = &all;
  bank.scan.data = &bank;
  bank.scan.ns = AE_STR("bank");
  append_many(world, "bank/account/a", 0, 100);
  append_many(world, "shop/cart/a", 0, 10);
  assert_int_equal(ae_store_scan(world->store, &all.scan, NULL), AE_OK);
  assert_int_equal(ae_store_scan(world->store, &bank.scan, NULL), AE_OK);
  world_until(world, &all.end);
  world_until(world, &bank.end);
  assert_int_equal(delete_of(world, "bank", NULL), AE_OK);
  append_many(world, "bank/account/a", 0, 7);
  all.end = bank.end = false;
  while (all.seen < 117) world_until(world, &all.end), all.end = false;
  while (bank.seen < 107) world_until(world, &bank.end), bank.end = false;
  assert_int_equal(all.seen, 117);
  assert_int_equal(bank.seen, 107);
  ae_scan_end(&all.scan);
  ae_scan_end(&bank.scan);
}

static void compacting_changes_nothing(void **state) {
  struct world *world = *state;
  struct kept_list before = {0}, after = {0};
  fill(world, "a");
  fill(world, "b");
  fill(world, "c");
  assert_int_equal(delete_of(world, "b", NULL), AE_OK);
  scan_all(world, NULL, 0, UINT64_MAX, &before);
  assert_int_equal(compact_of(world), AE_OK);
  for (int round = 0; round < 2; round++) {
    check(world, "a", true);
    check(world, "b", false);
    check(world, "c", true);
    scan_all(world, NULL, 0, UINT64_MAX, &after);
    assert_int_equal(after.count, before.count);
    for (size_t i = 0; i < after.count; i++)
      assert_int_equal(after.at[i].position, before.at[i].position);
    if (!world->fixture->durable) break;
    world_reopen(world);
  }
  append_ok(world, "a/account/x", 302, 1, NULL);
  append_ok(world, "b/account/x", 0, 1, NULL);
  kept_clear(&before);
  kept_clear(&after);
}

/* -- bases, and histories that begin behind one -- */

static uint64_t sum_of(const char *const *ids, uint32_t count) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += ae_hash(ae_str_of(ids[i]));
  return sum;
}

static void bases_are_listed(void **state) {
  struct world *world = *state;
  ae_buf text = {0};
  char want[400];
  uint64_t trimmed, left;
  assert_int_equal(bases_of(world, "bank", &text), AE_OK);
  assert_int_equal(text.len, 0);
  append_ok(world, "bank/account/a", 0, 1, "c-1");
  append_ok(world, "bank/account/a", 1, 0, "c-2");
  append_many(world, "bank/account/a", 1, 99);
  append_ok(world, "bank/account/a", 100, 1, "c-3");
  append_many(world, "bank/account/b", 0, 10);
  append_many(world, "bank.x/account/a", 0, 10);
  snapshot_save(world, "bank/account/a", 60, 1, "at 60", true);
  snapshot_save(world, "bank/account/a", 70, 1, "at 70", false);
  snapshot_save(world, "bank.x/account/a", 5, 2, "x", true);
  assert_int_equal(bases_of(world, "bank", &text), AE_OK);
  assert_string_equal(ae_buf_cstr(&text), "bank/account/a 60/1 at 60\n");
  trim_of(world, "bank", 0, 1, &trimmed, &left);
  assert_true(trimmed > 0);
  snapshot_save(world, "bank/account/b", 7, 1, "at 7", true);
  static const char *const gone[] = {"c-1", "c-2"};
  snprintf(want, sizeof want, "bank/account/a 60/1 at 60 begins 2:%llx\n",
           (unsigned long long)sum_of(gone, 2));
  for (int round = 0; round < 2; round++) {
    assert_int_equal(bases_of(world, "bank", &text), AE_OK);
    const char *is = ae_buf_cstr(&text);
    assert_non_null(strstr(is, want));
    assert_non_null(strstr(is, "bank/account/b 7/1 at 7\n"));
    assert_int_equal(strlen(is), strlen(want) + 24);
    assert_int_equal(bases_of(world, "bank.x", &text), AE_OK);
    assert_string_equal(ae_buf_cstr(&text), "bank.x/account/a 5/2 x\n");
    if (world->fixture->durable) world_reopen(world);
  }
  ae_buf_clear(&text);
}

static void many_bases_in_pages(void **state) {
  struct world *world = *state;
  ae_buf text = {0};
  char name[64];
  size_t lines = 0;
  if (world->fixture->shared) return; /* one by one over the wire: minutes */
  for (int i = 0; i < 5000; i++) {
    snprintf(name, sizeof name, "bank/account/a-%d", i);
    append_ok(world, name, 0, 1, NULL);
    snapshot_save(world, name, 1, 1, "s", true);
  }
  assert_int_equal(bases_of(world, "bank", &text), AE_OK);
  for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
  assert_int_equal(lines, 5000);
  ae_buf_clear(&text);
}

static void an_actor_begins_behind_a_base(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  ae_buf text = {0};
  char loaded[64], want[200];
  bool base;
  uint64_t position;
  size_t record;
  static const char *const ids[] = {"c-1", "c-2", "c-3"};
  const char *actor = "bank/account/a";
  if (world->fixture->shared) return; /* a stream takes whole histories */
  assert_int_equal(begin_of(world, actor, 60, "at 60", ids, 2), AE_OK);
  snprintf(want, sizeof want, "bank/account/a 60/1 at 60 begins 3:%llx\n",
           (unsigned long long)sum_of(ids, 3));
  for (int round = 0; round < 3; round++) {
    assert_int_equal(lookup_of(world, actor, "c-1", &position, &record), 60);
    assert_true(position == UINT64_MAX);
    assert_int_equal(record, 0);
    lookup_of(world, actor, "c-4", &position, NULL);
    assert_int_equal(position, 0);
    read_all(world, actor, 1, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.count, 0);
    assert_int_equal(list.latest, 60);
    assert_int_equal(list.base, 60);
    assert_int_equal(snapshot_load(world, actor, UINT64_MAX, 9, loaded, &base),
                     60);
    assert_true(base);
    assert_string_equal(loaded, "at 60");
    ae_stats stats = stats_of(world, "bank");
    assert_int_equal(stats.actors, 1);
    assert_int_equal(stats.snapshots, 1);
    assert_int_equal(stats.commits, 0);
    /* Again: nothing new; with ids alone: these. */
    assert_int_equal(begin_of(world, actor, 60, "at 60", ids, 2), AE_OK);
    assert_int_equal(begin_of(world, actor, 60, "", ids + 2, 1), AE_OK);
    assert_int_equal(bases_of(world, "bank", &text), AE_OK);
    assert_string_equal(ae_buf_cstr(&text), want);
    /* Otherwise: no. */
    assert_int_equal(begin_of(world, actor, 61, "at 61", ids, 2),
                     AE_VERSION_CONFLICT);
    assert_int_equal(begin_of(world, actor, 60, "other", ids, 2),
                     AE_VERSION_CONFLICT);
    assert_int_equal(begin_of(world, "bank/account/z", 60, "", ids, 2),
                     AE_VERSION_CONFLICT);
    if (world->fixture->durable) world_reopen(world);
  }
  assert_int_equal(append_try(world, actor, 0, 1, NULL), AE_VERSION_CONFLICT);
  assert_int_equal(append_try(world, actor, 60, 1, "c-3"), AE_DUPLICATE);
  append_many(world, actor, 60, 700);
  append_ok(world, actor, 760, 1, "c-5");
  append_ok(world, "bank/account/b", 0, 1, "c-1");
  assert_int_equal(begin_of(world, "bank/account/b", 1, "s", NULL, 0),
                   AE_VERSION_CONFLICT);
  for (int round = 0; round < 2; round++) {
    read_all(world, actor, 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 701);
    assert_int_equal(list.at[0].first_version, 61);
    assert_int_equal(list.base, 60);
    read_all(world, actor, 500, 510, &list);
    assert_int_equal(list.events, 11);
    scan_all(world, "bank", 0, UINT64_MAX, &list);
    assert_int_equal(list.count, 702);
    assert_int_equal(stats_of(world, "bank").actors, 2);
    lookup_of(world, actor, "c-2", &position, NULL);
    assert_true(position == UINT64_MAX);
    lookup_of(world, actor, "c-5", &position, &record);
    assert_true(position < UINT64_MAX && record > 0);
    if (world->fixture->durable) world_reopen(world);
  }
  /* Deleted with its namespace, it begins anew. */
  assert_int_equal(delete_of(world, "bank", NULL), AE_OK);
  assert_int_equal(lookup_of(world, actor, "c-1", &position, NULL), 0);
  assert_int_equal(position, 0);
  assert_int_equal(begin_of(world, actor, 5, "at 5", NULL, 0), AE_OK);
  assert_int_equal(stats_of(world, "bank").actors, 1);
  append_ok(world, actor, 5, 1, "c-1");
  kept_clear(&list);
  ae_buf_clear(&text);
}

/* A commit below the base that is not deleted yet is marked as such. */
static void records_tell_their_base(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  uint64_t trimmed, left;
  append_many(world, "bank/account/a", 0, 100);
  append_many(world, "bank/account/b", 0, 5);
  snapshot_save(world, "bank/account/a", 60, 1, "s", true);
  uint64_t bytes = stats_of(world, "bank").bytes;
  trim_of(world, "bank", 0, bytes - bytes / 8, &trimmed, &left);
  assert_true(trimmed > 0 && trimmed < 60);
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  size_t below = 0;
  for (size_t i = 0; i < list.count; i++) {
    bool a = strcmp(list.at[i].actor, "bank/account/a") == 0;
    assert_int_equal(list.at[i].base, a ? 60 : 0);
    below += a && list.at[i].first_version <= 60;
  }
  assert_int_equal(below, 60 - trimmed);
  kept_clear(&list);
}

/* -- mend -- */

enum { LOST = 3 };

/* So many commits before and behind one of three events, with an id, that is
 * to give way; another actor's around them. */
static void lose(struct world *world, uint64_t before, uint64_t behind,
                 struct kept_list *list) {
  struct outcome outcome;
  append_many(world, "bank/account/a", 0, (uint32_t)before);
  append_ok(world, "bank/account/other", 0, 1, "c-1");
  ae_buf record = {0};
  const char *id = "c-9";
  record_make(world, &record, ref_of("bank/account/a"), before + 1, LOST, &id,
              1, 0);
  append_raw(world, &outcome, "bank/account/a", before, LOST, 1,
             ae_buf_view(&record));
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_OK);
  outcome_clear(&outcome);
  ae_buf_clear(&record);
  append_many(world, "bank/account/a", before + LOST, (uint32_t)behind);
  append_ok(world, "bank/account/other", 1, 1, NULL);
  read_all(world, "bank/account/a", 1, UINT64_MAX, list);
  assert_int_equal(list->count, before + 1 + behind);
}

static void whole(struct world *world, uint64_t latest) {
  struct kept_list list = {0};
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.status, AE_OK);
  assert_int_equal(list.damaged, 0);
  assert_int_equal(list.latest, latest);
  assert_int_equal(list.events, latest);
  uint64_t next = 1;
  for (size_t i = 0; i < list.count; i++) {
    assert_int_equal(list.at[i].first_version, next);
    next += list.at[i].events;
    if (i > 0) assert_true(list.at[i].position > list.at[i - 1].position);
  }
  uint64_t commits = list.count;
  ae_stats stats = stats_of(world, "bank");
  read_all(world, "bank/account/other", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 2);
  assert_int_equal(stats.commits, commits + 2);
  assert_int_equal(stats.events, latest + 2);
  assert_int_equal(stats.actors, latest > 0 ? 2 : 1);
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.status, AE_OK);
  assert_true(list.end);
  assert_int_equal(list.count, stats.commits);
  assert_int_equal(list.at[list.count - 1].position, stats.position);
  kept_clear(&list);
}

static void a_lost_commit_is_skipped(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  if (world->fixture->shared) return; /* a stream cannot be changed */
  static const uint64_t places[][2] = {
      {300, 300}, {0, 300}, {300, 0}, {0, 0}, {1, 1}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    uint64_t before = places[i][0], behind = places[i][1], position;
    uint64_t latest = before + LOST + behind;
    size_t record;
    lose(world, before, behind, &list);
    bool base = before > 50;
    if (base) snapshot_save(world, "bank/account/a", 40, 1, "s", true);
    snapshot_save(world, "bank/account/a", latest, 1, "late", false);
    struct mending m = {.latest = latest,
                        .after = before ? list.at[before - 1].position : 0,
                        .until = behind ? list.at[before + 1].position : 0,
                        .version = before,
                        .events = LOST};
    struct mending wrong = m;
    wrong.latest++;
    assert_int_equal(mend_of(world, "bank/account/a", &wrong),
                     AE_VERSION_CONFLICT);
    assert_int_equal(mend_of(world, "bank/account/a", &m), AE_OK);
    assert_int_equal(m.removed, 1);
    assert_int_equal(m.position, list.at[before].position);
    for (int round = 0; round < 2; round++) {
      whole(world, latest);
      /* Its id is still taken, by what stands there now. */
      lookup_of(world, "bank/account/a", "c-9", &position, &record);
      assert_int_equal(position, m.position);
      assert_true(record > 0);
      assert_int_equal(
          snapshot_load(world, "bank/account/a", UINT64_MAX, 1, NULL, NULL),
          base ? 40 : 0);
      assert_int_equal(stats_of(world, "bank").snapshots, base);
      if (world->fixture->durable) world_reopen(world);
    }
    append_many(world, "bank/account/a", latest, 5);
    whole(world, latest + 5);
    assert_int_equal(delete_of(world, "bank", NULL), AE_OK);
  }
  kept_clear(&list);
}

static void a_history_is_cut_short(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  if (world->fixture->shared) return; /* a stream cannot be changed */
  static const uint64_t places[][2] = {{300, 300}, {300, 0}, {0, 300}, {0, 0}};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    uint64_t before = places[i][0], behind = places[i][1], position;
    uint64_t latest = before + LOST + behind;
    lose(world, before, behind, &list);
    if (before > 0) snapshot_save(world, "bank/account/a", 40, 1, "s", false);
    snapshot_save(world, "bank/account/a", latest, 1, "late", true);
    struct mending m = {.latest = latest,
                        .after = before ? list.at[before - 1].position : 0,
                        .version = before,
                        .truncate = true};
    assert_int_equal(mend_of(world, "bank/account/a", &m), AE_OK);
    assert_int_equal(m.removed, 1 + behind);
    for (int round = 0; round < 2; round++) {
      whole(world, before);
      lookup_of(world, "bank/account/a", "c-9", &position, NULL);
      assert_int_equal(position, 0);
      lookup_of(world, "bank/account/other", "c-1", &position, NULL);
      assert_true(position > 0);
      assert_int_equal(
          snapshot_load(world, "bank/account/a", UINT64_MAX, 1, NULL, NULL),
          before > 0 ? 40 : 0);
      if (world->fixture->durable) world_reopen(world);
    }
    append_ok(world, "bank/account/a", before, 1, "c-9");
    append_many(world, "bank/account/a", before + 1, 300);
    whole(world, before + 301);
    assert_int_equal(delete_of(world, "bank", NULL), AE_OK);
  }
  kept_clear(&list);
}

static void an_event_less_commit_gives_way(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  uint64_t position;
  if (world->fixture->shared) return; /* a stream cannot be changed */
  append_many(world, "bank/account/a", 0, 5);
  append_ok(world, "bank/account/other", 0, 2, NULL);
  append_ok(world, "bank/account/a", 5, 0, "c-1");
  append_many(world, "bank/account/a", 5, 5);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  struct mending m = {.latest = 10,
                      .after = list.at[4].position,
                      .until = list.at[6].position,
                      .version = 5};
  assert_int_equal(mend_of(world, "bank/account/a", &m), AE_OK);
  assert_int_equal(m.removed, 1);
  lookup_of(world, "bank/account/a", "c-1", &position, NULL);
  assert_int_equal(position, m.position);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 10);
  assert_int_equal(list.count, 11);
  /* Of an actor that is not there. */
  assert_int_equal(mend_of(world, "bank/account/none", &m),
                   AE_VERSION_CONFLICT);
  kept_clear(&list);
}

const struct CMUnitTest conformance_care[] = {
    CONFORMS(a_namespace_is_deleted),
    CONFORMS(what_is_asked_before_a_delete_is_done_before),
    CONFORMS(a_live_scan_goes_on_after_a_delete),
    CONFORMS(compacting_changes_nothing),
    CONFORMS(bases_are_listed),
    CONFORMS(many_bases_in_pages),
    CONFORMS(an_actor_begins_behind_a_base),
    CONFORMS(records_tell_their_base),
    CONFORMS(a_lost_commit_is_skipped),
    CONFORMS(a_history_is_cut_short),
    CONFORMS(an_event_less_commit_gives_way),
};
const size_t conformance_care_count =
    sizeof conformance_care / sizeof *conformance_care;
