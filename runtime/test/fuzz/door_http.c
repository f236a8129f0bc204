/* Whatever bytes come, in whatever pieces, and however slowly their sender
 * reads: answers are whole and in order, `gone` comes once for each start, and
 * how the bytes were cut into pieces changes nothing.
 *
 * The first byte of the input says how the rest is cut and how much the client
 * takes, the second what stands before the rest, so that a short run gets
 * beyond the first line; the server gets it all twice, the second time byte by
 * byte. */
#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "door/http_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static unsigned started, gone;
static size_t pieces;

/* What was asked, so that two runs can be compared. */
static void say(ae__exchange *x) {
  ae_buf text = {0};
  ae_str name, value, method = ae__exchange_header(x, "x-method");
  started++;
  ae_buf_str(&text, x->path);
  for (unsigned i = 0; i < x->segment_count; i++) {
    MUST(ae_str_utf8(x->segments[i]));
    ae_buf_byte(&text, '|');
    ae_buf_str(&text, x->segments[i]);
  }
  for (size_t i = 0; ae__exchange_query_at(x, i, &name, &value); i++) {
    MUST(ae_str_utf8(name) && ae_str_utf8(value));
    ae_buf_byte(&text, '&');
    ae_buf_str(&text, value);
  }
  ae_buf_str(&text, method);
  ae_buf_str(&text, x->body);
  ae__exchange_add(x, "X-Path", x->path);
  ae__exchange_answer(x, 200, "text/plain", ae_buf_view(&text));
  ae_buf_clear(&text);
}

static void begin(ae__exchange *x) {
  started++;
  pieces = 0;
  ae__exchange_begin(x, 200, "text/plain");
}

/* Gives each byte back, four for one; pauses now and then. */
static void echo(ae__exchange *x, ae_str piece, bool end) {
  for (size_t i = 0; i < piece.len; i++)
    for (int k = 0; k < 4; k++)
      ae_buf_byte(ae__exchange_out(x), (uint8_t)piece.ptr[i]);
  bool full = ae__exchange_send(x);
  if (full || (piece.len > 0 && piece.ptr[0] == 'p')) ae__exchange_pause(x);
  if (!full) ae__exchange_resume(x);
  if (piece.len > 0 && piece.ptr[0] == 'e') ae__exchange_end(x);
  if (piece.len > 0 && piece.ptr[0] == 'a') ae__exchange_abort(x);
  if (end) ae__exchange_end(x);
}

static void leave(ae__exchange *x) {
  (void)x;
  gone++;
}

static const ae__route routes[] = {
    {.method = AE__METHOD_GET, .path = "/a", .start = say, .gone = leave},
    {.method = AE__METHOD_POST, .path = "/a", .start = say, .gone = leave},
    {.method = AE__METHOD_GET, .path = "/{a}/{b}", .start = say, .gone = leave},
    {.method = AE__METHOD_POST,
     .path = "/s",
     .streams = true,
     .start = begin,
     .body = echo,
     .drained = ae__exchange_resume,
     .gone = leave},
    {0}};
static const ae__route *const tables[] = {routes, NULL};

static bool starts(ae_str text, const char *with) {
  size_t len = strlen(with);
  return text.len >= len && memcmp(text.ptr, with, len) == 0;
}

/* So that two runs can be compared. */
static void blank_dates(ae_buf *got) {
  if (got->len == 0) return;
  const char *end = got->ptr + got->len;
  for (char *at = got->ptr; at < end;) {
    at = memmem(at, (size_t)(end - at), "\r\nDate: ", 8);
    if (!at || end - at < 39) return;
    if (memcmp(at + 33, " GMT\r\n", 6) == 0) memset(at + 8, '-', 29);
    at += 8;
  }
}

/* Answers one after the other, up to the first that streams. */
static void check_answers(ae_buf *got) {
  const char *at = ae_buf_cstr(got), *end = at + got->len;
  while (at < end) {
    MUST(starts((ae_str){at, (size_t)(end - at)}, "HTTP/1.1 "));
    const char *body = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
    if (!body) return; /* cut by who does not read */
    const char *length =
        memmem(at, (size_t)(body - at), "\r\nContent-Length: ", 18);
    if (!length && !starts((ae_str){at + 9, 3}, "100")) return;
    at = body + 4 + (length ? strtoul(length + 18, NULL, 10) : 0);
  }
}

static void drive(ae__http *http, const char *bytes, size_t len, size_t step,
                  size_t room, ae_buf *got) {
  http_wire *wire = ae_alloc(sizeof *wire);
  started = gone = 0;
  http_wire_open(wire, http);
  wire->room = room;
  for (size_t at = 0; at < len && !wire->closed; at += step) {
    size_t some = len - at < step ? len - at : step;
    for (int tries = 0; !http_wire_send(wire, bytes + at, some); tries++) {
      if (wire->closed || wire->shut) break;
      MUST(tries < 100000);
      http_wire_take(wire, 997);
    }
    MUST(started <= gone + 1);
    const ae__connection *c = &wire->connection;
    MUST(ae__output_waiting(c) < AE__OUT_FULL + 8 * AE__READ_BYTES);
    MUST(c->rest.len <= 2 * AE__READ_BYTES);
  }
  http_wire_take(wire, SIZE_MAX / 2);
  http_wire_eof(wire);
  MUST(started == gone);
  MUST(wire->closed || wire->shut);
  ae_buf_str(got, ae_buf_view(&wire->got));
  blank_dates(got);
  /* An answer to HEAD tells the length of a body that it leaves out. */
  if (!memmem(bytes, len, "HEAD", 4)) check_answers(got);
  http_wire_clear(wire);
  MUST(http->counts.connections == 0 && http->body_bytes == 0);
  ae_free(wire);
}

#define HOST "Host: localhost\r\n"
static const char *const prefixes[] = {
    "",
    "GET /",
    "GET /a HTTP/1.1\r\n" HOST,
    "POST /a HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
    "POST /s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
    "POST /s HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST
    "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n"
    "12345\r\n0\r\n",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static ae_loop loop;
  static ae__http *http;
  if (!http) {
    http = ae_alloc(sizeof *http);
    const ae__http_limits limits = {.header = 700, .body = 2000};
    MUST(ae_loop_init(&loop, NULL) == AE_OK);
    http_wire_server(http, &loop, tables, &limits);
  }
  if (len < 2) return 0;
  ae_buf once = {0}, again = {0}, all = {0};
  ae_buf_str(&all, ae_str_of(prefixes[data[1] % 8]));
  ae_buf_add(&all, data + 2, len - 2);
  const char *bytes = ae_buf_cstr(&all);
  drive(http, bytes, all.len, 1 + (data[0] & 0x7fu) * 7,
        data[0] & 0x80 ? 100 : SIZE_MAX, &once);
  drive(http, bytes, all.len, 1, SIZE_MAX, &again);
  /* Streams depend on the pieces; whole answers do not. */
  if (!memmem(bytes, all.len, "/s", 2)) {
    MUST(ae_str_eq(ae_buf_view(&once), ae_buf_view(&again)));
  }
  ae_buf_clear(&once);
  ae_buf_clear(&again);
  ae_buf_clear(&all);
  return 0;
}
