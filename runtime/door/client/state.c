/* States from a node, one after the other. */
#include "base/json.h"
#include "door/answer.h"
#include "door/client/door.h"
#include "door/terminal.h"

typedef struct asking {
  ae__session *session;
  uint64_t at;
  bool pretty;
  ae_buf path;
  ae_buf text; /* pretty, or the name */
  int exit;
} asking;

static void complain(asking *a, ae_str name) {
  ae_error *err = &a->session->err;
  ae_buf_reset(&a->text);
  ae_buf_str(&a->text, name);
  if (!strstr(ae_error_text(err), ae_buf_cstr(&a->text))) {
    ae_error named = {0};
    ae_error_set(&named, err->status, "%s: %s", ae_buf_cstr(&a->text),
                 ae_error_text(err));
    ae_buf_str(&named.facts, ae_buf_view(&err->facts));
    named.nfacts = err->nfacts;
    ae_error_move(err, &named);
  }
  int exit = ae__complain(a->session->args, err);
  if (exit > a->exit) a->exit = exit;
}

static bool print(asking *a, ae_str answer) {
  if (a->pretty) {
    ae_buf packed = {0};
    ae_buf_reset(&a->text);
    if (ae_json_read(answer, &packed, NULL) == AE_OK) {
      ae_json_write_pretty(ae_buf_view(&packed), 0, &a->text);
      ae_buf_byte(&a->text, '\n');
      answer = ae_buf_view(&a->text);
    }
    ae_buf_clear(&packed);
  }
  if (ae__write_out(answer.ptr, answer.len)) return true;
  a->exit = ae_status_exit(AE_UNREACHABLE);
  return false;
}

/* False: there is no use in asking on. */
static bool ask(asking *a, ae_str name, ae__call *call) {
  ae_error *err = &a->session->err;
  ae_ref ref;
  ae_status status = ae_ref_parse(name, &ref, err);
  if (status == AE_OK) {
    const ae_str parts[] = {ref.ns, ref.type, ref.id};
    ae_buf_reset(&a->path);
    ae_buf_str(&a->path, AE_STR("/v1"));
    for (int i = 0; i < 3; i++) {
      ae_buf_byte(&a->path, '/');
      ae__client_segment(&a->path, parts[i]);
    }
    if (a->at != UINT64_MAX)
      ae_buf_printf(&a->path, "?at=%llu", (unsigned long long)a->at);
    call->path = ae_buf_cstr(&a->path);
    status = ae__client_call(a->session->client, call, err);
  }
  if (status == AE_OK) return print(a, ae_buf_view(&call->answer));
  if (status == AE_UNREACHABLE || status == AE_CANCELED ||
      status == AE_UNAUTHENTICATED) {
    a->exit = ae__complain(a->session->args, err);
    return false;
  }
  complain(a, name);
  return true;
}

int ae__client_states(ae__session *session, uint64_t at, bool pretty,
                      ae__next_name next, void *data) {
  asking a = {.session = session, .at = at, .pretty = pretty};
  ae__call call = {0};
  ae_str name;
  while (next(data, &name) && ask(&a, name, &call)) continue;
  ae_buf_clear(&call.answer);
  ae_buf_clear(&a.path);
  ae_buf_clear(&a.text);
  return a.exit;
}
