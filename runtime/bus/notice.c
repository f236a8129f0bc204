/* A published record: copied when the first subscription takes some of it,
 * decoded when the first one looks into it. */
#include "bus/internal.h"

/* Most records are small and held for a moment: what they are copied to is
 * used again. */
#define SPARE_ROOM 512u
#define SPARES 256u

static ae__notice *notice_make(ae_bus *bus, size_t len) {
  size_t room = len > SPARE_ROOM ? len : SPARE_ROOM;
  ae__notice *notice = bus->spare;
  if (room == SPARE_ROOM && notice) {
    bus->spare = notice->next;
    bus->spares--;
    return notice;
  }
  notice = ae_alloc(sizeof *notice + room);
  notice->room = room;
  return notice;
}

static void notice_drop(ae__notice *notice) {
  ae_bus *bus = notice->bus;
  if (notice->room > SPARE_ROOM || bus->spares == SPARES) {
    ae_free(notice);
    return;
  }
  notice->next = bus->spare;
  bus->spare = notice;
  bus->spares++;
}

void ae__notices_free(ae_bus *bus) {
  while (bus->spare) {
    ae__notice *notice = bus->spare;
    bus->spare = notice->next;
    ae_free(notice);
  }
}

ae__notice *ae__notice_take(ae__news *news) {
  ae__notice *notice = news->notice;
  if (notice) {
    notice->holders++;
    return notice;
  }
  notice = notice_make(news->bus, news->record.len);
  notice->bus = news->bus;
  notice->topic = news->topic;
  notice->holders = 1;
  notice->decoded = false;
  notice->position = news->position;
  notice->index = news->index;
  notice->len = news->record.len;
  memcpy(notice->bytes, news->record.ptr, notice->len);
  news->notice = notice;
  return notice;
}

void ae__notice_release(ae__notice *notice) {
  if (notice && --notice->holders == 0) notice_drop(notice);
}

void ae__notice_walk(ae__notice *notice, ae_commit_cursor *cursor) {
  if (notice->decoded)
    ae_commit_walk(cursor, &notice->commit, notice->position);
  else
    ae_commit_trust(cursor, &notice->commit,
                    (ae_str){notice->bytes, notice->len}, notice->position);
  notice->decoded = true;
}

void ae__news_walk(ae__news *news, ae_commit_cursor *cursor) {
  if (news->decoded)
    ae_commit_walk(cursor, &news->commit, news->position);
  else
    ae_commit_trust(cursor, &news->commit, news->record, news->position);
  news->decoded = true;
}
