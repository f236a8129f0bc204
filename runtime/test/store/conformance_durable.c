/* Conformance of a backend that keeps: what a store opened again must hold. */
#include <stdio.h>
#include <stdlib.h>

#include "store/conformance.h"

static void all_is_there_again(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  char text[400];
  uint64_t position, checkpoint;
  uint64_t first = append_ok(world, "bank/account/a", 0, 2, "c-1");
  append_many(world, "bank/account/b", 0, 700);
  uint64_t last = append_ok(world, "shop/cart/x", 0, 1, NULL);
  snapshot_save(world, "bank/account/b", 600, 1, "at 600", false);
  ae_row row = {.key = AE_STR("k"), .value = AE_STR("v")};
  rows_put(world, "bank", "p", &row, 1, 0, 9);
  ae_stats before = stats_of(world, NULL);
  for (int round = 0; round < 2; round++) {
    world_reopen(world);
    ae_stats after = stats_of(world, NULL);
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.events, before.events);
    assert_int_equal(after.actors, before.actors);
    assert_int_equal(after.bytes, before.bytes);
    assert_int_equal(after.snapshots, before.snapshots);
    assert_int_equal(after.position, before.position);
    assert_int_equal(lookup_of(world, "bank/account/a", "c-1", &position, NULL),
                     2);
    assert_int_equal(position, first);
    read_all(world, "bank/account/b", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 700);
    scan_all(world, NULL, 0, UINT64_MAX, &list);
    assert_int_equal(list.count, 702);
    assert_int_equal(
        snapshot_load(world, "bank/account/b", UINT64_MAX, 1, text, NULL), 600);
    assert_string_equal(text, "at 600");
    ae_rows_read how = {.ns = AE_STR("bank"), .projection = AE_STR("p")};
    rows_get(world, &how, text, sizeof text, &checkpoint);
    assert_string_equal(text, "k=v");
    assert_int_equal(checkpoint, 9);
  }
  assert_int_equal(append_try(world, "bank/account/a", 2, 1, "c-1"),
                   AE_DUPLICATE);
  assert_int_equal(append_try(world, "bank/account/b", 0, 1, NULL),
                   AE_VERSION_CONFLICT);
  assert_true(append_ok(world, "bank/account/b", 700, 1, NULL) > last);
  append_ok(world, "new/account/a", 0, 1, NULL);
  kept_clear(&list);
}

static void trimmed_history_stays_trimmed(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  uint64_t trimmed, left, position;
  append_ok(world, "bank/account/a", 0, 1, "c-1");
  append_many(world, "bank/account/a", 1, 99);
  snapshot_save(world, "bank/account/a", 60, 1, "base", true);
  trim_of(world, "bank", 0, 1, &trimmed, &left);
  assert_int_equal(trimmed, 60);
  world_reopen(world);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.base, 60);
  assert_int_equal(list.latest, 100);
  assert_int_equal(list.count, 40);
  assert_int_equal(stats_of(world, "bank").bytes, left);
  lookup_of(world, "bank/account/a", "c-1", &position, NULL);
  assert_true(position > 0);
  append_ok(world, "bank/account/a", 100, 1, NULL);
  kept_clear(&list);
}

/* What a reader beside the writer may do, and what it may not. */
static void a_reader_beside_the_writer(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, "c-1");
  append_many(world, "bank/account/a", 1, 99);
  struct world reader = {.fixture = world->fixture};
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  snprintf(reader.url, sizeof reader.url, "%s", world->url);
  world_open(&reader, AE_STORE_READ);
  uint64_t position;
  assert_int_equal(lookup_of(&reader, "bank/account/a", "c-1", &position, NULL),
                   100);
  assert_true(position > 0);
  append_many(world, "bank/account/a", 100, 50);
  append_ok(world, "bank/account/b", 0, 1, NULL);
  read_all(&reader, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 150);
  assert_int_equal(list.latest, 150);
  read_all(&reader, "bank/account/b", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 1);
  scan_all(&reader, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.count, 151);
  assert_int_equal(stats_of(&reader, NULL).commits, 151);

  ae_error err = {0};
  ae_append append = {.ref = ref_of("bank/account/a"), .expected_version = 150};
  assert_int_equal(ae_store_append(reader.store, &append, &err),
                   AE_STORE_UNAVAILABLE);
  ae_snapshot_write snapshot = {.ref = append.ref};
  assert_int_equal(ae_store_save_snapshot(reader.store, &snapshot, &err),
                   AE_STORE_UNAVAILABLE);
  ae_rows_write rows = {.ns = AE_STR("bank"), .projection = AE_STR("p")};
  assert_int_equal(ae_store_put_rows(reader.store, &rows, &err),
                   AE_STORE_UNAVAILABLE);
  ae_trim trim = {.ns = AE_STR("bank")};
  assert_int_equal(ae_store_trim(reader.store, &trim, &err),
                   AE_STORE_UNAVAILABLE);
  ae_error_clear(&err);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  append_ok(world, "bank/account/a", 150, 1, NULL);
  kept_clear(&list);
}

struct follower {
  struct kept_list list;
  bool caught_up, reached;
  size_t wanted;
};

static void on_follow(ae_scan *scan, ae_status status, const ae_page *page,
                      const ae_error *err) {
  (void)err;
  struct follower *follower = scan->data;
  kept_page(&follower->list, status, page);
  follower->caught_up |= page->end;
  follower->reached = follower->list.count >= follower->wanted;
  if (status == AE_OK) ae_scan_more(scan);
}

static void a_reader_follows_the_writer(void **state) {
  struct world *world = *state;
  struct follower follower = {.wanted = 60};
  append_many(world, "bank/account/a", 0, 10);
  struct world reader = {.fixture = world->fixture};
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  snprintf(reader.url, sizeof reader.url, "%s", world->url);
  world_open(&reader, AE_STORE_READ);
  ae_scan scan = {.ns = AE_STR("bank"),
                  .until = UINT64_MAX,
                  .live = true,
                  .cb = on_follow,
                  .data = &follower};
  assert_int_equal(ae_store_scan(reader.store, &scan, NULL), AE_OK);
  world_until(&reader, &follower.caught_up);
  assert_int_equal(follower.list.count, 10);
  append_many(world, "bank/account/a", 10, 50);
  world_until(&reader, &follower.reached);
  assert_int_equal(follower.list.count, 60);
  assert_int_equal(follower.list.events, 60);
  world_close(&reader);
  assert_int_equal(follower.list.status, AE_CANCELED);
  ae_loop_clear(&reader.loop);
  kept_clear(&follower.list);
}

static void only_one_writer(void **state) {
  struct world *world = *state;
  if (conformance_shared()) return;
  ae_error err = {0};
  ae_store *second;
  ae_store_options options = {.url = world->url};
  char fact[32], want[32];
  assert_int_equal(ae_store_open(&world->loop, &options, &second, &err),
                   AE_STORE_UNAVAILABLE);
  assert_null(second);
  fact_of(&err, "pid", fact, sizeof fact);
  snprintf(want, sizeof want, "%d", (int)uv_os_getpid());
  assert_string_equal(fact, want);
  assert_non_null(strstr(ae_error_text(&err), want));
  ae_error_clear(&err);
  append_ok(world, "bank/account/a", 0, 1, NULL);
  world_reopen(world);
  append_ok(world, "bank/account/a", 1, 1, NULL);
}

const struct CMUnitTest conformance_durable[] = {
    CONFORMS(all_is_there_again),
    CONFORMS(trimmed_history_stays_trimmed),
    CONFORMS(a_reader_beside_the_writer),
    CONFORMS(a_reader_follows_the_writer),
    CONFORMS(only_one_writer),
};
const size_t conformance_durable_count =
    sizeof conformance_durable / sizeof *conformance_durable;
