/* What the tests of actors share: a memory store, a bus and real Lua modules in
 * the namespace `bank` (account, memo, and the policy friendly). */
#ifndef AE_TEST_ACTOR_WORLD_H
#define AE_TEST_ACTOR_WORLD_H

#include "actor/actor.h"

typedef struct world {
  char folder[64];
  ae_loop loop;
  ae_store *store;
  ae_bus *bus;
  ae_script *script;
  ae_actors *actors;
  ae_realm *realm;
  ae_script *others[4]; /* of further namespaces */
  int other_count;
  bool closed;
} world;

/* 0: the default of each. */
world *world_open(size_t cap, size_t queue, size_t memory);
void world_close(world *w);
/* Another namespace with the same modules. `name` is kept. */
ae_realm *world_realm(world *w, const char *name, const ae_limits *limits);

/* A command with its outcome, kept for looking at. */
typedef struct sent {
  ae_command command;
  ae_buf data;
  char name[300];
  int calls;
  ae_status status;
  uint64_t version, position;
  bool repeated;
  uint32_t events;
  ae_buf types; /* of its events, each with a space behind */
  ae_buf error; /* rendered as JSON */
} sent;

/* `actor` may be no name; `id` NULL: none; `expected` below 0: none. */
void submit(world *w, sent *s, const char *actor, const char *name,
            const char *json, const char *id, int64_t expected);
/* The same, and runs until its outcome is there. */
void hand_in(world *w, sent *s, const char *actor, const char *name,
             const char *json, const char *id, int64_t expected);
void sent_clear(sent *s);
/* One command of which only the status is asked. */
ae_status tell(world *w, const char *actor, const char *name, const char *json);

typedef struct seen {
  ae_state_read read;
  int calls;
  ae_status status;
  uint64_t version;
  ae_buf json;
} seen;

void look(world *w, seen *s, const char *actor, uint64_t at);
void expect_state(world *w, const char *actor, uint64_t at, uint64_t version,
                  const char *json);

ae_stats stats(world *w);
ae_type_counts counts_of(world *w, const char *type);
/* Another writer: an event of `type` stored behind the actors' back. */
ae_status intrude(world *w, const char *actor, uint64_t expected,
                  const char *type, int n, bool damage);

#endif
