/* Sorting what a script made: the call can be left meanwhile. (The C library's
 * qsort has memory of its own and comes to its end first.) */
#include <string.h>

#include "script/state.h"

#define KEEP (64u << 10) /* bytes of scratch that stay */

/* Few words: the call of a copy would cost more. */
static void copy(void *to, const void *from, size_t size) {
  uint64_t *words = to;
  const uint64_t *others = from;
  for (size_t i = 0; i < size / sizeof *words; i++) words[i] = others[i];
}

typedef struct sorting {
  size_t size;
  int (*compare)(const void *, const void *);
  char *scratch; /* room for all */
  size_t steps;
} sorting;

/* From the top down: the halves of halves stay in the cache, with the texts
 * that are compared. */
static void sort(sorting *it, char *items, size_t count) {
  if (count < 2) return;
  size_t size = it->size, middle = count / 2;
  char *right = items + middle * size, *end = items + count * size;
  sort(it, items, middle);
  sort(it, right, count - middle);
  memcpy(it->scratch, items, middle * size);
  const char *left = it->scratch, *split = left + middle * size;
  for (char *to = items; left < split; to += size) {
    ae__poll_each(it->steps++);
    if (right < end && it->compare(right, left) < 0) {
      copy(to, right, size);
      right += size;
    } else {
      copy(to, left, size);
      left += size;
    }
  }
}

void ae__sort(ae_script *script, void *items, size_t count, size_t size,
              int (*compare)(const void *, const void *)) {
  ae_buf *scratch = &script->scratch;
  ae_buf_reset(scratch);
  ae_buf_reserve(scratch, count * size);
  sorting it = {size, compare, scratch->ptr, 0};
  sort(&it, items, count);
  if (scratch->cap > KEEP) ae_buf_clear(scratch);
}
