#include "door/interrupt.h"

#include <signal.h>
#include <stddef.h>

#include "base/mem.h"

static ae__interrupt *volatile listener;

static void by_default(void) {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

/* Only what a signal handler may call. */
static void on_signal(int number) {
  (void)number;
  ae__interrupt *to = listener; /* it may end on the other thread */
  by_default();
  if (to) uv_async_send(&to->wake);
}

static void on_wake(uv_async_t *wake) {
  ae__interrupt *interrupt = AE_CONTAINER(wake, ae__interrupt, wake);
  interrupt->cb(interrupt->data);
}

void ae__interrupt_listen(ae__interrupt *interrupt, uv_loop_t *loop,
                          void (*cb)(void *data), void *data) {
  AE_ASSERT(listener == NULL);
  interrupt->cb = cb;
  interrupt->data = data;
  AE_ASSERT_CMP(uv_async_init(loop, &interrupt->wake, on_wake), ==, 0);
  uv_unref((uv_handle_t *)&interrupt->wake);
  listener = interrupt;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigfillset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

void ae__interrupt_end(ae__interrupt *interrupt) {
  by_default();
  listener = NULL;
  uv_close((uv_handle_t *)&interrupt->wake, NULL);
}
