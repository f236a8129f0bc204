/* `aether bench`. */
#include "node/bench.h"

#include <stdlib.h>

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

static void print_json(const ae_bench_run *run) {
  printf("{\"name\":\"%s\",\"params\":{", run->name);
  if (run->store) printf("\"store\":\"%s\",", run->store);
  if (run->actors > 0)
    printf("\"actors\":%llu,", (unsigned long long)run->actors);
  printf(
      "\"in_flight\":%llu},\"operations\":%llu,\"seconds\":%.3f,"
      "\"rate\":%.0f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"cores\":%.2f,"
      "\"durable\":\"%s\"",
      (unsigned long long)run->in_flight, (unsigned long long)run->operations,
      run->seconds, rate_of(run), run->p50_us, run->p99_us, run->cores,
      run->durable);
  if (run->actor_bytes > 0)
    printf(",\"actor_bytes\":%llu", (unsigned long long)run->actor_bytes);
  if (run->ratio > 0) printf(",\"ratio\":%.3f", run->ratio);
  printf("}\n");
}

static const char *durable_text(const char *durable) {
  if (strcmp(durable, "fsynced") == 0)
    return "Durable: each answer came after an fsync.";
  if (strcmp(durable, "tmpfs") == 0)
    return "Not durable: the folder is in memory (tmpfs), so fsync keeps "
           "nothing.";
  if (strcmp(durable, "memory") == 0)
    return "Not durable: what is stored lives as long as the process.";
  return "Not durable: nothing is stored.";
}

static void print_text(benching *b, const ae_bench_run *run) {
  if (!b->last || strcmp(b->last, run->what) != 0)
    printf("%s%s%s: %s.\n%s\n", ae__color(stdout, AE__BOLD), run->name,
           ae__color(stdout, AE__PLAIN), run->what, durable_text(run->durable));
  b->last = run->what;
  printf("  %s in flight", ae__count(run->in_flight));
  if (run->actors > 0) printf(" over %s actors", ae__count(run->actors));
  printf(": %s %s/s, p50 %.1f µs, p99 %.1f µs, %.2f cores (%s in %.1f s)\n",
         ae__count((uint64_t)rate_of(run)), run->unit, run->p50_us, run->p99_us,
         run->cores, ae__count(run->operations), run->seconds);
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

/* A flag that this benchmark would leave unread is a mistake. */
static ae_status refuse(const ae__args *args, const char *name, ae_error *err) {
  if (!ae__args_get(args, name)) return AE_OK;
  return ae_error_set(err, AE_USAGE, "bench %s has no --%s", args->rest[0],
                      name);
}

int ae__bench_run(const ae__args *args) {
  static const char *const names[] = {"commands", "replay", "limit"};
  ae_nearest near;
  ae_nearest_init(&near, ae_str_of(args->rest[0]));
  int which = -1;
  for (int i = 0; i < 3; i++) {
    if (strcmp(args->rest[0], names[i]) == 0) which = i;
    ae_nearest_offer(&near, ae_str_of(names[i]));
  }
  ae_error err = {0};
  ae_bench_options options = {.store = ae__args_get(args, "store")};
  uint64_t in_flight = 0, actors = 0;
  ae_status status = AE_OK;
  if (which < 0) {
    ae_str best = ae_nearest_best(&near);
    status = ae_error_set(&err, AE_USAGE, "there is no benchmark %s; %s%.*s%s",
                          args->rest[0],
                          best.len ? "did you mean " : "there are commands, ",
                          AE_FMT(best.len ? best : AE_STR("replay and limit")),
                          best.len ? "?" : "");
  }
  if (status == AE_OK && which != 0) status = refuse(args, "in-flight", &err);
  if (status == AE_OK && which == 2) status = refuse(args, "store", &err);
  if (status == AE_OK)
    status = ae__args_uint(args, "in-flight", 1, 65536, 1024, &in_flight, &err);
  if (status == AE_OK)
    status = ae__args_uint(args, "actors", 1, 1000000, 10000, &actors, &err);
  if (status == AE_OK) status = read_seconds(args, &options.seconds, &err);
  if (status != AE_OK) return ae__complain(args, &err);
  if (!options.store) options.store = "sqlite";
  options.in_flight = (uint32_t)in_flight;
  options.actors = (uint32_t)actors;
  benching b = {.json = ae__args_json(args)};
  status = which == 0   ? ae_bench_commands(&options, on_run, &b, &err)
           : which == 1 ? ae_bench_replay(&options, on_run, &b, &err)
                        : ae_bench_limit(&options, on_run, &b, &err);
  return status == AE_OK ? 0 : ae__complain(args, &err);
}
