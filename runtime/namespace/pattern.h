/* Namespace patterns, NATS's: tokens parted by dots, `*` is one token, `>` the
 * rest (at least one, last only). */
#ifndef AE_NAMESPACE_PATTERN_H
#define AE_NAMESPACE_PATTERN_H

#include "base/status.h"

ae_status ae_pattern_check(ae_str pattern, ae_error *err);
bool ae_pattern_wild(ae_str pattern); /* holds `*` or `>` as a token */
/* Both checked before. */
bool ae_pattern_match(ae_str pattern, ae_str name);
/* Whether all names that `narrow` matches are matched by `wide`; both are
 * patterns, checked before. */
bool ae_pattern_covers(ae_str wide, ae_str narrow);

#endif
