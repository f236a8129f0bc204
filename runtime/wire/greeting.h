/* What a nats-server says of itself to whoever connects. */
#ifndef AE_WIRE_GREETING_H
#define AE_WIRE_GREETING_H

#include "base/status.h"

/* The version of the server at `url` ("nats://HOST:PORT", without a user),
 * whether it is `bare` (without JetStream, and in no cluster that could have
 * it), and whether it demands TLS: nats.c 3.4 reads that and keeps it to
 * itself. Connects once, blocks for 2 s at most. AE_STORE_UNAVAILABLE where the
 * server does not greet as one does. */
ae_status ae__greeting(const char *url, unsigned version[3], bool *bare,
                       bool *tls, ae_error *err);

#endif
