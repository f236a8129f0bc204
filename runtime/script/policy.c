/* Policies: found by name, and asked about a version conflict. */
#include <lauxlib.h>
#include <math.h>

#include "base/mem.h"
#include "script/load.h"

void ae__take_policies(ae_script *script, lua_State *L, void *arg) {
  (void)arg;
  ae__require(script, L, AE_STR("aether.policy"), true);
  if (lua_getmetatable(L, -1) && ae__is_frozen(L)) {
    lua_rawgeti(L, -1, 2);
    lua_replace(L, -3);
    lua_pop(L, 1);
  }
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (!lua_istable(L, -1)) continue;
    lua_getfield(L, -1, "retry");
    if (!lua_isfunction(L, -1)) {
      lua_pop(L, 1);
      continue;
    }
    ae_handler retry = ae__handler(script, L);
    script->policies = ae_realloc(
        script->policies, (script->npolicies + 1) * sizeof *script->policies);
    script->policies[script->npolicies++] =
        (ae_library_policy){ae_strdup(lua_tostring(L, -2)), retry};
  }
}

const ae_handler *ae__policy(ae_script *script, ae_str name, ae_module **module,
                             ae_error *err) {
  ae_module *own = ae_map_get(&script->module_map, name);
  *module = NULL;
  if (own && own->kind == AE_MODULE_POLICY) {
    *module = own;
    return &own->policy;
  }
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < script->npolicies; i++) {
    ae_str known = ae_str_of(script->policies[i].name);
    if (!own && ae_str_eq(known, name)) return &script->policies[i].retry;
    ae_nearest_offer(&nearest, known);
  }
  for (size_t i = 0; i < script->nmodules; i++) {
    if (script->modules[i]->kind == AE_MODULE_POLICY) {
      ae_nearest_offer(&nearest, ae_str_of(script->modules[i]->name));
    }
  }
  ae_str best = ae_nearest_best(&nearest);
  if (own) {
    ae_error_set(
        err, AE_CONTRACT_ERROR,
        "retry names the module \"%.*s\", which is no policy: it has no "
        "function retry",
        AE_FMT(name));
  } else {
    ae_error_set(err, AE_CONTRACT_ERROR,
                 "retry names the policy \"%.*s\", which is nowhere",
                 AE_FMT(name));
  }
  if (best.len) {
    ae_error_add(err, "; did you mean \"%.*s\"?", AE_FMT(best));
    ae_error_str(err, "nearest", best);
  }
  return NULL;
}

ae_status ae_script_policy(ae_script *script, ae_str name, ae_error *err) {
  ae_module *module;
  return ae__policy(script, name, &module, err) ? AE_OK : AE_CONTRACT_ERROR;
}

/* -- asking -- */

typedef struct retry_work {
  const ae_handler *handler;
  ae_str name;
  ae_retry *retry;
} retry_work;

static void set_text(lua_State *L, const char *key, ae_str text) {
  lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
  lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double number) {
  lua_pushnumber(L, number);
  lua_setfield(L, -2, key);
}

static void set_map(ae_script *script, lua_State *L, const char *key,
                    ae_str bytes) {
  if (bytes.len == 0) {
    lua_newtable(L);
  } else if (!ae__decode_all(&script->codec, L, bytes, key)) {
    ae__fail_value(script, L, 0);
  }
  lua_setfield(L, -2, key);
}

static void push_conflict(ae_script *script, lua_State *L,
                          const ae_retry *retry) {
  lua_createtable(L, 0, 10);
  set_text(L, "namespace", retry->ns);
  set_text(L, "actor_type", retry->type);
  set_text(L, "actor_id", retry->id);
  set_number(L, "attempted_version", (double)retry->attempted_version);
  set_number(L, "current_version", (double)retry->current_version);
  set_number(L, "attempt", retry->attempt);
  set_number(L, "elapsed_ms", retry->elapsed_ms);
  lua_pushboolean(L, retry->expected_by_caller);
  lua_setfield(L, -2, "expected_by_caller");
  lua_createtable(L, 0, 3);
  set_text(L, "name", retry->command);
  set_map(script, L, "data", retry->data);
  set_map(script, L, "metadata", retry->metadata);
  lua_setfield(L, -2, "command");
  lua_createtable(L, (int)retry->event_count, 0);
  int list = lua_gettop(L);
  const ae_module *policy = script->at;
  script->at = retry->aggregate;
  int count = 0;
  for (size_t i = 0; i < retry->event_count; i++) {
    const ae_script_event *event = &retry->events[i];
    if (ae_script_is_hosts(event)) continue;
    ae_script_type *type = ae__push_data(script, L, retry->aggregate, event);
    ae__push_event(script, L, retry->aggregate, retry->ns, retry->id, event,
                   type, list + 1);
    lua_rawseti(L, list, ++count);
    lua_settop(L, list);
  }
  script->at = policy;
  lua_setfield(L, -2, "events");
}

static void retry_one(ae_script *script, lua_State *L, void *arg) {
  retry_work *work = arg;
  ae_retry *retry = work->retry;
  script->actor_type = retry->type;
  script->actor_id = retry->id;
  push_conflict(script, L, retry);
  script->doing = "retry";
  script->line = work->handler->line;
  ae__ctx_begin(script, AE_CTX_POLICY, retry->seed, NULL);
  lua_rawgeti(L, LUA_REGISTRYINDEX, work->handler->ref);
  lua_insert(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->ctx_ref);
  ae__watched_restart();
  ae__call(L, 2, 2);
  ae__ctx_end(script);
  if (lua_type(L, 1) == LUA_TNUMBER) {
    double delay = lua_tonumber(L, 1);
    if (!isfinite(delay) || delay < 0) {
      ae__fail(script, L, AE_CONTRACT_ERROR, work->handler->line,
               "the policy %.*s returned %g: it must be a number of "
               "milliseconds, 0 or more",
               AE_FMT(work->name), delay);
    }
    retry->again = true;
    retry->delay_ms = delay;
    return;
  }
  ae_str reason = {0};
  if (lua_isnil(L, 1) && lua_type(L, 2) == LUA_TSTRING) {
    reason.ptr = lua_tolstring(L, 2, &reason.len);
  }
  if (reason.len == 0 || !ae_str_utf8(reason)) {
    ae__fail(script, L, AE_CONTRACT_ERROR, work->handler->line,
             "the policy %.*s must return milliseconds, or nil, \"reason\"; it "
             "returned a %s and a %s",
             AE_FMT(work->name), luaL_typename(L, 1), luaL_typename(L, 2));
  }
  ae_buf_str(&retry->reason, reason);
}

ae_status ae_script_retry(ae_script *script, ae_str policy, ae_retry *retry,
                          ae_error *err) {
  if (policy.len == 0) policy = AE_STR("backoff");
  retry->again = false;
  retry->delay_ms = 0;
  ae_buf_reset(&retry->reason);
  ae_status status = ae__ready(script, NULL, err);
  if (status != AE_OK) return status;
  ae_module *module;
  const ae_handler *handler = ae__policy(script, policy, &module, err);
  if (!handler) return AE_CONTRACT_ERROR;
  retry_work work = {handler, policy, retry};
  status = ae__run_bounded(script, module, retry_one, &work, err);
  if (module && status != AE_SCRIPT_TIMEOUT) module->strikes = 0;
  if (status != AE_OK) {
    retry->again = false;
    ae_buf_reset(&retry->reason);
  }
  return status;
}
