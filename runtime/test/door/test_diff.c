#include "door/diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/pack.h"

static void assert_diff(const char *before, const char *after,
                        const char *expected) {
  ae_buf old = {0}, new = {0}, text = {0};
  assert_int_equal(ae_json_read(ae_str_of(before), &old, NULL), AE_OK);
  assert_int_equal(ae_json_read(ae_str_of(after), &new, NULL), AE_OK);
  ae__diff_text(ae_buf_view(&old), ae_buf_view(&new), "", &text);
  assert_string_equal(ae_buf_cstr(&text), expected);
  ae_buf_clear(&old);
  ae_buf_clear(&new);
  ae_buf_clear(&text);
}

static void says_what_changed(void **state) {
  (void)state;
  assert_diff("{\"a\":1}", "{\"a\":1}", "");
  assert_diff("{\"a\":1}", "{\"a\":2}", "a: 1 → 2\n");
  assert_diff("{\"a\":1,\"b\":2}", "{\"b\":3,\"c\":4}",
              "a: 1 → (none)\nb: 2 → 3\nc: (none) → 4\n");
  assert_diff("{\"a\":{\"b\":[1,2]}}", "{\"a\":{\"b\":[1,3,4]}}",
              "a.b[2]: 2 → 3\na.b[3]: (none) → 4\n");
  assert_diff("{\"a\":[1]}", "{\"a\":[]}", "a[1]: 1 → (none)\n");
  assert_diff("{\"a\":[1]}", "{\"a\":{\"b\":1}}", "a: [1] → {\"b\":1}\n");
  assert_diff("{\"a\":null}", "{}", "a: null → (none)\n");
  assert_diff("5", "\"x\"", ": 5 → \"x\"\n");
}

static void packs_it_too(void **state) {
  (void)state;
  ae_buf old = {0}, new = {0}, packed = {0}, text = {0};
  ae_json_read(AE_STR("{\"a\":1,\"b\":1}"), &old, NULL);
  ae_json_read(AE_STR("{\"a\":2,\"c\":[]}"), &new, NULL);
  ae__diff_pack(ae_buf_view(&old), ae_buf_view(&new), &packed);
  assert_true(ae_pack_valid(ae_buf_view(&packed)));
  ae_json_write(ae_buf_view(&packed), &text);
  assert_string_equal(ae_buf_cstr(&text),
                      "[{\"path\":\"a\",\"before\":1,\"after\":2},"
                      "{\"path\":\"b\",\"before\":1},"
                      "{\"path\":\"c\",\"after\":[]}]");
  ae_buf_clear(&old);
  ae_buf_clear(&new);
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(says_what_changed),
      cmocka_unit_test(packs_it_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
