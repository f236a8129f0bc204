#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/status.h"

static void a_buf_grows_and_keeps_its_bytes(void **state) {
  (void)state;
  ae_buf buf = {0};
  for (int i = 0; i < 100000; i++) ae_buf_byte(&buf, (uint8_t)(i * 7));
  assert_int_equal(buf.len, 100000);
  for (int i = 0; i < 100000; i++) {
    assert_int_equal((uint8_t)buf.ptr[i], (uint8_t)(i * 7));
  }
  ae_buf_clear(&buf);
  assert_null(buf.ptr);
  assert_int_equal(buf.cap, 0);
  ae_buf_add(&buf, "again", 5);
  assert_string_equal(ae_buf_cstr(&buf), "again");
  assert_int_equal(buf.len, 5);
  ae_buf_clear(&buf);
}

static void printf_fits_at_every_room(void **state) {
  (void)state;
  /* Around the powers of two the text just fits, or just does not. */
  for (int width = 0; width < 300; width++) {
    ae_buf buf = {0};
    ae_buf_printf(&buf, "%*s|", width, "");
    ae_buf_printf(&buf, "%d", 42);
    assert_int_equal(buf.len, width + 3);
    assert_string_equal(ae_buf_cstr(&buf) + width, "|42");
    ae_buf_clear(&buf);
  }
}

static void moving_takes_over_and_leaves_nothing(void **state) {
  (void)state;
  ae_buf from = {0}, to = {0};
  ae_buf_str(&from, AE_STR("new"));
  ae_buf_str(&to, AE_STR("old"));
  ae_buf_move(&to, &from);
  assert_true(ae_str_eq(ae_buf_view(&to), AE_STR("new")));
  assert_null(from.ptr);
  ae_buf_move(&to, &to);
  assert_true(ae_str_eq(ae_buf_view(&to), AE_STR("new")));
  ae_buf_clear(&to);
}

static void adding_nothing_allocates_nothing(void **state) {
  (void)state;
  ae_buf buf = {0};
  ae_buf_add(&buf, NULL, 0);
  ae_buf_str(&buf, (ae_str){0});
  assert_null(buf.ptr);
}

static void a_list_keeps_its_order(void **state) {
  (void)state;
  ae_list head, links[5];
  ae_list_init(&head);
  assert_true(ae_list_empty(&head));
  assert_null(ae_list_shift(&head));
  for (int i = 0; i < 5; i++) {
    ae_list_init(&links[i]);
    ae_list_push(&head, &links[i]);
  }
  ae_list_remove(&links[2]);
  ae_list_remove(&links[2]); /* a link that is in no list: harmless */
  const int left[] = {0, 1, 3, 4};
  for (int i = 0; i < 4; i++) {
    assert_ptr_equal(ae_list_shift(&head), &links[left[i]]);
  }
  assert_true(ae_list_empty(&head));
}

static void every_status_has_its_words(void **state) {
  (void)state;
  for (int i = 0; i < AE_STATUS_COUNT; i++) {
    ae_status status = (ae_status)i;
    assert_true(strlen(ae_status_word(status)) > 0);
    assert_true(strlen(ae_status_text(status)) > 0);
    assert_in_range(ae_status_http(status), 200, 599);
    assert_in_range(ae_status_exit(status), 0, 3);
    for (int j = 0; j < i; j++) {
      assert_string_not_equal(ae_status_word((ae_status)j),
                              ae_status_word(status));
    }
  }
  assert_string_equal(ae_status_word(AE_VERSION_CONFLICT), "version_conflict");
  assert_int_equal(ae_status_http(AE_REJECTED), 422);
  assert_int_equal(ae_status_exit(AE_REJECTED), 1);
}

static void an_error_renders_code_message_and_facts(void **state) {
  (void)state;
  ae_error err = {0};
  assert_string_equal(ae_error_text(&err), "");
  ae_status status = ae_error_set(&err, AE_MALFORMED, "line %d", 7);
  assert_int_equal(status, AE_MALFORMED);
  ae_error_add(&err, ": %s", "no JSON");
  ae_error_uint(&err, "at", UINT64_MAX);
  ae_error_int(&err, "less", -5);
  ae_error_str(&err, "bytes", (ae_str){"\xff", 1});
  ae_error_cstr(&err, "none", NULL);
  ae_error_pack(&err, "list", (ae_str){"\x91\x01", 2});
  assert_string_equal(ae_error_text(&err), "line 7: no JSON");
  ae_buf out = {0};
  ae_error_render(&err, &out);
  ae_str map = ae_buf_view(&out), value;
  assert_true(ae_pack_valid(map));
  assert_true(ae_unpack_field(map, "code", &value));
  assert_true(ae_str_eq(value, AE_STR("\xa9malformed")));
  assert_true(ae_unpack_field(map, "message", &value));
  assert_true(ae_str_eq(value, AE_STR("\xafline 7: no JSON")));
  assert_true(ae_unpack_field(map, "at", &value));
  uint64_t at;
  ae_unpack cursor = ae_unpack_of(value);
  assert_true(ae_unpack_uint(&cursor, &at) && at == UINT64_MAX);
  assert_true(ae_unpack_field(map, "bytes", &value));
  assert_true(ae_str_eq(value, AE_STR("\xc4\x01\xff"))); /* bin */
  assert_true(ae_unpack_field(map, "none", &value));
  assert_true(ae_str_eq(value, AE_STR("\xa0")));
  assert_true(ae_unpack_field(map, "list", &value));
  assert_false(ae_unpack_field(map, "absent", &value));
  ae_buf_clear(&out);
  ae_error_clear(&err);
}

static void setting_forgets_what_was_there(void **state) {
  (void)state;
  ae_error err = {0};
  ae_error_set(&err, AE_MALFORMED, "first");
  ae_error_int(&err, "at", 1);
  /* Its own old text as an argument. */
  ae_error_set(&err, AE_TOO_LARGE, "%s, then more", ae_error_text(&err));
  assert_string_equal(ae_error_text(&err), "first, then more");
  assert_int_equal(err.status, AE_TOO_LARGE);
  assert_int_equal(err.nfacts, 0);
  ae_error to = {0};
  ae_error_set(&to, AE_OK, "old");
  ae_error_move(&to, &err);
  assert_string_equal(ae_error_text(&to), "first, then more");
  assert_string_equal(ae_error_text(&err), "");
  assert_int_equal(err.status, AE_OK);
  ae_error_copy(&err, &to);
  assert_string_equal(ae_error_text(&err), "first, then more");
  assert_string_equal(ae_error_text(&to), "first, then more");
  ae_error_copy(&err, &(ae_error){0});
  assert_int_equal(err.status, AE_OK);
  assert_null(err.message.ptr);
  ae_error_move(NULL, &to);
  assert_null(to.message.ptr);
}

static void without_an_error_only_the_status_travels(void **state) {
  (void)state;
  assert_int_equal(ae_error_set(NULL, AE_NOT_FOUND, "%d", 1), AE_NOT_FOUND);
  ae_error_add(NULL, "more");
  ae_error_int(NULL, "a", 1);
  ae_error_str(NULL, "b", AE_STR("x"));
  ae_error_clear(NULL);
}

static void a_quoted_text_is_one_clean_line(void **state) {
  (void)state;
  ae_error err = {0};
  ae_error_set(&err, AE_NOT_FOUND, "no ");
  ae_error_quote(&err, AE_STR("gr\xc3\xbc\xc3\x9f\n\x1b[31m\xc2\x9b'\xff\\"));
  assert_string_equal(ae_error_text(&err),
                      "no 'gr\xc3\xbc\xc3\x9f\\x0a\\x1b[31m\\xc2\\x9b\\x27\\xff"
                      "\\x5c'");
  char longer[200];
  memset(longer, 'a', sizeof longer);
  ae_error_set(&err, AE_NOT_FOUND, "no ");
  ae_error_quote(&err, (ae_str){longer, sizeof longer});
  assert_int_equal(err.message.len, strlen("no '") + 80 + strlen(" …'"));
  ae_error_quote(NULL, AE_STR("nothing"));
  ae_error_clear(&err);
}

/* What a child says on stderr before a bug ends it. */
static void expect_abort(void (*bug)(void), const char *said) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    dup2(ends[1], 2);
    bug();
    _exit(0);
  }
  close(ends[1]);
  char text[400] = "";
  size_t len = 0;
  ssize_t got;
  while (len < sizeof text - 1 &&
         (got = read(ends[0], text + len, sizeof text - 1 - len)) > 0) {
    len += (size_t)got;
  }
  close(ends[0]);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), SIGABRT);
  if (!strstr(text, said)) fail_msg("%s", text);
}

static volatile int two = 2;
static void wrong_numbers(void) {
  AE_ASSERT_CMP(two + 1, ==, two);
}
static void wrong_condition(void) {
  AE_ASSERT(two == 3);
}

static void a_bug_says_what_and_aborts(void **state) {
  (void)state;
  expect_abort(wrong_numbers, "two + 1 == two does not hold: 3, 2");
  expect_abort(wrong_condition, "two == 3 does not hold");
}

static void memory_is_cleared_where_asked(void **state) {
  (void)state;
  char *bytes = ae_zalloc(1000);
  for (int i = 0; i < 1000; i++) assert_int_equal(bytes[i], 0);
  bytes = ae_realloc(bytes, 2000);
  assert_int_equal(bytes[999], 0);
  ae_free(bytes);
  ae_free(NULL);
  void *none = ae_alloc(0);
  assert_non_null(none);
  ae_free(none);
  char *copy = ae_strdup("text");
  assert_string_equal(copy, "text");
  ae_free(copy);
  struct {
    int before;
    ae_list link;
  } holder;
  assert_ptr_equal(AE_CONTAINER(&holder.link, __typeof__(holder), link),
                   &holder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_buf_grows_and_keeps_its_bytes),
      cmocka_unit_test(printf_fits_at_every_room),
      cmocka_unit_test(moving_takes_over_and_leaves_nothing),
      cmocka_unit_test(adding_nothing_allocates_nothing),
      cmocka_unit_test(a_list_keeps_its_order),
      cmocka_unit_test(every_status_has_its_words),
      cmocka_unit_test(an_error_renders_code_message_and_facts),
      cmocka_unit_test(setting_forgets_what_was_there),
      cmocka_unit_test(without_an_error_only_the_status_travels),
      cmocka_unit_test(a_quoted_text_is_one_clean_line),
      cmocka_unit_test(a_bug_says_what_and_aborts),
      cmocka_unit_test(memory_is_cleared_where_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
