#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script/alloc.h"

static uint64_t seed;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

typedef struct piece {
  unsigned char *ptr;
  size_t size;
  unsigned char fill;
} piece;

static void check_fill(const piece *p) {
  for (size_t i = 0; i < p->size; i++) {
    assert_int_equal(p->ptr[i], p->fill);
  }
}

static size_t any_size(void) {
  switch (draw(10)) {
    case 0:
      return 1 + draw(100000);
    case 1:
    case 2:
      return 1 + draw(4000);
    default:
      return 1 + draw(300);
  }
}

/* Against the trivially right model: every byte keeps what was written. */
static void keeps_every_byte(void **unused) {
  (void)unused;
  enum { PIECES = 400 };
  static piece pieces[PIECES];
  for (seed = 1; seed < 6; seed++) {
    uint64_t round = seed;
    ae_heap *heap = ae__heap_open((size_t)4 << 20);
    assert_non_null(heap);
    for (int step = 0; step < 40000; step++) {
      piece *p = &pieces[draw(PIECES)];
      if (p->ptr) check_fill(p);
      size_t size = draw(3) ? any_size() : 0;
      void *fresh = ae__heap_realloc(heap, p->ptr, p->size, size);
      if (size == 0) {
        assert_null(fresh);
        p->ptr = NULL;
        p->size = 0;
      } else if (fresh) {
        size_t kept = p->size < size ? p->size : size;
        p->ptr = fresh;
        for (size_t i = 0; i < kept; i++) {
          assert_int_equal(p->ptr[i], p->fill);
        }
        p->size = size;
        p->fill = (unsigned char)draw(256);
        memset(p->ptr, p->fill, size);
      } else {
        assert_true(size > p->size); /* shrinking never fails */
      }
      if (step % 512 == 0) assert_true(ae__heap_check(heap));
      assert_true(heap->used <= heap->limit);
    }
    for (int i = 0; i < PIECES; i++) {
      ae__heap_realloc(heap, pieces[i].ptr, pieces[i].size, 0);
      pieces[i] = (piece){0};
    }
    assert_true(ae__heap_check(heap));
    assert_int_equal(heap->used, 0);
    ae__heap_close(heap);
    seed = round;
  }
}

static void refuses_above_its_limit(void **unused) {
  (void)unused;
  ae_heap *heap = ae__heap_open((size_t)1 << 20);
  void *half = ae__heap_realloc(heap, NULL, 0, 600000);
  assert_non_null(half);
  assert_false(heap->refused);
  assert_null(ae__heap_realloc(heap, NULL, 0, 600000));
  assert_true(heap->refused);
  heap->refused = false;
  assert_null(ae__heap_realloc(heap, half, 600000, 1100000));
  assert_true(heap->refused);
  heap->refused = false;
  assert_null(ae__heap_realloc(heap, NULL, 0, SIZE_MAX - 3));
  assert_null(ae__heap_realloc(heap, half, 600000, SIZE_MAX - 3));
  assert_true(heap->refused);
  /* What was refused took nothing. */
  ae__heap_realloc(heap, half, 600000, 0);
  assert_int_equal(heap->used, 0);
  void *whole = ae__heap_realloc(heap, NULL, 0, 1040000);
  assert_non_null(whole);
  ae__heap_close(heap);
}

/* Small blocks that were freed leave their room to large ones, */
static void small_then_large(void **unused) {
  (void)unused;
  enum { COUNT = 9000 };
  static void *small[COUNT];
  ae_heap *heap = ae__heap_open((size_t)1 << 20);
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < COUNT; i++) {
      small[i] = ae__heap_realloc(heap, NULL, 0, 100);
      assert_non_null(small[i]);
    }
    for (int i = 0; i < COUNT; i++) {
      ae__heap_realloc(heap, small[i], 100, 0);
    }
    void *large = ae__heap_realloc(heap, NULL, 0, 1000000);
    assert_non_null(large);
    ae__heap_realloc(heap, large, 1000000, 0);
    assert_true(ae__heap_check(heap));
  }
  ae__heap_close(heap);
}

/* and to small ones of any other size. */
static void small_then_small(void **unused) {
  (void)unused;
  enum { MOST = 70000 };
  static void *blocks[MOST];
  ae_heap *heap = ae__heap_open((size_t)1 << 20);
  for (size_t size = 16; size <= 600; size += 8) {
    size_t count = 0, wanted = ((size_t)1 << 20) / (size + 32);
    for (; count < wanted; count++) {
      blocks[count] = ae__heap_realloc(heap, NULL, 0, size);
      assert_non_null(blocks[count]);
      memset(blocks[count], (int)size, size);
    }
    assert_true(ae__heap_check(heap));
    /* Half of them, and then the rest: pages with and without room. */
    for (size_t i = 0; i < count; i += 2)
      ae__heap_realloc(heap, blocks[i], size, 0);
    assert_true(ae__heap_check(heap));
    for (size_t i = 1; i < count; i += 2)
      ae__heap_realloc(heap, blocks[i], size, 0);
    assert_int_equal(heap->used, 0);
  }
  assert_true(ae__heap_check(heap));
  ae__heap_close(heap);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keeps_every_byte),
      cmocka_unit_test(refuses_above_its_limit),
      cmocka_unit_test(small_then_large),
      cmocka_unit_test(small_then_small),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
