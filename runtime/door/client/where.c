/* Where the node is, and whether it is the right one. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/client/internal.h"
#include "door/http/server.h"
#include "door/mark.h"

#define CONNECT_MS 2000

/* -- an address that a person named -- */

static ae_status check_url(const char *from, const char *url, ae_error *err) {
  const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
                     : strncmp(url, "https://", 8) == 0 ? url + 8
                                                        : NULL;
  if (host && *host && *host != '/' && !strpbrk(host, "?#@ ")) return AE_OK;
  ae_error_set(err, AE_USAGE,
               "%s must be the address of a node, as http://127.0.0.1:7070, "
               "not ",
               from);
  ae_error_quote(err, ae_str_of(url));
  return AE_USAGE;
}

static char *copy_url(const char *url) {
  char *copy = ae_strdup(url);
  for (size_t len = strlen(copy); len > 0 && copy[len - 1] == '/';)
    copy[--len] = 0;
  return copy;
}

/* -- the app's own -- */

/* Who listens everywhere is also here. */
static void make_near(struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET6) {
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    if (IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
      six->sin6_addr = in6addr_loopback;
  } else {
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    if (four->sin_addr.s_addr == htonl(INADDR_ANY))
      four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
}

/* 0, or why nobody answers there: asked before libcurl is loaded. */
static int try_connect(const struct sockaddr_storage *address, socklen_t len) {
  int fd =
      socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  if (connect(fd, (const struct sockaddr *)address, len) != 0) error = errno;
  if (error == EINPROGRESS) {
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    error = ETIMEDOUT;
    if (poll(&one, 1, CONNECT_MS) > 0)
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  close(fd);
  return error;
}

static ae_status own_url(const ae_config *config, bool tls, char **url,
                         ae_error *err) {
  struct sockaddr_storage address;
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  ae_status status = ae__tcp_resolve(config->listen, &address, err);
  if (status != AE_OK) return status;
  make_near(&address);
  socklen_t len = address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                : sizeof(struct sockaddr_in);
  getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port,
              sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  bool six = address.ss_family == AF_INET6;
  ae_buf text = {0};
  ae_buf_printf(&text, "%s://%s%s%s:%s", tls ? "https" : "http", six ? "[" : "",
                host, six ? "]" : "", port);
  int error = try_connect(&address, len);
  if (strcmp(port, "0") == 0)
    status = ae_error_set(err, AE_UNREACHABLE,
                          "no node can be asked: `listen` has port 0, any that "
                          "is free; name the node's address with --url");
  else if (error != 0)
    status = ae_error_set(err, AE_UNREACHABLE, "no node answers at %s: %s",
                          ae_buf_cstr(&text), strerror(error));
  else
    *url = ae_strdup(ae_buf_cstr(&text));
  ae_buf_clear(&text);
  return status;
}

/* "sha256//BASE64" of the certificate's public key; NULL: not to be read. */
static char *pin_of(const char *file) {
  FILE *stream = fopen(file, "r");
  X509 *certificate = stream ? PEM_read_X509(stream, NULL, NULL, NULL) : NULL;
  if (stream) fclose(stream);
  unsigned char *der = NULL, hash[SHA256_DIGEST_LENGTH];
  int len = certificate
                ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der)
                : -1;
  X509_free(certificate);
  if (len <= 0) return NULL;
  char text[8 + 4 * ((sizeof hash + 2) / 3) + 1] = "sha256//";
  SHA256(der, (size_t)len, hash);
  OPENSSL_free(der);
  EVP_EncodeBlock((unsigned char *)text + 8, hash, sizeof hash);
  return ae_strdup(text);
}

/* Asks what all may ask: whose node it is. */
static ae_status look(ae__client *client, const ae_config *config,
                      ae_error *err) {
  char own[AE__MARK_LEN + 1];
  ae__call call = {.path = "/healthz"};
  ae_status status = ae__client_call(client, &call, err);
  ae_buf_clear(&call.answer);
  if (status != AE_OK) return status;
  ae__mark(config, own);
  if (ae__mark_same(ae_str_of(own), ae_str_of(client->mark))) return AE_OK;
  if (!client->mark[0])
    return ae_error_set(err, AE_UNREACHABLE,
                        "what answers at %s is no node of Aether", client->url);
  return ae_error_set(err, AE_UNREACHABLE,
                      "the node at %s is another app's; if it is the one that "
                      "you mean, name it with --url %s",
                      client->url, client->url);
}

static char *variable(const char *name) {
  const char *value = getenv(name);
  return value && value[0] ? ae_strdup(value) : NULL;
}

static ae_status open_own(const ae_config *config, ae__client **out,
                          ae_error *err) {
  char *url = NULL;
  char *certificate = ae_config_text(config, "tls.certificate");
  ae_status status = own_url(config, certificate != NULL, &url, err);
  if (status == AE_OK) status = ae__curl_load(err);
  if (status == AE_OK) {
    ae__client *client = ae__client_new(url);
    char *ca = ae_config_text(config, "tls.ca");
    client->certificate = variable("AETHER_CERTIFICATE");
    client->key = variable("AETHER_KEY");
    if (certificate) client->pin = pin_of(certificate);
    if (ca && !client->certificate) {
      client->certificate = ae_strdup(certificate);
      client->key = ae_config_text(config, "tls.key");
    }
    if (!client->pin) client->ca = variable("AETHER_CA");
    ae_free(ca);
    status = look(client, config, err);
    if (status == AE_OK)
      *out = client;
    else
      ae__client_close(client);
  } else {
    ae_free(url);
  }
  ae_free(certificate);
  return status;
}

ae_status ae__client_open(const ae__args *args, const ae_config *config,
                          ae__client **out, bool *named, ae_error *err) {
  const char *flag = ae__args_get(args, "url");
  const char *url = flag ? flag : getenv("AETHER_URL");
  *out = NULL;
  *named = url && url[0];
  if (!*named) return open_own(config, out, err);
  ae_status status = check_url(flag ? "--url" : "AETHER_URL", url, err);
  if (status == AE_OK) status = ae__curl_load(err);
  if (status != AE_OK) return status;
  *out = ae__client_new(copy_url(url));
  (*out)->ca = variable("AETHER_CA");
  (*out)->certificate = variable("AETHER_CERTIFICATE");
  (*out)->key = variable("AETHER_KEY");
  return AE_OK;
}
