/* The modules of a folder: found, loaded one after the other, and checked
 * against each other. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "script/load.h"

#define FILE_MAX ((off_t)8 << 20) /* bytes of Lua in one file */

static int by_name(const void *a, const void *b) {
  return strcmp((*(ae_module *const *)a)->name, (*(ae_module *const *)b)->name);
}

static bool module_name(ae_str name) {
  if (name.len == 0 || name.len > 64) return false;
  if (name.ptr[0] < 'a' || name.ptr[0] > 'z') return false;
  for (size_t i = 0; i < name.len; i++) {
    char c = name.ptr[i];
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
      return false;
    }
  }
  return true;
}

bool ae__read_file(const char *path, ae_buf *out) {
  /* A pipe by the name of a module must not be waited for. */
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info;
  bool fine = fstat(fd, &info) == 0;
  if (fine && (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX)) {
    errno = S_ISREG(info.st_mode) ? EFBIG : EISDIR;
    fine = false;
  }
  while (fine) {
    ae_buf_reserve(out, 16384);
    ssize_t got = read(fd, out->ptr + out->len, 16384);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    fine = got > 0 && (off_t)out->len <= FILE_MAX;
    if (fine) out->len += (size_t)got;
  }
  int error = errno;
  close(fd);
  errno = error;
  return fine;
}

/* Takes over `source`. */
static void add_module(ae_script *script, ae_str name, ae_buf *source) {
  ae_module *module = ae_zalloc(sizeof *module);
  module->script = script;
  module->name = ae_zalloc(name.len + 1);
  memcpy(module->name, name.ptr, name.len);
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/%s.lua", script->folder, module->name);
  module->file = ae_strdup(ae_buf_cstr(&path));
  ae_buf_clear(&path);
  ae_buf_move(&module->source, source);
  script->modules = ae_realloc(
      script->modules, (script->nmodules + 1) * sizeof *script->modules);
  script->modules[script->nmodules++] = module;
}

static void add_file(ae_script *script, const char *entry) {
  ae_str name = ae_str_of(entry);
  if (name.len <= 4 || memcmp(name.ptr + name.len - 4, ".lua", 4) ||
      name.ptr[0] == '.' || ae_str_eq(name, AE_STR("aether.lua"))) {
    return;
  }
  name.len -= 4;
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/%s", script->folder, entry);
  ae_error mistake = {0};
  ae_buf source = {0};
  struct stat info;
  if (stat(ae_buf_cstr(&path), &info) == 0 && S_ISDIR(info.st_mode)) {
    ae_buf_clear(&path);
    return;
  }
  if (!module_name(name)) {
    ae_error_set(&mistake, AE_CONTRACT_ERROR,
                 "%s%s%s: a module's file name is snake_case, as in "
                 "bank_account.lua",
                 script->ns, *script->ns ? "/" : "", entry);
    ae_error_str(&mistake, "module", name);
    ae__report(script, &mistake);
  } else if (!ae__read_file(ae_buf_cstr(&path), &source)) {
    ae_error_set(&mistake, AE_CONTRACT_ERROR, "%s%s%s: cannot be read: %s",
                 script->ns, *script->ns ? "/" : "", entry,
                 errno == EISDIR ? "it is no file" : strerror(errno));
    ae_error_str(&mistake, "module", name);
    ae__report(script, &mistake);
    ae_buf_clear(&source);
  } else {
    add_module(script, name, &source);
  }
  ae_error_clear(&mistake);
  ae_buf_clear(&path);
}

static ae_status read_folder(ae_script *script, ae_error *err) {
  DIR *dir = opendir(script->folder);
  if (!dir) {
    return ae_error_set(err, AE_CONTRACT_ERROR,
                        "namespace %s: cannot read the folder %s: %s",
                        script->ns, script->folder, strerror(errno));
  }
  for (struct dirent *at; (at = readdir(dir));) add_file(script, at->d_name);
  closedir(dir);
  if (script->nmodules == 0 && script->nmistakes == 0) {
    return ae_error_set(err, AE_CONTRACT_ERROR,
                        "namespace %s: there is no module (*.lua) in %s",
                        script->ns, script->folder);
  }
  return AE_OK;
}

static ae_status find_modules(ae_script *script,
                              const ae_script_options *options, ae_error *err) {
  ae_status status = AE_OK;
  for (size_t i = 0; i < options->source_count; i++) {
    ae_buf source = {0};
    ae_buf_str(&source, options->sources[i].text);
    add_module(script, options->sources[i].name, &source);
  }
  if (options->source_count == 0) status = read_folder(script, err);
  if (status != AE_OK || script->nmodules == 0) return status;
  qsort(script->modules, script->nmodules, sizeof *script->modules, by_name);
  ae_buf all = {0};
  for (size_t i = 0; i < script->nmodules; i++) {
    ae_module *module = script->modules[i];
    ae_map_put(&script->module_map, ae_str_of(module->name), module);
    ae_pack_cstr(&all, module->name);
    ae_pack_bin(&all, ae_buf_view(&module->source));
  }
  snprintf(script->revision, sizeof script->revision, "%016llx",
           (unsigned long long)ae_hash(ae_buf_view(&all)));
  ae_buf_clear(&all);
  return AE_OK;
}

/* -- what can only be checked once all are there -- */

static void check_from(ae_module *module, const char *name) {
  ae_script *script = module->script;
  if (!strcmp(name, "*")) return;
  ae_module *found = ae_map_get(&script->module_map, ae_str_of(name));
  if (found && (found->kind == AE_MODULE_AGGREGATE ||
                found->kind == AE_MODULE_PROCESS)) {
    return;
  }
  ae_nearest nearest;
  ae_nearest_init(&nearest, ae_str_of(name));
  for (size_t i = 0; i < script->nmodules; i++) {
    if (script->modules[i]->kind == AE_MODULE_AGGREGATE) {
      ae_nearest_offer(&nearest, ae_str_of(script->modules[i]->name));
    }
  }
  ae_str best = ae_nearest_best(&nearest);
  ae_buf text = {0};
  ae_buf_printf(&text, "from names \"%s\", which is no aggregate here", name);
  if (best.len) {
    ae_buf_printf(&text, "; did you mean \"%.*s\"?", AE_FMT(best));
  }
  ae_error mistake = {0};
  ae__mistake(script, module, ae__line_of(module, AE_STR("from")),
              ae_buf_view(&text), &mistake);
  ae__report(script, &mistake);
  ae_error_clear(&mistake);
  ae_buf_clear(&text);
}

static void check_sources(ae_script *script, lua_State *L, void *arg) {
  ae_module *module = arg;
  (void)script;
  lua_rawgeti(L, LUA_REGISTRYINDEX, module->ref);
  ae__getfield(L, -1, "from");
  if (lua_isstring(L, -1)) {
    check_from(module, lua_tostring(L, -1));
    return;
  }
  for (size_t i = 1, n = lua_objlen(L, -1); i <= n; i++) {
    lua_rawgeti(L, -1, (int)i);
    check_from(module, lua_tostring(L, -1));
    lua_pop(L, 1);
  }
}

static void check_together(ae_module *module) {
  ae_script *script = module->script;
  if (module->kind == AE_MODULE_PROJECTION ||
      module->kind == AE_MODULE_PROCESS) {
    ae_error mistake = {0};
    if (ae__run(script, module, check_sources, module, &mistake) != AE_OK) {
      ae__report(script, &mistake);
    }
    ae_error_clear(&mistake);
  }
  ae_error why = {0};
  ae_module *policy;
  if (module->retry &&
      !ae__policy(script, ae_str_of(module->retry), &policy, &why)) {
    ae_error mistake = {0};
    ae__mistake(script, module, ae__line_of(module, AE_STR("retry")),
                ae_buf_view(&why.message), &mistake);
    ae__report(script, &mistake);
    ae_error_clear(&mistake);
  }
  ae_error_clear(&why);
}

static ae_status run_all(ae_script *script, ae_error *err) {
  ae_status status = ae__state_open(script, err);
  if (status == AE_OK)
    status = ae__run(script, NULL, ae__take_policies, NULL, err);
  if (status != AE_OK) return status;
  /* One that is stopped takes the state with it, and with it the others. */
  for (size_t i = 0; i < script->nmodules && script->L; i++) {
    ae_module *module = script->modules[i];
    if (module->ref) continue;
    ae_error mistake = {0};
    if (ae__run_bounded(script, module, ae__load_module, module, &mistake) !=
        AE_OK) {
      ae__forget(module);
      ae__report(script, &mistake);
    }
    ae_error_clear(&mistake);
  }
  for (size_t i = 0; i < script->nmodules && script->L; i++) {
    if (script->modules[i]->ref) check_together(script->modules[i]);
  }
  if (script->nmistakes == 0) return AE_OK;
  const ae_error *first = script->mistakes[0];
  if (err) {
    ae_error_set(err, first->status, "%s", ae_error_text(first));
    ae_buf_str(&err->facts, ae_buf_view(&first->facts));
    err->nfacts = first->nfacts;
  }
  return first->status;
}

ae_status ae__load_all(ae_script *script, ae_error *err) {
  script->loading = true;
  ae_status status = run_all(script, err);
  script->loading = false;
  return status;
}

void ae__unload(ae_script *script) {
  for (size_t i = 0; i < script->nmodules; i++) ae__forget(script->modules[i]);
  for (size_t i = 0; i < script->npolicies; i++) {
    ae_free(script->policies[i].name);
  }
  for (size_t i = 0; i < script->nmistakes; i++) {
    ae_error_clear(script->mistakes[i]);
    ae_free(script->mistakes[i]);
  }
  ae_free(script->policies);
  ae_free(script->mistakes);
  script->policies = NULL;
  script->mistakes = NULL;
  script->npolicies = script->nmistakes = 0;
}

static uint64_t ns_of(double ms) {
  return (uint64_t)(ms * 1e6);
}

ae_status ae_script_open(const ae_script_options *options, ae_script **out,
                         ae_error *err) {
  *out = NULL;
  ae_status status = ae__watchdog_hold(err);
  if (status != AE_OK) return status;
  double handler_ms = options->handler_ms > 0 ? options->handler_ms : 50;
  ae_script *script = ae_zalloc(sizeof *script);
  script->ns = ae_zalloc(options->ns.len + 1);
  if (options->ns.len) memcpy(script->ns, options->ns.ptr, options->ns.len);
  script->folder = ae_strdup(options->folder);
  script->strict = options->strict;
  script->memory =
      options->memory_limit ? options->memory_limit : AE_MEMORY_DEFAULT;
  script->handler_ns = ns_of(handler_ms);
  script->load_ns = ns_of(handler_ms * AE_LOAD_TIMES);
  script->patience = options->patience ? options->patience : 3;
  script->log = options->log;
  script->mistake = options->mistake;
  script->data = options->data;
  status = find_modules(script, options, err);
  if (status == AE_OK) status = ae__load_all(script, err);
  /* Loading it again will tell nobody. */
  script->mistake = NULL;
  if (status != AE_OK) {
    ae_script_close(script);
    return status;
  }
  *out = script;
  return AE_OK;
}

void ae_script_close(ae_script *script) {
  if (!script) return;
  ae__state_close(script);
  ae__unload(script);
  for (size_t i = 0; i < script->nmodules; i++) {
    ae_module *module = script->modules[i];
    ae_buf_clear(&module->source);
    ae_free(module->name);
    ae_free(module->file);
    ae_free(module->cause);
    ae_free(module);
  }
  ae_map_clear(&script->module_map);
  ae_error_clear(&script->down);
  ae_free(script->modules);
  ae_free(script->folder);
  ae_free(script->ns);
  ae_free(script);
  ae__watchdog_release();
}
