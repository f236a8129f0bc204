#include "door/http/server.h"

#include "base/mem.h"

#define LINGER_MS 2000

void ae__deadline_init(ae__http *http) {
  for (int i = 0; i < AE__DUE_COUNT; i++) ae_list_init(&http->dues[i]);
}

static uint64_t wait_of(const ae__http *http, unsigned kind) {
  switch (kind) {
    case AE__DUE_HEAD:
      return http->limits.header_ms;
    case AE__DUE_BODY:
      return http->limits.body_ms;
    case AE__DUE_IDLE:
      return http->limits.idle_ms;
    case AE__DUE_SEND:
      return http->limits.send_ms;
    default:
      return LINGER_MS;
  }
}

static void put(ae__http *http, ae__deadline *due, unsigned kind,
                uint64_t now) {
  ae_list_remove(&due->link);
  due->kind = (uint8_t)kind;
  if (kind == AE__DUE_NOTHING) return;
  due->at = now + wait_of(http, kind);
  ae_list_push(&http->dues[kind], &due->link);
}

void ae__deadline_set(ae__connection *c, ae__due kind) {
  put(c->http, &c->due, kind, uv_now(&c->http->loop->uv));
}

void ae__deadline_sending(ae__connection *c, bool on) {
  put(c->http, &c->send_due, on ? AE__DUE_SEND : AE__DUE_NOTHING,
      uv_now(&c->http->loop->uv));
}

/* The client took none of what it is owed. */
static void overdue_send(ae__connection *c, uint64_t now) {
  size_t unsent = c->wire->unwritten(c);
  if (unsent < c->unsent) {
    c->unsent = unsent;
    put(c->http, &c->send_due, AE__DUE_SEND, now);
    return;
  }
  ae__connection_cut(c);
}

static void overdue(ae__connection *c, unsigned kind, uint64_t now) {
  ae__request *r = c->request;
  /* Not idle as long as it is owed something; not late with a body that
   * nobody reads. */
  if ((kind == AE__DUE_IDLE && ae__output_waiting(c) > 0) ||
      (kind == AE__DUE_BODY && r && r->paused)) {
    put(c->http, &c->due, kind, now);
    return;
  }
  bool answerable = r && r->status == 0 && r->head.len > 0;
  if ((kind == AE__DUE_HEAD || kind == AE__DUE_BODY) && answerable) {
    ae_error err = {0};
    ae_error_set(&err, AE_MALFORMED,
                 "the rest of the request did not come within %llu ms",
                 (unsigned long long)wait_of(c->http, kind));
    ae__deadline_set(c, AE__DUE_NOTHING);
    c->phase = AE__BUSY;
    ae__exchange_deny(r, 408, &err);
    ae_error_clear(&err);
    return;
  }
  ae__connection_cut(c);
}

void ae__deadline_tick(ae__http *http, uint64_t now) {
  for (unsigned kind = 0; kind < AE__DUE_COUNT; kind++) {
    ae_list *list = &http->dues[kind];
    while (!ae_list_empty(list)) {
      ae__deadline *due = AE_CONTAINER(list->next, ae__deadline, link);
      if (due->at > now) break;
      if (kind == AE__DUE_SEND)
        overdue_send(AE_CONTAINER(due, ae__connection, send_due), now);
      else
        overdue(AE_CONTAINER(due, ae__connection, due), kind, now);
    }
  }
}
