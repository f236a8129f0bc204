/* Commands kept in flight: deposits to the accounts of a benchmark's app. */
#ifndef AE_NODE_BENCH_LOAD_H
#define AE_NODE_BENCH_LOAD_H

#include "node/bench_app.h"

/* Zeroed before; the first group is set by the caller. */
typedef struct ae__load {
  ae__bench_app *app;
  ae_str data;
  uint32_t actors;
  uint64_t random; /* AE__BENCH_SEED; 0: one actor after the other */
  uint64_t until;  /* ns, monotonic; 0: until `most` */
  uint64_t most;   /* commands to send */
  ae__histogram *histogram;
  uint64_t call_at;                      /* once so many are answered, */
  void (*called)(struct ae__load *load); /* this is called */
  bool watched;                          /* pauses are looked for */
  /* set while it runs */
  uint64_t answered;
  uint64_t sent;
  uint64_t next;
  uint64_t pause;                /* ns: the longest between two outcomes */
  uint64_t pause_cpu;            /* ns of this thread's CPU time: the same */
  uint64_t last;                 /* when the last outcome came */
  uint64_t sampled, sampled_cpu; /* a while ago: both clocks */
  uint32_t in_flight;
  struct ae__load_slot *slots;
  ae_error err; /* the first that was not accepted */
  ae_status status;
} ae__load;

/* Runs to its end; sends `in_flight` at first. */
ae_status ae__load_run(ae__load *load, uint32_t in_flight, ae_error *err);
/* Sends `each` commands to every actor, one actor after the other. */
ae_status ae__load_fill(ae__bench_app *app, const ae_bench_options *options,
                        ae_str data, uint64_t each, ae_error *err);

#define AE__BENCH_SEED UINT64_C(0x9e3779b97f4a7c15)
/* xorshift64 */
static inline uint64_t ae__bench_random(uint64_t *random) {
  *random ^= *random << 13;
  *random ^= *random >> 7;
  return *random ^= *random << 17;
}

#endif
