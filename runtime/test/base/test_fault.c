#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include "base/fault.h"

static int reset(void **state) {
  (void)state;
  ae_fault_reset();
  unsetenv("AETHER_FAULT");
  return 0;
}

static void nothing_armed_costs_no_failure(void **state) {
  (void)state;
  assert_false(ae_fault_armed);
  assert_int_equal(AE_FAULT("write"), 0);
}

static void only_the_nth_passage_fails(void **state) {
  (void)state;
  ae_fault_arm("write", 3, ENOSPC);
  assert_int_equal(AE_FAULT("write"), 0);
  assert_int_equal(AE_FAULT("read"), 0);
  assert_int_equal(AE_FAULT("write"), 0);
  assert_int_equal(AE_FAULT("write"), ENOSPC);
  assert_int_equal(AE_FAULT("write"), 0);
}

static void zero_is_every_passage(void **state) {
  (void)state;
  ae_fault_arm("sync", 0, 0);
  for (int i = 0; i < 5; i++) assert_int_equal(AE_FAULT("sync"), EIO);
  ae_fault_reset();
  assert_int_equal(AE_FAULT("sync"), 0);
}

static void the_environment_arms(void **state) {
  (void)state;
  setenv("AETHER_FAULT", "write:2:ENOSPC,sync:0,open:1:13", 1);
  assert_true(ae_fault_from_env());
  assert_int_equal(AE_FAULT("write"), 0);
  assert_int_equal(AE_FAULT("write"), ENOSPC);
  assert_int_equal(AE_FAULT("sync"), EIO);
  assert_int_equal(AE_FAULT("open"), EACCES);
}

static void an_empty_environment_arms_nothing(void **state) {
  (void)state;
  assert_true(ae_fault_from_env());
  setenv("AETHER_FAULT", "", 1);
  assert_true(ae_fault_from_env());
  assert_false(ae_fault_armed);
}

static void what_is_not_understood_is_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "write",    "write:",       ":1",       "write:x",  "write:-1",
      "write:1:", "write:1:EWAT", "write:1,", "write:1:0"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ae_fault_reset();
    setenv("AETHER_FAULT", wrong[i], 1);
    assert_false(ae_fault_from_env());
  }
}

static void *pass(void *failed) {
  for (int i = 0; i < 1000; i++) {
    if (AE_FAULT("shared")) ++*(int *)failed;
  }
  return NULL;
}

static void threads_share_the_count(void **state) {
  (void)state;
  ae_fault_arm("shared", 1500, EIO);
  pthread_t threads[2];
  int failed[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, pass, &failed[i]), 0);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  assert_int_equal(failed[0] + failed[1], 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(nothing_armed_costs_no_failure, reset),
      cmocka_unit_test_teardown(only_the_nth_passage_fails, reset),
      cmocka_unit_test_teardown(zero_is_every_passage, reset),
      cmocka_unit_test_teardown(the_environment_arms, reset),
      cmocka_unit_test_teardown(an_empty_environment_arms_nothing, reset),
      cmocka_unit_test_teardown(what_is_not_understood_is_refused, reset),
      cmocka_unit_test_teardown(threads_share_the_count, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
