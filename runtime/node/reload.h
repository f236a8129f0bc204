/* Other code for the namespaces of a running node. What is in a folder now, or
 * what was there before, is loaded beside what runs, on another thread; it is
 * compared with what runs, and history judges it (actor/judge.h). Only then it
 * takes over, between two commands, in all namespaces that were asked for, or
 * in none. Commands go on meanwhile, and none waits. */
#ifndef AE_NODE_RELOAD_H
#define AE_NODE_RELOAD_H

#include "node/node.h"

typedef struct ae_reload ae_reload;

typedef enum ae_reload_kind {
  AE_RELOAD_MISTAKE,    /* in a module, or it lost what stored events need */
  AE_RELOAD_FAILURE,    /* an actor's history fails in the new code */
  AE_RELOAD_DIFFERENCE, /* an actor's state would be another one */
  AE_RELOAD_NOTE,       /* worth knowing */
} ae_reload_kind;

/* Lives until the callback returns. */
typedef struct ae_reload_finding {
  ae_reload_kind kind;
  bool refuses; /* the old code stays */
  ae_str ns;
  const ae_error *err;  /* what it is, and what to do */
  ae_str actor;         /* NAMESPACE/TYPE/ID; len 0: it is of no actor */
  uint64_t version;     /* the actor's */
  ae_str before, after; /* a difference: both states, msgpack */
} ae_reload_finding;

/* What became of one namespace. */
typedef struct ae_reloaded {
  ae_str ns;         /* lives as long as the node */
  char was[20];      /* revisions */
  char revision[20]; /* the same: nothing had changed, and nothing was done */
  uint32_t actors;   /* replayed through the new code */
  uint32_t skipped;  /* of these not compared */
  uint64_t events;   /* of theirs */
  double load_ms, judge_ms, swap_us;
} ae_reloaded;

/* The caller's memory, zeroed before use, kept with all it points at until
 * `done`. */
struct ae_reload {
  ae_str ns; /* one namespace; ptr NULL: those that `wanted` says */
  bool (*wanted)(void *data, ae_str ns); /* NULL: all */
  /* ptr NULL: what is in the folder now. Else back, with `ns`: to this one of
   * ae_node_revisions (its beginning is enough), or, len 0, to the one before
   * the current. */
  ae_str revision;
  bool dry_run; /* all but the last step */
  bool quiet;   /* nothing of it in the log: who asks shows it */
  /* May be NULL. */
  void (*found)(void *data, const ae_reload_finding *finding);
  /* For each namespace, before `done`, where all took over (or would). */
  void (*each)(void *data, const ae_reloaded *one);
  /* AE_OK, or why nothing has changed: what was found first and refuses.
   * AE_CANCELED: the node is closing. */
  void (*done)(ae_reload *reload, ae_status status, const ae_error *err);
  void *data;
  void *impl; /* private */
};

/* AE_OK: `done` comes, once, never before the return. AE_UNKNOWN_NAMESPACE;
 * AE_NOT_FOUND: no such revision; AE_OVERLOADED: another reload is under way.
 */
ae_status ae_node_reload(ae_node *node, ae_reload *reload, ae_error *err);

/* Revisions that ran since the node was started, the last ten; kept in memory:
 * after a restart there is what is in the folder. */
typedef struct ae_revision {
  ae_str revision;
  int64_t loaded; /* µs since 1970, when it took over */
  bool current;
  uint32_t modules;
  const ae_script_source *sources; /* of so many modules; the node's */
} ae_revision;
/* Each time that code took over, oldest first; what came back stands there
 * twice. AE_UNKNOWN_NAMESPACE. */
ae_status ae_node_revisions(ae_node *node, ae_str ns,
                            void (*each)(void *data, const ae_revision *one),
                            void *data, ae_error *err);

#endif
