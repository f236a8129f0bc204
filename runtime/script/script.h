/* The Lua host: one sandboxed state per namespace and module revision. Bytes
 * in, decisions out; it knows no store, no bus and no actor. Sole owner of
 * lua.h. All values cross as msgpack.
 *
 * Every call is synchronous, on one thread, and answers with a status: a Lua
 * error, a broken contract, a value that cannot be stored and refused memory
 * are AE_SCRIPT_ERROR, AE_CONTRACT_ERROR, AE_VALUE_ERROR and AE_SCRIPT_MEMORY
 * with facts `module`, `line`, `message`, `traceback` (of the script only).
 *
 * A handler that takes too long is stopped wherever it is: AE_SCRIPT_TIMEOUT,
 * with facts `module`, `limit` and `took` (ms of CPU time; counting begins some
 * ms after the call did). All states of actors in the script are
 * gone then (ae_script_holds); its modules are loaded anew at once, and it can
 * be used as before. A module that is stopped several times in a row is
 * quarantined: its calls answer AE_MODULE_QUARANTINED with `module`, `since`
 * (µs since 1970) and `cause`, until another script takes its place. */
#ifndef AE_SCRIPT_SCRIPT_H
#define AE_SCRIPT_SCRIPT_H

#include "base/log.h"
#include "base/status.h"
#include "base/uuid7.h"

typedef struct ae_script ae_script;
typedef struct ae_module ae_module;

typedef enum ae_module_kind {
  AE_MODULE_LIBRARY,
  AE_MODULE_AGGREGATE,
  AE_MODULE_PROJECTION,
  AE_MODULE_PROCESS,
  AE_MODULE_POLICY,
} ae_module_kind;

/* The text of a module, by its name. */
typedef struct ae_script_source {
  ae_str name;
  ae_str text;
} ae_script_source;

typedef struct ae_script_options {
  ae_str ns;          /* for messages */
  const char *folder; /* the namespace's modules: *.lua in it, not below */
  const ae_script_source *sources; /* instead of what is in the folder now */
  size_t source_count;             /* 0: none */
  size_t memory_limit;             /* bytes the state may take; 0: 64 MB */
  double handler_ms; /* CPU time that a handler may take; 0: 50. A module may
                        take ten times as long to load */
  unsigned patience; /* times in a row that a module is stopped before it is
                        quarantined; 0: 3 */
  bool strict;       /* catch a decide that changes its state (dev, test) */
  /* print and aether.log; `actor` is NAMESPACE/TYPE/ID, or len 0 outside of
   * its handlers. NULL: ae_log. */
  void (*log)(void *data, ae_log_level level, ae_str module, ae_str actor,
              ae_str text);
  /* Each mistake found while loading, not only the first. May be NULL. */
  void (*mistake)(void *data, const ae_error *err);
  void *data;
} ae_script_options;

/* Loads and checks every module of the folder. On failure nothing is kept and
 * `err` has the first mistake (module, line, what to do). A folder without
 * modules is AE_CONTRACT_ERROR. A script belongs to no thread: any can use it,
 * one at a time. */
ae_status ae_script_open(const ae_script_options *options, ae_script **out,
                         ae_error *err);
void ae_script_close(ae_script *script); /* NULL is harmless */

/* A digest of all module files (16 hex digits): metadata.module_revision. */
ae_str ae_script_revision(const ae_script *script);
size_t ae_script_memory(const ae_script *script); /* bytes taken now */
/* Handlers that were stopped so far, each with a state that was abandoned. */
uint64_t ae_script_stops(const ae_script *script);
/* A full garbage collection: after many states were dropped. */
void ae_script_collect(ae_script *script);

/* -- modules: live as long as the script -- */
/* In the order of their names; NULL behind the last. */
ae_module *ae_script_module_at(ae_script *script, size_t index);
/* NULL: none of that name. Library modules are found too. */
ae_module *ae_script_find(ae_script *script, ae_str name);
/* AE_OK and an aggregate, or AE_UNKNOWN_TYPE with `name` and `nearest`. */
ae_status ae_script_aggregate(ae_script *script, ae_str name, ae_module **out,
                              ae_error *err);

ae_module_kind ae_module_kind_of(const ae_module *module);
const char *ae_module_kind_word(ae_module_kind kind);
ae_str ae_module_name(const ae_module *module);
const char *ae_module_file(const ae_module *module);
/* Since when (µs since 1970) it is quarantined, and why; 0: it is not. */
int64_t ae_module_quarantined(const ae_module *module, ae_str *cause);
/* AE_OK, or what its calls answer: AE_MODULE_QUARANTINED. */
ae_status ae_module_refused(const ae_module *module, ae_error *err);
ae_str ae_module_source(const ae_module *module); /* as it was loaded */
int64_t ae_module_snapshot_shape(const ae_module *module);  /* 0: none */
uint64_t ae_module_snapshot_every(const ae_module *module); /* 0: never */
ae_str ae_module_retry(const ae_module *module); /* policy; len 0: not named */
/* Names of its commands, events or rows' events, sorted; NULL behind the last.
 * They live until the next call that runs code of the script. */
const char *ae_module_command_at(const ae_module *module, size_t index);
const char *ae_module_event_at(const ae_module *module, size_t index);
/* Whether a stored event of this type and revision can be taken in, by what the
 * module says of itself: it is evolved, or upcast from there. */
bool ae_module_takes(const ae_module *module, ae_str type, uint64_t revision);
/* The revision that new events of the type have; 0: it makes none. */
uint64_t ae_module_revision(const ae_module *module, ae_str type);
/* The n-th event type that it evolves or upcasts, and up to which revision it
 * may take it in; false behind the last. */
bool ae_module_type_at(const ae_module *module, size_t index, ae_str *type,
                       uint64_t *last);
/* Appends a JSON Schema (as msgpack) of a command's data; false: it has none */
bool ae_module_command_schema(ae_module *module, ae_str command, ae_buf *out);

/* -- states of actors: values held in the script, by number -- */
typedef uint64_t ae_state; /* 0: none. A number is never given twice */

/* Whether the script still holds it: all are gone once a handler was stopped,
 * and another script has none of them. One that is gone, or of no module, can
 * be dropped; to all other calls it is AE_NOT_FOUND. */
bool ae_script_holds(const ae_module *module, ae_state state);

/* A copy of the aggregate's `initial`. */
ae_status ae_script_initial(ae_module *module, ae_state *out, ae_error *err);
/* From canonical msgpack and back. `out` is appended to. */
ae_status ae_script_load(ae_module *module, ae_str bytes, ae_state *out,
                         ae_error *err);
ae_status ae_script_dump(ae_module *module, ae_state state, ae_buf *out,
                         ae_error *err);
void ae_script_drop(ae_module *module, ae_state state); /* 0 is harmless */

/* An event as evolve and policies get it, upcast first. One whose type begins
 * with "$" is the host's own: no module can make it, and Lua never sees it. */
typedef struct ae_script_event {
  ae_uuid id;
  ae_str type;
  uint64_t revision;
  uint64_t version;
  int64_t time;            /* µs since 1970 */
  ae_str data;             /* msgpack map */
  ae_str metadata;         /* msgpack map or len 0, the event's own */
  ae_str command_metadata; /* msgpack map or len 0 */
} ae_script_event;

static inline bool ae_script_is_hosts(const ae_script_event *event) {
  return event->type.len > 0 && event->type.ptr[0] == '$';
}

/* Evolves `state` in place by stored events, oldest first. On failure `*done`
 * says how many were taken in, and the state must be dropped. */
ae_status ae_script_evolve(ae_module *module, ae_state state, ae_str ns,
                           ae_str id, const ae_script_event *events,
                           size_t count, size_t *done, ae_error *err);

/* decide, then evolve by what it decided, in one call into Lua. */
typedef struct ae_decide {
  ae_str command;
  ae_str data;      /* msgpack map */
  ae_str metadata;  /* msgpack map or len 0 */
  ae_str ns, id;    /* of the actor */
  uint64_t version; /* the state's */
  int64_t now;      /* µs since 1970 */
  uint64_t seed;    /* of ctx.uuid() and ctx.random() */
  ae_uuid first_id; /* of the first event it makes (for evolve's third) */
  ae_buf *events;   /* event arrays appended: [type, revision, data,
                       metadata | nil], as event/event.h has them */
  /* out */
  bool rejected;
  uint32_t event_count; /* appended; 0 where rejected or nothing happened */
  ae_buf reason;        /* rejected: a word. Caller clears */
  ae_buf details;       /* rejected: one msgpack value, or empty */
} ae_decide;
/* AE_OK: decided (accepted or rejected), the state is evolved.
 * AE_INVALID_COMMAND (path, expected, got) and AE_UNKNOWN_COMMAND (name,
 * nearest): the state is untouched and usable. Any other status: nothing is
 * appended to `events` and the state must be dropped. */
ae_status ae_script_decide(ae_module *module, ae_state state, ae_decide *decide,
                           ae_error *err);

/* Asks a policy of the script (or the standard library's) about a conflict. */
typedef struct ae_retry {
  ae_str ns, type, id;
  uint64_t attempted_version;
  uint64_t current_version;
  uint32_t attempt; /* 1 at the first conflict */
  double elapsed_ms;
  ae_str command, data, metadata;
  bool expected_by_caller;
  uint64_t seed;
  ae_module *aggregate;          /* upcasts the events */
  const ae_script_event *events; /* that others stored meanwhile */
  size_t event_count;
  /* out */
  bool again;
  double delay_ms;
  ae_buf reason; /* gave up: a word. Caller clears */
} ae_retry;
/* `policy`: "" for the default, backoff. AE_UNKNOWN_… never: names are checked
 * at load, see ae_script_policy. */
ae_status ae_script_retry(ae_script *script, ae_str policy, ae_retry *retry,
                          ae_error *err);
/* AE_CONTRACT_ERROR with nearest for a policy that is nowhere. */
ae_status ae_script_policy(ae_script *script, ae_str name, ae_error *err);

/* -- files that are Lua but no module -- */
/* Runs a settings file (aether.lua) in a bare sandbox; the table it returns is
 * appended to `out` as msgpack. */
ae_status ae_script_settings(const char *file, ae_buf *out, ae_error *err);
/* `aether test`: busted's runner inside this process, in a plain Lua state
 * whose `require` finds the embedded standard library; argv as busted's. The
 * exit status is busted's, or 3 with `err` where busted is not installed. */
int ae_script_busted(const char *app_folder, int argc, char **argv,
                     ae_error *err);
/* Decide + evolve with msgpack in C and no store: the limit that
 * `aether bench limit` reports. Runs `count` commands round-robin over
 * `states`; adds the bytes it made to *bytes. */
ae_status ae_script_limit(ae_module *module, ae_state *states, size_t nstates,
                          ae_str command, ae_str data, uint64_t count,
                          uint64_t *bytes, ae_error *err);

#endif
