/* One actor after the other; each goes to and fro between the two threads:
 *
 *   loop     pick ─► state ─► events ─┬────────► page ─► … last page ─► compare
 *            ▲       (old)     ▲      │ trimmed   │ ▲        │          │
 *            │                 └─ its base        │ │        │          │
 *   worker   │                                    ▼ │        ▼          │
 *            │                                 evolve      evolve, dump │
 *            └────────────────────────────────── (new) ─────────────────┘
 *
 * 1. The new script's code runs on the worker only, while the loop waits.
 * 2. What the worker reads of a page is copied; it holds nothing of the store.
 * 3. Meanwhile the actors are held: they do not close.
 */
#include "actor/judge.h"

#include "actor/internal.h"
#include "store/replay.h"

#define EVOLVE_AT_ONCE 256
#define PAGE (64u << 10) /* bytes: copied on the loop thread */
#define TAIL                                                    \
  10000 /* positions at the store's end where actors are looked \
           for that are not live */

typedef struct subject {
  struct subject *next;
  ae_str type, id; /* in `name` */
  size_t len;
  char name[]; /* TYPE/ID */
} subject;

typedef struct run {
  ae_judge *of;
  ae_actors *actors;
  bool stopped;
  subject *first, **last; /* to be judged */
  subject *tail;          /* found in the store, the newest first */
  uint32_t count;
  ae_map known; /* name → subject */
  ae_stats_read stats;
  ae_scan scan;
  ae_task begin;
  /* the one at hand */
  subject *at;
  ae_module *module;
  ae_state_read current;
  ae_status old; /* of its state under the code that runs */
  ae_buf before;
  uint64_t version; /* to be replayed to */
  ae_snapshot_read snapshot;
  bool based; /* its base was asked for */
  ae_read read;
  /* for the worker */
  ae_task task, back;
  ae_record *records; /* of a page; their bytes in `bytes` */
  uint32_t record_count, record_cap;
  ae_buf bytes;
  ae_buf base; /* the state to begin with; len 0: the initial one */
  uint64_t from;
  bool last_page;
  /* the worker's */
  bool begun;
  ae_state state;
  uint64_t reached; /* version */
  uint64_t events;
  ae_buf after;
  ae_status status;
  ae_error err;
} run;

static void next_subject(run *r);

static ae_ref ref_of(const run *r) {
  return (ae_ref){r->of->realm->name, r->at->type, r->at->id};
}

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_judge *of = r->of;
  ae_actors *actors = r->actors;
  of->impl = NULL;
  of->done(of, status, err);
  subject *one;
  size_t at = 0;
  while ((one = ae_map_next(&r->known, &at))) ae_free(one);
  ae_map_clear(&r->known);
  ae_free(r->records);
  ae_buf_clear(&r->before);
  ae_buf_clear(&r->bytes);
  ae_buf_clear(&r->base);
  ae_buf_clear(&r->after);
  ae_error_clear(&r->err);
  ae_free(r);
  ae__release(actors);
}

/* -- on the worker -- */

static ae_status begin_state(run *r) {
  if (r->begun) return AE_OK;
  r->begun = true;
  r->reached = r->from - 1;
  if (r->base.len > 0)
    return ae_script_load(r->module, ae_buf_view(&r->base), &r->state, &r->err);
  return ae_script_initial(r->module, &r->state, &r->err);
}

static ae_status evolve(run *r, const ae_script_event *events, size_t count) {
  if (count == 0) return AE_OK;
  size_t done = 0;
  ae_status status = ae_script_evolve(r->module, r->state, r->of->realm->name,
                                      r->at->id, events, count, &done, &r->err);
  r->reached += done;
  r->events += done;
  if (status != AE_OK)
    ae_error_add(&r->err, " (replaying version %llu)",
                 (unsigned long long)r->reached + 1);
  return status;
}

static ae_status take_page(run *r) {
  ae_page page = {.records = r->records, .count = r->record_count};
  ae_script_event events[EVOLVE_AT_ONCE];
  size_t count = 0;
  ae_replay replay;
  ae_event event;
  ae_status status;
  ae_replay_init(&replay, &page, r->reached + 1, r->version);
  while ((status = ae_replay_next(&replay, &event, &r->err)) == AE_OK) {
    events[count++] = ae__script_event(&event);
    if (count < EVOLVE_AT_ONCE) continue;
    if ((status = evolve(r, events, count)) != AE_OK) return status;
    count = 0;
  }
  return status == AE_NOT_FOUND ? evolve(r, events, count) : status;
}

static void work(ae_task *task) {
  run *r = AE_CONTAINER(task, run, task);
  ae_error_clear(&r->err);
  r->status = begin_state(r);
  if (r->status == AE_OK) r->status = take_page(r);
  if (r->status == AE_OK && r->last_page)
    r->status = ae_script_dump(r->module, r->state, &r->after, &r->err);
  if (r->status != AE_OK || r->last_page) {
    ae_script_drop(r->module, r->state);
    r->state = 0;
  }
  ae_loop_post(r->actors->loop, &r->back);
}

/* -- one actor -- */

/* Failures that say nothing about the history: the new code may mend them. */
static bool was_stopped(ae_status old) {
  return old == AE_SCRIPT_TIMEOUT || old == AE_MODULE_QUARANTINED ||
         old == AE_UNKNOWN_TYPE;
}

static void compare(run *r) {
  ae_judge *of = r->of;
  ae_judged judged = {.ref = ref_of(r),
                      .version = r->reached,
                      .module = r->module,
                      .before = ae_buf_view(&r->before),
                      .after = ae_buf_view(&r->after)};
  of->actors++;
  of->events += r->events;
  bool failed = r->status != AE_OK && r->status != AE_REPLAY_ERROR;
  if (failed && (r->old == AE_OK || was_stopped(r->old))) {
    judged.err = &r->err;
    of->found(of, &judged);
  } else if (r->status != AE_OK || r->old != AE_OK) {
    of->skipped++;
  } else if (!ae_str_eq(judged.before, judged.after)) {
    of->found(of, &judged);
  }
  next_subject(r);
}

static void on_worked(ae_task *task) {
  run *r = AE_CONTAINER(task, run, back);
  bool over = r->status != AE_OK || r->stopped;
  if (!over && !r->last_page) {
    ae_read_more(&r->read);
    return;
  }
  if (!r->last_page) ae_read_end(&r->read);
  if (r->stopped)
    next_subject(r);
  else
    compare(r);
}

static void copy_page(run *r, const ae_page *page) {
  size_t size = 0;
  for (uint32_t i = 0; i < page->count; i++) size += page->records[i].bytes.len;
  ae_buf_reset(&r->bytes);
  ae_buf_reserve(&r->bytes, size);
  if (page->count > r->record_cap) {
    r->record_cap = page->count;
    r->records = ae_realloc(r->records, r->record_cap * sizeof *r->records);
  }
  r->record_count = page->count;
  for (uint32_t i = 0; i < page->count; i++) {
    ae_record *record = &r->records[i];
    *record = page->records[i];
    record->ref = ref_of(r);
    record->bytes.ptr = r->bytes.ptr + r->bytes.len;
    ae_buf_str(&r->bytes, page->records[i].bytes);
  }
}

static void read_events(run *r);

/* The store cannot give it: nothing is known of the code. */
static void skip(run *r) {
  r->of->actors++;
  r->of->skipped++;
  next_subject(r);
}

static void on_snapshot(ae_snapshot_read *read, ae_status status,
                        const ae_error *err) {
  run *r = read->data;
  (void)err;
  if (status != AE_OK || read->version == 0) {
    skip(r);
    return;
  }
  ae_buf_str(&r->base, read->state);
  r->from = read->version + 1;
  read_events(r);
}

static void on_page(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = read->data;
  (void)err;
  if (status != AE_OK) {
    if (r->begun) /* the worker has a state of it */
      ae_script_drop(r->module, r->state);
    skip(r);
    return;
  }
  if (!r->begun && read->base >= r->from) {
    /* Only the base tells what was before. */
    if (!page->end) ae_read_end(read);
    bool again = r->based;
    r->based = true;
    r->snapshot =
        (ae_snapshot_read){.ref = ref_of(r),
                           .at_most = read->base,
                           .shape = ae_module_snapshot_shape(r->module),
                           .cb = on_snapshot,
                           .data = r};
    if (again ||
        ae_store_load_snapshot(r->actors->store, &r->snapshot, NULL) != AE_OK)
      skip(r);
    return;
  }
  copy_page(r, page);
  r->last_page = page->end;
  ae_worker_push(r->of->worker, &r->task);
}

static void read_events(run *r) {
  r->read = (ae_read){.ref = ref_of(r),
                      .from = r->from,
                      .to = r->version,
                      .page = PAGE,
                      .cb = on_page,
                      .data = r};
  if (ae_store_read(r->actors->store, &r->read, NULL) != AE_OK) skip(r);
}

static void on_current(ae_state_read *read, ae_status status, uint64_t version,
                       ae_str state, const ae_error *err) {
  run *r = read->data;
  (void)err;
  r->old = status;
  r->version = status == AE_OK ? version : UINT64_MAX;
  ae_buf_str(&r->before, state);
  if (r->stopped || (status == AE_OK && version == 0)) {
    next_subject(r);
  } else if (status == AE_REPLAY_ERROR || status == AE_ACTOR_DAMAGED) {
    skip(r);
  } else {
    read_events(r);
  }
}

static void next_subject(run *r) {
  /* That an aggregate is gone is told for all of its kind, not here. */
  subject *one = r->first;
  while (one && ae_script_aggregate(r->of->script, one->type, &r->module,
                                    NULL) != AE_OK)
    one = one->next;
  if (r->stopped || !one) {
    finish(r, r->stopped ? AE_CANCELED : AE_OK, NULL);
    return;
  }
  r->first = one->next;
  r->at = one;
  r->begun = r->based = r->last_page = false;
  r->from = 1;
  r->reached = r->events = 0;
  ae_buf_reset(&r->before);
  ae_buf_reset(&r->after);
  ae_buf_reset(&r->base);
  ae_error_clear(&r->err);
  r->current = (ae_state_read){
      .ref = ref_of(r), .at = UINT64_MAX, .cb = on_current, .data = r};
  ae_actors_state(r->actors, &r->current);
}

/* -- whom -- */

static subject *make_subject(run *r, const ae_ref *ref) {
  size_t len = ref->type.len + 1 + ref->id.len;
  subject *one = ae_alloc(sizeof *one + len);
  one->next = NULL;
  one->len = len;
  memcpy(one->name, ref->type.ptr, ref->type.len);
  one->name[ref->type.len] = '/';
  memcpy(one->name + ref->type.len + 1, ref->id.ptr, ref->id.len);
  one->type = (ae_str){one->name, ref->type.len};
  one->id = (ae_str){one->name + ref->type.len + 1, ref->id.len};
  ae_str name = {one->name, len};
  if (ae_map_get(&r->known, name)) {
    ae_free(one);
    return NULL;
  }
  ae_map_put(&r->known, name, one);
  return one;
}

static void append(run *r, subject *one) {
  one->next = NULL;
  *r->last = one;
  r->last = &one->next;
  r->count++;
}

static void add_live(void *data, const ae_ref *ref) {
  run *r = data;
  subject *one = make_subject(r, ref);
  if (one) append(r, one);
}

static void take_tail(run *r) {
  while (r->tail && r->count < r->of->most) {
    subject *one = r->tail;
    r->tail = one->next;
    append(r, one);
  }
  next_subject(r);
}

static void on_scanned(ae_scan *scan, ae_status status, const ae_page *page,
                       const ae_error *err) {
  run *r = scan->data;
  (void)err;
  if (status != AE_OK) { /* those that are live will do */
    take_tail(r);
    return;
  }
  for (uint32_t i = 0; i < page->count; i++) {
    subject *one = make_subject(r, &page->records[i].ref);
    if (!one) continue;
    one->next = r->tail;
    r->tail = one;
  }
  if (page->end) {
    take_tail(r);
  } else if (r->stopped) {
    ae_scan_end(scan);
    next_subject(r);
  } else {
    ae_scan_more(scan);
  }
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  run *r = read->data;
  (void)err;
  uint64_t position = read->stats.position;
  r->scan = (ae_scan){.ns = r->of->realm->name,
                      .after = position > TAIL ? position - TAIL : 0,
                      .until = position,
                      .page = PAGE,
                      .cb = on_scanned,
                      .data = r};
  if (status != AE_OK ||
      ae_store_scan(r->actors->store, &r->scan, NULL) != AE_OK)
    take_tail(r);
}

static void begin(ae_task *task) {
  run *r = AE_CONTAINER(task, run, begin);
  ae_realm_recent(r->of->realm, r->of->most, add_live, r);
  r->stats =
      (ae_stats_read){.ns = r->of->realm->name, .cb = on_stats, .data = r};
  if (r->count >= r->of->most ||
      ae_store_stats(r->actors->store, &r->stats, NULL) != AE_OK)
    next_subject(r);
}

void ae_judge_start(ae_judge *judge) {
  run *r = ae_zalloc(sizeof *r);
  judge->impl = r;
  judge->actors = judge->skipped = 0;
  judge->events = 0;
  r->of = judge;
  r->actors = judge->realm->actors;
  r->last = &r->first;
  r->begin.run = begin;
  r->task.run = work;
  r->back.run = on_worked;
  ae__hold(r->actors);
  ae_loop_defer(r->actors->loop, &r->begin);
}

void ae_judge_stop(ae_judge *judge) {
  run *r = judge->impl;
  if (r) r->stopped = true;
}
