/* POST /v1/{ns}/{type}/{id}/{command}: one command, its outcome; and
 * POST /v1/commands (command_lines.h). */
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/answer.h"
#include "door/http/command_lines.h"
#include "door/http/want.h"
#include "namespace/name.h"

static const char *const no_parameters[] = {NULL};

typedef struct sent {
  ae_command command;
  ae__asked asked;
  ae__exchange *x; /* NULL: gone */
  ae_buf names;    /* NS/TYPE/ID, then the command's name, then its id */
  ae_buf data;
  ae_buf metadata;
} sent;

static void free_sent(sent *s) {
  ae_buf_clear(&s->names);
  ae_buf_clear(&s->data);
  ae_buf_clear(&s->metadata);
  ae_free(s);
}

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  sent *s = command->context;
  ae__exchange *x = s->x;
  if (x && outcome->status != AE_OK) {
    ae__exchange_fail(x, outcome->error);
  } else if (x) {
    ae_buf body = {0};
    ae__answer_outcome(&body, &s->asked, outcome);
    ae__want_tag(x, outcome->version);
    ae__exchange_answer(x, 200, "application/json", ae_buf_view(&body));
    ae_buf_clear(&body);
  }
  if (x) x->context = NULL;
  free_sent(s);
}

/* -- metadata -- */

static bool is_hex(ae_str text, size_t from, size_t len, bool *zeros) {
  *zeros = true;
  for (size_t i = from; i < from + len; i++) {
    char c = text.ptr[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    *zeros = *zeros && c == '0';
  }
  return true;
}

/* VERSION-TRACE-PARENT-FLAGS, as W3C Trace Context says; a later version may
 * have more behind it. What is none is ignored, it says too. */
static bool is_traceparent(ae_str text) {
  bool no_version, no_trace, no_parent, no_flags;
  if (text.len < 55) return false;
  if (text.ptr[2] != '-' || text.ptr[35] != '-' || text.ptr[52] != '-')
    return false;
  if (!is_hex(text, 0, 2, &no_version) || !is_hex(text, 3, 32, &no_trace) ||
      !is_hex(text, 36, 16, &no_parent) || !is_hex(text, 53, 2, &no_flags))
    return false;
  if (memcmp(text.ptr, "ff", 2) == 0 || no_trace || no_parent) return false;
  if (no_version) return text.len == 55;
  return text.len <= AE_ID_MAX && (text.len == 55 || text.ptr[55] == '-') &&
         ae_str_utf8(text);
}

static ae_status read_metadata(const ae__exchange *x, ae_buf *out,
                               ae_error *err) {
  ae_str trace = ae__exchange_header(x, "traceparent");
  ae_str correlation;
  ae_status status =
      ae__want_text(x, "x-correlation-id", AE_ID_MAX, &correlation, err);
  if (status == AE_OK && !correlation.ptr)
    status = ae__want_text(x, "correlation-id", AE_ID_MAX, &correlation, err);
  if (status != AE_OK) return status;
  bool traced = trace.ptr && is_traceparent(trace);
  uint32_t count = (uint32_t)traced + (correlation.ptr != NULL);
  if (count == 0) return AE_OK;
  ae_pack_map(out, count);
  if (correlation.ptr) {
    ae_pack_cstr(out, "correlation_id");
    ae_pack_text(out, correlation);
  }
  if (traced) {
    ae_pack_cstr(out, "traceparent");
    ae_pack_text(out, trace);
  }
  return AE_OK;
}

/* -- the command -- */

static ae_status read_data(const ae__exchange *x, ae_buf *out, ae_error *err) {
  uint32_t count;
  if (x->body.len == 0) {
    ae_pack_map(out, 0);
    return AE_OK;
  }
  ae_status status = ae_json_read(x->body, out, err);
  if (status != AE_OK) return status;
  ae_unpack cursor = ae_unpack_of(ae_buf_view(out));
  if (ae_unpack_map(&cursor, &count)) return AE_OK;
  ae_error_set(err, AE_MALFORMED,
               "the body is the command's data, an object: {\"amount\":5}");
  ae_error_uint(err, "at", 0);
  return AE_MALFORMED;
}

/* As it stands, or a string of structured headers (RFC 8941), which is how the
 * header's draft has it: "…", without the quotes. */
static ae_status read_id(const ae__exchange *x, ae_buf *out, ae_error *err) {
  ae_str text;
  ae_status status =
      ae__want_text(x, "idempotency-key", AE_ID_MAX + 2, &text, err);
  if (status != AE_OK || !text.ptr) return status;
  size_t from = out->len;
  bool quoted = text.ptr[0] == '"', good = true;
  size_t end = text.len;
  if (quoted) good = end >= 2 && text.ptr[--end] == '"';
  for (size_t i = quoted; good && i < end; i++) {
    char c = text.ptr[i];
    if (quoted && c == '\\') {
      good = ++i < end && (text.ptr[i] == '"' || text.ptr[i] == '\\');
      if (good) ae_buf_byte(out, (uint8_t)text.ptr[i]);
    } else {
      good = !(quoted && c == '"');
      ae_buf_byte(out, (uint8_t)c);
    }
  }
  size_t len = out->len - from;
  if (good && len > 0 && len <= AE_ID_MAX) return AE_OK;
  ae_error_set(err, AE_MALFORMED,
               "`Idempotency-Key` must be 1 to 255 bytes, as they are or in "
               "double quotes, not ");
  ae_error_quote(err, text);
  ae_error_cstr(err, "at", "Idempotency-Key");
  return AE_MALFORMED;
}

static ae_status read_command(const ae__exchange *x, sent *s, ae_error *err) {
  ae_command *command = &s->command;
  ae_buf *names = &s->names;
  ae_str name = ae__exchange_segment(x, "command");
  /* As long as the path and the id at most: what points there stays right. */
  ae_buf_reserve(names, x->path.len + AE_ID_MAX + 2);
  ae_status status = ae__want_check(x, no_parameters, err);
  if (status == AE_OK) status = ae__want_actor(x, names, &command->ref, err);
  if (status != AE_OK) return status;
  if (name.len > AE_ID_MAX) {
    ae_error_set(err, AE_INVALID_NAME,
                 "a command's name has 1 to 255 bytes, not %zu", name.len);
    return AE_INVALID_NAME;
  }
  s->asked.actor = ae_buf_view(names);
  command->name = (ae_str){names->ptr + names->len, name.len};
  ae_buf_str(names, name);
  command->id.ptr = names->ptr + names->len;
  status = read_id(x, names, err);
  size_t id_len = (size_t)(names->ptr + names->len - command->id.ptr);
  command->id = id_len > 0 ? (ae_str){command->id.ptr, id_len} : (ae_str){0};
  if (status == AE_OK) status = read_data(x, &s->data, err);
  if (status == AE_OK) status = read_metadata(x, &s->metadata, err);
  if (status == AE_OK)
    status = ae__want_if_match(x, &command->expects, &command->expected_version,
                               err);
  s->asked.command = command->name;
  s->asked.id = command->id;
  command->data = ae_buf_view(&s->data);
  command->metadata = ae_buf_view(&s->metadata);
  return status;
}

static void start_command(ae__exchange *x) {
  static const char *const types[] = {"application/json", NULL};
  if (x->body.len > 0 && !ae__want_content(x, types)) return;
  sent *s = ae_zalloc(sizeof *s);
  ae_error err = {0};
  if (read_command(x, s, &err) == AE_OK) {
    s->x = x;
    s->command.cb = on_outcome;
    s->command.context = s;
    x->context = s;
    ae_actors_submit(ae_node_actors(x->node), &s->command);
  } else {
    ae__exchange_fail(x, &err);
    free_sent(s);
  }
  ae_error_clear(&err);
}

static void gone_command(ae__exchange *x) {
  sent *s = x->context;
  if (s) s->x = NULL;
}

const ae__route ae__routes_commands[] = {
    {.method = AE__METHOD_POST,
     .path = "/v1/{ns}/{type}/{id}/{command}",
     .name = "command",
     .right = AE_RIGHT_COMMAND,
     .start = start_command,
     .gone = gone_command},
    {.method = AE__METHOD_POST,
     .path = "/v1/commands",
     .name = "commands",
     .right = AE_RIGHT_COMMAND, /* and each line, in its namespace */
     .streams = true,
     .start = ae__command_lines_start,
     .body = ae__command_lines_body,
     .drained = ae__command_lines_drained,
     .gone = ae__command_lines_gone},
    {0}};
