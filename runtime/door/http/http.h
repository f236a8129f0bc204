/* The HTTP door of a node: listens, and serves the routes of exchange.h. */
#ifndef AE_DOOR_HTTP_HTTP_H
#define AE_DOOR_HTTP_HTTP_H

#include "door/http/exchange.h"

typedef struct ae__http_limits {
  size_t header;        /* bytes of request line and headers */
  size_t body;          /* bytes of a body that is taken whole */
  size_t line;          /* bytes of a line in a streamed body */
  unsigned connections; /* at a time */
  unsigned header_ms;   /* for the headers to come */
  unsigned body_ms;     /* without a byte of a body that is due */
  unsigned idle_ms;     /* between requests */
  unsigned send_ms;     /* without a byte taken by a client that is owed some */
  size_t bodies;        /* bytes of bodies that are taken whole, of all
                           connections together; above it `overloaded` */
} ae__http_limits;
extern const ae__http_limits ae__http_defaults;

typedef struct ae__http_options {
  ae_loop *loop;
  ae_node *node;          /* settings `listen`, `tls`, `tokens` and `http` are
                             its config's */
  ae__http_limits limits; /* 0 in a member: what the settings say */
  const ae__route *const *routes; /* tables, then NULL; NULL: the node's */
} ae__http_options;

/* Listens. AE_USAGE or AE_STORE_UNAVAILABLE with what to do: the address is in
 * use or not this machine's, a certificate cannot be read, no tokens and an
 * address that is not loopback. */
ae_status ae__http_open(const ae__http_options *options, ae__http **out,
                        ae_error *err);
/* "http://127.0.0.1:7070": the port that was got, where 0 was asked. */
const char *ae__http_url(const ae__http *http);
/* Reads certificate and key again, from the same files: connections that come
 * from now on get them. What is wrong with them is said, and nothing changes.
 */
ae_status ae__http_renew(ae__http *http, ae_error *err);
/* Stops listening; what is under way goes on and is answered with
 * `Connection: close`; endless answers (follow, listen) end. */
void ae__http_drain(ae__http *http);
/* Cuts what is still there, then `cb`, then it is gone. */
void ae__http_close(ae__http *http, void (*cb)(void *data), void *data);

/* For metrics. */
typedef struct ae__http_counts {
  unsigned connections; /* now */
  uint64_t accepted, refused;
  uint64_t requests[6]; /* by the first digit of the status */
  uint64_t bytes_in, bytes_out;
} ae__http_counts;
void ae__http_count(const ae__http *http, ae__http_counts *out);
typedef struct ae__route_counts {
  const ae__route *route; /* NULL: what came to none */
  uint64_t requests[6];   /* as above */
} ae__route_counts;
/* One after the other; false behind the last. */
bool ae__http_route_count(const ae__http *http, size_t at,
                          ae__route_counts *out);

#endif
