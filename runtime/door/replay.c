/* `aether replay`. */
#include "base/json.h"
#include "base/pack.h"
#include "door/answer.h"
#include "door/diff.h"
#include "door/session.h"
#include "door/terminal.h"
#include "node/history.h"

typedef struct replay {
  ae__session session;
  ae_history history;
  bool json;
  bool lost; /* stdout takes nothing any more */
  uint64_t events;
  ae_buf out;
  int exit;
} replay;

static void add_json(ae_buf *out, const ae_history_step *step) {
  ae_buf packed = {0};
  ae_pack_map(&packed, 4);
  ae_pack_cstr(&packed, "version");
  ae_pack_uint(&packed, step->event->version);
  ae_pack_cstr(&packed, "event");
  ae_event_render(step->event, &packed);
  ae_pack_cstr(&packed, "state");
  ae_buf_str(&packed, step->after);
  ae_pack_cstr(&packed, "changed");
  ae__diff_pack(step->before, step->after, &packed);
  ae_json_write(ae_buf_view(&packed), out);
  ae_buf_byte(out, '\n');
  ae_buf_clear(&packed);
}

static void add_text(ae_buf *out, const ae_history_step *step) {
  ae__answer_event_text(out, step->event, false, ae__color(stdout, AE__BOLD),
                        ae__color(stdout, AE__DIM),
                        ae__color(stdout, AE__PLAIN));
  size_t before = out->len;
  ae__diff_text(step->before, step->after, "    ", out);
  if (out->len == before) ae_buf_printf(out, "    (nothing changed)\n");
  ae_buf_printf(out, "    state ");
  ae_json_write(step->after, out);
  ae_buf_byte(out, '\n');
}

static bool on_step(ae_history *history, const ae_history_step *step) {
  replay *r = history->data;
  ae_buf_reset(&r->out);
  r->events++;
  if (r->json)
    add_json(&r->out, step);
  else
    add_text(&r->out, step);
  if (fwrite(r->out.ptr, 1, r->out.len, stdout) == r->out.len) return true;
  r->lost = true;
  return false;
}

static void on_done(ae_history *history, ae_status status, uint64_t version,
                    const ae_error *err) {
  replay *r = history->data;
  (void)version;
  if (status != AE_OK && !r->lost) {
    fflush(stdout);
    r->exit = ae__complain_of(r->session.args, status, err);
  } else if (!r->lost && r->events == 0) {
    ae__say("%s has no events", r->session.args->rest[0]);
  }
  ae__session_end(&r->session);
}

int ae__replay_run(const ae__args *args) {
  replay r = {.json = ae__args_json(args)};
  ae_error err = {0};
  r.history.step = on_step;
  r.history.done = on_done;
  r.history.data = &r;
  r.history.module = ae__args_get(args, "module");
  if (ae_ref_parse(ae_str_of(args->rest[0]), &r.history.ref, &err) != AE_OK)
    return ae__complain(args, &err);
  int exit = ae__session_open(&r.session, args, AE__READ_ACTORS);
  if (exit != 0) return exit;
  if (ae_history_start(r.session.node, &r.history, &err) != AE_OK) {
    r.exit = ae__complain(args, &err);
    ae__session_end(&r.session);
  }
  ae__session_run(&r.session);
  ae__session_clear(&r.session);
  ae_buf_clear(&r.out);
  return r.exit;
}
