/* Names against their rules written down once more, and tokens both ways. */
#include <stdio.h>
#include <stdlib.h>

#include "namespace/encode.h"
#include "namespace/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static bool only(ae_str name, const char *set) {
  for (size_t i = 0; i < name.len; i++) {
    if (!name.ptr[i] || !strchr(set, name.ptr[i])) return false;
  }
  return true;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static bool is_namespace(ae_str name) {
  if (name.len < 1 || name.len > 64 || !only(name, LOWER UPPER DIGIT "._-")) {
    return false;
  }
  if (name.ptr[0] == '.' || name.ptr[name.len - 1] == '.') return false;
  for (size_t i = 1; i < name.len; i++) {
    if (name.ptr[i] == '.' && name.ptr[i - 1] == '.') return false;
  }
  return true;
}

static bool is_module(ae_str name) {
  return name.len >= 1 && name.len <= 64 && only(name, LOWER DIGIT "_") &&
         strchr(LOWER, name.ptr[0]);
}

static bool is_type(ae_str name) {
  return is_module(name) && !ae_str_eq(name, AE_STR("events")) &&
         !ae_str_eq(name, AE_STR("commands")) &&
         !ae_str_eq(name, AE_STR("projections")) &&
         !ae_str_eq(name, AE_STR("admin"));
}

static void check(ae_status (*checker)(ae_str, ae_error *), ae_str name,
                  bool expected) {
  ae_error err = {0};
  MUST((checker(name, &err) == AE_OK) == expected);
  MUST((checker(name, NULL) == AE_OK) == expected);
  MUST(ae_str_utf8(ae_buf_view(&err.message)));
  for (size_t i = 0; i < err.message.len; i++) {
    MUST((uint8_t)err.message.ptr[i] >= ' ');
  }
  ae_error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str name = {(const char *)data, len};
  check(ae_namespace_check, name, is_namespace(name));
  check(ae_module_check, name, is_module(name));
  check(ae_type_check, name, is_type(name));
  check(ae_id_check, name, len >= 1 && len <= 255 && ae_str_utf8(name));

  ae_buf token = {0}, back = {0};
  ae_encode(name, &token);
  MUST(only(ae_buf_view(&token), LOWER UPPER DIGIT "-_"));
  MUST(ae_decode(ae_buf_view(&token), &back));
  MUST(ae_str_eq(ae_buf_view(&back), name));
  ae_buf_reset(&token);
  ae_buf_reset(&back);
  if (ae_decode(name, &back)) {
    ae_encode(ae_buf_view(&back), &token);
    MUST(ae_str_eq(ae_buf_view(&token), name));
  } else {
    MUST(back.len == 0);
  }
  ae_buf_clear(&token);
  ae_buf_clear(&back);
  return 0;
}
