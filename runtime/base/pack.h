/* msgpack. Writing goes through msgpack-c's packer template into an ae_buf,
 * always in the shortest form. Reading is a bounded cursor over bytes: it never
 * reads past the end, never recurses and allocates nothing, whatever the input.
 */
#ifndef AE_BASE_PACK_H
#define AE_BASE_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define AE_PACK_DEPTH 64 /* arrays and maps inside each other, at most */

/* -- writing -- */
void ae_pack_int(ae_buf *buf, int64_t value);
void ae_pack_double(ae_buf *buf, double value);
/* UTF-8 bytes as str, others as bin. */
void ae_pack_text(ae_buf *buf, ae_str value);
void ae_pack_cstr(ae_buf *buf, const char *value);
void ae_pack_bin(ae_buf *buf, ae_str value);

/* What the functions below leave over: forms of more than one head byte. */
void ae__pack_uint_wide(ae_buf *buf, uint64_t value);
void ae__pack_str_wide(ae_buf *buf, ae_str value);
void ae__pack_array_wide(ae_buf *buf, uint32_t count);
void ae__pack_map_wide(ae_buf *buf, uint32_t count);

static inline void ae_pack_nil(ae_buf *buf) {
  ae_buf_byte(buf, 0xc0);
}
static inline void ae_pack_bool(ae_buf *buf, bool value) {
  ae_buf_byte(buf, value ? 0xc3 : 0xc2);
}
static inline void ae_pack_uint(ae_buf *buf, uint64_t value) {
  if (value < 0x80)
    ae_buf_byte(buf, (uint8_t)value);
  else
    ae__pack_uint_wide(buf, value);
}
/* As str, unchecked. */
static inline void ae_pack_str(ae_buf *buf, ae_str value) {
  if (value.len >= 32) {
    ae__pack_str_wide(buf, value);
    return;
  }
  ae_buf_reserve(buf, 1 + value.len);
  buf->ptr[buf->len] = (char)(0xa0 | value.len);
  if (value.len) memcpy(buf->ptr + buf->len + 1, value.ptr, value.len);
  buf->len += 1 + value.len;
}
static inline void ae_pack_array(ae_buf *buf, uint32_t count) {
  if (count < 16)
    ae_buf_byte(buf, (uint8_t)(0x90 | count));
  else
    ae__pack_array_wide(buf, count);
}
static inline void ae_pack_map(ae_buf *buf, uint32_t count) {
  if (count < 16)
    ae_buf_byte(buf, (uint8_t)(0x80 | count));
  else
    ae__pack_map_wide(buf, count);
}

/* -- reading -- */
typedef enum ae_pack_type {
  AE_PACK_NIL,
  AE_PACK_BOOL,
  AE_PACK_INT,  /* negative, in .i */
  AE_PACK_UINT, /* in .u */
  AE_PACK_DOUBLE,
  AE_PACK_STR,
  AE_PACK_BIN,
  AE_PACK_ARRAY, /* .count values follow */
  AE_PACK_MAP,   /* .count pairs follow */
} ae_pack_type;

typedef struct ae_pack_item {
  ae_pack_type type;
  union {
    bool b;
    int64_t i;
    uint64_t u;
    double d;
    ae_str str; /* into the bytes read */
    uint32_t count;
  };
} ae_pack_item;

typedef struct ae_unpack {
  const uint8_t *at;
  const uint8_t *end;
} ae_unpack;

static inline ae_unpack ae_unpack_of(ae_str bytes) {
  const uint8_t *at = (const uint8_t *)bytes.ptr;
  return (ae_unpack){at, at ? at + bytes.len : at};
}
/* All of these return false at damage, the end, or another type (ext types
 * are damage); the cursor then stands where it stood. */
static inline bool ae_unpack_next(ae_unpack *cursor, ae_pack_item *item);
/* One whole value with all it holds, at most AE_PACK_DEPTH deep; `value` (may
 * be NULL) gets its bytes. */
bool ae_unpack_skip(ae_unpack *cursor, ae_str *value);
static inline bool ae_unpack_array(ae_unpack *cursor, uint32_t *count);
bool ae_unpack_map(ae_unpack *cursor, uint32_t *count);
static inline bool ae_unpack_str(ae_unpack *cursor, ae_str *value);
bool ae_unpack_bin(ae_unpack *cursor, ae_str *value);
static inline bool ae_unpack_uint(ae_unpack *cursor, uint64_t *value);
bool ae_unpack_int(ae_unpack *cursor, int64_t *value); /* fits int64 */
static inline bool ae_unpack_nil(ae_unpack *cursor);
static inline bool ae_unpack_end(const ae_unpack *cursor) {
  return cursor->at >= cursor->end;
}
/* The value of a string key of the map in `bytes`; false when absent. */
bool ae_unpack_field(ae_str bytes, const char *key, ae_str *value);
/* `bytes` is exactly one whole, well-formed value, at most AE_PACK_DEPTH deep.
 */
bool ae_pack_valid(ae_str bytes);
/* Rewrites one value with map keys sorted bytewise (integers first, rising,
 * then strings, then binary) at every depth, numbers in shortest form. False
 * at damage and for other keys; `out` then keeps its length. */
bool ae_pack_canonical(ae_str bytes, ae_buf *out);

/* -- private: the one-byte heads, most of what is read, are taken inline, and
 * the others left to a call -- */
bool ae__unpack_wide(ae_unpack *cursor, ae_pack_item *item);
bool ae__unpack_array(ae_unpack *cursor, uint32_t *count);
bool ae__unpack_str(ae_unpack *cursor, ae_str *value);
bool ae__unpack_uint(ae_unpack *cursor, uint64_t *value);

static inline bool ae_unpack_next(ae_unpack *cursor, ae_pack_item *item) {
  const uint8_t *at = cursor->at;
  if (at >= cursor->end) return false;
  uint8_t head = *at++;
  size_t left = (size_t)(cursor->end - at);
  if (head < 0x80) {
    item->type = AE_PACK_UINT;
    item->u = head;
  } else if (head < 0xc0) {
    uint32_t count = head & 15;
    if (head >= 0xa0) {
      count = head & 31;
      if (count > left) return false;
      item->type = AE_PACK_STR;
      item->str = (ae_str){(const char *)at, count};
      at += count;
    } else if (head >= 0x90) {
      if (count > left) return false;
      item->type = AE_PACK_ARRAY;
      item->count = count;
    } else {
      if (2 * count > left) return false;
      item->type = AE_PACK_MAP;
      item->count = count;
    }
  } else if (head >= 0xe0) {
    item->type = AE_PACK_INT;
    item->i = (int8_t)head;
  } else {
    return ae__unpack_wide(cursor, item);
  }
  cursor->at = at;
  return true;
}

static inline bool ae_unpack_array(ae_unpack *cursor, uint32_t *count) {
  const uint8_t *at = cursor->at;
  if (at < cursor->end && *at >> 4 == 9 &&
      (size_t)(cursor->end - at) > (*at & 15u)) {
    *count = *at & 15;
    cursor->at = at + 1;
    return true;
  }
  return ae__unpack_array(cursor, count);
}

static inline bool ae_unpack_str(ae_unpack *cursor, ae_str *value) {
  const uint8_t *at = cursor->at;
  if (at < cursor->end && *at >> 5 == 5 &&
      (size_t)(cursor->end - at) > (*at & 31u)) {
    *value = (ae_str){(const char *)at + 1, *at & 31};
    cursor->at = at + 1 + (*at & 31);
    return true;
  }
  return ae__unpack_str(cursor, value);
}

static inline bool ae_unpack_uint(ae_unpack *cursor, uint64_t *value) {
  if (cursor->at < cursor->end && *cursor->at < 0x80) {
    *value = *cursor->at++;
    return true;
  }
  return ae__unpack_uint(cursor, value);
}

static inline bool ae_unpack_nil(ae_unpack *cursor) {
  if (cursor->at >= cursor->end || *cursor->at != 0xc0) return false;
  cursor->at++;
  return true;
}

#endif
