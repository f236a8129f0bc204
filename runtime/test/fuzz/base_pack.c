/* The cursor against msgpack-c's own reader, and the canonical form. */
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/pack.h"

const char *__asan_default_options(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

/* msgpack-c allocates for counts that the bytes do not hold. */
const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:max_allocation_size_mb=256";
}

static void compare(ae_unpack *at, const msgpack_object *object) {
  ae_pack_item item;
  MUST(ae_unpack_next(at, &item));
  switch (object->type) {
    case MSGPACK_OBJECT_NIL:
      MUST(item.type == AE_PACK_NIL);
      break;
    case MSGPACK_OBJECT_BOOLEAN:
      MUST(item.type == AE_PACK_BOOL && item.b == object->via.boolean);
      break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
      MUST(item.type == AE_PACK_UINT && item.u == object->via.u64);
      break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
      MUST(item.type == AE_PACK_INT && item.i == object->via.i64);
      break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
      MUST(item.type == AE_PACK_DOUBLE);
      MUST(memcmp(&item.d, &object->via.f64, sizeof(double)) == 0 ||
           (item.d != item.d && object->via.f64 != object->via.f64));
      break;
    case MSGPACK_OBJECT_STR:
      MUST(item.type == AE_PACK_STR);
      MUST(ae_str_eq(item.str,
                     (ae_str){object->via.str.ptr, object->via.str.size}));
      break;
    case MSGPACK_OBJECT_BIN:
      MUST(item.type == AE_PACK_BIN);
      MUST(ae_str_eq(item.str,
                     (ae_str){object->via.bin.ptr, object->via.bin.size}));
      break;
    case MSGPACK_OBJECT_ARRAY:
      MUST(item.type == AE_PACK_ARRAY && item.count == object->via.array.size);
      for (uint32_t i = 0; i < item.count; i++) {
        compare(at, &object->via.array.ptr[i]);
      }
      break;
    case MSGPACK_OBJECT_MAP:
      MUST(item.type == AE_PACK_MAP && item.count == object->via.map.size);
      for (uint32_t i = 0; i < item.count; i++) {
        compare(at, &object->via.map.ptr[i].key);
        compare(at, &object->via.map.ptr[i].val);
      }
      break;
    default:
      MUST(!"an ext type was read");
  }
}

/* The only thing that msgpack-c reads and the cursor does not. */
static bool holds_ext(const msgpack_object *object) {
  if (object->type == MSGPACK_OBJECT_EXT) return true;
  if (object->type == MSGPACK_OBJECT_ARRAY) {
    for (uint32_t i = 0; i < object->via.array.size; i++) {
      if (holds_ext(&object->via.array.ptr[i])) return true;
    }
  }
  if (object->type == MSGPACK_OBJECT_MAP) {
    for (uint32_t i = 0; i < object->via.map.size; i++) {
      if (holds_ext(&object->via.map.ptr[i].key)) return true;
      if (holds_ext(&object->via.map.ptr[i].val)) return true;
    }
  }
  return false;
}

static unsigned depth_of(ae_unpack *at) {
  ae_pack_item item;
  MUST(ae_unpack_next(at, &item));
  unsigned deepest = 0;
  uint64_t inside = 0;
  if (item.type == AE_PACK_ARRAY) inside = item.count;
  if (item.type == AE_PACK_MAP) inside = 2 * (uint64_t)item.count;
  for (uint64_t i = 0; i < inside; i++) {
    unsigned depth = depth_of(at);
    if (depth > deepest) deepest = depth;
  }
  return item.type >= AE_PACK_ARRAY ? deepest + 1 : 0;
}

static void against_msgpack_c(ae_str bytes) {
  ae_unpack at = ae_unpack_of(bytes);
  ae_str value;
  bool read = ae_unpack_skip(&at, &value);
  if (!read) MUST((const char *)at.at == bytes.ptr);
  size_t offset = 0;
  msgpack_unpacked oracle;
  msgpack_unpacked_init(&oracle);
  msgpack_unpack_return result =
      msgpack_unpack_next(&oracle, bytes.ptr, bytes.len, &offset);
  bool read_by_oracle = result == MSGPACK_UNPACK_SUCCESS;
  if (read && read_by_oracle) {
    MUST(offset == value.len);
    ae_unpack again = ae_unpack_of(bytes);
    compare(&again, &oracle.data);
    MUST(again.at == at.at);
  } else if (read) {
    ae_unpack again = ae_unpack_of(value);
    MUST(depth_of(&again) > 31); /* deeper than msgpack-c's own stack */
  } else if (read_by_oracle) {
    MUST(holds_ext(&oracle.data));
  }
  msgpack_unpacked_destroy(&oracle);
}

static void canonical(ae_str bytes) {
  ae_buf once = {0}, twice = {0};
  if (ae_pack_canonical(bytes, &once)) {
    MUST(ae_pack_valid(bytes));
    MUST(ae_pack_valid(ae_buf_view(&once)));
    MUST(ae_pack_canonical(ae_buf_view(&once), &twice));
    MUST(ae_str_eq(ae_buf_view(&once), ae_buf_view(&twice)));
  } else {
    MUST(once.len == 0);
  }
  ae_buf_clear(&once);
  ae_buf_clear(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str bytes = {(const char *)data, len};
  against_msgpack_c(bytes);
  canonical(bytes);
  ae_str value;
  if (ae_unpack_field(bytes, "a", &value)) MUST(ae_pack_valid(value));
  return 0;
}
