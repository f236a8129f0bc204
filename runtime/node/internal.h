/* What the files of the open node share. */
#ifndef AE_NODE_INTERNAL_H
#define AE_NODE_INTERNAL_H

#include "node/node.h"

/* One namespace of the config, loaded. */
typedef struct ae__room {
  ae_str name;
  const ae_namespace_config *config;
  ae_script *script;
  ae_realm *realm; /* NULL: no actors */
  int64_t loaded;  /* the script: µs since 1970 */
} ae__room;

struct ae_node {
  ae_loop *loop;
  const ae_config *config;
  ae__room *rooms;
  size_t count;
  ae_store *store;
  ae_bus *bus;
  struct ae_bus_nats *remote; /* the other nodes' bus; NULL: none */
  ae_actors *actors;
  int64_t started;       /* µs since 1970 */
  uint64_t started_mono; /* ns, monotonic */
  char *url;
  bool named, still, ordered, strict; /* ae_node_options */
  bool draining;
  /* -- health.c, of a node that runs on -- */
  ae_pulse *pulse; /* NULL: it does not */
  ae_write probe;
  bool probing; /* the probe is under way */
  bool ill;     /* the log says that the store cannot be written */
  /* closing */
  void (*closed)(void *data);
  void *closed_data;
  ae_task task;
};

/* Loads what is in the room's folder now. `options`: who is told of each
 * mistake; NULL: nobody, and `*out` is NULL after a failure. */
ae_status ae__room_load(ae_node *node, const ae__room *room,
                        const ae_node_options *options, ae_script **out,
                        ae_error *err);

#endif
