#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"
#include "base/uuid7.h"

/* msgpack-c is the oracle of what is written and of what is read. */

static int append(void *data, const char *bytes, size_t len) {
  ae_buf_add(data, bytes, len);
  return 0;
}

static const int64_t edges[] = {
    0,
    1,
    -1,
    31,
    32,
    -31,
    -32,
    -33,
    127,
    128,
    -127,
    -128,
    -129,
    255,
    256,
    32767,
    32768,
    -32768,
    -32769,
    65535,
    65536,
    INT32_MAX,
    INT32_MIN,
    UINT32_MAX,
    1LL << 53,
    INT64_MAX,
    INT64_MIN,
    INT64_MIN + 1,
    (int64_t)UINT32_MAX + 1,
    (int64_t)INT32_MIN - 1,
};
#define EDGES (sizeof edges / sizeof *edges)

static void integers_are_written_as_msgpack_c_does(void **state) {
  (void)state;
  for (size_t i = 0; i < EDGES; i++) {
    ae_buf ours = {0}, theirs = {0};
    msgpack_packer packer = {.data = &theirs, .callback = append};
    ae_pack_int(&ours, edges[i]);
    ae_pack_uint(&ours, (uint64_t)edges[i]);
    msgpack_pack_int64(&packer, edges[i]);
    msgpack_pack_uint64(&packer, (uint64_t)edges[i]);
    assert_int_equal(ours.len, theirs.len);
    assert_memory_equal(ours.ptr, theirs.ptr, ours.len);
    ae_unpack at = ae_unpack_of(ae_buf_view(&ours));
    int64_t signed_one;
    uint64_t unsigned_one;
    assert_true(ae_unpack_int(&at, &signed_one));
    assert_true(signed_one == edges[i]);
    assert_true(ae_unpack_uint(&at, &unsigned_one));
    assert_true(unsigned_one == (uint64_t)edges[i]);
    assert_true(ae_unpack_end(&at));
    ae_buf_clear(&ours);
    ae_buf_clear(&theirs);
  }
}

static void lengths_are_written_as_msgpack_c_does(void **state) {
  (void)state;
  static const uint32_t lengths[] = {0,   1,   15,    16,    31,   32,
                                     255, 256, 65535, 65536, 70000};
  char *bytes = ae_zalloc(70000);
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    uint32_t n = lengths[i];
    ae_buf ours = {0}, theirs = {0};
    msgpack_packer packer = {.data = &theirs, .callback = append};
    ae_pack_str(&ours, (ae_str){bytes, n});
    ae_pack_bin(&ours, (ae_str){bytes, n});
    ae_pack_array(&ours, n);
    ae_pack_map(&ours, n);
    msgpack_pack_str_with_body(&packer, bytes, n);
    msgpack_pack_bin_with_body(&packer, bytes, n);
    msgpack_pack_array(&packer, n);
    msgpack_pack_map(&packer, n);
    assert_int_equal(ours.len, theirs.len);
    assert_memory_equal(ours.ptr, theirs.ptr, ours.len);
    ae_unpack at = ae_unpack_of(ae_buf_view(&ours));
    ae_str text;
    uint32_t count;
    assert_true(ae_unpack_str(&at, &text) && text.len == n);
    assert_true(ae_unpack_bin(&at, &text) && text.len == n);
    /* Array and map claim more than what is there. */
    assert_int_equal(ae_unpack_array(&at, &count), n == 0 || n < 3);
    ae_buf_clear(&ours);
    ae_buf_clear(&theirs);
  }
  ae_free(bytes);
}

static void scalars_come_back(void **state) {
  (void)state;
  ae_buf buf = {0};
  static const double doubles[] = {0.0, -0.0, 0.1, 1e300, 5e-324, -INFINITY};
  ae_pack_nil(&buf);
  ae_pack_bool(&buf, true);
  ae_pack_bool(&buf, false);
  for (int i = 0; i < 6; i++) ae_pack_double(&buf, doubles[i]);
  ae_pack_cstr(&buf, "word");
  ae_pack_text(&buf, AE_STR("gr\xc3\xbc\xc3\x9f"));
  ae_pack_text(&buf, AE_STR("\xff"));
  ae_unpack at = ae_unpack_of(ae_buf_view(&buf));
  ae_pack_item item;
  assert_true(ae_unpack_nil(&at));
  assert_false(ae_unpack_nil(&at));
  assert_true(ae_unpack_next(&at, &item) && item.type == AE_PACK_BOOL);
  assert_true(item.b);
  assert_true(ae_unpack_next(&at, &item) && item.type == AE_PACK_BOOL);
  assert_false(item.b);
  for (int i = 0; i < 6; i++) {
    assert_true(ae_unpack_next(&at, &item) && item.type == AE_PACK_DOUBLE);
    assert_memory_equal(&item.d, &doubles[i], sizeof(double));
  }
  ae_str text;
  assert_true(ae_unpack_str(&at, &text) && ae_str_eq(text, AE_STR("word")));
  assert_true(ae_unpack_str(&at, &text));
  assert_true(ae_unpack_bin(&at, &text) && ae_str_eq(text, AE_STR("\xff")));
  assert_false(ae_unpack_next(&at, &item));
  ae_buf_clear(&buf);
}

static void a_failed_read_moves_nothing(void **state) {
  (void)state;
  ae_unpack at =
      ae_unpack_of(AE_STR("\xa3"
                          "abc"));
  const uint8_t *from = at.at;
  uint64_t u;
  int64_t i;
  uint32_t count;
  ae_str text;
  assert_false(ae_unpack_uint(&at, &u));
  assert_false(ae_unpack_int(&at, &i));
  assert_false(ae_unpack_array(&at, &count));
  assert_false(ae_unpack_map(&at, &count));
  assert_false(ae_unpack_bin(&at, &text));
  assert_false(ae_unpack_nil(&at));
  assert_ptr_equal(at.at, from);
  assert_true(ae_unpack_str(&at, &text));
  /* 2^63 fits no int64. */
  at = ae_unpack_of(AE_STR("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"));
  assert_false(ae_unpack_int(&at, &i));
  assert_true(ae_unpack_uint(&at, &u));
}

static void every_cut_of_a_value_is_damage(void **state) {
  (void)state;
  ae_buf buf = {0};
  ae_pack_map(&buf, 2);
  ae_pack_cstr(&buf, "list");
  ae_pack_array(&buf, 20);
  for (int i = 0; i < 20; i++) ae_pack_int(&buf, edges[i]);
  ae_pack_cstr(&buf, "more");
  ae_pack_bin(&buf, AE_STR("0123456789"));
  for (size_t cut = 0; cut < buf.len; cut++) {
    char *copy = ae_alloc(cut); /* exact, so that ASan sees a byte too far */
    memcpy(copy, buf.ptr, cut);
    assert_false(ae_pack_valid((ae_str){copy, cut}));
    ae_free(copy);
  }
  assert_true(ae_pack_valid(ae_buf_view(&buf)));
  ae_buf_byte(&buf, 0xc0);
  assert_false(ae_pack_valid(ae_buf_view(&buf)));
  ae_unpack at = ae_unpack_of(ae_buf_view(&buf));
  ae_str value;
  assert_true(ae_unpack_skip(&at, &value));
  assert_int_equal(value.len, buf.len - 1);
  assert_true(ae_unpack_nil(&at));
  ae_buf_clear(&buf);
}

static void ext_types_are_damage(void **state) {
  (void)state;
  static const uint8_t heads[] = {0xc1, 0xc7, 0xc8, 0xc9, 0xd4,
                                  0xd5, 0xd6, 0xd7, 0xd8};
  for (size_t i = 0; i < sizeof heads; i++) {
    char bytes[32] = {(char)heads[i], 1};
    assert_false(ae_pack_valid((ae_str){bytes, sizeof bytes}));
    ae_unpack at = ae_unpack_of((ae_str){bytes, sizeof bytes});
    ae_pack_item item;
    assert_false(ae_unpack_next(&at, &item));
  }
}

static void depth_is_bounded(void **state) {
  (void)state;
  for (int maps = 0; maps < 2; maps++) {
    for (int depth = AE_PACK_DEPTH - 1; depth <= AE_PACK_DEPTH + 1; depth++) {
      ae_buf buf = {0};
      for (int i = 0; i < depth; i++) {
        if (maps) {
          ae_pack_map(&buf, 1);
          ae_pack_int(&buf, i);
        } else {
          ae_pack_array(&buf, 1);
        }
      }
      ae_pack_nil(&buf);
      assert_int_equal(ae_pack_valid(ae_buf_view(&buf)),
                       depth <= AE_PACK_DEPTH);
      ae_buf_clear(&buf);
    }
  }
}

static void counts_beyond_the_bytes_are_damage(void **state) {
  (void)state;
  assert_false(ae_pack_valid(AE_STR("\xdd\xff\xff\xff\xff")));
  assert_false(ae_pack_valid(AE_STR("\xdf\xff\xff\xff\xff\xc0\xc0")));
  assert_false(
      ae_pack_valid(AE_STR("\xdb\xff\xff\xff\xff"
                           "abc")));
  assert_false(ae_pack_valid(AE_STR("\x92\xc0")));
  assert_false(ae_pack_valid(AE_STR("\x81\xc0")));
}

static void fields_are_found_among_other_keys(void **state) {
  (void)state;
  ae_buf buf = {0};
  ae_pack_map(&buf, 3);
  ae_pack_int(&buf, 1);
  ae_pack_cstr(&buf, "by number");
  ae_pack_cstr(&buf, "skip");
  ae_pack_array(&buf, 1);
  ae_pack_cstr(&buf, "name"); /* as a value, not a key */
  ae_pack_cstr(&buf, "name");
  ae_pack_int(&buf, 7);
  ae_str value;
  assert_true(ae_unpack_field(ae_buf_view(&buf), "name", &value));
  assert_true(ae_str_eq(value, AE_STR("\x07")));
  assert_false(ae_unpack_field(ae_buf_view(&buf), "nam", &value));
  assert_false(ae_unpack_field(AE_STR("\x93\x01\x02\x03"), "a", &value));
  assert_false(ae_unpack_field(AE_STR("\x82\xa1"
                                      "b\x01\xa1"
                                      "a"),
                               "a", &value));
  ae_buf_clear(&buf);
}

static void canonical(const char *what, ae_str from, ae_str to) {
  ae_buf out = {0};
  ae_buf_str(&out, AE_STR("before"));
  if (!ae_pack_canonical(from, &out)) fail_msg("%s: refused", what);
  ae_str got = {out.ptr + 6, out.len - 6};
  if (!ae_str_eq(got, to)) fail_msg("%s: another form", what);
  ae_buf_clear(&out);
}

static void canonical_sorts_and_shortens(void **state) {
  (void)state;
  canonical("keys",
            AE_STR("\x83\xa1"
                   "b\x01\xa1"
                   "a\x02\xa2"
                   "aa\x03"),
            AE_STR("\x83\xa1"
                   "a\x02\xa2"
                   "aa\x03\xa1"
                   "b\x01"));
  canonical("integers first",
            AE_STR("\x84\xa1"
                   "a\x01\x05\x02\xff\x03\xc4\x01"
                   "A\x04"),
            AE_STR("\x84\xff\x03\x05\x02\xa1"
                   "a\x01\xc4\x01"
                   "A\x04"));
  canonical("wide integers", AE_STR("\x92\xd3\0\0\0\0\0\0\0\x05\xce\0\0\1\0"),
            AE_STR("\x92\x05\xcd\1\0"));
  canonical("wide negative", AE_STR("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"),
            AE_STR("\xff"));
  canonical("wide strings", AE_STR("\xdb\0\0\0\1z"), AE_STR("\xa1z"));
  canonical("floats", AE_STR("\xca\x3f\x80\0\0"),
            AE_STR("\xcb\x3f\xf0\0\0\0\0\0\0"));
  canonical("inner",
            AE_STR("\x91\x82\xa1"
                   "b\x90\xa1"
                   "a\x80"),
            AE_STR("\x91\x82\xa1"
                   "a\x80\xa1"
                   "b\x90"));
  canonical("wide keys", AE_STR("\x82\xcd\0\x05\x01\x03\x02"),
            AE_STR("\x82\x03\x02\x05\x01"));
}

static void canonical_refuses_and_keeps_the_length(void **state) {
  (void)state;
  ae_buf out = {0};
  ae_buf_str(&out, AE_STR("before"));
  assert_false(ae_pack_canonical(AE_STR("\x81\xc0\x01"), &out)); /* nil key */
  assert_false(ae_pack_canonical(AE_STR("\x92\x01\x81\x90\x01"), &out));
  assert_false(ae_pack_canonical(AE_STR("\x92\x01"), &out));
  assert_false(ae_pack_canonical(AE_STR("\x01\x01"), &out));
  assert_false(ae_pack_canonical((ae_str){0}, &out));
  assert_int_equal(out.len, 6);
  ae_buf_clear(&out);
}

static void canonical_does_not_see_the_order(void **state) {
  (void)state;
  ae_uuid7 random = {.state = {9, 8, 7, 6}, .seeded = true};
  ae_buf first = {0};
  for (int round = 0; round < 50; round++) {
    int order[100];
    for (int i = 0; i < 100; i++) order[i] = i;
    for (int i = 99; i > 0; i--) {
      int j = (int)(ae_uuid7_random(&random) % (uint64_t)(i + 1));
      int kept = order[i];
      order[i] = order[j];
      order[j] = kept;
    }
    ae_buf map = {0}, out = {0};
    ae_pack_map(&map, 100);
    for (int i = 0; i < 100; i++) {
      char name[8];
      snprintf(name, sizeof name, "k%d", order[i]);
      ae_pack_cstr(&map, name);
      ae_pack_int(&map, order[i]);
    }
    assert_true(ae_pack_canonical(ae_buf_view(&map), &out));
    if (round == 0) {
      ae_buf_move(&first, &out);
    } else {
      assert_true(ae_str_eq(ae_buf_view(&first), ae_buf_view(&out)));
    }
    ae_buf_clear(&map);
    ae_buf_clear(&out);
  }
  ae_buf_clear(&first);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers_are_written_as_msgpack_c_does),
      cmocka_unit_test(lengths_are_written_as_msgpack_c_does),
      cmocka_unit_test(scalars_come_back),
      cmocka_unit_test(a_failed_read_moves_nothing),
      cmocka_unit_test(every_cut_of_a_value_is_damage),
      cmocka_unit_test(ext_types_are_damage),
      cmocka_unit_test(depth_is_bounded),
      cmocka_unit_test(counts_beyond_the_bytes_are_damage),
      cmocka_unit_test(fields_are_found_among_other_keys),
      cmocka_unit_test(canonical_sorts_and_shortens),
      cmocka_unit_test(canonical_refuses_and_keeps_the_length),
      cmocka_unit_test(canonical_does_not_see_the_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
