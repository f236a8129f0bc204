/* Retention: commits below base snapshots are deleted in slices, each its own
 * transaction, so that appends go on between them. */
#include "base/mem.h"
#include "store/backend/sqlite.h"
#include "store/concurrency/once.h"

#define SLICE 1024u /* commits deleted at once */

struct victim {
  ae__head *head;
  uint64_t position, base;
  uint32_t events, bytes;
  bool ids; /* looked for only with trim->gone */
};

struct slice {
  struct victim *victims;
  size_t count;
  uint64_t bytes;
  bool last; /* nothing behind it is to go */
};

static int base_of(ae__db *db, const ae__head *head, uint64_t *base) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_SNAPSHOT_BASE);
  sqlite3_bind_int64(select, 1, head->id);
  int code = sqlite3_step(select);
  if (code == SQLITE_ROW) *base = (uint64_t)sqlite3_column_int64(select, 0);
  sqlite3_reset(select);
  return code == SQLITE_ROW ? SQLITE_OK : code;
}

static bool has_ids(ae_str body) {
  ae__once once;
  ae_str id;
  return ae__once_init(&once, body, NULL) == AE_OK && ae__once_next(&once, &id);
}

/* The row's commit goes, stays, or is the first that is young enough. */
static int consider(ae__db *db, const ae_trim *trim, ae__sql_space *space,
                    sqlite3_stmt *row, struct slice *slice) {
  struct victim victim = {.position = (uint64_t)sqlite3_column_int64(row, 0),
                          .events = (uint32_t)sqlite3_column_int64(row, 4)};
  int code = ae__head_get_id(db, sqlite3_column_int64(row, 2), &victim.head);
  if (code != SQLITE_OK || !victim.head) return code;
  if (victim.position == victim.head->position) return SQLITE_OK;
  code = base_of(db, victim.head, &victim.base);
  uint64_t version = (uint64_t)sqlite3_column_int64(row, 3) - 1 + victim.events;
  if (code != SQLITE_OK || version > victim.base) return code;
  ae_str body = {sqlite3_column_blob(row, 6),
                 (size_t)sqlite3_column_bytes(row, 6)};
  bool heavy = trim->bytes > 0 && space->now.bytes - slice->bytes > trim->bytes;
  ae_commit commit;
  if (!heavy && trim->before == 0) {
    slice->last = true;
  } else if (ae_commit_decode(body, &commit, NULL) != AE_OK) {
    return SQLITE_OK; /* damaged: an operator decides */
  } else if (!heavy && commit.time >= trim->before) {
    slice->last = true;
  } else {
    victim.bytes = (uint32_t)body.len;
    victim.ids = trim->gone && has_ids(body);
    slice->bytes += body.len;
    slice->victims[slice->count++] = victim;
  }
  return SQLITE_OK;
}

static int choose(ae__db *db, const ae_trim *trim, ae__sql_space *space,
                  uint64_t *after, struct slice *slice) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_SCAN);
  sqlite3_bind_int64(select, 1, (int64_t)*after);
  sqlite3_bind_int64(select, 2, (int64_t)db->watermark);
  int code = ae__sql_fault("sqlite.read");
  for (uint32_t looked = 0; code == SQLITE_OK; looked++) {
    if (slice->last || slice->count == SLICE || looked == AE__SCAN_ROWS) break;
    code = sqlite3_step(select);
    if (code == SQLITE_DONE) slice->last = true;
    if (code != SQLITE_ROW) break;
    code = SQLITE_OK;
    uint64_t at = (uint64_t)sqlite3_column_int64(select, 0);
    if (trim->until > 0 && at > trim->until)
      slice->last = true;
    else if (sqlite3_column_int64(select, 1) == space->id)
      code = consider(db, trim, space, select, slice);
    if (code == SQLITE_OK) *after = at;
  }
  sqlite3_reset(select);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int bind_run(ae__db *db, ae__statement statement, uint64_t a, uint64_t b,
                    uint64_t c, uint64_t d) {
  sqlite3_stmt *run = ae__sql(db, statement);
  uint64_t values[] = {a, b, c, d};
  for (int i = 0; i < sqlite3_bind_parameter_count(run); i++)
    sqlite3_bind_int64(run, i + 1, (int64_t)values[i]);
  return ae__sql_done(run);
}

static int set_base(ae__db *db, const struct victim *victim) {
  int code = bind_run(db, AE__SQL_HEAD_BASE, (uint64_t)victim->head->id,
                      victim->base, 0, 0);
  return code == SQLITE_OK
             ? ae__rows_snapshots_forget(db, victim->head, victim->base)
             : code;
}

static int delete_all(ae__db *db, ae__sql_space *space,
                      const struct slice *slice) {
  uint64_t events = 0;
  int code = ae__sql_fault("sqlite.begin");
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_BEGIN);
  for (size_t i = 0; i < slice->count && code == SQLITE_OK; i++) {
    const struct victim *victim = &slice->victims[i];
    uint64_t actor = (uint64_t)victim->head->id;
    events += victim->events;
    code = ae__sql_fault("sqlite.trim");
    if (code == SQLITE_OK)
      code = bind_run(db, AE__SQL_LOG_DELETE, victim->position, 0, 0, 0);
    if (code == SQLITE_OK && victim->head->base < victim->base)
      code = set_base(db, victim);
    if (code == SQLITE_OK)
      code = bind_run(db, AE__SQL_MARK_DELETE, actor, victim->position, 0, 0);
  }
  if (code == SQLITE_OK)
    code = ae__rows_trimmed(db, space->name,
                            slice->victims[slice->count - 1].position);
  if (code == SQLITE_OK)
    code = bind_run(db, AE__SQL_SPACE_TRIM, (uint64_t)space->id, slice->count,
                    events, slice->bytes);
  if (code == SQLITE_OK)
    code = bind_run(db, AE__SQL_STATE_PUT, db->watermark, db->generation + 1, 0,
                    0);
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.commit");
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_COMMIT);
  if (code != SQLITE_OK) {
    if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_ROLLBACK);
    return code;
  }
  db->generation++;
  space->now.commits -= slice->count;
  space->now.events -= events;
  space->now.bytes -= slice->bytes;
  space->frozen.commits -= slice->count;
  space->frozen.events -= events;
  space->frozen.bytes -= slice->bytes;
  for (size_t i = 0; i < slice->count; i++)
    slice->victims[i].head->base = slice->victims[i].base;
  return SQLITE_OK;
}

bool ae__trim(ae__db *db, ae__request *request, uint64_t *after) {
  ae_trim *trim = request->of;
  struct slice slice = {.victims = ae_alloc(SLICE * sizeof *slice.victims)};
  request->status = AE_OK;
  if (*after == 0) trim->trimmed = trim->left = 0;
  /* What is trimmed must be in the index, or the next start would not know of
   * it. */
  int code = *after == 0 ? ae__index_all(db) : SQLITE_OK;
  ae__sql_space *space = ae__space_get(db, trim->ns);
  slice.last = !space;
  if (code == SQLITE_OK && space) code = choose(db, trim, space, after, &slice);
  if (code == SQLITE_OK && slice.count > 0)
    code = delete_all(db, space, &slice);
  if (code == SQLITE_OK) trim->trimmed += slice.count;
  for (size_t i = 0; trim->gone && code == SQLITE_OK && i < slice.count; i++)
    if (!slice.victims[i].ids)
      ae_buf_add(trim->gone, &slice.victims[i].position, sizeof(uint64_t));
  if (space) trim->left = space->now.bytes;
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "trim", &request->error);
  ae_free(slice.victims);
  return code == SQLITE_OK && !slice.last;
}
