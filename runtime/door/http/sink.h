/* Events on their way to one client: NDJSON, or server-sent events.
 *
 *   NDJSON                          SSE
 *   {"id":…}                        id: 17.0
 *                                   event: Deposited
 *                                   data: {"id":…}
 *   {"error":{"code":…}}            event: damaged    a stored record that
 *                                   data: {"error":…} cannot be read
 *   {"dropped":3}                   event: dropped    of a live subscription
 *                                   data: {"dropped":3}
 *                                   : (a comment)     nothing came for a while
 *
 * Types of events are CamelCase, so that no event is called as the others are.
 */
#ifndef AE_DOOR_HTTP_SINK_H
#define AE_DOOR_HTTP_SINK_H

#include "door/http/exchange.h"

typedef struct ae__sink {
  ae__exchange *x;
  bool sse;
  bool full;         /* as ae__sink_send said last */
  size_t held;       /* bytes written since */
  uv_timer_t *heart; /* NULL: not beating */
} ae__sink;

/* Begins the answer. `endless`: it goes on until the client has enough. */
void ae__sink_begin(ae__sink *sink, ae__exchange *x, bool sse, bool endless);
/* `id`: what the client may go on behind (SSE), may be empty. */
void ae__sink_event(ae__sink *sink, const char *id, const ae_event *event);
void ae__sink_damage(ae__sink *sink, const ae_error *err);
void ae__sink_dropped(ae__sink *sink, uint64_t count);
/* Hands over what was written; true: no more until `drained`, to be told by
 * ae__sink_drained. */
bool ae__sink_send(ae__sink *sink);
void ae__sink_drained(ae__sink *sink);
/* The answer is whole. */
void ae__sink_end(ae__sink *sink);
/* It is not: says why, and cuts the connection. */
void ae__sink_break(ae__sink *sink, const ae_error *err);
/* To be called with `gone`. */
void ae__sink_close(ae__sink *sink);

#endif
