/* `aether reload`, `rollback` and `revisions`: the code of a running node. */
#include <time.h>

#include "base/json.h"
#include "base/pack.h"
#include "door/findings.h"
#include "door/session.h"
#include "door/terminal.h"

/* Each member of a list of the document, told as text. */
static void tell_each(ae_str document, const char *key, bool dry_run,
                      void (*tell)(ae_str one, bool dry_run, ae_buf *out),
                      FILE *to) {
  ae_str list, one;
  uint32_t count;
  ae_buf text = {0};
  if (!ae_unpack_field(document, key, &list)) return;
  ae_unpack cursor = ae_unpack_of(list);
  if (!ae_unpack_array(&cursor, &count)) return;
  for (uint32_t i = 0; i < count && ae_unpack_skip(&cursor, &one); i++)
    tell(one, dry_run, &text);
  if (text.len > 0) fwrite(text.ptr, 1, text.len, to);
  ae_buf_clear(&text);
}

static void tell_finding(ae_str one, bool dry_run, ae_buf *out) {
  (void)dry_run;
  ae__finding_text(one, out);
}

/* What the node found, where it refused. */
static void tell_refusal(const ae__args *args, const ae_error *err) {
  ae_buf packed = {0};
  if (ae__args_json(args)) return; /* it is in the error */
  ae_error_render(err, &packed);
  tell_each(ae_buf_view(&packed), "findings", false, tell_finding, stderr);
  ae_buf_clear(&packed);
}

static ae_status print_answer(const ae__args *args, ae_str answer,
                              ae_error *err) {
  ae_buf packed = {0};
  if (ae__args_json(args)) {
    fwrite(answer.ptr, 1, answer.len, stdout);
    return AE_OK;
  }
  ae_status status = ae_json_read(answer, &packed, err);
  if (status == AE_OK) {
    ae_str document = ae_buf_view(&packed);
    tell_each(document, "findings", false, tell_finding, stderr);
    tell_each(document, "reloaded", ae__args_get(args, "dry-run") != NULL,
              ae__reloaded_text, stdout);
  }
  ae_buf_clear(&packed);
  return status;
}

static void add_parameter(ae_buf *path, const char *name, const char *value) {
  ae_buf_printf(path, "%c%s=", memchr(path->ptr, '?', path->len) ? '&' : '?',
                name);
  ae__client_segment(path, ae_str_of(value));
}

static int change(const ae__args *args, const char *route) {
  ae__session session;
  int exit = ae__session_reach(&session, args);
  if (exit != 0) return exit;
  ae_buf path = {0};
  ae_buf_printf(&path, "/v1/admin/%s", route);
  if (args->count > 0) add_parameter(&path, "namespace", args->rest[0]);
  if (args->count > 1) add_parameter(&path, "revision", args->rest[1]);
  if (ae__args_get(args, "dry-run")) add_parameter(&path, "dry_run", "true");
  ae__call call = {.post = true, .path = ae_buf_cstr(&path), .endless = true};
  ae_status status = ae__client_call(session.client, &call, &session.err);
  if (status == AE_OK)
    status = print_answer(args, ae_buf_view(&call.answer), &session.err);
  else
    tell_refusal(args, &session.err);
  if (status != AE_OK) exit = ae__complain(args, &session.err);
  ae_buf_clear(&path);
  ae_buf_clear(&call.answer);
  ae__session_clear(&session);
  return exit;
}

int ae__reload_run(const ae__args *args) {
  return change(args, "reload");
}

int ae__rollback_run(const ae__args *args) {
  return change(args, "rollback");
}

/* -- revisions -- */

static void tell_revision(ae_str one, bool unused, ae_buf *out) {
  ae_str texts[2] = {{0}};
  static const char *const names[] = {"namespace", "revision"};
  ae_str value;
  int64_t loaded = 0;
  uint64_t modules = 0;
  bool current = false;
  (void)unused;
  for (int i = 0; i < 2; i++) {
    if (!ae_unpack_field(one, names[i], &value)) continue;
    ae_unpack cursor = ae_unpack_of(value);
    ae_unpack_str(&cursor, &texts[i]);
  }
  if (ae_unpack_field(one, "loaded", &value)) {
    ae_unpack cursor = ae_unpack_of(value);
    ae_unpack_int(&cursor, &loaded);
  }
  if (ae_unpack_field(one, "modules", &value)) {
    ae_unpack cursor = ae_unpack_of(value);
    ae_unpack_uint(&cursor, &modules);
  }
  if (ae_unpack_field(one, "current", &value)) {
    ae_pack_item item;
    ae_unpack cursor = ae_unpack_of(value);
    current = ae_unpack_next(&cursor, &item) && item.b;
  }
  char when[32];
  struct tm local;
  time_t seconds = (time_t)(loaded / 1000000);
  localtime_r(&seconds, &local);
  strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
  ae_buf_printf(out, "%.*s  %.*s  %s  %llu module%s%s\n", AE_FMT(texts[0]),
                AE_FMT(texts[1]), when, (unsigned long long)modules,
                modules == 1 ? "" : "s", current ? "  (current)" : "");
}

int ae__revisions_run(const ae__args *args) {
  ae__session session;
  int exit = ae__session_reach(&session, args);
  if (exit != 0) return exit;
  ae_buf path = {0}, packed = {0};
  ae_buf_printf(&path, "/v1/admin/revisions");
  if (args->count > 0) add_parameter(&path, "namespace", args->rest[0]);
  ae__call call = {.path = ae_buf_cstr(&path)};
  ae_status status = ae__client_call(session.client, &call, &session.err);
  ae_str answer = ae_buf_view(&call.answer);
  if (status == AE_OK && ae__args_json(args)) {
    fwrite(answer.ptr, 1, answer.len, stdout);
  } else if (status == AE_OK) {
    status = ae_json_read(answer, &packed, &session.err);
    if (status == AE_OK)
      tell_each(ae_buf_view(&packed), "revisions", false, tell_revision,
                stdout);
  }
  if (status != AE_OK) exit = ae__complain(args, &session.err);
  ae_buf_clear(&path);
  ae_buf_clear(&packed);
  ae_buf_clear(&call.answer);
  ae__session_clear(&session);
  return exit;
}
