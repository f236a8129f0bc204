/* What never comes: the end of a stream may be deleted, by hand or by a purge,
 * and its last sequence is still that of before. Who waits for it goes on once
 * the leader has no message behind what the follower has taken in. */
#include "base/mem.h"
#include "store/backend/jetstream.h"

enum {
  IDLE_MS = 1000, /* without a message, while somebody waits for one */
  ASK_MS = 5000,
  NO_MESSAGE = 10037,
};

static uint64_t sought(const ae__js_space *space) {
  uint64_t most = space->phase == AE__JS_FILLING ? space->until : 0;
  for (ae_list *at = space->behind.next; at != &space->behind; at = at->next) {
    const ae__js_op *op = AE_CONTAINER(at, ae__js_op, link);
    if (op->sequence > most) most = op->sequence;
  }
  return most;
}

static void on_last(ae_wire_request *request, ae_status status,
                    const ae_wire_message *message) {
  ae__js_space *space = request->data;
  ae__js *js = space->js;
  ae__js_answer answer = {0};
  uint64_t last = 0;
  if (status == AE_OK) {
    ae__js_answer_read(&answer, message);
    bool told = answer.code == NO_MESSAGE ||
                ae__js_answer_uint(&answer, "message", "seq", &last);
    if (told && last <= space->taken && space->inner && space->sought > 0 &&
        !js->closing)
      ae__js_follow_passed(space, space->sought);
    ae__js_answer_clear(&answer);
  }
  space->seeking = false;
  js->ops--;
  ae__js_close_look(js);
}

void ae__js_tail_look(ae__js_space *space, uint64_t now) {
  uint64_t to = sought(space);
  if (space->seeking || to <= space->followed || space->behindhand > 0 ||
      now - space->came < IDLE_MS)
    return;
  ae_buf what = {0}, json = {0};
  ae_ref any = {.ns = ae__js_name(space)};
  ae_buf_printf(&what, "STREAM.MSG.GET.%s", space->stream);
  ae_buf_printf(&json, "{\"last_by_subj\":\"");
  ae__js_subject(&json, "log", &any);
  ae_buf_printf(&json, "\"}");
  space->seek =
      (ae_wire_request){.cb = on_last, .data = space, .timeout_ms = ASK_MS};
  space->sought = to;
  space->seeking = ae__js_ask(space->js, &space->seek, ae_buf_cstr(&what),
                              ae_buf_cstr(&json), NULL) == AE_OK;
  if (space->seeking) space->js->ops++;
  ae_buf_clear(&what);
  ae_buf_clear(&json);
}
