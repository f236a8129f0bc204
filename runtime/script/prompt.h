/* A Lua prompt inside a namespace: lines run in its sandbox, with what
 * aether.prompt adds. What only the store knows is asked of the caller, between
 * two steps. A prompt's script is its own: nobody else calls into it. */
#ifndef AE_SCRIPT_PROMPT_H
#define AE_SCRIPT_PROMPT_H

#include <signal.h>

#include "script/script.h"

typedef struct ae_prompt ae_prompt;

typedef struct ae_prompt_options {
  const char *name; /* of what is read, in messages: "stdin" */
  uint64_t ms;      /* that an input may take, with what it waits for */
  /* Not 0: what runs is interrupted. The caller sets it back. */
  const volatile sig_atomic_t *interrupted;
} ae_prompt_options;

typedef enum ae_prompt_step {
  AE_PROMPT_DONE,   /* results are appended to `out`, a line or more each */
  AE_PROMPT_MORE,   /* the input is not complete */
  AE_PROMPT_ASKS,   /* see ae_prompt_asked; ae_prompt_answer goes on */
  AE_PROMPT_FAILED, /* `err` */
} ae_prompt_step;

/* `script` must outlive the prompt. Options are copied. */
ae_status ae_prompt_open(ae_script *script, const ae_prompt_options *options,
                         ae_prompt **out, ae_error *err);
void ae_prompt_close(ae_prompt *prompt); /* NULL is harmless */

/* One input: an expression, or statements. `line`: of its first, from 1. */
ae_prompt_step ae_prompt_run(ae_prompt *prompt, ae_str text, int line,
                             ae_buf *out, ae_error *err);
/* The state of which actor is asked for, in the namespace; they live until the
 * answer. `at`: the version, UINT64_MAX for now. */
void ae_prompt_asked(const ae_prompt *prompt, ae_str *type, ae_str *id,
                     uint64_t *at);
/* What was asked for: AE_OK with version and state (msgpack), or why not. */
ae_prompt_step ae_prompt_answer(ae_prompt *prompt, ae_status status,
                                uint64_t version, ae_str state,
                                const ae_error *why, ae_buf *out,
                                ae_error *err);
/* Words that can stand at the end of `line`: each appended to `words` with a
 * NUL behind. The number of bytes at the end of `line` that they replace. */
size_t ae_prompt_complete(ae_prompt *prompt, ae_str line, ae_buf *words);

#endif
