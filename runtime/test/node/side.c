#include "node/side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void side_reopen(side *s) {
  char url[128] = "memory";
  if (s->folder[0]) snprintf(url, sizeof url, "sqlite:%s/events.db", s->folder);
  const ae_store_options options = {.url = url, .ordered = true};
  assert_int_equal(ae_store_open(&s->loop, &options, &s->store, NULL), AE_OK);
}

void side_open(side *s, bool file) {
  *s = (side){.time = 1700000000000000};
  assert_int_equal(ae_loop_init(&s->loop, NULL), AE_OK);
  if (file) {
    const char *tmp = getenv("TMPDIR");
    snprintf(s->folder, sizeof s->folder, "%.40s/transfer-XXXXXX",
             tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(s->folder));
  }
  side_reopen(s);
}

static void nothing(void *data) {
  (void)data;
}

void side_close_store(side *s) {
  ae_store_close(s->store, nothing, NULL);
  ae_loop_run(&s->loop);
}

void side_close(side *s) {
  side_close_store(s);
  ae_loop_clear(&s->loop);
  if (!s->folder[0]) return;
  ae_buf command = {0};
  ae_buf_printf(&command, "rm -rf '%s'", s->folder);
  assert_int_equal(system(ae_buf_cstr(&command)), 0);
  ae_buf_clear(&command);
}

typedef struct appended {
  ae_append append;
  ae_status status;
} appended;

static void on_append(ae_append *append) {
  AE_CONTAINER(append, appended, append)->status = append->status;
}

ae_ref side_ref(const char *text) {
  ae_ref ref;
  assert_int_equal(ae_ref_parse(ae_str_of(text), &ref, NULL), AE_OK);
  return ref;
}

void side_append(side *s, const char *actor, uint64_t expected, uint32_t events,
                 uint32_t ids, ae_buf record) {
  appended one = {.append = {.ref = side_ref(actor),
                             .expected_version = expected,
                             .event_count = events,
                             .id_count = ids,
                             .record = record,
                             .cb = on_append},
                  .status = AE_CANCELED};
  assert_int_equal(ae_store_append(s->store, &one.append, NULL), AE_OK);
  ae_loop_run(&s->loop);
  assert_int_equal(one.status, AE_OK);
}
