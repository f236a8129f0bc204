/* Lines from a file, a pipe or a terminal, or of what somebody else reads, in
 * bounded memory. */
#ifndef AE_DOOR_LINES_H
#define AE_DOOR_LINES_H

#include "base/buf.h"
#include "base/status.h"

#define AE__LINE_MAX (8u << 20)

typedef enum ae__lines_is {
  AE__LINES_LINE,  /* one line; also the last without a newline */
  AE__LINES_LONG,  /* one longer than `most` was left out */
  AE__LINES_EMPTY, /* ae__lines_fill, or _feed, first */
  AE__LINES_END,
} ae__lines_is;

typedef struct ae__lines {
  size_t most; /* bytes of a line */
  int fd;
  bool plain;      /* a file: reading never waits for somebody */
  uint64_t size;   /* of a plain file at its opening, bytes; else 0 */
  uint64_t number; /* of the last line given, from 1 */
  uint64_t taken;  /* bytes given so far */
  bool ended;
  int error;     /* errno of the read that failed; the lines end there */
  bool skipping; /* inside a line that is too long */
  ae_buf buf;
  size_t at;   /* next byte to give */
  size_t seen; /* up to here there is no newline */
} ae__lines;

/* Of at most AE__LINE_MAX bytes. `path` "-" is stdin. AE_NOT_FOUND says what is
 * wrong with the file. */
ae_status ae__lines_open(ae__lines *lines, const char *path, ae_error *err);
void ae__lines_close(ae__lines *lines);
/* To be fed. */
void ae__lines_init(ae__lines *lines, size_t most);
/* Without its newline (LF or CRLF); a byte order mark at the start is left
 * out. Valid until the next fill or feed. */
ae__lines_is ae__lines_next(ae__lines *lines, ae_str *line);
/* Reads once; blocks where nothing is there. */
void ae__lines_fill(ae__lines *lines);
/* What comes next is copied; after `end` nothing does. */
void ae__lines_feed(ae__lines *lines, ae_str piece, bool end);
/* Nothing but blanks. */
bool ae__line_blank(ae_str line);

#endif
