/* The event store: one interface, several backends (backend.h), one
 * conformance suite that all pass (test/store/conformance.c).
 *
 * All functions are called on the loop thread. A function with a callback:
 * non-zero return, and the callback never runs; AE_OK, and it runs exactly
 * once (once a page for reads), on the loop thread, never before the return,
 * also at close (AE_CANCELED). Requests are the caller's memory, zeroed before
 * use; the store changes nothing in them but what is marked so. */
#ifndef AE_STORE_STORE_H
#define AE_STORE_STORE_H

#include "store/concurrency/conflict.h"
#include "store/concurrency/expected.h"
#include "store/read.h"
#include "wire/nats.h"

typedef enum ae_store_mode {
  AE_STORE_WRITE, /* the one writer; creates what is not there */
  AE_STORE_READ,  /* beside a writer; every write is AE_STORE_UNAVAILABLE */
} ae_store_mode;

typedef struct ae_store_options {
  const char *url; /* "memory", "sqlite:FILE" or "nats://HOST:PORT,…" */
  ae_store_mode mode;
  size_t group; /* requests taken into one durable group, 0: default */
  bool still;   /* a reader of one moment, that of its first request; what it
                   is kept from bringing in order waits. Of SQLite; others see
                   what is stored meanwhile */
  bool ordered; /* no append is stored where one before it was not, for want of
                   room; in JetStream they are sent one after the other */
  bool cache;   /* what it holds can be had again: a power cut may take the
                   last commits, and nothing else */
  bool passing; /* its file goes with this process: nothing is synced, and a
                   process that is killed leaves a file of no use. Of SQLite */
  struct {
    ae_wire_options wire; /* how to log in; url and changed are the store's */
    unsigned replicas;    /* of streams that it makes, 0: 1 */
    const char *folder;   /* where this node's followers are kept; NULL: in a
                             folder of their own that goes with the store */
  } jetstream;            /* for "nats://…" */
} ae_store_options;

/* Synchronous (a start has nothing else to do). AE_STORE_UNAVAILABLE with
 * `cause` and a message that says what to do: no such folder, no permission,
 * no database, damaged, newer format, another writer (fact `pid`). */
ae_status ae_store_open(ae_loop *loop, const ae_store_options *options,
                        ae_store **out, ae_error *err);
/* The connection to nats-server that the store works over, for others to share;
 * NULL: it has none. Gone with the store. */
ae_wire *ae_store_wire(ae_store *store);
/* Finishes what was accepted before, then `cb`, then the store is gone.
 * Reads in flight end with AE_CANCELED. Nothing may be called after it. */
void ae_store_close(ae_store *store, void (*cb)(void *data), void *data);

/* append: all of one commit or nothing of it. */
typedef struct ae_append ae_append;
typedef void (*ae_append_cb)(ae_append *append);
struct ae_append {
  ae_task task; /* private */
  ae_ref ref;
  uint64_t expected_version; /* 0: no events yet */
  uint32_t event_count;      /* 0 where only command ids are kept */
  uint32_t id_count;         /* commands with an id in it; 0: none to index */
  ae_buf record;             /* event.h; stays the caller's, unchanged */
  uint64_t handle;           /* 0, or what an earlier append of this actor to
                                this store left here: spares a look-up */
  bool looked_up;            /* its ids were looked up when the actor was at
                                expected_version, and none was stored: the
                                store need not look again */
  uint64_t follows;          /* private: a copy of another store's commit at
                                this position, 0: none */
  ae_append_cb cb;
  void *data;
  /* set before the callback */
  ae_status status;  /* AE_OK; AE_VERSION_CONFLICT; AE_DUPLICATE: one of the
                        ids is stored already for this actor; AE_TOO_LARGE;
                        AE_STORE_*; AE_ACTOR_DAMAGED; AE_CANCELED: not stored */
  uint64_t position; /* AE_OK */
  uint64_t current_version; /* AE_OK: after it; AE_VERSION_CONFLICT: now */
  ae_error error;           /* the store's, gone after the callback: read it
                               there, do not move it. The callback may free
                               the request, or append it again */
};
/* A record is at most this long; more is AE_TOO_LARGE at once. */
#define AE_RECORD_MAX (8u << 20)
/* How long one can be in this store now: AE_RECORD_MAX, or what the server
 * takes where that is less. */
size_t ae_store_record_max(const ae_store *store);
ae_status ae_store_append(ae_store *store, ae_append *append, ae_error *err);
/* Between these two, appends are collected and handed over together. Nests. */
void ae_store_cork(ae_store *store);
void ae_store_uncork(ae_store *store);

typedef struct ae_write ae_write;
typedef void (*ae_write_cb)(ae_write *write, ae_status status,
                            const ae_error *err);

/* Base of the write requests below. */
struct ae_write {
  ae_task task; /* private */
  ae_write_cb cb;
  void *data;
  void *impl; /* private */
};

/* save_snapshot. A cache, never the truth, but for a base: that one is truth
 * and history below it may be trimmed. Copied before the return. */
typedef struct ae_snapshot_write {
  ae_write write;
  ae_ref ref;
  uint64_t version;
  int64_t shape; /* snapshot.version of the module */
  ae_str state;  /* msgpack */
  bool base;
  bool follows; /* private: a copy of another store's; where history is missing,
                   it is what is missing below */
} ae_snapshot_write;
ae_status ae_store_save_snapshot(ae_store *store, ae_snapshot_write *snapshot,
                                 ae_error *err);

/* A batch of rows and the checkpoint they bring the projection to, together
 * or not at all. The checkpoint must be `was`, else AE_VERSION_CONFLICT. */
typedef struct ae_rows_write {
  ae_write write;
  ae_str ns;
  ae_str projection;
  const ae_row *rows;
  uint32_t count;
  uint64_t was;
  uint64_t checkpoint;
} ae_rows_write;
ae_status ae_store_put_rows(ae_store *store, ae_rows_write *rows,
                            ae_error *err);

/* Retention of one namespace: deletes commits below base snapshots, oldest
 * first, until none is older than `before` (µs since 1970; 0: no age) and the
 * records take at most `bytes` (0: no limit). Never an actor's last commit,
 * never command ids. Snapshots below a base that history then starts after go
 * too. In parts, between which other requests are served. */
typedef struct ae_trim {
  ae_write write;
  ae_str ns;
  int64_t before;
  uint64_t bytes;
  uint64_t until;     /* the last position that may go; 0: any */
  const bool *enough; /* NULL, or true at some time: it ends after the part that
                         is under way, with AE_CANCELED */
  uint64_t after; /* private: position to go on behind, set again at the end */
  ae_buf *gone;   /* private: where the positions of what was deleted are put,
                     uint64_t each, but of those with ids. NULL: nowhere */
  /* set before the callback */
  uint64_t trimmed; /* commits deleted */
  uint64_t left;    /* bytes of records that remain */
} ae_trim;
ae_status ae_store_trim(ae_store *store, ae_trim *trim, ae_error *err);

/* Whether what was written last could be: AE_OK, or AE_STORE_UNAVAILABLE,
 * AE_STORE_FULL or AE_STORE_UNCERTAIN with what was said then. The next write
 * that succeeds makes it AE_OK again. */
ae_status ae_store_health(const ae_store *store, ae_error *err);
/* Writes what nobody sees, so that ae_store_health tells how it is now. For a
 * store whose last write failed: it costs as much as a commit. */
ae_status ae_store_probe(ae_store *store, ae_write *write, ae_error *err);

#endif
