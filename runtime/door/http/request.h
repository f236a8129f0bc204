/* One request as it comes in: the head, scanned byte by byte so that a mistake
 * is seen at once, then read by llhttp; the body, freed of its framing by
 * llhttp. Knows nothing of sockets.
 *
 * llhttp takes some things that two parsers in a row could understand in two
 * ways. The scan takes none of them: a line ends with CR LF and nothing else;
 * no line is folded; a name ends at its colon; no control character stands
 * anywhere; one space stands on each side of the target. */
#ifndef AE_DOOR_HTTP_REQUEST_H
#define AE_DOOR_HTTP_REQUEST_H

#include <llhttp.h>

#include "base/list.h"
#include "door/http/exchange.h"

#define AE__FIELDS_MAX 64 /* headers of a request */
#define AE__PARAMS_MAX 32 /* pairs in a query */

/* Offsets into the head, which may move while it grows. */
typedef struct ae__field {
  uint32_t name, name_len;
  uint32_t value, value_len;
} ae__field;

typedef struct ae__param {
  ae_str name, value; /* decoded */
} ae__param;

typedef enum ae__body_is {
  AE__BODY_MORE,   /* all was taken, and more is due */
  AE__BODY_DONE,   /* that was the last of it */
  AE__BODY_PAUSED, /* `piece` wants no more for now */
  AE__BODY_BAD,    /* it breaks the framing, or `piece` refused it */
} ae__body_is;

typedef enum ae__piece_is {
  AE__PIECE_TAKEN,
  AE__PIECE_LAST_FOR_NOW, /* taken, but no more */
  AE__PIECE_REFUSED,
} ae__piece_is;

typedef struct ae__request ae__request;
struct ae__request {
  ae__exchange x; /* what the route sees; first, so that it is found back */
  struct ae__connection *connection;
  ae__piece_is (*piece)(ae__request *r, ae_str piece);
  /* -- the head -- */
  llhttp_t parser;
  ae_buf head;
  uint8_t scan;          /* state of the scan */
  uint8_t spaces;        /* in the request line */
  bool skipped;          /* one empty line before it */
  bool head_done;        /* later fields are trailers */
  bool is_head;          /* the method is HEAD */
  bool old;              /* HTTP/1.0 */
  bool keep;             /* the client takes another exchange after it */
  bool chunked;          /* the body is */
  bool has_length;       /* Content-Length was sent */
  bool body_done;        /* the request is whole */
  uint64_t length;       /* Content-Length */
  uint64_t body_seen;    /* bytes of the body so far */
  uint32_t tail;         /* the last four bytes of chunked framing */
  const char *piece_end; /* of the last piece in this call */
  size_t gap;            /* bytes of framing since a piece of the body */
  ae_str target;
  uint32_t field_count;
  ae__field fields[AE__FIELDS_MAX];
  ae_buf decoded; /* segments and parameters; made once, never moved */
  ae_buf params;  /* ae__param, one after the other */
  ae_buf body;    /* a whole one */
  /* -- the answer: exchange.c's -- */
  ae_buf headers; /* added before it begins */
  size_t chunk;   /* where the open chunk's size belongs; SIZE_MAX: none */
  int status;     /* 0: not begun */
  bool answering; /* begun in pieces */
  bool in_chunks; /* its framing is chunked */
  bool ended;     /* whole; `gone` is due */
  bool aborted;   /* the connection is to be cut */
  bool endless;
  bool full; /* the route waits for `drained` */
  /* -- the connection's -- */
  bool started;   /* the route's `start` was called: `gone` is owed */
  bool paused;    /* by the route */
  bool resumed;   /* and let go on: there is work to do */
  bool end_due;   /* the body's end is still to be told */
  bool discards;  /* its body is thrown away */
  int refused;    /* the status for which `piece` refused it; 0 */
  size_t counted; /* bytes of the body in the server's sum */
  ae_list link;   /* while it is free */
};

void ae__request_init(ae__request *r);
/* Ready for the next one; large buffers are given back. */
void ae__request_reset(ae__request *r);
void ae__request_clear(ae__request *r);

/* Takes bytes of the head, `*used` of them. 0: go on, or the head is whole
 * (ae__request_whole); else the HTTP status to refuse it with, and `err`. */
int ae__request_take(ae__request *r, ae_str bytes, size_t limit, size_t *used,
                     ae_error *err);
bool ae__request_whole(const ae__request *r);
/* Reads the whole head: method, path, segments, query, headers, framing. 0, or
 * the HTTP status to refuse it with, after which the connection must end. */
int ae__request_read(ae__request *r, ae_error *err);
/* Takes bytes of the body and hands pieces to `piece`. */
ae__body_is ae__request_body(ae__request *r, ae_str bytes, size_t limit,
                             size_t *used, ae_error *err);

/* target.c: fills path, segments and params from `target`. 0 or a status. */
int ae__target_read(ae__request *r, ae_error *err);

#endif
