/* One namespace brought within its retention: what is too old, or too much, is
 * found; its actors get base snapshots; the store trims what lies below them.
 *
 * Some actors at a time, and of each a page in a turn of the loop, beside all
 * else. What was done stays done when it is ended: the next one goes on. */
#ifndef AE_NODE_RETIRE_H
#define AE_NODE_RETIRE_H

#include "actor/actor.h"

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_retire ae_retire;
struct ae_retire {
  ae_store *store; /* that can be written */
  ae_actors *actors;
  const ae_realm *realm; /* of the namespace */
  ae_str ns;
  int64_t before; /* µs since 1970: what is older goes; 0: no age */
  uint64_t bytes; /* of records that may be left; 0: no limit */
  bool enough;    /* the caller may set it: it ends soon, with AE_CANCELED */
  void (*done)(ae_retire *retire, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  uint64_t bases;   /* snapshots made for it */
  uint64_t trimmed; /* commits that are gone */
  uint64_t left;    /* bytes of records */
  uint64_t failed;  /* actors of which no state could be had, and which keep
                       all; the log names the first */
  ae_buf bare;      /* aggregates without `snapshot`, or that are gone, which
                       keep all: a space behind each */
  void *impl;       /* private */
};
ae_status ae_retire_start(ae_retire *retire, ae_error *err);
void ae_retire_clear(ae_retire *retire);

#endif
