/* Snapshots, rows of projections, and counts in SQLite. */
#include "base/mem.h"
#include "store/backend/sqlite.h"

static int64_t bounded(uint64_t value) {
  return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static void bind_str(sqlite3_stmt *statement, int at, ae_str value) {
  sqlite3_bind_blob64(statement, at, value.ptr ? value.ptr : "", value.len,
                      SQLITE_STATIC);
}

/* -- snapshots -- */

static int snapshots_count(ae__db *db, int64_t actor, uint64_t *count) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_SNAPSHOT_COUNT);
  sqlite3_bind_int64(select, 1, actor);
  int code = sqlite3_step(select);
  if (code == SQLITE_ROW) *count = (uint64_t)sqlite3_column_int64(select, 0);
  sqlite3_reset(select);
  return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* In the same transaction; it is not kept in memory. */
static int counted(ae__db *db, const ae__sql_space *space, uint64_t before,
                   uint64_t after) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_SPACE_SNAPSHOTS);
  sqlite3_bind_int64(put, 1, space->id);
  bind_str(put, 2, space->name);
  sqlite3_bind_int64(put, 3, (int64_t)after - (int64_t)before);
  return ae__sql_done(put);
}

int ae__rows_snapshot_counted(ae__db *db, const ae__sql_space *space) {
  return counted(db, space, 0, 1);
}

int ae__rows_snapshots_forget(ae__db *db, const ae__head *head,
                              uint64_t below) {
  sqlite3_stmt *delete = ae__sql(db, AE__SQL_SNAPSHOTS_BELOW);
  sqlite3_bind_int64(delete, 1, head->id);
  sqlite3_bind_int64(delete, 2, (int64_t)below);
  int code = ae__sql_done(delete);
  uint64_t gone = (uint64_t)sqlite3_changes(db->sqlite);
  return code == SQLITE_OK && gone > 0 ? counted(db, head->space, gone, 0)
                                       : code;
}

int ae__rows_snapshot_save(ae__db *db, ae__request *request) {
  ae_snapshot_write *given = request->of;
  ae__head *head;
  ae__key key;
  uint64_t before, after;
  ae_str text = ae_buf_view(&request->text); /* the key's length, key, state */
  memcpy(&key.len, text.ptr, sizeof key.len);
  ae_str name = {text.ptr + sizeof key.len, key.len};
  ae_str state = {name.ptr + key.len, text.len - sizeof key.len - key.len};
  int code = ae__head_get(db, name, &head);
  if (code != SQLITE_OK) return code;
  if (!head || given->version < 1 || given->version > head->version) {
    ae_ref ref = ae__key_ref(name);
    request->status =
        ae__snapshot_refuse(&request->error, &ref, given->version);
    return SQLITE_OK;
  }
  code = ae__sql_fault("sqlite.snapshot");
  if (code == SQLITE_OK) code = snapshots_count(db, head->id, &before);
  if (code != SQLITE_OK) return code;
  sqlite3_stmt *put = ae__sql(db, AE__SQL_SNAPSHOT_PUT);
  sqlite3_bind_int64(put, 1, head->id);
  sqlite3_bind_int64(put, 2, (int64_t)given->version);
  sqlite3_bind_int64(put, 3, given->shape);
  sqlite3_bind_int64(put, 4, given->base);
  bind_str(put, 5, state);
  code = ae__sql_done(put);
  if (code != SQLITE_OK) return code;
  if (given->follows && given->base && head->base > 0 &&
      head->base < given->version) {
    head->base = given->version;
    ae__tail_touch(db, head);
  }
  sqlite3_stmt *prune = ae__sql(db, AE__SQL_SNAPSHOT_PRUNE);
  sqlite3_bind_int64(prune, 1, head->id);
  sqlite3_bind_int64(prune, 2, AE__SNAPSHOTS_KEPT - 1);
  code = ae__sql_done(prune);
  if (code == SQLITE_OK) code = snapshots_count(db, head->id, &after);
  if (code == SQLITE_OK && after != before)
    code = counted(db, head->space, before, after);
  return code;
}

void ae__rows_snapshot_load(ae__db *db, ae__request *request) {
  ae_snapshot_read *read = request->of;
  ae__head *head;
  ae__key key;
  ae__key_of(&key, &read->ref);
  read->version = 0;
  read->base = false;
  request->status = AE_OK;
  ae_buf_reset(&request->text);
  int code = ae__sql_fault("sqlite.read");
  if (code == SQLITE_OK)
    code = ae__head_get(db, (ae_str){key.bytes, key.len}, &head);
  if (code == SQLITE_OK && head) {
    sqlite3_stmt *select = ae__sql(db, AE__SQL_SNAPSHOT_GET);
    sqlite3_bind_int64(select, 1, head->id);
    sqlite3_bind_int64(select, 2, bounded(read->at_most));
    sqlite3_bind_int64(select, 3, read->shape);
    sqlite3_bind_int(select, 4, read->fitting);
    code = sqlite3_step(select);
    if (code == SQLITE_ROW) {
      read->version = (uint64_t)sqlite3_column_int64(select, 0);
      read->base = sqlite3_column_int(select, 1) != 0;
      ae_buf_add(&request->text, sqlite3_column_blob(select, 2),
                 (size_t)sqlite3_column_bytes(select, 2));
    }
    sqlite3_reset(select);
    if (code == SQLITE_ROW || code == SQLITE_DONE) code = SQLITE_OK;
  }
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "read", &request->error);
}

/* -- rows -- */

static int projection_get(ae__db *db, ae_str ns, ae_str name, int64_t *id,
                          uint64_t *checkpoint) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_PROJECTION_GET);
  *id = 0;
  *checkpoint = 0;
  bind_str(select, 1, ns);
  bind_str(select, 2, name);
  int code = ae__sql_fault("sqlite.read");
  if (code == SQLITE_OK) code = sqlite3_step(select);
  if (code == SQLITE_ROW) {
    *id = sqlite3_column_int64(select, 0);
    *checkpoint = (uint64_t)sqlite3_column_int64(select, 1);
  }
  sqlite3_reset(select);
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static int projection_put(ae__db *db, ae_str ns, ae_str name,
                          uint64_t checkpoint, int64_t *id) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_PROJECTION_PUT);
  bind_str(put, 1, ns);
  bind_str(put, 2, name);
  sqlite3_bind_int64(put, 3, (int64_t)checkpoint);
  int code = sqlite3_step(put);
  if (code == SQLITE_ROW) {
    *id = sqlite3_column_int64(put, 0);
    code = sqlite3_step(put);
  }
  sqlite3_reset(put);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int row_put(ae__db *db, int64_t projection, const ae_row *row) {
  bool gone = row->value.len == 0;
  sqlite3_stmt *put = ae__sql(db, gone ? AE__SQL_ROW_DELETE : AE__SQL_ROW_PUT);
  int code = ae__sql_fault("sqlite.row");
  if (code != SQLITE_OK) return code;
  sqlite3_bind_int64(put, 1, projection);
  bind_str(put, 2, row->key);
  if (!gone) bind_str(put, 3, row->value);
  return ae__sql_done(put);
}

int ae__rows_put(ae__db *db, ae__request *request) {
  ae_rows_write *rows = request->of;
  int64_t id;
  uint64_t checkpoint;
  int code = projection_get(db, rows->ns, rows->projection, &id, &checkpoint);
  if (code != SQLITE_OK) return code;
  if (checkpoint != rows->was) {
    request->status = ae__rows_refuse(&request->error, rows, checkpoint);
    return SQLITE_OK;
  }
  code = projection_put(db, rows->ns, rows->projection, rows->checkpoint, &id);
  for (uint32_t i = 0; i < rows->count && code == SQLITE_OK; i++)
    code = row_put(db, id, &rows->rows[i]);
  return code;
}

/* Its checkpoint is where a namespace's newest trimmed commit was. */
#define TRIMMED AE_STR("$trimmed")

int ae__rows_trimmed(ae__db *db, ae_str ns, uint64_t position) {
  int64_t id;
  uint64_t before;
  int code = projection_get(db, ns, TRIMMED, &id, &before);
  return code == SQLITE_OK && before < position
             ? projection_put(db, ns, TRIMMED, position, &id)
             : code;
}

static bool starts_with(ae_str text, ae_str prefix) {
  return text.len >= prefix.len &&
         (prefix.len == 0 || memcmp(text.ptr, prefix.ptr, prefix.len) == 0);
}

/* Each row found: length of key, of value, key, value, into the text. */
static int rows_find(ae__db *db, int64_t projection, const ae_rows_read *read,
                     ae_buf *out) {
  bool by_prefix = !read->exact && ae_str_cmp(read->prefix, read->from) > 0;
  sqlite3_stmt *select = ae__sql(db, AE__SQL_ROWS);
  sqlite3_bind_int64(select, 1, projection);
  bind_str(select, 2, by_prefix ? read->prefix : read->from);
  int code = SQLITE_DONE;
  for (uint32_t count = 0; count < read->limit;) {
    code = sqlite3_step(select);
    if (code != SQLITE_ROW) break;
    ae_str key = {sqlite3_column_blob(select, 0),
                  (size_t)sqlite3_column_bytes(select, 0)};
    ae_str value = {sqlite3_column_blob(select, 1),
                    (size_t)sqlite3_column_bytes(select, 1)};
    code = SQLITE_DONE;
    if (read->exact && !ae_str_eq(key, read->from)) break;
    if (!starts_with(key, read->prefix)) break;
    if (read->after && ae_str_eq(key, read->from)) continue;
    ae_buf_add(out, &key.len, sizeof key.len);
    ae_buf_add(out, &value.len, sizeof value.len);
    ae_buf_str(out, key);
    ae_buf_str(out, value);
    count++;
  }
  sqlite3_reset(select);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

void ae__rows_read(ae__db *db, ae__request *request) {
  ae_rows_read *read = request->of;
  int64_t id;
  ae_buf_reset(&request->text);
  request->status = AE_OK;
  int code =
      projection_get(db, read->ns, read->projection, &id, &read->checkpoint);
  if (code == SQLITE_OK && id > 0)
    code = rows_find(db, id, read, &request->text);
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "read", &request->error);
}

/* -- counts -- */

static void file_bytes(ae__db *db, ae_stats *stats) {
  sqlite3_int64 size;
  sqlite3_file *file = NULL;
  static const int which[] = {SQLITE_FCNTL_FILE_POINTER,
                              SQLITE_FCNTL_JOURNAL_POINTER};
  for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
    if (sqlite3_file_control(db->sqlite, "main", which[i], &file) ==
            SQLITE_OK &&
        file && file->pMethods &&
        file->pMethods->xFileSize(file, &size) == SQLITE_OK)
      stats->file_bytes += (uint64_t)size;
  }
}

void ae__rows_stats(ae__db *db, ae__request *request) {
  ae_stats_read *read = request->of;
  ae_stats *sum = &read->stats;
  ae__sql_space *space;
  *sum = (ae_stats){0};
  for (size_t at = 0; (space = ae_map_next(&db->spaces, &at));) {
    if (read->ns.ptr && !ae_str_eq(read->ns, space->name)) continue;
    sum->commits += space->now.commits;
    sum->events += space->now.events;
    sum->actors += space->now.actors;
    sum->bytes += space->now.bytes;
    if (space->now.position > sum->position)
      sum->position = space->now.position;
  }
  sum->unindexed = db->tail.commits + db->frozen.commits;
  file_bytes(db, sum);
  sqlite3_stmt *select = ae__sql(db, AE__SQL_SNAPSHOTS);
  if (read->ns.ptr)
    bind_str(select, 1, read->ns);
  else
    sqlite3_bind_null(select, 1);
  int code = ae__sql_fault("sqlite.stats");
  if (code == SQLITE_OK) code = sqlite3_step(select);
  if (code == SQLITE_ROW)
    sum->snapshots = (uint64_t)sqlite3_column_int64(select, 0);
  sqlite3_reset(select);
  if (code == SQLITE_ROW) code = SQLITE_OK;
  int64_t id;
  if (code == SQLITE_OK && read->ns.ptr)
    code = projection_get(db, read->ns, TRIMMED, &id, &sum->trimmed);
  request->status = AE_OK;
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "read", &request->error);
}
