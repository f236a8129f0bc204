/* The setting `nats`: how this node logs in to nats-server. */
#ifndef AE_NODE_NATS_H
#define AE_NODE_NATS_H

#include "node/found.h"
#include "wire/nats.h"

/* Fills config->nats. `folder`: what paths are relative to, NULL: the current
 * one. */
void ae__nats_find(ae_config *config, const ae__found *key, const char *folder);
void ae__nats_clear(ae_config *config);
/* Slices of `config`; without a URL. */
ae_wire_options ae_nats_login(const ae_config *config);

#endif
