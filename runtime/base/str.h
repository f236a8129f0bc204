/* A view of bytes that someone else owns; not NUL-terminated. */
#ifndef AE_BASE_STR_H
#define AE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct ae_str {
  const char *ptr;
  size_t len;
} ae_str;

#define AE_STR(literal) ((ae_str){(literal), sizeof(literal) - 1})
/* For printf's "%.*s". */
#define AE_FMT(s) (int)(s).len, (s).ptr

static inline ae_str ae_str_of(const char *text) {
  return (ae_str){text, text ? strlen(text) : 0};
}

static inline bool ae_str_eq(ae_str a, ae_str b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int ae_str_cmp(ae_str a, ae_str b); /* bytewise, shorter first */
bool ae_str_utf8(ae_str s);         /* valid UTF-8 (no surrogates, overlongs) */
/* Private: the length of the well-formed sequence at `at`, 0 for none; `left`
 * is 1 at least. */
size_t ae__str_sequence(const uint8_t *at, size_t left);
/* Decimal without sign, whole string, fits: true. */
bool ae_str_uint(ae_str s, uint64_t *out);

/* The candidate nearest to `name` by edit distance (Damerau, restricted), or
 * an empty str when none is near enough to be worth suggesting (distance over
 * a third of the longer name, at least 1). */
typedef struct ae_nearest {
  ae_str name;
  ae_str best;
  size_t distance;
} ae_nearest;
void ae_nearest_init(ae_nearest *nearest, ae_str name);
void ae_nearest_offer(ae_nearest *nearest, ae_str candidate);
ae_str ae_nearest_best(const ae_nearest *nearest);

#endif
