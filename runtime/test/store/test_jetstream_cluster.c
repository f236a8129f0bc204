/* The store in JetStream on three replicas: rivals, and servers killed in turn
 * under load. AETHER_LONG=1 makes it as long as the rules ask. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/support.h"
#include "wire/server.h"

static test_server servers[3];
static char url_of_all[256];

static void same(char *url, size_t size) {
  snprintf(url, size, "%s", url_of_all);
}

static void leave(const char *url) {
  (void)url;
}

static void replicated(const char *url, ae_store_options *options) {
  (void)url;
  options->jetstream.replicas = 3;
}

static const struct fixture cluster = {.name = "jetstream-3",
                                       .durable = true,
                                       .make = same,
                                       .drop = leave,
                                       .prepare = replicated};

static bool is_long(void) {
  return getenv("AETHER_LONG") != NULL;
}

/* The stream has a leader once something is stored. */
static struct world *ready(void) {
  struct world *world = world_new(&cluster);
  uint64_t end = ae_clock_mono() + UINT64_C(60000000000); /* a hang */
  while (ae_clock_mono() < end)
    if (append_try(world, "bank/account/first", 0, 1, NULL) !=
        AE_STORE_UNAVAILABLE)
      return world;
  fail_msg("the cluster does not come up");
  return NULL;
}

static int set_up(void **state) {
  if (!cluster_start(servers, url_of_all, sizeof url_of_all)) return -1;
  *state = ready();
  return 0;
}

static int tear_down(void **state) {
  world_free(*state);
  for (int i = 0; i < 3; i++) server_stop(&servers[i]);
  return 0;
}

/* -- rivals: servers before 2.9.21 let two of them win -- */

enum { RIVALS = 4 };

static void settle_all(struct world **worlds, struct outcome *outcomes) {
  for (;;) {
    unsigned done = 0;
    for (unsigned i = 0; i < RIVALS; i++) {
      uv_run(&worlds[i]->loop.uv, UV_RUN_NOWAIT);
      done += outcomes[i].done;
    }
    if (done == RIVALS) return;
  }
}

static void of_rivals_one_wins(void **state) {
  struct world *worlds[RIVALS] = {*state};
  struct outcome outcomes[RIVALS];
  uint64_t rounds = is_long() ? 1000 : 100;
  for (unsigned i = 1; i < RIVALS; i++) worlds[i] = world_new(&cluster);
  for (uint64_t round = 0; round < rounds; round++) {
    for (unsigned i = 0; i < RIVALS; i++)
      append_start(worlds[i], &outcomes[i], "bank/account/a", round, 1, NULL,
                   i);
    settle_all(worlds, outcomes);
    unsigned won = 0;
    for (unsigned i = 0; i < RIVALS; i++) {
      if (outcomes[i].append.status == AE_OK)
        won++;
      else if (outcomes[i].append.status != AE_VERSION_CONFLICT)
        fail_msg("%s", ae_error_text(&outcomes[i].error));
      outcome_clear(&outcomes[i]);
    }
    assert_int_equal(won, 1);
  }
  struct kept_list list = {0};
  for (unsigned i = 0; i < RIVALS; i++) {
    read_all(worlds[i], "bank/account/a", 1, UINT64_MAX, &list);
    assert_int_equal(list.count, rounds);
    assert_int_equal(list.events, rounds);
  }
  kept_clear(&list);
  for (unsigned i = 1; i < RIVALS; i++) world_free(worlds[i]);
}

/* -- each server in turn is killed (spec/nats_faults_spec.lua does it through
 * the program) -- */

enum { ACTORS = 20 };

struct chain {
  struct world *world;
  ae_append append;
  char actor[32];
  uint64_t at;
  struct load *load;
};

struct load {
  struct chain chains[ACTORS];
  uint64_t stored;
  unsigned busy;
  bool stopping, over;
};

static void next_of(struct chain *chain);

static void on_link(ae_append *append) {
  struct chain *chain = append->data;
  struct load *load = chain->load;
  ae_buf_clear(&append->record);
  if (append->status == AE_OK) {
    chain->at++;
    load->stored++;
  } else if (append->status != AE_STORE_UNAVAILABLE) {
    fail_msg("%s: %s", chain->actor, ae_error_text(&append->error));
  }
  if (load->stopping)
    load->over = --load->busy == 0;
  else
    next_of(chain);
}

static void next_of(struct chain *chain) {
  chain->append = (ae_append){.ref = ref_of(chain->actor),
                              .expected_version = chain->at,
                              .event_count = 1,
                              .cb = on_link,
                              .data = chain};
  record_make(chain->world, &chain->append.record, chain->append.ref,
              chain->at + 1, 1, NULL, 0, 0);
  assert_int_equal(ae_store_append(chain->world->store, &chain->append, NULL),
                   AE_OK);
}

static void until_stored(struct world *world, struct load *load,
                         uint64_t more) {
  uint64_t goal = load->stored + more;
  while (load->stored < goal) uv_run(&world->loop.uv, UV_RUN_ONCE);
}

static void nothing_is_lost_with_servers_killed_in_turn(void **state) {
  struct world *world = *state;
  struct load *load = ae_zalloc(sizeof *load);
  for (unsigned i = 0; i < ACTORS; i++) {
    struct chain *chain = &load->chains[i];
    chain->world = world;
    chain->load = load;
    load->busy++;
    snprintf(chain->actor, sizeof chain->actor, "bank/account/k-%u", i);
    next_of(chain);
  }
  for (int round = 0; round < (is_long() ? 12 : 1); round++) {
    until_stored(world, load, 200);
    server_kill(&servers[round % 3], SIGKILL);
    until_stored(world, load, 200); /* the other two go on */
    assert_true(server_again(&servers[round % 3]));
  }
  until_stored(world, load, 200);
  load->stopping = true;
  world_until(world, &load->over);
  struct kept_list list = {0};
  for (unsigned i = 0; i < ACTORS; i++) {
    struct chain *chain = &load->chains[i];
    read_all(world, chain->actor, 1, UINT64_MAX, &list);
    assert_int_equal(list.count, chain->at);
    assert_int_equal(list.latest, chain->at);
    for (size_t k = 0; k < list.count; k++)
      assert_int_equal(list.at[k].first_version, k + 1);
  }
  kept_clear(&list);
  ae_free(load);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_rivals_one_wins),
      cmocka_unit_test(nothing_is_lost_with_servers_killed_in_turn),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
