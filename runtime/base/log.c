#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
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

void ae_log(ae_log_level level, const char *message, ...) {
  if (level == AE_LOG_ERROR) atomic_fetch_add(&errors, 1);
  if (!ae_log_shows(level)) return;
  if (atomic_load(&line_form) == AE_LOG_AUTO) {
    ae_log_setup((ae_log_level)atomic_load(&least_level), AE_LOG_AUTO);
  }
  ae_buf line = {0};
  va_list pairs;
  va_start(pairs, message);
  int64_t now = ae_clock_now();
  if (atomic_load(&line_form) == AE_LOG_TEXT) {
    text_line(&line, level, now, message, pairs);
  } else {
    json_line(&line, level, now, message, pairs);
  }
  va_end(pairs);
  ae_buf_byte(&line, '\n');
  int kept = errno; /* who logs goes on to look at it */
  ssize_t written;
  do {
    written = write(2, line.ptr, line.len);
  } while (written < 0 && errno == EINTR);
  errno = kept;
  ae_buf_clear(&line);
}
