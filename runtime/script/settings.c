/* aether.lua: a settings file, run in the same sandbox as modules. */
#include <errno.h>
#include <lauxlib.h>

#include "base/mem.h"
#include "script/state.h"

#define MEMORY ((size_t)16 << 20) /* bytes that settings may take */
#define TIME UINT64_C(1000000000) /* ns, to run */

typedef struct settings_work {
  ae_buf source;
  ae_buf *out;
} settings_work;

static void run_settings(ae_script *script, lua_State *L, void *arg) {
  settings_work *work = arg;
  ae_str source = ae_buf_view(&work->source);
  if (luaL_loadbufferx(L, source.ptr ? source.ptr : "", source.len,
                       "@aether.lua", "t")) {
    lua_error(L);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->env_ref);
  lua_setfenv(L, -2);
  ae__call(L, 0, 1);
  if (!lua_istable(L, -1)) {
    ae__fail(script, L, AE_CONTRACT_ERROR, 0,
             "the file must return a table of settings; it returned %s",
             lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
  }
  size_t before = work->out->len;
  if (!ae__encode(&script->codec, L, -1, "settings", work->out)) {
    ae__fail(script, L, AE_VALUE_ERROR, 0, "%.*s",
             (int)script->codec.problem.len, script->codec.problem.ptr);
  }
  uint8_t first = (uint8_t)work->out->ptr[before];
  if ((first & 0xf0) != 0x80 && first != 0xde && first != 0xdf) {
    work->out->len = before;
    ae__fail(script, L, AE_CONTRACT_ERROR, 0,
             "the file must return a table of settings by name; it returned a "
             "list");
  }
}

ae_status ae_script_settings(const char *file, ae_buf *out, ae_error *err) {
  settings_work work = {.out = out};
  if (!ae__read_file(file, &work.source)) {
    ae_status status = ae_error_set(err, AE_NOT_FOUND, "cannot read %s: %s",
                                    file, strerror(errno));
    ae_buf_clear(&work.source);
    return status;
  }
  ae_script script = {.memory = MEMORY, .load_ns = TIME, .loading = true};
  ae_status status = ae__watchdog_hold(err);
  if (status != AE_OK) {
    ae_buf_clear(&work.source);
    return status;
  }
  script.ns = ae_strdup("");
  ae_module module = {.script = &script, .name = ae_strdup("aether")};
  size_t before = out->len;
  status = ae__state_open(&script, err);
  if (status == AE_OK) {
    status = ae__run(&script, &module, run_settings, &work, err);
  }
  if (status != AE_OK) out->len = before;
  ae__state_close(&script);
  ae__watchdog_release();
  ae_free(module.name);
  ae_free(script.ns);
  ae_buf_clear(&work.source);
  return status;
}
