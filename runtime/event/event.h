/* The stored record. An event is a fact; a commit is what one append stored:
 * the events of one or more commands, and what is kept of the commands.
 *
 * A record, format 1 (all integers little-endian, the rest msgpack):
 *
 *   u8   format = 1
 *   u64  XXH3 of all that follows
 *   str  namespace, str type, str id
 *   uint first version: that of its first event; without events, the version
 *        it leaves the actor at, plus 1
 *   uint time, µs since 1970 UTC
 *   bin  commit id (UUIDv7); event n has this id plus n
 *   str  module revision, str node, uint epoch
 *   array of commands, each an array:
 *        [event count, µs behind the commit's time, id | nil, digest,
 *         reason | nil, details | nil, metadata | nil]
 *   array of events, each an array: [type, revision, data, metadata | nil]
 *
 * Commands without an id and without events are not kept. The events of a
 * command follow those of the command before it. */
#ifndef AE_EVENT_EVENT_H
#define AE_EVENT_EVENT_H

#include "base/pack.h"
#include "base/uuid7.h"
#include "event/ref.h"

#define AE_RECORD_FORMAT 1

/* A command as its commit keeps it. Slices live as long as the record. */
typedef struct ae_commit_command {
  uint32_t events; /* how many of the commit's events are its */
  uint32_t delay;  /* µs behind the commit's time */
  ae_str id;       /* ptr NULL: none */
  uint64_t digest; /* of name and canonical data; 0 without an id */
  ae_str reason;   /* ptr NULL: accepted; else why decide said no */
  ae_str details;  /* one msgpack value, or len 0 */
  ae_str metadata; /* one msgpack map, or len 0: goes on to its events */
} ae_commit_command;

/* What a record's header says. */
typedef struct ae_commit {
  ae_ref ref;
  uint64_t first_version;
  int64_t time;
  ae_uuid id;
  ae_str module_revision;
  ae_str node;
  uint64_t epoch;
  uint32_t command_count;
  uint32_t event_count;
  ae_str commands; /* encoded, without the array header */
  ae_str events;   /* encoded, without the array header */
} ae_commit;

/* One event, as everybody passes it on. Slices live as long as the record. */
typedef struct ae_event {
  ae_uuid id;
  ae_ref ref;
  ae_str type;
  uint64_t revision;
  uint64_t version;
  uint64_t position; /* of its commit; 0 while not stored */
  uint32_t index;    /* within its commit, from 0: cursor POSITION.INDEX */
  int64_t time;      /* µs since 1970 UTC */
  ae_str data;       /* one msgpack map */
  ae_str metadata;   /* the event's own: one msgpack map, or len 0 */
  ae_str command_metadata; /* its command's: one msgpack map, or len 0 */
  ae_str command_id;       /* ptr NULL: none */
  ae_str module_revision;
  ae_str node;
  uint64_t epoch;
} ae_event;

/* Appends one record to `out`. `commit` gives all but the counts and slices of
 * commands and events; `events` are event arrays as above, one after the
 * other, `event_count` of them. */
void ae_commit_encode(ae_buf *out, const ae_commit *commit,
                      const ae_commit_command *commands, uint32_t command_count,
                      ae_str events, uint32_t event_count);

/* Checks format, sum, names and the whole shape, and fills `out` with slices
 * of `record`. AE_REPLAY_ERROR with `cause` for damage; a format newer than
 * this program's says so. */
ae_status ae_commit_decode(ae_str record, ae_commit *out, ae_error *err);
/* Only whether its bytes fit its sum; true where the format is a newer one. */
bool ae_commit_is_whole(ae_str record);

/* The version after the commit: first_version - 1 + event_count. */
uint64_t ae_commit_version(const ae_commit *commit);

/* Walks a decoded commit's commands and events side by side. */
typedef struct ae_commit_cursor {
  const ae_commit *commit;
  uint64_t position;
  ae_unpack commands;
  ae_unpack events;
  uint32_t commands_left;
  uint32_t index;      /* of the next event */
  uint32_t of_command; /* events that the present command still has */
  ae_commit_command command;
} ae_commit_cursor;
void ae_commit_walk(ae_commit_cursor *cursor, const ae_commit *commit,
                    uint64_t position);
/* Decodes and walks at once a record that this process has just encoded, or
 * decoded before: of what it holds nothing is checked. */
void ae_commit_trust(ae_commit_cursor *cursor, ae_commit *commit, ae_str record,
                     uint64_t position);
/* The next event, false at the end. */
bool ae_commit_next(ae_commit_cursor *cursor, ae_event *event);
/* The command with this id, and the index of its first event; false: none. */
bool ae_commit_find(const ae_commit *commit, ae_str id, ae_commit_command *out,
                    uint32_t *first_event);
/* Calls back for each command of the commit, in order. */
bool ae_commit_command_next(ae_unpack *commands, ae_commit_command *out);

/* The event as the doors show it (DESIGN.md section 6): one msgpack map;
 * metadata is command's, then event's own, then what the host adds. */
void ae_event_render(const ae_event *event, ae_buf *out);
/* Only the merged metadata map. With `host` the host's own keys too. */
void ae_event_metadata(const ae_event *event, bool host, ae_buf *out);

/* Of name and canonical data, for recognising a repeated command id. */
uint64_t ae_command_digest(ae_str name, ae_str data);

#endif
