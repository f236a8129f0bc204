/* An app opened: its settings, one script for each namespace, the store, and
 * the actors on it. Closes in the opposite order. */
#ifndef AE_NODE_NODE_H
#define AE_NODE_NODE_H

#include "actor/actor.h"
#include "node/config.h"

typedef struct ae_node ae_node;

typedef struct ae_node_options {
  const ae_config *config; /* must outlive the node */
  bool modules;            /* load them; without it there are no actors */
  bool store;              /* open it */
  ae_store_mode mode;
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

const ae_config *ae_node_config(const ae_node *node);
/* NULL where it was not asked for. */
ae_store *ae_node_store(ae_node *node);
ae_actors *ae_node_actors(ae_node *node); /* needs modules and store */
/* Of all namespaces. */
size_t ae_node_module_count(ae_node *node);
/* NULL: no such namespace. */
ae_script *ae_node_script(ae_node *node, ae_str ns);

#endif
