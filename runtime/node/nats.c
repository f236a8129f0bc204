/* The setting `nats`: how this node logs in to nats-server. */
#include "node/nats.h"

#include <string.h>

#include "base/mem.h"
#include "base/pack.h"

static char *text_at(ae_str fields, const char *key, const char *folder) {
  ae_str value, text;
  if (!ae_unpack_field(fields, key, &value)) return NULL;
  ae_unpack cursor = ae_unpack_of(value);
  if (!ae_unpack_str(&cursor, &text)) return NULL;
  return folder ? ae__path_join(folder, text) : ae__str_copy(text);
}

void ae__nats_find(ae_config *config, const ae__found *key,
                   const char *folder) {
  ae_nats_config *nats = &config->nats;
  ae_str all = ae_buf_view(&key->value), tls;
  const char *base = folder ? folder : ".";
  if (all.len == 0) return;
  nats->credentials = text_at(all, "credentials", base);
  nats->nkey = text_at(all, "nkey", base);
  nats->user = text_at(all, "user", NULL);
  nats->password = text_at(all, "password", NULL);
  nats->token = text_at(all, "token", NULL);
  if (!ae_unpack_field(all, "tls", &tls)) return;
  nats->tls = true;
  nats->ca = text_at(tls, "ca", base);
  nats->certificate = text_at(tls, "certificate", base);
  nats->key = text_at(tls, "key", base);
}

static int hex_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Of a URL's part, "%40" for "@". */
static char *unescape(ae_str text) {
  char *out = ae__str_copy(text), *to = out;
  for (const char *at = out; *at; at++) {
    int high = *at == '%' ? hex_of(at[1]) : -1;
    int low = high >= 0 ? hex_of(at[2]) : -1;
    *to++ = low >= 0 ? (char)(high << 4 | low) : *at;
    if (low >= 0) at += 2;
  }
  *to = 0;
  return out;
}

static void set(char **to, ae_str text) {
  ae_free(*to);
  *to = unescape(text);
}

static void log_in_as(ae_nats_config *nats, ae_str login) {
  const char *colon = memchr(login.ptr, ':', login.len);
  if (!colon) {
    set(&nats->token, login);
    return;
  }
  size_t len = (size_t)(colon - login.ptr);
  set(&nats->user, (ae_str){login.ptr, len});
  set(&nats->password, (ae_str){colon + 1, login.len - len - 1});
}

ae_status ae__nats_take_login(ae_config *config, ae_error *err) {
  if (strncmp(config->store, "nats://", 7) != 0) return AE_OK;
  ae_buf url = {0};
  ae_str login = {0};
  ae_status status = AE_OK;
  for (const char *at = config->store; *at && status == AE_OK;) {
    size_t len = strcspn(at, ",");
    const char *host = strstr(at, "://");
    host = host && host < at + len ? host + 3 : at;
    size_t rest = (size_t)(at + len - host), before = rest;
    while (before > 0 && host[before - 1] != '@') before--;
    ae_str mine = {host, before > 0 ? before - 1 : 0};
    if (before > 0 && login.ptr && !ae_str_eq(mine, login))
      status = ae_error_set(err, AE_MALFORMED,
                            "store: the servers in the list have different "
                            "users; one login is for all of them");
    if (before > 0) login = mine;
    ae_buf_printf(&url, "%.*s%.*s", (int)(host - at), at, (int)(rest - before),
                  host + before);
    at += len;
    if (*at == ',') ae_buf_byte(&url, (uint8_t)*at++);
  }
  if (status == AE_OK && login.ptr) {
    log_in_as(&config->nats, login);
    ae_free(config->store);
    config->store = ae__str_copy(ae_buf_view(&url));
  }
  ae_buf_clear(&url);
  return status;
}

void ae__nats_clear(ae_config *config) {
  ae_nats_config *nats = &config->nats;
  ae_free(nats->credentials);
  ae_free(nats->nkey);
  ae_free(nats->user);
  ae_free(nats->password);
  ae_free(nats->token);
  ae_free(nats->ca);
  ae_free(nats->certificate);
  ae_free(nats->key);
}

ae_wire_options ae_nats_login(const ae_config *config) {
  const ae_nats_config *nats = &config->nats;
  return (ae_wire_options){.name = config->node,
                           .credentials = nats->credentials,
                           .nkey = nats->nkey,
                           .user = nats->user,
                           .password = nats->password,
                           .token = nats->token,
                           .tls = nats->tls,
                           .ca = nats->ca,
                           .certificate = nats->certificate,
                           .key = nats->key};
}
