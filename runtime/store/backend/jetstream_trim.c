/* Retention: deleted here, then in the stream, a part at a time: what a crash
 * leaves in the stream alone is little. It rests on the bases that the stream
 * of snapshots has. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "store/backend/jetstream.h"

enum {
  ASK_MS = 5000,
  AT_ONCE = 256,
  NO_SUCH_MESSAGE = 10057, /* another node was first */
  NOT_FOUND = 10043,
};

typedef struct trimming {
  ae_trim inner; /* first; ends after each part */
  ae_trim *of;
  ae__js_space *space;
  ae_buf gone;
  size_t at, under_way;
  bool more; /* parts */
  ae_status status;
  ae_error error;
} trimming;

typedef struct deletion {
  ae_wire_request request; /* first */
  trimming *trim;
} deletion;

static void trim_end(trimming *trim) {
  ae__js *js = trim->space->js;
  trim->of->trimmed = trim->inner.trimmed;
  trim->of->left = trim->inner.left;
  trim->of->write.cb(&trim->of->write, trim->status,
                     trim->status == AE_OK ? NULL : &trim->error);
  ae_buf_clear(&trim->gone);
  ae_error_clear(&trim->error);
  ae_free(trim);
  js->ops--;
  ae__js_close_look(js);
}

static void delete_some(trimming *trim);
static void trim_part(trimming *trim);

static void part_end(trimming *trim) {
  const ae_trim *of = trim->of;
  bool enough = (of->enough && *of->enough) || trim->space->js->closed;
  if (trim->status == AE_OK && trim->more && !enough) {
    trim_part(trim);
    return;
  }
  if (trim->status == AE_OK && trim->more)
    trim->status =
        ae_error_set(&trim->error, AE_CANCELED, "it was ended before");
  trim_end(trim);
}

static void on_deleted(ae_wire_request *request, ae_status status,
                       const ae_wire_message *message) {
  deletion *one = (deletion *)request;
  trimming *trim = one->trim;
  ae__js_answer answer = {0};
  if (status == AE_OK) ae__js_answer_read(&answer, message);
  bool refused = status == AE_OK && answer.code &&
                 answer.code != NO_SUCH_MESSAGE && answer.code != NOT_FOUND;
  if (trim->status == AE_OK && (status != AE_OK || refused))
    trim->status = refused ? ae__js_refusal(&answer, "delete from",
                                            trim->space->stream, &trim->error)
                           : ae__js_silence(trim->space->js, &trim->error);
  ae__js_answer_clear(&answer);
  ae_free(one);
  trim->under_way--;
  delete_some(trim);
}

static void delete_some(trimming *trim) {
  while (trim->status == AE_OK && trim->at < trim->gone.len &&
         trim->under_way < AT_ONCE) {
    uint64_t position;
    char json[64];
    memcpy(&position, trim->gone.ptr + trim->at, sizeof position);
    trim->at += sizeof position;
    snprintf(json, sizeof json, "{\"seq\":%" PRIu64 ",\"no_erase\":true}",
             position);
    ae_buf what = {0};
    ae_buf_printf(&what, "STREAM.MSG.DELETE.%s", trim->space->stream);
    deletion *one = ae_zalloc(sizeof *one);
    one->trim = trim;
    one->request.cb = on_deleted;
    one->request.timeout_ms = ASK_MS;
    trim->status = ae__js_ask(trim->space->js, &one->request,
                              ae_buf_cstr(&what), json, &trim->error);
    ae_buf_clear(&what);
    if (trim->status == AE_OK)
      trim->under_way++;
    else
      ae_free(one);
  }
  if (trim->under_way == 0) part_end(trim);
}

static void on_trimmed(ae_write *write, ae_status status, const ae_error *err) {
  trimming *trim = AE_CONTAINER(write, trimming, inner.write);
  trim->more = status == AE_CANCELED;
  if (status != AE_OK && !trim->more) {
    trim->status = status;
    if (err) ae_error_copy(&trim->error, err);
  }
  delete_some(trim);
}

static void trim_run(ae__js_op *op) {
  trimming *trim = op->of;
  ae_error err = {0};
  ae_buf_reset(&trim->gone);
  trim->at = 0;
  ae_status status = ae_store_trim(op->space->inner, &trim->inner, &err);
  if (status != AE_OK) on_trimmed(&trim->inner.write, status, &err);
  ae_error_clear(&err);
  ae__js_op_free(op);
}

static void trim_fail(ae__js_op *op, ae_status status, const ae_error *err) {
  trimming *trim = op->of;
  trim->status = status;
  if (err)
    ae_error_copy(&trim->error, err);
  else
    ae_error_set(&trim->error, status, "it was ended before");
  trim_end(trim);
  ae__js_op_free(op);
}

static void trim_part(trimming *trim) {
  ae__js_op *op = ae__js_op_new(trim->space->js, trim->inner.ns, AE__JS_STREAM);
  op->of = trim;
  op->run = trim_run;
  op->fail = trim_fail;
  ae__js_op_start(op);
}

/* Commits that hold command ids stay in the stream: a follower made anew
 * learns the ids from nowhere else. */
ae_status ae__js_trim(ae_store *store, ae_trim *trim, ae_error *err) {
  (void)err;
  static const bool enough = true;
  ae__js *js = ae__js_of(store);
  trimming *copy = ae_zalloc(sizeof *copy);
  copy->of = trim;
  copy->space = ae__js_space_get(js, trim->ns);
  copy->inner = (ae_trim){.ns = ae__js_name(copy->space),
                          .before = trim->before,
                          .bytes = trim->bytes,
                          .until = trim->until,
                          .enough = &enough,
                          .gone = &copy->gone,
                          .write = {.cb = on_trimmed}};
  js->ops++;
  trim_part(copy);
  return AE_OK;
}
