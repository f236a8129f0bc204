#include "door/http/server.h"

#include "base/mem.h"
#include "door/http/tls.h"

/* Requests that wait for an answer side by side in one turn, so that one
 * client's pipeline does not keep the others waiting. */
#define ROUNDS 16
#define SPARES 64            /* requests kept for the next */
#define LINGER_BYTES 1048576 /* dropped after the last answer */
#define REST_KEEP 16384

/* -- requests come and go -- */

static ae__piece_is take_piece(ae__request *r, ae_str piece);

static ae__request *take_request(ae__connection *c) {
  ae__http *http = c->http;
  ae_list *link = ae_list_shift(&http->spares);
  ae__request *r;
  if (link) {
    r = AE_CONTAINER(link, ae__request, link);
    http->spare_count--;
  } else {
    r = ae_alloc(sizeof *r);
    ae__request_init(r);
  }
  r->connection = c;
  r->piece = take_piece;
  r->x.http = http;
  r->x.node = http->node;
  return r;
}

static void release_request(ae__connection *c) {
  ae__http *http = c->http;
  ae__request *r = c->request;
  c->request = NULL;
  if (r->started && r->x.route->gone) r->x.route->gone(&r->x);
  http->body_bytes -= r->counted;
  if (http->spare_count >= SPARES) {
    ae__request_clear(r);
    ae_free(r);
    return;
  }
  ae__request_reset(r);
  ae_list_push(&http->spares, &r->link);
  http->spare_count++;
}

/* -- one exchange -- */

static void start(ae__request *r) {
  r->started = true;
  r->x.body = ae_buf_view(&r->body);
  r->x.route->start(&r->x);
}

/* The body's end, as soon as the route takes it. */
static void tell_end(ae__request *r) {
  r->end_due = r->paused;
  if (!r->paused && !r->ended) r->x.route->body(&r->x, AE_STR(""), true);
}

static void whole(ae__connection *c) {
  ae__request *r = c->request;
  c->phase = AE__BUSY;
  ae__deadline_set(c, AE__DUE_NOTHING);
  if (r->ended)
    ae__connection_mark(c);
  else if (r->started)
    tell_end(r);
  else
    start(r);
}

static ae__piece_is take_piece(ae__request *r, ae_str piece) {
  ae__http *http = r->connection->http;
  if (r->discards || r->ended) return AE__PIECE_TAKEN;
  if (r->x.route->streams) {
    r->x.route->body(&r->x, piece, false);
    return r->paused ? AE__PIECE_LAST_FOR_NOW : AE__PIECE_TAKEN;
  }
  if (piece.len > http->limits.body - r->body.len) {
    r->refused = 413;
  } else if (piece.len > http->limits.bodies - http->body_bytes) {
    r->refused = 429;
  } else {
    r->counted += piece.len;
    http->body_bytes += piece.len;
    ae_buf_str(&r->body, piece);
    return AE__PIECE_TAKEN;
  }
  return AE__PIECE_REFUSED;
}

static void too_large(ae__connection *c, ae_error *err) {
  size_t limit = c->http->limits.body;
  ae_error_set(err, AE_TOO_LARGE, "the body is longer than %zu bytes", limit);
  ae_error_uint(err, "limit", limit);
}

static void bad_body(ae__connection *c, ae_error *err) {
  ae__request *r = c->request;
  c->phase = AE__BUSY;
  ae__deadline_set(c, AE__DUE_NOTHING);
  c->keep = false;
  if (r->refused == 413) {
    too_large(c, err);
  } else if (r->refused == 429) {
    size_t limit = c->http->limits.bodies;
    ae_error_set(err, AE_OVERLOADED,
                 "the bodies of all requests under way take %zu bytes", limit);
    ae_error_cstr(err, "queue", "bodies");
    ae_error_uint(err, "limit", limit);
  }
  if (!r->ended) ae__exchange_deny(r, r->refused ? r->refused : 400, err);
  ae__connection_mark(c);
}

static void no_route(ae__request *r, const char *allowed) {
  ae_error err = {0};
  if (!allowed[0]) {
    ae_error_set(&err, AE_NOT_FOUND, "there is nothing at ");
    ae_error_quote(&err, r->x.path);
    ae_error_add(&err, "; GET /v1/openapi.json says what there is");
  } else {
    ae_error_set(&err, AE_MALFORMED, "this can only be asked with %s", allowed);
    ae__exchange_add(&r->x, "Allow", ae_str_of(allowed));
  }
  ae__exchange_refuse(&r->x, allowed[0] ? 405 : 404, &err);
  ae_error_clear(&err);
}

/* What is wrong with a request that is well-formed; it has been answered. */
static bool refuse(ae__connection *c) {
  ae__request *r = c->request;
  ae__exchange *x = &r->x;
  ae_error err = {0};
  const char *allowed;
  x->route = ae__route_find_in(c->http->routes, x->method, x->segments,
                               x->segment_count, &allowed);
  if (!x->route) {
    no_route(r, allowed);
    return true;
  }
  ae_status status = ae__auth_admit(c->http->auth, x, c->loopback, &err);
  if (status == AE_OK && r->has_length && !x->route->streams &&
      r->length > c->http->limits.body) {
    too_large(c, &err);
    status = err.status;
  }
  if (status != AE_OK) ae__exchange_fail(x, &err);
  ae_error_clear(&err);
  return status != AE_OK;
}

static void begin(ae__connection *c) {
  ae__request *r = c->request;
  ae_error err = {0};
  int status = ae__request_read(r, &err);
  c->keep = r->keep;
  c->phase = AE__BODY;
  ae__deadline_set(c, r->body_done ? AE__DUE_NOTHING : AE__DUE_BODY);
  if (status != 0) {
    c->phase = AE__BUSY;
    ae__deadline_set(c, AE__DUE_NOTHING);
    ae__exchange_deny(r, status, &err);
  } else if (!refuse(c)) {
    ae_str expect = ae__exchange_header(&r->x, "expect");
    if (expect.ptr && !r->body_done && !r->old) {
      ae_buf_str(&c->out, AE_STR("HTTP/1.1 100 Continue\r\n\r\n"));
      ae__connection_mark(c);
    }
    if (r->x.route->streams) start(r);
  }
  if (r->body_done && status == 0) whole(c);
  ae_error_clear(&err);
}

/* -- bytes in -- */

static size_t feed_head(ae__connection *c, ae_str bytes) {
  size_t used;
  ae_error err = {0};
  ae__request *r = c->request;
  int status = ae__request_take(r, bytes, c->http->limits.header, &used, &err);
  if (status != 0) {
    c->phase = AE__BUSY;
    ae__deadline_set(c, AE__DUE_NOTHING);
    ae__exchange_deny(r, status, &err);
  } else if (ae__request_whole(r)) {
    begin(c);
  }
  ae_error_clear(&err);
  return used;
}

static size_t feed_body(ae__connection *c, ae_str bytes) {
  size_t used;
  ae_error err = {0};
  ae__request *r = c->request;
  switch (ae__request_body(r, bytes, c->http->limits.header, &used, &err)) {
    case AE__BODY_MORE:
      ae__deadline_set(c, AE__DUE_BODY);
      break;
    case AE__BODY_DONE:
      whole(c);
      break;
    case AE__BODY_PAUSED:
      ae__deadline_set(c, AE__DUE_NOTHING);
      break;
    case AE__BODY_BAD:
      bad_body(c, &err);
      break;
  }
  ae_error_clear(&err);
  return used;
}

/* How many of them could be used now. */
static size_t feed(ae__connection *c, ae_str bytes) {
  size_t at = 0;
  for (;;) {
    ae_str left = {bytes.ptr + at, bytes.len - at};
    if (c->phase == AE__BODY && !c->request->paused &&
        (left.len > 0 || c->request->resumed)) {
      c->request->resumed = false;
      at += feed_body(c, left);
    } else if (left.len > 0 && c->phase == AE__IDLE) {
      c->request = take_request(c);
      c->phase = AE__HEAD;
      ae__deadline_set(c, AE__DUE_HEAD);
    } else if (left.len > 0 && c->phase == AE__HEAD) {
      at += feed_head(c, left);
    } else {
      return at;
    }
  }
}

static bool has_rest(const ae__connection *c) {
  return c->rest.len > c->rest_at;
}

static void drop_rest(ae__connection *c) {
  if (c->rest.cap > REST_KEEP || c->phase == AE__IDLE)
    ae_buf_clear(&c->rest);
  else
    ae_buf_reset(&c->rest);
  c->rest_at = 0;
}

static void feed_rest(ae__connection *c) {
  ae_str left = {c->rest.ptr + c->rest_at, c->rest.len - c->rest_at};
  c->rest_at += feed(c, left);
  if (!has_rest(c)) drop_rest(c);
}

/* Nothing more is understood; what is owed is sent, then it closes. */
static void linger(ae__connection *c) {
  c->phase = AE__LINGER;
  drop_rest(c);
  ae__deadline_set(c, AE__DUE_NOTHING);
}

/* Reads where there is room for what comes. */
static void watch(ae__connection *c) {
  bool on = c->phase != AE__CLOSED && !c->eof && !has_rest(c);
  if (c->phase == AE__BODY && c->request->paused) on = false;
  if (on == c->reading) return;
  c->reading = on;
  c->wire->read(c, on);
}

void ae__connection_plain(ae__connection *c, ae_str bytes) {
  if (c->phase == AE__CLOSED) return;
  if (c->phase == AE__LINGER) {
    c->lingered += bytes.len;
    if (c->lingered > LINGER_BYTES) ae__connection_cut(c);
    return;
  }
  size_t used = has_rest(c) ? 0 : feed(c, bytes);
  ae_buf_add(&c->rest, bytes.ptr + used, bytes.len - used);
  watch(c);
}

/* Plain HTTP where TLS is spoken: said in plain, too. */
static void want_tls(ae__connection *c) {
  ae_error err = {0};
  ae__tls_close(c->tls);
  c->tls = NULL;
  c->request = take_request(c);
  c->phase = AE__BUSY;
  ae__deadline_set(c, AE__DUE_NOTHING);
  ae_error_set(&err, AE_MALFORMED, "this port speaks TLS; use https://");
  ae__exchange_deny(c->request, 400, &err);
  ae_error_clear(&err);
}

void ae__connection_read(ae__connection *c, ae_str bytes) {
  c->http->counts.bytes_in += bytes.len;
  if (c->tls && !ae__tls_spoken(c->tls) && bytes.ptr[0] >= 'A' &&
      bytes.ptr[0] <= 'Z') {
    want_tls(c);
    return;
  }
  if (!c->tls) {
    ae__connection_plain(c, bytes);
  } else if (ae__tls_open(c, bytes)) {
    return;
  } else if (c->phase == AE__IDLE) {
    linger(c); /* the alert that says why still goes out */
    ae__connection_mark(c);
  } else {
    ae__connection_cut(c);
  }
}

void ae__connection_eof(ae__connection *c) {
  ae__request *r = c->request;
  if (c->phase == AE__CLOSED) return;
  c->eof = true;
  watch(c);
  /* Whoever asked everything may still read the answer. */
  bool asked = c->phase == AE__BUSY && !r->endless;
  bool answered = r ? r->ended : ae__output_waiting(c) > 0;
  if (!asked && !answered) {
    ae__connection_cut(c);
    return;
  }
  c->keep = false;
  if (c->phase == AE__IDLE) linger(c);
  ae__connection_mark(c);
}

/* -- once a turn -- */

void ae__connection_mark(ae__connection *c) {
  ae__http *http = c->http;
  if (c->marked || c->phase == AE__CLOSED) return;
  c->marked = true;
  ae_list_push(&http->marks, &c->mark);
  if (http->turning) return;
  http->turning = true;
  ae_loop_defer(http->loop, &http->turn);
}

static void finish(ae__connection *c) {
  ae__request *r = c->request;
  if (!r || !r->ended || (c->keep && !r->body_done)) return;
  bool cut = r->aborted && r->old;
  release_request(c);
  if (cut) c->broken = true;
  if (!c->keep) {
    linger(c);
    return;
  }
  c->phase = AE__IDLE;
  ae__deadline_set(c, AE__DUE_IDLE);
  if (c->http->draining) linger(c);
}

/* The route lets the body go on. */
static void go_on(ae__connection *c) {
  ae__request *r = c->request;
  if (!r || !r->resumed || r->paused) return;
  if (r->end_due) {
    r->resumed = false;
    tell_end(r);
  } else if (c->phase == AE__BODY) {
    ae__deadline_set(c, AE__DUE_BODY);
    feed_rest(c);
  } else {
    r->resumed = false;
  }
}

/* Everything was given to the wire. */
static void sent_all(ae__connection *c) {
  ae__request *r = c->request;
  if (r && r->full && !r->ended) {
    r->full = false;
    if (r->x.route->drained) r->x.route->drained(&r->x);
  }
  if (c->phase == AE__IDLE && !has_rest(c)) {
    ae_buf_clear(&c->out);
    ae_buf_clear(&c->rest);
  }
  if (c->phase != AE__LINGER || c->shut) return;
  c->shut = true;
  if (c->eof) {
    ae__connection_cut(c);
    return;
  }
  c->wire->shut(c);
  ae__deadline_set(c, AE__DUE_LINGER);
}

/* What was read behind the last request. */
static void next_requests(ae__connection *c) {
  for (unsigned i = 0; i < ROUNDS && c->phase == AE__IDLE && has_rest(c); i++) {
    if (ae__output_waiting(c) >= AE__OUT_FULL) return;
    feed_rest(c);
    finish(c);
  }
}

static void turn(ae__connection *c) {
  go_on(c);
  finish(c);
  next_requests(c);
  bool good = ae__output_send(c);
  if (good && c->phase == AE__LINGER && c->tls && !c->goodbye && !c->sending) {
    c->goodbye = true;
    ae__tls_bye(c);
    good = ae__output_send(c);
  }
  if (!good || c->broken) {
    ae__connection_cut(c);
    return;
  }
  if (!c->sending && c->out.len == 0) sent_all(c);
  if (c->phase == AE__CLOSED) return;
  /* Else what is being sent brings the next turn. */
  if (c->phase == AE__IDLE && has_rest(c) && !c->sending)
    ae__connection_mark(c);
  watch(c);
}

void ae__connection_run(ae__http *http) {
  ae_list now;
  ae_list_init(&now);
  while (!ae_list_empty(&http->marks))
    ae_list_push(&now, ae_list_shift(&http->marks));
  for (ae_list *link; (link = ae_list_shift(&now));) {
    ae__connection *c = AE_CONTAINER(link, ae__connection, mark);
    c->marked = false;
    turn(c);
  }
}

void ae__connection_written(ae__connection *c, int status) {
  if (c->phase == AE__CLOSED) return;
  c->sending = false;
  ae_buf_clear(&c->sent);
  ae__deadline_sending(c, false);
  if (status != 0) c->broken = true;
  ae__connection_mark(c);
}

/* -- its life -- */

void ae__connection_open(ae__connection *c, ae__http *http,
                         const ae__wire *wire, bool loopback) {
  c->http = http;
  c->wire = wire;
  c->loopback = loopback;
  c->keep = true;
  if (http->tls) c->tls = ae__tls_accept(http->tls);
  ae_list_init(&c->mark);
  ae_list_init(&c->due.link);
  ae_list_init(&c->send_due.link);
  ae_list_push(&http->connections, &c->link);
  http->counts.connections++;
  http->counts.accepted++;
  ae__deadline_set(c, AE__DUE_HEAD);
  watch(c);
}

void ae__connection_turn_away(ae__connection *c) {
  c->http->counts.accepted--;
  c->http->counts.refused++;
  linger(c);
  static const char body[] =
      "{\"code\":\"overloaded\",\"title\":\"too much is waiting\","
      "\"status\":503,\"detail\":\"too many connections; try again\"}\n";
  if (!c->tls)
    ae_buf_printf(&c->out,
                  "HTTP/1.1 503 Service Unavailable\r\n"
                  "Content-Type: application/problem+json\r\n"
                  "Content-Length: %zu\r\nRetry-After: 1\r\n"
                  "Connection: close\r\n\r\n%s",
                  sizeof body - 1, body);
  ae__connection_mark(c);
}

void ae__connection_cut(ae__connection *c) {
  if (c->phase == AE__CLOSED) return;
  c->phase = AE__CLOSED;
  if (c->request) release_request(c);
  ae__deadline_set(c, AE__DUE_NOTHING);
  ae__deadline_sending(c, false);
  ae_list_remove(&c->mark);
  ae_list_remove(&c->link);
  c->http->counts.connections--;
  bool reset = c->broken || c->sending || c->out.len > 0;
  c->wire->close(c, reset);
}

void ae__connection_drain(ae__connection *c) {
  ae__request *r = c->request;
  if (c->phase == AE__IDLE) {
    if (has_rest(c)) return; /* the answer to the next one ends it */
    if (ae__output_waiting(c) == 0) {
      ae__connection_cut(c);
      return;
    }
    linger(c);
    ae__connection_mark(c);
  } else if (r && r->endless && !r->ended) {
    ae__exchange_stop(r);
  }
}

void ae__connection_clear(ae__connection *c) {
  ae_buf_clear(&c->rest);
  ae_buf_clear(&c->out);
  ae_buf_clear(&c->sent);
  ae__tls_close(c->tls);
}
