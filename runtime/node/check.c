/*  stats ─► scan ─► page ─► snapshots of the actors new in it ─► evolve ─┐
 *             ▲                                                          │
 *             └──────────────────────────────────────────────────────────┤
 *                                          the last: all states compared ◄
 */
#include "node/checking.h"

typedef ae__check_run run;

static void free_run(run *r) {
  ae__check_free(r);
  ae_free(r->records);
  ae_free(r->actors);
  ae_buf_clear(&r->bytes);
  ae_buf_clear(&r->dumped);
  ae_buf_clear(&r->other);
  ae_free(r);
}

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_check *of = r->of;
  if (r->scanning) ae_scan_end(&r->scan);
  free_run(r);
  of->impl = NULL;
  of->done(of, status, err);
}

static void take_page(run *r) {
  for (uint32_t i = 0; i < r->record_count; i++) {
    r->of->counts.commits++;
    ae__check_take(r->actors[i], &r->records[i]);
  }
  if (r->of->progress) r->of->progress(r->of);
  if (r->stopped) {
    finish(r, AE_CANCELED, NULL);
  } else if (r->at_end) {
    ae__check_sides(r);
    finish(r, AE_OK, NULL);
  } else {
    ae_scan_more(&r->scan);
  }
}

/* What is before a base may be gone: replay starts there. */
static void begin_at(ae__checked *actor, const ae_snapshot_read *read) {
  const ae_module *old = actor->of->modules[AE__OLD];
  actor->version = read->version;
  ae_buf_str(&actor->halves[AE__NEW].saved, read->state);
  if (!old || ae_module_snapshot_shape(old) != read->shape)
    actor->alone = true;
  else
    ae_buf_str(&actor->halves[AE__OLD].saved, read->state);
}

static void on_snapshot(ae_snapshot_read *read, ae_status status,
                        const ae_error *err) {
  ae__checked *actor = read->data;
  run *r = actor->run;
  if (status != AE_OK) {
    ae_error copy = {0};
    ae_error_set(&copy, status, "its snapshot cannot be read: %s",
                 err ? ae_error_text(err) : ae_status_text(status));
    ae__check_fail(actor, &copy);
    ae_error_clear(&copy);
  } else if (read->version > 0 && read->base) {
    begin_at(actor, read);
  } else if (read->version > 0 && !r->of->no_snapshots) {
    actor->snapshot_version = read->version;
    ae_buf_str(&actor->snapshot, read->state);
  }
  if (--r->pending == 0) take_page(r);
}

static void ask_snapshot(run *r, ae__checked *actor) {
  ae_error err = {0};
  actor->read = (ae_snapshot_read){
      .ref = ae__check_ref(actor),
      .at_most = UINT64_MAX,
      .shape = ae_module_snapshot_shape(actor->of->modules[AE__NEW]),
      .cb = on_snapshot,
      .data = actor};
  if (ae_store_load_snapshot(ae_node_store(r->node), &actor->read, &err) ==
      AE_OK)
    r->pending++;
  else
    ae__check_fail(actor, &err);
  ae_error_clear(&err);
}

/* The page is the store's; it is needed until the snapshots are there. */
static void copy_page(run *r, const ae_page *page) {
  r->record_count = page->count;
  r->records = ae_realloc(r->records, sizeof(ae_record) * (page->count + 1));
  r->actors = ae_realloc(r->actors, sizeof(ae__checked *) * (page->count + 1));
  ae_buf_reset(&r->bytes);
  size_t size = 0;
  for (uint32_t i = 0; i < page->count; i++) {
    const ae_record *from = &page->records[i];
    size += from->bytes.len + from->ref.ns.len + from->ref.type.len +
            from->ref.id.len;
  }
  ae_buf_reserve(&r->bytes, size + 1);
  for (uint32_t i = 0; i < page->count; i++) {
    r->records[i] = page->records[i];
    ae_str *parts[] = {&r->records[i].bytes, &r->records[i].ref.ns,
                       &r->records[i].ref.type, &r->records[i].ref.id};
    for (size_t k = 0; k < 4; k++) {
      const char *at = r->bytes.ptr + r->bytes.len;
      ae_buf_str(&r->bytes, *parts[k]);
      parts[k]->ptr = at;
    }
  }
}

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = scan->data;
  if (status != AE_OK) {
    r->scanning = false;
    finish(r, status, err);
    return;
  }
  r->at_end = page->end;
  if (page->end) r->scanning = false;
  copy_page(r, page);
  r->pending = 1; /* holds the page until all are asked */
  for (uint32_t i = 0; i < r->record_count; i++) {
    ae__checked *actor = ae__check_actor(r, &r->records[i].ref);
    r->actors[i] = actor;
    if (actor->asked || actor->over) continue;
    actor->asked = true;
    if (ae_module_snapshot_shape(actor->of->modules[AE__NEW]) ||
        r->records[i].first_version > 1)
      ask_snapshot(r, actor);
  }
  if (--r->pending == 0) take_page(r);
}

static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  run *r = stats->data;
  ae_error why = {0};
  if (status == AE_OK) {
    r->of->total = stats->stats.commits;
    r->scan =
        (ae_scan){.until = stats->stats.position, .cb = on_page, .data = r};
    status = ae_store_scan(ae_node_store(r->node), &r->scan, &why);
    r->scanning = status == AE_OK;
    err = &why;
  }
  if (status != AE_OK) finish(r, status, err);
  ae_error_clear(&why);
}

ae_status ae_check_start(ae_node *node, ae_check *check, ae_error *err) {
  run *r = ae_zalloc(sizeof *r);
  r->of = check;
  r->node = node;
  r->stats = (ae_stats_read){.cb = on_stats, .data = r};
  check->impl = r;
  ae_status status = ae_store_stats(ae_node_store(node), &r->stats, err);
  if (status == AE_OK) return AE_OK;
  check->impl = NULL;
  free_run(r);
  return status;
}

void ae_check_stop(ae_check *check) {
  run *r = check->impl;
  if (r) r->stopped = true;
}
