/* A writer is killed at random moments: what it acknowledged is in the file,
 * versions have no gap, and nothing hinders the next writer. AETHER_LONG=1:
 * more rounds. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/sqlite_support.h"

enum { ACTORS = 40 };

/* A line of the pipe. */
struct acknowledged {
  uint32_t actor;
  uint64_t version;
  uint64_t position;
};

struct writer {
  struct world world;
  int out;
  struct slot {
    struct outcome outcome;
    struct writer *writer;
    uint32_t actor;
    char name[32], id[32];
  } slots[ACTORS];
};

static void name_of(char *out, size_t size, uint32_t actor) {
  snprintf(out, size, "bank/account/a-%u", actor);
}

static void go(struct slot *slot, uint64_t version);

static void on_append(ae_append *append) {
  struct slot *slot = append->data;
  if (append->status != AE_OK) _exit(7);
  struct acknowledged line = {slot->actor, append->current_version,
                              append->position};
  if (write(slot->writer->out, &line, sizeof line) != sizeof line) _exit(8);
  go(slot, append->current_version);
}

/* Even versions come with an id. */
static void go(struct slot *slot, uint64_t version) {
  struct world *world = &slot->writer->world;
  ae_append *append = &slot->outcome.append;
  ae_buf record = append->record;
  const char *id = slot->id;
  bool has_id = version % 2 != 0;
  ae_buf_reset(&record);
  snprintf(slot->id, sizeof slot->id, "c-%llu",
           (unsigned long long)version + 1);
  record_make(world, &record, ref_of(slot->name), version + 1, 1, &id, has_id,
              0);
  *append = (ae_append){.ref = ref_of(slot->name),
                        .expected_version = version,
                        .event_count = 1,
                        .id_count = has_id,
                        .record = record,
                        .cb = on_append,
                        .data = slot};
  if (ae_store_append(world->store, append, NULL) != AE_OK) _exit(9);
}

static _Noreturn void write_for_ever(const char *url, int out,
                                     const uint64_t *versions) {
  struct writer *writer = ae_zalloc(sizeof *writer);
  writer->out = out;
  writer->world.time = ae_clock_now();
  snprintf(writer->world.url, sizeof writer->world.url, "%s", url);
  if (ae_loop_init(&writer->world.loop, NULL) != AE_OK) _exit(5);
  ae_error err = {0};
  ae_store_options options = {.url = url};
  if (ae_store_open(&writer->world.loop, &options, &writer->world.store,
                    &err) != AE_OK) {
    fprintf(stderr, "%s\n", ae_error_text(&err));
    _exit(6);
  }
  ae_store_cork(writer->world.store);
  for (uint32_t i = 0; i < ACTORS; i++) {
    writer->slots[i].writer = writer;
    writer->slots[i].actor = i;
    name_of(writer->slots[i].name, sizeof writer->slots[i].name, i);
    go(&writer->slots[i], versions[i]);
  }
  ae_store_uncork(writer->world.store);
  ae_loop_run(&writer->world.loop);
  _exit(4);
}

/* All that was acknowledged before the kill. */
static size_t drain(int in, struct acknowledged **out) {
  size_t count = 0, cap = 0;
  struct acknowledged line;
  while (read(in, &line, sizeof line) == sizeof line) {
    if (count == cap) {
      cap = cap ? 2 * cap : 1024;
      *out = ae_realloc(*out, cap * sizeof **out);
    }
    (*out)[count++] = line;
  }
  return count;
}

static void check(const char *url, const struct acknowledged *lines,
                  size_t count, uint64_t *versions, uint64_t *total) {
  struct world world = {.fixture = &sqlite_fixture};
  struct kept_list lists[ACTORS] = {0};
  uint64_t commits = 0;
  char name[32], id[32];
  snprintf(world.url, sizeof world.url, "%s", url);
  assert_int_equal(ae_loop_init(&world.loop, NULL), AE_OK);
  world_open(&world, AE_STORE_WRITE);
  for (uint32_t a = 0; a < ACTORS; a++) {
    name_of(name, sizeof name, a);
    read_all(&world, name, 1, UINT64_MAX, &lists[a]);
    assert_int_equal(lists[a].status, AE_OK);
    assert_int_equal(lists[a].damaged, 0);
    assert_int_equal(lists[a].latest, lists[a].count);
    for (size_t i = 0; i < lists[a].count; i++)
      assert_int_equal(lists[a].at[i].first_version, i + 1);
    assert_true(lists[a].latest >= versions[a]);
    versions[a] = lists[a].latest;
    commits += lists[a].count;
  }
  for (size_t i = 0; i < count; i++) {
    const struct kept_list *list = &lists[lines[i].actor];
    assert_true(lines[i].version <= list->latest);
    assert_int_equal(list->at[lines[i].version - 1].position,
                     lines[i].position);
    if (lines[i].version % 2 || i % 50) continue;
    uint64_t position;
    name_of(name, sizeof name, lines[i].actor);
    snprintf(id, sizeof id, "c-%llu", (unsigned long long)lines[i].version);
    lookup_of(&world, name, id, &position, NULL);
    assert_int_equal(position, lines[i].position);
  }
  ae_stats stats = stats_of(&world, NULL);
  assert_int_equal(stats.commits, commits);
  assert_int_equal(stats.actors, ACTORS);
  assert_true(commits >= *total + count);
  *total = commits;
  world_close(&world);
  ae_loop_clear(&world.loop);
  for (int a = 0; a < ACTORS; a++) kept_clear(&lists[a]);
}

static void killed_at_random_moments(void **state) {
  (void)state;
  char url[512];
  uint64_t versions[ACTORS] = {0}, total = 0;
  uint64_t seed = ae_clock_mono() | 1;
  int rounds = getenv("AETHER_LONG") ? 60 : 10;
  sqlite_fixture.make(url, sizeof url);
  for (int round = 0; round < rounds; round++) {
    struct acknowledged *lines = NULL;
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      setenv("CMOCKA_TEST_ABORT", "1", 1);
      close(ends[0]);
      write_for_ever(url, ends[1], versions);
    }
    close(ends[1]);
    /* It has begun; then after so many more lines, wherever that is. */
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t lines_wanted = 1 + (seed >> 33) % 12000;
    struct acknowledged line;
    size_t early = 0;
    lines = ae_alloc(lines_wanted * sizeof *lines);
    while (early < lines_wanted &&
           read(ends[0], &line, sizeof line) == sizeof line)
      lines[early++] = line;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct acknowledged *rest = NULL;
    size_t late = drain(ends[0], &rest);
    close(ends[0]);
    lines = ae_realloc(lines, (early + late) * sizeof *lines);
    if (late > 0) memcpy(lines + early, rest, late * sizeof *lines);
    check(url, lines, early + late, versions, &total);
    ae_free(rest);
    ae_free(lines);
  }
  assert_true(total > 0);
  sqlite_fixture.drop(url);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(killed_at_random_moments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
