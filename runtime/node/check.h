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
} ae_check_counts;

/* The caller's memory, zeroed before use, kept until `done`. */
struct ae_check {
  /* What is wrong: the first of each actor; once for a whole namespace or type
   * that the app does not have. Where a snapshot differs from what the events
   * make, both states are given, else len 0. */
  void (*mistake)(ae_check *check, const ae_error *err, ae_str snapshot,
                  ae_str replayed);
  /* After each page. May be NULL. */
  void (*progress)(ae_check *check);
  /* AE_OK also with mistakes. AE_CANCELED after ae_check_stop. */
  void (*done)(ae_check *check, ae_status status, const ae_error *err);
  void *data;
  bool no_snapshots; /* do not compare with them */
  /* set while it runs */
  ae_check_counts counts;
  uint64_t total; /* commits there are */
  void *impl;     /* private */
};
/* The node has modules and a store. */
ae_status ae_check_start(ae_node *node, ae_check *check, ae_error *err);
void ae_check_stop(ae_check *check);

#endif
