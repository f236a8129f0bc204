/* Conformance: closing with work in flight, from outside and from within. */
#include "base/mem.h"
#include "store/conformance.h"

static void count_canceled(ae_read *read, ae_status status, const ae_page *page,
                           const ae_error *err) {
  unsigned *canceled = read->data;
  (void)page;
  assert_int_equal(status, AE_CANCELED);
  assert_int_equal(err->status, AE_CANCELED);
  ++*canceled;
}

static void close_finishes_appends_and_cancels_reads(void **state) {
  struct world *world = *state;
  enum { COUNT = 500 };
  struct outcome *all = ae_zalloc(COUNT * sizeof *all);
  unsigned canceled = 0;
  append_ok(world, "bank/account/a", 0, 1, NULL);
  for (uint64_t i = 0; i < COUNT; i++)
    append_start(world, &all[i], "bank/account/a", i + 1, 1, NULL, 0);
  ae_read read = {.ref = ref_of("bank/account/a"),
                  .from = 1,
                  .to = UINT64_MAX,
                  .cb = count_canceled,
                  .data = &canceled};
  assert_int_equal(ae_store_read(world->store, &read, NULL), AE_OK);
  world_close(world);
  for (int i = 0; i < COUNT; i++) {
    assert_true(all[i].done);
    assert_int_equal(all[i].append.status, AE_OK);
    outcome_clear(&all[i]);
  }
  assert_int_equal(canceled, 1);
  ae_free(all);
}

static void close_hands_over_what_is_corked(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  ae_store_cork(world->store);
  append_start(world, &outcome, "bank/account/a", 0, 1, NULL, 0);
  world_close(world);
  assert_int_equal(outcome.append.status, AE_OK);
  outcome_clear(&outcome);
}

struct paused {
  unsigned pages;
  ae_status status; /* of the last */
  bool paged;
};

static void on_paused(ae_read *read, ae_status status, const ae_page *page,
                      const ae_error *err) {
  (void)page, (void)err;
  struct paused *paused = read->data;
  paused->pages++;
  paused->status = status;
  paused->paged = true;
}

static void a_paused_read_is_canceled_by_close(void **state) {
  struct world *world = *state;
  struct paused paused = {0};
  append_many(world, "bank/account/a", 0, 9000);
  ae_read read = {.ref = ref_of("bank/account/a"),
                  .from = 1,
                  .to = UINT64_MAX,
                  .cb = on_paused,
                  .data = &paused};
  assert_int_equal(ae_store_read(world->store, &read, NULL), AE_OK);
  world_until(world, &paused.paged);
  world_close(world);
  assert_int_equal(paused.status, AE_CANCELED);
  assert_int_equal(paused.pages, 2);
}

struct closer {
  struct world *world;
  bool more;
  unsigned calls;
  ae_status last;
  bool closed;
};

static void on_closer_closed(void *data) {
  *(bool *)data = true;
}

static void close_within(struct closer *closer, ae_status status) {
  closer->calls++;
  closer->last = status;
  if (closer->calls > 1) return;
  ae_store_close(closer->world->store, on_closer_closed, &closer->closed);
  closer->world->store = NULL;
}

static void on_closing_read(ae_read *read, ae_status status,
                            const ae_page *page, const ae_error *err) {
  (void)page, (void)err;
  struct closer *closer = read->data;
  if (closer->calls == 0 && closer->more) ae_read_more(read);
  close_within(closer, status);
}

static void on_closing_scan(ae_scan *scan, ae_status status,
                            const ae_page *page, const ae_error *err) {
  (void)page, (void)err;
  struct closer *closer = scan->data;
  if (closer->calls == 0 && closer->more) ae_scan_more(scan);
  close_within(closer, status);
}

/* After its only page, before another, and after another was asked for. */
static void a_callback_closes_the_store(void **state) {
  struct world *world = *state;
  append_many(world, "bank/account/a", 0, 9000);
  append_many(world, "bank/account/b", 0, 3);
  for (unsigned how = 0; how < 6; how++) {
    struct closer closer = {.world = world, .more = how % 3 == 1};
    bool whole = how % 3 == 2;
    ae_read read = {.ref = ref_of(whole ? "bank/account/b" : "bank/account/a"),
                    .from = 1,
                    .to = UINT64_MAX,
                    .cb = on_closing_read,
                    .data = &closer};
    ae_scan scan = {.ns = AE_STR("bank"),
                    .until = whole ? 1 : UINT64_MAX,
                    .cb = on_closing_scan,
                    .data = &closer};
    if (how < 3)
      assert_int_equal(ae_store_read(world->store, &read, NULL), AE_OK);
    else
      assert_int_equal(ae_store_scan(world->store, &scan, NULL), AE_OK);
    world_until(world, &closer.closed);
    world_turn(world);
    assert_int_equal(closer.calls, whole ? 1 : 2);
    assert_int_equal(closer.last, whole ? AE_OK : AE_CANCELED);
    world_open(world, AE_STORE_WRITE);
    if (world->fixture->durable) continue;
    append_many(world, "bank/account/a", 0, 9000);
    append_many(world, "bank/account/b", 0, 3);
  }
}

const struct CMUnitTest conformance_close[] = {
    CONFORMS(close_finishes_appends_and_cancels_reads),
    CONFORMS(close_hands_over_what_is_corked),
    CONFORMS(a_paused_read_is_canceled_by_close),
    CONFORMS(a_callback_closes_the_store),
};
const size_t conformance_close_count =
    sizeof conformance_close / sizeof *conformance_close;
