
#include "base/clock.h"
#include "base/mem.h"
#include "bus/remote_nats.h"
#include "node/internal.h"
#include "node/nats.h"
#include "node/reloading.h"
#include "node/retention.h"

typedef struct listener {
  const ae_node_options *options;
  ae_str ns;
} listener;

static void pass_mistake(void *data, const ae_error *err) {
  const listener *to = data;
  if (to->options->mistake)
    to->options->mistake(to->options->data, to->ns, err);
}

void ae__room_options(const ae_node *node, const ae__room *room,
                      ae_script_options *out) {
  const ae_namespace_config *ns = room->config;
  *out = (ae_script_options){.ns = room->name,
                             .folder = ns->folder,
                             .memory_limit = ns->memory,
                             .handler_ms = ns->handler_ms,
                             .patience = ns->quarantine_after,
                             .strict = node->strict};
}

static ae_status load_room(ae_node *node, ae__room *room,
                           const ae_node_options *options, ae_error *err) {
  const ae_namespace_config *ns = room->config;
  listener to = {options, room->name};
  ae_script_options script;
  ae__room_options(node, room, &script);
  script.mistake = pass_mistake;
  script.data = &to;
  ae_status status = ae_script_open(&script, &room->script, err);
  if (status == AE_OK && ns->retry) {
    status = ae_script_policy(room->script, ae_str_of(ns->retry), err);
    if (status != AE_OK) pass_mistake(&to, err);
  }
  if (status == AE_OK) ae__revision_note(room, room->script, NULL);
  return status;
}

static ae_status load_modules(ae_node *node, const ae_node_options *options,
                              ae_error *err) {
  const ae_config *config = options->config;
  ae_status result = ae_config_has_modules(config, err);
  node->rooms = ae_zalloc(sizeof(ae__room) * (config->namespace_count + 1));
  for (size_t i = 0; i < config->namespace_count; i++) {
    const ae_namespace_config *ns = &config->namespaces[i];
    ae__room *one = &node->rooms[node->count++];
    one->name = ae_str_of(ns->name);
    one->config = ns;
    one->loaded = ae_clock_now();
    ae_error why = {0};
    ae_status status = load_room(node, one, options, &why);
    if (status != AE_OK && result == AE_OK) {
      result = status;
      if (err) ae_error_move(err, &why);
    }
    ae_error_clear(&why);
    if (result != AE_OK && !options->mistake) break;
  }
  return result;
}

ae_status ae_node_open_store(ae_node *node, ae_store_mode mode, ae_error *err) {
  const ae_config *config = node->config;
  bool memory = strcmp(config->store, "memory") == 0;
  ae_store_options store = {
      .url = config->store,
      .mode = memory ? AE_STORE_WRITE : mode,
      .still = node->still,
      .ordered = node->ordered,
      .jetstream = {.wire = ae_nats_login(config),
                    .replicas = config->replicas},
  };
  if (store.mode == AE_STORE_WRITE) {
    ae_config_make_folders(config);
  } else {
    ae_status status = ae_config_has_store(config, err);
    if (status != AE_OK) return status;
  }
  /* What a node with a name follows stays with it; else it goes again. */
  ae_buf folder = {0};
  if (node->named) {
    ae_buf_printf(&folder, "%s/followers/%s", config->data, config->node);
    store.jetstream.folder = ae_buf_cstr(&folder);
  }
  ae_status status = ae_store_open(node->loop, &store, &node->store, err);
  ae_buf_clear(&folder);
  return status;
}

static void open_actors(ae_node *node) {
  node->bus = ae_bus_new(node->loop);
  ae_wire *wire = ae_store_wire(node->store);
  if (wire) node->remote = ae_bus_nats_open(node->bus, wire);
  const ae_actors_options options = {.node = node->config->node,
                                     .bus = node->bus};
  node->actors = ae_actors_new(node->loop, node->store, &options);
  for (size_t i = 0; i < node->count; i++) {
    ae__room *room = &node->rooms[i];
    const ae_namespace_config *ns = room->config;
    const ae_limits limits = {.commands_per_s = ns->commands_per_s,
                              .events_per_s = ns->events_per_s,
                              .bytes = ns->bytes,
                              .live_actors = ns->live_actors};
    room->realm = ae_actors_realm(node->actors, room->name, room->script,
                                  &limits, ae_str_of(ns->retry));
  }
}

static void free_node(ae_node *node) {
  for (size_t i = 0; i < node->count; i++) {
    ae_script_close(node->rooms[i].script);
    ae__revisions_free(&node->rooms[i]);
  }
  ae_bus_free(node->bus);
  ae_free(node->rooms);
  ae_free(node->url);
  ae_free(node);
}

ae_status ae_node_open(ae_loop *loop, const ae_node_options *options,
                       ae_node **out, ae_error *err) {
  ae_node *node = ae_zalloc(sizeof *node);
  node->loop = loop;
  node->config = options->config;
  node->named = options->named;
  node->still = options->still;
  node->ordered = options->ordered;
  node->strict = options->strict;
  node->started = ae_clock_now();
  node->started_mono = ae_clock_mono();
  ae_status status = AE_OK;
  if (options->modules) status = load_modules(node, options, err);
  if (status == AE_OK && options->store)
    status = ae_node_open_store(node, options->mode, err);
  if (status != AE_OK) {
    free_node(node);
    *out = NULL;
    return status;
  }
  if (options->modules && options->store) open_actors(node);
  *out = node;
  return AE_OK;
}

static void finish_close(ae_node *node) {
  void (*cb)(void *) = node->closed;
  void *data = node->closed_data;
  free_node(node);
  cb(data);
}

static void store_closed(void *data) {
  finish_close(data);
}

static void close_store(void *data) {
  ae_node *node = data;
  node->actors = NULL;
  ae_bus_nats_close(node->remote); /* its wire is the store's */
  node->remote = NULL;
  if (node->store)
    ae_store_close(node->store, store_closed, node);
  else
    finish_close(node);
}

static void close_actors(void *data) {
  ae_node *node = data;
  if (node->reloader)
    ae__reload_end(node, close_actors, node);
  else if (node->actors)
    ae_actors_close(node->actors, close_store, node);
  else
    close_store(node);
}

static void stop_pulse(void *data) {
  ae_node *node = data;
  ae_pulse *pulse = node->pulse;
  node->retention = NULL;
  node->pulse = NULL;
  if (pulse)
    ae_pulse_stop(pulse, close_actors, node);
  else
    close_actors(node);
}

static void close_later(ae_task *task) {
  stop_pulse(AE_CONTAINER(task, ae_node, task));
}

void ae_node_close(ae_node *node, void (*cb)(void *data), void *data) {
  node->closed = cb;
  node->closed_data = data;
  node->draining = true;
  if (node->retention) {
    ae_retention_stop(node->retention, stop_pulse, node);
  } else {
    node->task.run = close_later;
    ae_loop_defer(node->loop, &node->task);
  }
}

ae_loop *ae_node_loop(ae_node *node) {
  return node->loop;
}

const ae_config *ae_node_config(const ae_node *node) {
  return node->config;
}

ae_store *ae_node_store(ae_node *node) {
  return node->store;
}

ae_actors *ae_node_actors(ae_node *node) {
  return node->actors;
}

ae_bus *ae_node_bus(ae_node *node) {
  return node->bus;
}

ae__room *ae__room_of(const ae_node *node, ae_str ns) {
  for (size_t i = 0; i < node->count; i++)
    if (ae_str_eq(node->rooms[i].name, ns)) return &node->rooms[i];
  return NULL;
}

ae_script *ae_node_script(ae_node *node, ae_str ns) {
  const ae__room *room = ae__room_of(node, ns);
  return room ? room->script : NULL;
}

ae_realm *ae_node_realm(ae_node *node, ae_str ns) {
  const ae__room *room = ae__room_of(node, ns);
  return room ? room->realm : NULL;
}

size_t ae_node_module_count(ae_node *node) {
  size_t count = 0;
  for (size_t i = 0; i < node->count; i++)
    for (size_t k = 0; ae_script_module_at(node->rooms[i].script, k); k++)
      count++;
  return count;
}
