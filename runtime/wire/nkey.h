/* NKeys: Ed25519 keys in base32 with a prefix and a checksum
 * (github.com/nats-io/nkeys). */
#ifndef AE_WIRE_NKEY_H
#define AE_WIRE_NKEY_H

#include <stdbool.h>

#define AE__NKEY_LEN 56

/* The public key that belongs to the user's seed in `file`; false where there
 * is none. */
bool ae__nkey_public(const char *file, char out[AE__NKEY_LEN + 1]);

#endif
