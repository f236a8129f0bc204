#include "door/http_wire.h"

static const ae_config no_tokens;

static http_wire *of(const ae__connection *c) {
  return (http_wire *)c;
}

static size_t take(http_wire *wire, ae_str bytes) {
  size_t len = bytes.len < wire->room ? bytes.len : wire->room;
  ae_buf_add(&wire->got, bytes.ptr, len);
  wire->room -= len;
  return len;
}

static int try_write(ae__connection *c, ae_str bytes) {
  size_t len = take(of(c), bytes);
  return len == 0 ? UV_EAGAIN : (int)len;
}

static int start_write(ae__connection *c, ae_str bytes) {
  ae_buf_str(&of(c)->waiting, bytes);
  return 0;
}

static size_t unwritten(const ae__connection *c) {
  return of(c)->waiting.len;
}

static void watch(ae__connection *c, bool on) {
  of(c)->reading = on;
}

static void shut(ae__connection *c) {
  of(c)->shut = true;
}

static void close_wire(ae__connection *c, bool reset) {
  of(c)->closed = true;
  of(c)->reset = reset;
}

static const ae__wire memory = {.try_write = try_write,
                                .write = start_write,
                                .unwritten = unwritten,
                                .read = watch,
                                .shut = shut,
                                .close = close_wire};

void http_wire_server(ae__http *http, ae_loop *loop,
                      const ae__route *const *routes,
                      const ae__http_limits *limits) {
  ae__http_options options = {.loop = loop, .routes = routes};
  if (limits) options.limits = *limits;
  ae__http_init(http, &options);
  ae__auth_new(&no_tokens, true, &http->auth, NULL);
}

void http_wire_server_clear(ae__http *http) {
  http_wire_run(http);
  ae__http_clear(http);
}

void http_wire_open(http_wire *wire, ae__http *http) {
  memset(wire, 0, sizeof *wire);
  wire->room = SIZE_MAX;
  ae__connection_open(&wire->connection, http, &memory, true);
}

void http_wire_run(ae__http *http) {
  while (http->turning) uv_run(&http->loop->uv, UV_RUN_NOWAIT);
}

bool http_wire_send(http_wire *wire, const void *bytes, size_t len) {
  ae__http *http = wire->connection.http;
  const char *at = bytes;
  while (len > 0 && wire->reading && !wire->closed) {
    size_t some = len < AE__READ_BYTES ? len : AE__READ_BYTES;
    ae__connection_read(&wire->connection, (ae_str){at, some});
    at += some;
    len -= some;
    http_wire_run(http);
  }
  return len == 0;
}

void http_wire_eof(http_wire *wire) {
  if (!wire->closed) ae__connection_eof(&wire->connection);
  http_wire_run(wire->connection.http);
}

void http_wire_take(http_wire *wire, size_t bytes) {
  wire->room += bytes;
  if (wire->closed || wire->waiting.len == 0) return;
  size_t len = take(wire, ae_buf_view(&wire->waiting));
  memmove(wire->waiting.ptr, wire->waiting.ptr + len, wire->waiting.len - len);
  wire->waiting.len -= len;
  if (wire->waiting.len == 0) ae__connection_written(&wire->connection, 0);
  http_wire_run(wire->connection.http);
}

void http_wire_clear(http_wire *wire) {
  if (!wire->closed) ae__connection_cut(&wire->connection);
  http_wire_run(wire->connection.http);
  ae__connection_clear(&wire->connection);
  ae_buf_clear(&wire->got);
  ae_buf_clear(&wire->waiting);
}
