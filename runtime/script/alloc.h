/* The memory of one Lua state: one fixed reservation of address space, given
 * back at once when the state goes. Only the host knows where it is, and no
 * host pointer into it outlives a call. */
#ifndef AE_SCRIPT_ALLOC_H
#define AE_SCRIPT_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AE_HEAP_QUICK 520 /* bytes: blocks up to this size go by exact size */
#define AE_HEAP_FL 40     /* power-of-two ranges of free blocks */
#define AE_HEAP_SL 16     /* classes within each range */

typedef struct ae_heap {
  char *base;      /* the reservation */
  char *top;       /* end of the blocks; the block before it is never free */
  char *committed; /* readable and writable up to here */
  char *end;       /* of the reservation */
  size_t used;     /* bytes in blocks that the state holds, with headers */
  size_t limit;    /* `used` stays at or below it */
  size_t quiet;    /* bytes in quick lists */
  void *owner;     /* the ae_script: any Lua thread leads here */
  bool refused;    /* an allocation was refused since this was last cleared */
  void *quick[AE_HEAP_QUICK / 8 + 1]; /* freed small blocks, by size / 8 */
  uint64_t ranges;                    /* bit n: sizes[n] has a class */
  uint16_t classes[AE_HEAP_FL];       /* bit n: free[][n] is not empty */
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
