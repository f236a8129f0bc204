/* What a node answers, for people. */
#ifndef AE_DOOR_CLIENT_SHOW_H
#define AE_DOOR_CLIENT_SHOW_H

#include "door/answer.h"

/* An event as the doors write it (msgpack); slices of `packed`. False: it is
 * none. Of the fields that are for machines only `position`, `index`, `version`
 * and `time` are read. */
bool ae__show_read(ae_str packed, ae_event *event);
/* The same from its line. `packed` is emptied, and keeps what `event` points
 * at. */
bool ae__show_read_line(ae_str line, ae_buf *packed, ae_event *event);
/* A line for people appended, coloured where stdout takes that. */
void ae__show_event(ae_buf *out, const ae_event *event, bool actor);

#endif
