/* The host's own heap. What a script may take is limited elsewhere
 * (script/alloc); here, memory that the system refuses ends the process with
 * a line on stderr, so callers need no branch that no test could reach. */
#ifndef AE_BASE_MEM_H
#define AE_BASE_MEM_H

#include <stddef.h>

void *ae_alloc(size_t size);  /* not cleared */
void *ae_zalloc(size_t size); /* cleared */
/* Not cleared, at a multiple of `alignment`, a power of two; not for realloc.
 */
void *ae_aligned(size_t alignment, size_t size);
void *ae_realloc(void *ptr, size_t size);
void ae_free(void *ptr); /* NULL is harmless */
char *ae_strdup(const char *text);

/* The struct that holds `member` at `ptr`. */
#define AE_CONTAINER(ptr, type, member) \
  ((type *)((char *)(ptr)-offsetof(type, member)))

/* A bug, not an input: prints both values and aborts, also in release. */
#define AE_ASSERT(condition) \
  ((condition) ? (void)0 : ae_assert_failed(#condition, __FILE__, __LINE__))
#define AE_ASSERT_CMP(a, op, b)                                         \
  (((a)op(b)) ? (void)0                                                 \
              : ae_assert_cmp_failed(#a " " #op " " #b, (long long)(a), \
                                     (long long)(b), __FILE__, __LINE__))
_Noreturn void ae_assert_failed(const char *what, const char *file, int line);
_Noreturn void ae_assert_cmp_failed(const char *what, long long a, long long b,
                                    const char *file, int line);

#endif
