/* The app that benchmarks run, in a folder of its own; and a stopwatch. */
#ifndef AE_NODE_BENCH_APP_H
#define AE_NODE_BENCH_APP_H

#include "node/bench.h"
#include "node/histogram.h"
#include "node/node.h"

typedef struct ae__bench_app {
  char *folder;
  char ns[40]; /* its only namespace: "bank", on a server one of its own */
  ae_config config;
  ae_loop loop;
  ae_node *node;
  bool loop_open;
  const char *durable;
} ae__bench_app;

/* AE_USAGE for a store that benchmarks do not write to. */
ae_status ae__bench_store_check(const ae_bench_options *options, ae_error *err);
/* `store`: as ae_bench_options.store; NULL: none. To be closed after a failure
 * too; zeroed before. */
ae_status ae__bench_app_open(ae__bench_app *app, const char *store,
                             ae_error *err);
void ae__bench_app_close(ae__bench_app *app);
/* Writes its module anew, as another revision. */
ae_status ae__bench_app_save(ae__bench_app *app, uint64_t revision,
                             ae_error *err);
/* The account's module, and a deposit's name and data. */
ae_module *ae__bench_account(ae__bench_app *app);
extern const ae_str ae__bench_command;
void ae__bench_data(ae_buf *out);

/* SIGINT and SIGTERM set a flag while a benchmark runs, so that its folder is
 * removed. */
void ae__bench_watch(void);
void ae__bench_unwatch(void);
bool ae__bench_stopped(void);

/* Adds up what passes between each start and stop. Zeroed before. */
typedef struct ae__stopwatch {
  uint64_t wall, cpu; /* ns so far; CPU: user and system, of all threads */
  uint64_t wall_from, cpu_from;
} ae__stopwatch;
void ae__stopwatch_start(ae__stopwatch *watch);
/* Fills seconds and cores. */
void ae__stopwatch_stop(ae__stopwatch *watch, ae_bench_run *run);
/* Fills p50_us and p99_us from ns. */
void ae__bench_percentiles(const ae__histogram *histogram, ae_bench_run *run);

#endif
