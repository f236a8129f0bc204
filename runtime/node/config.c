#include "node/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "namespace/name.h"
#include "node/found.h"
#include "node/nats.h"
#include "node/tokens.h"
#include "script/script.h"

extern char **environ;

#define PREFIX "AETHER_"

char *ae__str_copy(ae_str text) {
  char *copy = ae_alloc(text.len + 1);
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  return copy;
}

char *ae__path_join(const char *folder, ae_str path) {
  if (path.len > 0 && path.ptr[0] == '/') return ae__str_copy(path);
  while (path.len > 2 && path.ptr[0] == '.' && path.ptr[1] == '/')
    path = (ae_str){path.ptr + 2, path.len - 2};
  ae_buf joined = {0};
  if (ae_str_eq(path, AE_STR(".")))
    ae_buf_printf(&joined, "%s", folder);
  else
    ae_buf_printf(&joined, "%s/%.*s", folder, AE_FMT(path));
  char *copy = ae__str_copy(ae_buf_view(&joined));
  ae_buf_clear(&joined);
  return copy;
}

const char *ae_store_file(const char *url) {
  return strncmp(url, "sqlite:", 7) == 0 ? url + 7 : NULL;
}

ae_status ae_config_has_store(const ae_config *config, ae_error *err) {
  const char *file = ae_store_file(config->store);
  struct stat info;
  if (!file || stat(file, &info) == 0 || errno != ENOENT) return AE_OK;
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "there is no store at %s yet; `aether exec` makes it with "
               "the first commands",
               file);
  ae_error_cstr(err, "cause", "no such file");
  return AE_STORE_UNAVAILABLE;
}

void ae_config_make_folders(const ae_config *config) {
  const char *file = ae_store_file(config->store);
  if (!file || config->store_source >= AE_SETTING_VARIABLE) return;
  char *path = ae_strdup(file);
  for (char *at = path + 1; *at; at++) {
    if (*at != '/') continue;
    *at = 0;
    mkdir(path, 0777);
    *at = '/';
  }
  ae_free(path);
}

enum { KEYS_MAX = 16 };

typedef struct loading {
  ae_config *config;
  ae__found keys[KEYS_MAX];
  size_t count;
  ae_buf settings; /* what aether.lua returned */
} loading;

static ae__found *key_of(loading *load, const char *key) {
  for (size_t i = 0; i < load->count; i++)
    if (strcmp(load->keys[i].shape->key, key) == 0) return &load->keys[i];
  return NULL;
}

ae_setting *ae__setting_add(ae_config *config, const char *key,
                            const ae__found *from) {
  size_t size = (config->setting_count + 1) * sizeof(ae_setting);
  config->settings = ae_realloc(config->settings, size);
  ae_setting *setting = &config->settings[config->setting_count++];
  memset(setting, 0, sizeof *setting);
  setting->key = ae_strdup(key);
  setting->source = from->source;
  setting->where = ae_strdup(from->where);
  return setting;
}

/* Shows a value with all its fields, one setting a leaf. `folder`: what paths
 * are relative to, NULL: leave them. */
static void show(ae_config *config, const ae__shape *shape, const char *key,
                 ae_str value, const ae__found *from, const char *folder) {
  ae_unpack cursor = ae_unpack_of(value);
  uint32_t count = 0;
  bool table = shape->kind == AE__RECORD || shape->kind == AE__MAP;
  if (table && ae_unpack_map(&cursor, &count)) {
    for (uint32_t i = 0; i < count; i++) {
      ae_str name, below, nearest;
      ae_unpack_str(&cursor, &name);
      ae_unpack_skip(&cursor, &below);
      const ae__shape *field =
          shape->kind == AE__MAP
              ? shape->fields
              : ae__shape_field(shape->fields, name, &nearest);
      ae_buf path = {0};
      ae_buf_printf(&path, "%s.%.*s", key, AE_FMT(name));
      show(config, field, ae_buf_cstr(&path), below, from, folder);
      ae_buf_clear(&path);
    }
    return;
  }
  bool records = shape->kind == AE__LIST && shape->fields->kind == AE__RECORD;
  if (records && ae_unpack_array(&cursor, &count) && count > 0) {
    for (uint32_t i = 0; i < count; i++) {
      ae_str below;
      ae_unpack_skip(&cursor, &below);
      ae_buf path = {0};
      ae_buf_printf(&path, "%s[%u]", key, i + 1);
      show(config, shape->fields, ae_buf_cstr(&path), below, from, folder);
      ae_buf_clear(&path);
    }
    return;
  }
  ae_setting *setting = ae__setting_add(config, key, from);
  ae_str text;
  if (shape->secret) {
    ae_pack_cstr(&setting->value, "hidden");
  } else if (shape->path && folder && ae_unpack_str(&cursor, &text)) {
    char *path = ae__path_join(folder, text);
    ae_pack_text(&setting->value, ae_str_of(path));
    ae_free(path);
  } else {
    ae_buf_str(&setting->value, value);
  }
}

/* -- finding: flags over variables over the file -- */

static void variable_name(const char *key, char out[64]) {
  size_t len = (size_t)snprintf(out, 64, PREFIX "%s", key);
  for (size_t i = 0; i < len; i++)
    if (out[i] >= 'a' && out[i] <= 'z') out[i] = (char)(out[i] - 'a' + 'A');
}

static ae_status take_text(ae__found *key, const char *text, const char *where,
                           ae_setting_source source, ae_error *err) {
  ae_buf_reset(&key->value);
  key->source = source;
  snprintf(key->where, sizeof key->where, "%s", where);
  if (ae__shape_parse(key->shape, where, text, &key->value, err) == AE_OK &&
      ae__shape_check(key->shape, where, ae_buf_view(&key->value), err) ==
          AE_OK)
    return AE_OK;
  if (err) err->status = AE_USAGE;
  return AE_USAGE;
}

static ae_status take_file(loading *load, ae_error *err) {
  ae_config *config = load->config;
  char *file = ae__path_join(config->app, AE_STR("aether.lua"));
  struct stat info;
  if (stat(file, &info) != 0 && errno == ENOENT) {
    ae_free(file);
    return AE_OK;
  }
  config->file = file;
  ae_status status = ae_script_settings(file, &load->settings, err);
  if (status != AE_OK) {
    if (err && !strstr(ae_error_text(err), "aether.lua"))
      ae_error_add(err, " (loading %s)", file);
    return status;
  }
  ae__shape top = {.key = "", .kind = AE__RECORD, .fields = ae__settings};
  ae_error why = {0};
  ae_str all = ae_buf_view(&load->settings);
  status = ae__shape_check(&top, "", all, &why);
  if (status != AE_OK) {
    const char *text = ae_error_text(&why);
    ae_error_set(err, status, "aether.lua: %s", text + (text[0] == ' '));
    ae_error_cstr(err, "at", file);
  }
  ae_error_clear(&why);
  for (size_t i = 0; i < load->count && status == AE_OK; i++) {
    ae_str value;
    ae__found *key = &load->keys[i];
    if (!ae_unpack_field(all, key->shape->key, &value)) continue;
    ae_buf_str(&key->value, value);
    key->source = AE_SETTING_FILE;
    snprintf(key->where, sizeof key->where, "aether.lua");
  }
  return status;
}

static ae_status find_all(loading *load, const ae_config_flag *flags,
                          ae_error *err) {
  for (const ae__shape *shape = ae__settings; shape->key; shape++) {
    AE_ASSERT_CMP(load->count, <, KEYS_MAX);
    ae__found *key = &load->keys[load->count++];
    key->shape = shape;
    snprintf(key->where, sizeof key->where, "default");
  }
  ae_status status = take_file(load, err);
  for (size_t i = 0; i < load->count && status == AE_OK; i++) {
    char name[64];
    ae__found *key = &load->keys[i];
    variable_name(key->shape->key, name);
    const char *text = getenv(name);
    if (text && text[0])
      status = take_text(key, text, name, AE_SETTING_VARIABLE, err);
  }
  for (; flags && flags->key && status == AE_OK; flags++) {
    char name[64];
    snprintf(name, sizeof name, "--%s", flags->key);
    ae__found *key = key_of(load, flags->key);
    if (flags->value)
      status = take_text(key, flags->value, name, AE_SETTING_FLAG, err);
  }
  return status;
}

/* -- resolving -- */

static char *text_of(const ae__found *key, const char *fallback) {
  ae_unpack cursor = ae_unpack_of(ae_buf_view(&key->value));
  ae_str text;
  return ae_unpack_str(&cursor, &text) ? ae__str_copy(text)
                                       : ae_strdup(fallback);
}

/* What relative paths of a setting are relative to; NULL: the current folder,
 * where they are right as they stand. */
static const char *folder_of(const loading *load, const ae__found *key) {
  bool person = key->source >= AE_SETTING_VARIABLE;
  return person ? NULL : load->config->app;
}

static void resolve_data(loading *load) {
  ae__found *key = key_of(load, "data");
  char *text = text_of(key, "data");
  const char *folder = folder_of(load, key);
  load->config->data =
      folder ? ae__path_join(folder, ae_str_of(text)) : ae_strdup(text);
  ae_free(text);
  ae_buf_reset(&key->value);
  ae_pack_text(&key->value, ae_str_of(load->config->data));
}

static void resolve_store(loading *load) {
  ae__found *key = key_of(load, "store");
  ae_config *config = load->config;
  ae_buf url = {0};
  if (key->value.len == 0) {
    ae_buf_printf(&url, "sqlite:%s/events.db", config->data);
  } else {
    char *text = text_of(key, "");
    const char *file = ae_store_file(text);
    const char *folder = folder_of(load, key);
    char *path = file && folder ? ae__path_join(folder, ae_str_of(file)) : NULL;
    if (path)
      ae_buf_printf(&url, "sqlite:%s", path);
    else
      ae_buf_printf(&url, "%s", text);
    ae_free(path);
    ae_free(text);
  }
  config->store = ae__str_copy(ae_buf_view(&url));
  config->store_source = key->source;
  ae_buf_reset(&key->value);
  ae_pack_text(&key->value, ae_buf_view(&url));
  ae_buf_clear(&url);
}

static void resolve_node(loading *load) {
  char host[AE_NAMESPACE_MAX + 1] = "";
  if (gethostname(host, sizeof host - 1) != 0 ||
      ae_namespace_check(ae_str_of(host), NULL) != AE_OK)
    snprintf(host, sizeof host, "node");
  ae__found *key = key_of(load, "node");
  load->config->node = text_of(key, host);
  ae_buf_reset(&key->value);
  ae_pack_text(&key->value, ae_str_of(load->config->node));
}

static void resolve_log(loading *load) {
  static const char *const words[] = {"debug", "info", "warn", "error"};
  char *word = text_of(key_of(load, "log"), "info");
  for (size_t i = 0; i < 4; i++)
    if (strcmp(words[i], word) == 0) load->config->log = (ae_log_level)i;
  ae_free(word);
}

/* All that is set of it may be nothing. */
static uint32_t judge_actors_of(const ae__found *key) {
  ae_str value;
  uint64_t actors;
  if (!ae_unpack_field(ae_buf_view(&key->value), "actors", &value)) return 100;
  ae_unpack cursor = ae_unpack_of(value);
  return ae_unpack_uint(&cursor, &actors) ? (uint32_t)actors : 100;
}

static void resolve_listen(loading *load) {
  ae__found *key = key_of(load, "listen");
  load->config->listen = text_of(key, "127.0.0.1:7070");
  ae_buf_reset(&key->value);
  ae_pack_text(&key->value, ae_str_of(load->config->listen));
}

static void fill_default(loading *load, const char *key, const char *json) {
  ae__found *at = key_of(load, key);
  if (at->value.len == 0) ae_json_read(ae_str_of(json), &at->value, NULL);
}

static uint64_t number_of(const ae__found *key) {
  ae_unpack cursor = ae_unpack_of(ae_buf_view(&key->value));
  uint64_t number = 0;
  ae_unpack_uint(&cursor, &number);
  return number;
}

static ae_status resolve(loading *load, ae_error *err) {
  ae_config *config = load->config;
  resolve_data(load);
  resolve_store(load);
  resolve_node(load);
  resolve_listen(load);
  resolve_log(load);
  fill_default(load, "replicas", "1");
  config->replicas = (unsigned)number_of(key_of(load, "replicas"));
  ae__nats_find(config, key_of(load, "nats"),
                folder_of(load, key_of(load, "nats")));
  ae_status status = ae__nats_take_login(config, err);
  if (status != AE_OK) return status;
  ae_buf_reset(&key_of(load, "store")->value);
  ae_pack_text(&key_of(load, "store")->value, ae_str_of(config->store));
  fill_default(load, "shards", "1024");
  fill_default(load, "log", "\"info\"");
  fill_default(load, "http",
               "{\"connections\":4096,\"header_kb\":16,\"body_mb\":8,"
               "\"line_mb\":8,\"header_s\":10,\"body_s\":60,"
               "\"idle_s\":75,\"send_s\":30}");
  fill_default(load, "judge", "{\"actors\":100}");
  config->judge_actors = judge_actors_of(key_of(load, "judge"));
  ae__found *namespaces = key_of(load, "namespaces");
  const char *folder = folder_of(load, namespaces);
  status = ae__namespaces_find(config, namespaces, folder ? folder : ".", err);
  if (status == AE_OK)
    status = ae__tokens_find(config, key_of(load, "tokens"),
                             key_of(load, "grants"), err);
  for (size_t i = 0; i < load->count; i++) {
    ae__found *key = &load->keys[i];
    if (key == namespaces) continue;
    if (key->value.len == 0) ae_pack_nil(&key->value);
    show(config, key->shape, key->shape->key, ae_buf_view(&key->value), key,
         folder_of(load, key));
  }
  ae__namespaces_show(config, namespaces);
  return status;
}

ae_status ae_config_load(const char *app, const ae_config_flag *flags,
                         ae_config *out, ae_error *err) {
  memset(out, 0, sizeof *out);
  char folder[PATH_MAX];
  struct stat info;
  if (!realpath(app ? app : ".", folder))
    return ae_error_set(err, AE_USAGE, "the app folder %s: %s", app ? app : ".",
                        strerror(errno));
  if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
    return ae_error_set(err, AE_USAGE, "%s is no folder", folder);
  out->app = ae_strdup(folder);
  loading load = {.config = out};
  ae_status status = find_all(&load, flags, err);
  if (status == AE_OK) status = resolve(&load, err);
  for (size_t i = 0; i < load.count; i++) ae_buf_clear(&load.keys[i].value);
  ae_buf_clear(&load.settings);
  return status;
}

void ae_config_clear(ae_config *config) {
  for (size_t i = 0; i < config->namespace_count; i++) {
    ae_free(config->namespaces[i].name);
    ae_free(config->namespaces[i].folder);
    ae_free(config->namespaces[i].retry);
  }
  for (size_t i = 0; i < config->setting_count; i++) {
    ae_free(config->settings[i].key);
    ae_free(config->settings[i].where);
    ae_buf_clear(&config->settings[i].value);
  }
  ae__tokens_clear(config);
  ae__nats_clear(config);
  ae_free(config->namespaces);
  ae_free(config->settings);
  ae_free(config->app);
  ae_free(config->file);
  ae_free(config->store);
  ae_free(config->data);
  ae_free(config->node);
  ae_free(config->listen);
  memset(config, 0, sizeof *config);
}

/* A cursor at its value; at nothing where there is no such setting. */
static ae_unpack value_of(const ae_config *config, const char *key) {
  for (size_t i = 0; i < config->setting_count; i++)
    if (strcmp(config->settings[i].key, key) == 0)
      return ae_unpack_of(ae_buf_view(&config->settings[i].value));
  return (ae_unpack){0};
}

char *ae_config_text(const ae_config *config, const char *key) {
  ae_unpack cursor = value_of(config, key);
  ae_str text;
  return ae_unpack_str(&cursor, &text) ? ae__str_copy(text) : NULL;
}

uint64_t ae_config_uint(const ae_config *config, const char *key) {
  ae_unpack cursor = value_of(config, key);
  uint64_t number;
  return ae_unpack_uint(&cursor, &number) ? number : 0;
}

ae_status ae_config_has_modules(const ae_config *config, ae_error *err) {
  if (config->namespace_count > 0) return AE_OK;
  return ae_error_set(err, AE_NOT_FOUND,
                      "%s holds no modules, so it is no app. Name the app's "
                      "folder with -C DIR, or make one with `aether new DIR`",
                      config->app);
}

ae_status ae_config_namespace(const ae_config *config, ae_str name,
                              const ae_namespace_config **out, ae_error *err) {
  ae_nearest near;
  ae_nearest_init(&near, name);
  for (size_t i = 0; i < config->namespace_count; i++) {
    *out = &config->namespaces[i];
    if (ae_str_eq(name, ae_str_of((*out)->name))) return AE_OK;
    ae_nearest_offer(&near, ae_str_of((*out)->name));
  }
  *out = NULL;
  ae_str best = ae_nearest_best(&near);
  ae_error_set(err, AE_UNKNOWN_NAMESPACE, "there is no namespace %.*s",
               AE_FMT(name));
  if (best.len > 0)
    ae_error_add(err, "; did you mean %.*s?", AE_FMT(best));
  else
    for (size_t i = 0; i < config->namespace_count; i++)
      ae_error_add(err, "%s %s", i ? "," : "; there is",
                   config->namespaces[i].name);
  ae_error_str(err, "name", name);
  if (best.len > 0) ae_error_str(err, "nearest", best);
  return AE_UNKNOWN_NAMESPACE;
}

void ae_config_strays(void (*cb)(void *data, const char *name,
                                 const char *nearest),
                      void *data) {
  static const char *const others[] = {
      PREFIX "FAULT", PREFIX "LONG", PREFIX "BINARY",      PREFIX "TOKEN",
      PREFIX "URL",   PREFIX "CA",   PREFIX "CERTIFICATE", PREFIX "KEY"};
  for (char **at = environ; *at; at++) {
    if (strncmp(*at, PREFIX, sizeof PREFIX - 1) != 0) continue;
    const char *equals = strchr(*at, '=');
    if (!equals) continue;
    ae_str name = {*at, (size_t)(equals - *at)};
    char known[64];
    ae_nearest near;
    bool is_one = false;
    ae_nearest_init(&near, name);
    char names[KEYS_MAX][64];
    size_t count = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
      is_one = is_one || ae_str_eq(name, ae_str_of(others[i]));
    for (const ae__shape *shape = ae__settings; shape->key; shape++) {
      variable_name(shape->key, known);
      memcpy(names[count], known, sizeof known);
      is_one = is_one || ae_str_eq(name, ae_str_of(known));
      ae_nearest_offer(&near, ae_str_of(names[count++]));
    }
    if (is_one) continue;
    ae_str best = ae_nearest_best(&near);
    char *shown = ae__str_copy(name), *suggestion = ae__str_copy(best);
    cb(data, shown, suggestion);
    ae_free(shown);
    ae_free(suggestion);
  }
}
