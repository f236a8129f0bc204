/* A copy of the file, page by page, by two connections of its own: one holds
 * the moment that is copied, the other writes. What the writer stores meanwhile
 * waits in SQLite's log until the copy is done.
 *
 *   opened ──► stepped … ──► finished: one file without a log, synced
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define SLICE_PAGES 128       /* 1 MB: an append waits no longer for it */
#define SYNC_BYTES (8u << 20) /* synced in parts, so that the last is short */
#define TRIES 3 /* where a writer came to a file nobody had open */

typedef struct copying {
  ae__request request; /* first */
  ae__db from, to;
  sqlite3_backup *backup;
  int file; /* of `to`, for syncing; -1: not open */
  uint64_t synced;
  unsigned tries;
  int error;    /* errno of the system call that failed */
  bool writing; /* what failed was about `to` */
  bool more;
} copying;

static int detach(ae__db *db) {
  int code = sqlite3_close(db->sqlite);
  db->sqlite = NULL;
  return code;
}

static int finish(copying *c) {
  int code = c->backup ? sqlite3_backup_finish(c->backup) : SQLITE_OK;
  c->backup = NULL;
  detach(&c->from);
  detach(&c->to);
  if (c->file >= 0) close(c->file);
  c->file = -1;
  return code;
}

/* A transaction that has read holds its moment. */
static int open_from(copying *c) {
  int64_t position;
  if (c->from.immutable && stat(c->from.path, &c->from.about) != 0)
    return SQLITE_CANTOPEN;
  int code = ae__sql_attach(&c->from, SQLITE_OPEN_READONLY, false);
  if (code == SQLITE_OK) code = ae__sql_text(&c->from, "BEGIN");
  if (code == SQLITE_OK)
    code = ae__sql_int(&c->from, "SELECT max(position) FROM log", &position);
  return code;
}

static int open_to(copying *c) {
  struct stat about;
  c->writing = true;
  c->error = AE_FAULT("copy.open");
  c->file = open(c->to.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (c->file < 0 && c->error == 0) c->error = errno;
  if (c->error != 0) return SQLITE_CANTOPEN;
  /* As private as what it is of; a file system may know no such thing. */
  if (stat(c->from.path, &about) == 0)
    (void)!fchmod(c->file, about.st_mode & 0777);
  /* Nobody else knows of it. */
  int code =
      ae__sql_attach(&c->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, true);
  if (code == SQLITE_OK)
    code = ae__sql_text(&c->to,
                        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                        "PRAGMA cache_size=-4096");
  if (code != SQLITE_OK) return code;
  c->backup = sqlite3_backup_init(c->to.sqlite, "main", c->from.sqlite, "main");
  return c->backup ? SQLITE_OK : sqlite3_errcode(c->to.sqlite);
}

static int sync_file(copying *c) {
  int error = AE_FAULT("copy.sync");
  if (error == 0 && fdatasync(c->file) != 0) error = errno;
  if (error == 0) return SQLITE_OK;
  return error == ENOSPC || error == EDQUOT ? SQLITE_FULL : SQLITE_IOERR_FSYNC;
}

/* Reading never wants room, nor a sync. */
static bool of_writing(int code) {
  return (code & 0xff) == SQLITE_FULL || code == SQLITE_IOERR_WRITE ||
         code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_TRUNCATE;
}

static int step(copying *c) {
  ae_copy *copy = c->request.of;
  int code = ae__sql_fault("copy.step");
  if (code == SQLITE_OK) code = sqlite3_backup_step(c->backup, SLICE_PAGES);
  uint64_t page = (uint64_t)c->to.page_size;
  copy->total = (uint64_t)sqlite3_backup_pagecount(c->backup) * page;
  copy->done =
      copy->total - (uint64_t)sqlite3_backup_remaining(c->backup) * page;
  /* Others had the file for longer than the time-out. */
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) code = SQLITE_OK;
  if (code == SQLITE_OK && copy->done - c->synced >= SYNC_BYTES) {
    code = sync_file(c);
    c->synced = copy->done;
  }
  c->writing = of_writing(code);
  return code;
}

/* The first page says that there is a log beside the file (its format's
 * versions, bytes 18 and 19, are 2). A copy is one file. */
static int settle(copying *c) {
  c->writing = true;
  c->file = open(c->to.path, O_RDWR | O_CLOEXEC);
  if (c->file < 0 || pwrite(c->file, "\1\1", 2, 18) != 2) c->error = errno;
  return c->error ? SQLITE_CANTOPEN : sync_file(c);
}

static void fail(copying *c, int code) {
  ae__request *request = &c->request;
  if (c->error != 0)
    request->status =
        ae__sql_refuse_errno(&request->error, c->to.path, c->error);
  else if (c->writing)
    request->status = ae__sql_error(&c->to, code, "copy to", &request->error);
  else
    request->status = ae__sql_error(&c->from, code, "copy", &request->error);
}

void ae__copy_slice(ae__db *db, ae__request *request) {
  copying *c = AE_CONTAINER(request, copying, request);
  int code = SQLITE_OK;
  c->more = true;
  c->writing = false;
  request->status = AE_OK;
  if (!c->backup) {
    c->from.immutable = db->immutable;
    c->to.page_size = db->page_size;
    code = open_from(c);
    if (code == SQLITE_OK) code = open_to(c);
  }
  if (code == SQLITE_OK) code = step(c);
  if (code == SQLITE_OK) return;
  c->more = false;
  if (code == SQLITE_DONE && !ae__sql_changed(&c->from)) {
    code = finish(c);
    if (code == SQLITE_OK) code = settle(c);
  } else if (code == SQLITE_DONE && ++c->tries < TRIES) {
    code = finish(c);
    if (truncate(c->to.path, 0) != 0) code = SQLITE_IOERR_TRUNCATE;
    c->more = code == SQLITE_OK;
  } else if (code == SQLITE_DONE) {
    code = SQLITE_BUSY;
  }
  if (code != SQLITE_OK) fail(c, code);
  if (!c->more) finish(c);
}

/* -- the loop thread -- */

static void answer(copying *c, const ae_error *err) {
  ae_copy *copy = c->request.of;
  copy->impl = NULL;
  copy->cb(copy, c->request.status, err);
  ae_error_clear(&c->request.error);
  ae_free(c->from.path);
  ae_free(c->to.path);
  ae_free(c);
}

static void on_copy(ae_task *task) {
  copying *c = AE_CONTAINER(ae__answered(task), copying, request);
  ae__request *request = &c->request;
  ae_copy *copy = request->of;
  if (c->more && copy->progress) copy->progress(copy);
  if (c->more && !copy->stopped && !request->store->store.closing) {
    ae__push(request->store, request);
    return;
  }
  if (c->more) {
    finish(c);
    request->status = ae_error_set(&request->error, AE_CANCELED,
                                   copy->stopped ? "stopped"
                                                 : "the store was closed "
                                                   "meanwhile");
  }
  answer(c, request->status == AE_OK ? NULL : &request->error);
}

ae_status ae__sqlite_copy(ae_store *store, ae_copy *copy, ae_error *err) {
  (void)err;
  copying *c = ae_zalloc(sizeof *c);
  c->request.kind = AE__COPY;
  c->request.store = ae__sqlite_of(store);
  c->request.of = copy;
  c->request.task.run = on_copy;
  c->from.path = ae_strdup(ae__sqlite_of(store)->db.path);
  c->to.path = ae_strdup(copy->file);
  c->from.lock = c->to.lock = c->file = -1;
  copy->impl = c;
  copy->done = copy->total = 0;
  copy->stopped = false;
  ae__push(ae__sqlite_of(store), &c->request);
  return AE_OK;
}
