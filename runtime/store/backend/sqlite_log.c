/* The log: groups of writes, each one transaction with one sync. */
#include "base/log.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"
#include "store/concurrency/once.h"

#define CHECKPOINT_PAGES 4096 /* of SQLite's log: 32 MB */

/* One write of a group: an append, or another request. */
struct ae__unit {
  ae_append *append;
  ae__request *request;
  uint64_t hash; /* of the append's key */
};

/* What a group began with. */
struct start {
  uint64_t position;
  int64_t last_actor;
  size_t tail_heads;
  ae__index index;
};

/* -- bodies and ids -- */

int ae__log_body(ae__db *db, uint64_t position) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_BODY);
  ae_buf_reset(&db->scratch);
  sqlite3_bind_int64(select, 1, (int64_t)position);
  int code = ae__sql_fault("sqlite.read");
  if (code == SQLITE_OK) code = sqlite3_step(select);
  if (code == SQLITE_ROW)
    ae_buf_add(&db->scratch, sqlite3_column_blob(select, 0),
               (size_t)sqlite3_column_bytes(select, 0));
  sqlite3_reset(select);
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

struct search {
  ae__db *db;
  ae_str id;
  uint64_t position; /* found */
  int code;
};

/* A hash is not the id: the record tells. One that retention removed, or that
 * is damaged, cannot; it counts. */
static bool visit(void *data, uint64_t position) {
  struct search *search = data;
  search->code = ae__log_body(search->db, position);
  if (search->code != SQLITE_OK) return false;
  ae_str record = ae_buf_view(&search->db->scratch);
  ae__once once;
  if (record.len > 0 && ae__once_init(&once, record, NULL) == AE_OK &&
      !ae__once_holds(record, search->id))
    return true;
  search->position = position;
  return false;
}

int ae__log_id(ae__db *db, ae__head *head, ae_str id, uint64_t *position) {
  struct search search = {.db = db, .id = id, .code = SQLITE_OK};
  uint64_t hash = ae__once_hash(id);
  *position = 0;
  if (!head->ids) return SQLITE_OK;
  if (ae__tail_ids(db, head->id, hash, visit, &search) && head->stored) {
    sqlite3_stmt *select = ae__sql(db, AE__SQL_ID_GET);
    sqlite3_bind_int64(select, 1, head->id);
    sqlite3_bind_int64(select, 2, (int64_t)hash);
    int code;
    while ((code = sqlite3_step(select)) == SQLITE_ROW)
      if (!visit(&search, (uint64_t)sqlite3_column_int64(select, 0))) break;
    sqlite3_reset(select);
    if (code != SQLITE_ROW && code != SQLITE_DONE) return code;
  }
  *position = search.position;
  return search.code;
}

/* -- one append -- */

ae__undo *ae__log_undo(ae__db *db) {
  if (db->undo_count == db->undo_cap) {
    db->undo_cap = db->undo_cap ? 2 * db->undo_cap : 1024;
    db->undo = ae_realloc(db->undo, db->undo_cap * sizeof *db->undo);
  }
  return &db->undo[db->undo_count++];
}

static void undo_push(ae__db *db, ae__head *head, const ae_append *append,
                      bool made) {
  *ae__log_undo(db) = (ae__undo){.head = head,
                                 .version = head->version,
                                 .position = head->position,
                                 .commits = head->commits,
                                 .space_position = head->space->now.position,
                                 .events = append->event_count,
                                 .bytes = (uint32_t)append->record.len,
                                 .dirty = head->dirty,
                                 .ids = head->ids,
                                 .made = made};
}

ae__head *ae__log_head_new(ae__db *db, ae_str key, uint64_t hash) {
  ae__head *head = ae__head_make(&db->heads, key, hash, ++db->last_actor);
  ae_str ns = ae__key_ref(key).ns;
  head->space = ae__space_get(db, ns);
  if (!head->space) head->space = ae__space_make(db, ns, db->last_space + 1);
  return head;
}

static uint64_t next_position(const ae__db *db, const ae_append *append) {
  return append->follows ? append->follows : db->position + 1;
}

static int insert(ae__db *db, const ae__head *head, const ae_append *append,
                  bool made) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_LOG_PUT);
  int code = ae__sql_fault("sqlite.insert");
  if (code != SQLITE_OK) return code;
  sqlite3_bind_int64(put, 1, (int64_t)next_position(db, append));
  sqlite3_bind_int64(put, 2, head->space->id);
  sqlite3_bind_int64(put, 3, head->id);
  sqlite3_bind_int64(put, 4, (int64_t)head->version + 1);
  sqlite3_bind_int64(put, 5, append->event_count);
  sqlite3_bind_int64(put, 6, (int64_t)head->position);
  sqlite3_bind_int64(put, 7, append->id_count);
  if (made)
    sqlite3_bind_blob64(put, 8, head->key, head->len, SQLITE_STATIC);
  else
    sqlite3_bind_null(put, 8);
  sqlite3_bind_blob64(put, 9, append->record.ptr, append->record.len,
                      SQLITE_STATIC);
  return ae__sql_done(put);
}

static void take_in(ae__db *db, ae__head *head, const ae_append *append,
                    bool made) {
  ae_stats *now = &head->space->now;
  uint64_t first = head->version + 1;
  head->version += append->event_count;
  head->position = db->position = next_position(db, append);
  ae__tail_touch(db, head);
  if (++head->commits % AE__MARK == 0) ae__tail_mark(db, head, first);
  now->actors += made;
  now->commits++;
  now->events += append->event_count;
  now->bytes += append->record.len;
  now->position = db->position;
  db->tail.commits++;
}

/* AE_OK: none of the record's ids is stored for the actor. */
static ae_status ids_check(ae__db *db, ae__head *head, ae__once *once,
                           ae_append *append, int *code) {
  ae_str id;
  ae_status status =
      ae__once_init(once, ae_buf_view(&append->record), &append->error);
  if (status != AE_OK || !head) return status;
  ae__once walk = *once;
  while (ae__once_next(&walk, &id)) {
    *code = ae__log_id(db, head, id, &append->position);
    if (*code != SQLITE_OK) return AE_OK;
    if (append->position > 0) return AE_DUPLICATE;
  }
  return AE_OK;
}

/* `once`: the ids to index, NULL: none. */
static int put(ae__db *db, ae_append *append, ae__head *head, ae_str name,
               uint64_t hash, ae__once *once) {
  ae_str id;
  bool made = !head;
  if (made) head = ae__log_head_new(db, name, hash);
  undo_push(db, head, append, made);
  if (append->follows) {
    if (append->expected_version != head->version)
      head->base = append->expected_version; /* what is missing was trimmed */
    head->version = append->expected_version;
  }
  int code = insert(db, head, append, made);
  if (code != SQLITE_OK) return code;
  take_in(db, head, append, made);
  db->undo[db->undo_count - 1].done = true;
  while (once && ae__once_next(once, &id)) {
    head->ids = true;
    ae__tail_id_put(&db->tail, head->id, ae__once_hash(id), db->position);
  }
  append->status = AE_OK;
  append->position = db->position;
  append->current_version = head->version;
  return SQLITE_OK;
}

/* The other store has decided; what is wrong with a record is its readers'
 * matter. One that is here already changes nothing. */
static int follow(ae__db *db, ae_append *append, ae__head *head, ae_str name,
                  uint64_t hash) {
  ae__once once;
  bool ids = append->id_count > 0 &&
             ae__once_init(&once, ae_buf_view(&append->record), NULL) == AE_OK;
  if (append->follows > db->position)
    return put(db, append, head, name, hash, ids ? &once : NULL);
  append->status = AE_OK;
  append->position = append->follows;
  return SQLITE_OK;
}

/* SQLITE_OK and a status that holds if the group does, or an error of the
 * database, which undoes the group. */
static int append_one(ae__db *db, ae_append *append, uint64_t hash) {
  ae__key key;
  ae__head *head;
  ae__once once;
  ae__key_of(&key, &append->ref);
  ae_str name = {key.bytes, key.len};
  append->position = 0;
  int code = ae__head_get_hashed(db, name, hash, &head);
  if (code != SQLITE_OK) return code;
  append->current_version = head ? head->version : 0;
  if (append->follows) return follow(db, append, head, name, hash);
  if (!ae_expected_holds(append->expected_version, append->current_version)) {
    append->status =
        ae_conflict_set(&append->error, &append->ref, append->expected_version,
                        append->current_version, 1, NULL);
    return SQLITE_OK;
  }
  if (append->id_count > 0) {
    append->status = ids_check(db, head, &once, append, &code);
    if (code != SQLITE_OK || append->status != AE_OK) return code;
  }
  return put(db, append, head, name, hash, append->id_count ? &once : NULL);
}

/* -- a group -- */

static void undo_all(ae__db *db, const struct start *start) {
  ae__tail_undo(&db->tail, start->position);
  while (db->undo_count > 0) {
    ae__undo *undo = &db->undo[--db->undo_count];
    ae__head *head = undo->head;
    ae_stats *now = &head->space->now;
    head->version = undo->version;
    head->position = undo->position;
    head->commits = undo->commits;
    head->dirty = undo->dirty;
    head->ids = undo->ids;
    if (undo->done) {
      now->position = undo->space_position;
      now->commits--;
      now->events -= undo->events;
      now->bytes -= undo->bytes;
      now->actors -= undo->made;
      db->tail.commits--;
    }
    if (undo->begun) {
      now->actors--;
      head->space->frozen.actors--;
    }
    if (undo->made) ae__head_drop(&db->heads, head);
  }
  db->tail.head_count = start->tail_heads;
  db->position = start->position;
  db->last_actor = start->last_actor;
  db->index = start->index;
  /* A namespace that was made stays known, empty: its number is its own. */
}

static int unit_run(ae__db *db, struct ae__unit *unit) {
  if (unit->append) {
    ae_error_clear(&unit->append->error);
    return append_one(db, unit->append, unit->hash);
  }
  ae__request *request = unit->request;
  ae_error_clear(&request->error);
  request->status = AE_OK;
  switch (request->kind) {
    case AE__ROWS_PUT:
      return ae__rows_put(db, request);
    case AE__SNAPSHOT_SAVE:
      return ae__rows_snapshot_save(db, request);
    case AE__BEGIN:
      return ae__begin(db, request);
    default:
      AE_ASSERT_CMP(request->kind, ==, AE__PROBE);
      return ae__sql_run(db, AE__SQL_STATE_SAME);
  }
}

static int group_try(ae__db *db, struct ae__unit *units, size_t count,
                     const char **doing) {
  struct start start = {.position = db->position,
                        .last_actor = db->last_actor,
                        .tail_heads = db->tail.head_count,
                        .index = db->index};
  db->undo_count = 0;
  *doing = "write to";
  int code = ae__sql_fault("sqlite.begin");
  if (code == SQLITE_OK) code = ae__sql_moved(db);
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_BEGIN);
  for (size_t i = 0; i < count && code == SQLITE_OK; i++) {
    if (i + 8 < count) ae__head_near(&db->heads, units[i + 8].hash);
    if (i + 4 < count) ae__head_nearer(&db->heads, units[i + 4].hash);
    code = unit_run(db, &units[i]);
  }
  /* Twice what came in, so that the frozen tail is done before the next. */
  if (code == SQLITE_OK) {
    bool late = db->tail.commits >= AE__BATCH;
    code = ae__index_step(db, late ? SIZE_MAX : 2 * count + 64);
  }
  if (code == SQLITE_OK) {
    *doing = "commit to";
    code = ae__sql_fault("sqlite.commit");
  }
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_COMMIT);
  if (code == SQLITE_OK) {
    ae__index_stored(db);
    return SQLITE_OK;
  }
  if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_ROLLBACK);
  undo_all(db, &start);
  return code;
}

/* A commit whose sync failed may still be found after a crash. */
static bool uncertain(int code, const char *doing) {
  return *doing == 'c' &&
         (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC);
}

static void unit_fail(ae__db *db, struct ae__unit *unit, int code,
                      const char *doing) {
  ae_error *error = unit->append ? &unit->append->error : &unit->request->error;
  ae_error_clear(error);
  ae_status status = ae__sql_error(db, code, doing, error);
  if (uncertain(code, doing)) status = error->status = AE_STORE_UNCERTAIN;
  if (unit->append) {
    unit->append->status = status;
    unit->append->position = 0;
    unit->append->current_version = 0;
  } else {
    unit->request->status = status;
  }
}

/* Where there is no room for all, or one cannot be stored at all, halves are
 * tried. Other errors are everybody's. */
static bool divisible(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
      return true;
    default:
      return false;
  }
}

static bool failed(const struct ae__unit *unit) {
  ae_status status =
      unit->append ? unit->append->status : unit->request->status;
  return status == AE_STORE_FULL || status == AE_STORE_UNAVAILABLE ||
         status == AE_STORE_UNCERTAIN;
}

static void group_run(ae__db *db, struct ae__unit *units, size_t count) {
  const char *doing;
  int code = group_try(db, units, count, &doing);
  if (code == SQLITE_OK) return;
  if (count > 1 && divisible(code)) {
    group_run(db, units, count / 2);
    units += count / 2;
    count -= count / 2;
    if (!db->ordered || !failed(&units[-1])) {
      group_run(db, units, count);
      return;
    }
  }
  for (size_t i = 0; i < count; i++) unit_fail(db, &units[i], code, doing);
}

static struct ae__unit unit_of(ae_append *append) {
  ae__key key;
  ae__key_of(&key, &append->ref);
  return (struct ae__unit){.append = append,
                           .hash = ae_map_hash((ae_str){key.bytes, key.len})};
}

void ae__log_write(ae__sqlite *store, ae_task *first) {
  ae__db *db = &store->db;
  size_t count = 0;
  struct ae__unit *units = db->units;
  for (ae_task *task = first; task; task = task->next) {
    ae__request *request = AE_CONTAINER(task, ae__request, task);
    ae__appends *appends = request->kind == AE__APPENDS
                               ? AE_CONTAINER(request, ae__appends, request)
                               : NULL;
    size_t more = appends ? appends->count : 1;
    if (count + more > db->unit_cap) {
      db->unit_cap = 2 * (count + more);
      db->units = units = ae_realloc(units, db->unit_cap * sizeof *units);
    }
    if (!appends) {
      units[count++] = (struct ae__unit){.request = request};
      continue;
    }
    for (ae_task *at = appends->first; at; at = at->next)
      units[count++] = unit_of(AE_CONTAINER(at, ae_append, task));
  }
  for (size_t at = 0; at < count; at += store->group) {
    size_t part = count - at < store->group ? count - at : store->group;
    ae__index_due(db);
    group_run(db, units + at, part);
  }
}

/* SQLite's own log is brought into the file when it is long; not by SQLite at
 * a commit, so that answers do not wait for it. */
void ae__log_checkpoint(ae__db *db, bool whole) {
  if (db->wal_pages < db->wal_tried) db->wal_tried = 0; /* begun anew */
  if (!whole && db->wal_pages - db->wal_tried < CHECKPOINT_PAGES) return;
  int code = ae__sql_fault("sqlite.checkpoint");
  if (code == SQLITE_OK)
    code = sqlite3_wal_checkpoint_v2(
        db->sqlite, NULL,
        whole ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL,
        NULL);
  db->wal_tried = db->wal_pages;
  if (code != SQLITE_OK && code != SQLITE_BUSY)
    ae_log(AE_LOG_WARN,
           "SQLite's log could not be brought into the file; it grows", "file",
           db->path, "cause", sqlite3_errstr(code), NULL);
}
