/* Conformance: reads of an actor, scans, following live, damage. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/conformance.h"

/* -- one actor -- */

static void expect_versions(const struct kept_list *list, uint64_t first,
                            uint64_t last) {
  assert_true(list->count > 0);
  assert_int_equal(list->at[0].first_version, first);
  const struct kept *end = &list->at[list->count - 1];
  assert_int_equal(end->first_version + end->events - 1, last);
  for (size_t i = 1; i < list->count; i++)
    assert_int_equal(list->at[i].first_version,
                     list->at[i - 1].first_version + list->at[i - 1].events);
}

static void ranges(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  /* versions 1 | 2 3 4 | 5 6 | 7 */
  append_ok(world, "bank/account/a", 0, 1, NULL);
  append_ok(world, "bank/account/b", 0, 5, NULL);
  append_ok(world, "bank/account/a", 1, 3, NULL);
  append_ok(world, "bank/account/a", 4, 2, NULL);
  append_ok(world, "bank/account/b", 5, 5, NULL);
  append_ok(world, "bank/account/a", 6, 1, NULL);
  static const struct {
    uint64_t from, to, first, last;
  } cases[] = {{1, UINT64_MAX, 1, 7}, {1, 7, 1, 7}, {2, 7, 2, 7}, {3, 7, 2, 7},
               {4, 5, 2, 6},          {5, 5, 5, 6}, {1, 1, 1, 1}, {7, 7, 7, 7},
               {7, 99, 7, 7},         {6, 6, 5, 6}, {3, 3, 2, 4}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    read_all(world, "bank/account/a", cases[i].from, cases[i].to, &list);
    expect_versions(&list, cases[i].first, cases[i].last);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.latest, 7);
    assert_int_equal(list.base, 0);
    for (size_t k = 0; k < list.count; k++)
      assert_string_equal(list.at[k].actor, "bank/account/a");
  }
  read_all(world, "bank/account/a", 8, UINT64_MAX, &list);
  assert_int_equal(list.count, 0);
  assert_int_equal(list.latest, 7);
  assert_true(list.end);
  read_all(world, "bank/account/nobody", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 0);
  assert_int_equal(list.latest, 0);
  kept_clear(&list);
}

static void replay_leaves_out_what_is_outside(void **state) {
  struct world *world = *state;
  append_ok(world, "bank/account/a", 0, 5, NULL);
  struct kept_list list = {0};
  ae_record record = {.ref = ref_of("bank/account/a"),
                      .position = 1,
                      .first_version = 1,
                      .event_count = 5};
  ae_buf bytes = {0};
  record_make(world, &bytes, record.ref, 1, 5, NULL, 0, 0);
  record.bytes = ae_buf_view(&bytes);
  ae_page page = {.records = &record, .count = 1, .end = true};
  ae_replay replay;
  ae_event event;
  ae_replay_init(&replay, &page, 2, 4);
  for (uint64_t version = 2; version <= 4; version++) {
    assert_int_equal(ae_replay_next(&replay, &event, NULL), AE_OK);
    assert_int_equal(event.version, version);
    assert_int_equal(event.index, version - 1);
  }
  assert_int_equal(ae_replay_next(&replay, &event, NULL), AE_NOT_FOUND);
  ae_buf_clear(&bytes);
  kept_clear(&list);
}

static void a_long_history_comes_in_pages(void **state) {
  struct world *world = *state;
  enum { COUNT = 9000 };
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, COUNT / 2);
  append_ok(world, "bank/account/b", 0, 1, NULL);
  append_many(world, "bank/account/a", COUNT / 2, COUNT / 2);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  expect_versions(&list, 1, COUNT);
  assert_int_equal(list.count, COUNT);
  assert_int_equal(list.events, COUNT);
  assert_true(list.pages > 1);
  read_all(world, "bank/account/a", 100, 8200, &list);
  expect_versions(&list, 100, 8200);
  read_all(world, "bank/account/a", 8990, UINT64_MAX, &list);
  expect_versions(&list, 8990, COUNT);
  assert_int_equal(list.pages, 1);
  kept_clear(&list);
}

static void fat_records_come_in_pages_too(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  for (uint64_t i = 0; i < 12; i++) {
    struct outcome outcome;
    append_start(world, &outcome, "bank/account/a", i, 1, NULL, 300000);
    world_until(world, &outcome.done);
    assert_int_equal(outcome.append.status, AE_OK);
    outcome_clear(&outcome);
  }
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  expect_versions(&list, 1, 12);
  assert_int_equal(list.events, 12);
  scan_all(world, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.events, 12);
  kept_clear(&list);
}

static void end_at_once(ae_read *read, ae_status status, const ae_page *page,
                        const ae_error *err) {
  (void)err;
  unsigned *calls = read->data;
  assert_int_equal(status, AE_OK);
  assert_false(page->end);
  ++*calls;
  ae_read_end(read);
}

static void a_read_is_ended_early(void **state) {
  struct world *world = *state;
  append_many(world, "bank/account/a", 0, 9000);
  unsigned calls = 0;
  ae_read *read = ae_zalloc(sizeof *read);
  *read = (ae_read){.ref = ref_of("bank/account/a"),
                    .from = 1,
                    .to = UINT64_MAX,
                    .cb = end_at_once,
                    .data = &calls};
  assert_int_equal(ae_store_read(world->store, read, NULL), AE_OK);
  struct kept_list list = {0};
  read_all(world, "bank/account/a", 8999, UINT64_MAX, &list);
  world_turn(world);
  ae_free(read);
  /* before its first page */
  ae_read *other = ae_zalloc(sizeof *other);
  *other = (ae_read){.ref = ref_of("bank/account/a"),
                     .from = 1,
                     .to = UINT64_MAX,
                     .cb = end_at_once,
                     .data = &calls};
  assert_int_equal(ae_store_read(world->store, other, NULL), AE_OK);
  ae_read_end(other);
  ae_free(other);
  read_all(world, "bank/account/a", 8999, UINT64_MAX, &list);
  world_turn(world);
  assert_int_equal(calls, 1);
  kept_clear(&list);
}

struct late {
  struct kept_list list;
  bool paged, done;
};

static void on_late(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  (void)err;
  struct late *late = read->data;
  kept_page(&late->list, status, page);
  late->paged = true;
  late->done = status != AE_OK || page->end;
}

/* Pages are asked for after the callback, while others write. */
static void a_read_goes_on_later(void **state) {
  struct world *world = *state;
  struct late late = {0};
  append_many(world, "bank/account/a", 0, 9000);
  ae_read read = {.ref = ref_of("bank/account/a"),
                  .from = 1,
                  .to = UINT64_MAX,
                  .cb = on_late,
                  .data = &late};
  assert_int_equal(ae_store_read(world->store, &read, NULL), AE_OK);
  uint64_t version = 9000;
  while (!late.done) {
    late.paged = false;
    world_until(world, &late.paged);
    if (late.done) break;
    append_ok(world, "bank/account/a", version++, 1, NULL);
    ae_read_more(&read);
  }
  assert_int_equal(late.list.latest, 0);
  expect_versions(&late.list, 1, late.list.count);
  assert_true(late.list.count >= 9000);
  kept_clear(&late.list);
}

static void versions_that_cannot_be(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, 700);
  static const uint64_t froms[] = {702, INT64_MAX, (uint64_t)INT64_MAX + 1,
                                   UINT64_MAX};
  for (size_t i = 0; i < sizeof froms / sizeof *froms; i++) {
    read_all(world, "bank/account/a", froms[i], UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.count, 0);
    assert_int_equal(list.latest, 700);
    scan_all(world, "bank", froms[i], UINT64_MAX, &list);
    assert_int_equal(list.count, 0);
  }
  kept_clear(&list);
}

/* -- scans -- */

static void a_scan_gives_a_namespace_in_order(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  uint64_t positions[30];
  char name[64];
  for (uint64_t i = 0; i < 30; i++) {
    snprintf(name, sizeof name, "%s/account/a-%d", i % 3 ? "bank" : "shop",
             (int)i);
    positions[i] = append_ok(world, name, 0, 1 + i % 2, NULL);
  }
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 20);
  for (size_t i = 0; i < list.count; i++) {
    assert_memory_equal(list.at[i].actor, "bank/", 5);
    if (i) assert_true(list.at[i].position > list.at[i - 1].position);
  }
  scan_all(world, "shop", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 10);
  scan_all(world, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 30);
  assert_int_equal(list.events, 45);
  if (!conformance_shared()) {
    for (size_t i = 0; i < 30; i++)
      assert_int_equal(list.at[i].position, positions[i]);
    scan_all(world, NULL, positions[9], UINT64_MAX, &list);
    assert_int_equal(list.count, 20);
    assert_int_equal(list.at[0].position, positions[10]);
    scan_all(world, NULL, positions[9], positions[14], &list);
    assert_int_equal(list.count, 5);
  }
  scan_all(world, NULL, positions[29], UINT64_MAX, &list);
  assert_int_equal(list.count, 0);
  assert_true(list.end);
  scan_all(world, "none", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 0);
  /* a name that starts like another */
  scan_all(world, "ban", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 0);
  kept_clear(&list);
}

static void a_long_scan_comes_in_pages(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, 6000);
  append_many(world, "shop/account/a", 0, 3000);
  append_many(world, "bank/account/b", 0, 6000);
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 12000);
  assert_int_equal(list.events, 12000);
  assert_true(list.pages > 1);
  scan_all(world, "shop", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 3000);
  scan_all(world, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 15000);
  for (size_t i = 1; i < list.count && !conformance_shared(); i++)
    assert_true(list.at[i].position > list.at[i - 1].position);
  kept_clear(&list);
}

static void a_page_is_about_as_small_as_asked(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, 600);
  append_many(world, "shop/account/a", 0, 5);
  world->page = 1;
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 600);
  assert_int_equal(list.events, 600);
  assert_true(list.pages >= 600);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  expect_versions(&list, 1, 600);
  assert_int_equal(list.count, 600);
  assert_true(list.pages >= 600);
  world->page = 2000;
  size_t ones = list.pages;
  read_all(world, "bank/account/a", 100, 500, &list);
  expect_versions(&list, 100, 500);
  assert_int_equal(list.count, 401);
  assert_true(list.pages > 10 && list.pages < ones / 2);
  scan_all(world, "shop", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 5);
  world->page = 0;
  kept_clear(&list);
}

struct follower {
  ae_scan scan;
  struct kept_list list;
  size_t wanted;
  bool reached, caught_up, over;
};

static void on_follow(ae_scan *scan, ae_status status, const ae_page *page,
                      const ae_error *err) {
  (void)err;
  struct follower *follower = scan->data;
  if (status == AE_OK && !page->end) assert_true(page->count > 0);
  kept_page(&follower->list, status, page);
  follower->reached = follower->list.count >= follower->wanted;
  follower->caught_up |= page->end;
  follower->over = status != AE_OK;
  if (!follower->over) ae_scan_more(scan);
}

static void follow(struct world *world, struct follower *follower,
                   const char *ns, uint64_t after) {
  memset(follower, 0, sizeof *follower);
  follower->scan = (ae_scan){.ns = ae_str_of(ns),
                             .after = after,
                             .until = UINT64_MAX,
                             .live = true,
                             .cb = on_follow,
                             .data = follower};
  assert_int_equal(ae_store_scan(world->store, &follower->scan, NULL), AE_OK);
}

static void follow_until(struct world *world, struct follower *follower,
                         size_t wanted) {
  follower->wanted = wanted;
  follower->reached = follower->list.count >= wanted;
  world_until(world, &follower->reached);
  assert_int_equal(follower->list.count, wanted);
}

static void a_live_scan_goes_on(void **state) {
  struct world *world = *state;
  struct follower bank, all;
  append_many(world, "bank/account/a", 0, 10);
  follow(world, &bank, "bank", 0);
  /* Of one namespace too where each has positions of its own. */
  bool one = conformance_shared();
  follow(world, &all, one ? "bank" : NULL, 0);
  world_until(world, &bank.caught_up);
  world_until(world, &all.caught_up);
  follow_until(world, &bank, 10);
  for (uint64_t i = 0; i < 20; i++) {
    append_ok(world, "bank/account/a", 10 + i, 1, NULL);
    append_ok(world, "shop/account/a", i, 1, NULL);
    if (i % 5 == 0) {
      follow_until(world, &bank, 10 + i + 1);
      follow_until(world, &all, 10 + (one ? 1 : 2) * (i + 1));
    }
  }
  follow_until(world, &bank, 30);
  follow_until(world, &all, one ? 30 : 50);
  for (size_t i = 0; i < 30; i++)
    assert_int_equal(bank.list.at[i].first_version, i + 1);
  ae_scan_end(&bank.scan);
  append_ok(world, "bank/account/a", 30, 1, NULL);
  follow_until(world, &all, one ? 31 : 51);
  assert_int_equal(bank.list.count, 30);
  world_close(world);
  assert_int_equal(all.list.status, AE_CANCELED);
  kept_clear(&bank.list);
  kept_clear(&all.list);
}

static void a_live_scan_of_nothing_yet(void **state) {
  struct world *world = *state;
  struct follower late;
  follow(world, &late, "bank", 0);
  world_until(world, &late.caught_up);
  assert_int_equal(late.list.pages, 1);
  append_many(world, "shop/account/a", 0, 3);
  append_many(world, "bank/account/a", 0, 3);
  follow_until(world, &late, 3);
  ae_scan_end(&late.scan);
  kept_clear(&late.list);
}

static void a_live_scan_misses_nothing_of_many(void **state) {
  struct world *world = *state;
  struct follower late;
  follow(world, &late, "bank", 0);
  append_many(world, "bank/account/a", 0, 20000);
  follow_until(world, &late, 20000);
  for (size_t i = 0; i < 20000; i++)
    assert_int_equal(late.list.at[i].first_version, i + 1);
  ae_scan_end(&late.scan);
  kept_clear(&late.list);
}

/* -- damage -- */

static void put_raw(struct world *world, const char *actor, uint64_t expected,
                    ae_str bytes) {
  struct outcome outcome;
  append_raw(world, &outcome, actor, expected, 1, 0, bytes);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_OK);
  outcome_clear(&outcome);
}

static void on_damage(ae_read *read, ae_status status, const ae_page *page,
                      const ae_error *err) {
  (void)err;
  bool *done = read->data;
  char fact[200];
  ae_replay replay;
  ae_event event;
  ae_error why = {0};
  assert_int_equal(status, AE_OK);
  assert_true(page->end);
  ae_replay_init(&replay, page, 1, UINT64_MAX);
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_OK);
  assert_int_equal(event.version, 1);
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_REPLAY_ERROR);
  fact_of(&why, "actor", fact, sizeof fact);
  assert_string_equal(fact, "bank/account/a");
  fact_of(&why, "version", fact, sizeof fact);
  assert_string_equal(fact, "2");
  fact_of(&why, "position", fact, sizeof fact);
  assert_int_equal(strtoull(fact, NULL, 10), page->records[1].position);
  fact_of(&why, "cause", fact, sizeof fact);
  assert_true(strlen(fact) > 3);
  fact_of(&why, "bytes", fact, sizeof fact);
  assert_string_equal(fact, "7468697320697320646561642062797465730a");
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_OK);
  assert_int_equal(event.version, 3);
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_REPLAY_ERROR);
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_REPLAY_ERROR);
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_OK);
  assert_int_equal(event.version, 6);
  assert_int_equal(ae_replay_next(&replay, &event, &why), AE_NOT_FOUND);
  ae_error_clear(&why);
  *done = true;
}

static void damage_is_reported_and_the_rest_given(void **state) {
  struct world *world = *state;
  ae_buf other = {0}, skewed = {0};
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  put_raw(world, "bank/account/a", 1, AE_STR("this is dead bytes\n"));
  append_ok(world, "bank/account/a", 2, 1, NULL);
  /* whole records at the wrong place */
  record_make(world, &other, ref_of("bank/account/b"), 4, 1, NULL, 0, 0);
  put_raw(world, "bank/account/a", 3, ae_buf_view(&other));
  record_make(world, &skewed, ref_of("bank/account/a"), 9, 1, NULL, 0, 0);
  put_raw(world, "bank/account/a", 4, ae_buf_view(&skewed));
  append_ok(world, "bank/account/a", 5, 1, NULL);
  bool done = false;
  ae_read read = {.ref = ref_of("bank/account/a"),
                  .from = 1,
                  .to = UINT64_MAX,
                  .cb = on_damage,
                  .data = &done};
  assert_int_equal(ae_store_read(world->store, &read, NULL), AE_OK);
  world_until(world, &done);
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 6);
  assert_int_equal(list.events, 3);
  assert_int_equal(list.damaged, 3);
  for (size_t i = 0; i < 6; i++)
    assert_string_equal(list.at[i].actor, "bank/account/a");
  ae_buf_clear(&other);
  ae_buf_clear(&skewed);
  kept_clear(&list);
}

/* Every bit of a record counts. */
static void each_flipped_bit_is_noticed(void **state) {
  struct world *world = *state;
  ae_buf bytes = {0};
  ae_record record = {.ref = ref_of("bank/account/a"),
                      .position = 1,
                      .first_version = 1,
                      .event_count = 2};
  const char *id = "c-1";
  record_make(world, &bytes, record.ref, 1, 2, &id, 1, 0);
  ae_page page = {.records = &record, .count = 1, .end = true};
  for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
    ae_replay replay;
    ae_event event;
    bytes.ptr[bit / 8] ^= (char)(1 << bit % 8);
    record.bytes = ae_buf_view(&bytes);
    ae_replay_init(&replay, &page, 0, UINT64_MAX);
    assert_int_equal(ae_replay_next(&replay, &event, NULL), AE_REPLAY_ERROR);
    bytes.ptr[bit / 8] ^= (char)(1 << bit % 8);
  }
  for (size_t len = 0; len < bytes.len; len++) {
    ae_replay replay;
    ae_event event;
    record.bytes = (ae_str){bytes.ptr, len};
    ae_replay_init(&replay, &page, 0, UINT64_MAX);
    assert_int_equal(ae_replay_next(&replay, &event, NULL), AE_REPLAY_ERROR);
  }
  ae_buf_clear(&bytes);
}

const struct CMUnitTest conformance_read[] = {
    CONFORMS(ranges),
    CONFORMS(replay_leaves_out_what_is_outside),
    CONFORMS(a_long_history_comes_in_pages),
    CONFORMS(fat_records_come_in_pages_too),
    CONFORMS(a_read_is_ended_early),
    CONFORMS(a_read_goes_on_later),
    CONFORMS(versions_that_cannot_be),
    CONFORMS(a_scan_gives_a_namespace_in_order),
    CONFORMS(a_long_scan_comes_in_pages),
    CONFORMS(a_page_is_about_as_small_as_asked),
    CONFORMS(a_live_scan_goes_on),
    CONFORMS(a_live_scan_of_nothing_yet),
    CONFORMS(a_live_scan_misses_nothing_of_many),
    CONFORMS(damage_is_reported_and_the_rest_given),
    CONFORMS(each_flipped_bit_is_noticed),
};
const size_t conformance_read_count =
    sizeof conformance_read / sizeof *conformance_read;
