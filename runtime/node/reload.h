/* The code of a running node's namespaces, loaded anew. */
#ifndef AE_NODE_RELOAD_H
#define AE_NODE_RELOAD_H

#include "node/node.h"

typedef struct ae_reloaded {
  ae_str ns;    /* lives as long as the node */
  char was[20]; /* revisions */
  char revision[20];
} ae_reloaded;

/* What is in the folders now is loaded beside what runs, and checked as at a
 * start; then it takes over, between two commands. `ns`: one namespace; ptr
 * NULL: those for which `wanted` says so (NULL: all). `each`: for every
 * namespace, after all of them took over.
 *
 * AE_UNKNOWN_NAMESPACE, or the first mistake with the fact `namespace`: then
 * nothing has changed anywhere. Blocks for as long as loading takes. */
ae_status ae_node_reload(ae_node *node, ae_str ns,
                         bool (*wanted)(void *data, ae_str ns),
                         void (*each)(void *data, const ae_reloaded *one),
                         void *data, ae_error *err);

#endif
