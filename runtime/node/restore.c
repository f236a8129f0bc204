/*  the place is taken ─► the file opened ─► copied beside the place and read
 *  back ─► closed ─► the copy moved to the place                            */
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/backup.h"
#include "node/config.h"

static void on_closed(void *data) {
  ae_restore *r = data;
  ae_error err = {0};
  ae_place_free(r->place);
  r->place = NULL;
  ae_error_move(&err, &r->err);
  r->done(r, r->status, r->status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
}

static void fill(ae_restore *r) {
  if (r->duplicate.audit.problem.len > 0 && !r->damaged) {
    r->status = ae_error_set(&r->err, AE_REPLAY_ERROR,
                             "%s is damaged, and was not restored", r->file);
    ae_error_cstr(&r->err, "cause", ae_buf_cstr(&r->duplicate.audit.problem));
    return;
  }
  r->status = ae_place_fill(r->place, &r->kept, &r->err);
  if (r->status != AE_OK && r->kept.len > 0)
    ae_error_add(&r->err, "; what was there is also %s", ae_buf_cstr(&r->kept));
}

static void on_duplicate(ae__duplicate *duplicate, ae_status status,
                         const ae_error *err) {
  ae_restore *r = duplicate->data;
  r->status = status;
  if (status == AE_OK)
    fill(r);
  else
    ae_error_copy(&r->err, err);
  ae_store_close(r->from, on_closed, r);
}

static void on_progress(ae__duplicate *duplicate) {
  ae_restore *r = duplicate->data;
  if (r->progress) r->progress(r);
}

static ae_status open_from(ae_restore *r, ae_loop *loop, ae_error *err) {
  ae_buf url = {0};
  const char *at = ae_store_file(r->store);
  if (at && ae_file_same(at, r->file))
    return ae_error_set(err, AE_USAGE, "%s is the store itself", r->file);
  ae_buf_printf(&url, "sqlite:%s", r->file);
  const ae_store_options options = {.url = ae_buf_cstr(&url),
                                    .mode = AE_STORE_READ};
  ae_status status = ae_store_open(loop, &options, &r->from, err);
  ae_buf_clear(&url);
  return status;
}

static void nothing(void *data) {
  (void)data;
}

ae_status ae_restore_start(ae_loop *loop, ae_restore *restore, ae_error *err) {
  ae_status status = open_from(restore, loop, err);
  if (status == AE_OK)
    status =
        ae_place_take(restore->store, restore->force, &restore->place, err);
  if (status == AE_OK) {
    restore->duplicate.file = ae_place_beside(restore->place);
    restore->duplicate.progress = on_progress;
    restore->duplicate.done = on_duplicate;
    restore->duplicate.data = restore;
    status = ae__duplicate_start(loop, restore->from, &restore->duplicate, err);
  }
  if (status == AE_OK) return AE_OK;
  ae_place_free(restore->place);
  restore->place = NULL;
  if (restore->from) ae_store_close(restore->from, nothing, NULL);
  restore->from = NULL;
  return status;
}

void ae_restore_stop(ae_restore *restore) {
  ae__duplicate_stop(&restore->duplicate);
}
