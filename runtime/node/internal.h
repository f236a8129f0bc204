/* What the files of the open node share. */
#ifndef AE_NODE_INTERNAL_H
#define AE_NODE_INTERNAL_H

#include "node/node.h"

typedef struct ae__revision ae__revision;

/* One namespace of the config, loaded. */
typedef struct ae__room {
  ae_str name;
  const ae_namespace_config *config;
  ae_script *script;
  ae_realm *realm;         /* NULL: no actors */
  int64_t loaded;          /* the script: µs since 1970 */
  ae__revision *revisions; /* that ran, oldest first */
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
  struct ae__reloader *reloader;  /* reload.c; NULL: nothing was reloaded */
  struct ae_retention *retention; /* NULL: nothing is to be removed */
  /* closing */
  void (*closed)(void *data);
  void *closed_data;
  ae_task task;
};

/* NULL: no such namespace. */
ae__room *ae__room_of(const ae_node *node, ae_str ns);
/* How its modules are loaded; who is told of mistakes is left open. */
void ae__room_options(const ae_node *node, const ae__room *room,
                      ae_script_options *out);

/* -- reload.c -- */
/* What is under way is given up, then `cb`. Only where there is a reloader. */
void ae__reload_end(ae_node *node, void (*cb)(void *data), void *data);
void ae__reloader_close(struct ae__reloader *reloader);

#endif
