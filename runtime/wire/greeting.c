#include "wire/greeting.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { WAIT_S = 2 };

static ae_status fail(const char *url, const char *cause, ae_error *err) {
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "%s does not say which version it is: %s", url, cause);
  ae_error_cstr(err, "cause", cause);
  return AE_STORE_UNAVAILABLE;
}

/* HOST and PORT of "SCHEME://HOST:PORT", also of "[::1]:4222". */
static bool split(const char *url, char host[256], char port[8]) {
  const char *from = strstr(url, "://");
  from = from ? from + 3 : url;
  const char *colon = strrchr(from, ':');
  size_t len = colon ? (size_t)(colon - from) : strlen(from);
  if (*from == '[' && len > 1 && from[len - 1] == ']') {
    from++;
    len -= 2;
  }
  if (len == 0 || len > 255) return false;
  memcpy(host, from, len);
  host[len] = 0;
  snprintf(port, 8, "%.7s", colon ? colon + 1 : "4222");
  return true;
}

static int dial(const char *host, const char *port) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
  if (getaddrinfo(host, port, &hints, &all) != 0) return -1;
  int fd = -1;
  const struct timeval wait = {.tv_sec = WAIT_S};
  for (struct addrinfo *at = all; at && fd < 0; at = at->ai_next) {
    fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0) break;
    close(fd);
    fd = -1;
  }
  freeaddrinfo(all);
  return fd;
}

ae_status ae__greeting(const char *url, unsigned version[3], bool *bare,
                       bool *tls, ae_error *err) {
  char host[256], port[8], line[8192];
  if (!split(url, host, port)) return fail(url, "no address", err);
  int fd = dial(host, port);
  if (fd < 0) return fail(url, strerror(errno), err);
  size_t len = 0;
  while (len + 1 < sizeof line) {
    ssize_t n = recv(fd, line + len, sizeof line - 1 - len, 0);
    if (n <= 0) break;
    len += (size_t)n;
    if (memchr(line, '\n', len)) break;
  }
  close(fd);
  line[len] = 0;
  static const char key[] = "\"version\":\"";
  const char *at = strncmp(line, "INFO ", 5) == 0 ? strstr(line, key) : NULL;
  if (!at || sscanf(at + sizeof key - 1, "%u.%u.%u", &version[0], &version[1],
                    &version[2]) != 3)
    return fail(url, "no greeting of a nats-server", err);
  *bare = !strstr(line, "\"jetstream\":true") && !strstr(line, "\"cluster\":");
  *tls = strstr(line, "\"tls_required\":true") != NULL;
  return AE_OK;
}
