#include "base/str.h"

#define NEAREST_MAX 64 /* longer names are compared with nothing */

int ae_str_cmp(ae_str a, ae_str b) {
  size_t common = a.len < b.len ? a.len : b.len;
  int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
  if (order) return order;
  return (a.len > b.len) - (a.len < b.len);
}

/* Unicode, table 3-7: no overlongs, no surrogates, nothing above U+10FFFF. */
size_t ae__str_sequence(const uint8_t *at, size_t left) {
  uint8_t lead = at[0];
  if (lead < 0x80) return 1;
  size_t len;
  uint8_t low = 0x80, high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    len = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    len = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    len = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (left < len || at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < len; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return len;
}

bool ae_str_utf8(ae_str s) {
  const uint8_t *at = (const uint8_t *)s.ptr;
  size_t left = s.len;
  while (left) {
    while (left >= 8) {
      uint64_t word;
      memcpy(&word, at, 8);
      if (word & UINT64_C(0x8080808080808080)) break;
      at += 8;
      left -= 8;
    }
    if (!left) break;
    size_t len = ae__str_sequence(at, left);
    if (!len) return false;
    at += len;
    left -= len;
  }
  return true;
}

bool ae_str_uint(ae_str s, uint64_t *out) {
  if (s.len == 0) return false;
  uint64_t value = 0;
  for (size_t i = 0; i < s.len; i++) {
    if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
    if (__builtin_mul_overflow(value, 10, &value)) return false;
    if (__builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value)) {
      return false;
    }
  }
  *out = value;
  return true;
}

static size_t min(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Damerau-Levenshtein, restricted: neighbours swapped count once, and no part
 * is edited twice. Both at most NEAREST_MAX. */
static size_t distance(ae_str a, ae_str b) {
  size_t rows[3][NEAREST_MAX + 1];
  size_t *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= b.len; j++) above[j] = j;
  for (size_t i = 1; i <= a.len; i++) {
    row[0] = i;
    for (size_t j = 1; j <= b.len; j++) {
      size_t cost = a.ptr[i - 1] != b.ptr[j - 1];
      size_t best = min(above[j] + 1, row[j - 1] + 1);
      best = min(best, above[j - 1] + cost);
      if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
          a.ptr[i - 2] == b.ptr[j - 1]) {
        best = min(best, before[j - 2] + 1);
      }
      row[j] = best;
    }
    size_t *spare = before;
    before = above;
    above = row;
    row = spare;
  }
  return above[b.len];
}

void ae_nearest_init(ae_nearest *nearest, ae_str name) {
  *nearest = (ae_nearest){.name = name, .distance = SIZE_MAX};
}

void ae_nearest_offer(ae_nearest *nearest, ae_str candidate) {
  ae_str name = nearest->name;
  if (name.len > NEAREST_MAX || candidate.len > NEAREST_MAX) return;
  if (candidate.len == 0) return;
  size_t longer = name.len > candidate.len ? name.len : candidate.len;
  size_t most = longer / 3 ? longer / 3 : 1;
  size_t here = distance(name, candidate);
  if (here > most || here >= nearest->distance) return;
  nearest->best = candidate;
  nearest->distance = here;
}

ae_str ae_nearest_best(const ae_nearest *nearest) {
  return nearest->best;
}
