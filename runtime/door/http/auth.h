/* Who asks at the HTTP door, and what they may.
 *
 * With tokens in the settings every request needs one, also on loopback: a
 * proxy in front makes all peers local. Without any, the door is open to
 * programs on the same machine alone: it listens on loopback, the peer is
 * there too, and neither a proxy's headers nor a web page's stand in between
 * (Host must name loopback, Origin must be the node itself), so that no page
 * in a browser of that machine can send commands or read.
 *
 * Every token sees the metrics and the description of its namespaces; its
 * rights say what more it may. */
#ifndef AE_DOOR_HTTP_AUTH_H
#define AE_DOOR_HTTP_AUTH_H

#include <sys/socket.h>

#include "door/http/exchange.h"

typedef struct ae__auth ae__auth;

/* A route's `right` where any token will do: the route itself shows only what
 * the token's namespaces hold. */
#define AE__RIGHT_ANY 256u

/* `loopback`: all that is listened on is. AE_USAGE saying what to do: it is
 * not, and there are no tokens. Logs a warning for each token that may use
 * wildcards. `config` must outlive it, and it each exchange. */
ae_status ae__auth_new(const ae_config *config, bool loopback, ae__auth **out,
                       ae_error *err);
void ae__auth_free(ae__auth *auth); /* NULL is harmless */
bool ae__auth_loopback(const struct sockaddr *address);

/* For the connection, when route, segments and headers are there and before
 * `start`: sets x->grant (never NULL where it is AE_OK; that of nobody, who
 * may nothing, on a route that is open to all). `loopback`: the peer is.
 * Otherwise the answer is ae__exchange_fail with `err`, and what else belongs
 * to it (WWW-Authenticate) has been added to `x`:
 *   AE_UNAUTHENTICATED   no token, or one that is none
 *   AE_FORBIDDEN         the route's right is not among the token's
 *   AE_UNKNOWN_NAMESPACE the path's {ns} is not there, or not granted */
ae_status ae__auth_admit(ae__auth *auth, ae__exchange *x, bool loopback,
                         ae_error *err);

/* For routes whose path does not have {ns}: the namespace is in the body or in
 * the query. The statuses of above; nearest names are only of what is granted.
 */
ae_status ae__auth_allows(const ae_node *node, const ae_grant *grant,
                          ae_right right, ae_str ns, ae_error *err);
/* The namespace is one of the grant's, whatever the rights. */
bool ae__auth_sees(const ae_grant *grant, ae_str ns);
/* So is every namespace: what tells of the whole process may be shown. */
bool ae__auth_sees_all(const ae_grant *grant);

/* What of a request says who sends it; ptr NULL: that header was not sent. */
typedef struct ae__auth_asked {
  ae_str authorization, host, origin, fetch_site; /* Sec-Fetch-Site */
  bool forwarded; /* a proxy's header was sent */
  bool loopback;  /* the peer */
} ae__auth_asked;
/* The first half of ae__auth_admit: who it is, or AE_UNAUTHENTICATED. */
ae_status ae__auth_who(ae__auth *auth, const ae__auth_asked *asked,
                       const ae_grant **out, ae_error *err);
/* For metrics: how many were AE_UNAUTHENTICATED. */
uint64_t ae__auth_refused(const ae__auth *auth);

#endif
