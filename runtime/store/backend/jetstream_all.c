/* All namespaces, one after the other: those whose streams there are. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"

typedef struct ae__js_all {
  ae__js_op op; /* first; only its handle and `all` are used */
  ae__js *js;
  ae_wire_request request;
  char **names;
  size_t count, at;
  ae_status status; /* of what went wrong with a namespace */
  /* a scan */
  ae_scan *scan; /* the caller's; NULL: ended */
  ae_scan one;   /* of names[at] */
  bool running;  /* `one` is */
  bool busy;     /* in the caller's callback */
  bool wanted;   /* more was asked for in it */
  bool past;     /* `one` has ended */
  /* stats */
  ae_stats_read *stats;
  ae_stats_read part;
  ae_stats sum;
  void (*next)(struct ae__js_all *all);
  void (*fail)(struct ae__js_all *all, ae_status status, const ae_error *err);
} ae__js_all;

static void all_free(ae__js_all *all) {
  ae__js *js = all->js;
  for (size_t i = 0; i < all->count; i++) ae_free(all->names[i]);
  ae_free(all->names);
  ae_free(all);
  js->ops--;
  ae__js_close_look(js);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "{ns}_events"; `_` followed by `e` is never part of an encoded name's end. */
static void add_name(ae__js_all *all, ae_str stream) {
  static const char end[] = "_events";
  size_t len = sizeof end - 1;
  if (stream.len <= len || memcmp(stream.ptr + stream.len - len, end, len) != 0)
    return;
  ae_buf name = {0};
  if (ae_decode((ae_str){stream.ptr, stream.len - len}, &name)) {
    all->names = ae_realloc(all->names, (all->count + 1) * sizeof *all->names);
    all->names[all->count++] = ae_strdup(ae_buf_cstr(&name));
  }
  ae_buf_clear(&name);
}

static void ask(ae__js_all *all, size_t offset);

static void on_names(ae_wire_request *request, ae_status status,
                     const ae_wire_message *message) {
  ae__js_all *all = request->data;
  ae__js_answer answer = {0};
  ae_error err = {0};
  uint32_t count = 0;
  uint64_t total = 0, offset = 0;
  if (status != AE_OK) {
    if (status != AE_CANCELED) status = ae__js_silence(all->js, &err);
    all->fail(all, status, &err);
    ae_error_clear(&err);
    return;
  }
  ae__js_answer_read(&answer, message);
  if (answer.code) {
    status = ae__js_refusal(&answer, "list", "s", &err);
    all->fail(all, status, &err);
    ae_error_clear(&err);
    ae__js_answer_clear(&answer);
    return;
  }
  ae_str list;
  if (ae_unpack_field(ae_buf_view(&answer.body), "streams", &list)) {
    ae_unpack cursor = ae_unpack_of(list);
    ae_str name;
    if (ae_unpack_array(&cursor, &count))
      for (uint32_t i = 0; i < count && ae_unpack_str(&cursor, &name); i++)
        add_name(all, name);
  }
  ae__js_answer_uint(&answer, "total", NULL, &total);
  ae__js_answer_uint(&answer, "offset", NULL, &offset);
  ae__js_answer_clear(&answer);
  if (count > 0 && offset + count < total) {
    ask(all, offset + count);
    return;
  }
  if (all->count > 1)
    qsort(all->names, all->count, sizeof *all->names, by_name);
  all->next(all);
}

static void ask(ae__js_all *all, size_t offset) {
  char json[128];
  snprintf(json, sizeof json, "{\"subject\":\"aether.log.>\",\"offset\":%zu}",
           offset);
  all->request.cb = on_names;
  all->request.data = all;
  ae_error err = {0};
  ae_status status =
      ae__js_ask(all->js, &all->request, "STREAM.NAMES", json, &err);
  if (status != AE_OK) all->fail(all, status, &err);
  ae_error_clear(&err);
}

/* In a task of its own, so that nothing is called back inside the call. */
static void start(ae_task *task) {
  ae__js_all *all = AE_CONTAINER(task, ae__js_all, op.task);
  ae_loop_release(all->js->store.loop);
  if (all->js->closing) {
    ae_error err = {0};
    ae_error_set(&err, AE_CANCELED, "the store is closing");
    all->fail(all, AE_CANCELED, &err);
    ae_error_clear(&err);
    return;
  }
  ask(all, 0);
}

static ae__js_all *all_new(ae_store *store) {
  ae__js_all *all = ae_zalloc(sizeof *all);
  all->js = ae__js_of(store);
  all->op.handle.store = store;
  all->op.all = true;
  all->op.task.run = start;
  all->js->ops++;
  ae_loop_hold(store->loop);
  ae_loop_defer(store->loop, &all->op.task);
  return all;
}

/* -- scans -- */

static void tell(ae__js_all *all, ae_status status, const ae_page *page,
                 const ae_error *err) {
  ae_scan *scan = all->scan;
  if (!scan) return;
  bool over = status != AE_OK || page->end;
  if (over) {
    scan->impl = NULL;
    all->scan = NULL;
  }
  all->busy = true;
  all->wanted = false;
  scan->cb(scan, status, page, err);
  all->busy = false;
}

static void scan_fail(ae__js_all *all, ae_status status, const ae_error *err) {
  tell(all, status, NULL, err);
  all_free(all);
}

static void scan_go(ae__js_all *all) {
  all->wanted = false;
  if (!all->scan) {
    if (all->running) ae_scan_end(&all->one);
    all_free(all);
  } else if (all->past) {
    all->next(all);
  } else {
    ae_scan_more(&all->one);
  }
}

static void on_page(ae_scan *one, ae_status status, const ae_page *page,
                    const ae_error *err) {
  ae__js_all *all = one->data;
  all->running = status == AE_OK && !page->end;
  if (status != AE_OK) {
    scan_fail(all, status, err);
    return;
  }
  all->past = page->end;
  if (page->end) all->at++;
  ae_page given = *page;
  given.end = page->end && all->at == all->count;
  if (given.count == 0 && !given.end) {
    all->next(all);
    return;
  }
  tell(all, AE_OK, &given, NULL);
  if (given.end)
    all_free(all);
  else if (!all->scan || all->wanted)
    scan_go(all);
}

static void scan_next(ae__js_all *all) {
  if (!all->scan || all->at == all->count) {
    const ae_page none = {.end = true};
    tell(all, AE_OK, &none, NULL);
    all_free(all);
    return;
  }
  all->past = false;
  all->one = (ae_scan){.ns = ae_str_of(all->names[all->at]),
                       .after = all->scan->after,
                       .until = all->scan->until,
                       .cb = on_page,
                       .data = all};
  ae_error err = {0};
  ae_status status = ae_store_scan(&all->js->store, &all->one, &err);
  all->running = status == AE_OK;
  if (status != AE_OK) scan_fail(all, status, &err);
  ae_error_clear(&err);
}

ae_status ae__js_scan_all(ae_store *store, ae_scan *scan, ae_error *err) {
  if (scan->live)
    return ae_error_set(err, AE_USAGE,
                        "with JetStream one namespace can be followed at a "
                        "time");
  ae__js_all *all = all_new(store);
  all->scan = scan;
  all->next = scan_next;
  all->fail = scan_fail;
  scan->impl = all;
  return AE_OK;
}

void ae__js_scan_all_more(ae_scan *scan) {
  ae__js_all *all = scan->impl;
  all->wanted = true;
  if (!all->busy) scan_go(all);
}

void ae__js_scan_all_end(ae_scan *scan) {
  ae__js_all *all = scan->impl;
  all->scan = NULL;
  /* In its callback, or before its first page: what runs then sees it. */
  if (!all->busy && all->running) {
    ae_scan_end(&all->one);
    all_free(all);
  }
}

/* -- counts -- */

static void stats_fail(ae__js_all *all, ae_status status, const ae_error *err) {
  all->stats->cb(all->stats, status, err);
  all_free(all);
}

static void on_part(ae_stats_read *part, ae_status status,
                    const ae_error *err) {
  ae__js_all *all = part->data;
  if (status != AE_OK) {
    stats_fail(all, status, err);
    return;
  }
  all->sum.commits += part->stats.commits;
  all->sum.events += part->stats.events;
  all->sum.actors += part->stats.actors;
  all->sum.snapshots += part->stats.snapshots;
  all->sum.bytes += part->stats.bytes;
  all->sum.file_bytes += part->stats.file_bytes;
  all->sum.unindexed += part->stats.unindexed;
  if (part->stats.position > all->sum.position)
    all->sum.position = part->stats.position;
  all->at++;
  all->next(all);
}

static void stats_next(ae__js_all *all) {
  if (all->at == all->count) {
    all->stats->stats = all->sum;
    all->stats->cb(all->stats, AE_OK, NULL);
    all_free(all);
    return;
  }
  all->part = (ae_stats_read){
      .ns = ae_str_of(all->names[all->at]), .cb = on_part, .data = all};
  ae_error err = {0};
  ae_status status = ae_store_stats(&all->js->store, &all->part, &err);
  if (status != AE_OK) stats_fail(all, status, &err);
  ae_error_clear(&err);
}

ae_status ae__js_stats_all(ae_store *store, ae_stats_read *read,
                           ae_error *err) {
  (void)err;
  ae__js_all *all = all_new(store);
  all->stats = read;
  all->next = stats_next;
  all->fail = stats_fail;
  return AE_OK;
}
