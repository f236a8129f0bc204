#include "script/app.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/pack.h"

static void on_mistake(void *data, const ae_error *err) {
  app *a = data;
  a->nmistakes++;
  ae_buf_printf(&a->mistakes, "%s\n", ae_error_text(err));
}

static void on_log(void *data, ae_log_level level, ae_str module, ae_str actor,
                   ae_str text) {
  app *a = data;
  if (a->on_log) {
    a->on_log();
    return;
  }
  ae_buf_printf(&a->log, "%d %.*s%s%.*s: %.*s\n", level, AE_FMT(module),
                actor.len > 0 ? " " : "", AE_FMT(actor), AE_FMT(text));
}

static void write_file(const app *a, const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", a->folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void open_with(app *a, va_list args) {
  snprintf(a->folder, sizeof a->folder, "/tmp/aether-script-XXXXXX");
  assert_non_null(mkdtemp(a->folder));
  for (const char *name; (name = va_arg(args, const char *));) {
    write_file(a, name, va_arg(args, const char *));
  }
  ae_script_options options = {
      .ns = AE_STR("bank"),
      .folder = a->folder,
      .memory_limit = a->memory,
      .handler_ms = a->handler_ms ? a->handler_ms : 60000,
      .patience = a->patience,
      .strict = a->strict,
      .log = on_log,
      .mistake = on_mistake,
      .data = a};
  a->status = ae_script_open(&options, &a->script, &a->err);
}

void app_try(app *a, ...) {
  va_list args;
  va_start(args, a);
  open_with(a, args);
  va_end(args);
}

void app_open(app *a, ...) {
  va_list args;
  va_start(args, a);
  open_with(a, args);
  va_end(args);
  if (a->status != AE_OK) fail_msg("%s", ae_error_text(&a->err));
  assert_int_equal(a->nmistakes, 0);
}

void app_open_account(app *a, const char *text) {
  app_open(a, "account.lua", text, NULL);
}

void app_close(app *a) {
  ae_script_close(a->script);
  ae_error_clear(&a->err);
  ae_buf_clear(&a->mistakes);
  ae_buf_clear(&a->log);
  ae_buf_clear(&a->events);
  ae_buf_clear(&a->decide.reason);
  ae_buf_clear(&a->decide.details);
  DIR *dir = opendir(a->folder);
  if (dir) {
    for (struct dirent *at; (at = readdir(dir));) {
      char path[400];
      snprintf(path, sizeof path, "%s/%s", a->folder, at->d_name);
      unlink(path);
    }
    closedir(dir);
    rmdir(a->folder);
  }
  memset(a, 0, sizeof *a);
}

ae_module *app_module(app *a, const char *name) {
  ae_module *module = ae_script_find(a->script, ae_str_of(name));
  assert_non_null(module);
  return module;
}

ae_state app_initial(app *a, const char *module) {
  ae_state state;
  ae_status status = ae_script_initial(app_module(a, module), &state, &a->err);
  if (status != AE_OK) fail_msg("%s", ae_error_text(&a->err));
  return state;
}

ae_status app_decide(app *a, const char *module, ae_state state,
                     const char *command, const char *json) {
  ae_buf data = {0};
  pack_json(json, &data);
  ae_buf_reset(&a->events);
  ae_error_clear(&a->err);
  a->decide.command = ae_str_of(command);
  a->decide.data = ae_buf_view(&data);
  a->decide.ns = AE_STR("bank");
  a->decide.id = AE_STR("a-1");
  a->decide.now = 1700000000000000;
  a->decide.events = &a->events;
  ae_status status =
      ae_script_decide(app_module(a, module), state, &a->decide, &a->err);
  ae_buf_clear(&data);
  return status;
}

const char *app_events(app *a) {
  static ae_buf text;
  ae_buf list = {0};
  ae_pack_array(&list, a->decide.event_count);
  ae_buf_str(&list, ae_buf_view(&a->events));
  assert_true(ae_pack_valid(ae_buf_view(&list)));
  ae_buf_clear(&text);
  ae_json_write(ae_buf_view(&list), &text);
  ae_buf_clear(&list);
  static char kept[4096];
  snprintf(kept, sizeof kept, "%s", ae_buf_cstr(&text));
  ae_buf_clear(&text);
  return kept;
}

const char *app_state(app *a, const char *module, ae_state state) {
  static char kept[4096];
  ae_buf bytes = {0}, text = {0};
  if (ae_script_dump(app_module(a, module), state, &bytes, &a->err) != AE_OK) {
    snprintf(kept, sizeof kept, "%s", ae_error_text(&a->err));
  } else {
    ae_json_write(ae_buf_view(&bytes), &text);
    snprintf(kept, sizeof kept, "%s", ae_buf_cstr(&text));
  }
  ae_buf_clear(&bytes);
  ae_buf_clear(&text);
  return kept;
}

const char *app_reason(app *a) {
  return ae_buf_cstr(&a->decide.reason);
}

const char *app_fact(app *a, const char *key) {
  static char kept[4096];
  ae_buf all = {0}, text = {0};
  ae_str value;
  kept[0] = 0;
  ae_error_render(&a->err, &all);
  if (ae_unpack_field(ae_buf_view(&all), key, &value)) {
    ae_json_write(value, &text);
    snprintf(kept, sizeof kept, "%s", ae_buf_cstr(&text));
  }
  ae_buf_clear(&all);
  ae_buf_clear(&text);
  return kept;
}

void pack_json(const char *json, ae_buf *out) {
  ae_error err = {0};
  if (ae_json_read(ae_str_of(json), out, &err) != AE_OK) {
    fail_msg("%s: %s", json, ae_error_text(&err));
  }
}

void app_assert_contains(const char *text, const char *part, const char *file,
                         int line) {
  if (text && strstr(text, part)) return;
  print_error("\"%s\"\n  does not hold\n\"%s\"\n", text ? text : "(null)",
              part);
  _fail(file, line);
}
