/* A look goes through the namespaces, one after the other:
 *
 *   when was it? ─► how much is there? ─► due: retire ─► remember
 */
#include "node/retention.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "node/retire.h"

#define EVERY_MS 60000u
#define HOUR 3600 /* s */
#define DAY 86400 /* s */
#define SLACK 16  /* of the bytes allowed, that much more is let be */
#define KEY "last"

/* What the row says of the last time. */
typedef struct last {
  uint64_t days, bytes; /* settings */
  uint64_t left;        /* bytes */
} last;

struct ae_retention {
  ae_node *node;
  ae_retention_options options;
  uv_timer_t timer;
  bool timed;
  bool looking, stopping;
  size_t at;     /* namespace */
  uint64_t time; /* of this look: s since 1970 */
  uint64_t checkpoint;
  last last;
  ae_rows_read read;
  ae_stats_read stats;
  ae_retire retire;
  ae_rows_write write;
  ae_row row;
  ae_buf value;
  void (*stopped)(void *data);
  void *stopped_data;
  ae_task task;
};

static void look_at_next(ae_retention *r);

static const ae_namespace_config *config_at(const ae_retention *r) {
  return &ae_node_config(r->node)->namespaces[r->at];
}

static int64_t now(const ae_retention *r) {
  return r->options.now ? r->options.now(r->options.data) : ae_clock_now();
}

static void complain(const ae_retention *r, const char *what,
                     const ae_error *err) {
  if (r->stopping) return;
  ae_log(AE_LOG_WARN, what, "namespace", config_at(r)->name, "cause",
         err ? ae_error_text(err) : "", NULL);
}

static void go_on(ae_retention *r) {
  r->at++;
  look_at_next(r);
}

/* -- remember -- */

static void on_written(ae_write *write, ae_status status, const ae_error *err) {
  ae_retention *r = write->data;
  if (status != AE_OK && status != AE_VERSION_CONFLICT)
    complain(r, "when retention was applied cannot be stored", err);
  ae_buf_reset(&r->value);
  go_on(r);
}

static void remember(ae_retention *r) {
  const ae_namespace_config *config = config_at(r);
  ae_error err = {0};
  ae_buf_reset(&r->value);
  ae_pack_array(&r->value, 3);
  ae_pack_uint(&r->value, config->retention_days);
  ae_pack_uint(&r->value, config->retention_bytes);
  ae_pack_uint(&r->value, r->retire.left);
  r->row = (ae_row){AE_STR(KEY), ae_buf_view(&r->value)};
  r->write = (ae_rows_write){.write = {.cb = on_written, .data = r},
                             .ns = ae_str_of(config->name),
                             .projection = AE_STR("$retention"),
                             .rows = &r->row,
                             .count = 1,
                             .was = r->checkpoint,
                             .checkpoint = r->time};
  ae_status status = ae_store_put_rows(ae_node_store(r->node), &r->write, &err);
  if (status != AE_OK) {
    complain(r, "when retention was applied cannot be stored", &err);
    go_on(r);
  }
  ae_error_clear(&err);
}

/* -- do it -- */

static void report(const ae_retention *r) {
  const ae_retire *retire = &r->retire;
  const ae_namespace_config *config = config_at(r);
  char trimmed[24], left[24], bytes[24];
  snprintf(trimmed, sizeof trimmed, "%llu",
           (unsigned long long)retire->trimmed);
  snprintf(left, sizeof left, "%llu", (unsigned long long)retire->left);
  snprintf(bytes, sizeof bytes, "%llu",
           (unsigned long long)config->retention_bytes);
  if (retire->trimmed > 0)
    ae_log(AE_LOG_INFO, "retention removed old commits", "namespace",
           config->name, "commits", trimmed, "bytes", left, NULL);
  if (retire->bare.len > 0)
    ae_log(AE_LOG_WARN,
           "retention removes nothing of aggregates without `snapshot`, for "
           "nothing else would tell their actors' states",
           "namespace", config->name, "aggregates",
           ae_buf_cstr((ae_buf *)&retire->bare), NULL);
  if (config->retention_bytes > 0 && retire->left > config->retention_bytes)
    ae_log(AE_LOG_WARN,
           "a namespace holds more than its retention allows, and nothing more "
           "can be removed: each actor keeps its last commit",
           "namespace", config->name, "bytes", left, "retention", bytes, NULL);
}

static void on_retired(ae_retire *retire, ae_status status,
                       const ae_error *err) {
  ae_retention *r = retire->data;
  if (status == AE_OK) {
    report(r);
  } else if (status != AE_CANCELED) {
    complain(r, "retention cannot be applied", err);
  }
  ae_retire_clear(retire);
  if (status == AE_OK)
    remember(r);
  else
    go_on(r);
}

static void apply(ae_retention *r) {
  const ae_namespace_config *config = config_at(r);
  ae_str ns = ae_str_of(config->name);
  ae_error err = {0};
  int64_t age = (int64_t)config->retention_days * DAY * 1000000;
  r->retire =
      (ae_retire){.store = ae_node_store(r->node),
                  .actors = ae_node_actors(r->node),
                  .realm = ae_node_realm(r->node, ns),
                  .ns = ns,
                  .before = config->retention_days > 0 ? now(r) - age : 0,
                  .bytes = config->retention_bytes,
                  .done = on_retired,
                  .data = r};
  if (ae_retire_start(&r->retire, &err) != AE_OK) {
    complain(r, "retention cannot be applied", &err);
    go_on(r);
  }
  ae_error_clear(&err);
}

/* -- is it due? -- */

static bool is_due(const ae_retention *r, uint64_t bytes) {
  const ae_namespace_config *config = config_at(r);
  const last *was = &r->last;
  bool too_much =
      config->retention_bytes > 0 && bytes > config->retention_bytes;
  if (config->retention_days == 0 && !too_much) return false;
  /* Never yet, otherwise then, or the clock was put back. */
  if (was->days != config->retention_days ||
      was->bytes != config->retention_bytes || r->checkpoint > r->time)
    return true;
  uint64_t ago = r->time - r->checkpoint;
  if (too_much &&
      (ago >= HOUR || bytes > was->left + config->retention_bytes / SLACK))
    return true;
  return config->retention_days > 0 && ago >= DAY;
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  ae_retention *r = read->data;
  if (status != AE_OK) complain(r, "retention cannot be looked at", err);
  if (status == AE_OK && !r->stopping && is_due(r, read->stats.bytes))
    apply(r);
  else
    go_on(r);
}

static void on_rows(ae_rows_read *read, ae_status status, const ae_row *rows,
                    uint32_t count, const ae_error *err) {
  ae_retention *r = read->data;
  r->checkpoint = read->checkpoint;
  r->last = (last){0};
  uint32_t fields;
  if (status == AE_OK && count > 0) {
    ae_unpack at = ae_unpack_of(rows[0].value);
    if (!ae_unpack_array(&at, &fields) || fields != 3 ||
        !ae_unpack_uint(&at, &r->last.days) ||
        !ae_unpack_uint(&at, &r->last.bytes) ||
        !ae_unpack_uint(&at, &r->last.left))
      r->last = (last){0};
  }
  ae_error problem = {0};
  if (status == AE_OK) {
    r->stats = (ae_stats_read){
        .ns = ae_str_of(config_at(r)->name), .cb = on_stats, .data = r};
    status = ae_store_stats(ae_node_store(r->node), &r->stats, &problem);
    err = &problem;
  }
  if (status != AE_OK) {
    complain(r, "retention cannot be looked at", err);
    go_on(r);
  }
  ae_error_clear(&problem);
}

static void ask(ae_retention *r) {
  ae_error err = {0};
  r->read = (ae_rows_read){.ns = ae_str_of(config_at(r)->name),
                           .projection = AE_STR("$retention"),
                           .from = AE_STR(KEY),
                           .exact = true,
                           .limit = 1,
                           .cb = on_rows,
                           .data = r};
  if (ae_store_read_rows(ae_node_store(r->node), &r->read, &err) != AE_OK) {
    complain(r, "retention cannot be looked at", &err);
    go_on(r);
  }
  ae_error_clear(&err);
}

/* -- looks -- */

static bool has_retention(const ae_namespace_config *config) {
  return config->retention_days > 0 || config->retention_bytes > 0;
}

static void gone(ae_retention *r) {
  void (*cb)(void *) = r->stopped;
  void *data = r->stopped_data;
  ae_buf_clear(&r->value);
  ae_free(r);
  cb(data);
}

static void on_closed(uv_handle_t *timer) {
  gone(timer->data);
}

static void end(ae_retention *r) {
  if (r->timed)
    uv_close((uv_handle_t *)&r->timer, on_closed);
  else
    gone(r);
}

static void look_at_next(ae_retention *r) {
  const ae_config *config = ae_node_config(r->node);
  while (r->at < config->namespace_count && !has_retention(config_at(r)))
    r->at++;
  if (r->at < config->namespace_count && !r->stopping) {
    ask(r);
    return;
  }
  r->looking = false;
  if (r->options.looked) r->options.looked(r->options.data);
  if (r->stopping) end(r);
}

static void look(ae_retention *r) {
  if (r->looking) return;
  r->looking = true;
  r->at = 0;
  r->time = (uint64_t)(now(r) / 1000000);
  look_at_next(r);
}

static void on_timer(uv_timer_t *timer) {
  look(timer->data);
}

static bool is_wanted(const ae_config *config) {
  for (size_t i = 0; i < config->namespace_count; i++)
    if (has_retention(&config->namespaces[i])) return true;
  return false;
}

ae_retention *ae_retention_start(ae_node *node,
                                 const ae_retention_options *options) {
  if (!is_wanted(ae_node_config(node))) return NULL;
  ae_retention *r = ae_zalloc(sizeof *r);
  r->node = node;
  r->options = *options;
  unsigned every = options->every_ms ? options->every_ms : EVERY_MS;
  AE_ASSERT_CMP(uv_timer_init(&ae_node_loop(node)->uv, &r->timer), ==, 0);
  r->timer.data = r;
  r->timed = true;
  uv_timer_start(&r->timer, on_timer, 0, every);
  uv_unref((uv_handle_t *)&r->timer);
  return r;
}

void ae_retention_stop(ae_retention *retention, void (*cb)(void *data),
                       void *data) {
  retention->stopped = cb;
  retention->stopped_data = data;
  ae_retention_hurry(retention);
  uv_timer_stop(&retention->timer);
  if (!retention->looking) end(retention);
}

/* -- once -- */

static void run_once(ae_task *task) {
  ae_retention *r = AE_CONTAINER(task, ae_retention, task);
  look(r);
}

static void on_looked(void *data) {
  ae_retention *r = data;
  r->stopping = true; /* and so it ends */
}

ae_retention *ae_retention_once(ae_node *node, void (*cb)(void *data),
                                void *data) {
  if (!is_wanted(ae_node_config(node))) return NULL;
  ae_retention *r = ae_zalloc(sizeof *r);
  r->node = node;
  r->options = (ae_retention_options){.looked = on_looked, .data = r};
  r->stopped = cb;
  r->stopped_data = data;
  r->task.run = run_once;
  ae_loop_defer(ae_node_loop(node), &r->task);
  return r;
}

void ae_retention_hurry(ae_retention *retention) {
  retention->stopping = true;
  retention->retire.enough = true;
}
