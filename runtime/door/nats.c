#include "door/nats.h"

#include <stdlib.h>
#include <strings.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/ask.h"
#include "namespace/encode.h"

#define SUBJECT "aether.commands."
#define QUEUE "aether"

struct ae__nats {
  ae_node *node;
  ae_wire *wire;
  ae_wire_subscription **subscriptions; /* one for each namespace */
  size_t count;
  size_t under_way;
  bool over; /* closed: freed with the last that is under way */
};

/* A command that came, until its outcome has gone. */
typedef struct request {
  ae_command command; /* first */
  ae__nats *nats;
  bool packed; /* msgpack */
  char *reply; /* NULL: nobody waits */
  ae_buf actor;
  ae_buf bytes;
  ae__asked asked;
} request;

static void free_if_over(ae__nats *nats) {
  if (!nats->over || nats->under_way > 0) return;
  ae_free(nats->subscriptions);
  ae_free(nats);
}

static void request_free(request *one) {
  ae__nats *nats = one->nats;
  ae_buf_clear(&one->actor);
  ae_buf_clear(&one->bytes);
  ae_free(one->reply);
  ae_free(one);
  nats->under_way--;
  free_if_over(nats);
}

/* -- answers -- */

static void pack_field(ae_buf *out, const char *key, ae_str text) {
  ae_pack_cstr(out, key);
  ae_pack_text(out, text);
}

static void pack_asked(ae_buf *out, const ae__asked *asked, uint32_t more,
                       ae_status status) {
  bool named = asked->command.ptr != NULL, id = asked->id.ptr != NULL;
  ae_pack_map(out, 2 + named + id + more);
  pack_field(out, "actor", asked->actor);
  if (named) pack_field(out, "command", asked->command);
  if (id) pack_field(out, "id", asked->id);
  pack_field(out, "status",
             ae_str_of(ae__verdict_word(ae__verdict_of(status))));
}

static void pack_error(ae_buf *out, const ae__asked *asked,
                       const ae_error *err) {
  pack_asked(out, asked, 1, err->status);
  ae_pack_cstr(out, "error");
  ae_error_render(err, out);
}

static void pack_outcome(ae_buf *out, const ae__asked *asked,
                         ae_outcome *outcome) {
  if (outcome->status != AE_OK) {
    pack_error(out, asked, outcome->error);
    return;
  }
  pack_asked(out, asked, outcome->repeated ? 4 : 3, AE_OK);
  ae_pack_cstr(out, "version");
  ae_pack_uint(out, outcome->version);
  ae_pack_cstr(out, "position");
  ae_pack_uint(out, outcome->position);
  ae_pack_cstr(out, "events");
  ae_pack_array(out, outcome->event_count);
  ae_event event;
  while (ae_outcome_event(outcome, &event)) ae_event_render(&event, out);
  if (!outcome->repeated) return;
  ae_pack_cstr(out, "repeated");
  ae_pack_bool(out, true);
}

static void failed(ae_buf *out, const request *one, const ae_error *err) {
  if (one->packed)
    pack_error(out, &one->asked, err);
  else
    ae__answer_failed(out, &one->asked, err);
}

static void reply(request *one, ae_buf *out) {
  static const ae_wire_header json[] = {{"Content-Type", "application/json"},
                                        {0}},
                              msgpack[] = {
                                  {"Content-Type", "application/msgpack"}, {0}};
  ae_str body = ae_buf_view(out);
  if (!one->packed && body.len > 0) body.len--; /* without its newline */
  ae_error err = {0};
  ae_status status = ae_wire_publish(one->nats->wire, one->reply, NULL,
                                     one->packed ? msgpack : json, body, &err);
  if (status == AE_TOO_LARGE) {
    /* What became of it is stored, and repeated under its id. */
    ae_buf_reset(out);
    ae_error_add(&err,
                 "; the command's outcome stands, and its events can be "
                 "read");
    failed(out, one, &err);
    body = ae_buf_view(out);
    ae_wire_publish(one->nats->wire, one->reply, NULL,
                    one->packed ? msgpack : json, body, NULL);
  }
  ae_error_clear(&err);
}

static void refuse(request *one, const ae_error *err) {
  ae_buf out = {0};
  if (one->reply) {
    failed(&out, one, err);
    reply(one, &out);
  }
  ae_buf_clear(&out);
  request_free(one);
}

static void answered(ae_command *command, ae_outcome *outcome) {
  request *one = (request *)command;
  ae_buf out = {0};
  if (one->reply && !one->nats->over) {
    if (one->packed)
      pack_outcome(&out, &one->asked, outcome);
    else
      ae__answer_outcome(&out, &one->asked, outcome);
    reply(one, &out);
  }
  ae_buf_clear(&out);
  request_free(one);
}

/* -- requests -- */

/* "NAMESPACE.TYPE.ID" → "NAMESPACE/TYPE/ID". */
static bool read_subject(const char *subject, ae_buf *actor) {
  const char *type = strchr(subject, '.');
  const char *id = type ? strchr(type + 1, '.') : NULL;
  if (!id || !ae_decode((ae_str){subject, (size_t)(type - subject)}, actor))
    return false;
  ae_buf_byte(actor, '/');
  ae_buf_add(actor, type + 1, (size_t)(id - type - 1));
  ae_buf_byte(actor, '/');
  return id[1] && ae_decode(ae_str_of(id + 1), actor);
}

static ae_status read_body(request *one, ae_str body, ae_error *err) {
  if (!one->packed) return ae_json_read(body, &one->bytes, err);
  if (ae_pack_canonical(body, &one->bytes)) return AE_OK;
  ae_error_set(err, AE_MALFORMED, "the body is no msgpack value");
  ae_error_uint(err, "at", 0);
  return AE_MALFORMED;
}

static void on_request(void *data, const ae_wire_message *message) {
  ae__nats *nats = data;
  request *one = ae_zalloc(sizeof *one);
  const char *type = ae_wire_message_header(message, "Content-Type");
  ae_error err = {0};
  nats->under_way++;
  one->nats = nats;
  one->packed = type && strcasecmp(type, "application/msgpack") == 0;
  if (message->reply) one->reply = ae_strdup(message->reply);
  ae_status status = AE_OK;
  if (!read_subject(message->subject + sizeof SUBJECT - 1, &one->actor))
    status = ae_error_set(&err, AE_INVALID_NAME,
                          "the subject %.300s names no actor: " SUBJECT
                          "NAMESPACE.TYPE.ID, bytes other than [A-Za-z0-9-] of "
                          "NAMESPACE and ID as _ and two hex digits",
                          message->subject);
  one->asked.actor = ae_buf_view(&one->actor);
  if (status == AE_OK) status = read_body(one, message->body, &err);
  if (status == AE_OK)
    status = ae__ask_take(ae_buf_view(&one->bytes), ae_buf_view(&one->actor),
                          &one->command, &one->asked, &err);
  if (status == AE_OK) {
    one->command.cb = answered;
    ae_actors_submit(ae_node_actors(nats->node), &one->command);
  } else {
    refuse(one, &err);
  }
  ae_error_clear(&err);
}

/* -- open and close -- */

ae_status ae__nats_open(ae_node *node, ae__nats **out, ae_error *err) {
  const ae_config *config = ae_node_config(node);
  ae_wire *wire = ae_store_wire(ae_node_store(node));
  *out = NULL;
  if (!wire) return AE_OK;
  ae__nats *nats = ae_zalloc(sizeof *nats);
  nats->node = node;
  nats->wire = wire;
  nats->subscriptions =
      ae_zalloc(config->namespace_count * sizeof *nats->subscriptions);
  ae_status status = AE_OK;
  for (size_t i = 0; i < config->namespace_count && status == AE_OK; i++) {
    ae_buf subject = {0};
    ae_buf_printf(&subject, SUBJECT);
    ae_encode(ae_str_of(config->namespaces[i].name), &subject);
    ae_buf_printf(&subject, ".>");
    status = ae_wire_subscribe(wire, ae_buf_cstr(&subject), QUEUE, on_request,
                               nats, &nats->subscriptions[nats->count], err);
    if (status == AE_OK) nats->count++;
    ae_buf_clear(&subject);
  }
  if (status == AE_OK)
    *out = nats;
  else
    ae__nats_close(nats);
  return status;
}

void ae__nats_drain(ae__nats *nats) {
  if (!nats) return;
  while (nats->count > 0)
    ae_wire_unsubscribe(nats->subscriptions[--nats->count]);
}

bool ae__nats_is_idle(const ae__nats *nats) {
  return !nats || nats->under_way == 0;
}

void ae__nats_close(ae__nats *nats) {
  if (!nats) return;
  ae__nats_drain(nats);
  nats->over = true;
  free_if_over(nats);
}
