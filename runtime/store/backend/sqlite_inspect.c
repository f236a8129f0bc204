/* A look at the file: its sizes, and whether its pages hold together. */
#include <stdio.h>
#include <string.h>

#include "store/backend/sqlite.h"

#define PROBLEMS 20 /* told at most */

static int quick_check(ae__db *db, ae_buf *out) {
  char text[48];
  sqlite3_stmt *check;
  snprintf(text, sizeof text, "PRAGMA quick_check(%d)", PROBLEMS);
  int code = sqlite3_prepare_v2(db->sqlite, text, -1, &check, NULL);
  if (code != SQLITE_OK) return code;
  while ((code = sqlite3_step(check)) == SQLITE_ROW) {
    const char *line = (const char *)sqlite3_column_text(check, 0);
    if (line && strcmp(line, "ok") != 0)
      ae_buf_printf(out, "%s%s", out->len > 0 ? "\n" : "", line);
  }
  sqlite3_finalize(check);
  if ((code & 0xff) == SQLITE_CORRUPT && out->len == 0)
    ae_buf_printf(out, "%s", sqlite3_errstr(code));
  return code == SQLITE_DONE || (code & 0xff) == SQLITE_CORRUPT ? SQLITE_OK
                                                                : code;
}

static uint64_t size_of(ae__db *db, int which) {
  sqlite3_file *file = NULL;
  sqlite3_int64 size = 0;
  if (sqlite3_file_control(db->sqlite, "main", which, &file) != SQLITE_OK)
    return 0;
  if (!file || !file->pMethods) return 0;
  return file->pMethods->xFileSize(file, &size) == SQLITE_OK ? (uint64_t)size
                                                             : 0;
}

void ae__inspect(ae__db *db, ae__request *request) {
  ae_inspect *inspect = request->of;
  int64_t pages = 0;
  ae_buf_reset(&request->text);
  request->status = AE_OK;
  int code = ae__sql_fault("sqlite.read");
  bool begun = !sqlite3_get_autocommit(db->sqlite); /* it is still */
  if (code == SQLITE_OK && !begun && ae__sql_stale(db))
    code = ae__sql_reopen(db);
  if (code == SQLITE_OK && !begun) code = ae__sql_run(db, AE__SQL_BEGIN_READ);
  if (code == SQLITE_OK && !begun && !db->writer) code = ae__index_follow(db);
  if (code == SQLITE_OK)
    code = ae__sql_int(db, "PRAGMA freelist_count", &pages);
  if (code == SQLITE_OK && inspect->whole)
    code = quick_check(db, &request->text);
  if (!begun && !sqlite3_get_autocommit(db->sqlite))
    ae__sql_run(db, AE__SQL_COMMIT);
  inspect->file_bytes = size_of(db, SQLITE_FCNTL_FILE_POINTER);
  inspect->log_bytes = size_of(db, SQLITE_FCNTL_JOURNAL_POINTER);
  inspect->free_bytes = (uint64_t)pages * (uint64_t)db->page_size;
  inspect->unindexed = db->tail.commits + db->frozen.commits;
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "look at", &request->error);
}

static void on_inspect(ae_task *task) {
  ae__request *request = ae__answered(task);
  ae_inspect *inspect = request->of;
  inspect->impl = NULL;
  inspect->problem = ae_buf_view(&request->text);
  inspect->cb(inspect, request->status,
              request->status == AE_OK ? NULL : &request->error);
  ae__request_free(request);
}

ae_status ae__sqlite_inspect(ae_store *store, ae_inspect *inspect,
                             ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__INSPECT, inspect, on_inspect));
  return AE_OK;
}
