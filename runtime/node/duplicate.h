/* A store copied into a file, and the file read back: what backup and restore
 * share. */
#ifndef AE_NODE_DUPLICATE_H
#define AE_NODE_DUPLICATE_H

#include "node/audit.h"

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae__duplicate ae__duplicate;
struct ae__duplicate {
  const char *file; /* see ae_copy; stays there after a failure */
  void (*progress)(ae__duplicate *duplicate);
  /* AE_OK: the file holds all of the store; audit.problem says what is wrong
   * with it, if anything. */
  void (*done)(ae__duplicate *duplicate, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  bool reading_back;    /* audit.counts say how far */
  uint64_t copied, all; /* bytes */
  ae_audit audit;       /* audit.problem is to be cleared by the caller */
  /* private */
  ae_loop *loop;
  ae_copy copy;
  ae_store *copied_store;
  ae_status status;
  ae_error err;
  bool stopped;
};
ae_status ae__duplicate_start(ae_loop *loop, ae_store *store,
                              ae__duplicate *duplicate, ae_error *err);
void ae__duplicate_stop(ae__duplicate *duplicate);

#endif
