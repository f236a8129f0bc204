/* Lines of an export from anywhere: what is understood makes a record that is
 * one, and is written as a line that makes it again. */
#include <stdio.h>
#include <stdlib.h>

#include "node/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae__stream_line line = {0};
  ae_error err = {0};
  ae_str record;
  ae_buf again = {0};
  ae_str text = {(const char *)data, len};
  ae_str ns = AE_STR("bank");
  ae_status status = ae__stream_read(&line, text, &err);
  if (status != AE_OK) {
    MUST(err.status == status && err.message.len > 0);
  } else if (line.kind == AE__STREAM_COMMIT &&
             ae__stream_record(&line, ns, ns, &record, &err) == AE_OK) {
    ae_commit commit;
    MUST(ae_commit_decode(record, &commit, NULL) == AE_OK);
    MUST(ae__stream_put_commit(&again, record, 1, &err) == AE_OK);
  } else if (line.kind == AE__STREAM_BEGIN || line.kind == AE__STREAM_BASE) {
    if (line.base.state.len > 0)
      ae__stream_put_base(&again, "base", &line.base, 0, line.base.id_count);
  }
  ae__stream_clear(&line);
  ae_buf_clear(&again);
  ae_error_clear(&err);
  return 0;
}
