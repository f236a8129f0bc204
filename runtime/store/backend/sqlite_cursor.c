/* Pages of reads and scans on the loop thread.
 *
 *   asked ──► under way ──► ready ──(wanted)──► given ──► asked again
 *                │                                └─ end, error: over
 *                └─(a live scan, nothing new)──► waits ──(wake)──► under way
 *
 * 1. While a page is under way the store thread fills pages[at] and nothing
 *    else touches that.
 * 2. A scan's next page is under way before this one is given; a read's only
 *    after its callback, for it has but one page.
 * 3. A cursor that the caller ended is freed as soon as nobody holds it: no
 *    request under way, no task deferred, not in its callback. */
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define LOOK_MS 25 /* how often a reader looks for what others stored */

static ae__cursor *cursor_of(ae__request *request) {
  return AE_CONTAINER(request, ae__cursor, request);
}

static void cursor_page(ae__cursor *cursor) {
  cursor->under_way = true;
  ae__push(ae__sqlite_of(cursor->handle.store), &cursor->request);
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

void ae__cursor_due(ae__cursor *cursor) {
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
  if (cursor->handle.store->closing) return; /* that was within: it is due */
  if (cursor->ready)
    ae__cursor_due(cursor);
  else if (!cursor->under_way)
    cursor_page(cursor);
}

void ae__cursor_cancel(ae__cursor *cursor) {
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
  ae__sqlite *store = ae__sqlite_of(cursor->handle.store);
  ae_list_remove(&cursor->link);
  ae_list_push(&store->waiting, &cursor->link);
  if (store->store.mode == AE_STORE_READ &&
      !uv_is_active((uv_handle_t *)&store->timer))
    uv_timer_start(&store->timer, on_timer, LOOK_MS, 0);
}

static void on_page(ae_task *task) {
  ae__cursor *cursor = cursor_of(ae__answered(task));
  cursor->under_way = false;
  if (cursor_over(cursor)) return;
  if (cursor->handle.store->closing) {
    if (!cursor->due) ae__cursor_cancel(cursor);
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
    if (!cursor->under_way) ae__cursor_cancel(cursor);
  } else if (cursor->ready && cursor->wanted) {
    cursor_give(cursor);
  }
}

void ae__cursor_wake(ae__sqlite *store) {
  while (!ae_list_empty(&store->waiting)) {
    ae__cursor *cursor = AE_CONTAINER(store->waiting.next, ae__cursor, link);
    ae_list_remove(&cursor->link);
    ae_list_push(&store->cursors, &cursor->link);
    cursor_page(cursor);
  }
}

static void on_timer(uv_timer_t *timer) {
  ae__cursor_wake(timer->data);
}

/* In its callback the page is still looked at: cursor_call goes on. */
static void cursor_more(ae__cursor *cursor) {
  cursor->wanted = true;
  if (cursor->busy) return;
  if (cursor->ready)
    ae__cursor_due(cursor);
  else if (!cursor->under_way)
    cursor_page(cursor);
}

static void cursor_end(ae__cursor *cursor) {
  cursor->read = NULL;
  cursor->scan = NULL;
  cursor_over(cursor);
}

static ae__cursor *cursor_new(ae_store *store, ae__kind kind, size_t page) {
  ae__cursor *cursor = ae_zalloc(sizeof *cursor);
  cursor->handle.store = store;
  cursor->request.kind = kind;
  cursor->request.store = ae__sqlite_of(store);
  cursor->request.task.run = on_page;
  cursor->deliver.run = on_deliver;
  cursor->wanted = true;
  for (int i = 0; i < 2; i++)
    cursor->pages[i].most = page ? page : AE__PAGE_BYTES;
  ae_list_init(&cursor->link);
  ae_list_push(&ae__sqlite_of(store)->cursors, &cursor->link);
  return cursor;
}

ae_status ae__sqlite_read(ae_store *store, ae_read *read, ae_error *err) {
  (void)err;
  ae__cursor *cursor = cursor_new(store, AE__READ_PAGE, read->page);
  cursor->read = read;
  ae__key_of(&cursor->key, &read->ref);
  cursor->from = read->from;
  cursor->to = read->to;
  read->impl = cursor;
  cursor_page(cursor);
  return AE_OK;
}

void ae__sqlite_read_more(ae_read *read) {
  cursor_more(read->impl);
}

void ae__sqlite_read_end(ae_read *read) {
  ae__cursor *cursor = read->impl;
  read->impl = NULL;
  cursor_end(cursor);
}

ae_status ae__sqlite_scan(ae_store *store, ae_scan *scan, ae_error *err) {
  (void)err;
  ae__cursor *cursor = cursor_new(store, AE__SCAN_PAGE, scan->page);
  cursor->scan = scan;
  cursor->key.len = scan->ns.len;
  if (scan->ns.len > 0) memcpy(cursor->key.bytes, scan->ns.ptr, scan->ns.len);
  cursor->after = scan->after;
  cursor->to = scan->until;
  scan->impl = cursor;
  cursor_page(cursor);
  return AE_OK;
}

void ae__sqlite_scan_more(ae_scan *scan) {
  cursor_more(scan->impl);
}

void ae__sqlite_scan_end(ae_scan *scan) {
  ae__cursor *cursor = scan->impl;
  scan->impl = NULL;
  cursor_end(cursor);
}
