/* The read half of the event store. */
#ifndef AE_STORE_READ_H
#define AE_STORE_READ_H

#include "event/event.h"
#include "loop/loop.h"

typedef struct ae_store ae_store;

/* One stored commit. */
typedef struct ae_record {
  uint64_t position;
  ae_ref ref; /* ns, type, id as the store indexed them */
  uint64_t first_version;
  uint32_t event_count; /* as indexed */
  uint64_t base;        /* its actor's history starts after this version (see
                           ae_read): a commit below is as good as deleted */
  ae_str bytes;         /* the record (event.h); undecoded, unchecked */
} ae_record;

/* Some commits in order. Lives until the callback returns. */
typedef struct ae_page {
  const ae_record *records;
  uint32_t count;
  bool end; /* nothing more (a live scan: nothing more at this moment) */
} ae_page;

/* read: the commits of one actor that hold versions from..to, rising (an
 * event-less one counts at its first version). The caller owns the struct,
 * zeroes it, sets the first group, and keeps it and what ref points at until
 * the last callback. */
typedef struct ae_read ae_read;
/* Runs once a page on the loop thread; the last has status ≠ AE_OK or
 * page->end; look into the page only where it is AE_OK. For another page call
 * ae_read_more before returning or later; to end early call ae_read_end
 * instead. */
typedef void (*ae_read_cb)(ae_read *read, ae_status status, const ae_page *page,
                           const ae_error *err);
struct ae_read {
  ae_ref ref;
  uint64_t from; /* first version wanted, from 1 */
  uint64_t to;   /* last version wanted, inclusive; UINT64_MAX: all */
  size_t page;   /* bytes of a page, about; 0: as many as are read fastest */
  ae_read_cb cb;
  void *data;
  uint64_t latest; /* set with the first page: the actor's version, 0: none */
  uint64_t base;   /* set likewise: history starts after this version (0: whole;
                      else a base snapshot holds it and lower is trimmed) */
  void *impl;      /* private */
};
ae_status ae_store_read(ae_store *store, ae_read *read, ae_error *err);
void ae_read_more(ae_read *read);
/* No callback after it; frees what the backend holds of it. Needed after the
 * last page too? No: a read that ended has been freed by the store. */
void ae_read_end(ae_read *read);

/* latest_version, and where a repeated command id was stored. */
typedef struct ae_lookup ae_lookup;
typedef void (*ae_lookup_cb)(ae_lookup *lookup, ae_status status,
                             const ae_error *err);
struct ae_lookup {
  ae_task task; /* private */
  ae_ref ref;
  ae_str command_id; /* ptr NULL: only the version is wanted */
  ae_lookup_cb cb;
  void *data;
  /* set before the callback */
  uint64_t version;  /* the actor's latest, 0: none */
  uint64_t last;     /* position of its last commit, 0: none */
  uint64_t position; /* of the commit that holds command_id, 0: none;
                        UINT64_MAX: it was trimmed in another store */
  ae_str record;     /* that commit's bytes, until the callback returns; len 0:
                        retention removed it, the id alone is kept */
  void *impl;        /* private */
};
ae_status ae_store_lookup(ae_store *store, ae_lookup *lookup, ae_error *err);

/* scan: all commits of a namespace (ptr NULL: of all) after a position. The
 * store fetches one page ahead. With `live` it goes on: after a page with
 * `end`, ae_scan_more waits for what is stored next. */
typedef struct ae_scan ae_scan;
typedef void (*ae_scan_cb)(ae_scan *scan, ae_status status, const ae_page *page,
                           const ae_error *err);
struct ae_scan {
  ae_str ns;
  uint64_t after; /* position; 0: from the start */
  uint64_t until; /* last position wanted; UINT64_MAX: all */
  size_t page;    /* bytes of a page, about; 0: as many as are read fastest */
  bool live;
  ae_scan_cb cb;
  void *data;
  void *impl; /* private */
};
ae_status ae_store_scan(ae_store *store, ae_scan *scan, ae_error *err);
void ae_scan_more(ae_scan *scan);
/* No callback after it. Not after a page with `end` of one that is not live,
 * nor after a status ≠ AE_OK: that scan is over and freed. */
void ae_scan_end(ae_scan *scan);

/* load_snapshot: the newest at or below a version. */
typedef struct ae_snapshot_read ae_snapshot_read;
typedef void (*ae_snapshot_cb)(ae_snapshot_read *read, ae_status status,
                               const ae_error *err);
struct ae_snapshot_read {
  ae_ref ref;
  uint64_t at_most; /* UINT64_MAX: the newest */
  int64_t shape;    /* snapshot.version of the module; others do not count,
                       but for a base */
  bool fitting;     /* nor does a base: events are to tell what it tells */
  ae_snapshot_cb cb;
  void *data;
  /* set before the callback */
  uint64_t version; /* of the snapshot, 0: none */
  bool base;
  ae_str state; /* msgpack, until the callback returns */
  void *impl;   /* private */
};
ae_status ae_store_load_snapshot(ae_store *store, ae_snapshot_read *read,
                                 ae_error *err);

/* Rows of projections. */
typedef struct ae_rows_read ae_rows_read;
typedef struct ae_row {
  ae_str key;
  ae_str value; /* msgpack; len 0 in a put: delete */
} ae_row;
typedef void (*ae_rows_cb)(ae_rows_read *read, ae_status status,
                           const ae_row *rows, uint32_t count,
                           const ae_error *err);
struct ae_rows_read {
  ae_str ns;
  ae_str projection;
  ae_str from;   /* first key wanted, bytewise, exclusive with `after` */
  bool after;    /* strictly behind `from` */
  ae_str prefix; /* len 0: any */
  bool exact;    /* only the row whose key is `from` */
  uint32_t limit;
  ae_rows_cb cb; /* once; rows live until it returns */
  void *data;
  uint64_t checkpoint; /* set before the callback */
  void *impl;          /* private */
};
ae_status ae_store_read_rows(ae_store *store, ae_rows_read *read,
                             ae_error *err);

typedef struct ae_stats {
  uint64_t commits; /* stored, of the namespace asked or all */
  uint64_t events;
  uint64_t actors;
  uint64_t snapshots;
  uint64_t bytes;      /* of records */
  uint64_t position;   /* the last */
  uint64_t trimmed;    /* of one namespace: the last position that retention
                          removed a commit from, 0: none. Who goes on behind a
                          lower one misses something */
  uint64_t file_bytes; /* on disk, 0 for memory */
  uint64_t unindexed;  /* the tail beyond the index's watermark */
} ae_stats;
typedef struct ae_stats_read ae_stats_read;
struct ae_stats_read {
  ae_str ns; /* ptr NULL: all */
  void (*cb)(ae_stats_read *read, ae_status status, const ae_error *err);
  void *data;
  ae_stats stats;
  void *impl; /* private */
};
ae_status ae_store_stats(ae_store *store, ae_stats_read *read, ae_error *err);

/* What the store promises of an acknowledged commit, for people: "is fsynced",
 * "lives as long as the process". */
const char *ae_store_promise(const ae_store *store);

/* For permissions of nats-server: each subject that a store there publishes to
 * for the namespace, its calls of JetStream's API among them. `subject` lives
 * until `each` returns. */
void ae_store_subjects(ae_str ns, void (*each)(void *data, const char *subject),
                       void *data);

#endif
