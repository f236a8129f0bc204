#include "wire/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int dial(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)port),
                           .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int failed = connect(fd, (struct sockaddr *)&at, sizeof at);
  close(fd);
  return failed ? -1 : 0;
}

/* Below those that the system gives to connections, which could have it by the
 * time that the server listens. */
static int free_port(void) {
  for (;;) {
    uint16_t chance;
    if (getrandom(&chance, sizeof chance, 0) != sizeof chance) abort();
    int port = 10000 + chance % 22000;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int failed = bind(fd, (struct sockaddr *)&at, sizeof at);
    close(fd);
    if (!failed) return port;
  }
}

bool server_again(test_server *server) {
  char port[16], log[96], config[96];
  const char *program = getenv("AETHER_NATS_SERVER");
  if (!program || !*program) program = "nats-server";
  const char *args[32] = {program, "-a",  "127.0.0.1", "-p",
                          port,    "-js", "-sd",       server->folder};
  int n = 8;
  for (const char *const *flag = server->flags; flag && *flag; flag++)
    args[n++] = *flag;
  if (server->config) {
    snprintf(config, sizeof config, "%s/nats.conf", server->folder);
    FILE *out = fopen(config, "we");
    if (!out) return false;
    fputs(server->config, out);
    fclose(out);
    args[n++] = "-c";
    args[n++] = config;
  }
  snprintf(port, sizeof port, "%d", server->port);
  snprintf(log, sizeof log, "%s/log", server->folder);
  pid_t parent = getpid();
  server->pid = fork();
  if (server->pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, 1);
    dup2(out, 2);
    execvp(args[0], (char **)args);
    _exit(127);
  }
  for (;;) { /* until it answers or is gone */
    int status;
    if (dial(server->port) == 0) return true;
    if (waitpid(server->pid, &status, WNOHANG) == server->pid) break;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
  server->pid = 0;
  fprintf(stderr, "%s did not start; see %s\n", program, log);
  return false;
}

bool server_start(test_server *server) {
  snprintf(server->folder, sizeof server->folder, "/tmp/aether-nats-XXXXXX");
  if (!mkdtemp(server->folder)) return false;
  server->port = free_port();
  snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%d",
           server->port);
  return server_again(server);
}

/* Its log names the leader of JetStream. */
static bool has_leader(const test_server *server) {
  char path[96], line[512];
  bool found = false;
  snprintf(path, sizeof path, "%s/log", server->folder);
  FILE *log = fopen(path, "re");
  while (log && !found && fgets(line, sizeof line, log))
    found = strstr(line, "metadata leader") && !strstr(line, "[WRN]");
  if (log) fclose(log);
  return found;
}

/* Of servers that dial each other in the same moment one may be left without
 * (2.10.27, seen once: "JetStream has not established contact with a meta
 * leader", for good). What heals it is another start. */
static bool join(test_server *server) {
  for (int waited = 0; !has_leader(server); waited++) {
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    if (waited < 1000) continue; /* 10 s; an election takes one or two */
    server_kill(server, SIGKILL);
    if (!server_again(server)) return false;
    waited = 0;
  }
  return true;
}

bool cluster_start(test_server servers[3], char *url, size_t size) {
  static char configs[3][640];
  int routes[3];
  for (int i = 0; i < 3; i++) routes[i] = free_port();
  for (int i = 0; i < 3; i++) {
    snprintf(configs[i], sizeof configs[i],
             "server_name: s%d\n"
             "max_payload: 8400000\nmax_pending: 67108864\n"
             "cluster { name: test, listen: \"127.0.0.1:%d\", routes: [ "
             "\"nats-route://127.0.0.1:%d\", \"nats-route://127.0.0.1:%d\", "
             "\"nats-route://127.0.0.1:%d\" ] }\n",
             i, routes[i], routes[0], routes[1], routes[2]);
    servers[i] = (test_server){.config = configs[i]};
    if (!server_start(&servers[i])) return false;
  }
  for (int i = 0; i < 3; i++)
    if (!join(&servers[i])) return false;
  snprintf(url, size, "%s,%s,%s", servers[0].url, servers[1].url,
           servers[2].url);
  return true;
}

void server_kill(test_server *server, int signal) {
  if (!server->pid) return;
  kill(server->pid, signal);
  if (signal == SIGSTOP || signal == SIGCONT) return;
  waitpid(server->pid, NULL, 0);
  server->pid = 0;
}

static void run(const char *const *args) {
  pid_t pid = fork();
  if (pid == 0) {
    execvp(args[0], (char **)args);
    _exit(127);
  }
  waitpid(pid, NULL, 0);
}

void server_stop(test_server *server) {
  server_kill(server, SIGKILL);
  if (strncmp(server->folder, "/tmp/aether-nats-", 17) != 0) return;
  run((const char *const[]){"rm", "-rf", server->folder, NULL});
  server->folder[0] = 0;
}
