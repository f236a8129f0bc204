/* `aether backup` and `aether restore`. */
#include "node/backup.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/interrupt.h"
#include "door/session.h"
#include "door/terminal.h"

static void show(ae__progress *progress, const ae__duplicate *duplicate) {
  if (!ae__progress_due(progress)) return;
  if (duplicate->reading_back) {
    const ae_audit_counts *counts = &duplicate->audit.counts;
    ae__progress_show(progress, "%s of %s commits read back",
                      ae__bar(counts->commits, counts->total),
                      ae__count(counts->total));
  } else {
    ae__progress_show(progress, "%s of %s copied",
                      ae__bar(duplicate->copied, duplicate->all),
                      ae__size(duplicate->all));
  }
}

static void say_problem(const ae_buf *problem) {
  ae_str rest = ae_buf_view(problem);
  while (rest.len > 0) {
    const char *end = memchr(rest.ptr, '\n', rest.len);
    size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
    ae__say("%.*s", (int)len, rest.ptr);
    if (end) len++;
    rest = (ae_str){rest.ptr + len, rest.len - len};
  }
}

static void pack_uint(ae_buf *out, const char *key, uint64_t value) {
  ae_pack_cstr(out, key);
  ae_pack_uint(out, value);
}

/* One document: what was copied, and `key` with `value`, where there is one. */
static void print_json(const char *file, const ae__duplicate *duplicate,
                       uint64_t bytes, const char *key, const char *value) {
  const ae_audit_counts *counts = &duplicate->audit.counts;
  ae_str problem = ae_buf_view(&duplicate->audit.problem);
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, 7 + (value != NULL) + (problem.len > 0));
  ae_pack_cstr(&packed, "file");
  ae_pack_text(&packed, ae_str_of(file));
  pack_uint(&packed, "bytes", bytes);
  pack_uint(&packed, "commits", counts->commits);
  pack_uint(&packed, "events", counts->events);
  pack_uint(&packed, "actors", counts->actors);
  pack_uint(&packed, "position", counts->position);
  pack_uint(&packed, "damaged", counts->damaged);
  if (value) {
    ae_pack_cstr(&packed, key);
    ae_pack_text(&packed, ae_str_of(value));
  }
  if (problem.len > 0) {
    ae_pack_cstr(&packed, "problem");
    ae_pack_text(&packed, problem);
  }
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

static void print_counts(const ae__duplicate *duplicate) {
  const ae_audit_counts *counts = &duplicate->audit.counts;
  printf("%s commit%s (%s event%s of %s actor%s) up to position %llu",
         ae__count(counts->commits), counts->commits == 1 ? "" : "s",
         ae__count(counts->events), counts->events == 1 ? "" : "s",
         ae__count(counts->actors), counts->actors == 1 ? "" : "s",
         (unsigned long long)counts->position);
}

/* -- backup -- */

typedef struct backing {
  ae__session session;
  ae_backup backup;
  ae__progress progress;
  ae__interrupt interrupt;
  int exit;
} backing;

static void on_backup_progress(ae_backup *backup) {
  backing *b = backup->data;
  show(&b->progress, &backup->duplicate);
}

static void print_backup(backing *b) {
  const ae_backup *backup = &b->backup;
  bool damaged = backup->duplicate.audit.problem.len > 0;
  if (damaged) {
    b->exit = ae_status_exit(AE_REJECTED);
    say_problem(&backup->duplicate.audit.problem);
    ae__say(
        "the store is damaged, and so is this copy of it, %s: `aether "
        "repair` mends an actor, an older backup the file",
        backup->made);
  }
  if (ae__args_json(b->session.args)) {
    print_json(backup->made, &backup->duplicate, backup->bytes, NULL, NULL);
    return;
  }
  printf("backed up ");
  print_counts(&backup->duplicate);
  printf(" in %s, %s%s\n", backup->made, ae__size(backup->bytes),
         damaged ? "" : ", and read it back");
}

static void on_backup(ae_backup *backup, ae_status status,
                      const ae_error *err) {
  backing *b = backup->data;
  ae__progress_end(&b->progress);
  if (status == AE_OK)
    print_backup(b);
  else
    b->exit = ae__complain_of(b->session.args, status, err);
  ae__interrupt_end(&b->interrupt);
  ae__session_end(&b->session);
}

static void on_backup_interrupt(void *data) {
  backing *b = data;
  ae_backup_stop(&b->backup);
}

int ae__backup_run(const ae__args *args) {
  backing *b = ae_zalloc(sizeof *b);
  int exit = ae__session_open(&b->session, args, AE__READ_EVENTS);
  if (exit == 0) {
    ae_error *err = &b->session.err;
    b->backup.file = args->rest[0];
    b->backup.store = ae_store_file(b->session.config.store);
    b->backup.force = ae__args_get(args, "force") != NULL;
    b->backup.progress = on_backup_progress;
    b->backup.done = on_backup;
    b->backup.data = b;
    ae__progress_start(&b->progress, args);
    ae__interrupt_listen(&b->interrupt, &b->session.loop.uv,
                         on_backup_interrupt, b);
    if (ae_backup_start(&b->session.loop, ae_node_store(b->session.node),
                        &b->backup, err) != AE_OK) {
      b->exit = ae__complain(args, err);
      ae__interrupt_end(&b->interrupt);
    } else {
      ae__session_run(&b->session);
    }
    ae__session_clear(&b->session);
    exit = b->exit;
  }
  ae_buf_clear(&b->backup.duplicate.audit.problem);
  ae_free(b->backup.made);
  ae_free(b);
  return exit;
}

/* -- restore -- */

typedef struct restoring {
  const ae__args *args;
  ae_config config;
  ae_loop loop;
  ae_restore restore;
  ae__progress progress;
  ae__interrupt interrupt;
  int exit;
} restoring;

static void on_restore_progress(ae_restore *restore) {
  restoring *r = restore->data;
  show(&r->progress, &restore->duplicate);
}

static void print_restore(restoring *r) {
  ae_restore *restore = &r->restore;
  const char *kept = restore->kept.len > 0 ? ae_buf_cstr(&restore->kept) : NULL;
  if (ae__args_json(r->args)) {
    print_json(restore->file, &restore->duplicate, restore->duplicate.all,
               "kept", kept);
    return;
  }
  printf("restored ");
  print_counts(&restore->duplicate);
  printf(" from %s into %s\n", restore->file, restore->store);
  if (kept) printf("the store before is kept as %s\n", kept);
}

static void on_restore(ae_restore *restore, ae_status status,
                       const ae_error *err) {
  restoring *r = restore->data;
  ae__progress_end(&r->progress);
  say_problem(&restore->duplicate.audit.problem);
  if (status == AE_OK)
    print_restore(r);
  else
    r->exit = ae__complain_of(r->args, status, err);
  if (status == AE_REPLAY_ERROR) ae__say("--damaged restores what is there");
  ae__interrupt_end(&r->interrupt);
}

static void on_restore_interrupt(void *data) {
  restoring *r = data;
  ae_restore_stop(&r->restore);
}

static void start(restoring *r, ae_error *err) {
  ae__interrupt_listen(&r->interrupt, &r->loop.uv, on_restore_interrupt, r);
  if (ae_restore_start(&r->loop, &r->restore, err) == AE_OK) return;
  r->exit = ae__complain(r->args, err);
  ae__interrupt_end(&r->interrupt);
}

int ae__restore_run(const ae__args *args) {
  restoring *r = ae_zalloc(sizeof *r);
  ae_error err = {0};
  r->args = args;
  if (ae__args_config(args, &r->config, &err) != AE_OK ||
      ae_loop_init(&r->loop, &err) != AE_OK) {
    r->exit = ae__complain(args, &err);
  } else {
    ae_config_make_folders(&r->config);
    r->restore.file = args->rest[0];
    r->restore.store = r->config.store;
    r->restore.force = ae__args_get(args, "force") != NULL;
    r->restore.damaged = ae__args_get(args, "damaged") != NULL;
    r->restore.progress = on_restore_progress;
    r->restore.done = on_restore;
    r->restore.data = r;
    ae__progress_start(&r->progress, args);
    start(r, &err);
    ae_loop_run(&r->loop);
    ae_loop_clear(&r->loop);
  }
  ae_buf_clear(&r->restore.duplicate.audit.problem);
  ae_buf_clear(&r->restore.kept);
  ae_config_clear(&r->config);
  ae_error_clear(&err);
  int exit = r->exit;
  ae_free(r);
  return exit;
}
