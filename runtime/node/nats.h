/* The setting `nats`: how this node logs in to nats-server. */
#ifndef AE_NODE_NATS_H
#define AE_NODE_NATS_H

#include "node/found.h"
#include "wire/nats.h"

/* Fills config->nats. `folder`: what paths are relative to, NULL: the current
 * one. */
void ae__nats_find(ae_config *config, const ae__found *key, const char *folder);
void ae__nats_clear(ae_config *config);
/* "nats://USER:PASSWORD@HOST" or "nats://TOKEN@HOST" in config->store: moves
 * who logs in to config->nats, so that nothing that shows the store tells a
 * secret. AE_MALFORMED where servers of the list have different ones. */
ae_status ae__nats_take_login(ae_config *config, ae_error *err);
/* Slices of `config`; without a URL. */
ae_wire_options ae_nats_login(const ae_config *config);

#endif
