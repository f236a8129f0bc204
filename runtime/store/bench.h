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
 * it and deleted, with an ordered consumer beside it. */
typedef struct ae_bare_jetstream ae_bare_jetstream;
typedef struct ae_bare_jetstream_options {
  const char *url;
  uint32_t in_flight; /* 1: js_PublishMsg; more: js_PublishMsgAsync */
  uint32_t actors;    /* subjects */
  unsigned replicas;
  size_t bytes; /* of a message's body */
  bool (*stopped)(void);
  void (*each)(void *data, uint64_t ns); /* may come from another thread, one
                                            at a time */
  void *data;
} ae_bare_jetstream_options;
ae_status ae_bare_jetstream_open(const ae_bare_jetstream_options *options,
                                 ae_bare_jetstream **out, ae_error *err);
/* Publishes for so long, until all is answered; adds to `operations`. Blocks.
 */
ae_status ae_bare_jetstream_run(ae_bare_jetstream *bare, double seconds,
                                uint64_t *operations, ae_error *err);
void ae_bare_jetstream_close(ae_bare_jetstream *bare); /* NULL is harmless */
/* How long one ordered consumer of nats.c takes to see so many messages. */
ae_status ae_store_bare_consume(const char *url, const char *subjects,
                                uint64_t wanted, double *seconds,
                                ae_error *err);

#endif
