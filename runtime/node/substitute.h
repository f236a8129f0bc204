/* A namespace's modules with one of them taken from another file: a folder of
 * links, loaded beside the app's own script. */
#ifndef AE_NODE_SUBSTITUTE_H
#define AE_NODE_SUBSTITUTE_H

#include "node/config.h"
#include "script/script.h"

typedef struct ae__substitute {
  ae_script *script; /* NULL: not open */
  char *folder;
  char *name; /* of the linked file in it */
  char *ns;   /* the namespace\'s name */
  char *file; /* what a person called it */
} ae__substitute;

/* `type`: the module that `file` stands for. To be closed after a failure
 * too; zeroed before. */
ae_status ae__substitute_open(ae__substitute *substitute,
                              const ae_namespace_config *ns, ae_str type,
                              const char *file, ae_error *err);
void ae__substitute_close(ae__substitute *substitute);
/* Puts the person's file name into a message that names the module's. */
void ae__substitute_name(const ae__substitute *substitute, ae_error *err);

#endif
