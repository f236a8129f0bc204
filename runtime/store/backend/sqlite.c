/* The SQLite backend on the loop thread: requests go to the store thread,
 * answers come back. */
#include "store/backend/sqlite.h"

#include "base/mem.h"

#define SPIN_US 100 /* a wake-up of the other core costs a third of that */

/* -- the loop thread: requests -- */

void ae__push(ae__sqlite *store, ae__request *request) {
  ae_loop_hold(store->store.loop);
  ae_worker_push(store->worker, &request->task);
}

ae__request *ae__request_new(ae_store *store, ae__kind kind, void *of,
                             void (*answer)(ae_task *task)) {
  ae__request *request = ae_zalloc(sizeof *request);
  request->kind = kind;
  request->store = ae__sqlite_of(store);
  request->of = of;
  request->task.run = answer;
  return request;
}

/* The answer's request; the hold is given back. */
ae__request *ae__answered(ae_task *task) {
  ae__request *request = AE_CONTAINER(task, ae__request, task);
  ae_loop_release(request->store->store.loop);
  return request;
}

void ae__request_free(ae__request *request) {
  ae_error_clear(&request->error);
  ae_buf_clear(&request->text);
  ae_free(request);
}

static const ae_error *said(const ae__request *request) {
  return request->status == AE_OK ? NULL : &request->error;
}

/* -- appends -- */

static void on_appends(ae_task *task) {
  ae__appends *appends = AE_CONTAINER(ae__answered(task), ae__appends, request);
  ae__sqlite *store = appends->request.store;
  ae_task *next = appends->first;
  appends->next = store->pool;
  store->pool = appends;
  while (next) {
    ae_append *append = AE_CONTAINER(next, ae_append, task);
    next = next->next;
    ae__append_answer(&store->store, append);
  }
  if (!store->store.closing) ae__cursor_wake(store);
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
  ae__sqlite *sqlite = ae__sqlite_of(store);
  if (!sqlite->filling) return;
  ae__push(sqlite, &sqlite->filling->request);
  sqlite->filling = NULL;
}

static ae_status sqlite_append(ae_store *store, ae_append *append,
                               ae_error *err) {
  (void)err;
  ae__sqlite *sqlite = ae__sqlite_of(store);
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

void ae__on_write(ae_task *task) {
  ae__request *request = ae__answered(task);
  ae_write *write = request->of;
  write->impl = NULL;
  ae__store_wrote(&request->store->store, request->status, &request->error);
  write->cb(write, request->status, said(request));
  ae__request_free(request);
}

static ae_status sqlite_save_snapshot(ae_store *store,
                                      ae_snapshot_write *snapshot,
                                      ae_error *err) {
  (void)err;
  ae__request *request =
      ae__request_new(store, AE__SNAPSHOT_SAVE, &snapshot->write, ae__on_write);
  ae__key key;
  ae__key_of(&key, &snapshot->ref);
  ae_buf_add(&request->text, &key.len, sizeof key.len);
  ae_buf_add(&request->text, key.bytes, key.len);
  ae_buf_str(&request->text, snapshot->state);
  ae__push(ae__sqlite_of(store), request);
  return AE_OK;
}

static ae_status sqlite_put_rows(ae_store *store, ae_rows_write *rows,
                                 ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__ROWS_PUT, &rows->write, ae__on_write));
  return AE_OK;
}

static ae_status sqlite_probe(ae_store *store, ae_write *write, ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__PROBE, write, ae__on_write));
  return AE_OK;
}

static void on_trim(ae_task *task) {
  ae__trimming *trimming =
      AE_CONTAINER(ae__answered(task), ae__trimming, request);
  ae__request *request = &trimming->request;
  ae_write *write = request->of;
  ae_trim *trim = AE_CONTAINER(write, ae_trim, write);
  bool enough =
      (trim->enough && *trim->enough) || request->store->store.closing;
  if (trimming->more && !enough) {
    ae__push(request->store, request);
    return;
  }
  if (trimming->more)
    request->status =
        ae_error_set(&request->error, AE_CANCELED, "it was ended before");
  trim->after = trimming->after;
  write->impl = NULL;
  write->cb(write, request->status, said(request));
  ae_error_clear(&request->error);
  ae_free(trimming);
}

static ae_status sqlite_trim(ae_store *store, ae_trim *trim, ae_error *err) {
  (void)err;
  ae__trimming *trimming = ae_zalloc(sizeof *trimming);
  trimming->after = trim->after;
  trimming->request.kind = AE__TRIM;
  trimming->request.store = ae__sqlite_of(store);
  trimming->request.of = &trim->write;
  trimming->request.task.run = on_trim;
  ae__push(ae__sqlite_of(store), &trimming->request);
  return AE_OK;
}

/* -- other reads -- */

static void on_lookup(ae_task *task) {
  ae__request *request = ae__answered(task);
  ae_lookup *lookup = request->of;
  lookup->impl = NULL;
  lookup->record = ae_buf_view(&request->text);
  lookup->cb(lookup, request->status, said(request));
  ae__request_free(request);
}

static ae_status sqlite_lookup(ae_store *store, ae_lookup *lookup,
                               ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__LOOKUP, lookup, on_lookup));
  return AE_OK;
}

static void on_snapshot(ae_task *task) {
  ae__request *request = ae__answered(task);
  ae_snapshot_read *read = request->of;
  read->impl = NULL;
  read->state = ae_buf_view(&request->text);
  read->cb(read, request->status, said(request));
  ae__request_free(request);
}

static ae_status sqlite_load_snapshot(ae_store *store, ae_snapshot_read *read,
                                      ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__SNAPSHOT_LOAD, read, on_snapshot));
  return AE_OK;
}

static void on_rows(ae_task *task) {
  ae__request *request = ae__answered(task);
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
  ae__request_free(request);
}

static ae_status sqlite_read_rows(ae_store *store, ae_rows_read *read,
                                  ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__ROWS_READ, read, on_rows));
  return AE_OK;
}

static void on_stats(ae_task *task) {
  ae__request *request = ae__answered(task);
  ae_stats_read *read = request->of;
  read->impl = NULL;
  read->cb(read, request->status, said(request));
  ae__request_free(request);
}

static ae_status sqlite_stats(ae_store *store, ae_stats_read *read,
                              ae_error *err) {
  (void)err;
  ae__push(ae__sqlite_of(store),
           ae__request_new(store, AE__STATS, read, on_stats));
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
  store->db.passing = options->passing;
  ae_status status = ae__sql_open(&store->db, path, options->mode, err);
  store->db.still = options->still && options->mode == AE_STORE_READ;
  store->db.ordered = options->ordered;
  if (status == AE_OK && options->cache && !options->passing)
    ae__sql_relax(&store->db);
  if (status == AE_OK)
    status = ae_worker_start(&store->worker, "aether-store", SPIN_US,
                             ae__thread_handle, store, err);
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

uint64_t ae__sqlite_position(ae_store *store) {
  return ae__sqlite_of(store)->db.position;
}

ae__damage ae__sqlite_damage(ae_store *store) {
  return (ae__damage)atomic_load(&ae__sqlite_of(store)->db.damage);
}

static void sqlite_free(ae__sqlite *store) {
  void (*closed)(void *data) = store->closed;
  void *data = store->closed_data;
  while (store->pool) {
    ae__appends *appends = store->pool;
    store->pool = appends->next;
    ae_free(appends);
  }
  ae__store_clear(&store->store);
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
    ae__cursor_cancel(AE_CONTAINER(store->cursors.next, ae__cursor, link));
  uv_close((uv_handle_t *)&store->timer, on_timer_closed);
}

/* The last answer: all requests before it were answered. What was deferred
 * before still comes first. */
static void on_closed(ae_task *task) {
  ae__sqlite *store = ae__answered(task)->store;
  store->close.task.run = close_finish;
  ae_loop_defer(store->store.loop, &store->close.task);
}

static void sqlite_close(ae_store *store, void (*cb)(void *data), void *data) {
  ae__sqlite *sqlite = ae__sqlite_of(store);
  sqlite->closed = cb;
  sqlite->closed_data = data;
  while (!ae_list_empty(&sqlite->waiting)) {
    ae_list *link = ae_list_shift(&sqlite->waiting);
    ae_list_push(&sqlite->cursors, link);
  }
  for (ae_list *link = sqlite->cursors.next; link != &sqlite->cursors;
       link = link->next) {
    ae__cursor *cursor = AE_CONTAINER(link, ae__cursor, link);
    if (!cursor->under_way) ae__cursor_due(cursor);
  }
  sqlite->close.kind = AE__CLOSE;
  sqlite->close.store = sqlite;
  sqlite->close.task.run = on_closed;
  ae__push(sqlite, &sqlite->close);
}

const ae_backend ae__sqlite_backend = {
    .scheme = "sqlite",
    .promise = "is fsynced",
    .open = sqlite_open,
    .close = sqlite_close,
    .append = sqlite_append,
    .flush = sqlite_flush,
    .read = ae__sqlite_read,
    .read_more = ae__sqlite_read_more,
    .read_end = ae__sqlite_read_end,
    .scan = ae__sqlite_scan,
    .scan_more = ae__sqlite_scan_more,
    .scan_end = ae__sqlite_scan_end,
    .lookup = sqlite_lookup,
    .load_snapshot = sqlite_load_snapshot,
    .read_rows = sqlite_read_rows,
    .stats = sqlite_stats,
    .save_snapshot = sqlite_save_snapshot,
    .put_rows = sqlite_put_rows,
    .trim = sqlite_trim,
    .probe = sqlite_probe,
    .copy = ae__sqlite_copy,
    .inspect = ae__sqlite_inspect,
    .drop = ae__sqlite_delete,
    .bases = ae__sqlite_bases,
    .begin = ae__sqlite_begin,
    .mend = ae__sqlite_mend,
    .compact = ae__sqlite_compact,
    .place_take = ae__sqlite_place_take,
    .place_beside = ae__sqlite_place_beside,
    .place_fill = ae__sqlite_place_fill,
    .place_free = ae__sqlite_place_free,
};
