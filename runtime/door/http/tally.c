/* Requests counted by their routes. */
#include "base/mem.h"
#include "door/http/server.h"

static size_t routes_of(const ae__route *table) {
  size_t count = 0;
  while (table[count].path) count++;
  return count;
}

/* Where a route's counts stand; those without one come first. */
static size_t place_of(const ae__http *http, const ae__route *route) {
  size_t before = 1;
  for (const ae__route *const *table = http->routes; route && *table; table++) {
    size_t count = routes_of(*table);
    if (route >= *table && route < *table + count)
      return before + (size_t)(route - *table);
    before += count;
  }
  return 0;
}

void ae__tally_init(ae__http *http) {
  http->tally_count = 1;
  for (const ae__route *const *table = http->routes; *table; table++)
    http->tally_count += routes_of(*table);
  http->tally = ae_zalloc(http->tally_count * sizeof *http->tally);
  size_t at = 1;
  for (const ae__route *const *table = http->routes; *table; table++)
    for (const ae__route *route = *table; route->path; route++)
      http->tally[at++].route = route;
}

void ae__tally_add(ae__http *http, const ae__route *route, int status) {
  size_t class = status / 100 < 6 ? (size_t)status / 100 : 0;
  http->counts.requests[class]++;
  http->tally[place_of(http, route)].requests[class]++;
}

bool ae__http_route_count(const ae__http *http, size_t at,
                          ae__route_counts *out) {
  if (at >= http->tally_count) return false;
  *out = http->tally[at];
  return true;
}
