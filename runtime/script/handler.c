/* What the host looks up once of a module that keeps its contract: its
 * functions by command and event, and what it says of itself. */
#include <lauxlib.h>
#include <stdlib.h>

#include "base/mem.h"
#include "script/load.h"

static int by_command(const void *a, const void *b) {
  return strcmp(((const ae_script_command *)a)->name,
                ((const ae_script_command *)b)->name);
}

static int by_type(const void *a, const void *b) {
  return strcmp(((const ae_script_type *)a)->name,
                ((const ae_script_type *)b)->name);
}

ae_handler ae__handler(ae_script *script, lua_State *L) {
  ae_handler handler = {0};
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->getinfo_ref);
  lua_pushvalue(L, -2);
  lua_pushliteral(L, "uS");
  lua_call(L, 2, 1);
  lua_getfield(L, -1, "linedefined");
  lua_getfield(L, -2, "nparams");
  lua_getfield(L, -3, "isvararg");
  handler.line = (int)lua_tonumber(L, -3);
  handler.args = lua_toboolean(L, -1) ? 99 : (int)lua_tonumber(L, -2);
  lua_pop(L, 4);
  handler.ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return handler;
}

static void take_commands(ae_module *module, lua_State *L, int table) {
  ae_script *script = module->script;
  ae__getfield(L, table, "decide");
  ae__getfield(L, table, "schema");
  int decide = lua_gettop(L) - 1;
  for (lua_pushnil(L); lua_next(L, decide);) {
    module->commands = ae_realloc(
        module->commands, (module->ncommands + 1) * sizeof *module->commands);
    ae_script_command *command = &module->commands[module->ncommands++];
    *command = (ae_script_command){.name = ae_strdup(lua_tostring(L, -2))};
    command->decide = ae__handler(script, L);
    if (lua_istable(L, decide + 1)) {
      ae__getfield(L, decide + 1, command->name);
      if (lua_istable(L, -1)) {
        command->schema = luaL_ref(L, LUA_REGISTRYINDEX);
      } else {
        lua_pop(L, 1);
      }
    }
  }
  lua_settop(L, decide - 1);
  if (module->ncommands == 0) return;
  qsort(module->commands, module->ncommands, sizeof *module->commands,
        by_command);
  for (size_t i = 0; i < module->ncommands; i++) {
    ae_map_put(&module->command_map, ae_str_of(module->commands[i].name),
               &module->commands[i]);
  }
}

static ae_script_type *add_type(ae_module *module, const char *name) {
  for (size_t i = 0; i < module->ntypes; i++) {
    if (!strcmp(module->types[i].name, name)) return &module->types[i];
  }
  module->types =
      ae_realloc(module->types, (module->ntypes + 1) * sizeof *module->types);
  ae_script_type *type = &module->types[module->ntypes++];
  *type = (ae_script_type){.name = ae_strdup(name), .revision = 1};
  return type;
}

/* Of the table of steps on top of the stack, which has no holes. */
static uint64_t last_step(lua_State *L) {
  uint64_t last = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    uint64_t revision = (uint64_t)lua_tonumber(L, -2);
    if (revision > last) last = revision;
  }
  return last;
}

/* The types that `evolve` (or project, react), `upcast` and `revision` name. */
static void take_types(ae_module *module, lua_State *L, int table,
                       const char *handlers) {
  ae_script *script = module->script;
  int top = lua_gettop(L);
  ae__getfield(L, table, handlers);
  for (lua_pushnil(L); lua_next(L, top + 1);) {
    ae_script_type *type = add_type(module, lua_tostring(L, -2));
    type->evolve = ae__handler(script, L);
  }
  if (module->kind == AE_MODULE_AGGREGATE) {
    ae__getfield(L, table, "upcast");
    if (lua_istable(L, -1)) {
      for (lua_pushnil(L); lua_next(L, top + 2); lua_pop(L, 1)) {
        ae_script_type *type = add_type(module, lua_tostring(L, -2));
        type->last_step = last_step(L);
      }
    }
    ae__getfield(L, table, "revision");
    if (lua_istable(L, -1)) {
      for (lua_pushnil(L); lua_next(L, top + 3); lua_pop(L, 1)) {
        ae_script_type *type = add_type(module, lua_tostring(L, -2));
        type->revision = (uint64_t)lua_tonumber(L, -1);
      }
    }
  }
  lua_settop(L, top);
  if (module->ntypes == 0) return;
  qsort(module->types, module->ntypes, sizeof *module->types, by_type);
  module->events = ae_zalloc((module->ntypes + 1) * sizeof *module->events);
  for (size_t i = 0; i < module->ntypes; i++) {
    ae_script_type *type = &module->types[i];
    ae_map_put(&module->type_map, ae_str_of(type->name), type);
    if (type->evolve.ref) module->events[module->nevents++] = type->name;
    lua_pushstring(L, type->name);
    type->interned = lua_tostring(L, -1);
    type->name_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    ae_pack_array(&type->head, 4);
    ae_pack_cstr(&type->head, type->name);
    ae_pack_uint(&type->head, type->revision);
  }
}

static void take_aggregate(ae_module *module, lua_State *L, int table) {
  ae_script *script = module->script;
  take_commands(module, L, table);
  take_types(module, L, table, "evolve");
  ae__getfield(L, table, "initial");
  if (lua_isnil(L, -1)) {
    ae_pack_map(&module->initial, 0);
  } else if (!ae__encode(&script->codec, L, -1, "initial", &module->initial)) {
    ae__fail(script, L, AE_CONTRACT_ERROR,
             ae__line_of(module, AE_STR("initial")), "%.*s",
             (int)script->codec.problem.len, script->codec.problem.ptr);
  }
  ae__getfield(L, table, "snapshot");
  if (lua_istable(L, -1)) {
    ae__getfield(L, -1, "version");
    ae__getfield(L, -2, "every");
    module->shape = (int64_t)lua_tonumber(L, -2);
    module->every = lua_isnil(L, -1) ? 100 : (uint64_t)lua_tonumber(L, -1);
    lua_pop(L, 2);
  }
  ae__getfield(L, table, "retry");
  if (lua_isstring(L, -1)) module->retry = ae_strdup(lua_tostring(L, -1));
  lua_pop(L, 3);
}

void ae__take(ae_module *module, lua_State *L, int table) {
  if (module->kind == AE_MODULE_AGGREGATE) {
    take_aggregate(module, L, table);
  } else if (module->kind == AE_MODULE_PROJECTION) {
    take_types(module, L, table, "project");
  } else if (module->kind == AE_MODULE_PROCESS) {
    take_types(module, L, table, "react");
  } else if (module->kind == AE_MODULE_POLICY) {
    ae__getfield(L, table, "retry");
    module->policy = ae__handler(module->script, L);
  }
}

/* Forgets what a run that failed left behind. */
void ae__forget(ae_module *module) {
  for (size_t i = 0; i < module->ncommands; i++) {
    ae_free(module->commands[i].name);
  }
  for (size_t i = 0; i < module->ntypes; i++) {
    ae_free(module->types[i].name);
    ae_buf_clear(&module->types[i].head);
  }
  ae_free(module->commands);
  ae_free(module->types);
  ae_free(module->events);
  module->commands = NULL;
  module->types = NULL;
  module->events = NULL;
  module->ncommands = module->ntypes = module->nevents = 0;
  ae_map_clear(&module->command_map);
  ae_map_clear(&module->type_map);
  ae_free(module->retry);
  module->retry = NULL;
  ae_buf_clear(&module->initial);
  module->ref = 0;
  module->started = false;
}
