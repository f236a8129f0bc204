/* `aether send`: one command to a running node. It goes as a line to
 * POST /v1/commands, so that its outcome is what `exec` prints. */
#include <unistd.h>

#include "base/json.h"
#include "base/pack.h"
#include "door/client/show.h"
#include "door/session.h"
#include "door/terminal.h"

typedef struct sending {
  ae__session session;
  ae_buf line; /* the command */
  ae_buf out;
  bool text;
  bool answered;
  int exit;
} sending;

/* -- the command -- */

static ae_status read_stdin(ae_buf *out, ae_error *err) {
  for (;;) {
    ae_buf_reserve(out, 65536);
    ssize_t got = read(STDIN_FILENO, out->ptr + out->len, 65536);
    if (got <= 0) break;
    out->len += (size_t)got;
    if (out->len > 8u << 20)
      return ae_error_set(err, AE_TOO_LARGE, "a command may take at most 8 MB");
  }
  return AE_OK;
}

static ae_status add_data(ae_buf *line, const char *text, ae_error *err) {
  ae_buf bytes = {0}, packed = {0};
  ae_error why = {0};
  uint32_t count;
  bool from_stdin = strcmp(text, "-") == 0;
  ae_status status = AE_OK;
  if (from_stdin)
    status = read_stdin(&bytes, err);
  else
    ae_buf_add(&bytes, text, strlen(text));
  if (status == AE_OK) {
    status = ae_json_read(ae_buf_view(&bytes), &packed, &why);
    ae_unpack cursor = ae_unpack_of(ae_buf_view(&packed));
    if (status != AE_OK)
      status =
          ae_error_set(err, AE_USAGE, "the command's data%s: %s",
                       from_stdin ? " from stdin" : "", ae_error_text(&why));
    else if (!ae_unpack_map(&cursor, &count))
      status = ae_error_set(
          err, AE_USAGE,
          "the command's data is a JSON object, as '{\"amount\":5}'");
  }
  if (status == AE_OK) {
    ae_buf_str(line, AE_STR(",\"data\":"));
    ae_json_write(ae_buf_view(&packed), line);
  }
  ae_error_clear(&why);
  ae_buf_clear(&bytes);
  ae_buf_clear(&packed);
  return status;
}

static ae_status utf8(const char *text, const char *what, ae_error *err) {
  if (ae_str_utf8(ae_str_of(text))) return AE_OK;
  return ae_error_set(err, AE_USAGE, "%s must be UTF-8", what);
}

static ae_status make_line(const ae__args *args, ae_buf *line, ae_error *err) {
  const char *id = ae__args_get(args, "id");
  uint64_t expect;
  ae_ref ref;
  ae_status status = ae_ref_parse(ae_str_of(args->rest[0]), &ref, err);
  if (status == AE_OK)
    status = ae__args_uint(args, "expect", 0, UINT64_MAX - 1, 0, &expect, err);
  if (status == AE_OK) status = utf8(args->rest[1], "the command's name", err);
  if (status == AE_OK && id) status = utf8(id, "--id", err);
  if (status != AE_OK) return status;
  ae_buf_str(line, AE_STR("{\"actor\":"));
  ae_json_write_str(ae_str_of(args->rest[0]), line);
  ae_buf_str(line, AE_STR(",\"command\":"));
  ae_json_write_str(ae_str_of(args->rest[1]), line);
  if (id) {
    ae_buf_str(line, AE_STR(",\"id\":"));
    ae_json_write_str(ae_str_of(id), line);
  }
  if (ae__args_get(args, "expect"))
    ae_buf_printf(line, ",\"expected_version\":%llu",
                  (unsigned long long)expect);
  if (args->count > 2) status = add_data(line, args->rest[2], err);
  ae_buf_str(line, AE_STR("}\n"));
  return status;
}

/* -- the outcome -- */

static void show_error(sending *s, ae_str packed, const char *word) {
  ae_error err = {0};
  ae_str error = {0}, details;
  ae_unpack_field(packed, "error", &error);
  if (!ae__client_problem(error, "message", &err))
    ae_error_set(&err, AE_UNREACHABLE, "an outcome that is not understood");
  s->exit = ae_status_exit(err.status);
  if (s->text) {
    ae_buf_printf(&s->out, "%s%s%s: %s", ae__color(stdout, AE__RED), word,
                  ae__color(stdout, AE__PLAIN), ae_error_text(&err));
    if (ae_unpack_field(error, "details", &details)) {
      ae_buf_byte(&s->out, ' ');
      ae_json_write(details, &s->out);
    }
    ae_buf_byte(&s->out, '\n');
  }
  ae_error_clear(&err);
}

static void show_accepted(sending *s, ae_str packed) {
  ae_str value;
  ae_unpack cursor;
  uint64_t version = 0;
  uint32_t count = 0;
  if (!s->text) return;
  if (ae_unpack_field(packed, "version", &value)) {
    cursor = ae_unpack_of(value);
    ae_unpack_uint(&cursor, &version);
  }
  ae_buf_printf(&s->out, "%saccepted%s%s: %s is at version %llu\n",
                ae__color(stdout, AE__GREEN), ae__color(stdout, AE__PLAIN),
                ae_unpack_field(packed, "repeated", &value)
                    ? " before, under this id"
                    : "",
                s->session.args->rest[0], (unsigned long long)version);
  if (!ae_unpack_field(packed, "events", &value)) return;
  cursor = ae_unpack_of(value);
  if (!ae_unpack_array(&cursor, &count)) return;
  for (uint32_t i = 0; i < count; i++) {
    ae_event event;
    if (ae_unpack_skip(&cursor, &value) && ae__show_read(value, &event))
      ae__show_event(&s->out, &event, false);
  }
}

static bool on_line(void *data, ae_str line) {
  sending *s = data;
  ae_buf packed = {0};
  ae_str value = {0};
  if (s->answered) return true;
  s->answered = true;
  if (!s->text) {
    ae_buf_str(&s->out, line);
    ae_buf_byte(&s->out, '\n');
  }
  if (ae_json_read(line, &packed, NULL) == AE_OK &&
      ae_unpack_field(ae_buf_view(&packed), "status", &value)) {
    ae_unpack cursor = ae_unpack_of(value);
    ae_unpack_str(&cursor, &value);
  }
  if (ae_str_eq(value, AE_STR("accepted"))) {
    show_accepted(s, ae_buf_view(&packed));
  } else {
    char word[16];
    snprintf(word, sizeof word, "%.*s", AE_FMT(value));
    show_error(s, ae_buf_view(&packed), word);
  }
  ae_buf_clear(&packed);
  return true;
}

/* Whether it took effect is not known. */
static void say_unknown(const sending *s) {
  if (ae__args_get(s->session.args, "id"))
    ae__say(
        "whether the command took effect is not known: send it again with the "
        "same --id, and it takes effect once");
  else
    ae__say(
        "whether the command took effect is not known; with an --id it could "
        "be sent again, and take effect once");
}

static void send_it(sending *s) {
  ae_error *err = &s->session.err;
  ae__call call = {.post = true,
                   .path = "/v1/commands",
                   .type = "application/x-ndjson",
                   .body = ae_buf_view(&s->line),
                   .line = on_line,
                   .data = s};
  ae_status status = ae__client_call(s->session.client, &call, err);
  if (s->answered) {
    if (!ae__write_out(s->out.ptr, s->out.len))
      s->exit = ae_status_exit(AE_UNREACHABLE);
    return;
  }
  if (status == AE_OK)
    status = ae_error_set(err, AE_UNREACHABLE,
                          "the node at %s ended before it had an outcome",
                          ae__client_url(s->session.client));
  bool sent = status == AE_CANCELED || status == AE_UNREACHABLE;
  s->exit = ae__complain(s->session.args, err);
  if (sent && call.sent) say_unknown(s);
}

int ae__send_run(const ae__args *args) {
  sending s = {0};
  ae_error err = {0};
  ae_status status = make_line(args, &s.line, &err);
  int exit = status == AE_OK ? ae__session_reach(&s.session, args)
                             : ae__complain(args, &err);
  if (exit == 0) {
    s.text = ae__terminal(stdout) && !ae__args_json(args);
    send_it(&s);
    ae__session_clear(&s.session);
    exit = s.exit;
  }
  ae_buf_clear(&s.line);
  ae_buf_clear(&s.out);
  ae_error_clear(&err);
  return exit;
}
