/* What a feed does next:
 *
 *   an actor       READ ──► READ_MORE … ──► (follow) SCAN
 *   a namespace    SCAN ──► SCAN_MORE …    behind a position: first it is asked
 *                                          whether all is there from it on
 *
 * It does so at once, or when the client has taken what it is owed. A page
 * that is more than a client takes at once is left in its midst: reading it
 * again behind the last event given costs less than keeping it.
 *
 * 1. While the client is full, nothing is under way at the store.
 * 2. Each event is given once, in order: `version` and `at` are those of the
 *    last one given, or behind what was passed over. */
#include "door/http/feed.h"

#include <stdio.h>

#include "base/mem.h"
#include "node/page.h"

#define SLICE (64u << 10) /* bytes written before the client is looked at */
#define PAGE (64u << 10)  /* bytes of records that are read at a time */

typedef enum next { READ, READ_MORE, SCAN, SCAN_MORE } next;

typedef struct feed {
  ae__exchange *x;
  ae__feed_options options;
  ae__sink sink;
  bool begun;
  bool over;        /* answered */
  uint64_t left;    /* events still wanted */
  uint64_t version; /* of an actor */
  ae__cursor_at at; /* of a namespace */
  ae_read read;
  ae_scan scan;
  ae_stats_read stats;
  bool asking;            /* the stats: they come */
  bool gone;              /* the client, meanwhile */
  bool reading, scanning; /* to be ended by us */
  next next;
  bool due; /* when the client has taken what it is owed */
} feed;

static void go_on(feed *f);

static void release(feed *f) {
  ae_free(f->options.types);
  ae_free(f);
}

static void stop(feed *f) {
  if (f->reading) ae_read_end(&f->read);
  if (f->scanning) ae_scan_end(&f->scan);
  f->reading = f->scanning = false;
}

static void finish(feed *f) {
  stop(f);
  f->over = true;
  ae__sink_end(&f->sink);
}

static void fail(feed *f, const ae_error *err) {
  stop(f);
  f->over = true;
  if (f->begun)
    ae__sink_break(&f->sink, err);
  else
    ae__exchange_fail(f->x, err);
}

static void fail_with(feed *f, ae_status status, const ae_error *err) {
  ae_error plain = {0};
  if (!err) ae_error_set(&plain, status, "%s", ae_status_text(status));
  fail(f, err ? err : &plain);
  ae_error_clear(&plain);
}

static void begin(feed *f) {
  f->begun = true;
  ae__sink_begin(&f->sink, f->x, f->options.sse, f->options.follow);
}

/* -- events -- */

static bool is_wanted(const feed *f, const ae_event *event) {
  const ae__feed_options *options = &f->options;
  if (options->of_actor) {
    if (event->version <= f->version) return false;
  } else if (event->position == f->at.position && event->index <= f->at.index) {
    return false;
  }
  if (!options->types) return true;
  for (size_t i = 0; i < options->type_count; i++)
    if (ae_str_eq(event->type, options->types[i])) return true;
  return false;
}

static bool on_event(void *data, const ae_event *event) {
  feed *f = data;
  char id[48];
  if (!is_wanted(f, event)) return true;
  if (f->options.of_actor) {
    f->version = event->version;
    snprintf(id, sizeof id, "%llu", (unsigned long long)event->version);
  } else {
    f->at = (ae__cursor_at){event->position, event->index};
    snprintf(id, sizeof id, "%llu.%u", (unsigned long long)event->position,
             event->index);
  }
  ae__sink_event(&f->sink, id, event);
  f->left--;
  bool full = f->sink.held >= SLICE && ae__sink_send(&f->sink);
  return f->left > 0 && !full;
}

static void on_damage(void *data, const ae_error *err) {
  feed *f = data;
  ae__sink_damage(&f->sink, err);
}

/* False: it was left in its midst. Records of other actors are passed over
 * undecoded. */
static bool write_page(feed *f, const ae_page *page) {
  const ae__feed_options *options = &f->options;
  bool all = true;
  if (!options->of_actor) all = ae_page_until(page, 0, on_event, on_damage, f);
  for (uint32_t i = 0; options->of_actor && all && i < page->count; i++) {
    const ae_page one = {.records = &page->records[i], .count = 1};
    if (ae_ref_eq(&page->records[i].ref, &options->ref))
      all = ae_page_until(&one, f->version + 1, on_event, on_damage, f);
  }
  ae__sink_send(&f->sink);
  return all;
}

static void then(feed *f, next what) {
  f->next = what;
  f->due = f->sink.full;
  if (!f->due) go_on(f);
}

/* -- a namespace -- */

static void on_scan(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  feed *f = scan->data;
  if (status != AE_OK) {
    f->scanning = false;
    fail_with(f, status, err);
    return;
  }
  bool over = page->end && !scan->live;
  if (over) f->scanning = false;
  if (!f->begun) begin(f);
  bool all = write_page(f, page);
  if (all && page->count > 0 && f->left > 0)
    f->at =
        (ae__cursor_at){page->records[page->count - 1].position, UINT64_MAX};
  if (f->left == 0 || (all && over)) {
    finish(f);
  } else if (all) {
    then(f, SCAN_MORE);
  } else {
    stop(f);
    then(f, SCAN);
  }
}

static void scan_on(feed *f) {
  ae_error err = {0};
  bool within = f->at.index != UINT64_MAX && f->at.position > 0;
  f->scan = (ae_scan){.ns = f->options.ref.ns,
                      .after = f->at.position - (within ? 1 : 0),
                      .until = UINT64_MAX,
                      .page = PAGE,
                      .live = f->options.follow,
                      .cb = on_scan,
                      .data = f};
  f->scanning = true;
  if (ae_store_scan(ae_node_store(f->x->node), &f->scan, &err) == AE_OK) return;
  f->scanning = false;
  fail(f, &err);
  ae_error_clear(&err);
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  feed *f = read->data;
  ae_error trimmed = {0};
  f->asking = false;
  if (f->gone) {
    release(f);
    return;
  }
  if (status == AE_OK && read->stats.trimmed > f->at.position) {
    status = ae_page_trimmed(read->stats.trimmed, f->at.position, &trimmed);
    err = &trimmed;
  }
  if (status == AE_OK)
    scan_on(f);
  else
    fail_with(f, status, err);
  ae_error_clear(&trimmed);
}

/* From the start, what is there is all that is asked for. */
static void start_scan(feed *f) {
  ae_error err = {0};
  if (f->options.of_actor || f->at.position == 0) {
    scan_on(f);
    return;
  }
  f->stats =
      (ae_stats_read){.ns = f->options.ref.ns, .cb = on_stats, .data = f};
  f->asking = true;
  if (ae_store_stats(ae_node_store(f->x->node), &f->stats, &err) == AE_OK)
    return;
  f->asking = false;
  fail(f, &err);
  ae_error_clear(&err);
}

/* -- an actor -- */

/* Events from here on are there; false: the answer was given. */
static bool is_whole(feed *f) {
  const ae__feed_options *options = &f->options;
  ae_error err = {0};
  ae_module *module;
  if (f->read.latest == 0) {
    ae_script *script = ae_node_script(f->x->node, options->ref.ns);
    if (script &&
        ae_script_aggregate(script, options->ref.type, &module, &err) != AE_OK)
      fail(f, &err);
  } else if (f->read.base > f->version) {
    ae_error_set(&err, AE_HISTORY_TRIMMED,
                 "retention removed the events up to version %llu; ask for "
                 "what is left with `after=%llu`",
                 (unsigned long long)f->read.base,
                 (unsigned long long)f->read.base);
    ae_error_uint(&err, "from", f->read.base + 1);
    fail(f, &err);
  }
  ae_error_clear(&err);
  return !f->over;
}

/* Link: where the next events are, where `limit` ends this answer. */
static void add_link(feed *f) {
  const ae__feed_options *options = &f->options;
  if (options->limit == UINT64_MAX || options->follow || options->types) return;
  if (f->read.latest <= f->read.to) return;
  ae_buf link = {0};
  ae_buf_printf(&link, "<%.*s?after=%llu&limit=%llu>; rel=\"next\"",
                AE_FMT(f->x->path), (unsigned long long)f->read.to,
                (unsigned long long)options->limit);
  ae__exchange_add(f->x, "Link", ae_buf_view(&link));
  ae_buf_clear(&link);
}

static void on_read(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  feed *f = read->data;
  if (status != AE_OK) {
    f->reading = false;
    fail_with(f, status, err);
    return;
  }
  if (page->end) f->reading = false;
  if (!f->begun) {
    if (!is_whole(f)) return;
    add_link(f);
    begin(f);
  }
  bool all = write_page(f, page);
  if (page->count > 0)
    f->at =
        (ae__cursor_at){page->records[page->count - 1].position, UINT64_MAX};
  if (f->left == 0 || (all && page->end && !f->options.follow)) {
    finish(f);
  } else if (all) {
    then(f, page->end ? SCAN : READ_MORE);
  } else {
    stop(f);
    then(f, READ);
  }
}

static void start_read(feed *f) {
  ae_error err = {0};
  bool all = f->options.types || f->left > UINT64_MAX - f->version;
  /* The commit before the first event wanted says where to follow from. */
  bool before = f->options.follow && f->version > 0;
  f->read = (ae_read){.ref = f->options.ref,
                      .from = f->version + (before ? 0 : 1),
                      .to = all ? UINT64_MAX : f->version + f->left,
                      .page = PAGE,
                      .cb = on_read,
                      .data = f};
  f->reading = true;
  if (ae_store_read(ae_node_store(f->x->node), &f->read, &err) == AE_OK) return;
  f->reading = false;
  fail(f, &err);
  ae_error_clear(&err);
}

/* -- the route's -- */

static void go_on(feed *f) {
  switch (f->next) {
    case READ:
      start_read(f);
      break;
    case READ_MORE:
      ae_read_more(&f->read);
      break;
    case SCAN:
      start_scan(f);
      break;
    case SCAN_MORE:
      ae_scan_more(&f->scan);
      break;
  }
}

void ae__feed_start(ae__exchange *x, const ae__feed_options *options) {
  feed *f = ae_zalloc(sizeof *f);
  f->x = x;
  f->options = *options;
  f->left = options->limit;
  f->version = options->after_version;
  f->at = options->after;
  f->next = options->of_actor ? READ : SCAN;
  x->context = f;
  go_on(f);
}

void ae__feed_drained(ae__exchange *x) {
  feed *f = x->context;
  if (!f || f->over) return;
  ae__sink_drained(&f->sink);
  if (!f->due) return;
  f->due = false;
  go_on(f);
}

void ae__feed_gone(ae__exchange *x) {
  feed *f = x->context;
  if (!f) return;
  stop(f);
  ae__sink_close(&f->sink);
  f->gone = true;
  if (!f->asking) release(f);
}
