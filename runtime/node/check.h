/* All history of a store through the app's modules: what breaks, and where the
 * snapshots say otherwise. */
#ifndef AE_NODE_CHECK_H
#define AE_NODE_CHECK_H

#include "node/node.h"

typedef struct ae_check ae_check;

typedef struct ae_check_counts {
  uint64_t commits;
  uint64_t events;
  uint64_t actors;
  uint64_t mistakes;
  uint64_t differing; /* actors with another state than under a rival */
} ae_check_counts;

/* Code that runs elsewhere, to be compared with: of a namespace that the node
 * has modules of. */
typedef struct ae_check_rival {
  ae_str ns;
  const ae_script_source *sources;
  size_t source_count;
} ae_check_rival;

/* The caller's memory, zeroed before use, kept until `done`. */
struct ae_check {
  /* What is wrong: the first of each actor; once for a whole namespace or type
   * that the app does not have. Where the state differs from a snapshot, or,
   * under the same snapshot.version, from what a rival makes, both states are
   * given, else len 0. */
  void (*mistake)(ae_check *check, const ae_error *err, ae_str before,
                  ae_str after);
  /* Worth knowing: commands that a rival has and the app has not, and states
   * that differ from a rival's. May be NULL. */
  void (*note)(ae_check *check, const ae_error *err, ae_str before,
               ae_str after);
  /* After each page. May be NULL. */
  void (*progress)(ae_check *check);
  /* AE_OK also with mistakes. AE_CANCELED after ae_check_stop. */
  void (*done)(ae_check *check, ae_status status, const ae_error *err);
  void *data;
  bool no_snapshots;            /* do not compare with them */
  const ae_check_rival *rivals; /* kept until `done` */
  size_t rival_count;
  /* set while it runs */
  ae_check_counts counts;
  uint64_t total; /* commits there are */
  void *impl;     /* private */
};
/* The node has modules and a store. */
ae_status ae_check_start(ae_node *node, ae_check *check, ae_error *err);
void ae_check_stop(ae_check *check);

#endif
