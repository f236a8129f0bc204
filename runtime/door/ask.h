/* A command as a line of NDJSON asks for it. */
#ifndef AE_DOOR_ASK_H
#define AE_DOOR_ASK_H

#include "door/answer.h"

/* Reads one line. `bytes` is emptied, and keeps what `command` and `asked`
 * point at. AE_OK: `command` is ready to be submitted but for its callback.
 * Else `asked` has what could be understood, and `err` says with `at` where
 * and what is wrong. */
ae_status ae__ask_read(ae_str line, ae_buf *bytes, ae_command *command,
                       ae__asked *asked, ae_error *err);
/* The same from one canonical msgpack value (base/pack.h), which outlives
 * `command` and `asked`. `actor`: whom it is for, where that stands elsewhere;
 * ptr NULL: it is in the value. */
ae_status ae__ask_take(ae_str bytes, ae_str actor, ae_command *command,
                       ae__asked *asked, ae_error *err);

#endif
