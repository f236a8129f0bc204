/*  stats ─► header ─► bases: begins ─► scan: commits ─► bases: others ─► end */
#include "node/export.h"

#include "base/clock.h"
#include "base/mem.h"
#include "event/skip.h"
#include "node/stream.h"
#include "store/replay.h"

#define IDS 4096u /* in a line */

typedef struct run {
  ae_export *of;
  ae_store *store;
  ae_stats_read stats;
  ae_bases_read bases;
  bool others; /* bases of whole histories, which come last */
  ae_scan scan;
  ae_buf out, record;
  ae__stream_end end;
  uint64_t below; /* commits that are as good as deleted */
  bool stopped;
} run;

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_export *of = r->of;
  ae_buf_clear(&r->out);
  ae_buf_clear(&r->record);
  ae_free(r);
  of->impl = NULL;
  of->done(of, status, err);
}

static void lost(run *r) {
  ae_error err = {0};
  ae_error_set(&err, AE_CANCELED, "the export cannot be written any more");
  finish(r, AE_CANCELED, &err);
  ae_error_clear(&err);
}

/* What was put into r->out from `from` on is a line. */
static void line_end(run *r, size_t from) {
  ae_str line = {r->out.ptr + from, r->out.len - from};
  r->end.sum = ae__stream_sum(r->end.sum, line);
  r->end.lines++;
  ae_buf_byte(&r->out, '\n');
}

static bool flush(run *r) {
  bool fine = !r->stopped && r->of->write(r->of, ae_buf_view(&r->out));
  ae_buf_reset(&r->out);
  return fine;
}

/* -- the end -- */

static void close_stream(run *r) {
  ae_export *of = r->of;
  ae_error err = {0};
  ae_status status = AE_OK;
  uint64_t read = of->counts.commits + r->below;
  if (read != of->total) {
    status =
        ae_error_set(&err, AE_REPLAY_ERROR,
                     "%llu commits were read, and %llu are counted: the "
                     "store is damaged; see `aether check`",
                     (unsigned long long)read, (unsigned long long)of->total);
    ae_error_cstr(&err, "cause", "commits are missing");
  } else {
    ae__stream_put_end(&r->out, &r->end);
    ae_buf_byte(&r->out, '\n');
    if (!flush(r)) {
      lost(r);
      return;
    }
  }
  finish(r, status, &err);
  ae_error_clear(&err);
}

/* -- bases -- */

static void scan_commits(run *r);

static void put_base(run *r, const ae_base *base) {
  size_t from = r->out.len;
  uint32_t at = 0;
  do {
    uint32_t to = base->id_count - at < IDS ? base->id_count : at + IDS;
    from = r->out.len;
    ae__stream_put_base(&r->out, r->others ? "base" : "begin", base, at,
                        r->others ? at : to);
    line_end(r, from);
    at = to;
  } while (!r->others && at < base->id_count);
  if (r->others) {
    r->of->counts.bases = ++r->end.bases;
  } else {
    r->of->counts.begins = ++r->end.begins;
  }
}

static void ask_bases(run *r);

static void on_bases(ae_bases_read *read, ae_status status,
                     const ae_base *bases, uint32_t count,
                     const ae_error *err) {
  run *r = read->data;
  if (status != AE_OK) {
    finish(r, status, err);
    return;
  }
  for (uint32_t i = 0; i < count; i++)
    if (bases[i].begins != r->others) put_base(r, &bases[i]);
  if (!flush(r))
    lost(r);
  else if (read->next > 0)
    ask_bases(r);
  else if (r->others)
    close_stream(r);
  else
    scan_commits(r);
}

static void ask_bases(run *r) {
  ae_error err = {0};
  r->bases.from = r->bases.next;
  ae_status status = ae_store_bases(r->store, &r->bases, &err);
  if (status != AE_OK) finish(r, status, &err);
  ae_error_clear(&err);
}

static void list_bases(run *r, bool others) {
  r->others = others;
  r->bases = (ae_bases_read){.ns = r->of->ns, .cb = on_bases, .data = r};
  ask_bases(r);
}

/* -- commits -- */

static ae_status check_indexed(const ae_record *record, ae_error *err) {
  ae_page page = {.records = record, .count = 1, .end = true};
  ae_replay replay;
  ae_event event;
  ae_status status;
  ae_replay_init(&replay, &page, 0, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &event, err)) == AE_OK) {
  }
  return status == AE_NOT_FOUND ? AE_OK : status;
}

static void skip(run *r, const ae_record *record, const ae_error *why) {
  ae_uuid7 uuids = {0};
  int64_t now = ae_clock_now();
  ae_commit commit = {.ref = record->ref,
                      .first_version = record->first_version,
                      .time = now,
                      .id = ae_uuid7_make(&uuids, now)};
  ae_buf_reset(&r->record);
  ae_skip_encode(&r->record, &commit, record->event_count,
                 ae_buf_view(&why->message));
  r->of->counts.damaged++;
  if (r->of->damaged) r->of->damaged(r->of, why);
}

static ae_status put_record(run *r, const ae_record *record, ae_error *err) {
  size_t from = r->out.len;
  ae_str bytes = record->bytes;
  ae_status status = check_indexed(record, err);
  if (status == AE_OK)
    status = ae__stream_put_commit(&r->out, bytes, record->position, err);
  if (status == AE_REPLAY_ERROR && r->of->skip_damaged) {
    skip(r, record, err);
    ae_error_clear(err);
    status = ae__stream_put_commit(&r->out, ae_buf_view(&r->record),
                                   record->position, err);
  }
  if (status != AE_OK) return status;
  line_end(r, from);
  r->of->counts.commits = ++r->end.commits;
  r->end.events += record->event_count;
  r->of->counts.events = r->end.events;
  return AE_OK;
}

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = scan->data;
  ae_error why = {0};
  if (status != AE_OK) {
    finish(r, status, err);
    return;
  }
  for (uint32_t i = 0; i < page->count && status == AE_OK; i++) {
    if (page->records[i].first_version <= page->records[i].base)
      r->below++;
    else
      status = put_record(r, &page->records[i], &why);
  }
  bool fine = flush(r);
  if (r->of->progress) r->of->progress(r->of);
  if (status == AE_OK && fine && !page->end) {
    ae_scan_more(scan);
    return;
  }
  if (!page->end) ae_scan_end(scan);
  if (status != AE_OK)
    finish(r, status, &why);
  else if (!fine)
    lost(r);
  else
    list_bases(r, true);
  ae_error_clear(&why);
}

static void scan_commits(run *r) {
  ae_error err = {0};
  r->scan = (ae_scan){.ns = r->of->ns,
                      .until = r->stats.stats.position,
                      .cb = on_page,
                      .data = r};
  ae_status status = ae_store_scan(r->store, &r->scan, &err);
  if (status != AE_OK) finish(r, status, &err);
  ae_error_clear(&err);
}

static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  run *r = stats->data;
  ae_error why = {0};
  if (status == AE_OK && stats->stats.commits == 0 &&
      stats->stats.actors == 0) {
    status = ae_error_set(&why, AE_UNKNOWN_NAMESPACE,
                          "the store holds nothing of the namespace %.*s",
                          AE_FMT(r->of->ns));
    ae_error_str(&why, "name", r->of->ns);
    err = &why;
  }
  if (status != AE_OK) {
    finish(r, status, err);
    ae_error_clear(&why);
    return;
  }
  r->of->total = stats->stats.commits;
  ae__stream_put_header(&r->out, r->of->ns, r->of->total);
  line_end(r, 0);
  list_bases(r, false);
}

ae_status ae_export_start(ae_store *store, ae_export *export, ae_error *err) {
  run *r = ae_zalloc(sizeof *r);
  r->of = export;
  r->store = store;
  export->impl = r;
  export->counts = (ae_export_counts){0};
  r->stats = (ae_stats_read){.ns = export->ns, .cb = on_stats, .data = r};
  ae_status status = ae_store_stats(store, &r->stats, err);
  if (status == AE_OK) return AE_OK;
  export->impl = NULL;
  ae_free(r);
  return status;
}

void ae_export_stop(ae_export *export) {
  run *r = export->impl;
  if (r) r->stopped = true;
}
