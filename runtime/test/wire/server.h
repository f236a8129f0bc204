/* A real nats-server for tests: its own port and folder, ended with the test.
 * AETHER_NATS_SERVER names another one than that of the path. */
#ifndef AE_TEST_WIRE_SERVER_H
#define AE_TEST_WIRE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct test_server {
  pid_t pid; /* 0: not running */
  int port;
  char folder[64];
  char url[64];
  const char *const *flags; /* further ones, ends with NULL; may be NULL */
  const char *config;       /* lines of a settings file; may be NULL */
} test_server;

/* False, with a word on stderr, where there is no nats-server to start. */
bool server_start(test_server *server);
/* Three that replicate; `url` names them all. */
bool cluster_start(test_server servers[3], char *url, size_t size);
/* On the same port and folder, after server_kill. */
bool server_again(test_server *server);
void server_kill(test_server *server, int signal);
/* Ends it and removes its folder. */
void server_stop(test_server *server);

#endif
