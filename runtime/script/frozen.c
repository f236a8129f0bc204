/* Read-only tables. LuaJIT has none, so the fields move to a shadow that the
 * table's metatable leads to, and writing finds no field to overwrite. */
#include <lauxlib.h>

#include "script/sandbox.h"

char ae__frozen_mark;

bool ae__is_frozen(lua_State *L) {
  lua_rawgeti(L, -1, 1);
  bool frozen = lua_touserdata(L, -1) == &ae__frozen_mark;
  lua_pop(L, 1);
  return frozen;
}

AE__HOST_FUNCTION(read_only) {
  const char *name =
      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
  return ae__raise(L,
                   "\"%s\" cannot be set: the table is read-only (modules are, "
                   "after they are loaded; keep what changes in state)",
                   name);
}

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

/* -- lists -- */

/* A list's fields stay in it (see below), so nothing hinders a write to one
 * that is there: a copy tells, after each call. */
static void keep_list(ae_script *script, lua_State *L, int index) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->lists_ref);
  lua_newtable(L);
  size_t steps = 0;
  for (lua_pushnil(L); lua_next(L, index);) {
    ae__poll_each(steps++);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_rawseti(L, -2, 2 * script->nlists + 2);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, 2 * script->nlists + 1);
  lua_pop(L, 1);
  script->nlists++;
}

bool ae__lists_mend(ae_script *script, lua_State *L) {
  bool changed = false;
  int top = lua_gettop(L), lists = top + 1, list = top + 2, copy = top + 3;
  size_t steps = 0;
  luaL_checkstack(L, 10, "no room to look at shared lists");
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->lists_ref);
  for (int i = 0; i < script->nlists; i++) {
    lua_rawgeti(L, lists, 2 * i + 1);
    lua_rawgeti(L, lists, 2 * i + 2);
    for (lua_pushnil(L); lua_next(L, copy); lua_pop(L, 1)) {
      ae__poll_each(steps++);
      lua_pushvalue(L, -2);
      lua_rawget(L, list);
      bool same = lua_rawequal(L, -1, -2);
      lua_pop(L, 1);
      if (same) continue;
      changed = true;
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, list);
    }
    lua_settop(L, lists);
  }
  lua_settop(L, top);
  return changed;
}

/* -- freezing -- */

static void freeze(ae_script *script, lua_State *L, int index, int depth);

static void freeze_members(ae_script *script, lua_State *L, int index,
                           int depth) {
  size_t steps = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    ae__poll_each(steps++);
    if (lua_istable(L, -1)) freeze(script, L, lua_gettop(L), depth + 1);
  }
}

static void freeze(ae_script *script, lua_State *L, int index, int depth) {
  if (depth > AE_PACK_DEPTH) return;
  ae__poll();
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
  lua_pushstring(L, AE_READ_ONLY);
  lua_setfield(L, meta, "__metatable");
  /* Marked before its members are visited: they may lead back here. */
  lua_pushvalue(L, meta);
  lua_setmetatable(L, index);
  freeze_members(script, L, index, depth);
  if (lua_objlen(L, index) > 0 || marked) {
    /* `#`, ipairs and unpack look at the table itself: fields stay. */
    if (script->shares) keep_list(script, L, index);
    lua_pushboolean(L, false);
    lua_rawseti(L, meta, 2);
  } else {
    lua_newtable(L);
    int shadow = lua_gettop(L);
    size_t steps = 0;
    for (lua_pushnil(L); lua_next(L, index);) {
      ae__poll_each(steps++);
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
