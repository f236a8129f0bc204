#include "node/bench.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/bench_load.h"
#include "node/check.h"
#include "store/bench.h"

/* Bytes in use by the host and by the script, after a collection. */
static uint64_t memory_of(ae__bench_app *app) {
  ae_script *script = ae_node_script(app->node, ae_str_of(app->ns));
  ae_script_collect(script);
  return (uint64_t)mallinfo2().uordblks + ae_script_memory(script);
}

static void add_ns(void *data, uint64_t ns) {
  ae__histogram_add(data, ns);
}

/* Commits of SQLite alone for a while, added to what there was before. */
static ae_status bare_slice(const char *folder, unsigned slice, double seconds,
                            ae__histogram *histogram, ae__stopwatch *watch,
                            ae_bench_run *run, ae_error *err) {
  ae_buf file = {0};
  ae_buf_printf(&file, "%s/bare-%u.db", folder, slice);
  ae__stopwatch_start(watch);
  ae_status status = ae_store_bare_commits(
      ae_buf_cstr(&file), seconds, ae__bench_stopped, add_ns, histogram, err);
  ae__stopwatch_stop(watch, run);
  ae_buf_clear(&file);
  ae__bench_percentiles(histogram, run);
  run->name = "bare_commit";
  run->what =
      "one row inserted and committed by SQLite alone, in turns with the "
      "commands one at a time";
  run->unit = "commits";
  run->store = "sqlite";
  run->in_flight = 1;
  run->operations = histogram->total;
  return status;
}

/* With `bare` both take turns, so that what else the machine does in the
 * meantime meets both. */
#define TURNS 8

static ae_status commands_turns(ae__bench_app *app,
                                const ae_bench_options *options, ae_str data,
                                ae_bench_run *run, ae_bench_run *bare,
                                ae_error *err) {
  ae__histogram *histogram = ae_zalloc(sizeof *histogram);
  ae__histogram *bare_histogram = ae_zalloc(sizeof *histogram);
  ae__stopwatch watch = {0}, bare_watch = {0};
  ae_status status = AE_OK;
  unsigned turns = bare ? TURNS : 1;
  double seconds = options->seconds / turns;
  ae__load l = {.app = app,
                .data = data,
                .actors = options->actors,
                .random = AE__BENCH_SEED,
                .histogram = histogram};
  for (unsigned i = 0; i < turns && status == AE_OK; i++) {
    ae__stopwatch_start(&watch);
    l.until = watch.wall_from + (uint64_t)(seconds * 1e9);
    status = ae__load_run(&l, (uint32_t)run->in_flight, err);
    ae__stopwatch_stop(&watch, run);
    if (status == AE_OK && bare)
      status = bare_slice(app->folder, i, seconds, bare_histogram, &bare_watch,
                          bare, err);
  }
  ae__bench_percentiles(histogram, run);
  run->operations = l.answered;
  if (bare) bare->durable = app->durable;
  ae_free(histogram);
  ae_free(bare_histogram);
  return status;
}

static ae_status commands_run(const ae_bench_options *options,
                              uint32_t in_flight, ae_bench_run *run,
                              ae_bench_run *bare, ae_error *err) {
  ae__bench_app app = {0};
  ae_buf data = {0};
  ae__bench_data(&data);
  ae_status status = ae__bench_app_open(&app, options->store, err);
  uint64_t empty = status == AE_OK ? memory_of(&app) : 0;
  /* Every actor is live and every loop compiled before it counts. */
  if (status == AE_OK)
    status = ae__load_fill(&app, options, ae_buf_view(&data), 1, err);
  if (status == AE_OK) {
    uint64_t filled = memory_of(&app);
    bool sqlite = ae_store_file(app.config.store) != NULL;
    run->name = "commands";
    run->what = "bank account deposits decided, evolved, stored and answered";
    run->unit = "commands";
    run->store = sqlite ? "sqlite" : "memory";
    run->durable = app.durable;
    run->in_flight = in_flight;
    run->actors = options->actors;
    if (filled > empty) run->actor_bytes = (filled - empty) / options->actors;
    status = commands_turns(&app, options, ae_buf_view(&data), run,
                            sqlite && in_flight == 1 ? bare : NULL, err);
  }
  ae__bench_app_close(&app);
  ae_buf_clear(&data);
  return status;
}

/* -- the limit -- */

#define LIMIT_CHUNK 1000

static ae_status limit_run(const ae_bench_options *options, ae_bench_run *run,
                           ae_error *err) {
  ae__bench_app app = {0};
  ae_buf data = {0};
  ae__histogram *histogram = ae_zalloc(sizeof *histogram);
  ae_state *states = ae_zalloc(sizeof(ae_state) * options->actors);
  ae_module *module = NULL;
  ae__bench_data(&data);
  ae_status status = ae__bench_app_open(&app, NULL, err);
  if (status == AE_OK) module = ae__bench_account(&app);
  for (uint32_t i = 0; i < options->actors && status == AE_OK; i++)
    status = ae_script_initial(module, &states[i], err);
  uint64_t bytes = 0, chunks = 0, random = AE__BENCH_SEED;
  ae_state picked[LIMIT_CHUNK];
  if (status == AE_OK) /* compiled before it counts */
    status = ae_script_limit(module, states, options->actors, ae__bench_command,
                             ae_buf_view(&data), options->actors, &bytes, err);
  ae__stopwatch watch = {0};
  ae__stopwatch_start(&watch);
  uint64_t until = watch.wall_from + (uint64_t)(options->seconds * 1e9);
  for (uint64_t now = watch.wall_from; status == AE_OK && now < until;
       chunks++) {
    for (int i = 0; i < LIMIT_CHUNK; i++) /* as the commands pick them */
      picked[i] = states[ae__bench_random(&random) % options->actors];
    status = ae_script_limit(module, picked, LIMIT_CHUNK, ae__bench_command,
                             ae_buf_view(&data), LIMIT_CHUNK, &bytes, err);
    uint64_t after = ae_clock_mono();
    ae__histogram_add(histogram, (after - now) / LIMIT_CHUNK);
    now = after;
    if (ae__bench_stopped() && status == AE_OK)
      status = ae_error_set(err, AE_CANCELED, "interrupted");
  }
  ae__stopwatch_stop(&watch, run);
  ae__bench_percentiles(histogram, run);
  run->name = "limit";
  run->what =
      "the same deposits decided and evolved with msgpack in C, one "
      "after the other, and stored nowhere";
  run->unit = "commands";
  run->durable = "nothing";
  run->in_flight = 1;
  run->actors = options->actors;
  run->operations = chunks * LIMIT_CHUNK;
  for (uint32_t i = 0; module && i < options->actors; i++)
    ae_script_drop(module, states[i]);
  ae_free(states);
  ae__bench_app_close(&app);
  ae_buf_clear(&data);
  ae_free(histogram);
  return status;
}

static double rate_of(const ae_bench_run *run) {
  return run->seconds > 0 ? (double)run->operations / run->seconds : 0;
}

ae_status ae_bench_commands(const ae_bench_options *options,
                            ae_bench_report report, void *data, ae_error *err) {
  ae_bench_run many = {0}, one = {0}, bare = {0}, limit = {0};
  ae_status status = ae__bench_store_check(options, err);
  if (status != AE_OK) return status;
  ae__bench_watch();
  status = commands_run(options, options->in_flight, &many, &bare, err);
  if (status == AE_OK) report(data, &many);
  const ae_bench_run *single = &many;
  if (status == AE_OK && options->in_flight > 1) {
    status = commands_run(options, 1, &one, &bare, err);
    if (status == AE_OK) report(data, &one);
    single = &one;
  }
  if (status == AE_OK && bare.operations > 0) {
    bare.ratio = rate_of(&bare) / rate_of(single);
    bare.ratio_is = "times as long takes a command one at a time";
    report(data, &bare);
  }
  if (status == AE_OK) status = limit_run(options, &limit, err);
  if (status == AE_OK) {
    limit.ratio = rate_of(&many) / rate_of(&limit);
    limit.ratio_is = "of it reach the commands with most in flight";
    report(data, &limit);
  }
  ae__bench_unwatch();
  return status;
}

ae_status ae_bench_limit(const ae_bench_options *options,
                         ae_bench_report report, void *data, ae_error *err) {
  ae_bench_run limit = {0};
  ae__bench_watch();
  ae_status status = limit_run(options, &limit, err);
  ae__bench_unwatch();
  if (status == AE_OK) report(data, &limit);
  return status;
}

/* -- replay -- */

#define EVENTS_EACH 100

typedef struct passes {
  ae__histogram *histogram;
  uint64_t last;   /* ns, when the last page was done */
  uint64_t events; /* up to it */
  ae_error err;
  ae_status status;
} passes;

static void on_page(ae_check *check) {
  passes *p = check->data;
  uint64_t now = ae_clock_mono();
  uint64_t events = check->counts.events - p->events;
  if (events > 0) ae__histogram_add(p->histogram, (now - p->last) / events);
  p->last = now;
  p->events = check->counts.events;
  if (ae__bench_stopped()) ae_check_stop(check);
}

static void on_mistake(ae_check *check, const ae_error *err, ae_str snapshot,
                       ae_str replayed) {
  passes *p = check->data;
  (void)snapshot;
  (void)replayed;
  if (p->status == AE_OK)
    p->status = ae_error_set(&p->err, err->status, "%s", ae_error_text(err));
}

static void on_done(ae_check *check, ae_status status, const ae_error *err) {
  passes *p = check->data;
  if (p->status == AE_OK && status != AE_OK)
    p->status = ae_error_set(&p->err, status, "%s",
                             err ? ae_error_text(err) : "interrupted");
}

static ae_status replay_run(const ae_bench_options *options, ae_bench_run *run,
                            ae_error *err) {
  ae__bench_app app = {0};
  ae_buf data = {0};
  passes p = {.histogram = ae_zalloc(sizeof(ae__histogram))};
  ae__bench_data(&data);
  ae_status status = ae__bench_app_open(&app, options->store, err);
  if (status == AE_OK)
    status = ae__load_fill(&app, options, ae_buf_view(&data), EVENTS_EACH, err);
  ae__stopwatch watch = {0};
  ae__stopwatch_start(&watch);
  uint64_t until = watch.wall_from + (uint64_t)(options->seconds * 1e9);
  uint64_t events = 0;
  do {
    if (status != AE_OK) break;
    ae_check check = {.mistake = on_mistake,
                      .progress = on_page,
                      .done = on_done,
                      .data = &p,
                      .no_snapshots = true};
    p.last = ae_clock_mono();
    p.events = 0;
    status = ae_check_start(app.node, &check, err);
    if (status != AE_OK) break;
    ae_loop_run(&app.loop);
    events += check.counts.events;
    status = p.status;
    if (status != AE_OK) ae_error_move(err, &p.err);
  } while (ae_clock_mono() < until);
  ae__stopwatch_stop(&watch, run);
  ae__bench_percentiles(p.histogram, run);
  run->name = "replay";
  run->what =
      "stored events of all actors read in the store's order, "
      "decoded and evolved";
  run->unit = "events";
  run->store = strcmp(options->store, "memory") == 0 ? "memory" : "sqlite";
  run->durable = app.durable;
  run->in_flight = 1;
  run->actors = options->actors;
  run->operations = events;
  ae__bench_app_close(&app);
  ae_buf_clear(&data);
  ae_free(p.histogram);
  ae_error_clear(&p.err);
  return status;
}

ae_status ae_bench_replay(const ae_bench_options *options,
                          ae_bench_report report, void *data, ae_error *err) {
  ae_bench_run run = {0};
  ae_status status = ae__bench_store_check(options, err);
  if (status != AE_OK) return status;
  ae__bench_watch();
  status = replay_run(options, &run, err);
  ae__bench_unwatch();
  if (status == AE_OK) report(data, &run);
  return status;
}
