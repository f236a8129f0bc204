/* A namespace deleted: its two streams, that of the commits last, so that what
 * was interrupted is still there to be deleted again. A stream of that name
 * which is made later is another one, and each follower sees that it is. */
#include <stdio.h>

#include "base/mem.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"

enum { ASK_MS = 10000, NOT_THERE = 10059 };

typedef struct deleting {
  ae_wire_request request; /* first */
  ae_stats_read stats;
  ae_delete *of;
  ae__js_space *space;
  bool last; /* the stream of commits is being deleted */
} deleting;

static void end(deleting *d, ae_status status, const ae_error *err) {
  ae__js *js = d->space->js;
  d->of->write.impl = NULL;
  ae__store_wrote(&js->store, status, err);
  d->of->write.cb(&d->of->write, status, status == AE_OK ? NULL : err);
  ae_free(d);
  js->ops--;
  ae__js_close_look(js);
}

static void delete_stream(deleting *d);

static void on_deleted(ae_wire_request *request, ae_status status,
                       const ae_wire_message *message) {
  deleting *d = (deleting *)request;
  ae__js_answer answer = {0};
  ae_error err = {0};
  if (status == AE_OK) {
    ae__js_answer_read(&answer, message);
    if (answer.code && answer.code != NOT_THERE)
      status = ae__js_refusal(&answer, "delete", d->space->stream, &err);
    ae__js_answer_clear(&answer);
  } else if (status != AE_CANCELED) {
    status = ae__js_silence(d->space->js, &err);
  }
  if (status == AE_OK && !d->last) {
    d->last = true;
    delete_stream(d);
  } else {
    if (status == AE_OK) {
      ae_error_set(&err, AE_STORE_UNAVAILABLE, "the namespace was deleted");
      ae_error_cstr(&err, "cause", "deleted");
      d->space->snapshots = false;
      ae__js_space_leave(d->space, AE_STORE_UNAVAILABLE, &err);
    }
    end(d, status, &err);
  }
  ae_error_clear(&err);
}

static void delete_stream(deleting *d) {
  ae_buf what = {0};
  ae_error err = {0};
  ae_buf_printf(&what, "STREAM.DELETE.");
  ae_encode(ae__js_name(d->space), &what);
  ae_buf_printf(&what, d->last ? "_events" : "_snapshots");
  d->request.cb = on_deleted;
  d->request.timeout_ms = ASK_MS;
  ae_status status =
      ae__js_ask(d->space->js, &d->request, ae_buf_cstr(&what), "", &err);
  if (status != AE_OK) end(d, status, &err);
  ae_buf_clear(&what);
  ae_error_clear(&err);
}

static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  deleting *d = AE_CONTAINER(stats, deleting, stats);
  d->of->commits = stats->stats.commits;
  d->of->events = stats->stats.events;
  d->of->actors = stats->stats.actors;
  if (status == AE_OK)
    delete_stream(d);
  else
    end(d, status, err);
}

static void delete_run(ae__js_op *op) {
  deleting *d = op->of;
  ae_error err = {0};
  d->stats = (ae_stats_read){.ns = ae__js_name(d->space), .cb = on_stats};
  ae_status status = ae_store_stats(op->space->inner, &d->stats, &err);
  ae__js_op_free(op);
  if (status != AE_OK) end(d, status, &err);
  ae_error_clear(&err);
}

static void delete_fail(ae__js_op *op, ae_status status, const ae_error *err) {
  deleting *d = op->of;
  end(d, status, err);
  ae__js_op_free(op);
}

ae_status ae__js_delete(ae_store *store, ae_delete *delete, ae_error *err) {
  (void)err;
  ae__js *js = ae__js_of(store);
  deleting *d = ae_zalloc(sizeof *d);
  d->of = delete;
  d->space = ae__js_space_get(js, delete->ns);
  js->ops++;
  ae__js_op *op = ae__js_op_new(js, delete->ns, AE__JS_STREAM);
  op->of = d;
  op->run = delete_run;
  op->fail = delete_fail;
  ae__js_op_start(op);
  return AE_OK;
}
