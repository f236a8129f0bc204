/* The store in memory, against the conformance suite. */
#include <stdio.h>

#include "store/conformance.h"

static void make(char *url, size_t size) {
  snprintf(url, size, "memory");
}

static void drop(const char *url) {
  (void)url;
}

static const struct fixture memory = {
    .name = "memory", .make = make, .drop = drop};

int main(void) {
  return conformance_run(&memory) ? 1 : 0;
}
