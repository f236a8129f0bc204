/* Stored events on their way to one client: an actor's or a namespace's, up to
 * now or on and on. A client that reads slowly slows the store's reading; what
 * waits for it is bounded. */
#ifndef AE_DOOR_HTTP_FEED_H
#define AE_DOOR_HTTP_FEED_H

#include "door/http/sink.h"
#include "door/http/want.h"

typedef struct ae__feed_options {
  ae_ref ref;             /* of the actor; else only ns */
  bool of_actor;          /* else of the namespace */
  uint64_t after_version; /* of the actor */
  ae__cursor_at after;    /* of the namespace */
  ae_str *types;          /* the feed's to free; NULL: all */
  size_t type_count;
  uint64_t limit; /* events; UINT64_MAX: all */
  bool follow;    /* goes on with what is stored from now on */
  bool sse;
} ae__feed_options;

/* Answers the exchange, whose context it becomes; what the options point at
 * lives as long as that. */
void ae__feed_start(ae__exchange *x, const ae__feed_options *options);
/* For the route. */
void ae__feed_drained(ae__exchange *x);
void ae__feed_gone(ae__exchange *x);

#endif
