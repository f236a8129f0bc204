/* The route's side: what it appends becomes bytes of the connection. */
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/http/server.h"

#define CHUNK_HEAD 10 /* eight digits, CR LF */

#define ADD(out, literal) ae_buf_add(out, literal, sizeof(literal) - 1)

static ae__request *of(ae__exchange *x) {
  return (ae__request *)x;
}

const char *ae__http_phrase(int status) {
  static const struct {
    int status;
    const char *phrase;
  } phrases[] = {{200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {406, "Not Acceptable"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {412, "Precondition Failed"},
                 {413, "Content Too Large"},
                 {414, "URI Too Long"},
                 {415, "Unsupported Media Type"},
                 {417, "Expectation Failed"},
                 {422, "Unprocessable Content"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {505, "HTTP Version Not Supported"},
                 {507, "Insufficient Storage"}};
  for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
    if (phrases[i].status == status) return phrases[i].phrase;
  return "Status";
}

static void add_uint(ae_buf *out, uint64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  ae_buf_add(out, digits + at, sizeof digits - at);
}

/* -- heads -- */

/* A body that is still to come, and not small, is not waited for. */
#define WAIT_FOR_BODY 65536

static void decide_keep(ae__request *r) {
  ae__connection *c = r->connection;
  if (c->http->draining || c->eof) c->keep = false;
  if (r->body_done || r->answering) return;
  bool expects = ae__exchange_header(&r->x, "expect").ptr != NULL;
  bool small = !r->chunked && r->length - r->body_seen <= WAIT_FOR_BODY;
  if (!small || expects) c->keep = false;
  r->discards = true;
}

static void begin_head(ae__request *r, int status, const char *type) {
  ae__connection *c = r->connection;
  ae_buf *out = &c->out;
  AE_ASSERT_CMP(r->status, ==, 0);
  ae_buf_reserve(out, 1024); /* most answers, at once */
  r->status = status;
  decide_keep(r);
  ae__tally_add(c->http, r->x.route, status);
  ae__http_date(c->http);
  ADD(out, "HTTP/1.1 ");
  add_uint(out, (uint64_t)status);
  ae_buf_byte(out, ' ');
  ae_buf_str(out, ae_str_of(ae__http_phrase(status)));
  ADD(out, "\r\nDate: ");
  ae_buf_add(out, c->http->date, 29);
  if (type) {
    ADD(out, "\r\nContent-Type: ");
    ae_buf_str(out, ae_str_of(type));
  }
  ae_buf_str(out, ae_buf_view(&r->headers));
}

static void end_head(ae__request *r) {
  ae_buf *out = &r->connection->out;
  if (!r->connection->keep)
    ADD(out, "\r\nConnection: close");
  else if (r->old)
    ADD(out, "\r\nConnection: keep-alive");
  ADD(out, "\r\n\r\n");
}

static void end(ae__request *r) {
  r->ended = true;
  ae__connection_mark(r->connection);
}

void ae__exchange_add(ae__exchange *x, const char *name, ae_str value) {
  ae_buf *to = &of(x)->headers;
  for (size_t i = 0; i < value.len; i++) {
    uint8_t byte = (uint8_t)value.ptr[i];
    if ((byte < ' ' && byte != '\t') || byte == 0x7f) return;
  }
  ADD(to, "\r\n");
  ae_buf_str(to, ae_str_of(name));
  ADD(to, ": ");
  ae_buf_str(to, value);
}

void ae__exchange_answer(ae__exchange *x, int status, const char *type,
                         ae_str body) {
  ae__request *r = of(x);
  ae_buf *out = &r->connection->out;
  bool bodiless = status == 204 || status == 304;
  begin_head(r, status, bodiless ? NULL : type);
  if (!bodiless) {
    ADD(out, "\r\nContent-Length: ");
    add_uint(out, body.len);
  }
  end_head(r);
  if (!r->is_head && !bodiless) ae_buf_str(out, body);
  end(r);
}

/* -- errors -- */

/* Retry-After: in seconds, from the fact `retry_after`, in ms. */
static void add_retry(ae__exchange *x, ae_str facts) {
  ae_str value;
  uint64_t ms = 0;
  char text[24];
  if (ae_unpack_field(facts, "retry_after", &value)) {
    ae_unpack cursor = ae_unpack_of(value);
    ae_unpack_uint(&cursor, &ms);
  }
  int len = snprintf(text, sizeof text, "%llu",
                     (unsigned long long)(ms > 1000 ? (ms - 1) / 1000 + 1 : 1));
  ae__exchange_add(x, "Retry-After", (ae_str){text, (size_t)len});
}

void ae__exchange_refuse(ae__exchange *x, int status, const ae_error *err) {
  ae_buf packed = {0}, json = {0};
  ae_pack_map(&packed, 4 + err->nfacts);
  ae_pack_cstr(&packed, "code");
  ae_pack_cstr(&packed, ae_status_word(err->status));
  ae_pack_cstr(&packed, "title");
  ae_pack_cstr(&packed, ae_status_text(err->status));
  ae_pack_cstr(&packed, "status");
  ae_pack_uint(&packed, (uint64_t)status);
  ae_pack_cstr(&packed, "detail");
  ae_pack_text(&packed, ae_buf_view(&err->message));
  ae_buf_str(&packed, ae_buf_view(&err->facts));
  ae_json_write(ae_buf_view(&packed), &json);
  ae_buf_byte(&json, '\n');
  if (status == 429) add_retry(x, ae_buf_view(&packed));
  ae__exchange_answer(x, status, "application/problem+json",
                      ae_buf_view(&json));
  ae_buf_clear(&packed);
  ae_buf_clear(&json);
}

void ae__exchange_fail(ae__exchange *x, const ae_error *err) {
  ae__exchange_refuse(x, ae_status_http(err->status), err);
}

void ae__exchange_deny(ae__request *r, int status, const ae_error *err) {
  r->connection->keep = false;
  if (r->status == 0)
    ae__exchange_refuse(&r->x, status, err);
  else
    ae__exchange_abort(&r->x);
}

/* -- in pieces -- */

void ae__exchange_begin(ae__exchange *x, int status, const char *type) {
  ae__request *r = of(x);
  ae__connection *c = r->connection;
  r->answering = true;
  r->in_chunks = !r->old;
  if (r->old) c->keep = false;
  begin_head(r, status, type);
  if (r->in_chunks) ADD(&c->out, "\r\nTransfer-Encoding: chunked");
  end_head(r);
  /* What has been said is all that HEAD wants. */
  if (r->is_head) end(r);
  ae__connection_mark(c);
}

ae_buf *ae__exchange_out(ae__exchange *x) {
  ae__request *r = of(x);
  ae__connection *c = r->connection;
  if (r->is_head || r->ended) {
    ae_buf_reset(&c->http->nowhere);
    return &c->http->nowhere;
  }
  if (r->in_chunks && r->chunk == SIZE_MAX) {
    r->chunk = c->out.len;
    ae_buf_reserve(&c->out, CHUNK_HEAD);
    c->out.len += CHUNK_HEAD;
  }
  return &c->out;
}

void ae__exchange_close_chunk(ae__request *r) {
  ae_buf *out = &r->connection->out;
  if (r->chunk == SIZE_MAX) return;
  size_t size = out->len - r->chunk - CHUNK_HEAD;
  if (size == 0) {
    out->len = r->chunk;
  } else {
    char *head = out->ptr + r->chunk;
    AE_ASSERT_CMP(size, <=, UINT32_MAX);
    for (int i = 7; i >= 0; i--, size >>= 4)
      head[i] = "0123456789abcdef"[size & 15];
    head[8] = '\r';
    head[9] = '\n';
    ADD(out, "\r\n");
  }
  r->chunk = SIZE_MAX;
}

bool ae__exchange_send(ae__exchange *x) {
  ae__request *r = of(x);
  if (r->is_head || r->ended) return false;
  ae__connection_mark(r->connection);
  r->full = ae__output_waiting(r->connection) >= AE__OUT_FULL;
  return r->full;
}

void ae__exchange_end(ae__exchange *x) {
  ae__request *r = of(x);
  if (r->ended) return;
  ae__exchange_close_chunk(r);
  if (r->in_chunks) ADD(&r->connection->out, "0\r\n\r\n");
  if (!r->body_done) r->connection->keep = false;
  end(r);
}

void ae__exchange_endless(ae__exchange *x) {
  of(x)->endless = true;
  if (of(x)->connection->http->draining) ae__exchange_stop(of(x));
}

void ae__exchange_stop(ae__request *r) {
  r->connection->keep = false;
  ae__exchange_end(&r->x);
}

void ae__exchange_abort(ae__exchange *x) {
  ae__request *r = of(x);
  if (r->ended) return;
  ae__exchange_close_chunk(r);
  r->connection->keep = false;
  r->aborted = true;
  end(r);
}

/* -- the body that comes in -- */

void ae__exchange_pause(ae__exchange *x) {
  of(x)->paused = true;
  of(x)->resumed = false;
}

void ae__exchange_resume(ae__exchange *x) {
  ae__request *r = of(x);
  if (!r->paused) return;
  r->paused = false;
  r->resumed = true;
  ae__connection_mark(r->connection);
}
