/*  header ─► stats ─► begins ─► commits compared ─► appended ─► bases ─► end
 *
 * 1. Nothing is stored before all that the namespace holds was compared.
 * 2. A batch of appends is answered before the next is handed over, and in a
 *    batch nothing is stored behind what could not be (ae_store_options,
 *    ordered): what is stored is a beginning of the stream.
 * 3. `waits` is true while no line may come; then `more` or `done` follows. */
#include "node/import.h"

#include "base/mem.h"
#include "node/stream.h"

enum {
  BATCH = 1024,          /* appends handed over together */
  BATCH_BYTES = 4 << 20, /* … or so much */
  BEGINS = 256,
  BASES = 64, /* under way at a time */
};

typedef struct slot { /* an append */
  ae_append append;
  struct run *run;
  uint64_t line;
  ae_buf record;
} slot;

typedef struct beginning { /* a begin under way */
  ae_begin begin;          /* first */
  struct run *run;
  uint64_t line;
  ae_buf bytes; /* what it points at */
} beginning;

typedef struct saving {    /* a base under way */
  ae_snapshot_write write; /* first */
  struct run *run;
  uint64_t line;
} saving;

typedef struct run {
  ae_import *of;
  ae_loop *loop;
  ae_store *store;
  ae_task task; /* `more` or `done`, in a turn of its own */
  bool due;
  bool waits;
  bool ended;   /* no line may come any more */
  bool started; /* the header came */
  ae_buf home;  /* the namespace of the header */
  ae__stream_line line;
  uint64_t sum, events;
  /* what is there */
  ae_stats_read stats;
  ae_scan scan;
  bool scanning, comparing, at_end;
  bool asked;  /* a page was */
  ae_buf held; /* of it: length, record, … */
  size_t held_at;
  bool pending; /* the line is a commit that waits for a page */
  /* what is under way */
  slot *slots;
  uint32_t filled, answered;
  size_t filled_bytes;
  bool flying; /* the slots are the store's */
  uint32_t beginning, saving;
  ae_status status; /* the first failure */
  uint64_t failed_line;
  ae_error err;
} run;

/* -- saying -- */

static void finish(run *r) {
  ae_import *of = r->of;
  ae_error err = {0};
  ae_status status = r->status;
  ae_error_move(&err, &r->err);
  for (uint32_t i = 0; i < BATCH; i++) ae_buf_clear(&r->slots[i].record);
  ae_free(r->slots);
  ae__stream_clear(&r->line);
  ae_buf_clear(&r->home);
  ae_buf_clear(&r->held);
  ae_free(r);
  of->impl = NULL;
  of->done(of, status, status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
}

static bool is_busy(const run *r) {
  return r->flying || r->beginning > 0 || r->saving > 0 || r->asked;
}

static void tell(ae_task *task) {
  run *r = AE_CONTAINER(task, run, task);
  r->due = false;
  if (r->status != AE_OK || r->ended) {
    if (is_busy(r)) return; /* told when that is answered */
    if (r->scanning) ae_scan_end(&r->scan);
    r->scanning = false;
    finish(r);
  } else if (r->waits && !r->flying) {
    r->waits = false;
    r->of->more(r->of);
  }
}

/* `more` or `done`, as things are then. */
static void due(run *r) {
  r->waits = true;
  if (r->due) return;
  r->due = true;
  r->task.run = tell;
  ae_loop_defer(r->loop, &r->task);
}

/* The first failure counts; of several lines the first. */
static void fail(run *r, uint64_t line, ae_status status, const ae_error *err) {
  if (r->status != AE_OK && line >= r->failed_line) return;
  ae_error_clear(&r->err);
  r->status = status;
  r->failed_line = line;
  const char *text = err ? ae_error_text(err) : ae_status_text(status);
  if (line > 0)
    ae_error_set(&r->err, status, "line %llu: %s", (unsigned long long)line,
                 text);
  else
    ae_error_set(&r->err, status, "%s", text);
  if (err) {
    ae_buf_str(&r->err.facts, ae_buf_view(&err->facts));
    r->err.nfacts = err->nfacts;
  }
  if (line > 0) ae_error_uint(&r->err, "line", line);
}

static bool fly(run *r);

/* What came whole before is stored. */
static bool refuse(run *r, ae_error *err) {
  fail(r, r->of->counts.lines, err->status, err);
  ae_error_clear(err);
  if (r->flying || !fly(r)) due(r);
  return false;
}

/* -- what is there already -- */

static bool go_on(run *r);

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = scan->data;
  r->asked = false;
  ae_buf_reset(&r->held);
  r->held_at = 0;
  if (status != AE_OK) {
    r->scanning = false;
    fail(r, 0, status, err);
    due(r);
    return;
  }
  for (uint32_t i = 0; i < page->count; i++) {
    const ae_record *record = &page->records[i];
    if (record->first_version <= record->base) continue;
    ae_buf_add(&r->held, &record->bytes.len, sizeof record->bytes.len);
    ae_buf_str(&r->held, record->bytes);
  }
  r->at_end = page->end;
  if (page->end) r->scanning = false;
  if (r->status != AE_OK || r->ended) {
    due(r);
  } else if (!r->pending || go_on(r)) {
    due(r);
  }
}

static void ask_page(run *r) {
  ae_error err = {0};
  r->asked = true;
  if (r->scanning) {
    ae_scan_more(&r->scan);
    return;
  }
  r->scan = (ae_scan){.ns = r->of->ns,
                      .until = r->stats.stats.position,
                      .cb = on_page,
                      .data = r};
  ae_status status = ae_store_scan(r->store, &r->scan, &err);
  r->scanning = r->asked = status == AE_OK;
  if (status != AE_OK) {
    fail(r, 0, status, &err);
    due(r);
  }
  ae_error_clear(&err);
}

static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  run *r = stats->data;
  r->asked = false;
  if (status != AE_OK)
    fail(r, 0, status, err);
  else
    r->comparing = stats->stats.commits > 0;
  due(r);
}

static bool take_header(run *r) {
  ae_error err = {0};
  r->started = true;
  r->of->total = r->line.commits;
  ae_buf_str(&r->home, r->line.ns);
  r->stats = (ae_stats_read){.ns = r->of->ns, .cb = on_stats, .data = r};
  ae_status status = ae_store_stats(r->store, &r->stats, &err);
  if (status != AE_OK) return refuse(r, &err);
  r->asked = r->waits = true;
  return false;
}

/* -- begins -- */

static void on_begun(ae_write *write, ae_status status, const ae_error *err) {
  beginning *b = AE_CONTAINER(write, beginning, begin.write);
  run *r = b->run;
  if (status != AE_OK) fail(r, b->line, status, err);
  ae_buf_clear(&b->bytes);
  ae_free(b);
  if (--r->beginning == 0 && r->waits) {
    if (!r->pending || r->status != AE_OK || go_on(r)) due(r);
  }
}

static bool take_begin(run *r) {
  ae_error err = {0};
  r->of->counts.begins += r->line.base.state.len > 0;
  if (r->comparing) return true; /* it came before all commits */
  const ae_base *given = &r->line.base;
  beginning *b = ae_zalloc(sizeof *b);
  b->run = r;
  b->line = r->of->counts.lines;
  ae_base *base = &b->begin.base;
  *base = *given;
  size_t ids = given->id_count * sizeof *given->ids;
  ae_buf_reserve(&b->bytes, ids + given->ref.type.len + given->ref.id.len +
                                given->state.len + 1);
  ae_buf_add(&b->bytes, given->ids, ids); /* first, for they are aligned */
  base->ids = (const uint64_t *)(const void *)b->bytes.ptr;
  base->ref.ns = r->of->ns;
  ae_str *parts[] = {&base->ref.type, &base->ref.id, &base->state};
  for (size_t i = 0; i < 3; i++) {
    const char *at = b->bytes.ptr + b->bytes.len;
    ae_buf_str(&b->bytes, *parts[i]);
    parts[i]->ptr = at;
  }
  b->begin.write.cb = on_begun;
  r->beginning++;
  ae_status status = ae_store_begin(r->store, &b->begin, &err);
  if (status != AE_OK) {
    r->beginning--;
    ae_buf_clear(&b->bytes);
    ae_free(b);
    return refuse(r, &err);
  }
  r->waits = r->beginning >= BEGINS;
  return !r->waits;
}

/* -- appends -- */

static void on_append(ae_append *append) {
  slot *s = append->data;
  run *r = s->run;
  if (append->status == AE_DUPLICATE) {
    ae_error err = {0};
    ae_error_set(&err, AE_MALFORMED,
                 "the actor has one of the command ids already");
    fail(r, s->line, AE_MALFORMED, &err);
    ae_error_clear(&err);
  } else if (append->status != AE_OK) {
    fail(r, s->line, append->status, &append->error);
  }
  if (++r->answered < r->filled) return;
  r->flying = false;
  r->filled = r->answered = 0;
  r->filled_bytes = 0;
  if (!r->pending || r->status != AE_OK || go_on(r)) due(r);
}

/* Hands the slots over; the line waits. False: nothing to wait for. */
static bool fly(run *r) {
  AE_ASSERT(!r->flying);
  if (r->filled == 0) return false;
  r->flying = true;
  r->answered = 0;
  uint32_t count = r->filled, refused = 0;
  ae_store_cork(r->store);
  for (uint32_t i = 0; i < count; i++) {
    slot *s = &r->slots[i];
    ae_error err = {0};
    ae_status status = ae_store_append(r->store, &s->append, &err);
    if (status != AE_OK) {
      fail(r, s->line, status, &err);
      refused++;
    }
    ae_error_clear(&err);
  }
  ae_store_uncork(r->store);
  r->filled -= refused;
  r->waits = true;
  if (r->filled > 0) return true;
  r->flying = false;
  due(r);
  return true;
}

static uint32_t count_ids(const ae_commit *commit) {
  ae_unpack commands = ae_unpack_of(commit->commands);
  ae_commit_command command;
  uint32_t count = 0;
  for (uint32_t i = 0; i < commit->command_count; i++)
    count += ae_commit_command_next(&commands, &command) && command.id.ptr;
  return count;
}

static void fill(run *r, ae_str record) {
  slot *s = &r->slots[r->filled++];
  ae_commit commit;
  ae_buf_reset(&s->record);
  ae_buf_str(&s->record, record);
  ae_commit_decode(ae_buf_view(&s->record), &commit, NULL); /* it was checked */
  s->run = r;
  s->line = r->of->counts.lines;
  s->append = (ae_append){.ref = commit.ref,
                          .expected_version = commit.first_version - 1,
                          .event_count = commit.event_count,
                          .id_count = count_ids(&commit),
                          .record = s->record,
                          .cb = on_append,
                          .data = s};
  r->filled_bytes += record.len;
}

/* -- commits -- */

static bool differs(run *r) {
  ae_error err = {0};
  ae_error_set(&err, AE_VERSION_CONFLICT,
               "the namespace %.*s holds commits that are not the beginning of "
               "this export, so nothing was stored: import into an empty "
               "namespace, or delete that one first",
               AE_FMT(r->of->ns));
  return refuse(r, &err);
}

/* The line is a commit, its record in r->line. True: the next may come. */
static bool go_on(run *r) {
  ae_error err = {0};
  ae_str record, there;
  r->pending = true;
  if (r->beginning > 0 || r->flying) {
    r->waits = true;
    return false;
  }
  if (r->comparing && r->held_at == r->held.len && !r->at_end) {
    ask_page(r);
    r->waits = true;
    return false;
  }
  if (ae__stream_record(&r->line, ae_buf_view(&r->home), r->of->ns, &record,
                        &err) != AE_OK)
    return refuse(r, &err);
  if (r->comparing && r->held_at < r->held.len) {
    memcpy(&there.len, r->held.ptr + r->held_at, sizeof there.len);
    there.ptr = r->held.ptr + r->held_at + sizeof there.len;
    if (!ae_str_eq(there, record)) return differs(r);
    r->held_at += sizeof there.len + there.len;
    r->of->counts.present++;
  } else {
    r->comparing = false;
    if (r->filled == BATCH || r->filled_bytes > BATCH_BYTES) {
      fly(r);
      return false;
    }
    fill(r, record);
  }
  r->pending = false;
  r->of->counts.commits++;
  r->events += r->line.commit.event_count;
  r->of->counts.events = r->events;
  return true;
}

/* -- bases of whole histories -- */

static void on_saved(ae_write *write, ae_status status, const ae_error *err) {
  saving *s = AE_CONTAINER(write, saving, write.write);
  run *r = s->run;
  if (status != AE_OK) fail(r, s->line, status, err);
  ae_free(s);
  if (--r->saving == 0 && r->waits) due(r);
}

static bool take_base(run *r) {
  ae_error err = {0};
  saving *s = ae_zalloc(sizeof *s);
  const ae_base *base = &r->line.base;
  r->of->counts.bases++;
  s->run = r;
  s->line = r->of->counts.lines;
  s->write = (ae_snapshot_write){.write = {.cb = on_saved},
                                 .ref = base->ref,
                                 .version = base->version,
                                 .shape = base->shape,
                                 .state = base->state,
                                 .base = true};
  s->write.ref.ns = r->of->ns;
  /* Behind the appends, as they were handed over before. */
  bool flown = fly(r);
  r->saving++;
  ae_status status = ae_store_save_snapshot(r->store, &s->write, &err);
  if (status != AE_OK) {
    r->saving--;
    ae_free(s);
    return refuse(r, &err);
  }
  r->waits = flown || r->saving >= BASES;
  return !r->waits;
}

/* -- the end -- */

static bool take_end(run *r) {
  const ae__stream_end *end = &r->line.end;
  const ae_import_counts *counts = &r->of->counts;
  ae_error err = {0};
  if (end->lines != counts->lines - 1 || end->sum != r->sum ||
      end->commits != counts->commits || end->events != counts->events) {
    ae_error_set(&err, AE_MALFORMED,
                 "the export is not as it was written: its sum differs");
    return refuse(r, &err);
  }
  uint64_t there = r->stats.stats.commits;
  if (r->comparing && there > counts->present)
    r->of->counts.beyond = there - counts->present;
  r->ended = true;
  if (!fly(r)) due(r);
  return false;
}

bool ae_import_line(ae_import *import, ae_str text) {
  run *r = import->impl;
  ae_error err = {0};
  AE_ASSERT(!r->waits && !r->ended);
  import->counts.lines++;
  if (ae__stream_read(&r->line, text, &err) != AE_OK) return refuse(r, &err);
  if (r->started == (r->line.kind == AE__STREAM_HEADER)) {
    ae_error_set(&err, AE_MALFORMED,
                 r->started ? "another export begins here"
                            : "an export begins with another line");
    return refuse(r, &err);
  }
  if (r->line.kind != AE__STREAM_END) r->sum = ae__stream_sum(r->sum, text);
  switch (r->line.kind) {
    case AE__STREAM_HEADER:
      return take_header(r);
    case AE__STREAM_BEGIN:
      return take_begin(r);
    case AE__STREAM_COMMIT:
      return go_on(r);
    case AE__STREAM_BASE:
      return take_base(r);
    default:
      return take_end(r);
  }
}

static void cut_error(uint64_t lines, ae_error *err) {
  ae_error_set(err, AE_MALFORMED,
               "the export was cut after line %llu: its last line is missing",
               (unsigned long long)lines);
  ae_error_uint(err, "at", lines);
}

void ae_import_end(ae_import *import) {
  run *r = import->impl;
  ae_error err = {0};
  if (!r || r->ended) return;
  /* What came whole is stored. */
  fly(r);
  cut_error(import->counts.lines, &err);
  fail(r, 0, AE_MALFORMED, &err);
  ae_error_clear(&err);
  if (!r->flying) due(r);
}

void ae_import_stop(ae_import *import) {
  run *r = import->impl;
  ae_error err = {0};
  if (!r) return;
  ae_error_set(&err, AE_CANCELED,
               "stopped; the same import goes on where it was");
  fail(r, 0, AE_CANCELED, &err);
  ae_error_clear(&err);
  if (!is_busy(r)) due(r);
}

void ae_import_start(ae_loop *loop, ae_store *store, ae_import *import) {
  run *r = ae_zalloc(sizeof *r);
  r->of = import;
  r->loop = loop;
  r->store = store;
  r->slots = ae_zalloc(BATCH * sizeof *r->slots);
  import->impl = r;
  import->counts = (ae_import_counts){0};
}

/* -- a look at a file -- */

ae_status ae_import_check_line(ae_import_check *check, ae_str line,
                               ae_error *err) {
  static const char end[] = "{\"end\":";
  check->lines++;
  if (check->ended)
    return ae_error_set(err, AE_MALFORMED, "line %llu: behind the last line",
                        (unsigned long long)check->lines);
  if (line.len < sizeof end - 1 || memcmp(line.ptr, end, sizeof end - 1) != 0) {
    check->sum = ae__stream_sum(check->sum, line);
    return AE_OK;
  }
  ae__stream_line last = {0};
  ae_status status = ae__stream_read(&last, line, err);
  if (status == AE_OK &&
      (last.end.sum != check->sum || last.end.lines != check->lines - 1))
    status = ae_error_set(err, AE_MALFORMED,
                          "the export is not as it was written: its sum "
                          "differs; nothing was stored");
  ae__stream_clear(&last);
  check->ended = status == AE_OK;
  return status;
}

ae_status ae_import_check_end(const ae_import_check *check, ae_error *err) {
  if (check->ended) return AE_OK;
  cut_error(check->lines, err);
  ae_error_add(err, "; nothing was stored");
  return AE_MALFORMED;
}
