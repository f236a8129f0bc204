/* A node that goes on until it is told to stop: what `aether run` and `aether
 * dev` share.
 *
 *               started                      stopping
 *   opening ──────────────► serving ─SIGTERM─► draining ──────► closing ─► gone
 *      │ a mistake                  no connection is left, or     │
 *      └──────────────────────────────────────────────────────────┘
 *                                   `--drain` seconds have passed
 *
 * 1. What is acknowledged was stored before: an end at any moment loses none.
 * 2. Draining takes no connection, and finishes what is under way.
 * 3. A second signal ends the process at once.
 *
 * Where the process has no terminal whose end SIGHUP would tell of, SIGHUP has
 * the certificate of `tls` read again. */
#ifndef AE_DOOR_SERVE_H
#define AE_DOOR_SERVE_H

#include "door/http/http.h"
#include "door/interrupt.h"
#include "door/nats.h"
#include "door/notify.h"
#include "door/subcommand.h"

typedef struct ae__serve ae__serve;

typedef struct ae__serve_options {
  bool strict; /* as in ae_node_options */
  /* It listens; what goes on beside it begins. Each may be NULL. */
  void (*started)(ae__serve *serve);
  /* It is to stop: nothing new begins. */
  void (*stopping)(ae__serve *serve);
  /* Nothing is under way at the doors any more, the node closes next: what
   * `started` began ends, and closes its handles. Not without `started`. */
  void (*stopped)(ae__serve *serve);
  void *data;
} ae__serve_options;

struct ae__serve {
  const ae__args *args;
  const ae__serve_options *options;
  ae_config config;
  ae_loop loop;
  ae_node *node;
  ae__http *http;
  ae__nats *nats; /* NULL: the store is not on NATS */
  ae__interrupt interrupt;
  ae__notify notify;
  uv_signal_t hangup;
  uv_timer_t timer;  /* looks whether the draining is done */
  uint64_t drain_ns; /* at most so long */
  uint64_t drained;  /* ns, monotonic: when it began */
  unsigned mistakes; /* of the modules */
  bool stopping;
};

/* The exit status. */
int ae__serve_run(const ae__args *args, const ae__serve_options *options);
/* As a first signal does. */
void ae__serve_stop(ae__serve *serve);

#endif
