/* One actor's history through its aggregate, an event at a time. */
#ifndef AE_NODE_HISTORY_H
#define AE_NODE_HISTORY_H

#include "node/node.h"

typedef struct ae_history ae_history;
typedef struct ae_history_step {
  const ae_event *event;
  ae_str before; /* msgpack state; both live until the return */
  ae_str after;
} ae_history_step;

/* The caller's memory, zeroed before use, kept until `done`. */
struct ae_history {
  ae_ref ref;         /* what it points at is kept too */
  const char *module; /* a file to take the aggregate from; NULL: the app's */
  /* False ends it: `done` comes with AE_CANCELED. */
  bool (*step)(ae_history *history, const ae_history_step *step);
  /* Once; `version`: up to where it came. */
  void (*done)(ae_history *history, ae_status status, uint64_t version,
               const ae_error *err);
  void *data;
  void *impl; /* private */
};
/* The node has modules and a store. Unknown names, a module that does not
 * load: at once, and no callback. */
ae_status ae_history_start(ae_node *node, ae_history *history, ae_error *err);

#endif
