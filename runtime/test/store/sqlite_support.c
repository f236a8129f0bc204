#define _GNU_SOURCE /* nftw */
#include "store/sqlite_support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int drop_one(const char *path, const struct stat *about, int kind,
                    struct FTW *place) {
  (void)about;
  (void)kind;
  (void)place;
  return remove(path);
}

void folder_drop(const char *path) {
  nftw(path, drop_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make(char *url, size_t size) {
  const char *base = getenv("TMPDIR");
  char folder[256];
  snprintf(folder, sizeof folder, "%s/aether-store-XXXXXX",
           base ? base : "/tmp");
  assert_non_null(mkdtemp(folder));
  snprintf(url, size, "sqlite:%s/events.db", folder);
}

static void drop(const char *url) {
  char folder[512];
  snprintf(folder, sizeof folder, "%s", url + strlen("sqlite:"));
  *strrchr(folder, '/') = '\0';
  folder_drop(folder);
}

const struct fixture sqlite_fixture = {
    .name = "sqlite", .durable = true, .make = make, .drop = drop};

const char *sqlite_path(const struct world *world) {
  return world->url + strlen("sqlite:");
}
