/*        pieces of the body                            full: until drained
 *   client ──────────► lines ──► stream ──► outcomes ──────────► client
 *              paused while lines has some left that find no room
 */
#include "door/http/command_lines.h"

#include "base/mem.h"
#include "door/http/auth.h"
#include "door/http/server.h"
#include "door/http/want.h"
#include "door/lines.h"
#include "door/stream.h"

#define IN_FLIGHT 512       /* commands of one request */
#define HELD (1u << 20)     /* bytes of one request */
#define ALL_IN_FLIGHT 32768 /* below what makes actors overloaded */
#define ALL_HELD (64u << 20)
#define ALL_UNREAD (64u << 20) /* bytes of lines that are not whole yet */
#define LINE_LEAST (64u << 10) /* what a line may always take */
#define AT_ONCE 256            /* lines read in one turn of the loop */

/* Of all requests together. */
static ae__stream_budget all = {.limit = ALL_IN_FLIGHT, .held = ALL_HELD};
static size_t all_unread;

typedef struct command_lines {
  ae__exchange *x; /* NULL: gone */
  ae__lines lines;
  size_t unread; /* of its buffer in all_unread */
  ae__stream *stream;
  ae_task pump;
  bool pumping; /* the task is deferred */
  bool paused;  /* no more of the body for now */
  bool full;    /* no more outcomes for now */
  bool ended;   /* every line was taken */
} command_lines;

static void count_unread(command_lines *c) {
  all_unread += c->lines.buf.cap - c->unread;
  c->unread = c->lines.buf.cap;
}

static void free_lines(command_lines *c) {
  ae__lines_close(&c->lines);
  count_unread(c);
  ae_free(c);
}

static void pump_later(command_lines *c) {
  if (c->pumping) return;
  c->pumping = true;
  ae_loop_defer(ae_node_loop(c->x->node), &c->pump);
}

static void refuse_line(command_lines *c) {
  ae_error err = {0};
  size_t limit = c->lines.most;
  bool crowded = limit < c->x->http->limits.line;
  if (crowded) {
    ae_error_set(&err, AE_OVERLOADED,
                 "so many long lines come at once that one may take only %zu "
                 "bytes; send it again later",
                 limit);
    ae_error_cstr(&err, "queue", "lines");
  } else {
    ae_error_set(&err, AE_TOO_LARGE, "a line may take at most %zu bytes",
                 limit);
  }
  ae_error_uint(&err, "limit", limit);
  ae__stream_refuse(c->stream, c->lines.number, &err);
  ae_error_clear(&err);
}

/* True: all that is there was read. */
static bool read_lines(command_lines *c) {
  ae_str line;
  for (unsigned n = 0; ae__stream_has_room(c->stream); n++) {
    if (n == AT_ONCE) {
      pump_later(c);
      return false;
    }
    switch (ae__lines_next(&c->lines, &line)) {
      case AE__LINES_LINE:
        if (!ae__line_blank(line))
          ae__stream_take(c->stream, c->lines.number, line);
        break;
      case AE__LINES_LONG:
        refuse_line(c);
        break;
      case AE__LINES_EMPTY:
        return true;
      case AE__LINES_END:
        c->ended = true;
        return true;
    }
  }
  return false;
}

static void pump(command_lines *c) {
  bool empty = !c->full && read_lines(c);
  bool pause = !empty && !c->lines.ended;
  if (pause && !c->paused) ae__exchange_pause(c->x);
  if (!pause && c->paused) ae__exchange_resume(c->x);
  c->paused = pause;
  c->full = ae__exchange_send(c->x);
  if (c->ended && ae__stream_is_idle(c->stream)) ae__exchange_end(c->x);
}

static void run_pump(ae_task *task) {
  command_lines *c = AE_CONTAINER(task, command_lines, pump);
  c->pumping = false;
  if (c->x)
    pump(c);
  else
    free_lines(c);
}

/* -- the stream's -- */

static ae_status check(void *data, const ae_command *command, ae_error *err) {
  const command_lines *c = data;
  return ae__auth_allows(c->x->node, c->x->grant, AE_RIGHT_COMMAND,
                         command->ref.ns, err);
}

static ae_buf *out_of(void *data) {
  const command_lines *c = data;
  return ae__exchange_out(c->x);
}

static void on_answered(void *data) {
  pump_later(data);
}

/* -- the route's -- */

void ae__command_lines_start(ae__exchange *x) {
  static const char *const none[] = {NULL};
  static const char *const types[] = {
      "application/x-ndjson", "application/ndjson", "application/jsonl", NULL};
  ae_error err = {0};
  if (ae__want_check(x, none, &err) != AE_OK) {
    ae__exchange_fail(x, &err);
    ae_error_clear(&err);
    return;
  }
  if (!ae__want_content(x, types)) return;
  command_lines *c = ae_zalloc(sizeof *c);
  const ae__stream_options options = {
      .actors = ae_node_actors(x->node),
      .limit = IN_FLIGHT,
      .held = HELD,
      .budget = &all,
      .check = check,
      .out = out_of,
      .answered = on_answered,
      .data = c,
  };
  c->x = x;
  c->stream = ae__stream_new(&options);
  c->pump.run = run_pump;
  ae__lines_init(&c->lines, x->http->limits.line);
  x->context = c;
  ae__exchange_begin(x, 200, "application/x-ndjson");
}

void ae__command_lines_body(ae__exchange *x, ae_str piece, bool end) {
  command_lines *c = x->context;
  if (!c) return; /* refused */
  size_t most = x->http->limits.line;
  bool crowded = all_unread >= ALL_UNREAD && most > LINE_LEAST;
  c->lines.most = crowded ? LINE_LEAST : most;
  ae__lines_feed(&c->lines, piece, end);
  count_unread(c);
  pump(c);
}

void ae__command_lines_drained(ae__exchange *x) {
  command_lines *c = x->context;
  if (!c) return;
  c->full = false;
  pump(c);
}

void ae__command_lines_gone(ae__exchange *x) {
  command_lines *c = x->context;
  if (!c) return;
  ae__stream_free(c->stream);
  c->x = NULL;
  if (!c->pumping) free_lines(c);
}
