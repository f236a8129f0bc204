/* A connection without TLS: messages go between the socket and us, all else
 * (PING, INFO, subscriptions …) between the socket and nats.c.
 *
 *              ┌── MSG, HMSG ──► message()
 *   socket ────┤ parsed where it lies, nothing taken that is not ours
 *              └── other lines ──► control(): nats.c reads so many bytes
 *
 * nats.c makes an allocation of every message, several more for its headers,
 * and frees them on a thread of its own: twice the cost of an append.
 *
 * Invariants
 * 1. From the socket we take whole or begun messages; of other lines, only
 *    what control() was told of is read, by nats.c.
 * 2. Bytes of ours go out in whole messages, with none of nats.c's between
 *    them: `going` is sent to its end before nats.c writes, and `out` follows
 *    when nats.c has nothing left. So a subscription is on its way before what
 *    is published after it. */
#ifndef AE_WIRE_PLAIN_H
#define AE_WIRE_PLAIN_H

#include "wire/frame.h"

typedef struct ae__plain {
  ae_buf in;    /* the beginning of a message, taken from the socket */
  ae_buf out;   /* whole messages that wait */
  ae_buf going; /* those being sent */
  size_t gone;  /* bytes of `going` that are */
  bool line;    /* nats.c has had the beginning of a line, not its end */
} ae__plain;

typedef enum ae__plain_end {
  AE__PLAIN_EMPTY,   /* all there was */
  AE__PLAIN_STOPPED, /* a callback said so; the socket may be gone */
  AE__PLAIN_OVER,    /* the connection ended, or failed: nats.c's matter */
  AE__PLAIN_WRONG,   /* bytes that make no sense */
} ae__plain_end;

typedef struct ae__plain_reader {
  /* Both: false to stop; then nothing of `ae__plain` is touched any more. */
  bool (*message)(void *data, const ae__frame *frame);
  bool (*control)(void *data, size_t bytes);
  void *data;
} ae__plain_reader;

/* Reads once: at most `most` bytes and what a message that was begun needs. */
ae__plain_end ae__plain_read(ae__plain *plain, int fd, size_t most,
                             const ae__plain_reader *reader);
/* Sends `going`. True: all is sent, or never will be. */
bool ae__plain_send(ae__plain *plain, int fd);
/* `out` is next; only when `going` is sent. */
void ae__plain_turn(ae__plain *plain);
static inline bool ae__plain_waits(const ae__plain *plain) {
  return plain->out.len > 0 || plain->going.len > 0;
}
/* Another connection: nothing is left of the one before. */
void ae__plain_reset(ae__plain *plain);
void ae__plain_clear(ae__plain *plain);

#endif
