/* An app opened: its settings, one script for each namespace, the store, and
 * the actors on it. Closes in the opposite order. */
#ifndef AE_NODE_NODE_H
#define AE_NODE_NODE_H

#include "actor/actor.h"
#include "node/config.h"
#include "node/pulse.h"

typedef struct ae_node ae_node;

typedef struct ae_node_options {
  const ae_config *config; /* must outlive the node */
  bool modules;            /* load them; without it there are no actors */
  bool store;              /* open it */
  ae_store_mode mode;
  bool named;   /* a node that runs: what it follows of JetStream is kept under
                   its name, and a second one of that name is refused */
  bool still;   /* see ae_store_options */
  bool ordered; /* see ae_store_options */
  bool strict;  /* catch a decide that changes its state */
  /* Each mistake of the modules; NULL: only the first, as the error. */
  void (*mistake)(void *data, ae_str ns, const ae_error *err);
  void *data;
} ae_node_options;

/* Synchronous: a start has nothing else to do. With several mistakes in the
 * modules all namespaces are still looked at, and `err` has the first. */
ae_status ae_node_open(ae_loop *loop, const ae_node_options *options,
                       ae_node **out, ae_error *err);
/* Later, for a node without one: so that modules can be checked first. No
 * actors are made. */
ae_status ae_node_open_store(ae_node *node, ae_store_mode mode, ae_error *err);
/* What is in flight ends, then `cb`; the node is gone by then. */
void ae_node_close(ae_node *node, void (*cb)(void *data), void *data);

ae_loop *ae_node_loop(ae_node *node);
const ae_config *ae_node_config(const ae_node *node);
/* NULL where it was not asked for. */
ae_store *ae_node_store(ae_node *node);
ae_actors *ae_node_actors(ae_node *node); /* needs modules and store */
/* What the actors store is published there; NULL without actors. Its
 * subscriptions are closed before the node is. */
ae_bus *ae_node_bus(ae_node *node);
/* Of all namespaces. */
size_t ae_node_module_count(ae_node *node);
/* NULL: no such namespace. */
ae_script *ae_node_script(ae_node *node, ae_str ns);
/* NULL: no such namespace, or no actors. */
ae_realm *ae_node_realm(ae_node *node, ae_str ns);

/* -- a host that runs on: `aether run`, `aether dev` -- */

/* For a node that was opened with modules and store: its pulse (pulse.h)
 * begins, and a store that cannot be written is looked at until it can. Ends
 * with ae_node_close. */
ae_status ae_node_start(ae_node *node, ae_error *err);
/* Where it can be reached ("http://127.0.0.1:7070"); copied. */
void ae_node_set_url(ae_node *node, const char *url);
const char *ae_node_url(const ae_node *node); /* NULL: nowhere */
int64_t ae_node_started(const ae_node *node); /* opened: µs since 1970 */
/* It ends soon: not ready from now on, so that nobody sends it more. What it
 * is sent all the same is served. */
void ae_node_drain(ae_node *node);

/* Readiness: AE_OK where commands can be taken. Else, the gravest first:
 * AE_CANCELED (it ends), AE_STORE_UNAVAILABLE, AE_STORE_FULL or
 * AE_STORE_UNCERTAIN (the last write failed so, and none succeeded since),
 * AE_MODULE_QUARANTINED. Whether the loop lives is told by the answer coming
 * at all. */
ae_status ae_node_ready(ae_node *node, ae_error *why);
/* Everything that is wrong now, the gravest first; `ns` len 0: concerns the
 * whole node. */
void ae_node_wrong(ae_node *node,
                   void (*each)(void *data, ae_str ns, const ae_error *err),
                   void *data);
/* Zeroes before ae_node_start. */
void ae_node_pulse(const ae_node *node, ae_pulse_counts *out);

#endif
