/* Running a module's file and checking what it returns, and `require`. */
#include <lauxlib.h>
#include <stdlib.h>

#include "script/load.h"
#include "script/stdlib.h"

static ae_module_kind kind_of(const char *word) {
  for (int kind = AE_MODULE_LIBRARY; kind <= AE_MODULE_POLICY; kind++) {
    if (!strcmp(word, ae_module_kind_word((ae_module_kind)kind))) {
      return (ae_module_kind)kind;
    }
  }
  return AE_MODULE_LIBRARY;
}

/* The line of the function at a key like "decide.withdraw"; 0: it is none. */
static int line_of_function(ae_script *script, lua_State *L, int table,
                            const char *key) {
  const char *dot = strchr(key, '.');
  int top = lua_gettop(L), line = 0;
  lua_pushvalue(L, table);
  if (dot) {
    lua_pushlstring(L, key, (size_t)(dot - key));
    ae__getfield(L, -2, lua_tostring(L, -1));
  }
  if (lua_istable(L, -1)) {
    ae__getfield(L, -1, dot ? dot + 1 : key);
    if (lua_isfunction(L, -1)) {
      ae_handler handler = ae__handler(script, L);
      luaL_unref(L, LUA_REGISTRYINDEX, handler.ref);
      line = handler.line;
    }
  }
  lua_settop(L, top);
  return line;
}

/* aether.module.check over what the file returned, at the stack's top. */
static void check(ae_module *module, lua_State *L) {
  ae_script *script = module->script;
  int table = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->module_ref);
  lua_pushvalue(L, table);
  lua_pushstring(L, module->name);
  ae__call(L, 2, 2);
  size_t count = lua_objlen(L, -1);
  int first_line = 0;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, table + 2, (int)i);
    lua_getfield(L, -1, "message");
    lua_getfield(L, -2, "key");
    const char *text = lua_tostring(L, -2), *key = lua_tostring(L, -1);
    int line = 0;
    if (key && lua_istable(L, table)) {
      line = line_of_function(script, L, table, key);
      if (!line) line = ae__line_of(module, ae_str_of(key));
    }
    ae_error mistake = {0};
    ae__mistake(script, module, line, ae_str_of(text), &mistake);
    ae__report(script, &mistake);
    ae_error_clear(&mistake);
    if (i == 1) first_line = line;
    lua_pop(L, 3);
  }
  if (count > 0) {
    lua_rawgeti(L, table + 2, 1);
    lua_getfield(L, -1, "message");
    ae__fail(script, L, AE_CONTRACT_ERROR, first_line, "%s",
             lua_tostring(L, -1));
  }
  module->kind = kind_of(lua_tostring(L, -2));
  lua_pop(L, 2);
}

/* Leaves the function of the file at the stack's top, or raises. */
static void compile(ae_module *module, lua_State *L) {
  ae_script *script = module->script;
  ae_str source = ae_buf_view(&module->source);
  if (source.len && source.ptr[0] == '\033') {
    ae__fail(script, L, AE_CONTRACT_ERROR, 0,
             "the file is bytecode; a module is Lua source text");
  }
  lua_pushfstring(L, "@%s%s%s.lua", script->ns, *script->ns ? "/" : "",
                  module->name);
  if (luaL_loadbufferx(L, source.ptr ? source.ptr : "", source.len,
                       lua_tostring(L, -1), "t")) {
    lua_error(L);
  }
  lua_remove(L, -2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->env_ref);
  lua_setfenv(L, -2);
}

/* Runs and checks the file; raises. Pushes the module's table. */
static void run_file(ae_module *module, lua_State *L) {
  ae_script *script = module->script;
  compile(module, L);
  ae__call(L, 0, 1);
  check(module, L);
  ae__take(module, L, lua_gettop(L));
  script->shares = true;
  ae__freeze(script, L, -1);
  script->shares = false;
  lua_pushvalue(L, -1);
  module->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int run_nested(lua_State *L) {
  ae_module *module = lua_touserdata(L, 1);
  run_file(module, L);
  return 1;
}

static _Noreturn void cycle(ae_script *script, lua_State *L,
                            const ae_module *module) {
  ae_buf way = {0};
  ae_buf_printf(&way, "%s", module->name);
  for (const ae_module *at = script->at; at && at != module; at = at->parent) {
    ae_buf longer = {0};
    ae_buf_printf(&longer, "%s → %.*s", at->name, (int)way.len, way.ptr);
    ae_buf_move(&way, &longer);
  }
  lua_pushfstring(L, "modules require each other in a circle: %s → ",
                  module->name);
  lua_pushlstring(L, way.ptr, way.len);
  ae_buf_clear(&way);
  lua_concat(L, 2);
  luaL_error(L, "%s", lua_tostring(L, -1));
  abort();
}

/* A module of the folder, wanted by another one. */
static void require_module(ae_module *module, lua_State *L) {
  ae_script *script = module->script;
  if (module->ref) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, module->ref);
    return;
  }
  if (module->started) cycle(script, L, module);
  const ae_module *outer = script->at;
  module->started = true;
  module->parent = outer;
  script->at = module;
  lua_pushcfunction(L, run_nested);
  lua_pushlightuserdata(L, module);
  int failure = lua_pcall(L, 1, 1, 0);
  script->at = outer;
  if (failure) {
    ae__forget(module); /* it is run again by itself, and then reported */
    lua_error(L);
  }
}

static void require_library(ae_script *script, lua_State *L, ae_str name) {
  const ae_embedded *found = ae__stdlib_find(name);
  if (!found) {
    ae_nearest nearest;
    ae_nearest_init(&nearest, name);
    for (const ae_embedded *at = ae__embedded; at->name; at++) {
      ae_nearest_offer(&nearest, ae_str_of(at->name));
    }
    ae_str best = ae_nearest_best(&nearest);
    luaL_error(L, "the standard library has no \"%s\"%s%s%s", name.ptr,
               best.len ? "; did you mean \"" : "", best.len ? best.ptr : "",
               best.len ? "\"?" : "");
    return;
  }
  ae_str file = ae_str_of(found->name + sizeof "aether." - 1);
  lua_pushfstring(L, "@aether/%s.lua", file.ptr);
  if (luaL_loadbufferx(L, found->text, found->len, lua_tostring(L, -1), "t")) {
    lua_error(L);
  }
  lua_remove(L, -2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->library_ref);
  lua_setfenv(L, -2);
  ae__call(L, 0, 1);
  ae__freeze(script, L, -1);
}

void ae__require(ae_script *script, lua_State *L, ae_str name, bool library) {
  if (name.len > 7 && !memcmp(name.ptr, "aether.", 7)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->loaded_ref);
    lua_pushlstring(L, name.ptr, name.len);
    lua_rawget(L, -2);
    bool hidden = !library && ae_str_eq(name, AE_STR("aether.host"));
    if (lua_isnil(L, -1) || hidden) {
      lua_pop(L, 1);
      require_library(script, L, name);
      lua_pushlstring(L, name.ptr, name.len);
      lua_pushvalue(L, -2);
      lua_rawset(L, -4);
    }
    lua_remove(L, -2);
    return;
  }
  ae_module *module = ae_map_get(&script->module_map, name);
  if (module) {
    require_module(module, L);
    return;
  }
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < script->nmodules; i++) {
    ae_nearest_offer(&nearest, ae_str_of(script->modules[i]->name));
  }
  for (const ae_embedded *at = ae__embedded; at->name; at++) {
    ae_nearest_offer(&nearest, ae_str_of(at->name));
  }
  ae_str best = ae_nearest_best(&nearest);
  lua_pushlstring(L, best.ptr ? best.ptr : "", best.len);
  luaL_error(L, "there is no module \"%s\" in this namespace%s%s%s", name.ptr,
             best.len ? "; did you mean \"" : "", lua_tostring(L, -1),
             best.len ? "\"?"
                      : " (and none but these and aether.* can be "
                        "required)");
}

void ae__load_module(ae_script *script, lua_State *L, void *arg) {
  ae_module *module = arg;
  (void)script;
  if (module->ref) return;
  module->started = true;
  module->parent = NULL;
  run_file(module, L);
}
