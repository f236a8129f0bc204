/* Stored events from a node. Where they are followed, the last line given says
 * from where to go on: nothing is left out, nothing comes twice. */
#include "door/client/door.h"
#include "door/client/show.h"
#include "door/terminal.h"

#include "base/json.h"

#define OUT_SLICE (64u << 10)

typedef struct reading {
  ae__session *session;
  ae__events_wanted wanted;
  ae_buf path;
  ae_buf out;
  ae_buf last;   /* the line of the last event that was given */
  ae_buf packed; /* of the line that is looked at */
  bool any;
  int exit;
} reading;

static bool flush(void *data) {
  reading *r = data;
  bool good = ae__write_out(r->out.ptr, r->out.len);
  ae_buf_reset(&r->out);
  if (!good) r->exit = ae_status_exit(AE_UNREACHABLE);
  return good;
}

static void complain(reading *r, ae_error *err) {
  int exit = ae__complain(r->session->args, err);
  if (exit > r->exit) r->exit = exit;
}

/* A record that cannot be read. */
static void on_damage(reading *r, ae_str line) {
  ae_error err = {0};
  ae_str error = {0};
  ae_buf_reset(&r->packed);
  if (ae_json_read(line, &r->packed, NULL) == AE_OK)
    ae_unpack_field(ae_buf_view(&r->packed), "error", &error);
  if (!ae__client_problem(error, "message", &err))
    ae_error_set(&err, AE_REPLAY_ERROR, "a record cannot be read");
  complain(r, &err);
}

static bool on_line(void *data, ae_str line) {
  static const char damage[] = "{\"error\":";
  reading *r = data;
  ae_event event;
  if (line.len > sizeof damage &&
      memcmp(line.ptr, damage, sizeof damage - 1) == 0) {
    on_damage(r, line);
    return true;
  }
  if (line.len == 0) return true;
  r->any = true;
  if (!r->wanted.text) {
    ae_buf_str(&r->out, line);
    ae_buf_byte(&r->out, '\n');
  } else if (ae__show_read_line(line, &r->packed, &event)) {
    ae__show_event(&r->out, &event, !r->wanted.is_actor);
  }
  if (r->wanted.follow) {
    ae_buf_reset(&r->last);
    ae_buf_str(&r->last, line);
  }
  return r->out.len < OUT_SLICE || flush(r);
}

/* Behind the last event that was given. */
static void move_on(reading *r) {
  ae__events_wanted *w = &r->wanted;
  ae_event event;
  if (r->last.len == 0) return;
  if (!ae__show_read_line(ae_buf_view(&r->last), &r->packed, &event)) return;
  w->after_version = event.version;
  w->after_position = event.position;
  w->after_index = event.index;
  w->has_index = true;
}

static const char *path_of(void *data) {
  reading *r = data;
  const ae__events_wanted *w = &r->wanted;
  ae_buf *path = &r->path;
  move_on(r);
  ae_buf_reset(path);
  ae_buf_str(path, AE_STR("/v1/"));
  ae__client_segment(path, w->ref.ns);
  if (w->is_actor) {
    ae_buf_byte(path, '/');
    ae__client_segment(path, w->ref.type);
    ae_buf_byte(path, '/');
    ae__client_segment(path, w->ref.id);
    ae_buf_printf(path, "/events?after=%llu",
                  (unsigned long long)w->after_version);
  } else {
    ae_buf_printf(path, "/events?after=%llu",
                  (unsigned long long)w->after_position);
    if (w->has_index)
      ae_buf_printf(path, ".%llu", (unsigned long long)w->after_index);
  }
  if (w->follow) ae_buf_str(path, AE_STR("&follow=true"));
  if (w->type) {
    ae_buf_str(path, AE_STR("&types="));
    ae__client_segment(path, ae_str_of(w->type));
  }
  return ae_buf_cstr(path);
}

static ae_status ask(reading *r, ae_error *err) {
  ae__follow follow = {
      .call = {.line = on_line, .flush = flush, .data = r},
      .path = path_of,
  };
  if (r->wanted.follow)
    return ae__client_follow(r->session->client, &follow, err);
  follow.call.path = path_of(r);
  follow.call.endless = true; /* who reads may be slow */
  return ae__client_call(r->session->client, &follow.call, err);
}

/* Retention removed the first: what is left is shown. False: it did not. */
static bool skip_trimmed(reading *r, ae_status status, ae_error *err) {
  uint64_t from = 0;
  if (status != AE_HISTORY_TRIMMED || !r->wanted.is_actor) return false;
  ae_unpack facts = ae_unpack_of(ae_buf_view(&err->facts));
  for (uint32_t i = 0; i < err->nfacts; i++) {
    ae_str key, value;
    if (!ae_unpack_str(&facts, &key) || !ae_unpack_skip(&facts, &value)) break;
    ae_unpack cursor = ae_unpack_of(value);
    if (ae_str_eq(key, AE_STR("from"))) ae_unpack_uint(&cursor, &from);
  }
  if (from <= r->wanted.after_version + 1) return false;
  r->wanted.after_version = from - 1;
  ae_error plain = {0};
  ae_error_set(&plain, AE_HISTORY_TRIMMED,
               "retention removed the events up to version %llu; showing what "
               "is left",
               (unsigned long long)(from - 1));
  ae_error_uint(&plain, "from", from);
  complain(r, &plain);
  ae_error_clear(err);
  return true;
}

int ae__client_events(ae__session *session, const ae__events_wanted *wanted) {
  reading r = {.session = session, .wanted = *wanted};
  ae_error *err = &session->err;
  ae_status status = ask(&r, err);
  if (skip_trimmed(&r, status, err)) status = ask(&r, err);
  flush(&r);
  if (status != AE_OK && status != AE_CANCELED) complain(&r, err);
  if (status == AE_OK && !r.any && wanted->is_actor && !wanted->type &&
      wanted->after_version == 0 && r.exit == 0)
    ae__say("%s has no events", session->args->rest[0]);
  ae_buf_clear(&r.path);
  ae_buf_clear(&r.out);
  ae_buf_clear(&r.last);
  ae_buf_clear(&r.packed);
  return r.exit;
}
