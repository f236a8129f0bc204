/* The settings `tokens` and `grants`: who may do what. */
#ifndef AE_NODE_TOKENS_H
#define AE_NODE_TOKENS_H

#include "node/found.h"

#define AE_TOKEN_HASHED                                \
  "sha256:" /* what a hash in the settings begins with \
             */

/* False where `text` is no hash. */
bool ae__token_hash(ae_str text, uint8_t out[AE_TOKEN_HASH]);

/* Fills config->tokens from what their shapes let through. AE_MALFORMED for
 * what fits its shape and makes no sense: something missing, two tokens of one
 * name, a grant for nobody. */
ae_status ae__tokens_find(ae_config *config, const ae__found *tokens,
                          const ae__found *grants, ae_error *err);
void ae__tokens_clear(ae_config *config);

#endif
