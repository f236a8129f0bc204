/* `aether listen`: the live bus of a running node. */
#include "base/json.h"
#include "door/client/show.h"
#include "door/session.h"
#include "door/terminal.h"
#include "namespace/pattern.h"

typedef struct listening {
  ae__session session;
  ae_buf path;
  ae_buf out;
  ae_buf packed;
  bool text;
  int exit;
} listening;

static bool flush(void *data) {
  listening *l = data;
  bool good = ae__write_out(l->out.ptr, l->out.len);
  ae_buf_reset(&l->out);
  if (!good) l->exit = ae_status_exit(AE_UNREACHABLE);
  return good;
}

/* {"dropped":3} */
static bool say_dropped(listening *l) {
  ae_str value;
  uint64_t count = 0;
  if (!ae_unpack_field(ae_buf_view(&l->packed), "dropped", &value))
    return false;
  ae_unpack cursor = ae_unpack_of(value);
  ae_unpack_uint(&cursor, &count);
  if (!flush(l)) return true;
  ae__say("%s event%s dropped here: they came faster than they were read",
          ae__count(count), count == 1 ? " was" : "s were");
  return true;
}

static bool on_line(void *data, ae_str line) {
  listening *l = data;
  ae_event event;
  if (line.len == 0) return true;
  if (!l->text) {
    ae_buf_str(&l->out, line);
    ae_buf_byte(&l->out, '\n');
  } else if (ae__show_read_line(line, &l->packed, &event)) {
    ae__show_event(&l->out, &event, true);
  } else {
    say_dropped(l);
  }
  return l->exit == 0;
}

static const char *path_of(void *data) {
  return ae_buf_cstr(&((listening *)data)->path);
}

static void make_path(listening *l, const ae__args *args) {
  const struct {
    const char *name, *value;
  } parts[] = {{"?pattern=", args->rest[0]},
               {"&types=", ae__args_get(args, "type")},
               {"&actor=", ae__args_get(args, "actor")}};
  ae_buf_str(&l->path, AE_STR("/v1/events"));
  for (int i = 0; i < 3; i++) {
    if (!parts[i].value) continue;
    ae_buf_str(&l->path, ae_str_of(parts[i].name));
    ae__client_segment(&l->path, ae_str_of(parts[i].value));
  }
}

int ae__listen_run(const ae__args *args) {
  listening l = {0};
  ae_error err = {0};
  int exit;
  if (ae_pattern_check(ae_str_of(args->rest[0]), &err) != AE_OK)
    return ae__complain(args, &err);
  exit = ae__session_reach(&l.session, args);
  if (exit != 0) return exit;
  l.text = ae__terminal(stdout) && !ae__args_json(args);
  make_path(&l, args);
  ae__follow follow = {
      .call = {.line = on_line, .flush = flush, .data = &l},
      .path = path_of,
      .missed = "; what is published meanwhile is missed",
  };
  ae_status status =
      ae__client_follow(l.session.client, &follow, &l.session.err);
  flush(&l);
  exit = l.exit;
  if (status != AE_OK && status != AE_CANCELED)
    exit = ae__complain(args, &l.session.err);
  ae_buf_clear(&l.path);
  ae_buf_clear(&l.out);
  ae_buf_clear(&l.packed);
  ae__session_clear(&l.session);
  return exit;
}
