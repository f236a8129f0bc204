/* What subcommands do at a running node in place of a store. Each returns the
 * exit status; output is as from the store. */
#ifndef AE_DOOR_CLIENT_DOOR_H
#define AE_DOOR_CLIENT_DOOR_H

#include "door/session.h"
#include "event/ref.h"

typedef struct ae__events_wanted {
  ae_ref ref; /* of an actor; else only ns */
  bool is_actor;
  uint64_t after_version;  /* of an actor */
  uint64_t after_position; /* of a namespace */
  bool has_index;
  uint64_t after_index;
  const char *type; /* NULL: all */
  bool follow;
  bool text; /* for people */
} ae__events_wanted;
int ae__client_events(ae__session *session, const ae__events_wanted *wanted);

/* `at` UINT64_MAX: now. A function that gives the names, one after the other;
 * false: there are no more. */
typedef bool (*ae__next_name)(void *data, ae_str *name);
int ae__client_states(ae__session *session, uint64_t at, bool pretty,
                      ae__next_name next, void *data);

/* Commands from `fd`, a line each, as they come. */
int ae__client_exec(ae__session *session, int fd);

#endif
