#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/internal.h"
#include "wire/nkey.h"
#include "wire/server.h"

typedef struct bench {
  test_server server;
  ae_loop loop;
  ae_wire *wire;
  ae_wire_subscription *sub;
  unsigned wanted; /* messages until the loop is stopped */
  unsigned got;
  char last[64];
  char header[64];
  ae_status status;
  unsigned lost, back;
} bench;

static void on_changed(void *data, const ae_wire_info *info) {
  bench *b = data;
  if (info->connected)
    b->back++;
  else
    b->lost++;
  ae_loop_stop(&b->loop);
}

static void open_wire(bench *b) {
  ae_error err = {0};
  ae_wire_options options = {
      .url = b->server.url, .name = "test", .changed = on_changed, .data = b};
  if (ae_wire_open(&b->loop, &options, &b->wire, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
}

static int set_up(void **state) {
  bench *b = ae_zalloc(sizeof *b);
  if (!server_start(&b->server)) return -1;
  if (ae_loop_init(&b->loop, NULL) != AE_OK) return -1;
  open_wire(b);
  *state = b;
  return 0;
}

static void closed(void *data) {
  ae_loop_stop(data);
}

static int tear_down(void **state) {
  bench *b = *state;
  if (b->sub) ae_wire_unsubscribe(b->sub);
  ae_wire_close(b->wire, closed, &b->loop);
  ae_loop_run(&b->loop);
  ae_loop_clear(&b->loop);
  server_stop(&b->server);
  ae_free(b);
  return 0;
}

static void on_message(void *data, const ae_wire_message *message) {
  bench *b = data;
  const char *header = ae_wire_message_header(message, "Kind");
  snprintf(b->last, sizeof b->last, "%.*s", AE_FMT(message->body));
  snprintf(b->header, sizeof b->header, "%s", header ? header : "");
  if (message->reply)
    ae_wire_publish(b->wire, message->reply, NULL, NULL, message->body, NULL);
  if (++b->got == b->wanted) ae_loop_stop(&b->loop);
}

static void hear(bench *b, const char *subject, unsigned wanted) {
  b->wanted = wanted;
  assert_int_equal(
      ae_wire_subscribe(b->wire, subject, NULL, on_message, b, &b->sub, NULL),
      AE_OK);
}

static void say(bench *b, const char *subject, const char *text) {
  const ae_wire_header headers[] = {{"Kind", "word"}, {0}};
  assert_int_equal(
      ae_wire_publish(b->wire, subject, NULL, headers, ae_str_of(text), NULL),
      AE_OK);
}

static void what_is_published_comes_to_who_listens(void **state) {
  bench *b = *state;
  hear(b, "a.*", 2);
  say(b, "b.c", "not this");
  say(b, "a.b", "one");
  say(b, "a.c", "two");
  ae_loop_run(&b->loop);
  assert_string_equal(b->last, "two");
  assert_string_equal(b->header, "word");
  assert_int_equal(b->got, 2);
}

static void on_answer(ae_wire_request *request, ae_status status,
                      const ae_wire_message *answer) {
  bench *b = request->data;
  b->status = status;
  b->last[0] = 0;
  if (answer) snprintf(b->last, sizeof b->last, "%.*s", AE_FMT(answer->body));
  ae_loop_stop(&b->loop);
}

static void a_request_gets_its_answer(void **state) {
  bench *b = *state;
  hear(b, "echo", 0);
  ae_wire_request request = {.cb = on_answer, .data = b};
  assert_int_equal(
      ae_wire_ask(b->wire, &request, "echo", NULL, AE_STR("hello"), NULL),
      AE_OK);
  ae_loop_run(&b->loop);
  assert_int_equal(b->status, AE_OK);
  assert_string_equal(b->last, "hello");
}

static void a_request_that_nobody_answers_ends(void **state) {
  bench *b = *state;
  ae_wire_request request = {.cb = on_answer, .data = b, .timeout_ms = 100};
  assert_int_equal(
      ae_wire_ask(b->wire, &request, "nobody", NULL, AE_STR(""), NULL), AE_OK);
  ae_loop_run(&b->loop);
  assert_int_equal(b->status, AE_STORE_UNCERTAIN);
}

typedef struct many {
  ae_wire_request requests[20000];
  unsigned done;
  bench *bench;
} many;

static void on_one_of_many(ae_wire_request *request, ae_status status,
                           const ae_wire_message *answer) {
  many *all = request->data;
  assert_int_equal(status, AE_OK);
  char want[16];
  snprintf(want, sizeof want, "%zu", (size_t)(request - all->requests));
  assert_memory_equal(want, answer->body.ptr, answer->body.len);
  if (++all->done == 20000) ae_loop_stop(&all->bench->loop);
}

static void many_requests_are_told_apart(void **state) {
  bench *b = *state;
  many *all = ae_zalloc(sizeof *all);
  all->bench = b;
  hear(b, "echo", 0);
  for (unsigned i = 0; i < 20000; i++) {
    char text[16];
    snprintf(text, sizeof text, "%u", i);
    all->requests[i].cb = on_one_of_many;
    all->requests[i].data = all;
    all->requests[i].timeout_ms = 60000;
    assert_int_equal(ae_wire_ask(b->wire, &all->requests[i], "echo", NULL,
                                 ae_str_of(text), NULL),
                     AE_OK);
  }
  ae_loop_run(&b->loop);
  assert_int_equal(all->done, 20000);
  ae_free(all);
}

static void it_comes_back_after_the_server_was_killed(void **state) {
  bench *b = *state;
  hear(b, "a", 1);
  for (unsigned round = 1; round <= 3; round++) {
    ae_wire_request request = {.cb = on_answer, .data = b};
    b->status = AE_OK;
    assert_int_equal(
        ae_wire_ask(b->wire, &request, "nobody", NULL, AE_STR(""), NULL),
        AE_OK);
    server_kill(&b->server, SIGKILL);
    while (b->lost < round) ae_loop_run(&b->loop);
    assert_int_equal(b->status, AE_STORE_UNCERTAIN);
    ae_error err = {0};
    assert_int_equal(
        ae_wire_publish(b->wire, "a", NULL, NULL, AE_STR("old"), &err),
        AE_STORE_UNAVAILABLE);
    assert_non_null(strstr(ae_error_text(&err), "no connection"));
    ae_error_clear(&err);
    assert_true(server_again(&b->server));
    while (b->back < round) ae_loop_run(&b->loop);
    b->got = 0;
    say(b, "a", "new");
    while (b->got < 1) ae_loop_run(&b->loop);
    assert_string_equal(b->last, "new");
  }
  ae_wire_info info;
  ae_wire_info_get(b->wire, &info);
  assert_int_equal(info.reconnects, 3);
}

static void it_closes_while_the_server_is_gone(void **state) {
  bench *b = *state;
  server_kill(&b->server, SIGKILL);
  while (b->lost < 1) ae_loop_run(&b->loop);
}

static void it_knows_the_server(void **state) {
  bench *b = *state;
  ae_wire_info info;
  ae_wire_info_get(b->wire, &info);
  assert_true(ae_wire_at_least(&info, 2, 2, 0));
  assert_false(ae_wire_at_least(&info, 99, 0, 0));
  assert_true(info.connected);
  assert_int_equal(info.max_payload, 1 << 20);
  assert_string_equal(info.server, b->server.url);
}

static void what_is_too_large_is_said(void **state) {
  bench *b = *state;
  char *large = ae_zalloc(2 << 20);
  ae_error err = {0};
  assert_int_equal(
      ae_wire_publish(b->wire, "a", NULL, NULL, (ae_str){large, 2 << 20}, &err),
      AE_TOO_LARGE);
  assert_non_null(strstr(ae_error_text(&err), "max_payload"));
  ae_error_clear(&err);
  ae_free(large);
}

static void refuse(const char *url, ae_status want, const char *word) {
  ae_loop loop;
  ae_wire *wire;
  ae_error err = {0};
  assert_int_equal(ae_loop_init(&loop, NULL), AE_OK);
  ae_wire_options options = {.url = url};
  assert_int_equal(ae_wire_open(&loop, &options, &wire, &err), want);
  assert_null(wire);
  if (!strstr(ae_error_text(&err), word)) fail_msg("%s", ae_error_text(&err));
  ae_error_clear(&err);
  ae_loop_clear(&loop);
}

static void a_wrong_address_is_refused(void **state) {
  (void)state;
  refuse("http://127.0.0.1:4222", AE_USAGE, "no list of nats-servers");
  refuse("nats://", AE_USAGE, "no list of nats-servers");
  refuse("nats://127.0.0.1:1", AE_STORE_UNAVAILABLE, "is it running");
}

static void a_wrong_token_is_refused(void **state) {
  (void)state;
  test_server with = {.flags = (const char *const[]){"--auth", "secret", NULL}};
  assert_true(server_start(&with));
  refuse(with.url, AE_STORE_UNAVAILABLE, "log in");
  ae_loop loop;
  ae_wire *wire;
  assert_int_equal(ae_loop_init(&loop, NULL), AE_OK);
  ae_wire_options options = {.url = with.url, .token = "secret"};
  assert_int_equal(ae_wire_open(&loop, &options, &wire, NULL), AE_OK);
  ae_wire_close(wire, closed, &loop);
  ae_loop_run(&loop);
  ae_loop_clear(&loop);
  server_stop(&with);
}

static ae_status open_with(bench *b, const char *token) {
  ae_wire_options options = {.url = b->server.url,
                             .token = token,
                             .connect_ms = 500,
                             .changed = on_changed,
                             .data = b};
  return ae_wire_open(&b->loop, &options, &b->wire, NULL);
}

static void on_look(uv_timer_t *timer) {
  ae_loop_stop(timer->data);
}

/* Until the server has refused the login so often. */
static void wait_refused(bench *b, int wanted) {
  uv_timer_t timer;
  uv_timer_init(&b->loop.uv, &timer);
  timer.data = &b->loop;
  uv_timer_start(&timer, on_look, 20, 20);
  char path[96], line[512];
  snprintf(path, sizeof path, "%s/log", b->server.folder);
  for (int refused = 0; refused < wanted;) {
    ae_loop_run(&b->loop);
    FILE *log = fopen(path, "r");
    refused = 0;
    while (log && fgets(line, sizeof line, log))
      if (strstr(line, "authentication error")) refused++;
    if (log) fclose(log);
  }
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&b->loop.uv, UV_RUN_NOWAIT);
}

/* nats.c gives up after two refusals; we do not. */
static void a_login_that_is_refused_for_a_while_is_tried_again(void **state) {
  (void)state;
  bench *b = ae_zalloc(sizeof *b);
  ae_wire_subscription *late = NULL;
  b->server.config = "authorization { token: secret }\n";
  assert_true(server_start(&b->server));
  assert_int_equal(ae_loop_init(&b->loop, NULL), AE_OK);
  assert_int_equal(open_with(b, "secret"), AE_OK);
  hear(b, "a.*", 1);
  server_kill(&b->server, SIGKILL);
  while (b->lost < 1) ae_loop_run(&b->loop);
  b->server.config = "authorization { token: other }\n";
  assert_true(server_again(&b->server));
  wait_refused(b, 4);
  assert_int_equal(
      ae_wire_subscribe(b->wire, "late", NULL, on_message, b, &late, NULL),
      AE_OK);
  server_kill(&b->server, SIGKILL);
  b->server.config = "authorization { token: secret }\n";
  assert_true(server_again(&b->server));
  while (b->back < 1) ae_loop_run(&b->loop);
  say(b, "a.b", "again");
  ae_loop_run(&b->loop);
  assert_string_equal(b->last, "again");
  b->wanted = 2;
  say(b, "late", "too");
  ae_loop_run(&b->loop);
  assert_string_equal(b->last, "too");
  /* … and while nobody lets it in, it can be closed. */
  server_kill(&b->server, SIGKILL);
  while (b->lost < 2) ae_loop_run(&b->loop);
  b->server.config = "authorization { token: other }\n";
  assert_true(server_again(&b->server));
  wait_refused(b, 8);
  ae_wire_unsubscribe(late);
  void *bench_state = b;
  assert_int_equal(tear_down(&bench_state), 0);
}

/* The example of docs.nats.io. */
static void the_public_key_of_a_seed_is_found(void **state) {
  (void)state;
  char file[] = "/tmp/aether-nkey-XXXXXX", key[AE__NKEY_LEN + 1];
  static const char seed[] =
      "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n";
  int fd = mkstemp(file);
  assert_int_equal(write(fd, seed, sizeof seed - 1), sizeof seed - 1);
  assert_true(ae__nkey_public(file, key));
  assert_string_equal(
      key, "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
  assert_int_equal(pwrite(fd, "A", 1, 20), 1); /* the sum is wrong then */
  assert_false(ae__nkey_public(file, key));
  close(fd);
  unlink(file);
}

/* -- in front of the server: the first to come is cut off -- */

enum { PAIRS = 16 };

typedef struct front {
  int listens, port, to; /* ports */
  int fds[2 * PAIRS];    /* of a client and of the server, by turns */
  int stop[2];
  unsigned came, count;
  pthread_t thread;
} front;

static int loopback(int port, struct sockaddr_in *out) {
  *out = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port)};
  out->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void take(front *f) {
  struct sockaddr_in address;
  int client = accept(f->listens, NULL, NULL);
  if (client < 0) return;
  if (f->came++ == 0 || f->count == PAIRS) {
    close(client);
    return;
  }
  int fd = loopback(f->to, &address);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) abort();
  f->fds[2 * f->count] = client;
  f->fds[2 * f->count++ + 1] = fd;
}

static void pass(front *f, unsigned i) {
  char bytes[4096];
  ssize_t n = recv(f->fds[i], bytes, sizeof bytes, 0);
  if (n > 0 && send(f->fds[i ^ 1], bytes, (size_t)n, MSG_NOSIGNAL) == n) return;
  for (int k = 0; k < 2; k++) {
    close(f->fds[i ^ (unsigned)k]);
    f->fds[i ^ (unsigned)k] = -1;
  }
}

static void *stand_in_front(void *data) {
  front *f = data;
  for (;;) {
    struct pollfd all[2 * PAIRS + 2] = {{.fd = f->stop[0], .events = POLLIN},
                                        {.fd = f->listens, .events = POLLIN}};
    unsigned count = 2 * f->count;
    for (unsigned i = 0; i < count; i++)
      all[i + 2] = (struct pollfd){.fd = f->fds[i], .events = POLLIN};
    poll(all, count + 2, -1);
    if (all[0].revents) break;
    for (unsigned i = 0; i < count; i++)
      if (all[i + 2].revents && f->fds[i] >= 0) pass(f, i);
    if (all[1].revents) take(f);
  }
  for (unsigned i = 0; i < 2 * f->count; i++)
    if (f->fds[i] >= 0) close(f->fds[i]);
  return NULL;
}

static void front_start(front *f, int to) {
  struct sockaddr_in address;
  socklen_t len = sizeof address;
  *f = (front){.to = to};
  f->listens = loopback(0, &address);
  assert_int_equal(bind(f->listens, (struct sockaddr *)&address, len), 0);
  assert_int_equal(listen(f->listens, PAIRS), 0);
  getsockname(f->listens, (struct sockaddr *)&address, &len);
  f->port = ntohs(address.sin_port);
  assert_int_equal(pipe(f->stop), 0);
  assert_int_equal(pthread_create(&f->thread, NULL, stand_in_front, f), 0);
}

static void front_stop(front *f) {
  close(f->stop[1]);
  pthread_join(f->thread, NULL);
  close(f->stop[0]);
  close(f->listens);
}

/* It is no sign of TLS: messages go past nats.c all the same. */
static void a_first_connection_that_is_cut_costs_nothing(void **state) {
  bench *b = *state;
  front f;
  char url[64];
  ae_error err = {0};
  ae_wire *wire;
  front_start(&f, b->server.port);
  snprintf(url, sizeof url, "nats://127.0.0.1:%d", f.port);
  ae_wire_options options = {
      .url = url, .name = "test", .changed = on_changed, .data = b};
  if (ae_wire_open(&b->loop, &options, &wire, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
  assert_true(wire->plain);
  ae_wire_subscription *sub;
  b->wanted = 1;
  assert_int_equal(
      ae_wire_subscribe(wire, "a.*", NULL, on_message, b, &sub, NULL), AE_OK);
  assert_int_equal(
      ae_wire_publish(wire, "a.b", NULL, NULL, AE_STR("past it"), NULL), AE_OK);
  ae_loop_run(&b->loop);
  assert_string_equal(b->last, "past it");
  ae_wire_unsubscribe(sub);
  ae_wire_close(wire, closed, &b->loop);
  ae_loop_run(&b->loop);
  front_stop(&f);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(what_is_published_comes_to_who_listens),
      TEST(a_request_gets_its_answer),
      TEST(a_request_that_nobody_answers_ends),
      TEST(many_requests_are_told_apart),
      TEST(it_comes_back_after_the_server_was_killed),
      TEST(it_closes_while_the_server_is_gone),
      TEST(it_knows_the_server),
      TEST(what_is_too_large_is_said),
      TEST(a_first_connection_that_is_cut_costs_nothing),
      cmocka_unit_test(a_wrong_address_is_refused),
      cmocka_unit_test(a_wrong_token_is_refused),
      cmocka_unit_test(a_login_that_is_refused_for_a_while_is_tried_again),
      cmocka_unit_test(the_public_key_of_a_seed_is_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
