/* Inside the SQLite backend.
 *
 *   loop thread                          store thread
 *   requests ──── ae_worker_push ───►  handler(batch)
 *                                         reads: what is durable
 *                                         writes: one transaction, one fsync
 *   callbacks ◄── ae_loop_post_all ──  answers
 *
 * The store thread alone touches ae__db and what hangs on it; a request is
 * its while it is under way. Nothing else is shared.
 *
 * The file. A commit is one row of `log`, appended in the order of positions;
 * nothing else is written for it at once. Each row names the position of the
 * actor's commit before it, so that an actor's newest position (`heads`) leads
 * to its whole history; `marks` (every AE__MARK-th commit) let a reader enter a
 * long one in the middle. `actors`, `heads`, `marks`, `ids` and the counts in
 * `namespaces` follow the log in large sorted batches; `state.watermark` is the
 * position up to which they hold it. Beyond it is the tail: its writer has it
 * in memory, and whoever opens the file scans it (at most about two batches).
 * The first commit of an actor carries its key, so the tail needs no index. */
#ifndef AE_STORE_SQLITE_H
#define AE_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/list.h"
#include "base/map.h"
#include "loop/work.h"
#include "store/backend.h"

#define AE__SQLITE_APPLICATION 0x41654576 /* "AeEv" */
#define AE__SQLITE_FORMAT 1               /* user_version */
#define AE__BATCH 65536u                  /* commits in an index batch */
#define AE__MARK 256u                     /* commits between marks */
#define AE__HEADS_MAX 262144u             /* cached, besides the tail's */
#define AE__GROUP 4096u                   /* appends in a transaction */
#define AE__SPACE_MAX (UINT16_MAX * 256)  /* ids of namespaces */
#define AE__SCAN_ROWS 16384u              /* rows looked at in one request */

/* -- what the store thread knows -- */

typedef struct ae__sql_space { /* a namespace */
  int64_t id;
  ae_stats now;    /* with the tail; snapshots are counted in the file */
  ae_stats frozen; /* when the tail was frozen */
  ae_str name;     /* into `bytes` */
  char bytes[];
} ae__sql_space;

/* An actor. What an append touches lies side by side. */
typedef struct ae__head {
  struct ae__head *next; /* in the bucket */
  uint64_t hash;         /* of the key */
  uint64_t version;      /* the latest */
  uint64_t position;     /* of its last commit */
  uint64_t commits;      /* ever; only their distance counts */
  ae__sql_space *space;
  int64_t id;
  uint16_t len; /* of the key */
  uint8_t ns_len, type_len;
  bool dirty;    /* in the tail that grows */
  bool frozen;   /* in the tail that is being indexed */
  bool ids;      /* it has some, in the table or in a tail */
  bool stored;   /* in the table `actors` */
  bool used;     /* since the last sweep */
  uint64_t base; /* see ae_read */
  char key[];
} ae__head;

#define AE__IDS_PAGE 4096
#define AE__ACTORS_MAX ((int64_t)1 << 36)
typedef struct ae__ids_page { /* heads by number */
  size_t count;
  ae__head *heads[AE__IDS_PAGE];
} ae__ids_page;

typedef struct ae__heads {
  ae__head **by_key;
  size_t mask; /* buckets - 1 */
  size_t count;
  size_t hand; /* of the sweep */
  ae__ids_page **by_id;
  size_t page_count;
} ae__heads;

typedef struct ae__mark {
  int64_t actor;
  uint64_t version, position;
} ae__mark;

typedef struct ae__tail_id { /* position 0: taken back */
  int64_t actor;             /* 0: free slot */
  uint64_t hash, position;
} ae__tail_id;

typedef struct ae__tail {
  ae__head **heads; /* each once */
  size_t head_count, head_cap;
  ae__mark *marks;
  size_t mark_count, mark_cap;
  ae__tail_id *ids; /* open addressing; sorted and dense once frozen */
  size_t id_count, id_mask;
  uint64_t commits;
  uint64_t end; /* frozen: the watermark to be */
} ae__tail;

/* What a group did, so that it can be taken back. */
typedef struct ae__undo {
  ae__head *head;
  uint64_t version, position, commits;
  uint64_t space_position; /* of its namespace's last commit */
  uint32_t events, bytes;
  bool dirty, ids; /* of the head, before */
  bool made;       /* the head */
  bool begun;      /* … without a commit */
  bool done;       /* counted */
} ae__undo;

/* Where indexing of the frozen tail stands. */
typedef struct ae__index {
  bool active;
  size_t fresh; /* of the frozen heads, those not in `actors`: sorted first */
  size_t actors, heads, marks, ids; /* done of each */
} ae__index;

typedef enum ae__statement {
  AE__SQL_BEGIN,
  AE__SQL_BEGIN_READ,
  AE__SQL_COMMIT,
  AE__SQL_ROLLBACK,
  AE__SQL_STATE,
  AE__SQL_STATE_PUT,
  AE__SQL_STATE_SAME,
  AE__SQL_SPACES,
  AE__SQL_SPACE_PUT,
  AE__SQL_SPACE_SNAPSHOTS,
  AE__SQL_SPACE_BEGUN,
  AE__SQL_SNAPSHOTS,
  AE__SQL_SPACE_TRIM,
  AE__SQL_LAST_ACTOR,
  AE__SQL_LOG_PUT,
  AE__SQL_LOG_GET,
  AE__SQL_LOG_BODY,
  AE__SQL_LOG_VERSION,
  AE__SQL_LOG_TAIL,
  AE__SQL_LOG_SCAN,
  AE__SQL_LOG_ACTOR,
  AE__SQL_LOG_DELETE,
  AE__SQL_ACTOR_BY_KEY,
  AE__SQL_ACTOR_BY_ID,
  AE__SQL_ACTOR_PUT,
  AE__SQL_HEAD_PUT,
  AE__SQL_HEAD_BASE,
  AE__SQL_MARK_PUT,
  AE__SQL_MARK_NEXT,
  AE__SQL_MARK_DELETE,
  AE__SQL_ID_PUT,
  AE__SQL_ID_GET,
  AE__SQL_IDS_GET,
  AE__SQL_HEAD_IDS,
  AE__SQL_SNAPSHOT_PUT,
  AE__SQL_SNAPSHOT_GET,
  AE__SQL_SNAPSHOT_COUNT,
  AE__SQL_SNAPSHOT_PRUNE,
  AE__SQL_SNAPSHOT_BASE,
  AE__SQL_SNAPSHOTS_BELOW,
  AE__SQL_BASES,
  AE__SQL_BASE_GET,
  AE__SQL_PROJECTION_GET,
  AE__SQL_PROJECTION_PUT,
  AE__SQL_ROW_PUT,
  AE__SQL_ROW_DELETE,
  AE__SQL_ROWS,
  AE__SQL_STATEMENTS
} ae__statement;

typedef struct ae__db {
  sqlite3 *sqlite;
  sqlite3_stmt *statements[AE__SQL_STATEMENTS];
  char *path;
  int lock; /* OS lock of the writer, -1: none */
  bool writer;
  bool immutable;    /* a reader of a file that nobody has open */
  struct stat about; /* of the file, when it was opened that way */
  bool still;        /* a reader of one moment */
  bool passing;      /* the file goes with this process: nothing is synced */
  bool ordered;      /* nothing is stored behind what could not be */
  bool cache;        /* a copy of a stream, which can be fetched anew */
  atomic_int damage; /* an ae__damage, that reading has met */
  bool lost;         /* what is in memory may not be what is in the file */
  bool complete;     /* every actor there is has a head in memory */
  int wal_pages;     /* in the log of SQLite after the last commit */
  int wal_tried;     /* at the last checkpoint that could not do all */
  int page_size;
  uint64_t generation; /* of the index; a reader notices */
  uint64_t watermark;
  uint64_t position; /* the last one seen */
  int64_t last_actor, last_space;
  ae__heads heads;
  ae_map spaces;            /* by name */
  ae__sql_space **by_space; /* by id */
  size_t space_cap;
  ae__tail tail, frozen;
  ae__index index;
  struct ae__unit *units; /* of the groups that are being written */
  size_t unit_cap;
  ae__undo *undo;
  size_t undo_count, undo_cap;
  uint64_t *walk; /* positions of a chunk of history, newest first */
  size_t walk_count, walk_cap;
  ae_buf scratch;
} ae__db;

/* -- requests -- */

typedef enum ae__kind {
  AE__APPENDS,
  AE__SNAPSHOT_SAVE,
  AE__ROWS_PUT,
  AE__BEGIN,
  AE__PROBE, /* up to here: writes of a group */
  AE__TRIM,  /* from here: alone, behind all others */
  AE__COPY,
  AE__INSPECT,
  AE__DELETE,
  AE__MEND,
  AE__COMPACT,
  AE__READ_PAGE,
  AE__SCAN_PAGE,
  AE__LOOKUP,
  AE__SNAPSHOT_LOAD,
  AE__ROWS_READ,
  AE__BASES,
  AE__STATS,
  AE__CLOSE,
} ae__kind;

typedef struct ae__request {
  ae_task task; /* first; its `run` answers on the loop thread */
  ae__kind kind;
  struct ae__sqlite *store;
  void *of; /* the caller's struct */
  ae_status status;
  ae_error error;
  ae_buf text; /* what the caller gave that need not live, and results */
} ae__request;

typedef struct ae__trimming {
  ae__request request;
  uint64_t after; /* position up to which commits were looked at */
  bool more;
} ae__trimming;

typedef struct ae__appends {
  ae__request request;
  ae_task *first; /* ae_append.task, oldest first */
  ae_task **last;
  uint32_t count;
  struct ae__appends *next; /* in the pool */
} ae__appends;

typedef struct ae__sql_page {
  ae_record *records;
  uint32_t count, cap;
  ae_buf bytes;
  size_t most; /* bytes that make it full */
  bool end;
  uint64_t latest, base; /* of a read */
  ae_status status;
  ae_error error;
} ae__sql_page;

typedef struct ae__cursor {
  ae__handle handle; /* first */
  ae__request request;
  ae_task deliver; /* deferred while `due` */
  ae_list link;
  ae_read *read;  /* either this */
  ae_scan *scan;  /* or this; both NULL: ended by the caller */
  bool under_way; /* the request is the store thread's */
  bool due;
  bool busy;     /* in its callback */
  bool wanted;   /* the caller asked for a page */
  bool ready;    /* pages[at] waits for that */
  bool told_end; /* a live scan has given a page with `end` */
  unsigned at;   /* the page that is filled or ready */
  /* for the store thread */
  ae__key key; /* the actor, or the namespace; len 0: all */
  uint64_t from, to;
  uint64_t after;         /* position up to which pages were filled */
  uint64_t version_after; /* first version of that commit */
  uint64_t version_next;  /* the version behind it */
  uint64_t was_after, was_version_after; /* before the page was filled */
  uint64_t was_version_next;
  bool broken; /* the actor's chain is: all of the log is searched */
  ae__sql_page pages[2];
} ae__cursor;

typedef struct ae__sqlite {
  ae_store store; /* first */
  ae__db db;      /* the store thread's */
  ae_worker *worker;
  size_t group;
  ae__appends *filling; /* corked */
  ae__appends *pool;
  ae_list cursors;  /* not waiting */
  ae_list waiting;  /* live scans */
  uv_timer_t timer; /* a reader's, looks for what a writer stored */
  ae__request close;
  void (*closed)(void *data);
  void *closed_data;
} ae__sqlite;

/* -- sqlite -- */
ae__request *ae__request_new(ae_store *store, ae__kind kind, void *of,
                             void (*answer)(ae_task *task));
void ae__request_free(ae__request *request);
static inline ae__sqlite *ae__sqlite_of(ae_store *store) {
  return (ae__sqlite *)store;
}
/* To the store thread; the loop is held until the answer. */
void ae__push(ae__sqlite *store, ae__request *request);
/* The answer's request; the hold is given back. */
ae__request *ae__answered(ae_task *task);
/* An ae_write's answer: `run` of its request. */
void ae__on_write(ae_task *task);

/* -- sqlite_cursor -- */
ae_status ae__sqlite_read(ae_store *store, ae_read *read, ae_error *err);
void ae__sqlite_read_more(ae_read *read);
void ae__sqlite_read_end(ae_read *read);
ae_status ae__sqlite_scan(ae_store *store, ae_scan *scan, ae_error *err);
void ae__sqlite_scan_more(ae_scan *scan);
void ae__sqlite_scan_end(ae_scan *scan);
/* Live scans look again. */
void ae__cursor_wake(ae__sqlite *store);
void ae__cursor_cancel(ae__cursor *cursor);
/* Gives what is ready, or the cancellation, in a task of its own. */
void ae__cursor_due(ae__cursor *cursor);

/* -- sqlite_thread -- */
/* Reads first, so that they do not wait for a sync; then the writes. */
void ae__thread_handle(void *data, ae_task *batch);

/* -- sqlite_file -- */
ae_status ae__sql_open(ae__db *db, const char *path, ae_store_mode mode,
                       ae_error *err);
void ae__sql_close(ae__db *db);
/* Commits are no longer synced, only checkpoints: after a power cut the last
 * may be missing, and the file is whole. */
void ae__sql_relax(ae__db *db);
/* A reader's file that nobody had open has changed since, or a writer has come:
 * what was read of it does not hold. */
bool ae__sql_stale(const ae__db *db);
/* Only the first of these. */
bool ae__sql_changed(const ae__db *db);
int ae__sql_reopen(ae__db *db);
/* The connection alone: db->path and db->immutable are set. `alone`: nobody
 * else knows of the file. After an error too there is one to detach. */
int ae__sql_attach(ae__db *db, int flags, bool alone);
void ae__sql_detach(ae__db *db);
/* The OS lock of the writer of db->path, into db->lock. */
ae_status ae__sql_lock(ae__db *db, ae_error *err);
/* The file begins as one of SQLite does, or is empty. */
bool ae__sql_is(const ae__db *db);
/* Of a link, what it leads to. The caller's. */
char *ae__sql_real_path(const char *path);
int ae__sql_text(ae__db *db, const char *text);
/* The first column of the first row; untouched where there is none. */
int ae__sql_int(ae__db *db, const char *text, int64_t *out);
ae_status ae__sql_refuse(ae_error *err, const char *path, const char *cause,
                         const char *mend);
ae_status ae__sql_refuse_errno(ae_error *err, const char *path, int error);

/* -- sqlite_copy -- */
ae_status ae__sqlite_copy(ae_store *store, ae_copy *copy, ae_error *err);
/* Takes part of the copy on. */
void ae__copy_slice(ae__db *db, ae__request *request);

/* -- sqlite_inspect -- */
ae_status ae__sqlite_inspect(ae_store *store, ae_inspect *inspect,
                             ae_error *err);
void ae__inspect(ae__db *db, ae__request *request);

/* -- sqlite_bases -- */
ae_status ae__sqlite_bases(ae_store *store, ae_bases_read *read, ae_error *err);
ae_status ae__sqlite_begin(ae_store *store, ae_begin *begin, ae_error *err);
void ae__bases_read(ae__db *db, ae__request *request);
/* A unit of a group; what it changed in memory is in the undo list. */
int ae__begin(ae__db *db, ae__request *request);

/* -- sqlite_delete -- */
ae_status ae__sqlite_delete(ae_store *store, ae_delete *delete, ae_error *err);
ae_status ae__sqlite_compact(ae_store *store, ae_write *write, ae_error *err);
void ae__delete(ae__db *db, ae__request *request);
void ae__compact(ae__db *db, ae__request *request);

/* -- sqlite_mend -- */
ae_status ae__sqlite_mend(ae_store *store, ae_mend *mend, ae_error *err);
void ae__mend(ae__db *db, ae__request *request);

/* -- sqlite_place -- */
ae_status ae__sqlite_place_take(const char *path, bool over, ae_place **out,
                                ae_error *err);
const char *ae__sqlite_place_beside(const ae_place *place);
ae_status ae__sqlite_place_fill(ae_place *place, ae_buf *kept, ae_error *err);
void ae__sqlite_place_free(ae_place *place);

/* -- sqlite_sql -- */
int ae__sql_prepare(ae__db *db);
void ae__sql_unprepare(ae__db *db);
/* Reset and ready to bind. */
sqlite3_stmt *ae__sql(ae__db *db, ae__statement statement);
/* Steps a statement that gives no rows, and resets it. */
int ae__sql_done(sqlite3_stmt *statement);
int ae__sql_run(ae__db *db, ae__statement statement);
/* SQLite's code as a status, with `cause` and what to do. */
ae_status ae__sql_error(ae__db *db, int code, const char *doing, ae_error *err);
/* Before a write: SQLITE_OK, or SQLITE_READONLY_DBMOVED where the file that is
 * open is not the one that stands at its path (what is stored in it is lost
 * with the process), or an error where what is known of it is `lost`. */
int ae__sql_moved(ae__db *db);
/* SQLITE_OK, or what an armed fault of that name means. */
int ae__sql_fault(const char *name);

/* -- sqlite_heads -- */
/* Brings a bucket near, then what is in it, for a look-up that comes soon. */
static inline void ae__head_near(const ae__heads *heads, uint64_t hash) {
  if (heads->count > 0) __builtin_prefetch(&heads->by_key[hash & heads->mask]);
}
static inline void ae__head_nearer(const ae__heads *heads, uint64_t hash) {
  if (heads->count == 0) return;
  ae__head *head = heads->by_key[hash & heads->mask];
  if (!head) return;
  __builtin_prefetch(head, 1);
  __builtin_prefetch((const char *)head + 64, 1);
}
ae__head *ae__head_find(const ae__heads *heads, ae_str key, uint64_t hash);
ae__head *ae__head_find_id(const ae__heads *heads, int64_t id);
/* Whether a stored key names an actor: a damaged file can hold any bytes. */
bool ae__head_names(ae_str key);
ae__head *ae__head_make(ae__heads *heads, ae_str key, uint64_t hash,
                        int64_t id);
void ae__head_drop(ae__heads *heads, ae__head *head);
void ae__heads_clear(ae__heads *heads);
/* Cached or loaded; *out NULL: no such actor. SQLITE_OK or an error. */
int ae__head_get(ae__db *db, ae_str key, ae__head **out);
int ae__head_get_hashed(ae__db *db, ae_str key, uint64_t hash, ae__head **out);
int ae__head_get_id(ae__db *db, int64_t id, ae__head **out);
/* Drops heads that nobody used of late, where there are too many. */
void ae__heads_sweep(ae__db *db);
ae__sql_space *ae__space_get(ae__db *db, ae_str name);
ae__sql_space *ae__space_get_id(ae__db *db, int64_t id);
ae__sql_space *ae__space_make(ae__db *db, ae_str name, int64_t id);
void ae__spaces_clear(ae__db *db);

/* -- sqlite_index -- */
/* State, namespaces and tail, at open and when a reader sees a new index. */
int ae__index_load(ae__db *db);
/* The writer, after it changed the index by other means than its steps, with
 * nothing in the tail. Where that fails, it writes no more. */
int ae__index_again(ae__db *db);
/* A reader: takes in what the writer stored since. In a read transaction. */
int ae__index_follow(ae__db *db);
void ae__tail_touch(ae__db *db, ae__head *head);
void ae__tail_mark(ae__db *db, const ae__head *head, uint64_t version);
void ae__tail_id_put(ae__tail *tail, int64_t actor, uint64_t hash,
                     uint64_t position);
/* Takes back the marks and ids of commits behind `position`. */
void ae__tail_undo(ae__tail *tail, uint64_t position);
/* Positions under a hash in both tails: `visit` says whether to go on. */
bool ae__tail_ids(const ae__db *db, int64_t actor, uint64_t hash,
                  bool (*visit)(void *data, uint64_t position), void *data);
void ae__tail_clear(ae__tail *tail);
/* Freezes a tail that is long enough; between transactions. */
void ae__index_due(ae__db *db);
/* Some of the index, in the transaction that is open. */
int ae__index_step(ae__db *db, size_t budget);
/* The transaction is stored, or taken back to `before`. */
void ae__index_stored(ae__db *db);
/* All of it, in transactions of its own. */
int ae__index_all(ae__db *db);

/* -- sqlite_log -- */
/* One group of write requests: a transaction, or several where one of them
 * cannot be stored. Statuses are set. */
void ae__log_write(ae__sqlite *store, ae_task *first);
void ae__log_checkpoint(ae__db *db, bool whole);
/* Room for one more in the undo list. */
ae__undo *ae__log_undo(ae__db *db);
/* An actor that is not known yet, in memory alone. */
ae__head *ae__log_head_new(ae__db *db, ae_str key, uint64_t hash);
/* The position of the commit that holds the id; 0: none. */
int ae__log_id(ae__db *db, ae__head *head, ae_str id, uint64_t *position);
/* The record at a position, in db->scratch; len 0: not there. */
int ae__log_body(ae__db *db, uint64_t position);

/* -- sqlite_read -- */
void ae__read_page(ae__db *db, ae__cursor *cursor);
void ae__scan_page(ae__db *db, ae__cursor *cursor);
void ae__read_lookup(ae__db *db, ae__request *request);

/* -- sqlite_rows -- */
int ae__rows_snapshot_save(ae__db *db, ae__request *request);
/* The namespace has one snapshot more. In a transaction. */
int ae__rows_snapshot_counted(ae__db *db, const ae__sql_space *space);
/* Those of lower versions go, in the caller's transaction. */
int ae__rows_snapshots_forget(ae__db *db, const ae__head *head, uint64_t below);
/* A commit of the namespace went from that position; likewise. */
int ae__rows_trimmed(ae__db *db, ae_str ns, uint64_t position);
int ae__rows_put(ae__db *db, ae__request *request);
void ae__rows_snapshot_load(ae__db *db, ae__request *request);
void ae__rows_read(ae__db *db, ae__request *request);
void ae__rows_stats(ae__db *db, ae__request *request);

/* -- sqlite_trim -- */
/* One slice behind `*after`; true: there may be more. */
bool ae__trim(ae__db *db, ae__request *request, uint64_t *after);

#endif
