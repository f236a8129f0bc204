/* Pages of an actor's history and of the log, and look-ups. */
#include "base/log.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"

/* -- filling a page -- */

/* While a page is filled, its slices are offsets into its bytes. */
static const char *offset_of(size_t offset) {
  return (const char *)(uintptr_t)offset;
}

static void rebase(ae_str *slice, const char *bytes) {
  slice->ptr = bytes + (uintptr_t)slice->ptr;
}

static void page_seal(ae__sql_page *page) {
  for (uint32_t i = 0; i < page->count; i++) {
    ae_record *record = &page->records[i];
    rebase(&record->bytes, page->bytes.ptr);
    rebase(&record->ref.ns, page->bytes.ptr);
    rebase(&record->ref.type, page->bytes.ptr);
    rebase(&record->ref.id, page->bytes.ptr);
  }
}

static bool page_full(const ae__sql_page *page) {
  return page->count >= AE__PAGE_COMMITS || page->bytes.len >= page->most;
}

/* The next string of a record's header, as offsets from its start. */
static bool header_str(ae_str body, size_t *at, ae_str *out) {
  if (*at >= body.len) return false;
  uint8_t lead = (uint8_t)body.ptr[(*at)++];
  size_t len = lead & 0x1f;
  if (lead == 0xd9) {
    if (*at >= body.len) return false;
    len = (uint8_t)body.ptr[(*at)++];
  } else if ((lead & 0xe0) != 0xa0) {
    return false;
  }
  if (body.len - *at < len) return false;
  *out = (ae_str){offset_of(*at), len};
  *at += len;
  return true;
}

static bool same(ae_str slice, ae_str body, ae_str want) {
  return slice.len == want.len &&
         memcmp(body.ptr + (uintptr_t)slice.ptr, want.ptr, want.len) == 0;
}

static ae_ref head_ref(const ae__head *head) {
  size_t type = head->ns_len + 1u, id = type + head->type_len + 1u;
  return (ae_ref){.ns = {head->key, head->ns_len},
                  .type = {head->key + type, head->type_len},
                  .id = {head->key + id, head->len - id}};
}

/* The names as the index has them; found in the record's own header where they
 * are the same, so that nothing is copied. */
static ae_ref ref_of(ae__sql_page *page, size_t base, ae_str body,
                     const ae__head *head) {
  ae_ref ref = {0};
  size_t at = 9;
  ae_ref want = head ? head_ref(head) : ref;
  if (header_str(body, &at, &ref.ns) && header_str(body, &at, &ref.type) &&
      header_str(body, &at, &ref.id) &&
      (!head ||
       (same(ref.ns, body, want.ns) && same(ref.type, body, want.type) &&
        same(ref.id, body, want.id)))) {
    ref.ns.ptr += base;
    ref.type.ptr += base;
    ref.id.ptr += base;
    return ref;
  }
  base = page->bytes.len;
  ref = (ae_ref){
      {offset_of(base), 0}, {offset_of(base), 0}, {offset_of(base), 0}};
  if (!head) return ref;
  ae_buf_add(&page->bytes, head->key, head->len);
  ref.ns.len = want.ns.len;
  ref.type = (ae_str){offset_of(base + (size_t)(want.type.ptr - head->key)),
                      want.type.len};
  ref.id = (ae_str){offset_of(base + (size_t)(want.id.ptr - head->key)),
                    want.id.len};
  return ref;
}

static ae_record *page_next(ae__sql_page *page) {
  if (page->count == page->cap) {
    page->cap = page->cap ? 4 * page->cap : 16;
    page->records =
        ae_realloc(page->records, page->cap * sizeof *page->records);
  }
  return &page->records[page->count++];
}

/* From a row of position, ns, actor, version, count, previous, body. */
static void page_add(ae__sql_page *page, sqlite3_stmt *row,
                     const ae__head *head) {
  ae_str body = {sqlite3_column_blob(row, 6),
                 (size_t)sqlite3_column_bytes(row, 6)};
  size_t base = page->bytes.len;
  if (page->bytes.cap - base < body.len)
    ae_buf_reserve(&page->bytes, body.len + base);
  ae_buf_str(&page->bytes, body);
  ae_record *record = page_next(page);
  record->position = (uint64_t)sqlite3_column_int64(row, 0);
  record->first_version = (uint64_t)sqlite3_column_int64(row, 3);
  record->event_count = (uint32_t)sqlite3_column_int64(row, 4);
  record->base = head ? head->base : 0;
  record->bytes = (ae_str){offset_of(base), body.len};
  record->ref = ref_of(page, base, body, head);
}

static void page_begin(ae__sql_page *page) {
  page->count = 0;
  page->end = false;
  page->status = AE_OK;
  ae_buf_reset(&page->bytes);
  ae_error_clear(&page->error);
}

/* Who reads is told of the record by whoever takes it apart. */
static void look_at(ae__db *db, const ae__sql_page *page) {
  int none = AE__DAMAGE_NONE;
  for (uint32_t i = 0; i < page->count; i++)
    if (!ae_commit_is_whole(page->records[i].bytes))
      atomic_compare_exchange_strong(&db->damage, &none, AE__DAMAGE_RECORD);
}

/* What was read before an error is given first; the next page meets it. */
static void page_finish(ae__db *db, ae__sql_page *page, int code) {
  page_seal(page);
  if (db->cache) look_at(db, page);
  if (code == SQLITE_OK || page->count > 0) return;
  page->status = ae__sql_error(db, code, "read", &page->error);
}

/* -- scans -- */

/* The position of the last commit of all: db->position may be of one that was
 * deleted. */
static uint64_t last_position(const ae__db *db) {
  uint64_t last = 0;
  const ae__sql_space *space;
  for (size_t at = 0; (space = ae_map_next(&db->spaces, &at));)
    if (space->now.position > last) last = space->now.position;
  return last;
}

void ae__scan_page(ae__db *db, ae__cursor *cursor) {
  ae__sql_page *page = &cursor->pages[cursor->at];
  ae__sql_space *space = NULL;
  uint64_t stored; /* a commit that is never trimmed */
  page_begin(page);
  if (cursor->key.len > 0) {
    space = ae__space_get(db, (ae_str){cursor->key.bytes, cursor->key.len});
    stored = space ? space->now.position : 0;
  } else {
    stored = last_position(db);
  }
  uint64_t until = cursor->to < stored ? cursor->to : stored;
  if (cursor->after >= until) {
    page->end = true;
    return;
  }
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_SCAN);
  sqlite3_bind_int64(select, 1, (int64_t)cursor->after);
  sqlite3_bind_int64(select, 2, (int64_t)until);
  int code = ae__sql_fault("sqlite.read");
  for (uint32_t looked = 0; code == SQLITE_OK; looked++) {
    if (page_full(page) || looked == AE__SCAN_ROWS) break;
    code = sqlite3_step(select);
    if (code != SQLITE_ROW) break;
    /* Damaged pages give rows out of order, and rows that are nobody's. */
    code = SQLITE_CORRUPT;
    uint64_t position = (uint64_t)sqlite3_column_int64(select, 0);
    if (position <= cursor->after) break;
    code = SQLITE_OK;
    ae__sql_space *its = ae__space_get_id(db, sqlite3_column_int64(select, 1));
    if (!space || !its || its == space) {
      ae__head *head;
      code = ae__head_get_id(db, sqlite3_column_int64(select, 2), &head);
      if (code != SQLITE_OK) break;
      page_add(page, select, head);
    }
    cursor->after = position;
  }
  sqlite3_reset(select);
  if (code == SQLITE_DONE && until == stored && cursor->after != until) {
    code = SQLITE_CORRUPT;
  } else if (code == SQLITE_DONE) {
    page->end = true;
    cursor->after = until;
    code = SQLITE_OK;
  }
  page_finish(db, page, code);
}

/* -- one actor -- */

static uint64_t last_version(uint64_t version, uint64_t count) {
  return version + (count ? count - 1 : 0);
}

static void mark_nearer(ae__mark *best, const ae__mark *marks, size_t count,
                        const ae__cursor *cursor, int64_t actor,
                        uint64_t version) {
  for (size_t i = 0; i < count; i++) {
    const ae__mark *mark = &marks[i];
    if (mark->actor != actor || mark->position <= cursor->after) continue;
    if (mark->version < version) continue;
    if (best->position == 0 || mark->position < best->position) *best = *mark;
  }
}

/* Where to enter the history so that what is wanted next lies at most a mark's
 * distance below: the first mark behind it, else the actor's last commit. */
static int enter(ae__db *db, const ae__cursor *cursor, const ae__head *head,
                 uint64_t *top) {
  uint64_t version = cursor->after > 0 ? cursor->version_after : cursor->from;
  ae__mark best = {0};
  if (head->commits >= AE__MARK) {
    sqlite3_stmt *select = ae__sql(db, AE__SQL_MARK_NEXT);
    sqlite3_bind_int64(select, 1, head->id);
    sqlite3_bind_int64(select, 2, (int64_t)version);
    sqlite3_bind_int64(select, 3, (int64_t)cursor->after);
    int code = sqlite3_step(select);
    if (code == SQLITE_ROW) {
      best.version = (uint64_t)sqlite3_column_int64(select, 0);
      best.position = (uint64_t)sqlite3_column_int64(select, 1);
    }
    sqlite3_reset(select);
    if (code != SQLITE_ROW && code != SQLITE_DONE) return code;
  }
  mark_nearer(&best, db->frozen.marks, db->frozen.mark_count, cursor, head->id,
              version);
  mark_nearer(&best, db->tail.marks, db->tail.mark_count, cursor, head->id,
              version);
  *top = best.position && best.position < head->position ? best.position
                                                         : head->position;
  return SQLITE_OK;
}

static void walk_push(ae__db *db, uint64_t position) {
  if (db->walk_count == db->walk_cap) {
    db->walk_cap = db->walk_cap ? 2 * db->walk_cap : 512;
    db->walk = ae_realloc(db->walk, db->walk_cap * sizeof *db->walk);
  }
  db->walk[db->walk_count++] = position;
}

/* Down from `top` along the chain, to what was given before or to the first
 * version wanted. The records come newest first into the page, or, where they
 * are too many bytes, only their positions into db->walk (`*thin`). `*past`:
 * there are commits above those wanted. */
static int walk(ae__db *db, const ae__cursor *cursor, const ae__head *head,
                ae__sql_page *page, uint64_t top, bool *thin, bool *past) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_GET);
  uint32_t base_count = page->count;
  size_t base_bytes = page->bytes.len;
  int code = SQLITE_OK;
  db->walk_count = 0;
  for (uint64_t at = top; at > cursor->after && code == SQLITE_OK;) {
    sqlite3_bind_int64(select, 1, (int64_t)at);
    code = sqlite3_step(select);
    if (code == SQLITE_DONE) {
      /* Retention ends a history; otherwise the chain is broken. */
      code = head->base > 0 && at != top ? SQLITE_OK : SQLITE_CORRUPT;
      break;
    }
    if (code != SQLITE_ROW) break;
    uint64_t version = (uint64_t)sqlite3_column_int64(select, 3);
    uint64_t count = (uint64_t)sqlite3_column_int64(select, 4);
    uint64_t previous = (uint64_t)sqlite3_column_int64(select, 5);
    code = SQLITE_CORRUPT;
    if (sqlite3_column_int64(select, 2) != head->id || previous >= at) break;
    code = SQLITE_OK;
    if (last_version(version, count) < cursor->from) break;
    *past |= version > cursor->to;
    if (version <= cursor->to) {
      walk_push(db, at);
      if (!*thin) page_add(page, select, head);
      if (page->bytes.len - base_bytes > page->most &&
          page->count - base_count > 1) {
        *thin = true;
        page->count = base_count;
        page->bytes.len = base_bytes;
      }
    }
    at = previous;
    sqlite3_reset(select);
  }
  sqlite3_reset(select);
  return code;
}

static void reverse(ae_record *records, uint32_t count) {
  for (uint32_t i = 0; i < count / 2; i++) {
    ae_record record = records[i];
    records[i] = records[count - 1 - i];
    records[count - 1 - i] = record;
  }
}

/* Upwards along the positions of the walk, until the page is full. */
static int climb(ae__db *db, const ae__head *head, ae__sql_page *page) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_GET);
  while (db->walk_count > 0 && !page_full(page)) {
    sqlite3_bind_int64(select, 1, (int64_t)db->walk[db->walk_count - 1]);
    int code = sqlite3_step(select);
    if (code == SQLITE_ROW) page_add(page, select, head);
    sqlite3_reset(select);
    if (code != SQLITE_ROW) return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    db->walk_count--;
  }
  return SQLITE_OK;
}

/* One chunk between two marks. `*end`: the last. */
static int chunk(ae__db *db, ae__cursor *cursor, const ae__head *head,
                 ae__sql_page *page, bool *end) {
  uint64_t top = 0;
  uint32_t before = page->count;
  size_t bytes = page->bytes.len;
  bool thin = false, past = false;
  int code = enter(db, cursor, head, &top);
  if (code == SQLITE_OK) code = walk(db, cursor, head, page, top, &thin, &past);
  if (code == SQLITE_OK && !thin) {
    reverse(page->records + before, page->count - before);
    db->walk_count = 0;
  } else if (code == SQLITE_OK && before == 0) {
    code = climb(db, head, page);
  }
  if (code != SQLITE_OK) {
    page->count = before;
    page->bytes.len = bytes;
    return code;
  }
  if (page->count > before) {
    cursor->after = page->records[page->count - 1].position;
    const ae_record *last = &page->records[page->count - 1];
    cursor->version_after = last->first_version;
    cursor->version_next = last->first_version + last->event_count;
  }
  *end = db->walk_count == 0 && (past || top == head->position);
  return SQLITE_OK;
}

/* Commits that the index knows and the log has not: a record without bytes,
 * which nobody can read. */
static void page_add_missing(ae__sql_page *page, const ae__head *head,
                             uint64_t version, uint64_t behind) {
  size_t base = page->bytes.len;
  *page_next(page) = (ae_record){
      .first_version = version,
      .event_count = (uint32_t)(behind - version),
      .base = head->base,
      .bytes = {offset_of(base), 0},
      .ref = ref_of(page, base, (ae_str){0}, head),
  };
}

/* The whole log is looked through for one actor whose chain is broken. */
static int search(ae__db *db, ae__cursor *cursor, const ae__head *head,
                  ae__sql_page *page) {
  sqlite3_stmt *select = ae__sql(db, AE__SQL_LOG_ACTOR);
  sqlite3_bind_int64(select, 1, head->id);
  sqlite3_bind_int64(select, 2, (int64_t)cursor->after);
  int code = SQLITE_ROW;
  while (!page_full(page) && (code = sqlite3_step(select)) == SQLITE_ROW) {
    uint64_t version = (uint64_t)sqlite3_column_int64(select, 3);
    uint64_t count = (uint64_t)sqlite3_column_int64(select, 4);
    cursor->after = (uint64_t)sqlite3_column_int64(select, 0);
    if (last_version(version, count) < cursor->from) continue;
    if (version > cursor->to) {
      code = SQLITE_DONE;
      break;
    }
    if (version > cursor->version_next)
      page_add_missing(page, head, cursor->version_next, version);
    page_add(page, select, head);
    cursor->version_next = version + count;
  }
  sqlite3_reset(select);
  uint64_t last = cursor->to < head->version ? cursor->to : head->version;
  if (code == SQLITE_DONE && cursor->version_next <= last) {
    page_add_missing(page, head, cursor->version_next, last + 1);
    cursor->version_next = last + 1;
  }
  page->end = code == SQLITE_DONE;
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

void ae__read_page(ae__db *db, ae__cursor *cursor) {
  ae__sql_page *page = &cursor->pages[cursor->at];
  ae__head *head = NULL;
  page_begin(page);
  int code = ae__sql_fault("sqlite.read");
  if (code == SQLITE_OK)
    code =
        ae__head_get(db, (ae_str){cursor->key.bytes, cursor->key.len}, &head);
  page->latest = head ? head->version : 0;
  page->base = head ? head->base : 0;
  if (code == SQLITE_OK &&
      (!head || cursor->from > cursor->to || cursor->from > head->version + 1))
    page->end = true;
  while (code == SQLITE_OK && !page->end && !page_full(page) &&
         !cursor->broken) {
    uint32_t before = page->count;
    code = chunk(db, cursor, head, page, &page->end);
    if (code == SQLITE_OK && page->count == before && !page->end) {
      if (before > 0) break;
      code = SQLITE_CORRUPT; /* a mark that leads nowhere */
    }
    if ((code & 0xff) != SQLITE_CORRUPT) continue;
    if (atomic_exchange(&db->damage, AE__DAMAGE_FILE) != AE__DAMAGE_FILE ||
        !db->cache)
      ae_log(AE_LOG_WARN,
             "an actor's commits are not linked; searching the log", "file",
             db->path, NULL);
    cursor->broken = true;
    if (cursor->version_next <= head->base)
      cursor->version_next = head->base + 1;
    if (cursor->version_next < cursor->from)
      cursor->version_next = cursor->from;
    code = SQLITE_OK;
  }
  if (code == SQLITE_OK && cursor->broken)
    code = search(db, cursor, head, page);
  page_finish(db, page, code);
}

/* -- look-ups -- */

void ae__read_lookup(ae__db *db, ae__request *request) {
  ae_lookup *lookup = request->of;
  ae__key key;
  ae__head *head;
  ae__key_of(&key, &lookup->ref);
  lookup->version = lookup->position = lookup->last = 0;
  ae_buf_reset(&request->text);
  int code = ae__head_get(db, (ae_str){key.bytes, key.len}, &head);
  if (code == SQLITE_OK && head) {
    lookup->version = head->version;
    lookup->last = head->position;
    if (lookup->command_id.ptr)
      code = ae__log_id(db, head, lookup->command_id, &lookup->position);
    if (code == SQLITE_OK && lookup->position > 0) {
      code = ae__log_body(db, lookup->position);
      ae_buf_str(&request->text, ae_buf_view(&db->scratch));
    }
  }
  request->status = AE_OK;
  if (code != SQLITE_OK)
    request->status = ae__sql_error(db, code, "read", &request->error);
}
