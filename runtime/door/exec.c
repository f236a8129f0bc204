/* `aether exec`: a window of lines slides over the input.
 *
 *   read ─► slot (parsed, submitted) ─► done (outcome rendered) ─► printed
 *           └──────────── tail … head: at most WINDOW slots ──────────┘
 *
 * 1. Outcomes are printed in the order of the lines, from the head.
 * 2. At most `limit` slots are submitted and not done.
 * 3. Slots hold at most HELD_MAX bytes in all, or there is only one of them:
 *    a line that does not get done stops the reading, not the memory.
 * 4. What is printed was acknowledged by the store before. */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "door/ask.h"
#include "door/interrupt.h"
#include "door/lines.h"
#include "door/session.h"
#include "door/terminal.h"

#define HELD_MAX (64u << 20)
#define OUT_SLICE (128u << 10)
#define SLOT_KEEP (16u << 10)

typedef struct exec exec;

typedef struct slot {
  ae_command command;
  ae_buf bytes; /* what command points at */
  ae_buf out;   /* its outcome's line, where it waits for others */
  size_t held;  /* bytes counted in exec.held */
  ae__asked asked;
  exec *of;
  bool done;
} slot;

struct exec {
  ae__session session;
  ae__lines lines;
  uv_poll_t poll; /* where the input is not plain */
  bool polled;
  uv_prepare_t prepare; /* flushes before the loop waits */
  ae__interrupt interrupt;
  ae_task pump;
  bool pumping; /* the task is deferred */
  slot *slots;
  size_t window; /* slots there are, a power of two */
  uint64_t head; /* the next line to print */
  uint64_t tail; /* the next free slot */
  size_t limit;
  size_t in_flight;
  size_t held;
  ae_buf out;
  bool ended; /* no further line is taken */
  bool finished;
  bool interrupted;
  bool broken; /* stdout takes nothing any more */
  ae__progress progress;
  uint64_t started;   /* ns, monotonic */
  uint64_t counts[4]; /* by ae__verdict */
  uint64_t commands, events;
  ae_buf types;   /* JSON: the counts of each aggregate */
  ae_buf retried; /* for people: those that were decided again */
};

static slot *slot_at(exec *e, uint64_t at) {
  return &e->slots[at & (e->window - 1)];
}

static void write_out(exec *e) {
  if (!e->broken && !ae__write_out(e->out.ptr, e->out.len)) {
    e->broken = true;
    e->ended = true;
  }
  ae_buf_reset(&e->out);
}

static void pump(exec *e);

static void pump_later(exec *e) {
  if (e->pumping || e->finished) return;
  e->pumping = true;
  ae_loop_defer(&e->session.loop, &e->pump);
}

static void run_pump(ae_task *task) {
  exec *e = AE_CONTAINER(task, exec, pump);
  e->pumping = false;
  pump(e);
}

/* -- slots -- */

static void release(exec *e, slot *at) {
  e->held -= at->held;
  if (at->bytes.cap > SLOT_KEEP) ae_buf_clear(&at->bytes);
  if (at->out.cap > SLOT_KEEP) ae_buf_clear(&at->out);
  ae_buf_reset(&at->out);
  at->done = false;
}

static void print_done(exec *e) {
  while (e->head < e->tail && slot_at(e, e->head)->done) {
    slot *at = slot_at(e, e->head++);
    ae_buf_str(&e->out, ae_buf_view(&at->out));
    release(e, at);
    if (e->out.len >= OUT_SLICE) write_out(e);
  }
}

/* Where the outcome goes: straight out for the head, else into the slot. */
static ae_buf *place_of(exec *e, slot *at) {
  return slot_at(e, e->head) == at ? &e->out : &at->out;
}

static void settle(slot *at, ae__verdict verdict) {
  exec *e = at->of;
  e->counts[verdict]++;
  at->done = true;
  at->held += at->out.len;
  e->held += at->out.len;
}

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  slot *at = command->context;
  exec *e = at->of;
  e->in_flight--;
  e->events += outcome->repeated ? 0 : outcome->event_count;
  ae__answer_outcome(place_of(e, at), &at->asked, outcome);
  settle(at, ae__verdict_of(outcome->status));
  print_done(e);
  pump_later(e);
}

static void fail_line(slot *at, const ae_error *err) {
  ae__answer_failed(place_of(at->of, at), &at->asked, err);
  settle(at, AE__FAILED);
}

static slot *take_slot(exec *e) {
  slot *at = slot_at(e, e->tail++);
  at->of = e;
  at->held = 0;
  at->asked = (ae__asked){.line = e->lines.number};
  e->commands++;
  return at;
}

static void take_line(exec *e, ae_str line) {
  ae_error err = {0};
  slot *at = take_slot(e);
  ae_status status =
      ae__ask_read(line, &at->bytes, &at->command, &at->asked, &err);
  at->held = at->bytes.len;
  e->held += at->held;
  if (status == AE_OK) {
    at->command.cb = on_outcome;
    at->command.context = at;
    e->in_flight++;
    ae_actors_submit(ae_node_actors(e->session.node), &at->command);
  } else {
    fail_line(at, &err);
  }
  ae_error_clear(&err);
}

static void refuse_line(exec *e) {
  ae_error err = {0};
  slot *at = take_slot(e);
  ae_error_set(&err, AE_TOO_LARGE, "a line may take at most %u bytes",
               AE__LINE_MAX);
  ae_error_uint(&err, "limit", AE__LINE_MAX);
  fail_line(at, &err);
  ae_error_clear(&err);
}

/* -- the end -- */

static void stop_watching(exec *e) {
  uv_close((uv_handle_t *)&e->prepare, NULL);
  ae__interrupt_end(&e->interrupt);
  if (e->polled) uv_close((uv_handle_t *)&e->poll, NULL);
}

static void on_counts(void *data, ae_str ns, ae_str type,
                      const ae_type_counts *counts) {
  exec *e = data;
  const struct {
    const char *name;
    uint64_t value;
  } fields[] = {
      {"commands", counts->commands}, {"accepted", counts->accepted},
      {"rejected", counts->rejected}, {"conflicts", counts->conflicts},
      {"retries", counts->retries},   {"failed", counts->failed},
      {"events", counts->events},     {"loaded", counts->loaded},
      {"evicted", counts->evicted},   {"snapshots", counts->snapshots},
  };
  ae_buf_printf(&e->types, "%s\"%.*s/%.*s\":{", e->types.len ? "," : "",
                AE_FMT(ns), AE_FMT(type));
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    ae_buf_printf(&e->types, "%s\"%s\":%llu", i ? "," : "", fields[i].name,
                  (unsigned long long)fields[i].value);
  ae_buf_byte(&e->types, '}');
  if (counts->retries > 0)
    ae_buf_printf(&e->retried,
                  "%s%.*s/%.*s met %llu conflicts and decided %llu "
                  "again",
                  e->retried.len ? "; " : "", AE_FMT(ns), AE_FMT(type),
                  (unsigned long long)counts->conflicts,
                  (unsigned long long)counts->retries);
}

static void finish(exec *e) {
  e->finished = true;
  ae_actors_counts(ae_node_actors(e->session.node), on_counts, e);
  write_out(e);
  stop_watching(e);
  ae__session_end(&e->session);
}

static void on_interrupt(void *data) {
  exec *e = data;
  e->interrupted = true;
  e->ended = true;
  pump_later(e);
}

/* -- reading -- */

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  exec *e = poll->data;
  uv_poll_stop(poll);
  ae__lines_fill(&e->lines);
  pump(e);
}

static bool has_room(const exec *e) {
  return e->in_flight < e->limit && e->tail - e->head < e->window &&
         (e->held < HELD_MAX || e->head == e->tail);
}

/* False: there is nothing to read at this moment. */
static bool fill(exec *e) {
  if (e->lines.plain) {
    ae__lines_fill(&e->lines);
    return true;
  }
  uv_poll_start(&e->poll, UV_READABLE, on_readable);
  return false;
}

static void read_lines(exec *e) {
  while (!e->ended && has_room(e)) {
    ae_str line;
    switch (ae__lines_next(&e->lines, &line)) {
      case AE__LINES_LINE:
        if (!ae__line_blank(line)) take_line(e, line);
        break;
      case AE__LINES_LONG:
        refuse_line(e);
        break;
      case AE__LINES_EMPTY:
        if (!fill(e)) return;
        break;
      case AE__LINES_END:
        e->ended = true;
        break;
    }
  }
}

static void show_progress(exec *e) {
  if (!ae__progress_due(&e->progress)) return;
  double seconds = (double)(ae_clock_mono() - e->started) / 1e9;
  char part[16] = "";
  if (e->lines.size > 0)
    snprintf(part, sizeof part, "%3.0f%% ",
             100.0 * (double)e->lines.taken / (double)e->lines.size);
  ae__progress_show(&e->progress,
                    "%s%s commands, %s/s: %llu accepted, %llu rejected, %llu "
                    "conflicts, %llu failed",
                    part, ae__count(e->head),
                    ae__count((uint64_t)((double)e->head / seconds)),
                    (unsigned long long)e->counts[AE__ACCEPTED],
                    (unsigned long long)e->counts[AE__REJECTED],
                    (unsigned long long)e->counts[AE__CONFLICT],
                    (unsigned long long)e->counts[AE__FAILED]);
}

static void pump(exec *e) {
  if (e->finished) return;
  read_lines(e);
  print_done(e);
  show_progress(e);
  if (e->ended && e->head == e->tail) finish(e);
}

static void on_prepare(uv_prepare_t *prepare) {
  exec *e = prepare->data;
  if (e->out.len > 0) write_out(e);
  if (e->broken) pump_later(e);
}

/* -- start and summary -- */

static void start(exec *e) {
  uv_loop_t *loop = &e->session.loop.uv;
  uv_prepare_init(loop, &e->prepare);
  e->prepare.data = e;
  uv_prepare_start(&e->prepare, on_prepare);
  uv_unref((uv_handle_t *)&e->prepare);
  ae__interrupt_listen(&e->interrupt, loop, on_interrupt, e);
  if (!e->lines.plain) {
    /* libuv makes it non-blocking for all who share it: the shell, and our
     * own stdout on the same terminal. Reads come when it is readable. */
    int flags = fcntl(e->lines.fd, F_GETFL);
    e->polled = uv_poll_init(loop, &e->poll, e->lines.fd) == 0;
    fcntl(e->lines.fd, F_SETFL, flags);
    e->poll.data = e;
    if (!e->polled) e->lines.plain = true;
  }
  e->window = 64;
  while (e->window < e->limit * 4) e->window *= 2;
  e->slots = ae_zalloc(sizeof(slot) * e->window);
  e->pump.run = run_pump;
  e->started = ae_clock_mono();
  ae__progress_start(&e->progress, e->session.args);
  pump_later(e);
}

static void summarize(exec *e, double seconds, const char *promise) {
  double rate = seconds > 0 ? (double)e->commands / seconds : 0;
  if (ae__args_json(e->session.args)) {
    fprintf(stderr,
            "{\"commands\":%llu,\"accepted\":%llu,\"rejected\":%llu,"
            "\"conflicts\":%llu,\"failed\":%llu,\"events\":%llu,"
            "\"seconds\":%.3f,\"rate\":%.0f,\"interrupted\":%s,"
            "\"types\":{%s}}\n",
            (unsigned long long)e->commands,
            (unsigned long long)e->counts[AE__ACCEPTED],
            (unsigned long long)e->counts[AE__REJECTED],
            (unsigned long long)e->counts[AE__CONFLICT],
            (unsigned long long)e->counts[AE__FAILED],
            (unsigned long long)e->events, seconds, rate,
            e->interrupted ? "true" : "false", ae_buf_cstr(&e->types));
    return;
  }
  ae__say(
      "%s%llu commands: %llu accepted, %llu rejected, %llu conflicts, "
      "%llu failed; %llu events; %.3f seconds, %.0f commands/s",
      e->interrupted ? "interrupted after " : "",
      (unsigned long long)e->commands,
      (unsigned long long)e->counts[AE__ACCEPTED],
      (unsigned long long)e->counts[AE__REJECTED],
      (unsigned long long)e->counts[AE__CONFLICT],
      (unsigned long long)e->counts[AE__FAILED], (unsigned long long)e->events,
      seconds, rate);
  if (e->retried.len) ae__say("%s", ae_buf_cstr(&e->retried));
  if (strcmp(e->session.config.store, "memory") == 0)
    ae__say("the memory store: what was accepted %s", promise);
}

static int status_of(const exec *e) {
  if (e->counts[AE__FAILED] > 0 || e->broken || e->lines.error)
    return ae_status_exit(AE_STORE_UNAVAILABLE);
  bool refused = e->counts[AE__REJECTED] > 0 || e->counts[AE__CONFLICT] > 0;
  return refused ? ae_status_exit(AE_REJECTED) : 0;
}

int ae__exec_run(const ae__args *args) {
  exec e = {0};
  ae_error err = {0};
  uint64_t limit;
  ae_status status =
      ae__args_uint(args, "in-flight", 1, 65536, 1024, &limit, &err);
  if (status == AE_OK) status = ae__lines_open(&e.lines, args->rest[0], &err);
  if (status != AE_OK) return ae__complain(args, &err);
  e.limit = (size_t)limit;
  int exit = ae__session_open(&e.session, args, AE__RUN_COMMANDS);
  if (exit != 0) {
    ae__lines_close(&e.lines);
    return exit;
  }
  const char *promise = ae_store_promise(ae_node_store(e.session.node));
  start(&e);
  ae__session_run(&e.session);
  double seconds = (double)(ae_clock_mono() - e.started) / 1e9;
  ae__progress_end(&e.progress);
  if (e.lines.error)
    ae__say("%s cannot be read further: %s",
            strcmp(args->rest[0], "-") == 0 ? "stdin" : args->rest[0],
            strerror(e.lines.error));
  summarize(&e, seconds, promise);
  for (size_t i = 0; i < e.window; i++) {
    ae_buf_clear(&e.slots[i].bytes);
    ae_buf_clear(&e.slots[i].out);
  }
  ae_free(e.slots);
  ae_buf_clear(&e.out);
  ae_buf_clear(&e.types);
  ae_buf_clear(&e.retried);
  ae__lines_close(&e.lines);
  ae__session_clear(&e.session);
  return status_of(&e);
}
