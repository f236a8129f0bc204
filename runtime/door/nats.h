/* The NATS door of a node: commands by request and reply, from any client.
 *
 *   subject  aether.commands.NAMESPACE.TYPE.ID, the names as ae_encode has them
 *   body     {"command":…} as a line of NDJSON has it, without `actor`; JSON,
 * or msgpack with the header Content-Type: application/msgpack reply    the
 * outcome, as it was sent
 *
 * All nodes of a server are one queue group, so any of them answers. */
#ifndef AE_DOOR_NATS_H
#define AE_DOOR_NATS_H

#include "node/node.h"

typedef struct ae__nats ae__nats;

/* *out NULL where the node's store is not on NATS. */
ae_status ae__nats_open(ae_node *node, ae__nats **out, ae_error *err);
/* Takes no more. All of these do nothing with NULL. */
void ae__nats_drain(ae__nats *nats);
/* Nothing is under way. */
bool ae__nats_is_idle(const ae__nats *nats);
/* What is under way ends alone, and is answered if the connection is still
 * there. Before the node is closed. */
void ae__nats_close(ae__nats *nats);

#endif
