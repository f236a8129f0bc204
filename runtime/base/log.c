#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

/* Set once at the start, read by any thread. */
static _Atomic int least_level = AE_LOG_INFO;
static _Atomic int line_form = AE_LOG_AUTO;
static atomic_ulong errors;

static const char *const words[] = {"debug", "info", "warn", "error"};
static const char *const labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

void ae_log_setup(ae_log_level least, ae_log_form form) {
  if (form == AE_LOG_AUTO) form = isatty(2) ? AE_LOG_TEXT : AE_LOG_JSON;
  atomic_store(&least_level, (int)least);
  atomic_store(&line_form, (int)form);
}

bool ae_log_shows(ae_log_level level) {
  return (int)level >= atomic_load(&least_level);
}

unsigned long ae_log_errors(void) {
  return atomic_load(&errors);
}

static bool plain(ae_str text) {
  if (text.len == 0) return false;
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = (uint8_t)text.ptr[i];
    if (c <= ' ' || c == '"' || c == '=' || c == 0x7f) return false;
  }
  return true;
}

/* One line whatever the text holds: a control character would let a name from
 * outside write lines of its own, or colours. */
static void put_text(ae_buf *line, const char *value) {
  ae_str text = ae_str_of(value);
  if (plain(text)) {
    ae_buf_str(line, text);
  } else {
    ae_json_write_str(text, line);
  }
}

static void put_message(ae_buf *line, const char *message) {
  for (const char *at = message; *at; at++) {
    bool control = (unsigned char)*at < ' ' || *at == 0x7f;
    ae_buf_byte(line, control ? ' ' : (uint8_t)*at);
  }
}

static void text_line(ae_buf *line, ae_log_level level, int64_t now,
                      const char *message, va_list pairs) {
  time_t seconds = (time_t)(now / 1000000);
  struct tm local;
  localtime_r(&seconds, &local);
  ae_buf_printf(line, "%02d:%02d:%02d.%03d %s ", local.tm_hour, local.tm_min,
                local.tm_sec, (int)(now / 1000 % 1000), labels[level]);
  put_message(line, message);
  const char *separator = "  ";
  for (const char *key; (key = va_arg(pairs, const char *));) {
    const char *value = va_arg(pairs, const char *);
    ae_buf_printf(line, "%s%s=", separator, key);
    put_text(line, value ? value : "");
    separator = " ";
  }
}

static void json_line(ae_buf *line, ae_log_level level, int64_t now,
                      const char *message, va_list pairs) {
  time_t seconds = (time_t)(now / 1000000);
  struct tm utc;
  gmtime_r(&seconds, &utc);
  ae_buf_printf(line,
                "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ\","
                "\"level\":\"%s\",\"message\":",
                utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                utc.tm_min, utc.tm_sec, (int)(now % 1000000), words[level]);
  ae_json_write_str(ae_str_of(message), line);
  for (const char *key; (key = va_arg(pairs, const char *));) {
    const char *value = va_arg(pairs, const char *);
    ae_buf_byte(line, ',');
    ae_json_write_str(ae_str_of(key), line);
    ae_buf_byte(line, ':');
    ae_json_write_str(ae_str_of(value ? value : ""), line);
  }
  ae_buf_byte(line, '}');
}

/* A line of either form. */
static void make_line(ae_buf *line, ae_log_level level, const char *message,
                      va_list pairs) {
  int64_t now = ae_clock_now();
  if (atomic_load(&line_form) == AE_LOG_TEXT) {
    text_line(line, level, now, message, pairs);
  } else {
    json_line(line, level, now, message, pairs);
  }
  ae_buf_byte(line, '\n');
}

/* -- writing -- */

/* The longest that a line waits for a reader of a pipe or a socket. Then lines
 * are left out and counted until there is room again, so that a reader that has
 * stopped holds up one line, and never the node. */
#define WAIT_MS 500

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
/* Below it: */
static unsigned long left_out; /* lines since the last that was written */
static bool cut;               /* that one is not whole */

static bool has_room(int ms) {
  struct pollfd room = {.fd = 2, .events = POLLOUT};
  return poll(&room, 1, ms) != 0; /* what is wrong the write will say */
}

/* As write(2), and EAGAIN where it would wait for a reader. A pipe is opened
 * anew for it, as O_NONBLOCK on stderr itself would be everybody's that has it.
 * Where that may not be, at most what one look found room for is written. */
static ssize_t write_some(const char *bytes, size_t len) {
  struct stat info;
  if (fstat(2, &info) != 0) return -1;
  if (S_ISSOCK(info.st_mode))
    return send(2, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (!S_ISFIFO(info.st_mode)) return write(2, bytes, len);
  int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (own >= 0) {
    ssize_t written = write(own, bytes, len);
    int kept = errno;
    close(own);
    errno = kept;
    return written;
  }
  if (has_room(0)) return write(2, bytes, len < PIPE_BUF ? len : PIPE_BUF);
  errno = EAGAIN;
  return -1;
}

static bool wait_for_room(uint64_t until) {
  uint64_t now = ae_clock_mono();
  return now < until && has_room((int)((until - now) / 1000000) + 1);
}

/* False: some of it is not written, as nobody reads. What fails otherwise is
 * gone: there is nowhere to say so. */
static bool write_all(const char *bytes, size_t len, uint64_t until,
                      size_t *done) {
  for (*done = 0; *done < len;) {
    ssize_t written = write_some(bytes + *done, len - *done);
    if (written >= 0) {
      *done += (size_t)written;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for_room(until)) return false;
    } else if (errno != EINTR) {
      return true;
    }
  }
  return true;
}

static void make_notice(ae_buf *line, const char *message, ...) {
  va_list pairs;
  va_start(pairs, message);
  make_line(line, AE_LOG_WARN, message, pairs);
  va_end(pairs);
}

static void write_line(const ae_buf *line) {
  bool stalled = left_out > 0 || cut;
  uint64_t until =
      ae_clock_mono() + (stalled ? 0 : WAIT_MS * UINT64_C(1000000));
  ae_buf both = {0};
  if (cut) ae_buf_byte(&both, '\n');
  size_t first = both.len, done;
  if (stalled) {
    char number[32];
    snprintf(number, sizeof number, "%lu", left_out);
    make_notice(&both,
                "lines of the log were left out or cut: nobody read them",
                "lines", number, NULL);
    first = both.len;
  }
  ae_buf_str(&both, ae_buf_view(line));
  bool fine = write_all(both.ptr, both.len, until, &done);
  if (done >= first) left_out = 0;
  if (!fine) left_out++;
  if (done > 0) cut = both.ptr[done - 1] != '\n';
  ae_buf_clear(&both);
}

void ae_log(ae_log_level level, const char *message, ...) {
  if (level == AE_LOG_ERROR) atomic_fetch_add(&errors, 1);
  if (!ae_log_shows(level)) return;
  if (atomic_load(&line_form) == AE_LOG_AUTO) {
    ae_log_setup((ae_log_level)atomic_load(&least_level), AE_LOG_AUTO);
  }
  ae_buf line = {0};
  va_list pairs;
  va_start(pairs, message);
  make_line(&line, level, message, pairs);
  va_end(pairs);
  int kept = errno; /* who logs goes on to look at it */
  pthread_mutex_lock(&writing);
  write_line(&line);
  pthread_mutex_unlock(&writing);
  errno = kept;
  ae_buf_clear(&line);
}
