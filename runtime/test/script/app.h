/* A folder of modules for a test, and shorthands for calling into it. */
#ifndef AE_TEST_SCRIPT_APP_H
#define AE_TEST_SCRIPT_APP_H

#include "base/pack.h"
#include "script/script.h"

typedef struct app {
  char folder[64];
  ae_script *script; /* NULL: it did not open */
  ae_status status;  /* of opening */
  ae_error err;      /* of the last call */
  ae_buf mistakes;   /* one text a line */
  unsigned nmistakes;
  ae_buf log;       /* "level module actor: text" a line */
  ae_buf events;    /* of the last decide */
  ae_decide decide; /* the last one */
  bool strict;
  size_t memory;
  double handler_ms; /* 0: so much that nothing is stopped */
  unsigned patience;
  void (*on_log)(void); /* instead of taking it down; may be NULL */
} app;

/* Pairs of file name and text, then NULL. Opens the script and asserts that it
 * went well, or (app_try) leaves that to the caller. */
void app_open(app *a, ...) __attribute__((sentinel));
void app_try(app *a, ...) __attribute__((sentinel));
/* The same with one aggregate, account.lua. */
void app_open_account(app *a, const char *text);
void app_close(app *a);

ae_module *app_module(app *a, const char *name);
ae_state app_initial(app *a, const char *module);
ae_status app_decide(app *a, const char *module, ae_state state,
                     const char *command, const char *json);
/* The last decide's events, and a state, as JSON. Until the next of its kind */
const char *app_events(app *a);
const char *app_state(app *a, const char *module, ae_state state);
const char *app_reason(app *a);
/* JSON of a fact of the last error; "" for none. */
const char *app_fact(app *a, const char *key);

void pack_json(const char *json, ae_buf *out);
#define assert_contains(text, part) \
  app_assert_contains(text, part, __FILE__, __LINE__)
void app_assert_contains(const char *text, const char *part, const char *file,
                         int line);

#endif
