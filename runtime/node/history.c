/*  start ─► read ──────────────► step, step … ─► done
 *             │ history starts later    ▲
 *             └─► base snapshot ─► read ┘                        */
#include "node/history.h"

#include "base/mem.h"
#include "node/script_event.h"
#include "node/substitute.h"
#include "store/replay.h"

typedef struct run {
  ae_history *of;
  ae_node *node;
  ae__substitute substitute;
  ae_module *module;
  ae_state state;
  uint64_t version;
  ae_read read;
  ae_snapshot_read snapshot;
  ae_buf before, after;
} run;

static void finish(run *r, ae_status status, ae_error *err) {
  if (status != AE_OK && err) ae__substitute_name(&r->substitute, err);
  ae_script_drop(r->module, r->state);
  ae__substitute_close(&r->substitute);
  ae_history *of = r->of;
  uint64_t version = r->version;
  ae_buf_clear(&r->before);
  ae_buf_clear(&r->after);
  ae_free(r);
  of->impl = NULL;
  of->done(of, status, version, err);
}

static void finish_copy(run *r, ae_status status, const ae_error *err) {
  ae_error copy = {0};
  ae_error_set(&copy, status, "%s",
               err ? ae_error_text(err) : ae_status_text(status));
  if (err) {
    ae_buf_str(&copy.facts, ae_buf_view(&err->facts));
    copy.nfacts = err->nfacts;
  }
  finish(r, status, &copy);
  ae_error_clear(&copy);
}

static ae_status dump(run *r, ae_buf *out, ae_error *err) {
  ae_buf_reset(out);
  return ae_script_dump(r->module, r->state, out, err);
}

static ae_status take_event(run *r, const ae_event *event, ae_error *err) {
  ae_script_event one = ae__script_event_of(event);
  size_t done;
  if (event->version != r->version + 1)
    return ae_error_set(err, AE_REPLAY_ERROR,
                        "version %llu is missing from the store",
                        (unsigned long long)r->version + 1);
  ae_status status = ae_script_evolve(r->module, r->state, r->of->ref.ns,
                                      r->of->ref.id, &one, 1, &done, err);
  if (status != AE_OK) {
    ae_error_add(err, " (replaying version %llu, %.*s)",
                 (unsigned long long)event->version, AE_FMT(event->type));
    return status;
  }
  r->version++;
  if ((status = dump(r, &r->after, err)) != AE_OK) {
    ae_error_add(err, " (after version %llu, %.*s)",
                 (unsigned long long)event->version, AE_FMT(event->type));
    return status;
  }
  ae_history_step step = {event, ae_buf_view(&r->before),
                          ae_buf_view(&r->after)};
  if (!r->of->step(r->of, &step)) return AE_CANCELED;
  ae_buf_move(&r->before, &r->after);
  return AE_OK;
}

static ae_status take_page(run *r, const ae_page *page, ae_error *err) {
  ae_replay replay;
  ae_event event;
  ae_status status;
  ae_replay_init(&replay, page, r->version + 1, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &event, err)) == AE_OK)
    if ((status = take_event(r, &event, err)) != AE_OK) return status;
  return status == AE_NOT_FOUND ? AE_OK : status;
}

static void on_page(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err);

static void read_on(run *r) {
  r->read = (ae_read){.ref = r->of->ref,
                      .from = r->version + 1,
                      .to = UINT64_MAX,
                      .cb = on_page,
                      .data = r};
  ae_error err = {0};
  ae_status status = ae_store_read(ae_node_store(r->node), &r->read, &err);
  if (status != AE_OK) finish(r, status, &err);
  ae_error_clear(&err);
}

static void on_base(ae_snapshot_read *read, ae_status status,
                    const ae_error *err) {
  run *r = read->data;
  ae_error why = {0};
  if (status == AE_OK && read->version < r->read.base)
    status = ae_error_set(&why, AE_HISTORY_TRIMMED,
                          "history starts after version %llu, and its base "
                          "snapshot is not there",
                          (unsigned long long)r->read.base);
  else if (status != AE_OK && err)
    ae_error_set(&why, status, "%s", ae_error_text(err));
  if (status == AE_OK) {
    ae_script_drop(r->module, r->state);
    r->state = 0;
    status = ae_script_load(r->module, read->state, &r->state, &why);
  }
  if (status == AE_OK) status = dump(r, &r->before, &why);
  r->version = read->version;
  if (status == AE_OK)
    read_on(r);
  else
    finish(r, status, &why);
  ae_error_clear(&why);
}

static void load_base(run *r) {
  r->snapshot = (ae_snapshot_read){.ref = r->of->ref,
                                   .at_most = r->read.base,
                                   .shape = ae_module_snapshot_shape(r->module),
                                   .cb = on_base,
                                   .data = r};
  ae_error err = {0};
  ae_status status =
      ae_store_load_snapshot(ae_node_store(r->node), &r->snapshot, &err);
  if (status != AE_OK) finish(r, status, &err);
  ae_error_clear(&err);
}

static void on_page(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = read->data;
  if (status != AE_OK) {
    finish_copy(r, status, err);
    return;
  }
  if (read->base > r->version) {
    if (!page->end) ae_read_end(read);
    load_base(r);
    return;
  }
  ae_error why = {0};
  status = take_page(r, page, &why);
  if (status == AE_OK && !page->end) {
    ae_read_more(read);
  } else {
    if (!page->end) ae_read_end(read);
    finish(r, status, &why);
  }
  ae_error_clear(&why);
}

ae_status ae_history_start(ae_node *node, ae_history *history, ae_error *err) {
  run *r = ae_zalloc(sizeof *r);
  r->of = history;
  r->node = node;
  history->impl = r;
  const ae_namespace_config *ns;
  ae_status status =
      ae_config_namespace(ae_node_config(node), history->ref.ns, &ns, err);
  ae_script *script = ae_node_script(node, history->ref.ns);
  if (status == AE_OK && history->module) {
    status = ae__substitute_open(&r->substitute, ns, history->ref.type,
                                 history->module, err);
    script = r->substitute.script;
  }
  if (status == AE_OK)
    status = ae_script_aggregate(script, history->ref.type, &r->module, err);
  if (status == AE_OK) status = ae_script_initial(r->module, &r->state, err);
  if (status == AE_OK) status = dump(r, &r->before, err);
  if (status == AE_OK) {
    read_on(r);
    return AE_OK;
  }
  if (err) ae__substitute_name(&r->substitute, err);
  if (r->module) ae_script_drop(r->module, r->state);
  ae__substitute_close(&r->substitute);
  ae_buf_clear(&r->before);
  ae_free(r);
  history->impl = NULL;
  return status;
}
