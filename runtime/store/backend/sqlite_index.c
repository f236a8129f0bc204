/* The tail, and the index that follows the log in sorted batches.
 *
 *   grows ──(AE__BATCH commits)──► frozen ──(steps)──► stored, watermark moved
 *
 * Each step rides in the transaction of a group of appends, so that no group
 * waits long; the last one moves the watermark. A step may be done again after
 * a crash between steps: what it writes is the same, or newer, and whoever
 * opens the file scans the tail from the watermark in any case.
 *
 * 1. Whatever is beyond the watermark is in a tail in memory.
 * 2. A head that is dirty or frozen is not dropped from the cache.
 * 3. The counts stored are those at the watermark. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"
#include "store/concurrency/once.h"

#define IDS 1024u /* slots at first */

/* -- the tail -- */

void ae__tail_clear(ae__tail *tail) {
  ae_free(tail->heads);
  ae_free(tail->marks);
  ae_free(tail->ids);
  *tail = (ae__tail){0};
}

void ae__tail_touch(ae__db *db, ae__head *head) {
  if (head->dirty) return;
  ae__tail *tail = &db->tail;
  head->dirty = true;
  if (tail->head_count == tail->head_cap) {
    tail->head_cap = tail->head_cap ? 2 * tail->head_cap : 1024;
    tail->heads = ae_realloc(tail->heads, tail->head_cap * sizeof *tail->heads);
  }
  tail->heads[tail->head_count++] = head;
}

void ae__tail_mark(ae__db *db, const ae__head *head, uint64_t version) {
  ae__tail *tail = &db->tail;
  if (tail->mark_count == tail->mark_cap) {
    tail->mark_cap = tail->mark_cap ? 2 * tail->mark_cap : 64;
    tail->marks = ae_realloc(tail->marks, tail->mark_cap * sizeof *tail->marks);
  }
  tail->marks[tail->mark_count++] =
      (ae__mark){head->id, version, head->position};
}

static size_t id_slot(const ae__tail *tail, int64_t actor, uint64_t hash) {
  return (size_t)(hash ^ (uint64_t)actor * 0x9e3779b97f4a7c15u) & tail->id_mask;
}

void ae__tail_id_put(ae__tail *tail, int64_t actor, uint64_t hash,
                     uint64_t position) {
  if (!tail->ids || tail->id_count > tail->id_mask / 2) {
    ae__tail_id *old = tail->ids;
    size_t slots = old ? tail->id_mask + 1 : 0;
    tail->id_mask = (old ? 2 * slots : IDS) - 1;
    tail->ids = ae_zalloc((tail->id_mask + 1) * sizeof *tail->ids);
    tail->id_count = 0;
    for (size_t i = 0; i < slots; i++)
      if (old[i].actor && old[i].position)
        ae__tail_id_put(tail, old[i].actor, old[i].hash, old[i].position);
    ae_free(old);
  }
  size_t at = id_slot(tail, actor, hash);
  while (tail->ids[at].actor) at = (at + 1) & tail->id_mask;
  tail->ids[at] = (ae__tail_id){actor, hash, position};
  tail->id_count++;
}

void ae__tail_undo(ae__tail *tail, uint64_t position) {
  while (tail->mark_count > 0 &&
         tail->marks[tail->mark_count - 1].position > position)
    tail->mark_count--;
  for (size_t i = 0; tail->ids && i <= tail->id_mask; i++)
    if (tail->ids[i].position > position) tail->ids[i].position = 0;
}

static int id_order(const void *a, const void *b) {
  const ae__tail_id *x = a, *y = b;
  if (x->actor != y->actor) return x->actor < y->actor ? -1 : 1;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return (x->position > y->position) - (x->position < y->position);
}

/* The first of a frozen tail's sorted ids not before these. */
static size_t id_seek(const ae__tail *tail, int64_t actor, uint64_t hash) {
  size_t low = 0, high = tail->id_count;
  ae__tail_id want = {actor, hash, 0};
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (id_order(&tail->ids[middle], &want) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool ae__tail_ids(const ae__db *db, int64_t actor, uint64_t hash,
                  bool (*visit)(void *data, uint64_t position), void *data) {
  const ae__tail *tail = &db->tail;
  if (tail->ids) {
    for (size_t at = id_slot(tail, actor, hash); tail->ids[at].actor;
         at = (at + 1) & tail->id_mask) {
      const ae__tail_id *id = &tail->ids[at];
      if (id->actor == actor && id->hash == hash && id->position &&
          !visit(data, id->position))
        return false;
    }
  }
  tail = &db->frozen;
  for (size_t at = id_seek(tail, actor, hash);
       at < tail->id_count && tail->ids[at].actor == actor &&
       tail->ids[at].hash == hash;
       at++)
    if (!visit(data, tail->ids[at].position)) return false;
  return true;
}

/* -- freezing -- */

/* Those without a row first, by key; the others by number: rows are then
 * written where the row before was. */
static int head_order(const void *a, const void *b) {
  const ae__head *x = *(ae__head *const *)a, *y = *(ae__head *const *)b;
  if (x->stored != y->stored) return x->stored ? 1 : -1;
  if (!x->stored)
    return ae_str_cmp((ae_str){x->key, x->len}, (ae_str){y->key, y->len});
  return (x->id > y->id) - (x->id < y->id);
}

static int mark_order(const void *a, const void *b) {
  const ae__mark *x = a, *y = b;
  if (x->actor != y->actor) return x->actor < y->actor ? -1 : 1;
  return (x->position > y->position) - (x->position < y->position);
}

static void ids_pack(ae__tail *tail) {
  size_t count = 0;
  for (size_t i = 0; tail->ids && i <= tail->id_mask; i++)
    if (tail->ids[i].actor && tail->ids[i].position)
      tail->ids[count++] = tail->ids[i];
  tail->id_count = count;
  if (count > 1) qsort(tail->ids, count, sizeof *tail->ids, id_order);
}

static void freeze(ae__db *db) {
  ae__sql_space *space;
  ae__tail_clear(&db->frozen);
  db->frozen = db->tail;
  db->tail = (ae__tail){0};
  ae__tail *frozen = &db->frozen;
  frozen->end = db->position;
  for (size_t i = 0; i < frozen->head_count; i++) {
    frozen->heads[i]->dirty = false;
    frozen->heads[i]->frozen = true;
  }
  if (frozen->head_count > 1)
    qsort(frozen->heads, frozen->head_count, sizeof *frozen->heads, head_order);
  if (frozen->mark_count > 1)
    qsort(frozen->marks, frozen->mark_count, sizeof *frozen->marks, mark_order);
  ids_pack(frozen);
  for (size_t at = 0; (space = ae_map_next(&db->spaces, &at));)
    space->frozen = space->now;
  db->index = (ae__index){.active = true};
  while (db->index.fresh < frozen->head_count &&
         !frozen->heads[db->index.fresh]->stored)
    db->index.fresh++;
}

void ae__index_due(ae__db *db) {
  if (!db->index.active && db->tail.commits >= AE__BATCH) freeze(db);
}

/* -- steps -- */

static int actor_put(ae__db *db, const ae__head *head) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_ACTOR_PUT);
  sqlite3_bind_int64(put, 1, head->id);
  sqlite3_bind_int64(put, 2, head->space->id);
  sqlite3_bind_blob64(put, 3, head->key, head->len, SQLITE_STATIC);
  return ae__sql_done(put);
}

static int head_put(ae__db *db, const ae__head *head) {
  sqlite3_stmt *put = ae__sql(db, AE__SQL_HEAD_PUT);
  sqlite3_bind_int64(put, 1, head->id);
  sqlite3_bind_int64(put, 2, (int64_t)head->version);
  sqlite3_bind_int64(put, 3, (int64_t)head->position);
  sqlite3_bind_int64(put, 4, (int64_t)head->commits);
  sqlite3_bind_int64(put, 5, (int64_t)head->base);
  sqlite3_bind_int64(put, 6, head->ids);
  return ae__sql_done(put);
}

static int three_put(ae__db *db, ae__statement statement, int64_t a, int64_t b,
                     int64_t c) {
  sqlite3_stmt *put = ae__sql(db, statement);
  sqlite3_bind_int64(put, 1, a);
  sqlite3_bind_int64(put, 2, b);
  sqlite3_bind_int64(put, 3, c);
  return ae__sql_done(put);
}

static int counts_put(ae__db *db) {
  ae__sql_space *space;
  int code = SQLITE_OK;
  for (size_t at = 0;
       code == SQLITE_OK && (space = ae_map_next(&db->spaces, &at));) {
    sqlite3_stmt *put = ae__sql(db, AE__SQL_SPACE_PUT);
    sqlite3_bind_int64(put, 1, space->id);
    sqlite3_bind_blob64(put, 2, space->name.ptr, space->name.len,
                        SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, (int64_t)space->frozen.commits);
    sqlite3_bind_int64(put, 4, (int64_t)space->frozen.events);
    sqlite3_bind_int64(put, 5, (int64_t)space->frozen.actors);
    sqlite3_bind_int64(put, 6, (int64_t)space->frozen.bytes);
    sqlite3_bind_int64(put, 7, (int64_t)space->frozen.position);
    code = ae__sql_done(put);
  }
  if (code != SQLITE_OK) return code;
  sqlite3_stmt *put = ae__sql(db, AE__SQL_STATE_PUT);
  sqlite3_bind_int64(put, 1, (int64_t)db->frozen.end);
  sqlite3_bind_int64(put, 2, (int64_t)db->generation + 1);
  return ae__sql_done(put);
}

static bool index_done(const ae__db *db) {
  const ae__index *index = &db->index;
  return index->actors == index->fresh &&
         index->heads == db->frozen.head_count &&
         index->marks == db->frozen.mark_count &&
         index->ids == db->frozen.id_count;
}

int ae__index_step(ae__db *db, size_t budget) {
  ae__index *index = &db->index;
  ae__tail *frozen = &db->frozen;
  if (!index->active) return SQLITE_OK;
  int code = ae__sql_fault("sqlite.index");
  while (code == SQLITE_OK && index->actors < index->fresh && budget-- > 0)
    code = actor_put(db, frozen->heads[index->actors++]);
  while (code == SQLITE_OK && index->heads < frozen->head_count && budget-- > 0)
    code = head_put(db, frozen->heads[index->heads++]);
  for (; code == SQLITE_OK && index->marks < frozen->mark_count && budget-- > 0;
       index->marks++) {
    ae__mark *mark = &frozen->marks[index->marks];
    code = three_put(db, AE__SQL_MARK_PUT, mark->actor, (int64_t)mark->version,
                     (int64_t)mark->position);
  }
  for (; code == SQLITE_OK && index->ids < frozen->id_count && budget-- > 0;
       index->ids++) {
    ae__tail_id *id = &frozen->ids[index->ids];
    code = three_put(db, AE__SQL_ID_PUT, id->actor, (int64_t)id->hash,
                     (int64_t)id->position);
  }
  if (code == SQLITE_OK && index_done(db)) code = counts_put(db);
  return code;
}

void ae__index_stored(ae__db *db) {
  if (!db->index.active || !index_done(db)) return;
  ae__tail *frozen = &db->frozen;
  for (size_t i = 0; i < frozen->head_count; i++) {
    frozen->heads[i]->frozen = false;
    frozen->heads[i]->stored = true;
  }
  db->watermark = frozen->end;
  db->generation++;
  db->index = (ae__index){0};
  ae__tail_clear(frozen);
}

static int step_alone(ae__db *db, size_t budget) {
  ae__index before = db->index;
  int code = ae__sql_fault("sqlite.begin");
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_BEGIN);
  if (code == SQLITE_OK) code = ae__index_step(db, budget);
  if (code == SQLITE_OK) code = ae__sql_fault("sqlite.commit");
  if (code == SQLITE_OK) code = ae__sql_run(db, AE__SQL_COMMIT);
  if (code == SQLITE_OK) {
    ae__index_stored(db);
    return SQLITE_OK;
  }
  if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_ROLLBACK);
  db->index = before;
  return code;
}

int ae__index_all(ae__db *db) {
  int code = SQLITE_OK;
  while (code == SQLITE_OK && (db->index.active || db->tail.commits > 0)) {
    if (!db->index.active) freeze(db);
    code = step_alone(db, SIZE_MAX);
  }
  return code;
}

/* -- loading -- */

static int state_get(ae__db *db, uint64_t *watermark, uint64_t *generation) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_STATE);
  int code = sqlite3_step(select);
  if (code == SQLITE_ROW) {
    *watermark = (uint64_t)sqlite3_column_int64(select, 0);
    *generation = (uint64_t)sqlite3_column_int64(select, 1);
  }
  sqlite3_reset(select);
  return code == SQLITE_ROW    ? SQLITE_OK
         : code == SQLITE_DONE ? SQLITE_CORRUPT
                               : code;
}

static int spaces_load(ae__db *db) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_SPACES);
  int code;
  while ((code = sqlite3_step(select)) == SQLITE_ROW) {
    ae_str name = {sqlite3_column_blob(select, 1),
                   (size_t)sqlite3_column_bytes(select, 1)};
    int64_t id = sqlite3_column_int64(select, 0);
    if (name.len == 0 || id < 1 || id > AE__SPACE_MAX) {
      code = SQLITE_CORRUPT;
      break;
    }
    ae_stats *now = &ae__space_make(db, name, id)->now;
    now->commits = (uint64_t)sqlite3_column_int64(select, 2);
    now->events = (uint64_t)sqlite3_column_int64(select, 3);
    now->actors = (uint64_t)sqlite3_column_int64(select, 4);
    now->bytes = (uint64_t)sqlite3_column_int64(select, 6);
    now->position = (uint64_t)sqlite3_column_int64(select, 7);
  }
  sqlite3_reset(select);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int max_get(ae__db *db, ae__statement statement, int64_t *out) {
  sqlite3_stmt *select = ae__sql(db, statement);
  int code = sqlite3_step(select);
  if (code == SQLITE_ROW) *out = sqlite3_column_int64(select, 0);
  sqlite3_reset(select);
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* The actor of a row of the tail: known, or it starts here. */
static int tail_head(ae__db *db, sqlite3_stmt *row, ae__head **out) {
  int64_t id = sqlite3_column_int64(row, 2);
  int code = ae__head_get_id(db, id, out);
  if (code != SQLITE_OK || *out) return code;
  ae_str key = {sqlite3_column_blob(row, 7),
                (size_t)sqlite3_column_bytes(row, 7)};
  /* Numbers are given one after the other. */
  if (id < 1 || id > db->last_actor + 1 || id >= AE__ACTORS_MAX)
    return SQLITE_OK;
  if (!ae__head_names(key)) return SQLITE_OK;
  *out = ae__head_make(&db->heads, key, ae_map_hash(key), id);
  (*out)->space =
      ae__space_make(db, ae__key_ref(key).ns, sqlite3_column_int64(row, 1));
  return SQLITE_OK;
}

/* Ids that cannot be fetched fail the opening: a command could take effect
 * twice. Those of a damaged record are gone; its actor is read-only. */
static int tail_ids(ae__db *db, ae__head *head, uint64_t position) {
  ae__once once;
  ae_str id;
  int code = ae__log_body(db, position);
  if (code != SQLITE_OK && code != SQLITE_CORRUPT) return code;
  if (code != SQLITE_OK ||
      ae__once_init(&once, ae_buf_view(&db->scratch), NULL) != AE_OK) {
    ae_log(AE_LOG_WARN, "the command ids of a damaged record are lost", "file",
           db->path, NULL);
    return SQLITE_OK;
  }
  head->ids = true;
  while (ae__once_next(&once, &id))
    ae__tail_id_put(&db->tail, head->id, ae__once_hash(id), position);
  return SQLITE_OK;
}

static void tail_row(ae__db *db, ae__head *head, sqlite3_stmt *row) {
  ae_stats *now = &head->space->now;
  uint64_t position = (uint64_t)sqlite3_column_int64(row, 0);
  uint64_t version = (uint64_t)sqlite3_column_int64(row, 3);
  uint64_t count = (uint64_t)sqlite3_column_int64(row, 4);
  head->version = version - 1 + count;
  head->position = position;
  ae__tail_touch(db, head);
  if (++head->commits % AE__MARK == 0) ae__tail_mark(db, head, version);
  if (sqlite3_column_type(row, 7) != SQLITE_NULL) now->actors++;
  now->commits++;
  now->events += count;
  now->bytes += (uint64_t)sqlite3_column_int64(row, 8);
  now->position = position;
  db->tail.commits++;
}

static int tail_load(ae__db *db) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_TAIL);
  sqlite3_bind_int64(select, 1, (int64_t)db->position);
  int code;
  while ((code = sqlite3_step(select)) == SQLITE_ROW) {
    ae__head *head = NULL;
    uint64_t position = (uint64_t)sqlite3_column_int64(select, 0);
    int found = tail_head(db, select, &head);
    if (found != SQLITE_OK) {
      code = found;
      break;
    }
    db->position = position;
    if (!head) {
      ae_log(AE_LOG_WARN, "a commit of an actor that is not known", "file",
             db->path, NULL);
      continue;
    }
    if (head->id > db->last_actor) db->last_actor = head->id;
    tail_row(db, head, select);
    if (sqlite3_column_int64(select, 6) == 0) continue;
    code = tail_ids(db, head, position);
    if (code != SQLITE_OK) break;
  }
  sqlite3_reset(select);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int reload(ae__db *db) {
  int64_t last = 0;
  ae__tail_clear(&db->tail);
  ae__tail_clear(&db->frozen);
  ae__heads_clear(&db->heads);
  ae__spaces_clear(db);
  db->complete = false;
  db->last_actor = 0;
  int code = state_get(db, &db->watermark, &db->generation);
  if (code == SQLITE_OK) code = spaces_load(db);
  if (code == SQLITE_OK) code = max_get(db, AE__SQL_LAST_ACTOR, &last);
  if (code == SQLITE_OK && last >= AE__ACTORS_MAX) code = SQLITE_CORRUPT;
  db->last_actor = last;
  db->position = db->watermark;
  if (code == SQLITE_OK) code = tail_load(db);
  if (code == SQLITE_OK && db->last_actor == 0) db->complete = db->writer;
  if (code != SQLITE_OK) db->generation = UINT64_MAX; /* to be done again */
  return code;
}

static int in_read(ae__db *db, int (*what)(ae__db *db)) {
  int code = ae__sql_run(db, AE__SQL_BEGIN_READ);
  if (code != SQLITE_OK) return code;
  code = what(db);
  if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_COMMIT);
  return code;
}

int ae__index_load(ae__db *db) {
  return in_read(db, reload);
}

int ae__index_again(ae__db *db) {
  int code = ae__sql_fault("sqlite.again");
  if (code == SQLITE_OK) code = ae__index_load(db);
  db->lost = code != SQLITE_OK;
  return code;
}

int ae__index_follow(ae__db *db) {
  uint64_t watermark, generation;
  int code = state_get(db, &watermark, &generation);
  if (code != SQLITE_OK) return code;
  return generation == db->generation ? tail_load(db) : reload(db);
}
