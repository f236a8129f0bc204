/* A namespace leaves one store and enters another, exact to the byte. */
#define _GNU_SOURCE /* memmem */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "event/skip.h"
#include "node/export.h"
#include "node/import.h"
#include "node/side.h"
#include "node/stream.h"

/* One commit of one event with this data; `id` NULL: none; `data` NULL: an id
 * that was rejected. */
static void add(side *s, const char *actor, uint64_t expected, const char *id,
                const ae_buf *data) {
  ae_buf events = {0}, record = {0}, details = {0};
  s->time += 7;
  if (data) {
    ae_pack_array(&events, 4);
    ae_pack_cstr(&events, "Counted");
    ae_pack_uint(&events, 2);
    ae_buf_str(&events, ae_buf_view(data));
    ae_pack_nil(&events);
  }
  ae_commit commit = {.ref = side_ref(actor),
                      .first_version = expected + 1,
                      .time = s->time,
                      .id = ae_uuid7_make(&s->uuids, s->time),
                      .module_revision = AE_STR("r1"),
                      .node = AE_STR("n\xc3\xb6"),
                      .epoch = 3};
  ae_commit_command command = {.events = data ? 1 : 0,
                               .delay = 5,
                               .id = ae_str_of(id),
                               .digest = id ? UINT64_MAX - 3 : 0};
  if (!data) {
    command.reason = AE_STR("no");
    ae_pack_nil(&details);
    command.details = ae_buf_view(&details);
  }
  ae_commit_encode(&record, &commit, &command, 1, ae_buf_view(&events),
                   data ? 1 : 0);
  side_append(s, actor, expected, data ? 1 : 0, id ? 1 : 0, record);
  ae_buf_clear(&events);
  ae_buf_clear(&record);
  ae_buf_clear(&details);
}

static void count(side *s, const char *actor, uint64_t from, uint64_t to) {
  for (uint64_t n = from; n < to; n++) {
    ae_buf data = {0};
    ae_pack_map(&data, 1);
    ae_pack_cstr(&data, "n");
    ae_pack_uint(&data, n);
    add(s, actor, n, NULL, &data);
    ae_buf_clear(&data);
  }
}

/* Values that JSON cannot give back, and some at its edges. */
static void add_values(side *s, const char *actor) {
  uint64_t version = 0;
  for (int i = 0; i < 8; i++) {
    ae_buf data = {0};
    ae_pack_map(&data, 1);
    switch (i) {
      case 0:
        ae_pack_cstr(&data, "bytes");
        ae_pack_bin(&data, (ae_str){"\xff\0\x01", 3});
        break;
      case 1:
        ae_pack_int(&data, -7);
        ae_pack_cstr(&data, "a key that is a number");
        break;
      case 2:
        ae_pack_cstr(&data, "double");
        ae_pack_double(&data, 5.0);
        break;
      case 3:
        ae_pack_cstr(&data, "large");
        ae_pack_uint(&data, UINT64_MAX);
        break;
      case 4:
        ae_pack_cstr(&data, "text");
        ae_pack_text(&data, AE_STR("\"\\\x7f\n\xe2\x82\xac\x01"));
        break;
      case 5:
        ae_pack_cstr(&data, "deep");
        for (int k = 0; k < 60; k++) ae_pack_array(&data, 1);
        ae_pack_nil(&data);
        break;
      case 6: /* longer than it has to be */
        ae_pack_cstr(&data, "wide");
        ae_buf_add(&data, "\xcd\0\x05", 3);
        break;
      default:
        ae_pack_cstr(&data, "small");
        ae_pack_double(&data, 5e-324);
    }
    add(s, actor, version++, i % 2 ? "id \xc3\xa9" : NULL, &data);
    ae_buf_clear(&data);
    if (i % 2) actor = "bank/account/\xc3\xa9/y z", version = 0;
    if (i % 2 && i > 2) break;
  }
}

static void on_write(ae_write *write, ae_status status, const ae_error *err) {
  (void)err;
  *(ae_status *)write->data = status;
}

static void save_base(side *s, const char *actor, uint64_t version,
                      const char *state) {
  ae_status status = AE_CANCELED;
  ae_buf packed = {0};
  ae_pack_cstr(&packed, state);
  ae_snapshot_write write = {.write = {.cb = on_write, .data = &status},
                             .ref = side_ref(actor),
                             .version = version,
                             .shape = -4,
                             .state = ae_buf_view(&packed),
                             .base = true};
  assert_int_equal(ae_store_save_snapshot(s->store, &write, NULL), AE_OK);
  ae_loop_run(&s->loop);
  assert_int_equal(status, AE_OK);
  ae_buf_clear(&packed);
}

static void trim(side *s, const char *ns, uint64_t bytes) {
  ae_status status = AE_CANCELED;
  ae_trim write = {.write = {.cb = on_write, .data = &status},
                   .ns = ae_str_of(ns),
                   .bytes = bytes};
  assert_int_equal(ae_store_trim(s->store, &write, NULL), AE_OK);
  ae_loop_run(&s->loop);
  assert_int_equal(status, AE_OK);
  assert_true(write.trimmed > 0);
}

/* -- export -- */

typedef struct exported {
  ae_export export;
  ae_buf text;
  ae_status status;
  unsigned done, damaged;
  size_t most; /* bytes taken; 0: any */
} exported;

static bool on_lines(ae_export *export, ae_str lines) {
  exported *e = export->data;
  ae_buf_str(&e->text, lines);
  return e->most == 0 || e->text.len < e->most;
}

static void on_exported(ae_export *export, ae_status status,
                        const ae_error *err) {
  exported *e = export->data;
  e->status = status;
  e->done++;
  assert_int_equal(status == AE_OK, !err || err->status == AE_OK);
}

static void on_damaged(ae_export *export, const ae_error *err) {
  exported *e = export->data;
  assert_int_equal(err->status, AE_REPLAY_ERROR);
  e->damaged++;
}

static exported export_of(side *s, const char *ns, bool skip) {
  exported e = {0};
  e.export = (ae_export){.ns = ae_str_of(ns),
                         .skip_damaged = skip,
                         .write = on_lines,
                         .damaged = on_damaged,
                         .done = on_exported,
                         .data = &e};
  assert_int_equal(ae_export_start(s->store, &e.export, NULL), AE_OK);
  ae_loop_run(&s->loop);
  assert_int_equal(e.done, 1);
  return e;
}

/* -- import -- */

typedef struct imported {
  ae_import import;
  ae_str rest; /* lines that are left */
  ae_status status;
  unsigned done;
  char said[400];
  uint64_t stop_at; /* line; 0: never */
} imported;

static void feed(ae_import *import) {
  imported *i = import->data;
  for (;;) {
    if (i->rest.len == 0) {
      ae_import_end(import);
      return;
    }
    const char *end = memchr(i->rest.ptr, '\n', i->rest.len);
    size_t len = end ? (size_t)(end - i->rest.ptr) : i->rest.len;
    ae_str line = {i->rest.ptr, len};
    if (end) len++;
    i->rest = (ae_str){i->rest.ptr + len, i->rest.len - len};
    bool on = ae_import_line(import, line);
    if (i->stop_at && import->counts.lines == i->stop_at) {
      ae_import_stop(import);
      return;
    }
    if (!on) return;
  }
}

static void on_imported(ae_import *import, ae_status status,
                        const ae_error *err) {
  imported *i = import->data;
  i->status = status;
  i->done++;
  snprintf(i->said, sizeof i->said, "%s", err ? ae_error_text(err) : "");
}

static imported import_stopped(side *s, const char *ns, ae_str text,
                               uint64_t stop_at) {
  imported i = {.rest = text, .stop_at = stop_at};
  i.import = (ae_import){
      .ns = ae_str_of(ns), .more = feed, .done = on_imported, .data = &i};
  ae_import_start(&s->loop, s->store, &i.import);
  feed(&i.import);
  ae_loop_run(&s->loop);
  assert_int_equal(i.done, 1);
  return i;
}

static imported import_of(side *s, const char *ns, ae_str text) {
  return import_stopped(s, ns, text, 0);
}

static void import_ok(side *s, const char *ns, ae_str text, uint64_t present) {
  imported i = import_of(s, ns, text);
  if (i.status != AE_OK) fail_msg("%s", i.said);
  assert_int_equal(i.import.counts.present, present);
}

/* -- comparing -- */

static void drop_number(ae_buf *out, ae_str *line, const char *key) {
  const char *at = memmem(line->ptr, line->len, key, strlen(key));
  if (!at) return;
  size_t head = (size_t)(at - line->ptr) + strlen(key);
  ae_buf_add(out, line->ptr, head);
  while (head < line->len && line->ptr[head] >= '0' && line->ptr[head] <= '9')
    head++;
  *line = (ae_str){line->ptr + head, line->len - head};
}

static int line_order(const void *a, const void *b) {
  return ae_str_cmp(*(const ae_str *)a, *(const ae_str *)b);
}

/* The lines of begins come in the order of the store's own numbers. */
static void take_begins(ae_buf *out, ae_str *text) {
  ae_str lines[16];
  size_t count = 0;
  while (text->len > 0 && memcmp(text->ptr, "{\"begin\"", 8) == 0) {
    const char *end = memchr(text->ptr, '\n', text->len);
    size_t len = (size_t)(end - text->ptr) + 1;
    assert_true(count < 16);
    lines[count++] = (ae_str){text->ptr, len};
    *text = (ae_str){text->ptr + len, text->len - len};
  }
  qsort(lines, count, sizeof *lines, line_order);
  for (size_t i = 0; i < count; i++) ae_buf_str(out, lines[i]);
}

/* Without what differs: the time of the export, positions, its sum. */
static char *essence(ae_str text) {
  ae_buf out = {0};
  while (text.len > 0) {
    const char *end = memchr(text.ptr, '\n', text.len);
    ae_str line = {text.ptr, (size_t)(end - text.ptr)};
    text = (ae_str){end + 1, text.len - line.len - 1};
    if (memcmp(line.ptr, "{\"aether\"", 9) == 0) {
      drop_number(&out, &line, "\"commits\":"); /* at most so many */
      drop_number(&out, &line, "\"time\":");
    } else if (memcmp(line.ptr, "{\"commit\"", 9) == 0)
      drop_number(&out, &line, "\"position\":");
    else if (memcmp(line.ptr, "{\"end\"", 6) == 0)
      line.len =
          (size_t)((const char *)memmem(line.ptr, line.len, "\"sum\"", 5) -
                   line.ptr);
    ae_buf_str(&out, line);
    ae_buf_byte(&out, '\n');
    take_begins(&out, &text);
  }
  return (char *)ae_buf_cstr(&out);
}

/* Of two exports; they go. */
static void same_text(exported *one, exported *other) {
  char *x = essence(ae_buf_view(&one->text));
  char *y = essence(ae_buf_view(&other->text));
  assert_string_equal(x, y);
  ae_free(x);
  ae_free(y);
  ae_buf_clear(&one->text);
  ae_buf_clear(&other->text);
}

static void same_export(side *a, side *b, const char *ns) {
  exported one = export_of(a, ns, false), other = export_of(b, ns, false);
  assert_int_equal(one.status, AE_OK);
  assert_int_equal(other.status, AE_OK);
  same_text(&one, &other);
}

/* What comes from `a` goes to `b`. */
static void two_open(side *a, bool file, side *b, bool other) {
  side_open(a, file);
  side_open(b, other);
}

static void two_close(side *a, side *b, exported *e) {
  ae_buf_clear(&e->text);
  side_close(a);
  side_close(b);
}

static void on_lookup(ae_lookup *lookup, ae_status status,
                      const ae_error *err) {
  (void)err;
  assert_int_equal(status, AE_OK);
  *(size_t *)lookup->data = lookup->record.len;
}

/* The position of an id, 0: not stored. */
static uint64_t look_up(side *s, const char *actor, const char *id,
                        size_t *record) {
  size_t len;
  ae_lookup lookup = {.ref = side_ref(actor),
                      .command_id = ae_str_of(id),
                      .cb = on_lookup,
                      .data = &len};
  assert_int_equal(ae_store_lookup(s->store, &lookup, NULL), AE_OK);
  ae_loop_run(&s->loop);
  if (record) *record = len;
  return lookup.position;
}

/* -- tests -- */

static void fill(side *s) {
  add_values(s, "bank/account/a");
  count(s, "bank/account/many", 0, 1500);
  add(s, "bank/account/many", 1500, "rejected", NULL);
  count(s, "bank/account/many", 1500, 2600);
  save_base(s, "bank/account/many", 2000, "at 2000");
  count(s, "bank.other/account/many", 0, 3);
}

static void through_both_kinds_of_store(void **state) {
  (void)state;
  for (int way = 0; way < 4; way++) {
    side a, b;
    two_open(&a, way & 1, &b, way & 2);
    fill(&a);
    exported e = export_of(&a, "bank", false);
    assert_int_equal(e.status, AE_OK);
    assert_int_equal(e.export.counts.bases, 1);
    import_ok(&b, "bank", ae_buf_view(&e.text), 0);
    same_export(&a, &b, "bank");
    size_t record;
    assert_true(look_up(&b, "bank/account/many", "rejected", &record) > 0);
    assert_true(record > 0);
    /* The same again changes nothing, also after it has gone on. */
    import_ok(&b, "bank", ae_buf_view(&e.text), e.export.counts.commits);
    same_export(&a, &b, "bank");
    count(&b, "bank/account/new", 0, 5);
    imported again = import_of(&b, "bank", ae_buf_view(&e.text));
    assert_int_equal(again.status, AE_OK);
    assert_int_equal(again.import.counts.beyond, 5);
    /* Under another name, beside it. */
    import_ok(&b, "shop", ae_buf_view(&e.text), 0);
    import_ok(&b, "shop", ae_buf_view(&e.text), e.export.counts.commits);
    exported shop = export_of(&b, "shop", false);
    import_ok(&a, "bank2", ae_buf_view(&shop.text), 0);
    exported back = export_of(&a, "bank2", false);
    side c;
    side_open(&c, false);
    import_ok(&c, "bank", ae_buf_view(&back.text), 0);
    same_export(&a, &c, "bank");
    side_close(&c);
    ae_buf_clear(&e.text);
    ae_buf_clear(&shop.text);
    ae_buf_clear(&back.text);
    side_close(&a);
    side_close(&b);
  }
}

static void a_history_that_starts_later(void **state) {
  (void)state;
  for (int way = 0; way < 4; way++) {
    side a, b;
    size_t record;
    two_open(&a, way & 1, &b, way & 2);
    add(&a, "bank/account/a", 0, "early", NULL);
    count(&a, "bank/account/a", 0, 100);
    save_base(&a, "bank/account/a", 60, "at 60");
    count(&a, "bank/account/b", 0, 10);
    trim(&a, "bank", 6000); /* some below the base stay */
    exported e = export_of(&a, "bank", false);
    assert_int_equal(e.status, AE_OK);
    assert_int_equal(e.export.counts.begins, 1);
    assert_int_equal(e.export.counts.commits, 50);
    import_ok(&b, "bank", ae_buf_view(&e.text), 0);
    same_export(&a, &b, "bank");
    assert_true(look_up(&b, "bank/account/a", "early", &record) > 0);
    assert_int_equal(record, 0);
    assert_int_equal(look_up(&b, "bank/account/a", "none", NULL), 0);
    import_ok(&b, "bank", ae_buf_view(&e.text), 50);
    /* Out of what was imported, once more. */
    side c;
    side_open(&c, !(way & 2));
    exported second = export_of(&b, "bank", false);
    import_ok(&c, "bank", ae_buf_view(&second.text), 0);
    same_export(&a, &c, "bank");
    assert_true(look_up(&c, "bank/account/a", "early", NULL) > 0);
    count(&c, "bank/account/a", 100, 103);
    side_close(&c);
    ae_buf_clear(&e.text);
    ae_buf_clear(&second.text);
    side_close(&a);
    side_close(&b);
  }
}

static void begins_with_many_ids(void **state) {
  (void)state;
  side a, b;
  char id[32];
  two_open(&a, true, &b, true);
  ae_buf data = {0};
  ae_pack_map(&data, 0);
  enum { IDS = 9000 };
  for (uint64_t n = 0; n < IDS; n++) {
    snprintf(id, sizeof id, "id-%llu", (unsigned long long)n);
    add(&a, "bank/account/a", n, id, &data);
  }
  ae_buf_clear(&data);
  save_base(&a, "bank/account/a", IDS - 1, "s");
  trim(&a, "bank", 1);
  exported e = export_of(&a, "bank", false);
  assert_int_equal(e.export.counts.begins, 1);
  import_ok(&b, "bank", ae_buf_view(&e.text), 0);
  for (uint64_t n = 0; n < IDS; n += 500) {
    snprintf(id, sizeof id, "id-%llu", (unsigned long long)n);
    assert_true(look_up(&b, "bank/account/a", id, NULL) > 0);
  }
  two_close(&a, &b, &e);
}

static void what_is_there_must_be_the_beginning(void **state) {
  (void)state;
  side a, b;
  two_open(&a, false, &b, true);
  fill(&a);
  exported e = export_of(&a, "bank", false);
  ae_str text = ae_buf_view(&e.text);
  count(&b, "bank/account/other", 0, 2);
  exported before = export_of(&b, "bank", false);
  imported i = import_of(&b, "bank", text);
  assert_int_equal(i.status, AE_VERSION_CONFLICT);
  assert_non_null(strstr(i.said, "nothing was stored"));
  exported after = export_of(&b, "bank", false);
  same_text(&before, &after);
  two_close(&a, &b, &e);
}

/* Cut or stopped anywhere, whole commits are there, and it goes on. */
static void an_import_that_was_cut_goes_on(void **state) {
  (void)state;
  side a, b;
  two_open(&a, false, &b, true);
  fill(&a);
  exported e = export_of(&a, "bank", false);
  ae_str text = ae_buf_view(&e.text);
  uint64_t lines = 0, last = 0;
  for (size_t k = 0; k < text.len; k++) lines += text.ptr[k] == '\n';
  for (size_t part = 1; part < 8; part++) {
    size_t len = text.len * part / 8;
    imported i = import_of(&b, "bank", (ae_str){text.ptr, len});
    assert_int_equal(i.status, AE_MALFORMED);
    assert_true(i.import.counts.present >= last);
    last = i.import.counts.commits;
    i = import_stopped(&b, "bank", text, lines * part / 8 + 20);
    assert_int_equal(i.status, AE_CANCELED);
  }
  import_ok(&b, "bank", text,
            import_of(&b, "bank", text).import.counts.commits);
  same_export(&a, &b, "bank");
  two_close(&a, &b, &e);
}

static void each_step_of_an_import_fails(void **state) {
  (void)state;
  side a;
  static const char *const steps[] = {"sqlite.insert", "sqlite.begin",
                                      "sqlite.commit", "sqlite.begun",
                                      "sqlite.snapshot"};
  side_open(&a, false);
  add(&a, "bank/account/a", 0, "early", NULL);
  count(&a, "bank/account/a", 0, 100);
  save_base(&a, "bank/account/a", 60, "at 60");
  count(&a, "bank/account/b", 0, 1700);
  save_base(&a, "bank/account/b", 1000, "at 1000");
  count(&a, "bank/account/c", 0, 5);
  save_base(&a, "bank/account/c", 3, "at 3");
  trim(&a, "bank", 1700 * 90);
  exported e = export_of(&a, "bank", false);
  for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
    side b;
    side_open(&b, true);
    unsigned failed = 0;
    for (unsigned nth = 1; nth < 40; nth += 1 + nth / 3) {
      ae_fault_arm(steps[k], nth, nth % 2 ? EIO : ENOSPC);
      imported i = import_of(&b, "bank", ae_buf_view(&e.text));
      ae_fault_reset();
      if (i.status == AE_OK) continue;
      failed++;
      assert_true(strlen(i.said) > 20);
      side_close_store(&b);
      side_reopen(&b);
    }
    if (failed == 0) fail_msg("%s never failed", steps[k]);
    imported i = import_of(&b, "bank", ae_buf_view(&e.text));
    if (i.status != AE_OK) fail_msg("after %s: %s", steps[k], i.said);
    same_export(&a, &b, "bank");
    ae_fault_arm("sqlite.read", 1, EIO); /* what is there, compared */
    assert_int_equal(import_of(&b, "bank", ae_buf_view(&e.text)).status,
                     AE_STORE_UNAVAILABLE);
    ae_fault_reset();
    side_close(&b);
  }
  ae_buf_clear(&e.text);
  side_close(&a);
}

static void lines_that_are_wrong(void **state) {
  (void)state;
  side a, b;
  two_open(&a, false, &b, false);
  count(&a, "bank/account/a", 0, 3);
  exported e = export_of(&a, "bank", false);
  char *good = (char *)ae_buf_cstr(&e.text);
  static const struct {
    const char *from, *to, *said;
  } changes[] = {
      {"\"format\":1", "\"format\":2", "newer one"},
      {"\"format\":1", "\"format\":\"1\"", "whole number"},
      {"\"namespace\":\"bank\"", "\"namespace\":\"..\"", "no namespace"},
      {"\"aether\":\"export\"", "\"aether\":\"letter\"", "no export"},
      {"\"time\":", "\"tim\":", "no field \"tim\""},
      {"\"n\":1", "\"n\":2", "sum"},
      {"\"actor_id\":\"a\",\"version\":2", "\"actor_id\":\"b\",\"version\":2",
       "sum"},
      {"\"revision\":2", "\"revision\":0", "makes no record"},
      {"\"commands\":[{\"events\":1", "\"commands\":[{\"events\":2",
       "its commands say"},
      {"\"data\":{\"n\":0}", "\"data\":[0]", "sum"},
      {"\"data\":{\"n\":0}", "\"data_msgpack\":\"gQ=\"", "base64"},
      {"\"data\":{\"n\":0}", "\"data_msgpack\":\"gQ==\"", "base64"},
      {",\"data\":{\"n\":0}", "", "lacks \"data\""},
      {"\"id\":\"0", "\"id\":\"x", "UUID"},
      {"\"version\":2", "\"version\":0", "1 or more"},
      {"\"version\":2", "\"version\":-1", "whole number"},
      {"\"sum\":\"", "\"sum\":\"G", "16 hexadecimal"},
      {"{\"commit\":", "{\"comit\":", "no line of an export"},
      {"{\"commit\":{", "{\"commit\":{{", "line 2"},
      {"\"actor_type\":\"account\"", "\"actor_type\":\"Account\"", "no type"},
      {"\"actor_id\":\"a\"", "\"actor_id\":\"\"", "no id"},
      {"\"commits\":3,\"events\":3", "\"commits\":3,\"events\":4",
       "sum differs"},
      {"{\"end\":{\"begins\":0,", "{\"end\":{", "lacks \"begins\""},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    ae_buf text = {0};
    const char *at = strstr(good, changes[i].from);
    assert_non_null(at);
    ae_buf_add(&text, good, (size_t)(at - good));
    /* Without sums, what is wrong shows itself. */
    ae_buf_printf(&text, "%s%s", changes[i].to, at + strlen(changes[i].from));
    imported r = import_of(&b, "bank", ae_buf_view(&text));
    assert_true(r.status == AE_MALFORMED || r.status == AE_INVALID_NAME);
    bool sum = strstr(r.said, "does not fit its sum") != NULL;
    if (!strstr(r.said, changes[i].said) && !sum)
      fail_msg("%s: said %s", changes[i].to, r.said);
    ae_buf_clear(&text);
  }
  static const char *const streams[] = {"",
                                        "\n",
                                        "{}",
                                        "[]",
                                        "x",
                                        "{\"end\":{}}",
                                        "{\"commit\":{}}",
                                        "{\"aether\":\"export\",\"format\":1}"};
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
    imported r = import_of(&b, "none", ae_str_of(streams[i]));
    assert_int_equal(r.status, AE_MALFORMED);
  }
  /* Twice in one stream. */
  ae_buf twice = {0};
  const char *end = strstr(good, "{\"end\"");
  ae_buf_add(&twice, good, (size_t)(end - good));
  ae_buf_printf(&twice, "%s", good);
  imported r = import_of(&b, "twice", ae_buf_view(&twice));
  assert_int_equal(r.status, AE_MALFORMED);
  assert_non_null(strstr(r.said, "another export"));
  ae_buf_clear(&twice);
  two_close(&a, &b, &e);
}

static void a_file_is_looked_at_first(void **state) {
  (void)state;
  side a;
  side_open(&a, false);
  count(&a, "bank/account/a", 0, 20);
  exported e = export_of(&a, "bank", false);
  for (size_t flip = 0; flip <= e.text.len; flip += 97) {
    ae_import_check check = {0};
    ae_error err = {0};
    ae_buf text = {0};
    ae_buf_str(&text, ae_buf_view(&e.text));
    bool whole = flip == 0;
    if (!whole) text.ptr[flip - 1] ^= 0x04;
    ae_status status = AE_OK;
    ae_str rest = ae_buf_view(&text);
    while (status == AE_OK && rest.len > 0) {
      const char *end = memchr(rest.ptr, '\n', rest.len);
      size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
      status = ae_import_check_line(&check, (ae_str){rest.ptr, len}, &err);
      if (end) len++;
      rest = (ae_str){rest.ptr + len, rest.len - len};
    }
    if (status == AE_OK) status = ae_import_check_end(&check, &err);
    assert_int_equal(status, whole ? AE_OK : AE_MALFORMED);
    ae_error_clear(&err);
    ae_buf_clear(&text);
  }
  ae_buf_clear(&e.text);
  side_close(&a);
}

/* -- damage -- */

static void damaged_records_are_skipped(void **state) {
  (void)state;
  for (int file = 0; file < 2; file++) {
    side a, b;
    two_open(&a, file, &b, !file);
    count(&a, "bank/account/a", 0, 5);
    ae_buf broken = {0};
    ae_buf_str(&broken, AE_STR("this is no record"));
    side_append(&a, "bank/account/a", 5, 3, 0, broken);
    side_append(&a, "bank/account/a", 8, 0, 0, broken);
    count(&a, "bank/account/a", 8, 12);
    exported e = export_of(&a, "bank", false);
    assert_int_equal(e.status, AE_REPLAY_ERROR);
    assert_null(strstr(ae_buf_cstr(&e.text), "{\"end\""));
    ae_buf_clear(&e.text);
    e = export_of(&a, "bank", true);
    assert_int_equal(e.status, AE_OK);
    assert_int_equal(e.damaged, 2);
    assert_int_equal(e.export.counts.damaged, 2);
    assert_int_equal(e.export.counts.events, 12);
    assert_non_null(strstr(ae_buf_cstr(&e.text), "\"" AE_EVENT_SKIPPED "\""));
    import_ok(&b, "bank", ae_buf_view(&e.text), 0);
    count(&b, "bank/account/a", 12, 14);
    exported again = export_of(&b, "bank", false);
    assert_int_equal(again.status, AE_OK);
    ae_buf_clear(&again.text);
    ae_buf_clear(&e.text);
    ae_buf_clear(&broken);
    side_close(&a);
    side_close(&b);
  }
}

static void an_export_that_nobody_reads_ends(void **state) {
  (void)state;
  side a;
  side_open(&a, true);
  fill(&a);
  exported e = {.most = 1000};
  e.export = (ae_export){
      .ns = AE_STR("bank"), .write = on_lines, .done = on_exported, .data = &e};
  assert_int_equal(ae_export_start(a.store, &e.export, NULL), AE_OK);
  ae_loop_run(&a.loop);
  assert_int_equal(e.status, AE_CANCELED);
  ae_buf_clear(&e.text);
  e = export_of(&a, "none", false);
  assert_int_equal(e.status, AE_UNKNOWN_NAMESPACE);
  ae_buf_clear(&e.text);
  side_close(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(through_both_kinds_of_store),
      cmocka_unit_test(a_history_that_starts_later),
      cmocka_unit_test(begins_with_many_ids),
      cmocka_unit_test(what_is_there_must_be_the_beginning),
      cmocka_unit_test(an_import_that_was_cut_goes_on),
      cmocka_unit_test(each_step_of_an_import_fails),
      cmocka_unit_test(lines_that_are_wrong),
      cmocka_unit_test(a_file_is_looked_at_first),
      cmocka_unit_test(damaged_records_are_skipped),
      cmocka_unit_test(an_export_that_nobody_reads_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
