/* Whatever a server sends, and in whatever pieces: messages and other lines
 * are the same as when it comes all at once, and all bytes are somebody's. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/plain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

typedef struct run {
  int fd;
  ae_buf seen;
} run;

static bool on_message(void *data, const ae__frame *frame) {
  run *r = data;
  const char *value = ae__frame_header(frame->headers, "K");
  ae_buf_printf(&r->seen, "%llu %s %s %s ", (unsigned long long)frame->sid,
                frame->subject, frame->reply ? frame->reply : "",
                value ? value : "");
  ae_buf_str(&r->seen, frame->body);
  return true;
}

static bool on_control(void *data, size_t bytes) {
  run *r = data;
  ae_buf_reserve(&r->seen, bytes);
  MUST(recv(r->fd, r->seen.ptr + r->seen.len, bytes, MSG_DONTWAIT) ==
       (ssize_t)bytes);
  r->seen.len += bytes;
  return true;
}

/* Pieces of `step` bytes, 0: all at once. */
static bool feed(const uint8_t *data, size_t len, size_t step, run *r) {
  int ends[2];
  ae__plain plain = {0};
  ae__plain_end end = AE__PLAIN_EMPTY;
  const ae__plain_reader reader = {on_message, on_control, r};
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  r->fd = ends[0];
  if (step == 0) step = len;
  for (size_t at = 0; at < len && end == AE__PLAIN_EMPTY; at += step) {
    size_t part = len - at < step ? len - at : step;
    MUST(send(ends[1], data + at, part, 0) == (ssize_t)part);
    end = ae__plain_read(&plain, ends[0], 4096, &reader);
  }
  MUST(end == AE__PLAIN_EMPTY || end == AE__PLAIN_WRONG);
  ae__plain_clear(&plain);
  close(ends[0]);
  close(ends[1]);
  return end == AE__PLAIN_EMPTY;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len < 2 || len > 4096) return 0;
  run whole = {0}, pieces = {0};
  bool fine = feed(data + 1, len - 1, 0, &whole);
  MUST(feed(data + 1, len - 1, 1 + data[0] % 16, &pieces) == fine);
  if (fine) {
    MUST(whole.seen.len == pieces.seen.len);
    MUST(whole.seen.len == 0 ||
         memcmp(whole.seen.ptr, pieces.seen.ptr, whole.seen.len) == 0);
  }
  ae_buf_clear(&whole.seen);
  ae_buf_clear(&pieces.seen);
  return 0;
}
