/* Pattern and name, parted by a space; matching against a recursive model. */
#include <stdio.h>
#include <stdlib.h>

#include "namespace/name.h"
#include "namespace/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static ae_str behind(ae_str text, size_t len) {
  return (ae_str){text.ptr + len, text.len - len};
}

/* Byte by byte; `start` says that both stand at the start of a token. */
static bool model(ae_str pattern, ae_str name, bool start) {
  if (pattern.len == 0) return name.len == 0;
  char p = pattern.ptr[0];
  if (start && p == '>') return name.len > 0;
  if (name.len == 0) return false;
  if (start && p == '*') {
    size_t token = 0;
    while (token < name.len && name.ptr[token] != '.') token++;
    return token > 0 && model(behind(pattern, 1), behind(name, token), false);
  }
  return p == name.ptr[0] &&
         model(behind(pattern, 1), behind(name, 1), p == '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str text = {(const char *)data, len};
  const char *space = len ? memchr(data, ' ', len) : NULL;
  ae_str pattern = text, name = AE_STR("bank.eu");
  if (space) {
    pattern.len = (size_t)(space - text.ptr);
    name = behind(text, pattern.len + 1);
  }
  ae_error err = {0};
  bool fine = !ae_pattern_check(pattern, &err);
  ae_error_clear(&err);
  if (!fine) {
    MUST(ae_namespace_check(pattern, NULL)); /* each namespace is a pattern */
    return 0;
  }
  if (ae_namespace_check(name, NULL)) return 0;
  bool matched = ae_pattern_match(pattern, name);
  MUST(matched == model(pattern, name, true));
  if (!ae_pattern_wild(pattern)) MUST(matched == ae_str_eq(pattern, name));
  return 0;
}
