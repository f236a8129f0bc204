/* What the files that find settings share. */
#ifndef AE_NODE_FOUND_H
#define AE_NODE_FOUND_H

#include "node/config.h"
#include "node/shape.h"

/* One top-level key with its value and source. */
typedef struct ae__found {
  const ae__shape *shape;
  ae_buf value; /* msgpack; empty: not set */
  ae_setting_source source;
  char where[80];
} ae__found;

/* An empty setting, added behind the others. */
ae_setting *ae__setting_add(ae_config *config, const char *key,
                            const ae__found *from);
/* `path` below `folder`, where it is relative. Owned by the caller. */
char *ae__path_join(const char *folder, ae_str path);
/* Owned by the caller. */
char *ae__str_copy(ae_str text);

/* The namespaces that `key` lists, or the app's folders that hold modules
 * where its value is empty. `folder`: what theirs are relative to. */
ae_status ae__namespaces_find(ae_config *config, const ae__found *key,
                              const char *folder, ae_error *err);
/* Every field of every namespace, the defaults too, as settings. */
void ae__namespaces_show(ae_config *config, const ae__found *key);

#endif
