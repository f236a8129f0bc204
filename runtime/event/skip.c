#include "event/skip.h"

static void put_event(ae_buf *out, ae_str cause) {
  ae_pack_array(out, 4);
  ae_pack_cstr(out, AE_EVENT_SKIPPED);
  ae_pack_uint(out, 1);
  ae_pack_map(out, cause.len > 0);
  if (cause.len > 0) {
    ae_pack_cstr(out, "cause");
    ae_pack_text(out, cause);
  }
  ae_pack_nil(out);
}

void ae_skip_encode(ae_buf *out, const ae_commit *commit, uint32_t events,
                    ae_str cause) {
  ae_buf packed = {0};
  ae_commit_command command = {.events = events};
  for (uint32_t i = 0; i < events; i++)
    put_event(&packed, i == 0 ? cause : (ae_str){0});
  ae_commit_encode(out, commit, &command, 1, ae_buf_view(&packed), events);
  ae_buf_clear(&packed);
}

bool ae_skip_is(const ae_commit *commit) {
  if (commit->event_count == 0) return commit->command_count == 0;
  ae_commit_cursor cursor;
  ae_event event;
  ae_commit_walk(&cursor, commit, 0);
  return ae_commit_next(&cursor, &event) &&
         ae_str_eq(event.type, AE_STR(AE_EVENT_SKIPPED));
}
