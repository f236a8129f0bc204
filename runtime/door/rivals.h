/* The code that a running node has, for `aether check` to compare with. */
#ifndef AE_DOOR_RIVALS_H
#define AE_DOOR_RIVALS_H

#include "door/client/client.h"
#include "node/check.h"

typedef struct ae__rivals {
  ae_check_rival *items; /* only where it is not what the folder has */
  size_t count;
  bool asked; /* a node answered */
  char url[128];
  ae_buf answer; /* msgpack that the items point into */
} ae__rivals;

/* Asks the node at --url or AETHER_URL, else the app's own, where one runs.
 * With --store alone none is asked. An error: there should be one, and it does
 * not answer or does not tell. The node lives on: nothing of it is changed. */
ae_status ae__rivals_ask(ae__rivals *rivals, const ae__args *args,
                         const ae_config *config, ae_node *node, ae_error *err);
void ae__rivals_clear(ae__rivals *rivals);

#endif
