/* The leader has a message of an actor that is not in the follower, which has
 * passed it. What is it?
 *
 *   head_asked ──► ae__js_doubt ──► a commit, or gone ──► the copy differs
 *                                └─► none: another program's
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "store/backend/jetstream.h"

enum { ASK_MS = 5000 };

#define FACTS "\r\nAether-Commit: "

/* As the follower takes them (jetstream_follow.c). */
static bool is_commit(ae_str message) {
  ae_str value, text;
  ae_buf headers = {0};
  uint64_t first = 0;
  unsigned events, ids;
  if (!ae_unpack_field(message, "data", &value) ||
      !ae_unpack_field(message, "hdrs", &value))
    return false;
  ae_unpack cursor = ae_unpack_of(value);
  bool read = ae_unpack_str(&cursor, &text) && ae_json_base64(text, &headers);
  const char *at = read ? strstr(ae_buf_cstr(&headers), FACTS) : NULL;
  read = at && sscanf(at + sizeof FACTS - 1, "%" SCNu64 " %u %u", &first,
                      &events, &ids) == 3;
  ae_buf_clear(&headers);
  return read && first > 0;
}

static ae_status foreign(const ae__js_op *op, ae_error *err) {
  const char *stream = op->space->stream;
  unsigned long long sequence = op->sequence;
  ae_buf subject = {0};
  ae__js_subject(&subject, "log", &op->ref);
  ae_error_set(
      err, AE_ACTOR_DAMAGED,
      "message %llu of the stream %s, on the subject %s, is no commit: "
      "another program put it there, and nothing is appended behind "
      "it; `nats stream rmm %s %llu` deletes it (nats-server 2.9 must "
      "then be started again)",
      sequence, stream, ae_buf_cstr(&subject), stream, sequence);
  ae_error_cstr(err, "cause", "no commit");
  ae_error_cstr(err, "stream", stream);
  ae_error_cstr(err, "subject", ae_buf_cstr(&subject));
  ae_error_uint(err, "sequence", sequence);
  ae_buf_clear(&subject);
  return AE_ACTOR_DAMAGED;
}

static void on_message(ae_wire_request *request, ae_status status,
                       const ae_wire_message *answer) {
  ae__js_op *op = request->data;
  ae__js_answer said = {0};
  ae_error err = {0};
  ae_str message;
  ae__js_heard(op->space, status);
  if (status == AE_OK) ae__js_answer_read(&said, answer);
  if (status == AE_CANCELED)
    ae_error_set(&err, status, "the store is closing");
  else if (status != AE_OK)
    status = ae__js_silence(op->js, &err);
  else if (said.code == 0 &&
           ae_unpack_field(ae_buf_view(&said.body), "message", &message) &&
           !is_commit(message))
    status = foreign(op, &err);
  else
    status =
        ae__js_space_differs(op->space, &op->ref, op->sequence, op->here, &err);
  ae__js_answer_clear(&said);
  op->fail(op, status, &err);
  ae_error_clear(&err);
}

void ae__js_doubt(ae__js_op *op, uint64_t here) {
  char what[sizeof op->space->stream + 32], json[48];
  snprintf(what, sizeof what, "STREAM.MSG.GET.%s", op->space->stream);
  snprintf(json, sizeof json, "{\"seq\":%" PRIu64 "}", op->sequence);
  op->here = here;
  op->request.cb = on_message;
  op->request.data = op;
  op->request.timeout_ms = ASK_MS;
  ae_error err = {0};
  ae_status status = ae__js_ask(op->js, &op->request, what, json, &err);
  if (status != AE_OK) op->fail(op, status, &err);
  ae_error_clear(&err);
}
