#include "store/conformance.h"

#include <stdio.h>

#include "base/log.h"

static const struct fixture *under_test;

bool conformance_shared(void) {
  return under_test->shared;
}

int conformance_setup(void **state) {
  *state = world_new(under_test);
  return 0;
}

int conformance_teardown(void **state) {
  world_free(*state);
  return 0;
}

static int run(const char *part, const struct CMUnitTest *tests, size_t count) {
  char name[128];
  snprintf(name, sizeof name, "%s: %s", under_test->name, part);
  return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

int conformance_run(const struct fixture *fixture) {
  under_test = fixture;
  int failed = run("append", conformance_append, conformance_append_count) +
               run("read", conformance_read, conformance_read_count) +
               run("close", conformance_close, conformance_close_count) +
               run("keep", conformance_keep, conformance_keep_count) +
               run("apart", conformance_apart, conformance_apart_count) +
               run("care", conformance_care, conformance_care_count);
  if (fixture->durable)
    failed += run("durable", conformance_durable, conformance_durable_count);
  if (ae_log_errors() > 0) {
    fprintf(stderr, "%lu errors were logged\n", ae_log_errors());
    failed++;
  }
  return failed;
}
