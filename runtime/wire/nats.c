#include "wire/nats.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "wire/internal.h"

enum { OUT_BYTES = 1 << 14 }; /* sent before the turn is over */

/* -- state -- */

void ae__wire_learn(ae_wire *wire) {
  char url[256] = "", id[64] = "";
  natsConnection_GetConnectedUrl(wire->nc, url, sizeof url);
  natsConnection_GetConnectedServerId(wire->nc, id, sizeof id);
  const char *at = strrchr(url, '@'); /* no user, no password */
  const char *scheme = strstr(url, "://");
  if (at && scheme)
    snprintf(wire->info.server, sizeof wire->info.server, "%.*s%s",
             (int)(scheme + 3 - url), url, at + 1);
  else
    snprintf(wire->info.server, sizeof wire->info.server, "%.120s", url);
  snprintf(wire->info.id, sizeof wire->info.id, "%s", id);
  wire->info.max_payload = (size_t)natsConnection_GetMaxPayload(wire->nc);
  wire->info.bare = false;
  wire->headers = natsConnection_HasHeaderSupport(wire->nc) == NATS_OK;
}

static void tell(ae_wire *wire) {
  if (!wire->changed || wire->closing) return;
  ae_wire_info info;
  ae_wire_info_get(wire, &info);
  wire->changed(wire->changed_data, &info);
}

void ae__wire_serve(ae_task *task) {
  ae_wire *wire = AE_CONTAINER(task, ae_wire, service);
  pthread_mutex_lock(&wire->lock);
  if (wire->reopening) { /* what the new connection said waits for it */
    wire->posted = false;
    pthread_mutex_unlock(&wire->lock);
    return;
  }
  bool gone = wire->gone;
  wire->gone = false;
  bool drop = wire->drop, lost = wire->lost, back = wire->back;
  int fd = wire->fd;
  wire->posted = wire->drop = wire->lost = wire->back = false;
  wire->fd = -1;
  if (lost)
    snprintf(wire->info.trouble, sizeof wire->info.trouble, "%s",
             wire->trouble);
  pthread_mutex_unlock(&wire->lock);
  if (drop) ae__wire_poll_stop(wire);
  if (fd >= 0) ae__wire_poll_start(wire, fd);
  if (lost && wire->info.connected && !wire->closing) {
    wire->info.connected = false;
    ae_log(AE_LOG_WARN, "lost the connection to nats-server", "server",
           wire->info.server, "cause", wire->info.trouble, NULL);
    ae__wire_requests_fail(wire, AE_STORE_UNCERTAIN);
    tell(wire);
  }
  if (back && !wire->info.connected) {
    wire->info.connected = true;
    wire->info.reconnects++;
    wire->info.trouble[0] = 0;
    ae__wire_learn(wire);
    ae_log(AE_LOG_INFO, "connected to nats-server again", "server",
           wire->info.server, NULL);
    tell(wire);
  }
  if (atomic_load(&wire->writing) && wire->poll) ae__wire_write(wire);
  if (gone && !wire->closing) ae__wire_reopen(wire);
}

bool ae_wire_connected(const ae_wire *wire) {
  return wire->info.connected;
}

size_t ae_wire_max_payload(const ae_wire *wire) {
  return wire->info.max_payload;
}

void ae_wire_info_get(ae_wire *wire, ae_wire_info *out) {
  *out = wire->info;
}

/* -- messages -- */

static void deliver(ae_wire *wire, natsMsg *msg, ae_wire_cb cb, void *data) {
  ae_wire_message message = {
      .subject = natsMsg_GetSubject(msg),
      .reply = natsMsg_GetReply(msg),
      .body = {natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)},
      .impl = msg};
  wire->info.messages_in++;
  wire->info.bytes_in += message.body.len;
  cb(data, &message);
  natsMsg_Destroy(msg);
}

static void subscription_free(ae_wire_subscription *one) {
  ae_free(one->subject);
  ae_free(one->queue);
  ae_free(one);
}

void ae__wire_sweep(ae_wire *wire) {
  for (ae_list *at = wire->subscriptions.next, *next;
       at != &wire->subscriptions; at = next) {
    next = at->next;
    ae_wire_subscription *one = AE_CONTAINER(at, ae_wire_subscription, link);
    if (!one->ended) continue;
    ae_list_remove(at);
    natsSubscription_Destroy(one->sub);
    subscription_free(one);
  }
  wire->swept = false;
}

void ae__wire_hand_out(ae_wire *wire) {
  if (wire->handing) return;
  wire->handing = true;
  natsMsg *msg;
  while (natsSubscription_NextMsg(&msg, wire->inbox, 0) == NATS_OK)
    deliver(wire, msg, ae__wire_answered, wire);
  for (ae_list *at = wire->subscriptions.next; at != &wire->subscriptions;
       at = at->next) {
    ae_wire_subscription *one = AE_CONTAINER(at, ae_wire_subscription, link);
    while (!one->ended &&
           natsSubscription_NextMsg(&msg, one->sub, 0) == NATS_OK)
      deliver(wire, msg, one->cb, one->data);
  }
  wire->handing = false;
  if (wire->swept) ae__wire_sweep(wire);
}

bool ae__wire_frame(void *data, const ae__frame *frame) {
  ae_wire *wire = data;
  const uv_poll_t *poll = wire->poll;
  ae_wire_message message = {.subject = frame->subject,
                             .reply = frame->reply,
                             .body = frame->body,
                             .headers = frame->headers};
  wire->info.messages_in++;
  wire->info.bytes_in += frame->body.len;
  if (frame->sid == wire->inbox_sid) {
    ae__wire_answered(wire, &message);
  } else {
    ae_str sid = {(const char *)&frame->sid, sizeof frame->sid};
    ae_wire_subscription *one = ae_map_get(&wire->by_sid, sid);
    if (one) one->cb(one->data, &message);
  }
  return wire->poll == poll;
}

const char *ae_wire_message_header(const ae_wire_message *message,
                                   const char *key) {
  if (!message->impl) return ae__frame_header(message->headers, key);
  const char *value = NULL;
  natsStatus s = natsMsgHeader_Get(message->impl, key, &value);
  return s == NATS_OK ? value : NULL;
}

unsigned ae_wire_message_status(const ae_wire_message *message) {
  const char *status = NULL;
  if (!message->impl) return ae__frame_status(message->headers);
  natsStatus s = natsMsgHeader_Get(message->impl, "Status", &status);
  return s == NATS_OK ? (unsigned)strtoul(status, NULL, 10) : 0;
}

static ae_status refuse(ae_wire *wire, natsStatus s, const char *subject,
                        size_t len, ae_error *err) {
  switch (s) {
    case NATS_OK:
      return AE_OK;
    case NATS_MAX_PAYLOAD:
      ae_error_set(err, AE_TOO_LARGE,
                   "a message of %zu bytes for %s: nats-server takes %zu "
                   "(max_payload in its settings)",
                   len, subject, wire->info.max_payload);
      ae_error_uint(err, "limit", wire->info.max_payload);
      return AE_TOO_LARGE;
    case NATS_INVALID_SUBJECT:
      return ae_error_set(err, AE_INVALID_NAME, "\"%s\" is no subject",
                          subject);
    default:
      ae_error_set(err, AE_STORE_UNAVAILABLE, "nats-server: %s",
                   natsStatus_GetText(s));
      ae_error_cstr(err, "cause", natsStatus_GetText(s));
      return AE_STORE_UNAVAILABLE;
  }
}

static natsStatus publish_plain(ae_wire *wire, const char *subject,
                                const char *reply,
                                const ae_wire_header *headers, ae_str body) {
  if (headers && !wire->headers) return NATS_NO_SERVER_SUPPORT;
  if (ae__frame_size(headers, body) > wire->info.max_payload)
    return NATS_MAX_PAYLOAD;
  ae__frame_put(&wire->raw.out, subject, reply, headers, body);
  if (wire->raw.out.len >= OUT_BYTES && wire->raw.going.len == 0)
    ae__wire_write(wire);
  else
    ae__wire_flush_soon(wire);
  return NATS_OK;
}

static natsStatus publish_nats(ae_wire *wire, const char *subject,
                               const char *reply, const ae_wire_header *headers,
                               ae_str body) {
  natsMsg *msg = NULL;
  natsStatus s = natsMsg_Create(&msg, subject, reply, body.ptr, (int)body.len);
  for (; headers && headers->key && s == NATS_OK; headers++)
    s = natsMsgHeader_Set(msg, headers->key, headers->value);
  if (s == NATS_OK) s = natsConnection_PublishMsg(wire->nc, msg);
  natsMsg_Destroy(msg);
  return s;
}

ae_status ae_wire_publish(ae_wire *wire, const char *subject, const char *reply,
                          const ae_wire_header *headers, ae_str body,
                          ae_error *err) {
  if (!wire->info.connected) {
    ae_error_set(err, AE_STORE_UNAVAILABLE,
                 "no connection to nats-server: %s; it is tried again",
                 wire->info.trouble);
    ae_error_cstr(err, "cause", "not connected");
    return AE_STORE_UNAVAILABLE;
  }
  natsStatus s = NATS_INVALID_SUBJECT;
  if (ae__frame_subject(subject) && (!reply || ae__frame_subject(reply)))
    s = wire->proven ? publish_plain(wire, subject, reply, headers, body)
                     : publish_nats(wire, subject, reply, headers, body);
  if (s != NATS_OK) return refuse(wire, s, subject, body.len, err);
  wire->info.messages_out++;
  wire->info.bytes_out += body.len;
  return AE_OK;
}

/* -- subscriptions -- */

static ae_str sid_of(const ae_wire_subscription *one) {
  return (ae_str){(const char *)&one->sid, sizeof one->sid};
}

natsStatus ae__wire_attach(ae_wire_subscription *one) {
  ae_wire *wire = one->wire;
  natsStatus s = one->queue ? natsConnection_QueueSubscribeSync(
                                  &one->sub, wire->nc, one->subject, one->queue)
                            : natsConnection_SubscribeSync(&one->sub, wire->nc,
                                                           one->subject);
  /* They are taken out in the turn in which they came. */
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(one->sub, -1, -1);
  if (s != NATS_OK) return s;
  one->sid = (uint64_t)natsSubscription_GetID(one->sub);
  ae_map_put(&wire->by_sid, sid_of(one), one);
  return NATS_OK;
}

ae_status ae_wire_subscribe(ae_wire *wire, const char *subject,
                            const char *queue, ae_wire_cb cb, void *data,
                            ae_wire_subscription **out, ae_error *err) {
  ae_wire_subscription *one = ae_zalloc(sizeof *one);
  one->wire = wire;
  one->cb = cb;
  one->data = data;
  one->subject = ae_strdup(subject);
  one->queue = queue ? ae_strdup(queue) : NULL;
  natsStatus s = wire->reopening ? NATS_OK : ae__wire_attach(one);
  if (s != NATS_OK) {
    natsSubscription_Destroy(one->sub);
    subscription_free(one);
    *out = NULL;
    return refuse(wire, s, subject, 0, err);
  }
  ae_list_push(&wire->subscriptions, &one->link);
  *out = one;
  return AE_OK;
}

void ae_wire_unsubscribe(ae_wire_subscription *subscription) {
  ae_wire *wire = subscription->wire;
  natsSubscription_Unsubscribe(subscription->sub);
  ae_map_remove(&wire->by_sid, sid_of(subscription));
  subscription->ended = true;
  if (wire->handing)
    wire->swept = true;
  else
    ae__wire_sweep(wire);
}

void ae_wire_inbox(ae_wire *wire, ae_buf *out) {
  ae_buf_printf(out, "%.*sx%" PRIx64, (int)wire->prefix.len, wire->prefix.ptr,
                ++wire->serial);
}
