/* What SQLite alone costs: the reference that benchmarks are held against. */
#ifndef AE_STORE_BENCH_H
#define AE_STORE_BENCH_H

#include "base/status.h"

/* Inserts and commits one row at a time into a new database `file`, in WAL
 * mode with synchronous = FULL, for so many seconds or until `stopped`. Calls
 * back with the ns that each took. Blocks. */
ae_status ae_store_bare_commits(const char *file, double seconds,
                                bool (*stopped)(void),
                                void (*each)(void *data, uint64_t ns),
                                void *data, ae_error *err);

#endif
