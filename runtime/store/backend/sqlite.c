/* The SQLite backend on the loop thread: requests go to the store thread,
 * answers come back; and what the store thread does with a batch of them. */
#include "store/backend/sqlite.h"

#include "base/mem.h"

#define SPIN_US 100 /* a wake-up of the other core costs a third of that */
#define LOOK_MS 25  /* how often a reader looks for what others stored */

static ae__sqlite *sqlite_of(ae_store *store) {
  return (ae__sqlite *)store;
}

/* -- the store thread -- */

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

/* All in one view of the file. */
static int reads_try(ae__db *db, ae_task *first) {
  int code = ae__sql_run(db, AE__SQL_BEGIN_READ);
  if (code == SQLITE_OK && !db->writer) code = ae__index_follow(db);
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
  if (!sqlite3_get_autocommit(db->sqlite)) ae__sql_run(db, AE__SQL_COMMIT);
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
  if (ae__sql_stale(db)) code = ae__sql_reopen(db);
  if (code == SQLITE_OK) code = reads_try(db, first);
  while (code == SQLITE_OK && ae__sql_stale(db)) {
    reads_again(first);
    code = ae__sql_reopen(db);
    if (code == SQLITE_OK) code = reads_try(db, first);
  }
  if (code == SQLITE_OK) return;
  for (ae_task *task = first; task; task = task->next)
    read_fail(db, AE_CONTAINER(task, ae__request, task), code);
}

static void close_run(ae__db *db) {
  if (db->writer) {
    ae__index_all(db);
    ae__log_checkpoint(db, true);
  }
  ae__sql_close(db);
}

/* Reads first, so that they do not wait for a sync; then the writes. */
static void handle(void *data, ae_task *batch) {
  ae__sqlite *store = data;
  ae__db *db = &store->db;
  struct tasks reads, writes, trims;
  bool closing = false;
  tasks_init(&reads);
  tasks_init(&writes);
  tasks_init(&trims);
  while (batch) {
    ae_task *next = batch->next;
    ae__kind kind = AE_CONTAINER(batch, ae__request, task)->kind;
    if (kind == AE__CLOSE)
      closing = true;
    else
      tasks_add(kind < AE__TRIM    ? &writes
                : kind == AE__TRIM ? &trims
                                   : &reads,
                batch);
    batch = next;
  }
  if (reads.first) reads_run(db, reads.first);
  tasks_answer(store, &reads);
  if (writes.first) ae__log_write(store, writes.first);
  tasks_answer(store, &writes);
  for (ae_task *task = trims.first; task; task = task->next) {
    ae__trimming *trimming = AE_CONTAINER(task, ae__trimming, request.task);
    trimming->more = ae__trim(db, &trimming->request, &trimming->after);
  }
  tasks_answer(store, &trims);
  if (closing) {
    close_run(db);
    ae_loop_post(store->store.loop, &store->close.task);
    return;
  }
  if (db->writer) ae__log_checkpoint(db, false);
  ae__heads_sweep(db);
}

/* -- the loop thread: requests -- */

static void push(ae__sqlite *store, ae__request *request) {
  ae_loop_hold(store->store.loop);
  ae_worker_push(store->worker, &request->task);
}

static ae__request *request_new(ae_store *store, ae__kind kind, void *of,
                                void (*answer)(ae_task *task)) {
  ae__request *request = ae_zalloc(sizeof *request);
  request->kind = kind;
  request->store = sqlite_of(store);
  request->of = of;
  request->task.run = answer;
  return request;
}

/* The answer's request; the hold is given back. */
static ae__request *answered(ae_task *task) {
  ae__request *request = AE_CONTAINER(task, ae__request, task);
  ae_loop_release(request->store->store.loop);
  return request;
}

static void request_free(ae__request *request) {
  ae_error_clear(&request->error);
  ae_buf_clear(&request->text);
  ae_free(request);
}

static const ae_error *said(const ae__request *request) {
  return request->status == AE_OK ? NULL : &request->error;
}

/* -- pages -- */

static void cursor_page(ae__cursor *cursor) {
  cursor->under_way = true;
  push(sqlite_of(cursor->handle.store), &cursor->request);
}

static void cursor_free(ae__cursor *cursor) {
  for (int i = 0; i < 2; i++) {
    ae_free(cursor->pages[i].records);
    ae_buf_clear(&cursor->pages[i].bytes);
    ae_error_clear(&cursor->pages[i].error);
  }
  ae_list_remove(&cursor->link);
  ae_free(cursor);
}

/* Nobody wants it, and nobody holds it. */
static bool cursor_over(ae__cursor *cursor) {
  if (cursor->read || cursor->scan) return false;
  if (!cursor->under_way && !cursor->due && !cursor->busy) cursor_free(cursor);
  return true;
}

static void cursor_due(ae__cursor *cursor) {
  if (cursor->due) return;
  cursor->due = true;
  ae_loop_defer(cursor->handle.store->loop, &cursor->deliver);
}

static void cursor_call(ae__cursor *cursor, ae_status status,
                        const ae_page *page, const ae_error *err) {
  ae_read *read = cursor->read;
  ae_scan *scan = cursor->scan;
  if (status != AE_OK || (page->end && !(scan && scan->live))) {
    cursor->read = NULL;
    cursor->scan = NULL;
    if (read) read->impl = NULL;
    if (scan) scan->impl = NULL;
  }
  cursor->busy = true;
  if (read)
    read->cb(read, status, page, err);
  else
    scan->cb(scan, status, page, err);
  cursor->busy = false;
  if (cursor_over(cursor) || !cursor->wanted) return;
  if (cursor->ready)
    cursor_due(cursor);
  else if (!cursor->under_way)
    cursor_page(cursor);
}

static void cursor_cancel(ae__cursor *cursor) {
  ae_page none = {0};
  ae_error err = {0};
  ae_error_set(&err, AE_CANCELED, "the store was closed meanwhile");
  cursor_call(cursor, AE_CANCELED, &none, &err);
  ae_error_clear(&err);
}

/* Gives the page that is ready, and has the next one filled meanwhile. */
static void cursor_give(ae__cursor *cursor) {
  ae__sql_page *filled = &cursor->pages[cursor->at];
  ae_page page = {
      .records = filled->records, .count = filled->count, .end = filled->end};
  cursor->ready = cursor->wanted = false;
  if (cursor->read && cursor->was_after == 0) {
    cursor->read->latest = filled->latest;
    cursor->read->base = filled->base;
  }
  if (cursor->scan) {
    cursor->told_end |= page.end;
    cursor->at = !cursor->at;
    if (filled->status == AE_OK && !page.end) cursor_page(cursor);
  }
  cursor_call(cursor, filled->status, &page,
              filled->status == AE_OK ? NULL : &filled->error);
}

static void on_timer(uv_timer_t *timer);

static void cursor_wait(ae__cursor *cursor) {
  ae__sqlite *store = sqlite_of(cursor->handle.store);
  ae_list_remove(&cursor->link);
  ae_list_push(&store->waiting, &cursor->link);
  if (store->store.mode == AE_STORE_READ &&
      !uv_is_active((uv_handle_t *)&store->timer))
    uv_timer_start(&store->timer, on_timer, LOOK_MS, 0);
}

static void on_page(ae_task *task) {
  ae__cursor *cursor = cursor_of(answered(task));
  cursor->under_way = false;
  if (cursor_over(cursor)) return;
  if (cursor->handle.store->closing) {
    if (!cursor->due) cursor_cancel(cursor);
    return;
  }
  const ae__sql_page *page = &cursor->pages[cursor->at];
  if (page->status == AE_OK && page->count == 0) {
    if (!page->end) {
      cursor_page(cursor);
      return;
    }
    if (cursor->scan && cursor->scan->live && cursor->told_end) {
      cursor_wait(cursor);
      return;
    }
  }
  cursor->ready = true;
  if (cursor->wanted) cursor_give(cursor);
}

static void on_deliver(ae_task *task) {
  ae__cursor *cursor = AE_CONTAINER(task, ae__cursor, deliver);
  cursor->due = false;
  if (cursor_over(cursor)) return;
  if (cursor->handle.store->closing) {
    if (!cursor->under_way) cursor_cancel(cursor);
  } else if (cursor->ready && cursor->wanted) {
    cursor_give(cursor);
  }
}

/* Live scans look again. */
static void wake(ae__sqlite *store) {
  while (!ae_list_empty(&store->waiting)) {
    ae__cursor *cursor = AE_CONTAINER(store->waiting.next, ae__cursor, link);
    ae_list_remove(&cursor->link);
    ae_list_push(&store->cursors, &cursor->link);
    cursor_page(cursor);
  }
}

static void on_timer(uv_timer_t *timer) {
  wake(timer->data);
}

/* In its callback the page is still looked at: cursor_call goes on. */
static void cursor_more(ae__cursor *cursor) {
  cursor->wanted = true;
  if (cursor->busy) return;
  if (cursor->ready)
    cursor_due(cursor);
  else if (!cursor->under_way)
    cursor_page(cursor);
}

static void cursor_end(ae__cursor *cursor) {
  cursor->read = NULL;
  cursor->scan = NULL;
  cursor_over(cursor);
}

static ae__cursor *cursor_new(ae_store *store, ae__kind kind) {
  ae__cursor *cursor = ae_zalloc(sizeof *cursor);
  cursor->handle.store = store;
  cursor->request.kind = kind;
  cursor->request.store = sqlite_of(store);
  cursor->request.task.run = on_page;
  cursor->deliver.run = on_deliver;
  cursor->wanted = true;
  ae_list_init(&cursor->link);
  ae_list_push(&sqlite_of(store)->cursors, &cursor->link);
  return cursor;
}

static ae_status sqlite_read(ae_store *store, ae_read *read, ae_error *err) {
  (void)err;
  ae__cursor *cursor = cursor_new(store, AE__READ_PAGE);
  cursor->read = read;
  ae__key_of(&cursor->key, &read->ref);
  cursor->from = read->from;
  cursor->to = read->to;
  read->impl = cursor;
  cursor_page(cursor);
  return AE_OK;
}

static void sqlite_read_more(ae_read *read) {
  cursor_more(read->impl);
}

static void sqlite_read_end(ae_read *read) {
  ae__cursor *cursor = read->impl;
  read->impl = NULL;
  cursor_end(cursor);
}

static ae_status sqlite_scan(ae_store *store, ae_scan *scan, ae_error *err) {
  (void)err;
  ae__cursor *cursor = cursor_new(store, AE__SCAN_PAGE);
  cursor->scan = scan;
  cursor->key.len = scan->ns.len;
  if (scan->ns.len > 0) memcpy(cursor->key.bytes, scan->ns.ptr, scan->ns.len);
  cursor->after = scan->after;
  cursor->to = scan->until;
  scan->impl = cursor;
  cursor_page(cursor);
  return AE_OK;
}

static void sqlite_scan_more(ae_scan *scan) {
  cursor_more(scan->impl);
}

static void sqlite_scan_end(ae_scan *scan) {
  ae__cursor *cursor = scan->impl;
  scan->impl = NULL;
  cursor_end(cursor);
}

/* -- appends -- */

static void on_appends(ae_task *task) {
  ae__appends *appends = AE_CONTAINER(answered(task), ae__appends, request);
  ae__sqlite *store = appends->request.store;
  ae_task *next = appends->first;
  appends->next = store->pool;
  store->pool = appends;
  while (next) {
    ae_append *append = AE_CONTAINER(next, ae_append, task);
    next = next->next;
    ae__append_answer(append);
  }
  if (!store->store.closing) wake(store);
}

static ae__appends *appends_take(ae__sqlite *store) {
  ae__appends *appends = store->pool;
  if (appends) {
    store->pool = appends->next;
  } else {
    appends = ae_zalloc(sizeof *appends);
    appends->request.kind = AE__APPENDS;
    appends->request.store = store;
    appends->request.task.run = on_appends;
  }
  appends->first = NULL;
  appends->last = &appends->first;
  appends->count = 0;
  return appends;
}

static void sqlite_flush(ae_store *store) {
  ae__sqlite *sqlite = sqlite_of(store);
  if (!sqlite->filling) return;
  push(sqlite, &sqlite->filling->request);
  sqlite->filling = NULL;
}

static ae_status sqlite_append(ae_store *store, ae_append *append,
                               ae_error *err) {
  (void)err;
  ae__sqlite *sqlite = sqlite_of(store);
  if (!sqlite->filling) sqlite->filling = appends_take(sqlite);
  ae__appends *appends = sqlite->filling;
  append->task.next = NULL;
  *appends->last = &append->task;
  appends->last = &append->task.next;
  appends->count++;
  if (store->corked == 0 || appends->count >= sqlite->group)
    sqlite_flush(store);
  return AE_OK;
}

/* -- other writes -- */

static void on_write(ae_task *task) {
  ae__request *request = answered(task);
  ae_write *write = request->of;
  write->impl = NULL;
  write->cb(write, request->status, said(request));
  request_free(request);
}

static ae_status sqlite_save_snapshot(ae_store *store,
                                      ae_snapshot_write *snapshot,
                                      ae_error *err) {
  (void)err;
  ae__request *request =
      request_new(store, AE__SNAPSHOT_SAVE, &snapshot->write, on_write);
  ae__key key;
  ae__key_of(&key, &snapshot->ref);
  ae_buf_add(&request->text, &key.len, sizeof key.len);
  ae_buf_add(&request->text, key.bytes, key.len);
  ae_buf_str(&request->text, snapshot->state);
  push(sqlite_of(store), request);
  return AE_OK;
}

static ae_status sqlite_put_rows(ae_store *store, ae_rows_write *rows,
                                 ae_error *err) {
  (void)err;
  push(sqlite_of(store),
       request_new(store, AE__ROWS_PUT, &rows->write, on_write));
  return AE_OK;
}

static void on_trim(ae_task *task) {
  ae__trimming *trimming = AE_CONTAINER(answered(task), ae__trimming, request);
  ae__request *request = &trimming->request;
  if (trimming->more && !request->store->store.closing) {
    push(request->store, request);
    return;
  }
  if (trimming->more)
    request->status = ae_error_set(&request->error, AE_CANCELED,
                                   "the store was closed meanwhile");
  ae_write *write = request->of;
  write->impl = NULL;
  write->cb(write, request->status, said(request));
  ae_error_clear(&request->error);
  ae_free(trimming);
}

static ae_status sqlite_trim(ae_store *store, ae_trim *trim, ae_error *err) {
  (void)err;
  ae__trimming *trimming = ae_zalloc(sizeof *trimming);
  trimming->request.kind = AE__TRIM;
  trimming->request.store = sqlite_of(store);
  trimming->request.of = &trim->write;
  trimming->request.task.run = on_trim;
  push(sqlite_of(store), &trimming->request);
  return AE_OK;
}

/* -- other reads -- */

static void on_lookup(ae_task *task) {
  ae__request *request = answered(task);
  ae_lookup *lookup = request->of;
  lookup->impl = NULL;
  lookup->record = ae_buf_view(&request->text);
  lookup->cb(lookup, request->status, said(request));
  request_free(request);
}

static ae_status sqlite_lookup(ae_store *store, ae_lookup *lookup,
                               ae_error *err) {
  (void)err;
  push(sqlite_of(store), request_new(store, AE__LOOKUP, lookup, on_lookup));
  return AE_OK;
}

static void on_snapshot(ae_task *task) {
  ae__request *request = answered(task);
  ae_snapshot_read *read = request->of;
  read->impl = NULL;
  read->state = ae_buf_view(&request->text);
  read->cb(read, request->status, said(request));
  request_free(request);
}

static ae_status sqlite_load_snapshot(ae_store *store, ae_snapshot_read *read,
                                      ae_error *err) {
  (void)err;
  push(sqlite_of(store),
       request_new(store, AE__SNAPSHOT_LOAD, read, on_snapshot));
  return AE_OK;
}

static void on_rows(ae_task *task) {
  ae__request *request = answered(task);
  ae_rows_read *read = request->of;
  ae_row *rows = NULL;
  uint32_t count = 0, cap = 0;
  for (size_t at = 0; at < request->text.len; count++) {
    if (count == cap) {
      cap = cap ? 2 * cap : 16;
      rows = ae_realloc(rows, cap * sizeof *rows);
    }
    size_t lens[2];
    const char *text = request->text.ptr + at;
    memcpy(lens, text, sizeof lens);
    text += sizeof lens;
    rows[count] = (ae_row){{text, lens[0]}, {text + lens[0], lens[1]}};
    at += sizeof lens + lens[0] + lens[1];
  }
  read->impl = NULL;
  read->cb(read, request->status, rows, count, said(request));
  ae_free(rows);
  request_free(request);
}

static ae_status sqlite_read_rows(ae_store *store, ae_rows_read *read,
                                  ae_error *err) {
  (void)err;
  push(sqlite_of(store), request_new(store, AE__ROWS_READ, read, on_rows));
  return AE_OK;
}

static void on_stats(ae_task *task) {
  ae__request *request = answered(task);
  ae_stats_read *read = request->of;
  read->impl = NULL;
  read->cb(read, request->status, said(request));
  request_free(request);
}

static ae_status sqlite_stats(ae_store *store, ae_stats_read *read,
                              ae_error *err) {
  (void)err;
  push(sqlite_of(store), request_new(store, AE__STATS, read, on_stats));
  return AE_OK;
}

/* -- open and close -- */

static ae_status sqlite_open(ae_loop *loop, const ae_store_options *options,
                             const char *path, ae_store **out, ae_error *err) {
  if (*path == '\0')
    return ae_error_set(err, AE_USAGE,
                        "a store in SQLite needs a file: sqlite:FILE");
  ae__sqlite *store = ae_zalloc(sizeof *store);
  store->store.backend = &ae__sqlite_backend;
  store->store.loop = loop;
  store->store.mode = options->mode;
  store->group = options->group ? options->group : AE__GROUP;
  ae_list_init(&store->cursors);
  ae_list_init(&store->waiting);
  ae_status status = ae__sql_open(&store->db, path, options->mode, err);
  if (status == AE_OK)
    status = ae_worker_start(&store->worker, "aether-store", SPIN_US, handle,
                             store, err);
  if (status != AE_OK) {
    ae__sql_close(&store->db);
    ae_free(store);
    return status;
  }
  uv_timer_init(&loop->uv, &store->timer);
  store->timer.data = store;
  *out = &store->store;
  return AE_OK;
}

static void sqlite_free(ae__sqlite *store) {
  void (*closed)(void *data) = store->closed;
  void *data = store->closed_data;
  while (store->pool) {
    ae__appends *appends = store->pool;
    store->pool = appends->next;
    ae_free(appends);
  }
  ae_free(store);
  closed(data);
}

static void on_timer_closed(uv_handle_t *timer) {
  sqlite_free(timer->data);
}

/* A cursor that the caller has not ended is still to be told. */
static void close_finish(ae_task *task) {
  ae__sqlite *store = AE_CONTAINER(task, ae__sqlite, close.task);
  ae_worker_stop(store->worker);
  while (!ae_list_empty(&store->cursors))
    cursor_cancel(AE_CONTAINER(store->cursors.next, ae__cursor, link));
  uv_close((uv_handle_t *)&store->timer, on_timer_closed);
}

/* The last answer: all requests before it were answered. What was deferred
 * before still comes first. */
static void on_closed(ae_task *task) {
  ae__sqlite *store = answered(task)->store;
  store->close.task.run = close_finish;
  ae_loop_defer(store->store.loop, &store->close.task);
}

static void sqlite_close(ae_store *store, void (*cb)(void *data), void *data) {
  ae__sqlite *sqlite = sqlite_of(store);
  sqlite->closed = cb;
  sqlite->closed_data = data;
  while (!ae_list_empty(&sqlite->waiting)) {
    ae_list *link = ae_list_shift(&sqlite->waiting);
    ae_list_push(&sqlite->cursors, link);
  }
  for (ae_list *link = sqlite->cursors.next; link != &sqlite->cursors;
       link = link->next) {
    ae__cursor *cursor = AE_CONTAINER(link, ae__cursor, link);
    if (!cursor->under_way) cursor_due(cursor);
  }
  sqlite->close.kind = AE__CLOSE;
  sqlite->close.store = sqlite;
  sqlite->close.task.run = on_closed;
  push(sqlite, &sqlite->close);
}

const ae_backend ae__sqlite_backend = {
    .scheme = "sqlite",
    .promise = "is fsynced",
    .open = sqlite_open,
    .close = sqlite_close,
    .append = sqlite_append,
    .flush = sqlite_flush,
    .read = sqlite_read,
    .read_more = sqlite_read_more,
    .read_end = sqlite_read_end,
    .scan = sqlite_scan,
    .scan_more = sqlite_scan_more,
    .scan_end = sqlite_scan_end,
    .lookup = sqlite_lookup,
    .load_snapshot = sqlite_load_snapshot,
    .read_rows = sqlite_read_rows,
    .stats = sqlite_stats,
    .save_snapshot = sqlite_save_snapshot,
    .put_rows = sqlite_put_rows,
    .trim = sqlite_trim,
};
