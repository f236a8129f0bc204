/* TLS between a connection and its wire: OpenSSL over memory. */
#ifndef AE_DOOR_HTTP_TLS_H
#define AE_DOOR_HTTP_TLS_H

#include "door/http/server.h"

/* What all connections of a server share: certificate, key, who may sign
 * clients' certificates (`ca`, NULL: none are asked for). AE_USAGE names the
 * file and what is wrong with it. */
ae_status ae__tls_new(const char *certificate, const char *key, const char *ca,
                      ae__tls_shared **out, ae_error *err);
void ae__tls_free(ae__tls_shared *shared); /* NULL is harmless */

/* A connection's own; ae__tls_close frees it. */
ae__tls *ae__tls_accept(ae__tls_shared *shared);
void ae__tls_close(ae__tls *tls);
bool ae__tls_spoken(const ae__tls *tls); /* the first bytes have come */

/* Bytes from the wire; hands what they hold to ae__connection_plain. False:
 * the peer does not speak TLS, or breaks it. */
bool ae__tls_open(ae__connection *c, ae_str bytes);
/* Seals what is in c->out. False: broken. */
bool ae__tls_seal(ae__connection *c);
/* Sealed bytes that wait for the wire. */
ae_buf *ae__tls_sealed(ae__connection *c);
/* Says goodbye, behind what is in c->out. */
void ae__tls_bye(ae__connection *c);

#endif
