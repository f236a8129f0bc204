#include "door/mark.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

#define HALF 16

static unsigned long long hash_path(const char *path) {
  char real[PATH_MAX];
  return ae_hash(ae_str_of(realpath(path, real) ? real : path));
}

/* The memory store is each process's own: it says nothing. */
static unsigned long long hash_store(const ae_config *config) {
  const char *file = ae_store_file(config->store);
  if (file) return hash_path(file);
  if (strcmp(config->store, "memory") == 0) return hash_path(config->app);
  return ae_hash(ae_str_of(config->store));
}

void ae__mark(const ae_config *config, char out[AE__MARK_LEN + 1]) {
  snprintf(out, AE__MARK_LEN + 1, "%016llx.%016llx", hash_path(config->app),
           hash_store(config));
}

bool ae__mark_same(ae_str a, ae_str b) {
  if (a.len != AE__MARK_LEN || b.len != AE__MARK_LEN) return false;
  return memcmp(a.ptr, b.ptr, HALF) == 0 ||
         memcmp(a.ptr + HALF, b.ptr + HALF, HALF + 1) == 0;
}
