/* What comes from other nodes: any bytes, and an event that was changed. What
 * is taken can be shown, and shown again it is the same. */
#include <stdio.h>
#include <stdlib.h>

#include "bus/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max,
                               unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static void sample(ae_buf *out) {
  ae_event event = {
      .ref = {AE_STR("bank"), AE_STR("account"), AE_STR("a")},
      .type = AE_STR("Opened"),
      .revision = 1,
      .version = 2,
      .position = 3,
      .index = 4,
      .time = 1700000000000000,
      .data = AE_STR("\x81\xa1"
                     "a\x05"),
      .command_metadata = AE_STR("\x81\xacwhatsoever__\x05"),
      .command_id = AE_STR("c"),
      .module_revision = AE_STR("r"),
      .node = AE_STR("n"),
      .epoch = 5,
  };
  ae_event_render(&event, out);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max,
                               unsigned seed) {
  ae_buf body = {0};
  if (len < 20 || seed % 1000 == 0) {
    sample(&body);
    if (body.len <= max) {
      len = body.len;
      memcpy(data, body.ptr, len);
    }
    ae_buf_clear(&body);
  }
  return LLVMFuzzerMutate(data, len, max);
}

/* The event in what was read, rendered. */
static void show(const ae_buf *record, const ae__told *told, ae_buf *out) {
  ae_commit commit;
  ae_commit_cursor cursor;
  ae_event event, more;
  ae_commit_trust(&cursor, &commit, ae_buf_view(record), told->position);
  MUST(ae_commit_next(&cursor, &event));
  MUST(ae_ref_eq(&event.ref, &told->ref));
  event.index += told->index;
  ae_event_render(&event, out);
  MUST(!ae_commit_next(&cursor, &more));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str body = {(const char *)data, len};
  ae_buf record = {0}, shown = {0}, again = {0};
  ae__told told;
  ae_error err = {0};
  ae_status status =
      ae__remote_read(body, AE_STR("bank"), &record, &told, &err);
  MUST(status == AE_OK || status == AE_MALFORMED || status == AE_REPLAY_ERROR);
  MUST((err.message.len > 0) == (status != AE_OK));
  if (status == AE_OK) {
    MUST(ae_str_eq(told.ref.ns, AE_STR("bank")));
    show(&record, &told, &shown);
    MUST(!ae__remote_read(ae_buf_view(&shown), AE_STR("bank"), &record, &told,
                          NULL));
    show(&record, &told, &again);
    MUST(ae_str_eq(ae_buf_view(&shown), ae_buf_view(&again)));
  }
  ae_error_clear(&err);
  ae_buf_clear(&record);
  ae_buf_clear(&shown);
  ae_buf_clear(&again);
  return 0;
}
