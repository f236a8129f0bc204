/* The store in JetStream, against the conformance suite. */
#include <stdio.h>
#include <stdlib.h>

#include "store/conformance.h"
#include "wire/server.h"

static test_server servers[4];

static void make(char *url, size_t size) {
  for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
    if (servers[i].pid) continue;
    /* The largest record there is, and its headers. */
    servers[i].config = "max_payload: 8400000\nmax_pending: 67108864\n";
    if (!server_start(&servers[i])) abort();
    snprintf(url, size, "%s", servers[i].url);
    return;
  }
  abort();
}

static void drop(const char *url) {
  for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
    if (servers[i].pid && strcmp(servers[i].url, url) == 0)
      server_stop(&servers[i]);
}

/* Its writer is a node with a name, whose follower stays. */
static void keep_follower(const char *url, ae_store_options *options) {
  static char folder[96];
  for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
    if (servers[i].pid && strcmp(servers[i].url, url) == 0)
      snprintf(folder, sizeof folder, "%s/follower", servers[i].folder);
  if (options->mode == AE_STORE_WRITE) options->jetstream.folder = folder;
}

static const struct fixture jetstream_fixture = {.name = "jetstream",
                                                 .durable = true,
                                                 .make = make,
                                                 .drop = drop,
                                                 .prepare = keep_follower,
                                                 .shared = true};

int main(void) {
  return conformance_run(&jetstream_fixture) ? 1 : 0;
}
