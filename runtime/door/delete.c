/* `aether delete`: a namespace leaves the store for good.
 *
 * A signal before the transaction is stored ends the process, and nothing is
 * deleted: there is nothing to be cleaned up. */
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/session.h"
#include "door/terminal.h"
#include "namespace/name.h"
#include "node/deletion.h"

typedef struct deleting {
  ae__session session;
  ae_deletion deletion;
  bool yes;
  int exit;
} deleting;

/* Neither the store nor the app knows it: a mistake. */
static bool is_unknown(deleting *d, ae_error *err) {
  const ae_namespace_config *ns;
  if (d->deletion.stats.commits > 0) return false;
  if (ae_config_namespace(&d->session.config, d->deletion.ns, &ns, err) ==
      AE_OK)
    return false;
  ae_error_add(err, " (the store holds nothing of it)");
  return true;
}

static bool confirm(ae_deletion *deletion) {
  deleting *d = deletion->data;
  const ae_stats *stats = &deletion->stats;
  char line[AE_NAMESPACE_MAX + 3] = "";
  if (is_unknown(d, &d->session.err)) return false;
  if (d->yes) return true;
  fprintf(stderr,
          "This deletes %s event%s of %s actor%s in the namespace %.*s from\n"
          "%s, for good. Type the namespace's name to go on: ",
          ae__count(stats->events), stats->events == 1 ? "" : "s",
          ae__count(stats->actors), stats->actors == 1 ? "" : "s",
          AE_FMT(deletion->ns), d->session.config.store);
  fflush(stderr);
  if (!fgets(line, sizeof line, stdin)) line[0] = 0;
  size_t len = strcspn(line, "\r\n");
  return ae_str_eq((ae_str){line, len}, deletion->ns);
}

static void print_json(const ae_deletion *deletion) {
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, 7);
  ae_pack_cstr(&packed, "namespace");
  ae_pack_text(&packed, deletion->ns);
  ae_pack_cstr(&packed, "commits");
  ae_pack_uint(&packed, deletion->stats.commits);
  ae_pack_cstr(&packed, "events");
  ae_pack_uint(&packed, deletion->stats.events);
  ae_pack_cstr(&packed, "actors");
  ae_pack_uint(&packed, deletion->stats.actors);
  ae_pack_cstr(&packed, "bytes");
  ae_pack_uint(&packed, deletion->bytes);
  ae_pack_cstr(&packed, "free");
  ae_pack_uint(&packed, deletion->free);
  ae_pack_cstr(&packed, "compacted");
  ae_pack_bool(&packed, deletion->compacted);
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

static void print_text(const ae_deletion *deletion) {
  const ae_stats *stats = &deletion->stats;
  printf("deleted %s event%s of %s actor%s of %.*s", ae__count(stats->events),
         stats->events == 1 ? "" : "s", ae__count(stats->actors),
         stats->actors == 1 ? "" : "s", AE_FMT(deletion->ns));
  if (deletion->compacted && deletion->bytes < deletion->bytes_was)
    printf("; the file gave back %s, and has %s",
           ae__size(deletion->bytes_was - deletion->bytes),
           ae__size(deletion->bytes));
  printf("\n");
}

static void on_done(ae_deletion *deletion, ae_status status,
                    const ae_error *err) {
  deleting *d = deletion->data;
  const ae__args *args = d->session.args;
  if (status == AE_CANCELED && d->session.err.status != AE_OK) {
    d->exit = ae__complain(args, &d->session.err);
  } else if (status != AE_OK) {
    d->exit = ae__complain_of(args, status, err);
  } else {
    if (ae__args_json(args))
      print_json(deletion);
    else
      print_text(deletion);
    if (deletion->compact_err.status != AE_OK) {
      ae__say("the room was not given back: %s",
              ae_error_text(&deletion->compact_err));
      ae__say(
          "%s of the file are free and will be used again, and hold what "
          "was deleted until then; the same command gives them back",
          ae__size(deletion->free));
    }
  }
  ae__session_end(&d->session);
}

int ae__delete_run(const ae__args *args) {
  deleting *d = ae_zalloc(sizeof *d);
  ae_error err = {0};
  ae_str ns = ae_str_of(args->rest[0]);
  d->yes = ae__args_get(args, "yes") != NULL;
  ae_status status = ae_namespace_check(ns, &err);
  if (status == AE_OK && !d->yes && !ae__terminal(stdin))
    status = ae_error_set(&err, AE_USAGE,
                          "there is no terminal to ask whether %.*s is meant: "
                          "say so with --yes",
                          AE_FMT(ns));
  int exit = status == AE_OK ? 0 : ae__complain(args, &err);
  if (exit == 0) exit = ae__session_open(&d->session, args, AE__CHANGE_STORE);
  if (exit == 0) {
    d->deletion.ns = ns;
    d->deletion.file = ae_store_file(d->session.config.store);
    d->deletion.keep_room = ae__args_get(args, "keep-room") != NULL;
    d->deletion.confirm = confirm;
    d->deletion.done = on_done;
    d->deletion.data = d;
    if (ae_deletion_start(ae_node_store(d->session.node), &d->deletion, &err) !=
        AE_OK)
      d->exit = ae__complain(args, &err);
    else
      ae__session_run(&d->session);
    ae__session_clear(&d->session);
    exit = d->exit;
  }
  ae_error_clear(&d->deletion.compact_err);
  ae_error_clear(&err);
  ae_free(d);
  return exit;
}
