/* What the HTTP door makes of bytes that are no request, nearly one, or one
 * that two parsers could understand in two ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "door/http_wire.h"

static ae_loop loop;
static ae__http http;
static http_wire wire;

/* Says what it was asked. */
static void say(ae__exchange *x) {
  ae_buf text = {0};
  ae_buf_str(&text, x->route->path[1] ? ae_str_of(x->route->name) : x->path);
  for (unsigned i = 0; i < x->segment_count; i++) {
    ae_buf_byte(&text, '|');
    ae_buf_str(&text, x->segments[i]);
  }
  ae_str name, value;
  for (size_t i = 0; ae__exchange_query_at(x, i, &name, &value); i++) {
    ae_buf_byte(&text, '&');
    ae_buf_str(&text, name);
    ae_buf_byte(&text, '=');
    ae_buf_str(&text, value);
  }
  ae_buf_byte(&text, '#');
  ae_buf_str(&text, x->body);
  ae__exchange_answer(x, 200, "text/plain", ae_buf_view(&text));
  ae_buf_clear(&text);
}

static const ae__route routes[] = {
    {.method = AE__METHOD_GET, .path = "/", .name = "root", .start = say},
    {.method = AE__METHOD_GET, .path = "/a", .name = "a", .start = say},
    {.method = AE__METHOD_POST, .path = "/a", .name = "a", .start = say},
    {.method = AE__METHOD_POST, .path = "/p", .name = "p", .start = say},
    {.method = AE__METHOD_GET, .path = "/x/{id}", .name = "x", .start = say},
    {.method = AE__METHOD_GET, .path = "/x/fix", .name = "fix", .start = say},
    {0}};
static const ae__route *const tables[] = {routes, NULL};

static int set_up(void **state) {
  (void)state;
  const ae__http_limits limits = {.header = 1024, .body = 100};
  ae_error err = {0};
  assert_int_equal(ae_loop_init(&loop, &err), AE_OK);
  http_wire_server(&http, &loop, tables, &limits);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  assert_int_equal(http.counts.connections, 0);
  assert_int_equal(http.body_bytes, 0);
  http_wire_server_clear(&http);
  ae_loop_clear(&loop);
  return 0;
}

/* The statuses of all answers, one after the other; bodies are skipped by
 * their Content-Length. */
static void statuses(ae_buf *got, ae_buf *out) {
  const char *at = ae_buf_cstr(got), *end = at + got->len;
  while (at < end) {
    assert_true(end - at > 12 && memcmp(at, "HTTP/1.1 ", 9) == 0);
    ae_buf_printf(out, "%s%.3s", out->len ? " " : "", at + 9);
    const char *body = strstr(at, "\r\n\r\n");
    assert_non_null(body);
    const char *len = strstr(at, "Content-Length: ");
    bool close = strstr(at, "Connection: close") != NULL;
    at = body + 4;
    if (len && len < body) at += strtoul(len + 16, NULL, 10);
    if (close) assert_ptr_equal(at, end);
  }
}

/* Sends it all at once, then again byte by byte: the same must come of it. */
static void check(const char *bytes, size_t len, const char *expected,
                  const char *part) {
  for (size_t step = len; step > 0; step = step == len && len > 1 ? 1 : 0) {
    ae_buf got = {0};
    http_wire_open(&wire, &http);
    for (size_t at = 0; at < len; at += step)
      if (!http_wire_send(&wire, bytes + at, step)) break;
    bool open = !wire.closed && !wire.shut;
    statuses(&wire.got, &got);
    if (open) ae_buf_printf(&got, "%s+", got.len ? " " : "");
    if (strcmp(ae_buf_cstr(&got), expected) != 0)
      fail_msg("%.*s\nin steps of %zu: %s, not %s\n%s", (int)len, bytes, step,
               ae_buf_cstr(&got), expected, ae_buf_cstr(&wire.got));
    if (part && !strstr(ae_buf_cstr(&wire.got), part))
      fail_msg("%.*s\n%s\nlacks %s", (int)len, bytes, ae_buf_cstr(&wire.got),
               part);
    ae_buf_clear(&got);
    http_wire_clear(&wire);
  }
}

#define CHECK(bytes, expected) check(bytes, sizeof bytes - 1, expected, NULL)
#define CHECK_SAYS(bytes, expected, part) \
  check(bytes, sizeof bytes - 1, expected, part)
#define H "Host: localhost\r\n"

/* A "+" at the end: the connection stays open for the next. */
static void takes_requests(void **state) {
  (void)state;
  CHECK("", "+");
  CHECK("GET / HTTP/1.1\r\n", "+");
  CHECK("GET / HTTP/1.1\r\n" H "\r\n", "200 +");
  CHECK("\r\nGET / HTTP/1.1\r\n" H "\r\n", "200 +");
  CHECK("HEAD / HTTP/1.1\r\n" H "\r\n", "200 +");
  CHECK("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "200");
  CHECK("GET / HTTP/1.1\r\n" H "\r\nGET /a HTTP/1.1\r\n" H
        "\r\nGET /n HTTP/1.1\r\n" H "\r\n",
        "200 200 404 +");
  CHECK_SAYS("POST /a HTTP/1.1\r\n" H
             "Content-Length: 3\r\n\r\nabc"
             "GET /a HTTP/1.1\r\n" H "\r\n",
             "200 200 +", "a|a#abc");
  CHECK_SAYS("POST /a HTTP/1.1\r\n" H
             "Transfer-Encoding: chunked\r\n\r\n"
             "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n",
             "200 200 +", "a|a#abcde");
  CHECK_SAYS("POST /a HTTP/1.1\r\n" H
             "transfer-encoding: Chunked\r\n\r\n"
             "3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
             "200 +", "a|a#abc");
  CHECK("GET / HTTP/1.1\r\n" H
        "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        "GET /a HTTP/1.1\r\n" H "\r\n",
        "200 200 +");
  CHECK_SAYS("POST /a HTTP/1.1\r\n" H
             "Connection: Upgrade\r\nUpgrade: websocket\r\n"
             "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n" H "\r\n",
             "200 200 +", "a|a#abc");
  CHECK("GET / HTTP/1.1\r\n" H
        "Connection: close\r\n\r\n"
        "GET / HTTP/1.1\r\n" H "\r\n",
        "200");
  CHECK("GET / HTTP/1.0\r\n\r\n", "200");
  CHECK("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 +");
  CHECK("GET http://localhost/a HTTP/1.1\r\n" H "\r\n", "200 +");
  CHECK("GET /a HTTP/1.1\r\n" H "X:\r\nY: \t b \t\r\nZ:\xff\r\n\r\n", "200 +");
}

static void refuses_what_is_none(void **state) {
  (void)state;
  CHECK("\n", "400");
  CHECK("\r\n\r\n", "400");
  CHECK(" GET / HTTP/1.1\r\n" H "\r\n", "400");
  CHECK("GET  / HTTP/1.1\r\n" H "\r\n", "400");
  CHECK("GET / HTTP/1.1 \r\n" H "\r\n", "400");
  CHECK("GET / x HTTP/1.1\r\n" H "\r\n", "400");
  CHECK("GET /\r\n", "400");
  CHECK("GET / HTTP/1.1\n" H "\r\n", "400");
  CHECK("GET / HTTP/1.1\r\nHost: localhost\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\nHost: localhost\n\n", "400");
  CHECK("GET / HTTP/1.1\r\nHost: local\rhost\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "\rX", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n X: a\r\n" H "\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X : a\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H ": a\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n", "400");
  CHECK("GET /\0 HTTP/1.1\r\n" H "\r\n", "400");
  CHECK("GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", "400");
  CHECK("GET / HTTP/2.0\r\n" H "\r\n", "505");
  CHECK("GET / HTTP/0.9\r\n" H "\r\n", "505");
  CHECK("GET / HTTP/1.2\r\n" H "\r\n", "505");
  CHECK("GET / http/1.1\r\n" H "\r\n", "400");
  CHECK("GET / HTTP/1.10\r\n" H "\r\n", "400");
  CHECK("GET / ICE/1.0\r\n" H "\r\n", "400");
  CHECK("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505");
  CHECK_SAYS("\x16\x03\x01\x02\0\x01\0\x01\xfc", "400", "TLS");
  CHECK("GET / HTTP/1.1\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H H "\r\n", "400");
  CHECK("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400");
  CHECK("GET / HTTP/1.1\r\n" H "Authorization: a\r\nAuthorization: b\r\n\r\n",
        "400");
  CHECK("get / HTTP/1.1\r\n" H "\r\n", "501");
  CHECK("FETCH / HTTP/1.1\r\n" H "\r\n", "501");
}

/* Where one server sees one request and another sees two. */
static void refuses_smuggling(void **state) {
  (void)state;
#define POST "POST /a HTTP/1.1\r\n" H
#define REST "\r\nGET / HTTP/1.1\r\n" H "\r\n"
  CHECK(POST
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        "\r\n" REST,
        "400");
  CHECK(POST
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n"
        "\r\n" REST,
        "400");
  CHECK(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 3, 3\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: +3\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: -1\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 0x3\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 3 4\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: \r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 3.0\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 18446744073709551616\r\n\r\nabc" REST, "400");
  CHECK(POST "Content-Length: 18446744073709551615\r\n\r\nabc" REST, "413");
  CHECK(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501");
  CHECK(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400");
  CHECK(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400");
  CHECK(POST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", "400");
  CHECK(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400");
  CHECK(POST
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n",
        "400");
  CHECK(POST "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", "400");
  CHECK("POST /a HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400");
  CHECK(POST "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "415");
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
  CHECK(CHUNKED "x\r\n", "400");
  CHECK(CHUNKED "-1\r\n", "400");
  CHECK(CHUNKED "0x1\r\nb\r\n0\r\n\r\n", "400");
  CHECK(CHUNKED " 1\r\nb\r\n0\r\n\r\n", "400");
  CHECK(CHUNKED "1 \r\nb\r\n0\r\n\r\n", "400");
  CHECK(CHUNKED "\r\n", "400");
  CHECK(CHUNKED "1\nb\n0\n\n", "400");
  CHECK(CHUNKED "1\r\nb\n0\r\n\r\n", "400");
  CHECK(CHUNKED "1\r\nbb0\r\n\r\n", "400");
  CHECK(CHUNKED "1\rxb\r\n0\r\n\r\n", "400");
  CHECK(CHUNKED "1\r\nb\r\n0\r\n\n", "400");
  CHECK(CHUNKED "0\r\nA: b\nC: d\r\n\r\n", "400");
  CHECK(CHUNKED "0\r\nA : b\r\n\r\n", "400");
  CHECK(CHUNKED "fffffffffffffffff\r\n", "400");
  CHECK(CHUNKED
        "65\r\n0123456789012345678901234567890123456789012345678901234"
        "5678901234567890123456789012345678901234567890\r\n0\r\n\r\n",
        "413");
}

static void reads_targets(void **state) {
  (void)state;
#define GET(target) "GET " target " HTTP/1.1\r\n" H "\r\n"
  CHECK_SAYS(GET("/x/a%2Fb"), "200 +", "x|x|a/b#");
  CHECK_SAYS(GET("/x/a%2fb%20%25"), "200 +", "x|x|a/b %#");
  CHECK_SAYS(GET("/x/%252F"), "200 +", "x|x|%2F#");
  CHECK_SAYS(GET("/x/.."), "200 +", "x|x|..#");
  CHECK_SAYS(GET("/x/%2e%2E"), "200 +", "x|x|..#");
  CHECK_SAYS(GET("/x/a+b"), "200 +", "x|x|a+b#");
  CHECK_SAYS(GET("/x/%C3%A4"), "200 +", "x|x|\xc3\xa4#");
  CHECK_SAYS(GET("/x/fix"), "200 +", "fix|x|fix#");
  CHECK_SAYS(GET("/x/%66ix"), "200 +", "fix|x|fix#");
  CHECK_SAYS(GET("/a?b=c&d&=e&&f=g%26h+i%2Bj=k"), "200 +",
             "a|a&b=c&d=&=e&f=g&h i+j=k#");
  CHECK_SAYS(GET("/a?"), "200 +", "a|a#");
  CHECK(GET("/x/"), "404 +");
  CHECK(GET("//a"), "404 +");
  CHECK(GET("/a/"), "404 +");
  CHECK(GET("/1/2/3/4/5/6/7/8/9"), "404 +");
  CHECK(GET("/x/%"), "400");
  CHECK(GET("/x/%1"), "400");
  CHECK(GET("/x/%g1"), "400");
  CHECK(GET("/x/a%00b"), "400");
  CHECK(GET("/x/%ff"), "400");
  CHECK(GET("/x/%c0%af"), "400");
  CHECK(GET("/x/%ed%a0%80"), "400");
  CHECK(GET("/a?b=%"), "400");
  CHECK(GET("/a?%ff=b"), "400");
  CHECK(GET("/a#b"), "400");
  CHECK(GET("a"), "400");
  CHECK(GET("*"), "400");
  CHECK(GET("http://localhost"), "400");
  CHECK(GET("http:///a"), "400");
  CHECK(GET("ftp://localhost/a"), "400");
  CHECK(GET("localhost:80"), "400");
  CHECK_SAYS("PUT /a HTTP/1.1\r\n" H "\r\n", "405 +", "Allow: GET, HEAD, POST");
  CHECK_SAYS("GET /p HTTP/1.1\r\n" H "\r\n", "405 +", "Allow: POST");
  CHECK_SAYS("DELETE /x/y HTTP/1.1\r\n" H "\r\n", "405 +", "Allow: GET, HEAD");
  CHECK("OPTIONS * HTTP/1.1\r\n" H "\r\n", "404 +");
  CHECK("CONNECT a:80 HTTP/1.1\r\n" H "\r\n", "404 +");
}

static void keeps_limits(void **state) {
  (void)state;
  char bytes[4096];
  int len = snprintf(bytes, sizeof bytes, "GET /%01100d HTTP/1.1\r\n", 0);
  check(bytes, (size_t)len, "414", "\"limit\":1024");
  len =
      snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\n" H "X: %01100d\r\n", 0);
  check(bytes, (size_t)len, "431", "\"limit\":1024");
  len = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\n" H);
  for (int i = 0; i < AE__FIELDS_MAX; i++)
    len += snprintf(bytes + len, sizeof bytes - (size_t)len, "X:\r\n");
  len += snprintf(bytes + len, sizeof bytes - (size_t)len, "\r\n");
  check(bytes, (size_t)len, "431", "\"limit\":64");
  CHECK_SAYS("POST /a HTTP/1.1\r\n" H "Content-Length: 101\r\n\r\n", "413 +",
             "\"limit\":100");
  CHECK("POST /a HTTP/1.1\r\n" H "Content-Length: 70000\r\n\r\n", "413");
  CHECK("POST /a HTTP/1.1\r\n" H
        "Expect: 100-continue\r\nContent-Length: 101\r\n\r\n",
        "413");
  CHECK("POST /a HTTP/1.1\r\n" H
        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        "100 +");
  CHECK("POST /a HTTP/1.1\r\n" H
        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "100 200 +");
  CHECK("POST /a HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 3\r\n\r\n",
        "417");
  CHECK("POST /n HTTP/1.1\r\n" H
        "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1"
        "\r\n" H "\r\n",
        "404 200 +");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_requests),
      cmocka_unit_test(refuses_what_is_none),
      cmocka_unit_test(refuses_smuggling),
      cmocka_unit_test(reads_targets),
      cmocka_unit_test(keeps_limits),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
