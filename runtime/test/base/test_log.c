#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"

/* What a body writes on file descriptor 2. */
typedef struct capture {
  int read;
  int kept;
} capture;

static capture begin(void) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  capture c = {.read = ends[0], .kept = dup(2)};
  dup2(ends[1], 2);
  close(ends[1]);
  return c;
}

static const char *finish(capture c, ae_buf *out) {
  dup2(c.kept, 2);
  close(c.kept);
  char bytes[4096];
  ssize_t len;
  while ((len = read(c.read, bytes, sizeof bytes)) > 0) {
    ae_buf_add(out, bytes, (size_t)len);
  }
  close(c.read);
  return ae_buf_cstr(out);
}

static void a_line_is_one_json_object(void **state) {
  (void)state;
  ae_buf out = {0}, pack = {0};
  capture c = begin();
  ae_log_setup(AE_LOG_INFO, AE_LOG_AUTO); /* no terminal: JSON */
  ae_log(AE_LOG_DEBUG, "too low", NULL);
  ae_log(AE_LOG_WARN, "snapshot \"dropped\"", "actor", "bank/account/a\n1",
         "none", NULL, NULL);
  finish(c, &out);
  assert_int_equal(out.ptr[out.len - 1], '\n');
  assert_ptr_equal(memchr(out.ptr, '\n', out.len), out.ptr + out.len - 1);
  ae_str line = {out.ptr, out.len - 1};
  assert_int_equal(ae_json_read(line, &pack, NULL), AE_OK);
  ae_str map = ae_buf_view(&pack), value;
  assert_true(ae_unpack_field(map, "level", &value));
  assert_true(ae_str_eq(value, AE_STR("\xa4warn")));
  assert_true(ae_unpack_field(map, "message", &value));
  assert_true(ae_str_eq(value, AE_STR("\xb2snapshot \"dropped\"")));
  assert_true(ae_unpack_field(map, "actor", &value));
  assert_true(ae_str_eq(value, AE_STR("\xb0"
                                      "bank/account/a\n1")));
  assert_true(ae_unpack_field(map, "none", &value));
  assert_true(ae_str_eq(value, AE_STR("\xa0")));
  assert_true(ae_unpack_field(map, "time", &value));
  int n = 0;
  char z = 0;
  assert_int_equal(
      sscanf(value.ptr + 1, "%*4d-%*2d-%*2dT%*2d:%*2d:%*2d.%6d%c", &n, &z), 2);
  assert_int_equal(z, 'Z');
  ae_buf_clear(&out);
  ae_buf_clear(&pack);
}

static void people_get_text(void **state) {
  (void)state;
  ae_buf out = {0};
  capture c = begin();
  ae_log_setup(AE_LOG_DEBUG, AE_LOG_TEXT);
  ae_log(AE_LOG_WARN, "a\nmessage", "key", "value", "two", "a b", "odd",
         "x\x1b[31m", NULL);
  ae_log(AE_LOG_DEBUG, "bare", NULL);
  const char *text = finish(c, &out);
  int h, m, s, ms;
  assert_int_equal(sscanf(text, "%2d:%2d:%2d.%3d ", &h, &m, &s, &ms), 4);
  assert_non_null(strstr(text,
                         " WARN  a message  key=value two=\"a b\" "
                         "odd=\"x\\u001b[31m\"\n"));
  assert_non_null(strstr(text, " DEBUG bare\n"));
  ae_buf_clear(&out);
}

static void errors_are_counted_also_when_not_shown(void **state) {
  (void)state;
  unsigned long before = ae_log_errors();
  ae_buf out = {0};
  capture c = begin();
  ae_log_setup(AE_LOG_ERROR, AE_LOG_JSON);
  ae_log(AE_LOG_WARN, "no error", NULL);
  errno = ENOENT;
  ae_log(AE_LOG_ERROR, "an error", NULL);
  assert_int_equal(errno, ENOENT);
  finish(c, &out);
  assert_int_equal(ae_log_errors(), before + 1);
  ae_buf_clear(&out);
}

#define THREADS 4
#define LINES 10

static void *talk(void *name) {
  for (int i = 0; i < LINES; i++) {
    ae_log(AE_LOG_INFO, "a line of some length", "thread", name, NULL);
  }
  return NULL;
}

static void lines_of_threads_do_not_mix(void **state) {
  (void)state;
  ae_buf out = {0};
  capture c = begin();
  ae_log_setup(AE_LOG_INFO, AE_LOG_JSON);
  pthread_t threads[THREADS];
  static char names[THREADS][2] = {"a", "b", "c", "d"};
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, talk, names[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  finish(c, &out);
  int lines = 0;
  const char *at = out.ptr, *end = out.ptr + out.len;
  while (at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    assert_non_null(stop);
    ae_buf pack = {0};
    ae_str line = {at, (size_t)(stop - at)};
    assert_int_equal(ae_json_read(line, &pack, NULL), AE_OK);
    ae_buf_clear(&pack);
    at = stop + 1;
    lines++;
  }
  assert_int_equal(lines, THREADS * LINES);
  ae_buf_clear(&out);
}

/* -- a reader that stands still -- */

#define MANY 2000 /* lines, more than any pipe or socket holds here */

static capture begin_socket(void) {
  int ends[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  capture c = {.read = ends[0], .kept = dup(2)};
  dup2(ends[1], 2);
  close(ends[1]);
  return c;
}

/* What is there to read now. */
static void drain(capture c, ae_buf *out) {
  char bytes[4096];
  struct pollfd there = {.fd = c.read, .events = POLLIN};
  while (poll(&there, 1, 0) > 0) {
    ssize_t len = read(c.read, bytes, sizeof bytes);
    assert_true(len > 0);
    ae_buf_add(out, bytes, (size_t)len);
  }
}

/* Lines, each an object; the last `left out` that one of them told. */
static int lines_in(const ae_buf *out, int *left) {
  int count = 0;
  const char *at = out->ptr, *end = out->ptr + out->len, *stop;
  for (; at < end; at = stop + 1, count++) {
    stop = memchr(at, '\n', (size_t)(end - at));
    assert_non_null(stop);
    ae_buf pack = {0};
    ae_str line = {at, (size_t)(stop - at)}, value;
    assert_int_equal(ae_json_read(line, &pack, NULL), AE_OK);
    if (ae_unpack_field(ae_buf_view(&pack), "lines", &value)) {
      char number[32];
      snprintf(number, sizeof number, "%.*s", (int)value.len - 1,
               value.ptr + 1);
      *left = atoi(number);
    }
    ae_buf_clear(&pack);
  }
  return count;
}

/* None is lost silently, and none waits for ever. */
static void stands_still(capture c) {
  ae_buf out = {0};
  char text[1001] = "";
  memset(text, 'x', 1000);
  ae_log_setup(AE_LOG_INFO, AE_LOG_JSON);
  for (int i = 0; i < MANY; i++) ae_log(AE_LOG_INFO, text, NULL);
  drain(c, &out);
  int left = 0, before = lines_in(&out, &left);
  assert_int_equal(left, 0);
  assert_in_range(before, 10, MANY - 1);
  ae_buf_reset(&out);
  ae_log(AE_LOG_INFO, "read again", NULL);
  ae_log(AE_LOG_INFO, "as before", NULL);
  drain(c, &out);
  assert_int_equal(lines_in(&out, &left), 3);
  assert_int_equal(before + left, MANY);
  assert_non_null(strstr(ae_buf_cstr(&out), "nobody read them"));
  assert_non_null(strstr(ae_buf_cstr(&out), "as before"));
  /* One that is too large is cut, and the next begins a line of its own. */
  size_t len = (size_t)4 << 20;
  char *large = ae_zalloc(len + 1);
  memset(large, 'y', len);
  ae_log(AE_LOG_INFO, large, NULL);
  ae_free(large);
  ae_buf_reset(&out);
  drain(c, &out);
  assert_null(memchr(out.ptr, '\n', out.len));
  ae_buf_reset(&out);
  ae_log(AE_LOG_INFO, "whole", NULL);
  finish(c, &out);
  assert_int_equal(out.ptr[0], '\n');
  ae_buf rest = {0};
  ae_buf_add(&rest, out.ptr + 1, out.len - 1);
  assert_int_equal(lines_in(&rest, &left), 2);
  assert_int_equal(left, 1);
  ae_buf_clear(&rest);
  ae_buf_clear(&out);
}

static void a_pipe_that_nobody_reads_holds_up_nothing(void **state) {
  (void)state;
  stands_still(begin());
}

static void nor_does_a_socket(void **state) {
  (void)state;
  stands_still(begin_socket());
}

/* Another user's pipe cannot be opened anew; here it is files that lack. */
static void nor_a_pipe_that_cannot_be_opened(void **state) {
  (void)state;
  struct rlimit kept, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &kept), 0);
  capture c = begin();
  none = (struct rlimit){.rlim_cur = 3, .rlim_max = kept.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  assert_int_equal(open("/proc/self/fd/2", O_WRONLY), -1);
  stands_still(c);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &kept), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_is_one_json_object),
      cmocka_unit_test(people_get_text),
      cmocka_unit_test(errors_are_counted_also_when_not_shown),
      cmocka_unit_test(lines_of_threads_do_not_mix),
      cmocka_unit_test(a_pipe_that_nobody_reads_holds_up_nothing),
      cmocka_unit_test(nor_does_a_socket),
      cmocka_unit_test(nor_a_pipe_that_cannot_be_opened),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
