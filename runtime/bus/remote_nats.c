#include "bus/remote_nats.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define SUBJECT "aether.events."

struct ae_bus_nats {
  ae_bus_remote remote; /* first */
  ae_bus *bus;
  ae_wire *wire;
  char node[37]; /* Aether-Node */
  ae_buf subject, type, actor, body;
  bool complained; /* of an event that could not be sent */
};

/* One pattern. */
typedef struct listening {
  ae_bus_nats *nats;
  ae_bus_interest *interest;
  ae_wire_subscription *subscription;
} listening;

/* -- publishing -- */

/* A header's value ends with its line, and has no blanks around it. */
static void put_header(ae_buf *out, ae_str text) {
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = (uint8_t)text.ptr[i];
    bool end = i == 0 || i == text.len - 1;
    if (c < ' ' || c == 0x7f || c == '%' || (c == ' ' && end))
      ae_buf_printf(out, "%%%02X", c);
    else
      ae_buf_byte(out, c);
  }
}

static void complain(ae_bus_nats *nats, const ae_event *event,
                     const ae_error *err) {
  if (nats->complained) return;
  nats->complained = true;
  ae_buf actor = {0};
  ae_ref_format(&event->ref, &actor);
  ae_log(AE_LOG_WARN,
         "an event did not go to the other nodes' listeners; further ones are "
         "counted only",
         "actor", ae_buf_cstr(&actor), "cause", ae_error_text(err), NULL);
  ae_buf_clear(&actor);
}

static bool on_publish(ae_bus_remote *remote, const ae_event *event) {
  ae_bus_nats *nats = (ae_bus_nats *)remote;
  if (!ae_wire_connected(nats->wire)) return false;
  char version[24], id[37];
  ae_buf_reset(&nats->subject);
  ae_buf_reset(&nats->type);
  ae_buf_reset(&nats->actor);
  ae_buf_reset(&nats->body);
  ae_buf_str(&nats->subject, AE_STR(SUBJECT));
  ae_buf_str(&nats->subject, event->ref.ns);
  put_header(&nats->type, event->type);
  ae_buf_str(&nats->actor, event->ref.ns);
  ae_buf_byte(&nats->actor, '/');
  ae_buf_str(&nats->actor, event->ref.type);
  ae_buf_byte(&nats->actor, '/');
  put_header(&nats->actor, event->ref.id);
  snprintf(version, sizeof version, "%" PRIu64, event->version);
  ae_uuid_format(event->id, id);
  ae_event_render(event, &nats->body);
  const ae_wire_header headers[] = {{"Aether-Type", ae_buf_cstr(&nats->type)},
                                    {"Aether-Actor", ae_buf_cstr(&nats->actor)},
                                    {"Aether-Version", version},
                                    {"Aether-Node", nats->node},
                                    {"Nats-Msg-Id", id},
                                    {0}};
  ae_error err = {0};
  ae_status status =
      ae_wire_publish(nats->wire, ae_buf_cstr(&nats->subject), NULL, headers,
                      ae_buf_view(&nats->body), &err);
  /* A connection that is lost is told of by the wire. */
  if (status != AE_OK && status != AE_STORE_UNAVAILABLE)
    complain(nats, event, &err);
  ae_error_clear(&err);
  return status == AE_OK;
}

/* -- listening -- */

static void on_message(void *data, const ae_wire_message *message) {
  listening *l = data;
  const char *node = ae_wire_message_header(message, "Aether-Node");
  if (node && strcmp(node, l->nats->node) == 0) return;
  ae_bus_receive(l->interest, ae_str_of(message->subject + sizeof SUBJECT - 1),
                 message->body);
}

static void *on_listen(ae_bus_remote *remote, ae_bus_interest *interest,
                       ae_str pattern) {
  ae_bus_nats *nats = (ae_bus_nats *)remote;
  listening *l = ae_zalloc(sizeof *l);
  ae_buf subject = {0};
  ae_error err = {0};
  l->nats = nats;
  l->interest = interest;
  ae_buf_str(&subject, AE_STR(SUBJECT));
  ae_buf_str(&subject, pattern);
  ae_status status = ae_wire_subscribe(nats->wire, ae_buf_cstr(&subject), NULL,
                                       on_message, l, &l->subscription, &err);
  if (status != AE_OK) {
    ae_log(AE_LOG_WARN, "only this node's own events are listened to",
           "subject", ae_buf_cstr(&subject), "cause", ae_error_text(&err),
           NULL);
    ae_free(l);
    l = NULL;
  }
  ae_buf_clear(&subject);
  ae_error_clear(&err);
  return l;
}

static void on_unlisten(ae_bus_remote *remote, void *data) {
  (void)remote;
  listening *l = data;
  ae_wire_unsubscribe(l->subscription);
  ae_free(l);
}

/* -- open and close -- */

static const ae_bus_remote_vtab vtab = {
    .publish = on_publish, .listen = on_listen, .unlisten = on_unlisten};

ae_bus_nats *ae_bus_nats_open(ae_bus *bus, ae_wire *wire) {
  ae_bus_nats *nats = ae_zalloc(sizeof *nats);
  ae_uuid7 generator = {0};
  nats->remote.vtab = &vtab;
  nats->bus = bus;
  nats->wire = wire;
  ae_uuid_format(ae_uuid7_make(&generator, ae_clock_now()), nats->node);
  ae_bus_attach(bus, &nats->remote);
  return nats;
}

void ae_bus_nats_close(ae_bus_nats *nats) {
  if (!nats) return;
  ae_bus_detach(nats->bus);
  ae_buf_clear(&nats->subject);
  ae_buf_clear(&nats->type);
  ae_buf_clear(&nats->actor);
  ae_buf_clear(&nats->body);
  ae_free(nats);
}
