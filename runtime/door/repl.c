/* `aether repl`. */
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/editor.h"
#include "door/lines.h"
#include "door/session.h"
#include "door/terminal.h"
#include "node/repl.h"

#define TIMEOUT_MS 5000
#define TIMEOUT_MOST 3600000

typedef struct prompt {
  ae__session session;
  ae_repl *repl;
  ae_buf input; /* as many lines as it takes */
  int line;     /* of the next, from 1 */
  int first;    /* of the input */
  ae_buf out;
  bool person; /* at a terminal */
  int exit;
} prompt;

static volatile sig_atomic_t interrupted;

/* The first interrupts what runs; if that has no effect, the second ends the
 * process. */
static void on_interrupt(int number) {
  if (interrupted) signal(number, SIG_DFL);
  interrupted = 1;
}

static void heed(void) {
  struct sigaction action = {.sa_handler = on_interrupt,
                             .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  interrupted = 0;
  sigaction(SIGINT, &action, NULL);
}

static void print(void *data, ae_str text) {
  (void)data;
  fwrite(text.ptr, 1, text.len, stdout);
  fputc('\n', stdout);
}

static void complain(prompt *p, ae_error *err) {
  ae_buf traceback = {0};
  ae_str packed, text = {0};
  ae_buf facts = {0};
  ae_error_render(err, &facts);
  if (ae_unpack_field(ae_buf_view(&facts), "traceback", &packed)) {
    ae_unpack cursor = ae_unpack_of(packed);
    ae_unpack_str(&cursor, &text);
  }
  fflush(stdout);
  fprintf(stderr, "%s%s%s\n", ae__color(stderr, AE__RED), ae_error_text(err),
          ae__color(stderr, AE__PLAIN));
  /* One level is mostly what the message says already. */
  ae_buf_str(&traceback, text);
  bool levels = text.len && memchr(text.ptr, '\n', text.len);
  if (levels || (!p->person && !strstr(ae_error_text(err), "stdin:"))) {
    const char *at = ae_buf_cstr(&traceback);
    for (size_t len; *at; at += len + (at[len] == '\n')) {
      len = strcspn(at, "\n");
      fprintf(stderr, "    %.*s\n", (int)len, at);
    }
  }
  p->exit = ae_status_exit(AE_REJECTED);
  ae_buf_clear(&facts);
  ae_buf_clear(&traceback);
  ae_error_clear(err);
}

/* One more line of the input; false: it needs further ones. */
static bool take(prompt *p, ae_str line) {
  ae_error err = {0};
  if (p->input.len == 0) p->first = p->line;
  p->line++;
  if (p->input.len == 0 && ae__line_blank(line)) return true;
  if (p->input.len > 0) ae_buf_byte(&p->input, '\n');
  ae_buf_str(&p->input, line);
  ae_buf_reset(&p->out);
  ae_repl_end end =
      ae_repl_run(p->repl, ae_buf_view(&p->input), p->first, &p->out, &err);
  if (end == AE_REPL_MORE) return false;
  ae_buf_reset(&p->input);
  if (p->out.len > 0) fwrite(p->out.ptr, 1, p->out.len, stdout);
  if (end == AE_REPL_FAILED) complain(p, &err);
  fflush(stdout);
  return true;
}

/* -- from a pipe or a file -- */

static void read_lines(prompt *p) {
  ae__lines lines;
  ae_error err = {0};
  ae_str line;
  if (ae__lines_open(&lines, "-", &err) != AE_OK) {
    complain(p, &err);
    return;
  }
  for (bool ended = false; !ended;) {
    switch (ae__lines_next(&lines, &line)) {
      case AE__LINES_LINE:
        take(p, line);
        break;
      case AE__LINES_LONG:
        ae_error_set(&err, AE_TOO_LARGE, "stdin:%d: the line is too long",
                     p->line++);
        complain(p, &err);
        break;
      case AE__LINES_EMPTY:
        ae__lines_fill(&lines);
        break;
      case AE__LINES_END:
        ended = true;
        break;
    }
  }
  ae__lines_close(&lines);
  if (p->input.len == 0) return;
  ae_error_set(&err, AE_SCRIPT_ERROR,
               "stdin:%d: the input ends before what begins here does",
               p->first);
  complain(p, &err);
}

/* -- from a person -- */

/* Where a person's state is kept (XDG); NULL: nowhere. The caller's. */
static char *history_file(void) {
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  ae_buf path = {0};
  if (state && state[0] == '/')
    ae_buf_printf(&path, "%s/aether/history", state);
  else if (home && home[0] == '/')
    ae_buf_printf(&path, "%s/.local/state/aether/history", home);
  else
    return NULL;
  char *file = ae_strdup(ae_buf_cstr(&path));
  for (char *at = file + 1; *at; at++) {
    if (*at != '/') continue;
    *at = 0;
    mkdir(file, 0700);
    *at = '/';
  }
  ae_buf_clear(&path);
  return file;
}

static size_t complete(void *data, ae_str line, ae_buf *words) {
  prompt *p = data;
  return ae_repl_complete(p->repl, line, words);
}

static void talk(prompt *p, const char *ns) {
  char *file = history_file();
  ae__editor *editor = ae__editor_open(file, complete, p);
  ae_buf first = {0}, further = {0};
  ae_buf_printf(&first, "%s> ", ns);
  ae_buf_printf(&further, "%*s> ", (int)strlen(ns), "");
  printf("Namespace %s. help() says what there is; Ctrl-D ends.\n", ns);
  for (bool whole = true;;) {
    ae_str line;
    ae__editor_end end =
        ae__editor_read(editor, ae_buf_cstr(whole ? &first : &further), &line);
    if (end == AE__EDITOR_EOF) break;
    if (end == AE__EDITOR_CANCEL) {
      ae_buf_reset(&p->input);
      whole = true;
      continue;
    }
    ae_buf text = {0};
    ae_buf_str(&text, line);
    if (!ae__line_blank(line)) ae__editor_remember(editor, ae_buf_cstr(&text));
    heed();
    whole = take(p, ae_buf_view(&text));
    signal(SIGINT, SIG_DFL);
    ae_buf_clear(&text);
  }
  printf("\n");
  ae__editor_close(editor);
  ae_buf_clear(&first);
  ae_buf_clear(&further);
  ae_free(file);
  p->exit = 0; /* what failed was seen */
}

/* -- which namespace -- */

static ae_status choose(const ae__args *args, const ae_config *config,
                        ae_str *ns, ae_error *err) {
  if (args->count > 0) {
    *ns = ae_str_of(args->rest[0]);
    return AE_OK;
  }
  if (config->namespace_count == 1) {
    *ns = ae_str_of(config->namespaces[0].name);
    return AE_OK;
  }
  ae_status status = ae_config_has_modules(config, err);
  if (status != AE_OK) return status;
  ae_error_set(err, AE_USAGE, "which namespace? `aether repl NAMESPACE`:");
  for (size_t i = 0; i < config->namespace_count; i++)
    ae_error_add(err, "%s %s", i ? "," : "", config->namespaces[i].name);
  return AE_USAGE;
}

int ae__repl_run(const ae__args *args) {
  prompt p = {.line = 1};
  ae_error err = {0};
  uint64_t ms;
  ae_str ns = {0};
  if (ae__args_uint(args, "timeout", 1, TIMEOUT_MOST, TIMEOUT_MS, &ms, &err) !=
      AE_OK)
    return ae__complain(args, &err);
  int exit = ae__session_open(&p.session, args, AE__READ_MODULES);
  if (exit != 0) return exit;
  p.person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  const ae_repl_options options = {.name = p.person ? "prompt" : "stdin",
                                   .ms = ms,
                                   .interrupted = &interrupted,
                                   .print = print};
  ae_status status = choose(args, &p.session.config, &ns, &err);
  if (status == AE_OK)
    status = ae_repl_open(p.session.node, ns, &options, &p.repl, &err);
  if (status != AE_OK) {
    p.exit = ae__complain(args, &err);
  } else if (p.person) {
    ae_buf name = {0};
    ae_buf_str(&name, ns);
    talk(&p, ae_buf_cstr(&name));
    ae_buf_clear(&name);
  } else {
    read_lines(&p);
  }
  ae_repl_close(p.repl);
  ae__session_clear(&p.session);
  ae_buf_clear(&p.input);
  ae_buf_clear(&p.out);
  return ae__finish_out(p.exit);
}
