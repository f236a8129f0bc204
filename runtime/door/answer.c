#include "door/answer.h"

#include <time.h>

#include "base/json.h"
#include "base/pack.h"

ae__verdict ae__verdict_of(ae_status status) {
  if (status == AE_OK) return AE__ACCEPTED;
  if (status == AE_REJECTED) return AE__REJECTED;
  return ae_status_exit(status) == 1 ? AE__CONFLICT : AE__FAILED;
}

const char *ae__verdict_word(ae__verdict verdict) {
  static const char *const words[] = {"accepted", "rejected", "conflict",
                                      "failed"};
  return words[verdict];
}

/* printf's %llu costs as much as all the rest of a line. */
static void add_uint(ae_buf *out, uint64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  ae_buf_add(out, digits + at, sizeof digits - at);
}

#define ADD(out, literal) ae_buf_add(out, literal, sizeof(literal) - 1)

static void open_line(ae_buf *out, const ae__asked *asked, const char *status) {
  ADD(out, "{");
  if (asked->line > 0) {
    ADD(out, "\"line\":");
    add_uint(out, asked->line);
    ADD(out, ",");
  }
  if (asked->actor.ptr) {
    ADD(out, "\"actor\":");
    ae_json_write_str(asked->actor, out);
    ADD(out, ",");
  }
  if (asked->command.ptr) {
    ADD(out, "\"command\":");
    ae_json_write_str(asked->command, out);
    ADD(out, ",");
  }
  if (asked->id.ptr) {
    ADD(out, "\"id\":");
    ae_json_write_str(asked->id, out);
    ADD(out, ",");
  }
  ADD(out, "\"status\":\"");
  ae_buf_add(out, status, strlen(status));
  ADD(out, "\"");
}

static void add_error(ae_buf *out, const ae_error *err) {
  ae_buf packed = {0};
  ae_error_render(err, &packed);
  ADD(out, "\"error\":");
  ae_json_write(ae_buf_view(&packed), out);
  ae_buf_clear(&packed);
}

static void add_event(ae_buf *out, const ae_event *event) {
  static ae_buf packed; /* one thread; kept for its memory */
  ae_buf_reset(&packed);
  ae_event_render(event, &packed);
  ae_json_write(ae_buf_view(&packed), out);
}

void ae__answer_outcome(ae_buf *out, const ae__asked *asked,
                        ae_outcome *outcome) {
  open_line(out, asked, ae__verdict_word(ae__verdict_of(outcome->status)));
  if (outcome->status != AE_OK) {
    ADD(out, ",");
    add_error(out, outcome->error);
    ADD(out, "}\n");
    return;
  }
  ADD(out, ",\"version\":");
  add_uint(out, outcome->version);
  ADD(out, ",\"position\":");
  add_uint(out, outcome->position);
  ADD(out, ",\"events\":[");
  ae_event event;
  for (bool first = true; ae_outcome_event(outcome, &event); first = false) {
    if (!first) ADD(out, ",");
    add_event(out, &event);
  }
  ADD(out, "]");
  if (outcome->repeated) ADD(out, ",\"repeated\":true");
  ADD(out, "}\n");
}

void ae__answer_failed(ae_buf *out, const ae__asked *asked,
                       const ae_error *err) {
  open_line(out, asked, ae__verdict_word(AE__FAILED));
  ADD(out, ",");
  add_error(out, err);
  ADD(out, "}\n");
}

void ae__answer_problem(ae_buf *out, const ae_error *err) {
  ADD(out, "{");
  add_error(out, err);
  ADD(out, "}\n");
}

void ae__answer_state(ae_buf *out, const ae_ref *ref, uint64_t version,
                      ae_str state, bool pretty) {
  ae_buf name = {0}, packed = {0};
  ae_ref_format(ref, &name);
  ae_pack_map(&packed, 3);
  ae_pack_cstr(&packed, "actor");
  ae_pack_text(&packed, ae_buf_view(&name));
  ae_pack_cstr(&packed, "version");
  ae_pack_uint(&packed, version);
  ae_pack_cstr(&packed, "state");
  ae_buf_str(&packed, state);
  if (pretty)
    ae_json_write_pretty(ae_buf_view(&packed), 0, out);
  else
    ae_json_write(ae_buf_view(&packed), out);
  ADD(out, "\n");
  ae_buf_clear(&name);
  ae_buf_clear(&packed);
}

void ae__answer_event(ae_buf *out, const ae_event *event) {
  add_event(out, event);
  ADD(out, "\n");
}

void ae__answer_time(ae_buf *out, int64_t time) {
  int64_t seconds = time / 1000000, micros = time % 1000000;
  if (micros < 0) {
    micros += 1000000;
    seconds--;
  }
  time_t when = (time_t)seconds;
  struct tm parts;
  char text[40];
  if (!gmtime_r(&when, &parts) ||
      strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
    ae_buf_printf(out, "%lldus", (long long)time);
    return;
  }
  ae_buf_printf(out, "%s.%06dZ", text, (int)micros);
}

void ae__answer_event_text(ae_buf *out, const ae_event *event, bool actor,
                           const char *strong, const char *dim,
                           const char *plain) {
  ae_buf_printf(out, "%s%llu.%u ", dim, (unsigned long long)event->position,
                event->index);
  ae__answer_time(out, event->time);
  ae_buf_printf(out, "%s ", plain);
  if (actor) {
    ae_ref_format(&event->ref, out);
    ae_buf_printf(out, " ");
  }
  ae_buf_printf(out, "v%llu %s%.*s%s ", (unsigned long long)event->version,
                strong, AE_FMT(event->type), plain);
  ae_json_write(event->data, out);
  ADD(out, "\n");
}
