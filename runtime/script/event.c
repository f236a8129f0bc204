/* Events as Lua sees them: upcast by their aggregate first. */
#include <lauxlib.h>

#include "script/state.h"

static ae_script_type *check_type(ae_script *script, lua_State *L,
                                  const ae_module *module, ae_str name) {
  ae_script_type *type = ae__type(module, name);
  if (type && type->evolve.ref) return type;
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < module->nevents; i++) {
    ae_nearest_offer(&nearest, ae_str_of(module->events[i]));
  }
  ae_str best = ae_nearest_best(&nearest);
  ae__fail(script, L, AE_CONTRACT_ERROR, 0,
           "there is a stored event %.*s, but nothing evolves it: write "
           "evolve.%.*s, or an upcast that renames it%s%.*s%s",
           AE_FMT(name), AE_FMT(name), best.len ? " (the nearest is " : "",
           AE_FMT(best), best.len ? ")" : "");
}

/* Leaves the way through aether.upcast: any revision but the present one. */
static ae_script_type *bring(ae_script *script, lua_State *L, ae_module *module,
                             const ae_script_event *event) {
  const char *before = script->doing;
  script->doing = "upcast";
  script->line = 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->bring_ref);
  lua_insert(L, -2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, module->ref);
  lua_insert(L, -2);
  lua_pushlstring(L, event->type.ptr, event->type.len);
  lua_insert(L, -2);
  lua_pushnumber(L, (double)event->revision);
  lua_insert(L, -2);
  ae__watched_restart();
  ae__call(L, 4, 2);
  script->doing = before;
  ae_str name;
  name.ptr = lua_tolstring(L, -2, &name.len);
  ae_script_type *type = check_type(script, L, module, name);
  lua_remove(L, -2);
  return type;
}

ae_script_type *ae__push_data(ae_script *script, lua_State *L,
                              ae_module *module, const ae_script_event *event) {
  if (!ae__decode_all(&script->codec, L, event->data, "data")) {
    ae__fail_value(script, L, 0);
  }
  ae_script_type *type = ae__type(module, event->type);
  if (type && type->evolve.ref && type->revision == event->revision) {
    return type;
  }
  if (!type) return check_type(script, L, module, event->type);
  return bring(script, L, module, event);
}

/* The command's metadata, with the event's own over it. */
static void push_metadata(ae_script *script, lua_State *L,
                          const ae_script_event *event) {
  ae_str parts[2] = {event->command_metadata, event->metadata};
  lua_newtable(L);
  int into = lua_gettop(L);
  for (int i = 0; i < 2; i++) {
    if (parts[i].len == 0) continue;
    if (!ae__decode_all(&script->codec, L, parts[i], "metadata")) {
      ae__fail_value(script, L, 0);
    }
    if (lua_istable(L, -1)) {
      for (lua_pushnil(L); lua_next(L, into + 1);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, into);
      }
    }
    lua_settop(L, into);
  }
}

static void set_text(lua_State *L, const char *key, ae_str text) {
  lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
  lua_setfield(L, -2, key);
}

void ae__push_event(ae_script *script, lua_State *L, const ae_module *module,
                    ae_str ns, ae_str id, const ae_script_event *event,
                    const ae_script_type *type, int data) {
  char text[37];
  lua_createtable(L, 0, 10);
  ae_uuid_format(event->id, text);
  set_text(L, "id", (ae_str){text, 36});
  lua_rawgeti(L, LUA_REGISTRYINDEX, type->name_ref);
  lua_setfield(L, -2, "type");
  lua_pushnumber(L, (double)type->revision);
  lua_setfield(L, -2, "revision");
  set_text(L, "namespace", ns);
  set_text(L, "actor_type", ae_str_of(module->name));
  set_text(L, "actor_id", id);
  lua_pushnumber(L, (double)event->version);
  lua_setfield(L, -2, "version");
  lua_pushnumber(L, (double)event->time);
  lua_setfield(L, -2, "timestamp");
  lua_pushvalue(L, data);
  lua_setfield(L, -2, "data");
  push_metadata(script, L, event);
  lua_setfield(L, -2, "metadata");
}
