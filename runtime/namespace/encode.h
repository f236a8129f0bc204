/* Names as tokens of streams, buckets and subjects: reversible, so that `a.b`
 * and `a_b` never meet. [A-Za-z0-9-] stand for themselves; any other byte is
 * `_` and two lower-case hex digits. */
#ifndef AE_NAMESPACE_ENCODE_H
#define AE_NAMESPACE_ENCODE_H

#include "base/status.h"

void ae_encode(ae_str name, ae_buf *out);
/* False for what ae_encode does not make; `out` then keeps its length. */
bool ae_decode(ae_str token, ae_buf *out);

#endif
