/* Tokens as they are made, and what is kept of them. */
#ifndef AE_DOOR_SECRET_H
#define AE_DOOR_SECRET_H

#include "node/config.h"

/* What every token that is made here begins with, so that it is known for what
 * it is where it should not be. */
#define AE__SECRET_PREFIX "aether_"
#define AE__SECRET_DIGITS 43 /* of 62 kinds: 256 bits */
#define AE__SECRET_LEN (sizeof AE__SECRET_PREFIX - 1 + AE__SECRET_DIGITS)

/* A new token, with a NUL behind. AE_STORE_UNAVAILABLE: the system gives no
 * random bytes. */
ae_status ae__secret_make(char out[AE__SECRET_LEN + 1], ae_error *err);
/* SHA-256 of a token's text. */
void ae__secret_hash(ae_str token, uint8_t out[AE_TOKEN_HASH]);
/* Takes as long whatever differs. */
bool ae__secret_same(const uint8_t a[AE_TOKEN_HASH],
                     const uint8_t b[AE_TOKEN_HASH]);
/* "sha256:HEX" appended. */
void ae__secret_show(const uint8_t hash[AE_TOKEN_HASH], ae_buf *out);

#endif
