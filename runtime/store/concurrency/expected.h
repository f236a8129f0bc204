/* Optimistic concurrency: the one comparison of versions. Others reach it
 * through store.h. */
#ifndef AE_STORE_CONCURRENCY_EXPECTED_H
#define AE_STORE_CONCURRENCY_EXPECTED_H

#include <stdbool.h>
#include <stdint.h>

/* False: a conflict. */
bool ae_expected_holds(uint64_t expected, uint64_t current);

#endif
