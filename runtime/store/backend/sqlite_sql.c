/* The statements of the SQLite backend, and what SQLite's errors mean. */
#include <errno.h>

#include "base/fault.h"
#include "store/backend/sqlite.h"

#define ACTOR                                                       \
  "SELECT a.id, a.ns, a.key, h.version, h.position, h.commits,"     \
  " h.base, h.ids FROM actors a LEFT JOIN heads h ON h.actor=a.id " \
  "WHERE "
#define LOG "SELECT position, ns, actor, version, count, previous, "

static const char *const texts[AE__SQL_STATEMENTS] = {
    [AE__SQL_BEGIN] = "BEGIN IMMEDIATE",
    [AE__SQL_BEGIN_READ] = "BEGIN",
    [AE__SQL_COMMIT] = "COMMIT",
    [AE__SQL_ROLLBACK] = "ROLLBACK",
    [AE__SQL_STATE] = "SELECT watermark, generation FROM state WHERE id=1",
    [AE__SQL_STATE_PUT] =
        "UPDATE state SET watermark=?1, generation=?2 WHERE id=1",
    [AE__SQL_STATE_SAME] = "UPDATE state SET watermark=watermark WHERE id=1",
    [AE__SQL_SPACES] =
        "SELECT id, name, commits, events, actors, snapshots,"
        " bytes, position FROM namespaces",
    [AE__SQL_SPACE_PUT] =
        "INSERT INTO namespaces VALUES(?1, ?2, ?3, ?4, ?5, 0, ?6, ?7)"
        " ON CONFLICT(id) DO UPDATE SET commits=?3, events=?4, actors=?5,"
        " bytes=?6, position=?7",
    [AE__SQL_SPACE_SNAPSHOTS] =
        "INSERT INTO namespaces VALUES(?1, ?2, 0, 0, 0, ?3, 0, 0)"
        " ON CONFLICT(id) DO UPDATE SET snapshots=snapshots+?3",
    [AE__SQL_SPACE_BEGUN] =
        "INSERT INTO namespaces VALUES(?1, ?2, 0, 0, 1, 0, 0, 0)"
        " ON CONFLICT(id) DO UPDATE SET actors=actors+1",
    [AE__SQL_SNAPSHOTS] =
        "SELECT total(snapshots) FROM namespaces"
        " WHERE ?1 IS NULL OR name=?1",
    [AE__SQL_SPACE_TRIM] =
        "UPDATE namespaces SET commits=commits-?2, events=events-?3,"
        " bytes=bytes-?4 WHERE id=?1",
    [AE__SQL_LAST_ACTOR] =
        "SELECT max(coalesce((SELECT max(id) FROM actors),"
        " 0), coalesce((SELECT max(actor) FROM heads), 0))",
    [AE__SQL_LOG_PUT] =
        "INSERT INTO log VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [AE__SQL_LOG_GET] = LOG "body FROM log WHERE position=?1",
    [AE__SQL_LOG_BODY] = "SELECT body FROM log WHERE position=?1",
    [AE__SQL_LOG_VERSION] = "SELECT version FROM log WHERE position=?1",
    [AE__SQL_LOG_TAIL] = LOG
    "ids, key, length(body) FROM log WHERE position>?1 "
    "ORDER BY position",
    [AE__SQL_LOG_SCAN] = LOG
    "body FROM log WHERE position>?1 AND position<=?2 ORDER BY position",
    [AE__SQL_LOG_ACTOR] =
        LOG "body FROM log WHERE actor=?1 AND position>?2 ORDER BY position",
    [AE__SQL_LOG_DELETE] = "DELETE FROM log WHERE position=?1",
    [AE__SQL_ACTOR_BY_KEY] = ACTOR "a.key=?1",
    [AE__SQL_ACTOR_BY_ID] = ACTOR "a.id=?1",
    [AE__SQL_ACTOR_PUT] = "INSERT OR IGNORE INTO actors VALUES(?1, ?2, ?3)",
    [AE__SQL_HEAD_PUT] =
        "INSERT OR REPLACE INTO heads VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [AE__SQL_HEAD_BASE] = "UPDATE heads SET base=?2 WHERE actor=?1",
    [AE__SQL_MARK_PUT] = "INSERT OR IGNORE INTO marks VALUES(?1, ?2, ?3)",
    [AE__SQL_MARK_NEXT] =
        "SELECT version, position FROM marks WHERE actor=?1"
        " AND (version, position)>(?2, ?3)"
        " ORDER BY version, position LIMIT 1",
    [AE__SQL_MARK_DELETE] = "DELETE FROM marks WHERE actor=?1 AND position<=?2",
    [AE__SQL_ID_PUT] = "INSERT OR IGNORE INTO ids VALUES(?1, ?2, ?3)",
    [AE__SQL_ID_GET] = "SELECT position FROM ids WHERE actor=?1 AND hash=?2",
    [AE__SQL_IDS_GET] = "SELECT hash, position FROM ids WHERE actor=?1",
    [AE__SQL_HEAD_IDS] = "UPDATE heads SET ids=1 WHERE actor=?1",
    [AE__SQL_SNAPSHOT_PUT] =
        "INSERT INTO snapshots VALUES(?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT(actor, version, shape) DO UPDATE SET"
        " state=excluded.state, base=max(base, excluded.base)",
    [AE__SQL_SNAPSHOT_GET] =
        "SELECT version, base, state FROM snapshots WHERE actor=?1"
        " AND version<=?2 AND (shape=?3 OR (base AND NOT ?4))"
        " ORDER BY version DESC, shape=?3 DESC LIMIT 1",
    [AE__SQL_SNAPSHOT_COUNT] = "SELECT count(*) FROM snapshots WHERE actor=?1",
    [AE__SQL_SNAPSHOT_PRUNE] =
        "DELETE FROM snapshots WHERE actor=?1 AND NOT base AND version<"
        "(SELECT version FROM snapshots WHERE actor=?1 AND NOT base"
        " ORDER BY version DESC LIMIT 1 OFFSET ?2)",
    [AE__SQL_SNAPSHOT_BASE] =
        "SELECT max(version) FROM snapshots WHERE actor=?1 AND base",
    [AE__SQL_SNAPSHOTS_BELOW] =
        "DELETE FROM snapshots WHERE actor=?1 AND version<?2",
    [AE__SQL_BASES] =
        "SELECT actor, version, shape, state FROM snapshots WHERE actor>=?1"
        " AND base ORDER BY actor, version",
    [AE__SQL_BASE_GET] =
        "SELECT state FROM snapshots WHERE actor=?1 AND version=?2 AND base",
    [AE__SQL_PROJECTION_GET] =
        "SELECT id, checkpoint FROM projections WHERE ns=?1 AND name=?2",
    [AE__SQL_PROJECTION_PUT] =
        "INSERT INTO projections(ns, name, checkpoint) VALUES(?1, ?2, ?3)"
        " ON CONFLICT(ns, name) DO UPDATE SET checkpoint=?3 RETURNING id",
    [AE__SQL_ROW_PUT] = "INSERT OR REPLACE INTO rows VALUES(?1, ?2, ?3)",
    [AE__SQL_ROW_DELETE] = "DELETE FROM rows WHERE projection=?1 AND key=?2",
    [AE__SQL_ROWS] =
        "SELECT key, value FROM rows WHERE projection=?1"
        " AND key>=?2 ORDER BY key",
};

/* -- statements -- */

sqlite3_stmt *ae__sql(ae__db *db, ae__statement statement) {
  return db->statements[statement];
}

int ae__sql_done(sqlite3_stmt *statement) {
  int code = sqlite3_step(statement);
  sqlite3_reset(statement);
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

int ae__sql_run(ae__db *db, ae__statement statement) {
  return ae__sql_done(ae__sql(db, statement));
}

int ae__sql_fault(const char *name) {
  switch (AE_FAULT(name)) {
    case 0:
      return SQLITE_OK;
    case ENOSPC:
    case EDQUOT:
      return SQLITE_FULL;
    case EACCES:
    case EROFS:
      return SQLITE_READONLY;
    case EAGAIN:
      return SQLITE_BUSY;
    default:
      return SQLITE_IOERR;
  }
}

int ae__sql_prepare(ae__db *db) {
  for (int i = 0; i < AE__SQL_STATEMENTS; i++) {
    if (!texts[i] || db->statements[i]) continue;
    int code =
        sqlite3_prepare_v3(db->sqlite, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                           &db->statements[i], NULL);
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK;
}

void ae__sql_unprepare(ae__db *db) {
  for (int i = 0; i < AE__SQL_STATEMENTS; i++) {
    sqlite3_finalize(db->statements[i]);
    db->statements[i] = NULL;
  }
}

int ae__sql_moved(ae__db *db) {
  int moved = 0;
  if (db->lost) return SQLITE_IOERR;
  int code =
      sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return code == SQLITE_OK && moved ? SQLITE_READONLY_DBMOVED : code;
}

/* -- errors -- */

/* What the system said of the last error on the file, or on SQLite's log. */
static int errno_of(ae__db *db, int which) {
  sqlite3_file *file = NULL;
  int error = 0;
  if (sqlite3_file_control(db->sqlite, "main", which, &file) == SQLITE_OK &&
      file && file->pMethods)
    file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
  return error;
}

static bool is_no_room(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

static bool no_room(ae__db *db, int code) {
  if ((code & 0xff) == SQLITE_FULL) return true;
  if (code == SQLITE_IOERR_SHMSIZE && db->sqlite)
    return is_no_room(sqlite3_system_errno(db->sqlite));
  if (code != SQLITE_IOERR_WRITE || !db->sqlite) return false;
  static const int which[] = {SQLITE_FCNTL_FILE_POINTER,
                              SQLITE_FCNTL_JOURNAL_POINTER};
  for (size_t i = 0; i < sizeof which / sizeof *which; i++)
    if (is_no_room(errno_of(db, which[i]))) return true;
  return false;
}

static bool is_damage(int code) {
  return (code & 0xff) == SQLITE_NOTADB || (code & 0xff) == SQLITE_CORRUPT;
}

#define FETCHED "it is a copy of what a stream has, and is fetched anew"

static const char *advice(const ae__db *db, int code) {
  if (db->cache && is_damage(code)) return FETCHED;
  switch (code & 0xff) {
    case SQLITE_NOTADB:
      return "it is no SQLite database, or its start is damaged: name another "
             "file, or put a backup in its place";
    case SQLITE_CORRUPT:
      return "it is damaged: keep a copy, and put a backup in its place";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "it may not be written: see its permissions and its folder's";
    case SQLITE_CANTOPEN:
      return "see the permissions of the file and of its folder";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another program holds it: end that, then try again";
    default:
      return "see the system's log for errors of the disk";
  }
}

ae_status ae__sql_error(ae__db *db, int code, const char *doing,
                        ae_error *err) {
  const char *cause = sqlite3_errstr(code);
  if (is_damage(code)) atomic_store(&db->damage, AE__DAMAGE_FILE);
  if ((code & 0xff) == SQLITE_TOOBIG) {
    ae_error_set(err, AE_TOO_LARGE, "%s %s: %s", doing, db->path, cause);
    return AE_TOO_LARGE;
  }
  ae_status status = AE_STORE_UNAVAILABLE;
  if (no_room(db, code)) {
    status = AE_STORE_FULL;
    ae_error_set(err, status,
                 "%s %s: the disk is full; what was acknowledged is kept: make "
                 "room, then try again",
                 doing, db->path);
    cause = "the disk is full";
  } else if (code == SQLITE_READONLY_DBMOVED) {
    cause = "the file was removed or replaced";
    ae_error_set(err, status, "%s %s: %s while it was open%s", doing, db->path,
                 cause,
                 db->cache ? "; " FETCHED
                           : ", so nothing more is stored: put the file back, "
                             "or start this program again");
  } else {
    ae_error_set(err, status, "%s %s: %s; %s", doing, db->path, cause,
                 advice(db, code));
  }
  ae_error_cstr(err, "cause", cause);
  return status;
}
