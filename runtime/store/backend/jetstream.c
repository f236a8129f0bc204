/* The JetStream backend's doors: what is asked of the store, as ops that the
 * follower's SQLite answers; opening and closing. */
#include "store/backend/jetstream.h"

#include "base/log.h"
#include "base/mem.h"
#include "namespace/encode.h"

enum {
  TICK_MS = 1000,
  CLOSE_MS = 10000, /* for the server to answer what is under way */
};

/* -- reads and scans: an op stands in until the inner store has it -- */

static void read_run(ae__js_op *op) {
  ae_read *read = op->of;
  if (read) {
    ae_error err = {0};
    read->impl = NULL;
    ae_status status = ae_store_read(op->space->inner, read, &err);
    if (status != AE_OK) read->cb(read, status, NULL, &err);
    ae_error_clear(&err);
  }
  ae__js_op_free(op);
}

static void read_fail(ae__js_op *op, ae_status status, const ae_error *err) {
  ae_read *read = op->of;
  if (read) {
    read->impl = NULL;
    read->cb(read, status, NULL, err);
  }
  ae__js_op_free(op);
}

static ae_status js_read(ae_store *store, ae_read *read, ae_error *err) {
  (void)err;
  ae__js_op *op = ae__js_op_new(ae__js_of(store), read->ref.ns, AE__JS_ACTOR);
  op->ref = read->ref;
  op->read = true;
  op->of = read;
  op->run = read_run;
  op->fail = read_fail;
  read->impl = op;
  ae__js_op_start(op);
  return AE_OK;
}

/* Before its first page nobody asks for more. */
static void js_read_more(ae_read *read) {
  (void)read;
}

static void js_read_end(ae_read *read) {
  ae__js_op *op = read->impl;
  op->of = NULL;
  read->impl = NULL;
}

static void scan_run(ae__js_op *op) {
  ae_scan *scan = op->of;
  if (scan) {
    ae_error err = {0};
    scan->impl = NULL;
    ae_status status = ae_store_scan(op->space->inner, scan, &err);
    if (status != AE_OK) scan->cb(scan, status, NULL, &err);
    ae_error_clear(&err);
  }
  ae__js_op_free(op);
}

static void scan_fail(ae__js_op *op, ae_status status, const ae_error *err) {
  ae_scan *scan = op->of;
  if (scan) {
    scan->impl = NULL;
    scan->cb(scan, status, NULL, err);
  }
  ae__js_op_free(op);
}

static ae_status js_scan(ae_store *store, ae_scan *scan, ae_error *err) {
  if (!scan->ns.ptr) return ae__js_scan_all(store, scan, err);
  ae__js_op *op = ae__js_op_new(ae__js_of(store), scan->ns, AE__JS_STREAM);
  op->read = true;
  op->of = scan;
  op->run = scan_run;
  op->fail = scan_fail;
  scan->impl = op;
  ae__js_op_start(op);
  return AE_OK;
}

static void js_scan_more(ae_scan *scan) {
  ae__js_op *op = scan->impl;
  if (op->all) ae__js_scan_all_more(scan);
}

static void js_scan_end(ae_scan *scan) {
  ae__js_op *op = scan->impl;
  if (op->all)
    ae__js_scan_all_end(scan);
  else
    op->of = NULL;
  scan->impl = NULL;
}

/* -- what is answered once: the inner store takes the caller's struct -- */

#define ONCE(name, type, call, get_ns, get_ref, needs, reads)            \
  static void name##_run(ae__js_op *op) {                                \
    type *of = op->of;                                                   \
    ae_error err = {0};                                                  \
    ae_status status = call(op->space->inner, of, &err);                 \
    if (status != AE_OK) name##_tell(of, status, &err);                  \
    ae_error_clear(&err);                                                \
    ae__js_op_free(op);                                                  \
  }                                                                      \
  static void name##_fail(ae__js_op *op, ae_status status,               \
                          const ae_error *err) {                         \
    name##_tell(op->of, status, err);                                    \
    ae__js_op_free(op);                                                  \
  }                                                                      \
  static ae_status js_##name(ae_store *store, type *of, ae_error *err) { \
    (void)err;                                                           \
    ae__js_op *op = ae__js_op_new(ae__js_of(store), of->get_ns, needs);  \
    get_ref;                                                             \
    op->of = of;                                                         \
    op->read = reads;                                                    \
    op->run = name##_run;                                                \
    op->fail = name##_fail;                                              \
    ae__js_op_start(op);                                                 \
    return AE_OK;                                                        \
  }

static void lookup_tell(ae_lookup *lookup, ae_status status,
                        const ae_error *err) {
  lookup->version = lookup->position = lookup->last = 0;
  lookup->record = (ae_str){0};
  lookup->cb(lookup, status, err);
}
ONCE(lookup, ae_lookup, ae_store_lookup, ref.ns, op->ref = of->ref,
     AE__JS_ACTOR, true)

static void snapshot_tell(ae_snapshot_read *read, ae_status status,
                          const ae_error *err) {
  read->version = 0;
  read->state = (ae_str){0};
  read->cb(read, status, err);
}
ONCE(snapshot, ae_snapshot_read, ae_store_load_snapshot, ref.ns, (void)0,
     AE__JS_NOTHING, true)

static void rows_tell(ae_rows_read *read, ae_status status,
                      const ae_error *err) {
  read->cb(read, status, NULL, 0, err);
}
ONCE(rows, ae_rows_read, ae_store_read_rows, ns, (void)0, AE__JS_NOTHING, true)

static void put_tell(ae_rows_write *rows, ae_status status,
                     const ae_error *err) {
  rows->write.cb(&rows->write, status, err);
}
ONCE(put, ae_rows_write, ae_store_put_rows, ns, (void)0, AE__JS_NOTHING, false)

static void stats_one_tell(ae_stats_read *read, ae_status status,
                           const ae_error *err) {
  read->cb(read, status, err);
}
ONCE(stats_one, ae_stats_read, ae_store_stats, ns, (void)0, AE__JS_STREAM, true)

static ae_status js_stats(ae_store *store, ae_stats_read *read, ae_error *err) {
  return read->ns.ptr ? js_stats_one(store, read, err)
                      : ae__js_stats_all(store, read, err);
}

static void bases_tell(ae_bases_read *read, ae_status status,
                       const ae_error *err) {
  read->next = 0;
  read->cb(read, status, NULL, 0, err);
}
ONCE(bases, ae_bases_read, ae_store_bases, ns, (void)0, AE__JS_STREAM, true)

/* -- a write that leaves nothing: does JetStream answer? -- */

typedef struct probing {
  ae_wire_request request; /* first */
  ae__js *js;
  ae_write *write;
} probing;

static void probed(ae_wire_request *request, ae_status status,
                   const ae_wire_message *message) {
  probing *probe = (probing *)request;
  ae__js_answer answer = {0};
  ae_error err = {0};
  if (status == AE_OK) {
    ae__js_answer_read(&answer, message);
    if (answer.code) status = ae__js_refusal(&answer, "use", "account", &err);
    ae__js_answer_clear(&answer);
  } else if (status != AE_CANCELED) {
    status = ae__js_silence(probe->js, &err);
  }
  ae__store_wrote(&probe->js->store, status, &err);
  probe->write->cb(probe->write, status, status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
  ae_free(probe);
}

static ae_status js_probe(ae_store *store, ae_write *write, ae_error *err) {
  probing *probe = ae_zalloc(sizeof *probe);
  probe->request.cb = probed;
  probe->js = ae__js_of(store);
  probe->write = write;
  /* What every tenant may ask (`aether nats-permissions`), of no subject. */
  ae_status status = ae__js_ask(probe->js, &probe->request, "STREAM.NAMES",
                                "{\"subject\":\"aether.probe\"}", err);
  if (status != AE_OK) ae_free(probe);
  return status;
}

/* Nothing is kept back: the wire sends what a turn brings together. */
static void js_flush(ae_store *store) {
  (void)store;
}

/* Commits with command ids are never deleted from a stream, and of those that
 * are missing here only hashes are known: nothing that a stream could hold. */
static ae_status js_begin(ae_store *store, ae_begin *begin, ae_error *err) {
  (void)store;
  return ae_error_set(err, AE_USAGE,
                      "the history of %.*s/%.*s/%.*s starts after version "
                      "%llu, for retention removed what was before; a stream "
                      "takes in whole histories only",
                      AE_FMT(begin->base.ref.ns), AE_FMT(begin->base.ref.type),
                      AE_FMT(begin->base.ref.id),
                      (unsigned long long)begin->base.version);
}

/* A message that is stored stays as it is. */
static ae_status js_mend(ae_store *store, ae_mend *mend, ae_error *err) {
  (void)store;
  return ae_error_set(err, AE_USAGE,
                      "%.*s/%.*s/%.*s is in a stream, which cannot be changed: "
                      "`aether export %.*s --skip-damaged` gives what can be "
                      "read, to be imported again",
                      AE_FMT(mend->ref.ns), AE_FMT(mend->ref.type),
                      AE_FMT(mend->ref.id), AE_FMT(mend->ref.ns));
}

/* -- the files are the server's -- */

static ae_status js_copy(ae_store *store, ae_copy *copy, ae_error *err) {
  (void)store, (void)copy;
  return ae_error_set(err, AE_USAGE,
                      "the store is nats-server's: `nats stream backup` copies "
                      "a stream, `aether export NAMESPACE` the events of one "
                      "namespace");
}

typedef struct looking {
  ae_task task; /* first */
  ae__js *js;
  ae_inspect *inspect;
} looking;

static void inspect_run(ae_task *task) {
  looking *look = (looking *)task;
  ae__js *js = look->js;
  ae_inspect *inspect = look->inspect;
  ae_free(look);
  inspect->file_bytes = inspect->log_bytes = inspect->free_bytes = 0;
  inspect->unindexed = 0;
  inspect->problem = (ae_str){0};
  ae_loop_release(js->store.loop);
  inspect->cb(inspect, AE_OK, NULL);
  js->ops--;
  ae__js_close_look(js);
}

static ae_status js_inspect(ae_store *store, ae_inspect *inspect,
                            ae_error *err) {
  (void)err;
  looking *look = ae_zalloc(sizeof *look);
  look->js = ae__js_of(store);
  look->inspect = inspect;
  look->task.run = inspect_run;
  look->js->ops++;
  ae_loop_hold(store->loop);
  ae_loop_defer(store->loop, &look->task);
  return AE_OK;
}

/* The server's files are its own to put in order: nothing is done. */
static void compact_run(ae_task *task) {
  ae_write *write = AE_CONTAINER(task, ae_write, task);
  ae__js *js = write->impl;
  write->impl = NULL;
  ae_loop_release(js->store.loop);
  write->cb(write, AE_OK, NULL);
  js->ops--;
  ae__js_close_look(js);
}

static ae_status js_compact(ae_store *store, ae_write *write, ae_error *err) {
  (void)err;
  write->impl = ae__js_of(store);
  write->task.run = compact_run;
  ae__js_of(store)->ops++;
  ae_loop_hold(store->loop);
  ae_loop_defer(store->loop, &write->task);
  return AE_OK;
}

/* -- opening -- */

static void on_changed(void *data, const ae_wire_info *info) {
  ae__js *js = data;
  ae__js_space *space;
  if (!info->connected) {
    ae_error err = {0};
    ae_error_set(&err, AE_STORE_UNAVAILABLE,
                 "no connection to nats-server: %s; it is tried again",
                 info->trouble);
    ae_error_cstr(&err, "cause", "not connected");
    ae__store_wrote(&js->store, AE_STORE_UNAVAILABLE, &err);
    ae_error_clear(&err);
    return;
  }
  for (size_t at = 0; (space = ae_map_next(&js->spaces, &at));)
    if (space->phase == AE__JS_OPEN || space->phase == AE__JS_STARTING)
      ae__js_space_check(space);
  ae__js_stranded_go(js);
}

static void on_tick(uv_timer_t *timer) {
  ae__js *js = timer->data;
  ae__js_space *space;
  uint64_t now = uv_now(&js->store.loop->uv);
  for (size_t at = 0; (space = ae_map_next(&js->spaces, &at));)
    ae__js_follow_tick(space, now);
}

static ae_status js_open(ae_loop *loop, const ae_store_options *options,
                         const char *path, ae_store **out, ae_error *err) {
  (void)path;
  ae__js *js = ae_zalloc(sizeof *js);
  js->store.backend = &ae__jetstream_backend;
  js->store.loop = loop;
  js->store.mode = options->mode;
  js->lock = -1;
  js->ordered = options->ordered;
  js->replicas = options->jetstream.replicas ? options->jetstream.replicas : 1;
  ae_list_init(&js->ring);
  ae_list_init(&js->stranded);
  ae_list_init(&js->due);
  ae_wire_options wire = options->jetstream.wire;
  wire.url = options->url;
  wire.changed = on_changed;
  wire.data = js;
  ae_status status = ae__js_folder_take(js, options->jetstream.folder, err);
  if (status == AE_OK) status = ae_wire_open(loop, &wire, &js->wire, err);
  if (status != AE_OK) {
    ae__js_folder_leave(js);
    ae_free(js);
    return status;
  }
  uv_timer_init(&loop->uv, &js->timer);
  js->timer.data = js;
  uv_timer_start(&js->timer, on_tick, TICK_MS, TICK_MS);
  uv_unref((uv_handle_t *)&js->timer);
  uv_timer_init(&loop->uv, &js->resend);
  js->resend.data = js;
  uv_unref((uv_handle_t *)&js->resend);
  *out = &js->store;
  return AE_OK;
}

ae_wire *ae_store_wire(ae_store *store) {
  bool mine = store->backend == &ae__jetstream_backend;
  return mine ? ae__js_of(store)->wire : NULL;
}

/* -- closing: appends are answered, reads are canceled, followers close -- */

static void wire_closed(void *data) {
  ae__js *js = data;
  void (*closed)(void *) = js->closed;
  void *closed_data = js->closed_data;
  ae__js_space *space;
  for (size_t at = 0; (space = ae_map_next(&js->spaces, &at));)
    ae__js_space_free(space);
  ae_map_clear(&js->spaces);
  ae__js_folder_leave(js);
  ae__store_clear(&js->store);
  ae_loop_release(js->store.loop);
  ae_free(js);
  closed(closed_data);
}

static void resend_closed(uv_handle_t *timer) {
  ae__js *js = timer->data;
  ae_wire_close(js->wire, wire_closed, js);
}

static void timer_closed(uv_handle_t *timer) {
  ae__js *js = timer->data;
  uv_close((uv_handle_t *)&js->resend, resend_closed);
}

static void close_spaces(ae_task *task) {
  ae__js *js = AE_CONTAINER(task, ae__js, task);
  ae__js_space *space;
  js->closing = true;
  js->leaving++;
  ae_error err = {0};
  ae_error_set(&err, AE_CANCELED, "the store is closing");
  for (size_t at = 0; (space = ae_map_next(&js->spaces, &at));)
    ae__js_space_leave(space, AE_CANCELED, &err);
  ae_error_clear(&err);
  js->leaving--;
  ae__js_close_look(js);
}

void ae__js_close_look(ae__js *js) {
  if (!js->closed || js->over) return;
  if (!js->closing) { /* first what was accepted is answered */
    if (js->flights > 0 || js->pumping || js->task.run) return;
    uv_timer_stop(&js->timer);
    js->task.run = close_spaces;
    ae_loop_defer(js->store.loop, &js->task);
    return;
  }
  if (js->flights > 0 || js->ops > 0 || js->leaving > 0) return;
  js->over = true;
  ae__js_heads_clear(js);
  uv_close((uv_handle_t *)&js->timer, timer_closed);
}

/* The server does not answer: what is under way is uncertain. */
static void close_anyway(uv_timer_t *timer) {
  ae__js *js = timer->data;
  js->closing = true;
  ae__js_stranded_fail(js);
  js->closing = false;
  ae__js_close_look(js);
}

static void js_close(ae_store *store, void (*cb)(void *data), void *data) {
  ae__js *js = ae__js_of(store);
  js->closed = cb;
  js->closed_data = data;
  ae_loop_hold(store->loop);
  ae__js_space *space;
  for (size_t at = 0; (space = ae_map_next(&js->spaces, &at));) {
    ae__js_ops_cancel(&space->waiting);
    ae__js_ops_cancel(&space->behind);
  }
  ae_wire_info info;
  ae_wire_info_get(js->wire, &info);
  uv_timer_start(&js->timer, close_anyway, info.connected ? CLOSE_MS : 0,
                 TICK_MS);
  ae__js_close_look(js);
}

const ae_backend ae__jetstream_backend = {
    .scheme = "nats",
    .promise = "is in the stream, on as many replicas as it has",
    .open = js_open,
    .close = js_close,
    .append = ae__js_append,
    .record_max = ae__js_record_max,
    .flush = js_flush,
    .read = js_read,
    .read_more = js_read_more,
    .read_end = js_read_end,
    .scan = js_scan,
    .scan_more = js_scan_more,
    .scan_end = js_scan_end,
    .lookup = js_lookup,
    .load_snapshot = js_snapshot,
    .read_rows = js_rows,
    .stats = js_stats,
    .save_snapshot = ae__js_save_snapshot,
    .put_rows = js_put,
    .trim = ae__js_trim,
    .probe = js_probe,
    .copy = js_copy,
    .inspect = js_inspect,
    .drop = ae__js_delete,
    .bases = js_bases,
    .begin = js_begin,
    .mend = js_mend,
    .compact = js_compact,
};
