/* The Lua standard library, embedded in the binary by scripts/embed. */
#ifndef AE_SCRIPT_STDLIB_H
#define AE_SCRIPT_STDLIB_H

#include <stddef.h>

#include "base/str.h"

typedef struct ae_embedded {
  const char *name; /* "aether.event" */
  const char *text; /* Lua source */
  size_t len;
} ae_embedded;

/* Sorted by name; ends with a NULL name. Generated. */
extern const ae_embedded ae__embedded[];
/* NULL: no such module. */
const ae_embedded *ae__stdlib_find(ae_str name);

#endif
