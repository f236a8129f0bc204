/* What every backend of the store must do. A backend's test calls
 * conformance_run with its fixture. */
#ifndef AE_TEST_STORE_CONFORMANCE_H
#define AE_TEST_STORE_CONFORMANCE_H

#include "store/support.h"

/* The number of failed tests. */
int conformance_run(const struct fixture *fixture);

extern const struct CMUnitTest conformance_append[];
extern const size_t conformance_append_count;
extern const struct CMUnitTest conformance_read[];
extern const size_t conformance_read_count;
extern const struct CMUnitTest conformance_close[];
extern const size_t conformance_close_count;
extern const struct CMUnitTest conformance_keep[];
extern const size_t conformance_keep_count;
extern const struct CMUnitTest conformance_apart[];
extern const size_t conformance_apart_count;
extern const struct CMUnitTest conformance_care[];
extern const size_t conformance_care_count;
/* Only of a backend whose commits outlive the process. */
extern const struct CMUnitTest conformance_durable[];
extern const size_t conformance_durable_count;

int conformance_setup(void **state);
int conformance_teardown(void **state);
/* The backend has many writers, and positions for each namespace: what rests
 * on one writer, or on one order of all, does not hold. */
bool conformance_shared(void);
#define CONFORMS(test) \
  cmocka_unit_test_setup_teardown(test, conformance_setup, conformance_teardown)

#endif
