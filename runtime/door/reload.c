/* `aether reload`: a running node loads its modules anew. */
#include "base/json.h"
#include "base/pack.h"
#include "door/session.h"
#include "door/terminal.h"

static void print_one(ae_str one) {
  ae_str fields[3] = {{0}};
  static const char *const names[] = {"namespace", "revision", "was"};
  for (int i = 0; i < 3; i++) {
    ae_str value;
    if (!ae_unpack_field(one, names[i], &value)) continue;
    ae_unpack cursor = ae_unpack_of(value);
    ae_unpack_str(&cursor, &fields[i]);
  }
  bool same = ae_str_eq(fields[1], fields[2]);
  printf("%.*s  revision %.*s%s%.*s%s\n", AE_FMT(fields[0]), AE_FMT(fields[1]),
         same ? ", as before" : " (was ", same ? 0 : (int)fields[2].len,
         fields[2].ptr, same ? "" : ")");
}

static ae_status print_all(ae_str answer, ae_error *err) {
  ae_buf packed = {0};
  ae_status status = ae_json_read(answer, &packed, err);
  ae_str list, one;
  uint32_t count = 0;
  if (status == AE_OK &&
      ae_unpack_field(ae_buf_view(&packed), "reloaded", &list)) {
    ae_unpack cursor = ae_unpack_of(list);
    ae_unpack_array(&cursor, &count);
    for (uint32_t i = 0; i < count && ae_unpack_skip(&cursor, &one); i++)
      print_one(one);
  }
  ae_buf_clear(&packed);
  return status;
}

int ae__reload_run(const ae__args *args) {
  ae__session session;
  int exit = ae__session_reach(&session, args);
  if (exit != 0) return exit;
  ae_buf path = {0};
  ae_buf_printf(&path, "/v1/admin/reload");
  if (args->count > 0) {
    ae_buf_printf(&path, "?namespace=");
    ae__client_segment(&path, ae_str_of(args->rest[0]));
  }
  ae__call call = {.post = true, .path = ae_buf_cstr(&path)};
  ae_status status = ae__client_call(session.client, &call, &session.err);
  if (status == AE_OK && ae__args_json(args))
    fwrite(call.answer.ptr, 1, call.answer.len, stdout);
  else if (status == AE_OK)
    status = print_all(ae_buf_view(&call.answer), &session.err);
  if (status != AE_OK) exit = ae__complain(args, &session.err);
  ae_buf_clear(&path);
  ae_buf_clear(&call.answer);
  ae__session_clear(&session);
  return exit;
}
