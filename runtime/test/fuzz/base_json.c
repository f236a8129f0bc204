/* Text → msgpack → text → msgpack stays the same; json-c takes whatever we
 * take; any msgpack at all is written as JSON. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static bool json_c_takes(ae_str text) {
  json_tokener *tokener = json_tokener_new_ex(100);
  json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
  json_object *root = json_tokener_parse_ex(tokener, text.ptr, (int)text.len);
  if (json_tokener_get_error(tokener) == json_tokener_continue) {
    root = json_tokener_parse_ex(tokener, "", 1);
  }
  bool taken = json_tokener_get_error(tokener) == json_tokener_success;
  json_object_put(root);
  json_tokener_free(tokener);
  return taken;
}

static void from_text(ae_str text) {
  ae_buf pack = {0}, again = {0}, written = {0}, pretty = {0};
  ae_error err = {0};
  if (ae_json_read(text, &pack, &err)) {
    MUST(pack.len == 0);
    MUST(err.status == AE_MALFORMED && err.nfacts == 1);
  } else {
    MUST(json_c_takes(text));
    MUST(ae_pack_valid(ae_buf_view(&pack)));
    ae_json_write(ae_buf_view(&pack), &written);
    MUST(!ae_json_read(ae_buf_view(&written), &again, &err));
    MUST(ae_str_eq(ae_buf_view(&pack), ae_buf_view(&again)));
    ae_buf_reset(&again);
    ae_json_write_pretty(ae_buf_view(&pack), 0, &pretty);
    MUST(!ae_json_read(ae_buf_view(&pretty), &again, &err));
    MUST(ae_str_eq(ae_buf_view(&pack), ae_buf_view(&again)));
  }
  ae_buf_clear(&pack);
  ae_buf_clear(&again);
  ae_buf_clear(&written);
  ae_buf_clear(&pretty);
  ae_error_clear(&err);
}

/* Msgpack can hold equal keys, NUL in keys and, inside an envelope, more
 * levels, which JSON refuses. */
static void from_msgpack(ae_str bytes) {
  ae_buf text = {0}, pack = {0};
  ae_error err = {0};
  ae_json_write(bytes, &text);
  MUST(ae_str_utf8(ae_buf_view(&text)));
  if (ae_json_read(ae_buf_view(&text), &pack, &err)) {
    MUST(strstr(ae_error_text(&err), "equal keys") ||
         strstr(ae_error_text(&err), "a key cannot hold") ||
         strstr(ae_error_text(&err), "more than 64 levels"));
  }
  ae_buf_clear(&text);
  ae_buf_clear(&pack);
  ae_error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str bytes = {(const char *)data, len};
  from_text(bytes);
  from_msgpack(bytes);
  return 0;
}
