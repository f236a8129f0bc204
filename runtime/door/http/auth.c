#include "door/http/auth.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "door/secret.h"
#include "namespace/pattern.h"

struct ae__auth {
  const ae_config *config;
  ae_grant local;  /* a program on this machine, where there are no tokens */
  ae_grant nobody; /* on a route that is open to all */
  uint64_t refused;
};

ae_status ae__auth_new(const ae_config *config, bool loopback, ae__auth **out,
                       ae_error *err) {
  *out = NULL;
  if (!loopback && config->token_count == 0)
    return ae_error_set(
        err, AE_USAGE,
        "others than this machine reach %s, and there are no tokens, so "
        "anybody could send commands: make one with `aether token NAME` and "
        "put the line that it prints into aether.lua, or listen on 127.0.0.1",
        config->listen);
  ae__auth *auth = ae_zalloc(sizeof *auth);
  auth->config = config;
  auth->local =
      (ae_grant){.name = "local", .rights = AE_RIGHTS_ALL, .all = true};
  auth->nobody = (ae_grant){.name = "nobody"};
  for (size_t i = 0; i < config->token_count; i++) {
    const ae_grant *grant = &config->tokens[i].grant;
    for (size_t k = 0; k < grant->wildcard_count; k++)
      ae_log(AE_LOG_WARN, "a token may listen across namespaces", "token",
             grant->name, "pattern", grant->wildcards[k], NULL);
  }
  *out = auth;
  return AE_OK;
}

void ae__auth_free(ae__auth *auth) {
  ae_free(auth);
}

uint64_t ae__auth_refused(const ae__auth *auth) {
  return auth->refused;
}

bool ae__auth_loopback(const struct sockaddr *address) {
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)address;
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  if (address->sa_family != AF_INET6) return false;
  const struct in6_addr *v6 =
      &((const struct sockaddr_in6 *)address)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(v6) ||
         (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

/* -- who -- */

static bool same_folded(ae_str a, ae_str b) {
  return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

/* HOST or HOST:PORT, as a client writes it that means this machine. A name
 * that merely resolves to it is not enough: whoever owns that name could have
 * sent the page that asks. */
static bool names_loopback(ae_str host) {
  char text[INET6_ADDRSTRLEN];
  bool six = host.len > 0 && host.ptr[0] == '[';
  const char *end =
      six ? memchr(host.ptr, ']', host.len) : memchr(host.ptr, ':', host.len);
  if (six && !end) return false;
  ae_str name = {host.ptr + six,
                 (end ? (size_t)(end - host.ptr) : host.len) - six};
  ae_str port = {NULL, 0};
  if (end)
    port = (ae_str){end + six, host.len - (size_t)(end + six - host.ptr)};
  uint64_t number;
  if (port.len > 0 &&
      (port.ptr[0] != ':' || port.len > sizeof ":65535" - 1 ||
       !ae_str_uint((ae_str){port.ptr + 1, port.len - 1}, &number) ||
       number > 65535))
    return false;
  if (!six && same_folded(name, AE_STR("localhost"))) return true;
  if (name.len >= sizeof text || memchr(name.ptr, 0, name.len)) return false;
  memcpy(text, name.ptr, name.len);
  text[name.len] = 0;
  struct in_addr v4;
  struct in6_addr v6;
  if (six)
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
  return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool same_site(const ae__auth_asked *asked) {
  ae_str origin = asked->origin;
  if (asked->fetch_site.ptr &&
      !ae_str_eq(asked->fetch_site, AE_STR("same-origin")) &&
      !ae_str_eq(asked->fetch_site, AE_STR("none")))
    return false;
  if (!origin.ptr) return true;
  if (!asked->host.ptr) return false;
  static const ae_str schemes[] = {{"http://", 7}, {"https://", 8}};
  for (size_t i = 0; i < 2; i++) {
    size_t len = schemes[i].len;
    if (origin.len > len && memcmp(origin.ptr, schemes[i].ptr, len) == 0)
      return same_folded((ae_str){origin.ptr + len, origin.len - len},
                         asked->host);
  }
  return false;
}

/* Why a request without a token is not taken for one of this machine's own
 * programs; NULL: it is. */
static const char *suspect(const ae__auth_asked *asked) {
  if (!asked->loopback) return "it comes from another machine";
  if (asked->forwarded) return "it comes through a proxy";
  if (asked->host.ptr && !names_loopback(asked->host))
    return "its Host is not localhost, 127.0.0.1 or [::1]";
  if (!same_site(asked)) return "a web page of another site sent it";
  return NULL;
}

static ae_status unauthenticated(ae__auth *auth, ae_error *err) {
  auth->refused++;
  ae_error_cstr(err, "needs", "a token");
  return AE_UNAUTHENTICATED;
}

/* "Bearer TOKEN"; false where it is something else. */
static bool bearer(ae_str header, ae_str *token) {
  static const size_t len = sizeof "Bearer" - 1;
  if (header.len <= len || strncasecmp(header.ptr, "Bearer", len) != 0 ||
      header.ptr[len] != ' ')
    return false;
  *token = (ae_str){header.ptr + len, header.len - len};
  while (token->len > 0 && token->ptr[0] == ' ')
    *token = (ae_str){token->ptr + 1, token->len - 1};
  while (token->len > 0 && token->ptr[token->len - 1] == ' ') token->len--;
  return token->len > 0;
}

/* Compares with every token, the whole hash: how long it takes says nothing. */
static const ae_grant *grant_of(const ae__auth *auth, ae_str text) {
  const ae_config *config = auth->config;
  const ae_grant *found = NULL;
  uint8_t hash[AE_TOKEN_HASH];
  ae__secret_hash(text, hash);
  for (size_t i = 0; i < config->token_count; i++)
    if (ae__secret_same(hash, config->tokens[i].hash))
      found = &config->tokens[i].grant;
  return found;
}

ae_status ae__auth_who(ae__auth *auth, const ae__auth_asked *asked,
                       const ae_grant **out, ae_error *err) {
  ae_str token;
  *out = NULL;
  if (auth->config->token_count == 0) {
    const char *why = suspect(asked);
    if (!why) {
      *out = &auth->local;
      return AE_OK;
    }
    ae_error_set(err, AE_UNAUTHENTICATED,
                 "without tokens only programs on the same machine are served, "
                 "and of this request: %s. `aether token NAME` makes a token",
                 why);
    return unauthenticated(auth, err);
  }
  if (!asked->authorization.ptr) {
    ae_error_set(err, AE_UNAUTHENTICATED,
                 "this needs a token: send `Authorization: Bearer TOKEN`");
    return unauthenticated(auth, err);
  }
  if (!bearer(asked->authorization, &token)) {
    ae_error_set(err, AE_UNAUTHENTICATED,
                 "Authorization must be `Bearer TOKEN`");
    return unauthenticated(auth, err);
  }
  *out = grant_of(auth, token);
  if (*out) return AE_OK;
  ae_error_set(err, AE_UNAUTHENTICATED, "this node does not know the token");
  return unauthenticated(auth, err);
}

/* -- what -- */

bool ae__auth_sees(const ae_grant *grant, ae_str ns) {
  if (grant->all) return true;
  for (size_t i = 0; i < grant->namespace_count; i++)
    if (ae_pattern_match(ae_str_of(grant->namespaces[i]), ns)) return true;
  return false;
}

bool ae__auth_sees_all(const ae_grant *grant) {
  if (grant->all) return true;
  for (size_t i = 0; i < grant->namespace_count; i++)
    if (strcmp(grant->namespaces[i], ">") == 0) return true;
  return false;
}

static ae_status forbidden(const ae_grant *grant, unsigned right,
                           ae_error *err) {
  const char *word = ae_right_word((ae_right)right);
  ae_error_set(err, AE_FORBIDDEN, "the token %s lacks the right %s",
               grant->name, word);
  ae_error_cstr(err, "needs", word);
  return AE_FORBIDDEN;
}

/* Looked up for each line of a stream: nearest names only where it fails. */
static bool is_there(const ae_config *config, ae_str ns) {
  for (size_t i = 0; i < config->namespace_count; i++)
    if (ae_str_eq(ae_str_of(config->namespaces[i].name), ns)) return true;
  return false;
}

ae_status ae__auth_allows(const ae_node *node, const ae_grant *grant,
                          ae_right right, ae_str ns, ae_error *err) {
  const ae_config *config = ae_node_config(node);
  if (is_there(config, ns) && ae__auth_sees(grant, ns))
    return grant->rights & right ? AE_OK : forbidden(grant, right, err);
  ae_nearest near;
  ae_nearest_init(&near, ns);
  for (size_t i = 0; i < config->namespace_count; i++) {
    ae_str name = ae_str_of(config->namespaces[i].name);
    if (ae__auth_sees(grant, name)) ae_nearest_offer(&near, name);
  }
  ae_str best = ae_nearest_best(&near);
  ae_error_set(err, AE_UNKNOWN_NAMESPACE, "there is no namespace ");
  ae_error_quote(err, ns);
  if (best.len > 0) ae_error_add(err, "; did you mean %.*s?", AE_FMT(best));
  ae_error_str(err, "name", ns);
  if (best.len > 0) ae_error_str(err, "nearest", best);
  return AE_UNKNOWN_NAMESPACE;
}

ae_status ae__auth_admit(ae__auth *auth, ae__exchange *x, bool loopback,
                         ae_error *err) {
  const ae__route *route = x->route;
  x->grant = &auth->nobody;
  if (route->right == 0) return AE_OK;
  ae__auth_asked asked = {
      .authorization = ae__exchange_header(x, "authorization"),
      .host = ae__exchange_header(x, "host"),
      .origin = ae__exchange_header(x, "origin"),
      .fetch_site = ae__exchange_header(x, "sec-fetch-site"),
      .forwarded = ae__exchange_header(x, "forwarded").ptr ||
                   ae__exchange_header(x, "x-forwarded-for").ptr ||
                   ae__exchange_header(x, "x-real-ip").ptr ||
                   ae__exchange_header(x, "via").ptr,
      .loopback = loopback,
  };
  ae_status status = ae__auth_who(auth, &asked, &x->grant, err);
  if (status != AE_OK) {
    x->grant = &auth->nobody;
    ae__exchange_add(x, "WWW-Authenticate",
                     asked.authorization.ptr && auth->config->token_count > 0
                         ? AE_STR("Bearer realm=\"aether\", "
                                  "error=\"invalid_token\"")
                         : AE_STR("Bearer realm=\"aether\""));
    return status;
  }
  if (route->right == AE__RIGHT_ANY) return AE_OK;
  if (strstr(route->path, "{ns}"))
    return ae__auth_allows(x->node, x->grant, (ae_right)route->right,
                           ae__exchange_segment(x, "ns"), err);
  return x->grant->rights & route->right
             ? AE_OK
             : forbidden(x->grant, route->right, err);
}
