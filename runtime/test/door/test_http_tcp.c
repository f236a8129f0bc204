/* The HTTP door over real sockets: how many at a time, what a client that goes
 * away or does not read leaves behind, and closing in the midst of it all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/bench_client.h"
#include "door/http/server.h"

static const ae_config no_tokens;
static ae_loop loop;
static ae__http *http;
static bool closed;
static unsigned started, gone, drained;
static ae__exchange *last;

static void start_later(ae__exchange *x) {
  started++;
  last = x;
}

static void start_now(ae__exchange *x) {
  started++;
  ae__exchange_answer(x, 200, "text/plain", AE_STR("now"));
}

static void note_gone(ae__exchange *x) {
  gone++;
  if (last == x) last = NULL;
}

/* As much as there is room for, again and again. */
static void fill(ae__exchange *x) {
  static const char many[65536];
  do ae_buf_add(ae__exchange_out(x), many, sizeof many);
  while (!ae__exchange_send(x));
}

static void start_flood(ae__exchange *x) {
  started++;
  last = x;
  ae__exchange_begin(x, 200, "text/plain");
  fill(x);
}

static void refill(ae__exchange *x) {
  drained++;
  fill(x);
}

static const ae__route routes[] = {{.method = AE__METHOD_GET,
                                    .path = "/now",
                                    .start = start_now,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_POST,
                                    .path = "/v1/{ns}/{type}/{id}/{command}",
                                    .start = start_now,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_GET,
                                    .path = "/later",
                                    .start = start_later,
                                    .gone = note_gone},
                                   {.method = AE__METHOD_GET,
                                    .path = "/flood",
                                    .start = start_flood,
                                    .drained = refill,
                                    .gone = note_gone},
                                   {0}};
static const ae__route *const tables[] = {routes, NULL};

static void note_closed(void *data) {
  assert_ptr_equal(data, &closed);
  closed = true;
}

static void turn(void) {
  uv_run(&loop.uv, UV_RUN_NOWAIT);
}

static void until(bool (*holds)(int), int fd) {
  for (int i = 0; !holds(fd); i++) {
    assert_true(i < 60000);
    turn();
    poll(NULL, 0, i > 100);
  }
}

static void open_http(unsigned connections, unsigned send_ms) {
  const ae__http_options options = {
      .loop = &loop,
      .routes = tables,
      .limits = {.connections = connections, .send_ms = send_ms}};
  struct sockaddr_storage address;
  ae_error err = {0};
  http = ae_alloc(sizeof *http);
  ae__http_init(http, &options);
  assert_int_equal(ae__auth_new(&no_tokens, true, &http->auth, &err), AE_OK);
  assert_int_equal(ae__tcp_resolve("127.0.0.1:0", &address, &err), AE_OK);
  assert_int_equal(ae__tcp_listen(http, "127.0.0.1:0", &address, &err), AE_OK);
}

static int set_up(void **state) {
  (void)state;
  ae_error err = {0};
  closed = false;
  started = gone = drained = 0;
  return ae_loop_init(&loop, &err) != AE_OK;
}

static bool is_closed(int fd) {
  (void)fd;
  return closed;
}

static void close_http(void) {
  ae__http_close(http, note_closed, &closed);
  assert_false(closed);
  until(is_closed, -1);
  assert_int_equal(started, gone);
}

static int tear_down(void **state) {
  (void)state;
  ae_loop_clear(&loop);
  return 0;
}

/* A client; its requests are sent by hand. */
static int dial(void) {
  const char *port = strrchr(ae__http_url(http), ':') + 1;
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(port))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static void ask(int fd, const char *path) {
  char text[100];
  int len = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  assert_int_equal(write(fd, text, (size_t)len), len);
}

static bool readable(int fd) {
  struct pollfd one = {.fd = fd, .events = POLLIN};
  return poll(&one, 1, 0) == 1;
}

/* The next bytes that come; "" is the end. */
static const char *hear(int fd) {
  static char text[1000];
  until(readable, fd);
  ssize_t len = read(fd, text, sizeof text - 1);
  text[len > 0 ? len : 0] = 0;
  return text;
}

static void assert_starts(const char *text, const char *with) {
  if (strncmp(text, with, strlen(with)) != 0)
    fail_msg("\"%s\" does not start with \"%s\"", text, with);
}

static bool all_gone(int fd) {
  (void)fd;
  return started > 0 && started == gone;
}

static bool has_started(int fd) {
  (void)fd;
  return started > gone;
}

static bool is_empty(int fd) {
  (void)fd;
  return http->counts.connections == 0;
}

static void serves_so_many(void **state) {
  (void)state;
  open_http(2, 0);
  int one = dial(), two = dial(), three = dial();
  ask(one, "/now");
  assert_starts(hear(one), "HTTP/1.1 200 ");
  ask(two, "/now");
  assert_starts(hear(two), "HTTP/1.1 200 ");
  assert_starts(hear(three), "HTTP/1.1 503 ");
  assert_string_equal(hear(three), "");
  close(three);
  close(one);
  int four = -1;
  for (const char *heard = "HTTP/1.1 503"; !strncmp(heard, "HTTP/1.1 503", 12);
       heard = hear(four)) { /* until it has seen that one is gone */
    if (four >= 0) close(four);
    four = dial();
    ask(four, "/now");
  }
  ae__http_counts counts;
  ae__http_count(http, &counts);
  assert_true(counts.refused >= 1);
  assert_int_equal(counts.requests[2], started);
  assert_true(counts.bytes_in > 0 && counts.bytes_out > counts.bytes_in);
  close(two);
  close(four);
  until(is_empty, -1);
  close_http();
}

/* Far beyond the limit nothing is said, and nothing is kept. */
static void keeps_no_crowd(void **state) {
  (void)state;
  open_http(1, 0);
  int fds[200];
  for (int i = 0; i < 200; i++) fds[i] = dial();
  assert_starts(hear(fds[1]), "HTTP/1.1 503 ");
  while (http->counts.accepted + http->counts.refused < 200) turn();
  assert_true(http->counts.connections <= 1 + 64);
  ask(fds[0], "/now");
  assert_starts(hear(fds[0]), "HTTP/1.1 200 ");
  for (int i = 0; i < 200; i++) close(fds[i]);
  until(is_empty, -1);
  close_http();
}

static void forgets_who_resets(void **state) {
  (void)state;
  open_http(0, 0);
  int fd = dial();
  ask(fd, "/later");
  until(has_started, fd);
  const struct linger at_once = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
  until(all_gone, -1);
  assert_null(last);
  close_http();
}

/* While it is served, another one who does not read is held to what may wait
 * for it, and in the end cut. */
static void cuts_who_never_reads(void **state) {
  (void)state;
  open_http(0, 50);
  int fd = dial(), other = dial();
  ask(fd, "/flood");
  until(has_started, fd);
  while (gone == 0) {
    ask(other, "/now");
    assert_starts(hear(other), "HTTP/1.1 200 ");
    gone--; /* that of the other */
    started--;
    if (last) {
      const ae__connection *c = ((ae__request *)last)->connection;
      assert_true(ae__output_waiting(c) < 2 * AE__OUT_FULL);
    }
  }
  close(fd);
  close(other);
  until(is_empty, -1);
  close_http();
}

static void floods_who_reads(void **state) {
  (void)state;
  open_http(0, 0);
  int fd = dial();
  ask(fd, "/flood");
  static char many[1 << 20];
  for (size_t seen = 0; seen < 30u << 20;) {
    until(readable, fd);
    ssize_t len = read(fd, many, sizeof many);
    assert_true(len > 0);
    seen += (size_t)len;
  }
  assert_true(drained > 0);
  close(fd);
  until(all_gone, -1);
  close_http();
}

static void closes_in_the_midst(void **state) {
  (void)state;
  open_http(0, 0);
  int idle = dial(), half = dial(), later = dial(), flood = dial();
  assert_int_equal(write(half, "GET /n", 6), 6);
  ask(flood, "/flood");
  until(has_started, flood);
  ask(later, "/later");
  while (started < 2) turn();
  close_http();
  assert_int_equal(gone, 2);
  assert_true(read(idle, (char[1]){0}, 1) <= 0);
  close(idle);
  close(half);
  close(later);
  close(flood);
}

static void says_why_it_cannot_listen(void **state) {
  (void)state;
  open_http(0, 0);
  ae_error err = {0};
  struct sockaddr_storage address;
  const char *port = strrchr(ae__http_url(http), ':') + 1;
  const struct {
    const char *host, *port, *part;
  } wrong[] = {{"127.0.0.1", port, "another program listens there"},
               {"192.0.2.1", "0", "no address of this machine"}};
  for (int i = 0; i < 2; i++) {
    char listen[64];
    const ae__http_options options = {.loop = &loop, .routes = tables};
    ae__http *second = ae_alloc(sizeof *second);
    ae__http_init(second, &options);
    snprintf(listen, sizeof listen, "%s:%s", wrong[i].host, wrong[i].port);
    assert_int_equal(ae__tcp_resolve(listen, &address, &err), AE_OK);
    assert_int_equal(ae__tcp_listen(second, listen, &address, &err),
                     AE_STORE_UNAVAILABLE);
    if (!strstr(ae_error_text(&err), wrong[i].part))
      fail_msg("%s lacks %s", ae_error_text(&err), wrong[i].part);
    closed = false;
    ae__http_close(second, note_closed, &closed);
    until(is_closed, -1);
  }
  const char *const none[] = {"nowhere.invalid:80", "7070", ":7070",
                              "127.0.0.1:http", "[::1]7070"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_int_equal(ae__tcp_resolve(none[i], &address, &err), AE_USAGE);
  ae_error_clear(&err);
  closed = false;
  close_http();
}

static bool never(void) {
  return false;
}

static void stop_loop(void *data) {
  ae_loop_stop(data);
}

/* On a machine that does much else, the time may be over when the connections
 * are there: each is timed once all the same. */
static void a_benchmark_measures_something(void **state) {
  (void)state;
  ae__histogram *histogram = ae_zalloc(sizeof *histogram);
  ae__bench_client *client;
  ae_error err = {0};
  open_http(16, 1000);
  const ae__bench_client_options options = {.url = ae__http_url(http),
                                            .connections = 8,
                                            .in_flight = 1,
                                            .actors = 3,
                                            .seconds = 0,
                                            .histogram = histogram,
                                            .stop = never,
                                            .loop = &loop,
                                            .done = stop_loop,
                                            .data = &loop};
  assert_int_equal(ae__bench_client_start(&options, &client, &err), AE_OK);
  ae_loop_run(&loop);
  assert_int_equal(ae__bench_client_end(client, &err), AE_OK);
  assert_int_equal(histogram->total, 8);
  assert_int_equal(started, 8);
  close_http();
  ae_free(histogram);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN); /* as the program does */
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(serves_so_many),
      TEST(keeps_no_crowd),
      TEST(forgets_who_resets),
      TEST(cuts_who_never_reads),
      TEST(floods_who_reads),
      TEST(closes_in_the_midst),
      TEST(says_why_it_cannot_listen),
      TEST(a_benchmark_measures_something),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
