/* Other code for a namespace, between two commands.
 *
 * A batch that was decided is stored as it is: its events name the revision
 * that decided them. Every state belongs to the script that made it, so the
 * live actors have none now (ae__actor_holds) and are built anew, from snapshot
 * and events, when they are next used: no pause for all of them at once. */
#include "actor/internal.h"

static ae_status missing(const ae__type *type, ae_error *err) {
  ae_error_set(err, AE_CONTRACT_ERROR,
               "the aggregate %.*s is gone, and has actors that were used: put "
               "it back, or stop the node to go on without it",
               AE_FMT(type->name));
  ae_error_str(err, "module", type->name);
  return AE_CONTRACT_ERROR;
}

ae_status ae_realm_reload(ae_realm *realm, ae_script *script, ae_error *err) {
  for (ae__type *type = realm->types; type; type = type->next) {
    ae_module *module = ae_script_find(script, type->name);
    if (!module || ae_module_kind_of(module) != AE_MODULE_AGGREGATE)
      return missing(type, err);
  }
  for (ae__type *type = realm->types; type; type = type->next) {
    type->module = ae_script_find(script, type->name);
    type->name = ae_module_name(type->module);
  }
  realm->script = script;
  return AE_OK;
}
