#include <sqlite3.h>

#include "base/clock.h"
#include "store/bench.h"

#define ROW_BYTES 200 /* about a record with one event */

static ae_status fail(sqlite3 *db, const char *file, ae_error *err) {
  return ae_error_set(err, AE_STORE_UNAVAILABLE, "%s: %s", file,
                      sqlite3_errmsg(db));
}

static ae_status run(sqlite3 *db, const char *file, double seconds,
                     bool (*stopped)(void),
                     void (*each)(void *data, uint64_t ns), void *data,
                     ae_error *err) {
  static const char setup[] =
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
      "CREATE TABLE log (position INTEGER PRIMARY KEY, record BLOB NOT NULL)";
  sqlite3_stmt *insert = NULL;
  if (sqlite3_exec(db, setup, NULL, NULL, NULL) != SQLITE_OK ||
      sqlite3_prepare_v2(db, "INSERT INTO log (record) VALUES (?)", -1, &insert,
                         NULL) != SQLITE_OK)
    return fail(db, file, err);
  char row[ROW_BYTES] = {0};
  ae_status status = AE_OK;
  uint64_t now = ae_clock_mono();
  uint64_t until = now + (uint64_t)(seconds * 1e9);
  while (status == AE_OK && now < until) {
    sqlite3_bind_blob(insert, 1, row, ROW_BYTES, SQLITE_STATIC);
    if (sqlite3_step(insert) != SQLITE_DONE ||
        sqlite3_reset(insert) != SQLITE_OK) {
      status = fail(db, file, err);
      break;
    }
    uint64_t after = ae_clock_mono();
    each(data, after - now);
    now = after;
    if (stopped()) status = ae_error_set(err, AE_CANCELED, "interrupted");
  }
  sqlite3_finalize(insert);
  return status;
}

ae_status ae_store_bare_commits(const char *file, double seconds,
                                bool (*stopped)(void),
                                void (*each)(void *data, uint64_t ns),
                                void *data, ae_error *err) {
  sqlite3 *db = NULL;
  ae_status status = AE_OK;
  if (sqlite3_open(file, &db) != SQLITE_OK)
    status = fail(db, file, err);
  else
    status = run(db, file, seconds, stopped, each, data, err);
  sqlite3_close(db);
  return status;
}
