/* Lines that a person types: edited, remembered, completed. libedit's. */
#ifndef AE_DOOR_EDITOR_H
#define AE_DOOR_EDITOR_H

#include <stddef.h>

#include "base/buf.h"

typedef struct ae__editor ae__editor;

typedef enum ae__editor_end {
  AE__EDITOR_LINE,
  AE__EDITOR_CANCEL, /* Ctrl-C: what was typed is dropped */
  AE__EDITOR_EOF,    /* Ctrl-D */
} ae__editor_end;

/* Words for the end of `line`: each with a NUL behind; returns how many bytes
 * at the end of `line` they replace. */
typedef size_t (*ae__editor_complete)(void *data, ae_str line, ae_buf *words);

/* On the terminal of stdin and stdout. `file`: where what was typed is kept,
 * read now and written at the close; NULL: nowhere. */
ae__editor *ae__editor_open(const char *file, ae__editor_complete complete,
                            void *data);
void ae__editor_close(ae__editor *editor);
/* `line`: without its end, until the next call. */
ae__editor_end ae__editor_read(ae__editor *editor, const char *prompt,
                               ae_str *line);
/* Arrow up brings it back, from now on. */
void ae__editor_remember(ae__editor *editor, const char *text);

#endif
