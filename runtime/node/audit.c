/*  inspect ─► stats ─► scan … ─► compared with the counts */
#include "node/audit.h"

#include "base/mem.h"
#include "store/replay.h"

#define PROBLEMS 20 /* records told one by one */

typedef struct run {
  ae_audit *of;
  ae_store *store;
  ae_inspect inspect;
  ae_stats_read stats;
  ae_scan scan;
  bool stopped;
} run;

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_audit *of = r->of;
  of->impl = NULL;
  ae_free(r);
  of->done(of, status, err);
}

static void wrong(ae_audit *audit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void wrong(ae_audit *audit, const char *format, ...) {
  va_list args;
  if (audit->problem.len > 0) ae_buf_byte(&audit->problem, '\n');
  va_start(args, format);
  ae_buf_vprintf(&audit->problem, format, args);
  va_end(args);
}

static void compare(run *r, const char *what, uint64_t read, uint64_t counted) {
  if (read != counted)
    wrong(r->of, "%llu %s were read, and %llu are counted",
          (unsigned long long)read, what, (unsigned long long)counted);
}

/* A damaged record's events cannot be counted. */
static void compare_all(run *r) {
  const ae_audit_counts *counts = &r->of->counts;
  const ae_stats *stats = &r->stats.stats;
  compare(r, "commits", counts->commits, stats->commits);
  if (counts->damaged > 0) return;
  compare(r, "events", counts->events, stats->events);
  compare(r, "bytes of records", counts->bytes, stats->bytes);
}

static void take_page(run *r, const ae_page *page) {
  ae_audit *audit = r->of;
  ae_error err = {0};
  ae_replay replay;
  ae_event event;
  ae_status status;
  for (uint32_t i = 0; i < page->count; i++)
    audit->counts.bytes += page->records[i].bytes.len;
  audit->counts.commits += page->count;
  ae_replay_init(&replay, page, 0, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &event, &err)) != AE_NOT_FOUND) {
    if (status == AE_OK) {
      audit->counts.events++;
      continue;
    }
    if (audit->counts.damaged++ < PROBLEMS)
      wrong(audit, "%s", ae_error_text(&err));
    ae_error_clear(&err);
  }
  ae_error_clear(&err);
}

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = scan->data;
  if (status != AE_OK) {
    /* A page that cannot be read ends a scan: that is damage too. */
    if (status == AE_STORE_UNAVAILABLE) {
      wrong(r->of, "%s", err ? ae_error_text(err) : ae_status_text(status));
      r->of->counts.damaged++;
      status = AE_OK;
    }
    finish(r, status, err);
    return;
  }
  take_page(r, page);
  if (r->of->progress) r->of->progress(r->of);
  if (r->stopped && !page->end) {
    ae_scan_end(scan);
    finish(r, AE_CANCELED, NULL);
  } else if (!page->end) {
    ae_scan_more(scan);
  } else {
    compare_all(r);
    finish(r, AE_OK, NULL);
  }
}

static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  run *r = stats->data;
  ae_error why = {0};
  if (status == AE_OK) {
    r->of->counts.total = stats->stats.commits;
    r->of->counts.actors = stats->stats.actors;
    r->of->counts.position = stats->stats.position;
    r->scan =
        (ae_scan){.until = stats->stats.position, .cb = on_page, .data = r};
    status = ae_store_scan(r->store, &r->scan, &why);
    err = &why;
  }
  if (status != AE_OK) finish(r, status, err);
  ae_error_clear(&why);
}

static void on_inspect(ae_inspect *inspect, ae_status status,
                       const ae_error *err) {
  run *r = inspect->data;
  ae_error why = {0};
  if (status == AE_OK) {
    if (inspect->problem.len > 0)
      wrong(r->of, "%.*s", AE_FMT(inspect->problem));
    r->stats = (ae_stats_read){.cb = on_stats, .data = r};
    status = ae_store_stats(r->store, &r->stats, &why);
    err = &why;
  }
  if (status != AE_OK) finish(r, status, err);
  ae_error_clear(&why);
}

ae_status ae_audit_start(ae_store *store, ae_audit *audit, ae_error *err) {
  run *r = ae_zalloc(sizeof *r);
  r->of = audit;
  r->store = store;
  r->inspect = (ae_inspect){.whole = true, .cb = on_inspect, .data = r};
  audit->impl = r;
  audit->counts = (ae_audit_counts){0};
  ae_buf_reset(&audit->problem);
  ae_status status = ae_store_inspect(store, &r->inspect, err);
  if (status == AE_OK) return AE_OK;
  audit->impl = NULL;
  ae_free(r);
  return status;
}

void ae_audit_stop(ae_audit *audit) {
  run *r = audit->impl;
  if (r) r->stopped = true;
}
