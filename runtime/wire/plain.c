#include "wire/plain.h"

#include <errno.h>
#include <sys/socket.h>

/* -- reading -- */

/* What was looked at so far. */
typedef struct look {
  ae__plain *plain;
  int fd;
  size_t taken; /* bytes of `in` that are no longer in the socket */
  size_t at;    /* bytes that are done with */
  size_t len;
} look;

/* Takes from the socket what was looked at up to `end`: with MSG_TRUNC Linux
 * does not copy it once more. */
static bool take(look *l, size_t end) {
  while (l->taken < end) {
    ssize_t n = recv(l->fd, l->plain->in.ptr + l->taken, end - l->taken,
                     MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    l->taken += (size_t)n;
  }
  return true;
}

/* nats.c reads a line, as far as it is there. */
static ae__plain_end pass(look *l, size_t bytes, bool whole,
                          const ae__plain_reader *reader) {
  if (!take(l, l->at)) return AE__PLAIN_OVER;
  l->plain->line = !whole;
  l->at = l->taken = l->at + bytes;
  return reader->control(reader->data, bytes) ? AE__PLAIN_EMPTY
                                              : AE__PLAIN_STOPPED;
}

/* The rest of a line whose beginning nats.c has. */
static ae__plain_end pass_rest(look *l, const ae__plain_reader *reader) {
  const char *end = memchr(l->plain->in.ptr, '\n', l->len);
  size_t bytes = end ? (size_t)(end + 1 - l->plain->in.ptr) : l->len;
  return pass(l, bytes, end != NULL, reader);
}

static ae__plain_end walk(look *l, const ae__plain_reader *reader) {
  ae__plain_end end = AE__PLAIN_EMPTY;
  if (l->plain->line) end = pass_rest(l, reader);
  while (end == AE__PLAIN_EMPTY && l->at < l->len) {
    ae__frame frame;
    char *from = l->plain->in.ptr + l->at;
    size_t left = l->len - l->at;
    switch (ae__frame_read(from, left, &frame)) {
      case AE__FRAME_PARTIAL:
        return AE__PLAIN_EMPTY;
      case AE__FRAME_WRONG:
        return AE__PLAIN_WRONG;
      case AE__FRAME_CONTROL:
        end = pass(l, frame.len ? frame.len : left, frame.len > 0, reader);
        break;
      case AE__FRAME_MESSAGE:
        l->at += frame.len;
        if (!reader->message(reader->data, &frame)) return AE__PLAIN_STOPPED;
    }
  }
  return end;
}

/* So that a message that was begun fits. */
static size_t room(const ae__plain *plain, size_t most) {
  ae__frame frame = {0};
  if (plain->in.len == 0) return most;
  ae__frame_read(plain->in.ptr, plain->in.len, &frame);
  size_t needed = frame.len > plain->in.len ? frame.len - plain->in.len : 0;
  return needed > most ? needed : most;
}

ae__plain_end ae__plain_read(ae__plain *plain, int fd, size_t most,
                             const ae__plain_reader *reader) {
  size_t space = room(plain, most);
  ae_buf_reserve(&plain->in, space);
  ssize_t n;
  do
    n = recv(fd, plain->in.ptr + plain->in.len, space, MSG_PEEK | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return AE__PLAIN_EMPTY;
  if (n <= 0) return AE__PLAIN_OVER;
  look l = {.plain = plain,
            .fd = fd,
            .taken = plain->in.len,
            .len = plain->in.len + (size_t)n};
  ae__plain_end end = walk(&l, reader);
  if (end != AE__PLAIN_EMPTY) return end;
  if (!take(&l, l.len)) return AE__PLAIN_OVER;
  plain->in.len = l.len - l.at;
  memmove(plain->in.ptr, plain->in.ptr + l.at, plain->in.len);
  return AE__PLAIN_EMPTY;
}

/* -- sending -- */

bool ae__plain_send(ae__plain *plain, int fd) {
  while (plain->gone < plain->going.len) {
    ssize_t n =
        send(fd, plain->going.ptr + plain->gone, plain->going.len - plain->gone,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n < 0) break; /* the connection is over; reading finds out */
    plain->gone += (size_t)n;
  }
  ae_buf_reset(&plain->going);
  plain->gone = 0;
  return true;
}

void ae__plain_turn(ae__plain *plain) {
  ae_buf sent = plain->going;
  plain->going = plain->out;
  plain->out = sent;
}

void ae__plain_reset(ae__plain *plain) {
  plain->in.len = plain->out.len = plain->going.len = plain->gone = 0;
  plain->line = false;
}

void ae__plain_clear(ae__plain *plain) {
  ae__plain_reset(plain);
  ae_buf_clear(&plain->in);
  ae_buf_clear(&plain->out);
  ae_buf_clear(&plain->going);
}
