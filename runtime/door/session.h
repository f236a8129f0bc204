/* What a subcommand that works on an app opens first: settings, loop, node. */
#ifndef AE_DOOR_SESSION_H
#define AE_DOOR_SESSION_H

#include "door/client/client.h"
#include "node/node.h"

typedef struct ae__session {
  const ae__args *args;
  ae_config config;
  ae_loop loop;
  bool looping;
  ae_node *node;      /* NULL: not open */
  ae__client *client; /* NULL: no node is asked */
  ae_error why;       /* none is: what was tried; or nothing */
  ae_error err;       /* for the subcommand's use */
} ae__session;

typedef enum ae__session_for {
  AE__READ_EVENTS,  /* the store, read-only */
  AE__READ_MOMENT,  /* the store as it is at one moment */
  AE__READ_ACTORS,  /* modules too */
  AE__READ_MODULES, /* modules; the store, read-only, where there is one */
  AE__RUN_COMMANDS, /* modules, and the store for writing */
  AE__CHANGE_STORE, /* the store for writing, which must be there */
  AE__FILL_STORE,   /* the store for writing, in order */
} ae__session_for;

/* The exit status; what is wrong has been said where it is not 0, and nothing
 * is open then. */
int ae__session_open(ae__session *session, const ae__args *args,
                     ae__session_for purpose);
/* The same, but where no --store names one, a running node is asked, if there
 * is one: then `client` is open, and nothing else but the settings. */
int ae__session_ask(ae__session *session, const ae__args *args,
                    ae__session_for purpose);
/* A running node, and nothing in its place. */
int ae__session_reach(ae__session *session, const ae__args *args);
/* Runs until nothing is in flight. */
void ae__session_run(ae__session *session);
/* To call where nothing is in flight, or inside a callback; after it the loop
 * ends by itself. */
void ae__session_end(ae__session *session);
void ae__session_clear(ae__session *session);

#endif
