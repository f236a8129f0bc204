/* The store in JetStream where something goes wrong: rivals, lost answers,
 * servers that are killed, streams that are not what they were. */
#define _GNU_SOURCE /* memmem */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/support.h"
#include "wire/server.h"

static test_server server;

static void make(char *url, size_t size) {
  if (!server_start(&server)) abort();
  snprintf(url, size, "%s", server.url);
}

static void drop(const char *url) {
  (void)url;
  server_stop(&server);
}

/* Worlds beside the first, on the same server. */
static void same(char *url, size_t size) {
  snprintf(url, size, "%s", server.url);
}

static void leave(const char *url) {
  (void)url;
}

static const struct fixture first = {
    .name = "jetstream", .durable = true, .make = make, .drop = drop};
static const struct fixture beside = {
    .name = "jetstream", .durable = true, .make = same, .drop = leave};

static int set_up(void **state) {
  server = (test_server){0};
  *state = world_new(&first);
  return 0;
}

static int tear_down(void **state) {
  ae_fault_reset();
  world_free(*state);
  return 0;
}

/* -- rivals -- */

enum { RIVALS = 4, ROUNDS = 60 };

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

/* Each believes that the actor is at the same version. */
static void of_rivals_one_wins(void **state) {
  struct world *worlds[RIVALS] = {*state};
  struct outcome outcomes[RIVALS];
  for (unsigned i = 1; i < RIVALS; i++) worlds[i] = world_new(&beside);
  for (uint64_t round = 0; round < ROUNDS; round++) {
    for (unsigned i = 0; i < RIVALS; i++)
      append_start(worlds[i], &outcomes[i], "bank/account/a", round, 1, NULL,
                   i);
    settle_all(worlds, outcomes);
    unsigned won = 0;
    for (unsigned i = 0; i < RIVALS; i++) {
      if (outcomes[i].append.status == AE_OK) {
        won++;
      } else {
        if (outcomes[i].append.status != AE_VERSION_CONFLICT)
          fail_msg("%s", ae_error_text(&outcomes[i].error));
        assert_int_equal(outcomes[i].append.current_version, round + 1);
      }
      outcome_clear(&outcomes[i]);
    }
    assert_int_equal(won, 1);
  }
  struct kept_list list = {0};
  for (unsigned i = 0; i < RIVALS; i++) {
    read_all(worlds[i], "bank/account/a", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, ROUNDS);
    assert_int_equal(list.count, ROUNDS);
  }
  kept_clear(&list);
  for (unsigned i = 1; i < RIVALS; i++) world_free(worlds[i]);
}

/* An id that another node stored is found, though nobody looked before. */
static void an_id_of_another_node_is_known(void **state) {
  struct world *world = *state, *other = world_new(&beside);
  append_ok(world, "bank/account/a", 0, 1, "c-1");
  assert_int_equal(append_try(other, "bank/account/a", 1, 1, "c-1"),
                   AE_DUPLICATE);
  assert_int_equal(append_try(other, "bank/account/b", 0, 0, "c-1"), AE_OK);
  assert_int_equal(append_try(world, "bank/account/b", 0, 1, "c-1"),
                   AE_DUPLICATE);
  append_ok(world, "bank/account/b", 0, 1, "c-2");
  world_free(other);
}

/* -- lost answers -- */

static void an_append_whose_answer_is_lost_is_settled(void **state) {
  struct world *world = *state;
  for (uint64_t i = 0; i < 20; i++) {
    ae_fault_arm("jetstream.answer", 1, 0);
    append_ok(world, "bank/account/a", i, 1, NULL);
    ae_fault_reset();
  }
  struct kept_list list = {0};
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 20);
  assert_int_equal(list.count, 20);
  kept_clear(&list);
}

/* The answer is lost, and another node goes on from what was stored. */
static void a_lost_answer_with_a_rival_behind(void **state) {
  struct world *world = *state, *other = world_new(&beside);
  struct outcome outcome;
  append_ok(world, "bank/account/a", 0, 1, NULL);
  ae_fault_arm("jetstream.answer", 1, 0);
  append_start(world, &outcome, "bank/account/a", 1, 1, NULL, 0);
  while (append_try(other, "bank/account/a", 2, 1, NULL) != AE_OK)
    world_turn(world);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_OK);
  assert_int_equal(outcome.append.current_version, 2);
  outcome_clear(&outcome);
  append_ok(world, "bank/account/a", 3, 1, NULL);
  world_free(other);
}

/* -- a server that is killed -- */

enum { ACTORS = 40, EACH = 25 };

struct chain {
  struct world *world;
  struct outcome outcome;
  char actor[32];
  uint64_t at;
  struct kill_run *run;
};

struct kill_run {
  struct chain chains[ACTORS];
  unsigned done;
  bool over;
};

static void next_of(struct chain *chain);

static void on_link(ae_append *append) {
  struct chain *chain = append->data;
  if (append->status != AE_OK)
    fail_msg("%s: %s", chain->actor, ae_error_text(&append->error));
  ae_buf_clear(&append->record);
  chain->at++;
  if (chain->at < EACH)
    next_of(chain);
  else if (++chain->run->done == ACTORS)
    chain->run->over = true;
}

static void next_of(struct chain *chain) {
  ae_append *append = &chain->outcome.append;
  *append = (ae_append){.ref = ref_of(chain->actor),
                        .expected_version = chain->at,
                        .event_count = 1,
                        .cb = on_link,
                        .data = chain};
  record_make(chain->world, &append->record, append->ref, chain->at + 1, 1,
              NULL, 0, 0);
  assert_int_equal(ae_store_append(chain->world->store, append, NULL), AE_OK);
}

static void nothing_is_lost_with_a_killed_server(void **state) {
  struct world *world = *state;
  struct kill_run *run = ae_zalloc(sizeof *run);
  append_ok(world, "bank/account/first", 0, 1, NULL); /* the stream is there */
  for (unsigned i = 0; i < ACTORS; i++) {
    run->chains[i].world = world;
    run->chains[i].run = run;
    snprintf(run->chains[i].actor, sizeof run->chains[i].actor,
             "bank/account/a-%u", i);
    next_of(&run->chains[i]);
  }
  for (unsigned kills = 0; kills < 3; kills++) {
    bool some = false;
    while (!some && !run->over) {
      uv_run(&world->loop.uv, UV_RUN_ONCE);
      for (unsigned i = 0; i < ACTORS; i++)
        some |= run->chains[i].at > 3 + 6 * kills;
    }
    server_kill(&server, SIGKILL);
    for (int turn = 0; turn < 5; turn++) uv_run(&world->loop.uv, UV_RUN_NOWAIT);
    assert_true(server_again(&server));
  }
  world_until(world, &run->over);
  struct kept_list list = {0};
  for (unsigned i = 0; i < ACTORS; i++) {
    read_all(world, run->chains[i].actor, 1, UINT64_MAX, &list);
    assert_int_equal(list.count, EACH);
    assert_int_equal(list.latest, EACH);
  }
  kept_clear(&list);
  ae_free(run);
}

/* What was sent before the loss was noticed waits for the server, and is
 * stored; what comes later is refused at once. */
static void without_a_server_it_says_so(void **state) {
  struct world *world = *state;
  enum { MANY = 64 };
  struct outcome *outcomes = ae_zalloc(MANY * sizeof *outcomes);
  unsigned sent = 0;
  append_ok(world, "bank/account/first", 0, 1, NULL);
  server_kill(&server, SIGKILL);
  for (; sent < MANY; sent++) {
    char actor[32];
    snprintf(actor, sizeof actor, "bank/account/a-%u", sent);
    append_start(world, &outcomes[sent], actor, 0, 1, NULL, 0);
    if (sent == MANY - 2)
      while (probe_of(world) == AE_OK) world_turn(world);
  }
  struct outcome *last = &outcomes[sent - 1];
  world_until(world, &last->done);
  assert_int_equal(last->append.status, AE_STORE_UNAVAILABLE);
  assert_non_null(strstr(ae_error_text(&last->error), "no connection"));
  ae_error err = {0};
  assert_int_equal(ae_store_health(world->store, &err), AE_STORE_UNAVAILABLE);
  ae_error_clear(&err);
  assert_true(server_again(&server));
  for (unsigned i = 0; i < sent; i++) {
    world_until(world, &outcomes[i].done);
    if (outcomes[i].append.status != AE_STORE_UNAVAILABLE)
      assert_int_equal(outcomes[i].append.status, AE_OK);
    outcome_clear(&outcomes[i]);
  }
  while (append_try(world, "bank/account/later", 0, 1, NULL) != AE_OK)
    uv_run(&world->loop.uv, UV_RUN_ONCE);
  assert_int_equal(ae_store_health(world->store, NULL), AE_OK);
  ae_free(outcomes);
}

/* -- streams -- */

typedef struct asking {
  ae_wire_request request;
  bool done;
  ae_buf *answer; /* NULL: not kept */
} asking;

static void asked(ae_wire_request *request, ae_status status,
                  const ae_wire_message *answer) {
  asking *ask = (asking *)request;
  assert_int_equal(status, AE_OK);
  assert_null(memmem(answer->body.ptr, answer->body.len, "\"error\"", 7));
  if (ask->answer) ae_buf_str(ask->answer, answer->body);
  ask->done = true;
}

static void on_flag(void *data) {
  *(bool *)data = true;
}

/* `answer`: what the server said; NULL: no matter. */
static void js_ask(struct world *world, const char *what, const char *json,
                   ae_buf *answer) {
  ae_wire *wire;
  ae_wire_options options = {.url = server.url};
  asking ask = {.request = {.cb = asked}, .answer = answer};
  assert_int_equal(ae_wire_open(&world->loop, &options, &wire, NULL), AE_OK);
  assert_int_equal(
      ae_wire_ask(wire, &ask.request, what, NULL, ae_str_of(json), NULL),
      AE_OK);
  world_until(world, &ask.done);
  bool closed = false;
  ae_wire_close(wire, on_flag, &closed);
  world_until(world, &closed);
}

static void js(struct world *world, const char *what, const char *json) {
  js_ask(world, what, json, NULL);
}

/* Until it is refused; what is full, and what to do, is in its message. */
static void fill_up(struct world *world, const char *what, const char *advice) {
  struct outcome outcome;
  for (uint64_t version = 0;; version++) {
    append_start(world, &outcome, "bank/account/a", version, 1, NULL, 60000);
    world_until(world, &outcome.done);
    if (outcome.append.status != AE_OK) break;
    outcome_clear(&outcome);
    assert_true(version < 100);
  }
  const char *text = ae_error_text(&outcome.error);
  if (outcome.append.status != AE_STORE_FULL || !strstr(text, what) ||
      !strstr(text, advice))
    fail_msg("%s", text);
  outcome_clear(&outcome);
}

static void restart_with(struct world *world, const char *config) {
  world_close(world);
  server_kill(&server, SIGKILL);
  server.config = config;
  assert_true(server_again(&server));
  world_open(world, AE_STORE_WRITE);
}

static void a_full_server_is_told(void **state) {
  struct world *world = *state;
  restart_with(world, "jetstream { max_file_store: 1000000 }\n");
  fill_up(world, "insufficient resources", "max_file_store");
}

static void a_full_account_is_told(void **state) {
  struct world *world = *state;
  restart_with(world,
               "accounts { A { jetstream { max_file: 1000000 }\n"
               "  users: [ { user: a, password: a } ] } }\n"
               "no_auth_user: a\n");
  fill_up(world, "limits exceeded for account", "max_file:");
}

static void no_more_streams_than_the_account_may_have(void **state) {
  struct world *world = *state;
  restart_with(world,
               "accounts { A { jetstream { max_file: 1000000, max_streams: 1 }"
               "\n  users: [ { user: a, password: a } ] } }\n"
               "no_auth_user: a\n");
  append_ok(world, "shop/order/o", 0, 1, NULL);
  fill_up(world, "maximum number of streams", "max_streams");
}

static void a_stream_with_a_limit_is_told(void **state) {
  struct world *world = *state;
  js(world, "$JS.API.STREAM.CREATE.bank_events",
     "{\"name\":\"bank_events\",\"subjects\":[\"aether.log.bank.>\"],"
     "\"storage\":\"file\",\"discard\":\"new\",\"max_bytes\":500000}");
  fill_up(world, "maximum bytes", "--max-bytes=-1");
}

static void a_stream_in_memory_is_refused(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  js(world, "$JS.API.STREAM.CREATE.bank_events",
     "{\"name\":\"bank_events\",\"subjects\":[\"aether.log.bank.>\"],"
     "\"storage\":\"memory\"}");
  append_start(world, &outcome, "bank/account/a", 0, 1, NULL, 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_STORE_UNAVAILABLE);
  assert_non_null(strstr(ae_error_text(&outcome.error), "needs \"file\""));
  outcome_clear(&outcome);
}

static void what_is_above_the_servers_limit_is_refused(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  append_start(world, &outcome, "bank/account/a", 0, 1, NULL, 2 << 20);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_TOO_LARGE);
  assert_non_null(strstr(ae_error_text(&outcome.error), "max_payload"));
  char limit[32];
  fact_of(&outcome.error, "limit", limit, sizeof limit);
  assert_string_equal(limit, "1048576");
  outcome_clear(&outcome);
  append_ok(world, "bank/account/a", 0, 1, NULL);
}

/* A node's own copy is taken up again, made anew where it was deleted, and
 * where its stream was made anew. */
static void keep_follower(const char *url, ae_store_options *options) {
  (void)url;
  static char folder[96];
  snprintf(folder, sizeof folder, "%s/follower", server.folder);
  options->jetstream.folder = folder;
}

static const struct fixture named = {.name = "jetstream",
                                     .durable = true,
                                     .make = same,
                                     .drop = leave,
                                     .prepare = keep_follower};

static void wipe_follower(void) {
  char command[160];
  snprintf(command, sizeof command, "rm -rf %s/follower", server.folder);
  assert_int_equal(system(command), 0);
}

static void a_follower_is_made_anew(void **state) {
  struct world *node = world_new(&named);
  (void)state;
  char text[64];
  bool base;
  append_ok(node, "bank/account/a", 0, 1, "c-1");
  append_many(node, "bank/account/a", 1, 99);
  append_many(node, "bank/account/b", 0, 3000);
  snapshot_save(node, "bank/account/b", 2000, 1, "at 2000", false);
  snapshot_save(node, "bank/account/a", 60, 1, "base", true);
  uint64_t trimmed, left, position;
  trim_of(node, "bank", 0, 1, &trimmed, &left);
  assert_int_equal(trimmed, 60);
  for (int round = 0; round < 2; round++) {
    world_close(node);
    if (round) wipe_follower();
    world_open(node, AE_STORE_WRITE);
    struct kept_list list = {0};
    read_all(node, "bank/account/b", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 3000);
    assert_int_equal(
        snapshot_load(node, "bank/account/b", UINT64_MAX, 1, text, &base),
        2000);
    read_all(node, "bank/account/a", 61, UINT64_MAX, &list);
    assert_int_equal(list.events, 40);
    assert_int_equal(list.base, 60);
    assert_int_equal(
        snapshot_load(node, "bank/account/a", UINT64_MAX, 9, text, &base), 60);
    assert_true(base);
    assert_int_equal(lookup_of(node, "bank/account/a", "c-1", &position, NULL),
                     100);
    assert_true(position > 0);
    kept_clear(&list);
  }
  append_ok(node, "bank/account/a", 100, 1, NULL);
  world_free(node);
}

/* One has trimmed up to 60; another, which allows more, is far behind. What
 * history begins with must not give way to what that one makes. */
static void two_that_trim_keep_the_newest_base(void **state) {
  struct world *one = *state, *other = world_new(&beside);
  struct kept_list list = {0};
  char text[64];
  bool base;
  uint64_t trimmed, left;
  append_many(one, "bank/account/a", 0, 100);
  append_many(one, "bank/account/b", 0, 100);
  read_all(other, "bank/account/a", 1, UINT64_MAX, &list); /* is followed */
  snapshot_save(one, "bank/account/a", 60, 1, "at 60", true);
  trim_of(one, "bank", 0, 1, &trimmed, &left);
  assert_int_equal(trimmed, 60);
  char early[16];
  for (uint64_t at = 10; at <= 50; at += 5) {
    snprintf(early, sizeof early, "at %d", (int)at);
    assert_int_equal(snapshot_save(other, "bank/account/a", at, 1, early, true),
                     AE_OK);
    assert_int_equal(snapshot_save(other, "bank/account/b", at, 1, early, true),
                     AE_OK);
  }
  trim_of(other, "bank", 0, 1, &trimmed, &left);
  struct world *fresh = world_new(&beside), *all[] = {one, other, fresh};
  for (size_t i = 0; i < 3; i++) {
    uint64_t from = all[i] == other ? 50 : 60;
    append_ok(all[i], "bank/account/a", 100 + i, 1, NULL);
    read_all(all[i], "bank/account/a", from + 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 100 - from + i + 1);
    assert_int_equal(
        snapshot_load(all[i], "bank/account/a", UINT64_MAX, 1, text, &base),
        from);
    assert_true(base);
  }
  assert_string_equal(text, "at 60");
  assert_int_equal(
      snapshot_load(fresh, "bank/account/b", UINT64_MAX, 1, text, &base), 50);
  kept_clear(&list);
  world_free(fresh);
  world_free(other);
}

static void append_behind_its_back(struct world *node) {
  wipe_follower();
  append_ok(node, "bank/account/a", 100, 1, NULL);
  struct kept_list list = {0};
  read_all(node, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 101);
  kept_clear(&list);
}

/* What is logged meanwhile. */
static char *log_of(void (*run)(struct world *world), struct world *world) {
  static char text[8192];
  FILE *file = tmpfile();
  int kept = dup(2);
  assert_non_null(file);
  dup2(fileno(file), 2);
  run(world);
  dup2(kept, 2);
  close(kept);
  rewind(file);
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  return text;
}

/* … and also where that happens under a node that has it open. Its log does
 * not tell anybody to put the copy back. */
static void a_follower_that_is_removed_is_made_anew(void **state) {
  struct world *node = world_new(&named);
  (void)state;
  char text[64], lock[128];
  bool base;
  struct kept_list list = {0};
  append_many(node, "bank/account/a", 0, 100);
  snapshot_save(node, "bank/account/a", 60, 1, "at 60", false);
  read_all(node, "bank/account/a", 1, UINT64_MAX, &list); /* is followed */
  const char *log = log_of(append_behind_its_back, node);
  assert_non_null(strstr(log, "it is a copy of what a stream has"));
  assert_null(strstr(log, "put the file back"));
  assert_int_equal(
      snapshot_load(node, "bank/account/a", UINT64_MAX, 1, text, &base), 60);
  append_ok(node, "bank/account/b", 0, 1, NULL);
  read_all(node, "bank/account/b", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  snprintf(lock, sizeof lock, "%s/follower/lock", server.folder);
  assert_int_equal(access(lock, F_OK), 0);
  kept_clear(&list);
  world_free(node);
}

/* Each `from` of the copy's file that is below its first pages becomes `to`. */
static void damage_follower(const char *from, const char *to) {
  char path[160];
  glob_t found;
  snprintf(path, sizeof path, "%s/follower/*.db", server.folder);
  assert_int_equal(glob(path, 0, NULL, &found), 0);
  int file = open(found.gl_pathv[0], O_RDWR);
  globfree(&found);
  struct stat about;
  assert_int_equal(fstat(file, &about), 0);
  size_t size = (size_t)about.st_size, len = strlen(to), changed = 0;
  char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  assert_true(bytes != MAP_FAILED);
  char *at = bytes + 8192, *end = bytes + size - len;
  while (at <= end &&
         (at = memmem(at, (size_t)(end - at) + len, from, strlen(from)))) {
    memcpy(at, to, len);
    at += len;
    changed++;
  }
  assert_true(changed > 100);
  munmap(bytes, size);
  close(file);
}

/* What is damaged under a node: it is told once, and then fetched anew. */
static void a_follower_that_is_damaged_is_made_anew(void **state) {
  static const char *const damages[][2] = {{"Counted", "counted"},
                                           {"", "\xff\xff\xff\xff"}};
  struct kept_list list = {0};
  (void)state;
  for (int i = 0; i < 2; i++) {
    struct world *node = world_new(&named);
    if (i == 0) {
      append_many(node, "bank/account/a", 0, 1);
      append_many(node, "bank/account/b", 0, 3000);
    }
    read_all(node, "bank/account/b", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 3000);
    world_close(node);
    world_open(node, AE_STORE_WRITE);
    read_all(node, "bank/account/a", 1, UINT64_MAX, &list);
    damage_follower(damages[i][0], damages[i][1]);
    read_all(node, "bank/account/b", 1, UINT64_MAX, &list);
    assert_true(list.damaged > 0 || list.status != AE_OK);
    while (list.events < 3000) {
      world_turn(node);
      read_all(node, "bank/account/b", 1, UINT64_MAX, &list);
    }
    assert_int_equal(list.damaged, 0);
    assert_int_equal(list.status, AE_OK);
    world_free(node);
  }
  kept_clear(&list);
}

/* More at once than the follower asks for, in bytes and in number. */
static void what_is_large_is_followed(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  enum { LARGE = 12, SMALL = 10000 };
  struct outcome outcomes[LARGE];
  char actor[32];
  append_many(world, "bank/account/small", 0, SMALL);
  for (int i = 0; i < LARGE; i++) {
    snprintf(actor, sizeof actor, "bank/account/%d", i);
    append_start(world, &outcomes[i], actor, 0, 1, NULL, 900 << 10);
  }
  for (int i = 0; i < LARGE; i++) {
    world_until(world, &outcomes[i].done);
    assert_int_equal(outcomes[i].append.status, AE_OK);
    outcome_clear(&outcomes[i]);
  }
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < LARGE; i++) {
      snprintf(actor, sizeof actor, "bank/account/%d", i);
      read_all(world, actor, 1, UINT64_MAX, &list);
      assert_int_equal(list.events, 1);
    }
    read_all(world, "bank/account/small", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, SMALL);
    world_reopen(world); /* its copy goes with it: another is filled */
  }
  kept_clear(&list);
}

/* A consumer that is gone shows as silence, and another one is made: that takes
 * seconds. */
static void a_consumer_that_is_gone_is_made_again(void **state) {
  struct world *world = *state;
  if (!getenv("AETHER_LONG")) skip();
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list); /* is followed */
  ae_buf names = {0};
  js_ask(world, "$JS.API.CONSUMER.NAMES.bank_events", "", &names);
  ae_buf_byte(&names, 0);
  char *name = strstr(names.ptr, "\"consumers\":[\"");
  assert_non_null(name);
  name += strlen("\"consumers\":[\"");
  name[strcspn(name, "\"")] = 0;
  char what[160];
  snprintf(what, sizeof what, "$JS.API.CONSUMER.DELETE.bank_events.%s", name);
  ae_buf_clear(&names);
  js(world, what, "");
  append_ok(world, "bank/account/a", 1, 1, NULL);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 2);
  kept_clear(&list);
}

/* A replica that is out of step (2.9.10 has such after a network was cut) feeds
 * a node other commits than the stream's leader has. */
static void a_copy_that_differs_is_fetched_anew(void **state) {
  struct world *world = *state;
  struct outcome outcome;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list); /* is followed */
  ae_fault_arm("jetstream.message", 1, 0);
  append_ok(world, "bank/account/a", 1, 1, NULL); /* this is not */
  append_ok(world, "bank/account/b", 0, 1, NULL);
  read_all(world, "bank/account/b", 1, UINT64_MAX, &list);
  ae_fault_reset();
  append_start(world, &outcome, "bank/account/a", 1, 1, NULL, 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_STORE_UNAVAILABLE);
  assert_non_null(strstr(ae_error_text(&outcome.error), "differs"));
  outcome_clear(&outcome);
  append_start(world, &outcome, "bank/account/a", 1, 1, NULL, 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_VERSION_CONFLICT);
  assert_int_equal(outcome.append.current_version, 2);
  outcome_clear(&outcome);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 2);
  assert_int_equal(list.count, 2);
  kept_clear(&list);
}

static void a_second_node_of_the_name_is_told(void **state) {
  struct world *node = world_new(&named);
  (void)state;
  ae_error err = {0};
  ae_store *twin;
  ae_store_options options = {.url = server.url};
  keep_follower(server.url, &options);
  append_ok(node, "bank/account/a", 0, 1, NULL);
  assert_int_equal(ae_store_open(&node->loop, &options, &twin, &err),
                   AE_STORE_UNAVAILABLE);
  assert_null(twin);
  char pid[32], want[32];
  fact_of(&err, "pid", pid, sizeof pid);
  snprintf(want, sizeof want, "%d", (int)getpid());
  assert_string_equal(pid, want);
  assert_non_null(strstr(ae_error_text(&err), "--node"));
  ae_error_clear(&err);
  world_free(node);
}

static void a_stream_that_was_deleted_is_noticed(void **state) {
  struct world *world = *state;
  append_many(world, "bank/account/a", 0, 10);
  js(world, "$JS.API.STREAM.DELETE.bank_events", "");
  /* The connection is lost and comes back: then it is looked at. */
  server_kill(&server, SIGKILL);
  assert_true(server_again(&server));
  struct outcome outcome;
  ae_status status;
  do {
    append_start(world, &outcome, "bank/account/a", 0, 1, NULL, 0);
    world_until(world, &outcome.done);
    status = outcome.append.status;
    outcome_clear(&outcome);
  } while (status != AE_OK);
  struct kept_list list = {0};
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  kept_clear(&list);
}

/* … without a connection that is lost, and while appends are under way: those
 * are answered too. */
static void a_stream_that_is_deleted_meanwhile_is_noticed(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_many(world, "bank/account/a", 0, 10);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list); /* is followed */
  js(world, "$JS.API.STREAM.DELETE.bank_events", "");
  assert_int_equal(append_try(world, "bank/account/a", 10, 1, NULL),
                   AE_STORE_UNAVAILABLE);
  assert_int_equal(append_try(world, "bank/account/b", 0, 1, NULL), AE_OK);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 0);
  read_all(world, "bank/account/b", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  kept_clear(&list);
}

/* What other programs put there is left out, and nobody waits for it. */
static void a_message_that_is_no_commit_is_left_out(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  js(world, "aether.log.bank.account.z", "no commit");
  js(world, "aether.log.bank.account.z", "");
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  append_many(world, "bank/account/a", 1, 1000);
  js(world, "aether.log.bank.what", "no commit");
  scan_all(world, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.events, 1001);
  kept_clear(&list);
}

/* Of an actor that it knows, and of one that has nothing else. */
static void refuse_behind_a_stranger(struct world *world) {
  static const struct {
    const char *actor, *subject, *mend;
  } cases[] = {{"bank/account/a", "aether.log.bank.account.a",
                "`nats stream rmm bank_events 2`"},
               {"bank/account/z", "aether.log.bank.account.z",
                "`nats stream rmm bank_events 3`"}};
  struct outcome outcome;
  char fact[64];
  for (uint64_t i = 0; i < 2; i++) {
    append_start(world, &outcome, cases[i].actor, 1 - i, 1, NULL, 0);
    world_until(world, &outcome.done);
    assert_int_equal(outcome.append.status, AE_ACTOR_DAMAGED);
    assert_non_null(strstr(ae_error_text(&outcome.error), cases[i].mend));
    fact_of(&outcome.error, "subject", fact, sizeof fact);
    assert_string_equal(fact, cases[i].subject);
    outcome_clear(&outcome);
  }
}

/* Another program's message on an actor's subject: nothing can be appended
 * behind it before it is deleted; the copy is as it should be. */
static void nothing_is_appended_behind_a_strangers_message(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  js(world, "aether.log.bank.account.a", "no commit");
  js(world, "aether.log.bank.account.z", "");
  const char *log = log_of(refuse_behind_a_stranger, world);
  assert_null(strstr(log, "fetched anew"));
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  js(world, "$JS.API.STREAM.MSG.DELETE.bank_events", "{\"seq\":2}");
  js(world, "$JS.API.STREAM.MSG.DELETE.bank_events", "{\"seq\":3}");
  append_ok(world, "bank/account/b", 0, 1, NULL);
  restart_with(world, NULL); /* 2.9 needs it */
  append_ok(world, "bank/account/a", 1, 1, NULL);
  append_ok(world, "bank/account/z", 0, 1, NULL);
  kept_clear(&list);
}

/* The stream's last sequence is of a message that is gone: who fetches the
 * stream then does not wait for it. */
static void a_deleted_end_is_not_waited_for(void **state) {
  struct world *world = *state, *fresh;
  struct kept_list list = {0};
  append_ok(world, "bank/account/a", 0, 1, NULL);
  js(world, "aether.log.bank.account.z", "no commit");
  js(world, "$JS.API.STREAM.MSG.DELETE.bank_events", "{\"seq\":2}");
  fresh = world_new(&beside);
  scan_all(fresh, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  append_ok(fresh, "bank/account/b", 0, 1, NULL);
  read_all(fresh, "bank/account/b", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 1);
  world_free(fresh);
  js(world, "$JS.API.STREAM.PURGE.bank_events", "");
  fresh = world_new(&beside);
  scan_all(fresh, "bank", 0, UINT64_MAX, &list);
  assert_int_equal(list.events, 0);
  world_free(fresh);
  kept_clear(&list);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(of_rivals_one_wins),
      TEST(an_id_of_another_node_is_known),
      TEST(an_append_whose_answer_is_lost_is_settled),
      TEST(a_lost_answer_with_a_rival_behind),
      TEST(nothing_is_lost_with_a_killed_server),
      TEST(without_a_server_it_says_so),
      TEST(a_full_server_is_told),
      TEST(a_full_account_is_told),
      TEST(no_more_streams_than_the_account_may_have),
      TEST(a_stream_with_a_limit_is_told),
      TEST(a_stream_in_memory_is_refused),
      TEST(what_is_above_the_servers_limit_is_refused),
      TEST(a_follower_is_made_anew),
      TEST(two_that_trim_keep_the_newest_base),
      TEST(a_follower_that_is_removed_is_made_anew),
      TEST(a_follower_that_is_damaged_is_made_anew),
      TEST(what_is_large_is_followed),
      TEST(a_consumer_that_is_gone_is_made_again),
      TEST(a_copy_that_differs_is_fetched_anew),
      TEST(a_second_node_of_the_name_is_told),
      TEST(a_stream_that_was_deleted_is_noticed),
      TEST(a_stream_that_is_deleted_meanwhile_is_noticed),
      TEST(a_message_that_is_no_commit_is_left_out),
      TEST(nothing_is_appended_behind_a_strangers_message),
      TEST(a_deleted_end_is_not_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
