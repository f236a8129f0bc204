/* Text without addresses, which differ from state to state: tostring, print
 * and what string.format is given. */
#include <lauxlib.h>

#include "script/sandbox.h"

/* Registry key of the original. */
static char original;

void ae__tostring(lua_State *L, int index) {
  if (index < 0) index += lua_gettop(L) + 1;
  if (luaL_getmetafield(L, index, "__tostring")) {
    lua_pushvalue(L, index);
    ae__call(L, 1, 1);
    if (!lua_isstring(L, -1)) {
      luaL_error(L, "__tostring must return a string, got %s",
                 luaL_typename(L, -1));
    }
    return;
  }
  switch (lua_type(L, index)) {
    case LUA_TTABLE:
    case LUA_TFUNCTION:
    case LUA_TUSERDATA:
    case LUA_TLIGHTUSERDATA:
    case LUA_TTHREAD:
      lua_pushstring(L, luaL_typename(L, index));
      return;
    default:
      lua_pushlightuserdata(L, &original);
      lua_rawget(L, LUA_REGISTRYINDEX);
      lua_pushvalue(L, index);
      lua_call(L, 1, 1);
  }
}

AE__HOST_FUNCTION(host_tostring) {
  luaL_checkany(L, 1);
  ae__guard_stack(ae__script_of(L), L);
  ae__tostring(L, 1);
  return 1;
}

/* Whether string.format can take its arguments as they are. */
AE__HOST_FUNCTION(host_plain) {
  const char *format = lua_tostring(L, 1);
  for (const char *at = format; at && (at = strchr(at, '%'));) {
    at++;
    if (*at == '%') {
      at++;
      continue;
    }
    at += strspn(at, "-+ #0123456789.");
    if (*at == 'p') {
      return luaL_error(L,
                        "string.format: %%p is not available, as addresses "
                        "differ from run to run");
    }
  }
  bool plain = true;
  for (int i = lua_gettop(L); i > 1 && plain; i--) {
    int type = lua_type(L, i);
    plain = type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TNIL ||
            type == LUA_TBOOLEAN || type == LUA_TCDATA;
  }
  lua_pushboolean(L, plain);
  return 1;
}

/* Its arguments, with text for what has addresses. */
AE__HOST_FUNCTION(host_texts) {
  ae__guard_stack(ae__script_of(L), L);
  int top = lua_gettop(L);
  for (int i = 1; i <= top; i++) {
    int type = lua_type(L, i);
    if (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA ||
        type == LUA_TTHREAD) {
      ae__tostring(L, i);
      lua_replace(L, i);
    }
  }
  return top;
}

/* -- the log -- */

/* Bytes of one text that are logged: a line is written while commands wait. */
#define LOGGED 8192
/* And that one call of a handler may log, in how many lines. */
#define CALL_LINES 100
#define CALL_BYTES (64 * 1024)

static ae_str module_of(lua_State *L, char name[LUA_IDSIZE]) {
  lua_Debug ar;
  for (int at = 1; lua_getstack(L, at, &ar); at++) {
    if (!lua_getinfo(L, "S", &ar) || ar.source[0] != '@' ||
        !strncmp(ar.source, "@aether/", 8))
      continue;
    const char *slash = strrchr(ar.short_src, '/');
    strcpy(name, slash ? slash + 1 : ar.short_src);
    char *dot = strrchr(name, '.');
    if (dot) *dot = 0;
    return ae_str_of(name);
  }
  return (ae_str){0};
}

static void write_line(const ae_script *script, ae_log_level level,
                       ae_str module, ae_str actor, ae_str text) {
  if (script->log) {
    script->log(script->data, level, module, actor, text);
    return;
  }
  ae_buf message = {0}, where = {0}, who = {0};
  size_t shown = text.len < LOGGED ? text.len : LOGGED;
  while (shown < text.len && shown > 0 &&
         ((uint8_t)text.ptr[shown] & 0xc0) == 0x80)
    shown--;
  ae_buf_str(&message, (ae_str){text.ptr, shown});
  for (size_t i = 0; i < message.len; i++) /* it goes on as a C string */
    if (!message.ptr[i]) message.ptr[i] = ' ';
  if (shown < text.len)
    ae_buf_printf(&message, "… (%zu bytes in all)", text.len);
  ae_buf_str(&where, module);
  ae_buf_str(&who, actor);
  if (actor.len > 0)
    ae_log(level, ae_buf_cstr(&message), "namespace", script->ns, "module",
           ae_buf_cstr(&where), "actor", ae_buf_cstr(&who), NULL);
  else
    ae_log(level, ae_buf_cstr(&message), "namespace", script->ns, "module",
           ae_buf_cstr(&where), NULL);
  ae_buf_clear(&message);
  ae_buf_clear(&where);
  ae_buf_clear(&who);
}

static void add_actor(const ae_script *script, ae_buf *out) {
  if (script->actor_id.len > 0)
    ae_buf_printf(out, "%s/%.*s/%.*s", script->ns, AE_FMT(script->actor_type),
                  AE_FMT(script->actor_id));
}

/* The bound is reached, and stays so: what is smaller does not get in. */
static bool leave_out(ae_script *script, lua_State *L, ae_str text) {
  ae_said *said = &script->said;
  if (!said->bounded) return false;
  if (said->lines < CALL_LINES && said->bytes < CALL_BYTES) {
    said->lines++;
    said->bytes += text.len < LOGGED ? text.len : LOGGED;
    return false;
  }
  if (said->left_lines == 0) {
    char name[LUA_IDSIZE];
    ae_buf_str(&said->module, module_of(L, name));
    add_actor(script, &said->actor);
    if (script->doing)
      ae_buf_printf(&said->in, "%s%s%.*s", script->doing,
                    script->handler.len ? "." : "", AE_FMT(script->handler));
    else
      ae_buf_printf(&said->in, "its file");
  }
  said->left_lines++;
  said->left_bytes += text.len;
  return true;
}

static void log_text(ae_script *script, lua_State *L, ae_log_level level,
                     ae_str text) {
  if (!script->log && !ae_log_shows(level)) return;
  if (leave_out(script, L, text)) return;
  char name[LUA_IDSIZE];
  ae_str module = module_of(L, name);
  ae_buf actor = {0};
  add_actor(script, &actor);
  write_line(script, level, module, ae_buf_view(&actor), text);
  ae_buf_clear(&actor);
}

static void tell_left(ae_script *script) {
  ae_said *said = &script->said;
  if (said->left_lines > 0) {
    ae_buf text = {0};
    ae_buf_printf(&text,
                  "%llu lines (%llu bytes) that %s logged were left out: one "
                  "call may log %d lines and %d KB",
                  (unsigned long long)said->left_lines,
                  (unsigned long long)said->left_bytes, ae_buf_cstr(&said->in),
                  CALL_LINES, CALL_BYTES / 1024);
    write_line(script, AE_LOG_WARN, ae_buf_view(&said->module),
               ae_buf_view(&said->actor), ae_buf_view(&text));
    ae_buf_clear(&text);
    ae_buf_clear(&said->module);
    ae_buf_clear(&said->in);
    ae_buf_clear(&said->actor);
  }
  *said = (ae_said){0};
}

/* A module that is stopped loads all of them again, inside of its own call. */
ae_status ae__run_bounded(ae_script *script, ae_module *module, ae_work *work,
                          void *arg, ae_error *err) {
  if (script->said.lines > 0) tell_left(script);
  script->said.bounded = true;
  ae_status status = ae__run(script, module, work, arg, err);
  if (script->said.lines > 0) tell_left(script);
  script->said.bounded = false;
  return status;
}

AE__HOST_FUNCTION(host_print) {
  ae__guard_stack(ae__script_of(L), L);
  int top = lua_gettop(L);
  luaL_checkstack(L, 2 * top + 2, "too many values to print");
  for (int i = 1; i <= top; i++) {
    if (i > 1) lua_pushliteral(L, "\t");
    ae__tostring(L, i);
  }
  if (top == 0) {
    lua_pushliteral(L, "");
  } else {
    lua_concat(L, 2 * top - 1);
  }
  ae_str text;
  text.ptr = lua_tolstring(L, -1, &text.len);
  log_text(ae__script_of(L), L, AE_LOG_INFO, text);
  return 0;
}

AE__HOST_FUNCTION(host_log) {
  static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
  int level = luaL_checkoption(L, 1, "info", levels);
  ae_str text;
  text.ptr = luaL_checklstring(L, 2, &text.len);
  log_text(ae__script_of(L), L, (ae_log_level)level, text);
  return 0;
}

void ae__text_open(lua_State *L) {
  lua_pushlightuserdata(L, &original);
  lua_getglobal(L, "tostring");
  lua_rawset(L, LUA_REGISTRYINDEX);
}

const luaL_Reg ae__text_functions[] = {
    {"tostring", host_tostring}, {"plain", host_plain}, {"texts", host_texts},
    {"print", host_print},       {"log", host_log},     {NULL, NULL}};
