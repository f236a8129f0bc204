/* A pattern of actors and a type of events, parted by a space, against what
 * they say written down once more. */
#include <stdio.h>
#include <stdlib.h>

#include "bus/bus.h"
#include "bus/internal.h"
#include "namespace/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static bool part_fits(ae_str part, ae_str name) {
  if (part.len > 0 && part.ptr[part.len - 1] == '*')
    return name.len >= part.len - 1 &&
           (part.len == 1 || memcmp(part.ptr, name.ptr, part.len - 1) == 0);
  return ae_str_eq(part, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str actor = {(const char *)data, len}, type = {0};
  const char *space = len ? memchr(data, ' ', len) : NULL;
  if (space) {
    actor.len = (size_t)(space - actor.ptr);
    type = (ae_str){space + 1, len - actor.len - 1};
  }
  ae_subscription_options options = {.pattern = AE_STR("b"),
                                     .actor = actor,
                                     .types = &type,
                                     .type_count = space ? 1 : 0};
  ae__filter filter;
  ae_error err = {0};
  ae_status status = ae__filter_init(&filter, &options, &err);
  MUST(status == AE_OK || status == AE_INVALID_NAME);
  MUST((err.message.len > 0) == (status != AE_OK));
  MUST(ae_str_utf8(ae_buf_view(&err.message)));
  ae_error_clear(&err);
  /* Each actor's own name is a pattern, and each name of an event a type. */
  ae_ref ref = {.ns = AE_STR("b")};
  const char *slash = actor.len ? memchr(actor.ptr, '/', actor.len) : NULL;
  if (slash) {
    ref.type = (ae_str){actor.ptr, (size_t)(slash - actor.ptr)};
    ref.id = (ae_str){slash + 1, actor.len - ref.type.len - 1};
  }
  bool named =
      slash && !ae_type_check(ref.type, NULL) && !ae_id_check(ref.id, NULL);
  if (status != AE_OK) {
    MUST(!named || type.len == 0 || type.len > 255 || !ae_str_utf8(type));
    return 0;
  }
  if (named) MUST(ae__filter_actor(&filter, &ref));
  if (space) MUST(ae__filter_type(&filter, type));
  if (!slash) return 0;
  static const char *const types[] = {"account", "acc", "a", "order"};
  static const char *const ids[] = {"a-1", "a", "a*", "*", "\xc3\xa4"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    for (size_t k = 0; k < sizeof ids / sizeof *ids; k++) {
      ae_ref other = {AE_STR("b"), ae_str_of(types[i]), ae_str_of(ids[k])};
      MUST(ae__filter_actor(&filter, &other) ==
           (part_fits(ref.type, other.type) && part_fits(ref.id, other.id)));
    }
  }
  return 0;
}
