/* What scripts see: an allow-list, shared tables that are read-only, and
 * nothing that differs between two states. */
#include "script/sandbox.h"

#include <lauxlib.h>

AE__HOST_FUNCTION(host_guard) {
  ae__guard_stack(ae__script_of(L), L);
  return 0;
}

/* -- globals -- */

/* Raises with the names of the table in upvalue 1 as candidates. */
AE__HOST_FUNCTION(unknown_global) {
  ae_str name = {0};
  if (lua_type(L, 2) != LUA_TSTRING) {
    return ae__raise(L, "_G has only strings as keys");
  }
  name.ptr = lua_tolstring(L, 2, &name.len);
  static const struct {
    const char *name, *instead;
  } hints[] = {
      {"os", "; the time is ctx.now"},
      {"io", "; a module has no files"},
      {"load", "; write the code into a module and require it"},
      {"loadstring", "; write the code into a module and require it"},
      {"dofile", "; use require"},
      {"loadfile", "; use require"},
      {"package", "; use require"},
  };
  for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
    if (ae_str_eq(name, ae_str_of(hints[i].name))) {
      return ae__raise(L, "%s is not available in a module%s", hints[i].name,
                       hints[i].instead);
    }
  }
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (lua_pushnil(L); lua_next(L, lua_upvalueindex(1)); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      ae_str candidate;
      candidate.ptr = lua_tolstring(L, -2, &candidate.len);
      ae_nearest_offer(&nearest, candidate);
    }
  }
  ae_str best = ae_nearest_best(&nearest);
  if (best.len) {
    lua_pushlstring(L, best.ptr, best.len);
    return ae__raise(L, "global \"%s\" is not defined; did you mean \"%s\"?",
                     name.ptr, lua_tostring(L, -1));
  }
  return ae__raise(L, "global \"%s\" is not defined (is a local missing?)",
                   name.ptr);
}

AE__HOST_FUNCTION(new_global) {
  const char *name =
      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
  return ae__raise(L, "global \"%s\" is not allowed; use local", name);
}

AE__HOST_FUNCTION(host_require) {
  ae_str name;
  name.ptr = luaL_checklstring(L, 1, &name.len);
  bool library = lua_toboolean(L, lua_upvalueindex(1));
  ae__guard_stack(ae__script_of(L), L);
  ae__require(ae__script_of(L), L, name, library);
  return 1;
}

/* -- the environment -- */

/* What is simplest, and compiled, as Lua. Gets the host's functions and the
 * real globals; answers the tables that scripts and the library see. Argument
 * errors keep the caller's line because the originals are called last. */
static const char prelude[] =
    "local host, real = ...\n"
    "local error, type, select = real.error, real.type, real.select\n"
    "local getmetatable, setmetatable = real.getmetatable, real.setmetatable\n"
    "local rawget, rawset, metatable = real.rawget, real.rawset,\n"
    "  real.debug.getmetatable\n"
    "local guard, plain, texts = host.guard, host.plain, host.texts\n"
    "local locked = { ['read-only'] = true, ['aether.null'] = true }\n"
    "\n"
    "local function check(t, what)\n"
    "  local mark = getmetatable(t)\n"
    "  if mark ~= nil and locked[mark] then\n"
    "    error(what .. ': the table is read-only', 3)\n"
    "  end\n"
    "end\n"
    "\n"
    "local function only(name, words)\n"
    "  local from, to = real[name], {}\n"
    "  for word in real.string.gmatch(words, '%w+') do\n"
    "    to[word] = from[word]\n"
    "  end\n"
    "  return to\n"
    "end\n"
    "\n"
    "local env = only('_G', 'assert error getmetatable ipairs pcall rawequal "
    "'\n"
    "  .. 'select tonumber type unpack xpcall')\n"
    "env._VERSION = real._VERSION\n"
    "env.next, env.print = host.next, host.print\n"
    "env.tostring, env.require = host.tostring, host.require\n"
    "\n"
    "-- The state of a loop is a table of its own, so that the loop can be\n"
    "-- compiled; it must not hold what a read-only table hides.\n"
    "local keys_of = host.keys\n"
    "local function each_item(loop)\n"
    "  local t, n = loop.t, loop.n\n"
    "  for i = loop.at + 1, n do\n"
    "    local v = rawget(t, i)\n"
    "    if v ~= nil then\n"
    "      loop.at = i\n"
    "      return i, v\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local function each_key(loop)\n"
    "  local t, at = loop.t, loop.at\n"
    "  while true do\n"
    "    at = at + 1\n"
    "    local key = loop[at]\n"
    "    if key == nil then return nil end\n"
    "    local v\n"
    "    if loop.frozen then v = t[key] else v = rawget(t, key) end\n"
    "    if v ~= nil then\n"
    "      loop.at = at\n"
    "      return key, v\n"
    "    end\n"
    "  end\n"
    "end\n"
    "function env.pairs(t)\n"
    "  if type(t) ~= 'table' then\n"
    "    error(\"bad argument #1 to 'pairs' (table expected, got \"\n"
    "      .. type(t) .. ')', 2)\n"
    "  end\n"
    "  local keys, frozen = keys_of(t)\n"
    "  if type(keys) == 'number' then\n"
    "    return each_item, { t = t, n = keys, at = 0 }, nil\n"
    "  end\n"
    "  keys.t, keys.at, keys.frozen = t, 0, frozen\n"
    "  return each_key, keys, nil\n"
    "end\n"
    "\n"
    "function env.rawget(t, key)\n"
    "  local v = rawget(t, key)\n"
    "  if v == nil and getmetatable(t) == 'read-only' then\n"
    "    local shadow = rawget(metatable(t), 2)\n"
    "    if shadow then return (rawget(shadow, key)) end\n"
    "  end\n"
    "  return v\n"
    "end\n"
    "\n"
    "function env.rawset(t, key, v)\n"
    "  check(t, 'rawset')\n"
    "  return rawset(t, key, v)\n"
    "end\n"
    "\n"
    "function env.setmetatable(t, mt)\n"
    "  if type(mt) == 'table' and rawget(mt, '__mode') ~= nil then\n"
    "    error('weak tables are not available: what they hold depends on the "
    "'\n"
    "      .. 'garbage collector', 2)\n"
    "  end\n"
    "  check(t, 'setmetatable')\n"
    "  return setmetatable(t, mt)\n"
    "end\n"
    "\n"
    "env.string = only('string', 'byte char find gmatch len lower match rep '\n"
    "  .. 'reverse sub upper')\n"
    "local format, gsub = real.string.format, real.string.gsub\n"
    "function env.string.format(text, ...)\n"
    "  if plain(text, ...) then return format(text, ...) end\n"
    "  return format(text, texts(...))\n"
    "end\n"
    "function env.string.gsub(text, pattern, by, most)\n"
    "  guard()\n"
    "  return gsub(text, pattern, by, most)\n"
    "end\n"
    "\n"
    "env.table = only('table', 'concat maxn')\n"
    "local insert, remove, sort = real.table.insert, real.table.remove,\n"
    "  real.table.sort\n"
    "function env.table.insert(t, ...)\n"
    "  check(t, 'table.insert')\n"
    "  return insert(t, ...)\n"
    "end\n"
    "function env.table.remove(t, ...)\n"
    "  check(t, 'table.remove')\n"
    "  return remove(t, ...)\n"
    "end\n"
    "function env.table.sort(t, less)\n"
    "  check(t, 'table.sort')\n"
    "  guard()\n"
    "  return sort(t, less)\n"
    "end\n"
    "\n"
    "env.math = only('math', 'abs acos asin atan atan2 ceil cos cosh deg exp "
    "'\n"
    "  .. 'floor fmod frexp huge ldexp log log10 max min modf pi pow rad sin "
    "'\n"
    "  .. 'sinh sqrt tan tanh')\n"
    "-- LuaJIT's own give one thing interpreted and another one compiled: of\n"
    "-- NaN, or a zero's sign.\n"
    "local tonumber = real.tonumber\n"
    "local function number(x, at, name)\n"
    "  if type(x) == 'number' then return x end\n"
    "  local n = type(x) == 'string' and tonumber(x)\n"
    "  if type(n) == 'number' then return n end\n"
    "  error(format('bad argument #%d to \\'%s\\' (number expected, got %s)', "
    "at,\n"
    "    name, x == nil and 'no value' or type(x)), 3)\n"
    "end\n"
    "local floor = real.math.floor\n"
    "function env.math.ceil(x) return 0 - floor(-number(x, 1, 'ceil')) end\n"
    "function env.math.min(...)\n"
    "  local least, other = ...\n"
    "  least = number(least, 1, 'min')\n"
    "  local count = select('#', ...)\n"
    "  if count == 2 then\n"
    "    other = number(other, 2, 'min')\n"
    "    if other < least then return other end\n"
    "    return least\n"
    "  end\n"
    "  for i = 2, count do\n"
    "    other = number((select(i, ...)), i, 'min')\n"
    "    if other < least then least = other end\n"
    "  end\n"
    "  return least\n"
    "end\n"
    "function env.math.max(...)\n"
    "  local most, other = ...\n"
    "  most = number(most, 1, 'max')\n"
    "  local count = select('#', ...)\n"
    "  if count == 2 then\n"
    "    other = number(other, 2, 'max')\n"
    "    if other > most then return other end\n"
    "    return most\n"
    "  end\n"
    "  for i = 2, count do\n"
    "    other = number((select(i, ...)), i, 'max')\n"
    "    if other > most then most = other end\n"
    "  end\n"
    "  return most\n"
    "end\n"
    "env.bit = only('bit', 'arshift band bnot bor bswap bxor lshift rol ror '\n"
    "  .. 'rshift tobit tohex')\n"
    "\n"
    "local coroutine = real.coroutine\n"
    "local resume, wrap, yield, running = coroutine.resume, coroutine.wrap,\n"
    "  coroutine.yield, coroutine.running\n"
    "env.coroutine = only('coroutine', 'create running status')\n"
    "function env.coroutine.resume(co, ...)\n"
    "  guard()\n"
    "  return resume(co, ...)\n"
    "end\n"
    "function env.coroutine.wrap(f)\n"
    "  local inner = wrap(f)\n"
    "  return function(...)\n"
    "    guard()\n"
    "    return inner(...)\n"
    "  end\n"
    "end\n"
    "function env.coroutine.yield(...)\n"
    "  if not running() then\n"
    "    error('coroutine.yield: there is no coroutine to leave; handlers '\n"
    "      .. 'answer at once and cannot wait', 2)\n"
    "  end\n"
    "  return yield(...)\n"
    "end\n"
    "\n"
    "-- The library goes through keys in any order, as it does without a "
    "host.\n"
    "local library = { setmetatable = setmetatable, require = host.library }\n"
    "local next = real.next\n"
    "local function uncover(t)\n"
    "  if type(t) == 'table' and getmetatable(t) == 'read-only' then\n"
    "    return rawget(metatable(t), 2) or t\n"
    "  end\n"
    "  return t\n"
    "end\n"
    "function library.pairs(t) return next, uncover(t), nil end\n"
    "function library.next(t, key) return next(uncover(t), key) end\n"
    "return env, library, metatable('')\n";

/* Pushes a table through which `fields` is seen but not changed. */
static void push_cover(lua_State *L, int fields) {
  lua_newtable(L);
  lua_createtable(L, 2, 3);
  lua_pushlightuserdata(L, &ae__frozen_mark);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, fields);
  lua_rawseti(L, -2, 2);
  lua_pushvalue(L, fields);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, new_global);
  lua_setfield(L, -2, "__newindex");
  lua_pushstring(L, AE_READ_ONLY);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
}

void ae__sandbox_open(ae_script *script, lua_State *L) {
  int top = lua_gettop(L);
  ae__text_open(L);
  static const luaL_Reg functions[] = {{"guard", host_guard}, {NULL, NULL}};
  lua_newtable(L);
  int host = lua_gettop(L);
  luaL_setfuncs(L, functions, 0);
  luaL_setfuncs(L, ae__text_functions, 0);
  luaL_setfuncs(L, ae__order_functions, 0);
  lua_pushboolean(L, false);
  lua_pushcclosure(L, host_require, 1);
  lua_setfield(L, -2, "require");
  lua_pushboolean(L, true);
  lua_pushcclosure(L, host_require, 1);
  lua_setfield(L, -2, "library");
  if (luaL_loadbuffer(L, prelude, sizeof prelude - 1, "=host")) lua_error(L);
  lua_pushvalue(L, host);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_call(L, 2, 3);
  int strings = lua_gettop(L), library = strings - 1, env = strings - 2;

  /* aether.log speaks through aether.host, which only the library finds. */
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->loaded_ref);
  lua_createtable(L, 0, 1);
  lua_getfield(L, host, "log");
  lua_setfield(L, -2, "log");
  lua_setfield(L, -2, "aether.host");
  lua_pop(L, 1);

  /* Methods of strings are the sandbox's own. */
  lua_getfield(L, env, "string");
  for (lua_pushnil(L); lua_next(L, strings);) { /* clear it */
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, strings);
  }
  lua_createtable(L, 0, 16);
  for (lua_pushnil(L); lua_next(L, -3);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_setfield(L, strings, "__index");
  lua_pushliteral(L, "aether.string");
  lua_setfield(L, strings, "__metatable");
  lua_pop(L, 1);

  for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
    if (lua_istable(L, -1)) ae__freeze(script, L, lua_gettop(L));
  }
  push_cover(L, env);
  lua_pushvalue(L, -1);
  lua_setfield(L, env, "_G");
  script->env_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  push_cover(L, library);
  script->library_ref = luaL_ref(L, LUA_REGISTRYINDEX);

  lua_newtable(L);
  lua_pushvalue(L, env);
  lua_pushcclosure(L, unknown_global, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, env);
  lua_newtable(L);
  lua_pushvalue(L, env);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, library);
  lua_settop(L, top);
}
