/* `bench jetstream`: Aether on a NATS server against nats.c alone there. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "namespace/encode.h"
#include "node/bench_load.h"
#include "node/nats.h"
#include "store/bench.h"
#include "store/keep.h"

enum {
  HOT = 256, /* in flight at the one hot actor */
  TURNS = 6, /* both sides take so many, by turns */
};

typedef struct pair {
  const ae_bench_options *options;
  ae__bench_app app;
  ae_buf data;
  size_t bytes; /* of a commit in the stream */
  ae_bench_report report;
  void *report_data;
} pair;

static void add_ns(void *data, uint64_t ns) {
  ae__histogram_add(data, ns);
}

static double rate_of(const ae_bench_run *run) {
  return run->seconds > 0 ? (double)run->operations / run->seconds : 0;
}

static void name(ae_bench_run *run, const char *name, const char *what,
                 const char *unit) {
  run->name = name;
  run->what = what;
  run->unit = unit;
  run->store = "jetstream";
  run->durable = "replicated";
}

/* What one side did. */
typedef struct side {
  ae__histogram *histogram;
  ae__stopwatch watch;
  ae_bench_run run;
} side;

static void side_end(side *s, uint32_t in_flight, uint32_t actors) {
  ae__bench_percentiles(s->histogram, &s->run);
  s->run.in_flight = in_flight;
  s->run.actors = actors;
  ae_free(s->histogram);
}

static ae_status ours(pair *p, side *s, double seconds, uint32_t in_flight,
                      uint32_t actors, uint64_t random, ae_error *err) {
  ae__load load = {.app = &p->app,
                   .data = ae_buf_view(&p->data),
                   .actors = actors,
                   .random = random,
                   .histogram = s->histogram};
  ae__stopwatch_start(&s->watch);
  load.until = s->watch.wall_from + (uint64_t)(seconds * 1e9);
  ae_status status = ae__load_run(&load, in_flight, err);
  ae__stopwatch_stop(&s->watch, &s->run);
  s->run.operations += load.answered;
  return status;
}

static ae_status bare(side *s, ae_bare_jetstream *of, double seconds,
                      ae_error *err) {
  ae__stopwatch_start(&s->watch);
  ae_status status =
      ae_bare_jetstream_run(of, seconds, &s->run.operations, err);
  ae__stopwatch_stop(&s->watch, &s->run);
  return status;
}

/* -- commands -- */

/* By turns, so that what else the machine does meets both. */
static ae_status turns(pair *p, uint32_t in_flight, side *mine, side *other,
                       ae_error *err) {
  const ae_bare_jetstream_options ask = {.url = p->options->store,
                                         .in_flight = in_flight,
                                         .actors = p->options->actors,
                                         .replicas = p->app.config.replicas,
                                         .bytes = p->bytes,
                                         .stopped = ae__bench_stopped,
                                         .each = add_ns,
                                         .data = other->histogram};
  ae_bare_jetstream *of;
  uint64_t random = AE__BENCH_SEED;
  double seconds = p->options->seconds / TURNS;
  ae_status status = ae_bare_jetstream_open(&ask, &of, err);
  for (int i = 0; i < TURNS && status == AE_OK; i++) {
    status = ours(p, mine, seconds, in_flight, p->options->actors,
                  ae__bench_random(&random), err);
    if (status == AE_OK) status = bare(other, of, seconds, err);
  }
  ae_bare_jetstream_close(of);
  return status;
}

static ae_status commands(pair *p, uint32_t in_flight, double *alone,
                          ae_error *err) {
  side mine = {.histogram = ae_zalloc(sizeof *mine.histogram)};
  side other = {.histogram = ae_zalloc(sizeof *other.histogram)};
  name(
      &mine.run, in_flight > 1 ? "commands" : "one_at_a_time",
      "bank account deposits decided, appended to the stream and answered, the "
      "follower beside them",
      "commands");
  name(&other.run, in_flight > 1 ? "bare_async" : "bare_sync",
       "messages of the same size with the same guards published by nats.c "
       "alone, an ordered consumer beside them, in turns with the commands",
       "messages");
  ae_status status = turns(p, in_flight, &mine, &other, err);
  side_end(&mine, in_flight, p->options->actors);
  side_end(&other, in_flight, p->options->actors);
  if (status != AE_OK) return status;
  p->report(p->report_data, &mine.run);
  if (in_flight > 1) {
    other.run.ratio = rate_of(&mine.run) / rate_of(&other.run);
    other.run.ratio_is = "of its rate reach the commands (asked: 0.8)";
  } else {
    other.run.ratio = mine.run.p50_us / other.run.p50_us;
    other.run.ratio_is = "times as long takes a command, p50 (asked: 1.3)";
    *alone = rate_of(&other.run);
  }
  p->report(p->report_data, &other.run);
  return AE_OK;
}

static ae_status hot(pair *p, double alone, ae_error *err) {
  side mine = {.histogram = ae_zalloc(sizeof *mine.histogram)};
  name(&mine.run, "hot_actor", "the same deposits, all to one account",
       "commands");
  ae_status status =
      ours(p, &mine, p->options->seconds, HOT, 1, AE__BENCH_SEED, err);
  side_end(&mine, HOT, 1);
  mine.run.ratio = alone > 0 ? rate_of(&mine.run) / alone : 0;
  mine.run.ratio_is = "times the rate of nats.c one at a time (asked: 10)";
  if (status == AE_OK) p->report(p->report_data, &mine.run);
  return status;
}

/* How long a commit is. */

typedef struct counting {
  ae_stats_read read; /* first */
  ae_loop *loop;
  ae_status status;
} counting;

static void on_counted(ae_stats_read *read, ae_status status,
                       const ae_error *err) {
  counting *count = (counting *)read;
  (void)err;
  count->status = status;
  ae_loop_stop(count->loop);
}

static ae_status measure(pair *p, ae_error *err) {
  counting count = {
      .read = {.ns = ae_str_of(p->app.ns), .cb = on_counted},
      .loop = &p->app.loop,
  };
  ae_status status =
      ae_store_stats(ae_node_store(p->app.node), &count.read, err);
  if (status != AE_OK) return status;
  ae_loop_run(&p->app.loop);
  const ae_stats *stats = &count.read.stats;
  if (count.status != AE_OK || stats->commits == 0)
    return ae_error_set(err, count.status, "what is stored cannot be counted");
  p->bytes = (size_t)(stats->bytes / stats->commits);
  return AE_OK;
}

/* -- the follower -- */

typedef struct filling {
  ae_stats_read read; /* first */
  pair *pair;
  ae_status status;
} filling;

static void on_filled(ae_stats_read *read, ae_status status,
                      const ae_error *err) {
  filling *fill = (filling *)read;
  (void)err;
  fill->status = status;
  ae_loop_stop(&fill->pair->app.loop);
}

static void on_closed(void *data) {
  ae_loop_stop(data);
}

/* A follower that has nothing yet, until it has all. */
static ae_status follower(pair *p, ae_error *err) {
  ae_bench_run mine = {0}, other = {0};
  filling fill = {.pair = p};
  ae_store *store;
  const ae_store_options options = {
      .url = p->options->store,
      .mode = AE_STORE_READ,
      .jetstream = {.wire = ae_nats_login(&p->app.config)}};
  ae__stopwatch watch = {0};
  ae__stopwatch_start(&watch);
  ae_status status = ae_store_open(&p->app.loop, &options, &store, err);
  if (status != AE_OK) return status;
  fill.read.ns = ae_str_of(p->app.ns);
  fill.read.cb = on_filled;
  status = ae_store_stats(store, &fill.read, err);
  if (status == AE_OK) ae_loop_run(&p->app.loop);
  ae__stopwatch_stop(&watch, &mine);
  mine.operations = fill.read.stats.commits;
  ae_store_close(store, on_closed, &p->app.loop);
  ae_loop_run(&p->app.loop);
  if (status == AE_OK && fill.status != AE_OK)
    status = ae_error_set(err, fill.status, "the follower was not filled");
  if (status != AE_OK) return status;
  name(&mine, "follower", "a follower filled: each commit into SQLite",
       "commits");
  name(&other, "bare_consumer", "an ordered consumer of nats.c over the same",
       "messages");
  ae_buf subjects = {0};
  ae_buf_printf(&subjects, "aether.log.");
  ae_encode(ae_str_of(p->app.ns), &subjects);
  ae_buf_printf(&subjects, ".>");
  other.operations = mine.operations;
  status = ae_store_bare_consume(p->options->store, ae_buf_cstr(&subjects),
                                 other.operations, &other.seconds, err);
  ae_buf_clear(&subjects);
  if (status != AE_OK) return status;
  p->report(p->report_data, &mine);
  other.ratio = rate_of(&mine) / rate_of(&other);
  other.ratio_is = "of its rate reaches the follower (asked: 0.6)";
  p->report(p->report_data, &other);
  return AE_OK;
}

/* -- an actor loaded -- */

typedef struct loading {
  ae_state_read read; /* first */
  pair *pair;
  ae_status status;
} loading;

static void on_loaded(ae_state_read *read, ae_status status, uint64_t version,
                      ae_str state, const ae_error *err) {
  loading *one = (loading *)read;
  (void)version, (void)state, (void)err;
  one->status = status;
  ae_loop_stop(&one->pair->app.loop);
}

/* States as they were: nothing in memory helps. */
static ae_status loads(pair *p, ae_error *err) {
  ae__histogram *histogram = ae_zalloc(sizeof *histogram);
  ae_bench_run run = {0};
  ae__stopwatch watch = {0};
  ae__stopwatch_start(&watch);
  uint64_t until = watch.wall_from + (uint64_t)(p->options->seconds * 1e9);
  ae_status status = AE_OK;
  char id[32];
  for (uint64_t from = watch.wall_from; status == AE_OK && from < until;) {
    snprintf(id, sizeof id, "a-%llu",
             (unsigned long long)(run.operations % p->options->actors));
    loading one = {.read = {.ref = {ae_str_of(p->app.ns), AE_STR("account"),
                                    ae_str_of(id)},
                            .at = 1,
                            .cb = on_loaded},
                   .pair = p};
    ae_actors_state(ae_node_actors(p->app.node), &one.read);
    ae_loop_run(&p->app.loop);
    uint64_t now = ae_clock_mono();
    ae__histogram_add(histogram, now - from);
    from = now;
    run.operations++;
    status = one.status;
    if (status == AE_OK && ae__bench_stopped()) status = AE_CANCELED;
  }
  ae__stopwatch_stop(&watch, &run);
  ae__bench_percentiles(histogram, &run);
  name(&run, "load",
       "an account's state from the follower, after the leader was asked which "
       "commit is its last",
       "states");
  run.in_flight = 1;
  run.actors = p->options->actors;
  ae_free(histogram);
  if (status == AE_OK)
    p->report(p->report_data, &run);
  else
    ae_error_set(err, status, "a state could not be read");
  return status;
}

/* -- what was made goes again -- */

static void on_deleted(ae_write *write, ae_status status, const ae_error *err) {
  (void)status, (void)err;
  ae_loop_stop(write->data);
}

static void clean_up(pair *p) {
  ae_delete delete = {.write = {.cb = on_deleted, .data = &p->app.loop},
                      .ns = ae_str_of(p->app.ns)};
  if (ae_store_delete(ae_node_store(p->app.node), &delete, NULL) == AE_OK)
    ae_loop_run(&p->app.loop);
}

ae_status ae_bench_jetstream(const ae_bench_options *options,
                             ae_bench_report report, void *data,
                             ae_error *err) {
  if (strncmp(options->store, "nats://", 7) != 0)
    return ae_error_set(err, AE_USAGE,
                        "--store must be nats://HOST:PORT, not \"%s\"; "
                        "scripts/nats starts a server",
                        options->store);
  pair p = {.options = options, .report = report, .report_data = data};
  ae__bench_data(&p.data);
  ae__bench_watch();
  double alone = 0;
  ae_status status = ae__bench_app_open(&p.app, options->store, err);
  if (status == AE_OK)
    status = ae__load_fill(&p.app, options, ae_buf_view(&p.data), 1, err);
  if (status == AE_OK) status = measure(&p, err);
  if (status == AE_OK) status = commands(&p, options->in_flight, &alone, err);
  if (status == AE_OK && options->in_flight > 1)
    status = commands(&p, 1, &alone, err);
  if (status == AE_OK) status = hot(&p, alone, err);
  if (status == AE_OK) status = loads(&p, err);
  if (status == AE_OK) status = follower(&p, err);
  if (p.app.node && ae_node_store(p.app.node)) clean_up(&p);
  ae__bench_app_close(&p.app);
  ae__bench_unwatch();
  ae_buf_clear(&p.data);
  return status;
}
