/* Records: as they come, and as a body to which the right head is put, since
 * no mutation finds a sum. What decodes is walked, shown and written again. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "event/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max,
                               unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

#define EMPTY_MAP "\x80"

/* A record to start from: two commands, three events. */
static void sample(ae_buf *record) {
  ae_commit commit = {
      .ref = {AE_STR("bank"), AE_STR("account"), AE_STR("a-1")},
      .first_version = 4,
      .time = 1700000000123456,
      .module_revision = AE_STR("r"),
      .node = AE_STR("n"),
      .epoch = 3,
  };
  ae_commit_command commands[] = {
      {.events = 2, .id = AE_STR("c"), .metadata = AE_STR(EMPTY_MAP)},
      {.id = AE_STR("d"),
       .reason = AE_STR("no"),
       .details = AE_STR(EMPTY_MAP),
       .delay = 5},
      {.events = 1},
  };
  ae_buf events = {0};
  for (int i = 0; i < 3; i++) {
    ae_pack_array(&events, 4);
    ae_pack_cstr(&events, "Deposited");
    ae_pack_uint(&events, 1);
    ae_buf_str(&events, AE_STR("\x81\xa1"
                               "a\x05"));
    if (i) {
      ae_buf_str(&events, AE_STR(EMPTY_MAP));
    } else {
      ae_pack_nil(&events);
    }
  }
  ae_commit_encode(record, &commit, commands, 3, ae_buf_view(&events), 3);
  ae_buf_clear(&events);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max,
                               unsigned seed) {
  ae_buf record = {0};
  if (len < 20 || seed % 1000 == 0) {
    sample(&record);
    if (record.len - 9 <= max) {
      len = record.len - 9;
      memcpy(data, record.ptr + 9, len);
    }
    ae_buf_clear(&record);
  }
  return LLVMFuzzerMutate(data, len, max);
}

static void show(const ae_event *event) {
  ae_buf shown = {0}, json = {0};
  ae_event_render(event, &shown);
  ae_unpack at = ae_unpack_of(ae_buf_view(&shown));
  uint32_t fields;
  MUST(ae_unpack_map(&at, &fields) && fields == 12);
  while (fields--) {
    ae_str name;
    MUST(ae_unpack_str(&at, &name) && ae_unpack_skip(&at, NULL));
  }
  MUST(ae_unpack_end(&at));
  ae_json_write(ae_buf_view(&shown), &json);
  MUST(json.ptr[0] == '{' && json.ptr[json.len - 1] == '}');
  ae_buf_clear(&shown);
  ae_buf_clear(&json);
}

static void same_when_written_again(const ae_commit *commit) {
  ae_commit_command *commands =
      ae_zalloc((commit->command_count + 1) * sizeof *commands);
  ae_unpack at = ae_unpack_of(commit->commands);
  for (uint32_t i = 0; i < commit->command_count; i++) {
    MUST(ae_commit_command_next(&at, &commands[i]));
    if (!commands[i].id.ptr) commands[i].digest = 0;
  }
  MUST(ae_unpack_end(&at));
  ae_buf record = {0};
  ae_commit_encode(&record, commit, commands, commit->command_count,
                   commit->events, commit->event_count);
  ae_commit again;
  MUST(!ae_commit_decode(ae_buf_view(&record), &again, NULL));
  MUST(ae_ref_eq(&commit->ref, &again.ref));
  MUST(again.first_version == commit->first_version);
  MUST(again.time == commit->time && again.epoch == commit->epoch);
  MUST(memcmp(&again.id, &commit->id, sizeof again.id) == 0);
  MUST(ae_str_eq(again.events, commit->events));
  MUST(again.command_count == commit->command_count);
  ae_buf_clear(&record);
  ae_free(commands);
}

static void same_when_trusted(ae_str record, const ae_commit *commit) {
  ae_commit again;
  ae_commit_cursor checked, trusted;
  ae_commit_walk(&checked, commit, 7);
  ae_commit_trust(&trusted, &again, record, 7);
  MUST(ae_ref_eq(&commit->ref, &again.ref));
  MUST(again.command_count == commit->command_count);
  MUST(again.event_count == commit->event_count);
  MUST(ae_str_eq(again.commands, commit->commands));
  MUST(ae_str_eq(again.events, commit->events));
  ae_event one, other;
  while (ae_commit_next(&checked, &one)) {
    MUST(ae_commit_next(&trusted, &other));
    MUST(other.version == one.version && other.index == one.index);
    MUST(other.time == one.time && other.position == one.position);
    MUST(ae_str_eq(other.type, one.type) && ae_str_eq(other.data, one.data));
    MUST(ae_str_eq(other.metadata, one.metadata));
    MUST(ae_str_eq(other.command_metadata, one.command_metadata));
    MUST(ae_str_eq(other.command_id, one.command_id));
    MUST(memcmp(&other.id, &one.id, sizeof one.id) == 0);
  }
  MUST(!ae_commit_next(&trusted, &other));
}

static void record_of(ae_str record) {
  ae_commit commit;
  ae_error err = {0};
  ae_status status = ae_commit_decode(record, &commit, &err);
  MUST(status == AE_OK || status == AE_REPLAY_ERROR);
  MUST(status == err.status);
  ae_error_clear(&err);
  if (status) return;
  ae_commit_cursor cursor;
  ae_event event;
  uint64_t count = 0;
  ae_commit_walk(&cursor, &commit, 7);
  while (ae_commit_next(&cursor, &event)) {
    MUST(event.version == commit.first_version + count);
    MUST(event.index == count);
    MUST(event.time >= commit.time);
    count++;
    show(&event);
    if (event.command_id.ptr) {
      ae_commit_command command;
      uint32_t first;
      MUST(ae_commit_find(&commit, event.command_id, &command, &first));
      MUST(first <= event.index);
    }
  }
  MUST(count == commit.event_count);
  MUST(ae_unpack_end(&cursor.events));
  MUST(ae_commit_version(&commit) == commit.first_version - 1 + count);
  same_when_written_again(&commit);
  same_when_trusted(record, &commit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  ae_str bytes = {(const char *)data, len};
  record_of(bytes);
  ae_buf record = {0};
  ae_buf_byte(&record, AE_RECORD_FORMAT);
  uint64_t sum = ae_hash(bytes);
  for (int i = 0; i < 8; i++) ae_buf_byte(&record, (uint8_t)(sum >> (8 * i)));
  ae_buf_str(&record, bytes);
  record_of(ae_buf_view(&record));
  ae_buf_clear(&record);

  ae_ref ref;
  ae_error err = {0};
  if (!ae_ref_parse(bytes, &ref, &err)) {
    ae_buf text = {0};
    ae_ref_format(&ref, &text);
    MUST(ae_str_eq(ae_buf_view(&text), bytes));
    ae_buf_clear(&text);
  }
  ae_error_clear(&err);
  return 0;
}
