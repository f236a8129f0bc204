#include "door/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

static char path[] = "/tmp/test_lines.XXXXXX";

static void write_file(const char *bytes, size_t len) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  assert_int_equal(fclose(file), 0);
}

/* All lines with their numbers, "1:text|2:text|"; a long one as "3!|". */
static void assert_lines(const char *bytes, size_t len, const char *expected) {
  ae__lines lines;
  ae_buf seen = {0};
  ae_str line;
  ae__lines_is is;
  write_file(bytes, len);
  assert_int_equal(ae__lines_open(&lines, path, NULL), AE_OK);
  assert_true(lines.plain);
  assert_int_equal(lines.size, len);
  while ((is = ae__lines_next(&lines, &line)) != AE__LINES_END) {
    if (is == AE__LINES_EMPTY) {
      ae__lines_fill(&lines);
    } else {
      ae_buf_printf(&seen, "%llu%s", (unsigned long long)lines.number,
                    is == AE__LINES_LONG ? "!" : ":");
      if (is == AE__LINES_LINE) ae_buf_str(&seen, line);
      ae_buf_byte(&seen, '|');
    }
  }
  assert_int_equal(lines.taken, len);
  assert_int_equal(lines.error, 0);
  assert_string_equal(ae_buf_cstr(&seen), expected);
  ae__lines_close(&lines);
  ae_buf_clear(&seen);
}

#define ASSERT_LINES(literal, expected) \
  assert_lines(literal, sizeof(literal) - 1, expected)

static void cuts_lines(void **state) {
  (void)state;
  ASSERT_LINES("", "");
  ASSERT_LINES("a", "1:a|");
  ASSERT_LINES("a\n", "1:a|");
  ASSERT_LINES("a\n\nb", "1:a|2:|3:b|");
  ASSERT_LINES("a\r\nb\r\n", "1:a|2:b|");
  ASSERT_LINES("\n", "1:|");
  ASSERT_LINES("\xEF\xBB\xBFx\n\xEF\xBB\xBFy", "1:x|2:\xEF\xBB\xBFy|");
  ASSERT_LINES("\xEF\xBB\xBF", "1:|");
}

/* Around the limit, at the end and between others, read in many slices. */
static void leaves_out_what_is_too_long(void **state) {
  (void)state;
  size_t most = AE__LINE_MAX;
  char *bytes = ae_alloc(3 * most);
  for (size_t more = 0; more <= most; more += more < 2 ? 1 : most / 2) {
    memset(bytes, 'x', 3 * most);
    memcpy(bytes, "a\n", 2);
    bytes[2 + most + more] = '\n';
    memcpy(bytes + 2 + most + more + 1, "b\nc", 3);
    write_file(bytes, 2 + most + more + 4);
    ae__lines lines;
    ae_str line;
    assert_int_equal(ae__lines_open(&lines, path, NULL), AE_OK);
    ae__lines_is seen[4];
    size_t count = 0, longest = 0;
    for (ae__lines_is is; count < 4;) {
      is = ae__lines_next(&lines, &line);
      if (is == AE__LINES_END) break;
      if (is == AE__LINES_EMPTY) {
        ae__lines_fill(&lines);
        continue;
      }
      seen[count++] = is;
      if (is == AE__LINES_LINE && line.len > longest) longest = line.len;
    }
    assert_int_equal(count, 4);
    assert_int_equal(seen[0], AE__LINES_LINE);
    assert_int_equal(seen[1], more == 0 ? AE__LINES_LINE : AE__LINES_LONG);
    assert_int_equal(seen[2], AE__LINES_LINE);
    assert_int_equal(seen[3], AE__LINES_LINE);
    assert_int_equal(longest, more == 0 ? most : 1);
    assert_true(lines.buf.cap < 2 * most + (1u << 20));
    ae__lines_close(&lines);
  }
  /* the last line, without an end */
  memset(bytes, 'x', most + 1);
  assert_lines(bytes, most + 1, "1!|");
  ae_free(bytes);
}

/* The same lines, however the pieces are cut. */
static void is_fed(void **state) {
  (void)state;
  static const char text[] = "one\r\n\n12345678\n123456789\nlast";
  for (size_t size = 1; size < sizeof text; size++) {
    ae__lines lines;
    ae_buf seen = {0};
    ae_str line;
    ae__lines_is is;
    size_t at = 0, len = sizeof text - 1;
    ae__lines_init(&lines, 8);
    while ((is = ae__lines_next(&lines, &line)) != AE__LINES_END) {
      if (is == AE__LINES_EMPTY) {
        size_t piece = len - at < size ? len - at : size;
        ae__lines_feed(&lines, (ae_str){text + at, piece}, at + piece == len);
        at += piece;
      } else {
        ae_buf_printf(&seen, "%llu:%.*s|", (unsigned long long)lines.number,
                      is == AE__LINES_LONG ? 1 : (int)line.len,
                      is == AE__LINES_LONG ? "!" : line.ptr);
      }
    }
    assert_string_equal(ae_buf_cstr(&seen), "1:one|2:|3:12345678|4:!|5:last|");
    ae__lines_close(&lines);
    ae_buf_clear(&seen);
  }
}

static void says_what_it_cannot_read(void **state) {
  (void)state;
  ae__lines lines;
  ae_error err = {0};
  assert_int_equal(ae__lines_open(&lines, "/nowhere/x", &err), AE_NOT_FOUND);
  assert_non_null(strstr(ae_error_text(&err), "/nowhere/x"));
  assert_int_equal(ae__lines_open(&lines, "/tmp", &err), AE_NOT_FOUND);
  assert_non_null(strstr(ae_error_text(&err), "directory"));
  ae_error_clear(&err);
}

static int make_file(void **state) {
  (void)state;
  int fd = mkstemp(path);
  if (fd < 0) return -1;
  return close(fd);
}

static int remove_file(void **state) {
  (void)state;
  return unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cuts_lines),
      cmocka_unit_test(leaves_out_what_is_too_long),
      cmocka_unit_test(is_fed),
      cmocka_unit_test(says_what_it_cannot_read),
  };
  return cmocka_run_group_tests(tests, make_file, remove_file);
}
