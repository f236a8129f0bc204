/* The SQLite file: created, locked for its one writer, opened, its statements,
 * and what its errors mean. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define PAGE_SIZE 8192

static const char schema[] =
    "CREATE TABLE state(id INTEGER PRIMARY KEY, watermark INTEGER NOT NULL,"
    " generation INTEGER NOT NULL);"
    "INSERT INTO state VALUES(1, 0, 0);"
    "CREATE TABLE namespaces(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE,"
    " commits INTEGER NOT NULL, events INTEGER NOT NULL,"
    " actors INTEGER NOT NULL, snapshots INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, position INTEGER NOT NULL);"
    "CREATE TABLE log(position INTEGER PRIMARY KEY, ns INTEGER NOT NULL,"
    " actor INTEGER NOT NULL, version INTEGER NOT NULL,"
    " count INTEGER NOT NULL, previous INTEGER NOT NULL,"
    " ids INTEGER NOT NULL, key BLOB, body BLOB NOT NULL);"
    "CREATE TABLE actors(id INTEGER PRIMARY KEY, ns INTEGER NOT NULL,"
    " key BLOB NOT NULL UNIQUE);"
    "CREATE TABLE heads(actor INTEGER PRIMARY KEY, version INTEGER NOT NULL,"
    " position INTEGER NOT NULL, commits INTEGER NOT NULL,"
    " base INTEGER NOT NULL, ids INTEGER NOT NULL);"
    "CREATE TABLE marks(actor INTEGER NOT NULL, version INTEGER NOT NULL,"
    " position INTEGER NOT NULL, PRIMARY KEY(actor, version, position))"
    " WITHOUT ROWID;"
    "CREATE TABLE ids(actor INTEGER NOT NULL, hash INTEGER NOT NULL,"
    " position INTEGER NOT NULL, PRIMARY KEY(actor, hash, position))"
    " WITHOUT ROWID;"
    "CREATE TABLE snapshots(actor INTEGER NOT NULL, version INTEGER NOT NULL,"
    " shape INTEGER NOT NULL, base INTEGER NOT NULL, state BLOB NOT NULL,"
    " PRIMARY KEY(actor, version, shape)) WITHOUT ROWID;"
    "CREATE TABLE projections(id INTEGER PRIMARY KEY, ns BLOB NOT NULL,"
    " name BLOB NOT NULL, checkpoint INTEGER NOT NULL, UNIQUE(ns, name));"
    "CREATE TABLE rows(projection INTEGER NOT NULL, key BLOB NOT NULL,"
    " value BLOB NOT NULL, PRIMARY KEY(projection, key)) WITHOUT ROWID;";

/* -- what cannot be opened -- */

ae_status ae__sql_refuse(ae_error *err, const char *path, const char *cause,
                         const char *mend) {
  ae_error_set(err, AE_STORE_UNAVAILABLE, "%s cannot be opened: %s; %s", path,
               cause, mend);
  ae_error_cstr(err, "cause", cause);
  return AE_STORE_UNAVAILABLE;
}

/* Some folders take no file, and say the same as if they were not there. */
static bool has_folder(const char *path) {
  char *folder = ae_file_folder(path);
  struct stat about;
  bool is = stat(folder, &about) == 0 && S_ISDIR(about.st_mode);
  ae_free(folder);
  return is;
}

ae_status ae__sql_refuse_errno(ae_error *err, const char *path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      if (has_folder(path))
        return ae__sql_refuse(err, path, "its folder takes no file",
                              "name one in another folder");
      return ae__sql_refuse(err, path, "its folder is not there",
                            "make it first");
    case EACCES:
    case EPERM:
      return ae__sql_refuse(
          err, path, "permission denied",
          "see the permissions of the file and of its folder");
    case EROFS:
      return ae__sql_refuse(err, path, "its file system is read-only",
                            "it can be read (state, events), not written");
    case ENOSPC:
    case EDQUOT:
      ae__sql_refuse(err, path, "the disk is full", "make room");
      if (err) err->status = AE_STORE_FULL;
      return AE_STORE_FULL;
    default:
      return ae__sql_refuse(err, path, strerror(error), "see the system's log");
  }
}

/* -- the writer's lock -- */

static bool lock_take(int file, short kind) {
  struct flock lock = {.l_type = kind, .l_whence = SEEK_SET, .l_len = 1};
  return fcntl(file, F_OFD_SETLK, &lock) == 0;
}

static long lock_pid(int file) {
  char text[32] = "";
  ssize_t len = pread(file, text, sizeof text - 1, 0);
  return len > 0 ? strtol(text, NULL, 10) : 0;
}

/* Between taking the lock and writing its pid the holder's pid is not there
 * yet; a pid of nobody is of a writer before it. */
static long lock_holder(int file) {
  long pid = 0;
  for (int i = 0; i < 10000; i++) {
    pid = lock_pid(file);
    if (pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM)) break;
    sched_yield();
  }
  return pid;
}

ae_status ae__sql_lock(ae__db *db, ae_error *err) {
  char text[32];
  char *name = sqlite3_mprintf("%s.lock", db->path);
  db->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  int error = errno;
  sqlite3_free(name);
  if (db->lock < 0) return ae__sql_refuse_errno(err, db->path, error);
  if (!lock_take(db->lock, F_WRLCK)) {
    if (errno != EAGAIN && errno != EACCES)
      return ae__sql_refuse_errno(err, db->path, errno);
    long pid = lock_holder(db->lock);
    ae_error_set(err, AE_STORE_UNAVAILABLE,
                 "%s has a writer already, the process %ld: end it, or ask it "
                 "instead; readers may work beside it",
                 db->path, pid);
    ae_error_cstr(err, "cause", "another writer");
    ae_error_uint(err, "pid", (uint64_t)pid);
    return AE_STORE_UNAVAILABLE;
  }
  int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
  if (ftruncate(db->lock, 0) != 0 || pwrite(db->lock, text, (size_t)len, 0) < 0)
    return ae__sql_refuse_errno(err, db->path, errno);
  return AE_OK;
}

/* -- opening -- */

int ae__sql_int(ae__db *db, const char *text, int64_t *out) {
  sqlite3_stmt *statement;
  int code = sqlite3_prepare_v2(db->sqlite, text, -1, &statement, NULL);
  if (code != SQLITE_OK) return code;
  code = sqlite3_step(statement);
  if (code == SQLITE_ROW) *out = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

int ae__sql_text(ae__db *db, const char *text) {
  return sqlite3_exec(db->sqlite, text, NULL, NULL, NULL);
}

static int create(ae__db *db) {
  char pragmas[128];
  int code = ae__sql_text(db, "BEGIN IMMEDIATE");
  if (code == SQLITE_OK) code = ae__sql_text(db, schema);
  snprintf(pragmas, sizeof pragmas,
           "PRAGMA application_id=%d; PRAGMA user_version=%d;",
           AE__SQLITE_APPLICATION, AE__SQLITE_FORMAT);
  if (code == SQLITE_OK) code = ae__sql_text(db, pragmas);
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.create");
  if (code == SQLITE_OK) code = ae__sql_text(db, "COMMIT");
  return code;
}

static bool has_beside(const ae__db *db, const char *suffix) {
  struct stat about;
  char *name = sqlite3_mprintf("%s%s", db->path, suffix);
  bool there = stat(name, &about) == 0 && about.st_size > 0;
  sqlite3_free(name);
  return there;
}

static bool has_wal(const ae__db *db) {
  return has_beside(db, "-wal");
}

/* SQLite takes a file of a few bytes for an empty one, and would write over it.
 * While a journal is there, SQLite has yet to bring the file in order. */
bool ae__sql_is(const ae__db *db) {
  static const char magic[16] = "SQLite format 3";
  char start[16];
  int file = open(db->path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return true; /* what opens it next says why */
  ssize_t len = pread(file, start, sizeof start, 0);
  close(file);
  if (len == 0) return true;
  return (len == sizeof start && memcmp(start, magic, sizeof magic) == 0) ||
         has_beside(db, "-journal");
}

/* What the file says it is. AE_OK: ours, or empty (`*fresh`). */
static ae_status identify(ae__db *db, bool *fresh, ae_error *err) {
  int64_t application = 0, format = 0, tables = 0, pages = 0, page = 0;
  int code = ae__sql_int(db, "PRAGMA application_id", &application);
  if (code == SQLITE_OK) code = ae__sql_int(db, "PRAGMA user_version", &format);
  if (code == SQLITE_OK)
    code = ae__sql_int(db, "SELECT count(*) FROM sqlite_schema", &tables);
  if (code == SQLITE_OK) code = ae__sql_int(db, "PRAGMA page_count", &pages);
  if (code == SQLITE_OK) code = ae__sql_int(db, "PRAGMA page_size", &page);
  if (code != SQLITE_OK) return ae__sql_error(db, code, "open", err);
  *fresh = application == 0 && format == 0 && tables == 0;
  if (*fresh) return AE_OK;
  if (application != AE__SQLITE_APPLICATION)
    return ae__sql_refuse(err, db->path,
                          "it is a database of another application",
                          "name another file");
  if (format > AE__SQLITE_FORMAT) {
    char cause[96];
    snprintf(cause, sizeof cause,
             "its format %lld is newer than this aether's, %d",
             (long long)format, AE__SQLITE_FORMAT);
    return ae__sql_refuse(err, db->path, cause,
                          "use the version that wrote it, or a newer one");
  }
  struct stat about;
  if (!has_wal(db) && stat(db->path, &about) == 0 &&
      about.st_size < pages * page)
    return ae__sql_refuse(err, db->path, "it is cut short: damaged",
                          "put a backup in its place");
  return AE_OK;
}

static int on_wal(void *data, sqlite3 *sqlite, const char *name, int pages) {
  ae__db *db = data;
  (void)sqlite;
  (void)name;
  db->wal_pages = pages;
  return SQLITE_OK;
}

int ae__sql_attach(ae__db *db, int flags, bool alone) {
  const char *name = db->path;
  char *uri = NULL;
  if (alone || db->immutable) {
    ae_buf escaped = {0};
    for (const char *at = db->path; *at; at++) {
      if (strchr("%?#", *at))
        ae_buf_printf(&escaped, "%%%02x", (unsigned char)*at);
      else
        ae_buf_byte(&escaped, (uint8_t)*at);
    }
    uri = sqlite3_mprintf("file:%s?%s", ae_buf_cstr(&escaped),
                          alone ? "nolock=1" : "immutable=1");
    ae_buf_clear(&escaped);
    flags |= SQLITE_OPEN_URI;
    name = uri;
  }
  int code = sqlite3_open_v2(
      name, &db->sqlite, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      NULL);
  sqlite3_free(uri);
  if (code != SQLITE_OK) return code;
  sqlite3_busy_timeout(db->sqlite, 5000);
  sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  if (alone) code = ae__sql_text(db, "PRAGMA locking_mode=EXCLUSIVE");
  if (code != SQLITE_OK) return code;
  return ae__sql_text(db,
                      "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
                      "PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY;");
}

void ae__sql_detach(ae__db *db) {
  ae__sql_unprepare(db);
  sqlite3_close(db->sqlite);
  db->sqlite = NULL;
}

static ae_status open_writer(ae__db *db, ae_error *err) {
  bool fresh;
  char size[48];
  ae_status status = ae__sql_lock(db, err);
  if (status != AE_OK) return status;
  int code =
      ae__sql_attach(db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, false);
  if (code != SQLITE_OK) return ae__sql_error(db, code, "open", err);
  if (sqlite3_db_readonly(db->sqlite, "main") == 1)
    return ae__sql_refuse_errno(err, db->path, EACCES);
  snprintf(size, sizeof size, "PRAGMA page_size=%d", PAGE_SIZE);
  code = ae__sql_text(db, size);
  /* Each page is written once; what undoes a transaction is in memory. */
  if (code == SQLITE_OK && db->passing)
    code = ae__sql_text(db,
                        "PRAGMA locking_mode=EXCLUSIVE;"
                        "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;");
  if (code != SQLITE_OK) return ae__sql_error(db, code, "open", err);
  status = identify(db, &fresh, err);
  if (status != AE_OK) return status;
  if (fresh) code = create(db);
  /* FULL: the log of SQLite is synced before a commit is acknowledged. */
  if (code == SQLITE_OK && !db->passing)
    code = ae__sql_text(db,
                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                        "PRAGMA wal_autocheckpoint=0; PRAGMA secure_delete=OFF;"
                        "PRAGMA journal_size_limit=268435456;");
  /* The file's name outlives a power cut. */
  if (code == SQLITE_OK && fresh && !db->passing &&
      ae_file_sync_folder(db->path) != 0)
    code = SQLITE_IOERR;
  if (code != SQLITE_OK)
    return ae__sql_error(db, code, fresh ? "create" : "open", err);
  sqlite3_wal_hook(db->sqlite, on_wal, db);
  return AE_OK;
}

/* In a folder that cannot be written SQLite can open the file only where its
 * log and index files are there (a writer runs), or as immutable. The latter is
 * right while nobody writes: ae__sql_stale sees to it. */
static ae_status open_reader(ae__db *db, ae_error *err) {
  bool fresh;
  int64_t version;
  int code = ae__sql_attach(db, SQLITE_OPEN_READONLY, false);
  if (code == SQLITE_OK)
    code = ae__sql_int(db, "PRAGMA user_version", &version);
  if (((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY) &&
      !has_wal(db) && access(db->path, R_OK) == 0) {
    ae__sql_detach(db);
    db->immutable = true;
    if (stat(db->path, &db->about) != 0)
      return ae__sql_refuse_errno(err, db->path, errno);
    code = ae__sql_attach(db, SQLITE_OPEN_READONLY, false);
  }
  if (code != SQLITE_OK) return ae__sql_error(db, code, "open", err);
  ae_status status = identify(db, &fresh, err);
  if (status == AE_OK && fresh)
    status = ae__sql_refuse(err, db->path, "nothing was ever stored in it",
                            "run something that writes first");
  return status;
}

/* Of a link, what it leads to: SQLite names its files after that, and so has
 * the lock to be. */
char *ae__sql_real_path(const char *path) {
  struct stat about;
  char *real = NULL;
  if (lstat(path, &about) == 0 && S_ISLNK(about.st_mode))
    real = realpath(path, NULL);
  char *kept = ae_strdup(real ? real : path);
  free(real);
  return kept;
}

static ae_status look_at(ae__db *db, const char *path, ae_error *err) {
  struct stat about;
  if (stat(path, &about) == 0) {
    if (S_ISDIR(about.st_mode))
      return ae__sql_refuse(err, path, "it is a folder", "name a file in it");
    if (!S_ISREG(about.st_mode))
      return ae__sql_refuse(err, path, "it is no regular file",
                            "name another one");
    if (!ae__sql_is(db)) return ae__sql_error(db, SQLITE_NOTADB, "open", err);
  } else if (errno != ENOENT || !db->writer) {
    if (errno == ENOENT)
      return ae__sql_refuse(err, path, "there is no such file",
                            "see its name; a writer would make it");
    return ae__sql_refuse_errno(err, path, errno);
  }
  return AE_OK;
}

ae_status ae__sql_open(ae__db *db, const char *path, ae_store_mode mode,
                       ae_error *err) {
  int64_t page = 0;
  db->lock = -1;
  db->writer = mode == AE_STORE_WRITE;
  db->path = ae__sql_real_path(path);
  ae_status status = look_at(db, path, err);
  if (status != AE_OK) return status;
  status = db->writer ? open_writer(db, err) : open_reader(db, err);
  if (status != AE_OK) return status;
  int code = ae__sql_prepare(db);
  if (code == SQLITE_OK) code = ae__sql_int(db, "PRAGMA page_size", &page);
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.open");
  if (code == SQLITE_OK) code = ae__index_load(db);
  if (code != SQLITE_OK) return ae__sql_error(db, code, "open", err);
  db->page_size = (int)page;
  return AE_OK;
}

bool ae__sql_changed(const ae__db *db) {
  struct stat now;
  if (!db->immutable) return false;
  return has_wal(db) || stat(db->path, &now) != 0 ||
         now.st_ino != db->about.st_ino || now.st_size != db->about.st_size ||
         now.st_mtim.tv_sec != db->about.st_mtim.tv_sec ||
         now.st_mtim.tv_nsec != db->about.st_mtim.tv_nsec;
}

bool ae__sql_stale(const ae__db *db) {
  if (!db->statements[AE__SQL_BEGIN_READ]) return true; /* one failed */
  return ae__sql_changed(db);
}

int ae__sql_reopen(ae__db *db) {
  ae__sql_detach(db);
  db->immutable = !has_wal(db);
  int code = stat(db->path, &db->about) == 0 ? SQLITE_OK : SQLITE_CANTOPEN;
  if (code == SQLITE_OK) code = ae__sql_attach(db, SQLITE_OPEN_READONLY, false);
  if (code == SQLITE_OK) code = ae__sql_prepare(db);
  if (code == SQLITE_OK) code = ae__index_load(db);
  return code;
}

void ae__sql_relax(ae__db *db) {
  db->cache = true;
  sqlite3_exec(db->sqlite, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
}

void ae__sql_close(ae__db *db) {
  ae__sql_detach(db);
  if (db->lock >= 0) close(db->lock);
  db->lock = -1;
  ae__heads_clear(&db->heads);
  ae__spaces_clear(db);
  ae__tail_clear(&db->tail);
  ae__tail_clear(&db->frozen);
  ae_free(db->undo);
  ae_free(db->units);
  ae_free(db->walk);
  ae_free(db->path);
  ae_buf_clear(&db->scratch);
}
