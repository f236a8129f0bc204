/* What a backend of the store is: a const table of functions, each with its
 * promise, behind store.c. All run on the loop thread. store.c has checked the
 * arguments (names' lengths, record's length, mode, not closing) before. */
#ifndef AE_STORE_BACKEND_H
#define AE_STORE_BACKEND_H

#include "store/keep.h"

/* A page of a read or scan holds at most about this much. */
#define AE__PAGE_BYTES (1u << 20)
#define AE__PAGE_COMMITS 4096u

typedef struct ae_backend {
  /* Scheme of the URL, and what an acknowledged commit means, for people. */
  const char *scheme;
  const char *promise;
  /* `path`: what follows the scheme's colon, "" where there is none. Fills
   * `*out` with its own struct, whose first member is an ae_store. */
  ae_status (*open)(ae_loop *loop, const ae_store_options *options,
                    const char *path, ae_store **out, ae_error *err);
  /* Finishes writes that were accepted, ends reads with AE_CANCELED, calls
   * `cb`, frees the store. */
  void (*close)(ae_store *store, void (*cb)(void *data), void *data);

  /* The version is compared first, then the ids: a stale append with a stored
   * id is a conflict. */
  ae_status (*append)(ae_store *store, ae_append *append, ae_error *err);
  /* NULL: AE_RECORD_MAX. */
  size_t (*record_max)(const ae_store *store);
  /* Corked appends are to go now. */
  void (*flush)(ae_store *store);

  /* An event-less commit counts at its first version: it is among from..to
   * when that is. `impl` starts with an ae__handle. */
  ae_status (*read)(ae_store *store, ae_read *read, ae_error *err);
  void (*read_more)(ae_read *read);
  void (*read_end)(ae_read *read);
  ae_status (*scan)(ae_store *store, ae_scan *scan, ae_error *err);
  void (*scan_more)(ae_scan *scan);
  void (*scan_end)(ae_scan *scan);

  ae_status (*lookup)(ae_store *store, ae_lookup *lookup, ae_error *err);
  ae_status (*load_snapshot)(ae_store *store, ae_snapshot_read *read,
                             ae_error *err);
  ae_status (*read_rows)(ae_store *store, ae_rows_read *read, ae_error *err);
  ae_status (*stats)(ae_store *store, ae_stats_read *read, ae_error *err);

  /* A snapshot of a version that the actor does not have is AE_NOT_FOUND.
   * Besides bases, an actor's newest AE__SNAPSHOTS_KEPT are kept. */
  ae_status (*save_snapshot)(ae_store *store, ae_snapshot_write *snapshot,
                             ae_error *err);
  ae_status (*put_rows)(ae_store *store, ae_rows_write *rows, ae_error *err);
  ae_status (*trim)(ae_store *store, ae_trim *trim, ae_error *err);
  /* A write that leaves nothing behind, where such a one could fail. */
  ae_status (*probe)(ae_store *store, ae_write *write, ae_error *err);

  /* keep.h */
  ae_status (*copy)(ae_store *store, ae_copy *copy, ae_error *err);
  ae_status (*inspect)(ae_store *store, ae_inspect *inspect, ae_error *err);
  ae_status (*drop)(ae_store *store, ae_delete *delete, ae_error *err);
  ae_status (*bases)(ae_store *store, ae_bases_read *read, ae_error *err);
  ae_status (*begin)(ae_store *store, ae_begin *begin, ae_error *err);
  ae_status (*mend)(ae_store *store, ae_mend *mend, ae_error *err);
  ae_status (*compact)(ae_store *store, ae_write *write, ae_error *err);
  /* What it gives starts with an ae_place. NULL: a store of this kind has no
   * place. */
  ae_status (*place_take)(const char *path, bool over, ae_place **out,
                          ae_error *err);
  const char *(*place_beside)(const ae_place *place);
  ae_status (*place_fill)(ae_place *place, ae_buf *kept, ae_error *err);
  void (*place_free)(ae_place *place);
} ae_backend;

#define AE__SNAPSHOTS_KEPT 4

struct ae_store {
  const ae_backend *backend;
  ae_loop *loop;
  ae_store_mode mode;
  unsigned corked;
  bool closing;
  ae_error failed; /* the last write, if it did; status AE_OK: it did not */
};

/* What a write came to, for ae_store_health. */
void ae__store_wrote(ae_store *store, ae_status status, const ae_error *err);
struct ae_place {
  const ae_backend *backend;
};

/* Calls back, then clears the error. */
void ae__append_answer(ae_store *store, ae_append *append);
/* The last thing of a backend's close. */
void ae__store_clear(ae_store *store);

/* First in what a backend keeps of a read or a scan. */
typedef struct ae__handle {
  ae_store *store;
} ae__handle;

/* What every backend says of a snapshot of a version that is not there, and of
 * rows whose checkpoint is another. */
ae_status ae__snapshot_refuse(ae_error *err, const ae_ref *ref,
                              uint64_t version);
ae_status ae__mend_refuse(ae_error *err, const ae_mend *mend, uint64_t version);
ae_status ae__begin_refuse(ae_error *err, const ae_base *base,
                           uint64_t version);
ae_status ae__rows_refuse(ae_error *err, const ae_rows_write *rows,
                          uint64_t checkpoint);

extern const ae_backend ae__memory_backend;
extern const ae_backend ae__sqlite_backend;
extern const ae_backend ae__jetstream_backend;

/* Of a store in SQLite that was just opened: the position of its last commit.
 */
uint64_t ae__sqlite_position(ae_store *store);
/* What reading has met in the file: records that do not fit their sums (looked
 * for in a cache only), or what SQLite cannot read. */
typedef enum ae__damage {
  AE__DAMAGE_NONE,
  AE__DAMAGE_RECORD,
  AE__DAMAGE_FILE,
} ae__damage;
ae__damage ae__sqlite_damage(ae_store *store);

/* NAMESPACE/TYPE/ID at most. */
#define AE__KEY_MAX 400
typedef struct ae__key {
  size_t len;
  char bytes[AE__KEY_MAX];
} ae__key;
/* An actor's key, without allocation; the parts' lengths are checked. */
void ae__key_of(ae__key *key, const ae_ref *ref);
/* The three names in a key. */
ae_ref ae__key_ref(ae_str key);

#endif
