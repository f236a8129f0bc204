#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "actor/internal.h"

static unsigned plainly(uint64_t ns) {
  unsigned at = 0;
  while (at < AE_TOOK && ns > ae_took_bounds[at]) at++;
  return at;
}

static void assert_right(uint64_t ns) {
  if (ae__took(ns) != plainly(ns))
    fail_msg("%llu ns: %u, not %u", (unsigned long long)ns, ae__took(ns),
             plainly(ns));
}

static void finds_the_first_bound_that_holds(void **state) {
  (void)state;
  for (size_t i = 0; i < AE_TOOK; i++) {
    if (i > 0) assert_true(ae_took_bounds[i] > ae_took_bounds[i - 1]);
    assert_int_equal(ae__took(ae_took_bounds[i]), i);
    assert_int_equal(ae__took(ae_took_bounds[i] + 1), i + 1);
  }
  for (unsigned bit = 0; bit < 64; bit++)
    for (int more = -1; more <= 1; more++)
      assert_right((UINT64_C(1) << bit) + (uint64_t)(int64_t)more);
  for (uint64_t ns = 0; ns < UINT64_C(20000000000); ns += ns / 100 + 1)
    assert_right(ns);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_the_first_bound_that_holds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
