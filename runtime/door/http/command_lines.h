/* POST /v1/commands: NDJSON commands in, NDJSON outcomes out, in the order of
 * the lines, while more come in. A client that does not read its outcomes is
 * not read any more; what waits is bounded, for one and for all together. */
#ifndef AE_DOOR_HTTP_COMMAND_LINES_H
#define AE_DOOR_HTTP_COMMAND_LINES_H

#include "door/http/exchange.h"

void ae__command_lines_start(ae__exchange *x);
void ae__command_lines_body(ae__exchange *x, ae_str piece, bool end);
void ae__command_lines_drained(ae__exchange *x);
void ae__command_lines_gone(ae__exchange *x);

#endif
