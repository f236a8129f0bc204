#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/plain.h"

/* A socket with a server at its other end; what came is written down. */
typedef struct bench {
  int here, there;
  ae__plain plain;
  ae_buf seen;    /* "SID SUBJECT REPLY Kind=VALUE BODY;" and "<LINE>" */
  unsigned stop;  /* after so many messages; 0: never */
  unsigned count; /* of them */
} bench;

static int set_up(void **state) {
  bench *b = ae_zalloc(sizeof *b);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return -1;
  b->here = ends[0];
  b->there = ends[1];
  *state = b;
  return 0;
}

static int tear_down(void **state) {
  bench *b = *state;
  close(b->here);
  if (b->there >= 0) close(b->there);
  ae__plain_clear(&b->plain);
  ae_buf_clear(&b->seen);
  ae_free(b);
  return 0;
}

static bool on_message(void *data, const ae__frame *frame) {
  bench *b = data;
  const char *kind = ae__frame_header(frame->headers, "Kind");
  ae_buf_printf(&b->seen, "%d %s %s %s ", (int)frame->sid, frame->subject,
                frame->reply ? frame->reply : "-", kind ? kind : "-");
  if (frame->body.len > 100)
    ae_buf_printf(&b->seen, "%zu bytes;", frame->body.len);
  else
    ae_buf_printf(&b->seen, "%.*s;", AE_FMT(frame->body));
  assert_int_equal(frame->body.ptr[frame->body.len], 0);
  return ++b->count != b->stop;
}

/* What nats.c does. */
static bool on_control(void *data, size_t bytes) {
  bench *b = data;
  char line[64];
  assert_true(bytes < sizeof line);
  assert_int_equal(recv(b->here, line, bytes, 0), bytes);
  ae_buf_printf(&b->seen, "<%.*s>", (int)bytes, line);
  return true;
}

static ae__plain_end look(bench *b) {
  const ae__plain_reader reader = {on_message, on_control, b};
  return ae__plain_read(&b->plain, b->here, 512, &reader);
}

static void say(bench *b, const char *bytes, size_t len) {
  assert_int_equal(send(b->there, bytes, len, 0), len);
}

static const char text[] =
    "MSG a.b 7 5\r\nhello\r\nPING\r\n"
    "HMSG c 12 re.ply 26 28\r\nNATS/1.0\r\nKind:  word \r\n\r\nhi\r\n"
    "MSG d 1 0\r\n\r\n+OK\r\n";
static const char whole[] =
    "7 a.b - - hello;<PING\r\n>12 c re.ply word hi;1 d - - ;<+OK\r\n>";

static void messages_are_ours_and_other_lines_are_not(void **state) {
  bench *b = *state;
  say(b, text, sizeof text - 1);
  assert_int_equal(look(b), AE__PLAIN_EMPTY);
  assert_string_equal(ae_buf_cstr(&b->seen), whole);
  assert_int_equal(look(b), AE__PLAIN_EMPTY);
}

/* Lines of control come in parts then; together they are the same. */
static void it_may_come_byte_by_byte(void **state) {
  bench *b = *state;
  for (size_t i = 0; i < sizeof text - 1; i++) {
    say(b, text + i, 1);
    assert_int_equal(look(b), AE__PLAIN_EMPTY);
  }
  ae_buf joined = {0};
  for (size_t i = 0; i < b->seen.len; i++)
    if (b->seen.ptr[i] != '<' && b->seen.ptr[i] != '>')
      ae_buf_byte(&joined, (uint8_t)b->seen.ptr[i]);
  assert_string_equal(ae_buf_cstr(&joined),
                      "7 a.b - - hello;PING\r\n12 c re.ply word hi;1 d - - ;"
                      "+OK\r\n");
  ae_buf_clear(&joined);
}

static void one_may_be_larger_than_what_is_read_at_once(void **state) {
  bench *b = *state;
  char *body = ae_zalloc(20000);
  say(b, "MSG big 3 20000\r\n", 17);
  assert_int_equal(look(b), AE__PLAIN_EMPTY);
  for (int i = 0; i < 20; i++) {
    say(b, body, 1000);
    assert_int_equal(look(b), AE__PLAIN_EMPTY);
  }
  assert_int_equal(b->count, 0);
  say(b, "\r\nMSG x 3 1\r\ny\r\n", 16);
  assert_int_equal(look(b), AE__PLAIN_EMPTY);
  assert_string_equal(ae_buf_cstr(&b->seen),
                      "3 big - - 20000 bytes;3 x - - y;");
  ae_free(body);
}

static void a_reader_may_stop(void **state) {
  bench *b = *state;
  b->stop = 2;
  say(b, text, sizeof text - 1);
  assert_int_equal(look(b), AE__PLAIN_STOPPED);
  assert_int_equal(b->count, 2);
}

static void an_end_shows(void **state) {
  bench *b = *state;
  say(b, "MSG a 1 5\r\nhel", 14);
  assert_int_equal(look(b), AE__PLAIN_EMPTY);
  close(b->there);
  b->there = -1;
  assert_int_equal(look(b), AE__PLAIN_OVER);
  assert_int_equal(b->count, 0);
}

static void what_is_no_message_is_wrong(void **state) {
  bench *b = *state;
  static const char *const lines[] = {
      "MSG a 1\r\n",
      "MSG a one 2\r\nhi\r\n",
      "MSG a 1 2\r\nhi__",
      "MSG a 1 r 2 2\r\nhi\r\n",
      "MSG a 1 99999999999\r\n",
      "HMSG a 1 9 2\r\nhi\r\n",
      "HELLO a 1 0 0\r\n\r\n",
      "\x16\x03\x01\r\n",
  };
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    say(b, lines[i], strlen(lines[i]));
    if (look(b) != AE__PLAIN_WRONG) fail_msg("taken: %s", lines[i]);
    char rest[64];
    while (recv(b->here, rest, sizeof rest, MSG_DONTWAIT) > 0) {
    }
    ae__plain_reset(&b->plain);
  }
}

static void a_header_is_found_again(void **state) {
  (void)state;
  char block[] =
      "NATS/1.0 100 Idle\r\nA:1\r\nAB:  two \r\nC:\r\nD: x\n E\r\n\r\n";
  ae_str headers = {block, sizeof block - 1};
  for (int i = 0; i < 2; i++) {
    assert_string_equal(ae__frame_header(headers, "AB"), "two");
    assert_string_equal(ae__frame_header(headers, "A"), "1");
    assert_string_equal(ae__frame_header(headers, "C"), "");
    assert_null(ae__frame_header(headers, "B"));
    assert_null(ae__frame_header(headers, "NATS/1.0 100 Idle"));
    assert_int_equal(ae__frame_status(headers), 100);
  }
  assert_int_equal(ae__frame_status(AE_STR("NATS/1.0 503\r\n\r\n")), 503);
  assert_int_equal(ae__frame_status(AE_STR("NATS/1.0\r\nA: 1\r\n\r\n")), 0);
  assert_int_equal(ae__frame_status(AE_STR("NATS/1.0 4")), 0);
  assert_int_equal(ae__frame_status(AE_STR("")), 0);
}

static void what_is_put_is_what_nats_takes(void **state) {
  (void)state;
  ae_buf out = {0};
  const ae_wire_header headers[] = {{"K", "v\r\nX: y"}, {0}};
  ae__frame_put(&out, "a.b", NULL, NULL, AE_STR("hi"));
  ae__frame_put(&out, "a.b", "r", headers, AE_STR("body"));
  assert_string_equal(ae_buf_cstr(&out),
                      "PUB a.b 2\r\nhi\r\n"
                      "HPUB a.b r 24 28\r\nNATS/1.0\r\nK: v  X: y\r\n\r\n"
                      "body\r\n");
  assert_int_equal(ae__frame_size(headers, AE_STR("body")), 28);
  assert_true(ae__frame_subject("a.b"));
  assert_false(ae__frame_subject(""));
  assert_false(ae__frame_subject("a b"));
  assert_false(ae__frame_subject("a\r\nPUB b 0"));
  ae_buf_clear(&out);
}

/* A server that does not read: what is being sent is sent to its end, and
 * what was put meanwhile follows when it is its turn. */
static void what_is_sent_stays_whole(void **state) {
  bench *b = *state;
  char *body = ae_zalloc(4 << 20);
  memset(body, 'x', 4 << 20);
  ae__frame_put(&b->plain.out, "a", NULL, NULL, (ae_str){body, 4 << 20});
  ae__plain_turn(&b->plain);
  assert_false(ae__plain_send(&b->plain, b->here));
  ae__frame_put(&b->plain.out, "b", NULL, NULL, AE_STR("next"));
  assert_true(ae__plain_waits(&b->plain));
  ae_buf got = {0};
  for (bool sent = false; got.len < (4 << 20) + 17;) {
    ae_buf_reserve(&got, 1 << 16);
    ssize_t n = recv(b->there, got.ptr + got.len, 1 << 16, MSG_DONTWAIT);
    if (n > 0) got.len += (size_t)n;
    if (!sent) sent = ae__plain_send(&b->plain, b->here);
  }
  assert_true(ae__plain_waits(&b->plain));
  ae__plain_turn(&b->plain);
  assert_true(ae__plain_send(&b->plain, b->here));
  assert_false(ae__plain_waits(&b->plain));
  char rest[64] = {0};
  assert_true(recv(b->there, rest, sizeof rest - 1, 0) > 0);
  assert_int_equal(memcmp(got.ptr, "PUB a 4194304\r\nx", 16), 0);
  assert_string_equal(rest, "PUB b 4\r\nnext\r\n");
  ae_buf_clear(&got);
  ae_free(body);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(messages_are_ours_and_other_lines_are_not),
      TEST(it_may_come_byte_by_byte),
      TEST(one_may_be_larger_than_what_is_read_at_once),
      TEST(a_reader_may_stop),
      TEST(an_end_shows),
      TEST(what_is_no_message_is_wrong),
      cmocka_unit_test(a_header_is_found_again),
      cmocka_unit_test(what_is_put_is_what_nats_takes),
      TEST(what_is_sent_stays_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
