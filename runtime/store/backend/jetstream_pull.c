/* A consumer that is asked for messages, a part at a time.
 *
 * It is the server's, and not stored. Acknowledgements would have the server
 * keep a record of each message: a third of what a message costs it. Flow
 * control alone lets it owe 32 MB to each consumer, and at 64 MB of all it
 * closes the connection. So it sends what it was asked for and no more, bounded
 * in number and in bytes; it is asked again when half of that has come.
 *
 * A request lasts a while and then ends with a word, as does one whose bytes
 * are used up; between, the server shows every other second that it is there.
 * That word can be lost (2.9 says nothing where a request ends in the moment in
 * which a message comes): who hears nothing asks once more. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/backend/jetstream.h"

enum {
  ASK_MS = 5000,
  OWED = 4096,          /* messages, at most */
  OWED_BYTES = 2 << 20, /* in one request, of which a few are under way */
  HEAD_BYTES = 1 << 16, /* around a message of the largest size */
  LASTS_S = 30,
  HEARTBEAT_S = 2,
};

static void ask(ae__js_pull *pull, unsigned count) {
  char json[160];
  size_t bytes = ae_wire_max_payload(pull->js->wire) + HEAD_BYTES;
  if (bytes < OWED_BYTES) bytes = OWED_BYTES;
  snprintf(json, sizeof json,
           "{\"batch\":%u,\"max_bytes\":%zu,\"expires\":%d000000000,"
           "\"idle_heartbeat\":%d000000000}",
           count, bytes, LASTS_S, HEARTBEAT_S);
  ae_status status =
      ae_wire_publish(pull->js->wire, pull->next, ae_buf_cstr(&pull->inbox),
                      NULL, ae_str_of(json), NULL);
  if (status == AE_OK) pull->owed += count;
}

void ae__js_pull_more(ae__js_pull *pull) {
  if (!pull->subscription || !pull->next[0] || pull->owed > OWED / 2) return;
  ask(pull, OWED / 2);
}

void ae__js_pull_again(ae__js_pull *pull) {
  pull->owed = 0;
  ae__js_pull_more(pull);
}

void ae__js_pull_stop(ae__js_pull *pull) {
  if (!pull->subscription) return;
  ae_wire_unsubscribe(pull->subscription);
  pull->subscription = NULL;
}

void ae__js_pull_clear(ae__js_pull *pull) {
  ae__js_pull_stop(pull);
  ae_buf_clear(&pull->inbox);
}

bool ae__js_pull_made(ae__js_pull *pull, const ae__js_answer *answer) {
  char name[128];
  if (!ae__js_answer_text(answer, "name", NULL, name, sizeof name))
    return false;
  snprintf(pull->next, sizeof pull->next, "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
           pull->stream, name);
  ae__js_pull_more(pull);
  return true;
}

ae_status ae__js_pull_start(ae__js_pull *pull, ae__js *js, const char *stream,
                            uint64_t from, ae_wire_cb cb, void *data,
                            ae_wire_request *request, ae_error *err) {
  ae__js_pull_stop(pull);
  pull->js = js;
  pull->stream = stream;
  pull->owed = pull->consumed = 0;
  pull->next[0] = 0;
  ae_buf_reset(&pull->inbox);
  ae_wire_inbox(js->wire, &pull->inbox);
  ae_status status =
      ae_wire_subscribe(js->wire, ae_buf_cstr(&pull->inbox), NULL, cb, data,
                        &pull->subscription, err);
  if (status != AE_OK) return status;
  ae_buf json = {0}, what = {0};
  ae_buf_printf(&json,
                "{\"stream_name\":\"%s\",\"config\":{"
                "\"deliver_policy\":\"by_start_sequence\","
                "\"opt_start_seq\":%" PRIu64
                ",\"ack_policy\":\"none\","
                "\"inactive_threshold\":%d000000000,\"mem_storage\":true,"
                "\"num_replicas\":1,\"replay_policy\":\"instant\"}}",
                stream, from, LASTS_S);
  ae_buf_printf(&what, "CONSUMER.CREATE.%s", stream);
  request->timeout_ms = ASK_MS;
  status = ae__js_ask(js, request, ae_buf_cstr(&what), ae_buf_cstr(&json), err);
  ae_buf_clear(&what);
  ae_buf_clear(&json);
  if (status != AE_OK) ae__js_pull_stop(pull);
  return status;
}

/* -- what comes -- */

/* The sequences in "$JS.ACK.(DOMAIN.ACCOUNT.)STREAM.CONSUMER.…": of the stream
 * and of the consumer. */
static bool sequences_of(const char *reply, uint64_t *stream,
                         uint64_t *consumer) {
  const char *tokens[16];
  int count = 0;
  for (const char *at = reply; at && count < 16; at = strchr(at, '.')) {
    if (*at == '.') at++;
    tokens[count++] = at;
  }
  int at = count == 9 ? 5 : count >= 11 ? 7 : -1;
  if (at < 0) return false;
  *stream = strtoull(tokens[at], NULL, 10);
  *consumer = strtoull(tokens[at + 1], NULL, 10);
  return *stream > 0 && *consumer > 0;
}

/* A request is over, or the server shows that it is there. */
static ae__js_pulled control(ae__js_pull *pull,
                             const ae_wire_message *message) {
  const char *last = ae_wire_message_header(message, "Nats-Last-Consumer");
  const char *rest = ae_wire_message_header(message, "Nats-Pending-Messages");
  if (last && strtoull(last, NULL, 10) != pull->consumed) return AE__JS_LOST;
  if (rest) {
    uint64_t left = strtoull(rest, NULL, 10);
    pull->owed -= left < pull->owed ? left : pull->owed;
    return AE__JS_CONTROL;
  }
  return ae_wire_message_status(message) == 100 ? AE__JS_CONTROL : AE__JS_OVER;
}

ae__js_pulled ae__js_pull_take(ae__js_pull *pull,
                               const ae_wire_message *message,
                               uint64_t *sequence) {
  uint64_t consumed;
  if (message->body.len == 0 && ae_wire_message_status(message) != 0)
    return control(pull, message);
  if (!message->reply || !sequences_of(message->reply, sequence, &consumed))
    return AE__JS_OVER; /* not of the consumer */
  if (consumed != pull->consumed + 1) return AE__JS_LOST;
  pull->consumed = consumed;
  if (pull->owed > 0) pull->owed--;
  return AE__JS_MESSAGE;
}
