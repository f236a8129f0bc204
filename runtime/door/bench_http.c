#include "door/bench_http.h"

#include "base/mem.h"
#include "door/bench_client.h"
#include "door/http/http.h"
#include "node/bench_load.h"

#define CONNECTIONS 64 /* one command a request */
#define STREAMS 4      /* NDJSON */

typedef struct bench {
  const ae_bench_options *options;
  ae__bench_app app;
  ae__http *http;
} bench;

static void stop_loop(void *data) {
  ae_loop_stop(data);
}

static ae_status measure(bench *b, bool lines, unsigned connections,
                         unsigned in_flight, ae_bench_run *run, ae_error *err) {
  ae__histogram *histogram = ae_zalloc(sizeof *histogram);
  const ae__bench_client_options options = {.url = ae__http_url(b->http),
                                            .connections = connections,
                                            .lines = lines,
                                            .in_flight = in_flight,
                                            .actors = b->options->actors,
                                            .seconds = b->options->seconds,
                                            .histogram = histogram,
                                            .stop = ae__bench_stopped,
                                            .loop = &b->app.loop,
                                            .done = stop_loop,
                                            .data = &b->app.loop};
  ae__bench_client *client;
  ae__stopwatch watch = {0};
  ae__stopwatch_start(&watch);
  ae_status status = ae__bench_client_start(&options, &client, err);
  if (status == AE_OK) {
    ae_loop_run(&b->app.loop);
    ae__stopwatch_stop(&watch, run);
    status = ae__bench_client_end(client, err);
  }
  ae__bench_percentiles(histogram, run);
  run->operations = histogram->total;
  run->unit = "commands";
  run->store = ae_store_file(b->app.config.store) ? "sqlite" : "memory";
  run->durable = b->app.durable;
  run->in_flight = (uint64_t)connections * in_flight;
  run->actors = b->options->actors;
  ae_free(histogram);
  return status;
}

static ae_status open_node(bench *b, ae_error *err) {
  ae_buf data = {0};
  ae_status status = ae__bench_app_open(&b->app, b->options->store, err);
  if (status == AE_OK) {
    /* Whatever the environment says: a port that nobody else has. */
    ae_free(b->app.config.listen);
    b->app.config.listen = ae_strdup("127.0.0.1:0");
    ae__bench_data(&data);
    status = ae__load_fill(&b->app, b->options, ae_buf_view(&data), 1, err);
    ae_buf_clear(&data);
  }
  if (status != AE_OK) return status;
  const ae__http_options http = {.loop = &b->app.loop, .node = b->app.node};
  return ae__http_open(&http, &b->http, err);
}

ae_status ae__bench_http(const ae_bench_options *options,
                         ae_bench_report report, void *data, ae_error *err) {
  bench b = {.options = options};
  ae_bench_run lines = {
      .name = "http_ndjson",
      .what =
          "deposits as lines of 4 NDJSON requests over HTTP, their outcomes "
          "coming back meanwhile"};
  ae_bench_run requests = {
      .name = "http_requests",
      .what =
          "deposits over HTTP, one a request, on connections that are kept"};
  unsigned streams = options->in_flight < STREAMS ? 1 : STREAMS;
  ae__bench_watch();
  ae_status status = open_node(&b, err);
  if (status == AE_OK)
    status =
        measure(&b, true, streams, options->in_flight / streams, &lines, err);
  if (status == AE_OK) {
    report(data, &lines);
    status = measure(&b, false, CONNECTIONS, 1, &requests, err);
  }
  if (status == AE_OK) report(data, &requests);
  if (b.http) ae__http_close(b.http, NULL, NULL);
  ae__bench_app_close(&b.app);
  ae__bench_unwatch();
  return status;
}
