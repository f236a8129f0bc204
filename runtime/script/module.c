/* What is asked of a script's modules once they are loaded. */
#include "script/load.h"

ae_script_command *ae__command(const ae_module *module, ae_str name) {
  return ae_map_get(&module->command_map, name);
}

ae_script_type *ae__type(const ae_module *module, ae_str name) {
  return ae_map_get(&module->type_map, name);
}

ae_str ae_script_revision(const ae_script *script) {
  return ae_str_of(script->revision);
}

ae_module *ae_script_module_at(ae_script *script, size_t index) {
  return index < script->nmodules ? script->modules[index] : NULL;
}

ae_module *ae_script_find(ae_script *script, ae_str name) {
  return ae_map_get(&script->module_map, name);
}

ae_status ae_script_aggregate(ae_script *script, ae_str name, ae_module **out,
                              ae_error *err) {
  ae_module *module = ae_script_find(script, name);
  if (module && module->kind == AE_MODULE_AGGREGATE) {
    *out = module;
    return AE_OK;
  }
  *out = NULL;
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  for (size_t i = 0; i < script->nmodules; i++) {
    if (script->modules[i]->kind == AE_MODULE_AGGREGATE) {
      ae_nearest_offer(&nearest, ae_str_of(script->modules[i]->name));
    }
  }
  ae_str best = ae_nearest_best(&nearest);
  if (module) {
    ae_error_set(err, AE_UNKNOWN_TYPE,
                 "namespace %s has no aggregate \"%.*s\": that module is a %s",
                 script->ns, AE_FMT(name), ae_module_kind_word(module->kind));
  } else {
    ae_error_set(err, AE_UNKNOWN_TYPE, "namespace %s has no aggregate \"%.*s\"",
                 script->ns, AE_FMT(name));
  }
  if (best.len) ae_error_add(err, "; did you mean \"%.*s\"?", AE_FMT(best));
  ae_error_str(err, "name", name);
  if (best.len) ae_error_str(err, "nearest", best);
  return AE_UNKNOWN_TYPE;
}

ae_module_kind ae_module_kind_of(const ae_module *module) {
  return module->kind;
}

const char *ae_module_kind_word(ae_module_kind kind) {
  static const char *const words[] = {"library", "aggregate", "projection",
                                      "process", "policy"};
  return words[kind];
}

ae_str ae_module_name(const ae_module *module) {
  return ae_str_of(module->name);
}

const char *ae_module_file(const ae_module *module) {
  return module->file;
}

ae_str ae_module_source(const ae_module *module) {
  return ae_buf_view(&module->source);
}

bool ae_module_takes(const ae_module *module, ae_str name, uint64_t revision) {
  const ae_script_type *type = ae__type(module, name);
  if (!type) return false;
  return (type->evolve.ref && type->revision == revision) ||
         (revision > 0 && revision <= type->last_step);
}

bool ae_module_type_at(const ae_module *module, size_t index, ae_str *name,
                       uint64_t *last) {
  if (index >= module->ntypes) return false;
  const ae_script_type *type = &module->types[index];
  *name = ae_str_of(type->name);
  *last = type->evolve.ref && type->revision > type->last_step
              ? type->revision
              : type->last_step;
  return true;
}

uint64_t ae_module_revision(const ae_module *module, ae_str name) {
  const ae_script_type *type = ae__type(module, name);
  return type && type->evolve.ref ? type->revision : 0;
}

int64_t ae_module_snapshot_shape(const ae_module *module) {
  return module->shape;
}

uint64_t ae_module_snapshot_every(const ae_module *module) {
  return module->every;
}

ae_str ae_module_retry(const ae_module *module) {
  return module->retry ? ae_str_of(module->retry) : (ae_str){0};
}

const char *ae_module_command_at(const ae_module *module, size_t index) {
  return index < module->ncommands ? module->commands[index].name : NULL;
}

const char *ae_module_event_at(const ae_module *module, size_t index) {
  return index < module->nevents ? module->events[index] : NULL;
}
