/* NATS's protocol, as far as messages go: read out of bytes that came and
 * written into bytes to send, in one piece each. */
#ifndef AE_WIRE_FRAME_H
#define AE_WIRE_FRAME_H

#include "base/buf.h"
#include "wire/nats.h"

typedef enum ae__frame_kind {
  AE__FRAME_PARTIAL, /* of a message; `len`: bytes it needs, 0: not known yet */
  AE__FRAME_MESSAGE,
  AE__FRAME_CONTROL, /* a line of another kind; `len` 0: its end is not there */
  AE__FRAME_WRONG,   /* nothing that a server sends */
} ae__frame_kind;

typedef struct ae__frame {
  size_t len;   /* of all of it */
  uint64_t sid; /* whose it is */
  const char *subject;
  const char *reply; /* NULL: none */
  ae_str headers;    /* as they came, with their first line */
  ae_str body;
} ae__frame;

/* What the bytes begin with. Only a whole message's bytes are changed: its
 * subject, reply and body get a NUL behind them. */
ae__frame_kind ae__frame_read(char *bytes, size_t len, ae__frame *out);
/* The value of a header, NUL put behind it; NULL: not there. */
const char *ae__frame_header(ae_str headers, const char *key);
/* The number in the first line of headers; 0: none. */
unsigned ae__frame_status(ae_str headers);

/* What can be a subject: without blanks and line breaks. */
bool ae__frame_subject(const char *subject);
/* Headers end with key NULL, or are NULL; line breaks in values become blanks.
 * Returns how many bytes of headers and body the server will count. */
size_t ae__frame_size(const ae_wire_header *headers, ae_str body);
void ae__frame_put(ae_buf *out, const char *subject, const char *reply,
                   const ae_wire_header *headers, ae_str body);

#endif
