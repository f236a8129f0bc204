/* `aether exec`: lines of a file or a pipe through a stream of commands, and
 * its outcomes to stdout. */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "door/client/door.h"
#include "door/interrupt.h"
#include "door/lines.h"
#include "door/session.h"
#include "door/stream.h"
#include "door/terminal.h"
#include "node/retention.h"

#define HELD_MAX (64u << 20)
#define OUT_SLICE (128u << 10)
#define AT_ONCE 1024 /* lines read in one turn of the loop */

typedef struct exec {
  ae__session session;
  ae__lines lines;
  uv_poll_t poll; /* where the input is not plain */
  bool polled;
  uv_prepare_t prepare; /* flushes before the loop waits */
  ae__interrupt interrupt;
  ae_task pump;
  bool pumping; /* the task is deferred */
  size_t limit;
  ae__stream *stream;
  ae_buf out;
  bool ended; /* no further line is taken */
  bool finished;
  ae_retention *retention; /* at the end; NULL: not under way */
  const char *promise;     /* of the store */
  bool interrupted;
  bool broken; /* stdout takes nothing any more */
  ae__progress progress;
  uint64_t started; /* ns, monotonic */
  ae_buf types;     /* JSON: the counts of each aggregate */
  ae_buf retried;   /* for people: those that were decided again */
} exec;

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

/* -- the stream -- */

static ae_buf *out_of(void *data) {
  exec *e = data;
  return &e->out;
}

static void on_answered(void *data) {
  exec *e = data;
  if (e->out.len >= OUT_SLICE) write_out(e);
  pump_later(e);
}

static void refuse_line(exec *e) {
  ae_error err = {0};
  ae_error_set(&err, AE_TOO_LARGE, "a line may take at most %u bytes",
               AE__LINE_MAX);
  ae_error_uint(&err, "limit", AE__LINE_MAX);
  ae__stream_refuse(e->stream, e->lines.number, &err);
  ae_error_clear(&err);
}

/* -- the end -- */

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

static void summarize(exec *e) {
  const ae__stream_counts *counts = ae__stream_count(e->stream);
  double seconds = (double)(ae_clock_mono() - e->started) / 1e9;
  double rate = seconds > 0 ? (double)counts->lines / seconds : 0;
  if (ae__args_json(e->session.args)) {
    fprintf(stderr,
            "{\"commands\":%llu,\"accepted\":%llu,\"rejected\":%llu,"
            "\"conflicts\":%llu,\"failed\":%llu,\"events\":%llu,"
            "\"seconds\":%.3f,\"rate\":%.0f,\"interrupted\":%s,"
            "\"types\":{%s}}\n",
            (unsigned long long)counts->lines,
            (unsigned long long)counts->by[AE__ACCEPTED],
            (unsigned long long)counts->by[AE__REJECTED],
            (unsigned long long)counts->by[AE__CONFLICT],
            (unsigned long long)counts->by[AE__FAILED],
            (unsigned long long)counts->events, seconds, rate,
            e->interrupted ? "true" : "false", ae_buf_cstr(&e->types));
    return;
  }
  ae__say(
      "%s%llu commands: %llu accepted, %llu rejected, %llu conflicts, "
      "%llu failed; %llu events; %.3f seconds, %.0f commands/s",
      e->interrupted ? "interrupted after " : "",
      (unsigned long long)counts->lines,
      (unsigned long long)counts->by[AE__ACCEPTED],
      (unsigned long long)counts->by[AE__REJECTED],
      (unsigned long long)counts->by[AE__CONFLICT],
      (unsigned long long)counts->by[AE__FAILED],
      (unsigned long long)counts->events, seconds, rate);
  if (e->retried.len) ae__say("%s", ae_buf_cstr(&e->retried));
  if (strcmp(e->session.config.store, "memory") == 0)
    ae__say("the memory store: what was accepted %s", e->promise);
}

static void on_retained(void *data) {
  exec *e = data;
  e->retention = NULL;
  ae__session_end(&e->session);
}

/* The summary does not wait for what else the end takes: a second signal ends
 * that at once. */
static void finish(exec *e) {
  const char *from = e->session.args->rest[0];
  e->finished = true;
  ae_actors_counts(ae_node_actors(e->session.node), on_counts, e);
  write_out(e);
  ae__progress_end(&e->progress);
  if (e->lines.error)
    ae__say("%s cannot be read further: %s",
            strcmp(from, "-") == 0 ? "stdin" : from, strerror(e->lines.error));
  summarize(e);
  uv_close((uv_handle_t *)&e->prepare, NULL);
  if (e->polled) uv_close((uv_handle_t *)&e->poll, NULL);
  if (!e->interrupted)
    e->retention = ae_retention_once(e->session.node, on_retained, e);
  if (!e->retention) on_retained(e);
}

static void on_interrupt(void *data) {
  exec *e = data;
  if (e->finished) { /* all was answered */
    if (e->retention) ae_retention_hurry(e->retention);
    return;
  }
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
  for (unsigned n = 0; !e->ended && ae__stream_has_room(e->stream); n++) {
    ae_str line;
    if (n == AT_ONCE) {
      pump_later(e);
      return;
    }
    if (e->out.len >= OUT_SLICE) write_out(e);
    switch (ae__lines_next(&e->lines, &line)) {
      case AE__LINES_LINE:
        if (!ae__line_blank(line))
          ae__stream_take(e->stream, e->lines.number, line);
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
  const ae__stream_counts *counts = ae__stream_count(e->stream);
  double seconds = (double)(ae_clock_mono() - e->started) / 1e9;
  char part[16] = "";
  if (e->lines.size > 0)
    snprintf(part, sizeof part, "%3.0f%% ",
             100.0 * (double)e->lines.taken / (double)e->lines.size);
  ae__progress_show(&e->progress,
                    "%s%s commands, %s/s: %llu accepted, %llu rejected, %llu "
                    "conflicts, %llu failed",
                    part, ae__count(counts->out),
                    ae__count((uint64_t)((double)counts->out / seconds)),
                    (unsigned long long)counts->by[AE__ACCEPTED],
                    (unsigned long long)counts->by[AE__REJECTED],
                    (unsigned long long)counts->by[AE__CONFLICT],
                    (unsigned long long)counts->by[AE__FAILED]);
}

static void pump(exec *e) {
  if (e->finished) return;
  read_lines(e);
  show_progress(e);
  if (e->ended && ae__stream_is_idle(e->stream)) finish(e);
}

static void on_prepare(uv_prepare_t *prepare) {
  exec *e = prepare->data;
  if (e->out.len > 0) write_out(e);
  if (e->broken) pump_later(e);
}

/* -- start -- */

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
  const ae__stream_options options = {
      .actors = ae_node_actors(e->session.node),
      .limit = e->limit,
      .held = HELD_MAX,
      .out = out_of,
      .answered = on_answered,
      .data = e,
  };
  e->stream = ae__stream_new(&options);
  e->pump.run = run_pump;
  e->started = ae_clock_mono();
  ae__progress_start(&e->progress, e->session.args);
  pump_later(e);
}

static int status_of(const exec *e) {
  const ae__stream_counts *counts = ae__stream_count(e->stream);
  if (counts->by[AE__FAILED] > 0 || e->broken || e->lines.error)
    return ae_status_exit(AE_STORE_UNAVAILABLE);
  bool refused = counts->by[AE__REJECTED] > 0 || counts->by[AE__CONFLICT] > 0;
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
  int exit = ae__session_ask(&e.session, args, AE__RUN_COMMANDS);
  if (exit == 0 && e.session.client) {
    exit = ae__client_exec(&e.session, e.lines.fd);
    ae__session_clear(&e.session);
    ae__lines_close(&e.lines);
    return exit;
  }
  if (exit != 0) {
    ae__lines_close(&e.lines);
    return exit;
  }
  e.promise = ae_store_promise(ae_node_store(e.session.node));
  start(&e);
  ae__session_run(&e.session);
  ae__interrupt_end(&e.interrupt); /* closed when the session is cleared */
  exit = status_of(&e);
  ae__stream_free(e.stream);
  ae_buf_clear(&e.out);
  ae_buf_clear(&e.types);
  ae_buf_clear(&e.retried);
  ae__lines_close(&e.lines);
  ae__session_clear(&e.session);
  return exit;
}
