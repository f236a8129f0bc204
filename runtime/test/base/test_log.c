#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_is_one_json_object),
      cmocka_unit_test(people_get_text),
      cmocka_unit_test(errors_are_counted_also_when_not_shown),
      cmocka_unit_test(lines_of_threads_do_not_mix),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
