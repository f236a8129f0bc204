/* Names: namespace 1–64 of [A-Za-z0-9._-]; type and module [a-z][a-z0-9_]*,
 * at most 64 bytes; id any UTF-8 of 1–255 bytes. */
#ifndef AE_NAMESPACE_NAME_H
#define AE_NAMESPACE_NAME_H

#include "base/status.h"

#define AE_NAMESPACE_MAX 64
#define AE_TYPE_MAX 64
#define AE_ID_MAX 255

/* AE_OK, or AE_INVALID_NAME with a message that shows the name (escaped) and
 * the rule. `.` and `..` and names with an empty token (`a..b`, `.a`) are no
 * namespaces: they would be none as bus subjects. */
ae_status ae_namespace_check(ae_str name, ae_error *err);
/* `events`, `commands`, `projections` and `admin` are no types. */
ae_status ae_type_check(ae_str name, ae_error *err);
ae_status ae_module_check(ae_str name, ae_error *err);
ae_status ae_id_check(ae_str id, ae_error *err);

#endif
