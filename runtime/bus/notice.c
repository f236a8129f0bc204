/* A published record: copied when the first subscription takes some of it,
 * decoded when the first one looks into it. */
#include "bus/internal.h"

static void move(ae_str *slice, const char *from, const char *to) {
  if (slice->ptr) slice->ptr = to + (slice->ptr - from);
}

/* The slices of a commit that was decoded in the record, in the copy. */
static void move_commit(ae_commit *commit, const char *from, const char *to) {
  move(&commit->ref.ns, from, to);
  move(&commit->ref.type, from, to);
  move(&commit->ref.id, from, to);
  move(&commit->module_revision, from, to);
  move(&commit->node, from, to);
  move(&commit->commands, from, to);
  move(&commit->events, from, to);
}

ae__notice *ae__notice_take(ae__news *news) {
  ae__notice *notice = news->notice;
  if (notice) {
    notice->holders++;
    return notice;
  }
  ae_str record = news->record;
  notice = ae_alloc(sizeof *notice + record.len);
  notice->holders = 1;
  notice->topic = news->topic;
  notice->position = news->position;
  notice->len = record.len;
  memcpy(notice->bytes, record.ptr, record.len);
  notice->decoded = news->decoded;
  if (news->decoded) {
    notice->commit = news->commit;
    move_commit(&notice->commit, record.ptr, notice->bytes);
  }
  news->notice = notice;
  return notice;
}

void ae__notice_release(ae__notice *notice) {
  if (notice && --notice->holders == 0) ae_free(notice);
}

static void decode(ae_str record, ae_commit *commit) {
  ae_error err = {0};
  if (ae_commit_decode(record, commit, &err) != AE_OK)
    ae_assert_failed(ae_error_text(&err), __FILE__, __LINE__);
  ae_error_clear(&err);
}

const ae_commit *ae__news_commit(ae__news *news) {
  if (!news->decoded && news->notice && news->notice->decoded)
    return &news->notice->commit;
  if (!news->decoded) decode(news->record, &news->commit);
  news->decoded = true;
  return &news->commit;
}

const ae_commit *ae__notice_commit(ae__notice *notice) {
  if (!notice->decoded)
    decode((ae_str){notice->bytes, notice->len}, &notice->commit);
  notice->decoded = true;
  return &notice->commit;
}
