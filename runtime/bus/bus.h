/* The event bus: what was stored is told to who listens.
 *
 * It is for listening; it may drop. A full subscription drops and never slows
 * the publisher. All functions are called on the loop thread. */
#ifndef AE_BUS_BUS_H
#define AE_BUS_BUS_H

#include "event/event.h"
#include "loop/loop.h"
#include "namespace/grant.h"

#define AE_BUS_BUFFER 100 /* events a subscription holds, unless it says */
/* Bytes of records that a subscription holds, or one record that is longer. */
#define AE_BUS_BYTES (8u << 20)

typedef struct ae_bus ae_bus;
typedef struct ae_subscription ae_subscription;

ae_bus *ae_bus_new(ae_loop *loop);
/* Every subscription must be closed; asserts it. Not inside a wake. NULL is
 * harmless. */
void ae_bus_free(ae_bus *bus);

/* Tells of one commit that was stored: `record` (event/event.h, undamaged)
 * with `event_count` events, at `position` of the actor's namespace. Nearly
 * free where nobody listens there; else the record is copied once, for all who
 * take some of it. Its events reach each subscription in the order of their
 * versions, and none twice. */
void ae_bus_publish(ae_bus *bus, const ae_ref *ref, ae_str record,
                    uint32_t event_count, uint64_t position);
/* Whether anybody listens to this namespace. */
bool ae_bus_listened(const ae_bus *bus, ae_str ns);

typedef struct ae_subscription_options {
  ae_str pattern;      /* of namespaces: a name, or with `*` and `>` */
  const ae_str *types; /* of events; count 0: all */
  size_t type_count;
  ae_str actor;          /* TYPE/ID, each a name, `*`, or a prefix and `*`;
                            len 0: any */
  size_t buffer;         /* events held; 0: AE_BUS_BUFFER */
  const ae_grant *grant; /* whose it is; used during the call only */
  /* There is something to fetch after ae_subscription_next had said false (or
   * after the start). Never inside publish or subscribe; at most once until
   * next says false again. It may close this subscription, or others. NULL:
   * the owner looks by itself. */
  void (*wake)(ae_subscription *subscription, void *data);
  void *data;
} ae_subscription_options;

/* Copies what it keeps. AE_INVALID_NAME for a pattern or filter that is none,
 * AE_FORBIDDEN (ae_grant_subscribe). A subscription with wildcards is logged
 * as a warning. */
ae_status ae_bus_subscribe(ae_bus *bus, const ae_subscription_options *options,
                           ae_subscription **out, ae_error *err);
/* No wake after it; what it held is gone (neither delivered nor dropped). NULL
 * is harmless. */
void ae_subscription_close(ae_subscription *subscription);
/* The oldest event held; false: none. Its slices live until the next call, or
 * the close. */
bool ae_subscription_next(ae_subscription *subscription, ae_event *event);

/* Of the events that match: delivered + dropped + held is how many there were.
 */
typedef struct ae_subscription_counts {
  uint64_t delivered; /* fetched by ae_subscription_next */
  uint64_t dropped;   /* there was no room: the new ones go */
  size_t held;
} ae_subscription_counts;
void ae_subscription_count(const ae_subscription *subscription,
                           ae_subscription_counts *out);

/* For metrics and status: of one namespace. A subscription with wildcards
 * counts in each namespace for what it got from there. */
typedef struct ae_bus_counts {
  uint64_t published; /* events, listened to or not */
  uint64_t received;  /* events of other nodes, for each pattern listened to */
  uint64_t delivered, dropped;
  size_t subscriptions; /* that match it now */
} ae_bus_counts;
void ae_bus_count(const ae_bus *bus, ae_str ns, ae_bus_counts *out);

/* What went to other nodes and came from them (bus/remote.h): events. */
typedef struct ae_bus_abroad {
  uint64_t sent, unsent; /* published there; dropped, without a connection */
  uint64_t received;     /* for each pattern that is listened to here */
  uint64_t malformed;    /* messages that were no events */
} ae_bus_abroad;
/* False: there is no way to other nodes. */
bool ae_bus_abroad_count(const ae_bus *bus, ae_bus_abroad *out);

#endif
