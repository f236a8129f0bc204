#include "store/support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "event/skip.h"

#define PATIENCE (60ull * 1000000000ull) /* ns; a hang, not a measure */

/* -- the world -- */

void world_open(struct world *world, ae_store_mode mode) {
  ae_error err = {0};
  ae_store_options options = {.url = world->url, .mode = mode};
  if (world->fixture->prepare) world->fixture->prepare(world->url, &options);
  ae_status status = ae_store_open(&world->loop, &options, &world->store, &err);
  if (status != AE_OK) fail_msg("open %s: %s", world->url, ae_error_text(&err));
  ae_error_clear(&err);
}

struct world *world_new(const struct fixture *fixture) {
  struct world *made = ae_zalloc(sizeof *made);
  made->fixture = fixture;
  made->time = 1700000000000000;
  assert_int_equal(ae_loop_init(&made->loop, NULL), AE_OK);
  fixture->make(made->url, sizeof made->url);
  world_open(made, AE_STORE_WRITE);
  return made;
}

void world_until(struct world *world, const bool *flag) {
  uint64_t end = ae_clock_mono() + PATIENCE;
  while (!*flag) {
    uv_run(&world->loop.uv, UV_RUN_ONCE);
    if (ae_clock_mono() > end) fail_msg("no answer");
  }
}

void world_turn(struct world *world) {
  for (int i = 0; i < 8; i++) uv_run(&world->loop.uv, UV_RUN_NOWAIT);
}

static void on_flag(void *data) {
  *(bool *)data = true;
}

void world_close(struct world *world) {
  bool closed = false;
  ae_store_close(world->store, on_flag, &closed);
  world->store = NULL;
  assert_false(closed);
  world_until(world, &closed);
}

void world_reopen(struct world *world) {
  world_close(world);
  world_open(world, AE_STORE_WRITE);
}

void world_free(struct world *world) {
  if (world->store) world_close(world);
  ae_loop_clear(&world->loop);
  world->fixture->drop(world->url);
  ae_free(world);
}

ae_ref ref_of(const char *text) {
  ae_ref ref;
  assert_int_equal(ae_ref_parse(ae_str_of(text), &ref, NULL), AE_OK);
  return ref;
}

/* -- append -- */

static void events_make(ae_buf *out, uint64_t first, uint32_t count,
                        size_t fill) {
  for (uint32_t i = 0; i < count; i++) {
    ae_pack_array(out, 4);
    ae_pack_cstr(out, "Counted");
    ae_pack_uint(out, 1);
    ae_pack_map(out, fill ? 2 : 1);
    ae_pack_cstr(out, "n");
    ae_pack_uint(out, first + i);
    if (fill) {
      char *bytes = ae_alloc(fill);
      memset(bytes, 'x', fill);
      ae_pack_cstr(out, "fill");
      ae_pack_str(out, (ae_str){bytes, fill});
      ae_free(bytes);
    }
    ae_pack_nil(out);
    fill = 0;
  }
}

void record_make(struct world *world, ae_buf *out, ae_ref ref,
                 uint64_t first_version, uint32_t events,
                 const char *const *ids, uint32_t count, size_t fill) {
  ae_buf packed = {0};
  events_make(&packed, first_version, events, fill);
  ae_commit commit = {.ref = ref,
                      .first_version = first_version,
                      .time = world->time++,
                      .id = ae_uuid7_make(&world->uuids, world->time),
                      .module_revision = AE_STR("r1"),
                      .node = AE_STR("n1")};
  ae_commit_command commands[16] = {{.events = events}};
  assert_true(count <= 16);
  for (uint32_t i = 0; i < count; i++) {
    commands[i].id = ae_str_of(ids[i]);
    commands[i].digest = 7;
    if (i > 0 || events == 0) commands[i].reason = AE_STR("no");
  }
  ae_commit_encode(out, &commit, commands, count ? count : 1,
                   ae_buf_view(&packed), events);
  ae_buf_clear(&packed);
}

static void on_append(ae_append *append) {
  struct outcome *outcome = append->data;
  outcome->done = true;
  outcome->calls++;
  ae_error_copy(&outcome->error, &append->error);
}

static void append_go(struct world *world, struct outcome *outcome,
                      const char *actor, uint64_t expected, uint32_t events) {
  outcome->append.ref = ref_of(actor);
  outcome->append.expected_version = expected;
  outcome->append.event_count = events;
  outcome->append.cb = on_append;
  outcome->append.data = outcome;
  assert_int_equal(ae_store_append(world->store, &outcome->append, NULL),
                   AE_OK);
  assert_false(outcome->done);
}

void append_start(struct world *world, struct outcome *outcome,
                  const char *actor, uint64_t expected, uint32_t events,
                  const char *id, size_t fill) {
  memset(outcome, 0, sizeof *outcome);
  record_make(world, &outcome->append.record, ref_of(actor), expected + 1,
              events, &id, id ? 1 : 0, fill);
  outcome->append.id_count = id ? 1 : 0;
  append_go(world, outcome, actor, expected, events);
}

void append_raw(struct world *world, struct outcome *outcome, const char *actor,
                uint64_t expected, uint32_t events, uint32_t ids,
                ae_str record) {
  memset(outcome, 0, sizeof *outcome);
  ae_buf_str(&outcome->append.record, record);
  outcome->append.id_count = ids;
  append_go(world, outcome, actor, expected, events);
}

void outcome_clear(struct outcome *outcome) {
  assert_true(outcome->done);
  assert_int_equal(outcome->calls, 1);
  ae_buf_clear(&outcome->append.record);
  ae_error_clear(&outcome->error);
}

ae_status append_try(struct world *world, const char *actor, uint64_t expected,
                     uint32_t events, const char *id) {
  struct outcome outcome;
  append_start(world, &outcome, actor, expected, events, id, 0);
  world_until(world, &outcome.done);
  ae_status status = outcome.append.status;
  outcome_clear(&outcome);
  return status;
}

uint64_t append_ok(struct world *world, const char *actor, uint64_t expected,
                   uint32_t events, const char *id) {
  struct outcome outcome;
  append_start(world, &outcome, actor, expected, events, id, 0);
  world_until(world, &outcome.done);
  if (outcome.append.status != AE_OK)
    fail_msg("append to %s: %s %s", actor,
             ae_status_word(outcome.append.status),
             ae_error_text(&outcome.error));
  assert_int_equal(outcome.append.current_version, expected + events);
  uint64_t position = outcome.append.position;
  assert_true(position > 0);
  outcome_clear(&outcome);
  return position;
}

void append_many(struct world *world, const char *actor, uint64_t expected,
                 uint32_t count) {
  struct outcome *outcomes = ae_zalloc(512 * sizeof *outcomes);
  for (uint32_t from = 0; from < count; from += 512) {
    uint32_t part = count - from < 512 ? count - from : 512;
    ae_store_cork(world->store);
    for (uint32_t i = 0; i < part; i++)
      append_start(world, &outcomes[i], actor, expected + from + i, 1, NULL, 0);
    ae_store_uncork(world->store);
    for (uint32_t i = 0; i < part; i++) {
      world_until(world, &outcomes[i].done);
      assert_int_equal(outcomes[i].append.status, AE_OK);
      outcome_clear(&outcomes[i]);
    }
  }
  ae_free(outcomes);
}

/* -- read and scan -- */

void kept_clear(struct kept_list *list) {
  ae_free(list->at);
  memset(list, 0, sizeof *list);
}

static void kept_add(struct kept_list *list, const ae_record *record) {
  if (list->count == list->cap) {
    list->cap = list->cap ? 2 * list->cap : 64;
    list->at = ae_realloc(list->at, list->cap * sizeof *list->at);
  }
  struct kept *kept = &list->at[list->count++];
  ae_buf name = {0};
  ae_ref_format(&record->ref, &name);
  snprintf(kept->actor, sizeof kept->actor, "%s", ae_buf_cstr(&name));
  ae_buf_clear(&name);
  kept->position = record->position;
  kept->first_version = record->first_version;
  kept->base = record->base;
  kept->events = record->event_count;
}

void kept_page(struct kept_list *list, ae_status status, const ae_page *page) {
  list->status = status;
  list->pages++;
  list->end = page && page->end;
  if (!page) return;
  for (uint32_t i = 0; i < page->count; i++) kept_add(list, &page->records[i]);
  ae_replay replay;
  ae_event event;
  ae_replay_init(&replay, page, 0, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &event, NULL)) != AE_NOT_FOUND) {
    if (status == AE_OK)
      list->events++;
    else
      list->damaged++;
  }
}

struct reading {
  ae_read read;
  ae_scan scan;
  struct kept_list *out;
  bool done;
};

static void on_read(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  (void)err;
  struct reading *reading = read->data;
  kept_page(reading->out, status, page);
  reading->out->latest = read->latest;
  reading->out->base = read->base;
  reading->done = status != AE_OK || page->end;
  if (!reading->done) ae_read_more(read);
}

void read_all(struct world *world, const char *actor, uint64_t from,
              uint64_t to, struct kept_list *out) {
  struct reading reading = {.read = {.ref = ref_of(actor),
                                     .from = from,
                                     .to = to,
                                     .page = world->page,
                                     .cb = on_read}};
  reading.read.data = &reading;
  reading.out = out;
  kept_clear(out);
  assert_int_equal(ae_store_read(world->store, &reading.read, NULL), AE_OK);
  assert_int_equal(out->pages, 0);
  world_until(world, &reading.done);
}

static void on_scan(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  (void)err;
  struct reading *reading = scan->data;
  kept_page(reading->out, status, page);
  reading->done = status != AE_OK || page->end;
  if (!reading->done) ae_scan_more(scan);
}

void scan_all(struct world *world, const char *ns, uint64_t after,
              uint64_t until, struct kept_list *out) {
  struct reading reading = {.scan = {.ns = ae_str_of(ns),
                                     .after = after,
                                     .until = until,
                                     .page = world->page,
                                     .cb = on_scan}};
  reading.scan.data = &reading;
  reading.out = out;
  kept_clear(out);
  assert_int_equal(ae_store_scan(world->store, &reading.scan, NULL), AE_OK);
  assert_int_equal(out->pages, 0);
  world_until(world, &reading.done);
}

/* -- small requests -- */

struct asked {
  bool done;
  ae_status status;
  size_t record;
  char *text;
  size_t size;
};

static void on_lookup(ae_lookup *lookup, ae_status status,
                      const ae_error *err) {
  (void)err;
  struct asked *asked = lookup->data;
  asked->status = status;
  asked->record = lookup->record.len;
  asked->done = true;
}

uint64_t lookup_of(struct world *world, const char *actor, const char *id,
                   uint64_t *position, size_t *record) {
  struct asked asked = {0};
  ae_lookup lookup = {.ref = ref_of(actor),
                      .command_id = ae_str_of(id),
                      .cb = on_lookup,
                      .data = &asked};
  assert_int_equal(ae_store_lookup(world->store, &lookup, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  assert_int_equal(asked.status, AE_OK);
  if (position) *position = lookup.position;
  if (record) *record = asked.record;
  return lookup.version;
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  (void)err;
  struct asked *asked = read->data;
  asked->status = status;
  asked->done = true;
}

ae_stats stats_of(struct world *world, const char *ns) {
  struct asked asked = {0};
  ae_stats_read read = {.ns = ae_str_of(ns), .cb = on_stats, .data = &asked};
  assert_int_equal(ae_store_stats(world->store, &read, NULL), AE_OK);
  world_until(world, &asked.done);
  assert_int_equal(asked.status, AE_OK);
  return read.stats;
}

static void on_write(ae_write *write, ae_status status, const ae_error *err) {
  struct asked *asked = write->data;
  asked->status = status;
  asked->done = true;
  if (status != AE_OK) assert_int_equal(err->status, status);
}

ae_status snapshot_save(struct world *world, const char *actor,
                        uint64_t version, int64_t shape, const char *state,
                        bool base) {
  struct asked asked = {0};
  ae_snapshot_write write = {.write = {.cb = on_write, .data = &asked},
                             .ref = ref_of(actor),
                             .version = version,
                             .shape = shape,
                             .state = ae_str_of(state),
                             .base = base};
  assert_int_equal(ae_store_save_snapshot(world->store, &write, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  return asked.status;
}

static void on_snapshot(ae_snapshot_read *read, ae_status status,
                        const ae_error *err) {
  (void)err;
  struct asked *asked = read->data;
  asked->status = status;
  asked->done = true;
  snprintf(asked->text, 64, "%.*s", AE_FMT(read->state));
}

uint64_t snapshot_load(struct world *world, const char *actor, uint64_t at_most,
                       int64_t shape, char *state, bool *base) {
  char text[64];
  struct asked asked = {.text = state ? state : text};
  ae_snapshot_read read = {.ref = ref_of(actor),
                           .at_most = at_most,
                           .shape = shape,
                           .cb = on_snapshot,
                           .data = &asked};
  assert_int_equal(ae_store_load_snapshot(world->store, &read, NULL), AE_OK);
  world_until(world, &asked.done);
  assert_int_equal(asked.status, AE_OK);
  if (base) *base = read.base;
  return read.version;
}

uint64_t snapshot_fitting(struct world *world, const char *actor,
                          int64_t shape) {
  char text[64];
  struct asked asked = {.text = text};
  ae_snapshot_read read = {.ref = ref_of(actor),
                           .at_most = UINT64_MAX,
                           .shape = shape,
                           .fitting = true,
                           .cb = on_snapshot,
                           .data = &asked};
  assert_int_equal(ae_store_load_snapshot(world->store, &read, NULL), AE_OK);
  world_until(world, &asked.done);
  assert_int_equal(asked.status, AE_OK);
  return read.version;
}

ae_status rows_put(struct world *world, const char *ns, const char *projection,
                   const ae_row *rows, uint32_t count, uint64_t was,
                   uint64_t checkpoint) {
  struct asked asked = {0};
  ae_rows_write write = {.write = {.cb = on_write, .data = &asked},
                         .ns = ae_str_of(ns),
                         .projection = ae_str_of(projection),
                         .rows = rows,
                         .count = count,
                         .was = was,
                         .checkpoint = checkpoint};
  assert_int_equal(ae_store_put_rows(world->store, &write, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  return asked.status;
}

ae_status probe_of(struct world *world) {
  struct asked asked = {0};
  ae_write write = {.cb = on_write, .data = &asked};
  assert_int_equal(ae_store_probe(world->store, &write, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  return asked.status;
}

static void on_rows(ae_rows_read *read, ae_status status, const ae_row *rows,
                    uint32_t count, const ae_error *err) {
  (void)err;
  struct asked *asked = read->data;
  size_t at = 0;
  asked->status = status;
  asked->done = true;
  asked->text[0] = '\0';
  for (uint32_t i = 0; i < count && at < asked->size; i++)
    at += (size_t)snprintf(asked->text + at, asked->size - at, "%s%.*s=%.*s",
                           i ? " " : "", AE_FMT(rows[i].key),
                           AE_FMT(rows[i].value));
}

void rows_get(struct world *world, const ae_rows_read *how, char *out,
              size_t size, uint64_t *checkpoint) {
  struct asked asked = {.text = out, .size = size};
  ae_rows_read read = *how;
  read.cb = on_rows;
  read.data = &asked;
  if (read.limit == 0) read.limit = 1000;
  assert_int_equal(ae_store_read_rows(world->store, &read, NULL), AE_OK);
  world_until(world, &asked.done);
  assert_int_equal(asked.status, AE_OK);
  if (checkpoint) *checkpoint = read.checkpoint;
}

ae_status trim_of(struct world *world, const char *ns, int64_t before,
                  uint64_t bytes, uint64_t *trimmed, uint64_t *left) {
  struct asked asked = {0};
  ae_trim trim = {.write = {.cb = on_write, .data = &asked},
                  .ns = ae_str_of(ns),
                  .before = before,
                  .bytes = bytes};
  assert_int_equal(ae_store_trim(world->store, &trim, NULL), AE_OK);
  world_until(world, &asked.done);
  if (trimmed) *trimmed = trim.trimmed;
  if (left) *left = trim.left;
  return asked.status;
}

void trim_ended(struct world *world, const char *ns, uint64_t bytes,
                uint64_t *trimmed, uint64_t *left) {
  static const bool enough = true;
  struct asked asked = {0};
  ae_trim trim = {.write = {.cb = on_write, .data = &asked},
                  .ns = ae_str_of(ns),
                  .bytes = bytes,
                  .enough = &enough};
  assert_int_equal(ae_store_trim(world->store, &trim, NULL), AE_OK);
  world_until(world, &asked.done);
  assert_int_equal(asked.status, AE_CANCELED);
  *trimmed = trim.trimmed;
  *left = trim.left;
}

struct based {
  struct asked asked;
  ae_buf *out;
  ae_bases_read read;
};

static void on_bases(ae_bases_read *read, ae_status status,
                     const ae_base *bases, uint32_t count,
                     const ae_error *err) {
  (void)err;
  struct based *based = read->data;
  based->asked.status = status;
  based->asked.done = true;
  for (uint32_t i = 0; i < count; i++) {
    ae_ref_format(&bases[i].ref, based->out);
    ae_buf_printf(based->out, " %" PRIu64 "/%" PRId64 " %.*s%s",
                  bases[i].version, bases[i].shape, AE_FMT(bases[i].state),
                  bases[i].begins ? " begins" : "");
    uint64_t sum = 0;
    for (uint32_t k = 0; k < bases[i].id_count; k++) sum += bases[i].ids[k];
    if (bases[i].id_count > 0)
      ae_buf_printf(based->out, " %u:%" PRIx64, bases[i].id_count, sum);
    ae_buf_byte(based->out, '\n');
  }
}

ae_status bases_of(struct world *world, const char *ns, ae_buf *out) {
  struct based based = {.out = out};
  ae_buf_reset(out);
  based.read =
      (ae_bases_read){.ns = ae_str_of(ns), .cb = on_bases, .data = &based};
  do {
    based.asked.done = false;
    based.read.from = based.read.next;
    assert_int_equal(ae_store_bases(world->store, &based.read, NULL), AE_OK);
    assert_false(based.asked.done);
    world_until(world, &based.asked.done);
  } while (based.asked.status == AE_OK && based.read.next > 0);
  return based.asked.status;
}

ae_status begin_of(struct world *world, const char *actor, uint64_t version,
                   const char *state, const char *const *ids, uint32_t count) {
  struct asked asked = {0};
  uint64_t *hashes = ae_zalloc((count + 1) * sizeof *hashes);
  for (uint32_t i = 0; i < count; i++) hashes[i] = ae_hash(ae_str_of(ids[i]));
  ae_begin begin = {.write = {.cb = on_write, .data = &asked},
                    .base = {.ref = ref_of(actor),
                             .version = version,
                             .shape = 1,
                             .state = ae_str_of(state),
                             .ids = hashes,
                             .id_count = count}};
  assert_int_equal(ae_store_begin(world->store, &begin, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  ae_free(hashes);
  return asked.status;
}

ae_status mend_of(struct world *world, const char *actor,
                  struct mending *mending) {
  struct asked asked = {0};
  ae_buf record = {0};
  const ae_commit head = {.ref = ref_of(actor),
                          .first_version = mending->version + 1,
                          .time = world->time++,
                          .id = ae_uuid7_make(&world->uuids, world->time)};
  if (!mending->truncate)
    ae_skip_encode(&record, &head, mending->events, AE_STR("lost"));
  ae_mend mend = {.write = {.cb = on_write, .data = &asked},
                  .ref = ref_of(actor),
                  .latest = mending->latest,
                  .after = mending->after,
                  .until = mending->until,
                  .version = mending->version,
                  .event_count = mending->events,
                  .record = ae_buf_view(&record)};
  assert_int_equal(ae_store_mend(world->store, &mend, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  mending->position = mend.position;
  mending->removed = mend.removed;
  ae_buf_clear(&record);
  return asked.status;
}

ae_status delete_of(struct world *world, const char *ns, ae_delete *was) {
  struct asked asked = {0};
  ae_delete delete = {.write = {.cb = on_write, .data = &asked},
                      .ns = ae_str_of(ns)};
  assert_int_equal(ae_store_delete(world->store, &delete, NULL), AE_OK);
  assert_false(asked.done);
  world_until(world, &asked.done);
  if (was) *was = delete;
  return asked.status;
}

ae_status compact_of(struct world *world) {
  struct asked asked = {0};
  ae_write write = {.cb = on_write, .data = &asked};
  assert_int_equal(ae_store_compact(world->store, &write, NULL), AE_OK);
  world_until(world, &asked.done);
  return asked.status;
}

void fact_of(const ae_error *err, const char *key, char *out, size_t size) {
  ae_unpack at = ae_unpack_of(ae_buf_view(&err->facts));
  snprintf(out, size, "-");
  for (uint32_t i = 0; i < err->nfacts; i++) {
    ae_str name;
    ae_pack_item item;
    assert_true(ae_unpack_str(&at, &name));
    ae_str value;
    ae_unpack whole = at;
    assert_true(ae_unpack_skip(&at, &value));
    if (!ae_str_eq(name, ae_str_of(key))) continue;
    assert_true(ae_unpack_next(&whole, &item));
    if (item.type == AE_PACK_STR)
      snprintf(out, size, "%.*s", AE_FMT(item.str));
    else if (item.type == AE_PACK_UINT)
      snprintf(out, size, "%" PRIu64, item.u);
    return;
  }
}
