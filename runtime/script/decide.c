/* decide: the answer of a command's function, checked, encoded and evolved. */
#include <lauxlib.h>

#include "script/state.h"

/* Where an event of the answer lies in decide->events. */
typedef struct mark {
  ae_script_type *type;
  size_t data, metadata, end;
} mark;

typedef struct decide_work {
  ae_module *module;
  ae_state state;
  ae_decide *decide;
  ae_script_command *command;
} decide_work;

static void pack_problem(ae_script *script, const char *key, lua_State *L,
                         int index) {
  ae_str text = {0};
  text.ptr = lua_tolstring(L, index, &text.len);
  ae_error_str(script->err, key, text);
}

/* The data is on top of the stack. */
static void check_schema(ae_script *script, lua_State *L,
                         const ae_script_command *command) {
  int data = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->check_ref);
  lua_rawgeti(L, LUA_REGISTRYINDEX, command->schema);
  lua_pushvalue(L, data);
  ae__call(L, 2, 4);
  if (!lua_toboolean(L, -4)) {
    script->status = AE_INVALID_COMMAND;
    const char *path = lua_tostring(L, -3);
    ae_error_set(script->err, AE_INVALID_COMMAND, "%s: %s must be %s; got %s",
                 command->name, path && *path ? path : "the data",
                 lua_tostring(L, -2), lua_tostring(L, -1));
    pack_problem(script, "path", L, -3);
    pack_problem(script, "expected", L, -2);
    pack_problem(script, "got", L, -1);
  }
  lua_settop(L, data);
}

static void not_a_map(ae_script *script, const char *command, const char *got) {
  script->status = AE_INVALID_COMMAND;
  ae_error_set(script->err, AE_INVALID_COMMAND,
               "%s: the data must be a map; got %s", command, got);
  ae_error_cstr(script->err, "path", "");
  ae_error_cstr(script->err, "expected", "a map");
  ae_error_cstr(script->err, "got", got);
}

_Noreturn static void contract(ae_script *script, lua_State *L,
                               const ae_script_command *command,
                               const char *format, const char *detail) {
  ae_buf text = {0};
  ae_buf_printf(&text, "decide.%s ", command->name);
  ae_buf_printf(&text, "%s", format);
  if (detail) ae_buf_printf(&text, "%s", detail);
  lua_pushlstring(L, text.ptr, text.len);
  ae_buf_clear(&text);
  ae__fail(script, L, AE_CONTRACT_ERROR, command->decide.line, "%s",
           lua_tostring(L, -1));
}

static bool is_event(const ae_script *script, lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  bool is = lua_topointer(L, -1) == script->event_ptr;
  lua_pop(L, 1);
  return is;
}

/* Type of an event's name on top of the stack. */
static ae_script_type *find_type(const ae_module *module, lua_State *L) {
  size_t len;
  const char *name = lua_tolstring(L, -1, &len);
  if (!name) return NULL;
  if (module->ntypes <= 8) {
    for (size_t i = 0; i < module->ntypes; i++) {
      if (module->types[i].interned == name) return &module->types[i];
    }
    return NULL;
  }
  return ae__type(module, (ae_str){name, len});
}

static _Noreturn void nobody_evolves(ae_script *script, lua_State *L,
                                     const decide_work *work) {
  ae_str name;
  name.ptr = lua_tolstring(L, -1, &name.len);
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < work->module->nevents; i++) {
    ae_nearest_offer(&nearest, ae_str_of(work->module->events[i]));
  }
  ae_str best = ae_nearest_best(&nearest);
  ae__fail(script, L, AE_CONTRACT_ERROR, work->command->decide.line,
           "decide.%s made the event %.*s, but nothing evolves it: write "
           "evolve.%.*s, empty where the state does not change%s%.*s%s",
           work->command->name, AE_FMT(name), AE_FMT(name),
           best.len ? " (did you mean " : "", AE_FMT(best),
           best.len ? "?)" : "");
}

/* One map of an event into the answer. */
static void encode_map(ae_script *script, lua_State *L, const decide_work *work,
                       const char *root, const ae_script_type *type) {
  ae_buf *out = work->decide->events;
  size_t start = out->len;
  if (!ae__encode(&script->codec, L, -1, root, out)) {
    ae__fail(script, L, AE_VALUE_ERROR, work->command->decide.line,
             "decide.%s, event %s: %.*s", work->command->name, type->name,
             (int)script->codec.problem.len, script->codec.problem.ptr);
  }
  if (!ae__is_map((ae_str){out->ptr + start, out->len - start})) {
    ae__fail(script, L, AE_VALUE_ERROR, work->command->decide.line,
             "decide.%s, event %s: %s must be a map, as in { amount = 5 }",
             work->command->name, type->name, root);
  }
}

/* Appends the event at `index` to the answer. */
static void encode_event(ae_script *script, lua_State *L, int index,
                         const decide_work *work) {
  ae_buf *out = work->decide->events;
  mark at;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->key_type);
  lua_rawget(L, index);
  at.type = find_type(work->module, L);
  if (!at.type || !at.type->evolve.ref) {
    if (lua_type(L, -1) != LUA_TSTRING) {
      contract(script, L, work->command, "returned an event without a type",
               NULL);
    }
    nobody_evolves(script, L, work);
  }
  lua_pop(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->key_revision);
  lua_rawget(L, index);
  if (!lua_isnil(L, -1) && lua_tonumber(L, -1) != (double)at.type->revision) {
    ae__fail(script, L, AE_CONTRACT_ERROR, work->command->decide.line,
             "decide.%s made %s of revision %g, but new ones are of revision "
             "%llu",
             work->command->name, at.type->name, lua_tonumber(L, -1),
             (unsigned long long)at.type->revision);
  }
  lua_pop(L, 1);
  ae_buf_str(out, ae_buf_view(&at.type->head));
  at.data = out->len;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->key_data);
  lua_rawget(L, index);
  if (lua_isnil(L, -1)) {
    ae_pack_map(out, 0);
  } else {
    encode_map(script, L, work, "data", at.type);
  }
  lua_pop(L, 1);
  at.metadata = out->len;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->key_metadata);
  lua_rawget(L, index);
  if (lua_isnil(L, -1)) {
    ae_pack_nil(out);
  } else {
    encode_map(script, L, work, "metadata", at.type);
  }
  lua_pop(L, 1);
  at.end = out->len;
  ae_buf_add(&script->marks, &at, sizeof at);
  work->decide->event_count++;
}

/* Whether it can be a list of events; steps through a read-only cover. */
static bool is_list(const ae_script *script, lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  if (!lua_getmetatable(L, index)) return true;
  int top = lua_gettop(L) - 1;
  bool list = lua_topointer(L, -1) == script->codec.array_ptr;
  if (ae__is_frozen(L)) {
    list = true;
    lua_rawgeti(L, -1, 2);
    if (lua_istable(L, -1)) lua_replace(L, index);
  }
  lua_settop(L, top);
  return list;
}

static void encode_list(ae_script *script, lua_State *L, int index,
                        const decide_work *work) {
  size_t n = lua_objlen(L, index), count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    count++;
    if (lua_type(L, -2) != LUA_TNUMBER) {
      contract(script, L, work->command,
               "returned a table that is no event: make events with "
               "event(type, data), from require(\"aether.event\")",
               NULL);
    }
  }
  if (count != n) {
    contract(script, L, work->command, "returned a list with a hole in it",
             NULL);
  }
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, index, (int)i);
    if (!is_event(script, L, -1)) {
      contract(script, L, work->command,
               "returned a list with something that is no event: make events "
               "with event(type, data); there is a ",
               luaL_typename(L, -1));
    }
    encode_event(script, L, lua_gettop(L), work);
    lua_pop(L, 1);
  }
}

static void take_rejection(ae_script *script, lua_State *L, int first,
                           int count, const decide_work *work) {
  ae_decide *decide = work->decide;
  if (count < 2 || lua_type(L, first + 1) != LUA_TSTRING ||
      lua_objlen(L, first + 1) == 0) {
    contract(script, L, work->command,
             count < 2 ? "returned nil alone: return an event, a list, {} for "
                         "nothing, or nil, \"reason\""
                       : "rejected without a reason: return nil, \"reason\", "
                         "with a word as second; got a ",
             count < 2 ? NULL
             : lua_type(L, first + 1) == LUA_TSTRING
                 ? "string without letters"
                 : luaL_typename(L, first + 1));
  }
  ae_str reason;
  reason.ptr = lua_tolstring(L, first + 1, &reason.len);
  if (!ae_str_utf8(reason)) {
    contract(script, L, work->command, "gave a reason that is not UTF-8 text",
             NULL);
  }
  if (count > 2 && !lua_isnil(L, first + 2) &&
      !ae__encode(&script->codec, L, first + 2, "details", &decide->details)) {
    ae__fail(script, L, AE_VALUE_ERROR, work->command->decide.line,
             "decide.%s: %.*s", work->command->name,
             (int)script->codec.problem.len, script->codec.problem.ptr);
  }
  ae_buf_str(&decide->reason, reason);
  decide->rejected = true;
}

/* The state as bytes, for noticing that decide changed it. False: it holds
 * what cannot be stored, and the codec says what. */
static bool dump_state(ae_script *script, lua_State *L, ae_state state,
                       ae_buf *out) {
  ae_buf_reset(out);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ae__ref(script, L, state));
  bool fine = ae__encode(&script->codec, L, -1, "state", out);
  lua_pop(L, 1);
  return fine;
}

/* The first key of the state whose value differs; len 0: none is found. */
static ae_str changed_key(ae_str before, ae_str after) {
  ae_unpack a = ae_unpack_of(before);
  uint32_t count;
  ae_str key, value, other;
  if (!ae_unpack_map(&a, &count)) return (ae_str){0};
  for (uint32_t i = 0; i < count; i++) {
    if (!ae_unpack_str(&a, &key) || !ae_unpack_skip(&a, &value)) break;
    char name[64];
    if (key.len >= sizeof name) break;
    memcpy(name, key.ptr, key.len);
    name[key.len] = 0;
    if (!ae_unpack_field(after, name, &other) || !ae_str_eq(value, other)) {
      return key;
    }
  }
  return (ae_str){0};
}

static void check_unchanged(ae_script *script, lua_State *L,
                            const decide_work *work) {
  if (!dump_state(script, L, work->state, &script->after)) {
    ae_str problem = ae_buf_view(&script->codec.problem);
    ae__fail(script, L, AE_CONTRACT_ERROR, work->command->decide.line,
             "decide.%s changed the state: %.*s; decide only says what "
             "happened, evolve changes the state",
             work->command->name, AE_FMT(problem));
  }
  ae_str before = ae_buf_view(&script->before);
  ae_str after = ae_buf_view(&script->after);
  if (ae_str_eq(before, after)) return;
  ae_str key = changed_key(before, after);
  if (key.len == 0) key = changed_key(after, before);
  ae__fail(script, L, AE_CONTRACT_ERROR, work->command->decide.line,
           "decide.%s changed the state%s%.*s%s: decide only says what "
           "happened, evolve changes the state",
           work->command->name, key.len ? " (" : "", AE_FMT(key),
           key.len ? ")" : "");
}

/* Evolves by what was decided, from the bytes that will be stored: a live
 * state must not share a table that a replayed one would not. */
static void evolve_answer(ae_script *script, lua_State *L,
                          const decide_work *work) {
  ae_decide *decide = work->decide;
  script->doing = "evolve";
  lua_settop(L, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ae__ref(script, L, work->state));
  for (uint32_t i = 0; i < decide->event_count; i++) {
    mark at = ((mark *)script->marks.ptr)[i];
    const char *bytes = decide->events->ptr;
    ae_script_type *type = at.type;
    script->handler = ae_str_of(type->name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, type->evolve.ref);
    lua_pushvalue(L, 1);
    ae_str data = {bytes + at.data, at.metadata - at.data};
    if (!ae__decode_all(&script->codec, L, data, "data")) {
      ae__fail_value(script, L, 0);
    }
    if (type->evolve.args > 2) {
      ae_script_event event = {
          .id = ae_uuid_plus(decide->first_id, i),
          .type = script->handler,
          .revision = type->revision,
          .version = decide->version + 1 + i,
          .time = decide->now,
          .command_metadata = decide->metadata,
      };
      if (at.end - at.metadata > 1) {
        event.metadata = (ae_str){bytes + at.metadata, at.end - at.metadata};
      }
      ae__push_event(script, L, work->module, decide->ns, decide->id, &event,
                     type, 4);
    }
    ae__call_evolve(script, L, type, lua_gettop(L) - 2);
    if (script->strict) {
      ae__watched_restart(); /* it was no time of evolve's */
      if (!dump_state(script, L, work->state, &script->after)) {
        ae__fail_state(script, L, type->evolve.line);
      }
    }
  }
}

static void decide_one(ae_script *script, lua_State *L, void *arg) {
  decide_work *work = arg;
  ae_decide *decide = work->decide;
  const ae_script_command *command = work->command;
  if (!ae__decode_all(&script->codec, L, decide->data, "data")) {
    script->status = AE_INVALID_COMMAND;
    ae_error_set(script->err, AE_INVALID_COMMAND, "%s: %.*s", command->name,
                 (int)script->codec.problem.len, script->codec.problem.ptr);
    ae_error_cstr(script->err, "path", "");
    ae_error_cstr(script->err, "expected", "a map");
    ae_error_cstr(script->err, "got", "what cannot be read");
    return;
  }
  if (!ae__is_map(decide->data)) {
    not_a_map(script, command->name,
              lua_istable(L, 1) ? "a list or null" : luaL_typename(L, 1));
    return;
  }
  script->doing = "decide";
  script->actor_type = ae_str_of(work->module->name);
  script->actor_id = decide->id;
  script->handler = (ae_str){command->name, strlen(command->name)};
  if (command->schema) {
    check_schema(script, L, command);
    if (script->status != AE_OK) return;
  }
  if (script->strict) {
    if (!dump_state(script, L, work->state, &script->before)) {
      ae__fail_state(script, L, 0);
    }
  }
  script->line = command->decide.line;
  ae__ctx_begin(script, AE_CTX_DECIDE, decide->seed, decide);
  lua_rawgeti(L, LUA_REGISTRYINDEX, command->decide.ref);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ae__ref(script, L, work->state));
  lua_pushvalue(L, 1);
  ae__watched_restart();
  if (command->decide.args > 2) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->ctx_ref);
    ae__call(L, 3, LUA_MULTRET);
  } else {
    ae__call(L, 2, LUA_MULTRET);
  }
  ae__ctx_end(script);
  int count = lua_gettop(L) - 1;
  luaL_checkstack(L, 20, "decide returned too much");
  if (script->strict) check_unchanged(script, L, work);
  if (count == 0) {
    contract(script, L, command,
             "returned nothing: return an event, a list, {} for nothing, or "
             "nil, \"reason\"",
             NULL);
  }
  if (is_event(script, L, 2)) {
    encode_event(script, L, 2, work);
  } else if (is_list(script, L, 2)) {
    encode_list(script, L, 2, work);
  } else if (lua_isnil(L, 2)) {
    take_rejection(script, L, 2, count, work);
    return;
  } else {
    contract(script, L, command,
             "must return an event, a list, {} or nil, \"reason\"; it returned "
             "a ",
             luaL_typename(L, 2));
  }
  if (count > 1 && is_event(script, L, 3)) {
    contract(script, L, command,
             "returned several events side by side: return them as a list, "
             "{ … }",
             NULL);
  }
  evolve_answer(script, L, work);
}

static ae_status unknown_command(const ae_module *module, ae_str name,
                                 ae_error *err) {
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < module->ncommands; i++) {
    ae_nearest_offer(&nearest, ae_str_of(module->commands[i].name));
  }
  ae_str best = ae_nearest_best(&nearest);
  ae_error_set(err, AE_UNKNOWN_COMMAND, "%s has no command \"%.*s\"",
               module->name, AE_FMT(name));
  if (best.len) ae_error_add(err, "; did you mean \"%.*s\"?", AE_FMT(best));
  ae_error_str(err, "name", name);
  if (best.len) ae_error_str(err, "nearest", best);
  return AE_UNKNOWN_COMMAND;
}

ae_status ae_script_decide(ae_module *module, ae_state state, ae_decide *decide,
                           ae_error *err) {
  ae_script *script = module->script;
  decide->rejected = false;
  decide->event_count = 0;
  ae_buf_reset(&decide->reason);
  ae_buf_reset(&decide->details);
  decide_work work = {.module = module, .state = state, .decide = decide};
  ae_status status = ae__ready(script, module, err);
  if (status != AE_OK) return status;
  work.command = ae__command(module, decide->command);
  if (!work.command) return unknown_command(module, decide->command, err);
  size_t before = decide->events->len;
  ae_buf_reset(&script->marks);
  status = ae__run_bounded(script, module, decide_one, &work, err);
  /* What does not fit the schema leaves the gate without an error. */
  if (status == AE_OK) status = script->status;
  if (status != AE_SCRIPT_TIMEOUT && status != AE_INVALID_COMMAND)
    module->strikes = 0; /* it came to an end by itself */
  if (status != AE_OK) {
    ae__add_actor(err, module, decide->ns, decide->id);
    decide->events->len = before;
    decide->event_count = 0;
    decide->rejected = false;
  }
  return status;
}

ae_status ae_script_limit(ae_module *module, ae_state *states, size_t nstates,
                          ae_str command, ae_str data, uint64_t count,
                          uint64_t *bytes, ae_error *err) {
  ae_buf events = {0};
  ae_decide decide = {.command = command,
                      .data = data,
                      .ns = ae_str_of(module->script->ns),
                      .id = AE_STR("limit"),
                      .now = 1,
                      .events = &events};
  ae_status status = AE_OK;
  for (uint64_t i = 0; i < count && status == AE_OK; i++) {
    ae_buf_reset(&events);
    decide.seed = decide.version = i;
    status = ae_script_decide(module, states[i % nstates], &decide, err);
    *bytes += events.len;
  }
  ae_buf_clear(&events);
  ae_buf_clear(&decide.reason);
  ae_buf_clear(&decide.details);
  return status;
}

/* -- the schema of a command -- */

typedef struct schema_work {
  ae_script_command *command;
  ae_buf *out;
} schema_work;

static void schema_json(ae_script *script, lua_State *L, void *arg) {
  schema_work *work = arg;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->json_ref);
  lua_rawgeti(L, LUA_REGISTRYINDEX, work->command->schema);
  ae__call(L, 1, 1);
  if (!ae__encode(&script->codec, L, -1, "schema", work->out)) {
    ae__fail_value(script, L, 0);
  }
}

bool ae_module_command_schema(ae_module *module, ae_str name, ae_buf *out) {
  schema_work work = {ae__command(module, name), out};
  if (!work.command || !work.command->schema) return false;
  size_t before = out->len;
  if (ae__run(module->script, module, schema_json, &work, NULL) != AE_OK) {
    out->len = before;
    return false;
  }
  return true;
}
