/* The other nodes' half of the bus: what it needs of the wire.
 *
 *   ae_bus_publish ──► publish ──► the other nodes
 *   first subscription of a pattern ──► listen;  last one gone ──► unlisten
 *   the other nodes' events of that pattern ──► ae_bus_receive
 *
 * Each distinct pattern is listened to once, and what comes for it goes to the
 * local subscriptions of that very pattern: patterns that overlap bring an
 * event to one subscription once all the same. */
#ifndef AE_BUS_REMOTE_H
#define AE_BUS_REMOTE_H

#include "bus/bus.h"

typedef struct ae_bus_remote ae_bus_remote;
/* A pattern that somebody here listens to. */
typedef struct ae_bus_interest ae_bus_interest;

typedef struct ae_bus_remote_vtab {
  /* An event that this node stored. Never blocks, never calls back; false: it
   * did not go out. The event's slices live until the return. */
  bool (*publish)(ae_bus_remote *remote, const ae_event *event);
  /* What comes for `pattern` goes to ae_bus_receive(interest, …) from now on,
   * never inside the call. Both live until unlisten. NULL: it cannot be
   * listened to, and the remote has said so in the log. */
  void *(*listen)(ae_bus_remote *remote, ae_bus_interest *interest,
                  ae_str pattern);
  /* What listen returned; nothing is received for it any more. */
  void (*unlisten)(ae_bus_remote *remote, void *listening);
} ae_bus_remote_vtab;

/* The first member of what implements it. */
struct ae_bus_remote {
  const ae_bus_remote_vtab *vtab;
};

/* What is published and subscribed to from now on, and the patterns that are
 * listened to already. One at a time; it lives until ae_bus_detach. */
void ae_bus_attach(ae_bus *bus, ae_bus_remote *remote);
/* Ends all listening; subscriptions stay, and hear this node alone. Before
 * ae_bus_free. */
void ae_bus_detach(ae_bus *bus);

/* An event of another node: `body` as ae_event_render wrote it, under the
 * namespace `ns`. Copied. One that cannot be read, or that names another
 * namespace, is counted, and the first is logged. */
void ae_bus_receive(ae_bus_interest *interest, ae_str ns, ae_str body);

#endif
