/* The prompt: each input runs in a coroutine, which yields where it asks.
 *
 *   run ──► step ──► DONE | FAILED
 *            ▲ └──► ASKS ──► answer ──► step
 *            └── decide: answered here, outside of the call
 *
 * So nothing of the store is waited for, and no aggregate called, while the
 * gate is held. Compiled code counts no instructions: the script's compiler is
 * off, and a hook ends what takes too long or is interrupted. */
#include "script/prompt.h"

#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "script/state.h"

#define HOOK_EVERY 1000 /* instructions */
#define TRACE 12        /* levels that a traceback shows */

struct ae_prompt {
  ae_script *script;
  char *name;
  uint64_t ns;
  const volatile sig_atomic_t *interrupted;
  uint32_t generation; /* of the script's state, which the refs belong to */
  /* registry refs */
  int env_ref;      /* the globals of an input */
  int show_ref;     /* function(v) → text */
  int complete_ref; /* function(line) → { word, names } */
  int thread_ref;   /* of the input that runs; LUA_NOREF: none does */
  lua_State *thread;
  bool asked;        /* it yielded because of that */
  ae_buf request;    /* msgpack */
  ae_buf answer;     /* msgpack; what the thread goes on with */
  bool fails;        /* the answer is a text that says why not */
  uint64_t deadline; /* ns, monotonic */
  bool stopping;     /* the hook raises */
  ae_buf trace;
  ae_buf *out;
  ae_uuid7 uuid;
};

static ae_prompt *active; /* whose input runs: hooks have no argument */

/* -- ending what takes too long -- */

static void on_count(lua_State *L, lua_Debug *ar) {
  ae_prompt *prompt = active;
  (void)ar;
  bool late = ae_clock_mono() > prompt->deadline;
  if (!late && !*prompt->interrupted && !prompt->stopping) return;
  /* From now on at each instruction, so that no pcall goes on. */
  prompt->stopping = true;
  lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
  if (late)
    luaL_error(L, "stopped: it took more than %d ms (--timeout)",
               (int)(prompt->ns / 1000000));
  luaL_error(L, "interrupted");
}

static ae_status run_bounded(ae_prompt *prompt, ae_work *work, void *arg,
                             ae_error *err) {
  ae_script *script = prompt->script;
  active = prompt;
  lua_sethook(script->L, on_count, LUA_MASKCOUNT,
              prompt->stopping ? 1 : HOOK_EVERY);
  ae_status status = ae__run(script, NULL, work, arg, err);
  if (script->L) lua_sethook(script->L, NULL, 0, 0);
  active = NULL;
  return status;
}

/* -- what a script calls -- */

/* Without a place: it would be the library's. */
static int refuse(lua_State *L, const char *text) {
  lua_pushstring(L, text);
  return lua_error(L);
}

static int host_ask(lua_State *L) {
  ae_script *script = ae__script_of(L);
  ae_prompt *prompt = active;
  if (L != prompt->thread)
    return refuse(L, "this cannot be asked inside a coroutine");
  ae_buf_reset(&prompt->request);
  if (!ae__encode(&script->codec, L, 1, "the request", &prompt->request))
    return refuse(L, ae_buf_cstr(&script->codec.problem));
  prompt->asked = true;
  return lua_yield(L, 0);
}

static int host_utf8(lua_State *L) {
  ae_str text;
  text.ptr = luaL_checklstring(L, 1, &text.len);
  lua_pushboolean(L, ae_str_utf8(text));
  return 1;
}

/* -- opening -- */

static void push_names(lua_State *L,
                       const char *(*at)(const ae_module *, size_t),
                       const ae_module *module) {
  lua_newtable(L);
  const char *name;
  for (size_t i = 0; (name = at(module, i)); i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static void push_modules(ae_script *script, lua_State *L) {
  lua_newtable(L);
  for (size_t i = 0; i < script->nmodules; i++) {
    const ae_module *module = script->modules[i];
    lua_createtable(L, 0, 4);
    lua_pushstring(L, module->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, ae_module_kind_word(module->kind));
    lua_setfield(L, -2, "kind");
    push_names(L, ae_module_command_at, module);
    lua_setfield(L, -2, "commands");
    push_names(L, ae_module_event_at, module);
    lua_setfield(L, -2, "events");
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static void open_work(ae_script *script, lua_State *L, void *arg) {
  ae_prompt *prompt = arg;
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  ae__require(script, L, AE_STR("aether.prompt"), true);
  lua_getfield(L, -1, "open");
  lua_createtable(L, 0, 4);
  lua_pushstring(L, script->ns);
  lua_setfield(L, -2, "namespace");
  push_modules(script, L);
  lua_setfield(L, -2, "modules");
  lua_pushcfunction(L, host_ask);
  lua_setfield(L, -2, "ask");
  lua_pushcfunction(L, host_utf8);
  lua_setfield(L, -2, "utf8");
  ae__call(L, 1, 3);
  prompt->generation = script->generation;
  prompt->complete_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  prompt->show_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  prompt->env_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

ae_status ae_prompt_open(ae_script *script, const ae_prompt_options *options,
                         ae_prompt **out, ae_error *err) {
  ae_prompt *prompt = ae_zalloc(sizeof *prompt);
  prompt->script = script;
  prompt->name = ae_strdup(options->name);
  prompt->ns = options->ms * 1000000;
  prompt->interrupted = options->interrupted;
  prompt->thread_ref = LUA_NOREF;
  ae_status status = ae__run(script, NULL, open_work, prompt, err);
  if (status != AE_OK) {
    ae_prompt_close(prompt);
    prompt = NULL;
  }
  *out = prompt;
  return status;
}

void ae_prompt_close(ae_prompt *prompt) {
  if (!prompt) return;
  ae_buf_clear(&prompt->request);
  ae_buf_clear(&prompt->answer);
  ae_buf_clear(&prompt->trace);
  ae_free(prompt->name);
  ae_free(prompt);
}

/* -- one input -- */

typedef struct input {
  ae_prompt *prompt;
  ae_str text;
  int line;
  bool more; /* out: it is not complete */
} input;

/* Statements that end too early say so: the message ends with "<eof>". */
static bool is_incomplete(lua_State *L) {
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  static const char end[] = "'<eof>'";
  return text && len >= sizeof end - 1 &&
         memcmp(text + len - (sizeof end - 1), end, sizeof end - 1) == 0;
}

/* As an expression, then as statements; false: the message on top. */
static bool compile(input *in, lua_State *L) {
  char name[80];
  snprintf(name, sizeof name, "=%s", in->prompt->name);
  ae_buf text = {0};
  for (int i = 1; i < in->line; i++) ae_buf_byte(&text, '\n');
  size_t lines = text.len;
  ae_buf_printf(&text, "return ");
  ae_buf_str(&text, in->text);
  int failure = luaL_loadbufferx(L, text.ptr, text.len, name, "t");
  if (failure) {
    in->more = is_incomplete(L);
    lua_pop(L, 1);
    text.len = lines;
    ae_buf_str(&text, in->text);
    failure =
        luaL_loadbufferx(L, text.ptr ? text.ptr : "", text.len, name, "t");
  }
  ae_buf_clear(&text);
  return failure == 0;
}

static void start_work(ae_script *script, lua_State *L, void *arg) {
  input *in = arg;
  ae_prompt *prompt = in->prompt;
  if (compile(in, L)) {
    in->more = false;
  } else {
    in->more = in->more || is_incomplete(L);
    if (in->more) return;
    ae__fail(script, L, AE_SCRIPT_ERROR, -1, "%s", lua_tostring(L, -1));
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, prompt->env_ref);
  lua_setfenv(L, -2);
  prompt->thread = lua_newthread(L);
  lua_insert(L, -2);
  lua_xmove(L, prompt->thread, 1);
  prompt->thread_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void add_trace(ae_prompt *prompt, lua_State *thread) {
  lua_Debug ar;
  int shown = 0;
  ae_buf_reset(&prompt->trace);
  for (int at = 0; shown < TRACE && lua_getstack(thread, at, &ar); at++) {
    if (!lua_getinfo(thread, "Snl", &ar) || ar.currentline <= 0 ||
        !strncmp(ar.source, "@aether/", 8) || !strcmp(ar.source, "=host"))
      continue;
    ae_buf_printf(&prompt->trace, "%s%s:%d", shown++ ? "\n" : "", ar.short_src,
                  ar.currentline);
    if (ar.name) ae_buf_printf(&prompt->trace, " in %s", ar.name);
  }
}

static void show(ae_prompt *prompt, lua_State *L, lua_State *from, int index) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, prompt->show_ref);
  lua_pushvalue(from, index);
  lua_xmove(from, L, 1);
  ae__call(L, 1, 1);
}

static void step_work(ae_script *script, lua_State *L, void *arg) {
  ae_prompt *prompt = arg;
  lua_State *thread = prompt->thread;
  int given = 0;
  if (prompt->asked) {
    lua_pushboolean(L, !prompt->fails);
    if (!ae__decode_all(&script->codec, L, ae_buf_view(&prompt->answer),
                        "the answer"))
      ae__fail_value(script, L, -1);
    lua_xmove(L, thread, 2);
    given = 2;
    prompt->asked = false;
  }
  int status;
  {
    AE__LUA_MODE;
    status = lua_resume(thread, given);
  }
  if (status == LUA_YIELD) {
    if (!prompt->asked)
      ae__fail(script, L, AE_SCRIPT_ERROR, -1,
               "coroutine.yield: there is no coroutine to leave");
    return;
  }
  if (status != 0) {
    add_trace(prompt, thread);
    if (!lua_isstring(thread, -1)) {
      show(prompt, L, thread, lua_gettop(thread));
      ae__fail(script, L, AE_SCRIPT_ERROR, -1, "the error is %s",
               lua_tostring(L, -1));
    }
    ae__fail(script, L, AE_SCRIPT_ERROR, -1, "%s", lua_tostring(thread, -1));
  }
  for (int i = 1, count = lua_gettop(thread); i <= count; i++) {
    show(prompt, L, thread, i);
    ae_str text;
    text.ptr = lua_tolstring(L, -1, &text.len);
    ae_buf_str(prompt->out, text);
    ae_buf_byte(prompt->out, '\n');
    lua_pop(L, 1);
  }
}

/* False: a library function ran so long that its state was abandoned. */
static bool is_held(const ae_prompt *prompt) {
  return prompt->script->L && prompt->script->generation == prompt->generation;
}

static void drop_thread(ae_prompt *prompt) {
  if (prompt->thread_ref != LUA_NOREF && is_held(prompt))
    luaL_unref(prompt->script->L, LUA_REGISTRYINDEX, prompt->thread_ref);
  prompt->thread_ref = LUA_NOREF;
  prompt->thread = NULL;
  prompt->asked = false;
}

/* -- deciding -- */

static ae_str field(ae_str map, const char *key) {
  ae_str value = {0};
  if (!ae_unpack_field(map, key, &value)) value.len = 0;
  if (value.len == 1 && (uint8_t)value.ptr[0] == 0xc0) value.len = 0;
  return value;
}

static ae_str text_field(ae_str map, const char *key) {
  ae_str value = field(map, key), text = {0};
  ae_unpack cursor = ae_unpack_of(value);
  if (!ae_unpack_str(&cursor, &text)) {
    cursor = ae_unpack_of(value);
    ae_unpack_bin(&cursor, &text);
  }
  return text;
}

static uint64_t uint_field(ae_str map, const char *key, uint64_t otherwise) {
  uint64_t number;
  ae_unpack cursor = ae_unpack_of(field(map, key));
  return ae_unpack_uint(&cursor, &number) ? number : otherwise;
}

static uint64_t current_revision(const ae_module *module, ae_str type) {
  const ae_script_type *known = ae_map_get(&module->type_map, type);
  return known && known->revision ? known->revision : 1;
}

/* The events of given(…), behind what is stored. */
static ae_status evolve_past(ae_prompt *prompt, ae_module *module,
                             ae_state state, ae_str past, uint64_t *version,
                             ae_str id, ae_error *err) {
  uint32_t count;
  ae_unpack cursor = ae_unpack_of(past);
  ae_status status = AE_OK;
  if (!ae_unpack_array(&cursor, &count)) return AE_OK;
  for (uint32_t i = 0; i < count && status == AE_OK; i++) {
    ae_str item;
    if (!ae_unpack_skip(&cursor, &item)) break;
    ae_script_event event = {.type = text_field(item, "type"),
                             .version = ++*version,
                             .time = ae_clock_now(),
                             .data = field(item, "data"),
                             .metadata = field(item, "metadata")};
    event.revision =
        uint_field(item, "revision", current_revision(module, event.type));
    event.id = ae_uuid7_make(&prompt->uuid, event.time);
    size_t done;
    status = ae_script_evolve(module, state, ae_str_of(prompt->script->ns), id,
                              &event, 1, &done, err);
  }
  return status;
}

/* A pair of the answer; nothing where there is no value. */
static uint32_t add_pair(ae_buf *out, const char *key, ae_str packed) {
  if (packed.len == 0 || (packed.len == 1 && (uint8_t)packed.ptr[0] == 0xc0))
    return 0;
  ae_pack_cstr(out, key);
  ae_buf_str(out, packed);
  return 1;
}

static void add_events(ae_buf *out, const ae_decide *decide) {
  static const char *const keys[] = {"type", "revision", "data", "metadata"};
  ae_unpack cursor = ae_unpack_of(ae_buf_view(decide->events));
  ae_pack_array(out, decide->event_count);
  for (uint32_t i = 0; i < decide->event_count; i++) {
    ae_buf pairs = {0};
    uint32_t count = 0, made = 0;
    ae_unpack_array(&cursor, &count);
    for (uint32_t k = 0; k < count && k < 4; k++) {
      ae_str value = {0};
      ae_unpack_skip(&cursor, &value);
      made += add_pair(&pairs, keys[k], value);
    }
    ae_pack_map(out, made);
    ae_buf_str(out, ae_buf_view(&pairs));
    ae_buf_clear(&pairs);
  }
}

static void add_decided(ae_buf *out, ae_str type, const ae_decide *decide,
                        ae_str state) {
  ae_pack_map(out, decide->rejected ? decide->details.len ? 6 : 5 : 4);
  ae_pack_cstr(out, "type");
  ae_pack_str(out, type);
  ae_pack_cstr(out, "version");
  ae_pack_uint(out, decide->version + decide->event_count);
  ae_pack_cstr(out, "state");
  ae_buf_str(out, state);
  ae_pack_cstr(out, "events");
  add_events(out, decide);
  if (!decide->rejected) return;
  ae_pack_cstr(out, "reason");
  ae_pack_text(out, ae_buf_view(&decide->reason));
  if (decide->details.len == 0) return;
  ae_pack_cstr(out, "details");
  ae_buf_str(out, ae_buf_view(&decide->details));
}

static ae_status decide_for(ae_prompt *prompt, ae_error *err) {
  ae_str request = ae_buf_view(&prompt->request);
  ae_str type = text_field(request, "type"), stored = field(request, "state");
  ae_str id = text_field(request, "id");
  ae_module *module;
  ae_state state = 0;
  ae_buf events = {0}, after = {0};
  ae_decide decide = {.command = text_field(request, "command"),
                      .data = field(request, "data"),
                      .metadata = field(request, "metadata"),
                      .ns = ae_str_of(prompt->script->ns),
                      .id = id,
                      .version = uint_field(request, "version", 0),
                      .now = ae_clock_now(),
                      .events = &events};
  ae_status status = ae_script_aggregate(prompt->script, type, &module, err);
  if (status == AE_OK)
    status = stored.len ? ae_script_load(module, stored, &state, err)
                        : ae_script_initial(module, &state, err);
  if (status == AE_OK)
    status = evolve_past(prompt, module, state, field(request, "past"),
                         &decide.version, id, err);
  if (status == AE_OK) {
    decide.seed = ae_uuid7_random(&prompt->uuid);
    decide.first_id = ae_uuid7_make(&prompt->uuid, decide.now);
    status = ae_script_decide(module, state, &decide, err);
  }
  if (status == AE_OK) status = ae_script_dump(module, state, &after, err);
  if (status == AE_OK)
    add_decided(&prompt->answer, type, &decide, ae_buf_view(&after));
  if (state) ae_script_drop(module, state);
  ae_buf_clear(&after);
  ae_buf_clear(&events);
  ae_buf_clear(&decide.reason);
  ae_buf_clear(&decide.details);
  return status;
}

static void answer_error(ae_prompt *prompt, const ae_error *err) {
  ae_buf_reset(&prompt->answer);
  ae_pack_text(&prompt->answer, ae_str_of(ae_error_text(err)));
  prompt->fails = true;
}

static void decide_and_answer(ae_prompt *prompt) {
  ae_error why = {0};
  ae_script *script = prompt->script;
  ae_buf_reset(&prompt->answer);
  prompt->fails = false;
  active = prompt;
  lua_sethook(script->L, on_count, LUA_MASKCOUNT, HOOK_EVERY);
  if (decide_for(prompt, &why) != AE_OK) answer_error(prompt, &why);
  if (script->L) lua_sethook(script->L, NULL, 0, 0);
  active = NULL;
  ae_error_clear(&why);
}

/* -- steps -- */

/* It was in what cannot be ended by an error, a pattern for example. */
static void all_gone(const ae_prompt *prompt, ae_error *err) {
  ae_error_set(err, AE_SCRIPT_TIMEOUT,
               "stopped: it took more than %d ms (--timeout); what was "
               "assigned is gone",
               (int)(prompt->ns / 1000000));
}

static ae_prompt_step go_on(ae_prompt *prompt, ae_buf *out, ae_error *err) {
  size_t before = out->len;
  prompt->out = out;
  for (;;) {
    if (!is_held(prompt)) {
      drop_thread(prompt);
      all_gone(prompt, err);
      return AE_PROMPT_FAILED;
    }
    ae_status status = run_bounded(prompt, step_work, prompt, err);
    if (status != AE_OK) {
      if (prompt->trace.len)
        ae_error_str(err, "traceback", ae_buf_view(&prompt->trace));
      ae_buf_reset(&prompt->trace);
      drop_thread(prompt);
      if (status == AE_SCRIPT_TIMEOUT) all_gone(prompt, err);
      out->len = before;
      return AE_PROMPT_FAILED;
    }
    if (!prompt->asked) {
      drop_thread(prompt);
      return AE_PROMPT_DONE;
    }
    ae_str request = ae_buf_view(&prompt->request);
    if (ae_str_eq(text_field(request, "ask"), AE_STR("state")))
      return AE_PROMPT_ASKS;
    decide_and_answer(prompt);
  }
}

ae_prompt_step ae_prompt_run(ae_prompt *prompt, ae_str text, int line,
                             ae_buf *out, ae_error *err) {
  input in = {.prompt = prompt, .text = text, .line = line};
  prompt->deadline = ae_clock_mono() + prompt->ns;
  prompt->stopping = false;
  if (!is_held(prompt) &&
      ae__run(prompt->script, NULL, open_work, prompt, err) != AE_OK)
    return AE_PROMPT_FAILED;
  if (ae__run(prompt->script, NULL, start_work, &in, err) != AE_OK)
    return AE_PROMPT_FAILED;
  if (in.more) return AE_PROMPT_MORE;
  return go_on(prompt, out, err);
}

void ae_prompt_asked(const ae_prompt *prompt, ae_str *type, ae_str *id,
                     uint64_t *at) {
  ae_str request = ae_buf_view(&prompt->request);
  *type = text_field(request, "type");
  *id = text_field(request, "id");
  *at = uint_field(request, "at", UINT64_MAX);
}

ae_prompt_step ae_prompt_answer(ae_prompt *prompt, ae_status status,
                                uint64_t version, ae_str state,
                                const ae_error *why, ae_buf *out,
                                ae_error *err) {
  /* A loop that asks runs few instructions between two answers. */
  if (*prompt->interrupted || ae_clock_mono() > prompt->deadline)
    prompt->stopping = true;
  ae_buf_reset(&prompt->answer);
  prompt->fails = false;
  if (status == AE_OK) {
    ae_pack_map(&prompt->answer, 2);
    ae_pack_cstr(&prompt->answer, "version");
    ae_pack_uint(&prompt->answer, version);
    ae_pack_cstr(&prompt->answer, "state");
    ae_buf_str(&prompt->answer, state);
  } else {
    ae_error own = {0};
    ae_error_set(&own, status, "%s",
                 why ? ae_error_text(why) : ae_status_text(status));
    answer_error(prompt, &own);
    ae_error_clear(&own);
  }
  return go_on(prompt, out, err);
}

/* -- completing -- */

typedef struct completion {
  ae_prompt *prompt;
  ae_str line;
  ae_buf *words;
  size_t replaced; /* out */
} completion;

static void complete_work(ae_script *script, lua_State *L, void *arg) {
  completion *c = arg;
  (void)script;
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->prompt->complete_ref);
  lua_pushlstring(L, c->line.ptr ? c->line.ptr : "", c->line.len);
  ae__call(L, 1, 1);
  lua_getfield(L, -1, "word");
  c->replaced = (size_t)lua_tonumber(L, -1);
  lua_getfield(L, -2, "names");
  for (int i = 1, count = (int)lua_objlen(L, -1); i <= count; i++) {
    lua_rawgeti(L, -1, i);
    ae_str word;
    word.ptr = lua_tolstring(L, -1, &word.len);
    ae_buf_str(c->words, word);
    ae_buf_byte(c->words, 0);
    lua_pop(L, 1);
  }
}

size_t ae_prompt_complete(ae_prompt *prompt, ae_str line, ae_buf *words) {
  completion c = {.prompt = prompt, .line = line, .words = words};
  ae_error err = {0};
  size_t before = words->len;
  if (!is_held(prompt)) return 0;
  prompt->deadline = ae_clock_mono() + prompt->ns;
  prompt->stopping = false;
  if (run_bounded(prompt, complete_work, &c, &err) != AE_OK) {
    words->len = before;
    c.replaced = 0;
  }
  ae_error_clear(&err);
  return c.replaced;
}
