/* pairs and next in the order of keys: numbers rising, strings bytewise, then
 * false and true. LuaJIT's own order differs between two states. */
#include <lauxlib.h>

#include "script/sandbox.h"

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
    ae__poll_each((size_t)at);
    take_key(L, -2, &keys[at++], 2);
  }
  ae__sort(ae__script_of(L), keys, (size_t)count, sizeof *keys, compare);
  lua_createtable(L, count, 3);
  for (at = 0; at < count; at++) {
    ae__poll_each((size_t)at);
    push_key(L, &keys[at]);
    lua_rawseti(L, -2, at + 1);
  }
}

/* What pairs goes through: a number where the keys are 1..n; else a list of
 * the keys in order. For read-only tables also true. */
AE__HOST_FUNCTION(host_keys) {
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  uncover(L, 2);
  size_t count = 0, n = lua_objlen(L, 2);
  bool sequence = true;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    ae__poll_each(count++);
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
AE__HOST_FUNCTION(host_next) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  uncover(L, 3);
  key after, best = {0}, k;
  bool found = false, first = lua_isnil(L, 2);
  size_t steps = 0;
  if (!first) take_key(L, 2, &after, 1);
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    ae__poll_each(steps++);
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

const luaL_Reg ae__order_functions[] = {
    {"keys", host_keys}, {"next", host_next}, {NULL, NULL}};
