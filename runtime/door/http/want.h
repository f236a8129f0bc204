/* What a request says: the actor of its path, parameters of the query,
 * preconditions, what the body is and what the answer shall be. All errors are
 * AE_MALFORMED with `at`, the parameter or header, unless said otherwise. */
#ifndef AE_DOOR_HTTP_WANT_H
#define AE_DOOR_HTTP_WANT_H

#include "door/http/exchange.h"

/* The actor of a path with {ns}, {type} and {id}: its name appended to `names`,
 * `ref` pointing there. AE_INVALID_NAME. */
ae_status ae__want_actor(const ae__exchange *x, ae_buf *names, ae_ref *ref,
                         ae_error *err);

/* -- the query -- */
/* `known` ends with NULL. Each is known and stands once; with `nearest` where
 * one is nearly known. */
ae_status ae__want_check(const ae__exchange *x, const char *const *known,
                         ae_error *err);
/* A whole number from `least` to `most`; `fallback` where it is not given. */
ae_status ae__want_uint(const ae__exchange *x, const char *name, uint64_t least,
                        uint64_t most, uint64_t fallback, uint64_t *out,
                        ae_error *err);
/* `true` or `false`. */
ae_status ae__want_bool(const ae__exchange *x, const char *name, bool fallback,
                        bool *out, ae_error *err);
/* Names with commas between them, none of them empty. `out` is the caller's to
 * free and points into `from`, which is what `name` said. */
ae_status ae__want_list(ae_str from, const char *name, ae_str **out,
                        size_t *count, ae_error *err);

/* Where in a namespace's events somebody stands. */
typedef struct ae__cursor_at {
  uint64_t position;
  uint64_t index; /* UINT64_MAX: behind the whole commit */
} ae__cursor_at;
/* "POSITION.INDEX" or "POSITION". */
ae_status ae__want_cursor(ae_str text, const char *at, ae__cursor_at *out,
                          ae_error *err);

/* -- preconditions -- */
/* If-Match: "VERSION" is the version expected; *given false: it was not sent.
 */
ae_status ae__want_if_match(const ae__exchange *x, bool *given,
                            uint64_t *version, ae_error *err);
/* Whether If-None-Match holds the tag of `version` (or `*`), so that the
 * client has what it asks for. */
bool ae__want_has(const ae__exchange *x, uint64_t version);
/* ETag: "VERSION". */
void ae__want_tag(ae__exchange *x, uint64_t version);

/* -- what is sent -- */
/* Whether the body's Content-Type is among `types` (NULL at the end). False:
 * the answer, 415, was given. */
bool ae__want_content(ae__exchange *x, const char *const *types);
/* A header that becomes a text of metadata or an id: 1 to `most` bytes of
 * UTF-8; ptr NULL: not sent. */
ae_status ae__want_text(const ae__exchange *x, const char *header, size_t most,
                        ae_str *out, ae_error *err);
/* Accept names `text/event-stream`, and nothing that is liked better. */
bool ae__want_sse(const ae__exchange *x);

#endif
