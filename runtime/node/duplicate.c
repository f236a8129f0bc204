/*  copy ─► the file is opened as a store ─► audit ─► closed ─► done */
#include "node/duplicate.h"

#include "base/mem.h"

static void finish(ae__duplicate *d) {
  ae_error err = {0};
  ae_error_move(&err, &d->err);
  d->done(d, d->status, d->status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
}

static void closed(void *data) {
  finish(data);
}

static void keep(ae__duplicate *d, ae_status status, const ae_error *err) {
  d->status = status;
  if (status == AE_OK) return;
  if (err)
    ae_error_copy(&d->err, err);
  else
    ae_error_set(&d->err, status, "stopped");
}

static void on_audit(ae_audit *audit, ae_status status, const ae_error *err) {
  ae__duplicate *d = audit->data;
  keep(d, status, err);
  ae_store_close(d->copied_store, closed, d);
}

static void on_audit_progress(ae_audit *audit) {
  ae__duplicate *d = audit->data;
  if (d->progress) d->progress(d);
  if (d->stopped) ae_audit_stop(audit);
}

static ae_status read_back(ae__duplicate *d, ae_error *err) {
  ae_buf url = {0};
  ae_buf_printf(&url, "sqlite:%s", d->file);
  const ae_store_options options = {.url = ae_buf_cstr(&url),
                                    .mode = AE_STORE_READ};
  ae_status status = ae_store_open(d->loop, &options, &d->copied_store, err);
  ae_buf_clear(&url);
  if (status != AE_OK) return status;
  d->reading_back = true;
  d->audit.progress = on_audit_progress;
  d->audit.done = on_audit;
  d->audit.data = d;
  return ae_audit_start(d->copied_store, &d->audit, err);
}

static void on_copy(ae_copy *copy, ae_status status, const ae_error *err) {
  ae__duplicate *d = copy->data;
  ae_error why = {0};
  d->copied = copy->done;
  d->all = copy->total;
  keep(d, status, err);
  if (status == AE_OK) {
    status = read_back(d, &why);
    if (status == AE_OK) return;
    keep(d, status, &why);
    ae_error_clear(&why);
  }
  if (d->copied_store)
    ae_store_close(d->copied_store, closed, d);
  else
    finish(d);
}

static void on_copy_progress(ae_copy *copy) {
  ae__duplicate *d = copy->data;
  d->copied = copy->done;
  d->all = copy->total;
  if (d->progress) d->progress(d);
}

ae_status ae__duplicate_start(ae_loop *loop, ae_store *store,
                              ae__duplicate *duplicate, ae_error *err) {
  duplicate->loop = loop;
  duplicate->copy = (ae_copy){.file = duplicate->file,
                              .progress = on_copy_progress,
                              .cb = on_copy,
                              .data = duplicate};
  return ae_store_copy(store, &duplicate->copy, err);
}

void ae__duplicate_stop(ae__duplicate *duplicate) {
  duplicate->stopped = true;
  ae_copy_stop(&duplicate->copy);
  ae_audit_stop(&duplicate->audit);
}
