#include "node/bench_load.h"

#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

typedef struct ae__load_slot {
  ae_command command;
  char id[16];
  uint64_t started; /* ns, monotonic */
  ae__load *of;
} slot;

static uint32_t pick(ae__load *l) {
  if (l->random == 0) return (uint32_t)(l->next++ % l->actors);
  return (uint32_t)(ae__bench_random(&l->random) % l->actors);
}

/* a-NUMBER, at the end of `to`; a table of names would be one more thing that
 * the commands push out of the cache. */
static ae_str name_of(char to[16], uint32_t number) {
  char *at = to + 16;
  do *--at = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  *--at = '-';
  *--at = 'a';
  return (ae_str){at, (size_t)(to + 16 - at)};
}

static void on_outcome(ae_command *command, ae_outcome *outcome);

static void submit(ae__load *l, slot *to, uint64_t now) {
  to->started = now;
  to->of = l;
  memset(&to->command, 0, sizeof to->command);
  to->command.ref = (ae_ref){ae_str_of(l->app->ns), AE_STR("account"),
                             name_of(to->id, pick(l))};
  to->command.name = ae__bench_command;
  to->command.data = l->data;
  to->command.cb = on_outcome;
  to->command.context = to;
  l->sent++;
  l->in_flight++;
  ae_actors_submit(ae_node_actors(l->app->node), &to->command);
}

/* CPU time is asked for seldom, as that is a system call: a pause counts from
 * up to SAMPLE before it. */
#define SAMPLE 200000 /* ns */

static void look_for_pause(ae__load *l, uint64_t now) {
  uint64_t pause = l->last ? now - l->last : 0;
  if (l->last && now - l->sampled < SAMPLE) {
    l->last = now;
    return;
  }
  struct timespec time = {0};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  uint64_t cpu = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
  if (l->sampled && pause > SAMPLE && cpu - l->sampled_cpu > l->pause_cpu)
    l->pause_cpu = cpu - l->sampled_cpu;
  if (pause > l->pause) l->pause = pause;
  l->sampled = l->last = now;
  l->sampled_cpu = cpu;
}

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  slot *of = command->context;
  ae__load *l = of->of;
  uint64_t now = ae_loop_time(&l->app->loop);
  l->in_flight--;
  l->answered++;
  ae__histogram_add(l->histogram, now - of->started);
  if (l->watched) look_for_pause(l, ae_clock_mono());
  if (l->answered == l->call_at) l->called(l);
  if (outcome->status != AE_OK && l->status == AE_OK) {
    l->status = outcome->status;
    ae_error_set(&l->err, outcome->status, "a command of the benchmark: %s",
                 ae_error_text(outcome->error));
  }
  if (ae__bench_stopped() && l->status == AE_OK)
    l->status = ae_error_set(&l->err, AE_CANCELED, "interrupted");
  bool more = l->until ? now < l->until : l->sent < l->most;
  if (more && l->status == AE_OK) submit(l, of, now);
  /* A connection keeps the loop going; else what listens ends it. */
  if (l->in_flight == 0 && ae_store_wire(ae_node_store(l->app->node)))
    ae_loop_stop(&l->app->loop);
}

ae_status ae__load_run(ae__load *l, uint32_t in_flight, ae_error *err) {
  l->slots = ae_zalloc(sizeof(slot) * in_flight);
  uint64_t now = ae_clock_mono();
  for (uint32_t i = 0; i < in_flight; i++)
    if (l->until || l->sent < l->most) submit(l, &l->slots[i], now);
  ae_loop_run(&l->app->loop);
  AE_ASSERT_CMP(l->in_flight, ==, 0);
  ae_free(l->slots);
  l->slots = NULL;
  if (l->status != AE_OK) ae_error_move(err, &l->err);
  return l->status;
}

ae_status ae__load_fill(ae__bench_app *app, const ae_bench_options *options,
                        ae_str data, uint64_t each, ae_error *err) {
  ae__histogram *unused = ae_zalloc(sizeof *unused);
  ae__load l = {.app = app,
                .data = data,
                .actors = options->actors,
                .most = each * options->actors,
                .histogram = unused};
  ae_status status = ae__load_run(&l, 1024, err);
  ae_free(unused);
  return status;
}
