/* `aether export` and `aether import`. */
#include "node/export.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/interrupt.h"
#include "door/lines.h"
#include "door/session.h"
#include "door/terminal.h"
#include "namespace/name.h"
#include "node/import.h"
#include "node/stream.h"

static const char *plural(uint64_t count) {
  return count == 1 ? "" : "s";
}

/* -- export -- */

typedef struct exporting {
  ae__session session;
  ae_export export;
  ae__progress progress;
  ae__interrupt interrupt;
  int exit;
} exporting;

static bool on_write(ae_export *export, ae_str lines) {
  exporting *e = export->data;
  if (ae__write_out(lines.ptr, lines.len)) return true;
  e->exit = ae_status_exit(AE_STORE_UNAVAILABLE);
  return false;
}

static void on_damaged(ae_export *export, const ae_error *err) {
  exporting *e = export->data;
  ae__complain_of(e->session.args, err->status, err);
}

static void on_export_progress(ae_export *export) {
  exporting *e = export->data;
  if (!ae__progress_due(&e->progress)) return;
  ae__progress_show(&e->progress, "%s of %s commits",
                    ae__bar(export->counts.commits, export->total),
                    ae__count(export->total));
}

static void say_exported(const exporting *e) {
  const ae_export_counts *counts = &e->export.counts;
  if (ae__args_json(e->session.args)) {
    fprintf(
        stderr,
        "{\"commits\":%llu,\"events\":%llu,\"begins\":%llu,\"bases\":%llu,"
        "\"damaged\":%llu}\n",
        (unsigned long long)counts->commits, (unsigned long long)counts->events,
        (unsigned long long)counts->begins, (unsigned long long)counts->bases,
        (unsigned long long)counts->damaged);
    return;
  }
  ae__say("exported %s commit%s, %s event%s", ae__count(counts->commits),
          plural(counts->commits), ae__count(counts->events),
          plural(counts->events));
  if (counts->begins > 0)
    ae__say(
        "the history of %s actor%s starts later, for retention removed "
        "what was before",
        ae__count(counts->begins), plural(counts->begins));
  if (counts->damaged > 0)
    ae__say(
        "in the place of %s damaged commit%s stands one that keeps the "
        "versions and means nothing",
        ae__count(counts->damaged), plural(counts->damaged));
}

static void on_exported(ae_export *export, ae_status status,
                        const ae_error *err) {
  exporting *e = export->data;
  ae__progress_end(&e->progress);
  if (status == AE_OK) {
    if (export->counts.damaged > 0) e->exit = ae_status_exit(AE_REJECTED);
    say_exported(e);
  } else if (e->exit == 0) { /* else it has been said */
    e->exit = ae__complain_of(e->session.args, status, err);
    if (status == AE_REPLAY_ERROR)
      ae__say(
          "what was written is no whole export; --skip-damaged goes on "
          "over what cannot be read");
  }
  ae__interrupt_end(&e->interrupt);
  ae__session_end(&e->session);
}

static void on_export_interrupt(void *data) {
  exporting *e = data;
  ae_export_stop(&e->export);
}

int ae__export_run(const ae__args *args) {
  exporting *e = ae_zalloc(sizeof *e);
  ae_error err = {0};
  ae_str ns = ae_str_of(args->rest[0]);
  int exit =
      ae_namespace_check(ns, &err) == AE_OK ? 0 : ae__complain(args, &err);
  if (exit == 0) exit = ae__session_open(&e->session, args, AE__READ_MOMENT);
  if (exit == 0) {
    e->export.ns = ns;
    e->export.skip_damaged = ae__args_get(args, "skip-damaged") != NULL;
    e->export.write = on_write;
    e->export.damaged = on_damaged;
    e->export.progress = on_export_progress;
    e->export.done = on_exported;
    e->export.data = e;
    ae__progress_start(&e->progress, args);
    e->progress.on = e->progress.on && !ae__terminal(stdout);
    ae__interrupt_listen(&e->interrupt, &e->session.loop.uv,
                         on_export_interrupt, e);
    if (ae_export_start(ae_node_store(e->session.node), &e->export, &err) !=
        AE_OK) {
      e->exit = ae__complain(args, &err);
      ae__interrupt_end(&e->interrupt);
    } else {
      ae__session_run(&e->session);
    }
    ae__session_clear(&e->session);
    exit = e->exit;
  }
  ae_free(e);
  return exit;
}

/* -- import -- */

typedef struct importing {
  ae__session session;
  ae_import import;
  ae__lines lines;
  ae_import_check check;
  bool checking; /* the file is looked at first */
  off_t start;   /* of what is to be read, in a file */
  ae_task task;  /* reads on */
  bool stopped, done;
  ae__progress progress;
  ae__interrupt interrupt;
  int exit;
} importing;

static void read_on(ae_task *task);

static void read_later(importing *i) {
  i->task.run = read_on;
  ae_loop_defer(&i->session.loop, &i->task);
}

static void end(importing *i) {
  ae__progress_end(&i->progress);
  ae__interrupt_end(&i->interrupt);
  i->done = true;
  ae__session_end(&i->session);
}

static void show(importing *i) {
  if (!ae__progress_due(&i->progress)) return;
  const char *what = i->checking ? "looked at" : "taken in";
  if (i->lines.size > 0)
    ae__progress_show(&i->progress, "%s of %s %s",
                      ae__bar(i->lines.taken, i->lines.size),
                      ae__size(i->lines.size), what);
  else
    ae__progress_show(&i->progress, "%s commits taken in",
                      ae__count(i->import.counts.commits));
}

static void print_import(const importing *i) {
  const ae_import_counts *counts = &i->import.counts;
  uint64_t stored = counts->commits - counts->present;
  if (ae__args_json(i->session.args)) {
    printf(
        "{\"namespace\":\"%.*s\",\"commits\":%llu,\"events\":%llu,"
        "\"present\":%llu,\"stored\":%llu,\"begins\":%llu,\"bases\":%llu}\n",
        AE_FMT(i->import.ns), (unsigned long long)counts->commits,
        (unsigned long long)counts->events, (unsigned long long)counts->present,
        (unsigned long long)stored, (unsigned long long)counts->begins,
        (unsigned long long)counts->bases);
    return;
  }
  printf("imported %s commit%s, %s event%s, as %.*s",
         ae__count(counts->commits), plural(counts->commits),
         ae__count(counts->events), plural(counts->events),
         AE_FMT(i->import.ns));
  if (counts->present > 0)
    printf("; %s of them were there already", ae__count(counts->present));
  printf("\n");
  if (counts->beyond > 0)
    printf("the namespace has gone on by %s commit%s since\n",
           ae__count(counts->beyond), plural(counts->beyond));
}

static void on_imported(ae_import *import, ae_status status,
                        const ae_error *err) {
  importing *i = import->data;
  const ae_namespace_config *ns;
  ae__progress_end(&i->progress);
  if (status == AE_OK) {
    print_import(i);
    if (ae_config_namespace(&i->session.config, import->ns, &ns, NULL) != AE_OK)
      ae__say("the app has no namespace %.*s yet", AE_FMT(import->ns));
  } else {
    i->exit = ae__complain_of(i->session.args, status, err);
    uint64_t stored = import->counts.commits - import->counts.present;
    if (stored > 0 && status != AE_VERSION_CONFLICT)
      ae__say(
          "whole commits are stored, up to there; the same import goes on "
          "behind them");
  }
  end(i);
}

static void on_more(ae_import *import) {
  read_later(import->data);
}

static void fail(importing *i, ae_error *err) {
  i->exit = ae__complain(i->session.args, err);
  end(i);
}

static void too_long(importing *i) {
  ae_error err = {0};
  ae_error_set(&err, AE_TOO_LARGE, "line %llu takes more than %s",
               (unsigned long long)i->lines.number,
               ae__size(AE__STREAM_LINE_MAX));
  fail(i, &err);
}

/* The file is whole: from its start again. */
static void begin(importing *i) {
  size_t most = i->lines.most;
  uint64_t size = i->lines.size;
  int fd = i->lines.fd;
  ae_buf_clear(&i->lines.buf);
  ae__lines_init(&i->lines, most);
  i->lines.fd = fd;
  i->lines.plain = true;
  i->lines.size = size;
  i->checking = false;
  if (lseek(fd, i->start, SEEK_SET) < 0) {
    ae_error err = {0};
    ae_error_set(&err, AE_STORE_UNAVAILABLE,
                 "the file cannot be read again: %s", strerror(errno));
    fail(i, &err);
    return;
  }
  ae_import_start(&i->session.loop, ae_node_store(i->session.node), &i->import);
  read_later(i);
}

/* True: on with the next line at once. */
static bool take(importing *i, ae_str line) {
  ae_error err = {0};
  if (!i->checking) return ae_import_line(&i->import, line);
  if (ae_import_check_line(&i->check, line, &err) == AE_OK) return true;
  fail(i, &err);
  return false;
}

static void take_all(importing *i) {
  ae_error err = {0};
  if (!i->checking)
    ae_import_end(&i->import);
  else if (ae_import_check_end(&i->check, &err) == AE_OK)
    begin(i);
  else
    fail(i, &err);
}

/* Some lines; signals are looked at between. */
static void read_on(ae_task *task) {
  importing *i = AE_CONTAINER(task, importing, task);
  ae_str line;
  show(i);
  if (i->done || (i->stopped && !i->checking)) return;
  if (i->stopped) {
    ae_error err = {0};
    ae_error_set(&err, AE_CANCELED, "stopped; nothing was stored");
    fail(i, &err);
    return;
  }
  for (;;) {
    switch (ae__lines_next(&i->lines, &line)) {
      case AE__LINES_LINE:
        if (take(i, line)) continue;
        return;
      case AE__LINES_LONG:
        too_long(i);
        return;
      case AE__LINES_EMPTY:
        ae__lines_fill(&i->lines);
        read_later(i);
        return;
      case AE__LINES_END:
        take_all(i);
        return;
    }
  }
}

static void on_import_interrupt(void *data) {
  importing *i = data;
  i->stopped = true;
  if (!i->checking) ae_import_stop(&i->import);
}

static ae_status open_lines(importing *i, const char *path, ae_error *err) {
  ae_status status = ae__lines_open(&i->lines, path, err);
  if (status != AE_OK) return status;
  i->lines.most = AE__STREAM_LINE_MAX;
  i->start = i->lines.size > 0 ? lseek(i->lines.fd, 0, SEEK_CUR) : -1;
  i->checking = i->start >= 0;
  return AE_OK;
}

int ae__import_run(const ae__args *args) {
  importing *i = ae_zalloc(sizeof *i);
  ae_error err = {0};
  ae_str ns = ae_str_of(args->rest[0]);
  ae_status status = ae_namespace_check(ns, &err);
  if (status == AE_OK)
    status = open_lines(i, args->count > 1 ? args->rest[1] : "-", &err);
  int exit = status == AE_OK ? 0 : ae__complain(args, &err);
  if (exit == 0) exit = ae__session_open(&i->session, args, AE__FILL_STORE);
  if (exit == 0) {
    i->import.ns = ns;
    i->import.more = on_more;
    i->import.done = on_imported;
    i->import.data = i;
    ae__progress_start(&i->progress, args);
    ae__interrupt_listen(&i->interrupt, &i->session.loop.uv,
                         on_import_interrupt, i);
    if (!i->checking)
      ae_import_start(&i->session.loop, ae_node_store(i->session.node),
                      &i->import);
    read_later(i);
    ae__session_run(&i->session);
    ae__session_clear(&i->session);
    exit = i->exit;
  }
  if (status == AE_OK) ae__lines_close(&i->lines);
  ae_free(i);
  return exit;
}
