/* The bus across nodes, over NATS. A node publishes each event that it stored
 * on `aether.events.NAMESPACE` (its dots are NATS's, so that patterns mean the
 * same here and there):
 *
 *   Aether-Type     the event's type
 *   Aether-Actor    NAMESPACE/TYPE/ID
 *   Aether-Version  the actor's version
 *   Aether-Node     an id of this connection: a node does not hear itself
 *   Nats-Msg-Id     the event's id
 *   body            msgpack, as ae_event_render writes it
 *
 * Control bytes and `%` of a header's text, and a blank at its end, are written
 * as `%` and two hex digits; the body has them as they are. */
#ifndef AE_BUS_REMOTE_NATS_H
#define AE_BUS_REMOTE_NATS_H

#include "bus/remote.h"
#include "wire/nats.h"

typedef struct ae_bus_nats ae_bus_nats;

/* Attaches. Both outlive it. What is published while there is no connection is
 * dropped, and counted. */
ae_bus_nats *ae_bus_nats_open(ae_bus *bus, ae_wire *wire);
/* Detaches; before the wire is closed. NULL is harmless. */
void ae_bus_nats_close(ae_bus_nats *nats);

#endif
