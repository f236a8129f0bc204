/* Conformance: append, conflicts, command ids, closing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/conformance.h"

static void versions_and_positions_rise(void **state) {
  struct world *world = *state;
  uint64_t first = append_ok(world, "bank/account/a", 0, 1, NULL);
  uint64_t second = append_ok(world, "bank/account/a", 1, 3, NULL);
  uint64_t third = append_ok(world, "bank/account/b", 0, 2, NULL);
  assert_true(first < second && second < third);
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 4);
  assert_int_equal(lookup_of(world, "bank/account/b", NULL, NULL, NULL), 2);
  assert_int_equal(lookup_of(world, "bank/account/c", NULL, NULL, NULL), 0);
}

static void a_conflict_tells_all(void **state) {
  struct world *world = *state;
  char fact[64];
  append_ok(world, "bank/account/a", 0, 2, NULL);
  struct outcome outcome;
  append_start(world, &outcome, "bank/account/a", 1, 1, NULL, 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_VERSION_CONFLICT);
  assert_int_equal(outcome.append.current_version, 2);
  assert_int_equal(outcome.error.status, AE_VERSION_CONFLICT);
  fact_of(&outcome.error, "namespace", fact, sizeof fact);
  assert_string_equal(fact, "bank");
  fact_of(&outcome.error, "actor_type", fact, sizeof fact);
  assert_string_equal(fact, "account");
  fact_of(&outcome.error, "actor_id", fact, sizeof fact);
  assert_string_equal(fact, "a");
  fact_of(&outcome.error, "attempted_version", fact, sizeof fact);
  assert_string_equal(fact, "1");
  fact_of(&outcome.error, "current_version", fact, sizeof fact);
  assert_string_equal(fact, "2");
  assert_true(strlen(ae_error_text(&outcome.error)) > 0);
  outcome_clear(&outcome);
  /* too early, too late, and of an actor that is not there */
  assert_int_equal(append_try(world, "bank/account/a", 0, 1, NULL),
                   AE_VERSION_CONFLICT);
  assert_int_equal(append_try(world, "bank/account/a", 3, 1, NULL),
                   AE_VERSION_CONFLICT);
  assert_int_equal(append_try(world, "bank/account/z", 1, 1, NULL),
                   AE_VERSION_CONFLICT);
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 2);
  assert_int_equal(lookup_of(world, "bank/account/z", NULL, NULL, NULL), 0);
  append_ok(world, "bank/account/a", 2, 1, NULL);
}

static void one_of_two_in_flight_wins(void **state) {
  struct world *world = *state;
  for (uint64_t round = 0; round < 20; round++) {
    struct outcome rivals[4];
    int won = 0;
    if (round % 2) ae_store_cork(world->store);
    for (int i = 0; i < 4; i++)
      append_start(world, &rivals[i], "bank/account/a", round, 1, NULL, 0);
    if (round % 2) ae_store_uncork(world->store);
    for (int i = 0; i < 4; i++) {
      world_until(world, &rivals[i].done);
      if (rivals[i].append.status == AE_OK)
        won++;
      else
        assert_int_equal(rivals[i].append.status, AE_VERSION_CONFLICT);
      outcome_clear(&rivals[i]);
    }
    assert_int_equal(won, 1);
  }
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 20);
}

/* Each expects what the one before it in the same group leaves. */
static void a_chain_in_one_group(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, 1000);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 1000);
  for (size_t i = 0; i < list.count; i++) {
    assert_int_equal(list.at[i].first_version, i + 1);
    if (i) assert_true(list.at[i].position > list.at[i - 1].position);
  }
  kept_clear(&list);
}

static void cork_nests_and_holds_nothing_back(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  ae_store_cork(world->store);
  ae_store_cork(world->store);
  append_start(world, &outcome, "bank/account/a", 0, 1, NULL, 0);
  ae_store_uncork(world->store);
  ae_store_uncork(world->store);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_OK);
  outcome_clear(&outcome);
}

static void many_actors_in_flight(void **state) {
  struct world *world = *state;
  enum { ACTORS = 300, ROUNDS = 7 };
  struct outcome *all = ae_zalloc(ACTORS * sizeof *all);
  char(*names)[32] = ae_alloc(ACTORS * sizeof *names);
  for (int i = 0; i < ACTORS; i++)
    snprintf(names[i], sizeof *names, "bank/account/a-%d", i);
  for (uint64_t round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < ACTORS; i++)
      append_start(world, &all[i], names[i], 2 * round, 2, NULL, 0);
    for (int i = 0; i < ACTORS; i++) {
      world_until(world, &all[i].done);
      assert_int_equal(all[i].append.status, AE_OK);
      assert_int_equal(all[i].append.current_version, 2 * round + 2);
      outcome_clear(&all[i]);
    }
  }
  ae_stats stats = stats_of(world, "bank");
  assert_int_equal(stats.actors, ACTORS);
  assert_int_equal(stats.commits, ACTORS * ROUNDS);
  assert_int_equal(stats.events, 2 * ACTORS * ROUNDS);
  ae_free(names);
  ae_free(all);
}

struct chain {
  struct outcome outcome;
  struct world *world;
  uint64_t left;
  bool done;
};

static void on_chain(ae_append *append) {
  struct chain *chain = append->data;
  assert_int_equal(append->status, AE_OK);
  uint64_t version = append->current_version;
  if (--chain->left == 0) {
    chain->done = true;
    return;
  }
  ae_buf record = append->record;
  ae_buf_reset(&record);
  record_make(chain->world, &record, append->ref, version + 1, 1, NULL, 0, 0);
  *append = (ae_append){.ref = append->ref,
                        .expected_version = version,
                        .event_count = 1,
                        .record = record,
                        .cb = on_chain,
                        .data = chain};
  assert_int_equal(ae_store_append(chain->world->store, append, NULL), AE_OK);
}

static void a_request_is_used_again_in_its_callback(void **state) {
  struct world *world = *state;
  struct chain chain = {.world = world, .left = 50};
  ae_append *append = &chain.outcome.append;
  append->ref = ref_of("bank/account/a");
  append->event_count = 1;
  append->cb = on_chain;
  append->data = &chain;
  record_make(world, &append->record, append->ref, 1, 1, NULL, 0, 0);
  assert_int_equal(ae_store_append(world->store, append, NULL), AE_OK);
  world_until(world, &chain.done);
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 50);
  ae_buf_clear(&append->record);
}

static void on_freed(ae_append *append) {
  bool *done = append->data;
  assert_int_equal(append->status, AE_VERSION_CONFLICT);
  ae_buf_clear(&append->record);
  ae_free(append);
  *done = true;
}

static void a_refused_request_is_freed_in_its_callback(void **state) {
  struct world *world = *state;
  bool done = false;
  ae_append *append = ae_zalloc(sizeof *append);
  append->ref = ref_of("bank/account/a");
  append->expected_version = 9;
  append->event_count = 1;
  append->cb = on_freed;
  append->data = &done;
  record_make(world, &append->record, append->ref, 10, 1, NULL, 0, 0);
  assert_int_equal(ae_store_append(world->store, append, NULL), AE_OK);
  world_until(world, &done);
}

/* -- command ids -- */

static void an_id_is_stored_once(void **state) {
  struct world *world = *state;
  uint64_t position, first = append_ok(world, "bank/account/a", 0, 1, "c-1");
  size_t record;
  struct outcome outcome;
  append_start(world, &outcome, "bank/account/a", 1, 1, "c-1", 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_DUPLICATE);
  outcome_clear(&outcome);
  assert_int_equal(
      lookup_of(world, "bank/account/a", "c-1", &position, &record), 1);
  assert_int_equal(position, first);
  assert_true(record > 0);
  lookup_of(world, "bank/account/a", "c-2", &position, &record);
  assert_int_equal(position, 0);
  assert_int_equal(record, 0);
  /* its scope is the actor */
  append_ok(world, "bank/account/b", 0, 1, "c-1");
  lookup_of(world, "bank/account/c", "c-1", &position, NULL);
  assert_int_equal(position, 0);
  /* the version is compared first */
  assert_int_equal(append_try(world, "bank/account/a", 0, 1, "c-1"),
                   AE_VERSION_CONFLICT);
  append_ok(world, "bank/account/a", 1, 1, "c-2");
}

static void the_same_id_twice_in_one_group(void **state) {
  struct world *world = *state;
  struct outcome outcomes[2];
  uint64_t position;
  ae_store_cork(world->store);
  append_start(world, &outcomes[0], "bank/account/a", 0, 1, "c-1", 0);
  append_start(world, &outcomes[1], "bank/account/a", 1, 1, "c-1", 0);
  ae_store_uncork(world->store);
  world_until(world, &outcomes[0].done);
  world_until(world, &outcomes[1].done);
  assert_int_equal(outcomes[0].append.status, AE_OK);
  assert_int_equal(outcomes[1].append.status, AE_DUPLICATE);
  assert_int_equal(lookup_of(world, "bank/account/a", "c-1", &position, NULL),
                   1);
  assert_int_equal(position, outcomes[0].append.position);
  outcome_clear(&outcomes[0]);
  outcome_clear(&outcomes[1]);
}

static void several_ids_in_one_commit(void **state) {
  struct world *world = *state;
  const char *ids[] = {"c-1", "c-2", "c-3"};
  uint64_t position;
  struct outcome outcome = {0};
  ae_buf record = {0};
  record_make(world, &record, ref_of("bank/account/a"), 1, 2, ids, 3, 0);
  outcome.append.id_count = 3;
  outcome.append.record = record;
  outcome.append.ref = ref_of("bank/account/a");
  outcome.append.event_count = 2;
  struct chain chain = {.world = world, .left = 1};
  outcome.append.cb = on_chain;
  outcome.append.data = &chain;
  assert_int_equal(ae_store_append(world->store, &outcome.append, NULL), AE_OK);
  world_until(world, &chain.done);
  for (int i = 0; i < 3; i++) {
    lookup_of(world, "bank/account/a", ids[i], &position, NULL);
    assert_int_equal(position, outcome.append.position);
    assert_int_equal(append_try(world, "bank/account/a", 2, 1, ids[i]),
                     AE_DUPLICATE);
  }
  ae_buf_clear(&outcome.append.record);
}

/* A rejected command with an id leaves a commit without events. */
static void commits_without_events(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 0, "c-0");
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 0);
  append_ok(world, "bank/account/a", 0, 1, "c-1");
  append_ok(world, "bank/account/a", 1, 0, "c-2");
  append_ok(world, "bank/account/a", 1, 0, "c-3");
  append_ok(world, "bank/account/a", 1, 1, "c-4");
  assert_int_equal(append_try(world, "bank/account/a", 2, 0, "c-2"),
                   AE_DUPLICATE);
  assert_int_equal(lookup_of(world, "bank/account/a", NULL, NULL, NULL), 2);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 5);
  assert_int_equal(list.events, 2);
  assert_int_equal(list.damaged, 0);
  assert_int_equal(list.at[0].first_version, 1);
  assert_int_equal(list.at[2].first_version, 2);
  assert_int_equal(list.at[3].first_version, 2);
  assert_int_equal(list.at[4].first_version, 2);
  ae_stats stats = stats_of(world, NULL);
  assert_int_equal(stats.commits, 5);
  assert_int_equal(stats.events, 2);
  kept_clear(&list);
}

/* -- what is refused at once -- */

static void never_called(ae_append *append) {
  (void)append;
  fail_msg("a refused request was called back");
}

static void refused_at_once(void **state) {
  struct world *world = *state;
  ae_append append = {
      .ref = ref_of("bank/account/a"), .event_count = 1, .cb = never_called};
  ae_error err = {0};
  char fact[64];
  assert_int_equal(ae_store_append(world->store, &append, &err), AE_MALFORMED);
  ae_buf_reserve(&append.record, AE_RECORD_MAX + 1);
  memset(append.record.ptr, 'x', AE_RECORD_MAX + 1);
  append.record.len = AE_RECORD_MAX + 1;
  assert_int_equal(ae_store_append(world->store, &append, &err), AE_TOO_LARGE);
  fact_of(&err, "limit", fact, sizeof fact);
  assert_string_equal(fact, "8388608");
  append.record.len = 10;
  append.ref.ns = AE_STR("");
  assert_int_equal(ae_store_append(world->store, &append, &err),
                   AE_INVALID_NAME);
  append.ref = (ae_ref){AE_STR("a/b"), AE_STR("c"), AE_STR("d")};
  assert_int_equal(ae_store_append(world->store, &append, &err),
                   AE_INVALID_NAME);
  char id[300];
  memset(id, 'i', sizeof id);
  append.ref = (ae_ref){AE_STR("a"), AE_STR("c"), {id, sizeof id}};
  assert_int_equal(ae_store_append(world->store, &append, &err),
                   AE_INVALID_NAME);
  ae_error_clear(&err);
  ae_buf_clear(&append.record);
  world_turn(world);
  assert_int_equal(stats_of(world, NULL).commits, 0);
}

/* Ids that cannot be read out of the record cannot be kept. */
static void ids_in_bytes_that_are_no_record(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  append_raw(world, &outcome, "bank/account/a", 0, 1, 1, AE_STR("no record"));
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_REPLAY_ERROR);
  outcome_clear(&outcome);
  assert_int_equal(stats_of(world, NULL).commits, 0);
  append_ok(world, "bank/account/a", 0, 1, NULL);
}

static void the_largest_record_fits(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  struct kept_list list = {0};
  append_start(world, &outcome, "bank/account/a", 0, 1, NULL,
               AE_RECORD_MAX - 200);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_OK);
  outcome_clear(&outcome);
  append_ok(world, "bank/account/a", 1, 1, NULL);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.count, 2);
  assert_int_equal(list.events, 2);
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.events, 2);
  kept_clear(&list);
}

static void names_at_their_limits(void **state) {
  struct world *world = *state;
  char ns[65] = {0}, type[65] = {0}, id[256] = {0}, name[400];
  struct kept_list list = {0};
  memset(ns, 'n', 64);
  memset(type, 't', 64);
  memset(id, '/', 255);
  snprintf(name, sizeof name, "%s/%s/%s", ns, type, id);
  append_ok(world, name, 0, 1, NULL);
  read_all(world, name, 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  assert_string_equal(list.at[0].actor, name);
  kept_clear(&list);
}

static void says_what_it_promises(void **state) {
  struct world *world = *state;
  assert_true(strlen(ae_store_promise(world->store)) > 0);
}

static void a_url_of_nothing(void **state) {
  struct world *world = *state;
  static const char *const urls[] = {"", "mem", "postgres:x", "memoryx"};
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    ae_error err = {0};
    ae_store *store;
    ae_store_options options = {.url = urls[i]};
    assert_int_equal(ae_store_open(&world->loop, &options, &store, &err),
                     AE_USAGE);
    assert_null(store);
    assert_non_null(strstr(ae_error_text(&err), "sqlite:FILE"));
    ae_error_clear(&err);
  }
}

const struct CMUnitTest conformance_append[] = {
    CONFORMS(versions_and_positions_rise),
    CONFORMS(a_conflict_tells_all),
    CONFORMS(one_of_two_in_flight_wins),
    CONFORMS(a_chain_in_one_group),
    CONFORMS(cork_nests_and_holds_nothing_back),
    CONFORMS(many_actors_in_flight),
    CONFORMS(a_request_is_used_again_in_its_callback),
    CONFORMS(a_refused_request_is_freed_in_its_callback),
    CONFORMS(an_id_is_stored_once),
    CONFORMS(the_same_id_twice_in_one_group),
    CONFORMS(several_ids_in_one_commit),
    CONFORMS(commits_without_events),
    CONFORMS(refused_at_once),
    CONFORMS(ids_in_bytes_that_are_no_record),
    CONFORMS(the_largest_record_fits),
    CONFORMS(names_at_their_limits),
    CONFORMS(says_what_it_promises),
    CONFORMS(a_url_of_nothing),
};
const size_t conformance_append_count =
    sizeof conformance_append / sizeof *conformance_append;
