/* `aether bench`. */
#include "node/bench.h"

#include <stdlib.h>

#include "door/bench_http.h"
#include "door/subcommand.h"
#include "door/terminal.h"

typedef struct benching {
  bool json;
  const char *last; /* what was said to be measured last */
  bool said_bytes;
} benching;

static double rate_of(const ae_bench_run *run) {
  return run->seconds > 0 ? (double)run->operations / run->seconds : 0;
}

/* Of a rate: some things are slow. */
static int decimals(const ae_bench_run *run) {
  return rate_of(run) < 10 ? 2 : 0;
}

static void print_json(const ae_bench_run *run) {
  printf("{\"name\":\"%s\",\"params\":{", run->name);
  if (run->store) printf("\"store\":\"%s\",", run->store);
  if (run->actors > 0)
    printf("\"actors\":%llu,", (unsigned long long)run->actors);
  if (run->listened)
    printf("\"subscribers\":%llu%s", (unsigned long long)run->subscribers,
           run->in_flight > 0 ? "," : "");
  if (run->in_flight > 0)
    printf("\"in_flight\":%llu", (unsigned long long)run->in_flight);
  printf(
      "},\"operations\":%llu,\"seconds\":%.3f,"
      "\"rate\":%.*f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"cores\":%.2f,"
      "\"durable\":\"%s\"",
      (unsigned long long)run->operations, run->seconds, decimals(run),
      rate_of(run), run->p50_us, run->p99_us, run->cores, run->durable);
  if (run->actor_bytes > 0)
    printf(",\"actor_bytes\":%llu", (unsigned long long)run->actor_bytes);
  if (run->listened)
    printf(",\"delivered\":%llu,\"dropped\":%llu",
           (unsigned long long)run->delivered,
           (unsigned long long)run->dropped);
  if (run->reloaded)
    printf(",\"load_ms\":%.3f,\"judge_ms\":%.3f,\"swap_us\":%.3f", run->load_ms,
           run->judge_ms, run->swap_us);
  if (run->paused)
    printf(",\"pause_ms\":%.3f,\"pause_cpu_ms\":%.3f", run->pause_ms,
           run->pause_cpu_ms);
  if (run->ratio > 0) printf(",\"ratio\":%.3f", run->ratio);
  printf("}\n");
}

static const char *durable_text(const char *durable) {
  if (strcmp(durable, "fsynced") == 0)
    return "Durable: each answer came after an fsync.";
  if (strcmp(durable, "tmpfs") == 0)
    return "Not durable: the folder is in memory (tmpfs), so fsync keeps "
           "nothing.";
  if (strcmp(durable, "replicated") == 0)
    return "Durable: each answer came from the stream's leader, which syncs "
           "every minute or two.";
  if (strcmp(durable, "memory") == 0)
    return "Not durable: what is stored lives as long as the process.";
  return "Not durable: nothing is stored.";
}

static void print_text(benching *b, const ae_bench_run *run) {
  if (!b->last || strcmp(b->last, run->what) != 0)
    printf("%s%s%s: %s.\n%s\n", ae__color(stdout, AE__BOLD), run->name,
           ae__color(stdout, AE__PLAIN), run->what, durable_text(run->durable));
  b->last = run->what;
  printf("  ");
  if (run->listened)
    printf("%s subscriber%s%s", ae__count(run->subscribers),
           run->subscribers == 1 ? "" : "s", run->in_flight > 0 ? ", " : "");
  if (run->in_flight > 0) printf("%s in flight", ae__count(run->in_flight));
  if (run->actors > 0) printf(" over %s actors", ae__count(run->actors));
  if (decimals(run) > 0)
    printf(": %.*f", decimals(run), rate_of(run));
  else
    printf(": %s", ae__count((uint64_t)rate_of(run)));
  printf(" %s/s, p50 %.1f µs, p99 %.1f µs, %.2f cores (%s in %.1f s)\n",
         run->unit, run->p50_us, run->p99_us, run->cores,
         ae__count(run->operations), run->seconds);
  if (run->listened && run->subscribers > 0)
    printf("  %s events delivered, %s dropped\n", ae__count(run->delivered),
           ae__count(run->dropped));
  if (run->reloaded)
    printf("  %.1f ms to load, %.1f ms to judge, %.1f µs to swap\n",
           run->load_ms, run->judge_ms, run->swap_us);
  if (run->paused)
    printf("  longest pause between two outcomes %.1f ms, %.1f ms of it CPU\n",
           run->pause_ms, run->pause_cpu_ms);
  if (run->actor_bytes > 0 && !b->said_bytes)
    printf("  an idle live account takes %s bytes, store and script together\n",
           ae__count(run->actor_bytes));
  if (run->actor_bytes > 0) b->said_bytes = true;
  if (run->ratio > 0) printf("  %.2f %s\n", run->ratio, run->ratio_is);
}

static void on_run(void *data, const ae_bench_run *run) {
  benching *b = data;
  if (b->json)
    print_json(run);
  else
    print_text(b, run);
  fflush(stdout);
}

static ae_status read_seconds(const ae__args *args, double *out,
                              ae_error *err) {
  const char *text = ae__args_get(args, "seconds");
  *out = 3;
  if (!text) return AE_OK;
  char *end;
  *out = strtod(text, &end);
  if (!*end && *out >= 0.01 && *out <= 3600) return AE_OK;
  return ae_error_set(err, AE_USAGE,
                      "--seconds must be a number from 0.01 to 3600, not "
                      "\"%s\"",
                      text);
}

/* The benchmarks, and the flags that each of them reads besides --seconds. */
static const struct bench {
  const char *name;
  ae_status (*run)(const ae_bench_options *options, ae_bench_report report,
                   void *data, ae_error *err);
  bool in_flight, actors;
  const char *store; /* unless it is given; NULL: it has none */
  /* unless --in-flight and --actors are given */
  uint64_t commands, accounts;
} benches[] = {
    {"commands", ae_bench_commands, true, true, "sqlite", 1024, 10000},
    {"replay", ae_bench_replay, false, true, "sqlite", 1024, 10000},
    {"limit", ae_bench_limit, false, true, NULL, 1024, 10000},
    {"reload", ae_bench_reload, true, true, "memory", 64, 100000},
    {"bus", ae_bench_bus, true, true, "memory", 1024, 10000},
    {"http", ae__bench_http, true, true, "sqlite", 1024, 10000},
    {"jetstream", ae_bench_jetstream, true, true, "nats://127.0.0.1:4222", 1024,
     10000},
};
#define BENCHES (sizeof benches / sizeof *benches)

static ae_status find(const char *name, const struct bench **out,
                      ae_error *err) {
  ae_nearest near;
  ae_nearest_init(&near, ae_str_of(name));
  for (size_t i = 0; i < BENCHES; i++) {
    *out = &benches[i];
    if (strcmp(name, benches[i].name) == 0) return AE_OK;
    ae_nearest_offer(&near, ae_str_of(benches[i].name));
  }
  ae_error_set(err, AE_USAGE, "there is no benchmark %s; ", name);
  ae_str best = ae_nearest_best(&near);
  if (best.len) {
    ae_error_add(err, "did you mean %.*s?", AE_FMT(best));
    return AE_USAGE;
  }
  ae_error_add(err, "there are");
  for (size_t i = 0; i < BENCHES; i++)
    ae_error_add(err, "%s %s",
                 i == 0             ? ""
                 : i == BENCHES - 1 ? " and"
                                    : ",",
                 benches[i].name);
  return AE_USAGE;
}

/* A flag that this benchmark would leave unread is a mistake. */
static ae_status refuse(const ae__args *args, const char *name, ae_error *err) {
  if (!ae__args_get(args, name)) return AE_OK;
  return ae_error_set(err, AE_USAGE, "bench %s has no --%s", args->rest[0],
                      name);
}

static ae_status read_options(const ae__args *args, const struct bench *of,
                              ae_bench_options *options, ae_error *err) {
  uint64_t in_flight = 0, actors = 0;
  ae_status status = AE_OK;
  if (!of->in_flight) status = refuse(args, "in-flight", err);
  if (status == AE_OK && !of->actors) status = refuse(args, "actors", err);
  if (status == AE_OK && !of->store) status = refuse(args, "store", err);
  if (status == AE_OK)
    status = ae__args_uint(args, "in-flight", 1, 65536, of->commands,
                           &in_flight, err);
  if (status == AE_OK)
    status =
        ae__args_uint(args, "actors", 1, 1000000, of->accounts, &actors, err);
  if (status == AE_OK) status = read_seconds(args, &options->seconds, err);
  options->store = ae__args_get(args, "store");
  if (!options->store) options->store = of->store;
  options->in_flight = (uint32_t)in_flight;
  options->actors = (uint32_t)actors;
  return status;
}

int ae__bench_run(const ae__args *args) {
  const struct bench *of;
  ae_error err = {0};
  ae_bench_options options = {0};
  ae_status status = find(args->rest[0], &of, &err);
  if (status == AE_OK) status = read_options(args, of, &options, &err);
  benching b = {.json = ae__args_json(args)};
  if (status == AE_OK) status = of->run(&options, on_run, &b, &err);
  return status == AE_OK ? 0 : ae__complain(args, &err);
}
