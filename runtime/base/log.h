/* Structured log on stderr: text on a terminal, a JSON object a line
 * elsewhere. Thread-safe; a line is written with one write(2). Where stderr is
 * a pipe or a socket that nobody reads, a line waits half a second, and further
 * ones not at all: they are left out, and the first that finds room says how
 * many. */
#ifndef AE_BASE_LOG_H
#define AE_BASE_LOG_H

#include "base/str.h"

typedef enum ae_log_level {
  AE_LOG_DEBUG,
  AE_LOG_INFO,
  AE_LOG_WARN,
  AE_LOG_ERROR,
} ae_log_level;

typedef enum ae_log_form { AE_LOG_AUTO, AE_LOG_TEXT, AE_LOG_JSON } ae_log_form;

void ae_log_setup(ae_log_level least, ae_log_form form);
bool ae_log_shows(ae_log_level level); /* whether such lines are written */
/* Pairs of (const char *key, const char *value) behind the message, then NULL:
 * ae_log(AE_LOG_WARN, "snapshot dropped", "actor", name, NULL). */
void ae_log(ae_log_level level, const char *message, ...)
    __attribute__((sentinel));
/* Lines of AE_LOG_ERROR so far: tests demand that it did not rise. */
unsigned long ae_log_errors(void);

#endif
