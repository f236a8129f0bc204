/* The store in JetStream on three replicas: rivals, and servers killed in turn
 * under load. AETHER_LONG=1 makes it as long as the rules ask, and passes the
 * conformance suite through three replicas too. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/conformance.h"
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
  for (;;) {
    struct outcome outcome;
    append_start(world, &outcome, "bank/account/first", 0, 1, NULL, 0);
    world_until(world, &outcome.done);
    bool up = outcome.append.status != AE_STORE_UNAVAILABLE;
    if (!up && ae_clock_mono() > end)
      fail_msg("the cluster does not come up: %s",
               ae_error_text(&outcome.error));
    outcome_clear(&outcome);
    if (up) return world;
  }
}

static int set_up(void **state) {
  if (!cluster_start(servers, url_of_all, sizeof url_of_all)) return -1;
  *state = ready();
  return 0;
}

static int tear_down(void **state) {
  if (*state) world_free(*state);
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

/* -- asking JetStream itself -- */

typedef struct asking {
  ae_wire_request request; /* first */
  ae_loop *loop;
  ae_buf body; /* of the answer; empty: none came */
} asking;

static void on_asked(ae_wire_request *request, ae_status status,
                     const ae_wire_message *answer) {
  asking *ask = (asking *)request;
  if (status == AE_OK) ae_buf_str(&ask->body, answer->body);
  ae_loop_stop(ask->loop);
}

/* Until there is an answer: a leader may have to be elected. */
static void ask_until(ae_loop *loop, ae_wire *wire, const char *subject,
                      ae_buf *body) {
  asking ask = {.request = {.cb = on_asked}, .loop = loop};
  while (ask.body.len == 0) {
    ask.request = (ae_wire_request){.cb = on_asked};
    if (ae_wire_ask(wire, &ask.request, subject, NULL, AE_STR(""), NULL) !=
        AE_OK)
      abort();
    ae_loop_run(loop);
  }
  ae_buf_reset(body);
  ae_buf_str(body, ae_buf_view(&ask.body));
  ae_buf_clear(&ask.body);
}

static void stop_loop(void *data) {
  ae_loop_stop(data);
}

/* 2.9.10 may lose what it has acknowledged where a second server is killed
 * before the first has caught up, and may never catch up. */
static bool is_newer(struct world *world) {
  ae_wire_info info;
  ae_wire_info_get(ae_store_wire(world->store), &info);
  return ae_wire_at_least(&info, 2, 10, 0);
}

/* Until all three have what is in the stream, or a good while. */
static void wait_whole(void) {
  ae_loop loop;
  ae_wire *wire;
  ae_wire_options options = {.url = url_of_all};
  ae_buf info = {0};
  bool whole = false;
  uint64_t end = ae_clock_mono() + UINT64_C(30000000000);
  if (ae_loop_init(&loop, NULL) != AE_OK ||
      ae_wire_open(&loop, &options, &wire, NULL) != AE_OK)
    abort();
  while (!whole && ae_clock_mono() < end) {
    ask_until(&loop, wire, "$JS.API.STREAM.INFO.bank_events", &info);
    const char *text = ae_buf_cstr(&info);
    whole = strstr(text, "\"current\":true") && !strstr(text, "\"lag\"") &&
            !strstr(text, "\"current\":false") && !strstr(text, "\"error\"");
  }
  ae_buf_clear(&info);
  ae_wire_close(wire, stop_loop, &loop);
  ae_loop_run(&loop);
  ae_loop_clear(&loop);
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
  int rounds = !is_long() ? 1 : is_newer(world) ? 12 : 3;
  for (int round = 0; round < rounds; round++) {
    until_stored(world, load, 200);
    server_kill(&servers[round % 3], SIGKILL);
    until_stored(world, load, 200); /* the other two go on */
    assert_true(server_again(&servers[round % 3]));
    wait_whole();
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

/* -- the conformance suite: each store begins without streams -- */

static void drop_streams(const char *url) {
  ae_loop loop;
  ae_wire *wire;
  ae_wire_options options = {.url = url};
  ae_buf names = {0}, answer = {0}, subject = {0};
  if (ae_loop_init(&loop, NULL) != AE_OK ||
      ae_wire_open(&loop, &options, &wire, NULL) != AE_OK)
    abort();
  ask_until(&loop, wire, "$JS.API.STREAM.NAMES", &names);
  char *at = strstr(ae_buf_cstr(&names), "\"streams\":[");
  at = at ? strchr(at, '[') + 1 : NULL;
  while (at && *at == '"') {
    char *end = strchr(at + 1, '"');
    ae_buf_reset(&subject);
    ae_buf_printf(&subject, "$JS.API.STREAM.DELETE.%.*s", (int)(end - at - 1),
                  at + 1);
    ask_until(&loop, wire, ae_buf_cstr(&subject), &answer);
    at = end + (end[1] == ',' ? 2 : 1);
  }
  ae_buf_clear(&names);
  ae_buf_clear(&answer);
  ae_buf_clear(&subject);
  ae_wire_close(wire, stop_loop, &loop);
  ae_loop_run(&loop);
  ae_loop_clear(&loop);
}

/* As in test_jetstream.c: a writer is a node with a name. */
static void replicated_node(const char *url, ae_store_options *options) {
  static char folder[96];
  replicated(url, options);
  snprintf(folder, sizeof folder, "%s/follower", servers[0].folder);
  if (options->mode == AE_STORE_WRITE) options->jetstream.folder = folder;
}

static const struct fixture conforming = {.name = "jetstream-3",
                                          .durable = true,
                                          .make = same,
                                          .drop = drop_streams,
                                          .prepare = replicated_node,
                                          .shared = true};

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_rivals_one_wins),
      cmocka_unit_test(nothing_is_lost_with_servers_killed_in_turn),
  };
  int failed = cmocka_run_group_tests(tests, set_up, tear_down);
  if (!is_long()) return failed;
  if (!cluster_start(servers, url_of_all, sizeof url_of_all)) return 1;
  world_free(ready());
  drop_streams(url_of_all);
  failed += conformance_run(&conforming);
  for (int i = 0; i < 3; i++) server_stop(&servers[i]);
  return failed;
}
