/* What may be wrong with a file, its folder and its disk: said clearly, and
 * nothing that was acknowledged is lost. */
#define _GNU_SOURCE /* unshare, nftw */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "store/sqlite_support.h"

struct place {
  char folder[512];
  char file[600];
  char url[640];
  ae_loop loop;
};

static int setup(void **state) {
  struct place *place = ae_zalloc(sizeof *place);
  sqlite_fixture.make(place->url, sizeof place->url);
  snprintf(place->file, sizeof place->file, "%s",
           place->url + strlen("sqlite:"));
  snprintf(place->folder, sizeof place->folder, "%.*s",
           (int)(strrchr(place->file, '/') - place->file), place->file);
  assert_int_equal(ae_loop_init(&place->loop, NULL), AE_OK);
  *state = place;
  return 0;
}

static int teardown(void **state) {
  struct place *place = *state;
  ae_fault_reset();
  ae_loop_clear(&place->loop);
  folder_drop(place->folder);
  ae_free(place);
  return 0;
}

static void write_file(const char *path, const void *bytes, size_t len) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  assert_int_equal(fclose(file), 0);
}

static char *read_file(const char *path, size_t *len) {
  struct stat about;
  assert_int_equal(stat(path, &about), 0);
  char *bytes = ae_alloc((size_t)about.st_size + 1);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  *len = fread(bytes, 1, (size_t)about.st_size, file);
  fclose(file);
  return bytes;
}

static struct world *open_at(const struct place *place) {
  struct world *world = ae_zalloc(sizeof *world);
  world->fixture = &sqlite_fixture;
  world->time = 1700000000000000;
  snprintf(world->url, sizeof world->url, "%.500s", place->url);
  assert_int_equal(ae_loop_init(&world->loop, NULL), AE_OK);
  world_open(world, AE_STORE_WRITE);
  return world;
}

static void close_at(struct world *world) {
  world_close(world);
  ae_loop_clear(&world->loop);
  ae_free(world);
}

/* Opening says no, with this cause and these words. */
static void refused(struct place *place, ae_store_mode mode, const char *url,
                    ae_status status, const char *cause, const char *words) {
  ae_error err = {0};
  ae_store *store;
  ae_store_options options = {.url = url, .mode = mode};
  char fact[200];
  assert_int_equal(ae_store_open(&place->loop, &options, &store, &err), status);
  assert_null(store);
  fact_of(&err, "cause", fact, sizeof fact);
  if (cause && !strstr(fact, cause))
    fail_msg("cause \"%s\" lacks \"%s\"", fact, cause);
  if (!strstr(ae_error_text(&err), words))
    fail_msg("\"%s\" lacks \"%s\"", ae_error_text(&err), words);
  ae_error_clear(&err);
}

static void places_that_are_none(void **state) {
  struct place *place = *state;
  char url[800];
  refused(place, AE_STORE_WRITE, "sqlite:", AE_USAGE, NULL, "sqlite:FILE");
  refused(place, AE_STORE_WRITE, "sqlite", AE_USAGE, NULL, "sqlite:FILE");
  snprintf(url, sizeof url, "sqlite:%s/none/events.db", place->folder);
  refused(place, AE_STORE_WRITE, url, AE_STORE_UNAVAILABLE,
          "its folder is not there", "make it first");
  refused(place, AE_STORE_WRITE, "sqlite:/proc/events.db", AE_STORE_UNAVAILABLE,
          "its folder takes no file", "another folder");
  refused(place, AE_STORE_READ, url, AE_STORE_UNAVAILABLE, "no such file",
          "events.db");
  snprintf(url, sizeof url, "sqlite:%s", place->folder);
  refused(place, AE_STORE_WRITE, url, AE_STORE_UNAVAILABLE, "it is a folder",
          "name a file in it");
  refused(place, AE_STORE_READ, url, AE_STORE_UNAVAILABLE, "it is a folder",
          "name a file in it");
  refused(place, AE_STORE_READ, place->url, AE_STORE_UNAVAILABLE,
          "no such file", "a writer would make it");
  write_file(place->file, "", 0);
  refused(place, AE_STORE_READ, place->url, AE_STORE_UNAVAILABLE,
          "nothing was ever stored", "something that writes");
  close_at(open_at(place)); /* an empty file becomes a store */
}

static void files_that_are_none(void **state) {
  struct place *place = *state;
  char text[20000];
  memset(text, 'x', sizeof text);
  static const size_t lens[] = {1, 99, 100, 512, 5000, sizeof text};
  for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
    write_file(place->file, text, lens[i]);
    refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE,
            "not a database", "backup");
    refused(place, AE_STORE_READ, place->url, AE_STORE_UNAVAILABLE,
            "not a database", "backup");
    size_t len;
    char *after = read_file(place->file, &len);
    assert_int_equal(len, lens[i]);
    assert_memory_equal(after, text, len);
    ae_free(after);
  }
}

/* The header of a file of our own, with one number changed. */
static void patch(const char *path, size_t at, uint32_t value) {
  uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16),
                      (uint8_t)(value >> 8), (uint8_t)value};
  int file = open(path, O_RDWR);
  assert_true(file >= 0);
  assert_int_equal(pwrite(file, bytes, 4, (off_t)at), 4);
  close(file);
}

static void files_of_others(void **state) {
  struct place *place = *state;
  close_at(open_at(place));
  patch(place->file, 60, 2);
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE,
          "format 2 is newer", "newer");
  refused(place, AE_STORE_READ, place->url, AE_STORE_UNAVAILABLE,
          "format 2 is newer", "newer");
  patch(place->file, 60, 1);
  patch(place->file, 68, 0x12345678);
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE,
          "another application", "name another file");
  patch(place->file, 68, 0);
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE,
          "another application", "name another file");
}

static void fill(struct place *place, uint32_t commits) {
  struct world *world = open_at(place);
  append_many(world, "bank/account/a", 0, commits);
  append_many(world, "bank/account/b", 0, commits);
  close_at(world);
}

static void cut_short(void **state) {
  struct place *place = *state;
  size_t len;
  fill(place, 2000);
  char *bytes = read_file(place->file, &len);
  static const int percents[] = {99, 90, 60, 30, 5};
  for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
    write_file(place->file, bytes, len * (size_t)percents[i] / 100);
    refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE, NULL,
            "backup");
    refused(place, AE_STORE_READ, place->url, AE_STORE_UNAVAILABLE, NULL,
            "backup");
  }
  ae_free(bytes);
}

/* Whatever bits are flipped: it opens or says why, what is read is whole or
 * reported, and nothing crashes. */
static void flipped_bits(void **state) {
  struct place *place = *state;
  size_t len, opened = 0, noticed = 0;
  uint64_t seed = 4711;
  fill(place, 300);
  char *bytes = read_file(place->file, &len);
  for (int round = 0; round < 150; round++) {
    for (int flip = 0; flip < 8; flip++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      /* The header of the file too, now and then. */
      size_t at = (size_t)(seed >> 20) % (round % 5 == 0 ? 200 : len);
      bytes[at] ^= (char)(1 << (seed >> 60) % 8);
    }
    write_file(place->file, bytes, len);
    struct world world = {.fixture = &sqlite_fixture};
    snprintf(world.url, sizeof world.url, "%.500s", place->url);
    ae_store_options options = {
        .url = world.url, .mode = round % 2 ? AE_STORE_READ : AE_STORE_WRITE};
    ae_error err = {0};
    assert_int_equal(ae_loop_init(&world.loop, NULL), AE_OK);
    ae_status status = ae_store_open(&world.loop, &options, &world.store, &err);
    if (status != AE_OK) {
      noticed++;
      assert_int_equal(status, AE_STORE_UNAVAILABLE);
      assert_true(strlen(ae_error_text(&err)) > 0);
    } else {
      struct kept_list list = {0};
      opened++;
      scan_all(&world, NULL, 0, UINT64_MAX, &list);
      noticed += list.damaged > 0 || list.status != AE_OK;
      read_all(&world, "bank/account/a", 1, UINT64_MAX, &list);
      noticed += list.damaged > 0 || list.status != AE_OK;
      kept_clear(&list);
      world_close(&world);
    }
    ae_error_clear(&err);
    ae_loop_clear(&world.loop);
    if (round % 3 == 2) { /* start again from a whole file */
      ae_free(bytes);
      folder_drop(place->folder);
      assert_int_equal(mkdir(place->folder, 0700), 0);
      fill(place, 300);
      bytes = read_file(place->file, &len);
    }
  }
  assert_true(opened > 0);
  assert_true(noticed > 0);
  ae_free(bytes);
}

static void creation_is_cut_off(void **state) {
  struct place *place = *state;
  ae_fault_arm("sqlite.create", 1, EIO);
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE, NULL,
          "create");
  ae_fault_reset();
  close_at(open_at(place));
  /* Killed before the first commit of it: only SQLite's journal tells. */
  folder_drop(place->folder);
  assert_int_equal(mkdir(place->folder, 0700), 0);
  pid_t child = fork();
  if (child == 0) {
    ae_fault_arm("sqlite.create", 1, EIO);
    ae_store *store;
    ae_store_options options = {.url = place->url};
    ae_store_open(&place->loop, &options, &store, NULL);
    _exit(0);
  }
  assert_int_equal(waitpid(child, NULL, 0), child);
  struct world *world = open_at(place);
  append_ok(world, "bank/account/a", 0, 1, NULL);
  close_at(world);
}

static void a_name_with_odd_letters(void **state) {
  struct place *place = *state;
  snprintf(place->url, sizeof place->url, "sqlite:%.400s/a ?%%23#ü.db",
           place->folder);
  struct world *world = open_at(place);
  append_ok(world, "bank/account/a", 0, 1, NULL);
  world_reopen(world);
  append_ok(world, "bank/account/a", 1, 1, NULL);
  close_at(world);
}

/* -- the writer's lock -- */

static void a_second_process_is_told_the_first(void **state) {
  struct place *place = *state;
  int ready[2], over[2];
  char byte, want[32];
  assert_int_equal(pipe(ready), 0);
  assert_int_equal(pipe(over), 0);
  pid_t child = fork();
  if (child == 0) {
    struct world *world = open_at(place);
    append_ok(world, "bank/account/a", 0, 1, NULL);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    ssize_t len = read(over[0], &byte, 1);
    _exit(len == 1);
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  snprintf(want, sizeof want, "process %d", (int)child);
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE,
          "another writer", want);
  /* By another name it is the same file. */
  char link[700], other[800];
  snprintf(link, sizeof link, "%s/link", place->folder);
  snprintf(other, sizeof other, "sqlite:%s", link);
  assert_int_equal(symlink(place->file, link), 0);
  refused(place, AE_STORE_WRITE, other, AE_STORE_UNAVAILABLE, "another writer",
          want);
  /* Readers work beside it. */
  struct world reader = {.fixture = &sqlite_fixture};
  snprintf(reader.url, sizeof reader.url, "%.500s", place->url);
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  world_open(&reader, AE_STORE_READ);
  assert_int_equal(lookup_of(&reader, "bank/account/a", NULL, NULL, NULL), 1);
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  /* A killed one leaves nothing that hinders, beside the reader either. */
  struct world *world = open_at(place);
  append_ok(world, "bank/account/a", 1, 1, NULL);
  assert_int_equal(lookup_of(&reader, "bank/account/a", NULL, NULL, NULL), 2);
  close_at(world);
  assert_int_equal(lookup_of(&reader, "bank/account/a", NULL, NULL, NULL), 2);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  for (int i = 0; i < 2; i++) {
    close(ready[i]);
    close(over[i]);
  }
}

/* -- disks -- */

static bool tell(const char *path, const char *text) {
  int file = open(path, O_WRONLY);
  if (file < 0) return false;
  bool told = write(file, text, strlen(text)) == (ssize_t)strlen(text);
  return close(file) == 0 && told;
}

/* In a mount namespace of a child's own, as root of it. */
static bool mount_small(const char *folder, const char *options) {
  char uids[64], gids[64];
  snprintf(uids, sizeof uids, "0 %u 1", (unsigned)getuid());
  snprintf(gids, sizeof gids, "0 %u 1", (unsigned)getgid());
  if (unshare(CLONE_NEWNS) != 0 && (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
                                    !tell("/proc/self/uid_map", uids) ||
                                    !tell("/proc/self/setgroups", "deny") ||
                                    !tell("/proc/self/gid_map", gids)))
    return false;
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
         mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

/* Appends until the disk is full, makes room, goes on. */
static void fill_disk(struct place *place, void (*make_room)(struct place *)) {
  struct world *world = open_at(place);
  struct kept_list list = {0};
  uint64_t version = 0;
  ae_status status = AE_OK;
  while (status == AE_OK) {
    struct outcome outcome;
    append_start(world, &outcome, "bank/account/a", version, 1, NULL, 20000);
    world_until(world, &outcome.done);
    status = outcome.append.status;
    if (status == AE_OK) version++;
    outcome_clear(&outcome);
    assert_true(version < 5000);
  }
  assert_int_equal(status, AE_STORE_FULL);
  assert_true(version > 10);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, version);
  assert_int_equal(list.latest, version);
  make_room(place);
  append_ok(world, "bank/account/a", version, 1, NULL);
  world_reopen(world);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, version + 1);
  assert_int_equal(list.damaged, 0);
  kept_clear(&list);
  close_at(world);
}

static void drop_ballast(struct place *place) {
  char path[700];
  snprintf(path, sizeof path, "%s/ballast", place->folder);
  assert_int_equal(unlink(path), 0);
}

static void lift_limit(struct place *place) {
  (void)place;
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int in_child(struct place *place, int (*run)(struct place *)) {
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    _exit(run(place));
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static int on_small_disk(struct place *place) {
  char path[700], *ballast = ae_zalloc(2 << 20);
  if (!mount_small(place->folder, "size=6m")) return 2;
  snprintf(path, sizeof path, "%s/ballast", place->folder);
  write_file(path, ballast, 2 << 20);
  ae_free(ballast);
  fill_disk(place, drop_ballast);
  return 0;
}

static int under_limit(struct place *place) {
  struct rlimit limit = {4 << 20, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  fill_disk(place, lift_limit);
  return 0;
}

static void a_file_that_may_not_grow(void **state) {
  assert_int_equal(in_child(*state, under_limit), 0);
}

/* Where the system lets nobody mount, the limit above is the same case. */
static void a_full_disk(void **state) {
  int answer = in_child(*state, on_small_disk);
  if (answer == 2) answer = in_child(*state, under_limit);
  assert_int_equal(answer, 0);
}

/* A file in a folder that cannot be written: read, not written; and a copy
 * that a writer takes up again is not read stale. */
static int on_read_only_disk(struct place *place) {
  struct kept_list list = {0};
  if (!mount_small(place->folder, "size=16m")) return 2;
  fill(place, 500);
  assert_int_equal(
      mount(NULL, place->folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE, "read-only",
          "not written");
  struct world reader = {.fixture = &sqlite_fixture};
  snprintf(reader.url, sizeof reader.url, "%.500s", place->url);
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  world_open(&reader, AE_STORE_READ);
  read_all(&reader, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 500);
  assert_int_equal(mount(NULL, place->folder, NULL, MS_REMOUNT, NULL), 0);
  struct world *world = open_at(place);
  append_many(world, "bank/account/a", 500, 100);
  read_all(&reader, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 600);
  close_at(world);
  read_all(&reader, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 600);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  kept_clear(&list);
  return 0;
}

/* Permissions alone, for those who are bound by them. */
static int in_read_only_folder(struct place *place) {
  struct kept_list list = {0};
  fill(place, 50);
  assert_int_equal(chmod(place->file, 0444), 0);
  assert_int_equal(chmod(place->folder, 0555), 0);
  if (getuid() == 0 && (chown(place->folder, 0, 0) != 0 || seteuid(65534) != 0))
    return 3;
  /* Who may not open the lock is told so; its owner meets the file itself. */
  refused(place, AE_STORE_WRITE, place->url, AE_STORE_UNAVAILABLE, NULL,
          "permissions");
  struct world reader = {.fixture = &sqlite_fixture};
  snprintf(reader.url, sizeof reader.url, "%.500s", place->url);
  assert_int_equal(ae_loop_init(&reader.loop, NULL), AE_OK);
  world_open(&reader, AE_STORE_READ);
  read_all(&reader, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 50);
  world_close(&reader);
  ae_loop_clear(&reader.loop);
  kept_clear(&list);
  if (getuid() == 0 && seteuid(0) != 0) return 4;
  chmod(place->folder, 0755);
  return 0;
}

static void a_read_only_disk(void **state) {
  int answer = in_child(*state, on_read_only_disk);
  if (answer == 2) answer = in_child(*state, in_read_only_folder);
  assert_int_equal(answer, 0);
}

static void a_read_only_folder(void **state) {
  assert_int_equal(in_child(*state, in_read_only_folder), 0);
}

/* -- formats -- */

/* What each released format wrote, opened by what is newest. The sample holds
 * bank/account/a (versions 1..3, the first with id c-1), shop/cart/x (1), an
 * unindexed tail, a snapshot at 2, and a row. */
static void what_older_code_wrote(void **state) {
  struct place *place = *state;
  static const char *const samples[] = {"format-1.db"};
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
    char path[1024], text[64];
    size_t len;
    snprintf(path, sizeof path, "%.*s/samples/%s",
             (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, samples[i]);
    char *bytes = read_file(path, &len);
    write_file(place->file, bytes, len);
    ae_free(bytes);
    struct world *world = open_at(place);
    struct kept_list list = {0};
    uint64_t position, checkpoint;
    read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
    assert_int_equal(list.events, 3);
    assert_int_equal(list.damaged, 0);
    assert_int_equal(list.latest, 3);
    lookup_of(world, "bank/account/a", "c-1", &position, NULL);
    assert_int_equal(position, list.at[0].position);
    scan_all(world, NULL, 0, UINT64_MAX, &list);
    assert_int_equal(list.count, 4);
    assert_int_equal(list.events, 4);
    assert_int_equal(
        snapshot_load(world, "bank/account/a", UINT64_MAX, 1, text, NULL), 2);
    assert_string_equal(text, "state");
    ae_rows_read how = {.ns = AE_STR("bank"), .projection = AE_STR("p")};
    rows_get(world, &how, text, sizeof text, &checkpoint);
    assert_string_equal(text, "k=v");
    assert_int_equal(checkpoint, 2);
    assert_int_equal(stats_of(world, NULL).commits, 4);
    append_ok(world, "bank/account/a", 3, 1, NULL);
    kept_clear(&list);
    close_at(world);
  }
}

/* What would be stored in a file that nobody finds again is not acknowledged.
 */
static void a_file_that_is_taken_away(void **state) {
  (void)state;
  struct world *world = world_new(&sqlite_fixture);
  struct outcome outcome;
  struct kept_list list = {0};
  char away[700], fact[64];
  snprintf(away, sizeof away, "%s.away", sqlite_path(world));
  append_ok(world, "bank/account/a", 0, 1, NULL);
  assert_int_equal(rename(sqlite_path(world), away), 0);
  append_start(world, &outcome, "bank/account/a", 1, 1, NULL, 0);
  world_until(world, &outcome.done);
  assert_int_equal(outcome.append.status, AE_STORE_UNAVAILABLE);
  fact_of(&outcome.error, "cause", fact, sizeof fact);
  assert_string_equal(fact, "the file was removed or replaced");
  outcome_clear(&outcome);
  assert_int_equal(probe_of(world), AE_STORE_UNAVAILABLE);
  /* Another file in its place is not it either. */
  assert_int_equal(close(open(sqlite_path(world), O_CREAT | O_RDWR, 0600)), 0);
  assert_int_equal(append_try(world, "bank/account/a", 1, 1, NULL),
                   AE_STORE_UNAVAILABLE);
  assert_int_equal(rename(away, sqlite_path(world)), 0);
  assert_int_equal(probe_of(world), AE_OK);
  append_ok(world, "bank/account/a", 1, 1, NULL);
  world_reopen(world);
  read_all(world, "bank/account/a", 1, UINT64_MAX, &list);
  assert_int_equal(list.events, 2);
  kept_clear(&list);
  world_free(world);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(places_that_are_none),
      TEST(files_that_are_none),
      TEST(files_of_others),
      TEST(cut_short),
      TEST(flipped_bits),
      TEST(creation_is_cut_off),
      TEST(a_name_with_odd_letters),
      TEST(a_second_process_is_told_the_first),
      TEST(a_file_that_may_not_grow),
      TEST(a_full_disk),
      TEST(a_read_only_disk),
      TEST(a_read_only_folder),
      TEST(what_older_code_wrote),
      TEST(a_file_that_is_taken_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
