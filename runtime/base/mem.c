#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void refused(size_t size) {
  fprintf(stderr, "aether: the system refused %zu bytes of memory\n", size);
  abort();
}

void *ae_alloc(size_t size) {
  void *ptr = malloc(size ? size : 1);
  if (!ptr) refused(size);
  return ptr;
}

void *ae_zalloc(size_t size) {
  void *ptr = calloc(1, size ? size : 1);
  if (!ptr) refused(size);
  return ptr;
}

void *ae_aligned(size_t alignment, size_t size) {
  void *ptr = NULL;
  if (posix_memalign(&ptr, alignment, size)) refused(size);
  return ptr;
}

void *ae_realloc(void *ptr, size_t size) {
  ptr = realloc(ptr, size ? size : 1);
  if (!ptr) refused(size);
  return ptr;
}

void ae_free(void *ptr) {
  free(ptr);
}

char *ae_strdup(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(ae_alloc(size), text, size);
}

_Noreturn void ae_assert_failed(const char *what, const char *file, int line) {
  fprintf(stderr, "aether: bug: %s:%d: %s does not hold\n", file, line, what);
  abort();
}

_Noreturn void ae_assert_cmp_failed(const char *what, long long a, long long b,
                                    const char *file, int line) {
  fprintf(stderr, "aether: bug: %s:%d: %s does not hold: %lld, %lld\n", file,
          line, what, a, b);
  abort();
}
