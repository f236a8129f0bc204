/* What a reload found, for machines and for people. */
#ifndef AE_DOOR_FINDINGS_H
#define AE_DOOR_FINDINGS_H

#include "node/reload.h"

/* Appends one msgpack map: kind (mistake, failure, difference, note), refuses,
 * namespace, the error's code, message and facts, and of a difference changes:
 * list of path, before, after (left out where they are too many). */
void ae__finding_pack(const ae_reload_finding *finding, ae_buf *out);
/* Appends lines for people of such a map; changes are indented. */
void ae__finding_text(ae_str packed, ae_buf *out);
/* Appends a map of what became of a namespace, and a line of such a map. */
void ae__reloaded_pack(const ae_reloaded *one, ae_buf *out);
void ae__reloaded_text(ae_str packed, bool dry_run, ae_buf *out);

#endif
