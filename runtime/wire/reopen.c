/* Opening again.
 *
 * nats.c ends a connection for good when a server refuses its login twice: a
 * password that is being changed, a server that starts with the settings of
 * before. Another connection is made then, for ever. */
#include "base/log.h"
#include "wire/internal.h"

static void reopen_blocking(uv_work_t *work) {
  ae_wire *wire = AE_CONTAINER(work, ae_wire, reopen);
  pthread_mutex_lock(&wire->lock);
  wire->over = false;
  pthread_mutex_unlock(&wire->lock);
  natsStatus s = natsConnection_Connect(&wire->next, wire->options);
  if (s == NATS_OK) return;
  const char *text = nats_GetLastError(NULL);
  snprintf(wire->reason, sizeof wire->reason, "%s",
           text && *text ? text : natsStatus_GetText(s));
  wire->next = NULL;
  pthread_mutex_lock(&wire->lock);
  wire->over = true;
  pthread_mutex_unlock(&wire->lock);
}

/* What stood on the old connection stands on the new one. One that cannot be
 * had is had the next time: the connection is gone again then. */
static void take_over(ae_wire *wire) {
  natsSubscription_Destroy(wire->inbox);
  wire->inbox = NULL;
  ae_map_clear(&wire->by_sid);
  for (ae_list *at = wire->subscriptions.next; at != &wire->subscriptions;
       at = at->next) {
    ae_wire_subscription *one = AE_CONTAINER(at, ae_wire_subscription, link);
    natsSubscription_Destroy(one->sub);
    one->sub = NULL;
    one->sid = 0;
  }
  natsConnection_Destroy(wire->nc);
  wire->nc = wire->next;
  wire->next = NULL;
}

static void listen_again(ae_wire *wire) {
  ae__wire_make_inbox(wire);
  for (ae_list *at = wire->subscriptions.next; at != &wire->subscriptions;
       at = at->next)
    ae__wire_attach(AE_CONTAINER(at, ae_wire_subscription, link));
}

static void reopen_later(ae_wire *wire);

static void reopen_done(uv_work_t *work, int status) {
  (void)status;
  ae_wire *wire = AE_CONTAINER(work, ae_wire, reopen);
  wire->connecting = false;
  if (wire->next) {
    take_over(wire);
    if (!wire->closing) listen_again(wire);
  } else if (!wire->closing) {
    if (wire->attempts == 1)
      ae_log(AE_LOG_WARN, "no connection to nats-server; it is tried again",
             "cause", wire->reason, NULL);
    snprintf(wire->info.trouble, sizeof wire->info.trouble, "%s", wire->reason);
    reopen_later(wire);
    return;
  }
  if (wire->closing) {
    ae__wire_close_now(wire);
    return;
  }
  pthread_mutex_lock(&wire->lock);
  wire->reopening = false;
  if (!wire->lost) wire->back = true;
  ae__wire_service(wire);
  pthread_mutex_unlock(&wire->lock);
}

static void on_retry(uv_timer_t *timer) {
  ae_wire *wire = timer->data;
  wire->connecting = true;
  uv_queue_work(&wire->loop->uv, &wire->reopen, reopen_blocking, reopen_done);
}

static void reopen_later(ae_wire *wire) {
  uint64_t ms = (uint64_t)ae__wire_delay(++wire->attempts);
  uv_timer_start(&wire->retry, on_retry, ms, 0);
}

void ae__wire_reopen(ae_wire *wire) {
  ae_log(AE_LOG_WARN, "nats-server does not let us in; it is tried again",
         "server", wire->info.server, NULL);
  wire->reopening = true;
  wire->attempts = 0;
  reopen_later(wire);
}
