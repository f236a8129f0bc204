/* Writing the lines of an export. */
#include "node/stream.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"

#define ADD(out, literal) ae_buf_add(out, literal, sizeof(literal) - 1)

static void put_key(ae_buf *out, const char *key) {
  char last = out->ptr[out->len - 1];
  if (last != '{' && last != '[') ADD(out, ",");
  ADD(out, "\"");
  ae_buf_add(out, key, strlen(key));
  ADD(out, "\":");
}

static void put_uint(ae_buf *out, const char *key, uint64_t value) {
  put_key(out, key);
  ae_buf_printf(out, "%" PRIu64, value);
}

static void put_some(ae_buf *out, const char *key, uint64_t value) {
  if (value > 0) put_uint(out, key, value);
}

static void put_str(ae_buf *out, const char *key, ae_str text) {
  put_key(out, key);
  ae_json_write_str(text, out);
}

static void put_hex(ae_buf *out, const char *key, uint64_t value) {
  put_key(out, key);
  ae_buf_printf(out, "\"%016" PRIx64 "\"", value);
}

/* `packed`: as base64 of what it is. */
static void put_value(ae_buf *out, const char *key, ae_str value, bool packed) {
  if (value.len == 0) return;
  char name[32];
  ae_buf bin = {0};
  snprintf(name, sizeof name, "%s%s", key, packed ? "_msgpack" : "");
  put_key(out, name);
  if (packed) ae_pack_bin(&bin, value);
  ae_json_write(packed ? ae_buf_view(&bin) : value, out);
  ae_buf_clear(&bin);
}

static void put_actor(ae_buf *out, const ae_ref *ref, uint64_t version) {
  put_str(out, "actor_type", ref->type);
  put_str(out, "actor_id", ref->id);
  put_uint(out, "version", version);
}

void ae__stream_put_header(ae_buf *out, ae_str ns, uint64_t commits) {
  ADD(out, "{\"aether\":\"export\"");
  put_uint(out, "format", AE__STREAM_FORMAT);
  put_str(out, "namespace", ns);
  put_uint(out, "commits", commits);
  put_uint(out, "time", (uint64_t)ae_clock_now());
  ADD(out, "}");
}

/* -- a commit -- */

static void put_command(ae_buf *out, const ae_commit_command *command,
                        bool packed) {
  if (out->ptr[out->len - 1] != '[') ADD(out, ",");
  ADD(out, "{");
  put_some(out, "events", command->events);
  put_some(out, "delay", command->delay);
  if (command->id.ptr) {
    put_str(out, "id", command->id);
    put_hex(out, "digest", command->digest);
  }
  if (command->reason.ptr) put_str(out, "reason", command->reason);
  put_value(out, "details", command->details, packed);
  put_value(out, "metadata", command->metadata, packed);
  ADD(out, "}");
}

static void put_event(ae_buf *out, const ae_event *event, bool packed) {
  if (out->ptr[out->len - 1] != '[') ADD(out, ",");
  ADD(out, "{");
  put_str(out, "type", event->type);
  put_uint(out, "revision", event->revision);
  put_value(out, "data", event->data, packed);
  put_value(out, "metadata", event->metadata, packed);
  ADD(out, "}");
}

static void put_commit(ae_buf *out, const ae_commit *commit, ae_str record,
                       uint64_t position, bool packed) {
  char id[37];
  ae_commit_command command;
  ae_unpack commands = ae_unpack_of(commit->commands);
  ae_commit_cursor cursor;
  ae_event event;
  ae_uuid_format(commit->id, id);
  ADD(out, "{\"commit\":{");
  put_str(out, "id", (ae_str){id, 36});
  put_actor(out, &commit->ref, commit->first_version);
  put_uint(out, "time", (uint64_t)commit->time);
  put_some(out, "position", position);
  if (commit->module_revision.len > 0)
    put_str(out, "module_revision", commit->module_revision);
  if (commit->node.len > 0) put_str(out, "node", commit->node);
  put_some(out, "epoch", commit->epoch);
  put_key(out, "commands");
  ADD(out, "[");
  for (uint32_t i = 0; i < commit->command_count; i++)
    if (ae_commit_command_next(&commands, &command))
      put_command(out, &command, packed);
  ADD(out, "]");
  put_key(out, "events");
  ADD(out, "[");
  ae_commit_walk(&cursor, commit, position);
  while (ae_commit_next(&cursor, &event)) put_event(out, &event, packed);
  ADD(out, "]");
  put_hex(out, "sum", ae_hash(record));
  ADD(out, "}}");
}

/* Every line is read back: what cannot be imported is noticed here, while the
 * store that it is from is still there. */
static bool reads_back(ae_str text, ae_str ns, ae_str record) {
  static ae__stream_line line; /* one thread; kept for its memory */
  ae_str again;
  return text.len <= AE__STREAM_LINE_MAX &&
         ae__stream_read(&line, text, NULL) == AE_OK &&
         ae__stream_record(&line, ns, ns, &again, NULL) == AE_OK &&
         ae_str_eq(again, record);
}

ae_status ae__stream_put_commit(ae_buf *out, ae_str record, uint64_t position,
                                ae_error *err) {
  ae_commit commit;
  size_t from = out->len;
  ae_status status = ae_commit_decode(record, &commit, err);
  if (status != AE_OK) return status;
  for (int packed = 0; packed < 2; packed++) {
    out->len = from;
    put_commit(out, &commit, record, position, packed);
    ae_str text = {out->ptr + from, out->len - from};
    if (reads_back(text, commit.ref.ns, record)) return AE_OK;
  }
  out->len = from;
  ae_error_set(err, AE_REPLAY_ERROR,
               "a stored record cannot be written as JSON exactly");
  ae_error_cstr(err, "cause", "no exact JSON");
  return AE_REPLAY_ERROR;
}

/* -- the others -- */

static bool json_gives_back(ae_str value) {
  ae_buf text = {0}, again = {0};
  ae_json_write(value, &text);
  bool does = ae_json_read(ae_buf_view(&text), &again, NULL) == AE_OK &&
              ae_str_eq(ae_buf_view(&again), value);
  ae_buf_clear(&text);
  ae_buf_clear(&again);
  return does;
}

void ae__stream_put_base(ae_buf *out, const char *key, const ae_base *base,
                         uint32_t from, uint32_t to) {
  ADD(out, "{");
  put_key(out, key);
  ADD(out, "{");
  put_actor(out, &base->ref, base->version);
  if (from == 0) {
    put_key(out, "shape");
    ae_buf_printf(out, "%" PRId64, base->shape);
    put_value(out, "state", base->state, !json_gives_back(base->state));
  }
  if (to > from) {
    put_key(out, "ids");
    for (uint32_t i = from; i < to; i++)
      ae_buf_printf(out, "%c\"%016" PRIx64 "\"", i == from ? '[' : ',',
                    base->ids[i]);
    ADD(out, "]");
  }
  ADD(out, "}}");
}

uint64_t ae__stream_sum(uint64_t sum, ae_str line) {
  char both[16];
  uint64_t of_line = ae_hash(line);
  for (int i = 0; i < 8; i++) {
    both[i] = (char)(sum >> (8 * i));
    both[8 + i] = (char)(of_line >> (8 * i));
  }
  return ae_hash((ae_str){both, sizeof both});
}

void ae__stream_put_end(ae_buf *out, const ae__stream_end *end) {
  ADD(out, "{\"end\":{");
  put_uint(out, "begins", end->begins);
  put_uint(out, "commits", end->commits);
  put_uint(out, "events", end->events);
  put_uint(out, "bases", end->bases);
  put_uint(out, "lines", end->lines);
  put_hex(out, "sum", end->sum);
  ADD(out, "}}");
}
