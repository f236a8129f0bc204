#include "actor/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"

static const char *const ACCOUNT =
    "local event = require('aether.event')\n"
    "local account = { initial = { open = false, balance = 0 },\n"
    "  snapshot = { version = 1, every = 10 } }\n"
    "local decide = {}\n"
    "account.decide = decide\n"
    "function decide.open(state)\n"
    "  if state.open then return nil, 'already_open' end\n"
    "  return event('Opened')\n"
    "end\n"
    "function decide.deposit(state, deposit)\n"
    "  return event('Deposited', { amount = deposit.amount })\n"
    "end\n"
    "function decide.withdraw(state, withdraw)\n"
    "  if withdraw.amount > state.balance then\n"
    "    return nil, 'insufficient_funds', { balance = state.balance }\n"
    "  end\n"
    "  return event('Withdrawn', { amount = withdraw.amount })\n"
    "end\n"
    "function decide.touch() return {} end\n"
    "function decide.twice(_, twice)\n"
    "  return { event('Deposited', { amount = twice.amount }),\n"
    "    event('Deposited', { amount = twice.amount }) }\n"
    "end\n"
    "function decide.break_now(state)\n"
    "  error('broken on purpose')\n"
    "end\n"
    "function decide.stuff(_, stuff)\n"
    "  return event('Stuffed', { text = string.rep('x', stuff.size) })\n"
    "end\n"
    "local evolve = {}\n"
    "account.evolve = evolve\n"
    "function evolve.Opened(state) state.open = true end\n"
    "function evolve.Deposited(state, deposited)\n"
    "  if deposited.amount == 13 then error('unlucky') end\n"
    "  state.balance = state.balance + deposited.amount\n"
    "end\n"
    "function evolve.Withdrawn(state, withdrawn)\n"
    "  state.balance = state.balance - withdrawn.amount\n"
    "end\n"
    "function evolve.Stuffed(state, stuffed)\n"
    "  state.size = (state.size or 0) + #stuffed.text\n"
    "  state.last = stuffed.text:sub(1, 200000)\n"
    "end\n"
    "return account\n";

/* Goes on where only deposits came between, at once. */
static const char *const MEMO =
    "local event = require('aether.event')\n"
    "local memo = { initial = { n = 0 }, retry = 'friendly' }\n"
    "memo.decide = { add = function(state, add)\n"
    "  return event('Added', { n = add.n }) end,\n"
    "  wipe = function() return event('Wiped') end }\n"
    "memo.evolve = { Added = function(state, added) state.n = state.n + "
    "added.n end,\n"
    "  Wiped = function(state) state.n = 0 end }\n"
    "return memo\n";
static const char *const FRIENDLY =
    "local friendly = {}\n"
    "function friendly.retry(conflict, ctx)\n"
    "  for _, event in ipairs(conflict.events) do\n"
    "    if event.type ~= 'Added' then return nil, 'wiped_meanwhile' end\n"
    "  end\n"
    "  if conflict.attempt > 3 then return nil, 'too_many_conflicts' end\n"
    "  return #conflict.events > 0 and 0 or 5\n"
    "end\n"
    "return friendly\n";

static void put_file(const char *folder, const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static ae_script *open_script(world *w, const char *ns, size_t memory) {
  ae_error err = {0};
  ae_script *script;
  ae_script_options options = {.ns = ae_str_of(ns),
                               .folder = w->folder,
                               .memory_limit = memory,
                               .handler_ms = 60000};
  if (ae_script_open(&options, &script, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
  return script;
}

world *world_open(size_t cap, size_t queue, size_t memory) {
  world *w = ae_zalloc(sizeof *w);
  strcpy(w->folder, "/tmp/aether-actor-XXXXXX");
  assert_non_null(mkdtemp(w->folder));
  put_file(w->folder, "account.lua", ACCOUNT);
  put_file(w->folder, "memo.lua", MEMO);
  put_file(w->folder, "friendly.lua", FRIENDLY);
  ae_error err = {0};
  assert_int_equal(ae_loop_init(&w->loop, &err), AE_OK);
  ae_store_options store = {.url = "memory"};
  assert_int_equal(ae_store_open(&w->loop, &store, &w->store, &err), AE_OK);
  w->script = open_script(w, "bank", memory);
  w->bus = ae_bus_new(&w->loop);
  ae_actors_options options = {
      .node = "n1", .queue_limit = queue, .bus = w->bus};
  w->actors = ae_actors_new(&w->loop, w->store, &options);
  w->realm = ae_actors_realm(w->actors, AE_STR("bank"), w->script,
                             &(ae_limits){.live_actors = cap}, (ae_str){0});
  ae_error_clear(&err);
  return w;
}

ae_realm *world_realm(world *w, const char *name, const ae_limits *limits) {
  assert_true(w->other_count < 4);
  ae_script *script = open_script(w, name, 0);
  w->others[w->other_count++] = script;
  return ae_actors_realm(w->actors, ae_str_of(name), script, limits,
                         (ae_str){0});
}

static void on_closed(void *data) {
  ((world *)data)->closed = true;
}

void world_close(world *w) {
  ae_actors_close(w->actors, on_closed, w);
  while (!w->closed) ae_loop_run(&w->loop);
  w->closed = false;
  ae_store_close(w->store, on_closed, w);
  while (!w->closed) ae_loop_run(&w->loop);
  ae_script_close(w->script);
  for (int i = 0; i < w->other_count; i++) ae_script_close(w->others[i]);
  ae_bus_free(w->bus);
  ae_loop_clear(&w->loop);
  const char *files[] = {"account.lua", "memo.lua", "friendly.lua"};
  for (int i = 0; i < 3; i++) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", w->folder, files[i]);
    unlink(path);
  }
  rmdir(w->folder);
  ae_free(w);
}

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  sent *s = command->context;
  s->calls++;
  s->status = outcome->status;
  s->version = outcome->version;
  s->position = outcome->position;
  s->repeated = outcome->repeated;
  s->events = outcome->event_count;
  ae_event event;
  while (ae_outcome_event(outcome, &event)) {
    ae_buf_str(&s->types, event.type);
    ae_buf_byte(&s->types, ' ');
  }
  if (outcome->error) {
    ae_buf packed = {0};
    ae_error_render(outcome->error, &packed);
    ae_json_write(ae_buf_view(&packed), &s->error);
    ae_buf_clear(&packed);
  }
}

void submit(world *w, sent *s, const char *actor, const char *name,
            const char *json, const char *id, int64_t expected) {
  memset(s, 0, sizeof *s);
  snprintf(s->name, sizeof s->name, "%s", actor);
  assert_int_equal(ae_json_read(ae_str_of(json), &s->data, NULL), AE_OK);
  ae_command *command = &s->command;
  /* split by hand: bad names are wanted too */
  char *type = strchr(s->name, '/');
  char *key = strchr(type + 1, '/');
  command->ref.ns = (ae_str){s->name, (size_t)(type - s->name)};
  command->ref.type = (ae_str){type + 1, (size_t)(key - type - 1)};
  command->ref.id = ae_str_of(key + 1);
  command->name = ae_str_of(name);
  command->data = ae_buf_view(&s->data);
  command->id = ae_str_of(id);
  command->expects = expected >= 0;
  command->expected_version = expected >= 0 ? (uint64_t)expected : 0;
  command->cb = on_outcome;
  command->context = s;
  ae_actors_submit(w->actors, command);
  assert_int_equal(s->calls, 0);
}

void sent_clear(sent *s) {
  ae_buf_clear(&s->data);
  ae_buf_clear(&s->types);
  ae_buf_clear(&s->error);
}

void hand_in(world *w, sent *s, const char *actor, const char *name,
             const char *json, const char *id, int64_t expected) {
  submit(w, s, actor, name, json, id, expected);
  ae_loop_run(&w->loop);
  assert_int_equal(s->calls, 1);
}

ae_status tell(world *w, const char *actor, const char *name,
               const char *json) {
  sent s;
  hand_in(w, &s, actor, name, json, NULL, -1);
  sent_clear(&s);
  return s.status;
}

static void on_state(ae_state_read *read, ae_status status, uint64_t version,
                     ae_str state, const ae_error *err) {
  seen *s = read->data;
  s->calls++;
  s->status = status;
  s->version = version;
  if (status == AE_OK)
    ae_json_write(state, &s->json);
  else
    ae_buf_printf(&s->json, "%s", ae_error_text(err));
}

void look(world *w, seen *s, const char *actor, uint64_t at) {
  memset(s, 0, sizeof *s);
  assert_int_equal(ae_ref_parse(ae_str_of(actor), &s->read.ref, NULL), AE_OK);
  s->read.at = at;
  s->read.cb = on_state;
  s->read.data = s;
  ae_actors_state(w->actors, &s->read);
  assert_int_equal(s->calls, 0);
}

void expect_state(world *w, const char *actor, uint64_t at, uint64_t version,
                  const char *json) {
  seen s;
  look(w, &s, actor, at);
  ae_loop_run(&w->loop);
  assert_int_equal(s.calls, 1);
  assert_string_equal(ae_buf_cstr(&s.json), json);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, version);
  ae_buf_clear(&s.json);
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(bool *)read->data = true;
}

ae_stats stats(world *w) {
  bool done = false;
  ae_stats_read read = {.cb = on_stats, .data = &done};
  assert_int_equal(ae_store_stats(w->store, &read, NULL), AE_OK);
  ae_loop_run(&w->loop);
  assert_true(done);
  return read.stats;
}

static void on_stored(ae_append *append) {
  *(ae_status *)append->data = append->status;
}

ae_status intrude(world *w, const char *actor, uint64_t expected,
                  const char *type, int n, bool damage) {
  ae_append append = {.expected_version = expected, .event_count = 1};
  assert_int_equal(ae_ref_parse(ae_str_of(actor), &append.ref, NULL), AE_OK);
  ae_buf events = {0};
  ae_pack_array(&events, 4);
  ae_pack_cstr(&events, type);
  ae_pack_uint(&events, 1);
  ae_pack_map(&events, 1);
  ae_pack_cstr(&events, "n");
  ae_pack_int(&events, n);
  ae_pack_nil(&events);
  ae_commit commit = {.ref = append.ref, .first_version = expected + 1};
  ae_commit_command kept = {.events = 1};
  ae_commit_encode(&append.record, &commit, &kept, 1, ae_buf_view(&events), 1);
  if (damage) append.record.ptr[append.record.len / 2] ^= 0x20;
  ae_status status = AE_CANCELED;
  append.cb = on_stored;
  append.data = &status;
  assert_int_equal(ae_store_append(w->store, &append, NULL), AE_OK);
  ae_loop_run(&w->loop);
  ae_buf_clear(&append.record);
  ae_buf_clear(&events);
  return status;
}

typedef struct wanted {
  const char *type;
  ae_type_counts counts;
} wanted;

static void on_counts(void *data, ae_str ns, ae_str type,
                      const ae_type_counts *counts) {
  wanted *w = data;
  assert_true(ae_str_eq(ns, AE_STR("bank")));
  if (ae_str_eq(type, ae_str_of(w->type))) w->counts = *counts;
}

ae_type_counts counts_of(world *w, const char *type) {
  wanted found = {.type = type};
  ae_actors_counts(w->actors, on_counts, &found);
  uint64_t took = 0;
  for (size_t i = 0; i <= AE_TOOK; i++) took += found.counts.took[i];
  assert_int_equal(took, found.counts.commands);
  return found.counts;
}
