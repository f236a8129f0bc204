/* A connection of the HTTP door: exchanges in order, bodies both ways at once,
 * what is paused, full, late, broken or drained; and that `gone` comes once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "door/http_wire.h"

static ae_loop loop;
static ae__http http;
static http_wire wire;

#define H "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" H "\r\n"
#define SEND(literal) http_wire_send(&wire, literal, sizeof(literal) - 1)

/* What the routes below were told. */
static struct {
  ae__exchange *x; /* the last that started */
  unsigned started, gone, drained;
  bool ended; /* the body did */
  bool pauses, in_body;
  ae_buf body;
} told;

static void note_gone(ae__exchange *x) {
  assert_false(told.in_body);
  assert_true(told.started > told.gone);
  if (told.x == x) told.x = NULL;
  told.gone++;
}

static void start_later(ae__exchange *x) {
  told.x = x;
  told.started++;
}

static void start_now(ae__exchange *x) {
  start_later(x);
  ae__exchange_answer(x, 200, "text/plain", x->body.len ? x->body : x->path);
}

static void take_piece(ae__exchange *x, ae_str piece, bool end) {
  told.in_body = true;
  assert_ptr_equal(x, told.x);
  assert_false(told.ended);
  ae_buf_str(&told.body, piece);
  told.ended = end;
  if (told.pauses) ae__exchange_pause(x);
  told.in_body = false;
}

/* Gives back what comes. */
static void echo_start(ae__exchange *x) {
  start_later(x);
  ae__exchange_begin(x, 200, "text/plain");
}

static void echo_piece(ae__exchange *x, ae_str piece, bool end) {
  ae_buf_str(ae__exchange_out(x), piece);
  if (ae__exchange_send(x)) ae__exchange_pause(x);
  if (end) ae__exchange_end(x);
}

static void go_on(ae__exchange *x) {
  told.drained++;
  ae__exchange_resume(x);
}

static void note_drained(ae__exchange *x) {
  (void)x;
  told.drained++;
}

static void refuse_start(ae__exchange *x) {
  start_later(x);
  ae_error err = {0};
  ae_error_set(&err, AE_MALFORMED, "only \x01 NDJSON\n is taken");
  ae_error_uint(&err, "at", 7);
  ae__exchange_refuse(x, 415, &err);
  ae_error_clear(&err);
}

static const ae__route routes[] = {{.method = AE__METHOD_GET,
                                    .path = "/now/{n}",
                                    .start = start_now,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_POST,
                                    .path = "/now/{n}",
                                    .start = start_now,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_GET,
                                    .path = "/later",
                                    .start = start_later,
                                    .drained = note_drained,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_POST,
                                    .path = "/pieces",
                                    .streams = true,
                                    .start = start_later,
                                    .body = take_piece,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_POST,
                                    .path = "/echo",
                                    .streams = true,
                                    .start = echo_start,
                                    .body = echo_piece,
                                    .drained = go_on,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_POST,
                                    .path = "/refuse",
                                    .streams = true,
                                    .start = refuse_start,
                                    .body = take_piece,
                                    .gone = note_gone},
                                   {0}};
static const ae__route *const tables[] = {routes, NULL};

static const ae__http_limits limits = {.header = 1024,
                                       .body = 1000,
                                       .bodies = 1500,
                                       .header_ms = 1000,
                                       .body_ms = 2000,
                                       .idle_ms = 3000,
                                       .send_ms = 4000};

static int set_up(void **state) {
  (void)state;
  ae_error err = {0};
  memset(&told, 0, sizeof told);
  assert_int_equal(ae_loop_init(&loop, &err), AE_OK);
  http_wire_server(&http, &loop, tables, &limits);
  http_wire_open(&wire, &http);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  http_wire_clear(&wire);
  assert_int_equal(told.started, told.gone);
  assert_int_equal(http.counts.connections, 0);
  assert_int_equal(http.body_bytes, 0);
  for (int i = 0; i < AE__DUE_COUNT; i++)
    assert_true(ae_list_empty(&http.dues[i]));
  http_wire_server_clear(&http);
  ae_loop_clear(&loop);
  ae_buf_clear(&told.body);
  return 0;
}

static void run(void) {
  http_wire_run(&http);
}

static void got(const char *part) {
  if (!strstr(ae_buf_cstr(&wire.got), part))
    fail_msg("\"%s\" lacks \"%s\"", ae_buf_cstr(&wire.got), part);
}

/* What was sent since the last look ends with that. */
static void got_last(const char *text) {
  size_t len = strlen(text);
  if (wire.got.len < len ||
      memcmp(wire.got.ptr + wire.got.len - len, text, len) != 0)
    fail_msg("\"%s\" does not end with \"%s\"", ae_buf_cstr(&wire.got), text);
  ae_buf_reset(&wire.got);
}

static void tick(uint64_t ms) {
  ae__deadline_tick(&http, uv_now(&loop.uv) + ms);
  run();
}

/* -- one after the other -- */

static void answers_in_order(void **state) {
  (void)state;
  assert_true(SEND(GET("/later") GET("/now/2") GET("/now/3")));
  assert_int_equal(told.started, 1);
  assert_int_equal(wire.got.len, 0);
  assert_false(wire.reading); /* what waits is bounded */
  ae__exchange_answer(told.x, 200, "text/plain", AE_STR("first"));
  assert_int_equal(told.gone, 0);
  run();
  assert_int_equal(told.gone, 3);
  assert_true(wire.reading);
  got("first");
  got("/now/2");
  got_last("/now/3");
}

static void answers_long_pipelines(void **state) {
  (void)state;
  ae_buf all = {0};
  for (int i = 0; i < 1000; i++)
    ae_buf_printf(&all, "GET /now/%d HTTP/1.1\r\n" H "\r\n", i);
  assert_true(http_wire_send(&wire, all.ptr, all.len));
  assert_int_equal(told.gone, 1000);
  got_last("/now/999");
  ae_buf_clear(&all);
}

/* Who pipelines and never reads is not served beyond what may wait. */
static void stops_for_who_does_not_read(void **state) {
  (void)state;
  ae_buf all = {0};
  for (int i = 0; i < 5000; i++)
    ae_buf_printf(&all, "GET /now/%d HTTP/1.1\r\n" H "\r\n", i);
  wire.room = 0;
  assert_false(http_wire_send(&wire, all.ptr, all.len));
  assert_false(wire.reading);
  assert_true(ae__output_waiting(&wire.connection) < AE__OUT_FULL * 2);
  unsigned before = told.gone;
  http_wire_take(&wire, 1000000);
  assert_true(told.gone > before);
  ae_buf_clear(&all);
}

static void leaves_no_body_of_head(void **state) {
  (void)state;
  SEND("HEAD /now/1 HTTP/1.1\r\n" H "\r\n");
  got_last("Content-Length: 6\r\n\r\n");
  SEND("HEAD /later HTTP/1.1\r\n" H "\r\n");
  ae__exchange_begin(told.x, 200, "text/event-stream");
  ae__exchange_endless(told.x);
  ae_buf_str(ae__exchange_out(told.x), AE_STR("data"));
  assert_false(ae__exchange_send(told.x));
  run();
  assert_int_equal(told.gone, 2);
  got_last("Transfer-Encoding: chunked\r\n\r\n");
}

static void ends_with_http_1_0(void **state) {
  (void)state;
  SEND("GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ae__exchange_begin(told.x, 200, "text/plain");
  ae_buf_str(ae__exchange_out(told.x), AE_STR("plain"));
  ae__exchange_send(told.x);
  run();
  got_last("Connection: close\r\n\r\nplain");
  ae__exchange_end(told.x);
  run();
  assert_true(wire.shut);
}

static void says_what_is_wrong(void **state) {
  (void)state;
  SEND("POST /refuse HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
  got("HTTP/1.1 415 Unsupported Media Type\r\n");
  got("Content-Type: application/problem+json\r\n");
  got_last(
      "{\"code\":\"malformed\",\"title\":\"not understood\","
      "\"status\":415,\"detail\":\"only \\u0001 NDJSON\\n is taken\","
      "\"at\":7}\n");
  assert_false(wire.shut);
  SEND("GET /later HTTP/1.1\r\n" H "\r\n");
  ae__exchange_add(told.x, "X-Good", AE_STR("a\tb"));
  ae__exchange_add(told.x, "X-Bad", AE_STR("a\r\nSet-Cookie: b"));
  ae__exchange_answer(told.x, 204, "text/plain", AE_STR("x"));
  run();
  assert_null(strstr(ae_buf_cstr(&wire.got), "Cookie"));
  got("X-Good: a\tb\r\n");
  got_last("X-Good: a\tb\r\n\r\n");
}

/* -- bodies in pieces -- */

#define PIECES "POST /pieces HTTP/1.1\r\n" H "Content-Length: 6\r\n\r\n"

static void streams_a_body(void **state) {
  (void)state;
  SEND(PIECES "ab");
  assert_string_equal(ae_buf_cstr(&told.body), "ab");
  assert_false(told.ended);
  SEND("cdef");
  assert_string_equal(ae_buf_cstr(&told.body), "abcdef");
  assert_true(told.ended);
  ae__exchange_answer(told.x, 200, NULL, AE_STR(""));
  run();
  assert_int_equal(told.gone, 1);
  assert_false(wire.shut);
}

static void pauses(void **state) {
  (void)state;
  told.pauses = true;
  SEND("POST /pieces HTTP/1.1\r\n" H
       "Transfer-Encoding: chunked\r\n\r\n"
       "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n" GET("/now/1"));
  assert_string_equal(ae_buf_cstr(&told.body), "ab");
  assert_false(wire.reading);
  run();
  assert_string_equal(ae_buf_cstr(&told.body), "ab");
  ae__exchange_resume(told.x);
  assert_string_equal(ae_buf_cstr(&told.body), "ab"); /* not from inside */
  run();
  assert_string_equal(ae_buf_cstr(&told.body), "abcd");
  assert_false(told.ended);
  ae__exchange_resume(told.x);
  run();
  assert_true(told.ended);
  assert_int_equal(told.started, 1);
  ae__exchange_answer(told.x, 200, NULL, AE_STR(""));
  run();
  assert_int_equal(told.gone, 2);
  got_last("/now/1");
}

/* The last piece pauses: the end waits for the resuming. */
static void pauses_before_the_end(void **state) {
  (void)state;
  told.pauses = true;
  SEND(PIECES "abcdef");
  assert_false(told.ended);
  ae__exchange_resume(told.x);
  run();
  assert_true(told.ended);
  ae__exchange_answer(told.x, 200, NULL, AE_STR(""));
  run();
  assert_int_equal(told.gone, 1);
}

static void tells_of_an_empty_body(void **state) {
  (void)state;
  SEND("POST /pieces HTTP/1.1\r\n" H "\r\n");
  assert_true(told.ended);
  ae__exchange_answer(told.x, 200, NULL, AE_STR(""));
  run();
  assert_int_equal(told.gone, 1);
}

/* Both ways at once, with a client that takes what it gets in small bits. */
static void answers_while_it_comes(void **state) {
  (void)state;
  enum { SIZE = 3000000 };
  char *sent = ae_alloc(SIZE);
  for (size_t i = 0; i < SIZE; i++) sent[i] = (char)(i * 31 + i / 977);
  SEND("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
  got_last("Transfer-Encoding: chunked\r\n\r\n");
  wire.room = 1000;
  size_t at = 0, most = 0;
  ae_buf chunk = {0};
  while (at < SIZE || told.gone == 0) {
    size_t len = SIZE - at < 50000 ? SIZE - at : 50000;
    if (wire.reading && len > 0) {
      at += len;
      ae_buf_reset(&chunk);
      ae_buf_printf(&chunk, "%zx\r\n", len);
      ae_buf_add(&chunk, sent + at - len, len);
      ae_buf_printf(&chunk, "\r\n%s", at == SIZE ? "0\r\n\r\n" : "");
      assert_true(http_wire_send(&wire, chunk.ptr, chunk.len));
    } else {
      http_wire_take(&wire, 100000);
    }
    size_t waits = ae__output_waiting(&wire.connection) +
                   wire.connection.rest.len - wire.connection.rest_at;
    if (waits > most) most = waits;
  }
  http_wire_take(&wire, SIZE);
  assert_true(told.drained > 5);
  assert_true(most < AE__OUT_FULL + 5 * AE__READ_BYTES);
  /* Chunks off: what is left is what was sent. */
  size_t seen = 0;
  char *next = wire.got.ptr;
  ae_buf_cstr(&wire.got);
  for (size_t len; (len = strtoul(next, &next, 16)) > 0; seen += len) {
    assert_memory_equal(next + 2, sent + seen, len);
    next += 2 + len + 2;
  }
  assert_int_equal(seen, SIZE);
  assert_false(wire.shut);
  ae_free(sent);
  ae_buf_clear(&chunk);
}

static void ends_before_the_body(void **state) {
  (void)state;
  SEND("POST /pieces HTTP/1.1\r\n" H
       "Transfer-Encoding: chunked\r\n\r\n"
       "2\r\nab\r\n");
  ae__exchange_begin(told.x, 200, "text/plain");
  ae__exchange_end(told.x);
  SEND("2\r\ncd\r\n"); /* comes too late, and harms nobody */
  run();
  assert_string_equal(ae_buf_cstr(&told.body), "ab");
  got_last("0\r\n\r\n");
  assert_true(wire.shut);
  assert_true(wire.reading);
  assert_int_equal(told.gone, 1);
}

static void cuts_what_breaks(void **state) {
  (void)state;
  SEND(PIECES "ab");
  ae__exchange_begin(told.x, 200, "text/plain");
  ae_buf_str(ae__exchange_out(told.x), AE_STR("half"));
  ae__exchange_abort(told.x);
  run();
  got_last("00000004\r\nhalf\r\n"); /* no last chunk */
  assert_true(wire.shut);
}

static void breaks_off_a_body_that_is_none(void **state) {
  (void)state;
  SEND("POST /pieces HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nx");
  got("HTTP/1.1 400");
  assert_int_equal(told.gone, 1);
  assert_true(wire.shut);
}

static void bounds_all_bodies_together(void **state) {
  (void)state;
  http_wire other;
  http_wire_open(&other, &http);
  char bytes[1100];
  int len = snprintf(
      bytes, sizeof bytes,
      "POST /now/1 HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\n%0900d", 0);
  http_wire_send(&wire, bytes, (size_t)len);
  http_wire_send(&other, bytes, (size_t)len);
  assert_int_equal(http.body_bytes, 900);
  assert_non_null(strstr(ae_buf_cstr(&other.got), "HTTP/1.1 429"));
  assert_non_null(strstr(ae_buf_cstr(&other.got), "Retry-After: 1\r\n"));
  len = snprintf(bytes, sizeof bytes, "%0100d", 0);
  http_wire_send(&wire, bytes, (size_t)len);
  got("HTTP/1.1 200");
  assert_int_equal(http.body_bytes, 0);
  http_wire_clear(&other);
}

/* -- ends -- */

static void answers_the_half_closed(void **state) {
  (void)state;
  SEND(GET("/later"));
  http_wire_eof(&wire);
  assert_int_equal(told.gone, 0);
  ae__exchange_answer(told.x, 200, "text/plain", AE_STR("still"));
  run();
  got("Connection: close\r\n");
  got_last("still");
  assert_true(wire.closed);
  assert_false(wire.reset);
}

static void cuts_the_endless_half_closed(void **state) {
  (void)state;
  SEND(GET("/later"));
  ae__exchange_begin(told.x, 200, "text/event-stream");
  ae__exchange_endless(told.x);
  run();
  http_wire_eof(&wire);
  assert_int_equal(told.gone, 1);
  assert_true(wire.closed);
}

static void cuts_a_body_that_ends_early(void **state) {
  (void)state;
  SEND(PIECES "ab");
  http_wire_eof(&wire);
  assert_int_equal(told.gone, 1);
  assert_false(told.ended);
  assert_true(wire.closed);
}

static void tells_when_it_drained(void **state) {
  (void)state;
  SEND(GET("/later"));
  ae__exchange_begin(told.x, 200, "text/plain");
  run();
  wire.room = 10;
  ae_buf *out = ae__exchange_out(told.x);
  ae_buf_reserve(out, AE__OUT_FULL);
  memset(out->ptr + out->len, 'x', AE__OUT_FULL);
  out->len += AE__OUT_FULL;
  assert_true(ae__exchange_send(told.x));
  run();
  http_wire_take(&wire, 1000);
  assert_int_equal(told.drained, 0);
  http_wire_take(&wire, SIZE_MAX / 2);
  assert_int_equal(told.drained, 1);
  ae__exchange_end(told.x);
  run();
}

static void drains(void **state) {
  (void)state;
  http_wire idle, busy, half;
  http_wire_open(&idle, &http);
  http_wire_open(&half, &http);
  http_wire_send(&half, "GET", 3);
  SEND(GET("/later"));
  ae__exchange_begin(told.x, 200, "text/event-stream");
  ae__exchange_endless(told.x);
  http_wire_open(&busy, &http);
  http_wire_send(&busy, GET("/later"), sizeof(GET("/later")) - 1);
  ae__http_drain(&http);
  run();
  assert_true(idle.closed);
  got_last("0\r\n\r\n");
  assert_true(wire.shut);
  assert_int_equal(told.gone, 1);
  ae__exchange_answer(told.x, 200, NULL, AE_STR("last"));
  run();
  assert_non_null(strstr(ae_buf_cstr(&busy.got), "Connection: close\r\n"));
  assert_true(busy.shut);
  http_wire_send(&half, GET("/now/1") + 3, sizeof(GET("/now/1")) - 4);
  assert_non_null(strstr(ae_buf_cstr(&half.got), "Connection: close\r\n"));
  assert_true(half.shut);
  http_wire_clear(&idle);
  http_wire_clear(&busy);
  http_wire_clear(&half);
}

/* -- deadlines -- */

static void waits_for_heads(void **state) {
  (void)state;
  SEND("GET /no");
  tick(999);
  assert_false(wire.shut);
  SEND("w"); /* a byte now and then wins no time */
  tick(1001);
  got("HTTP/1.1 408 ");
  assert_true(wire.shut);
  tick(10000); /* who does not close either */
  assert_true(wire.closed);
}

static void waits_for_the_first_byte(void **state) {
  (void)state;
  tick(1001);
  assert_int_equal(wire.got.len, 0);
  assert_true(wire.closed);
}

static void waits_for_bodies(void **state) {
  (void)state;
  SEND(PIECES "ab");
  tick(1999);
  assert_false(wire.shut);
  tick(2001);
  got("HTTP/1.1 408 ");
  assert_int_equal(told.gone, 1);
}

static void waits_not_while_paused(void **state) {
  (void)state;
  told.pauses = true;
  SEND(PIECES "ab");
  tick(100000);
  assert_false(wire.shut || wire.closed);
  told.pauses = false;
  ae__exchange_resume(told.x);
  run();
  tick(2001);
  assert_true(wire.shut);
}

/* The route has not enough room later, when no piece comes. */
static void waits_not_while_paused_later(void **state) {
  (void)state;
  SEND(PIECES "ab");
  ae__exchange_pause(told.x);
  tick(2001);
  tick(100000);
  assert_false(wire.shut || wire.closed);
  SEND("cd");
  assert_string_equal(ae_buf_cstr(&told.body), "ab");
  assert_false(wire.reading);
  ae__exchange_resume(told.x);
  run();
  assert_string_equal(ae_buf_cstr(&told.body), "abcd");
  tick(2001);
  assert_true(wire.shut);
}

static void waits_between_requests(void **state) {
  (void)state;
  SEND(GET("/now/1"));
  tick(2999);
  assert_false(wire.closed);
  tick(3001);
  assert_true(wire.closed);
}

static void waits_for_who_takes_some(void **state) {
  (void)state;
  wire.room = 10;
  SEND(GET("/now/1"));
  tick(3999);
  assert_false(wire.closed);
  http_wire_take(&wire, 10);
  tick(4001); /* it took ten: another round */
  assert_false(wire.closed);
  tick(9000);
  assert_true(wire.closed);
  assert_true(wire.reset);
}

static void keeps_little_when_idle(void **state) {
  (void)state;
  SEND("POST /now/1 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
  const ae__connection *c = &wire.connection;
  assert_int_equal(c->out.cap + c->rest.cap + c->sent.cap, 0);
  assert_null(c->request);
  assert_true(sizeof *c < 400);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(answers_in_order),
      TEST(answers_long_pipelines),
      TEST(stops_for_who_does_not_read),
      TEST(leaves_no_body_of_head),
      TEST(ends_with_http_1_0),
      TEST(says_what_is_wrong),
      TEST(streams_a_body),
      TEST(pauses),
      TEST(pauses_before_the_end),
      TEST(tells_of_an_empty_body),
      TEST(answers_while_it_comes),
      TEST(ends_before_the_body),
      TEST(cuts_what_breaks),
      TEST(breaks_off_a_body_that_is_none),
      TEST(bounds_all_bodies_together),
      TEST(answers_the_half_closed),
      TEST(cuts_the_endless_half_closed),
      TEST(cuts_a_body_that_ends_early),
      TEST(tells_when_it_drained),
      TEST(drains),
      TEST(waits_for_heads),
      TEST(waits_for_the_first_byte),
      TEST(waits_for_bodies),
      TEST(waits_not_while_paused),
      TEST(waits_not_while_paused_later),
      TEST(waits_between_requests),
      TEST(waits_for_who_takes_some),
      TEST(keeps_little_when_idle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
