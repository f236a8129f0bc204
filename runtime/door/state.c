/* `aether state`: a window of reads, answered in the order asked. */
#include "base/mem.h"
#include "door/answer.h"
#include "door/client/door.h"
#include "door/lines.h"
#include "door/session.h"
#include "door/terminal.h"

#define WINDOW 256

typedef struct states states;

typedef struct wanted {
  ae_state_read read;
  ae_buf name;
  ae_buf out;
  ae_error err;
  states *of;
  bool done;
} wanted;

struct states {
  ae__session session;
  ae__lines lines;
  bool from_stdin;
  int given;   /* arguments taken so far */
  uint64_t at; /* UINT64_MAX: now */
  bool pretty;
  wanted slots[WINDOW];
  uint64_t head, tail;
  ae_task next;
  bool deferred;
  bool finished;
  int exit; /* the worst so far */
};

static void next(ae_task *task);

static void go_on(states *s) {
  if (s->deferred || s->finished) return;
  s->deferred = true;
  s->next.run = next;
  ae_loop_defer(&s->session.loop, &s->next);
}

static void answered(ae_state_read *read, ae_status status, uint64_t version,
                     ae_str state, const ae_error *err) {
  wanted *at = read->data;
  if (status == AE_OK) {
    ae__answer_state(&at->out, &read->ref, version, state, at->of->pretty);
  } else {
    const char *name = ae_buf_cstr(&at->name);
    const char *text = err ? ae_error_text(err) : ae_status_text(status);
    bool named = strstr(text, name) != NULL;
    ae_error_set(&at->err, status, "%s%s%s", named ? "" : name,
                 named ? "" : ": ", text);
    if (err && err->nfacts > 0) {
      ae_buf_str(&at->err.facts, ae_buf_view(&err->facts));
      at->err.nfacts = err->nfacts;
    }
  }
  at->done = true;
  go_on(at->of);
}

static void ask(states *s, ae_str name) {
  wanted *at = &s->slots[s->tail++ % WINDOW];
  at->of = s;
  at->done = false;
  memset(&at->read, 0, sizeof at->read);
  ae_buf_reset(&at->name);
  ae_buf_str(&at->name, name);
  if (ae_ref_parse(ae_buf_view(&at->name), &at->read.ref, &at->err) != AE_OK) {
    at->done = true;
    return;
  }
  at->read.at = s->at;
  at->read.cb = answered;
  at->read.data = at;
  ae_actors_state(ae_node_actors(s->session.node), &at->read);
}

/* The next name; false: none now. *end: none ever. */
static bool take(states *s, ae_str *name, bool *end) {
  while (s->from_stdin) {
    switch (ae__lines_next(&s->lines, name)) {
      case AE__LINES_LONG:
      case AE__LINES_LINE:
        if (ae__line_blank(*name)) continue;
        return true;
      case AE__LINES_EMPTY:
        /* It may block: only when nobody waits for an answer. */
        if (s->head < s->tail) return false;
        ae__lines_fill(&s->lines);
        continue;
      case AE__LINES_END:
        *end = true;
        return false;
    }
  }
  *end = s->given >= s->session.args->count;
  if (*end) return false;
  *name = ae_str_of(s->session.args->rest[s->given++]);
  return true;
}

static void print_done(states *s) {
  while (s->head < s->tail && s->slots[s->head % WINDOW].done) {
    wanted *at = &s->slots[s->head++ % WINDOW];
    if (at->err.status != AE_OK) {
      int exit = ae__complain(s->session.args, &at->err);
      if (exit > s->exit) s->exit = exit;
    }
    if (!ae__write_out(at->out.ptr, at->out.len)) {
      s->exit = ae_status_exit(AE_STORE_UNAVAILABLE);
      s->finished = true;
    }
    ae_buf_reset(&at->out);
    if (s->finished) return;
  }
}

static void next(ae_task *task) {
  states *s = AE_CONTAINER(task, states, next);
  s->deferred = false;
  bool end = false;
  ae_str name;
  print_done(s);
  while (!s->finished && s->tail - s->head < WINDOW && take(s, &name, &end)) {
    ask(s, name);
    print_done(s);
  }
  if (end && s->head == s->tail) s->finished = true;
  if (s->finished) ae__session_end(&s->session);
}

/* For a node: they are asked one by one. */
static bool next_name(void *data, ae_str *name) {
  bool end = false;
  return take(data, name, &end);
}

int ae__state_run(const ae__args *args) {
  states *s = ae_zalloc(sizeof *s);
  ae_error err = {0};
  ae_status status =
      ae__args_uint(args, "at", 0, UINT64_MAX - 1, UINT64_MAX, &s->at, &err);
  for (int i = 0; i < args->count && status == AE_OK; i++) {
    s->from_stdin = strcmp(args->rest[i], "-") == 0;
    if (s->from_stdin && args->count > 1)
      status = ae_error_set(&err, AE_USAGE,
                            "`-` reads the names from stdin, so no other can "
                            "stand beside it");
  }
  if (status == AE_OK && s->from_stdin)
    status = ae__lines_open(&s->lines, "-", &err);
  int exit = status == AE_OK ? 0 : ae__complain(args, &err);
  if (exit == 0) exit = ae__session_ask(&s->session, args, AE__READ_ACTORS);
  if (exit == 0 && s->session.client) {
    bool pretty = ae__terminal(stdout) && !ae__args_json(args);
    exit = ae__client_states(&s->session, s->at, pretty, next_name, s);
    ae__session_clear(&s->session);
  } else if (exit == 0) {
    s->pretty = ae__terminal(stdout) && !ae__args_json(args);
    go_on(s);
    ae__session_run(&s->session);
    ae__session_clear(&s->session);
    exit = s->exit;
  }
  for (size_t i = 0; i < WINDOW; i++) {
    ae_buf_clear(&s->slots[i].name);
    ae_buf_clear(&s->slots[i].out);
    ae_error_clear(&s->slots[i].err);
  }
  if (s->from_stdin) ae__lines_close(&s->lines);
  ae_free(s);
  return exit;
}
