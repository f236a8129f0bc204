/* A command id takes effect at most once: the ids that a record holds. */
#ifndef AE_STORE_ONCE_H
#define AE_STORE_ONCE_H

#include "event/event.h"

/* Walks the ids of a record's commands. */
typedef struct ae__once {
  ae_commit commit;
  ae_unpack commands; /* those not looked at yet */
  uint32_t left;
} ae__once;

/* AE_REPLAY_ERROR for a record that cannot be decoded. */
ae_status ae__once_init(ae__once *once, ae_str record, ae_error *err);
/* The next command's id; false: no more. Slices live as long as the record. */
bool ae__once_next(ae__once *once, ae_str *id);
/* The record holds a command with that id, or stands for one that did: the
 * index, which alone knows, says so. */
bool ae__once_holds(ae_str record, ae_str id);
/* Of an id, for an index. Part of the SQLite format: never changes. */
uint64_t ae__once_hash(ae_str id);

#endif
