/* The stored form of a commit. Appending encodes, reading decodes: both are on
 * the hot path. Decoding checks everything once, so that walking a decoded
 * commit can trust it. */
#include <endian.h>
#include <limits.h>

#include "base/map.h"
#include "base/mem.h"
#include "event/event.h"
#include "namespace/name.h"

#define HEADER 9 /* format and sum */

static void put_le64(char *to, uint64_t value) {
  value = htole64(value);
  memcpy(to, &value, 8);
}

static uint64_t get_le64(const char *from) {
  uint64_t value;
  memcpy(&value, from, 8);
  return le64toh(value);
}

/* -- encoding -- */

static void put_value(ae_buf *out, ae_str value) {
  if (value.len) {
    ae_buf_str(out, value);
  } else {
    ae_pack_nil(out);
  }
}

static void put_text(ae_buf *out, ae_str text) {
  if (text.ptr) {
    ae_pack_str(out, text);
  } else {
    ae_pack_nil(out);
  }
}

static bool kept(const ae_commit_command *command) {
  return command->id.ptr || command->events;
}

static void put_command(ae_buf *out, const ae_commit_command *command) {
  ae_pack_array(out, 7);
  ae_pack_uint(out, command->events);
  ae_pack_uint(out, command->delay);
  put_text(out, command->id);
  ae_pack_uint(out, command->id.ptr ? command->digest : 0);
  put_text(out, command->reason);
  put_value(out, command->details);
  put_value(out, command->metadata);
}

void ae_commit_encode(ae_buf *out, const ae_commit *commit,
                      const ae_commit_command *commands, uint32_t command_count,
                      ae_str events, uint32_t event_count) {
  uint32_t keep = 0;
  uint64_t total = 0;
  for (uint32_t i = 0; i < command_count; i++) {
    keep += kept(&commands[i]);
    total += commands[i].events;
  }
  AE_ASSERT_CMP(total, ==, event_count);
  size_t from = out->len;
  ae_buf_reserve(out, events.len + 256);
  ae_buf_byte(out, AE_RECORD_FORMAT);
  ae_buf_add(out, "\0\0\0\0\0\0\0\0", 8);
  ae_pack_str(out, commit->ref.ns);
  ae_pack_str(out, commit->ref.type);
  ae_pack_str(out, commit->ref.id);
  ae_pack_uint(out, commit->first_version);
  ae_pack_uint(out, commit->time > 0 ? (uint64_t)commit->time : 0);
  ae_pack_bin(out, (ae_str){(const char *)commit->id.bytes, 16});
  ae_pack_str(out, commit->module_revision);
  ae_pack_str(out, commit->node);
  ae_pack_uint(out, commit->epoch);
  ae_pack_array(out, keep);
  for (uint32_t i = 0; i < command_count; i++) {
    if (kept(&commands[i])) put_command(out, &commands[i]);
  }
  ae_pack_array(out, event_count);
  ae_buf_str(out, events);
  ae_str summed = {out->ptr + from + HEADER, out->len - from - HEADER};
  put_le64(out->ptr + from + 1, ae_hash(summed));
}

/* -- decoding -- */

static bool get_u32(ae_unpack *at, uint32_t *out) {
  uint64_t value;
  if (!ae_unpack_uint(at, &value) || value > UINT32_MAX) return false;
  *out = (uint32_t)value;
  return true;
}

/* Nil leaves `out` without a pointer. */
static bool get_text(ae_unpack *at, ae_str *out) {
  *out = (ae_str){0};
  return ae_unpack_nil(at) || ae_unpack_str(at, out);
}

/* Nil leaves `out` empty. */
static bool get_value(ae_unpack *at, ae_str *out) {
  *out = (ae_str){0};
  return ae_unpack_nil(at) || ae_unpack_skip(at, out);
}

static bool is_map(ae_str value) {
  ae_unpack at = ae_unpack_of(value);
  uint32_t count;
  return ae_unpack_map(&at, &count);
}

static bool is_text(ae_str text) {
  return !text.ptr || ae_str_utf8(text);
}

bool ae_commit_command_next(ae_unpack *commands, ae_commit_command *out) {
  ae_unpack at = *commands;
  uint32_t fields;
  if (!ae_unpack_array(&at, &fields) || fields != 7) return false;
  if (!get_u32(&at, &out->events)) return false;
  if (!get_u32(&at, &out->delay)) return false;
  if (!get_text(&at, &out->id)) return false;
  if (!ae_unpack_uint(&at, &out->digest)) return false;
  if (!get_text(&at, &out->reason)) return false;
  if (!get_value(&at, &out->details)) return false;
  if (!get_value(&at, &out->metadata)) return false;
  *commands = at;
  return true;
}

static bool event_next(ae_unpack *events, ae_event *out) {
  uint32_t fields;
  if (!ae_unpack_array(events, &fields) || fields != 4) return false;
  return ae_unpack_str(events, &out->type) &&
         ae_unpack_uint(events, &out->revision) &&
         ae_unpack_skip(events, &out->data) &&
         get_value(events, &out->metadata);
}

/* What is wrong with the commands, or NULL. */
static const char *check_commands(ae_unpack *at, ae_commit *out) {
  if (!ae_unpack_array(at, &out->command_count)) return "no commands";
  const char *from = (const char *)at->at;
  uint64_t events = 0;
  for (uint32_t i = 0; i < out->command_count; i++) {
    ae_commit_command command;
    if (!ae_commit_command_next(at, &command)) return "a command's fields";
    if (!kept(&command)) return "a command without id and events";
    if (!is_text(command.id) || !is_text(command.reason)) {
      return "a command's text is not UTF-8";
    }
    if (command.reason.ptr && command.events) {
      return "a rejected command with events";
    }
    if (command.metadata.len && !is_map(command.metadata)) {
      return "a command's metadata is no map";
    }
    events += command.events;
  }
  if (events > UINT32_MAX) return "too many events";
  out->event_count = (uint32_t)events;
  out->commands = (ae_str){from, (size_t)((const char *)at->at - from)};
  return NULL;
}

static const char *check_events(ae_unpack *at, ae_commit *out) {
  uint32_t count;
  if (!ae_unpack_array(at, &count)) return "no events";
  if (count != out->event_count) {
    return "commands and events differ in number";
  }
  const char *from = (const char *)at->at;
  for (uint32_t i = 0; i < count; i++) {
    ae_event event;
    if (!event_next(at, &event)) return "an event's fields";
    if (event.type.len == 0 || !ae_str_utf8(event.type)) {
      return "an event's type";
    }
    if (event.revision == 0) return "an event's revision";
    if (!is_map(event.data)) return "an event's data is no map";
    if (event.metadata.len && !is_map(event.metadata)) {
      return "an event's metadata is no map";
    }
  }
  out->events = (ae_str){from, (size_t)((const char *)at->at - from)};
  return NULL;
}

static const char *check(ae_str record, ae_commit *out) {
  ae_unpack at = ae_unpack_of(record);
  at.at += HEADER;
  uint64_t time;
  ae_str id;
  if (!ae_unpack_str(&at, &out->ref.ns) ||
      !ae_unpack_str(&at, &out->ref.type) ||
      !ae_unpack_str(&at, &out->ref.id) ||
      ae_namespace_check(out->ref.ns, NULL) ||
      ae_type_check(out->ref.type, NULL) || ae_id_check(out->ref.id, NULL)) {
    return "the actor's name";
  }
  if (!ae_unpack_uint(&at, &out->first_version) || out->first_version == 0) {
    return "the version";
  }
  if (!ae_unpack_uint(&at, &time) || time > INT64_MAX - (int64_t)UINT32_MAX) {
    return "the time";
  }
  out->time = (int64_t)time;
  if (!ae_unpack_bin(&at, &id) || id.len != sizeof out->id.bytes) {
    return "the commit's id";
  }
  memcpy(out->id.bytes, id.ptr, sizeof out->id.bytes);
  if (!ae_unpack_str(&at, &out->module_revision) ||
      !ae_str_utf8(out->module_revision)) {
    return "the module's revision";
  }
  if (!ae_unpack_str(&at, &out->node) || !ae_str_utf8(out->node)) {
    return "the node";
  }
  if (!ae_unpack_uint(&at, &out->epoch)) return "the epoch";
  const char *wrong = check_commands(&at, out);
  if (!wrong) wrong = check_events(&at, out);
  if (wrong) return wrong;
  if (!ae_unpack_end(&at)) return "bytes behind its end";
  if (out->first_version > UINT64_MAX - out->event_count) return "the version";
  return NULL;
}

static ae_status damaged(ae_error *err, const char *cause) {
  ae_error_set(err, AE_REPLAY_ERROR, "a stored record cannot be read: %s",
               cause);
  ae_error_cstr(err, "cause", cause);
  return AE_REPLAY_ERROR;
}

bool ae_commit_is_whole(ae_str record) {
  if (record.len == 0) return false;
  if ((uint8_t)record.ptr[0] > AE_RECORD_FORMAT) return true;
  if (record.len < HEADER) return false;
  ae_str summed = {record.ptr + HEADER, record.len - HEADER};
  return get_le64(record.ptr + 1) == ae_hash(summed);
}

ae_status ae_commit_decode(ae_str record, ae_commit *out, ae_error *err) {
  if (record.len == 0) return damaged(err, "it is empty");
  uint8_t format = (uint8_t)record.ptr[0];
  if (format > AE_RECORD_FORMAT) {
    ae_error_set(err, AE_REPLAY_ERROR,
                 "a stored record has format %d, and this aether knows up to "
                 "%d: use the version that wrote it, or a newer one",
                 format, AE_RECORD_FORMAT);
    ae_error_cstr(err, "cause", "its format is newer than this program");
    return AE_REPLAY_ERROR;
  }
  if (format != AE_RECORD_FORMAT) return damaged(err, "no known format");
  if (record.len < HEADER) return damaged(err, "it is cut short");
  ae_str summed = {record.ptr + HEADER, record.len - HEADER};
  if (get_le64(record.ptr + 1) != ae_hash(summed)) {
    return damaged(err, "its bytes do not fit its sum");
  }
  const char *wrong = check(record, out);
  return wrong ? damaged(err, wrong) : AE_OK;
}

uint64_t ae_commit_version(const ae_commit *commit) {
  return commit->first_version - 1 + commit->event_count;
}

/* -- walking -- */

void ae_commit_walk(ae_commit_cursor *cursor, const ae_commit *commit,
                    uint64_t position) {
  *cursor = (ae_commit_cursor){
      .commit = commit,
      .position = position,
      .commands = ae_unpack_of(commit->commands),
      .events = ae_unpack_of(commit->events),
      .commands_left = commit->command_count,
  };
}

void ae_commit_trust(ae_commit_cursor *cursor, ae_commit *commit, ae_str record,
                     uint64_t position) {
  ae_unpack at = ae_unpack_of(record);
  at.at += HEADER;
  uint64_t time;
  ae_str id;
  bool good = ae_unpack_str(&at, &commit->ref.ns) &&
              ae_unpack_str(&at, &commit->ref.type) &&
              ae_unpack_str(&at, &commit->ref.id) &&
              ae_unpack_uint(&at, &commit->first_version) &&
              ae_unpack_uint(&at, &time) && ae_unpack_bin(&at, &id) &&
              ae_unpack_str(&at, &commit->module_revision) &&
              ae_unpack_str(&at, &commit->node) &&
              ae_unpack_uint(&at, &commit->epoch) &&
              ae_unpack_array(&at, &commit->command_count);
  AE_ASSERT(good);
  commit->time = (int64_t)time;
  memcpy(commit->id.bytes, id.ptr, sizeof commit->id.bytes);
  cursor->commit = commit;
  cursor->position = position;
  cursor->index = cursor->of_command = cursor->commands_left = 0;
  const char *from = (const char *)at.at;
  uint32_t left = commit->command_count;
  if (left > 0) { /* most have one: it is not looked at twice */
    AE_ASSERT(ae_commit_command_next(&at, &cursor->command));
    cursor->of_command = cursor->command.events;
    cursor->commands_left = --left;
    cursor->commands.at = at.at;
  }
  while (left-- > 0) AE_ASSERT(ae_unpack_skip(&at, NULL));
  cursor->commands.end = at.at;
  commit->commands = (ae_str){from, (size_t)((const char *)at.at - from)};
  AE_ASSERT(ae_unpack_array(&at, &commit->event_count));
  commit->events = (ae_str){(const char *)at.at, (size_t)(at.end - at.at)};
  cursor->events = at;
}

bool ae_commit_next(ae_commit_cursor *cursor, ae_event *event) {
  const ae_commit *commit = cursor->commit;
  if (cursor->index == commit->event_count) return false;
  while (cursor->of_command == 0) {
    if (cursor->commands_left-- == 0) return false;
    if (!ae_commit_command_next(&cursor->commands, &cursor->command)) {
      return false;
    }
    cursor->of_command = cursor->command.events;
  }
  if (!event_next(&cursor->events, event)) return false;
  event->id = ae_uuid_plus(commit->id, cursor->index);
  event->ref = commit->ref;
  event->version = commit->first_version + cursor->index;
  event->position = cursor->position;
  event->index = cursor->index;
  event->time = commit->time + cursor->command.delay;
  event->command_metadata = cursor->command.metadata;
  event->command_id = cursor->command.id;
  event->module_revision = commit->module_revision;
  event->node = commit->node;
  event->epoch = commit->epoch;
  cursor->index++;
  cursor->of_command--;
  return true;
}

bool ae_commit_find(const ae_commit *commit, ae_str id, ae_commit_command *out,
                    uint32_t *first_event) {
  ae_unpack at = ae_unpack_of(commit->commands);
  uint32_t first = 0;
  while (ae_commit_command_next(&at, out)) {
    if (out->id.ptr && ae_str_eq(out->id, id)) {
      *first_event = first;
      return true;
    }
    first += out->events;
  }
  return false;
}
