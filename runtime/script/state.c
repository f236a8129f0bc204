/* The state and the gate. Its stack holds two values for good: the handler of
 * errors and the runner; a call pushes the runner again and nothing else, so
 * that whatever can raise does so inside the protected call. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "script/state.h"

#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define HANDLER 1
#define RUNNER 2
/* Bytes that host code below a call takes. */
#define C_STACK ((size_t)1 << 19)
#define TRACE 12         /* levels that a traceback shows */
#define TEXT_SHOWN 2000u /* bytes of what a script raised */
#define STOPPED (-1)     /* where lua_pcall gives its statuses */

/* Thrown by ae__fail: the address says that the error is in script->err. */
static char failed;

ae_script *ae__script_of(lua_State *L) {
  void *heap;
  lua_getallocf(L, &heap);
  return ((ae_heap *)heap)->owner;
}

void ae__guard_stack(ae_script *script, lua_State *L) {
  if ((uintptr_t)__builtin_frame_address(0) < script->stack_limit) {
    ae__raise(L, "stack overflow (host functions call each other too deep)");
  }
}

/* -- errors -- */

/* "bank/account.lua:12: " at the start of a message. */
static bool parse_place(const char *text, ae_str *file, int *line) {
  const char *at = text;
  while (*at && *at != ' ' && *at != '\n' && strncmp(at, ".lua:", 5)) at++;
  if (strncmp(at, ".lua:", 5)) return false;
  char *end;
  long number = strtol(at + 5, &end, 10);
  if (end == at + 5 || *end != ':') return false;
  *file = (ae_str){text, (size_t)(at - text)};
  *line = (int)number;
  return true;
}

static bool is_library(ae_str file) {
  return file.len > 7 && !memcmp(file.ptr, "aether/", 7);
}

static ae_str base_name(ae_str file) {
  for (size_t i = file.len; i > 0; i--) {
    if (file.ptr[i - 1] == '/') {
      return (ae_str){file.ptr + i, file.len - i};
    }
  }
  return file;
}

/* The innermost level of the app's own code. */
static bool find_place(lua_State *L, lua_Debug *ar) {
  for (int level = 0; lua_getstack(L, level, ar); level++) {
    if (lua_getinfo(L, "Sl", ar) && ar->source[0] == '@' &&
        strncmp(ar->source, "@aether/", 8) && ar->currentline > 0) {
      return true;
    }
  }
  return false;
}

static void add_trace(lua_State *L, ae_error *err) {
  ae_buf trace = {0};
  lua_Debug ar;
  int shown = 0;
  for (int level = 0; shown < TRACE && lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "Snl", &ar) || ar.source[0] != '@') continue;
    ae_buf_printf(&trace, "%s%s:%d", shown++ ? "\n" : "", ar.short_src,
                  ar.currentline);
    if (ar.name) ae_buf_printf(&trace, " in %s", ar.name);
  }
  if (trace.len) ae_error_str(err, "traceback", ae_buf_view(&trace));
  ae_buf_clear(&trace);
}

static void add_doing(ae_script *script) {
  if (!script->doing) return;
  ae_error_add(script->err, " (in %s%s%.*s)", script->doing,
               script->handler.len ? "." : "", AE_FMT(script->handler));
}

/* Text is handed on as a C string: what follows a NUL would be lost. */
static void add_shown(ae_buf *out, ae_str text) {
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i])
      ae_buf_byte(out, (uint8_t)text.ptr[i]);
    else
      ae_buf_printf(out, "\\0");
  }
}

/* Runs where an error reaches the gate, on top of the stack that raised it. */
AE__HOST_FUNCTION(on_error) {
  ae_script *script = ae__script_of(L);
  if (lua_touserdata(L, 1) == &failed) return 1;
  script->status = AE_SCRIPT_ERROR;
  size_t len;
  const char *text = lua_tolstring(L, 1, &len);
  ae_buf made = {0};
  if (lua_isnoneornil(L, 1)) {
    ae_buf_printf(&made,
                  "raised without a text: error(\"what was wrong\") has one");
    text = ae_buf_cstr(&made);
  } else if (!text) {
    ae_buf_printf(&made,
                  "the error is a %s: raise a text, as in "
                  "error(\"what was wrong\")",
                  luaL_typename(L, 1));
    text = ae_buf_cstr(&made);
  } else if (len > TEXT_SHOWN || memchr(text, 0, len)) {
    size_t shown = len < TEXT_SHOWN ? len : TEXT_SHOWN;
    while (shown < len && shown > 0 && ((uint8_t)text[shown] & 0xc0) == 0x80)
      shown--;
    add_shown(&made, (ae_str){text, shown});
    if (shown < len) ae_buf_printf(&made, "… (%zu bytes in all)", len);
    text = ae_buf_cstr(&made);
  }
  ae_str file = {0};
  int line = 0;
  lua_Debug ar;
  bool placed = parse_place(text, &file, &line);
  if ((!placed || is_library(file)) && find_place(L, &ar)) {
    ae_str found = ae_str_of(ar.short_src);
    if (found.len > 4) found.len -= 4;
    ae_error_set(script->err, AE_SCRIPT_ERROR, "%s:%d: %s", ar.short_src,
                 ar.currentline, text);
    file = found;
    line = ar.currentline;
  } else if (!placed && script->at) {
    /* A tail call left no level of the handler's, or of the file. */
    ae_buf place = {0};
    ae__place(script, script->at, &place);
    if (script->line) ae_buf_printf(&place, ":%d", script->line);
    ae_error_set(script->err, AE_SCRIPT_ERROR, "%s: %s", ae_buf_cstr(&place),
                 text);
    ae_buf_clear(&place);
    if (script->line) file = ae_str_of(script->at->name);
    line = script->line;
  } else {
    ae_error_set(script->err, AE_SCRIPT_ERROR, "%s", text);
  }
  add_doing(script);
  if (file.len && !is_library(file)) {
    ae_error_str(script->err, "module", base_name(file));
    ae_error_int(script->err, "line", line);
  } else if (script->at) {
    ae_error_cstr(script->err, "module", script->at->name);
  }
  if (script->err) add_trace(L, script->err);
  ae_buf_clear(&made);
  return 1;
}

void ae__place(const ae_script *script, const ae_module *module, ae_buf *out) {
  ae_buf_printf(out, "%s%s%s.lua", script->ns, *script->ns ? "/" : "",
                module->name);
}

void ae__fail(ae_script *script, lua_State *L, ae_status status, int line,
              const char *format, ...) {
  ae_buf text = {0};
  va_list args;
  va_start(args, format);
  ae_buf_vprintf(&text, format, args);
  va_end(args);
  if (script->at && line >= 0) {
    ae_buf place = {0};
    ae__place(script, script->at, &place);
    if (line > 0) ae_buf_printf(&place, ":%d", line);
    ae_buf_printf(&place, ": ");
    ae_error_set(script->err, status, "%.*s%.*s", (int)place.len, place.ptr,
                 (int)text.len, text.ptr);
    ae_buf_clear(&place);
    ae_error_cstr(script->err, "module", script->at->name);
    if (line > 0) ae_error_int(script->err, "line", line);
  } else {
    ae_error_set(script->err, status, "%.*s", (int)text.len, text.ptr);
  }
  ae_buf_clear(&text);
  script->status = status;
  lua_pushlightuserdata(L, &failed);
  lua_error(L);
  abort();
}

void ae__fail_value(ae_script *script, lua_State *L, int line) {
  /* ae__fail formats before anything touches `problem`. */
  ae_str problem = ae_buf_view(&script->codec.problem);
  if (!script->doing)
    ae__fail(script, L, AE_VALUE_ERROR, line, "%.*s", AE_FMT(problem));
  ae__fail(script, L, AE_VALUE_ERROR, line, "%.*s (in %s%s%.*s)",
           AE_FMT(problem), script->doing, script->handler.len ? "." : "",
           AE_FMT(script->handler));
}

/* -- the gate -- */

static void collect(ae_script *script, lua_State *L) {
  ae_heap *heap = script->heap;
  size_t limit = heap->limit;
  heap->limit += (size_t)1 << 20; /* the collector may move its string table */
  lua_gc(L, LUA_GCCOLLECT, 0);
  heap->limit = limit;
  heap->refused = false;
  script->full =
      heap->used < limit ? heap->used + (limit - heap->used) / 2 : limit;
}

void ae__call(lua_State *L, int args, int results) {
  {
    AE__LUA_MODE;
    lua_call(L, args, results);
  }
  ae__poll();
}

void ae__getfield(lua_State *L, int index, const char *key) {
  {
    AE__LUA_MODE;
    lua_getfield(L, index, key);
  }
  ae__poll();
}

static int runner(lua_State *L) {
  ae_script *script = ae__script_of(L);
  if (script->heap->used >= script->full) {
    collect(script, L);
    ae__watched_restart(); /* it was no handler's time */
  }
  script->work(script, L, script->arg);
  if (script->nlists > 0 && ae__lists_mend(script, L)) {
    ae__fail(script, L, AE_CONTRACT_ERROR, 0,
             "a list that modules share was written to; it is read-only: "
             "value.copy makes one's own");
  }
  return 0;
}

static void mend(ae_script *script, lua_State *L, void *arg) {
  (void)arg;
  ae__lists_mend(script, L);
}

static ae_status memory_error(ae_script *script, ae_error *err) {
  size_t limit = script->heap->limit;
  script->full = 0; /* the next call collects first */
  const char *module = script->at ? script->at->name : "";
  ae_error_set(err, AE_SCRIPT_MEMORY,
               "%s%s%s wanted more memory than the %zu "
               "MB that namespace %s may take (limits.memory_mb)",
               *module ? module : "the script", script->doing ? "." : "",
               script->doing ? script->doing : "", limit >> 20, script->ns);
  if (script->handler.len && err) {
    ae_error_add(err, " (in %s.%.*s)", script->doing ? script->doing : "",
                 AE_FMT(script->handler));
  }
  if (*module) ae_error_cstr(err, "module", module);
  ae_error_uint(err, "limit", limit);
  return AE_SCRIPT_MEMORY;
}

/* A frame of its own for the jump to come back to. */
static __attribute__((noinline)) int enter(lua_State *L) {
  if (AE__JUMP_SET(ae__here.jump)) return STOPPED;
  int failure = lua_pcall(L, 0, 0, HANDLER);
  ae__here.lua = 0; /* ae__raise */
  return failure;
}

ae_status ae__run(ae_script *script, ae_module *module, ae_work *work,
                  void *arg, ae_error *err) {
  ae_status status = ae__ready(script, module, err);
  if (status != AE_OK) return status;
  lua_State *L = script->L;
  AE_ASSERT_CMP(lua_gettop(L), ==, RUNNER);
  script->work = work;
  script->arg = arg;
  script->err = err;
  script->status = AE_OK;
  script->at = module;
  script->doing = NULL;
  script->handler = (ae_str){0};
  script->line = 0;
  script->actor_id = (ae_str){0};
  script->stack_limit = (uintptr_t)__builtin_frame_address(0) - C_STACK;
  script->heap->refused = false;
  script->shares = false;
  ae__watched_begin(script->loading ? script->load_ns : script->handler_ns);
  lua_pushvalue(L, RUNNER);
  int failure = enter(L);
  if (failure > 0 && script->nlists > 0) {
    script->work = mend;
    lua_pushvalue(L, RUNNER);
    if (enter(L) == STOPPED) failure = STOPPED;
  }
  ae__watched_end();
  script->ctx_kind = AE_CTX_NONE;
  if (failure == STOPPED) return ae__stopped(script, module, err);
  lua_settop(L, RUNNER);
  /* A script may have caught the refusal and gone on with half a result. */
  if (script->heap->refused || failure == LUA_ERRMEM) {
    return memory_error(script, err);
  }
  if (!failure) return AE_OK;
  if (script->status != AE_OK) return script->status;
  ae_error_set(err, AE_SCRIPT_ERROR, "%s/%s.lua: an error inside an error",
               script->ns, module ? module->name : "?");
  if (module) ae_error_cstr(err, "module", module->name);
  return AE_SCRIPT_ERROR;
}

/* -- opening and closing -- */

static int on_panic(lua_State *L) {
  const char *text = lua_tostring(L, -1);
  ae_assert_failed(text ? text : "a Lua error outside of the gate", __FILE__,
                   __LINE__);
}

static int set_up(lua_State *L) {
  ae_script *script = ae__script_of(L);
  static const lua_CFunction libraries[] = {
      luaopen_base, luaopen_string, luaopen_table, luaopen_math,
      luaopen_bit,  luaopen_jit,    luaopen_debug};
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    lua_pushcfunction(L, libraries[i]);
    lua_pushstring(L, "");
    lua_call(L, 1, 0);
  }
  /* The first release makes the free list, so that later ones cannot fail. */
  lua_newtable(L);
  luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
  static const char *const keys[] = {"type", "data", "metadata", "revision"};
  int *refs[] = {&script->key_type, &script->key_data, &script->key_metadata,
                 &script->key_revision};
  for (int i = 0; i < 4; i++) {
    lua_pushstring(L, keys[i]);
    *refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_newtable(L);
  script->loaded_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  script->lists_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushboolean(L, false);
  script->metadata_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushcfunction(L, on_error);
  lua_setfield(L, LUA_REGISTRYINDEX, "aether.handler");
  lua_pushcfunction(L, runner);
  lua_setfield(L, LUA_REGISTRYINDEX, "aether.runner");
  lua_gc(L, LUA_GCSETPAUSE, 200);
  lua_gc(L, LUA_GCSETSTEPMUL, 400);
  return 0;
}

static int fetch_fixed(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "aether.handler");
  lua_getfield(L, LUA_REGISTRYINDEX, "aether.runner");
  return 2;
}

/* The library that every state needs, and what is taken from it. */
static void open_library(ae_script *script, lua_State *L, void *arg) {
  (void)arg;
  lua_getglobal(L, "debug");
  lua_getfield(L, -1, "getinfo");
  script->getinfo_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  ae__sandbox_open(script, L);
  /* What the libraries left as globals is nobody's any more. */
  lua_newtable(L);
  lua_replace(L, LUA_GLOBALSINDEX);
  ae__require(script, L, AE_STR("aether.value"), true);
  ae__codec_init(&script->codec, L);
  script->codec.limit = script->heap->limit;
  ae__require(script, L, AE_STR("aether.event"), true);
  lua_pushstring(L, "Sample");
  lua_call(L, 1, 1);
  if (!lua_getmetatable(L, -1)) luaL_error(L, "aether.event marks no event");
  script->event_ptr = lua_topointer(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX);
  static const char *const names[][2] = {{"aether.schema", "check"},
                                         {"aether.schema", "to_json_schema"},
                                         {"aether.upcast", "bring"},
                                         {"aether.module", "check"}};
  int *refs[] = {&script->check_ref, &script->json_ref, &script->bring_ref,
                 &script->module_ref};
  for (int i = 0; i < 4; i++) {
    ae__require(script, L, ae_str_of(names[i][0]), true);
    lua_getfield(L, -1, names[i][1]);
    *refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  ae__ctx_open(script, L);
}

static void check_pow(void) {
  AE_ASSERT(dlsym(RTLD_DEFAULT, "pow") == (void *)ae__pow);
}

ae_status ae__state_open(ae_script *script, ae_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, check_pow);
  static _Atomic uint32_t generations;
  size_t limit = script->memory;
  if (limit < AE_MEMORY_LEAST) {
    return ae_error_set(err, AE_SCRIPT_MEMORY,
                        "namespace %s: memory_mb must be at least %zu",
                        script->ns, AE_MEMORY_LEAST >> 20);
  }
  script->heap = ae__heap_open(limit);
  if (!script->heap) {
    return ae_error_set(err, AE_SCRIPT_MEMORY,
                        "namespace %s: no room for a script of %zu MB: %s",
                        script->ns, limit >> 20, strerror(errno));
  }
  script->heap->owner = script;
  script->full = limit / 2;
  script->nlists = 0;
  do script->generation = atomic_fetch_add(&generations, 1) + 1;
  while (script->generation == 0);
  script->L = lua_newstate(ae__heap_realloc, script->heap);
  if (!script->L) {
    return ae_error_set(err, AE_SCRIPT_MEMORY, "namespace %s: no Lua state",
                        script->ns);
  }
  lua_State *L = script->L;
  lua_atpanic(L, on_panic);
  lua_pushcfunction(L, set_up);
  if (lua_pcall(L, 0, 0, 0)) {
    return ae_error_set(err, AE_SCRIPT_ERROR, "namespace %s: %s", script->ns,
                        lua_tostring(L, -1));
  }
  lua_pushcfunction(L, fetch_fixed);
  if (lua_pcall(L, 0, 2, 0)) {
    return ae_error_set(err, AE_SCRIPT_ERROR, "namespace %s: %s", script->ns,
                        lua_tostring(L, -1));
  }
  return ae__run(script, NULL, open_library, NULL, err);
}

void ae__state_close(ae_script *script) {
  if (script->L) lua_close(script->L);
  script->L = NULL;
  ae__heap_close(script->heap);
  script->heap = NULL;
  ae__codec_clear(&script->codec);
  ae_buf_clear(&script->before);
  ae_buf_clear(&script->after);
  ae_buf_clear(&script->marks);
  ae_buf_clear(&script->scratch);
}

void ae__state_abandon(ae_script *script) {
  ae__mcode_free(script->L);
  ae__heap_close(script->heap);
  script->heap = NULL;
  script->L = NULL;
  script->generation = 0;
}

size_t ae_script_memory(const ae_script *script) {
  return script->heap ? script->heap->used : 0;
}

static void nothing(ae_script *script, lua_State *L, void *arg) {
  (void)script, (void)L, (void)arg;
}

void ae_script_collect(ae_script *script) {
  script->full = 0;
  ae__run(script, NULL, nothing, NULL, NULL);
}
