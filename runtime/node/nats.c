/* The setting `nats`: how this node logs in to nats-server. */
#include "node/nats.h"

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
