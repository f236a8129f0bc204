#include "store/replay.h"

#include <stdio.h>

void ae_replay_init(ae_replay *replay, const ae_page *page, uint64_t from,
                    uint64_t to) {
  *replay = (ae_replay){.page = page, .from = from, .to = to};
}

static ae_status damaged(const ae_record *record, const char *cause,
                         ae_error *err) {
  if (!err) return AE_REPLAY_ERROR;
  ae_buf actor = {0};
  char hex[64 * 2 + 1] = "";
  char why[512];
  snprintf(why, sizeof why, "%s", cause);
  ae_ref_format(&record->ref, &actor);
  for (size_t i = 0; i < record->bytes.len && i < 64; i++)
    snprintf(hex + 2 * i, 3, "%02x", (unsigned char)record->bytes.ptr[i]);
  ae_error_set(err, AE_REPLAY_ERROR,
               "the stored record of %.*s at version %llu, position %llu, "
               "cannot be read: %s",
               AE_FMT(ae_buf_view(&actor)),
               (unsigned long long)record->first_version,
               (unsigned long long)record->position, why);
  ae_error_str(err, "actor", ae_buf_view(&actor));
  ae_error_uint(err, "version", record->first_version);
  ae_error_uint(err, "position", record->position);
  ae_error_cstr(err, "cause", why);
  ae_error_cstr(err, "bytes", hex);
  ae_buf_clear(&actor);
  return AE_REPLAY_ERROR;
}

static ae_status enter(ae_replay *replay, const ae_record *record,
                       ae_error *err) {
  ae_error inner = {0};
  ae_status status = ae_commit_decode(record->bytes, &replay->commit, &inner);
  if (status != AE_OK)
    status = damaged(record, ae_error_text(&inner), err);
  else if (!ae_ref_eq(&replay->commit.ref, &record->ref))
    status = damaged(record, "it is another actor's", err);
  else if (replay->commit.first_version != record->first_version ||
           replay->commit.event_count != record->event_count)
    status = damaged(record, "its versions are not those of the index", err);
  ae_error_clear(&inner);
  return status;
}

ae_status ae_replay_next(ae_replay *replay, ae_event *event, ae_error *err) {
  for (;;) {
    if (replay->in_commit) {
      while (ae_commit_next(&replay->cursor, event)) {
        if (event->version >= replay->from && event->version <= replay->to)
          return AE_OK;
      }
      replay->in_commit = false;
    }
    if (replay->at >= replay->page->count) return AE_NOT_FOUND;
    const ae_record *record = &replay->page->records[replay->at++];
    ae_status status = enter(replay, record, err);
    if (status != AE_OK) return status;
    ae_commit_walk(&replay->cursor, &replay->commit, record->position);
    replay->in_commit = true;
  }
}
