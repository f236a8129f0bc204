/* busted inside this process: a plain Lua state, whose `require` finds the
 * standard library that is embedded here. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <unistd.h>

#include "script/script.h"
#include "script/stdlib.h"

#define STATUS_FAILED 3 /* it could not be run at all */

/* Runs the runner in a coroutine, so that os.exit leaves it by a yield: the
 * process goes on, and no error passes a spec that would catch it. */
static const char driver[] =
    "local status\n"
    "local runner = coroutine.create(function()\n"
    "  local run = require('busted.runner')\n"
    "  run({ standalone = false })\n"
    "end)\n"
    "os.exit = function(code)\n"
    "  status = code == nil and 0 or code == true and 0\n"
    "    or code == false and 1 or tonumber(code) or 1\n"
    "  if coroutine.running() == runner then coroutine.yield() end\n"
    "  error('os.exit in a coroutine', 0)\n"
    "end\n"
    "local ok, problem = coroutine.resume(runner)\n"
    "io.stdout:flush()\n"
    "if status then return status end\n"
    "if ok then return 0 end\n"
    "return nil, type(problem) == 'string'\n"
    "  and debug.traceback(runner, problem) or 'an error without a text'\n";

static int search_embedded(lua_State *L) {
  ae_str name;
  name.ptr = luaL_checklstring(L, 1, &name.len);
  const ae_embedded *found = ae__stdlib_find(name);
  if (!found) {
    lua_pushfstring(L, "\n\tno module '%s' in the binary", name.ptr);
    return 1;
  }
  lua_pushfstring(L, "@aether/%s.lua", found->name + sizeof "aether." - 1);
  if (luaL_loadbuffer(L, found->text, found->len, lua_tostring(L, -1))) {
    return lua_error(L);
  }
  return 1;
}

typedef struct busted_run {
  int argc;
  char **argv;
  int status;
  bool missing; /* busted is not there */
} busted_run;

static int run_busted(lua_State *L) {
  busted_run *run = lua_touserdata(L, 1);
  luaL_openlibs(L);
  /* Before package.path, so that the library is this binary's own. */
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaders");
  for (int at = (int)lua_objlen(L, -1); at >= 2; at--) {
    lua_rawgeti(L, -1, at);
    lua_rawseti(L, -2, at + 1);
  }
  lua_pushcfunction(L, search_embedded);
  lua_rawseti(L, -2, 2);

  lua_newtable(L);
  lua_pushliteral(L, "busted");
  lua_rawseti(L, -2, 0);
  lua_pushliteral(L, "--ignore-lua"); /* this is LuaJIT already */
  lua_rawseti(L, -2, 1);
  for (int i = 0; i < run->argc; i++) {
    lua_pushstring(L, run->argv[i]);
    lua_rawseti(L, -2, i + 2);
  }
  lua_setglobal(L, "arg");

  if (luaL_loadstring(L, "return (pcall(require, 'busted.runner'))")) {
    return lua_error(L);
  }
  lua_call(L, 0, 1);
  run->missing = !lua_toboolean(L, -1);
  if (run->missing) return 0;
  if (luaL_loadbuffer(L, driver, sizeof driver - 1, "=busted")) {
    return lua_error(L);
  }
  lua_call(L, 0, 2);
  if (lua_isnil(L, -2)) return lua_error(L);
  run->status = (int)lua_tonumber(L, -2);
  return 0;
}

static int in_folder(int argc, char **argv, ae_error *err) {
  lua_State *L = luaL_newstate();
  if (!L) {
    ae_error_set(err, AE_SCRIPT_MEMORY, "there is no memory for a Lua state");
    return STATUS_FAILED;
  }
  busted_run run = {.argc = argc, .argv = argv};
  lua_pushcfunction(L, run_busted);
  lua_pushlightuserdata(L, &run);
  if (lua_pcall(L, 1, 0, 0)) {
    const char *text = lua_tostring(L, -1);
    ae_error_set(err, AE_SCRIPT_ERROR, "busted failed: %s", text ? text : "?");
    run.status = STATUS_FAILED;
  } else if (run.missing) {
    ae_error_set(err, AE_NOT_FOUND,
                 "busted is not installed for Lua 5.1: apt-get install "
                 "lua-busted, or luarocks --lua-version 5.1 install busted");
    run.status = STATUS_FAILED;
  }
  lua_close(L);
  fflush(NULL);
  return run.status;
}

int ae_script_busted(const char *app_folder, int argc, char **argv,
                     ae_error *err) {
  int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (home < 0 || chdir(app_folder)) {
    ae_error_set(err, AE_NOT_FOUND, "cannot enter the folder %s: %s",
                 app_folder, strerror(errno));
    if (home >= 0) close(home);
    return STATUS_FAILED;
  }
  int status = in_folder(argc, argv, err);
  if (fchdir(home) && err && err->status == AE_OK) {
    ae_error_set(err, AE_NOT_FOUND, "cannot go back to the folder before: %s",
                 strerror(errno));
  }
  close(home);
  return status;
}
