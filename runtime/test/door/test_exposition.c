#include "door/http/exposition.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void writes_families(void **state) {
  (void)state;
  ae_buf out = {0};
  ae__exposition e = {.out = &out};
  ae__family(&e, "a_total", "counter", "A back\\slash,\na \"line\".");
  ae__sample(&e, "");
  ae__value(&e, UINT64_MAX);
  ae__sample(&e, "");
  ae__label(&e, "x", AE_STR("a\"b\\c\nd"));
  ae__label(&e, "y", AE_STR(""));
  ae__value(&e, 0);
  ae__family(&e, "b_seconds", "histogram", "B.");
  ae__sample(&e, "_sum");
  ae__value_ns(&e, UINT64_C(12000000034));
  ae__sample(&e, "_bucket");
  ae__value_double(&e, 0.25);
  ae__sample(&e, "");
  ae__value_double(&e, INFINITY);
  ae__sample(&e, "");
  ae__value_double(&e, -INFINITY);
  ae__sample(&e, "");
  ae__value_double(&e, NAN);
  assert_string_equal(ae_buf_cstr(&out),
                      "# HELP a_total A back\\\\slash,\\na \"line\".\n"
                      "# TYPE a_total counter\n"
                      "a_total 18446744073709551615\n"
                      "a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 0\n"
                      "# HELP b_seconds B.\n"
                      "# TYPE b_seconds histogram\n"
                      "b_seconds_sum 12.000000034\n"
                      "b_seconds_bucket 0.25\n"
                      "b_seconds +Inf\n"
                      "b_seconds -Inf\n"
                      "b_seconds NaN\n");
  ae_buf_clear(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(writes_families)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
