#include "door/http/exchange.h"
#include "door/http/server.h"

const ae__route *const ae__routes_all[] = {
    ae__routes_commands, ae__routes_actors, ae__routes_events, ae__routes_admin,
    ae__routes_reload,   ae__routes_repair, ae__routes_watch,  NULL};

/* How well a path fits: 0 for not at all; else a bit for each literal segment,
 * the first the highest, so that the larger number is the better fit. */
static unsigned fit(const char *path, const ae_str *segments, unsigned count) {
  unsigned bits = 1;
  unsigned at = 0;
  for (const char *next = path + 1;; at++) {
    if (at == count) return 0;
    size_t len = strcspn(next, "/");
    bool open = len > 0 && next[0] == '{';
    if (open ? segments[at].len == 0
             : !ae_str_eq(segments[at], (ae_str){next, len}))
      return 0;
    bits = bits << 1 | !open;
    if (!next[len]) break;
    next += len + 1;
  }
  return at + 1 == count ? bits : 0;
}

const ae__route *ae__route_find_in(const ae__route *const *tables,
                                   ae__method method, const ae_str *segments,
                                   unsigned count, const char **allowed) {
  const ae__route *found = NULL;
  unsigned best = 0, methods = 0;
  *allowed = "";
  if (count > AE__SEGMENTS_MAX) return NULL;
  for (; *tables; tables++)
    for (const ae__route *one = *tables; one->path; one++) {
      unsigned how = fit(one->path, segments, count);
      if (how == 0) continue;
      methods |= 1u << one->method;
      if (one->method != method || how <= best) continue;
      best = how;
      found = one;
    }
  bool get = methods & 1u << AE__METHOD_GET;
  bool post = methods & 1u << AE__METHOD_POST;
  if (get || post)
    *allowed = get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : "POST";
  return found;
}

const ae__route *ae__route_find(ae__method method, const ae_str *segments,
                                unsigned count, const char **allowed) {
  return ae__route_find_in(ae__routes_all, method, segments, count, allowed);
}
