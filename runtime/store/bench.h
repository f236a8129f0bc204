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

/* What nats.c alone reaches with the same guards, on a stream that is made for
 * it and deleted, with an ordered consumer beside it. Blocks. `seconds`: of the
 * messages alone. */
typedef struct ae_bare_jetstream {
  const char *url;
  uint32_t in_flight; /* 1: js_PublishMsg; more: js_PublishMsgAsync */
  uint32_t actors;    /* subjects */
  unsigned replicas;
  double seconds;
  bool (*stopped)(void);
  void (*each)(void *data, uint64_t ns); /* may come from another thread, one
                                            at a time */
  void *data;
} ae_bare_jetstream;
ae_status ae_store_bare_jetstream(const ae_bare_jetstream *ask,
                                  uint64_t *operations, double *seconds,
                                  ae_error *err);
/* How long one ordered consumer of nats.c takes to see so many messages. */
ae_status ae_store_bare_consume(const char *url, const char *subjects,
                                uint64_t wanted, double *seconds,
                                ae_error *err);

#endif
