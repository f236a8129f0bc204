/* A namespace deleted, and the room given back.
 *
 * One transaction, however much it is: a crash leaves all of it or nothing.
 * What is in the tail is brought into the index first, so that the tables are
 * all there is to delete from. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define OF_ITS_ACTORS " WHERE actor IN (SELECT id FROM actors WHERE ns=?1)"

/* ?1 the namespace's number, ?2 its name. The actors last. */
static const char *const texts[] = {
    "DELETE FROM ids" OF_ITS_ACTORS,
    "DELETE FROM marks" OF_ITS_ACTORS,
    "DELETE FROM snapshots" OF_ITS_ACTORS,
    "DELETE FROM heads" OF_ITS_ACTORS,
    "DELETE FROM log WHERE ns=?1",
    "DELETE FROM rows WHERE projection IN"
    " (SELECT id FROM projections WHERE ns=?2)",
    "DELETE FROM projections WHERE ns=?2",
    "DELETE FROM actors WHERE ns=?1",
    "DELETE FROM namespaces WHERE id=?1",
};

static int run(ae__db *db, const char *text, int64_t space, ae_str name) {
  sqlite3_stmt *statement;
  int code = ae__sql_fault("sqlite.delete");
  if (code != SQLITE_OK) return code;
  code = sqlite3_prepare_v2(db->sqlite, text, -1, &statement, NULL);
  if (code != SQLITE_OK) return code;
  sqlite3_bind_int64(statement, 1, space);
  if (sqlite3_bind_parameter_count(statement) > 1)
    sqlite3_bind_blob64(statement, 2, name.ptr, name.len, SQLITE_STATIC);
  code = sqlite3_step(statement);
  sqlite3_finalize(statement);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int delete_all(ae__db *db, int64_t space, ae_str name) {
  int code = ae__sql_fault("sqlite.begin");
  if (code == SQLITE_OK) code = ae__sql_moved(db);
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_BEGIN);
  for (size_t i = 0; i < sizeof texts / sizeof *texts && code == SQLITE_OK; i++)
    code = run(db, texts[i], space, name);
  if (code == SQLITE_OK) {
    /* Readers look at everything anew. */
    sqlite3_stmt *put = ae__sql(db, AE__SQL_STATE_PUT);
    sqlite3_bind_int64(put, 1, (int64_t)db->watermark);
    sqlite3_bind_int64(put, 2, (int64_t)db->generation + 1);
    code = ae__sql_done(put);
  }
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.commit");
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_COMMIT);
  if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_ROLLBACK);
  return code;
}

void ae__delete(ae__db *db, ae__request *request) {
  ae_delete *delete = request->of;
  request->status = AE_OK;
  delete->commits = delete->events = delete->actors = 0;
  int code = ae__index_all(db);
  ae__sql_space *space = ae__space_get(db, delete->ns);
  if (code == SQLITE_OK && space) {
    delete->commits = space->now.commits;
    delete->events = space->now.events;
    delete->actors = space->now.actors;
  }
  if (code == SQLITE_OK)
    code = delete_all(db, space ? space->id : 0, delete->ns);
  if (code == SQLITE_OK) code = ae__index_again(db);
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "delete from", &request->error);
}

/* SQLite writes what remains into a file of its own first; beside the store,
 * where there is known to be room, not in a folder for small things. */
void ae__compact(ae__db *db, ae__request *request) {
  char *folder = ae_file_folder(db->path);
  request->status = AE_OK;
  int code = ae__index_all(db);
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.compact");
  if (code == SQLITE_OK) code = ae__sql_moved(db);
  if (code == SQLITE_OK) {
    sqlite3_temp_directory = sqlite3_mprintf("%s", folder);
    code = ae__sql_text(db, "PRAGMA temp_store=FILE; VACUUM");
    ae__sql_text(db, "PRAGMA temp_store=MEMORY");
    sqlite3_free(sqlite3_temp_directory);
    sqlite3_temp_directory = NULL;
  }
  if (code == SQLITE_OK) ae__log_checkpoint(db, true);
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "compact", &request->error);
  ae_free(folder);
}

ae_status ae__sqlite_delete(ae_store *store, ae_delete *delete, ae_error *err) {
  (void)err;
  ae__request *request =
      ae__request_new(store, AE__DELETE, &delete->write, ae__on_write);
  ae__push(ae__sqlite_of(store), request);
  return AE_OK;
}

ae_status ae__sqlite_compact(ae_store *store, ae_write *write, ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__COMPACT, write, ae__on_write));
  return AE_OK;
}
