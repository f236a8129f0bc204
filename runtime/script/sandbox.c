/* What scripts see: an allow-list, shared tables that are read-only, and
 * nothing that differs between two states (order of keys, addresses). */
#include <lauxlib.h>
#include <stdlib.h>

#include "script/state.h"

static const char READ_ONLY[] = "read-only";

static ae_script *script_of(lua_State *L) {
  return ae__script_of(L);
}

/* -- text -- */

static int tostring_ref_key;

void ae__tostring(lua_State *L, int index) {
  if (index < 0) index += lua_gettop(L) + 1;
  if (luaL_callmeta(L, index, "__tostring")) {
    if (!lua_isstring(L, -1)) {
      luaL_error(L, "__tostring must return a string, got %s",
                 luaL_typename(L, -1));
    }
    return;
  }
  switch (lua_type(L, index)) {
    case LUA_TTABLE:
    case LUA_TFUNCTION:
    case LUA_TUSERDATA:
    case LUA_TLIGHTUSERDATA:
    case LUA_TTHREAD:
      lua_pushstring(L, luaL_typename(L, index));
      return;
    default:
      lua_pushlightuserdata(L, &tostring_ref_key);
      lua_rawget(L, LUA_REGISTRYINDEX);
      lua_pushvalue(L, index);
      lua_call(L, 1, 1);
  }
}

static int host_tostring(lua_State *L) {
  luaL_checkany(L, 1);
  ae__guard_stack(script_of(L), L);
  ae__tostring(L, 1);
  return 1;
}

/* Whether string.format can take its arguments as they are. */
static int host_plain(lua_State *L) {
  const char *format = lua_tostring(L, 1);
  for (const char *at = format; at && (at = strchr(at, '%'));) {
    at++;
    if (*at == '%') {
      at++;
      continue;
    }
    at += strspn(at, "-+ #0123456789.");
    if (*at == 'p') {
      return luaL_error(L,
                        "string.format: %%p is not available, as addresses "
                        "differ from run to run");
    }
  }
  bool plain = true;
  for (int i = lua_gettop(L); i > 1 && plain; i--) {
    int type = lua_type(L, i);
    plain = type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TNIL ||
            type == LUA_TBOOLEAN || type == LUA_TCDATA;
  }
  lua_pushboolean(L, plain);
  return 1;
}

/* Its arguments, with text for what has addresses. */
static int host_texts(lua_State *L) {
  ae__guard_stack(script_of(L), L);
  int top = lua_gettop(L);
  for (int i = 1; i <= top; i++) {
    int type = lua_type(L, i);
    if (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA ||
        type == LUA_TTHREAD) {
      ae__tostring(L, i);
      lua_replace(L, i);
    }
  }
  return top;
}

static int host_guard(lua_State *L) {
  ae__guard_stack(script_of(L), L);
  return 0;
}

/* -- the log -- */

static void log_text(ae_script *script, lua_State *L, ae_log_level level,
                     ae_str text) {
  ae_str module = {0};
  lua_Debug ar;
  char name[LUA_IDSIZE];
  for (int at = 1; lua_getstack(L, at, &ar); at++) {
    if (!lua_getinfo(L, "S", &ar) || ar.source[0] != '@' ||
        !strncmp(ar.source, "@aether/", 8)) {
      continue;
    }
    const char *slash = strrchr(ar.short_src, '/');
    strcpy(name, slash ? slash + 1 : ar.short_src);
    char *dot = strrchr(name, '.');
    if (dot) *dot = 0;
    module = ae_str_of(name);
    break;
  }
  if (script->log) {
    script->log(script->data, level, module, text);
    return;
  }
  ae_buf message = {0};
  ae_buf_str(&message, text);
  ae_buf where = {0};
  ae_buf_printf(&where, "%s/%.*s", script->ns, AE_FMT(module));
  ae_log(level, ae_buf_cstr(&message), "module", ae_buf_cstr(&where), NULL);
  ae_buf_clear(&message);
  ae_buf_clear(&where);
}

static int host_print(lua_State *L) {
  ae__guard_stack(script_of(L), L);
  int top = lua_gettop(L);
  luaL_checkstack(L, 2 * top + 2, "too many values to print");
  for (int i = 1; i <= top; i++) {
    if (i > 1) lua_pushliteral(L, "\t");
    ae__tostring(L, i);
  }
  if (top == 0) {
    lua_pushliteral(L, "");
  } else {
    lua_concat(L, 2 * top - 1);
  }
  ae_str text;
  text.ptr = lua_tolstring(L, -1, &text.len);
  log_text(script_of(L), L, AE_LOG_INFO, text);
  return 0;
}

static int host_log(lua_State *L) {
  static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
  int level = luaL_checkoption(L, 1, "info", levels);
  ae_str text;
  text.ptr = luaL_checklstring(L, 2, &text.len);
  log_text(script_of(L), L, (ae_log_level)level, text);
  return 0;
}

/* -- pairs and next in the order of keys -- */

typedef struct key {
  int rank; /* numbers, strings, booleans */
  double number;
  const char *text;
  size_t len;
} key;

/* `level`: of the code to blame. */
static void take_key(lua_State *L, int index, key *out, int level) {
  int type = lua_type(L, index);
  *out = (key){0};
  if (type == LUA_TNUMBER) {
    out->number = lua_tonumber(L, index);
  } else if (type == LUA_TSTRING) {
    out->rank = 1;
    out->text = lua_tolstring(L, index, &out->len);
  } else if (type == LUA_TBOOLEAN) {
    out->rank = 2;
    out->number = lua_toboolean(L, index);
  } else {
    luaL_where(L, level);
    lua_pushfstring(L,
                    "pairs: the table has a key that is a %s, and such keys "
                    "have no order: use numbers or strings as keys",
                    type == LUA_TCDATA ? "cdata" : lua_typename(L, type));
    lua_concat(L, 2);
    lua_error(L);
  }
}

static int compare(const void *left, const void *right) {
  const key *a = left, *b = right;
  if (a->rank != b->rank) return a->rank - b->rank;
  if (a->rank != 1) return a->number < b->number ? -1 : a->number > b->number;
  size_t len = a->len < b->len ? a->len : b->len;
  int order = memcmp(a->text, b->text, len);
  if (order) return order;
  return a->len < b->len ? -1 : a->len > b->len;
}

static void push_key(lua_State *L, const key *k) {
  if (k->rank == 0) {
    lua_pushnumber(L, k->number);
  } else if (k->rank == 1) {
    lua_pushlstring(L, k->text, k->len);
  } else {
    lua_pushboolean(L, k->number != 0);
  }
}

/* Replaces a read-only table at `index` by the one that holds its fields. */
static void uncover(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return;
  if (ae__is_frozen(L)) {
    lua_rawgeti(L, -1, 2);
    if (lua_istable(L, -1)) lua_replace(L, index);
  }
  lua_settop(L, index);
}

#define FEW 32 /* keys that are sorted where they lie */

static void sort_few(key *keys, int *slots, int count) {
  for (int i = 1; i < count; i++) {
    key k = keys[i];
    int slot = slots[i], at = i;
    for (; at > 0 && compare(&keys[at - 1], &k) > 0; at--) {
      keys[at] = keys[at - 1];
      slots[at] = slots[at - 1];
    }
    keys[at] = k;
    slots[at] = slot;
  }
}

/* Leaves the keys of the table at 2, in order, in the list at the top. */
static void list_keys(lua_State *L, int count) {
  if (count <= FEW) {
    key keys[FEW];
    int slots[FEW], at = 0;
    luaL_checkstack(L, FEW + 8, "too deep");
    for (lua_pushnil(L); lua_next(L, 2);) {
      take_key(L, -2, &keys[at], 2);
      lua_pop(L, 1);
      slots[at++] = lua_gettop(L);
      lua_pushvalue(L, -1);
    }
    sort_few(keys, slots, count);
    lua_createtable(L, count, 3);
    for (at = 0; at < count; at++) {
      lua_pushvalue(L, slots[at]);
      lua_rawseti(L, -2, at + 1);
    }
    return;
  }
  int at = 0;
  key *keys = lua_newuserdata(L, (size_t)count * sizeof *keys);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    take_key(L, -2, &keys[at++], 2);
  }
  qsort(keys, (size_t)count, sizeof *keys, compare);
  lua_createtable(L, count, 3);
  for (at = 0; at < count; at++) {
    push_key(L, &keys[at]);
    lua_rawseti(L, -2, at + 1);
  }
}

/* What pairs goes through: a number where the keys are 1..n; else a list of
 * the keys in order. For read-only tables also true. */
static int host_keys(lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  uncover(L, 2);
  size_t count = 0, n = lua_objlen(L, 2);
  bool sequence = true;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    count++;
    if (sequence) {
      double k = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
      sequence = k >= 1 && k <= (double)n && k == (double)(size_t)k;
    }
  }
  if (sequence && count == n) {
    lua_pushnumber(L, (double)n);
    return 1;
  }
  list_keys(L, (int)count);
  lua_pushboolean(L, !lua_rawequal(L, 1, 2));
  return 2;
}

/* The least key above the given one: stateless, so a step walks the table. */
static int host_next(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  uncover(L, 3);
  key after, best = {0}, k;
  bool found = false, first = lua_isnil(L, 2);
  if (!first) take_key(L, 2, &after, 1);
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    take_key(L, -2, &k, 1);
    if ((first || compare(&k, &after) > 0) &&
        (!found || compare(&k, &best) < 0)) {
      best = k;
      found = true;
    }
  }
  if (!found) {
    lua_pushnil(L);
    return 1;
  }
  push_key(L, &best);
  lua_pushvalue(L, -1);
  lua_rawget(L, 3);
  return 2;
}

/* -- globals -- */

/* Raises with the names of the table in upvalue 1 as candidates. */
static int unknown_global(lua_State *L) {
  ae_str name = {0};
  if (lua_type(L, 2) != LUA_TSTRING) {
    return luaL_error(L, "_G has only strings as keys");
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
      return luaL_error(L, "%s is not available in a module%s", hints[i].name,
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
    return luaL_error(L, "global \"%s\" is not defined; did you mean \"%s\"?",
                      name.ptr, lua_tostring(L, -1));
  }
  return luaL_error(L, "global \"%s\" is not defined (is a local missing?)",
                    name.ptr);
}

static int new_global(lua_State *L) {
  const char *name =
      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
  return luaL_error(L, "global \"%s\" is not allowed; use local", name);
}

static int read_only(lua_State *L) {
  const char *name =
      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
  return luaL_error(
      L,
      "\"%s\" cannot be set: the table is read-only (modules are, "
      "after they are loaded; keep what changes in state)",
      name);
}

static int host_require(lua_State *L) {
  ae_str name;
  name.ptr = luaL_checklstring(L, 1, &name.len);
  bool library = lua_toboolean(L, lua_upvalueindex(1));
  ae__guard_stack(script_of(L), L);
  ae__require(script_of(L), L, name, library);
  return 1;
}

/* -- read-only tables -- */

static bool is_metafield(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TSTRING) return false;
  const char *text = lua_tostring(L, index);
  return text[0] == '_' && text[1] == '_';
}

/* Whether the metatable on top of the stack is that of aether.value's null,
 * which guards itself. */
static bool is_null(lua_State *L) {
  lua_pushliteral(L, "__metatable");
  lua_rawget(L, -2);
  const char *mark = lua_tostring(L, -1);
  bool null = mark && !strcmp(mark, "aether.null");
  lua_pop(L, 1);
  return null;
}

static void freeze(ae_script *script, lua_State *L, int index, int depth);

static void freeze_members(ae_script *script, lua_State *L, int index,
                           int depth) {
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_istable(L, -1)) freeze(script, L, lua_gettop(L), depth + 1);
  }
}

static void freeze(ae_script *script, lua_State *L, int index, int depth) {
  if (depth > AE_PACK_DEPTH) return;
  luaL_checkstack(L, 12, "the module's tables are too deep");
  int top = lua_gettop(L);
  bool marked = false, object = lua_getmetatable(L, index);
  int old = lua_gettop(L);
  if (object) {
    const void *mt = lua_topointer(L, old);
    marked = script->codec.array_ptr && mt == script->codec.array_ptr;
    if (ae__is_frozen(L) || is_null(L) ||
        (script->event_ptr && mt == script->event_ptr)) {
      lua_settop(L, top);
      return;
    }
  }
  lua_createtable(L, 3, 4); /* the new metatable */
  int meta = lua_gettop(L);
  if (object && !marked) {
    for (lua_pushnil(L); lua_next(L, old);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, meta);
    }
  }
  lua_pushlightuserdata(L, &ae__frozen_mark);
  lua_rawseti(L, meta, 1);
  lua_pushboolean(L, marked);
  lua_rawseti(L, meta, 3);
  lua_pushcfunction(L, read_only);
  lua_setfield(L, meta, "__newindex");
  lua_pushstring(L, READ_ONLY);
  lua_setfield(L, meta, "__metatable");
  /* Marked before its members are visited: they may lead back here. */
  lua_pushvalue(L, meta);
  lua_setmetatable(L, index);
  freeze_members(script, L, index, depth);
  if (lua_objlen(L, index) > 0 || marked) {
    /* `#`, ipairs and unpack look at the table itself: fields stay. */
    lua_pushboolean(L, false);
    lua_rawseti(L, meta, 2);
  } else {
    lua_newtable(L);
    int shadow = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, index);) {
      if (is_metafield(L, -2)) { /* it may be a metatable: looked up raw */
        lua_pop(L, 1);
        continue;
      }
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, shadow);
      lua_pushvalue(L, -1);
      lua_pushnil(L);
      lua_rawset(L, index);
    }
    if (object) {
      lua_pushvalue(L, old);
      lua_setmetatable(L, shadow);
    }
    lua_pushvalue(L, shadow);
    lua_setfield(L, meta, "__index");
    lua_rawseti(L, meta, 2);
  }
  lua_settop(L, top);
}

void ae__freeze(ae_script *script, lua_State *L, int index) {
  if (index < 0) index += lua_gettop(L) + 1;
  if (lua_istable(L, index)) freeze(script, L, index, 0);
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
  lua_pushstring(L, READ_ONLY);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
}

void ae__sandbox_open(ae_script *script, lua_State *L) {
  int top = lua_gettop(L);
  lua_pushlightuserdata(L, &tostring_ref_key);
  lua_getglobal(L, "tostring");
  lua_rawset(L, LUA_REGISTRYINDEX);

  if (luaL_loadbuffer(L, prelude, sizeof prelude - 1, "=host")) lua_error(L);
  static const luaL_Reg functions[] = {
      {"keys", host_keys},   {"next", host_next},   {"tostring", host_tostring},
      {"print", host_print}, {"plain", host_plain}, {"texts", host_texts},
      {"guard", host_guard}, {NULL, NULL}};
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pushboolean(L, false);
  lua_pushcclosure(L, host_require, 1);
  lua_setfield(L, -2, "require");
  lua_pushboolean(L, true);
  lua_pushcclosure(L, host_require, 1);
  lua_setfield(L, -2, "library");
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_call(L, 2, 3);
  int strings = lua_gettop(L), library = strings - 1, env = strings - 2;

  /* aether.log speaks through aether.host, which only the library finds. */
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->loaded_ref);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, host_log);
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
