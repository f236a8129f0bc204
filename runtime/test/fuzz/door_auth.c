/* Lines: Authorization, Host, Origin, Sec-Fetch-Site. Whoever is let in without
 * a token named this machine, in one of few ways; with tokens, it sent one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "door/http/auth.h"
#include "door/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

static ae_str line(ae_str *rest) {
  const char *end = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
  ae_str one = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};
  size_t taken = one.len + (end != NULL);
  *rest = (ae_str){rest->ptr + taken, rest->len - taken};
  return one.len ? one : (ae_str){NULL, 0};
}

static bool digits(const char *text) {
  if (!*text) return false;
  for (; *text; text++)
    if (!isdigit((unsigned char)*text)) return false;
  return true;
}

/* Lower case, so that one comparison does. */
static void model_host(ae_str host) {
  char text[300];
  MUST(host.len < sizeof text && !memchr(host.ptr, 0, host.len));
  for (size_t i = 0; i < host.len; i++)
    text[i] = (char)tolower((unsigned char)host.ptr[i]);
  text[host.len] = 0;
  char *bracket = strchr(text, ']');
  char *port = strchr(bracket ? bracket : text, ':');
  if (port) *port++ = 0;
  MUST(!port || digits(port));
  if (strcmp(text, "localhost") == 0) return;
  unsigned a, b, c, d;
  char more;
  if (text[0] != '[') {
    MUST(sscanf(text, "%u.%u.%u.%u%c", &a, &b, &c, &d, &more) == 4 && a == 127);
    return;
  }
  /* [::1], however it is written. */
  MUST(bracket && bracket[1] == 0);
  *bracket = 0;
  MUST(strspn(text + 1, "0:1.") == strlen(text + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static ae__auth *open_to_here, *strict;
  static ae_config none, some;
  static const char *everywhere[] = {">"};
  static ae_token token = {
      .grant = {.name = "t", .namespaces = everywhere, .namespace_count = 1}};
  if (!strict) {
    ae__secret_hash(AE_STR("aether_x"), token.hash);
    some = (ae_config){.tokens = &token, .token_count = 1};
    MUST(ae__auth_new(&none, true, &open_to_here, NULL) == AE_OK);
    MUST(ae__auth_new(&some, false, &strict, NULL) == AE_OK);
  }
  ae_str rest = {(const char *)data, len};
  ae__auth_asked asked = {.loopback = true};
  asked.authorization = line(&rest);
  asked.host = line(&rest);
  asked.origin = line(&rest);
  asked.fetch_site = line(&rest);
  const ae_grant *grant;
  ae_error err = {0};
  if (ae__auth_who(open_to_here, &asked, &grant, &err) == AE_OK) {
    if (asked.host.ptr) model_host(asked.host);
    if (asked.origin.ptr) {
      MUST(asked.host.ptr && asked.origin.len > asked.host.len);
      MUST(strncasecmp(asked.origin.ptr + asked.origin.len - asked.host.len,
                       asked.host.ptr, asked.host.len) == 0);
    }
  } else {
    MUST(!grant && err.status == AE_UNAUTHENTICATED);
  }
  if (ae__auth_who(strict, &asked, &grant, &err) == AE_OK) {
    ae_str sent = asked.authorization;
    while (sent.len > 0 && sent.ptr[sent.len - 1] == ' ') sent.len--;
    MUST(sent.len >= 15 && memcmp(sent.ptr + sent.len - 8, "aether_x", 8) == 0);
  } else {
    MUST(!grant);
  }
  ae_error_clear(&err);
  return 0;
}
