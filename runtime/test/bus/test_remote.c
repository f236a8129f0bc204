/* Buses of several nodes over a real nats-server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <signal.h>

#include "base/log.h"
#include "bus/internal.h"
#include "bus/listener.h"
#include "bus/remote_nats.h"
#include "wire/server.h"

/* One loop, and two nodes on it. */
typedef struct pair {
  test_server server;
  listening left; /* its loop is everybody's */
  listening right;
  ae_wire *left_wire, *right_wire;
  ae_bus_nats *left_nats, *right_nats;
} pair;

static void on_changed(void *data, const ae_wire_info *info) {
  (void)info;
  ae_loop_stop(data);
}

static ae_wire *connect_wire(pair *p) {
  ae_wire *wire;
  ae_error err = {0};
  ae_wire_options options = {
      .url = p->server.url, .changed = on_changed, .data = &p->left.loop};
  if (ae_wire_open(&p->left.loop, &options, &wire, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
  return wire;
}

static void pair_open(pair *p) {
  *p = (pair){0};
  assert_true(server_start(&p->server));
  listening_open(&p->left);
  p->right.bus = ae_bus_new(&p->left.loop);
  p->left_wire = connect_wire(p);
  p->right_wire = connect_wire(p);
  p->left_nats = ae_bus_nats_open(p->left.bus, p->left_wire);
  p->right_nats = ae_bus_nats_open(p->right.bus, p->right_wire);
}

static void on_closed(void *data) {
  (void)data;
}

static void pair_close(pair *p) {
  ae_bus_nats_close(p->left_nats);
  ae_bus_nats_close(p->right_nats);
  ae_wire_close(p->left_wire, on_closed, NULL);
  ae_wire_close(p->right_wire, on_closed, NULL);
  ae_loop_run(&p->left.loop);
  ae_bus_free(p->right.bus);
  listening_close(&p->left);
  server_stop(&p->server);
}

static void on_echo(ae_wire_request *request, ae_status status,
                    const ae_wire_message *answer) {
  (void)answer;
  assert_int_equal(status, AE_OK);
  *(bool *)request->data = true;
}

/* The server has taken in what went out before, and what it then had for this
 * connection has come. */
static void settle_one(pair *p, ae_wire *wire) {
  bool done = false;
  ae_error err = {0};
  ae_wire_request request = {.cb = on_echo, .data = &done};
  if (ae_wire_ask(wire, &request, NULL, NULL, AE_STR(""), &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
  while (!done) uv_run(&p->left.loop.uv, UV_RUN_ONCE);
}

static void settle(pair *p) {
  settle_one(p, p->left_wire);
  settle_one(p, p->right_wire);
  settle_one(p, p->left_wire);
}

static ae_bus_abroad abroad(const listening *l) {
  ae_bus_abroad counts;
  assert_true(ae_bus_abroad_count(l->bus, &counts));
  return counts;
}

static void both_hear_once(void **state) {
  (void)state;
  pair p;
  ear here, there;
  pair_open(&p);
  ear_new(&here, &p.left, "bank");
  ear_new(&there, &p.right, "bank");
  settle(&p);
  publish(p.left.bus, "bank/account/a", "Opened Closed", 1, 7);
  publish(p.right.bus, "bank/account/b", "Opened", 1, 8);
  publish(p.left.bus, "cell/account/c", "Opened", 1, 1);
  settle(&p);
  assert_string_equal(ear_hears(&there),
                      "bank/account/b 1 Opened\nbank/account/a 1 Opened\n"
                      "bank/account/a 2 Closed\n");
  assert_string_equal(ear_hears(&here),
                      "bank/account/a 1 Opened\nbank/account/a 2 Closed\n"
                      "bank/account/b 1 Opened\n");
  assert_true(there.wakes > 0);
  assert_int_equal(abroad(&p.left).sent, 3);
  assert_int_equal(abroad(&p.right).received, 2);
  assert_int_equal(abroad(&p.left).received, 1);
  bus_counts(&p.right, "bank", 1, 3, 0, 1);
  ear_close(&here);
  ear_close(&there);
  pair_close(&p);
}

static void publish_rich(ae_bus *bus) {
  ae_commit commit = {.ref = {AE_STR("bank"), AE_STR("account"), AE_STR("x")},
                      .first_version = 4,
                      .time = 1700000000123456,
                      .module_revision = AE_STR("r1"),
                      .node = AE_STR("left"),
                      .epoch = 3};
  commit.id.bytes[3] = 9;
  ae_commit_command commands[] = {
      {.events = 1},
      {.events = 2,
       .delay = 5,
       .id = AE_STR("c-1"),
       .metadata = AE_STR("\x81\xa4user\xa3"
                          "ada")},
  };
  ae_buf events = {0}, record = {0};
  for (int i = 0; i < 3; i++) {
    ae_pack_array(&events, 4);
    ae_pack_cstr(&events, "Deposited");
    ae_pack_uint(&events, 2);
    ae_buf_str(&events,
               AE_STR("\x81\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    ae_buf_str(&events, i == 1 ? AE_STR("\x81\xa4user\xa3"
                                        "bob")
                               : AE_STR("\x80"));
  }
  ae_commit_encode(&record, &commit, commands, 2, ae_buf_view(&events), 3);
  ae_bus_publish(bus, &commit.ref, ae_buf_view(&record), 3, 12);
  ae_buf_clear(&events);
  ae_buf_clear(&record);
}

static void an_event_is_the_same_everywhere(void **state) {
  (void)state;
  pair p;
  ear here, there;
  pair_open(&p);
  ear_new(&here, &p.left, "bank");
  ear_new(&there, &p.right, "bank");
  settle(&p);
  publish_rich(p.left.bus);
  settle(&p);
  ae_event one, other;
  for (uint32_t i = 0; i < 3; i++) {
    ae_buf a = {0}, b = {0};
    assert_true(ae_subscription_next(here.subscription, &one));
    assert_true(ae_subscription_next(there.subscription, &other));
    assert_int_equal(other.index, i);
    assert_int_equal(other.position, 12);
    assert_int_equal(other.version, 4 + i);
    ae_event_render(&one, &a);
    ae_event_render(&other, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.ptr, b.ptr, a.len);
    ae_buf_clear(&a);
    ae_buf_clear(&b);
  }
  assert_false(ae_subscription_next(there.subscription, &other));
  ear_close(&here);
  ear_close(&there);
  pair_close(&p);
}

static void overlapping_patterns_bring_it_once(void **state) {
  (void)state;
  static const char *const patterns[] = {"a.b", "a.*", "*.b", ">",
                                         "a.>", "a.b", ">",   "a.b.c"};
  enum { EARS = sizeof patterns / sizeof *patterns };
  pair p;
  ear ears[EARS];
  pair_open(&p);
  for (int i = 0; i < EARS; i++) ear_new(&ears[i], &p.right, patterns[i]);
  settle(&p);
  publish(p.left.bus, "a.b/t/x", "One", 1, 1);
  settle(&p);
  for (int i = 0; i < EARS - 1; i++)
    assert_string_equal(ear_hears(&ears[i]), "a.b/t/x 1 One\n");
  assert_string_equal(ear_hears(&ears[EARS - 1]), "");
  /* One of the server's for each pattern, not for each subscription. */
  assert_int_equal(abroad(&p.right).received, 5);
  for (int i = 0; i < EARS; i++) ear_close(&ears[i]);
  pair_close(&p);
}

static void the_last_one_ends_listening(void **state) {
  (void)state;
  pair p;
  ear one, two, other;
  pair_open(&p);
  ear_new(&one, &p.right, "bank");
  ear_new(&two, &p.right, "bank");
  ear_new(&other, &p.right, "cell");
  settle(&p);
  ear_close(&one);
  settle(&p);
  publish(p.left.bus, "bank/t/x", "One", 1, 1);
  settle(&p);
  assert_string_equal(ear_hears(&two), "bank/t/x 1 One\n");
  ear_close(&two);
  settle(&p);
  publish(p.left.bus, "bank/t/x", "Two", 2, 2);
  settle(&p);
  assert_int_equal(abroad(&p.right).received, 1);
  ear_new(&one, &p.right, "bank");
  settle(&p);
  publish(p.left.bus, "bank/t/x", "Three", 3, 3);
  settle(&p);
  assert_string_equal(ear_hears(&one), "bank/t/x 3 Three\n");
  assert_string_equal(ear_hears(&other), "");
  ear_close(&one);
  ear_close(&other);
  pair_close(&p);
}

static void what_is_listened_to_is_kept_by_attach_and_detach(void **state) {
  (void)state;
  pair p;
  ear e;
  pair_open(&p);
  ae_bus_nats_close(p.right_nats);
  ear_new(&e, &p.right, "bank");
  settle(&p);
  publish(p.left.bus, "bank/t/x", "One", 1, 1);
  settle(&p);
  assert_string_equal(ear_hears(&e), "");
  p.right_nats = ae_bus_nats_open(p.right.bus, p.right_wire);
  settle(&p);
  publish(p.left.bus, "bank/t/x", "Two", 2, 2);
  settle(&p);
  assert_string_equal(ear_hears(&e), "bank/t/x 2 Two\n");
  ear_close(&e);
  pair_close(&p);
}

static void a_full_one_drops(void **state) {
  (void)state;
  pair p;
  ear small, typed;
  ae_error err = {0};
  pair_open(&p);
  assert_int_equal(ear_open(&small, &p.right, ">", NULL, NULL, 2, &err), AE_OK);
  assert_int_equal(ear_open(&typed, &p.right, ">", "B", "t/x*", 0, &err),
                   AE_OK);
  settle(&p);
  publish(p.left.bus, "bank/t/x1", "A B A B", 1, 1);
  publish(p.left.bus, "bank/t/y", "B", 1, 2);
  settle(&p);
  ear_counts(&small, 0, 3, 2);
  ear_counts(&typed, 0, 0, 2);
  assert_string_equal(ear_hears(&typed), "bank/t/x1 2 B\nbank/t/x1 4 B\n");
  assert_string_equal(ear_hears(&small), "bank/t/x1 1 A\nbank/t/x1 2 B\n");
  /* A name that only others know leaves none here. */
  bus_counts(&p.right, "bank", 0, 0, 0, 2);
  ear_close(&small);
  ear_close(&typed);
  pair_close(&p);
}

static void wait_connected(pair *p, bool wanted) {
  while (ae_wire_connected(p->left_wire) != wanted ||
         ae_wire_connected(p->right_wire) != wanted)
    ae_loop_run(&p->left.loop);
}

static void without_a_server_it_is_counted(void **state) {
  (void)state;
  pair p;
  ear e, late;
  pair_open(&p);
  ear_new(&e, &p.right, "bank");
  settle(&p);
  server_kill(&p.server, SIGKILL);
  wait_connected(&p, false);
  publish(p.left.bus, "bank/t/x", "One Two", 1, 1);
  ear_new(&late, &p.right, "*");
  assert_int_equal(abroad(&p.left).unsent, 2);
  assert_true(server_again(&p.server));
  wait_connected(&p, true);
  settle(&p);
  publish(p.left.bus, "bank/t/x", "Three", 3, 2);
  settle(&p);
  assert_string_equal(ear_hears(&e), "bank/t/x 3 Three\n");
  assert_string_equal(ear_hears(&late), "bank/t/x 3 Three\n");
  assert_int_equal(abroad(&p.left).sent, 1);
  ear_close(&e);
  ear_close(&late);
  pair_close(&p);
}

static void say(pair *p, const char *subject, ae_str body) {
  ae_error err = {0};
  if (ae_wire_publish(p->left_wire, subject, NULL, NULL, body, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
}

static void what_is_no_event_is_counted(void **state) {
  (void)state;
  pair p;
  ear e;
  pair_open(&p);
  ear_new(&e, &p.right, ">");
  settle(&p);
  say(&p, "aether.events.bank", AE_STR(""));
  say(&p, "aether.events.bank", AE_STR("{\"no\":1}"));
  say(&p, "aether.events.bank", AE_STR("\x80"));
  say(&p, "aether.events.bank", AE_STR("\xdf\xff\xff\xff\xff"));
  say(&p, "aether.events.b\x01nk", AE_STR("\x81"));
  settle(&p);
  assert_int_equal(abroad(&p.right).malformed, 5);
  assert_string_equal(ear_hears(&e), "");
  ear_close(&e);
  pair_close(&p);
}

typedef struct overheard {
  ae_buf headers, body;
  unsigned count;
} overheard;

static void on_overheard(void *data, const ae_wire_message *message) {
  overheard *o = data;
  static const char *const keys[] = {"Aether-Type", "Aether-Actor",
                                     "Aether-Version", "Nats-Msg-Id"};
  o->count++;
  ae_buf_printf(&o->headers, "%s", message->subject);
  for (int i = 0; i < 4; i++)
    ae_buf_printf(&o->headers, "|%s",
                  ae_wire_message_header(message, keys[i])
                      ? ae_wire_message_header(message, keys[i])
                      : "none");
  ae_buf_str(&o->body, message->body);
}

/* Names hold what a header cannot; and who takes over another's message
 * cannot bring it into a namespace that the message does not name. */
static void headers_say_what_the_body_says(void **state) {
  (void)state;
  pair p;
  ear bank, cell;
  overheard o = {0};
  ae_wire_subscription *sub;
  pair_open(&p);
  ear_new(&bank, &p.right, "b.c");
  ear_new(&cell, &p.right, "cell");
  assert_int_equal(ae_wire_subscribe(p.right_wire, "aether.events.>", NULL,
                                     on_overheard, &o, &sub, NULL),
                   AE_OK);
  settle(&p);
  publish(p.left.bus, "b.c/t/a\r\nNats-Msg-Id: 50%\xc3\xa4 ", "One", 3, 9);
  settle(&p);
  assert_int_equal(o.count, 1);
  assert_string_equal(ae_buf_cstr(&o.headers),
                      "aether.events.b.c|One|b.c/t/a%0D%0ANats-Msg-Id: "
                      "50%25\xc3\xa4%20|3|00000000-0000-0000-0000-"
                      "000000000000");
  say(&p, "aether.events.cell", ae_buf_view(&o.body));
  settle(&p);
  assert_string_equal(ear_hears(&cell), "");
  assert_int_equal(abroad(&p.right).malformed, 1);
  assert_string_equal(ear_hears(&bank),
                      "b.c/t/a\r\nNats-Msg-Id: 50%\xc3\xa4  3 One\n");
  ae_wire_unsubscribe(sub);
  ae_buf_clear(&o.headers);
  ae_buf_clear(&o.body);
  ear_close(&bank);
  ear_close(&cell);
  pair_close(&p);
}

/* Larger than the server lets through: not sent, and nothing else is lost. */
static void one_that_is_too_large_stays_here(void **state) {
  (void)state;
  pair p;
  ear here, there;
  pair_open(&p);
  ear_new(&here, &p.left, "bank");
  ear_new(&there, &p.right, "bank");
  settle(&p);
  publish_sized(p.left.bus, "bank/t/x", "Large", 1, 1, 1 << 20);
  publish(p.left.bus, "bank/t/x", "Small", 2, 2);
  settle(&p);
  assert_string_equal(ear_hears(&here), "bank/t/x 1 Large\nbank/t/x 2 Small\n");
  assert_string_equal(ear_hears(&there), "bank/t/x 2 Small\n");
  assert_int_equal(abroad(&p.left).unsent, 1);
  ear_close(&here);
  ear_close(&there);
  pair_close(&p);
}

static int no_errors(void **state) {
  (void)state;
  return ae_log_errors() == 0 ? 0 : -1;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_teardown(name, no_errors)
  const struct CMUnitTest tests[] = {
      TEST(both_hear_once),
      TEST(an_event_is_the_same_everywhere),
      TEST(overlapping_patterns_bring_it_once),
      TEST(the_last_one_ends_listening),
      TEST(what_is_listened_to_is_kept_by_attach_and_detach),
      TEST(a_full_one_drops),
      TEST(without_a_server_it_is_counted),
      TEST(what_is_no_event_is_counted),
      TEST(headers_say_what_the_body_says),
      TEST(one_that_is_too_large_stays_here),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
