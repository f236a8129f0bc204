/* One HTTP request and its answer: between the connection, which parses,
 * limits, encrypts and writes, and a route, which knows what is asked.
 *
 *   the connection                         the route
 *   request line and headers are there ──► start      (whole body: with it)
 *   a piece of a streamed body ──────────► body       (last: end is true)
 *                       ae__exchange_pause / _resume ◄─ no more for now
 *                begin, add, write …, end ◄──────────── an answer
 *   what was full was sent ──────────────► drained
 *   answered, or broken ─────────────────► gone       (once, the last call)
 *
 * An exchange belongs to its connection. A route that has something in flight
 * when `gone` comes forgets the exchange and finishes alone. None of the
 * route's functions is called inside a function of this header. An answer may
 * begin before a streamed body has ended; one that ends before it ends the
 * connection too. After `gone` of an answer that is whole, what of it waits to
 * be sent is the connection's own. */
#ifndef AE_DOOR_HTTP_EXCHANGE_H
#define AE_DOOR_HTTP_EXCHANGE_H

#include "namespace/grant.h"
#include "node/node.h"

typedef struct ae__http ae__http; /* the server */
typedef struct ae__exchange ae__exchange;
typedef struct ae__route ae__route;

typedef enum ae__method {
  AE__METHOD_GET = 1, /* HEAD is a GET whose body is not sent */
  AE__METHOD_POST,
  AE__METHOD_OTHER, /* answered with 405 by the connection */
} ae__method;

#define AE__SEGMENTS_MAX 8

struct ae__route {
  ae__method method;
  /* "/v1/{ns}/{type}/{id}": a segment in braces matches any one segment; a
   * literal one wins over it. */
  const char *path;
  const char *name; /* for metrics, and the log */
  unsigned right;   /* ae_right that is needed; 0: open to all. Where the path
                       has {ns}, in that namespace, checked before `start` so
                       that a namespace which is not granted looks like one
                       that is not there; else the route checks */
  bool streams;     /* the body comes in pieces through `body` */
  void (*start)(ae__exchange *x);
  void (*body)(ae__exchange *x, ae_str piece, bool end);
  void (*drained)(ae__exchange *x);
  void (*gone)(ae__exchange *x); /* may be NULL */
};

struct ae__exchange {
  ae__http *http;
  ae_node *node;
  const ae__route *route;
  const ae_grant *grant; /* who asks; lives as long as the server */
  ae__method method;
  ae_str path; /* as sent, without the query */
  /* Decoded, valid UTF-8, one for each segment of the path. */
  ae_str segments[AE__SEGMENTS_MAX];
  unsigned segment_count;
  ae_str body;   /* the whole body, where the route does not stream */
  void *context; /* the route's own */
};

/* -- the request; slices live until `gone` -- */
/* The segment that the route's path calls `{name}`. */
ae_str ae__exchange_segment(const ae__exchange *x, const char *name);
/* Of a header (lower case name); ptr NULL: not sent. */
ae_str ae__exchange_header(const ae__exchange *x, const char *name);
/* Decoded; ptr NULL: not given. */
ae_str ae__exchange_query(const ae__exchange *x, const char *name);
/* The n-th of the query, undecoded names aside: false behind the last. For
 * telling of unknown ones. */
bool ae__exchange_query_at(const ae__exchange *x, size_t n, ae_str *name,
                           ae_str *value);
/* No more `body` until _resume; what the kernel holds then stops the client. */
void ae__exchange_pause(ae__exchange *x);
void ae__exchange_resume(ae__exchange *x);

/* -- the answer -- */
/* A whole answer: status, content type and body; headers added before it are
 * sent too. */
void ae__exchange_answer(ae__exchange *x, int status, const char *type,
                         ae_str body);
/* problem+json with the error's code, message and facts; its HTTP status. */
void ae__exchange_fail(ae__exchange *x, const ae_error *err);
/* The same with a status of HTTP's own (415, 406, 304, …) in its place. */
void ae__exchange_refuse(ae__exchange *x, int status, const ae_error *err);
/* A header of the answer, before it begins. Values with line breaks or control
 * characters are left out. */
void ae__exchange_add(ae__exchange *x, const char *name, ae_str value);
/* An answer in pieces. */
void ae__exchange_begin(ae__exchange *x, int status, const char *type);
/* Where to put the next bytes: append to it, then _send. */
ae_buf *ae__exchange_out(ae__exchange *x);
/* Hands over what was appended; true: so much waits that the route should stop
 * until `drained`. What is appended in one turn of the loop goes out together.
 */
bool ae__exchange_send(ae__exchange *x);
void ae__exchange_end(ae__exchange *x);
/* Says, after _begin, that the answer has no end of its own (follow, listen):
 * the connection ends it when the node drains, or when the client has closed
 * its half; then `gone`. */
void ae__exchange_endless(ae__exchange *x);
/* Begun, and something broke: what was sent goes out, then the connection is
 * cut so that the client knows that the answer is not whole. */
void ae__exchange_abort(ae__exchange *x);

/* All routes of the node, made of the tables below. NULL: none; then *allowed
 * is the methods that the path has ("GET, POST"), or "" for no such path. */
const ae__route *ae__route_find(ae__method method, const ae_str *segments,
                                unsigned count, const char **allowed);
/* Each ends with path NULL. */
extern const ae__route ae__routes_commands[];
extern const ae__route ae__routes_actors[];
extern const ae__route ae__routes_events[];
extern const ae__route ae__routes_admin[];
extern const ae__route ae__routes_reload[];
extern const ae__route ae__routes_repair[];
extern const ae__route ae__routes_watch[]; /* health, metrics, OpenAPI */

#endif
