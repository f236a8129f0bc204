#include "node/reload.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/internal.h"

static void keep(char out[20], ae_script *script) {
  ae_str revision = ae_script_revision(script);
  snprintf(out, 20, "%.*s", AE_FMT(revision));
}

static ae_status check(const ae__room *room, ae_script *fresh, ae_error *err) {
  const ae_module *module;
  for (size_t i = 0; (module = ae_script_module_at(room->script, i)); i++) {
    ae_module *other;
    if (ae_module_kind_of(module) != AE_MODULE_AGGREGATE) continue;
    ae_str name = ae_module_name(module);
    if (ae_script_aggregate(fresh, name, &other, NULL) == AE_OK) continue;
    ae_error_set(err, AE_CONTRACT_ERROR,
                 "the aggregate %.*s is gone: put it back, or stop the node to "
                 "go on without it",
                 AE_FMT(name));
    ae_error_str(err, "module", name);
    ae_error_str(err, "namespace", room->name);
    return AE_CONTRACT_ERROR;
  }
  return AE_OK;
}

static ae_status take_over(ae_node *node, ae_script **fresh, ae_error *err) {
  for (size_t i = 0; i < node->count; i++) {
    if (!fresh[i]) continue;
    ae_status status = check(&node->rooms[i], fresh[i], err);
    if (status != AE_OK) return status;
  }
  for (size_t i = 0; i < node->count; i++)
    if (fresh[i] && node->rooms[i].realm)
      ae_actors_swap(node->rooms[i].realm, fresh[i]);
  return AE_OK;
}

static ae_status load(ae_node *node, ae_str ns,
                      bool (*wanted)(void *data, ae_str ns), void *data,
                      ae_script **fresh, ae_error *err) {
  size_t count = 0;
  for (size_t i = 0; i < node->count; i++) {
    ae__room *room = &node->rooms[i];
    if (ns.ptr ? !ae_str_eq(ns, room->name)
               : wanted && !wanted(data, room->name))
      continue;
    count++;
    ae_status status = ae__room_load(node, room, NULL, &fresh[i], err);
    if (status != AE_OK) {
      ae_error_str(err, "namespace", room->name);
      return status;
    }
  }
  if (count > 0 || !ns.ptr) return AE_OK;
  const ae_namespace_config *unused;
  return ae_config_namespace(node->config, ns, &unused, err);
}

ae_status ae_node_reload(ae_node *node, ae_str ns,
                         bool (*wanted)(void *data, ae_str ns),
                         void (*each)(void *data, const ae_reloaded *one),
                         void *data, ae_error *err) {
  ae_script **fresh = ae_zalloc((node->count + 1) * sizeof *fresh);
  ae_status status = load(node, ns, wanted, data, fresh, err);
  if (status == AE_OK) status = take_over(node, fresh, err);
  for (size_t i = 0; i < node->count; i++) {
    ae__room *room = &node->rooms[i];
    if (!fresh[i]) continue;
    if (status != AE_OK) {
      ae_script_close(fresh[i]);
      continue;
    }
    ae_reloaded one = {.ns = room->name};
    keep(one.was, room->script);
    keep(one.revision, fresh[i]);
    ae_script_close(room->script);
    room->script = fresh[i];
    room->loaded = ae_clock_now();
    ae_log(AE_LOG_INFO, "modules were loaded anew", "namespace",
           room->config->name, "revision", one.revision, "was", one.was, NULL);
    if (each) each(data, &one);
  }
  ae_free(fresh);
  return status;
}
