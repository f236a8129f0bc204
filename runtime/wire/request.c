#include <inttypes.h>
#include <stdlib.h>

#include "wire/internal.h"

enum {
  REQUEST_MS = 5000,
  TICK_MS = 50, /* how exact a request's time is */
};

#define SLOT_BITS 20 /* requests at a time */
#define SLOTS_MAX (1u << SLOT_BITS)

/* -- requests -- */

static ae_wire_request *take(ae_wire *wire, uint64_t serial) {
  uint32_t at = (uint32_t)(serial & (SLOTS_MAX - 1));
  if (at >= wire->slot_count) return NULL;
  ae_wire_request *request = wire->slots[at].request;
  if (!request || request->serial != serial) return NULL; /* came too late */
  wire->slots[at] = (ae__slot){NULL, wire->slot_free};
  wire->slot_free = at;
  ae_list_remove(&request->link);
  return request;
}

void ae__wire_answered(void *data, const ae_wire_message *message) {
  ae_wire *wire = data;
  uint64_t serial = strtoull(message->subject + wire->prefix.len, NULL, 16);
  ae_wire_request *request = take(wire, serial);
  if (request) request->cb(request, AE_OK, message);
}

void ae__wire_requests_fail(ae_wire *wire, ae_status status) {
  ae_list gone;
  ae_list_init(&gone);
  ae_list *link;
  while ((link = ae_list_shift(&wire->requests))) ae_list_push(&gone, link);
  while (!ae_list_empty(&gone)) {
    ae_wire_request *request = AE_CONTAINER(gone.next, ae_wire_request, link);
    take(wire, request->serial);
    request->cb(request, status, NULL);
  }
}

static void on_tick(uv_timer_t *timer) {
  ae_wire *wire = timer->data;
  uint64_t now = uv_now(&wire->loop->uv);
  ae_list late;
  ae_list_init(&late);
  for (ae_list *at = wire->requests.next, *next; at != &wire->requests;
       at = next) {
    next = at->next;
    if (AE_CONTAINER(at, ae_wire_request, link)->deadline > now) continue;
    ae_list_remove(at);
    ae_list_push(&late, at);
  }
  while (!ae_list_empty(&late)) {
    ae_wire_request *request = AE_CONTAINER(late.next, ae_wire_request, link);
    take(wire, request->serial);
    request->cb(request, AE_STORE_UNCERTAIN, NULL);
  }
  if (ae_list_empty(&wire->requests)) uv_timer_stop(&wire->timer);
}

static bool slots_grow(ae_wire *wire) {
  uint32_t count = wire->slot_count ? wire->slot_count * 2 : 256;
  if (count > SLOTS_MAX) return false;
  wire->slots = ae_realloc(wire->slots, count * sizeof *wire->slots);
  for (uint32_t i = wire->slot_count; i < count; i++)
    wire->slots[i] = (ae__slot){NULL, i + 1};
  wire->slot_free = wire->slot_count;
  wire->slot_count = count;
  return true;
}

ae_status ae_wire_ask(ae_wire *wire, ae_wire_request *request,
                      const char *subject, const ae_wire_header *headers,
                      ae_str body, ae_error *err) {
  if (wire->slot_free == wire->slot_count && !slots_grow(wire)) {
    ae_error_set(err, AE_OVERLOADED, "%u requests wait for nats-server",
                 SLOTS_MAX);
    ae_error_cstr(err, "queue", "requests to nats-server");
    ae_error_uint(err, "limit", SLOTS_MAX);
    return AE_OVERLOADED;
  }
  uint32_t at = wire->slot_free;
  uint64_t serial = ++wire->serial << SLOT_BITS | at;
  char reply[128];
  snprintf(reply, sizeof reply, "%.*s%" PRIx64, (int)wire->prefix.len,
           wire->prefix.ptr, serial);
  ae_status status =
      ae_wire_publish(wire, subject ? subject : reply, subject ? reply : NULL,
                      headers, body, err);
  if (status != AE_OK) return status;
  wire->slot_free = wire->slots[at].next;
  wire->slots[at].request = request;
  request->serial = serial;
  unsigned ms = request->timeout_ms ? request->timeout_ms : REQUEST_MS;
  request->deadline = uv_now(&wire->loop->uv) + ms;
  if (ae_list_empty(&wire->requests))
    uv_timer_start(&wire->timer, on_tick, TICK_MS, TICK_MS);
  ae_list_push(&wire->requests, &request->link);
  return AE_OK;
}
