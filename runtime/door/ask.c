#include "door/ask.h"

#include "base/json.h"
#include "base/pack.h"
#include "namespace/name.h"

#define KEYS(X) \
  X(actor) X(command) X(data) X(id) X(expected_version) X(metadata)

enum {
#define X(key) KEY_##key,
  KEYS(X)
#undef X
      KEY_COUNT
};

static const ae_str keys[] = {
#define X(key) {#key, sizeof #key - 1},
    KEYS(X)
#undef X
};

static const char empty_map[] = "\x80";

#define ECHO_MAX (AE_NAMESPACE_MAX + AE_TYPE_MAX + AE_ID_MAX + 2)

static ae_status wrong(ae_error *err, int key, const char *must) {
  ae_error_set(err, AE_MALFORMED, "`%s` must be %s", keys[key].ptr, must);
  ae_error_str(err, "at", keys[key]);
  return AE_MALFORMED;
}

static ae_status unknown(ae_str key, ae_error *err) {
  ae_nearest near;
  ae_nearest_init(&near, key);
  for (int i = 0; i < KEY_COUNT; i++) ae_nearest_offer(&near, keys[i]);
  ae_str best = ae_nearest_best(&near);
  if (best.len > 0)
    ae_error_set(err, AE_MALFORMED,
                 "a command has no `%.*s`; did you mean `%.*s`?", AE_FMT(key),
                 AE_FMT(best));
  else
    ae_error_set(err, AE_MALFORMED,
                 "a command has no `%.*s`; it has actor, command, data, id, "
                 "expected_version and metadata",
                 AE_FMT(key));
  ae_error_str(err, "at", key);
  return AE_MALFORMED;
}

static int key_of(ae_str key) {
  for (int i = 0; i < KEY_COUNT; i++)
    if (ae_str_eq(key, keys[i])) return i;
  return -1;
}

/* Takes the line's fields apart; a missing one has ptr NULL. */
static ae_status split(ae_str bytes, ae_str fields[KEY_COUNT], ae_error *err) {
  ae_unpack cursor = ae_unpack_of(bytes);
  uint32_t count = 0;
  if (!ae_unpack_map(&cursor, &count)) {
    ae_error_set(err, AE_MALFORMED,
                 "a command is an object: {\"actor\":…,\"command\":…}");
    ae_error_uint(err, "at", 0);
    return AE_MALFORMED;
  }
  ae_status status = AE_OK;
  for (uint32_t i = 0; i < count; i++) {
    ae_str key, value;
    ae_unpack_str(&cursor, &key);
    ae_unpack_skip(&cursor, &value);
    int at = key_of(key);
    if (at >= 0)
      fields[at] = value;
    else if (status == AE_OK)
      status = unknown(key, err);
  }
  return status;
}

static bool text_of(ae_str value, ae_str *out) {
  ae_unpack cursor = ae_unpack_of(value);
  return value.ptr && ae_unpack_str(&cursor, out);
}

static bool is_map(ae_str value) {
  ae_unpack cursor = ae_unpack_of(value);
  uint32_t count;
  return ae_unpack_map(&cursor, &count);
}

static ae_status fill(ae_str fields[KEY_COUNT], ae_command *command,
                      const ae__asked *asked, ae_error *err) {
  if (!asked->actor.ptr)
    return wrong(err, KEY_actor, "a text: \"NAMESPACE/TYPE/ID\"");
  ae_status status = ae_ref_parse(asked->actor, &command->ref, err);
  if (status != AE_OK) return status;
  if (!asked->command.ptr || asked->command.len == 0 ||
      asked->command.len > AE_ID_MAX)
    return wrong(err, KEY_command, "the command's name, 1 to 255 bytes");
  command->name = asked->command;
  command->data = (ae_str){empty_map, 1};
  if (fields[KEY_data].ptr) {
    if (!is_map(fields[KEY_data])) return wrong(err, KEY_data, "an object");
    command->data = fields[KEY_data];
  }
  if (fields[KEY_id].ptr) {
    if (!asked->id.ptr || asked->id.len == 0 || asked->id.len > AE_ID_MAX)
      return wrong(err, KEY_id, "a text of 1 to 255 bytes");
    command->id = asked->id;
  }
  if (fields[KEY_metadata].ptr) {
    if (!is_map(fields[KEY_metadata]))
      return wrong(err, KEY_metadata, "an object");
    command->metadata = fields[KEY_metadata];
  }
  if (fields[KEY_expected_version].ptr) {
    ae_unpack cursor = ae_unpack_of(fields[KEY_expected_version]);
    if (!ae_unpack_uint(&cursor, &command->expected_version))
      return wrong(err, KEY_expected_version,
                   "a whole number from 0 (no events yet)");
    command->expects = true;
  }
  return AE_OK;
}

/* What cannot be a name is not said again in the answer. */
static void forget_long(ae_str *text, size_t most) {
  if (text->len > most) *text = (ae_str){0};
}

ae_status ae__ask_read(ae_str line, ae_buf *bytes, ae_command *command,
                       ae__asked *asked, ae_error *err) {
  ae_buf_reset(bytes);
  memset(command, 0, sizeof *command);
  ae_status status = ae_json_read(line, bytes, err);
  if (status != AE_OK) return status;
  return ae__ask_take(ae_buf_view(bytes), (ae_str){0}, command, asked, err);
}

ae_status ae__ask_take(ae_str bytes, ae_str actor, ae_command *command,
                       ae__asked *asked, ae_error *err) {
  ae_str fields[KEY_COUNT] = {0};
  memset(command, 0, sizeof *command);
  ae_status status = split(bytes, fields, err);
  text_of(fields[KEY_actor], &asked->actor);
  if (actor.ptr && status == AE_OK && fields[KEY_actor].ptr &&
      !(asked->actor.ptr && ae_str_eq(asked->actor, actor)))
    status = wrong(err, KEY_actor, "the one that the subject names, or absent");
  if (actor.ptr) asked->actor = actor;
  text_of(fields[KEY_command], &asked->command);
  text_of(fields[KEY_id], &asked->id);
  if (status == AE_OK) status = fill(fields, command, asked, err);
  forget_long(&asked->actor, ECHO_MAX);
  forget_long(&asked->command, ECHO_MAX);
  forget_long(&asked->id, AE_ID_MAX);
  return status;
}
