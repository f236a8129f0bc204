#include "door/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLICE (256u << 10)
#define LARGE (1u << 20) /* a buffer that is not kept */

void ae__lines_init(ae__lines *lines, size_t most) {
  *lines = (ae__lines){.most = most, .fd = -1};
}

ae_status ae__lines_open(ae__lines *lines, const char *path, ae_error *err) {
  ae__lines_init(lines, AE__LINE_MAX);
  bool is_stdin = strcmp(path, "-") == 0;
  lines->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  int error = lines->fd < 0 || fstat(lines->fd, &info) != 0 ? errno : 0;
  if (error == 0 && S_ISDIR(info.st_mode)) error = EISDIR;
  if (error != 0) {
    if (lines->fd > STDIN_FILENO) close(lines->fd);
    lines->fd = -1;
    return ae_error_set(err, AE_NOT_FOUND, "%s cannot be read: %s",
                        is_stdin ? "stdin" : path, strerror(error));
  }
  /* What epoll does not take (files, /dev/null) is always ready. */
  lines->plain = S_ISREG(info.st_mode) ||
                 (S_ISCHR(info.st_mode) && isatty(lines->fd) != 1);
  lines->size = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
  return AE_OK;
}

void ae__lines_close(ae__lines *lines) {
  if (lines->fd > STDIN_FILENO) close(lines->fd);
  lines->fd = -1;
  ae_buf_clear(&lines->buf);
}

static void cut(ae__lines *lines, size_t len, ae_str *line) {
  const char *start = lines->buf.ptr + lines->at;
  lines->number++;
  if (lines->number == 1 && len >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0) {
    start += 3;
    len -= 3;
  }
  if (len > 0 && start[len - 1] == '\r') len--;
  *line = (ae_str){start, len};
}

static void advance(ae__lines *lines, size_t to) {
  lines->taken += to - lines->at;
  lines->at = lines->seen = to;
}

ae__lines_is ae__lines_next(ae__lines *lines, ae_str *line) {
  ae_buf *buf = &lines->buf;
  const char *newline = NULL;
  if (lines->seen < buf->len)
    newline = memchr(buf->ptr + lines->seen, '\n', buf->len - lines->seen);
  size_t end = newline ? (size_t)(newline - buf->ptr) : buf->len;
  size_t len = end - lines->at;
  bool whole = newline || (lines->ended && (len > 0 || lines->skipping));
  if (!whole && lines->ended) return AE__LINES_END;
  if (!whole && !lines->skipping && len <= lines->most) {
    lines->seen = end;
    return AE__LINES_EMPTY;
  }
  if (!whole) {
    lines->skipping = true;
    advance(lines, end);
    return AE__LINES_EMPTY;
  }
  bool too_long = lines->skipping || len > lines->most;
  cut(lines, len, line);
  advance(lines, newline ? end + 1 : end);
  lines->skipping = false;
  return too_long ? AE__LINES_LONG : AE__LINES_LINE;
}

static void make_room(ae__lines *lines, size_t more) {
  ae_buf *buf = &lines->buf;
  size_t rest = buf->len - lines->at;
  if (buf->cap > LARGE && rest + more < LARGE) { /* a long line is over */
    ae_buf smaller = {0};
    ae_buf_reserve(&smaller, rest + more);
    ae_buf_add(&smaller, buf->ptr + lines->at, rest);
    ae_buf_move(buf, &smaller);
  } else if (lines->at > 0 && rest > 0) {
    memmove(buf->ptr, buf->ptr + lines->at, rest);
  }
  lines->seen -= lines->at;
  lines->at = 0;
  buf->len = rest;
  ae_buf_reserve(buf, more);
}

void ae__lines_fill(ae__lines *lines) {
  ae_buf *buf = &lines->buf;
  if (lines->ended) return;
  make_room(lines, SLICE);
  ssize_t got;
  do got = read(lines->fd, buf->ptr + buf->len, SLICE);
  while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  if (got < 0) lines->error = errno;
  if (got <= 0)
    lines->ended = true;
  else
    buf->len += (size_t)got;
}

void ae__lines_feed(ae__lines *lines, ae_str piece, bool end) {
  make_room(lines, piece.len);
  ae_buf_str(&lines->buf, piece);
  lines->ended = end;
}

bool ae__line_blank(ae_str line) {
  for (size_t i = 0; i < line.len; i++)
    if (line.ptr[i] != ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r')
      return false;
  return true;
}
