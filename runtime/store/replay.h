/* From pages of records to events, with damage reported and the rest given. */
#ifndef AE_STORE_REPLAY_H
#define AE_STORE_REPLAY_H

#include "store/read.h"

typedef struct ae_replay {
  const ae_page *page;
  uint32_t at; /* next record */
  bool in_commit;
  ae_commit commit; /* of the events given at present */
  ae_commit_cursor cursor;
  uint64_t from, to; /* versions outside are left out */
} ae_replay;

/* `from`..`to` as in ae_read; 0..UINT64_MAX for a scan. */
void ae_replay_init(ae_replay *replay, const ae_page *page, uint64_t from,
                    uint64_t to);
/* AE_OK and an event; AE_NOT_FOUND at the page's end; AE_REPLAY_ERROR for a
 * record that cannot be read, with actor, version, position, cause and bytes
 * (first 64, as hex) as facts: the next call goes on behind it. */
ae_status ae_replay_next(ae_replay *replay, ae_event *event, ae_error *err);

#endif
