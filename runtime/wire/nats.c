#include "wire/nats.h"

#include <fcntl.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "wire/greeting.h"
#include "wire/nkey.h"
#include "wire/plain.h"

enum {
  CONNECT_MS = 2000,
  REQUEST_MS = 5000,
  CLOSE_MS = 1000,
  TICK_MS = 50,        /* how exact a request's time is */
  IO_BYTES = 1 << 18,  /* taken from the socket at once */
  IN_BYTES = 1 << 15,  /* … past nats.c: what they bring about goes out before
                          the rest is looked at, and the server stays busy */
  OUT_BYTES = 1 << 14, /* sent before the turn is over */
  BACKOFF_MS = 5000,   /* at most, between two rounds of reconnecting */
};

#define SLOT_BITS 20 /* requests at a time */
#define SLOTS_MAX (1u << SLOT_BITS)

struct ae_wire_subscription {
  ae_list link; /* in wire->subscriptions */
  ae_wire *wire;
  natsSubscription *sub; /* NULL: the connection is being opened again */
  uint64_t sid;          /* the server's name of it */
  char *subject, *queue;
  ae_wire_cb cb;
  void *data;
  bool ended; /* inside its own callback, or another's */
};

typedef struct slot {
  ae_wire_request *request; /* NULL: free */
  uint32_t next;            /* free: the next free one */
} slot;

struct ae_wire {
  ae_loop *loop;
  pthread_t thread; /* the loop's */
  natsConnection *nc;
  natsOptions *options;
  char *urls; /* as given */
  void (*changed)(void *data, const ae_wire_info *info);
  void *changed_data;
  ae_wire_info info;

  /* shared with nats.c's threads */
  pthread_mutex_t lock;
  ae_task service; /* posted to the loop while `posted` */
  bool posted;
  bool drop;           /* stop polling what is polled */
  bool lost;           /* the connection, since the loop looked */
  bool back;           /* likewise */
  int fd;              /* a duplicate of a new socket to poll; -1: none */
  char trouble[256];   /* what it was lost for */
  atomic_bool writing; /* nats.c has bytes to send */
  bool over;           /* nats.c calls back no more */
  bool gone;           /* … and that was not asked for */
  pthread_cond_t ended;

  uv_poll_t *poll; /* NULL: none */
  int polled_fd;
  int events; /* of poll */
  uv_prepare_t prepare;
  bool flushing; /* prepare is active */
  uv_timer_t timer;

  /* Where there is no TLS, messages go past nats.c. */
  bool plain;  /* nats.c reads one byte at a time */
  bool proven; /* the server's first byte here was no TLS; else by nats.c */
  ae__plain raw;
  bool headers; /* the server takes some */

  ae_list subscriptions;
  ae_map by_sid; /* those of them that have not ended */
  bool handing;  /* messages are being handed out */
  bool swept;    /* a subscription ended meanwhile */

  natsSubscription *inbox; /* answers to requests */
  uint64_t inbox_sid;
  ae_buf prefix; /* of their subjects, with its dot */
  slot *slots;
  uint32_t slot_count, slot_free;
  uint64_t serial;
  ae_list requests; /* oldest first */

  /* opening again what nats.c gave up */
  bool reopening;       /* until it is open */
  bool connecting;      /* a thread is at it */
  int attempts;         /* so many failed */
  natsConnection *next; /* what it made; NULL: `reason` says why not */
  char reason[256];
  uv_work_t reopen;
  uv_timer_t retry;

  ae_wire_request last; /* closing: comes back when all before is sent */
  uv_work_t work;
  unsigned handles; /* still to close */
  void (*closed)(void *data);
  void *closed_data;
  bool closing;
};

/* -- nats.c's side: any thread -- */

static void service(ae_wire *wire) { /* locked */
  if (wire->posted) return;
  wire->posted = true;
  ae_loop_post(wire->loop, &wire->service);
}

/* nats.c closes its socket when it likes, and the number may be another's a
 * moment later; a duplicate is polled, which only the loop thread closes. */
static natsStatus on_attach(void **user, void *loop, natsConnection *nc,
                            natsSock socket) {
  ae_wire *wire = loop;
  *user = wire;
  (void)nc;
  pthread_mutex_lock(&wire->lock);
  if (wire->fd >= 0) close(wire->fd);
  wire->fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  natsStatus status = wire->fd >= 0 ? NATS_OK : NATS_SYS_ERROR;
  service(wire);
  pthread_mutex_unlock(&wire->lock);
  return status;
}

static natsStatus on_read(void *user, bool add) {
  ae_wire *wire = user;
  if (add) return NATS_OK;
  pthread_mutex_lock(&wire->lock);
  if (wire->fd >= 0) close(wire->fd);
  wire->fd = -1;
  wire->drop = true;
  service(wire);
  pthread_mutex_unlock(&wire->lock);
  return NATS_OK;
}

static void flush_soon(ae_wire *wire);

static natsStatus on_write(void *user, bool add) {
  ae_wire *wire = user;
  atomic_store(&wire->writing, add);
  if (!add) return NATS_OK;
  if (pthread_equal(pthread_self(), wire->thread)) {
    flush_soon(wire);
    return NATS_OK;
  }
  pthread_mutex_lock(&wire->lock);
  service(wire);
  pthread_mutex_unlock(&wire->lock);
  return NATS_OK;
}

/* Reading has ended before; and `user` may be another connection's by now. */
static natsStatus on_detach(void *user) {
  (void)user;
  return NATS_OK;
}

static void on_lost(natsConnection *nc, void *data) {
  ae_wire *wire = data;
  const char *text = NULL;
  natsConnection_GetLastError(nc, &text);
  pthread_mutex_lock(&wire->lock);
  wire->lost = true;
  wire->back = false;
  snprintf(wire->trouble, sizeof wire->trouble, "%s",
           text && *text ? text : "the server closed the connection");
  service(wire);
  pthread_mutex_unlock(&wire->lock);
}

static void on_back(natsConnection *nc, void *data) {
  (void)nc;
  ae_wire *wire = data;
  pthread_mutex_lock(&wire->lock);
  wire->back = true;
  service(wire);
  pthread_mutex_unlock(&wire->lock);
}

/* The last of nats.c's callbacks. */
static void on_closed(natsConnection *nc, void *data) {
  (void)nc;
  ae_wire *wire = data;
  pthread_mutex_lock(&wire->lock);
  wire->over = wire->gone = true;
  service(wire);
  pthread_cond_signal(&wire->ended);
  pthread_mutex_unlock(&wire->lock);
}

/* Blocks until nats.c's threads are done with `wire`. */
static void close_nats(ae_wire *wire) {
  natsConnection_Close(wire->nc);
  pthread_mutex_lock(&wire->lock);
  while (!wire->over) pthread_cond_wait(&wire->ended, &wire->lock);
  pthread_mutex_unlock(&wire->lock);
}

/* 100 ms, doubled up to BACKOFF_MS, up to a fifth more by chance. */
static int64_t on_delay(natsConnection *nc, int attempts, void *data) {
  (void)nc;
  (void)data;
  int64_t ms = 100;
  for (int i = 1; i < attempts && ms < BACKOFF_MS; i++) ms *= 2;
  if (ms > BACKOFF_MS) ms = BACKOFF_MS;
  return ms + rand() % (ms / 5);
}

/* Without a handler nats.c prints to stderr. What matters of it comes by the
 * other ways: a lost connection, a request without an answer. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s,
                     void *data) {
  (void)sub;
  (void)data;
  const char *text = NULL;
  natsConnection_GetLastError(nc, &text);
  ae_log(AE_LOG_WARN, "nats-server says no", "error",
         text && *text ? text : natsStatus_GetText(s), NULL);
}

/* -- polling -- */

static void hand_out(ae_wire *wire);
static void sweep(ae_wire *wire);

static void poll_closed(uv_handle_t *handle) {
  ae_free(handle);
}

static void stop_poll(ae_wire *wire) {
  if (!wire->poll) return;
  uv_close((uv_handle_t *)wire->poll, poll_closed);
  close(wire->polled_fd);
  wire->poll = NULL;
  wire->polled_fd = -1;
  wire->proven = false;
  ae__plain_reset(&wire->raw);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_for(ae_wire *wire, int events) {
  if (!wire->poll || wire->events == events) return;
  wire->events = events;
  uv_poll_start(wire->poll, events, on_poll);
}

/* nats.c's bytes and ours, by turns (wire/plain.h). */
static bool send_all(ae_wire *wire) {
  if (!ae__plain_send(&wire->raw, wire->polled_fd)) return false;
  if (atomic_load(&wire->writing)) natsConnection_ProcessWriteEvent(wire->nc);
  if (atomic_load(&wire->writing)) return false;
  ae__plain_turn(&wire->raw);
  return ae__plain_send(&wire->raw, wire->polled_fd);
}

static void write_out(ae_wire *wire) {
  if (!wire->poll) return;
  poll_for(wire, UV_READABLE | (send_all(wire) ? 0 : UV_WRITABLE));
}

static bool on_frame(void *data, const ae__frame *frame);

/* Whether what is polled is nats.c's connection still. */
static bool is_current(ae_wire *wire) {
  pthread_mutex_lock(&wire->lock);
  bool current = !wire->drop && wire->fd < 0;
  pthread_mutex_unlock(&wire->lock);
  return current;
}

/* nats.c reads one byte a time, so that it takes what it is told to. */
static bool on_control(void *data, size_t bytes) {
  ae_wire *wire = data;
  for (; bytes > 0 && is_current(wire); bytes--)
    natsConnection_ProcessReadEvent(wire->nc);
  return is_current(wire);
}

/* A server that wants TLS where the one before did not, or one that has lost
 * its way: the next connection is tried. */
static void reject(ae_wire *wire, const char *why) {
  ae_log(AE_LOG_ERROR, "what nats-server sends cannot be read", "server",
         wire->info.server, "cause", why, NULL);
  shutdown(wire->polled_fd, SHUT_RDWR);
  ae__plain_reset(&wire->raw);
  for (int i = 0; i < IO_BYTES && is_current(wire); i++)
    natsConnection_ProcessReadEvent(wire->nc);
}

static bool is_plain(int fd) {
  char first = 0;
  ssize_t n = recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
  return n <= 0 || first > ' ';
}

static void read_plain(ae_wire *wire) {
  if (!wire->proven && !is_plain(wire->polled_fd)) {
    reject(wire, "it speaks TLS: set `nats = { tls = {} }` in aether.lua");
    return;
  }
  wire->proven = true;
  const ae__plain_reader reader = {
      .message = on_frame, .control = on_control, .data = wire};
  wire->handing = true;
  ae__plain_end end =
      ae__plain_read(&wire->raw, wire->polled_fd, IN_BYTES, &reader);
  wire->handing = false;
  if (wire->swept) sweep(wire);
  if (end == AE__PLAIN_OVER) natsConnection_ProcessReadEvent(wire->nc);
  if (end == AE__PLAIN_WRONG) reject(wire, "it is not NATS's protocol");
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  ae_wire *wire = poll->data;
  /* libuv stops a poll at an error, and what came before the error may be more
   * than nats.c reads at once: polled on, until nats.c has read the end. */
  if (status != 0) wire->events = 0;
  if (status != 0 || (events & UV_READABLE)) {
    if (!is_current(wire)) return; /* the service that is posted goes on */
    if (wire->plain) {
      read_plain(wire);
    } else {
      natsConnection_ProcessReadEvent(wire->nc);
      hand_out(wire);
    }
  }
  if (status != 0 && wire->poll == poll) poll_for(wire, UV_READABLE);
  if (status == 0 && (events & UV_WRITABLE) && wire->poll == poll)
    write_out(wire);
}

static void start_poll(ae_wire *wire, int fd) {
  stop_poll(wire);
  wire->poll = ae_zalloc(sizeof *wire->poll);
  wire->poll->data = wire;
  wire->polled_fd = fd;
  wire->events = 0;
  int error = uv_poll_init(&wire->loop->uv, wire->poll, fd);
  if (error) { /* out of descriptors or memory: nothing comes; pings find out */
    ae_log(AE_LOG_ERROR, "the connection to nats-server cannot be watched",
           "error", uv_strerror(error), NULL);
    ae_free(wire->poll);
    close(fd);
    wire->poll = NULL;
    wire->polled_fd = -1;
    return;
  }
  poll_for(wire, UV_READABLE);
}

/* The turn is over: what was published in it goes out together. */
static void on_prepare(uv_prepare_t *prepare) {
  ae_wire *wire = prepare->data;
  uv_prepare_stop(prepare);
  wire->flushing = false;
  write_out(wire);
}

static void flush_soon(ae_wire *wire) {
  if (wire->flushing || wire->closing) return;
  wire->flushing = true;
  uv_prepare_start(&wire->prepare, on_prepare);
}

/* -- state -- */

static void requests_fail(ae_wire *wire, ae_status status);

static void learn(ae_wire *wire) {
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
  wire->headers = natsConnection_HasHeaderSupport(wire->nc) == NATS_OK;
}

static void tell(ae_wire *wire) {
  if (!wire->changed || wire->closing) return;
  ae_wire_info info;
  ae_wire_info_get(wire, &info);
  wire->changed(wire->changed_data, &info);
}

static void reopen_start(ae_wire *wire);

static void run_service(ae_task *task) {
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
  if (drop) stop_poll(wire);
  if (fd >= 0) start_poll(wire, fd);
  if (lost && wire->info.connected && !wire->closing) {
    wire->info.connected = false;
    ae_log(AE_LOG_WARN, "lost the connection to nats-server", "server",
           wire->info.server, "cause", wire->info.trouble, NULL);
    requests_fail(wire, AE_STORE_UNCERTAIN);
    tell(wire);
  }
  if (back && !wire->info.connected) {
    wire->info.connected = true;
    wire->info.reconnects++;
    wire->info.trouble[0] = 0;
    learn(wire);
    ae_log(AE_LOG_INFO, "connected to nats-server again", "server",
           wire->info.server, NULL);
    tell(wire);
  }
  if (atomic_load(&wire->writing) && wire->poll) write_out(wire);
  if (gone && !wire->closing) reopen_start(wire);
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

static void answered(void *data, const ae_wire_message *message);

static void subscription_free(ae_wire_subscription *one) {
  ae_free(one->subject);
  ae_free(one->queue);
  ae_free(one);
}

static void sweep(ae_wire *wire) {
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

static void hand_out(ae_wire *wire) {
  if (wire->handing) return;
  wire->handing = true;
  natsMsg *msg;
  while (natsSubscription_NextMsg(&msg, wire->inbox, 0) == NATS_OK)
    deliver(wire, msg, answered, wire);
  for (ae_list *at = wire->subscriptions.next; at != &wire->subscriptions;
       at = at->next) {
    ae_wire_subscription *one = AE_CONTAINER(at, ae_wire_subscription, link);
    while (!one->ended &&
           natsSubscription_NextMsg(&msg, one->sub, 0) == NATS_OK)
      deliver(wire, msg, one->cb, one->data);
  }
  wire->handing = false;
  if (wire->swept) sweep(wire);
}

static bool on_frame(void *data, const ae__frame *frame) {
  ae_wire *wire = data;
  const uv_poll_t *poll = wire->poll;
  ae_wire_message message = {.subject = frame->subject,
                             .reply = frame->reply,
                             .body = frame->body,
                             .headers = frame->headers};
  wire->info.messages_in++;
  wire->info.bytes_in += frame->body.len;
  if (frame->sid == wire->inbox_sid) {
    answered(wire, &message);
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
    write_out(wire);
  else
    flush_soon(wire);
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

/* -- requests -- */

static ae_wire_request *take(ae_wire *wire, uint64_t serial) {
  uint32_t at = (uint32_t)(serial & (SLOTS_MAX - 1));
  if (at >= wire->slot_count) return NULL;
  ae_wire_request *request = wire->slots[at].request;
  if (!request || request->serial != serial) return NULL; /* came too late */
  wire->slots[at] = (slot){NULL, wire->slot_free};
  wire->slot_free = at;
  ae_list_remove(&request->link);
  return request;
}

static void answered(void *data, const ae_wire_message *message) {
  ae_wire *wire = data;
  uint64_t serial = strtoull(message->subject + wire->prefix.len, NULL, 16);
  ae_wire_request *request = take(wire, serial);
  if (request) request->cb(request, AE_OK, message);
}

static void requests_fail(ae_wire *wire, ae_status status) {
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
    wire->slots[i] = (slot){NULL, i + 1};
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

/* -- subscriptions -- */

static ae_str sid_of(const ae_wire_subscription *one) {
  return (ae_str){(const char *)&one->sid, sizeof one->sid};
}

static natsStatus attach(ae_wire_subscription *one) {
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
  natsStatus s = wire->reopening ? NATS_OK : attach(one);
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
    sweep(wire);
}

void ae_wire_inbox(ae_wire *wire, ae_buf *out) {
  ae_buf_printf(out, "%.*sx%" PRIx64, (int)wire->prefix.len, wire->prefix.ptr,
                ++wire->serial);
}

/* -- opening -- */

static natsStatus set_servers(ae_wire *wire) {
  const char *list[32];
  int count = 0;
  for (char *at = wire->urls; at && count < 32;) {
    char *comma = strchr(at, ',');
    if (comma) *comma++ = 0;
    list[count++] = at;
    at = comma;
  }
  return natsOptions_SetServers(wire->options, list, count);
}

static natsStatus set_login(ae_wire *wire, const ae_wire_options *options) {
  natsOptions *to = wire->options;
  natsStatus s = NATS_OK;
  if (options->credentials)
    s = natsOptions_SetUserCredentialsFromFiles(to, options->credentials, NULL);
  if (s == NATS_OK && options->nkey) {
    char public[64];
    s = ae__nkey_public(options->nkey, public)
            ? natsOptions_SetNKeyFromSeed(to, public, options->nkey)
            : NATS_INVALID_ARG;
  }
  if (s == NATS_OK && options->user)
    s = natsOptions_SetUserInfo(to, options->user,
                                options->password ? options->password : "");
  if (s == NATS_OK && options->token)
    s = natsOptions_SetToken(to, options->token);
  if (s == NATS_OK && options->tls) s = natsOptions_SetSecure(to, true);
  if (s == NATS_OK && options->ca)
    s = natsOptions_LoadCATrustedCertificates(to, options->ca);
  if (s == NATS_OK && options->certificate)
    s = natsOptions_LoadCertificatesChain(
        to, options->certificate,
        options->key ? options->key : options->certificate);
  return s;
}

static natsStatus set_options(ae_wire *wire, const ae_wire_options *options) {
  natsOptions *to = wire->options;
  unsigned ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
  natsStatus s = set_servers(wire);
  if (s == NATS_OK) s = set_login(wire, options);
  if (s == NATS_OK && options->name) s = natsOptions_SetName(to, options->name);
  if (s == NATS_OK) s = natsOptions_SetTimeout(to, ms);
  /* Plain: what nats.c reads is told byte by byte (on_control). */
  if (s == NATS_OK)
    s = natsOptions_SetIOBufSize(to, wire->plain ? 1 : IO_BYTES);
  /* Without it a lone message waits 1 ms for the flusher. */
  if (s == NATS_OK) s = natsOptions_SetSendAsap(to, true);
  if (s == NATS_OK) s = natsOptions_DisableNoResponders(to, true);
  if (s == NATS_OK) s = natsOptions_SetMaxReconnect(to, -1);
  if (s == NATS_OK) s = natsOptions_SetPingInterval(to, 10000);
  if (s == NATS_OK) s = natsOptions_SetCustomReconnectDelay(to, on_delay, wire);
  if (s == NATS_OK) s = natsOptions_SetDisconnectedCB(to, on_lost, wire);
  if (s == NATS_OK) s = natsOptions_SetReconnectedCB(to, on_back, wire);
  if (s == NATS_OK) s = natsOptions_SetClosedCB(to, on_closed, wire);
  if (s == NATS_OK) s = natsOptions_SetErrorHandler(to, on_error, wire);
  if (s == NATS_OK)
    s = natsOptions_SetEventLoop(to, wire, on_attach, on_read, on_write,
                                 on_detach);
  return s;
}

static ae_status check_url(const char *url, ae_error *err) {
  for (const char *at = url; at; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, "nats://", 7) == 0 && at[7] && at[7] != ',') continue;
    if (strncmp(at, "tls://", 6) == 0 && at[6] && at[6] != ',') continue;
    return ae_error_set(err, AE_USAGE,
                        "\"%s\" is no list of nats-servers: "
                        "nats://HOST:PORT[,nats://HOST:PORT…]",
                        url);
  }
  return AE_OK;
}

static ae_status connect_failed(const char *url, natsStatus s, ae_error *err) {
  natsStatus last = NATS_OK;
  const char *text = nats_GetLastError(&last);
  const char *mend =
      s == NATS_NO_SERVER ? "is it running, and the address right?"
      : s == NATS_CONNECTION_AUTH_FAILED
          ? "see the setting `nats` of aether.lua for how to log in"
          : "see the settings `store` and `nats` of aether.lua";
  ae_error_set(err, AE_STORE_UNAVAILABLE, "no connection to %s: %s%s%s; %s",
               url, natsStatus_GetText(s), text ? ": " : "", text ? text : "",
               mend);
  ae_error_cstr(err, "cause", natsStatus_GetText(s));
  return AE_STORE_UNAVAILABLE;
}

static void free_wire(ae_wire *wire) {
  natsSubscription_Destroy(wire->inbox);
  natsConnection_Destroy(wire->nc);
  natsOptions_Destroy(wire->options);
  pthread_mutex_destroy(&wire->lock);
  pthread_cond_destroy(&wire->ended);
  ae_buf_clear(&wire->prefix);
  ae__plain_clear(&wire->raw);
  ae_map_clear(&wire->by_sid);
  ae_free(wire->slots);
  ae_free(wire->urls);
  ae_free(wire);
}

static natsStatus name_inbox(ae_wire *wire) {
  natsInbox *inbox = NULL;
  natsStatus s = natsInbox_Create(&inbox);
  if (s == NATS_OK) ae_buf_printf(&wire->prefix, "%s.", inbox);
  natsInbox_Destroy(inbox);
  return s;
}

static natsStatus make_inbox(ae_wire *wire) {
  natsStatus s = wire->prefix.len > 0 ? NATS_OK : name_inbox(wire);
  if (s != NATS_OK) return s;
  ae_buf all = {0};
  ae_buf_printf(&all, "%.*s*", (int)wire->prefix.len, wire->prefix.ptr);
  s = natsConnection_SubscribeSync(&wire->inbox, wire->nc, ae_buf_cstr(&all));
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(wire->inbox, -1, -1);
  if (s == NATS_OK)
    wire->inbox_sid = (uint64_t)natsSubscription_GetID(wire->inbox);
  ae_buf_clear(&all);
  return s;
}

/* Whoever connects and fails has been given no socket to poll. */
static void give_up(ae_wire *wire) {
  if (wire->nc) close_nats(wire);
  if (wire->fd >= 0) close(wire->fd);
  free_wire(wire);
}

static bool asks_for_tls(const ae_wire_options *options) {
  return options->tls || options->ca || options->certificate ||
         strstr(options->url, "tls://");
}

/* `again`: the same with `plain` false tells more: the server wants TLS, asked
 * for or not, or it hung up. (A buffer of one byte sends what logs in by parts,
 * so that a server that refuses the first may be gone before it is heard.) */
static ae_status connect_once(ae_wire *wire, const ae_wire_options *options,
                              bool *again, ae_error *err) {
  *again = false;
  wire->urls = ae_strdup(options->url);
  natsStatus s = natsOptions_Create(&wire->options);
  if (s == NATS_OK) s = set_options(wire, options);
  if (s == NATS_OK) s = natsConnection_Connect(&wire->nc, wire->options);
  if (s == NATS_OK) s = make_inbox(wire);
  if (s != NATS_OK) {
    *again = s == NATS_IO_ERROR || s == NATS_CONNECTION_CLOSED;
    return connect_failed(options->url, s, err);
  }
  learn(wire);
  return ae__greeting(wire->info.server, wire->info.version, again, err);
}

/* Nothing is polled yet. */
static void disconnect(ae_wire *wire) {
  if (wire->nc) close_nats(wire);
  natsSubscription_Destroy(wire->inbox);
  natsConnection_Destroy(wire->nc);
  natsOptions_Destroy(wire->options);
  if (wire->fd >= 0) close(wire->fd);
  wire->inbox = NULL;
  wire->nc = NULL;
  wire->options = NULL;
  wire->fd = -1;
  wire->over = wire->gone = wire->drop = wire->lost = wire->back = false;
  atomic_store(&wire->writing, false);
  ae_buf_reset(&wire->prefix);
  ae_free(wire->urls);
  wire->urls = NULL;
}

ae_status ae_wire_open(ae_loop *loop, const ae_wire_options *options,
                       ae_wire **out, ae_error *err) {
  *out = NULL;
  if (check_url(options->url, err) != AE_OK) return AE_USAGE;
  ae_wire *wire = ae_zalloc(sizeof *wire);
  wire->loop = loop;
  wire->thread = pthread_self();
  wire->changed = options->changed;
  wire->changed_data = options->data;
  wire->fd = wire->polled_fd = -1;
  wire->closing = true; /* nothing is flushed before the handles are there */
  wire->service.run = run_service;
  wire->posted = true; /* the first socket is taken below */
  pthread_mutex_init(&wire->lock, NULL);
  pthread_cond_init(&wire->ended, NULL);
  ae_list_init(&wire->subscriptions);
  ae_list_init(&wire->requests);
  wire->plain = !asks_for_tls(options);
  ae_error why = {0};
  bool again;
  ae_status status = connect_once(wire, options, &again, &why);
  if (again && wire->plain) {
    disconnect(wire);
    wire->plain = false;
    ae_error_clear(&why);
    status = connect_once(wire, options, &again, &why);
  }
  if (status != AE_OK) {
    give_up(wire);
    if (err) ae_error_move(err, &why);
    ae_error_clear(&why);
    return status;
  }
  uv_prepare_init(&loop->uv, &wire->prepare);
  uv_timer_init(&loop->uv, &wire->timer);
  uv_timer_init(&loop->uv, &wire->retry);
  uv_unref((uv_handle_t *)&wire->prepare);
  wire->prepare.data = wire->timer.data = wire->retry.data = wire;
  wire->closing = false;
  wire->info.connected = true;
  ae_loop_hold(loop); /* also while there is no socket to poll */
  run_service(&wire->service);
  *out = wire;
  return AE_OK;
}

/* -- opening again --
 *
 * nats.c ends a connection for good when a server refuses its login twice: a
 * password that is being changed, a server that starts with the settings of
 * before. Another connection is made then, for ever. */

static void close_connection_now(ae_wire *wire);

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
  make_inbox(wire);
  for (ae_list *at = wire->subscriptions.next; at != &wire->subscriptions;
       at = at->next)
    attach(AE_CONTAINER(at, ae_wire_subscription, link));
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
    close_connection_now(wire);
    return;
  }
  pthread_mutex_lock(&wire->lock);
  wire->reopening = false;
  if (!wire->lost) wire->back = true;
  service(wire);
  pthread_mutex_unlock(&wire->lock);
}

static void on_retry(uv_timer_t *timer) {
  ae_wire *wire = timer->data;
  wire->connecting = true;
  uv_queue_work(&wire->loop->uv, &wire->reopen, reopen_blocking, reopen_done);
}

static void reopen_later(ae_wire *wire) {
  uint64_t ms = (uint64_t)on_delay(NULL, ++wire->attempts, NULL);
  uv_timer_start(&wire->retry, on_retry, ms, 0);
}

static void reopen_start(ae_wire *wire) {
  ae_log(AE_LOG_WARN, "nats-server does not let us in; it is tried again",
         "server", wire->info.server, NULL);
  wire->reopening = true;
  wire->attempts = 0;
  reopen_later(wire);
}

/* -- closing -- */

static void handle_closed(uv_handle_t *handle) {
  ae_wire *wire = handle->data;
  if (--wire->handles > 0) return;
  void (*cb)(void *) = wire->closed;
  void *data = wire->closed_data;
  ae_loop_release(wire->loop);
  free_wire(wire);
  cb(data);
}

static void close_blocking(uv_work_t *work) {
  ae_wire *wire = AE_CONTAINER(work, ae_wire, work);
  close_nats(wire);
}

static void finish_close(ae_task *task) {
  ae_wire *wire = AE_CONTAINER(task, ae_wire, service);
  stop_poll(wire);
  if (wire->fd >= 0) close(wire->fd);
  uv_close((uv_handle_t *)&wire->prepare, handle_closed);
  uv_close((uv_handle_t *)&wire->timer, handle_closed);
  uv_close((uv_handle_t *)&wire->retry, handle_closed);
}

static void blocking_done(uv_work_t *work, int status) {
  (void)status;
  ae_wire *wire = AE_CONTAINER(work, ae_wire, work);
  pthread_mutex_lock(&wire->lock);
  bool posted = wire->posted;
  wire->posted = true;
  wire->service.run = finish_close;
  pthread_mutex_unlock(&wire->lock);
  /* One that is posted comes by itself. */
  if (!posted) ae_loop_post(wire->loop, &wire->service);
}

/* nats.c joins its threads, which may be connecting: not on this one. */
static void close_connection_now(ae_wire *wire) {
  uv_queue_work(&wire->loop->uv, &wire->work, close_blocking, blocking_done);
}

static void close_connection(ae_wire *wire) {
  wire->closing = true;
  requests_fail(wire, AE_CANCELED);
  uv_timer_stop(&wire->timer);
  uv_prepare_stop(&wire->prepare);
  uv_timer_stop(&wire->retry);
  stop_poll(wire);
  if (!wire->connecting) close_connection_now(wire);
}

static void all_sent(ae_wire_request *request, ae_status status,
                     const ae_wire_message *answer) {
  (void)status;
  (void)answer;
  close_connection(request->data);
}

void ae_wire_close(ae_wire *wire, void (*cb)(void *data), void *data) {
  AE_ASSERT(ae_list_empty(&wire->subscriptions));
  wire->closed = cb;
  wire->closed_data = data;
  wire->handles = 3;
  wire->last.cb = all_sent;
  wire->last.data = wire;
  wire->last.timeout_ms = CLOSE_MS;
  /* A message to ourselves is behind all that was sent before. */
  ae_status status =
      ae_wire_ask(wire, &wire->last, NULL, NULL, (ae_str){"", 0}, NULL);
  if (status != AE_OK) close_connection(wire);
}
