/* Base snapshots listed, and histories begun behind one.
 *
 * What retention has trimmed leaves its command ids as hashes with a position
 * that no row of the log has. Of an actor that was begun here, that position is
 * ELSEWHERE: no commit can ever have it. */
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define ELSEWHERE (-1)
#define PAGE_ROWS 4096u /* looked at in one request */

/* -- bases -- */

struct listed {
  ae_base *bases;
  uint32_t count, cap;
  ae_buf states; /* one behind the other, as are the names and ids */
  ae_buf names;
  ae_buf ids; /* uint64_t each */
};

static ae_base *listed_next(struct listed *listed) {
  if (listed->count == listed->cap) {
    listed->cap = listed->cap ? 2 * listed->cap : 64;
    listed->bases =
        ae_realloc(listed->bases, listed->cap * sizeof *listed->bases);
  }
  return &listed->bases[listed->count++];
}

/* Its commit is not there, or lies below the base. */
static int is_left_over(ae__db *db, const ae__head *head, int64_t position,
                        bool *is) {
  *is = true;
  if (position < 1) return SQLITE_OK;
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_VERSION);
  sqlite3_bind_int64(select, 1, position);
  int code = sqlite3_step(select);
  if (code == SQLITE_ROW)
    *is = (uint64_t)sqlite3_column_int64(select, 0) <= head->base;
  sqlite3_reset(select);
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static int ids_list(ae__db *db, const ae__head *head, struct listed *listed,
                    ae_base *base) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_IDS_GET);
  sqlite3_bind_int64(select, 1, head->id);
  int code;
  while ((code = sqlite3_step(select)) == SQLITE_ROW) {
    uint64_t hash = (uint64_t)sqlite3_column_int64(select, 0);
    bool is;
    code = is_left_over(db, head, sqlite3_column_int64(select, 1), &is);
    if (code != SQLITE_OK) break;
    if (!is) continue;
    ae_buf_add(&listed->ids, &hash, sizeof hash);
    base->id_count++;
  }
  sqlite3_reset(select);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Slices are set at the end, when nothing moves any more: only lengths here. */
static int base_add(ae__db *db, sqlite3_stmt *row, const ae__head *head,
                    struct listed *listed) {
  ae_base *base = listed_next(listed);
  size_t len = (size_t)sqlite3_column_bytes(row, 3);
  *base = (ae_base){.version = (uint64_t)sqlite3_column_int64(row, 1),
                    .shape = sqlite3_column_int64(row, 2),
                    .state = {NULL, len},
                    .ref.id = {NULL, head->len}};
  base->begins = base->version == head->base;
  ae_buf_add(&listed->states, sqlite3_column_blob(row, 3), len);
  ae_buf_add(&listed->names, head->key, head->len);
  return base->begins && head->ids ? ids_list(db, head, listed, base)
                                   : SQLITE_OK;
}

static void set_slices(struct listed *listed) {
  const char *state = listed->states.ptr, *name = listed->names.ptr;
  const uint64_t *ids = (const uint64_t *)(const void *)listed->ids.ptr;
  for (uint32_t i = 0; i < listed->count; i++) {
    ae_base *base = &listed->bases[i];
    base->state.ptr = state;
    base->ids = ids;
    size_t len = base->ref.id.len;
    base->ref = ae__key_ref((ae_str){name, len});
    name += len;
    if (state) state += base->state.len;
    if (ids) ids += base->id_count;
  }
}

/* An actor's bases are in one page. */
static int list(ae__db *db, ae_bases_read *read, struct listed *listed) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_BASES);
  const ae__sql_space *space = ae__space_get(db, read->ns);
  int64_t last = 0;
  int code = ae__sql_fault("sqlite.read");
  sqlite3_bind_int64(select, 1, (int64_t)read->from);
  for (uint32_t looked = 0; space && code == SQLITE_OK; looked++) {
    ae__head *head;
    code = sqlite3_step(select);
    if (code != SQLITE_ROW) break;
    int64_t actor = sqlite3_column_int64(select, 0);
    bool full = looked >= PAGE_ROWS || listed->states.len >= AE__PAGE_BYTES;
    if (full && actor != last) {
      read->next = (uint64_t)actor;
      code = SQLITE_DONE;
      break;
    }
    last = actor;
    code = ae__head_get_id(db, actor, &head);
    if (code == SQLITE_OK && head && head->space == space)
      code = base_add(db, select, head, listed);
  }
  sqlite3_reset(select);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* What was found stays with the request until it is answered. */
void ae__bases_read(ae__db *db, ae__request *request) {
  ae_bases_read *read = request->of;
  struct listed *listed = ae_zalloc(sizeof *listed);
  ae_buf_reset(&request->text);
  ae_buf_add(&request->text, &listed, sizeof listed);
  read->next = 0;
  request->status = AE_OK;
  int code = list(db, read, listed);
  set_slices(listed);
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "read", &request->error);
}

static void on_bases(ae_task *task) {
  ae__request *request = ae__answered(task);
  ae_bases_read *read = request->of;
  struct listed none = {0}, *listed = NULL;
  if (request->text.len > 0) memcpy(&listed, request->text.ptr, sizeof listed);
  bool fine = request->status == AE_OK && listed;
  read->impl = NULL;
  read->cb(read, request->status, fine ? listed->bases : none.bases,
           fine ? listed->count : 0, fine ? NULL : &request->error);
  if (listed) {
    ae_free(listed->bases);
    ae_buf_clear(&listed->states);
    ae_buf_clear(&listed->names);
    ae_buf_clear(&listed->ids);
    ae_free(listed);
  }
  ae__request_free(request);
}

ae_status ae__sqlite_bases(ae_store *store, ae_bases_read *read,
                           ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__BASES, read, on_bases));
  return AE_OK;
}

/* -- begin -- */

static int run(ae__db *db, ae__statement statement, int64_t a, int64_t b,
               int64_t c) {
  sqlite3_stmt *put = ae__sql(db, statement);
  int64_t values[] = {a, b, c};
  for (int i = 0; i < sqlite3_bind_parameter_count(put); i++)
    sqlite3_bind_int64(put, i + 1, values[i]);
  return ae__sql_done(put);
}

static int put_space(ae__db *db, const ae__sql_space *space) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_SPACE_BEGUN);
  sqlite3_bind_int64(put, 1, space->id);
  sqlite3_bind_blob64(put, 2, space->name.ptr, space->name.len, SQLITE_STATIC);
  return ae__sql_done(put);
}

static int put_actor(ae__db *db, const ae__head *head) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_ACTOR_PUT);
  sqlite3_bind_int64(put, 1, head->id);
  sqlite3_bind_int64(put, 2, head->space->id);
  sqlite3_bind_blob64(put, 3, head->key, head->len, SQLITE_STATIC);
  int code = ae__sql_done(put);
  if (code != SQLITE_OK) return code;
  put = ae__sql(db, AE__SQL_HEAD_PUT);
  sqlite3_bind_int64(put, 1, head->id);
  sqlite3_bind_int64(put, 2, (int64_t)head->version);
  sqlite3_bind_int64(put, 3, 0);
  sqlite3_bind_int64(put, 4, 0);
  sqlite3_bind_int64(put, 5, (int64_t)head->base);
  sqlite3_bind_int64(put, 6, head->ids);
  return ae__sql_done(put);
}

static int put_snapshot(ae__db *db, const ae__head *head, const ae_base *base) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_SNAPSHOT_PUT);
  sqlite3_bind_int64(put, 1, head->id);
  sqlite3_bind_int64(put, 2, (int64_t)base->version);
  sqlite3_bind_int64(put, 3, base->shape);
  sqlite3_bind_int64(put, 4, 1);
  sqlite3_bind_blob64(put, 5, base->state.ptr, base->state.len, SQLITE_STATIC);
  int code = ae__sql_done(put);
  if (code != SQLITE_OK) return code;
  return ae__rows_snapshot_counted(db, head->space);
}

/* Its rows are written at once, so that nothing of it is in the tail. */
static int make(ae__db *db, const ae_base *base, ae_str key, uint64_t hash,
                ae__head **out) {
  ae__head *head = ae__log_head_new(db, key, hash);
  *ae__log_undo(db) = (ae__undo){.head = head, .made = true, .begun = true};
  head->version = head->base = base->version;
  head->ids = base->id_count > 0;
  head->stored = true;
  head->space->now.actors++;
  head->space->frozen.actors++;
  *out = head;
  int code = put_space(db, head->space);
  if (code == SQLITE_OK) code = put_actor(db, head);
  return code == SQLITE_OK ? put_snapshot(db, head, base) : code;
}

static int is_begun(ae__db *db, const ae__head *head, const ae_base *base,
                    bool *is) {
  *is = head->base == base->version;
  if (!*is || base->state.len == 0) return SQLITE_OK;
  sqlite3_stmt *select = ae__sql(db, AE__SQL_BASE_GET);
  sqlite3_bind_int64(select, 1, head->id);
  sqlite3_bind_int64(select, 2, (int64_t)base->version);
  *is = false;
  int code;
  while (!*is && (code = sqlite3_step(select)) == SQLITE_ROW) {
    ae_str state = {sqlite3_column_blob(select, 0),
                    (size_t)sqlite3_column_bytes(select, 0)};
    *is = ae_str_eq(state, base->state);
  }
  sqlite3_reset(select);
  return *is || code == SQLITE_DONE ? SQLITE_OK : code;
}

int ae__begin(ae__db *db, ae__request *request) {
  const ae_base *base = &((ae_begin *)request->of)->base;
  ae__head *head;
  ae__key key;
  ae__key_of(&key, &base->ref);
  ae_str name = {key.bytes, key.len};
  uint64_t hash = ae_map_hash(name);
  int code = ae__head_get_hashed(db, name, hash, &head);
  bool is = true;
  if (code == SQLITE_OK && head) code = is_begun(db, head, base, &is);
  if (code != SQLITE_OK) return code;
  if (!is || (!head && base->state.len == 0)) {
    request->status =
        ae__begin_refuse(&request->error, base, head ? head->version : 0);
    return SQLITE_OK;
  }
  code = ae__sql_fault("sqlite.begun");
  if (code == SQLITE_OK && !head) code = make(db, base, name, hash, &head);
  if (code == SQLITE_OK && base->id_count > 0 && !head->ids) {
    head->ids = true; /* said too early, where the group fails: no harm */
    code = run(db, AE__SQL_HEAD_IDS, head->id, 0, 0);
  }
  for (uint32_t i = 0; i < base->id_count && code == SQLITE_OK; i++)
    code = run(db, AE__SQL_ID_PUT, head->id, (int64_t)base->ids[i], ELSEWHERE);
  return code;
}

ae_status ae__sqlite_begin(ae_store *store, ae_begin *begin, ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__BEGIN, &begin->write, ae__on_write));
  return AE_OK;
}
