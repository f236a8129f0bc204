/* Which namespaces an app has: those that its settings list, else each folder
 * that holds a module. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/pack.h"
#include "namespace/name.h"
#include "node/found.h"

static bool holds_module(const char *folder, const char *except) {
  DIR *dir = opendir(folder);
  if (!dir) return false;
  bool found_one = false;
  for (struct dirent *entry; !found_one && (entry = readdir(dir));) {
    size_t len = strlen(entry->d_name);
    bool lua = len > 4 && strcmp(entry->d_name + len - 4, ".lua") == 0;
    bool spec = len > 9 && strcmp(entry->d_name + len - 9, "_spec.lua") == 0;
    found_one = lua && !spec && entry->d_name[0] != '.' &&
                (!except || strcmp(entry->d_name, except) != 0);
  }
  closedir(dir);
  return found_one;
}

static ae_namespace_config *add_namespace(ae_config *config, ae_str name,
                                          char *folder) {
  size_t size = (config->namespace_count + 1) * sizeof(ae_namespace_config);
  config->namespaces = ae_realloc(config->namespaces, size);
  ae_namespace_config *ns = &config->namespaces[config->namespace_count++];
  *ns = (ae_namespace_config){.name = ae__str_copy(name),
                              .folder = folder,
                              .handler_ms = 50,
                              .quarantine_after = 3,
                              .memory = (size_t)64 << 20,
                              .live_actors = 100000};
  return ns;
}

static int by_name(const void *a, const void *b) {
  const ae_namespace_config *left = a, *right = b;
  return strcmp(left->name, right->name);
}

/* Each folder that holds a module; the app's own modules are `default`. */
static ae_status find_folders(ae_config *config, ae_error *err) {
  if (holds_module(config->app, "aether.lua"))
    add_namespace(config, AE_STR("default"), ae_strdup(config->app));
  DIR *dir = opendir(config->app);
  if (!dir)
    return ae_error_set(err, AE_USAGE, "%s cannot be read: %s", config->app,
                        strerror(errno));
  ae_status status = AE_OK;
  for (struct dirent *entry; status == AE_OK && (entry = readdir(dir));) {
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, "spec") == 0) continue;
    char *folder = ae__path_join(config->app, ae_str_of(entry->d_name));
    ae_str name = ae_str_of(entry->d_name);
    struct stat info;
    bool is_folder = stat(folder, &info) == 0 && S_ISDIR(info.st_mode) &&
                     (!config->data || strcmp(folder, config->data) != 0);
    if (!is_folder || !holds_module(folder, NULL)) {
      ae_free(folder);
      continue;
    }
    ae_error why = {0};
    if (ae_namespace_check(name, &why) != AE_OK)
      status = ae_error_set(err, AE_MALFORMED,
                            "the folder %s holds modules, and its name cannot "
                            "be a namespace's: %s. Rename it, or list the "
                            "namespaces in aether.lua",
                            folder, ae_error_text(&why));
    else if (strcmp(entry->d_name, "default") == 0 &&
             config->namespace_count > 0 &&
             strcmp(config->namespaces[0].name, "default") == 0)
      status = ae_error_set(err, AE_MALFORMED,
                            "both %s and %s hold modules of the namespace "
                            "default; move one of them",
                            config->app, folder);
    ae_error_clear(&why);
    if (status == AE_OK)
      add_namespace(config, name, folder);
    else
      ae_free(folder);
  }
  closedir(dir);
  return status;
}

static bool field_number(ae_str map, const char *key, double *out) {
  ae_str value;
  ae_pack_item item;
  if (!ae_unpack_field(map, key, &value)) return false;
  ae_unpack cursor = ae_unpack_of(value);
  if (!ae_unpack_next(&cursor, &item)) return false;
  *out = item.type == AE_PACK_UINT ? (double)item.u : item.d;
  return item.type == AE_PACK_UINT || item.type == AE_PACK_DOUBLE;
}

static void read_limits(ae_namespace_config *ns, ae_str fields) {
  ae_str group;
  double number;
  if (ae_unpack_field(fields, "limits", &group)) {
    if (field_number(group, "handler_ms", &number)) ns->handler_ms = number;
    if (field_number(group, "quarantine_after", &number))
      ns->quarantine_after = (unsigned)number;
    if (field_number(group, "memory_mb", &number))
      ns->memory = (size_t)number << 20;
    if (field_number(group, "live_actors", &number))
      ns->live_actors = (size_t)number;
    field_number(group, "commands_per_s", &ns->commands_per_s);
    field_number(group, "events_per_s", &ns->events_per_s);
    if (field_number(group, "bytes", &number)) ns->bytes = (uint64_t)number;
  }
  if (ae_unpack_field(fields, "retention", &group)) {
    if (field_number(group, "days", &number))
      ns->retention_days = (uint64_t)number;
    if (field_number(group, "bytes", &number))
      ns->retention_bytes = (uint64_t)number;
  }
  ae_str value, retry;
  if (ae_unpack_field(fields, "retry", &value)) {
    ae_unpack cursor = ae_unpack_of(value);
    if (ae_unpack_str(&cursor, &retry)) ns->retry = ae__str_copy(retry);
  }
}

static ae_status read_namespaces(ae_config *config, const ae__found *key,
                                 const char *folder, ae_error *err) {
  ae_unpack cursor = ae_unpack_of(ae_buf_view(&key->value));
  uint32_t count = 0;
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str name, fields, value, modules;
    ae_unpack_str(&cursor, &name);
    ae_unpack_skip(&cursor, &fields);
    modules = name;
    if (ae_unpack_field(fields, "modules", &value)) {
      ae_unpack text = ae_unpack_of(value);
      ae_unpack_str(&text, &modules);
    }
    ae_namespace_config *ns =
        add_namespace(config, name, ae__path_join(folder, modules));
    read_limits(ns, fields);
    struct stat info;
    if (stat(ns->folder, &info) != 0 || !S_ISDIR(info.st_mode))
      return ae_error_set(err, AE_MALFORMED,
                          "%s: the namespace %s has its modules in %s, and "
                          "there is no such folder",
                          key->where, ns->name, ns->folder);
  }
  return AE_OK;
}

/* Every field of a namespace, the defaults too. */
static void show_namespace(ae_config *config, const ae_namespace_config *ns,
                           const ae__found *key) {
  static const char *const leaves[] = {"modules",
                                       "limits.handler_ms",
                                       "limits.quarantine_after",
                                       "limits.memory_mb",
                                       "limits.live_actors",
                                       "limits.commands_per_s",
                                       "limits.events_per_s",
                                       "limits.bytes",
                                       "retry",
                                       "retention.days",
                                       "retention.bytes"};
  ae__found defaults = {.source = AE_SETTING_DEFAULT, .where = "default"};
  ae_str fields = {0};
  ae_unpack_field(ae_buf_view(&key->value), ns->name, &fields);
  for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
    const char *dot = strchr(leaves[i], '.');
    char group[16] = "";
    ae_str value = fields;
    bool set = fields.ptr != NULL;
    if (dot)
      snprintf(group, sizeof group, "%.*s", (int)(dot - leaves[i]), leaves[i]);
    if (set && dot) set = ae_unpack_field(value, group, &value);
    if (set) set = ae_unpack_field(value, dot ? dot + 1 : leaves[i], &value);
    ae_buf path = {0};
    ae_buf_printf(&path, "namespaces.%s.%s", ns->name, leaves[i]);
    ae_setting *setting =
        ae__setting_add(config, ae_buf_cstr(&path), set ? key : &defaults);
    ae_buf_clear(&path);
    ae_buf *out = &setting->value;
    switch (i) {
      case 0:
        ae_pack_text(out, ae_str_of(ns->folder));
        break;
      case 1:
        if (set)
          ae_buf_str(out, value);
        else
          ae_pack_uint(out, (uint64_t)ns->handler_ms);
        break;
      case 2:
        ae_pack_uint(out, ns->quarantine_after);
        break;
      case 3:
        ae_pack_uint(out, ns->memory >> 20);
        break;
      case 4:
        ae_pack_uint(out, ns->live_actors);
        break;
      default:
        if (set)
          ae_buf_str(out, value);
        else
          ae_pack_nil(out);
    }
  }
}

void ae__namespaces_show(ae_config *config, const ae__found *key) {
  for (size_t i = 0; i < config->namespace_count; i++)
    show_namespace(config, &config->namespaces[i], key);
}

ae_status ae__namespaces_find(ae_config *config, const ae__found *key,
                              const char *folder, ae_error *err) {
  ae_status status = key->value.len == 0
                         ? find_folders(config, err)
                         : read_namespaces(config, key, folder, err);
  if (config->namespace_count > 1)
    qsort(config->namespaces, config->namespace_count,
          sizeof *config->namespaces, by_name);
  return status;
}
