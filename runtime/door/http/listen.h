/* GET /v1/events?pattern=: what happens now, over the bus. It may drop: a
 * client that reads too slowly is told how many it missed. */
#ifndef AE_DOOR_HTTP_LISTEN_H
#define AE_DOOR_HTTP_LISTEN_H

#include "door/http/exchange.h"

void ae__listen_start(ae__exchange *x);
void ae__listen_drained(ae__exchange *x);
void ae__listen_gone(ae__exchange *x);

#endif
