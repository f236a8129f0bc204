/* msgpack ⇄ Lua. Equal values give equal bytes: map keys sorted (integers
 * first, rising, then strings bytewise), every number in its shortest form. */
#ifndef AE_SCRIPT_VALUE_H
#define AE_SCRIPT_VALUE_H

#include <lua.h>

#include "base/pack.h"

#define AE_EXACT 9007199254740992.0 /* 2^53 */
#define LUA_TCDATA 10               /* LuaJIT's; no header names it */

typedef struct ae_step {
  const char *key; /* NULL: an index */
  size_t len;
  double index;
  const void *table; /* that holds the key, to tell a cycle */
} ae_step;

/* What the codec needs of one Lua state, and where it is in a value. */
typedef struct ae_codec {
  int null_ref;         /* registry: aether.value's null */
  int array_ref;        /* registry: the metatable of arrays */
  int make_ref;         /* registry: function(high, low, signed) → cdata */
  int kind_ref;         /* registry: function(cdata) → 1 int64, 2 uint64 */
  const void *null_ptr; /* the same two, to compare with */
  const void *array_ptr;
  size_t limit; /* bytes that one value may take */
  size_t start; /* of the value in the buffer being written */
  int depth;
  ae_step steps[AE_PACK_DEPTH];
  const char *root; /* what the value is called in messages */
  ae_buf problem;   /* why the last call answered false */
} ae_codec;

/* Takes what it needs from aether.value, which is on top of the stack and
 * stays there. May raise. */
void ae__codec_init(ae_codec *codec, lua_State *L);
void ae__codec_clear(ae_codec *codec);

/* Appends the value at `index`. False: `problem` says where and what, and
 * `out` keeps its length. May raise for want of memory; then `out` may have
 * grown. `root` names the value in messages: "data", "state". */
bool ae__encode(ae_codec *codec, lua_State *L, int index, const char *root,
                ae_buf *out);
/* Pushes the next value of the cursor. False: `problem`, nothing pushed. May
 * raise. */
bool ae__decode(ae_codec *codec, lua_State *L, ae_unpack *cursor,
                const char *root);
/* Exactly one value. */
bool ae__decode_all(ae_codec *codec, lua_State *L, ae_str bytes,
                    const char *root);

/* -- read-only tables: how the host marks one --
 * A table made read-only keeps its fields in a shadow table; its metatable
 * holds, at [1], a mark that no script can make, and the shadow at [2] (false
 * where the fields stayed in place, as an array's do). */
extern char ae__frozen_mark;
/* Whether the metatable on top of the stack is such a mark. */
bool ae__is_frozen(lua_State *L);

#endif
