#include "node/repl.h"

#include "base/mem.h"
#include "node/internal.h"
#include "script/prompt.h"

struct ae_repl {
  ae_node *node;
  ae_str ns; /* the node's */
  ae_script *script;
  ae_prompt *prompt;
  void (*print)(void *data, ae_str text);
  void *data;
  /* the read under way */
  ae_state_read read;
  ae_buf type, id;
  bool reading;
  ae_status status;
  uint64_t version;
  ae_buf state;
  ae_error why;
};

static void on_log(void *data, ae_log_level level, ae_str module, ae_str actor,
                   ae_str text) {
  ae_repl *repl = data;
  (void)level, (void)module, (void)actor;
  repl->print(repl->data, text);
}

ae_status ae_repl_open(ae_node *node, ae_str ns, const ae_repl_options *options,
                       ae_repl **out, ae_error *err) {
  const ae_namespace_config *config;
  *out = NULL;
  ae_status status = ae_config_namespace(node->config, ns, &config, err);
  if (status != AE_OK) return status;
  ae_repl *repl = ae_zalloc(sizeof *repl);
  repl->node = node;
  repl->ns = ae_str_of(config->name);
  repl->print = options->print;
  repl->data = options->data;
  /* One of its own: what the prompt changes is not what reads the store. */
  const ae_script_options script = {.ns = repl->ns,
                                    .folder = config->folder,
                                    .memory_limit = config->memory,
                                    /* What the prompt cannot end by itself. */
                                    .handler_ms = (double)options->ms + 1000,
                                    .patience = UINT32_MAX,
                                    .strict = true,
                                    .log = on_log,
                                    .data = repl};
  const ae_prompt_options prompt = {.name = options->name,
                                    .ms = options->ms,
                                    .interrupted = options->interrupted};
  status = ae_script_open(&script, &repl->script, err);
  if (status == AE_OK)
    status = ae_prompt_open(repl->script, &prompt, &repl->prompt, err);
  if (status == AE_OK)
    *out = repl;
  else
    ae_repl_close(repl);
  return status;
}

void ae_repl_close(ae_repl *repl) {
  if (!repl) return;
  ae_prompt_close(repl->prompt);
  ae_script_close(repl->script);
  ae_buf_clear(&repl->type);
  ae_buf_clear(&repl->id);
  ae_buf_clear(&repl->state);
  ae_error_clear(&repl->why);
  ae_free(repl);
}

static void on_state(ae_state_read *read, ae_status status, uint64_t version,
                     ae_str state, const ae_error *err) {
  ae_repl *repl = read->data;
  repl->status = status;
  repl->version = version;
  ae_buf_str(&repl->state, state);
  if (status != AE_OK) ae_error_copy(&repl->why, err);
  repl->reading = false;
  ae_loop_stop(repl->node->loop);
}

static void read_state(ae_repl *repl) {
  ae_str type, id;
  uint64_t at;
  ae_prompt_asked(repl->prompt, &type, &id, &at);
  ae_buf_reset(&repl->state);
  ae_error_clear(&repl->why);
  if (!repl->node->actors) {
    repl->status = ae_config_has_store(repl->node->config, &repl->why);
    if (repl->status != AE_OK) return;
    repl->status = ae_error_set(&repl->why, AE_STORE_UNAVAILABLE,
                                "the store was not there when the prompt "
                                "began; begin it again");
    return;
  }
  ae_buf_reset(&repl->type);
  ae_buf_reset(&repl->id);
  ae_buf_str(&repl->type, type);
  ae_buf_str(&repl->id, id);
  repl->read = (ae_state_read){.ref = {.ns = repl->ns,
                                       .type = ae_buf_view(&repl->type),
                                       .id = ae_buf_view(&repl->id)},
                               .at = at,
                               .cb = on_state,
                               .data = repl};
  repl->reading = true;
  ae_actors_state(repl->node->actors, &repl->read);
  while (repl->reading) ae_loop_run(repl->node->loop);
}

ae_repl_end ae_repl_run(ae_repl *repl, ae_str text, int line, ae_buf *out,
                        ae_error *err) {
  ae_prompt_step step = ae_prompt_run(repl->prompt, text, line, out, err);
  while (step == AE_PROMPT_ASKS) {
    read_state(repl);
    step = ae_prompt_answer(repl->prompt, repl->status, repl->version,
                            ae_buf_view(&repl->state), &repl->why, out, err);
  }
  return step == AE_PROMPT_DONE   ? AE_REPL_DONE
         : step == AE_PROMPT_MORE ? AE_REPL_MORE
                                  : AE_REPL_FAILED;
}

size_t ae_repl_complete(ae_repl *repl, ae_str line, ae_buf *words) {
  return ae_prompt_complete(repl->prompt, line, words);
}
