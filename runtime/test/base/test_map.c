#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/uuid7.h"

#define KEYS 500

typedef struct entry {
  char name[16];
  bool in;
} entry;

static ae_str key_of(const entry *e) {
  return ae_str_of(e->name);
}

/* Against a trivially right model: an array with a flag for each key. */
static void it_does_what_an_array_does(void **state) {
  (void)state;
  entry *model = ae_zalloc(KEYS * sizeof *model);
  ae_uuid7 random = {.state = {1, 2, 3, 4}, .seeded = true};
  ae_map map = {0};
  size_t live = 0;
  for (int i = 0; i < KEYS; i++) snprintf(model[i].name, 16, "key-%d", i);
  for (int step = 0; step < 200000; step++) {
    uint64_t dice = ae_uuid7_random(&random);
    entry *e = &model[dice % KEYS];
    void *before = e->in ? e : NULL;
    /* Long runs of growing, then of shrinking. */
    bool put = (dice >> 32) % 10 < (step / 10000 % 2 ? 3u : 7u);
    if (put) {
      assert_ptr_equal(ae_map_put(&map, key_of(e), e), before);
      live += !e->in;
      e->in = true;
    } else {
      assert_ptr_equal(ae_map_remove(&map, key_of(e)), before);
      live -= e->in;
      e->in = false;
    }
    assert_int_equal(map.count, live);
    entry *other = &model[(dice >> 16) % KEYS];
    assert_ptr_equal(ae_map_get(&map, key_of(other)), other->in ? other : NULL);
  }
  assert_true(map.used <= map.mask + 1 - (map.mask + 1) / 4);
  size_t seen = 0;
  entry *e;
  for (size_t at = 0; (e = ae_map_next(&map, &at));) {
    assert_true(e->in);
    e->in = false;
    seen++;
    assert_ptr_equal(ae_map_remove(&map, key_of(e)), e);
  }
  assert_int_equal(seen, live);
  assert_int_equal(map.count, 0);
  ae_map_clear(&map);
  ae_free(model);
}

static void deleted_slots_do_not_fill_it(void **state) {
  (void)state;
  ae_map map = {0};
  char name[16];
  for (int i = 0; i < 100000; i++) {
    snprintf(name, sizeof name, "%d", i);
    ae_map_put(&map, ae_str_of(name), name);
    assert_ptr_equal(ae_map_remove(&map, ae_str_of(name)), name);
  }
  assert_true(map.mask < 64);
  ae_map_clear(&map);
}

static void the_deleted_keys_are_not_read(void **state) {
  (void)state;
  ae_map map = {0};
  for (int i = 0; i < 1000; i++) {
    entry *e = ae_zalloc(sizeof *e);
    snprintf(e->name, sizeof e->name, "%d", i % 20);
    entry *old = ae_map_put(&map, key_of(e), e);
    ae_free(old); /* its key goes with it; the sanitizer watches */
    if (i % 3 == 0) ae_free(ae_map_remove(&map, key_of(e)));
  }
  entry *e;
  for (size_t at = 0; (e = ae_map_next(&map, &at));) ae_free(e);
  ae_map_clear(&map);
}

static void equal_hashes_are_told_apart(void **state) {
  (void)state;
  ae_map map = {0};
  int a, b, c;
  ae_map_put_hashed(&map, AE_STR("a"), 7, &a);
  ae_map_put_hashed(&map, AE_STR("b"), 7, &b);
  assert_ptr_equal(ae_map_get_hashed(&map, AE_STR("a"), 7), &a);
  assert_ptr_equal(ae_map_get_hashed(&map, AE_STR("b"), 7), &b);
  assert_null(ae_map_get_hashed(&map, AE_STR("c"), 7));
  assert_ptr_equal(ae_map_put_hashed(&map, AE_STR("b"), 7, &c), &b);
  assert_int_equal(map.count, 2);
  ae_map_clear(&map);
}

static void an_empty_map_answers(void **state) {
  (void)state;
  ae_map map = {0};
  size_t at = 0;
  assert_null(ae_map_get(&map, AE_STR("a")));
  assert_null(ae_map_remove(&map, AE_STR("a")));
  assert_null(ae_map_next(&map, &at));
  ae_map_clear(&map);
  /* XXH3_64bits of nothing: the value is part of stored formats. */
  assert_true(ae_hash((ae_str){"", 0}) == UINT64_C(0x2d06800538d394c2));
}

/* The same bytes have another place in each process. */
static void keys_are_hashed_with_a_seed(void **state) {
  (void)state;
  assert_true(ae_map_hash(AE_STR("a")) == ae_map_hash(AE_STR("a")));
  assert_true(ae_map_hash(AE_STR("a")) != ae_hash(AE_STR("a")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_does_what_an_array_does),
      cmocka_unit_test(deleted_slots_do_not_fill_it),
      cmocka_unit_test(the_deleted_keys_are_not_read),
      cmocka_unit_test(equal_hashes_are_told_apart),
      cmocka_unit_test(an_empty_map_answers),
      cmocka_unit_test(keys_are_hashed_with_a_seed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
