/* Inside the memory backend. Everything happens on the loop thread; a request
 * is carried out at the call or when its deferred task runs, and its callback
 * runs in that task. */
#ifndef AE_STORE_MEMORY_H
#define AE_STORE_MEMORY_H

#include "base/list.h"
#include "base/map.h"
#include "store/backend.h"

typedef struct ae__space { /* a namespace */
  ae_str name;             /* into `bytes` */
  ae_stats stats;          /* of it; file_bytes and unindexed stay 0 */
  char bytes[];
} ae__space;

typedef struct ae__memory_snapshot {
  struct ae__memory_snapshot *next; /* older, or equal and saved before */
  uint64_t version;
  int64_t shape;
  bool base;
  size_t len;
  char state[];
} ae__memory_snapshot;

typedef struct ae__memory_actor { /* what an append touches comes first */
  uint64_t version;
  uint64_t last; /* position of its last commit */
  ae__space *space;
  uint64_t base;                  /* see ae_read */
  bool gone;                      /* deleted with its namespace, not counted */
  ae_ref ref;                     /* slices of `key` */
  ae__memory_snapshot *snapshots; /* newest version first */
  size_t len;
  char key[];
} ae__memory_actor;

#define AE__CHUNK (1u << 20)

/* Where records lie, one behind the other; freed with its last record. It lies
 * at a multiple of AE__CHUNK, so that a record's address leads to it. */
typedef struct ae__chunk {
  size_t used, size;
  size_t live; /* records in it */
  char bytes[];
} ae__chunk;

typedef struct ae__entry { /* a commit; bytes NULL: trimmed */
  ae__memory_actor *actor;
  uint64_t before; /* position of the actor's commit before it; 0: none */
  char *bytes;
  uint64_t first_version;
  uint32_t len;
  uint32_t events;
} ae__entry;

#define AE__SEGMENT 4096u /* entries side by side */

typedef struct ae__memory_id { /* key: actor's address, then the id */
  uint64_t position;
  size_t len;
  char key[];
} ae__memory_id;

typedef struct ae__memory_kept { /* an id that came without its commit */
  const ae__memory_actor *actor; /* both: the key */
  uint64_t hash;
} ae__memory_kept;

typedef struct ae__memory {
  ae_store store;
  ae_map spaces;
  ae_map actors;
  ae_map ids;
  ae_map kept; /* ae__memory_kept */
  ae_map projections;
  ae__entry **segments; /* position p: entry p - 1 */
  size_t segment_count;
  uint64_t position; /* the last */
  ae__chunk *chunk;  /* the one that is filled */
  ae_list cursors;   /* reads and scans that are not over */
  ae_list waiting;   /* live scans that wait for an append */
  ae_task *asked;    /* appends to be carried out, oldest first */
  ae_task **asked_last;
  ae_task *done; /* appends to be answered, oldest first */
  ae_task **done_last;
  ae_task answer; /* deferred while `done` holds something */
  ae_task close;
  void (*closed)(void *data);
  void *closed_data;
} ae__memory;

static inline ae__entry *ae__memory_entry(const ae__memory *memory,
                                          uint64_t position) {
  return &memory->segments[(position - 1) / AE__SEGMENT]
                          [(position - 1) % AE__SEGMENT];
}

/* A request that is carried out later; `run` takes it: the caller's struct. */
void *ae__memory_defer(ae_store *store, void *of, void (*run)(ae_task *task));
void *ae__memory_take(ae_task *task, ae__memory **memory);

/* Known or made. */
ae__memory_actor *ae__memory_actor_make(ae__memory *memory, const ae_ref *ref);
void ae__memory_snapshot_put(ae__memory_actor *actor,
                             const ae_snapshot_write *given);
void ae__memory_write_defer(ae_store *store, ae_write *write, ae_error *err);
ae__memory_actor *ae__memory_actor_get(ae__memory *memory, const ae_ref *ref);
ae__space *ae__memory_space_get(ae__memory *memory, ae_str name);
/* Where the id was stored; 0: nowhere. */
uint64_t ae__memory_id_get(ae__memory *memory, ae__memory_actor *actor,
                           ae_str id);
/* Live scans look again. */
void ae__memory_wake(ae__memory *memory);
/* Ends every read and scan with AE_CANCELED, later. */
void ae__memory_cancel(ae__memory *memory);
/* Of a namespace; ptr NULL: of all. */
void ae__memory_rows_clear(ae__memory *memory, ae_str ns);
/* A record, copied; and an entry's given back. */
char *ae__memory_record_put(ae__memory *memory, ae_str record);
void ae__memory_record_drop(ae__memory *memory, ae__entry *entry);
void ae__memory_snapshots_clear(ae__memory_actor *actor);
/* Those of lower versions. */
void ae__memory_snapshots_forget(ae__memory_actor *actor, uint64_t below);

ae_status ae__memory_read(ae_store *store, ae_read *read, ae_error *err);
void ae__memory_read_more(ae_read *read);
void ae__memory_read_end(ae_read *read);
ae_status ae__memory_scan(ae_store *store, ae_scan *scan, ae_error *err);
void ae__memory_scan_more(ae_scan *scan);
void ae__memory_scan_end(ae_scan *scan);
ae_status ae__memory_lookup(ae_store *store, ae_lookup *lookup, ae_error *err);
ae_status ae__memory_load_snapshot(ae_store *store, ae_snapshot_read *read,
                                   ae_error *err);
ae_status ae__memory_save_snapshot(ae_store *store, ae_snapshot_write *snapshot,
                                   ae_error *err);
ae_status ae__memory_read_rows(ae_store *store, ae_rows_read *read,
                               ae_error *err);
ae_status ae__memory_probe(ae_store *store, ae_write *write, ae_error *err);
ae_status ae__memory_put_rows(ae_store *store, ae_rows_write *rows,
                              ae_error *err);
ae_status ae__memory_stats(ae_store *store, ae_stats_read *read, ae_error *err);
ae_status ae__memory_trim(ae_store *store, ae_trim *trim, ae_error *err);
ae_status ae__memory_copy(ae_store *store, ae_copy *copy, ae_error *err);
ae_status ae__memory_inspect(ae_store *store, ae_inspect *inspect,
                             ae_error *err);
ae_status ae__memory_delete(ae_store *store, ae_delete *delete, ae_error *err);
ae_status ae__memory_compact(ae_store *store, ae_write *write, ae_error *err);
ae_status ae__memory_bases(ae_store *store, ae_bases_read *read, ae_error *err);
ae_status ae__memory_mend(ae_store *store, ae_mend *mend, ae_error *err);
ae_status ae__memory_begin(ae_store *store, ae_begin *begin, ae_error *err);

#endif
