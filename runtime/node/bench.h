/* Benchmarks of this machine: an embedded bank account, decided, stored,
 * replayed. Each runs in a folder of its own that is removed after it. */
#ifndef AE_NODE_BENCH_H
#define AE_NODE_BENCH_H

#include "base/status.h"

typedef struct ae_bench_options {
  const char *store; /* "memory", "sqlite" (a file of its own), "sqlite:FILE"
                        (one that is not there yet; it stays) */
  uint32_t in_flight;
  uint32_t actors;
  double seconds; /* of each run */
} ae_bench_options;

typedef struct ae_bench_run {
  const char *name;
  const char *what;    /* measured, in words */
  const char *unit;    /* of operations: "commands" */
  const char *store;   /* NULL: none */
  const char *durable; /* "fsynced", "memory", "nothing", "replicated"; "tmpfs"
                          where the folder is one, and fsync keeps nothing */
  uint64_t in_flight;
  uint64_t actors;
  uint64_t operations;
  double seconds;
  double p50_us, p99_us; /* of one operation */
  double cores;          /* CPU time by wall time */
  uint64_t actor_bytes;  /* what an idle live actor takes in all; 0: unknown */
  bool listened;         /* the next three are there */
  uint64_t subscribers;
  uint64_t delivered, dropped; /* events */
  bool reloaded;               /* the next are there; operations are reloads */
  double load_ms, judge_ms;    /* means: modules loaded; history asked */
  double swap_us;              /* the longest */
  bool paused;                 /* the next two are there: the longest time */
  double pause_ms;             /* between two outcomes, */
  double pause_cpu_ms;         /* and CPU time of the loop in such */
  double ratio;                /* to another run; 0: none */
  const char *ratio_is;        /* what ratio says, in words */
} ae_bench_run;

typedef void (*ae_bench_report)(void *data, const ae_bench_run *run);

/* Report each run as it ends. Interrupted (SIGINT, SIGTERM): AE_CANCELED. */
ae_status ae_bench_commands(const ae_bench_options *options,
                            ae_bench_report report, void *data, ae_error *err);
ae_status ae_bench_replay(const ae_bench_options *options,
                          ae_bench_report report, void *data, ae_error *err);
ae_status ae_bench_limit(const ae_bench_options *options,
                         ae_bench_report report, void *data, ae_error *err);

ae_status ae_bench_bus(const ae_bench_options *options, ae_bench_report report,
                       void *data, ae_error *err);

/* Commands to `actors` live ones, alone and while the modules are loaded anew
 * again and again, each time that all actors were rebuilt. */
ae_status ae_bench_reload(const ae_bench_options *options,
                          ae_bench_report report, void *data, ae_error *err);

/* `store` is "nats://…": each against what nats.c alone reaches there. */
ae_status ae_bench_jetstream(const ae_bench_options *options,
                             ae_bench_report report, void *data, ae_error *err);

#endif
