/* A store's backup, made beside whoever writes it, and put back. */
#ifndef AE_NODE_BACKUP_H
#define AE_NODE_BACKUP_H

#include "node/duplicate.h"

/* backup: FILE is whole or not there at each moment: it is made under another
 * name (FILE.partial), synced, read back, and then named.
 *
 * The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_backup ae_backup;
struct ae_backup {
  const char *file;                    /* where to; kept by the caller */
  const char *store;                   /* its file; NULL: it has none */
  bool force;                          /* over a file that is there */
  void (*progress)(ae_backup *backup); /* may be NULL */
  /* AE_OK also where the store itself is damaged: duplicate.audit.problem then
   * says how. */
  void (*done)(ae_backup *backup, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  ae__duplicate duplicate;
  char *made;     /* the name it got: a damaged one takes no good one's place
                     and becomes FILE.damaged; the caller frees it */
  uint64_t bytes; /* of the file */
  /* private */
  char *partial;
  int lock; /* against a second one to the same file */
};
/* AE_USAGE: the store has no file, or `file` is part of it.
 * AE_STORE_UNAVAILABLE: something is there (fact `cause` "exists"), or it
 * cannot be made. */
ae_status ae_backup_start(ae_loop *loop, ae_store *store, ae_backup *backup,
                          ae_error *err);
void ae_backup_stop(ae_backup *backup);

/* restore: a backup (or any store's file) takes the place of a store that
 * nobody writes, after it was copied beside it and read back. */
typedef struct ae_restore ae_restore;
struct ae_restore {
  const char *file;  /* where from; kept by the caller */
  const char *store; /* URL of the place */
  bool force;        /* where a store is; that is kept beside it */
  bool damaged;      /* also where the file is damaged */
  void (*progress)(ae_restore *restore); /* may be NULL */
  void (*done)(ae_restore *restore, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  ae__duplicate duplicate;
  ae_buf kept; /* the name under which the store before lies beside it; len 0:
                  there was none; the caller clears it */
  /* private */
  ae_place *place;
  ae_store *from;
  ae_status status;
  ae_error err;
};
/* AE_STORE_UNAVAILABLE: a writer has the store (fact `pid`), there is one (fact
 * `cause` "exists"), or the file is no store. */
ae_status ae_restore_start(ae_loop *loop, ae_restore *restore, ae_error *err);
void ae_restore_stop(ae_restore *restore);

#endif
