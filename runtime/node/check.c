/*  stats ─► scan ─► page ─► bases, snapshots of those new in it ─► evolve ─┐
 *             ▲                                                            │
 *             └────────────────────────────────────────────────────────────┤
 *                                            the last: all states compared ◄
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

static ae_status begin_side(ae__checked *actor, ae__side side, ae_str state,
                            ae_error *err) {
  ae__check_half *half = &actor->halves[side];
  ae_module *module = actor->of->modules[side];
  ae_state loaded = 0;
  ae_buf_reset(&half->saved);
  ae_buf_str(&half->saved, state);
  if (!half->state) return AE_OK;
  /* It stays among those whose state is in the script. */
  ae_status status = ae_script_load(module, state, &loaded, err);
  ae_script_drop(module, half->state);
  half->state = loaded;
  return status;
}

/* What is before a base is gone: replay starts there, or goes on from there
 * where retention goes on meanwhile. */
static ae_status begin_at(ae__checked *actor, const ae_snapshot_read *read,
                          ae_error *err) {
  if (read->version < actor->based)
    return ae_error_set(err, AE_HISTORY_TRIMMED,
                        "its history starts after version %llu, and its base "
                        "snapshot is not there",
                        (unsigned long long)actor->based);
  if (read->version <= actor->version) return AE_OK;
  const ae_module *old = actor->of->modules[AE__OLD];
  actor->version = read->version;
  if (!old || ae_module_snapshot_shape(old) != read->shape) actor->alone = true;
  if (!actor->alone && begin_side(actor, AE__OLD, read->state, NULL) != AE_OK)
    actor->alone = true;
  return begin_side(actor, AE__NEW, read->state, err);
}

static void ask(run *r, ae__checked *actor);

static void on_snapshot(ae_snapshot_read *read, ae_status status,
                        const ae_error *err) {
  ae__checked *actor = read->data;
  run *r = actor->run;
  ae_error why = {0};
  actor->waiting = false;
  if (status != AE_OK) {
    ae_error_set(&why, status, "its snapshot cannot be read: %s",
                 err ? ae_error_text(err) : ae_status_text(status));
  } else if (!read->fitting) {
    status = begin_at(actor, read, &why);
  } else if (read->version > actor->version && !r->of->no_snapshots) {
    actor->snapshot_version = read->version;
    ae_buf_str(&actor->snapshot, read->state);
  }
  if (status != AE_OK) ae__check_fail(actor, &why);
  ae_error_clear(&why);
  ask(r, actor);
  if (--r->pending == 0) take_page(r);
}

/* First for its base, then for the snapshot that is to be compared. */
static void ask(run *r, ae__checked *actor) {
  if (actor->over || actor->waiting) return;
  int64_t shape = ae_module_snapshot_shape(actor->of->modules[AE__NEW]);
  bool base = actor->base > actor->based;
  if (!base && (actor->asked || shape == 0)) return;
  ae_error err = {0};
  actor->waiting = true;
  actor->read = (ae_snapshot_read){.ref = ae__check_ref(actor),
                                   .at_most = base ? actor->base : UINT64_MAX,
                                   .shape = shape,
                                   .fitting = !base,
                                   .cb = on_snapshot,
                                   .data = actor};
  if (base)
    actor->based = actor->base;
  else
    actor->asked = true;
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
    if (r->records[i].base > actor->base) actor->base = r->records[i].base;
  }
  for (uint32_t i = 0; i < r->record_count; i++) ask(r, r->actors[i]);
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
