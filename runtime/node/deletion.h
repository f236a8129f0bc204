/* A namespace deleted from a store, and the room given back. */
#ifndef AE_NODE_DELETION_H
#define AE_NODE_DELETION_H

#include "store/keep.h"

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_deletion ae_deletion;
struct ae_deletion {
  ae_str ns;
  const char *file; /* the store's; NULL: it has none */
  bool keep_room;   /* do not compact */
  /* With what there is, before anything is deleted. False: AE_CANCELED. */
  bool (*confirm)(ae_deletion *deletion);
  /* AE_OK: nothing of it is left, whatever became of the compacting. */
  void (*done)(ae_deletion *deletion, ae_status status, const ae_error *err);
  void *data;
  /* set before the callbacks */
  ae_stats stats;     /* of the namespace, as it was */
  uint64_t bytes_was; /* of the store's file, before */
  uint64_t bytes;     /* after */
  uint64_t free;      /* of that, left free in it */
  bool compacted;
  ae_error compact_err; /* why not, where it was tried or cannot be; the caller
                           clears it */
  /* private */
  ae_store *store;
  ae_stats_read read;
  ae_inspect inspect;
  ae_delete request;
  ae_write compact;
};
ae_status ae_deletion_start(ae_store *store, ae_deletion *deletion,
                            ae_error *err);

#endif
