/* JSON at the doors. json-c reads it; msgpack is what is kept inside. */
#ifndef AE_BASE_JSON_H
#define AE_BASE_JSON_H

#include "base/buf.h"
#include "base/status.h"

/* Text → one msgpack value appended to `out`. Whole text, strict: no comments,
 * no trailing commas, no NaN, valid UTF-8, no duplicate key, at most
 * AE_PACK_DEPTH deep. Integers stay exact from -2^63 to 2^64-1; beyond that
 * AE_MALFORMED (never rounded in silence). The error says the byte offset
 * (fact `at`). Nothing is appended on failure. */
ae_status ae_json_read(ae_str text, ae_buf *out, ae_error *err);

/* One msgpack value → compact JSON appended to `out`: binary as base64,
 * integer map keys as decimal strings, doubles in the shortest form that reads
 * back as the same. `bytes` must be valid (ae_pack_valid), a few levels around
 * a valid value do no harm; damage writes null in its place. */
void ae_json_write(ae_str bytes, ae_buf *out);
/* The same over several lines, indented by two spaces, for people. */
void ae_json_write_pretty(ae_str bytes, int indent, ae_buf *out);
/* A JSON string with its quotes. Control characters (U+0000 to U+001F, U+007F
 * to U+009F) are escaped, other UTF-8 stands as it is, and a byte that is none
 * becomes U+FFFD. */
void ae_json_write_str(ae_str text, ae_buf *out);
/* The bytes that base64 (with its padding) stands for, appended to `out`;
 * false: it is none, and some of them may be there. */
bool ae_json_base64(ae_str text, ae_buf *out);

#endif
