/* An actor's name: NAMESPACE/TYPE/ID, split at its first two slashes. To those
 * who may not know more (cluster) it is an opaque key. */
#ifndef AE_EVENT_REF_H
#define AE_EVENT_REF_H

#include "base/status.h"

typedef struct ae_ref {
  ae_str ns;
  ae_str type;
  ae_str id;
} ae_ref;

/* Slices of `text`; checks all three names. AE_INVALID_NAME otherwise. */
ae_status ae_ref_parse(ae_str text, ae_ref *out, ae_error *err);
/* NAMESPACE/TYPE/ID appended: the key of an actor everywhere. */
void ae_ref_format(const ae_ref *ref, ae_buf *out);
bool ae_ref_eq(const ae_ref *a, const ae_ref *b);

#endif
