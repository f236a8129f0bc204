/* Inside reloading: what its files share. */
#ifndef AE_NODE_RELOADING_H
#define AE_NODE_RELOADING_H

#include "actor/judge.h"
#include "node/internal.h"
#include "node/reload.h"

/* -- revisions.c -- */
/* The room's script runs from now on: it is the current one, and its text is
 * kept. `back`: what was gone back to, which may be forgotten by this; NULL:
 * what was in the folder. */
void ae__revision_note(ae__room *room, ae_script *script,
                       const ae__revision *back);
void ae__revisions_free(ae__room *room);
/* The one whose name begins so; len 0: what ran before the current one did
 * first. AE_NOT_FOUND. */
ae_status ae__revision_find(const ae__room *room, ae_str name,
                            const ae__revision **out, ae_error *err);
/* What to load instead of the folder. It lives while it is kept. */
void ae__revision_sources(const ae__revision *revision,
                          ae_script_options *options);

/* -- contract.c: what new code lost -- */
typedef struct ae__contract ae__contract;
struct ae__contract {
  ae_node *node;
  const ae__room *room;
  ae_script *fresh;
  /* Stored events that the new code would not take; once for each kind. */
  void (*lost)(ae__contract *contract, const ae_error *err);
  void (*note)(ae__contract *contract, const ae_error *err);
  void (*done)(ae__contract *contract, ae_status status, const ae_error *err);
  bool stopped; /* `done` comes soon, with AE_CANCELED */
  /* private */
  struct ae__missing *missing;
  ae_scan scan;
  ae_task task;
};
/* The store is read only where something is missing at all. `done` never comes
 * before the return. */
void ae__contract_check(ae__contract *contract);

/* The commands that aggregates of both have lost. */
void ae__contract_commands(ae_str ns, ae_script *old, ae_script *fresh,
                           void (*gone)(void *data, const ae_error *err),
                           void *data);
/* Says that the actor's state would be another one. True: that is a mistake, as
 * snapshots claim that it is the same. `old` may be NULL. */
bool ae__difference(const ae_ref *ref, uint64_t version, const ae_module *old,
                    const ae_module *fresh, ae_error *err);

#endif
