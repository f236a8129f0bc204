/* Reloading under load: how long it takes, and for how long nobody is served.
 * Slices with and without reloads take turns, so that what else the machine
 * does in the meantime meets both. */
#include "base/clock.h"
#include "base/mem.h"
#include "node/bench_load.h"
#include "node/reload.h"

#define TURNS 4

typedef struct reloading {
  ae__load load; /* first: it is given back */
  ae__bench_app *app;
  ae_reload reload;
  ae_task start;
  bool under_way;
  uint64_t from; /* ns, when it began */
  uint64_t reloads;
  uint64_t revision;
  double load_ms, judge_ms, swap_us;
  ae__histogram *took;
  ae_status status;
  ae_error err;
} reloading;

/* All actors are rebuilt by then: they take turns. */
static void again(reloading *r) {
  r->load.call_at = r->load.answered + r->load.actors;
}

static void on_each(void *data, const ae_reloaded *one) {
  reloading *r = data;
  r->load_ms += one->load_ms;
  r->judge_ms += one->judge_ms;
  if (one->swap_us > r->swap_us) r->swap_us = one->swap_us;
}

static void on_done(ae_reload *reload, ae_status status, const ae_error *err) {
  reloading *r = reload->data;
  r->under_way = false;
  if (status != AE_OK) {
    r->status = status;
    ae_error_copy(&r->err, err);
    return;
  }
  r->reloads++;
  ae__histogram_add(r->took, ae_clock_mono() - r->from);
  again(r);
}

static void start(ae_task *task) {
  reloading *r = AE_CONTAINER(task, reloading, start);
  r->from = ae_clock_mono();
  r->status = ae__bench_app_save(r->app, ++r->revision, &r->err);
  if (r->status == AE_OK)
    r->status = ae_node_reload(r->app->node, &r->reload, &r->err);
  r->under_way = r->status == AE_OK;
}

static void on_time(ae__load *load) {
  reloading *r = (reloading *)load;
  if (!r->under_way && r->status == AE_OK)
    ae_loop_defer(&r->app->loop, &r->start);
}

static ae_status slices(ae__bench_app *app, const ae_bench_options *options,
                        ae_str data, ae_bench_run *calm, ae_bench_run *busy,
                        ae_error *err) {
  ae__histogram *alone = ae_zalloc(sizeof *alone);
  ae__histogram *served = ae_zalloc(sizeof *served);
  ae__histogram *took = ae_zalloc(sizeof *took);
  ae__stopwatch alone_watch = {0}, watch = {0};
  ae__load l = {
      .app = app, .data = data, .actors = options->actors, .histogram = alone};
  reloading r = {.load = l, .app = app, .took = took};
  r.load.histogram = served;
  r.load.called = on_time;
  r.start.run = start;
  r.reload =
      (ae_reload){.quiet = true, .each = on_each, .done = on_done, .data = &r};
  ae_status status = AE_OK;
  uint64_t slice = (uint64_t)(options->seconds * 1e9 / TURNS);
  for (unsigned i = 0; i < TURNS && status == AE_OK; i++) {
    l.last = l.sampled = r.load.last = r.load.sampled = 0;
    l.watched = r.load.watched = true;
    ae__stopwatch_start(&alone_watch);
    l.until = alone_watch.wall_from + slice;
    status = ae__load_run(&l, options->in_flight, err);
    ae__stopwatch_stop(&alone_watch, calm);
    if (status != AE_OK) break;
    /* Loaded once in each slice, however short that is. */
    r.load.call_at = r.load.answered + 1;
    ae__stopwatch_start(&watch);
    r.load.until = watch.wall_from + slice;
    status = ae__load_run(&r.load, options->in_flight, err);
    ae__stopwatch_stop(&watch, busy);
    if (status == AE_OK && r.status != AE_OK) {
      ae_error_move(err, &r.err);
      status = r.status;
    }
  }
  ae__bench_percentiles(alone, calm);
  calm->operations = l.answered;
  calm->pause_ms = (double)l.pause / 1e6;
  calm->pause_cpu_ms = (double)l.pause_cpu / 1e6;
  ae__bench_percentiles(took, busy);
  busy->operations = r.reloads;
  busy->pause_ms = (double)r.load.pause / 1e6;
  busy->pause_cpu_ms = (double)r.load.pause_cpu / 1e6;
  if (r.reloads > 0) {
    busy->load_ms = r.load_ms / (double)r.reloads;
    busy->judge_ms = r.judge_ms / (double)r.reloads;
    busy->swap_us = r.swap_us;
  }
  if (l.answered > 0 && watch.wall > 0)
    busy->ratio = ((double)r.load.answered / (double)watch.wall) /
                  ((double)l.answered / (double)alone_watch.wall);
  busy->ratio_is = "of the commands that were answered without it";
  ae_error_clear(&r.err);
  ae_free(alone);
  ae_free(served);
  ae_free(took);
  return status;
}

ae_status ae_bench_reload(const ae_bench_options *options,
                          ae_bench_report report, void *data, ae_error *err) {
  ae_bench_run calm = {.name = "commands",
                       .what =
                           "deposits to accounts that are all live, in "
                           "turns with the reloads",
                       .unit = "commands"};
  ae_bench_run busy = {.name = "reload",
                       .what =
                           "the account's module loaded anew under the "
                           "same load, each time that all accounts were "
                           "rebuilt",
                       .unit = "reloads",
                       .reloaded = true};
  ae__bench_app app = {0};
  ae_buf bytes = {0};
  ae_status status = ae__bench_store_check(options, err);
  if (status != AE_OK) return status;
  ae__bench_watch();
  ae__bench_data(&bytes);
  status = ae__bench_app_open(&app, options->store, err);
  if (status == AE_OK)
    status = ae__load_fill(&app, options, ae_buf_view(&bytes), 2, err);
  if (status == AE_OK) {
    ae_bench_run *const runs[] = {&calm, &busy};
    for (int i = 0; i < 2; i++) {
      runs[i]->store = ae_store_file(app.config.store) ? "sqlite" : "memory";
      runs[i]->durable = app.durable;
      runs[i]->actors = options->actors;
      runs[i]->in_flight = options->in_flight;
      runs[i]->paused = true;
    }
    status = slices(&app, options, ae_buf_view(&bytes), &calm, &busy, err);
  }
  ae__bench_app_close(&app);
  ae__bench_unwatch();
  ae_buf_clear(&bytes);
  if (status != AE_OK) return status;
  report(data, &calm);
  report(data, &busy);
  return AE_OK;
}
