/* Live actors: what runs commands through aggregates and stores what they
 * decide. Appends first; whoever listens is told after it, in the order of an
 * actor's versions, before the commands get their outcomes.
 *
 * A table holds the live actors under a cap; idle ones leave, those first that
 * were not used of late, and are rebuilt from snapshot and events when next
 * used. What a namespace may take is limited here, for all doors. */
#ifndef AE_ACTOR_ACTOR_H
#define AE_ACTOR_ACTOR_H

#include "base/list.h"
#include "bus/bus.h"
#include "namespace/limits.h"
#include "script/script.h"
#include "store/store.h"

typedef struct ae_actors ae_actors; /* of one store */
typedef struct ae_realm ae_realm;   /* one namespace in it */

typedef struct ae_actors_options {
  const char *node;   /* name, for metadata; NULL: none */
  size_t queue_limit; /* commands of a namespace waiting, 0: 65,536; above it
                         AE_OVERLOADED */
  ae_bus *bus;        /* told of what was stored; outlives the actors. NULL:
                         none */
} ae_actors_options;

ae_actors *ae_actors_new(ae_loop *loop, ae_store *store,
                         const ae_actors_options *options);
/* Waits for what is in flight (outcomes are given), then `cb`, then it and its
 * realms are gone. The store and the scripts stay the caller's. */
void ae_actors_close(ae_actors *actors, void (*cb)(void *data), void *data);

/* `name` must outlive it, and so must `script` or what was swapped for it.
 * `limits` is copied; NULL: none; without
 * one of live actors it is 100,000. `policy`: the namespace's retry policy, len
 * 0: none.
 *
 * Commands above a limit get AE_OVERLOADED (ae_limit_refuse). Commands a second
 * are counted as they come; what is not understood does not count. Each takes
 * an event's room and, when it is answered, pays for what it stored: one with
 * several events leaves a debt, and the next are refused until it is paid.
 * Bytes are those of stored records, asked of the store before the first
 * command is decided, then counted with each commit: exact, but what is under
 * way when the limit is reached is still stored. While it is over, the store
 * is asked now and then whether there is less. An actor that is at work is not
 * evicted for another. Each node counts for itself. */
ae_realm *ae_actors_realm(ae_actors *actors, ae_str name, ae_script *script,
                          const ae_limits *limits, ae_str policy);

/* Another script takes the place of the realm's, between two commands: what was
 * decided is stored as it was, what was not is decided by the new one, and live
 * actors are rebuilt from snapshot and events when they are next used. Takes no
 * longer for many actors than for few. The old script is used no more: the
 * caller closes it, on any thread. Not to be called from a callback of the
 * actors, which may be using it. The realm's policy must be in the new one. */
void ae_actors_swap(ae_realm *realm, ae_script *script);
ae_script *ae_realm_script(const ae_realm *realm);
/* Up to so many live actors, mostly those used of late first; `ref` lives until
 * the return. */
void ae_realm_recent(const ae_realm *realm, uint32_t most,
                     void (*each)(void *data, const ae_ref *ref), void *data);

/* What is known of an actor does not hold any more, for its history was changed
 * in the store: it is built anew when next used. One that is not live, or of no
 * namespace or type that there is, needs nothing. */
void ae_actors_forget(ae_actors *actors, const ae_ref *ref);

/* What became of a command. Lives until the callback returns. */
typedef struct ae_outcome {
  ae_status status;  /* AE_OK: accepted; AE_REJECTED; AE_VERSION_CONFLICT;
                        others: failed */
  uint64_t version;  /* the actor's after it (accepted and rejected) */
  uint64_t position; /* of its commit; 0 where nothing was stored */
  bool repeated;     /* the outcome of the same id before */
  uint32_t event_count;
  const ae_error *error;     /* status ≠ AE_OK */
  uint32_t first_event;      /* private: index in the commit */
  uint32_t given;            /* private: events given so far */
  struct ae__stored *stored; /* private: the commit, decoded when asked for */
} ae_outcome;

/* The command's next stored event; false behind the last. Only while the
 * callback runs; each event is given once. */
bool ae_outcome_event(ae_outcome *outcome, ae_event *event);

typedef struct ae_command ae_command;
typedef void (*ae_command_cb)(ae_command *command, ae_outcome *outcome);
/* The caller's memory, zeroed before use, and all it points at, kept until the
 * callback. */
struct ae_command {
  ae_ref ref;
  ae_str name;
  ae_str data;     /* msgpack map */
  ae_str id;       /* ptr NULL: none */
  ae_str metadata; /* msgpack map or len 0 */
  bool expects;    /* expected_version is set */
  uint64_t expected_version;
  ae_command_cb cb; /* exactly once, never before submit returned */
  void *context;    /* the caller's */
  /* private */
  ae_list link;
  ae_list id_link;           /* among its actor's commands with an id */
  struct ae_command *joined; /* the same id, waiting for this one's outcome */
  uint64_t digest;           /* with an id: of name and data */
  uint64_t submitted;        /* ae_loop_time */
  uint64_t started;          /* ns, monotonic, at its first conflict */
  uint32_t attempt;          /* conflicts so far */
  uint8_t marks;
};
/* Never fails at once: what is wrong with it is its outcome. What is submitted
 * in one turn of the loop is decided and handed to the store together. */
void ae_actors_submit(ae_actors *actors, ae_command *command);
/* Shows every command with what became of it to `each`, before its own
 * callback; the outcome's events can be fetched there too. NULL: no more. */
void ae_actors_observe(ae_actors *actors,
                       void (*each)(void *data, const ae_command *command,
                                    ae_outcome *outcome),
                       void *data);

/* An actor's state, now or as it was. */
typedef struct ae_state_read ae_state_read;
struct ae_state_read {
  ae_ref ref;
  uint64_t at; /* UINT64_MAX: now */
  /* `state`: msgpack, until the return */
  void (*cb)(ae_state_read *read, ae_status status, uint64_t version,
             ae_str state, const ae_error *err);
  void *data;
};
/* Never fails at once. Beyond the latest version: AE_NOT_FOUND. */
void ae_actors_state(ae_actors *actors, ae_state_read *read);

/* Upper bounds in ns, rising, of what commands took from submit to outcome. */
#define AE_TOOK 18
extern const uint64_t ae_took_bounds[AE_TOOK];

typedef struct ae_type_counts {
  uint64_t commands, accepted, rejected, conflicts, retries, failed, events;
  uint64_t loaded, evicted, snapshots;
  uint64_t took_ns;           /* all commands together */
  uint64_t took[AE_TOOK + 1]; /* commands at or below each bound and above the
                                 one before; the last: above all */
} ae_type_counts;
/* Calls `each` for every aggregate that was used. */
void ae_actors_counts(ae_actors *actors,
                      void (*each)(void *data, ae_str ns, ae_str type,
                                   const ae_type_counts *counts),
                      void *data);
size_t ae_realm_live(const ae_realm *realm);

typedef struct ae_realm_counts {
  ae_limits limits;
  size_t live;
  uint64_t bytes; /* of stored records; 0 where they are not limited */
  uint64_t refused[AE_LIMIT_COUNT]; /* commands, by limit */
} ae_realm_counts;
void ae_realm_count(const ae_realm *realm, ae_realm_counts *out);

#endif
