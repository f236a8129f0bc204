/* Both directions and their messages in one file, longer than most: they have
 * to agree on every rule. */
#include "script/value.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>

#include "base/mem.h"
#include "script/state.h"

#define FEW 32 /* keys that are sorted on the stack */

/* -- setting up -- */

static const char helpers[] =
    "local ffi = ...\n"
    "local i64, u64 = ffi.typeof('int64_t'), ffi.typeof('uint64_t')\n"
    "return function(high, low, signed)\n"
    "  local v = u64(high) * 4294967296ULL + u64(low)\n"
    "  return signed and ffi.cast(i64, v) or v\n"
    "end, function(v)\n"
    "  return ffi.istype(i64, v) and 1 or ffi.istype(u64, v) and 2 or 0\n"
    "end\n";

void ae__codec_init(ae_codec *codec, lua_State *L) {
  *codec = (ae_codec){.limit = SIZE_MAX};
  lua_getfield(L, -1, "null");
  codec->null_ptr = lua_topointer(L, -1);
  codec->null_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_getfield(L, -1, "array");
  lua_newtable(L);
  lua_call(L, 1, 1);
  if (!lua_getmetatable(L, -1)) luaL_error(L, "value.array marks no array");
  codec->array_ptr = lua_topointer(L, -1);
  codec->array_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pop(L, 1);
  if (luaL_loadbuffer(L, helpers, sizeof helpers - 1, "=host")) lua_error(L);
  lua_pushcfunction(L, luaopen_ffi);
  lua_call(L, 0, 1);
  lua_call(L, 1, 2);
  codec->kind_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  codec->make_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void ae__codec_clear(ae_codec *codec) {
  ae_buf_clear(&codec->problem);
}

/* -- messages -- */

static bool plain_key(const ae_step *step) {
  if (step->len == 0 || (step->key[0] >= '0' && step->key[0] <= '9')) {
    return false;
  }
  for (size_t i = 0; i < step->len; i++) {
    char c = step->key[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
          (c >= '0' && c <= '9') || c == '_')) {
      return false;
    }
  }
  return true;
}

/* Writes "data.items[3].price " into `problem`. */
static bool problem_at(ae_codec *codec) {
  ae_buf *out = &codec->problem;
  ae_buf_reset(out);
  ae_buf_printf(out, "%s", codec->root);
  for (int i = 0; i < codec->depth; i++) {
    const ae_step *step = &codec->steps[i];
    if (!step->key) {
      ae_buf_printf(out, "[%.0f]", step->index);
    } else if (plain_key(step)) {
      ae_buf_printf(out, ".%.*s", (int)step->len, step->key);
    } else {
      ae_buf_printf(out, "[\"");
      for (size_t j = 0; j < step->len && j < 60; j++) {
        uint8_t c = (uint8_t)step->key[j];
        if (c < 32 || c == '"' || c == '\\' || c >= 127) {
          ae_buf_printf(out, "\\%03d", c);
        } else {
          ae_buf_byte(out, c);
        }
      }
      ae_buf_printf(out, "%s\"]", step->len > 60 ? "…" : "");
    }
  }
  ae_buf_byte(out, ' ');
  return false;
}

#define PROBLEM(codec, ...) \
  (problem_at(codec), ae_buf_printf(&(codec)->problem, __VA_ARGS__), false)

/* -- encoding -- */

static void put_count(ae_buf *out, uint32_t count, bool map) {
  if (count < 16) {
    ae_buf_byte(out, (uint8_t)((map ? 0x80 : 0x90) | count));
  } else if (map) {
    ae_pack_map(out, count);
  } else {
    ae_pack_array(out, count);
  }
}

static void put_number(ae_buf *out, double value) {
  if (value >= 0 && value < 128 && value == (double)(int)value) {
    ae_buf_byte(out, (uint8_t)(int)value);
  } else if (value >= -AE_EXACT && value <= AE_EXACT &&
             value == (double)(int64_t)value) {
    ae_pack_int(out, (int64_t)value);
  } else {
    ae_pack_double(out, value);
  }
}

static bool ascii(const char *text, size_t len) {
  uint64_t seen = 0, word;
  for (; len >= 8; len -= 8, text += 8) {
    memcpy(&word, text, 8);
    seen |= word;
  }
  for (; len > 0; len--, text++) seen |= (uint8_t)*text;
  return (seen & UINT64_C(0x8080808080808080)) == 0;
}

static void put_text(ae_buf *out, const char *text, size_t len) {
  if (!ascii(text, len)) {
    ae_pack_text(out, (ae_str){text, len});
  } else if (len < 32) {
    ae_buf_reserve(out, len + 1);
    out->ptr[out->len] = (char)(0xa0 | len);
    memcpy(out->ptr + out->len + 1, text, len);
    out->len += len + 1;
  } else {
    ae_pack_str(out, (ae_str){text, len});
  }
}

typedef struct entry {
  const char *key; /* NULL: an integer */
  size_t len;
  double number;
  int slot; /* of the value, where it is on the stack */
} entry;

static int compare(const void *left, const void *right) {
  const entry *a = left, *b = right;
  if (!a->key || !b->key) {
    if (!a->key && !b->key) return a->number < b->number ? -1 : 1;
    return a->key ? 1 : -1;
  }
  size_t len = a->len < b->len ? a->len : b->len;
  int order = memcmp(a->key, b->key, len);
  if (order) return order;
  return a->len < b->len ? -1 : a->len > b->len;
}

static void sort_few(entry *entries, int count) {
  for (int i = 1; i < count; i++) {
    entry e = entries[i];
    int at = i;
    for (; at > 0 && compare(&entries[at - 1], &e) > 0; at--) {
      entries[at] = entries[at - 1];
    }
    entries[at] = e;
  }
}

static bool encode_any(ae_codec *codec, lua_State *L, int index, ae_buf *out);

/* The key at `index` into an entry. */
static bool take_key(ae_codec *codec, lua_State *L, int index, entry *e) {
  int type = lua_type(L, index);
  if (type == LUA_TSTRING) {
    e->key = lua_tolstring(L, index, &e->len);
    if (!ascii(e->key, e->len) && !ae_str_utf8((ae_str){e->key, e->len})) {
      return PROBLEM(codec, "has a key that is not UTF-8 text");
    }
    return true;
  }
  e->key = NULL;
  e->len = 0;
  if (type != LUA_TNUMBER) {
    return PROBLEM(codec,
                   "has a key that is a %s; keys are strings or integers",
                   type == LUA_TCDATA ? "cdata" : lua_typename(L, type));
  }
  e->number = lua_tonumber(L, index);
  if (!(e->number >= -AE_EXACT && e->number <= AE_EXACT &&
        e->number == floor(e->number))) {
    return PROBLEM(codec, "has the key %.14g, which is no integer", e->number);
  }
  return true;
}

static bool encode_entry(ae_codec *codec, lua_State *L, const entry *e,
                         int slot, ae_buf *out) {
  AE_ASSERT_CMP(codec->depth, >, 0);
  ae_step *step = &codec->steps[codec->depth - 1];
  step->key = e->key;
  step->len = e->len;
  step->index = e->number;
  if (e->key) {
    put_text(out, e->key, e->len);
  } else {
    put_number(out, e->number);
  }
  return encode_any(codec, L, slot, out);
}

/* More keys than stay on the stack: sorted in memory of the state. Comes one
 * level up and goes back down, as encode_map does. */
static bool encode_many(ae_codec *codec, lua_State *L, int index, ae_buf *out) {
  uint32_t count = 0, at = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
    ae__poll_each(count++);
  entry *entries = lua_newuserdata(L, count * sizeof *entries);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    ae__poll_each(at);
    if (!take_key(codec, L, -2, &entries[at++])) return false;
  }
  codec->depth++;
  ae__sort(ae__script_of(L), entries, count, sizeof *entries, compare);
  put_count(out, count, true);
  for (at = 0; at < count; at++) {
    ae__poll_each(at);
    if (entries[at].key) {
      lua_pushlstring(L, entries[at].key, entries[at].len);
    } else {
      lua_pushnumber(L, entries[at].number);
    }
    lua_rawget(L, index);
    if (!encode_entry(codec, L, &entries[at], lua_gettop(L), out)) {
      return false;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return true;
}

static bool encode_map(ae_codec *codec, lua_State *L, int index, bool marked,
                       ae_buf *out) {
  int top = lua_gettop(L);
  entry entries[FEW];
  int count = 0;
  bool strings = false;
  codec->depth--; /* a bad key is the map's fault, not a member's */
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (count == FEW) {
      lua_settop(L, top);
      return encode_many(codec, L, index, out);
    }
    entry *e = &entries[count++];
    if (!take_key(codec, L, -2, e)) return false;
    strings = strings || e->key;
    e->slot = lua_gettop(L);
    lua_pushvalue(L, -2);
  }
  if (marked && !strings && count > 0) {
    return PROBLEM(codec,
                   "is an array with a hole: use table.remove, or value.null");
  }
  codec->depth++;
  sort_few(entries, count);
  put_count(out, (uint32_t)count, true);
  for (int i = 0; i < count; i++) {
    if (!encode_entry(codec, L, &entries[i], entries[i].slot, out)) {
      return false;
    }
  }
  lua_settop(L, top);
  return true;
}

/* Whether its keys are 1..n and no others. */
static bool is_sequence(lua_State *L, int index, size_t n) {
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    if (!(key >= 1 && key <= (double)n && key == floor(key))) {
      lua_pop(L, 2);
      return false;
    }
    ae__poll_each(count++);
  }
  return count == n;
}

/* Steps over a metatable that the host set; leaves the table to encode at the
 * stack's top. */
static bool see_through(ae_codec *codec, lua_State *L, bool *marked) {
  if (lua_topointer(L, -1) == codec->array_ptr) {
    *marked = true;
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    return true;
  }
  if (!ae__is_frozen(L)) {
    return PROBLEM(codec,
                   "is a table with a metatable, which would not be stored");
  }
  lua_rawgeti(L, -1, 3);
  *marked = lua_toboolean(L, -1);
  lua_rawgeti(L, -2, 2);
  lua_replace(L, -3);
  lua_pop(L, 1);
  if (lua_istable(L, -1)) return true;
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  return true;
}

static bool encode_table(ae_codec *codec, lua_State *L, int index,
                         ae_buf *out) {
  const void *self = lua_topointer(L, index);
  if (self == codec->null_ptr) {
    ae_buf_byte(out, 0xc0);
    return true;
  }
  for (int i = 0; i < codec->depth; i++) {
    if (codec->steps[i].table == self) {
      return PROBLEM(codec, "holds itself (a cycle)");
    }
  }
  if (codec->depth == AE_PACK_DEPTH) {
    return PROBLEM(codec, "is nested deeper than %d", AE_PACK_DEPTH);
  }
  ae__poll();
  luaL_checkstack(L, 2 * FEW + 16, "the value is too deep");
  int top = lua_gettop(L);
  bool marked = false;
  if (lua_getmetatable(L, index)) {
    lua_pushvalue(L, index);
    lua_insert(L, -2);
    if (!see_through(codec, L, &marked)) return false;
    index = lua_gettop(L);
  }
  codec->steps[codec->depth++].table = self;
  bool fine = true;
  size_t n = lua_objlen(L, index);
  if (n > 0 ? is_sequence(L, index, n) : marked) {
    if (n == 0) {
      lua_pushnil(L);
      if (lua_next(L, index)) {
        lua_settop(L, lua_gettop(L) - 2);
        fine = encode_map(codec, L, index, true, out);
        goto done;
      }
    }
    put_count(out, (uint32_t)n, false);
    ae_step *step = &codec->steps[codec->depth - 1];
    step->key = NULL;
    for (size_t i = 1; fine && i <= n; i++) {
      ae__poll_each(i);
      step->index = (double)i;
      lua_rawgeti(L, index, (int)i);
      fine = encode_any(codec, L, lua_gettop(L), out);
      lua_pop(L, 1);
    }
  } else {
    fine = encode_map(codec, L, index, marked, out);
  }
done:
  if (!fine) return false;
  codec->depth--;
  lua_settop(L, top);
  return true;
}

static bool encode_cdata(ae_codec *codec, lua_State *L, int index,
                         ae_buf *out) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->kind_ref);
  lua_pushvalue(L, index);
  lua_call(L, 1, 1);
  int kind = (int)lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (kind == 0) return PROBLEM(codec, "is cdata that is no 64-bit integer");
  uint64_t bits;
  memcpy(&bits, lua_topointer(L, index), sizeof bits);
  if (kind == 1) {
    ae_pack_int(out, (int64_t)bits);
  } else {
    ae_pack_uint(out, bits);
  }
  return true;
}

static bool encode_any(ae_codec *codec, lua_State *L, int index, ae_buf *out) {
  int type = lua_type(L, index);
  size_t len;
  double number;
  /* A table that is held many times is written as often. */
  if (out->len - codec->start > codec->limit) {
    codec->depth = 0;
    return PROBLEM(codec, "takes more than %zu bytes", codec->limit);
  }
  switch (type) {
    case LUA_TSTRING: {
      const char *text = lua_tolstring(L, index, &len);
      put_text(out, text, len);
      return true;
    }
    case LUA_TNUMBER:
      number = lua_tonumber(L, index);
      if (!isfinite(number)) {
        return PROBLEM(codec,
                       isnan(number) ? "is not a number (NaN)" : "is infinite");
      }
      put_number(out, number);
      return true;
    case LUA_TTABLE:
      return encode_table(codec, L, index, out);
    case LUA_TBOOLEAN:
      ae_buf_byte(out, lua_toboolean(L, index) ? 0xc3 : 0xc2);
      return true;
    case LUA_TCDATA:
      return encode_cdata(codec, L, index, out);
    case LUA_TNIL:
    case LUA_TNONE:
      return PROBLEM(codec,
                     "is nil; value.null is the null that can be stored");
    default:
      return PROBLEM(codec, "is a %s, which cannot be stored",
                     lua_typename(L, type));
  }
}

bool ae__encode(ae_codec *codec, lua_State *L, int index, const char *root,
                ae_buf *out) {
  codec->root = root;
  codec->depth = 0;
  codec->start = out->len;
  if (index < 0 && index > LUA_REGISTRYINDEX) index += lua_gettop(L) + 1;
  int top = lua_gettop(L);
  if (encode_any(codec, L, index, out)) return true;
  lua_settop(L, top);
  out->len = codec->start;
  return false;
}

/* -- decoding -- */

static void push_wide(ae_codec *codec, lua_State *L, uint64_t bits,
                      bool is_signed) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, codec->make_ref);
  lua_pushnumber(L, (double)(bits >> 32));
  lua_pushnumber(L, (double)(uint32_t)bits);
  lua_pushboolean(L, is_signed);
  lua_call(L, 3, 1);
}

static bool damaged(ae_codec *codec) {
  return PROBLEM(codec, "is no well-formed msgpack value");
}

static bool decode_any(ae_codec *codec, lua_State *L, ae_unpack *cursor);

/* Pushes a map's key. */
static bool decode_key(ae_codec *codec, lua_State *L, ae_unpack *cursor,
                       ae_step *step) {
  ae_pack_item item;
  if (!ae_unpack_next(cursor, &item)) return damaged(codec);
  step->key = NULL;
  if (item.type == AE_PACK_STR) {
    step->key = item.str.ptr;
    step->len = item.str.len;
    lua_pushlstring(L, item.str.ptr, item.str.len);
    return true;
  }
  if (item.type == AE_PACK_UINT && item.u <= UINT64_C(1) << 53) {
    step->index = (double)item.u;
  } else if (item.type == AE_PACK_INT && item.i >= -(INT64_C(1) << 53)) {
    step->index = (double)item.i;
  } else {
    codec->depth--;
    return PROBLEM(codec,
                   "has a key that is neither text nor an integer to 2^53");
  }
  lua_pushnumber(L, step->index);
  return true;
}

static bool decode_table(ae_codec *codec, lua_State *L, ae_unpack *cursor,
                         uint32_t count, bool map) {
  if (codec->depth == AE_PACK_DEPTH) {
    return PROBLEM(codec, "is nested deeper than %d", AE_PACK_DEPTH);
  }
  /* Each member takes a byte at least: a lying count makes no huge table. */
  if (count > (size_t)(cursor->end - cursor->at)) return damaged(codec);
  luaL_checkstack(L, 8, "the value is too deep");
  lua_createtable(L, map ? 0 : (int)count, map ? (int)count : 0);
  ae_step *step = &codec->steps[codec->depth++];
  step->key = NULL;
  if (map) {
    for (uint32_t i = 0; i < count; i++) {
      if (!decode_key(codec, L, cursor, step)) return false;
      if (!decode_any(codec, L, cursor)) return false;
      lua_rawset(L, -3);
    }
  } else {
    lua_rawgeti(L, LUA_REGISTRYINDEX, codec->array_ref);
    lua_setmetatable(L, -2);
    for (uint32_t i = 1; i <= count; i++) {
      step->index = i;
      if (!decode_any(codec, L, cursor)) return false;
      lua_rawseti(L, -2, (int)i);
    }
  }
  codec->depth--;
  return true;
}

static bool decode_any(ae_codec *codec, lua_State *L, ae_unpack *cursor) {
  ae_pack_item item;
  if (!ae_unpack_next(cursor, &item)) return damaged(codec);
  switch (item.type) {
    case AE_PACK_NIL:
      lua_rawgeti(L, LUA_REGISTRYINDEX, codec->null_ref);
      return true;
    case AE_PACK_BOOL:
      lua_pushboolean(L, item.b);
      return true;
    case AE_PACK_INT:
      if (item.i >= -(INT64_C(1) << 53)) {
        lua_pushnumber(L, (double)item.i);
      } else {
        push_wide(codec, L, (uint64_t)item.i, true);
      }
      return true;
    case AE_PACK_UINT:
      if (item.u <= UINT64_C(1) << 53) {
        lua_pushnumber(L, (double)item.u);
      } else {
        push_wide(codec, L, item.u, item.u <= INT64_MAX);
      }
      return true;
    case AE_PACK_DOUBLE:
      if (!isfinite(item.d)) return PROBLEM(codec, "is no finite number");
      lua_pushnumber(L, item.d);
      return true;
    case AE_PACK_STR:
    case AE_PACK_BIN:
      lua_pushlstring(L, item.str.ptr, item.str.len);
      return true;
    case AE_PACK_ARRAY:
      return decode_table(codec, L, cursor, item.count, false);
    case AE_PACK_MAP:
      return decode_table(codec, L, cursor, item.count, true);
  }
  return damaged(codec);
}

bool ae__decode(ae_codec *codec, lua_State *L, ae_unpack *cursor,
                const char *root) {
  codec->root = root;
  codec->depth = 0;
  int top = lua_gettop(L);
  if (decode_any(codec, L, cursor)) return true;
  lua_settop(L, top);
  return false;
}

bool ae__decode_all(ae_codec *codec, lua_State *L, ae_str bytes,
                    const char *root) {
  ae_unpack cursor = ae_unpack_of(bytes);
  int top = lua_gettop(L);
  if (!ae__decode(codec, L, &cursor, root)) return false;
  if (ae_unpack_end(&cursor)) return true;
  lua_settop(L, top);
  codec->depth = 0;
  return damaged(codec);
}
