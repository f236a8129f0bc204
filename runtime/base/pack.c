/* Writing uses msgpack-c's packer template with its append macro bound to
 * ae_buf, so the encoders are msgpack-c's and there is no callback per item.
 * The forms of one head byte, nearly all there are, are written in the header.
 */
#include "base/pack.h"

#include <endian.h>
#include <limits.h>
#include <msgpack/sysdep.h>
#include <msgpack/timestamp.h>
#include <stdlib.h>

#include "base/mem.h"

#define msgpack_pack_inline_func(name) \
  static inline __attribute__((unused)) int msgpack_pack##name
#define msgpack_pack_inline_func_cint msgpack_pack_inline_func
#define msgpack_pack_inline_func_fixint(name) \
  static inline __attribute__((unused)) int msgpack_pack_fix##name
#define msgpack_pack_user ae_buf *
#define msgpack_pack_append_buffer(user, bytes, len) \
  do {                                               \
    ae_buf_add((user), (bytes), (len));              \
    return 0;                                        \
  } while (0)
#include <msgpack/pack_template.h>

/* -- writing -- */

void ae_pack_int(ae_buf *buf, int64_t value) {
  msgpack_pack_int64(buf, value);
}

void ae__pack_uint_wide(ae_buf *buf, uint64_t value) {
  msgpack_pack_uint64(buf, value);
}

void ae_pack_double(ae_buf *buf, double value) {
  msgpack_pack_double(buf, value);
}

void ae__pack_str_wide(ae_buf *buf, ae_str value) {
  AE_ASSERT(value.len <= UINT32_MAX);
  msgpack_pack_str(buf, value.len);
  ae_buf_str(buf, value);
}

void ae_pack_bin(ae_buf *buf, ae_str value) {
  AE_ASSERT(value.len <= UINT32_MAX);
  msgpack_pack_bin(buf, value.len);
  ae_buf_str(buf, value);
}

void ae_pack_text(ae_buf *buf, ae_str value) {
  if (ae_str_utf8(value)) {
    ae_pack_str(buf, value);
  } else {
    ae_pack_bin(buf, value);
  }
}

void ae_pack_cstr(ae_buf *buf, const char *value) {
  ae_pack_str(buf, ae_str_of(value));
}

void ae__pack_array_wide(ae_buf *buf, uint32_t count) {
  msgpack_pack_array(buf, count);
}

void ae__pack_map_wide(ae_buf *buf, uint32_t count) {
  msgpack_pack_map(buf, count);
}

/* -- reading -- */

static uint64_t big_endian(const uint8_t *at, unsigned bytes) {
  uint16_t two;
  uint32_t four;
  uint64_t eight;
  switch (bytes) {
    case 1:
      return at[0];
    case 2:
      memcpy(&two, at, 2);
      return be16toh(two);
    case 4:
      memcpy(&four, at, 4);
      return be32toh(four);
    default:
      memcpy(&eight, at, 8);
      return be64toh(eight);
  }
}

static double float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static double double_of(uint64_t bits) {
  double value;
  memcpy(&value, &bits, 8);
  return value;
}

/* Heads 0xc0 to 0xdf: how many bytes of number follow the head. */
static const uint8_t wide[32] = {
    [0xc4 - 0xc0] = 1, [0xc5 - 0xc0] = 2, [0xc6 - 0xc0] = 4, [0xca - 0xc0] = 4,
    [0xcb - 0xc0] = 8, [0xcc - 0xc0] = 1, [0xcd - 0xc0] = 2, [0xce - 0xc0] = 4,
    [0xcf - 0xc0] = 8, [0xd0 - 0xc0] = 1, [0xd1 - 0xc0] = 2, [0xd2 - 0xc0] = 4,
    [0xd3 - 0xc0] = 8, [0xd9 - 0xc0] = 1, [0xda - 0xc0] = 2, [0xdb - 0xc0] = 4,
    [0xdc - 0xc0] = 2, [0xdd - 0xc0] = 4, [0xde - 0xc0] = 2, [0xdf - 0xc0] = 4,
};

bool ae__unpack_wide(ae_unpack *cursor, ae_pack_item *item) {
  const uint8_t *at = cursor->at;
  uint8_t head = *at++;
  size_t left = (size_t)(cursor->end - at);
  unsigned bytes = wide[head & 31];
  if (bytes > left) return false;
  uint64_t number = bytes ? big_endian(at, bytes) : 0;
  at += bytes;
  left -= bytes;
  switch (head) {
    case 0xc0:
      item->type = AE_PACK_NIL;
      break;
    case 0xc2:
    case 0xc3:
      item->type = AE_PACK_BOOL;
      item->b = head == 0xc3;
      break;
    case 0xc4:
    case 0xc5:
    case 0xc6:
    case 0xd9:
    case 0xda:
    case 0xdb:
      if (number > left) return false;
      item->type = head < 0xd0 ? AE_PACK_BIN : AE_PACK_STR;
      item->str = (ae_str){(const char *)at, number};
      at += number;
      break;
    case 0xca:
      item->type = AE_PACK_DOUBLE;
      item->d = float_of((uint32_t)number);
      break;
    case 0xcb:
      item->type = AE_PACK_DOUBLE;
      item->d = double_of(number);
      break;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      item->type = AE_PACK_UINT;
      item->u = number;
      break;
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: {
      unsigned unused = 64 - 8 * bytes;
      int64_t value = (int64_t)(number << unused) >> unused;
      item->type = value < 0 ? AE_PACK_INT : AE_PACK_UINT;
      item->i = value;
      break;
    }
    case 0xdc:
    case 0xdd:
      if (number > left) return false; /* each value takes a byte at least */
      item->type = AE_PACK_ARRAY;
      item->count = (uint32_t)number;
      break;
    case 0xde:
    case 0xdf:
      if (number > left / 2) return false;
      item->type = AE_PACK_MAP;
      item->count = (uint32_t)number;
      break;
    default: /* ext types, and 0xc1, which is never used */
      return false;
  }
  cursor->at = at;
  return true;
}

/* Values that `item` says are still to come. */
static uint64_t inside(const ae_pack_item *item) {
  if (item->type == AE_PACK_ARRAY) return item->count;
  if (item->type == AE_PACK_MAP) return 2 * (uint64_t)item->count;
  return 0;
}

bool ae_unpack_skip(ae_unpack *cursor, ae_str *value) {
  ae_unpack at = *cursor;
  uint64_t left[AE_PACK_DEPTH]; /* values to come, of each open level */
  unsigned depth = 0;
  for (;;) {
    ae_pack_item item;
    if (!ae_unpack_next(&at, &item)) return false;
    if (item.type >= AE_PACK_ARRAY) {
      if (depth == AE_PACK_DEPTH) return false;
      left[depth++] = inside(&item) + 1;
    }
    while (depth && --left[depth - 1] == 0) depth--;
    if (depth == 0) break;
  }
  if (value) {
    *value = (ae_str){(const char *)cursor->at, (size_t)(at.at - cursor->at)};
  }
  *cursor = at;
  return true;
}

static bool next_of(ae_unpack *cursor, ae_pack_type type, ae_pack_item *item) {
  ae_unpack at = *cursor;
  if (!ae_unpack_next(&at, item) || item->type != type) return false;
  *cursor = at;
  return true;
}

bool ae__unpack_array(ae_unpack *cursor, uint32_t *count) {
  ae_pack_item item;
  if (!next_of(cursor, AE_PACK_ARRAY, &item)) return false;
  *count = item.count;
  return true;
}

bool ae_unpack_map(ae_unpack *cursor, uint32_t *count) {
  ae_pack_item item;
  if (!next_of(cursor, AE_PACK_MAP, &item)) return false;
  *count = item.count;
  return true;
}

/* Short texts and all unsigned integers are in every stored record: they do
 * not take the way through an item. */
bool ae__unpack_str(ae_unpack *cursor, ae_str *value) {
  const uint8_t *at = cursor->at;
  size_t left = (size_t)(cursor->end - at);
  if (left >= 2 && at[0] == 0xd9 && left - 2 >= at[1]) {
    *value = (ae_str){(const char *)at + 2, at[1]};
    cursor->at = at + 2 + at[1];
    return true;
  }
  ae_pack_item item;
  if (!next_of(cursor, AE_PACK_STR, &item)) return false;
  *value = item.str;
  return true;
}

bool ae_unpack_bin(ae_unpack *cursor, ae_str *value) {
  const uint8_t *at = cursor->at;
  size_t left = (size_t)(cursor->end - at);
  if (left >= 2 && at[0] == 0xc4 && left - 2 >= at[1]) {
    *value = (ae_str){(const char *)at + 2, at[1]};
    cursor->at = at + 2 + at[1];
    return true;
  }
  ae_pack_item item;
  if (!next_of(cursor, AE_PACK_BIN, &item)) return false;
  *value = item.str;
  return true;
}

bool ae__unpack_uint(ae_unpack *cursor, uint64_t *value) {
  const uint8_t *at = cursor->at;
  size_t left = (size_t)(cursor->end - at);
  if (left > 8 && at[0] >= 0xcc && at[0] <= 0xcf) {
    unsigned bytes = 1u << (at[0] - 0xcc);
    *value = big_endian(at + 1, 8) >> (64 - 8 * bytes);
    cursor->at = at + 1 + bytes;
    return true;
  }
  ae_pack_item item;
  if (!next_of(cursor, AE_PACK_UINT, &item)) return false;
  *value = item.u;
  return true;
}

bool ae_unpack_int(ae_unpack *cursor, int64_t *value) {
  ae_unpack at = *cursor;
  ae_pack_item item;
  if (!ae_unpack_next(&at, &item)) return false;
  if (item.type == AE_PACK_INT) {
    *value = item.i;
  } else if (item.type == AE_PACK_UINT && item.u <= INT64_MAX) {
    *value = (int64_t)item.u;
  } else {
    return false;
  }
  *cursor = at;
  return true;
}

bool ae_unpack_field(ae_str bytes, const char *key, ae_str *value) {
  ae_unpack at = ae_unpack_of(bytes);
  ae_str wanted = ae_str_of(key);
  uint32_t count;
  if (!ae_unpack_map(&at, &count)) return false;
  while (count--) {
    ae_str name;
    bool named = ae_unpack_str(&at, &name);
    if (named && ae_str_eq(name, wanted)) return ae_unpack_skip(&at, value);
    if (!named && !ae_unpack_skip(&at, NULL)) return false;
    if (!ae_unpack_skip(&at, NULL)) return false;
  }
  return false;
}

bool ae_pack_valid(ae_str bytes) {
  ae_unpack at = ae_unpack_of(bytes);
  return ae_unpack_skip(&at, NULL) && ae_unpack_end(&at);
}

/* -- the canonical form -- */

typedef struct entry {
  ae_pack_item key;
  ae_str value;
  uint32_t place; /* keeps equal keys in their order */
} entry;

/* Negative, other integers, str, bin; then by value. */
static int by_key(const void *left, const void *right) {
  const entry *a = left, *b = right;
  int order = (a->key.type > b->key.type) - (a->key.type < b->key.type);
  if (order == 0) {
    switch (a->key.type) {
      case AE_PACK_INT:
        order = (a->key.i > b->key.i) - (a->key.i < b->key.i);
        break;
      case AE_PACK_UINT:
        order = (a->key.u > b->key.u) - (a->key.u < b->key.u);
        break;
      default:
        order = ae_str_cmp(a->key.str, b->key.str);
    }
  }
  if (order == 0) order = (a->place > b->place) - (a->place < b->place);
  return order;
}

static bool canonical(ae_unpack *at, ae_buf *out);

static bool canonical_map(ae_unpack *at, uint32_t count, ae_buf *out) {
  entry few[16];
  entry *pairs = few;
  if (count > 16) pairs = ae_alloc(count * sizeof *pairs);
  bool sorted = true;
  bool fine = true;
  for (uint32_t i = 0; fine && i < count; i++) {
    entry *pair = &pairs[i];
    pair->place = i;
    fine = ae_unpack_next(at, &pair->key) &&
           (pair->key.type == AE_PACK_INT || pair->key.type == AE_PACK_UINT ||
            pair->key.type == AE_PACK_STR || pair->key.type == AE_PACK_BIN) &&
           ae_unpack_skip(at, &pair->value);
    if (fine && i > 0 && by_key(pair - 1, pair) > 0) sorted = false;
  }
  if (fine) {
    if (!sorted) qsort(pairs, count, sizeof *pairs, by_key);
    ae_pack_map(out, count);
  }
  for (uint32_t i = 0; fine && i < count; i++) {
    const ae_pack_item *key = &pairs[i].key;
    if (key->type == AE_PACK_INT) {
      ae_pack_int(out, key->i);
    } else if (key->type == AE_PACK_UINT) {
      ae_pack_uint(out, key->u);
    } else if (key->type == AE_PACK_STR) {
      ae_pack_str(out, key->str);
    } else {
      ae_pack_bin(out, key->str);
    }
    ae_unpack value = ae_unpack_of(pairs[i].value);
    fine = canonical(&value, out);
  }
  if (pairs != few) ae_free(pairs);
  return fine;
}

/* As deep as AE_PACK_DEPTH: the whole was skipped over before. */
static bool canonical(ae_unpack *at, ae_buf *out) {
  ae_pack_item item;
  if (!ae_unpack_next(at, &item)) return false;
  switch (item.type) {
    case AE_PACK_NIL:
      ae_pack_nil(out);
      return true;
    case AE_PACK_BOOL:
      ae_pack_bool(out, item.b);
      return true;
    case AE_PACK_INT:
      ae_pack_int(out, item.i);
      return true;
    case AE_PACK_UINT:
      ae_pack_uint(out, item.u);
      return true;
    case AE_PACK_DOUBLE:
      ae_pack_double(out, item.d);
      return true;
    case AE_PACK_STR:
      ae_pack_str(out, item.str);
      return true;
    case AE_PACK_BIN:
      ae_pack_bin(out, item.str);
      return true;
    case AE_PACK_ARRAY:
      ae_pack_array(out, item.count);
      for (uint32_t i = 0; i < item.count; i++) {
        if (!canonical(at, out)) return false;
      }
      return true;
    case AE_PACK_MAP:
      return canonical_map(at, item.count, out);
  }
  return false;
}

bool ae_pack_canonical(ae_str bytes, ae_buf *out) {
  if (!ae_pack_valid(bytes)) return false;
  size_t len = out->len;
  ae_unpack at = ae_unpack_of(bytes);
  if (canonical(&at, out)) return true;
  out->len = len;
  return false;
}
