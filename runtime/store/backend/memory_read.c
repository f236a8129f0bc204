/* Reads, scans and look-ups in memory. Pages point into the records. */
#include "store/backend/memory.h"

#include "base/mem.h"

/* Small enough to stay in the cache: nothing is fetched from afar. */
#define PAGE 1024u

struct cursor {
  ae__handle handle; /* first */
  ae_task task;      /* deferred while `due` */
  ae_list link;      /* in memory.cursors, or in memory.waiting */
  ae_read *read;     /* either this */
  ae_scan *scan;     /* or this; both NULL: ended by the caller */
  uint64_t after;    /* position up to which pages were given */
  bool due;          /* the task is deferred */
  bool waits;        /* a live scan, for an append */
  bool told_end;     /* a live scan has given a page with `end` */
  uint64_t *found;   /* a read: positions to give, the next one last */
  size_t left, cap;  /* found[0 .. left) */
  ae_record records[PAGE];
};

static void cursor_due(struct cursor *cursor) {
  if (cursor->due) return;
  cursor->due = true;
  ae_loop_defer(cursor->handle.store->loop, &cursor->task);
}

static void cursor_free(struct cursor *cursor) {
  ae_list_remove(&cursor->link);
  ae_free(cursor->found);
  ae_free(cursor);
}

/* Puts it into the page; `*bytes` of these then. */
static void add_record(struct cursor *cursor, ae_page *page, size_t *bytes,
                       const ae__entry *entry, uint64_t position) {
  *bytes += entry->len;
  cursor->records[page->count++] =
      (ae_record){.position = position,
                  .ref = entry->actor->ref,
                  .first_version = entry->first_version,
                  .event_count = entry->events,
                  .base = entry->actor->base,
                  .bytes = {entry->bytes, entry->len}};
}

/* -- one actor -- */

static uint64_t last_version(const ae__entry *entry) {
  return entry->first_version + (entry->events ? entry->events - 1 : 0);
}

/* The commits behind `after` that hold what is wanted, from the last on. */
static void find_commits(struct cursor *cursor, const ae__memory_actor *actor) {
  const ae__memory *memory = (ae__memory *)cursor->handle.store;
  const ae_read *read = cursor->read;
  const ae__entry *entry;
  for (uint64_t at = actor->last; at > cursor->after; at = entry->before) {
    entry = ae__memory_entry(memory, at);
    if (last_version(entry) < read->from) return;
    if (!entry->bytes || entry->first_version > read->to) continue;
    if (cursor->left == cursor->cap) {
      cursor->cap = cursor->cap ? 2 * cursor->cap : 16;
      cursor->found =
          ae_realloc(cursor->found, cursor->cap * sizeof *cursor->found);
    }
    cursor->found[cursor->left++] = at;
  }
}

static bool is_full(const ae_page *page, size_t bytes, size_t most) {
  return page->count == PAGE || (most > 0 && bytes >= most);
}

static void read_fill(struct cursor *cursor, ae_page *page) {
  ae__memory *memory = (ae__memory *)cursor->handle.store;
  ae_read *read = cursor->read;
  size_t bytes = 0;
  ae__memory_actor *actor = ae__memory_actor_get(memory, &read->ref);
  page->end = true;
  if (cursor->after == 0) {
    read->latest = actor ? actor->version : 0;
    read->base = actor ? actor->base : 0;
  }
  if (!actor) return;
  for (;;) {
    if (cursor->left == 0) find_commits(cursor, actor);
    if (cursor->left == 0) return;
    if (is_full(page, bytes, read->page)) {
      page->end = false;
      return;
    }
    cursor->after = cursor->found[--cursor->left];
    ae__entry *entry = ae__memory_entry(memory, cursor->after);
    if (entry->bytes) /* not trimmed since it was found */
      add_record(cursor, page, &bytes, entry, cursor->after);
  }
}

/* -- a namespace -- */

static void scan_fill(struct cursor *cursor, ae_page *page) {
  ae__memory *memory = (ae__memory *)cursor->handle.store;
  ae_scan *scan = cursor->scan;
  size_t bytes = 0;
  ae__space *space =
      scan->ns.ptr ? ae__memory_space_get(memory, scan->ns) : NULL;
  bool all = !scan->ns.ptr;
  uint64_t last =
      scan->until < memory->position ? scan->until : memory->position;
  while (cursor->after < last) {
    if (is_full(page, bytes, scan->page)) return;
    ae__entry *entry = ae__memory_entry(memory, cursor->after + 1);
    cursor->after++;
    if (entry->bytes && (all || entry->actor->space == space))
      add_record(cursor, page, &bytes, entry, cursor->after);
  }
  page->end = true;
}

/* -- pages -- */

static void wait(struct cursor *cursor) {
  ae__memory *memory = (ae__memory *)cursor->handle.store;
  cursor->waits = true;
  ae_list_remove(&cursor->link);
  ae_list_push(&memory->waiting, &cursor->link);
}

static void cursor_answer(struct cursor *cursor, ae_status status,
                          const ae_page *page) {
  ae_read *read = cursor->read;
  ae_scan *scan = cursor->scan;
  bool over = status != AE_OK || (page->end && !(scan && scan->live));
  if (over) {
    if (read) read->impl = NULL;
    if (scan) scan->impl = NULL;
    ae_list_remove(&cursor->link); /* no close within finds it */
  }
  ae_error err = {0};
  if (status == AE_CANCELED)
    ae_error_set(&err, status, "the store was closed meanwhile");
  const ae_error *said = status == AE_OK ? NULL : &err;
  if (read)
    read->cb(read, status, page, said);
  else
    scan->cb(scan, status, page, said);
  ae_error_clear(&err);
  /* The cursor outlives the callback: read_end only marks it. */
  if (over) cursor_free(cursor);
}

static void cursor_run(ae_task *task) {
  struct cursor *cursor = AE_CONTAINER(task, struct cursor, task);
  cursor->due = false;
  if (!cursor->read && !cursor->scan) {
    cursor_free(cursor);
    return;
  }
  ae_page page = {.records = cursor->records};
  if (cursor->handle.store->closing) {
    cursor_answer(cursor, AE_CANCELED, &page);
    return;
  }
  if (cursor->read) {
    read_fill(cursor, &page);
  } else {
    scan_fill(cursor, &page);
    if (cursor->scan->live && page.count == 0 && cursor->told_end) {
      wait(cursor);
      return;
    }
    cursor->told_end |= page.end;
  }
  cursor_answer(cursor, AE_OK, &page);
}

void ae__memory_wake(ae__memory *memory) {
  while (!ae_list_empty(&memory->waiting)) {
    struct cursor *cursor =
        AE_CONTAINER(memory->waiting.next, struct cursor, link);
    ae_list_remove(&cursor->link);
    ae_list_push(&memory->cursors, &cursor->link);
    cursor->waits = false;
    cursor_due(cursor);
  }
}

void ae__memory_cancel(ae__memory *memory) {
  ae__memory_wake(memory);
  for (ae_list *link = memory->cursors.next; link != &memory->cursors;
       link = link->next)
    cursor_due(AE_CONTAINER(link, struct cursor, link));
}

static struct cursor *cursor_new(ae_store *store) {
  ae__memory *memory = (ae__memory *)store;
  struct cursor *cursor = ae_alloc(sizeof *cursor);
  memset(cursor, 0, offsetof(struct cursor, records));
  cursor->handle.store = store;
  cursor->task.run = cursor_run;
  ae_list_init(&cursor->link);
  ae_list_push(&memory->cursors, &cursor->link);
  return cursor;
}

static void cursor_end(struct cursor *cursor) {
  cursor->read = NULL;
  cursor->scan = NULL;
  cursor_due(cursor);
}

ae_status ae__memory_read(ae_store *store, ae_read *read, ae_error *err) {
  (void)err;
  struct cursor *cursor = cursor_new(store);
  cursor->read = read;
  read->impl = cursor;
  cursor_due(cursor);
  return AE_OK;
}

void ae__memory_read_more(ae_read *read) {
  cursor_due(read->impl);
}

void ae__memory_read_end(ae_read *read) {
  cursor_end(read->impl);
  read->impl = NULL;
}

ae_status ae__memory_scan(ae_store *store, ae_scan *scan, ae_error *err) {
  (void)err;
  struct cursor *cursor = cursor_new(store);
  cursor->scan = scan;
  cursor->after = scan->after;
  scan->impl = cursor;
  cursor_due(cursor);
  return AE_OK;
}

void ae__memory_scan_more(ae_scan *scan) {
  cursor_due(scan->impl);
}

void ae__memory_scan_end(ae_scan *scan) {
  cursor_end(scan->impl);
  scan->impl = NULL;
}

/* -- look-ups -- */

static void lookup_run(ae_task *task) {
  ae_lookup *lookup = AE_CONTAINER(task, ae_lookup, task);
  ae__memory *memory = lookup->impl;
  ae__memory_actor *actor = ae__memory_actor_get(memory, &lookup->ref);
  lookup->impl = NULL;
  lookup->version = actor ? actor->version : 0;
  lookup->last = actor ? actor->last : 0;
  lookup->position = 0;
  lookup->record = (ae_str){0};
  if (actor && lookup->command_id.ptr)
    lookup->position = ae__memory_id_get(memory, actor, lookup->command_id);
  if (lookup->position > 0 && lookup->position < UINT64_MAX) {
    ae__entry *entry = ae__memory_entry(memory, lookup->position);
    if (entry->bytes) lookup->record = (ae_str){entry->bytes, entry->len};
  }
  lookup->cb(lookup, AE_OK, NULL);
}

ae_status ae__memory_lookup(ae_store *store, ae_lookup *lookup, ae_error *err) {
  (void)err;
  lookup->impl = store;
  lookup->task.run = lookup_run;
  ae_loop_defer(store->loop, &lookup->task);
  return AE_OK;
}
