#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "event/event.h"

/* -- names of actors -- */

static void an_actor_is_split_at_its_first_two_slashes(void **state) {
  (void)state;
  ae_ref ref;
  assert_int_equal(ae_ref_parse(AE_STR("eu.bank/account/a/b/"), &ref, NULL),
                   AE_OK);
  assert_true(ae_str_eq(ref.ns, AE_STR("eu.bank")));
  assert_true(ae_str_eq(ref.type, AE_STR("account")));
  assert_true(ae_str_eq(ref.id, AE_STR("a/b/")));
  ae_buf out = {0};
  ae_ref_format(&ref, &out);
  assert_string_equal(ae_buf_cstr(&out), "eu.bank/account/a/b/");
  ae_ref again;
  assert_int_equal(ae_ref_parse(ae_buf_view(&out), &again, NULL), AE_OK);
  assert_true(ae_ref_eq(&ref, &again));
  again.id = AE_STR("a");
  assert_false(ae_ref_eq(&ref, &again));
  ae_buf_clear(&out);
}

static void what_names_no_actor_is_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "",
      "bank",
      "bank/account",
      "bank/account/",
      "/account/a",
      "//",
      "bank//a",
      "bank/Account/a",
      "b*/account/a",
      "b/admin/a",
      "bank/account/\xff",
      "a\nb",
      "\xff",
  };
  ae_error err = {0};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ae_ref ref = {.id = AE_STR("untouched")};
    assert_int_equal(ae_ref_parse(ae_str_of(wrong[i]), &ref, &err),
                     AE_INVALID_NAME);
    assert_true(ae_str_eq(ref.id, AE_STR("untouched")));
    assert_true(ae_str_utf8(ae_buf_view(&err.message)));
    assert_null(strchr(ae_error_text(&err), '\n'));
  }
  ae_error_clear(&err);
}

/* -- records -- */

#define AMOUNT \
  "\x81\xa6"   \
  "amount\x05" /* {amount = 5} */
#define USER \
  "\x81\xa4" \
  "user\xa3" \
  "ann"

static void put_event(ae_buf *events, const char *type, ae_str metadata) {
  ae_pack_array(events, 4);
  ae_pack_cstr(events, type);
  ae_pack_uint(events, 1);
  ae_buf_str(events, AE_STR(AMOUNT));
  if (metadata.len) {
    ae_buf_str(events, metadata);
  } else {
    ae_pack_nil(events);
  }
}

static ae_commit sample_commit(void) {
  ae_commit commit = {
      .ref = {AE_STR("bank"), AE_STR("account"), AE_STR("a-1")},
      .first_version = 4,
      .time = INT64_C(1700000000123456),
      .module_revision = AE_STR("6f2c"),
      .node = AE_STR("n1"),
      .epoch = 3,
  };
  for (int i = 0; i < 16; i++) commit.id.bytes[i] = (uint8_t)(i * 16);
  return commit;
}

/* Two events, one rejection with an id, a command without id or events (not
 * kept), one event without an id. */
static void sample(ae_buf *record) {
  ae_commit commit = sample_commit();
  const ae_commit_command commands[] = {
      {.events = 2,
       .id = AE_STR("c-1"),
       .digest = UINT64_C(0xfedcba9876543210),
       .metadata = AE_STR(USER)},
      {.id = AE_STR("c-2"),
       .delay = 10,
       .digest = 7,
       .reason = AE_STR("insufficient_funds"),
       .details = AE_STR(AMOUNT)},
      {.delay = 15},
      {.events = 1, .delay = 20},
  };
  ae_buf events = {0};
  put_event(&events, "Deposited", (ae_str){0});
  put_event(&events, "Withdrawn",
            AE_STR("\x81\xa4"
                   "user\xa3"
                   "bob"));
  put_event(&events, "Closed", (ae_str){0});
  ae_commit_encode(record, &commit, commands, 4, ae_buf_view(&events), 3);
  ae_buf_clear(&events);
}

static void a_record_comes_back(void **state) {
  (void)state;
  ae_buf record = {0};
  sample(&record);
  ae_commit commit;
  ae_error err = {0};
  if (ae_commit_decode(ae_buf_view(&record), &commit, &err)) {
    fail_msg("%s", ae_error_text(&err));
  }
  ae_commit wrote = sample_commit();
  assert_true(ae_ref_eq(&commit.ref, &wrote.ref));
  assert_int_equal(commit.first_version, 4);
  assert_int_equal(ae_commit_version(&commit), 6);
  assert_int_equal(commit.time, wrote.time);
  assert_memory_equal(&commit.id, &wrote.id, sizeof commit.id);
  assert_true(ae_str_eq(commit.module_revision, AE_STR("6f2c")));
  assert_true(ae_str_eq(commit.node, AE_STR("n1")));
  assert_int_equal(commit.epoch, 3);
  assert_int_equal(commit.command_count, 3);
  assert_int_equal(commit.event_count, 3);
  /* Slices of the record, not copies. */
  assert_in_range((uintptr_t)commit.events.ptr, (uintptr_t)record.ptr,
                  (uintptr_t)record.ptr + record.len);

  ae_commit_cursor cursor;
  ae_event event;
  ae_commit_walk(&cursor, &commit, 99);
  assert_true(ae_commit_next(&cursor, &event));
  assert_true(ae_str_eq(event.type, AE_STR("Deposited")));
  assert_int_equal(event.version, 4);
  assert_int_equal(event.position, 99);
  assert_int_equal(event.index, 0);
  assert_int_equal(event.time, wrote.time);
  assert_int_equal(event.revision, 1);
  assert_true(ae_str_eq(event.data, AE_STR(AMOUNT)));
  assert_true(ae_str_eq(event.command_metadata, AE_STR(USER)));
  assert_true(ae_str_eq(event.command_id, AE_STR("c-1")));
  assert_int_equal(event.metadata.len, 0);
  assert_memory_equal(&event.id, &wrote.id, sizeof event.id);
  assert_true(ae_commit_next(&cursor, &event));
  assert_true(ae_str_eq(event.type, AE_STR("Withdrawn")));
  assert_int_equal(event.version, 5);
  assert_int_equal(event.metadata.len, 10);
  assert_true(ae_commit_next(&cursor, &event));
  assert_true(ae_str_eq(event.type, AE_STR("Closed")));
  assert_int_equal(event.version, 6);
  assert_int_equal(event.index, 2);
  assert_int_equal(event.time, wrote.time + 20);
  assert_null(event.command_id.ptr);
  assert_int_equal(event.command_metadata.len, 0);
  ae_uuid third = ae_uuid_plus(wrote.id, 2);
  assert_memory_equal(&event.id, &third, sizeof third);
  assert_false(ae_commit_next(&cursor, &event));
  assert_false(ae_commit_next(&cursor, &event));
  ae_buf_clear(&record);
  ae_error_clear(&err);
}

static void what_is_trusted_is_walked_the_same(void **state) {
  (void)state;
  ae_buf record = {0};
  sample(&record);
  ae_commit checked, trusted;
  ae_commit_cursor one, other;
  ae_event event, again;
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &checked, NULL),
                   AE_OK);
  ae_commit_walk(&one, &checked, 99);
  ae_commit_trust(&other, &trusted, ae_buf_view(&record), 99);
  assert_true(ae_ref_eq(&checked.ref, &trusted.ref));
  assert_int_equal(trusted.first_version, checked.first_version);
  assert_int_equal(trusted.time, checked.time);
  assert_int_equal(trusted.epoch, checked.epoch);
  assert_int_equal(trusted.command_count, checked.command_count);
  assert_int_equal(trusted.event_count, checked.event_count);
  assert_memory_equal(&trusted.id, &checked.id, sizeof checked.id);
  assert_true(ae_str_eq(trusted.node, checked.node));
  assert_true(ae_str_eq(trusted.module_revision, checked.module_revision));
  assert_true(ae_str_eq(trusted.commands, checked.commands));
  assert_true(ae_str_eq(trusted.events, checked.events));
  for (int i = 0; i < 3; i++) {
    assert_true(ae_commit_next(&one, &event));
    assert_true(ae_commit_next(&other, &again));
    assert_int_equal(again.version, event.version);
    assert_int_equal(again.index, event.index);
    assert_int_equal(again.position, 99);
    assert_int_equal(again.time, event.time);
    assert_memory_equal(&again.id, &event.id, sizeof event.id);
    assert_true(ae_str_eq(again.type, event.type));
    assert_true(ae_str_eq(again.data, event.data));
    assert_true(ae_str_eq(again.metadata, event.metadata));
    assert_true(ae_str_eq(again.command_id, event.command_id));
    assert_true(ae_str_eq(again.command_metadata, event.command_metadata));
  }
  assert_false(ae_commit_next(&other, &again));
  /* Walked again like any other. */
  ae_commit_walk(&one, &trusted, 99);
  for (int i = 0; i < 3; i++) assert_true(ae_commit_next(&one, &event));
  assert_true(ae_str_eq(event.type, AE_STR("Closed")));
  ae_buf_clear(&record);
}

static void commands_are_found_by_id(void **state) {
  (void)state;
  ae_buf record = {0};
  sample(&record);
  ae_commit commit;
  ae_commit_command command;
  uint32_t first = 77;
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &commit, NULL),
                   AE_OK);
  assert_true(ae_commit_find(&commit, AE_STR("c-1"), &command, &first));
  assert_int_equal(first, 0);
  assert_int_equal(command.events, 2);
  assert_true(command.digest == UINT64_C(0xfedcba9876543210));
  assert_null(command.reason.ptr);
  assert_true(ae_commit_find(&commit, AE_STR("c-2"), &command, &first));
  assert_int_equal(first, 2);
  assert_int_equal(command.events, 0);
  assert_int_equal(command.delay, 10);
  assert_true(ae_str_eq(command.reason, AE_STR("insufficient_funds")));
  assert_true(ae_str_eq(command.details, AE_STR(AMOUNT)));
  assert_false(ae_commit_find(&commit, AE_STR("c-3"), &command, &first));
  assert_false(ae_commit_find(&commit, AE_STR(""), &command, &first));
  ae_buf_clear(&record);
}

static void a_rejection_alone_is_a_commit(void **state) {
  (void)state;
  ae_commit commit = sample_commit(), again;
  ae_commit_command command = {
      .id = AE_STR("c-9"), .digest = 1, .reason = AE_STR("closed")};
  ae_buf record = {0};
  ae_commit_encode(&record, &commit, &command, 1, (ae_str){0}, 0);
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &again, NULL), AE_OK);
  assert_int_equal(again.event_count, 0);
  assert_int_equal(ae_commit_version(&again), 3);
  ae_commit_cursor cursor;
  ae_event event;
  ae_commit_walk(&cursor, &again, 1);
  assert_false(ae_commit_next(&cursor, &event));
  ae_buf_clear(&record);
}

static void records_follow_each_other_in_a_buf(void **state) {
  (void)state;
  ae_buf both = {0}, one = {0};
  sample(&one);
  sample(&both);
  sample(&both);
  assert_int_equal(both.len, 2 * one.len);
  assert_memory_equal(both.ptr + one.len, one.ptr, one.len);
  ae_buf_clear(&both);
  ae_buf_clear(&one);
}

static void expect_damage(ae_str record, const char *cause) {
  ae_commit commit;
  ae_error err = {0};
  assert_int_equal(ae_commit_decode(record, &commit, &err), AE_REPLAY_ERROR);
  assert_int_equal(err.status, AE_REPLAY_ERROR);
  ae_buf rendered = {0};
  ae_str value;
  ae_error_render(&err, &rendered);
  assert_true(ae_unpack_field(ae_buf_view(&rendered), "cause", &value));
  if (cause && !strstr(ae_error_text(&err), cause)) {
    fail_msg("%s, not %s", ae_error_text(&err), cause);
  }
  ae_buf_clear(&rendered);
  ae_error_clear(&err);
}

static void every_flipped_bit_and_every_cut_is_damage(void **state) {
  (void)state;
  ae_buf record = {0};
  sample(&record);
  for (size_t bit = 0; bit < record.len * 8; bit++) {
    record.ptr[bit / 8] ^= (char)(1 << bit % 8);
    expect_damage(ae_buf_view(&record), NULL);
    record.ptr[bit / 8] ^= (char)(1 << bit % 8);
  }
  for (size_t cut = 0; cut < record.len; cut++) {
    char *copy = ae_alloc(cut);
    memcpy(copy, record.ptr, cut);
    expect_damage((ae_str){copy, cut}, NULL);
    ae_free(copy);
  }
  ae_buf_byte(&record, 0);
  expect_damage(ae_buf_view(&record), "sum");
  ae_buf_clear(&record);
}

static void a_newer_format_says_so(void **state) {
  (void)state;
  ae_buf record = {0};
  sample(&record);
  record.ptr[0] = 2;
  expect_damage(ae_buf_view(&record), "has format 2");
  record.ptr[0] = 0;
  expect_damage(ae_buf_view(&record), "no known format");
  ae_buf_clear(&record);
}

/* -- wrong shapes with a right sum -- */

typedef struct shape {
  const char *cause;
  ae_str ns, type, id;
  uint64_t version;
  int64_t time;
  size_t uuid_len;
  ae_str commands; /* with the array header */
  ae_str events;   /* with the array header */
  ae_str behind;
} shape;

#define COMMAND "\x97\x01\x00\xc0\x00\xc0\xc0\xc0"
#define EVENT \
  "\x94\xa1"  \
  "E\x01\x80\xc0"

static void put_shape(ae_buf *out, const shape *s) {
  ae_buf_byte(out, 1);
  ae_buf_add(out, "12345678", 8);
  ae_pack_str(out, s->ns);
  ae_pack_str(out, s->type);
  ae_pack_str(out, s->id);
  ae_pack_uint(out, s->version);
  ae_pack_int(out, s->time);
  ae_pack_bin(out, (ae_str){"0123456789abcdefg", s->uuid_len});
  ae_pack_cstr(out, "r");
  ae_pack_cstr(out, "n");
  ae_pack_uint(out, 0);
  ae_buf_str(out, s->commands);
  ae_buf_str(out, s->events);
  ae_buf_str(out, s->behind);
  uint64_t sum = ae_hash((ae_str){out->ptr + 9, out->len - 9});
  for (int i = 0; i < 8; i++) out->ptr[1 + i] = (char)(sum >> (8 * i));
}

static shape right(void) {
  return (shape){
      .ns = AE_STR("bank"),
      .type = AE_STR("account"),
      .id = AE_STR("a"),
      .version = 1,
      .time = 5,
      .uuid_len = 16,
      .commands = AE_STR("\x91" COMMAND),
      .events = AE_STR("\x91" EVENT),
  };
}

static void wrong_shapes_are_damage_whatever_the_sum(void **state) {
  (void)state;
  shape shapes[64];
  int n = 0;
#define WRONG(what, field, ...)      \
  do {                               \
    shapes[n] = right();             \
    shapes[n].cause = what;          \
    shapes[n++].field = __VA_ARGS__; \
  } while (0)
  WRONG("actor's name", ns, AE_STR("a b"));
  WRONG("actor's name", ns, AE_STR(""));
  WRONG("actor's name", type, AE_STR("Account"));
  WRONG("actor's name", id, AE_STR(""));
  WRONG("actor's name", id, AE_STR("\xff"));
  WRONG("version", version, 0);
  WRONG("version", version, UINT64_MAX);
  WRONG("time", time, -1);
  WRONG("time", time, INT64_MAX);
  WRONG("commit's id", uuid_len, 15);
  WRONG("commit's id", uuid_len, 17);
  WRONG("no commands", commands, AE_STR("\x01"));
  WRONG("command's fields", commands, AE_STR("\x91\x01"));
  WRONG("command's fields", commands,
        AE_STR("\x91\x96\x01\x00\xc0\x00\xc0\xc0"));
  WRONG("command's fields", commands,
        AE_STR("\x91\x97\xff\x00\xc0\x00\xc0\xc0\xc0"));
  WRONG("command's fields", commands,
        AE_STR("\x91\x97\x01\xcf\0\0\0\1\0\0\0\0\xc0\x00\xc0\xc0\xc0"));
  WRONG("command's fields", commands,
        AE_STR("\x91\x97\x01\x00\x05\x00\xc0\xc0\xc0"));
  WRONG("without id and events", commands,
        AE_STR("\x92\x97\x00\x00\xc0\x00\xc0\xc0\xc0" COMMAND));
  WRONG("not UTF-8", commands,
        AE_STR("\x91\x97\x01\x00\xa1\xff\x00\xc0\xc0\xc0"));
  WRONG("not UTF-8", commands,
        AE_STR("\x92\x97\x00\x00\xa1"
               "a\x00\xa1\xff\xc0\xc0" COMMAND));
  WRONG("rejected command with events", commands,
        AE_STR("\x91\x97\x01\x00\xa1"
               "a\x00\xa1"
               "r\xc0\xc0"));
  WRONG("command's metadata", commands,
        AE_STR("\x91\x97\x01\x00\xc0\x00\xc0\xc0\x90"));
  WRONG("differ in number", commands,
        AE_STR("\x91\x97\x02\x00\xc0\x00\xc0\xc0\xc0"));
  WRONG("differ in number", events, AE_STR("\x90"));
  WRONG("differ in number", events, AE_STR("\x92" EVENT EVENT));
  WRONG("no events", events, AE_STR("\xc0"));
  WRONG("event's fields", events,
        AE_STR("\x91\x93\xa1"
               "E\x01\x80"));
  WRONG("event's fields", events, AE_STR("\x91\x94\x01\x01\x80\xc0"));
  WRONG("event's fields", events,
        AE_STR("\x91\x94\xa1"
               "E\xff\x80\xc0"));
  WRONG("event's type", events, AE_STR("\x91\x94\xa0\x01\x80\xc0"));
  WRONG("event's type", events, AE_STR("\x91\x94\xa1\xff\x01\x80\xc0"));
  WRONG("event's revision", events,
        AE_STR("\x91\x94\xa1"
               "E\x00\x80\xc0"));
  WRONG("data is no map", events,
        AE_STR("\x91\x94\xa1"
               "E\x01\x90\xc0"));
  WRONG("event's metadata", events,
        AE_STR("\x91\x94\xa1"
               "E\x01\x80\x90"));
  WRONG("bytes behind", behind, AE_STR("\xc0"));
#undef WRONG
  for (int i = 0; i < n; i++) {
    ae_buf record = {0};
    put_shape(&record, &shapes[i]);
    expect_damage(ae_buf_view(&record), shapes[i].cause);
    ae_buf_clear(&record);
  }
  ae_buf record = {0};
  ae_commit commit;
  shape fine = right();
  put_shape(&record, &fine);
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &commit, NULL),
                   AE_OK);
  ae_buf_clear(&record);
}

/* Format 1 as it was written first: what is stored must open for ever. */
static const char format_1[] =
    "013599e541f34037e0a462616e6ba76163636f756e74a3612d3104cf00060a241820"
    "2240c41000102030405060708090a0b0c0d0e0f0a436663263a26e310393970200a3"
    "632d31cffedcba9876543210c0c081a475736572a3616e6e97000aa3632d3207b269"
    "6e73756666696369656e745f66756e647381a6616d6f756e7405c0970114c000c0c0"
    "c09394a94465706f73697465640181a6616d6f756e7405c094a95769746864726177"
    "6e0181a6616d6f756e740581a475736572a3626f6294a6436c6f7365640181a6616d"
    "6f756e7405c0";

static int nibble(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void format_1_stays_readable(void **state) {
  (void)state;
  ae_buf record = {0}, now = {0};
  for (const char *at = format_1; *at; at += 2) {
    ae_buf_byte(&record, (uint8_t)(nibble(at[0]) << 4 | nibble(at[1])));
  }
  ae_commit commit;
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &commit, NULL),
                   AE_OK);
  assert_int_equal(commit.event_count, 3);
  sample(&now);
  assert_true(ae_str_eq(ae_buf_view(&record), ae_buf_view(&now)));
  ae_buf_clear(&record);
  ae_buf_clear(&now);
}

/* -- what the doors show -- */

static char *shown(const ae_event *event) {
  static char text[2000];
  ae_buf pack = {0}, json = {0};
  ae_event_render(event, &pack);
  assert_true(ae_pack_valid(ae_buf_view(&pack)));
  ae_json_write(ae_buf_view(&pack), &json);
  snprintf(text, sizeof text, "%s", ae_buf_cstr(&json));
  ae_buf_clear(&pack);
  ae_buf_clear(&json);
  return text;
}

static char *metadata(const ae_event *event, bool host) {
  static char text[2000];
  ae_buf pack = {0}, json = {0};
  ae_event_metadata(event, host, &pack);
  assert_true(ae_pack_valid(ae_buf_view(&pack)));
  ae_json_write(ae_buf_view(&pack), &json);
  snprintf(text, sizeof text, "%s", ae_buf_cstr(&json));
  ae_buf_clear(&pack);
  ae_buf_clear(&json);
  return text;
}

static void an_event_renders_all_its_fields(void **state) {
  (void)state;
  ae_buf record = {0};
  sample(&record);
  ae_commit commit;
  ae_commit_cursor cursor;
  ae_event event;
  ae_commit_decode(ae_buf_view(&record), &commit, NULL);
  ae_commit_walk(&cursor, &commit, 17);
  ae_commit_next(&cursor, &event);
  assert_string_equal(
      shown(&event),
      "{\"id\":\"00102030-4050-6070-8090-a0b0c0d0e0f0\",\"type\":\"Deposited\","
      "\"revision\":1,\"namespace\":\"bank\",\"actor_type\":\"account\","
      "\"actor_id\":\"a-1\",\"version\":4,\"position\":17,\"index\":0,"
      "\"timestamp\":1700000000123456,\"data\":{\"amount\":5},"
      "\"metadata\":{\"user\":\"ann\",\"command_id\":\"c-1\","
      "\"causation_id\":\"c-1\",\"module_revision\":\"6f2c\",\"node\":\"n1\","
      "\"epoch\":3}}");
  ae_commit_next(&cursor, &event);
  assert_string_equal(metadata(&event, false), "{\"user\":\"bob\"}");
  ae_commit_next(&cursor, &event);
  assert_string_equal(
      metadata(&event, true),
      "{\"module_revision\":\"6f2c\",\"node\":\"n1\",\"epoch\":3}");
  ae_buf_clear(&record);
}

static void metadata_is_merged(void **state) {
  (void)state;
  ae_event event = {
      .command_metadata = AE_STR("\x83\xa1"
                                 "a\x01\xa1"
                                 "b\x02\xa1"
                                 "c\x03"),
      .metadata = AE_STR("\x82\xa1"
                         "b\x82\xa1"
                         "x\x01\xa1"
                         "y\x02\xa1"
                         "d\x04"),
  };
  assert_string_equal(metadata(&event, true),
                      "{\"a\":1,\"c\":3,\"b\":{\"x\":1,\"y\":2},\"d\":4}");
  assert_string_equal(metadata(&(ae_event){0}, true), "{}");
  /* What the host knows is not to be forged; a given cause is kept. */
  event = (ae_event){
      .command_metadata = AE_STR("\x81\xac"
                                 "causation_id\xa1"
                                 "z"),
      .metadata = AE_STR("\x82\xaa"
                         "command_id\xa1"
                         "f\xa4"
                         "node\xa1"
                         "f"),
      .command_id = AE_STR("c"),
      .node = AE_STR("n"),
  };
  assert_string_equal(
      metadata(&event, true),
      "{\"causation_id\":\"z\",\"command_id\":\"c\",\"node\":\"n\"}");
  /* Nor where there is none. */
  event.command_id = event.node = (ae_str){0};
  assert_string_equal(metadata(&event, true), "{\"causation_id\":\"z\"}");
}

static void the_digest_sees_the_value_not_its_bytes(void **state) {
  (void)state;
  ae_str name = AE_STR("deposit");
  uint64_t digest = ae_command_digest(name, AE_STR("\x82\xa1"
                                                   "a\x01\xa1"
                                                   "b\x02"));
  assert_true(digest == ae_command_digest(name, AE_STR("\x82\xa1"
                                                       "b\x02\xa1"
                                                       "a\xcc\x01")));
  assert_true(digest != ae_command_digest(name, AE_STR("\x82\xa1"
                                                       "a\x01\xa1"
                                                       "b\x03")));
  assert_true(digest != ae_command_digest(AE_STR("withdraw"), AE_STR("\x82\xa1"
                                                                     "a\x01\xa1"
                                                                     "b\x02")));
  assert_true(ae_command_digest(AE_STR("a"), (ae_str){0}) !=
              ae_command_digest(AE_STR("a\0"), (ae_str){0}));
  /* The value is part of stored records. */
  assert_true(digest == UINT64_C(0x37e159e6f163e91c));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_actor_is_split_at_its_first_two_slashes),
      cmocka_unit_test(what_names_no_actor_is_refused),
      cmocka_unit_test(a_record_comes_back),
      cmocka_unit_test(what_is_trusted_is_walked_the_same),
      cmocka_unit_test(commands_are_found_by_id),
      cmocka_unit_test(a_rejection_alone_is_a_commit),
      cmocka_unit_test(records_follow_each_other_in_a_buf),
      cmocka_unit_test(every_flipped_bit_and_every_cut_is_damage),
      cmocka_unit_test(a_newer_format_says_so),
      cmocka_unit_test(wrong_shapes_are_damage_whatever_the_sum),
      cmocka_unit_test(format_1_stays_readable),
      cmocka_unit_test(an_event_renders_all_its_fields),
      cmocka_unit_test(metadata_is_merged),
      cmocka_unit_test(the_digest_sees_the_value_not_its_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
