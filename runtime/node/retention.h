/* When namespaces are brought within their `retention` (retire.h does it): of
 * days, once a day; of bytes, looked at each minute, and done when it is a
 * sixteenth above what was left, or an hour ago; both also when the setting was
 * changed. When that was stands in the store, as rows of the projection
 * `$retention`, so that restarts do not begin anew. */
#ifndef AE_NODE_RETENTION_H
#define AE_NODE_RETENTION_H

#include "node/node.h"

typedef struct ae_retention ae_retention;

typedef struct ae_retention_options {
  unsigned every_ms;          /* between two looks, 0: a minute */
  int64_t (*now)(void *data); /* µs since 1970; NULL: the clock's */
  void (*looked)(void *data); /* after each look, and what it led to; or NULL */
  void *data;
} ae_retention_options;

/* For a node with modules, and a store that it writes; the first look is at
 * once. NULL: no namespace has a retention. Does not keep the loop running
 * between looks. */
ae_retention *ae_retention_start(ae_node *node,
                                 const ae_retention_options *options);
/* What is under way ends soon, then `cb`, never before the return. */
void ae_retention_stop(ae_retention *retention, void (*cb)(void *data),
                       void *data);

/* One look, for a process that does not run on; then `cb`, never before the
 * return, and it is gone. NULL: no namespace has a retention, and no callback.
 */
ae_retention *ae_retention_once(ae_node *node, void (*cb)(void *data),
                                void *data);
/* That one ends soon; the next look goes on. */
void ae_retention_hurry(ae_retention *retention);

#endif
