#include "door/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "door/answer.h"

static bool line_open; /* a progress line stands on stderr */

bool ae__terminal(FILE *stream) {
  return isatty(fileno(stream)) == 1;
}

const char *ae__color(FILE *stream, ae__ink ink) {
  static const char *const codes[] = {"\033[0m",  "\033[1m",  "\033[2m",
                                      "\033[31m", "\033[32m", "\033[33m"};
  const char *term = getenv("TERM");
  const char *no = getenv("NO_COLOR");
  bool able = ae__terminal(stream) && term && strcmp(term, "dumb") != 0;
  return able && !(no && no[0]) ? codes[ink] : "";
}

static void clear_line(void) {
  if (line_open) fputs("\r\033[K", stderr);
  line_open = false;
}

void ae__say(const char *format, ...) {
  va_list args;
  va_start(args, format);
  clear_line();
  fputs("aether: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
}

int ae__complain_of(const ae__args *args, ae_status status,
                    const ae_error *err) {
  ae_error plain = {.status = status};
  if (!err) err = &plain;
  if (args && ae__args_json(args)) {
    ae_buf text = {0};
    ae__answer_problem(&text, err);
    clear_line();
    fputs(ae_buf_cstr(&text), stderr);
    ae_buf_clear(&text);
  } else {
    const char *red = ae__color(stderr, AE__RED);
    ae__say("%s%.*s%s", red,
            AE_FMT(err->message.len > 0 ? ae_buf_view(&err->message)
                                        : ae_str_of(ae_status_text(status))),
            ae__color(stderr, AE__PLAIN));
  }
  return ae_status_exit(status);
}

int ae__complain(const ae__args *args, ae_error *err) {
  int exit = ae__complain_of(args, err->status, err);
  ae_error_clear(err);
  return exit;
}

int ae__unknown_subcommand(const char *name, const char *nearest) {
  if (nearest[0])
    ae__say("there is no subcommand %s; did you mean %s?", name, nearest);
  else
    ae__say("there is no subcommand %s; see `aether help`", name);
  return ae_status_exit(AE_USAGE);
}

static void say_lost(int error) {
  if (error == EPIPE)
    ae__say("nobody reads stdout any more; ended");
  else
    ae__say("stdout cannot be written: %s", strerror(error));
}

/* Whoever started us may have made the pipe non-blocking. */
static void wait_out(void) {
  struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
  poll(&out, 1, -1);
}

bool ae__write_out(const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t wrote = write(STDOUT_FILENO, bytes, len);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) {
      wait_out();
      continue;
    }
    if (wrote < 0) {
      say_lost(errno);
      return false;
    }
    bytes += wrote;
    len -= (size_t)wrote;
  }
  return true;
}

int ae__finish_out(int exit) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return exit;
  say_lost(errno);
  return ae_status_exit(AE_STORE_UNAVAILABLE);
}

void ae__progress_start(ae__progress *progress, const ae__args *args) {
  progress->on = ae__terminal(stderr) && !ae__args_json(args);
  progress->last = ae_clock_mono();
}

bool ae__progress_due(ae__progress *progress) {
  return progress->on && ae_clock_mono() - progress->last >= 100000000;
}

void ae__progress_show(ae__progress *progress, const char *format, ...) {
  va_list args;
  progress->last = ae_clock_mono();
  va_start(args, format);
  fputs("\r\033[K", stderr);
  vfprintf(stderr, format, args);
  fflush(stderr);
  va_end(args);
  line_open = true;
}

void ae__progress_end(ae__progress *progress) {
  if (progress->on) clear_line();
}

const char *ae__count(uint64_t number) {
  static char buffers[4][32];
  static unsigned turn;
  char *out = buffers[turn++ % 4];
  char digits[24];
  int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
  int to = 0;
  for (int i = 0; i < len; i++) {
    if (i > 0 && (len - i) % 3 == 0) out[to++] = ',';
    out[to++] = digits[i];
  }
  out[to] = 0;
  return out;
}

const char *ae__bar(uint64_t done, uint64_t total) {
  static char bar[32];
  double part = total > 0 ? (double)done / (double)total : 1;
  int percent = part < 1 ? (int)(part * 100) : 100;
  bar[0] = '[';
  for (int i = 0; i < 20; i++) bar[1 + i] = i < percent / 5 ? '#' : '.';
  snprintf(bar + 21, sizeof bar - 21, "] %3d%%", percent);
  return bar;
}

const char *ae__size(uint64_t bytes) {
  static const char *const units[] = {"kB", "MB", "GB", "TB"};
  static char buffers[4][32];
  static unsigned turn;
  char *out = buffers[turn++ % 4];
  if (bytes < 1000) {
    snprintf(out, sizeof *buffers, "%llu byte%s", (unsigned long long)bytes,
             bytes == 1 ? "" : "s");
    return out;
  }
  double size = (double)bytes / 1000;
  size_t unit = 0;
  for (; size >= 999.95 && unit < 3; unit++) size /= 1000;
  snprintf(out, sizeof *buffers, size < 10 ? "%.1f %s" : "%.0f %s", size,
           units[unit]);
  return out;
}
