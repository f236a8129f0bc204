/* A store alone, in memory or in a file of SQLite, for tests of what works on
 * stores without a node. */
#ifndef AE_TEST_NODE_SIDE_H
#define AE_TEST_NODE_SIDE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/keep.h"

typedef struct side {
  ae_loop loop;
  ae_store *store;
  char folder[64]; /* "": in memory */
  ae_uuid7 uuids;
  int64_t time; /* of the last commit */
} side;

void side_open(side *s, bool file);
void side_close(side *s); /* removes its folder */
void side_close_store(side *s);
void side_reopen(side *s); /* after side_close_store */

ae_ref side_ref(const char *text);
void side_append(side *s, const char *actor, uint64_t expected, uint32_t events,
                 uint32_t ids, ae_buf record);

#endif
