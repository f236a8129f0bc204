/* The form in which one namespace leaves a store and enters another: NDJSON,
 * for people and programs of any language, exact to the byte. Format 1.
 *
 *   {"aether":"export","format":1,"namespace":NS,"commits":N,"time":µs}
 *   {"begin":{"actor_type","actor_id","version","shape","state","ids":[HEX…]}}
 *     an actor whose history starts after `version`, for retention removed what
 *     was before: its base snapshot, and the XXH3 of the command ids from
 *     before. More lines of one actor may follow, with ids alone.
 *   {"commit":{"id":UUID,"actor_type","actor_id","version","time","position",
 *     "module_revision","node","epoch","commands":[…],"events":[…],"sum":HEX}}
 *     one a commit, in the order of positions (which are not kept). A command:
 *     {"events","delay","id","digest":HEX,"reason","details","metadata"}; an
 *     event: {"type","revision","data","metadata"}. What is 0, empty or not
 *     there is left out. `sum`: of the record, as it was stored in NS.
 *   {"base":{…}}        a base snapshot of a history that is whole, like begin
 *   {"end":{"begins","commits","events","bases","lines","sum":HEX}}
 *     lines: those before. The sum starts at 0; each line without its newline
 *     makes it XXH3(sum, 8 bytes little-endian, then XXH3(line), the same).
 *
 * A value that JSON does not give back to the byte (binary, other keys than
 * strings) stands as base64 of msgpack under its name with "_msgpack" behind.
 */
#ifndef AE_NODE_STREAM_H
#define AE_NODE_STREAM_H

#include "event/event.h"
#include "store/keep.h"

#define AE__STREAM_FORMAT 1
/* A record in JSON takes more than it does in msgpack. */
#define AE__STREAM_LINE_MAX (64u << 20)

/* -- writing: a line without its newline is appended -- */
void ae__stream_put_header(ae_buf *out, ae_str ns, uint64_t commits);
/* AE_OK: read back, it makes the record again, to the byte. Else
 * AE_REPLAY_ERROR. */
ae_status ae__stream_put_commit(ae_buf *out, ae_str record, uint64_t position,
                                ae_error *err);
/* `key` "begin" or "base"; ids from..to; `state` is left out where from > 0. */
void ae__stream_put_base(ae_buf *out, const char *key, const ae_base *base,
                         uint32_t from, uint32_t to);

/* The running sum; starts at 0. */
uint64_t ae__stream_sum(uint64_t sum, ae_str line);

typedef struct ae__stream_end {
  uint64_t begins, commits, events, bases, lines, sum;
} ae__stream_end;
void ae__stream_put_end(ae_buf *out, const ae__stream_end *end);

/* -- reading -- */
typedef enum ae__stream_kind {
  AE__STREAM_HEADER,
  AE__STREAM_BEGIN,
  AE__STREAM_COMMIT,
  AE__STREAM_BASE,
  AE__STREAM_END,
} ae__stream_kind;

/* One line. Zeroed before the first, kept for the next, cleared at the end.
 * Slices live until the next. */
typedef struct ae__stream_line {
  ae__stream_kind kind;
  ae_str ns;        /* HEADER */
  uint64_t commits; /* HEADER */
  ae_base base;     /* BEGIN, BASE; ref without ns */
  ae_commit commit; /* COMMIT; ref without ns, counts set */
  uint64_t position;
  uint64_t sum; /* COMMIT */
  bool summed;
  ae__stream_end end; /* END */
  /* private */
  ae_buf json, commands, events, blobs, ids, record;
  uint32_t command_count;
} ae__stream_line;
/* AE_MALFORMED says what is wrong. */
ae_status ae__stream_read(ae__stream_line *line, ae_str text, ae_error *err);
void ae__stream_clear(ae__stream_line *line);
/* The record of a COMMIT under a namespace; a slice of `line`. Where the line
 * has a sum, `home`, the namespace of the header, must give it: AE_MALFORMED.
 */
ae_status ae__stream_record(ae__stream_line *line, ae_str home, ae_str ns,
                            ae_str *out, ae_error *err);

#endif
