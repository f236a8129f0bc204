/* What a module's own comments say of it: `---` blocks as documentation tools
 * read them, the first of the file for the module, one above `function
 * decide.NAME` for that command. Read of the file as it stands now. */
#ifndef AE_DOOR_HTTP_COMMENTS_H
#define AE_DOOR_HTTP_COMMENTS_H

#include "base/status.h"

typedef struct ae__comments ae__comments;

/* Never fails: a file that cannot be read has no comments. */
ae__comments *ae__comments_of(const char *file);
/* The same of text; for tests. */
ae__comments *ae__comments_in(ae_str text);
void ae__comments_free(ae__comments *comments);
/* Len 0: none. Lines are joined with newlines, tags (@param …) left out. */
ae_str ae__comments_module(const ae__comments *comments);
ae_str ae__comments_command(const ae__comments *comments, ae_str command);

#endif
