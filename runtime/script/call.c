/* The states of actors, and replay. */
#include <lauxlib.h>

#include "script/state.h"

/* -- states -- */

typedef struct state_work {
  ae_module *module;
  ae_state state;
  ae_str bytes;
  ae_buf *out;
} state_work;

bool ae_script_holds(const ae_module *module, ae_state state) {
  return module && state && state >> 32 == module->script->generation;
}

int ae__ref(ae_script *script, lua_State *L, ae_state state) {
  if (state >> 32 != script->generation) {
    ae__fail(script, L, AE_NOT_FOUND, 0,
             "the actor's state is gone: the script was stopped since");
  }
  return (int)(uint32_t)state;
}

bool ae__is_map(ae_str bytes) {
  uint8_t first = bytes.len ? (uint8_t)bytes.ptr[0] : 0;
  return (first & 0xf0) == 0x80 || first == 0xde || first == 0xdf;
}

/* A state that only has keys 1..n is an array when it is kept. */
static bool is_array(ae_str bytes) {
  uint8_t first = bytes.len ? (uint8_t)bytes.ptr[0] : 0;
  return (first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd;
}

static void load_work(ae_script *script, lua_State *L, void *arg) {
  state_work *work = arg;
  if (!ae__decode_all(&script->codec, L, work->bytes, "state")) {
    ae__fail_value(script, L, 0);
  }
  if (!ae__is_map(work->bytes) && !is_array(work->bytes)) {
    ae__fail(script, L, AE_VALUE_ERROR, 0, "the state is no table");
  }
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  work->state = (uint64_t)script->generation << 32 | (uint32_t)ref;
}

ae_status ae_script_load(ae_module *module, ae_str bytes, ae_state *out,
                         ae_error *err) {
  state_work work = {.module = module, .bytes = bytes};
  *out = 0;
  ae_status status = ae__run(module->script, module, load_work, &work, err);
  if (status == AE_OK) {
    *out = work.state;
  } else if (work.state) {
    ae_script_drop(module, work.state);
  }
  return status;
}

ae_status ae_script_initial(ae_module *module, ae_state *out, ae_error *err) {
  return ae_script_load(module, ae_buf_view(&module->initial), out, err);
}

void ae__fail_state(ae_script *script, lua_State *L, int line) {
  bool evolves = script->doing && !strcmp(script->doing, "evolve");
  ae_str problem = ae_buf_view(&script->codec.problem);
  ae__fail(script, L, AE_VALUE_ERROR, line,
           "%.*s%s%.*s%s: evolve may leave only what can be stored in the "
           "state, which is text, numbers, booleans and tables of them",
           AE_FMT(problem), evolves ? " (in evolve." : "",
           AE_FMT(evolves ? script->handler : (ae_str){0}), evolves ? ")" : "");
}

static void dump_work(ae_script *script, lua_State *L, void *arg) {
  state_work *work = arg;
  lua_rawgeti(L, LUA_REGISTRYINDEX, ae__ref(script, L, work->state));
  if (!ae__encode(&script->codec, L, -1, "state", work->out)) {
    ae__fail_state(script, L, 0);
  }
}

ae_status ae_script_dump(ae_module *module, ae_state state, ae_buf *out,
                         ae_error *err) {
  state_work work = {.module = module, .state = state, .out = out};
  size_t before = out->len;
  ae_status status = ae__run(module->script, module, dump_work, &work, err);
  if (status != AE_OK) out->len = before;
  return status;
}

void ae_script_drop(ae_module *module, ae_state state) {
  if (!ae_script_holds(module, state)) return;
  luaL_unref(module->script->L, LUA_REGISTRYINDEX, (int)(uint32_t)state);
}

void ae__add_actor(ae_error *err, const ae_module *module, ae_str ns,
                   ae_str id) {
  if (!err || err->status == AE_INVALID_COMMAND) return;
  ae_error_add(err, "; actor %.*s/%s/%.*s", AE_FMT(ns), module->name,
               AE_FMT(id));
}

/* -- evolve -- */

void ae__call_evolve(ae_script *script, lua_State *L,
                     const ae_script_type *type, int args) {
  script->line = type->evolve.line;
  ae__watched_restart();
  ae__call(L, args, 1);
  if (!lua_isnil(L, -1)) {
    ae__fail(script, L, AE_CONTRACT_ERROR, type->evolve.line,
             "evolve.%s returned a %s: it changes state in place and returns "
             "nothing",
             type->name, luaL_typename(L, -1));
  }
  lua_pop(L, 1);
}

typedef struct evolve_work {
  ae_module *module;
  ae_state state;
  ae_str ns, id;
  const ae_script_event *events;
  size_t count, done;
} evolve_work;

static void evolve_all(ae_script *script, lua_State *L, void *arg) {
  evolve_work *work = arg;
  script->doing = "evolve";
  script->actor_type = ae_str_of(work->module->name);
  script->actor_id = work->id;
  lua_rawgeti(L, LUA_REGISTRYINDEX, ae__ref(script, L, work->state));
  int state = lua_gettop(L);
  for (; work->done < work->count; work->done++) {
    const ae_script_event *event = &work->events[work->done];
    if (ae_script_is_hosts(event)) continue;
    script->handler = event->type;
    ae_script_type *type = ae__push_data(script, L, work->module, event);
    int data = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, type->evolve.ref);
    lua_pushvalue(L, state);
    lua_pushvalue(L, data);
    if (type->evolve.args > 2) {
      ae__push_event(script, L, work->module, work->ns, work->id, event, type,
                     data);
    }
    ae__call_evolve(script, L, type, lua_gettop(L) - data - 1);
    lua_settop(L, state);
  }
}

ae_status ae_script_evolve(ae_module *module, ae_state state, ae_str ns,
                           ae_str id, const ae_script_event *events,
                           size_t count, size_t *done, ae_error *err) {
  evolve_work work = {module, state, ns, id, events, count, 0};
  ae_status status =
      ae__run_bounded(module->script, module, evolve_all, &work, err);
  *done = work.done;
  if (status != AE_OK) ae__add_actor(err, module, ns, id);
  return status;
}
