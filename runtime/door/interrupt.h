/* SIGINT and SIGTERM: the first asks for a clean end, on the loop thread; the
 * second ends the process as if nobody had listened, also while the loop is
 * busy in a script. One listener at a time. */
#ifndef AE_DOOR_INTERRUPT_H
#define AE_DOOR_INTERRUPT_H

#include <uv.h>

typedef struct ae__interrupt {
  uv_async_t wake;
  void (*cb)(void *data); /* at most once */
  void *data;
} ae__interrupt;

/* Does not keep the loop running. */
void ae__interrupt_listen(ae__interrupt *interrupt, uv_loop_t *loop,
                          void (*cb)(void *data), void *data);
/* No callback after it; the signals do again what they did by default. The
 * struct must live until the loop has closed its handles. */
void ae__interrupt_end(ae__interrupt *interrupt);

#endif
