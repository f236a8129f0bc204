#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid7.h"

static void order_is_bytewise_and_shorter_first(void **state) {
  (void)state;
  assert_true(ae_str_cmp(AE_STR("a"), AE_STR("b")) < 0);
  assert_true(ae_str_cmp(AE_STR("a"), AE_STR("ab")) < 0);
  assert_true(ae_str_cmp(AE_STR("\xff"), AE_STR("a")) > 0);
  assert_int_equal(ae_str_cmp(AE_STR("a"), AE_STR("a")), 0);
  assert_int_equal(ae_str_cmp((ae_str){0}, AE_STR("")), 0);
  assert_true(ae_str_eq((ae_str){0}, AE_STR("")));
  assert_false(ae_str_eq(AE_STR("a"), AE_STR("b")));
}

static void utf8_is_checked_to_the_letter(void **state) {
  (void)state;
  static const char *const good[] = {
      "",
      "ascii only, and longer than one word",
      "\xc2\x80",
      "\xdf\xbf",
      "\xe0\xa0\x80",
      "\xed\x9f\xbf",
      "\xee\x80\x80",
      "\xef\xbf\xbf",
      "\xf0\x90\x80\x80",
      "\xf4\x8f\xbf\xbf",
      "gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c",
  };
  static const char *const bad[] = {
      "\x80",             /* a continuation alone */
      "\xc0\x80",         /* overlong */
      "\xc1\xbf",         /* overlong */
      "\xc2",             /* cut */
      "\xe0\x9f\xbf",     /* overlong */
      "\xe4\xb8",         /* cut */
      "\xed\xa0\x80",     /* a surrogate */
      "\xed\xbf\xbf",     /* a surrogate */
      "\xf0\x8f\xbf\xbf", /* overlong */
      "\xf4\x90\x80\x80", /* above U+10FFFF */
      "\xf5\x80\x80\x80",
      "\xff",
      "12345678\xff",
      "1234567\xc3",
      "\xe4\xb8 ",
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_true(ae_str_utf8(ae_str_of(good[i])));
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_false(ae_str_utf8(ae_str_of(bad[i])));
  }
  assert_true(ae_str_utf8((ae_str){"a\0b", 3}));
}

/* Every code point and every cut of it, against an encoder. */
static void every_code_point_is_known(void **state) {
  (void)state;
  for (uint32_t c = 0; c < 0x110400; c++) {
    char b[4];
    size_t len;
    if (c < 0x80) {
      b[0] = (char)c;
      len = 1;
    } else if (c < 0x800) {
      b[0] = (char)(0xc0 | c >> 6);
      b[1] = (char)(0x80 | (c & 63));
      len = 2;
    } else if (c < 0x10000) {
      b[0] = (char)(0xe0 | c >> 12);
      b[1] = (char)(0x80 | (c >> 6 & 63));
      b[2] = (char)(0x80 | (c & 63));
      len = 3;
    } else {
      b[0] = (char)(0xf0 | c >> 18);
      b[1] = (char)(0x80 | (c >> 12 & 63));
      b[2] = (char)(0x80 | (c >> 6 & 63));
      b[3] = (char)(0x80 | (c & 63));
      len = 4;
    }
    bool character = c < 0x110000 && (c < 0xd800 || c > 0xdfff);
    if (ae_str_utf8((ae_str){b, len}) != character) fail_msg("U+%04X", c);
    for (size_t cut = 1; cut < len; cut++) {
      if (ae_str_utf8((ae_str){b, cut})) fail_msg("U+%04X cut", c);
    }
  }
}

static void numbers_are_read_whole_or_not(void **state) {
  (void)state;
  uint64_t n = 5;
  assert_true(ae_str_uint(AE_STR("0"), &n) && n == 0);
  assert_true(ae_str_uint(AE_STR("007"), &n) && n == 7);
  assert_true(ae_str_uint(AE_STR("18446744073709551615"), &n));
  assert_true(n == UINT64_MAX);
  n = 5;
  static const char *const wrong[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "x",
                                      "18446744073709551616",
                                      "99999999999999999999"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_false(ae_str_uint(ae_str_of(wrong[i]), &n));
    assert_int_equal(n, 5);
  }
}

static const char *nearest(const char *name, const char *a, const char *b) {
  static char found[128];
  ae_nearest near;
  ae_nearest_init(&near, ae_str_of(name));
  ae_nearest_offer(&near, ae_str_of(a));
  ae_nearest_offer(&near, ae_str_of(b));
  ae_str best = ae_nearest_best(&near);
  snprintf(found, sizeof found, "%.*s", AE_FMT(best));
  return found;
}

static void the_nearest_name_is_suggested(void **state) {
  (void)state;
  assert_string_equal(nearest("withdrw", "deposit", "withdraw"), "withdraw");
  assert_string_equal(nearest("acount", "accounts", "account"), "account");
  assert_string_equal(nearest("depsoit", "deposit", "post"), "deposit");
  assert_string_equal(nearest("xyz", "deposit", "withdraw"), "");
  assert_string_equal(nearest("ab", "ba", "zz"), "ba"); /* a swap is one */
  assert_string_equal(nearest("a", "b", ""), "b");
  /* A third of six is two edits; three are too many. */
  assert_string_equal(nearest("abcdef", "abxxef", ""), "abxxef");
  assert_string_equal(nearest("abcdef", "axxxef", ""), "");
  /* The first of equally near ones. */
  assert_string_equal(nearest("cat", "car", "cap"), "car");
}

static void long_names_are_left_alone(void **state) {
  (void)state;
  char longer[100];
  memset(longer, 'a', 99);
  longer[99] = 0;
  assert_string_equal(nearest(longer, longer, "a"), "");
  assert_string_equal(nearest("a", longer, "a"), "a");
}

static void uuids_have_their_form(void **state) {
  (void)state;
  ae_uuid7 generator = {0};
  int64_t now = INT64_C(1700000000123456);
  ae_uuid id = ae_uuid7_make(&generator, now);
  assert_int_equal(id.bytes[6] >> 4, 7);
  assert_int_equal(id.bytes[8] >> 6, 2);
  assert_int_equal(id.bytes[12] >> 7, 0);
  uint64_t ms = 0;
  for (int i = 0; i < 6; i++) ms = ms << 8 | id.bytes[i];
  assert_int_equal(ms, now / 1000);
  char text[37];
  ae_uuid_format(id, text);
  assert_int_equal(strlen(text), 36);
  assert_int_equal(text[14], '7');
  ae_uuid again;
  assert_true(ae_uuid_parse(ae_str_of(text), &again));
  assert_memory_equal(&id, &again, sizeof id);
}

static void uuids_of_a_run_follow_each_other(void **state) {
  (void)state;
  ae_uuid7 generator = {0};
  ae_uuid base = ae_uuid7_make(&generator, 1);
  ae_uuid last = base;
  for (uint32_t n = 1; n < 1000; n++) {
    ae_uuid id = ae_uuid_plus(base, n);
    assert_true(memcmp(last.bytes, id.bytes, 16) < 0);
    assert_memory_equal(base.bytes, id.bytes, 12);
    last = id;
  }
  ae_uuid carry = {{[13] = 0xff, [14] = 0xff, [15] = 0xff}};
  assert_int_equal(ae_uuid_plus(carry, 1).bytes[12], 1);
}

static void later_uuids_sort_behind_earlier_ones(void **state) {
  (void)state;
  ae_uuid7 generator = {0};
  ae_uuid last = ae_uuid7_make(&generator, 0);
  for (int64_t now = 1; now < 20000; now++) {
    ae_uuid id = ae_uuid7_make(&generator, now);
    assert_true(memcmp(last.bytes, id.bytes, 16) < 0);
    last = id;
  }
}

static void wrong_uuids_are_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "",
      "0190163d-8694-739b-aea5-966c26f8ad9",
      "0190163d-8694-739b-aea5-966c26f8ad911",
      "0190163d_8694-739b-aea5-966c26f8ad91",
      "0190163g-8694-739b-aea5-966c26f8ad91",
      "0190163d8694-739b-aea5-966c26f8ad91--",
  };
  ae_uuid out;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_false(ae_uuid_parse(ae_str_of(wrong[i]), &out));
  }
  assert_true(
      ae_uuid_parse(AE_STR("0190163D-8694-739B-AEA5-966C26F8AD91"), &out));
}

static void two_generators_differ(void **state) {
  (void)state;
  ae_uuid7 a = {0}, b = {0};
  assert_true(ae_uuid7_random(&a) != ae_uuid7_random(&b));
}

static void clocks_go_on(void **state) {
  (void)state;
  assert_true(ae_clock_now() > INT64_C(1600000000000000));
  uint64_t from = ae_clock_mono();
  while (ae_clock_mono() == from) continue;
  assert_true(ae_clock_mono() > from);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_is_bytewise_and_shorter_first),
      cmocka_unit_test(utf8_is_checked_to_the_letter),
      cmocka_unit_test(every_code_point_is_known),
      cmocka_unit_test(numbers_are_read_whole_or_not),
      cmocka_unit_test(the_nearest_name_is_suggested),
      cmocka_unit_test(long_names_are_left_alone),
      cmocka_unit_test(uuids_have_their_form),
      cmocka_unit_test(uuids_of_a_run_follow_each_other),
      cmocka_unit_test(later_uuids_sort_behind_earlier_ones),
      cmocka_unit_test(wrong_uuids_are_refused),
      cmocka_unit_test(two_generators_differ),
      cmocka_unit_test(clocks_go_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
