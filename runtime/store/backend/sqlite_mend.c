/* Commits that cannot be read give way: their rows go, one row comes in their
 * place or none, and what leads to them is set right, in one transaction. What
 * is in the tail is brought into the index first. */
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define TRIES 100000u /* positions looked at for a free one */
#define NO_POSITION SQLITE_CONSTRAINT

/* What is between `after` and `until`, as the rows say. */
struct between {
  uint64_t last; /* position of the last row; 0: there is none */
  uint64_t rows, events, bytes;
};

/* Runs a text with up to four numbers; NULL or the first column's. */
static int run(ae__db *db, const char *text, const uint64_t values[4],
               uint64_t *out, size_t columns) {
  sqlite3_stmt *statement;
  int code = ae__sql_fault("sqlite.mend");
  if (code != SQLITE_OK) return code;
  code = sqlite3_prepare_v2(db->sqlite, text, -1, &statement, NULL);
  if (code != SQLITE_OK) return code;
  for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++)
    sqlite3_bind_int64(statement, i + 1, (int64_t)values[i]);
  code = sqlite3_step(statement);
  if (code == SQLITE_ROW) {
    for (size_t i = 0; i < columns; i++)
      out[i] = (uint64_t)sqlite3_column_int64(statement, (int)i);
    code = SQLITE_DONE;
  }
  sqlite3_finalize(statement);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* `until` for SQL: the end is behind every position. */
static uint64_t until_of(const ae_mend *mend) {
  return mend->until ? mend->until : INT64_MAX;
}

static int look_between(ae__db *db, const ae__head *head, const ae_mend *mend,
                        struct between *is) {
  uint64_t values[4] = {(uint64_t)head->id, mend->after, until_of(mend)};
  uint64_t out[4] = {0};
  int code = run(db,
                 "SELECT max(position), count(*), total(count),"
                 " total(length(body)) FROM log WHERE actor=?1 AND"
                 " position>?2 AND position<?3",
                 values, out, 4);
  *is = (struct between){out[0], out[1], out[2], out[3]};
  return code;
}

static int is_free(ae__db *db, uint64_t position, bool *is) {
  uint64_t count = 0;
  uint64_t values[4] = {position};
  int code =
      run(db, "SELECT count(*) FROM log WHERE position=?1", values, &count, 1);
  *is = count == 0;
  return code;
}

/* Where no row is left, the number of one that was lost is free: the commit
 * behind names it, or it lies somewhere before that. 0: there is none. */
static int find_position(ae__db *db, const ae__head *head, const ae_mend *mend,
                         const struct between *between, uint64_t *out) {
  uint64_t at = head->position;
  bool is = false;
  int code = SQLITE_OK;
  *out = between->last;
  if (*out > 0) return SQLITE_OK;
  if (mend->until > 0) {
    uint64_t values[4] = {mend->until};
    code =
        run(db, "SELECT previous FROM log WHERE position=?1", values, &at, 1);
  }
  if (code == SQLITE_OK && at > mend->after && at < until_of(mend))
    code = is_free(db, at, &is);
  if (code != SQLITE_OK || is) {
    *out = at;
    return code;
  }
  if (mend->until == 0) {
    *out = db->position + 1;
    return SQLITE_OK;
  }
  at = mend->until;
  for (unsigned tries = 0; code == SQLITE_OK && !is && tries < TRIES; tries++) {
    if (--at <= mend->after) return SQLITE_OK;
    code = is_free(db, at, &is);
  }
  if (is) *out = at;
  return code;
}

static int put_record(ae__db *db, const ae__head *head, const ae_mend *mend) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_LOG_PUT);
  sqlite3_bind_int64(put, 1, (int64_t)mend->position);
  sqlite3_bind_int64(put, 2, head->space->id);
  sqlite3_bind_int64(put, 3, head->id);
  sqlite3_bind_int64(put, 4, (int64_t)mend->version + 1);
  sqlite3_bind_int64(put, 5, mend->event_count);
  sqlite3_bind_int64(put, 6, (int64_t)mend->after);
  sqlite3_bind_int64(put, 7, 0);
  sqlite3_bind_blob64(put, 8, head->key, head->len, SQLITE_STATIC);
  sqlite3_bind_blob64(put, 9, mend->record.ptr, mend->record.len,
                      SQLITE_STATIC);
  return ae__sql_done(put);
}

/* The rows between, and what leads to them. */
static int clear_between(ae__db *db, const ae__head *head,
                         const ae_mend *mend) {
  uint64_t values[4] = {(uint64_t)head->id, mend->after, until_of(mend),
                        mend->position};
  int code = run(db,
                 "DELETE FROM log WHERE actor=?1 AND position>?2 AND"
                 " position<?3",
                 values, NULL, 0);
  if (code == SQLITE_OK)
    code = run(db,
               "DELETE FROM marks WHERE actor=?1 AND position>?2 AND"
               " position<?3",
               values, NULL, 0);
  if (code != SQLITE_OK) return code;
  return run(db,
             mend->record.len > 0
                 ? "UPDATE OR REPLACE ids SET position=?4 WHERE actor=?1 AND"
                   " position>?2 AND position<?3"
                 : "DELETE FROM ids WHERE actor=?1 AND position>?2",
             values, NULL, 0);
}

static int clear_snapshots(ae__db *db, const ae__head *head,
                           const ae_mend *mend) {
  uint64_t count = 0;
  uint64_t values[4] = {(uint64_t)head->id, mend->version,
                        mend->record.len == 0, 0};
  int code = run(db,
                 "SELECT count(*) FROM snapshots WHERE actor=?1 AND version>?2"
                 " AND (?3 OR NOT base)",
                 values, &count, 1);
  if (code != SQLITE_OK || count == 0) return code;
  code = run(db,
             "DELETE FROM snapshots WHERE actor=?1 AND version>?2"
             " AND (?3 OR NOT base)",
             values, NULL, 0);
  uint64_t counted[4] = {(uint64_t)head->space->id, count};
  return code == SQLITE_OK ? run(db,
                                 "UPDATE namespaces SET snapshots=snapshots-?2"
                                 " WHERE id=?1",
                                 counted, NULL, 0)
                           : code;
}

static int set_head(ae__db *db, const ae__head *head, const ae_mend *mend,
                    uint64_t position) {
  uint64_t version = mend->version + mend->event_count;
  uint64_t values[4] = {(uint64_t)head->id, version, position};
  if (mend->until > 0) {
    uint64_t link[4] = {mend->until, position};
    return run(db, "UPDATE log SET previous=?2 WHERE position=?1", link, NULL,
               0);
  }
  if (version > 0 || position > 0)
    return run(db, "UPDATE heads SET version=?2, position=?3 WHERE actor=?1",
               values, NULL, 0);
  /* Nothing is left of it. */
  int code = run(db, "DELETE FROM heads WHERE actor=?1", values, NULL, 0);
  if (code == SQLITE_OK)
    code = run(db, "DELETE FROM actors WHERE id=?1", values, NULL, 0);
  uint64_t counted[4] = {(uint64_t)head->space->id};
  return code == SQLITE_OK
             ? run(db, "UPDATE namespaces SET actors=actors-1 WHERE id=?1",
                   counted, NULL, 0)
             : code;
}

/* Where rows were lost, nobody knows what they had; else the difference. */
static int set_counts(ae__db *db, const ae__head *head, const ae_mend *mend,
                      const struct between *was) {
  uint64_t id = (uint64_t)head->space->id;
  uint64_t end = mend->until ? 0 : mend->latest;
  bool lost = was->rows == 0 ||
              (end > 0 && mend->version + was->events != end) ||
              (mend->record.len > 0 && was->events != mend->event_count);
  uint64_t all[4] = {id};
  if (lost)
    return run(db,
               "UPDATE namespaces SET (commits, events, bytes, position)="
               "(SELECT count(*), coalesce(sum(count), 0),"
               " coalesce(sum(length(body)), 0), coalesce(max(position), 0)"
               " FROM log WHERE ns=?1) WHERE id=?1",
               all, NULL, 0);
  uint64_t commits = (mend->record.len > 0) - was->rows;
  uint64_t bytes = mend->record.len - was->bytes;
  uint64_t less[4] = {id, commits, mend->event_count - was->events, bytes};
  int code = run(db,
                 "UPDATE namespaces SET commits=commits+?2, events=events+?3,"
                 " bytes=bytes+?4 WHERE id=?1",
                 less, NULL, 0);
  if (code != SQLITE_OK || mend->until > 0) return code;
  return run(db,
             "UPDATE namespaces SET position=coalesce((SELECT position FROM log"
             " WHERE ns=?1 ORDER BY position DESC LIMIT 1), 0) WHERE id=?1",
             all, NULL, 0);
}

static int set_state(ae__db *db, const ae_mend *mend) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_STATE_PUT);
  uint64_t watermark = db->watermark;
  if (mend->position > watermark) watermark = mend->position;
  sqlite3_bind_int64(put, 1, (int64_t)watermark);
  sqlite3_bind_int64(put, 2, (int64_t)db->generation + 1);
  return ae__sql_done(put);
}

static int mend_rows(ae__db *db, const ae__head *head, ae_mend *mend) {
  struct between was;
  int code = look_between(db, head, mend, &was);
  mend->removed = was.rows;
  if (code == SQLITE_OK && mend->record.len > 0) {
    code = find_position(db, head, mend, &was, &mend->position);
    if (code == SQLITE_OK && mend->position == 0) return NO_POSITION;
  }
  if (code == SQLITE_OK) code = clear_between(db, head, mend);
  if (code == SQLITE_OK && mend->record.len > 0)
    code = put_record(db, head, mend);
  uint64_t now = mend->record.len > 0 ? mend->position : mend->after;
  if (code == SQLITE_OK) code = clear_snapshots(db, head, mend);
  if (code == SQLITE_OK) code = set_head(db, head, mend, now);
  if (code == SQLITE_OK) code = set_counts(db, head, mend, &was);
  return code == SQLITE_OK ? set_state(db, mend) : code;
}

static int mend_all(ae__db *db, const ae__head *head, ae_mend *mend) {
  int code = ae__sql_fault("sqlite.begin");
  if (code == SQLITE_OK) code = ae__sql_moved(db);
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_BEGIN);
  if (code == SQLITE_OK) code = mend_rows(db, head, mend);
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.commit");
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_COMMIT);
  if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_ROLLBACK);
  return code == SQLITE_OK ? ae__index_again(db) : code;
}

void ae__mend(ae__db *db, ae__request *request) {
  ae_mend *mend = request->of;
  ae__head *head = NULL;
  ae__key key;
  ae__key_of(&key, &mend->ref);
  request->status = AE_OK;
  mend->removed = mend->position = 0;
  int code = ae__index_all(db);
  if (code == SQLITE_OK)
    code = ae__head_get(db, (ae_str){key.bytes, key.len}, &head);
  if (code == SQLITE_OK && (!head || head->version != mend->latest)) {
    request->status =
        ae__mend_refuse(&request->error, mend, head ? head->version : 0);
    return;
  }
  if (code == SQLITE_OK) code = mend_all(db, head, mend);
  if (code == NO_POSITION)
    request->status = ae_error_set(
        &request->error, AE_STORE_FULL,
        "between positions %llu and %llu none is free for what "
        "would stand for the lost commits",
        (unsigned long long)mend->after, (unsigned long long)mend->until);
  else if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "mend", &request->error);
}

ae_status ae__sqlite_mend(ae_store *store, ae_mend *mend, ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__MEND, &mend->write, ae__on_write));
  return AE_OK;
}
