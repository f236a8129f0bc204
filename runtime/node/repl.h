/* A Lua prompt inside a namespace of an app, beside its store: states of stored
 * actors are read, and nothing is ever written. */
#ifndef AE_NODE_REPL_H
#define AE_NODE_REPL_H

#include <signal.h>

#include "node/node.h"

typedef struct ae_repl ae_repl;

typedef struct ae_repl_options {
  const char *name; /* of what is read, in messages: "stdin" */
  uint64_t ms;      /* that an input may take */
  /* Not 0: what runs is interrupted. */
  const volatile sig_atomic_t *interrupted;
  /* A line that a script printed or logged, without its end. */
  void (*print)(void *data, ae_str text);
  void *data;
} ae_repl_options;

typedef enum ae_repl_end {
  AE_REPL_DONE,   /* results are appended to `out`, a line or more each */
  AE_REPL_MORE,   /* the input is not complete */
  AE_REPL_FAILED, /* `err` */
} ae_repl_end;

/* `node`: opened with modules, and with the app's store for reading where there
 * is one; it must outlive the prompt. AE_UNKNOWN_NAMESPACE, or what is wrong
 * with the modules. */
ae_status ae_repl_open(ae_node *node, ae_str ns, const ae_repl_options *options,
                       ae_repl **out, ae_error *err);
void ae_repl_close(ae_repl *repl); /* NULL is harmless */
/* Runs the loop while it waits for the store. `line`: of the first, from 1. */
ae_repl_end ae_repl_run(ae_repl *repl, ae_str text, int line, ae_buf *out,
                        ae_error *err);
/* As ae_prompt_complete: words with a NUL behind each, and the number of bytes
 * at the end of `line` that they replace. */
size_t ae_repl_complete(ae_repl *repl, ae_str line, ae_buf *words);

#endif
