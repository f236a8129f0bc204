/* What a node that runs on knows of how it is. */
#include "base/log.h"
#include "base/mem.h"
#include "node/internal.h"
#include "node/retention.h"

/* -- the store: probed at first, and while its last write failed -- */

static void on_probe(ae_write *write, ae_status status, const ae_error *err) {
  (void)status;
  (void)err;
  ae_node *node = write->data;
  node->probing = false;
}

static void probe(ae_node *node) {
  if (node->probing) return;
  node->probe = (ae_write){.cb = on_probe, .data = node};
  node->probing = ae_store_probe(node->store, &node->probe, NULL) == AE_OK;
}

static void look_at_store(ae_node *node) {
  ae_error err = {0};
  ae_status status = ae_store_health(node->store, &err);
  bool ill = status != AE_OK;
  if (ill && !node->ill)
    ae_log(AE_LOG_ERROR, "the store cannot be written; not ready", "code",
           ae_status_word(status), "cause", ae_error_text(&err), NULL);
  if (!ill && node->ill)
    ae_log(AE_LOG_INFO, "the store can be written again", NULL);
  node->ill = ill;
  ae_error_clear(&err);
  if (ill) probe(node);
}

static void on_beat(void *data) {
  look_at_store(data);
}

ae_status ae_node_start(ae_node *node, ae_error *err) {
  AE_ASSERT(node->store && node->actors && !node->pulse);
  ae_pulse_options options = {.beat = on_beat, .data = node};
  ae_status status = ae_pulse_start(node->loop, &options, &node->pulse, err);
  if (status == AE_OK && ae_store_wire(node->store))
    probe(node); /* a server that is there need not have JetStream */
  if (status == AE_OK)
    node->retention = ae_retention_start(node, &(ae_retention_options){0});
  return status;
}

/* -- what it says -- */

void ae_node_set_url(ae_node *node, const char *url) {
  ae_free(node->url);
  node->url = ae_strdup(url);
}

const char *ae_node_url(const ae_node *node) {
  return node->url;
}

int64_t ae_node_started(const ae_node *node) {
  return node->started;
}

void ae_node_drain(ae_node *node) {
  node->draining = true;
}

void ae_node_pulse(const ae_node *node, ae_pulse_counts *out) {
  *out = (ae_pulse_counts){0};
  if (node->pulse) ae_pulse_count(node->pulse, out);
}

void ae_node_wrong(ae_node *node,
                   void (*each)(void *data, ae_str ns, const ae_error *err),
                   void *data) {
  ae_error err = {0};
  if (node->store && ae_store_health(node->store, &err) != AE_OK)
    each(data, (ae_str){0}, &err);
  ae_error_clear(&err);
  for (size_t i = 0; i < node->count; i++) {
    const ae__room *room = &node->rooms[i];
    const ae_module *module;
    for (size_t k = 0; (module = ae_script_module_at(room->script, k)); k++) {
      if (ae_module_refused(module, &err) != AE_OK)
        each(data, room->name, &err);
      ae_error_clear(&err);
    }
  }
}

static void keep_first(void *data, ae_str ns, const ae_error *err) {
  (void)ns;
  ae_error *first = data;
  if (first->status == AE_OK) ae_error_copy(first, err);
}

ae_status ae_node_ready(ae_node *node, ae_error *why) {
  if (node->draining)
    return ae_error_set(why, AE_CANCELED,
                        "the node is stopping, and takes nothing new");
  ae_error first = {0};
  ae_node_wrong(node, keep_first, &first);
  ae_status status = first.status;
  ae_error_move(why, &first);
  return status;
}
