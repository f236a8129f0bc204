#include "node/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static ae__histogram *fresh(void) {
  return ae_zalloc(sizeof(ae__histogram));
}

static void nothing_is_zero(void **state) {
  (void)state;
  ae__histogram *h = fresh();
  assert_int_equal(ae__histogram_at(h, 0.5), 0);
  ae_free(h);
}

static void small_values_are_exact(void **state) {
  (void)state;
  ae__histogram *h = fresh();
  for (uint64_t i = 1; i <= 60; i++) ae__histogram_add(h, i);
  assert_int_equal(ae__histogram_at(h, 0.5), 30);
  assert_int_equal(ae__histogram_at(h, 1.0), 60);
  assert_int_equal(ae__histogram_at(h, 0.0), 1);
  ae_free(h);
}

/* Each value alone: what is said is not below it, and at most 1/64 above. */
static void error_is_bounded(void **state) {
  (void)state;
  ae__histogram *h = fresh();
  for (unsigned bit = 0; bit < 64; bit++) {
    uint64_t power = UINT64_C(1) << bit;
    uint64_t values[] = {power - 1, power, power + 1, power + power / 3};
    for (size_t i = 0; i < 4; i++) {
      *h = (ae__histogram){0};
      ae__histogram_add(h, values[i]);
      uint64_t said = ae__histogram_at(h, 0.99);
      assert_true(said >= values[i]);
      assert_true(said - values[i] <= values[i] / 64);
    }
  }
  *h = (ae__histogram){0};
  ae__histogram_add(h, UINT64_MAX);
  assert_true(ae__histogram_at(h, 0.5) == UINT64_MAX);
  ae_free(h);
}

/* Against sorting. */
static void percentiles_match_a_sorted_list(void **state) {
  (void)state;
  enum { COUNT = 10000 };
  static uint64_t values[COUNT];
  ae__histogram *h = fresh();
  uint64_t random = 88172645463325252u;
  for (size_t i = 0; i < COUNT; i++) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    values[i] = i * 997 + random % 5;
    ae__histogram_add(h, values[i]);
  }
  /* values rise with i but for less than a step, so they are sorted */
  for (unsigned part = 1; part <= 100; part++) {
    uint64_t exact = values[(size_t)part * COUNT / 100 - 1];
    uint64_t said = ae__histogram_at(h, part / 100.0);
    assert_true(said >= exact);
    assert_true(said <= exact + exact / 64 + 1000);
  }
  ae_free(h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_zero),
      cmocka_unit_test(small_values_are_exact),
      cmocka_unit_test(error_is_bounded),
      cmocka_unit_test(percentiles_match_a_sorted_list),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
