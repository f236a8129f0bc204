/* An open node for tests: an app of two namespaces, `cell` and `other`, each
 * with the aggregate `counter`, in a folder of its own. */
#ifndef AE_TEST_NODE_WORLD_H
#define AE_TEST_NODE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/node.h"

typedef struct world {
  char folder[32];
  ae_config config;
  ae_loop loop;
  ae_node *node;
} world;

/* `store`: "memory" or "sqlite" (a file in the folder). */
world *world_new(const char *store);
/* Closes the node, where the test has not. */
void world_free(world *w);
int world_tear_down(void **state);
void world_close(world *w);
/* One turn of the loop, which waits for something to happen. */
void world_turn(world *w);
/* Turns until *flag. */
void world_until(world *w, const bool *flag);

/* Adds `n` to a counter: what became of the command. */
ae_status world_add(world *w, const char *ns, const char *id, int n);

#endif
