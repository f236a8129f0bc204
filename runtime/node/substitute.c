#include "node/substitute.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "namespace/name.h"

static ae_status link_file(const char *folder, const char *name,
                           const char *target, ae_error *err) {
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/%s", folder, name);
  ae_status status = AE_OK;
  if (symlink(target, ae_buf_cstr(&path)) != 0)
    status = ae_error_set(err, AE_NOT_FOUND, "%s cannot be made: %s",
                          ae_buf_cstr(&path), strerror(errno));
  ae_buf_clear(&path);
  return status;
}

static bool is_module(const char *name) {
  size_t len = strlen(name);
  return len > 4 && name[0] != '.' && strcmp(name + len - 4, ".lua") == 0;
}

static ae_status link_others(const ae__substitute *to, const char *from,
                             ae_error *err) {
  DIR *dir = opendir(from);
  if (!dir)
    return ae_error_set(err, AE_NOT_FOUND, "%s cannot be read: %s", from,
                        strerror(errno));
  ae_status status = AE_OK;
  for (struct dirent *entry; status == AE_OK && (entry = readdir(dir));) {
    if (!is_module(entry->d_name) || strcmp(entry->d_name, to->name) == 0)
      continue;
    ae_buf target = {0};
    ae_buf_printf(&target, "%s/%s", from, entry->d_name);
    status = link_file(to->folder, entry->d_name, ae_buf_cstr(&target), err);
    ae_buf_clear(&target);
  }
  closedir(dir);
  return status;
}

ae_status ae__substitute_open(ae__substitute *substitute,
                              const ae_namespace_config *ns, ae_str type,
                              const char *file, ae_error *err) {
  if (ae_type_check(type, err) != AE_OK) return AE_INVALID_NAME;
  char *target = realpath(file, NULL);
  if (!target)
    return ae_error_set(err, AE_NOT_FOUND, "%s cannot be read: %s", file,
                        strerror(errno));
  struct stat info;
  if (stat(target, &info) == 0 && !S_ISREG(info.st_mode)) {
    free(target);
    return ae_error_set(err, AE_NOT_FOUND,
                        "%s is no file: name the file with the changed module",
                        file);
  }
  const char *tmp = getenv("TMPDIR");
  ae_buf text = {0};
  ae_buf_printf(&text, "%s/aether.XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
  char *folder = ae_strdup(ae_buf_cstr(&text));
  ae_status status = AE_OK;
  if (mkdtemp(folder)) {
    substitute->folder = folder;
    substitute->file = ae_strdup(file);
    substitute->ns = ae_strdup(ns->name);
    ae_buf_reset(&text);
    ae_buf_printf(&text, "%.*s.lua", AE_FMT(type));
    substitute->name = ae_strdup(ae_buf_cstr(&text));
    status = link_others(substitute, ns->folder, err);
    if (status == AE_OK)
      status = link_file(folder, substitute->name, target, err);
  } else {
    status = ae_error_set(err, AE_NOT_FOUND, "%s cannot be made: %s", folder,
                          strerror(errno));
    ae_free(folder);
  }
  if (status == AE_OK) {
    const ae_script_options options = {.ns = ae_str_of(ns->name),
                                       .folder = substitute->folder,
                                       .memory_limit = ns->memory,
                                       .handler_ms = ns->handler_ms,
                                       .patience = ns->quarantine_after};
    status = ae_script_open(&options, &substitute->script, err);
  }
  ae_buf_clear(&text);
  free(target);
  return status;
}

static void remove_folder(const char *folder) {
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));) {
    ae_buf path = {0};
    ae_buf_printf(&path, "%s/%s", folder, entry->d_name);
    if (is_module(entry->d_name)) unlink(ae_buf_cstr(&path));
    ae_buf_clear(&path);
  }
  closedir(dir);
  rmdir(folder);
}

void ae__substitute_close(ae__substitute *substitute) {
  ae_script_close(substitute->script);
  if (substitute->folder) remove_folder(substitute->folder);
  ae_free(substitute->folder);
  ae_free(substitute->name);
  ae_free(substitute->file);
  ae_free(substitute->ns);
  memset(substitute, 0, sizeof *substitute);
}

static void rename_in(ae_buf *text, const char *from, const char *to) {
  const char *found = strstr(ae_buf_cstr(text), from);
  if (!found) return;
  ae_buf renamed = {0};
  ae_buf_add(&renamed, text->ptr, (size_t)(found - text->ptr));
  ae_buf_printf(&renamed, "%s%s", to, found + strlen(from));
  ae_buf_move(text, &renamed);
}

void ae__substitute_name(const ae__substitute *substitute, ae_error *err) {
  if (!substitute->folder || err->message.len == 0) return;
  ae_buf name = {0};
  ae_buf_printf(&name, "%s/%s", substitute->ns, substitute->name);
  rename_in(&err->message, ae_buf_cstr(&name), substitute->file);
  ae_buf_clear(&name);
}
