/* Two-level segregated fit with coalescing, behind exact-size quick lists.
 *
 * A block is an 8-byte head (size and flags) and its payload. A free block
 * also holds list links and, in its last 8 bytes, its size, which the block
 * behind it reads when it is freed.
 *
 *  1. No two free blocks are neighbours, and the last block is never free.
 *  2. A block in a quick list counts as taken: it is neither merged nor split
 *     until the lists are emptied, before the region grows for want of it.
 *  3. Every block's BEFORE_FREE bit says whether the one before it is free. */
#include "script/alloc.h"

#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define FREE 1u
#define BEFORE_FREE 2u
#define FLAGS ((size_t)7)
#define LEAST 32                 /* head, two links, size */
#define STEP ((size_t)256 << 10) /* the region grows by at least this */

typedef struct ae_heap_block {
  size_t head;
  struct ae_heap_block *next; /* where free */
  struct ae_heap_block *prev;
} block;

static size_t size_of(const block *b) {
  return b->head & ~FLAGS;
}
static block *behind(block *b) {
  return (block *)((char *)b + size_of(b));
}
static block *block_of(void *ptr) {
  return (block *)((char *)ptr - 8);
}
static void *payload(block *b) {
  return (char *)b + 8;
}

static int log2_of(size_t size) {
  return 63 - __builtin_clzl(size);
}

static void class_of(size_t size, int *fl, int *sl) {
  if (size < 512) {
    *fl = 0;
    *sl = (int)(size >> 5);
  } else {
    int log = log2_of(size);
    *fl = log - 8;
    *sl = (int)(size >> (log - 4)) & (AE_HEAP_SL - 1);
  }
}

static void list_add(ae_heap *heap, block *b) {
  int fl, sl;
  size_t size = size_of(b);
  class_of(size, &fl, &sl);
  b->head |= FREE;
  memcpy((char *)b + size - 8, &size, 8);
  b->prev = NULL;
  b->next = heap->free[fl][sl];
  if (b->next) b->next->prev = b;
  heap->free[fl][sl] = b;
  heap->classes[fl] |= (uint16_t)(1u << sl);
  heap->ranges |= UINT64_C(1) << fl;
  behind(b)->head |= BEFORE_FREE;
}

static void list_remove(ae_heap *heap, block *b) {
  int fl, sl;
  class_of(size_of(b), &fl, &sl);
  if (b->next) b->next->prev = b->prev;
  if (b->prev) {
    b->prev->next = b->next;
  } else {
    heap->free[fl][sl] = b->next;
    if (!b->next) {
      heap->classes[fl] &= (uint16_t) ~(1u << sl);
      if (!heap->classes[fl]) heap->ranges &= ~(UINT64_C(1) << fl);
    }
  }
  b->head &= ~(size_t)FREE;
  behind(b)->head &= ~(size_t)BEFORE_FREE;
}

/* A free block of at least `size`, or NULL. Rounding up to the next class
 * makes every block of the class found large enough. */
static block *list_find(const ae_heap *heap, size_t size) {
  int fl, sl;
  size += size < 512 ? 31 : ((size_t)1 << (log2_of(size) - 4)) - 1;
  class_of(size, &fl, &sl);
  if (fl >= AE_HEAP_FL) return NULL;
  unsigned classes = heap->classes[fl] & (~0u << sl);
  if (!classes) {
    uint64_t ranges = heap->ranges & (~UINT64_C(1) << fl);
    if (!ranges) return NULL;
    fl = __builtin_ctzl(ranges);
    classes = heap->classes[fl];
  }
  return heap->free[fl][__builtin_ctz(classes)];
}

/* Gives a taken block back to the lists or to the region's end. */
static void release(ae_heap *heap, block *b) {
  if (b->head & BEFORE_FREE) {
    size_t size;
    memcpy(&size, (char *)b - 8, 8);
    block *before = (block *)((char *)b - size);
    list_remove(heap, before);
    before->head += size_of(b);
    b = before;
  }
  block *after = behind(b);
  if ((char *)after < heap->top && (after->head & FREE)) {
    list_remove(heap, after);
    b->head += size_of(after);
    after = behind(b);
  }
  if ((char *)after == heap->top) {
    heap->top = (char *)b;
  } else {
    list_add(heap, b);
  }
}

/* Cuts a taken block down to `size` where the rest can be a block. */
static void split(ae_heap *heap, block *b, size_t size) {
  size_t rest = size_of(b) - size;
  if (rest < LEAST) return;
  b->head -= rest;
  block *tail = behind(b);
  tail->head = rest;
  release(heap, tail);
}

static void empty_quick(ae_heap *heap) {
  for (size_t i = 0; i <= AE_HEAP_QUICK / 8; i++) {
    void *at = heap->quick[i];
    heap->quick[i] = NULL;
    while (at) {
      void *next = *(void **)at;
      release(heap, block_of(at));
      at = next;
    }
  }
  heap->quiet = 0;
}

static bool commit(ae_heap *heap, size_t size) {
  size_t have = (size_t)(heap->committed - heap->top);
  if (have >= size) return true;
  size_t room = (size_t)(heap->end - heap->committed);
  size_t more = (size_t)(heap->committed - heap->base) / 8;
  if (more < STEP) more = STEP;
  if (more < size - have) more = size - have;
  more = (more + 4095) & ~(size_t)4095;
  if (more > room) more = room;
  if (have + more < size) return false;
  if (mprotect(heap->committed, more, PROT_READ | PROT_WRITE)) return false;
  heap->committed += more;
  return true;
}

static block *take(ae_heap *heap, size_t size) {
  for (bool emptied = false;; emptied = true) {
    block *b = list_find(heap, size);
    if (b) {
      list_remove(heap, b);
      split(heap, b, size);
      return b;
    }
    size_t have = (size_t)(heap->committed - heap->top);
    size_t all = (size_t)(heap->committed - heap->base);
    if (have < size && !emptied && heap->quiet > all / 4) {
      empty_quick(heap);
      continue;
    }
    /* One head stays readable behind the last block. */
    if (commit(heap, size + sizeof(block))) {
      b = (block *)heap->top;
      b->head = size;
      heap->top += size;
      ((block *)heap->top)->head = 0;
      return b;
    }
    if (emptied || heap->quiet == 0) return NULL;
    empty_quick(heap);
  }
}

static void *heap_alloc(ae_heap *heap, size_t bytes) {
  if (bytes > (size_t)(heap->end - heap->base)) {
    heap->refused = true;
    return NULL;
  }
  size_t size = (bytes + 8 + 7) & ~(size_t)7;
  if (size < LEAST) size = LEAST;
  if (heap->used + size > heap->limit) {
    heap->refused = true;
    return NULL;
  }
  if (size <= AE_HEAP_QUICK && heap->quick[size / 8]) {
    void *ptr = heap->quick[size / 8];
    void *next = *(void **)ptr;
    heap->quick[size / 8] = next;
    __builtin_prefetch(next, 1); /* swept long ago: no longer in the cache */
    heap->quiet -= size;
    heap->used += size;
    return ptr;
  }
  block *b = take(heap, size);
  if (!b) {
    heap->refused = true;
    return NULL;
  }
  heap->used += size_of(b);
  return payload(b);
}

static void heap_free(ae_heap *heap, void *ptr) {
  block *b = block_of(ptr);
  size_t size = size_of(b);
  heap->used -= size;
  if (size <= AE_HEAP_QUICK) {
    *(void **)ptr = heap->quick[size / 8];
    heap->quick[size / 8] = ptr;
    heap->quiet += size;
  } else {
    release(heap, b);
  }
}

/* Makes a taken block longer where it stands; false where it cannot. */
static bool extend(ae_heap *heap, block *b, size_t size) {
  size_t have = size_of(b);
  block *after = behind(b);
  if ((char *)after == heap->top) {
    size_t more = size - have;
    if (!commit(heap, more + sizeof(block))) return false;
    b->head += more;
    heap->top += more;
    ((block *)heap->top)->head = 0;
    return true;
  }
  if (!(after->head & FREE) || have + size_of(after) < size) return false;
  list_remove(heap, after);
  b->head += size_of(after);
  split(heap, b, size);
  return true;
}

void *ae__heap_realloc(void *data, void *ptr, size_t old, size_t bytes) {
  ae_heap *heap = data;
  (void)old;
  if (!ptr) return bytes ? heap_alloc(heap, bytes) : NULL;
  if (bytes == 0) {
    heap_free(heap, ptr);
    return NULL;
  }
  block *b = block_of(ptr);
  size_t have = size_of(b);
  if (bytes <= have - 8) {
    size_t size = (bytes + 8 + 7) & ~(size_t)7;
    if (size < LEAST) size = LEAST;
    split(heap, b, size);
    heap->used -= have - size_of(b);
    return ptr;
  }
  if (bytes > (size_t)(heap->end - heap->base)) {
    heap->refused = true;
    return NULL;
  }
  size_t size = (bytes + 8 + 7) & ~(size_t)7;
  if (heap->used + size - have > heap->limit) {
    heap->refused = true;
    return NULL;
  }
  if (extend(heap, b, size)) {
    heap->used += size_of(b) - have;
    return ptr;
  }
  void *fresh = heap_alloc(heap, bytes);
  if (!fresh) return NULL;
  memcpy(fresh, ptr, have - 8);
  heap_free(heap, ptr);
  return fresh;
}

ae_heap *ae__heap_open(size_t limit) {
  /* Twice the limit: a table or buffer is copied as it grows, and blocks lie
   * scattered. Pages that are not touched cost nothing. */
  size_t room = (2 * limit + 4 * STEP + 4095) & ~(size_t)4095;
  void *base = mmap(NULL, room, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return NULL;
  ae_heap *heap = ae_zalloc(sizeof *heap);
  heap->base = heap->top = heap->committed = base;
  heap->end = heap->base + room;
  heap->limit = limit;
  return heap;
}

void ae__heap_close(ae_heap *heap) {
  if (!heap) return;
  munmap(heap->base, (size_t)(heap->end - heap->base));
  ae_free(heap);
}

bool ae__heap_check(const ae_heap *heap) {
  size_t taken = 0, quiet = 0, free_blocks = 0;
  bool before_free = false;
  for (char *at = heap->base; at < heap->top;) {
    block *b = (block *)at;
    size_t size = size_of(b);
    if (size < LEAST || size > (size_t)(heap->top - at)) return false;
    if (!!(b->head & BEFORE_FREE) != before_free) return false;
    if (b->head & FREE) {
      size_t foot;
      memcpy(&foot, at + size - 8, 8);
      if (before_free || foot != size) return false;
      free_blocks++;
    } else {
      taken += size;
    }
    before_free = (b->head & FREE) != 0;
    at += size;
  }
  if (before_free) return false;
  for (size_t i = 0; i <= AE_HEAP_QUICK / 8; i++) {
    for (void *at = heap->quick[i]; at; at = *(void **)at) {
      if (size_of(block_of(at)) != i * 8) return false;
      quiet += i * 8;
    }
  }
  for (int fl = 0; fl < AE_HEAP_FL; fl++) {
    for (int sl = 0; sl < AE_HEAP_SL; sl++) {
      for (block *b = heap->free[fl][sl]; b; b = b->next) {
        int of, os;
        class_of(size_of(b), &of, &os);
        if (of != fl || os != sl || !(b->head & FREE)) return false;
        free_blocks--;
      }
      if (!heap->free[fl][sl] != !(heap->classes[fl] >> sl & 1)) return false;
    }
  }
  return free_blocks == 0 && quiet == heap->quiet &&
         taken == heap->used + quiet;
}
