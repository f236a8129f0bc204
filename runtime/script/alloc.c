/* Small blocks lie in pages of one size each, the others in a two-level
 * segregated fit with coalescing.
 *
 * The collector frees in the order of its list and Lua allocates all the time,
 * and with thousands of actors nothing of it is still in the cache. So what is
 * known of the blocks of a page is kept apart, densely: freeing one touches
 * nothing of the block, and the next are taken side by side, where the
 * processor fetches them ahead.
 *
 *   base      top   committed       opened   small           end
 *    │ large … │      │  (no access)  │        │ small … small │ known of pages
 *
 * A large block is an 8-byte head (size and flags) and its payload. A free one
 * also holds list links and, in its last 8 bytes, its size, which the block
 * behind it reads when it is freed.
 *
 *  1. No two free blocks are neighbours, and the last block is never free.
 *  2. Every block's BEFORE_FREE bit says whether the one before it is free.
 *  3. A page is in the ring of its size while it has room and holds a block; in
 *     `empty` while it holds none, and may take any size then. */
#include "script/alloc.h"

#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#define FREE 1u
#define BEFORE_FREE 2u
#define FLAGS ((size_t)7)
#define LEAST 32                 /* head, two links, size */
#define STEP ((size_t)256 << 10) /* the regions grow by at least this */
#define PAGE AE_HEAP_PAGE
#define UNIT AE_HEAP_UNIT
#define AHEAD 2 /* blocks that are fetched before they are taken */

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

static bool commit(ae_heap *heap, size_t size) {
  size_t have = (size_t)(heap->committed - heap->top);
  if (have >= size) return true;
  size_t room = (size_t)(heap->opened - heap->committed);
  size_t more = (size_t)(heap->committed - heap->base) / 8;
  if (more < STEP) more = STEP;
  if (more < size - have) more = size - have;
  more = (more + PAGE - 1) & ~(size_t)(PAGE - 1);
  if (more > room) more = room;
  if (have + more < size) return false;
  if (mprotect(heap->committed, more, PROT_READ | PROT_WRITE)) return false;
  heap->committed += more;
  return true;
}

static block *take(ae_heap *heap, size_t size) {
  block *b = list_find(heap, size);
  if (b) {
    list_remove(heap, b);
    split(heap, b, size);
    return b;
  }
  /* One head stays readable behind the last block. */
  if (!commit(heap, size + sizeof(block))) return NULL;
  b = (block *)heap->top;
  b->head = size;
  heap->top += size;
  ((block *)heap->top)->head = 0;
  return b;
}

/* -- small blocks -- */

typedef ae_heap_page page;

static bool is_small(const ae_heap *heap, const void *ptr) {
  return (const char *)ptr >= heap->small;
}

static size_t small_size(const page *p) {
  return (size_t)p->units * UNIT;
}

static page *page_of(const ae_heap *heap, const void *ptr) {
  return &heap->pages[(size_t)((const char *)ptr - heap->base) / PAGE];
}

static char *start_of(const ae_heap *heap, const page *p) {
  return heap->base + (size_t)(p - heap->pages) * PAGE;
}

/* Behind the last of the ring, whose first is *ring. */
static void ring_push(page **ring, page *p) {
  if (*ring) {
    p->next = *ring;
    p->prev = p->next->prev;
    p->prev->next = p->next->prev = p;
  } else {
    *ring = p->next = p->prev = p;
  }
}

static void ring_remove(page **ring, page *p) {
  if (*ring == p) *ring = p->next != p ? p->next : NULL;
  p->next->prev = p->prev;
  p->prev->next = p->next;
}

/* A page that was never used, or NULL. */
static page *page_fresh(ae_heap *heap) {
  if (heap->small == heap->opened) {
    size_t more = (size_t)(heap->opened - heap->committed);
    if (more > STEP) more = STEP;
    if (more == 0) return NULL;
    char *opened = heap->opened - more;
    if (mprotect(opened, more, PROT_READ | PROT_WRITE)) return NULL;
    heap->opened = opened;
  }
  heap->small -= PAGE;
  return page_of(heap, heap->small);
}

/* Out of line, as all that is rare: what is left of taking and freeing then
 * saves no registers. */
#define RARE __attribute__((noinline, cold))

RARE static page *page_take(ae_heap *heap, unsigned units) {
  page *p = heap->empty;
  if (p)
    heap->empty = p->next;
  else if (!(p = page_fresh(heap)))
    return NULL;
  unsigned count = PAGE / UNIT / units;
  p->units = (uint16_t)units;
  p->inverse = (0xffff + units) / units;
  p->count = p->room = (uint16_t)count;
  for (unsigned i = 0; i < AE_HEAP_WORDS; i++) {
    unsigned left = count > 64 * i ? count - 64 * i : 0;
    p->free[i] = left < 64 ? (UINT64_C(1) << left) - 1 : UINT64_MAX;
  }
  ring_push(&heap->roomy[units], p);
  return p;
}

static void *small_alloc(ae_heap *heap, size_t bytes) {
  unsigned units = (unsigned)((bytes + UNIT - 1) / UNIT);
  size_t size = (size_t)units * UNIT;
  if (heap->used + size > heap->limit) return NULL;
  page *p = heap->roomy[units];
  if (!p && !(p = page_take(heap, units))) return NULL;
  unsigned i = 0;
  while (!p->free[i]) i++;
  unsigned n = 64 * i + (unsigned)__builtin_ctzll(p->free[i]);
  p->free[i] &= p->free[i] - 1;
  if (--p->room == 0) ring_remove(&heap->roomy[units], p);
  heap->used += size;
  char *ptr = start_of(heap, p) + n * size;
  /* Probably the next, and swept long ago: no longer in the cache. */
  __builtin_prefetch(ptr + AHEAD * size, 1);
  return ptr;
}

/* It was full, or is empty now. */
RARE static void page_turned(ae_heap *heap, page *p) {
  page **ring = &heap->roomy[p->units];
  if (p->room == 1) ring_push(ring, p);
  if (p->room < p->count) return;
  ring_remove(ring, p);
  p->next = heap->empty;
  heap->empty = p;
}

static void small_free(ae_heap *heap, void *ptr) {
  page *p = page_of(heap, ptr);
  uint32_t unit = (uint32_t)((uintptr_t)ptr % PAGE / UNIT);
  uint32_t n = unit * p->inverse >> 16; /* exact: far below 2^16 */
  p->free[n / 64] |= UINT64_C(1) << n % 64;
  heap->used -= small_size(p);
  unsigned room = ++p->room;
  if (room == 1 || room == p->count) page_turned(heap, p);
}

/* -- all blocks -- */

RARE static void *large_alloc(ae_heap *heap, size_t bytes) {
  if (bytes > (size_t)(heap->end - heap->base)) return NULL;
  size_t size = (bytes + 8 + 7) & ~(size_t)7;
  if (heap->used + size > heap->limit) return NULL;
  block *b = take(heap, size);
  if (!b) return NULL;
  heap->used += size_of(b);
  return payload(b);
}

static void *heap_alloc(ae_heap *heap, size_t bytes) {
  void *ptr = bytes <= AE_HEAP_SMALL ? small_alloc(heap, bytes)
                                     : large_alloc(heap, bytes);
  if (!ptr) heap->refused = true;
  return ptr;
}

RARE static void large_free(ae_heap *heap, void *ptr) {
  block *b = block_of(ptr);
  heap->used -= size_of(b);
  release(heap, b);
}

static void heap_free(ae_heap *heap, void *ptr) {
  if (is_small(heap, ptr))
    small_free(heap, ptr);
  else
    large_free(heap, ptr);
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

/* A large block made shorter or longer where it stands; false where it cannot.
 */
static bool resize(ae_heap *heap, block *b, size_t bytes) {
  size_t have = size_of(b);
  size_t size = (bytes + 8 + 7) & ~(size_t)7;
  if (size < LEAST) size = LEAST;
  if (size <= have)
    split(heap, b, size);
  else if (heap->used + size - have > heap->limit || !extend(heap, b, size))
    return false;
  heap->used = heap->used - have + size_of(b);
  return true;
}

RARE static void *heap_resize(ae_heap *heap, void *ptr, size_t bytes) {
  if (bytes > (size_t)(heap->end - heap->base)) {
    heap->refused = true;
    return NULL;
  }
  size_t have;
  if (is_small(heap, ptr)) {
    have = small_size(page_of(heap, ptr));
    if (bytes <= have) return ptr;
  } else {
    have = size_of(block_of(ptr)) - 8;
    if (resize(heap, block_of(ptr), bytes)) return ptr;
  }
  void *fresh = heap_alloc(heap, bytes);
  if (!fresh) return NULL;
  memcpy(fresh, ptr, have);
  heap_free(heap, ptr);
  return fresh;
}

void *ae__heap_realloc(void *heap, void *ptr, size_t old, size_t bytes) {
  (void)old;
  if (!ptr) return bytes ? heap_alloc(heap, bytes) : NULL;
  if (bytes > 0) return heap_resize(heap, ptr, bytes);
  heap_free(heap, ptr);
  return NULL;
}

ae_heap *ae__heap_open(size_t limit) {
  /* Three times the limit: a table or buffer is copied as it grows, blocks lie
   * scattered, and what small ones leave is not for large ones. Pages that are
   * not touched cost nothing. */
  size_t room = (3 * limit + 8 * STEP + PAGE - 1) & ~(size_t)(PAGE - 1);
  size_t known = room / PAGE * sizeof(page);
  char *base = mmap(NULL, room + known, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return NULL;
  if (mprotect(base + room, known, PROT_READ | PROT_WRITE)) {
    munmap(base, room + known);
    return NULL;
  }
  ae_heap *heap = ae_zalloc(sizeof *heap);
  heap->base = heap->top = heap->committed = base;
  heap->end = heap->opened = heap->small = base + room;
  heap->pages = (page *)heap->end;
  heap->reserved = room + known;
  heap->limit = limit;
  return heap;
}

void ae__heap_close(ae_heap *heap) {
  if (!heap) return;
  munmap(heap->base, heap->reserved);
  ae_free(heap);
}

/* Adds the bytes in blocks that are held. */
static bool check_pages(const ae_heap *heap, size_t *held) {
  size_t roomy = 0, empty = 0;
  for (const char *at = heap->small; at < heap->end; at += PAGE) {
    const page *p = page_of(heap, at);
    unsigned count = p->count, room = 0;
    for (unsigned i = 0; i < AE_HEAP_WORDS; i++)
      room += (unsigned)__builtin_popcountll(p->free[i]);
    if (room != p->room || room > count) return false;
    roomy += room > 0 && room < count;
    empty += room == count;
    *held += (count - room) * small_size(p);
  }
  for (unsigned units = 1; units <= AE_HEAP_SMALL / UNIT; units++) {
    const page *p = heap->roomy[units];
    if (!p) continue;
    do {
      if (p->units != units || p->next->prev != p) return false;
      roomy--;
    } while ((p = p->next) != heap->roomy[units]);
  }
  for (const page *p = heap->empty; p; p = p->next) empty--;
  return roomy == 0 && empty == 0;
}

bool ae__heap_check(const ae_heap *heap) {
  size_t taken = 0, free_blocks = 0;
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
  return free_blocks == 0 && check_pages(heap, &taken) && taken == heap->used;
}
