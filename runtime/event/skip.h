/* What stands in the place of commits that cannot be read, where an operator
 * decided so: it keeps their versions, and means nothing.
 *
 * Its events have the type AE_EVENT_SKIPPED, which no module can make, and the
 * host passes over them wherever events go to Lua. Of a commit without events,
 * one without commands stands in the place. Command ids that it held are still
 * taken: the store's index names the commit, which does not hold them. */
#ifndef AE_EVENT_SKIP_H
#define AE_EVENT_SKIP_H

#include "event/event.h"

#define AE_EVENT_SKIPPED "$Skipped"

/* Appends the record: `commit` gives ref, first_version, time, id and node.
 * `cause` becomes data of its first event. */
void ae_skip_encode(ae_buf *out, const ae_commit *commit, uint32_t events,
                    ae_str cause);
/* A decoded commit is one of these. */
bool ae_skip_is(const ae_commit *commit);

#endif
