/* What the store thread does with a batch of requests. */
#include "base/mem.h"
#include "store/backend/sqlite.h"

struct tasks {
  ae_task *first;
  ae_task **last;
};

static void tasks_init(struct tasks *tasks) {
  tasks->first = NULL;
  tasks->last = &tasks->first;
}

static void tasks_add(struct tasks *tasks, ae_task *task) {
  task->next = NULL;
  *tasks->last = task;
  tasks->last = &task->next;
}

static void tasks_answer(ae__sqlite *store, struct tasks *tasks) {
  if (!tasks->first) return;
  ae_task *last = AE_CONTAINER(tasks->last, ae_task, next);
  ae_loop_post_all(store->store.loop, tasks->first, last);
}

static ae__cursor *cursor_of(ae__request *request) {
  return AE_CONTAINER(request, ae__cursor, request);
}

static bool is_page(const ae__request *request) {
  return request->kind == AE__READ_PAGE || request->kind == AE__SCAN_PAGE;
}

static void read_run(ae__db *db, ae__request *request) {
  switch (request->kind) {
    case AE__READ_PAGE:
      ae__read_page(db, cursor_of(request));
      break;
    case AE__SCAN_PAGE:
      ae__scan_page(db, cursor_of(request));
      break;
    case AE__LOOKUP:
      ae__read_lookup(db, request);
      break;
    case AE__SNAPSHOT_LOAD:
      ae__rows_snapshot_load(db, request);
      break;
    case AE__ROWS_READ:
      ae__rows_read(db, request);
      break;
    case AE__BASES:
      ae__bases_read(db, request);
      break;
    default:
      AE_ASSERT_CMP(request->kind, ==, AE__STATS);
      ae__rows_stats(db, request);
      break;
  }
}

static void read_fail(ae__db *db, ae__request *request, int code) {
  ae_error *error = &request->error;
  ae_status *status = &request->status;
  if (is_page(request)) {
    ae__cursor *cursor = cursor_of(request);
    cursor->pages[cursor->at].count = 0;
    error = &cursor->pages[cursor->at].error;
    status = &cursor->pages[cursor->at].status;
  }
  *status = ae__sql_error(db, code, "read", error);
}

/* All in one view of the file; where that is still, in that of the first. */
static int reads_try(ae__db *db, ae_task *first) {
  bool begun = !sqlite3_get_autocommit(db->sqlite);
  int code = begun ? SQLITE_OK : ae__sql_run(db, AE__SQL_BEGIN_READ);
  if (code == SQLITE_OK && !db->writer && !begun) code = ae__index_follow(db);
  for (ae_task *task = first; task && code == SQLITE_OK; task = task->next) {
    ae__request *request = AE_CONTAINER(task, ae__request, task);
    if (is_page(request)) {
      ae__cursor *cursor = cursor_of(request);
      cursor->was_after = cursor->after;
      cursor->was_version_after = cursor->version_after;
      cursor->was_version_next = cursor->version_next;
    }
    read_run(db, request);
  }
  if (!db->still && !sqlite3_get_autocommit(db->sqlite))
    ae__sql_run(db, AE__SQL_COMMIT);
  return code;
}

static void reads_again(ae_task *first) {
  for (ae_task *task = first; task; task = task->next) {
    ae__request *request = AE_CONTAINER(task, ae__request, task);
    if (!is_page(request)) continue;
    ae__cursor *cursor = cursor_of(request);
    cursor->after = cursor->was_after;
    cursor->version_after = cursor->was_version_after;
    cursor->version_next = cursor->was_version_next;
  }
}

static void reads_run(ae__db *db, ae_task *first) {
  int code = SQLITE_OK;
  /* The moment that was begun cannot be had again. */
  bool once = db->still && !sqlite3_get_autocommit(db->sqlite);
  if (ae__sql_stale(db)) code = once ? SQLITE_BUSY : ae__sql_reopen(db);
  if (code == SQLITE_OK) code = reads_try(db, first);
  while (code == SQLITE_OK && ae__sql_stale(db)) {
    reads_again(first);
    code = once ? SQLITE_BUSY : ae__sql_reopen(db);
    if (code == SQLITE_OK) code = reads_try(db, first);
  }
  if (code == SQLITE_OK) return;
  for (ae_task *task = first; task; task = task->next)
    read_fail(db, AE_CONTAINER(task, ae__request, task), code);
}

static void alone_run(ae__db *db, ae__request *request) {
  ae__trimming *trimming;
  switch (request->kind) {
    case AE__TRIM:
      trimming = AE_CONTAINER(request, ae__trimming, request);
      trimming->more = ae__trim(db, request, &trimming->after);
      break;
    case AE__COPY:
      ae__copy_slice(db, request);
      break;
    case AE__DELETE:
      ae__delete(db, request);
      break;
    case AE__MEND:
      ae__mend(db, request);
      break;
    case AE__COMPACT:
      ae__compact(db, request);
      break;
    default:
      AE_ASSERT_CMP(request->kind, ==, AE__INSPECT);
      ae__inspect(db, request);
      break;
  }
}

static void close_run(ae__db *db) {
  if (db->writer && !db->passing) {
    ae__index_all(db);
    ae__log_checkpoint(db, true);
  }
  ae__sql_close(db);
}

/* Reads first, so that they do not wait for a sync; then the writes. */
void ae__thread_handle(void *data, ae_task *batch) {
  ae__sqlite *store = data;
  ae__db *db = &store->db;
  struct tasks reads, writes, alone;
  bool closing = false;
  tasks_init(&reads);
  tasks_init(&writes);
  tasks_init(&alone);
  while (batch) {
    ae_task *next = batch->next;
    ae__kind kind = AE_CONTAINER(batch, ae__request, task)->kind;
    if (kind == AE__CLOSE)
      closing = true;
    else
      tasks_add(kind < AE__TRIM        ? &writes
                : kind < AE__READ_PAGE ? &alone
                                       : &reads,
                batch);
    batch = next;
  }
  if (reads.first) reads_run(db, reads.first);
  tasks_answer(store, &reads);
  if (writes.first) ae__log_write(store, writes.first);
  tasks_answer(store, &writes);
  for (ae_task *task = alone.first; task; task = task->next)
    alone_run(db, AE_CONTAINER(task, ae__request, task));
  tasks_answer(store, &alone);
  if (closing) {
    close_run(db);
    ae_loop_post(store->store.loop, &store->close.task);
    return;
  }
  if (db->writer) ae__log_checkpoint(db, false);
  ae__heads_sweep(db);
}
