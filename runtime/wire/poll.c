/* nats.c's callbacks, which come on any thread, and the socket, which the loop
 * polls. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "wire/internal.h"

enum {
  IO_BYTES = 1 << 18, /* taken from the socket at once */
  IN_BYTES = 1 << 15, /* … past nats.c: what they bring about goes out before
                         the rest is looked at, and the server stays busy */
  BACKOFF_MS = 5000,  /* at most, between two rounds of reconnecting */
};

/* -- nats.c's side: any thread -- */

void ae__wire_service(ae_wire *wire) { /* locked */
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
  ae__wire_service(wire);
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
  ae__wire_service(wire);
  pthread_mutex_unlock(&wire->lock);
  return NATS_OK;
}

static natsStatus on_write(void *user, bool add) {
  ae_wire *wire = user;
  atomic_store(&wire->writing, add);
  if (!add) return NATS_OK;
  if (pthread_equal(pthread_self(), wire->thread)) {
    ae__wire_flush_soon(wire);
    return NATS_OK;
  }
  pthread_mutex_lock(&wire->lock);
  ae__wire_service(wire);
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
  ae__wire_service(wire);
  pthread_mutex_unlock(&wire->lock);
}

static void on_back(natsConnection *nc, void *data) {
  (void)nc;
  ae_wire *wire = data;
  pthread_mutex_lock(&wire->lock);
  wire->back = true;
  ae__wire_service(wire);
  pthread_mutex_unlock(&wire->lock);
}

/* The last of nats.c's callbacks. */
static void on_closed(natsConnection *nc, void *data) {
  (void)nc;
  ae_wire *wire = data;
  pthread_mutex_lock(&wire->lock);
  wire->over = wire->gone = true;
  ae__wire_service(wire);
  pthread_cond_signal(&wire->ended);
  pthread_mutex_unlock(&wire->lock);
}

/* Blocks until nats.c's threads are done with `wire`. */
void ae__wire_join(ae_wire *wire) {
  natsConnection_Close(wire->nc);
  pthread_mutex_lock(&wire->lock);
  while (!wire->over) pthread_cond_wait(&wire->ended, &wire->lock);
  pthread_mutex_unlock(&wire->lock);
}

int64_t ae__wire_delay(int attempts) {
  int64_t ms = 100;
  for (int i = 1; i < attempts && ms < BACKOFF_MS; i++) ms *= 2;
  if (ms > BACKOFF_MS) ms = BACKOFF_MS;
  return ms + rand() % (ms / 5);
}

static int64_t on_delay(natsConnection *nc, int attempts, void *data) {
  (void)nc;
  (void)data;
  return ae__wire_delay(attempts);
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

natsStatus ae__wire_hook(ae_wire *wire) {
  natsOptions *to = wire->options;
  /* Plain: what nats.c reads is told byte by byte (on_control). */
  natsStatus s = natsOptions_SetIOBufSize(to, wire->plain ? 1 : IO_BYTES);
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

/* -- polling -- */

static void poll_closed(uv_handle_t *handle) {
  ae_free(handle);
}

void ae__wire_poll_stop(ae_wire *wire) {
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

void ae__wire_write(ae_wire *wire) {
  if (!wire->poll) return;
  poll_for(wire, UV_READABLE | (send_all(wire) ? 0 : UV_WRITABLE));
}

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
      .message = ae__wire_frame, .control = on_control, .data = wire};
  wire->handing = true;
  ae__plain_end end =
      ae__plain_read(&wire->raw, wire->polled_fd, IN_BYTES, &reader);
  wire->handing = false;
  if (wire->swept) ae__wire_sweep(wire);
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
      ae__wire_hand_out(wire);
    }
  }
  if (status != 0 && wire->poll == poll) poll_for(wire, UV_READABLE);
  if (status == 0 && (events & UV_WRITABLE) && wire->poll == poll)
    ae__wire_write(wire);
}

void ae__wire_poll_start(ae_wire *wire, int fd) {
  ae__wire_poll_stop(wire);
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
  ae__wire_write(wire);
}

void ae__wire_flush_soon(ae_wire *wire) {
  if (wire->flushing || wire->closing) return;
  wire->flushing = true;
  uv_prepare_start(&wire->prepare, on_prepare);
}
