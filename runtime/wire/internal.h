/* The one connection, from the inside. */
#ifndef AE_WIRE_INTERNAL_H
#define AE_WIRE_INTERNAL_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/mem.h"
#include "wire/nats.h"
#include "wire/plain.h"

struct ae_wire_subscription {
  ae_list link; /* in wire->subscriptions */
  ae_wire *wire;
  natsSubscription *sub; /* NULL: the connection is being opened again */
  uint64_t sid;          /* the server's name of it */
  char *subject, *queue;
  ae_wire_cb cb;
  void *data;
  bool ended; /* inside its own callback, or another's */
};

typedef struct ae__slot {
  ae_wire_request *request; /* NULL: free */
  uint32_t next;            /* free: the next free one */
} ae__slot;

struct ae_wire {
  ae_loop *loop;
  pthread_t thread; /* the loop's */
  natsConnection *nc;
  natsOptions *options;
  char *urls; /* as given */
  void (*changed)(void *data, const ae_wire_info *info);
  void *changed_data;
  ae_wire_info info;

  /* shared with nats.c's threads */
  pthread_mutex_t lock;
  ae_task service; /* posted to the loop while `posted` */
  bool posted;
  bool drop;           /* stop polling what is polled */
  bool lost;           /* the connection, since the loop looked */
  bool back;           /* likewise */
  int fd;              /* a duplicate of a new socket to poll; -1: none */
  char trouble[256];   /* what it was lost for */
  atomic_bool writing; /* nats.c has bytes to send */
  bool over;           /* nats.c calls back no more */
  bool gone;           /* … and that was not asked for */
  pthread_cond_t ended;

  uv_poll_t *poll; /* NULL: none */
  int polled_fd;
  int events; /* of poll */
  uv_prepare_t prepare;
  bool flushing; /* prepare is active */
  uv_timer_t timer;

  /* Where there is no TLS, messages go past nats.c. */
  bool plain;  /* nats.c reads one byte at a time */
  bool proven; /* the server's first byte here was no TLS; else by nats.c */
  ae__plain raw;
  bool headers; /* the server takes some */

  ae_list subscriptions;
  ae_map by_sid; /* those of them that have not ended */
  bool handing;  /* messages are being handed out */
  bool swept;    /* a subscription ended meanwhile */

  natsSubscription *inbox; /* answers to requests */
  uint64_t inbox_sid;
  ae_buf prefix; /* of their subjects, with its dot */
  ae__slot *slots;
  uint32_t slot_count, slot_free;
  uint64_t serial;
  ae_list requests; /* oldest first */

  /* opening again what nats.c gave up */
  bool reopening;       /* until it is open */
  bool connecting;      /* a thread is at it */
  int attempts;         /* so many failed */
  natsConnection *next; /* what it made; NULL: `reason` says why not */
  char reason[256];
  uv_work_t reopen;
  uv_timer_t retry;

  ae_wire_request last; /* closing: comes back when all before is sent */
  uv_work_t work;
  unsigned handles; /* still to close */
  void (*closed)(void *data);
  void *closed_data;
  bool closing;
};

/* -- poll.c: nats.c's threads, and the socket -- */

/* Sets what nats.c calls back in `wire->options`. */
natsStatus ae__wire_hook(ae_wire *wire);
/* Has ae__wire_serve called on the loop's thread. `wire->lock` is held. */
void ae__wire_service(ae_wire *wire);
/* Closes, and blocks until nats.c's threads are done with `wire`. */
void ae__wire_join(ae_wire *wire);
/* ms to wait before attempt 1, 2 …: 100, doubled up to 5,000, and up to a fifth
 * more by chance. */
int64_t ae__wire_delay(int attempts);
/* `fd` is the wire's from now on. */
void ae__wire_poll_start(ae_wire *wire, int fd);
void ae__wire_poll_stop(ae_wire *wire);
void ae__wire_write(ae_wire *wire);
/* At the turn's end. */
void ae__wire_flush_soon(ae_wire *wire);

/* -- nats.c: state, messages, subscriptions -- */

/* What nats.c's threads have told since the last time. */
void ae__wire_serve(ae_task *task);
/* The server's name, version and limits, once connected. */
void ae__wire_learn(ae_wire *wire);
/* What nats.c has read. */
void ae__wire_hand_out(ae_wire *wire);
/* A message that came past nats.c; false: the connection is another. */
bool ae__wire_frame(void *data, const ae__frame *frame);
/* Frees the subscriptions that have ended. */
void ae__wire_sweep(ae_wire *wire);
/* Subscribes on the present connection. */
natsStatus ae__wire_attach(ae_wire_subscription *one);

/* -- request.c -- */

void ae__wire_answered(void *data, const ae_wire_message *message);
void ae__wire_requests_fail(ae_wire *wire, ae_status status);

/* -- open.c, reopen.c -- */

natsStatus ae__wire_make_inbox(ae_wire *wire);
/* nats.c gave up: another connection is made, for ever. */
void ae__wire_reopen(ae_wire *wire);
void ae__wire_close_now(ae_wire *wire);

#endif
