/* What follows when a handler was stopped: nothing of the state may be looked
 * at again. It is abandoned, and the modules are run in a new one. */
#include <fenv.h>
#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "script/load.h"

#define AGAIN UINT64_C(1000000000) /* ns between attempts to load it again */

uint64_t ae_script_stops(const ae_script *script) {
  return script->stops;
}

int64_t ae_module_quarantined(const ae_module *module, ae_str *cause) {
  if (cause) *cause = ae_str_of(module->cause ? module->cause : "");
  return module->since;
}

/* -- what is said -- */

static void add_limit(ae_error *err, double ms) {
  if (!err) return;
  ae_buf value = {0};
  if (ms == floor(ms)) {
    ae_pack_uint(&value, (uint64_t)ms);
  } else {
    ae_pack_double(&value, ms);
  }
  ae_error_pack(err, "limit", ae_buf_view(&value));
  ae_buf_clear(&value);
}

static void say(const ae_script *script, const ae_module *module,
                ae_error *err) {
  double ms =
      (double)(script->loading ? script->load_ns : script->handler_ns) / 1e6;
  ae_buf what = {0};
  if (module) {
    ae__place(script, module, &what);
    if (script->line > 0) ae_buf_printf(&what, ":%d", script->line);
    ae_buf_printf(&what, ": ");
  }
  if (script->doing) {
    ae_buf_printf(&what, "%s%s%.*s", script->doing,
                  script->handler.len ? "." : "", AE_FMT(script->handler));
  } else {
    ae_buf_printf(&what, script->loading ? "loading" : "the script");
  }
  ae_error_set(err, AE_SCRIPT_TIMEOUT,
               "%s was stopped: it took more than %g ms", ae_buf_cstr(&what),
               ms);
  if (!script->loading) {
    ae_error_add(err, " (limits.handler_ms)");
  } else if (*script->ns) {
    ae_error_add(err, " (%d times limits.handler_ms)", AE_LOAD_TIMES);
  }
  if (module) ae_error_cstr(err, "module", module->name);
  add_limit(err, ms);
  ae_buf_clear(&what);
}

static void log_stop(const ae_script *script, const ae_module *module,
                     ae_log_level level, const char *text, const char *cause) {
  if (script->log) return; /* a prompt: who is at it reads the error */
  ae_log(level, text, "namespace", script->ns, "module",
         module ? module->name : "", "cause", cause, NULL);
}

/* -- quarantine -- */

static void strike(ae_script *script, ae_module *module, const ae_error *err) {
  module->strikes++;
  if (script->loading || module->strikes < script->patience) return;
  module->since = ae_clock_now();
  ae_free(module->cause);
  module->cause = ae_strdup(ae_error_text(err));
  log_stop(script, module, AE_LOG_ERROR,
           "a module is quarantined until a reload: it was stopped too often "
           "in a row",
           module->cause);
}

ae_status ae_module_refused(const ae_module *module, ae_error *err) {
  const ae_script *script = module->script;
  if (!module->since) return AE_OK;
  ae_error_set(err, AE_MODULE_QUARANTINED,
               "%s%s%s.lua is quarantined: it was stopped %u times in a row. "
               "Mend it and reload; the last cause: %s",
               script->ns, *script->ns ? "/" : "", module->name,
               script->patience, module->cause);
  ae_error_cstr(err, "module", module->name);
  ae_error_int(err, "since", module->since);
  ae_error_cstr(err, "cause", module->cause);
  return AE_MODULE_QUARANTINED;
}

/* -- again -- */

static ae_status load_again(ae_script *script, ae_error *err) {
  ae_error why = {0};
  ae__unload(script);
  ae_status status = ae__load_all(script, &why);
  if (status == AE_OK) {
    ae_error_clear(&script->down);
  } else {
    ae__state_close(script);
    ae__unload(script);
    script->again_at = ae_clock_mono() + AGAIN;
    ae_error_set(&script->down, status,
                 "namespace %s could not be loaded again after a handler was "
                 "stopped: %s",
                 script->ns, ae_error_text(&why));
    log_stop(script, NULL, AE_LOG_ERROR, "modules cannot be loaded again",
             ae_error_text(&why));
    if (err) ae_error_set(err, status, "%s", ae_error_text(&script->down));
  }
  ae_error_clear(&why);
  return status;
}

ae_status ae__refused(ae_script *script, const ae_module *module,
                      ae_error *err) {
  if (!script->L && !script->loading) {
    if (ae_clock_mono() < script->again_at) {
      return ae_error_set(err, script->down.status, "%s",
                          ae_error_text(&script->down));
    }
    ae_status status = load_again(script, err);
    if (status != AE_OK) return status;
  }
  return module && !script->loading ? ae_module_refused(module, err) : AE_OK;
}

ae_status ae__stopped(ae_script *script, ae_module *module, ae_error *err) {
  double took = (double)ae__watchdog_left() / 1e6;
  fesetenv(FE_DFL_ENV); /* it may have been changing it */
  ae_error own = {0};
  const ae_module *at = script->at ? script->at : module;
  say(script, at, &own);
  ae_buf ms = {0};
  ae_pack_double(&ms, floor(took * 1000) / 1000);
  ae_error_pack(&own, "took", ae_buf_view(&ms));
  ae_buf_clear(&ms);
  script->stops++;
  ae__state_abandon(script);
  if (!script->loading)
    log_stop(script, at, AE_LOG_WARN, "a handler was stopped",
             ae_error_text(&own));
  if (module) strike(script, module, &own);
  if (err) {
    ae_error_move(err, &own);
  } else {
    ae_error_clear(&own);
  }
  if (!script->loading) load_again(script, NULL);
  return AE_SCRIPT_TIMEOUT;
}
