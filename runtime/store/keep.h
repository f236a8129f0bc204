/* What keeps a store well, for operators: copies, a look at the file, and a
 * file put in the place of a store. The rules of store.h hold for all that has
 * a callback. */
#ifndef AE_STORE_KEEP_H
#define AE_STORE_KEEP_H

#include "store/store.h"

/* copy: all that is in the store at one moment, into a file that can be opened
 * as a store. Goes on in slices beside other requests; what is appended
 * meanwhile is not in it, and does not wait. A store without a file has nothing
 * to copy: AE_USAGE at once. */
typedef struct ae_copy ae_copy;
typedef void (*ae_copy_cb)(ae_copy *copy, ae_status status,
                           const ae_error *err);
struct ae_copy {
  const char *file; /* not there yet, or empty; the caller's until the callback.
                       Synced before AE_OK; after a failure it holds some part
                       and is the caller's to remove */
  void (*progress)(ae_copy *copy); /* after a slice; may be NULL */
  /* AE_OK; AE_CANCELED; AE_STORE_FULL or AE_STORE_UNAVAILABLE, whose message
   * names the file that it is about */
  ae_copy_cb cb;
  void *data;
  /* set before the callbacks */
  uint64_t done, total; /* bytes */
  bool stopped;         /* private */
  void *impl;           /* private */
};
ae_status ae_store_copy(ae_store *store, ae_copy *copy, ae_error *err);
/* It ends with AE_CANCELED, unless it ended before. */
void ae_copy_stop(ae_copy *copy);

/* inspect: the file behind the store. */
typedef struct ae_inspect ae_inspect;
struct ae_inspect {
  bool whole; /* look at each page: that takes seconds a GB, and holds up all
                 other requests */
  void (*cb)(ae_inspect *inspect, ae_status status, const ae_error *err);
  void *data;
  /* set before the callback; all 0 for memory */
  uint64_t file_bytes; /* without log_bytes */
  uint64_t log_bytes;  /* of what is not in the file yet */
  uint64_t free_bytes; /* in the file, to be used again */
  uint64_t unindexed;  /* commits that an opening looks at one by one */
  ae_str problem;      /* with `whole`: what is wrong, a line each, until the
                          callback returns; len 0: nothing */
  void *impl;          /* private */
};
ae_status ae_store_inspect(ae_store *store, ae_inspect *inspect, ae_error *err);

/* delete: all of a namespace, at once or not at all: events, command ids,
 * snapshots, rows and checkpoints. Holds up all other requests. */
typedef struct ae_delete {
  ae_write write;
  ae_str ns;
  /* set before the callback: what there was */
  uint64_t commits, events, actors;
} ae_delete;
ae_status ae_store_delete(ae_store *store, ae_delete *delete, ae_error *err);

/* bases: the base snapshots of a namespace, and of histories that start later
 * what is left of their beginning. Page by page. */
typedef struct ae_base {
  ae_ref ref;
  uint64_t version;
  int64_t shape;
  ae_str state;
  bool begins;         /* the history starts after it */
  const uint64_t *ids; /* begins: ae_hash of the command ids whose commits are
                          trimmed, in no order */
  uint32_t id_count;
} ae_base;
typedef struct ae_bases_read ae_bases_read;
struct ae_bases_read {
  ae_str ns;
  uint64_t from; /* 0, or `next` of the page before */
  /* Once; bases live until it returns. */
  void (*cb)(ae_bases_read *read, ae_status status, const ae_base *bases,
             uint32_t count, const ae_error *err);
  void *data;
  uint64_t next; /* set before the callback; 0: there are no more */
  void *impl;    /* private */
};
ae_status ae_store_bases(ae_store *store, ae_bases_read *read, ae_error *err);

/* begin: an actor whose history starts after a version, with the base snapshot
 * of that and the command ids from before it. Of an actor that has begun so
 * already, more ids are taken in. AE_VERSION_CONFLICT: it has begun otherwise.
 * AE_USAGE at once: a store in JetStream takes in no such history. */
typedef struct ae_begin {
  ae_write write;
  ae_base base; /* kept by the caller until the callback; state len 0: the
                   actor is there, and only ids come */
} ae_begin;
ae_status ae_store_begin(ae_store *store, ae_begin *begin, ae_error *err);

/* mend: commits of one actor that cannot be read give way, at once or not at
 * all: all that lie behind `after` and before `until`. In their place comes one
 * record, which keeps the versions that they had; their command ids stay taken,
 * and lead to it. Or nothing comes, and the actor is at `version` again: their
 * command ids and the snapshots behind it go with them.
 * Snapshots that are caches go from `version` on in both cases: they were made
 * of what is not there any more. May look through all commits between the two
 * positions, of all actors, and holds up other requests meanwhile. */
typedef struct ae_mend {
  ae_write write;
  ae_ref ref;
  uint64_t latest;  /* the actor's version as the caller has seen it */
  uint64_t after;   /* position of the last commit that stays; 0: none before */
  uint64_t until;   /* position of the first that stays again; 0: none behind,
                       and always 0 where nothing comes */
  uint64_t version; /* the actor's after the commit at `after` */
  uint32_t event_count; /* of the record */
  ae_str record;        /* kept by the caller; len 0: nothing comes */
  /* set before the callback */
  uint64_t position; /* of the record */
  uint64_t removed;  /* commits that were there, and gave way */
} ae_mend;
/* AE_VERSION_CONFLICT: the actor is not at `latest` (any more). AE_USAGE at
 * once: a stream in JetStream cannot be changed. AE_STORE_FULL: no position is
 * free where the record would have to be. */
ae_status ae_store_mend(ae_store *store, ae_mend *mend, ae_error *err);

/* compact: room that is free in the file is given back, and what was deleted is
 * not in it any more. Writes all that remains anew: needs twice its size as
 * free disk, and holds up all other requests. A crash leaves the file as it was
 * before or after. */
ae_status ae_store_compact(ae_store *store, ae_write *write, ae_error *err);

/* place: where a store is or is to be, held against writers while another file
 * is put there. Synchronous: nobody serves from it meanwhile. */
typedef struct ae_place ae_place;
/* AE_STORE_UNAVAILABLE: a writer has it (fact `pid`), or it cannot be written,
 * or there is a store and `over` is false (fact `cause` "exists"). AE_USAGE:
 * the URL names no file. */
ae_status ae_place_take(const char *url, bool over, ae_place **out,
                        ae_error *err);
/* A file's name beside it, for what is to be put there; nothing of that name is
 * there. */
const char *ae_place_beside(const ae_place *place);
/* Moves that file to the place, durably. What was there keeps lying beside it,
 * under the name appended to `kept` (which stays empty where nothing was).
 * After a failure what was there is still there. */
ae_status ae_place_fill(ae_place *place, ae_buf *kept, ae_error *err);
/* Gives the place free; removes the file beside it, where it was not moved. */
void ae_place_free(ae_place *place);

#endif
