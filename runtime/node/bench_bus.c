/* The bus: deliveries by themselves, and what listening costs who publishes. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/bench_load.h"

#define MANY 10    /* subscribers that read */
#define AT_ONCE 64 /* records published in a turn: the buffer holds them */
/* Turns of each publisher: what else the machine does meets all of them. */
#define TURNS 24

/* Who listens to a publisher: each combination is one. */
enum { READER = 1, SLEEPER = 2, PUBLISHERS = 4 };

static const ae_grant everything = {
    .name = "bench", .rights = AE_RIGHTS_ALL, .all = true};

/* -- deliveries -- */

typedef struct listener {
  ae_subscription *subscription;
  uint64_t heard;
  uint64_t from; /* ns, when its turn's first record was published */
  ae__histogram *histogram;
} listener;

static void on_wake(ae_subscription *subscription, void *data) {
  listener *it = data;
  ae_event event;
  uint64_t before = it->heard;
  while (ae_subscription_next(subscription, &event)) it->heard++;
  if (!it->histogram || it->heard == before) return;
  ae__histogram_add(it->histogram, ae_clock_mono() - it->from);
}

static ae_status listen_in(ae_bus *bus, listener *it, size_t buffer,
                           void (*wake)(ae_subscription *, void *),
                           ae_error *err) {
  const ae_subscription_options options = {.pattern = AE_STR("bank"),
                                           .buffer = buffer,
                                           .grant = &everything,
                                           .wake = wake,
                                           .data = it};
  return ae_bus_subscribe(bus, &options, &it->subscription, err);
}

/* A deposit's record, as the commands store it. */
static void make_record(const ae_ref *ref, ae_buf *record) {
  ae_buf data = {0}, events = {0};
  ae__bench_data(&data);
  ae_pack_array(&events, 4);
  ae_pack_cstr(&events, "Deposited");
  ae_pack_uint(&events, 1);
  ae_buf_str(&events, ae_buf_view(&data));
  ae_pack_nil(&events);
  const ae_commit commit = {.ref = *ref,
                            .first_version = 1,
                            .time = ae_clock_now(),
                            .module_revision = AE_STR("0123456789abcdef"),
                            .node = AE_STR("bench")};
  const ae_commit_command command = {.events = 1};
  ae_commit_encode(record, &commit, &command, 1, ae_buf_view(&events), 1);
  ae_buf_clear(&data);
  ae_buf_clear(&events);
}

static void deliver(ae_loop *loop, ae_bus *bus, listener *listeners,
                    unsigned count, uint64_t until) {
  const ae_ref ref = {AE_STR("bank"), AE_STR("account"), AE_STR("a-1")};
  ae_buf record = {0};
  make_record(&ref, &record);
  uint64_t position = 0;
  for (uint64_t now = ae_clock_mono(); now < until && !ae__bench_stopped();
       now = ae_clock_mono()) {
    for (unsigned i = 0; i < count; i++) listeners[i].from = now;
    for (int i = 0; i < AT_ONCE; i++)
      ae_bus_publish(bus, &ref, ae_buf_view(&record), 1, ++position);
    ae_loop_run(loop);
  }
  ae_buf_clear(&record);
}

static ae_status deliveries_run(const ae_bench_options *options, unsigned count,
                                ae_bench_run *run, ae_error *err) {
  ae_loop loop;
  ae_status status = ae_loop_init(&loop, err);
  if (status != AE_OK) return status;
  ae_bus *bus = ae_bus_new(&loop);
  ae__histogram *histogram = ae_zalloc(sizeof *histogram);
  listener listeners[MANY] = {{0}};
  for (unsigned i = 0; i < count && status == AE_OK; i++) {
    listeners[i].histogram = histogram;
    status = listen_in(bus, &listeners[i], 0, on_wake, err);
  }
  ae__stopwatch watch = {0};
  ae__stopwatch_start(&watch);
  if (status == AE_OK)
    deliver(&loop, bus, listeners, count,
            watch.wall_from + (uint64_t)(options->seconds * 1e9));
  ae__stopwatch_stop(&watch, run);
  ae_bus_counts counts;
  ae_bus_count(bus, AE_STR("bank"), &counts);
  for (unsigned i = 0; i < count; i++) {
    if (status == AE_OK)
      AE_ASSERT_CMP(listeners[i].heard, ==, counts.published);
    ae_subscription_close(listeners[i].subscription);
  }
  ae__bench_percentiles(histogram, run);
  run->name = "deliveries";
  run->what =
      "one event published, copied, queued, decoded and fetched by each "
      "subscriber; the times are from publishing the first of 64 to having "
      "fetched the last";
  run->unit = "deliveries";
  run->durable = "nothing";
  run->listened = true;
  run->subscribers = count;
  run->operations = counts.delivered;
  run->delivered = counts.delivered;
  run->dropped = counts.dropped;
  ae_free(histogram);
  ae_bus_free(bus);
  ae_loop_clear(&loop);
  if (status == AE_OK && ae__bench_stopped())
    status = ae_error_set(err, AE_CANCELED, "interrupted");
  return status;
}

/* -- publishers -- */

typedef struct publisher {
  ae__load load;
  ae__stopwatch watch;
  ae_bench_run run;
  uint64_t delivered, dropped; /* of its subscribers */
} publisher;

/* What is counted must be what was published, to the event. */
static void tell_off(publisher *p, listener *it, uint64_t published) {
  ae_subscription_counts counts;
  ae_subscription_count(it->subscription, &counts);
  AE_ASSERT_CMP(counts.delivered + counts.dropped + counts.held, ==, published);
  AE_ASSERT_CMP(counts.delivered, ==, it->heard);
  p->delivered += counts.delivered;
  p->dropped += counts.dropped;
  ae_subscription_close(it->subscription);
}

static uint64_t published(ae_bus *bus) {
  ae_bus_counts counts;
  ae_bus_count(bus, AE_STR("bank"), &counts);
  return counts.published;
}

/* `who`: READER reads all there is, in a buffer that a turn's events never
 * fill; SLEEPER never does. */
static ae_status publish_slice(publisher *p, ae__bench_app *app, unsigned who,
                               uint32_t in_flight, double seconds,
                               ae_error *err) {
  ae_bus *bus = ae_node_bus(app->node);
  listener reader = {0}, sleeper = {0};
  uint64_t before = published(bus);
  ae_status status = AE_OK;
  if (who & READER)
    status = listen_in(bus, &reader, 2 * (size_t)in_flight, on_wake, err);
  if ((who & SLEEPER) && status == AE_OK)
    status = listen_in(bus, &sleeper, 0, NULL, err);
  ae__stopwatch_start(&p->watch);
  p->load.until = p->watch.wall_from + (uint64_t)(seconds * 1e9);
  if (status == AE_OK) status = ae__load_run(&p->load, in_flight, err);
  ae__stopwatch_stop(&p->watch, &p->run);
  if (reader.subscription) tell_off(p, &reader, published(bus) - before);
  if (sleeper.subscription) tell_off(p, &sleeper, published(bus) - before);
  return status;
}

static ae_status publish_turns(ae__bench_app *app,
                               const ae_bench_options *options,
                               publisher *publishers, ae_str data,
                               ae_error *err) {
  ae_status status = AE_OK;
  double seconds = options->seconds / TURNS;
  for (unsigned n = 0; n < PUBLISHERS; n++)
    publishers[n].load =
        (ae__load){.app = app,
                   .data = data,
                   .actors = options->actors,
                   .random = AE__BENCH_SEED,
                   .histogram = ae_zalloc(sizeof(ae__histogram))};
  for (unsigned turn = 0; turn < TURNS && status == AE_OK; turn++) {
    for (unsigned i = 0; i < PUBLISHERS && status == AE_OK; i++) {
      unsigned n = (turn + i) % PUBLISHERS; /* nobody is always the first */
      status = publish_slice(&publishers[n], app, n, options->in_flight,
                             seconds, err);
    }
  }
  for (unsigned n = 0; n < PUBLISHERS; n++) {
    publisher *p = &publishers[n];
    ae__bench_percentiles(p->load.histogram, &p->run);
    p->run.operations = p->load.answered;
    p->run.delivered = p->delivered;
    p->run.dropped = p->dropped;
    ae_free(p->load.histogram);
  }
  return status;
}

static double rate_of(const ae_bench_run *run) {
  return run->seconds > 0 ? (double)run->operations / run->seconds : 0;
}

static ae_status publish_runs(const ae_bench_options *options,
                              ae_bench_report report, void *data,
                              ae_error *err) {
  static const char *const names[] = {"publish", "publish_read", "publish_full",
                                      "publish_read_full"};
  ae__bench_app app = {0};
  ae_buf command = {0};
  publisher publishers[PUBLISHERS] = {0};
  ae__bench_data(&command);
  ae_status status = ae__bench_app_open(&app, options->store, err);
  if (status == AE_OK)
    status = ae__load_fill(&app, options, ae_buf_view(&command), 1, err);
  if (status == AE_OK)
    status =
        publish_turns(&app, options, publishers, ae_buf_view(&command), err);
  for (unsigned n = 0; n < PUBLISHERS && status == AE_OK; n++) {
    ae_bench_run *run = &publishers[n].run;
    run->name = names[n];
    run->what =
        "bank account deposits decided, stored, published and answered, in "
        "turns: nobody listens, one that reads, one that never does, both";
    run->unit = "commands";
    run->store = ae_store_file(app.config.store) ? "sqlite" : "memory";
    run->durable = app.durable;
    run->in_flight = options->in_flight;
    run->actors = options->actors;
    run->listened = true;
    run->subscribers = (n & READER) + (n & SLEEPER) / SLEEPER;
    if (n > 0) {
      run->ratio = rate_of(run) / rate_of(&publishers[0].run);
      run->ratio_is = "of the rate without a subscriber";
    }
    report(data, run);
  }
  ae__bench_app_close(&app);
  ae_buf_clear(&command);
  return status;
}

ae_status ae_bench_bus(const ae_bench_options *options, ae_bench_report report,
                       void *data, ae_error *err) {
  ae_bench_run many = {0}, one = {0};
  ae_status status = ae__bench_store_check(options, err);
  if (status != AE_OK) return status;
  ae__bench_watch();
  status = deliveries_run(options, MANY, &many, err);
  if (status == AE_OK) report(data, &many);
  if (status == AE_OK) status = deliveries_run(options, 1, &one, err);
  if (status == AE_OK) report(data, &one);
  if (status == AE_OK) status = publish_runs(options, report, data, err);
  ae__bench_unwatch();
  return status;
}
