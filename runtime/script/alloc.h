/* The memory of one Lua state: one fixed reservation of address space, given
 * back at once when the state goes. Only the host knows where it is, and no
 * host pointer into it outlives a call. */
#ifndef AE_SCRIPT_ALLOC_H
#define AE_SCRIPT_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AE_HEAP_SMALL 512 /* bytes: blocks up to this size lie in pages */
#define AE_HEAP_UNIT 16   /* of which their sizes are multiples */
#define AE_HEAP_PAGE 4096
#define AE_HEAP_WORDS (AE_HEAP_PAGE / AE_HEAP_UNIT / 64)
#define AE_HEAP_FL 40 /* power-of-two ranges of free blocks */
#define AE_HEAP_SL 16 /* classes within each range */

/* Small blocks of one size, side by side. */
typedef struct ae_heap_page {
  uint64_t free[AE_HEAP_WORDS]; /* bit n: the n-th block is */
  struct ae_heap_page *next;    /* in the ring, or behind it in `empty` */
  struct ae_heap_page *prev;    /* in the ring */
  uint32_t inverse;             /* 2^16 / units, rounded up */
  uint16_t units;               /* of a block's size */
  uint16_t count;               /* blocks */
  uint16_t room;                /* those that are free */
} ae_heap_page;

typedef struct ae_heap {
  char *base;      /* the reservation */
  char *top;       /* end of the large blocks; the last is never free */
  char *committed; /* readable and writable up to here */
  char *opened;    /* and from here */
  char *small;     /* start of the pages with small blocks */
  char *end;       /* of them; behind it lies what is known of the pages */
  size_t reserved; /* bytes in all */
  size_t used;     /* bytes in blocks that the state holds, with headers */
  size_t limit;    /* `used` stays at or below it */
  void *owner;     /* the ae_script: any Lua thread leads here */
  bool refused;    /* an allocation was refused since this was last cleared */
  ae_heap_page *pages; /* by number, from `base` */
  ae_heap_page *empty; /* those without a block */
  ae_heap_page *roomy[AE_HEAP_SMALL / AE_HEAP_UNIT + 1]; /* rings, by units */
  uint64_t ranges;              /* bit n: classes[n] is not 0 */
  uint16_t classes[AE_HEAP_FL]; /* bit n: free[][n] is not empty */
  struct ae_heap_block *free[AE_HEAP_FL][AE_HEAP_SL];
} ae_heap;

/* NULL with errno where the system refuses the reservation. */
ae_heap *ae__heap_open(size_t limit);
void ae__heap_close(ae_heap *heap); /* NULL is harmless */
/* lua_Alloc; `heap` is an ae_heap. Shrinking never fails. */
void *ae__heap_realloc(void *heap, void *ptr, size_t old, size_t size);
/* Walks all blocks and lists; false where they disagree. For tests. */
bool ae__heap_check(const ae_heap *heap);

#endif
