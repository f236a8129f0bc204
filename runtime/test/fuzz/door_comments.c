/* Any bytes as a module's file: what is said of it is UTF-8 that stands there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "door/http/comments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(ae_str words) {
  bool ends = words.len > 0 && words.ptr[words.len - 1] == '\n';
  if (ae_str_utf8(words) && !ends) return;
  fprintf(stderr, "not words: %.*s\n", AE_FMT(words));
  abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae__comments *comments = ae__comments_in((ae_str){(const char *)data, len});
  check(ae__comments_module(comments));
  check(ae__comments_command(comments, AE_STR("a")));
  ae__comments_free(comments);
  return 0;
}
