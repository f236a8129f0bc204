/* Reading the lines of an export. */
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "namespace/name.h"
#include "node/stream.h"

/* -- fields -- */

/* The values of a map's keys, found in one pass; a value under KEY_msgpack
 * stands for that of KEY. */
typedef struct field {
  const char *key;
  bool wanted;
  ae_str value; /* msgpack; len 0: absent */
} field;

/* Into line->blobs, which has room for all of a line. */
static bool base64_read(ae__stream_line *line, ae_str text, ae_str *out) {
  size_t from = line->blobs.len;
  if (!ae_json_base64(text, &line->blobs)) return false;
  *out = (ae_str){line->blobs.ptr + from, line->blobs.len - from};
  return out->len > 0 && ae_pack_valid(*out);
}

static field *field_of(field *fields, size_t count, ae_str key, bool *packed) {
  static const char suffix[] = "_msgpack";
  size_t len = sizeof suffix - 1;
  *packed = key.len > len && memcmp(key.ptr + key.len - len, suffix, len) == 0;
  if (*packed) key.len -= len;
  for (size_t i = 0; i < count; i++)
    if (ae_str_eq(key, ae_str_of(fields[i].key))) return &fields[i];
  return NULL;
}

static ae_status fields_of(ae__stream_line *line, ae_str map, const char *what,
                           field *fields, size_t count, ae_error *err) {
  ae_unpack at = ae_unpack_of(map);
  uint32_t pairs;
  if (!ae_unpack_map(&at, &pairs))
    return ae_error_set(err, AE_MALFORMED, "%s must be an object", what);
  while (pairs-- > 0) {
    ae_str key, value, text;
    bool packed;
    if (!ae_unpack_str(&at, &key) || !ae_unpack_skip(&at, &value)) break;
    field *is = field_of(fields, count, key, &packed);
    if (!is)
      return ae_error_set(err, AE_MALFORMED, "%s has no field \"%.*s\"", what,
                          AE_FMT(key));
    ae_unpack bytes = ae_unpack_of(value);
    if (packed &&
        (!ae_unpack_str(&bytes, &text) || !base64_read(line, text, &value)))
      return ae_error_set(err, AE_MALFORMED,
                          "%.*s of %s is no msgpack in base64", AE_FMT(key),
                          what);
    is->value = value;
  }
  for (size_t i = 0; i < count; i++)
    if (fields[i].wanted && fields[i].value.len == 0)
      return ae_error_set(err, AE_MALFORMED, "%s lacks \"%s\"", what,
                          fields[i].key);
  return AE_OK;
}

static ae_status no(ae_error *err, const char *what, const field *is,
                    const char *expected) {
  return ae_error_set(err, AE_MALFORMED, "\"%s\" of %s must be %s", is->key,
                      what, expected);
}

static ae_status take_uint(const char *what, const field *is, uint64_t most,
                           uint64_t *out, ae_error *err) {
  *out = 0;
  if (is->value.len == 0) return AE_OK;
  ae_unpack at = ae_unpack_of(is->value);
  if (ae_unpack_uint(&at, out) && *out <= most) return AE_OK;
  return no(err, what, is, "a whole number in its range");
}

static ae_status take_text(const char *what, const field *is, ae_str *out,
                           ae_error *err) {
  *out = (ae_str){0};
  if (is->value.len == 0) return AE_OK;
  ae_unpack at = ae_unpack_of(is->value);
  if (ae_unpack_str(&at, out)) return AE_OK;
  return no(err, what, is, "a string");
}

static bool hex_read(ae_str text, uint64_t *out) {
  *out = 0;
  if (text.len != 16) return false;
  for (size_t i = 0; i < 16; i++) {
    char c = text.ptr[i];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0) return false;
    *out = *out << 4 | (uint64_t)digit;
  }
  return true;
}

static ae_status take_hex(const char *what, const field *is, uint64_t *out,
                          ae_error *err) {
  ae_str text;
  *out = 0;
  if (is->value.len == 0) return AE_OK;
  ae_unpack at = ae_unpack_of(is->value);
  if (ae_unpack_str(&at, &text) && hex_read(text, out)) return AE_OK;
  return no(err, what, is, "16 hexadecimal digits");
}

#define CHECK(call)                         \
  do {                                      \
    ae_status checked_ = (call);            \
    if (checked_ != AE_OK) return checked_; \
  } while (0)
#define FIELDS(line, map, what, fields, err) \
  fields_of(line, map, what, fields, sizeof fields / sizeof *fields, err)

static ae_status take_actor(const char *what, const field *type,
                            const field *id, ae_ref *out, ae_error *err) {
  *out = (ae_ref){0};
  CHECK(take_text(what, type, &out->type, err));
  CHECK(take_text(what, id, &out->id, err));
  CHECK(ae_type_check(out->type, err));
  return ae_id_check(out->id, err);
}

/* -- a commit -- */

static ae_status read_command(ae__stream_line *line, ae_str map,
                              ae_error *err) {
  static const char what[] = "a command";
  field f[] = {{.key = "events"},  {.key = "delay"},  {.key = "id"},
               {.key = "digest"},  {.key = "reason"}, {.key = "details"},
               {.key = "metadata"}};
  uint64_t events, delay;
  ae_commit_command command = {0};
  CHECK(FIELDS(line, map, what, f, err));
  CHECK(take_uint(what, &f[0], UINT32_MAX, &events, err));
  CHECK(take_uint(what, &f[1], UINT32_MAX, &delay, err));
  CHECK(take_text(what, &f[2], &command.id, err));
  CHECK(take_hex(what, &f[3], &command.digest, err));
  CHECK(take_text(what, &f[4], &command.reason, err));
  command.events = (uint32_t)events;
  command.delay = (uint32_t)delay;
  command.details = f[5].value;
  command.metadata = f[6].value;
  ae_buf_add(&line->commands, &command, sizeof command);
  line->command_count++;
  return AE_OK;
}

static ae_status read_event(ae__stream_line *line, ae_str map, ae_error *err) {
  static const char what[] = "an event";
  field f[] = {{.key = "type", .wanted = true},
               {.key = "revision", .wanted = true},
               {.key = "data", .wanted = true},
               {.key = "metadata"}};
  uint64_t revision;
  ae_str type;
  CHECK(FIELDS(line, map, what, f, err));
  CHECK(take_text(what, &f[0], &type, err));
  CHECK(take_uint(what, &f[1], UINT64_MAX, &revision, err));
  ae_pack_array(&line->events, 4);
  ae_pack_str(&line->events, type);
  ae_pack_uint(&line->events, revision);
  ae_buf_str(&line->events, f[2].value);
  if (f[3].value.len > 0)
    ae_buf_str(&line->events, f[3].value);
  else
    ae_pack_nil(&line->events);
  line->commit.event_count++;
  return AE_OK;
}

static ae_status read_list(ae__stream_line *line, const field *list,
                           ae_status (*one)(ae__stream_line *line, ae_str map,
                                            ae_error *err),
                           ae_error *err) {
  ae_unpack at = ae_unpack_of(list->value);
  uint32_t count;
  ae_str map;
  if (!ae_unpack_array(&at, &count)) return no(err, "a commit", list, "a list");
  while (count-- > 0) {
    if (!ae_unpack_skip(&at, &map)) return no(err, "a commit", list, "a list");
    CHECK(one(line, map, err));
  }
  return AE_OK;
}

static ae_status check_counts(const ae__stream_line *line, ae_error *err) {
  const ae_commit_command *commands =
      (const ae_commit_command *)(const void *)line->commands.ptr;
  uint64_t events = 0;
  for (uint32_t i = 0; i < line->command_count; i++)
    events += commands[i].events;
  if (events == line->commit.event_count) return AE_OK;
  return ae_error_set(err, AE_MALFORMED,
                      "a commit has %u events, and its commands say %llu",
                      line->commit.event_count, (unsigned long long)events);
}

static ae_status read_commit(ae__stream_line *line, ae_str map, ae_error *err) {
  static const char what[] = "a commit";
  field f[] = {{.key = "id", .wanted = true},
               {.key = "actor_type", .wanted = true},
               {.key = "actor_id", .wanted = true},
               {.key = "version", .wanted = true},
               {.key = "time", .wanted = true},
               {.key = "position"},
               {.key = "module_revision"},
               {.key = "node"},
               {.key = "epoch"},
               {.key = "commands", .wanted = true},
               {.key = "events", .wanted = true},
               {.key = "sum"}};
  ae_commit *commit = &line->commit;
  ae_str id;
  uint64_t time;
  *commit = (ae_commit){0};
  line->kind = AE__STREAM_COMMIT;
  line->command_count = 0;
  ae_buf_reset(&line->commands);
  ae_buf_reset(&line->events);
  CHECK(FIELDS(line, map, what, f, err));
  CHECK(take_text(what, &f[0], &id, err));
  if (!ae_uuid_parse(id, &commit->id)) return no(err, what, &f[0], "a UUID");
  CHECK(take_actor(what, &f[1], &f[2], &commit->ref, err));
  CHECK(take_uint(what, &f[3], INT64_MAX, &commit->first_version, err));
  if (commit->first_version == 0) return no(err, what, &f[3], "1 or more");
  CHECK(take_uint(what, &f[4], INT64_MAX - UINT32_MAX, &time, err));
  commit->time = (int64_t)time;
  CHECK(take_uint(what, &f[5], UINT64_MAX, &line->position, err));
  CHECK(take_text(what, &f[6], &commit->module_revision, err));
  CHECK(take_text(what, &f[7], &commit->node, err));
  CHECK(take_uint(what, &f[8], UINT64_MAX, &commit->epoch, err));
  CHECK(read_list(line, &f[9], read_command, err));
  CHECK(read_list(line, &f[10], read_event, err));
  line->summed = f[11].value.len > 0;
  CHECK(take_hex(what, &f[11], &line->sum, err));
  return check_counts(line, err);
}

static void encode(ae__stream_line *line, ae_str ns) {
  ae_commit commit = line->commit;
  commit.ref.ns = ns;
  ae_buf_reset(&line->record);
  ae_commit_encode(&line->record, &commit,
                   (const ae_commit_command *)(const void *)line->commands.ptr,
                   line->command_count, ae_buf_view(&line->events),
                   commit.event_count);
}

ae_status ae__stream_record(ae__stream_line *line, ae_str home, ae_str ns,
                            ae_str *out, ae_error *err) {
  ae_commit again;
  ae_error why = {0};
  if (line->summed) {
    encode(line, home);
    if (ae_hash(ae_buf_view(&line->record)) != line->sum)
      return ae_error_set(err, AE_MALFORMED,
                          "the commit does not fit its sum: it was changed");
  }
  if (!line->summed || !ae_str_eq(home, ns)) encode(line, ns);
  *out = ae_buf_view(&line->record);
  /* What no store would read again is not put into one. */
  ae_status status = ae_commit_decode(*out, &again, &why);
  if (status == AE_OK && out->len > AE_RECORD_MAX)
    status =
        ae_error_set(&why, AE_TOO_LARGE, "a commit of %zu bytes", out->len);
  if (status != AE_OK)
    status = ae_error_set(err, AE_MALFORMED, "the commit makes no record: %s",
                          ae_error_text(&why));
  ae_error_clear(&why);
  return status;
}

/* -- the others -- */

static ae_status read_ids(ae__stream_line *line, const field *ids,
                          ae_error *err) {
  uint32_t count;
  ae_buf_reset(&line->ids);
  line->base.id_count = 0;
  if (ids->value.len == 0) return AE_OK;
  ae_unpack at = ae_unpack_of(ids->value);
  if (!ae_unpack_array(&at, &count)) return no(err, "a base", ids, "a list");
  for (uint32_t i = 0; i < count; i++) {
    ae_str text;
    uint64_t hash;
    if (!ae_unpack_str(&at, &text) || !hex_read(text, &hash))
      return no(err, "a base", ids, "a list of 16 hexadecimal digits each");
    ae_buf_add(&line->ids, &hash, sizeof hash);
  }
  line->base.id_count = count;
  line->base.ids = (const uint64_t *)(const void *)line->ids.ptr;
  return AE_OK;
}

static ae_status read_base(ae__stream_line *line, ae__stream_kind kind,
                           ae_str map, ae_error *err) {
  static const char what[] = "a base";
  field f[] = {{.key = "actor_type", .wanted = true},
               {.key = "actor_id", .wanted = true},
               {.key = "version", .wanted = true},
               {.key = "shape"},
               {.key = "state"},
               {.key = "ids"}};
  ae_base *base = &line->base;
  *base = (ae_base){.begins = kind == AE__STREAM_BEGIN};
  line->kind = kind;
  CHECK(FIELDS(line, map, what, f, err));
  CHECK(take_actor(what, &f[0], &f[1], &base->ref, err));
  CHECK(take_uint(what, &f[2], INT64_MAX, &base->version, err));
  if (base->version == 0) return no(err, what, &f[2], "1 or more");
  if (f[3].value.len > 0) {
    ae_unpack at = ae_unpack_of(f[3].value);
    if (!ae_unpack_int(&at, &base->shape))
      return no(err, what, &f[3], "a whole number");
  }
  base->state = f[4].value;
  if (base->state.len == 0 && (kind == AE__STREAM_BASE || f[5].value.len == 0))
    return ae_error_set(err, AE_MALFORMED, "a base lacks \"state\"");
  return read_ids(line, &f[5], err);
}

static ae_status read_header(ae__stream_line *line, ae_str map, ae_error *err) {
  static const char what[] = "the first line";
  field f[] = {{.key = "aether", .wanted = true},
               {.key = "format", .wanted = true},
               {.key = "namespace", .wanted = true},
               {.key = "commits"},
               {.key = "time"}};
  ae_str word;
  uint64_t format;
  line->kind = AE__STREAM_HEADER;
  ae_str value;
  if (ae_unpack_field(map, "format", &value)) {
    ae_unpack at = ae_unpack_of(value);
    if (ae_unpack_uint(&at, &format) && format > AE__STREAM_FORMAT)
      return ae_error_set(err, AE_MALFORMED,
                          "the export has format %llu, and this aether knows "
                          "up to %d: use the version that wrote it, or a newer "
                          "one",
                          (unsigned long long)format, AE__STREAM_FORMAT);
  }
  CHECK(FIELDS(line, map, what, f, err));
  CHECK(take_text(what, &f[0], &word, err));
  CHECK(take_uint(what, &f[1], AE__STREAM_FORMAT, &format, err));
  if (!ae_str_eq(word, AE_STR("export")) || format == 0)
    return ae_error_set(err, AE_MALFORMED, "this is no export");
  CHECK(take_text(what, &f[2], &line->ns, err));
  CHECK(ae_namespace_check(line->ns, err));
  return take_uint(what, &f[3], UINT64_MAX, &line->commits, err);
}

static ae_status read_end(ae__stream_line *line, ae_str map, ae_error *err) {
  static const char what[] = "the last line";
  field f[] = {
      {.key = "begins", .wanted = true}, {.key = "commits", .wanted = true},
      {.key = "events", .wanted = true}, {.key = "bases", .wanted = true},
      {.key = "lines", .wanted = true},  {.key = "sum", .wanted = true}};
  ae__stream_end *end = &line->end;
  line->kind = AE__STREAM_END;
  CHECK(FIELDS(line, map, what, f, err));
  CHECK(take_uint(what, &f[0], UINT64_MAX, &end->begins, err));
  CHECK(take_uint(what, &f[1], UINT64_MAX, &end->commits, err));
  CHECK(take_uint(what, &f[2], UINT64_MAX, &end->events, err));
  CHECK(take_uint(what, &f[3], UINT64_MAX, &end->bases, err));
  CHECK(take_uint(what, &f[4], UINT64_MAX, &end->lines, err));
  return take_hex(what, &f[5], &end->sum, err);
}

ae_status ae__stream_read(ae__stream_line *line, ae_str text, ae_error *err) {
  ae_str value;
  ae_buf_reset(&line->json);
  ae_buf_reset(&line->blobs);
  ae_buf_reserve(&line->blobs, text.len); /* never moves while it is filled */
  CHECK(ae_json_read(text, &line->json, err));
  ae_str all = ae_buf_view(&line->json);
  if (ae_unpack_field(all, "commit", &value))
    return read_commit(line, value, err);
  if (ae_unpack_field(all, "begin", &value))
    return read_base(line, AE__STREAM_BEGIN, value, err);
  if (ae_unpack_field(all, "base", &value))
    return read_base(line, AE__STREAM_BASE, value, err);
  if (ae_unpack_field(all, "end", &value)) return read_end(line, value, err);
  if (ae_unpack_field(all, "aether", &value))
    return read_header(line, all, err);
  return ae_error_set(err, AE_MALFORMED, "this is no line of an export");
}

void ae__stream_clear(ae__stream_line *line) {
  ae_buf_clear(&line->json);
  ae_buf_clear(&line->commands);
  ae_buf_clear(&line->events);
  ae_buf_clear(&line->blobs);
  ae_buf_clear(&line->ids);
  ae_buf_clear(&line->record);
}
