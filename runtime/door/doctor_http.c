/* `aether doctor`: what serving over HTTP needs. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/doctor.h"
#include "door/http/auth.h"
#include "door/http/server.h"
#include "door/http/tls.h"
#include "door/terminal.h"

#define EXPIRES_SOON 21 /* days */

/* -- who holds the port -- */

/* The socket (inode) that listens on a port; 0: none is shown. */
static unsigned long long listener_of(const char *table, unsigned port) {
  char line[512];
  unsigned long long found = 0;
  FILE *file = fopen(table, "r");
  if (!file) return 0;
  while (!found && fgets(line, sizeof line, file)) {
    unsigned at, state;
    unsigned long long inode;
    /* sl, local address, remote address, state, …, inode */
    if (sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %llu",
               &at, &state, &inode) == 3 &&
        at == port && state == 10)
      found = inode;
  }
  fclose(file);
  return found;
}

static bool holds(const char *process, const char *socket) {
  char path[300], target[64];
  bool found = false;
  snprintf(path, sizeof path, "/proc/%s/fd", process);
  DIR *folder = opendir(path);
  if (!folder) return false;
  for (struct dirent *entry; !found && (entry = readdir(folder));) {
    ssize_t len =
        readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
    if (len <= 0) continue;
    target[len] = 0;
    found = strcmp(target, socket) == 0;
  }
  closedir(folder);
  return found;
}

/* The process that listens on a port, and its name; 0: it is not shown. */
static long holder_of(unsigned port, char name[64]) {
  unsigned long long inode = listener_of("/proc/net/tcp", port);
  if (!inode) inode = listener_of("/proc/net/tcp6", port);
  char socket[64], path[300];
  long pid = 0;
  snprintf(socket, sizeof socket, "socket:[%llu]", inode);
  DIR *folder = inode ? opendir("/proc") : NULL;
  for (struct dirent *entry; folder && !pid && (entry = readdir(folder));)
    if (isdigit((unsigned char)entry->d_name[0]) &&
        holds(entry->d_name, socket))
      pid = atol(entry->d_name);
  if (folder) closedir(folder);
  snprintf(path, sizeof path, "/proc/%ld/comm", pid);
  FILE *file = pid ? fopen(path, "r") : NULL;
  name[0] = 0;
  if (file) {
    if (fgets(name, 64, file)) name[strcspn(name, "\n")] = 0;
    fclose(file);
  }
  return pid;
}

/* -- the address -- */

/* 0, or why it cannot be listened on. */
static int try_listen(const struct sockaddr_storage *address) {
  bool six = address->ss_family == AF_INET6;
  int on = 1;
  int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  socklen_t len =
      six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  int error = 0;
  if (bind(fd, (const struct sockaddr *)address, len) != 0 ||
      listen(fd, 1) != 0)
    error = errno;
  close(fd);
  return error;
}

static unsigned port_of(const struct sockaddr_storage *address) {
  return ntohs(address->ss_family == AF_INET6
                   ? ((const struct sockaddr_in6 *)address)->sin6_port
                   : ((const struct sockaddr_in *)address)->sin_port);
}

static void look_at_taken(ae__doctor *d, unsigned port) {
  char name[64];
  const char *listen = d->config.listen;
  long pid = holder_of(port, name);
  if (!pid)
    ae__doctor_sayf(d, AE__WRONG, "listen",
                    "end what holds it (`ss -ltnp` as root tells), or name "
                    "another address with --listen or in aether.lua",
                    "%s is in use by a process of somebody else", listen);
  else if (strcmp(name, "aether") == 0)
    ae__doctor_sayf(d, AE__NOTE, "listen",
                    "nothing, if that is this app's node; else another "
                    "`listen`",
                    "%s is in use by process %ld, which is an aether", listen,
                    pid);
  else
    ae__doctor_sayf(d, AE__WRONG, "listen",
                    "end that process, or name another address with --listen "
                    "or in aether.lua",
                    "%s is in use by process %ld (%s)", listen, pid, name);
}

/* False: it makes no sense. */
static bool look_at_listen(ae__doctor *d, struct sockaddr_storage *address) {
  ae_error err = {0};
  const char *listen = d->config.listen;
  if (ae__tcp_resolve(listen, address, &err) != AE_OK) {
    ae__doctor_say(d, AE__WRONG, "listen", ae_error_text(&err),
                   "a name or address of this machine, as 127.0.0.1:7070");
    ae_error_clear(&err);
    return false;
  }
  int error = try_listen(address);
  if (error == 0)
    ae__doctor_sayf(d, AE__GOOD, "listen", NULL, "%s is free", listen);
  else if (error == EADDRINUSE)
    look_at_taken(d, port_of(address));
  else
    ae__doctor_sayf(d, AE__WRONG, "listen",
                    error == EACCES
                        ? "a port from 1024 on, or the right to take this one "
                          "(CAP_NET_BIND_SERVICE)"
                        : "an address of this machine, as 127.0.0.1:7070",
                    "%s cannot be listened on: %s", listen, strerror(error));
  return true;
}

/* -- tokens -- */

static void look_at_tokens(ae__doctor *d, bool loopback) {
  const ae_config *config = &d->config;
  if (config->token_count == 0) {
    ae__auth *auth;
    ae_error err = {0};
    if (ae__auth_new(config, loopback, &auth, &err) == AE_OK)
      ae__doctor_say(d, AE__GOOD, "tokens",
                     "there are none: programs of this machine are served, and "
                     "nobody else",
                     NULL);
    else
      ae__doctor_say(d, AE__WRONG, "tokens", ae_error_text(&err),
                     "`aether token NAME`");
    ae__auth_free(auth);
    ae_error_clear(&err);
    return;
  }
  ae_buf names = {0};
  for (size_t i = 0; i < config->token_count; i++)
    ae_buf_printf(&names, "%s%s", i ? ", " : "", config->tokens[i].grant.name);
  ae__doctor_sayf(d, AE__GOOD, "tokens", NULL, "%s: %s",
                  ae__count(config->token_count), ae_buf_cstr(&names));
  ae_buf_clear(&names);
  for (size_t i = 0; i < config->token_count; i++) {
    const ae_grant *grant = &config->tokens[i].grant;
    bool sees = false; /* any of the app's namespaces */
    for (size_t k = 0; k < config->namespace_count; k++)
      sees |= ae__auth_sees(grant, ae_str_of(config->namespaces[k].name));
    if (!sees && config->namespace_count > 0)
      ae__doctor_sayf(d, AE__NOTE, "tokens",
                      "compare its `namespaces` with those of the app",
                      "%s is for none of the app's namespaces", grant->name);
  }
}

/* -- TLS -- */

static void look_at_dates(ae__doctor *d, const char *file) {
  FILE *stream = fopen(file, "r");
  X509 *certificate = stream ? PEM_read_X509(stream, NULL, NULL, NULL) : NULL;
  if (stream) fclose(stream);
  if (!certificate) return; /* ae__tls_new has said why */
  int begun = 0, days = 0, seconds = 0;
  char until[64] = "";
  BIO *text = BIO_new(BIO_s_mem());
  ASN1_TIME_print(text, X509_get0_notAfter(certificate));
  BIO_read(text, until, sizeof until - 1);
  BIO_free(text);
  begun = X509_cmp_current_time(X509_get0_notBefore(certificate));
  ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate));
  if (begun > 0)
    ae__doctor_sayf(d, AE__WRONG, "tls", "the clock, or another certificate",
                    "%s is not valid yet", file);
  else if (days < 0 || seconds < 0)
    ae__doctor_sayf(d, AE__WRONG, "tls", "a new certificate",
                    "%s was valid until %s", file, until);
  else if (days < EXPIRES_SOON)
    ae__doctor_sayf(d, AE__NOTE, "tls", "a new certificate, soon",
                    "%s is valid for %d more day%s, until %s", file, days,
                    days == 1 ? "" : "s", until);
  else
    ae__doctor_sayf(d, AE__GOOD, "tls", NULL, "%s is valid until %s", file,
                    until);
  X509_free(certificate);
}

static void look_at_key(ae__doctor *d, const char *file) {
  struct stat info;
  if (stat(file, &info) == 0 && (info.st_mode & (S_IROTH | S_IWOTH)))
    ae__doctor_sayf(d, AE__NOTE, "tls", "chmod 600 on it",
                    "%s can be read by everybody on this machine", file);
}

static void look_at_tls(ae__doctor *d, bool loopback) {
  char *certificate = ae_config_text(&d->config, "tls.certificate");
  char *key = ae_config_text(&d->config, "tls.key");
  char *ca = ae_config_text(&d->config, "tls.ca");
  ae__tls_shared *tls = NULL;
  ae_error err = {0};
  if (!certificate && !key && !ca) {
    if (!loopback)
      ae__doctor_sayf(d, AE__NOTE, "tls",
                      "`tls` in aether.lua, or a proxy in front that does it",
                      "tokens and data cross the network unencrypted");
  } else if (!certificate || !key) {
    ae__doctor_sayf(d, AE__WRONG, "tls",
                    "tls = { certificate = \"FILE\", key = \"FILE\" }",
                    "tls.%s is not set", certificate ? "key" : "certificate");
  } else if (ae__tls_new(certificate, key, ca, &tls, &err) != AE_OK) {
    ae__doctor_say(d, AE__WRONG, "tls", ae_error_text(&err),
                   "files in PEM that this user can read, and the key that "
                   "belongs to the certificate");
  } else {
    look_at_dates(d, certificate);
    look_at_key(d, key);
  }
  ae__tls_free(tls);
  ae_error_clear(&err);
  ae_free(certificate);
  ae_free(key);
  ae_free(ca);
}

/* -- files -- */

/* The node raises the soft limit by itself. */
void ae__doctor_files(ae__doctor *d) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  unsigned long long most = (unsigned long long)limit.rlim_max;
  unsigned wanted = ae__http_defaults.connections;
  if (most < 256)
    ae__doctor_sayf(d, AE__WRONG, "files", "ulimit -n 1024",
                    "only %llu files may be open at a time", most);
  else if (most < wanted + 256)
    ae__doctor_sayf(
        d, AE__NOTE, "files", "`ulimit -Hn 8192`, or LimitNOFILE= of systemd",
        "%llu may be open at a time; %u connections need more", most, wanted);
  else
    ae__doctor_sayf(
        d, AE__GOOD, "files", NULL, "%s may be open at a time",
        limit.rlim_max == RLIM_INFINITY ? "any number" : ae__count(most));
}

void ae__doctor_http(ae__doctor *d) {
  struct sockaddr_storage address;
  if (look_at_listen(d, &address)) {
    bool loopback = ae__auth_loopback((const struct sockaddr *)&address);
    look_at_tokens(d, loopback);
    look_at_tls(d, loopback);
  }
}
