/* Copies of a store that is in use, and a file put in the place of a store:
 * each step fails once, and nothing that was there is gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/keep.h"
#include "store/sqlite_support.h"

static int setup(void **state) {
  *state = world_new(&sqlite_fixture);
  return 0;
}

static int teardown(void **state) {
  ae_fault_reset();
  world_free(*state);
  return 0;
}

struct copying {
  ae_copy copy;
  char file[600];
  bool done;
  unsigned slices;
  unsigned stop_at; /* slice; 0: never */
  ae_status status;
  ae_error err;
  struct world *world; /* appends one commit a slice, where given */
  struct outcome outcome;
  uint64_t appended;
};

static void on_copy(ae_copy *copy, ae_status status, const ae_error *err) {
  struct copying *c = copy->data;
  c->status = status;
  if (err) ae_error_copy(&c->err, err);
  c->done = true;
}

static void append_one(struct copying *c) {
  if (!c->world) return;
  if (c->appended > 0 && !c->outcome.done) return;
  if (c->appended > 0) outcome_clear(&c->outcome);
  append_start(c->world, &c->outcome, "bank/account/meanwhile", c->appended++,
               1, NULL, 0);
}

static void on_slice(ae_copy *copy) {
  struct copying *c = copy->data;
  if (++c->slices == c->stop_at) ae_copy_stop(copy);
  append_one(c);
}

static void copy_start(struct world *world, struct copying *c) {
  snprintf(c->file, sizeof c->file, "%s.copy", sqlite_path(world));
  c->copy = (ae_copy){
      .file = c->file, .progress = on_slice, .cb = on_copy, .data = c};
  assert_int_equal(ae_store_copy(world->store, &c->copy, NULL), AE_OK);
  assert_false(c->done);
}

static void copy_end(struct world *world, struct copying *c) {
  world_until(world, &c->done);
  if (c->appended > 0) {
    world_until(world, &c->outcome.done);
    assert_int_equal(c->outcome.append.status, AE_OK);
    outcome_clear(&c->outcome);
  }
  ae_error_clear(&c->err);
}

/* The copy, opened. */
static struct world *open_copy(const struct copying *c, ae_store_mode mode) {
  struct world *copy = ae_zalloc(sizeof *copy);
  copy->fixture = &sqlite_fixture;
  copy->time = 1800000000000000;
  snprintf(copy->url, sizeof copy->url, "sqlite:%.500s", c->file);
  assert_int_equal(ae_loop_init(&copy->loop, NULL), AE_OK);
  world_open(copy, mode);
  return copy;
}

static void close_copy(struct world *copy) {
  world_close(copy);
  ae_loop_clear(&copy->loop);
  ae_free(copy);
}

static bool is_there(const char *file, const char *suffix) {
  char name[700];
  struct stat about;
  snprintf(name, sizeof name, "%.680s%.16s", file, suffix);
  return stat(name, &about) == 0;
}

static void same_stats(const ae_stats *a, const ae_stats *b) {
  assert_int_equal(a->commits, b->commits);
  assert_int_equal(a->events, b->events);
  assert_int_equal(a->actors, b->actors);
  assert_int_equal(a->bytes, b->bytes);
  assert_int_equal(a->snapshots, b->snapshots);
  assert_int_equal(a->position, b->position);
}

/* Some MB over many pages, part of it in the index, part in the tail. */
static void fill(struct world *world) {
  char name[64];
  for (int a = 0; a < 20; a++) {
    snprintf(name, sizeof name, "bank/account/a-%d", a);
    append_many(world, name, 0, 500);
  }
  world_reopen(world);
  struct outcome outcome;
  for (uint64_t i = 0; i < 8; i++) {
    append_start(world, &outcome, "shop/cart/x", i, 1, NULL, 1 << 20);
    world_until(world, &outcome.done);
    outcome_clear(&outcome);
  }
  append_ok(world, "shop/cart/y", 0, 3, "c-1");
  snapshot_save(world, "bank/account/a-3", 400, 1, "at 400", true);
  ae_row row = {.key = AE_STR("k"), .value = AE_STR("v")};
  rows_put(world, "bank", "p", &row, 1, 0, 9);
}

static void a_copy_is_a_store(void **state) {
  struct world *world = *state;
  struct copying c = {0};
  struct kept_list list = {0};
  char text[64];
  bool base;
  fill(world);
  ae_stats before = stats_of(world, NULL);
  assert_int_equal(chmod(sqlite_path(world), 0640), 0);
  copy_start(world, &c);
  copy_end(world, &c);
  assert_int_equal(c.status, AE_OK);
  assert_true(c.slices > 4);
  assert_true(c.copy.done == c.copy.total && c.copy.total > 8 << 20);
  struct stat about;
  assert_int_equal(stat(c.file, &about), 0);
  assert_int_equal(about.st_mode & 0777, 0640);
  assert_int_equal(about.st_size, c.copy.total);
  for (int round = 0; round < 2; round++) {
    /* A reader of one file leaves none beside it. */
    struct world *copy =
        open_copy(&c, round == 0 ? AE_STORE_READ : AE_STORE_WRITE);
    ae_stats after = stats_of(copy, NULL);
    same_stats(&before, &after);
    scan_all(copy, NULL, 0, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.count, before.commits);
    assert_int_equal(list.damaged, 0);
    read_all(copy, "shop/cart/x", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 8);
    uint64_t position;
    lookup_of(copy, "shop/cart/y", "c-1", &position, NULL);
    assert_true(position > 0);
    assert_int_equal(
        snapshot_load(copy, "bank/account/a-3", UINT64_MAX, 1, text, &base),
        400);
    assert_true(base);
    if (round == 0) assert_false(is_there(c.file, "-wal"));
    if (round == 1) append_ok(copy, "shop/cart/y", 3, 1, NULL);
    close_copy(copy);
    if (round == 0) assert_false(is_there(c.file, "-shm"));
  }
  kept_clear(&list);
}

/* What is appended meanwhile does not wait, and is not in it. */
static void a_copy_is_of_one_moment(void **state) {
  struct world *world = *state;
  struct copying c = {.world = world};
  struct kept_list list = {0};
  fill(world);
  ae_stats before = stats_of(world, NULL);
  copy_start(world, &c);
  copy_end(world, &c);
  assert_int_equal(c.status, AE_OK);
  assert_true(c.appended > 2);
  assert_int_equal(stats_of(world, NULL).commits, before.commits + c.appended);
  struct world *copy = open_copy(&c, AE_STORE_READ);
  ae_stats after = stats_of(copy, NULL);
  same_stats(&before, &after);
  scan_all(copy, NULL, 0, UINT64_MAX, &list);
  assert_int_equal(list.count, before.commits);
  kept_clear(&list);
  close_copy(copy);
}

static void a_reader_copies_beside_the_writer(void **state) {
  struct world *world = *state;
  struct copying c = {.world = world};
  fill(world);
  struct world reader = {.fixture = world->fixture};
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  snprintf(reader.url, sizeof reader.url, "%s", world->url);
  world_open(&reader, AE_STORE_READ);
  append_ok(world, "shop/cart/y", 3, 1, NULL);
  ae_stats before = stats_of(world, NULL);
  c.world = NULL;
  copy_start(&reader, &c);
  copy_end(&reader, &c);
  assert_int_equal(c.status, AE_OK);
  struct world *copy = open_copy(&c, AE_STORE_READ);
  ae_stats after = stats_of(copy, NULL);
  same_stats(&before, &after);
  close_copy(copy);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
}

static void a_copy_is_stopped(void **state) {
  struct world *world = *state;
  fill(world);
  for (unsigned at = 1; at <= 3; at++) {
    struct copying c = {.stop_at = at};
    copy_start(world, &c);
    copy_end(world, &c);
    assert_int_equal(c.status, AE_CANCELED);
    assert_int_equal(c.slices, at);
    unlink(c.file);
  }
  struct copying at_once = {0};
  copy_start(world, &at_once);
  ae_copy_stop(&at_once.copy);
  copy_end(world, &at_once);
  assert_int_equal(at_once.status, AE_CANCELED);
  append_ok(world, "shop/cart/y", 3, 1, NULL);
}

static void a_store_is_closed_meanwhile(void **state) {
  struct world *world = *state;
  struct copying c = {0};
  fill(world);
  copy_start(world, &c);
  world_close(world);
  assert_true(c.done);
  assert_int_equal(c.status, AE_CANCELED);
  ae_error_clear(&c.err);
  world_open(world, AE_STORE_WRITE);
  append_ok(world, "shop/cart/y", 3, 1, NULL);
}

static void each_step_of_a_copy_fails(void **state) {
  struct world *world = *state;
  static const char *const steps[] = {"copy.open", "copy.step", "copy.sync"};
  static const int errors[] = {EIO, ENOSPC, EACCES};
  fill(world);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    for (size_t k = 0; k < sizeof errors / sizeof *errors; k++) {
      for (unsigned nth = 1; nth < 100; nth++) {
        struct copying c = {0};
        ae_fault_arm(steps[i], nth, errors[k]);
        copy_start(world, &c);
        world_until(world, &c.done);
        ae_fault_reset();
        if (c.status == AE_OK) {
          assert_true(nth > 1);
          unlink(c.file);
          break;
        }
        assert_int_equal(c.status, errors[k] == ENOSPC ? AE_STORE_FULL
                                                       : AE_STORE_UNAVAILABLE);
        assert_non_null(strstr(ae_error_text(&c.err), sqlite_path(world)));
        ae_error_clear(&c.err);
        unlink(c.file);
        if (i != 1) continue;
        nth += nth / 2;
      }
    }
  }
  append_ok(world, "shop/cart/y", 3, 1, NULL);
}

/* -- a look at the file -- */

struct inspecting {
  ae_inspect inspect;
  bool done;
  ae_status status;
  char problem[2000];
};

static void on_inspect(ae_inspect *inspect, ae_status status,
                       const ae_error *err) {
  (void)err;
  struct inspecting *i = inspect->data;
  i->status = status;
  i->done = true;
  snprintf(i->problem, sizeof i->problem, "%.*s", AE_FMT(inspect->problem));
}

static struct inspecting inspect(struct world *world, bool whole) {
  struct inspecting i = {.inspect = {.whole = whole, .cb = on_inspect}};
  i.inspect.data = &i;
  assert_int_equal(ae_store_inspect(world->store, &i.inspect, NULL), AE_OK);
  assert_false(i.done);
  world_until(world, &i.done);
  return i;
}

static void a_look_at_the_file(void **state) {
  struct world *world = *state;
  fill(world);
  struct inspecting i = inspect(world, true);
  assert_int_equal(i.status, AE_OK);
  assert_string_equal(i.problem, "");
  assert_true(i.inspect.log_bytes > 8 << 20);
  assert_int_equal(i.inspect.unindexed, 9);
  world_reopen(world);
  i = inspect(world, true);
  assert_int_equal(i.inspect.log_bytes, 0);
  assert_true(i.inspect.file_bytes > 8 << 20);
  assert_int_equal(i.inspect.unindexed, 0);
  world_close(world);
  /* A page in the middle is not what its tree says. */
  int file = open(sqlite_path(world), O_RDWR);
  char page[8192];
  memset(page, 0x5a, sizeof page);
  assert_int_equal(pwrite(file, page, sizeof page, 8192 * 20), sizeof page);
  close(file);
  world_open(world, AE_STORE_READ);
  i = inspect(world, false);
  assert_string_equal(i.problem, "");
  i = inspect(world, true);
  assert_int_equal(i.status, AE_OK);
  assert_true(strlen(i.problem) > 10);
}

/* -- a reader of one moment -- */

static void a_still_reader_sees_one_moment(void **state) {
  struct world *world = *state;
  struct kept_list list = {0};
  fill(world);
  struct world reader = {.fixture = world->fixture};
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  ae_store_options options = {
      .url = world->url, .mode = AE_STORE_READ, .still = true};
  assert_int_equal(ae_store_open(&reader.loop, &options, &reader.store, NULL),
                   AE_OK);
  append_ok(world, "shop/cart/y", 3, 1, NULL);
  ae_stats then = stats_of(&reader, NULL);
  assert_int_equal(then.commits, 10010);
  for (int round = 0; round < 3; round++) {
    append_many(world, "bank/account/a-3", 500 + 300 * (uint64_t)round, 300);
    uint64_t trimmed, left;
    if (round == 1) trim_of(world, "bank", 0, 1, &trimmed, &left);
    if (round == 2) assert_int_equal(delete_of(world, "bank", NULL), AE_OK);
    ae_stats now = stats_of(&reader, NULL);
    same_stats(&then, &now);
    scan_all(&reader, NULL, 0, UINT64_MAX, &list);
    assert_int_equal(list.status, AE_OK);
    assert_int_equal(list.count, 10010);
    read_all(&reader, "bank/account/a-3", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 500);
    assert_int_equal(list.base, 0);
  }
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  kept_clear(&list);
}

/* -- room given back -- */

static void compacting_gives_room_back(void **state) {
  struct world *world = *state;
  fill(world);
  world_reopen(world);
  struct world reader = {.fixture = world->fixture};
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  snprintf(reader.url, sizeof reader.url, "%s", world->url);
  world_open(&reader, AE_STORE_READ);
  assert_int_equal(stats_of(&reader, "shop").commits, 9);
  assert_int_equal(delete_of(world, "shop", NULL), AE_OK);
  assert_int_equal(stats_of(&reader, "shop").commits, 0);
  assert_int_equal(lookup_of(&reader, "shop/cart/x", NULL, NULL, NULL), 0);
  struct inspecting before = inspect(world, false);
  assert_true(before.inspect.free_bytes > 8 << 20);
  assert_int_equal(compact_of(world), AE_OK);
  struct inspecting after = inspect(world, true);
  assert_string_equal(after.problem, "");
  assert_int_equal(after.inspect.free_bytes, 0);
  assert_true(after.inspect.file_bytes + (8 << 20) < before.inspect.file_bytes);
  assert_int_equal(stats_of(&reader, "bank").commits, 10000);
  assert_int_equal(lookup_of(&reader, "bank/account/a-7", NULL, NULL, NULL),
                   500);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  struct stat about;
  world_reopen(world);
  assert_int_equal(stat(sqlite_path(world), &about), 0);
  assert_int_equal(about.st_size, after.inspect.file_bytes);
  /* What was deleted is not in the file any more. */
  ae_buf command = {0};
  ae_buf_printf(&command, "! grep -q xxxxxxxxxxxxxxxxxxxxxxxxxx '%s'",
                sqlite_path(world));
  assert_int_equal(system(ae_buf_cstr(&command)), 0);
  ae_buf_clear(&command);
}

/* -- places -- */

struct seat {
  struct world *world;
  struct copying c; /* a copy, to be put somewhere */
  char url[600];    /* the place */
  const char *file;
};

static void seat_make(struct seat *seat, struct world *world) {
  *seat = (struct seat){.world = world};
  append_ok(world, "bank/account/a", 0, 5, NULL);
  copy_start(world, &seat->c);
  copy_end(world, &seat->c);
  snprintf(seat->url, sizeof seat->url, "%.500s.place", world->url);
  seat->file = seat->url + strlen("sqlite:");
}

static void put(const char *from, const char *to) {
  ae_buf command = {0};
  ae_buf_printf(&command, "cp '%s' '%s'", from, to);
  assert_int_equal(system(ae_buf_cstr(&command)), 0);
  ae_buf_clear(&command);
}

/* Puts the copy at the place; the status, and what was kept under which name.
 */
static ae_status seat_fill(struct seat *seat, bool over, char *kept,
                           ae_error *err) {
  ae_place *place;
  ae_buf name = {0};
  ae_status status = ae_place_take(seat->url, over, &place, err);
  *kept = '\0';
  if (status != AE_OK) {
    assert_null(place);
    return status;
  }
  put(seat->c.file, ae_place_beside(place));
  status = ae_place_fill(place, &name, err);
  snprintf(kept, 700, "%.*s", AE_FMT(ae_buf_view(&name)));
  ae_place_free(place);
  assert_false(is_there(seat->file, ".restore"));
  ae_buf_clear(&name);
  return status;
}

static uint64_t version_at(const char *file) {
  struct copying at = {0};
  snprintf(at.file, sizeof at.file, "%s", file);
  struct world *world = open_copy(&at, AE_STORE_WRITE);
  uint64_t version = lookup_of(world, "bank/account/a", NULL, NULL, NULL);
  close_copy(world);
  return version;
}

static void a_place_is_filled(void **state) {
  struct seat seat;
  char kept[700], first[700];
  seat_make(&seat, *state);
  assert_int_equal(seat_fill(&seat, false, kept, NULL), AE_OK);
  assert_string_equal(kept, "");
  assert_int_equal(version_at(seat.file), 5);
  /* Again: only over it, and what was there is kept. */
  ae_error err = {0};
  char cause[64];
  assert_int_equal(seat_fill(&seat, false, kept, &err), AE_STORE_UNAVAILABLE);
  fact_of(&err, "cause", cause, sizeof cause);
  assert_string_equal(cause, "exists");
  ae_error_clear(&err);
  struct copying at = {0};
  snprintf(at.file, sizeof at.file, "%s", seat.file);
  struct world *world = open_copy(&at, AE_STORE_WRITE);
  append_ok(world, "bank/account/a", 5, 2, NULL);
  close_copy(world);
  assert_int_equal(seat_fill(&seat, true, first, NULL), AE_OK);
  assert_int_equal(version_at(seat.file), 5);
  assert_int_equal(version_at(first), 7);
  assert_int_equal(seat_fill(&seat, true, kept, NULL), AE_OK);
  assert_string_not_equal(kept, first);
  assert_int_equal(version_at(kept), 5);
}

static void a_place_is_held(void **state) {
  struct seat seat;
  ae_place *place, *second;
  ae_error err = {0};
  char text[64], pid[32];
  seat_make(&seat, *state);
  snprintf(pid, sizeof pid, "%ld", (long)getpid());
  /* by a writer */
  assert_int_equal(ae_place_take(seat.world->url, true, &place, &err),
                   AE_STORE_UNAVAILABLE);
  fact_of(&err, "pid", text, sizeof text);
  assert_string_equal(text, pid);
  ae_error_clear(&err);
  /* against a writer, and another of its kind */
  assert_int_equal(ae_place_take(seat.url, false, &place, &err), AE_OK);
  assert_int_equal(ae_place_take(seat.url, false, &second, &err),
                   AE_STORE_UNAVAILABLE);
  ae_error_clear(&err);
  ae_store *store;
  ae_store_options options = {.url = seat.url};
  assert_int_equal(ae_store_open(&seat.world->loop, &options, &store, &err),
                   AE_STORE_UNAVAILABLE);
  fact_of(&err, "pid", text, sizeof text);
  assert_string_equal(text, pid);
  ae_error_clear(&err);
  ae_place_free(place);
  assert_int_equal(ae_place_take(seat.url, false, &place, &err), AE_OK);
  ae_place_free(place);
  /* no place at all */
  assert_int_equal(ae_place_take("memory", true, &place, &err), AE_USAGE);
  assert_int_equal(ae_place_take("sqlite:", true, &place, &err), AE_USAGE);
  assert_int_equal(ae_place_take("sqlite:/tmp", true, &place, &err),
                   AE_STORE_UNAVAILABLE);
  assert_int_equal(ae_place_take("sqlite:/none/of/it", true, &place, &err),
                   AE_STORE_UNAVAILABLE);
  assert_int_equal(ae_place_take("nats://x", true, &place, &err), AE_USAGE);
  ae_error_clear(&err);
}

/* A writer that was killed left a log: it belongs to what is kept. */
static void a_log_goes_with_its_file(void **state) {
  struct seat seat;
  char kept[700], from[700], to[700];
  seat_make(&seat, *state);
  append_ok(seat.world, "bank/account/a", 5, 4, NULL);
  for (int damaged = 0; damaged < 2; damaged++) {
    snprintf(from, sizeof from, "%s-wal", sqlite_path(seat.world));
    snprintf(to, sizeof to, "%s-wal", seat.file);
    put(sqlite_path(seat.world), seat.file);
    put(from, to);
    for (int i = 0; damaged && i < 2; i++) {
      int file = open(i ? to : seat.file, O_RDWR);
      assert_int_equal(pwrite(file, "no database, no", 16, 0), 16);
      close(file);
    }
    assert_int_equal(seat_fill(&seat, true, kept, NULL), AE_OK);
    assert_false(is_there(seat.file, "-wal"));
    assert_int_equal(version_at(seat.file), 5);
    assert_int_equal(is_there(kept, "-wal"), damaged);
    if (!damaged) assert_int_equal(version_at(kept), 9);
  }
}

static void a_place_that_is_read(void **state) {
  struct seat seat;
  char kept[700];
  ae_error err = {0};
  seat_make(&seat, *state);
  assert_int_equal(seat_fill(&seat, false, kept, NULL), AE_OK);
  assert_int_equal(version_at(seat.file), 5);
  struct copying at = {0};
  snprintf(at.file, sizeof at.file, "%s", seat.file);
  /* Since a writer has had it, a reader has a log beside it. */
  struct world *reader = open_copy(&at, AE_STORE_READ);
  assert_int_equal(seat_fill(&seat, true, kept, &err), AE_STORE_UNAVAILABLE);
  assert_non_null(strstr(ae_error_text(&err), "reads it"));
  ae_error_clear(&err);
  assert_int_equal(lookup_of(reader, "bank/account/a", NULL, NULL, NULL), 5);
  close_copy(reader);
  assert_int_equal(seat_fill(&seat, true, kept, &err), AE_OK);
  assert_int_equal(version_at(kept), 5);
}

static void each_step_of_filling_fails(void **state) {
  struct seat seat;
  char kept[700];
  ae_error err = {0};
  static const char *const steps[] = {"place.keep", "place.fill"};
  seat_make(&seat, *state);
  assert_int_equal(seat_fill(&seat, false, kept, NULL), AE_OK);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    struct copying at = {0};
    snprintf(at.file, sizeof at.file, "%s", seat.file);
    struct world *world = open_copy(&at, AE_STORE_WRITE);
    append_ok(world, "bank/account/a", 5 + i, 1, NULL);
    close_copy(world);
    ae_fault_arm(steps[i], 1, EIO);
    assert_int_equal(seat_fill(&seat, true, kept, &err), AE_STORE_UNAVAILABLE);
    ae_fault_reset();
    assert_non_null(strstr(ae_error_text(&err), seat.file));
    ae_error_clear(&err);
    assert_int_equal(version_at(seat.file), 6 + i);
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_copy_is_a_store),
      TEST(a_copy_is_of_one_moment),
      TEST(a_reader_copies_beside_the_writer),
      TEST(a_copy_is_stopped),
      TEST(a_store_is_closed_meanwhile),
      TEST(each_step_of_a_copy_fails),
      TEST(a_look_at_the_file),
      TEST(a_still_reader_sees_one_moment),
      TEST(compacting_gives_room_back),
      TEST(a_place_is_filled),
      TEST(a_place_is_held),
      TEST(a_log_goes_with_its_file),
      TEST(a_place_that_is_read),
      TEST(each_step_of_filling_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
