/* What the files of this context share. */
#ifndef AE_ACTOR_INTERNAL_H
#define AE_ACTOR_INTERNAL_H

#include "actor/actor.h"
#include "base/map.h"
#include "base/mem.h"
#include "namespace/name.h"

typedef struct ae__actor ae__actor;
typedef struct ae__batch ae__batch;
typedef struct ae__loader ae__loader;

/* The place in ae_type_counts.took of a duration. */
unsigned ae__took(uint64_t ns);

/* An aggregate of a realm, with its live actors. */
typedef struct ae__type {
  ae_realm *realm;
  ae_module *module; /* NULL: the script has no such aggregate any more */
  ae_str name;       /* owned */
  ae_map actors;     /* id → ae__actor */
  ae_type_counts counts;
  struct ae__type *next;
} ae__type;

struct ae_realm {
  ae_actors *actors;
  ae_str name;
  ae_script *script;
  ae_str policy;
  size_t live;    /* live actors there are */
  size_t waiting; /* commands without an outcome */
  ae_list ring;   /* of its live actors; the head stands where the hand is */
  ae__type *types;
  uint64_t batches;  /* completed */
  uint64_t relieved; /* no relief before so many batches */
  /* quota.c */
  ae_limits limits;
  bool limited; /* some limit besides live actors */
  ae_bucket commands, events;
  uint64_t bytes; /* of stored records, where they are limited */
  bool measured;  /* `bytes` is known */
  bool measuring;
  ae_stats_read stats;
  uint64_t stored; /* bytes since `stats` was asked for */
  uint64_t asked;  /* ns, when */
  uint64_t due;    /* ns, not before it is asked again */
  ae_list parked;  /* commands that wait for `measured` */
  uint64_t refused[AE_LIMIT_COUNT];
};

/* Commands in order, by address: those of the next turn can be fetched side by
 * side, where a list would fetch one after the other. */
typedef struct ae__arrivals {
  ae_command **ring;
  size_t first, count;
  size_t cap; /* a power of two, or 0 */
} ae__arrivals;

struct ae_actors {
  ae_loop *loop;
  ae_store *store;
  ae_bus *bus; /* NULL: none */
  ae_str node;
  size_t queue_limit; /* of each realm's commands waiting */
  ae_map realms;      /* name → ae_realm */
  ae_uuid7 uuid;
  int64_t now;           /* µs, while flushing a turn's actors; else 0 */
  ae__arrivals incoming; /* submitted, not yet given to their actors */
  ae_list dirty;         /* actors that have something to do this turn */
  bool flushing;         /* `flush` is deferred */
  ae_task flush;
  size_t waiting;          /* commands without an outcome */
  size_t busy;             /* waiting, and what else keeps it from closing */
  ae__batch *pool;         /* batches for reuse */
  ae_buf events;           /* of the batch that is being decided */
  ae_commit_command *kept; /* the same batch's, for its commit */
  uint32_t kept_cap;
  ae_list delayed; /* retries that wait for their time */
  void (*observe)(void *data, const ae_command *command, ae_outcome *outcome);
  void *observe_data;
  bool closing;
  bool close_deferred;
  ae_task close;
  void (*closed)(void *data);
  void *closed_data;
};

/* See the state machine in command.c. */
typedef enum ae__phase {
  AE__COLD,
  AE__LOADING,
  AE__READY,
  AE__LOOKING,
  AE__COMMITTING,
} ae__phase;

/* What every command touches comes first: with thousands of actors each line of
 * the cache counts. */
struct ae__actor {
  ae__type *type;
  ae__batch *batch; /* LOOKING and COMMITTING */
  uint64_t version; /* of `state`; with a batch deciding: beyond the stored */
  uint64_t handle;  /* the store's own, ae_append */
  ae_list dirty;    /* in actors->dirty while it has something to do */
  ae_list queue;    /* commands not yet taken into a batch, in order */
  ae_state state;   /* 0 while COLD and LOADING; see ae__actor_holds */
  uint32_t pins;    /* conflicts, delays and outcomes that come back to it */
  uint8_t phase;
  bool used;     /* since the hand went by */
  bool relieved; /* memory was made once for what failed */
  bool stale;    /* its history was changed since it was loaded */
  uint8_t id_len;
  ae_list reads; /* ae__state_job, answered when no commit is in flight */
  ae_list ids;   /* its commands with an id that wait for an outcome */
  ae_list ring;  /* in realm->ring */
  char id[];
};

/* Whether the state is still there: the script gives all up when it was
 * stopped, and another may have taken its place. */
static inline bool ae__actor_holds(const ae__actor *actor) {
  return ae_script_holds(actor->type->module, actor->state);
}

static inline ae_ref ae__actor_ref(const ae__actor *actor) {
  return (ae_ref){
      actor->type->realm->name, actor->type->name, {actor->id, actor->id_len}};
}

static inline ae_command *ae__command_of(ae_list *link) {
  return AE_CONTAINER(link, ae_command, link);
}

/* Marks of a command. */
enum {
  AE__WAIVED = 1,   /* its policy said to go on without expected_version */
  AE__LOOKED = 2,   /* its id was looked up at the version of its batch */
  AE__WAITING = 4,  /* it counts in realm->waiting */
  AE__RESERVED = 8, /* it took an event's room */
};

/* A commit that outcomes point at. */
typedef struct ae__stored {
  ae_str record;
  bool decoded;
  ae_commit commit;
  ae_commit_cursor cursor;
} ae__stored;

/* -- table.c: who is live -- */
ae_status ae__type_find(ae_actors *actors, const ae_ref *ref, ae__type **out,
                        ae_error *err);
/* AE_OK, or AE_UNKNOWN_TYPE where its aggregate went with the last script. */
ae_status ae__type_check(const ae__type *type, ae_error *err);
ae__actor *ae__actor_find(ae__type *type, ae_str id);
/* Finds it or makes it; NULL where there is no room: all are at work. */
ae__actor *ae__actor_make(ae__type *type, ae_str id, uint64_t hash);
/* Memory was refused: evicts up to half of the actors and collects garbage.
 * False, at once, where it was done a moment ago: while so many are at work
 * that few can go, each refusal would look through all of them again. */
bool ae__realm_relieve(ae_realm *realm);
void ae__realm_free(ae_realm *realm);

/* -- state.c: reading an actor's state -- */
typedef struct ae__state_job {
  ae_list link; /* in actor->reads */
  ae_task task;
  ae_actors *actors;
  ae_state_read *read;
  ae__loader *loader;
} ae__state_job;
/* Answers all that wait at a READY actor, while its state is there; with `err`
 * all of them fail. */
void ae__reads_serve(ae__actor *actor);
void ae__reads_fail(ae__actor *actor, ae_status status, const ae_error *err);

/* -- load.c: snapshot and events make a state -- */
struct ae__loader {
  ae_actors *actors;
  ae__type *type;
  ae_ref ref;  /* the caller keeps what it points at */
  uint64_t to; /* version wanted, UINT64_MAX: the latest */
  /* AE_OK: `state` at `version` is the callee's. AE_REPLAY_ERROR: damage. */
  void (*cb)(ae__loader *loader, ae_status status, const ae_error *err);
  void *data;
  ae_state state;
  uint64_t version;
  /* private */
  uint64_t latest;
  bool based; /* the base snapshot was asked for */
  bool replayed;
  ae_snapshot_read snapshot;
  ae_read read;
};
void ae__load(ae__loader *loader);
/* An event as the script gets it. */
ae_script_event ae__script_event(const ae_event *event);

/* -- command.c: what an actor does next -- */
/* It has work: run it in this turn. */
void ae__actor_mark(ae__actor *actor);
void ae__flush(ae_actors *actors);
/* The state is of no use any more: replay when next needed. */
void ae__actor_cool(ae__actor *actor);

/* What waited until the quota was known. */
void ae__command_take(ae_actors *actors, ae_command *command);

/* -- quota.c: what a namespace may take -- */
void ae__quota_init(ae_realm *realm, const ae_limits *limits);
/* What it holds is not known yet: the command waits for that. */
bool ae__quota_park(ae_realm *realm, ae_command *command);
/* AE_OK, or AE_OVERLOADED. */
ae_status ae__quota_admit(ae_realm *realm, ae_command *command, ae_error *err);
/* There is no room for another actor. */
ae_status ae__quota_full(ae_realm *realm, ae_error *err);
/* A commit was stored. */
void ae__quota_store(ae_realm *realm, size_t bytes);
/* A command that had reserved was answered, and stored so many events. */
void ae__quota_settle(ae_realm *realm, uint32_t events);

/* -- batch.c: deciding and storing -- */
/* A READY actor's queue, decided and handed to the store. */
void ae__batch_start(ae__actor *actor);
void ae__pool_free(ae__batch *pool); /* all batches of the pool */

/* -- snapshot.c -- */
void ae__snapshot_save(ae__actor *actor); /* of its state, READY */

/* -- outcome.c: what became of commands -- */
/* Gives the outcome (to those that joined, too). */
void ae__answer(ae_actors *actors, ae__type *type, ae_command *command,
                ae_outcome *outcome);
void ae__answer_error(ae_actors *actors, ae__type *type, ae_command *command,
                      ae_status status, uint64_t version, const ae_error *err);
/* The outcome that the same id had when it was stored. */
void ae__answer_repeated(ae__actor *actor, ae_command *command, ae_str record,
                         uint64_t position);
ae_status ae__id_reused(const ae_command *command, ae_error *err);
/* What keeps the runtime from closing. */
void ae__hold(ae_actors *actors);
void ae__release(ae_actors *actors);

/* -- retry.c: conflicts and their policies -- */
/* Takes `commands` (an ae_list of ae_command.link), in order: fetches what
 * others stored after `attempted`, asks each one's policy, and puts it back
 * into the queue, makes it wait, or gives its outcome. */
void ae__conflicted(ae__actor *actor, ae_list *commands, uint64_t attempted,
                    uint64_t current);
/* At close: those that wait give up. */
void ae__delays_cancel(ae_actors *actors);

#endif
