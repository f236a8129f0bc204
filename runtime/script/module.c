/* The modules of a folder: found, run, checked by the standard library's
 * aether.module, and what the host needs of them looked up once. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "script/state.h"
#include "script/stdlib.h"

#define FILE_MAX ((off_t)8 << 20) /* bytes of Lua in one file */

/* -- mistakes -- */

/* Takes over `found`; tells each text once. */
static void report(ae_script *script, ae_error *found) {
  for (size_t i = 0; i < script->nmistakes; i++) {
    if (ae_str_eq(ae_buf_view(&script->mistakes[i]->message),
                  ae_buf_view(&found->message))) {
      ae_error_clear(found);
      return;
    }
  }
  ae_error *kept = ae_zalloc(sizeof *kept);
  ae_error_move(kept, found);
  script->mistakes = ae_realloc(
      script->mistakes, (script->nmistakes + 1) * sizeof *script->mistakes);
  script->mistakes[script->nmistakes++] = kept;
  if (script->mistake) script->mistake(script->data, kept);
}

/* The line of the file that sets the last name of `key` ("snapshot.every"); 0:
 * none is found. */
static int line_of(const ae_module *module, ae_str key) {
  while (key.len && memchr(key.ptr, '.', key.len)) {
    const char *dot = memchr(key.ptr, '.', key.len);
    key.len -= (size_t)(dot + 1 - key.ptr);
    key.ptr = dot + 1;
  }
  int line = 1;
  const char *at = module->source.ptr, *end = at + module->source.len;
  for (const char *start = at; key.len && at + key.len < end; at++) {
    if (*at == '\n') line++;
    if (memcmp(at, key.ptr, key.len)) continue;
    char before = at > start ? at[-1] : ' ';
    const char *rest = at + key.len;
    while (rest < end && *rest == ' ') rest++;
    if (rest < end && (*rest == '=' || *rest == '(') &&
        strchr(" \t\n.,{[\"'", before)) {
      return line;
    }
  }
  return 0;
}

static void contract_error(const ae_script *script, const ae_module *module,
                           int line, ae_str text, ae_error *out) {
  ae_buf place = {0};
  ae__place(script, module, &place);
  if (line > 0) ae_buf_printf(&place, ":%d", line);
  ae_error_set(out, AE_CONTRACT_ERROR, "%.*s: %.*s", (int)place.len, place.ptr,
               AE_FMT(text));
  ae_error_cstr(out, "module", module->name);
  if (line > 0) ae_error_int(out, "line", line);
  ae_buf_clear(&place);
}

/* -- what is looked up of a module -- */

static int by_command(const void *a, const void *b) {
  return strcmp(((const ae_script_command *)a)->name,
                ((const ae_script_command *)b)->name);
}

static int by_type(const void *a, const void *b) {
  return strcmp(((const ae_script_type *)a)->name,
                ((const ae_script_type *)b)->name);
}

ae_script_command *ae__command(const ae_module *module, ae_str name) {
  return ae_map_get(&module->command_map, name);
}

ae_script_type *ae__type(const ae_module *module, ae_str name) {
  return ae_map_get(&module->type_map, name);
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
  lua_getfield(L, table, "decide");
  lua_getfield(L, table, "schema");
  int decide = lua_gettop(L) - 1;
  for (lua_pushnil(L); lua_next(L, decide);) {
    module->commands = ae_realloc(
        module->commands, (module->ncommands + 1) * sizeof *module->commands);
    ae_script_command *command = &module->commands[module->ncommands++];
    *command = (ae_script_command){.name = ae_strdup(lua_tostring(L, -2))};
    command->decide = ae__handler(script, L);
    if (lua_istable(L, decide + 1)) {
      lua_getfield(L, decide + 1, command->name);
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

/* The types that `evolve` (or project, react), `upcast` and `revision` name. */
static void take_types(ae_module *module, lua_State *L, int table,
                       const char *handlers) {
  ae_script *script = module->script;
  int top = lua_gettop(L);
  lua_getfield(L, table, handlers);
  for (lua_pushnil(L); lua_next(L, top + 1);) {
    ae_script_type *type = add_type(module, lua_tostring(L, -2));
    type->evolve = ae__handler(script, L);
  }
  if (module->kind == AE_MODULE_AGGREGATE) {
    lua_getfield(L, table, "upcast");
    if (lua_istable(L, -1)) {
      for (lua_pushnil(L); lua_next(L, top + 2); lua_pop(L, 1)) {
        ae_script_type *type = add_type(module, lua_tostring(L, -2));
        type->steps = true;
      }
    }
    lua_getfield(L, table, "revision");
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
  lua_getfield(L, table, "initial");
  if (lua_isnil(L, -1)) {
    ae_pack_map(&module->initial, 0);
  } else if (!ae__encode(&script->codec, L, -1, "initial", &module->initial)) {
    ae__fail(script, L, AE_CONTRACT_ERROR, line_of(module, AE_STR("initial")),
             "%.*s", (int)script->codec.problem.len, script->codec.problem.ptr);
  }
  lua_getfield(L, table, "snapshot");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "version");
    lua_getfield(L, -2, "every");
    module->shape = (int64_t)lua_tonumber(L, -2);
    module->every = lua_isnil(L, -1) ? 100 : (uint64_t)lua_tonumber(L, -1);
    lua_pop(L, 2);
  }
  lua_getfield(L, table, "retry");
  if (lua_isstring(L, -1)) module->retry = ae_strdup(lua_tostring(L, -1));
  lua_pop(L, 3);
}

static void take(ae_module *module, lua_State *L, int table) {
  if (module->kind == AE_MODULE_AGGREGATE) {
    take_aggregate(module, L, table);
  } else if (module->kind == AE_MODULE_PROJECTION) {
    take_types(module, L, table, "project");
  } else if (module->kind == AE_MODULE_PROCESS) {
    take_types(module, L, table, "react");
  } else if (module->kind == AE_MODULE_POLICY) {
    lua_getfield(L, table, "retry");
    module->policy = ae__handler(module->script, L);
  }
}

/* -- running a module's file -- */

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
    lua_gettable(L, -2);
  }
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, dot ? dot + 1 : key);
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
  lua_call(L, 2, 2);
  size_t count = lua_objlen(L, -1);
  ae_buf first = {0};
  int first_line = 0;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, table + 2, (int)i);
    lua_getfield(L, -1, "message");
    lua_getfield(L, -2, "key");
    const char *text = lua_tostring(L, -2), *key = lua_tostring(L, -1);
    int line = 0;
    if (key && lua_istable(L, table)) {
      line = line_of_function(script, L, table, key);
      if (!line) line = line_of(module, ae_str_of(key));
    }
    ae_error mistake = {0};
    contract_error(script, module, line, ae_str_of(text), &mistake);
    report(script, &mistake);
    ae_error_clear(&mistake);
    if (i == 1) {
      ae_buf_printf(&first, "%s", text);
      first_line = line;
    }
    lua_pop(L, 3);
  }
  if (count > 0) {
    lua_pushlstring(L, first.ptr, first.len);
    ae_buf_clear(&first);
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
  lua_call(L, 0, 1);
  check(module, L);
  take(module, L, lua_gettop(L));
  ae__freeze(script, L, -1);
  lua_pushvalue(L, -1);
  module->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int run_nested(lua_State *L) {
  ae_module *module = lua_touserdata(L, 1);
  run_file(module, L);
  return 1;
}

/* Forgets what a run that failed left behind. */
static void forget(ae_module *module) {
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
    forget(module); /* it is run again by itself, and then reported */
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
  lua_call(L, 0, 1);
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

static void load_alone(ae_script *script, lua_State *L, void *arg) {
  ae_module *module = arg;
  (void)script;
  if (module->ref) return;
  module->started = true;
  module->parent = NULL;
  run_file(module, L);
}

/* -- the folder -- */

static int by_name(const void *a, const void *b) {
  return strcmp((*(ae_module *const *)a)->name, (*(ae_module *const *)b)->name);
}

static bool module_name(ae_str name) {
  if (name.len == 0 || name.len > 64) return false;
  if (name.ptr[0] < 'a' || name.ptr[0] > 'z') return false;
  for (size_t i = 0; i < name.len; i++) {
    char c = name.ptr[i];
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
      return false;
    }
  }
  return true;
}

bool ae__read_file(const char *path, ae_buf *out) {
  /* A pipe by the name of a module must not be waited for. */
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info;
  bool fine = fstat(fd, &info) == 0;
  if (fine && (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX)) {
    errno = S_ISREG(info.st_mode) ? EFBIG : EISDIR;
    fine = false;
  }
  while (fine) {
    ae_buf_reserve(out, 16384);
    ssize_t got = read(fd, out->ptr + out->len, 16384);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    fine = got > 0 && (off_t)out->len <= FILE_MAX;
    if (fine) out->len += (size_t)got;
  }
  int error = errno;
  close(fd);
  errno = error;
  return fine;
}

static void add_file(ae_script *script, const char *entry) {
  ae_str name = ae_str_of(entry);
  if (name.len <= 4 || memcmp(name.ptr + name.len - 4, ".lua", 4) ||
      name.ptr[0] == '.' || ae_str_eq(name, AE_STR("aether.lua"))) {
    return;
  }
  name.len -= 4;
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/%s", script->folder, entry);
  ae_error mistake = {0};
  ae_buf source = {0};
  struct stat info;
  if (stat(ae_buf_cstr(&path), &info) == 0 && S_ISDIR(info.st_mode)) {
    ae_buf_clear(&path);
    return;
  }
  if (!module_name(name)) {
    ae_error_set(&mistake, AE_CONTRACT_ERROR,
                 "%s%s%s: a module's file name is snake_case, as in "
                 "bank_account.lua",
                 script->ns, *script->ns ? "/" : "", entry);
    ae_error_str(&mistake, "module", name);
    report(script, &mistake);
  } else if (!ae__read_file(ae_buf_cstr(&path), &source)) {
    ae_error_set(&mistake, AE_CONTRACT_ERROR, "%s%s%s: cannot be read: %s",
                 script->ns, *script->ns ? "/" : "", entry, strerror(errno));
    ae_error_str(&mistake, "module", name);
    report(script, &mistake);
    ae_buf_clear(&source);
  } else {
    ae_module *module = ae_zalloc(sizeof *module);
    module->script = script;
    module->name = ae_strdup(entry);
    module->name[name.len] = 0;
    module->file = ae_strdup(ae_buf_cstr(&path));
    module->source = source;
    script->modules = ae_realloc(
        script->modules, (script->nmodules + 1) * sizeof *script->modules);
    script->modules[script->nmodules++] = module;
  }
  ae_error_clear(&mistake);
  ae_buf_clear(&path);
}

static ae_status find_files(ae_script *script, ae_error *err) {
  DIR *dir = opendir(script->folder);
  if (!dir) {
    return ae_error_set(err, AE_CONTRACT_ERROR,
                        "namespace %s: cannot read the folder %s: %s",
                        script->ns, script->folder, strerror(errno));
  }
  for (struct dirent *at; (at = readdir(dir));) add_file(script, at->d_name);
  closedir(dir);
  if (script->nmodules == 0 && script->nmistakes == 0) {
    return ae_error_set(err, AE_CONTRACT_ERROR,
                        "namespace %s: there is no module (*.lua) in %s",
                        script->ns, script->folder);
  }
  if (script->nmodules == 0) return AE_OK;
  qsort(script->modules, script->nmodules, sizeof *script->modules, by_name);
  ae_buf all = {0};
  for (size_t i = 0; i < script->nmodules; i++) {
    ae_module *module = script->modules[i];
    ae_map_put(&script->module_map, ae_str_of(module->name), module);
    ae_pack_cstr(&all, module->name);
    ae_pack_bin(&all, ae_buf_view(&module->source));
  }
  snprintf(script->revision, sizeof script->revision, "%016llx",
           (unsigned long long)ae_hash(ae_buf_view(&all)));
  ae_buf_clear(&all);
  return AE_OK;
}

/* -- what can only be checked once all are there -- */

static void take_policies(ae_script *script, lua_State *L, void *arg) {
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

const ae_handler *ae__policy(ae_script *script, ae_str name,
                             const ae_module **module, ae_error *err) {
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
  const ae_module *module;
  return ae__policy(script, name, &module, err) ? AE_OK : AE_CONTRACT_ERROR;
}

static void check_from(ae_module *module, const char *name) {
  ae_script *script = module->script;
  if (!strcmp(name, "*")) return;
  ae_module *found = ae_map_get(&script->module_map, ae_str_of(name));
  if (found && (found->kind == AE_MODULE_AGGREGATE ||
                found->kind == AE_MODULE_PROCESS)) {
    return;
  }
  ae_nearest nearest;
  ae_nearest_init(&nearest, ae_str_of(name));
  for (size_t i = 0; i < script->nmodules; i++) {
    if (script->modules[i]->kind == AE_MODULE_AGGREGATE) {
      ae_nearest_offer(&nearest, ae_str_of(script->modules[i]->name));
    }
  }
  ae_str best = ae_nearest_best(&nearest);
  ae_buf text = {0};
  ae_buf_printf(&text, "from names \"%s\", which is no aggregate here", name);
  if (best.len) {
    ae_buf_printf(&text, "; did you mean \"%.*s\"?", AE_FMT(best));
  }
  ae_error mistake = {0};
  contract_error(script, module, line_of(module, AE_STR("from")),
                 ae_buf_view(&text), &mistake);
  report(script, &mistake);
  ae_error_clear(&mistake);
  ae_buf_clear(&text);
}

static void check_sources(ae_script *script, lua_State *L, void *arg) {
  ae_module *module = arg;
  (void)script;
  lua_rawgeti(L, LUA_REGISTRYINDEX, module->ref);
  lua_getfield(L, -1, "from");
  if (lua_isstring(L, -1)) {
    check_from(module, lua_tostring(L, -1));
    return;
  }
  for (size_t i = 1, n = lua_objlen(L, -1); i <= n; i++) {
    lua_rawgeti(L, -1, (int)i);
    check_from(module, lua_tostring(L, -1));
    lua_pop(L, 1);
  }
}

static void check_together(ae_module *module) {
  ae_script *script = module->script;
  if (module->kind == AE_MODULE_PROJECTION ||
      module->kind == AE_MODULE_PROCESS) {
    ae_error mistake = {0};
    if (ae__run(script, module, check_sources, module, &mistake) != AE_OK) {
      report(script, &mistake);
    }
    ae_error_clear(&mistake);
  }
  ae_error why = {0};
  const ae_module *policy;
  if (module->retry &&
      !ae__policy(script, ae_str_of(module->retry), &policy, &why)) {
    ae_error mistake = {0};
    contract_error(script, module, line_of(module, AE_STR("retry")),
                   ae_buf_view(&why.message), &mistake);
    report(script, &mistake);
    ae_error_clear(&mistake);
  }
  ae_error_clear(&why);
}

static ae_status load_all(ae_script *script, ae_error *err) {
  ae_status status = find_files(script, err);
  if (status == AE_OK) status = ae__run(script, NULL, take_policies, NULL, err);
  if (status != AE_OK) return status;
  for (size_t i = 0; i < script->nmodules; i++) {
    ae_module *module = script->modules[i];
    if (module->ref) continue;
    ae_error mistake = {0};
    if (ae__run(script, module, load_alone, module, &mistake) != AE_OK) {
      forget(module);
      report(script, &mistake);
    }
    ae_error_clear(&mistake);
  }
  for (size_t i = 0; i < script->nmodules; i++) {
    if (script->modules[i]->ref) check_together(script->modules[i]);
  }
  if (script->nmistakes == 0) return AE_OK;
  const ae_error *first = script->mistakes[0];
  if (err) {
    ae_error_set(err, first->status, "%s", ae_error_text(first));
    ae_buf_str(&err->facts, ae_buf_view(&first->facts));
    err->nfacts = first->nfacts;
  }
  return first->status;
}

ae_status ae_script_open(const ae_script_options *options, ae_script **out,
                         ae_error *err) {
  *out = NULL;
  ae_script *script = ae_zalloc(sizeof *script);
  script->ns = ae_zalloc(options->ns.len + 1);
  if (options->ns.len) memcpy(script->ns, options->ns.ptr, options->ns.len);
  script->folder = ae_strdup(options->folder);
  script->strict = options->strict;
  script->log = options->log;
  script->mistake = options->mistake;
  script->data = options->data;
  ae_status status = ae__state_open(script, options->memory_limit, err);
  if (status == AE_OK) status = load_all(script, err);
  if (status != AE_OK) {
    ae_script_close(script);
    return status;
  }
  *out = script;
  return AE_OK;
}

void ae_script_close(ae_script *script) {
  if (!script) return;
  ae__state_close(script);
  for (size_t i = 0; i < script->nmodules; i++) {
    ae_module *module = script->modules[i];
    forget(module);
    ae_buf_clear(&module->source);
    ae_free(module->name);
    ae_free(module->file);
    ae_free(module);
  }
  for (size_t i = 0; i < script->npolicies; i++) {
    ae_free(script->policies[i].name);
  }
  for (size_t i = 0; i < script->nmistakes; i++) {
    ae_error_clear(script->mistakes[i]);
    ae_free(script->mistakes[i]);
  }
  ae_map_clear(&script->module_map);
  ae_free(script->policies);
  ae_free(script->mistakes);
  ae_free(script->modules);
  ae_free(script->folder);
  ae_free(script->ns);
  ae_free(script);
}

/* -- asking -- */

ae_str ae_script_revision(const ae_script *script) {
  return ae_str_of(script->revision);
}

ae_module *ae_script_module_at(ae_script *script, size_t index) {
  return index < script->nmodules ? script->modules[index] : NULL;
}

ae_module *ae_script_find(ae_script *script, ae_str name) {
  return ae_map_get(&script->module_map, name);
}

ae_status ae_script_aggregate(ae_script *script, ae_str name, ae_module **out,
                              ae_error *err) {
  ae_module *module = ae_script_find(script, name);
  if (module && module->kind == AE_MODULE_AGGREGATE) {
    *out = module;
    return AE_OK;
  }
  *out = NULL;
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < script->nmodules; i++) {
    if (script->modules[i]->kind == AE_MODULE_AGGREGATE) {
      ae_nearest_offer(&nearest, ae_str_of(script->modules[i]->name));
    }
  }
  ae_str best = ae_nearest_best(&nearest);
  if (module) {
    ae_error_set(err, AE_UNKNOWN_TYPE,
                 "namespace %s has no aggregate \"%.*s\": that module is a %s",
                 script->ns, AE_FMT(name), ae_module_kind_word(module->kind));
  } else {
    ae_error_set(err, AE_UNKNOWN_TYPE, "namespace %s has no aggregate \"%.*s\"",
                 script->ns, AE_FMT(name));
  }
  if (best.len) ae_error_add(err, "; did you mean \"%.*s\"?", AE_FMT(best));
  ae_error_str(err, "name", name);
  if (best.len) ae_error_str(err, "nearest", best);
  return AE_UNKNOWN_TYPE;
}

ae_module_kind ae_module_kind_of(const ae_module *module) {
  return module->kind;
}

const char *ae_module_kind_word(ae_module_kind kind) {
  static const char *const words[] = {"library", "aggregate", "projection",
                                      "process", "policy"};
  return words[kind];
}

ae_str ae_module_name(const ae_module *module) {
  return ae_str_of(module->name);
}

const char *ae_module_file(const ae_module *module) {
  return module->file;
}

int64_t ae_module_snapshot_shape(const ae_module *module) {
  return module->shape;
}

uint64_t ae_module_snapshot_every(const ae_module *module) {
  return module->every;
}

ae_str ae_module_retry(const ae_module *module) {
  return module->retry ? ae_str_of(module->retry) : (ae_str){0};
}

const char *ae_module_command_at(const ae_module *module, size_t index) {
  return index < module->ncommands ? module->commands[index].name : NULL;
}

const char *ae_module_event_at(const ae_module *module, size_t index) {
  return index < module->nevents ? module->events[index] : NULL;
}
