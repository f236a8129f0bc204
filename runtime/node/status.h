/* The node as one document: for /v1/admin/status and `aether status`. */
#ifndef AE_NODE_STATUS_H
#define AE_NODE_STATUS_H

#include "namespace/grant.h"
#include "node/node.h"

typedef struct ae_status_read ae_status_read;

/* The caller's memory, zeroed before use, kept until `cb`. */
struct ae_status_read {
  /* Namespaces where it holds AE_RIGHT_ADMIN are shown, and nothing of others:
   * figures of the whole store only where it holds it in all. Kept until `cb`
   * too. */
  const ae_grant *grant;
  /* `document`: a msgpack map, until the return. Times are µs since 1970.
   *
   * node, version, pid, started, uptime_s, url (nil: nowhere), ready (bool),
   * draining (bool);
   * store: url, promise, and of the whole store commits, events, actors,
   * snapshots, bytes, position, file_bytes, unindexed, or error; pulse: beats,
   * standstills, late_ms, longest_ms; wrong: list of code, message, facts and,
   * where it concerns one, namespace; namespaces: name → folder, revision,
   * loaded, memory_bytes, stopped (handlers that took too long), live_actors,
   * limits (memory_mb, live_actors, commands_per_s …, nil: none), refused
   * (commands, by the limit that they were above), retention (days, bytes, nil:
   * none), modules: list of name, kind, file, where it is so quarantined
   * (since, cause), and of aggregates commands, events, types: name → the
   * members of ae_type_counts, bus: published, delivered, dropped,
   * subscriptions, store: commits, events, actors, snapshots, bytes, position,
   * or error. */
  void (*cb)(ae_status_read *read, ae_str document);
  void *data;
  void *impl; /* private */
};
/* Never fails; `cb` exactly once, never before the return. */
void ae_node_status(ae_node *node, ae_status_read *read);

#endif
