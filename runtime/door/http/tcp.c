/* The wire that is a socket, the one that is listened on, and the timer. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "door/http/server.h"

#define BACKLOG 1024
#define KEEPALIVE_S 60
/* Beyond the limit, so many are told why; the others are just closed. */
#define TOLD 64
#define OTHER_FILES 256 /* the store's, libraries' */

typedef struct ae__listener {
  ae__http *http;
  uv_tcp_t socket;
  uv_timer_t timer;
  unsigned handles; /* open, those of connections too */
  bool listening;
  bool closing; /* the timer is */
} ae__listener;

typedef struct tcp {
  ae__connection connection;
  uv_tcp_t handle;
  uv_write_t *write;
  uv_shutdown_t *shut;
} tcp;

static tcp *of(const ae__connection *c) {
  return AE_CONTAINER(c, tcp, connection);
}

static uv_stream_t *stream_of(const ae__connection *c) {
  return (uv_stream_t *)&of(c)->handle;
}

/* -- a connection's wire -- */

static int try_write(ae__connection *c, ae_str bytes) {
  uv_buf_t buf = uv_buf_init((char *)bytes.ptr, (unsigned)bytes.len);
  return uv_try_write(stream_of(c), &buf, 1);
}

static void on_written(uv_write_t *write, int status) {
  ae__connection *c = write->data;
  ae_free(write);
  ae__connection_written(c, status);
}

static int start_write(ae__connection *c, ae_str bytes) {
  uv_buf_t buf = uv_buf_init((char *)bytes.ptr, (unsigned)bytes.len);
  uv_write_t *write = ae_alloc(sizeof *write);
  write->data = c;
  int error = uv_write(write, stream_of(c), &buf, 1, on_written);
  if (error) ae_free(write);
  return error;
}

static size_t unwritten(const ae__connection *c) {
  return uv_stream_get_write_queue_size(stream_of(c));
}

/* One buffer for all: what one read brings is used up before the next. */
static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out) {
  (void)wanted;
  tcp *t = handle->data;
  *out = uv_buf_init(t->connection.http->read_bytes, AE__READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf) {
  tcp *t = stream->data;
  if (len > 0)
    ae__connection_read(&t->connection, (ae_str){buf->base, (size_t)len});
  else if (len == UV_EOF)
    ae__connection_eof(&t->connection);
  else if (len < 0)
    ae__connection_cut(&t->connection);
}

static void watch(ae__connection *c, bool on) {
  if (on)
    uv_read_start(stream_of(c), on_room, on_read);
  else
    uv_read_stop(stream_of(c));
}

static void on_shut(uv_shutdown_t *shut, int status) {
  (void)status;
  ae_free(shut);
}

static void shut_wire(ae__connection *c) {
  uv_shutdown_t *shut = ae_alloc(sizeof *shut);
  if (uv_shutdown(shut, stream_of(c), on_shut) != 0) ae_free(shut);
}

static void on_timer(uv_timer_t *timer);

static void on_closed(uv_handle_t *handle) {
  tcp *t = handle->data;
  ae__http *http = t->connection.http;
  ae__connection_clear(&t->connection);
  ae_free(t);
  http->listener->handles--;
  ae__http_let_go(http);
}

static void close_wire(ae__connection *c, bool reset) {
  tcp *t = of(c);
  if (reset && uv_tcp_close_reset(&t->handle, on_closed) == 0) return;
  uv_close((uv_handle_t *)&t->handle, on_closed);
}

static const ae__wire wire = {.try_write = try_write,
                              .write = start_write,
                              .unwritten = unwritten,
                              .read = watch,
                              .shut = shut_wire,
                              .close = close_wire};

/* -- listening -- */

static void accept_one(ae__listener *l) {
  ae__http *http = l->http;
  tcp *t = ae_zalloc(sizeof *t);
  t->handle.data = t;
  t->connection.http = http;
  AE_ASSERT_CMP(uv_tcp_init(&http->loop->uv, &t->handle), ==, 0);
  l->handles++;
  unsigned most = http->limits.connections;
  bool taken =
      uv_accept((uv_stream_t *)&l->socket, stream_of(&t->connection)) == 0;
  if (!taken || http->counts.connections >= most + TOLD) {
    http->counts.refused += taken;
    uv_close((uv_handle_t *)&t->handle, on_closed);
    return;
  }
  struct sockaddr_storage peer;
  int len = sizeof peer;
  bool known =
      uv_tcp_getpeername(&t->handle, (struct sockaddr *)&peer, &len) == 0;
  uv_tcp_nodelay(&t->handle, 1);
  uv_tcp_keepalive(&t->handle, 1, KEEPALIVE_S);
  bool full = http->counts.connections >= most;
  ae__connection_open(
      &t->connection, http, &wire,
      known && ae__auth_loopback((const struct sockaddr *)&peer));
  if (full) ae__connection_turn_away(&t->connection);
  if (uv_is_active((uv_handle_t *)&l->timer)) return;
  uv_timer_start(&l->timer, on_timer, http->tick_ms, http->tick_ms);
}

static void on_connection(uv_stream_t *server, int status) {
  if (status == 0) accept_one(server->data);
}

static void on_timer(uv_timer_t *timer) {
  ae__listener *l = timer->data;
  ae__deadline_tick(l->http, uv_now(timer->loop));
  if (l->http->counts.connections == 0) uv_timer_stop(timer);
}

/* HOST:PORT, [HOST]:PORT. */
ae_status ae__tcp_resolve(const char *listen, struct sockaddr_storage *out,
                          ae_error *err) {
  const char *colon = strrchr(listen, ':');
  const char *name = listen;
  size_t len = colon ? (size_t)(colon - listen) : 0;
  char host[256];
  if (len > 1 && name[0] == '[' && name[len - 1] == ']') {
    name++;
    len -= 2;
  }
  if (!colon || len == 0 || len >= sizeof host)
    return ae_error_set(err, AE_USAGE,
                        "listen must be HOST:PORT, for example "
                        "127.0.0.1:7070, not %s",
                        listen);
  memcpy(host, name, len);
  host[len] = 0;
  struct addrinfo *found = NULL;
  const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  int error = getaddrinfo(host, colon + 1, &hints, &found);
  if (error != 0)
    return ae_error_set(err, AE_USAGE,
                        "listen: the address of %s cannot be found: %s", host,
                        gai_strerror(error));
  memset(out, 0, sizeof *out);
  memcpy(out, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return AE_OK;
}

static void name_url(ae__http *http) {
  struct sockaddr_storage own;
  int len = sizeof own;
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  uv_tcp_getsockname(&http->listener->socket, (struct sockaddr *)&own, &len);
  getnameinfo((struct sockaddr *)&own, (socklen_t)len, host, sizeof host, port,
              sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  bool six = strchr(host, ':') != NULL;
  ae_buf url = {0};
  ae_buf_printf(&url, "%s://%s%s%s:%s", http->tls ? "https" : "http",
                six ? "[" : "", host, six ? "]" : "", port);
  http->url = ae_strdup(ae_buf_cstr(&url));
  ae_buf_clear(&url);
}

/* As many files as this process may have at all: each connection is one. */
static void raise_files(const ae__http *http) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  rlim_t wanted = http->limits.connections + TOLD + OTHER_FILES;
  if (files.rlim_cur >= wanted) return;
  files.rlim_cur = wanted < files.rlim_max ? wanted : files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur == wanted) return;
  char most[24], connections[24];
  snprintf(most, sizeof most, "%llu", (unsigned long long)files.rlim_max);
  snprintf(connections, sizeof connections, "%u", http->limits.connections);
  ae_log(AE_LOG_WARN,
         "this process may open fewer files than it would need for as many "
         "connections as http.connections says; raise `ulimit -n`",
         "files", most, "connections", connections, NULL);
}

static void on_own_closed(uv_handle_t *handle) {
  ae__listener *l = handle->data;
  l->handles--;
  ae__http_let_go(l->http);
}

void ae__tcp_stop_listening(ae__http *http) {
  ae__listener *l = http->listener;
  if (!l || !l->listening) return;
  l->listening = false;
  uv_close((uv_handle_t *)&l->socket, on_own_closed);
}

void ae__tcp_close(ae__http *http) {
  ae__listener *l = http->listener;
  ae__tcp_stop_listening(http);
  if (!l || l->closing) return;
  l->closing = true;
  uv_close((uv_handle_t *)&l->timer, on_own_closed);
}

bool ae__tcp_gone(const ae__http *http) {
  return !http->listener || http->listener->handles == 0;
}

void ae__tcp_free(ae__http *http) {
  ae_free(http->listener);
}

ae_status ae__tcp_listen(ae__http *http, const char *listen,
                         const struct sockaddr_storage *address,
                         ae_error *err) {
  ae__listener *l = ae_zalloc(sizeof *l);
  http->listener = l;
  l->http = http;
  l->handles = 2;
  AE_ASSERT_CMP(uv_tcp_init(&http->loop->uv, &l->socket), ==, 0);
  AE_ASSERT_CMP(uv_timer_init(&http->loop->uv, &l->timer), ==, 0);
  l->socket.data = l;
  l->timer.data = l;
  l->listening = true;
  raise_files(http);
  int error = uv_tcp_bind(&l->socket, (const struct sockaddr *)address, 0);
  if (error == 0)
    error = uv_listen((uv_stream_t *)&l->socket, BACKLOG, on_connection);
  if (error == 0) {
    name_url(http);
    return AE_OK;
  }
  const char *hint =
      error == UV_EADDRINUSE ? "another program listens there; end it, or "
                               "choose another port with --listen"
      : error == UV_EADDRNOTAVAIL
          ? "that is no address of this machine; choose one with --listen, "
            "for example 127.0.0.1:7070"
      : error == UV_EACCES
          ? "ports below 1024 need a right that this process does not have; "
            "choose another with --listen"
          : uv_strerror(error);
  ae_error_set(err, AE_STORE_UNAVAILABLE, "cannot listen on %s: %s", listen,
               hint);
  ae_error_cstr(err, "cause", uv_strerror(error));
  return AE_STORE_UNAVAILABLE;
}
