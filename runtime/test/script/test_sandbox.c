#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "script/app.h"

/* Each attempt is the body of a function. It must raise, with `message` in
 * what it raises; or, where `message` starts with "=", return that text. */
typedef struct attempt {
  const char *code;
  const char *message;
} attempt;

static const attempt attempts[] = {
    /* what is not there */
    {"return io.open('/etc/passwd')", "io is not available"},
    {"return os.execute('id')", "os is not available"},
    {"return os.exit(1)", "os is not available"},
    {"return debug.getregistry()", "\"debug\" is not defined"},
    {"return ffi.C", "\"ffi\" is not defined"},
    {"return jit.off()", "\"jit\" is not defined"},
    {"return package.loaded", "package is not available"},
    {"return load('return 1')", "load is not available"},
    {"return loadstring('return 1')", "loadstring is not available"},
    {"return loadfile('/etc/passwd')", "loadfile is not available"},
    {"return dofile('/etc/passwd')", "dofile is not available"},
    {"return getfenv(0)", "\"getfenv\" is not defined"},
    {"return setfenv(1, {})", "\"setfenv\" is not defined"},
    {"return newproxy(true)", "\"newproxy\" is not defined"},
    {"return collectgarbage('count')", "\"collectgarbage\" is not defined"},
    {"return gcinfo()", "\"gcinfo\" is not defined"},
    {"return module('x')", "\"module\" is not defined"},
    {"return string.dump(print)", "'dump' (a nil value)"},
    {"return ('').dump(print)", "'dump' (a nil value)"},
    {"return math.random()", "'random' (a nil value)"},
    {"return math.randomseed(1)", "'randomseed' (a nil value)"},
    {"return table.foreach({}, print)", "'foreach' (a nil value)"},
    {"return coroutine.isyieldable()", "'isyieldable' (a nil value)"},
    {"return require('ffi')", "there is no module \"ffi\""},
    {"return require('jit')", "there is no module \"jit\""},
    {"return require('table.new')", "there is no module"},
    {"return require('../probe')", "there is no module"},
    {"return require('/etc/passwd')", "there is no module"},
    {"return require('aether.host')", "has no \"aether.host\""},
    {"return require('aether.evnt')", "did you mean \"aether.event\"?"},
    {"return require('prob')", "did you mean \"probe\"?"},
    /* globals */
    {"x = 1", "global \"x\" is not allowed; use local"},
    {"print = nil", "global \"print\" is not allowed"},
    {"_G.y = 1", "global \"y\" is not allowed"},
    {"rawset(_G, 'z', 1)", "read-only"},
    {"setmetatable(_G, nil)", "read-only"},
    {"table.insert(_G, 1)", "read-only"},
    {"return pint", "did you mean \"print\"?"},
    {"return zzzzzz", "global \"zzzzzz\" is not defined"},
    {"return getmetatable(_G)", "=read-only"},
    {"return tostring(rawget(_G, 'print') == print)", "=true"},
    /* shared tables */
    {"string.format = nil", "read-only"},
    {"string.mine = 1", "read-only"},
    {"rawset(string, 'format', 1)", "read-only"},
    {"rawset(math, 1, 1)", "read-only"},
    {"table.insert(table, 1)", "read-only"},
    {"table.sort(coroutine)", "read-only"},
    {"table.remove(bit)", "read-only"},
    {"setmetatable(math, {})", "read-only"},
    {"for k in pairs(string) do string[k] = nil end", "read-only"},
    {"local k = next(string); string[k] = print", "read-only"},
    {"return getmetatable(string)", "=read-only"},
    {"return getmetatable('')", "=aether.string"},
    {"getmetatable('').__index = {}", "attempt to index"},
    {"setmetatable('', {})", "table expected"},
    {"local s = ''; s.x = 1", "attempt to index"},
    {"require('aether.value').null.x = 1", "null cannot be written"},
    {"rawset(require('aether.value').null, 'x', 1)", "read-only"},
    {"table.insert(require('aether.value').null, 1)", "read-only"},
    {"setmetatable(require('aether.value').null, {})", "read-only"},
    {"require('aether.value').copy = 1", "read-only"},
    {"require('aether.value').array_mt = {}", "read-only"},
    {"require('aether.event').is = 1", "read-only"},
    {"rawset(require('aether.event'), 'is', 1)", "read-only"},
    {"require('shared').count = 1", "read-only"},
    {"require('shared').inner.deep = 1", "read-only"},
    {"rawset(require('shared').inner, 'deep', 1)", "read-only"},
    {"require('shared').list[4] = 1", "read-only"},
    {"require('shared').list[1] = 9", "is read-only: value.copy"},
    {"require('shared').list[3] = nil", "is read-only: value.copy"},
    {"local l = require('shared').list l[2] = 9 error('x')", "read-only"},
    {"require('shared').mixed.name = 'x'", "is read-only: value.copy"},
    {"local s = require('shared') return table.concat(s.list, ',') .. "
     "s.mixed.name .. #s.mixed",
     "=1,2,3n1"},
    {"table.insert(require('shared').list, 4)", "read-only"},
    {"table.sort(require('shared').list)", "read-only"},
    {"setmetatable(require('shared'), nil)", "read-only"},
    {"return #require('shared').list", "=3"},
    {"return require('shared').inner.deep", "=down"},
    {"return require('shared').double(4)", "=8"},
    {"return require('shared').new(3):twice()", "=6"},
    {"local n = 0; for _, v in ipairs(require('shared').list) do n = n + v end "
     "return n",
     "=6"},
    {"local t = {} for k in pairs(require('shared').inner) do t[#t + 1] = k "
     "end return table.concat(t, ',')",
     "=also,deep"},
    {"return rawget(require('shared').inner, 'deep')", "=down"},
    {"return next(require('shared').inner)", "=also"},
    /* addresses */
    {"return tostring({})", "=table"},
    {"return tostring(print)", "=function"},
    {"return tostring(coroutine.create(print))", "=thread"},
    {"return ('%s %s'):format({}, print)", "=table function"},
    {"return string.format('%s', coroutine.running() or {})", "=table"},
    {"return ('%p'):format({})", "%p is not available"},
    {"return string.format('%-10p', 'x')", "%p is not available"},
    {"return string.format('%%p %d%%', 5)", "=%p 5%"},
    {"return string.format('%5.1f|%s|%s|%q', 1.5, nil, true, 'x')",
     "=  1.5|nil|true|\"x\""},
    {"return tostring(setmetatable({}, {__tostring = function() return 'me' "
     "end}))",
     "=me"},
    {"return ('%s'):format(setmetatable({}, {__tostring = function() return "
     "'me' end}))",
     "=me"},
    {"return tostring(setmetatable({}, {__tostring = function() return {} "
     "end}))",
     "must return a string"},
    {"return tostring(12345678901234567LL)", "=12345678901234567LL"},
    /* what depends on chance */
    {"return setmetatable({}, { __mode = 'k' })", "weak tables"},
    {"local t = { [{}] = 1 } for k in pairs(t) do end", "have no order"},
    {"return next({ [print] = 1 })", "have no order"},
    {"for _ in pairs({ [print] = 1 }) do end", "bank/probe.lua:"},
    {"for _ in pairs(nil) do end",
     "bad argument #1 to 'pairs' (table expected, got nil)"},
    {"local _, loop = pairs(require('shared').inner) loop.t.deep = 1",
     "read-only"},
    {"local t = { [1LL] = 1 } for k in pairs(t) do end", "have no order"},
    /* 64-bit integers give no way to ffi */
    {"return getmetatable(1LL)", "=ffi"},
    {"return (1LL).x", "no member named"},
    {"return (1LL)()", "not callable"},
    {"local x = 1LL; x[0] = 1", "cannot be indexed"},
    {"return 1LL .. ''", "attempt to concatenate"},
    /* recursion, in Lua and through host functions */
    {"local function f() return 1 + f() end return f()", "stack overflow"},
    {"local function f(s) return (s:gsub('.', f)) end return f('x')",
     "stack overflow"},
    {"local function f() return coroutine.wrap(f)() end return f()",
     "stack overflow"},
    {"local function f() local t = { 2, 1 } table.sort(t, f) end return f()",
     "stack overflow"},
    {"local t t = setmetatable({}, { __tostring = function() return "
     "tostring(t) end }) return tostring(t)",
     "stack overflow"},
    {"local t t = setmetatable({}, { __tostring = function() return "
     "('%s'):format(t) end }) return tostring(t)",
     "stack overflow"},
    {"local t t = setmetatable({}, { __tostring = function() print(t) end }) "
     "print(t)",
     "stack overflow"},
    {"local t t = setmetatable({}, { __index = function(_, k) return t[k .. "
     "'x'] end }) return t.a",
     "stack overflow"},
    {"local function f() return pcall(f) end return tostring(f())", "=true"},
    {"return (('('):rep(300) .. 'x'):find(('('):rep(300))",
     "too many captures"},
    {"return ('x'):rep(400000):find(('x?'):rep(30000) .. ('x'):rep(30000) .. "
     "'y')",
     "pattern too complex"},
    {"return select('#', unpack({}, 1, 1e8))", "too many results"},
    {"return ('x'):format(unpack({}, 1, 7000))", "=x"},
    /* coroutines */
    {"coroutine.yield(1)", "there is no coroutine to leave"},
    {"return (select(2, pcall(coroutine.yield, 1)))",
     "=coroutine.yield: there is no coroutine"},
    {"local co = coroutine.wrap(function() coroutine.yield(4) return 5 end) "
     "return co() + co()",
     "=9"},
    {"local co = coroutine.create(function() x = 1 end) return (select(2, "
     "coroutine.resume(co)))",
     "=bank/probe.lua"},
    {"table.sort({ 3, 2, 1 }, function() coroutine.yield() end)",
     "no coroutine"},
    {"return coroutine.wrap(function() table.sort({ 3, 2, 1 }, function() "
     "coroutine.yield() end) end)()",
     "attempt to yield across C-call boundary"},
    /* error handlers see nothing more */
    {"return (select(2, xpcall(function() error('a') end, function(m) return "
     "m .. '!' end)))",
     "=bank/probe.lua"},
    {"return xpcall(function() x = 1 end, debug)", "\"debug\" is not defined"},
    /* metamethods of the collector are never run */
    {"setmetatable({}, { __gc = function() x = 1 end })", "=nil"},
};

static const char shared[] =
    "local shared = { inner = { deep = 'down', also = 1 },\n"
    "  list = { 1, 2, 3 }, mixed = { 1, name = 'n' }, count = 0 }\n"
    "shared.__index = shared\n"
    "function shared.double(n) return 2 * n end\n"
    "function shared.new(n) return setmetatable({ n = n }, shared) end\n"
    "function shared:twice() return self.n * 2 end\n"
    "return shared\n";

enum { COUNT = sizeof attempts / sizeof *attempts };

static char *probe_text(void) {
  ae_buf text = {0};
  ae_buf_printf(&text,
                "local event = require('aether.event')\n"
                "local attempts = {}\n");
  for (int i = 0; i < COUNT; i++) {
    ae_buf_printf(&text, "attempts[%d] = function() %s end\n", i + 1,
                  attempts[i].code);
  }
  ae_buf_printf(&text,
                "return { initial = {}, decide = { try = function(_, data)\n"
                "  local ok, what = pcall(attempts[data.number])\n"
                "  return event('Tried', { ok = ok, what = tostring(what) })\n"
                "end }, evolve = { Tried = function(state, data)\n"
                "  state.ok, state.what = data.ok, data.what\n"
                "end } }\n");
  char *made = ae_strdup(ae_buf_cstr(&text));
  ae_buf_clear(&text);
  return made;
}

static void nothing_gets_out(void **unused) {
  (void)unused;
  app a = {0};
  char *text = probe_text();
  app_open(&a, "probe.lua", text, "shared.lua", shared, NULL);
  int wrong = 0;
  for (int i = 0; i < COUNT; i++) {
    const attempt *at = &attempts[i];
    char data[64];
    snprintf(data, sizeof data, "{\"number\":%d}", i + 1);
    ae_state state = app_initial(&a, "probe");
    ae_status status = app_decide(&a, "probe", state, "try", data);
    const char *got =
        status == AE_OK ? app_state(&a, "probe", state) : ae_error_text(&a.err);
    bool raised = status != AE_OK || strstr(got, "\"ok\":false") != NULL;
    ae_buf wanted = {0};
    if (*at->message == '=') {
      ae_buf_printf(&wanted, "\"what\":");
      ae_json_write_str(ae_str_of(at->message + 1), &wanted);
      wanted.len--; /* a prefix is enough */
    } else {
      ae_json_write_str(ae_str_of(at->message), &wanted);
      wanted.len--;
      memmove(wanted.ptr, wanted.ptr + 1, --wanted.len);
    }
    if (raised != (*at->message != '=') || !strstr(got, ae_buf_cstr(&wanted))) {
      print_error("%s\n  wants %s\n  got %s\n", at->code, at->message, got);
      wrong++;
    }
    ae_buf_clear(&wanted);
    ae_script_drop(app_module(&a, "probe"), state);
  }
  assert_int_equal(wrong, 0);
  ae_free(text);
  app_close(&a);
}

/* -- memory -- */

static const char greedy[] =
    "local event = require('aether.event')\n"
    "local greedy = { initial = { n = 0 }, decide = {}, evolve = {} }\n"
    "local decide = greedy.decide\n"
    "function decide.rep() return event('Done', { s = ('x'):rep(1e9) }) end\n"
    "function decide.tables() local t = {} while true do t = { t } end end\n"
    "function decide.concat() local s = 'x' while true do s = s .. s end end\n"
    "function decide.array() local t = {}\n"
    "  for i = 1, 1e9 do t[i] = i end return t end\n"
    "function decide.closures() local f\n"
    "  while true do local g = f; f = function() return g end end end\n"
    "function decide.coroutines() local t = {}\n"
    "  while true do t[#t + 1] = coroutine.create(print) end end\n"
    "function decide.swallow()\n"
    "  pcall(function() return ('x'):rep(1e9) end)\n"
    "  return event('Done', {}) end\n"
    "function decide.swallow_in_coroutine()\n"
    "  coroutine.resume(coroutine.create(function()\n"
    "    return ('x'):rep(1e9) end))\n"
    "  return event('Done', {}) end\n"
    "function decide.swallow_with_handler()\n"
    "  xpcall(function() return ('x'):rep(1e9) end, function() end)\n"
    "  return event('Done', {}) end\n"
    "function decide.fine() return event('Done', {}) end\n"
    "function greedy.evolve.Done(state) state.n = state.n + 1 end\n"
    "return greedy\n";

static void memory_is_limited(void **unused) {
  (void)unused;
  static const char *const commands[] = {"rep",
                                         "tables",
                                         "concat",
                                         "array",
                                         "closures",
                                         "swallow",
                                         "coroutines",
                                         "swallow_in_coroutine",
                                         "swallow_with_handler"};
  app a = {.memory = (size_t)8 << 20};
  app_open(&a, "greedy.lua", greedy, NULL);
  ae_module *module = app_module(&a, "greedy");
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
      ae_state state = app_initial(&a, "greedy");
      ae_status status = app_decide(&a, "greedy", state, commands[i], "{}");
      if (status != AE_SCRIPT_MEMORY) {
        fail_msg("%s: %s %s", commands[i], ae_status_word(status),
                 ae_error_text(&a.err));
      }
      assert_contains(ae_error_text(&a.err), "8 MB");
      assert_string_equal(app_fact(&a, "module"), "\"greedy\"");
      assert_string_equal(app_fact(&a, "limit"), "8388608");
      assert_int_equal(a.events.len, 0);
      ae_script_drop(module, state);
      assert_true(ae_script_memory(a.script) <= a.memory);
      /* The state goes on. */
      state = app_initial(&a, "greedy");
      assert_int_equal(app_decide(&a, "greedy", state, "fine", "{}"), AE_OK);
      assert_string_equal(app_state(&a, "greedy", state), "{\"n\":1}");
      ae_script_drop(module, state);
    }
  }
  app_close(&a);
}

static void garbage_is_no_lack_of_memory(void **unused) {
  (void)unused;
  app a = {.memory = (size_t)4 << 20};
  app_open(&a, "busy.lua",
           "local event = require('aether.event')\n"
           "return { initial = {}, decide = { work = function()\n"
           "  local t = {}\n"
           "  for i = 1, 2000 do t[i] = { i, ('x'):rep(i % 100) } end\n"
           "  return event('Worked', {}) end },\n"
           "  evolve = { Worked = function() end } }\n",
           NULL);
  ae_state state = app_initial(&a, "busy");
  for (int i = 0; i < 300; i++) {
    ae_status status = app_decide(&a, "busy", state, "work", "{}");
    if (status != AE_OK) fail_msg("%d: %s", i, ae_error_text(&a.err));
  }
  app_close(&a);
}

static void too_small_a_limit_is_said(void **unused) {
  (void)unused;
  app a = {.memory = 1000};
  app_try(&a, "greedy.lua", greedy, NULL);
  assert_int_equal(a.status, AE_SCRIPT_MEMORY);
  assert_contains(ae_error_text(&a.err), "memory_mb must be at least");
  app_close(&a);
}

/* -- order -- */

static void order_is_that_of_keys(void **unused) {
  (void)unused;
  static const char ordered[] =
      "local event = require('aether.event')\n"
      "local o = { initial = {}, decide = {}, evolve = {} }\n"
      "local function list(t) local out = {}\n"
      "  for k, v in pairs(t) do out[#out + 1] = tostring(k) .. '=' .. "
      "tostring(v) end\n"
      "  return table.concat(out, ' ') end\n"
      "function o.decide.order()\n"
      "  local t = {}\n"
      "  for i = 40, 1, -3 do t['k' .. i] = i end\n"
      "  t[3], t[-1], t[2.5], t[true], t[false], t.Z = 1, 2, 3, 4, 5, 6\n"
      "  local steps, k, v = {}, next(t)\n"
      "  while k ~= nil do steps[#steps + 1] = tostring(k) .. '=' .. "
      "tostring(v)\n"
      "    k, v = next(t, k) end\n"
      "  assert(table.concat(steps, ' ') == list(t))\n"
      "  return event('Listed', { text = list(t) })\n"
      "end\n"
      "function o.decide.clear()\n"
      "  local t, seen = { a = 1, b = 2, c = 3, d = 4 }, {}\n"
      "  for k, v in pairs(t) do\n"
      "    seen[#seen + 1] = k; t[k] = nil; t.c = nil; t.d = 5\n"
      "    if k == 'd' then seen[#seen + 1] = v end\n"
      "  end\n"
      "  local list = { 1, 2, 3, 4 }\n"
      "  for i in pairs(list) do list[i] = nil; list[3] = nil\n"
      "    seen[#seen + 1] = i end\n"
      "  assert(next(list) == nil and next({}) == nil)\n"
      "  return event('Listed', { text = table.concat(seen, ' ') })\n"
      "end\n"
      "function o.evolve.Listed(state, d) state.text = d.text end\n"
      "return o\n";
  for (int i = 0; i < 3; i++) {
    app a = {0};
    app_open(&a, "o.lua", ordered, NULL);
    ae_state state = app_initial(&a, "o");
    if (app_decide(&a, "o", state, "order", "{}") != AE_OK) {
      fail_msg("%s", ae_error_text(&a.err));
    }
    assert_string_equal(
        app_state(&a, "o", state),
        "{\"text\":\"-1=2 2.5=3 3=1 Z=6 k1=1 k10=10 k13=13 k16=16 k19=19 "
        "k22=22 k25=25 k28=28 k31=31 k34=34 k37=37 k4=4 k40=40 k7=7 false=5 "
        "true=4\"}");
    assert_int_equal(app_decide(&a, "o", state, "clear", "{}"), AE_OK);
    assert_string_equal(app_state(&a, "o", state),
                        "{\"text\":\"a b d 5 1 2 4\"}");
    app_close(&a);
  }
}

static void print_goes_to_the_log(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "talker.lua",
           "local log = require('aether.log')\n"
           "print('loading', 1, nil, true, {})\n"
           "print()\n"
           "log.warn('late', { minutes = 5 })\n"
           "return {}\n",
           NULL);
  assert_string_equal(ae_buf_cstr(&a.log),
                      "1 talker: loading\t1\tnil\ttrue\ttable\n"
                      "1 talker: \n"
                      "2 talker: late minutes=5\n");
  app_close(&a);
}

/* And who it was about, in each handler of an actor. */
static void print_names_the_actor(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "talker.lua",
           "local event, helper = require('aether.event'), require('helper')\n"
           "return { initial = {},\n"
           "  decide = { talk = function() print('decide')\n"
           "    return event('Talked') end },\n"
           "  evolve = { Talked = function() helper.go() end } }\n",
           "helper.lua", "return { go = function() print('evolve') end }",
           NULL);
  ae_state state = app_initial(&a, "talker");
  assert_int_equal(app_decide(&a, "talker", state, "talk", "{}"), AE_OK);
  assert_string_equal(ae_buf_cstr(&a.log),
                      "1 talker bank/talker/a-1: decide\n"
                      "1 helper bank/talker/a-1: evolve\n");
  app_close(&a);
}

static unsigned lines_of(const ae_buf *log, const char *what) {
  unsigned count = 0;
  ae_buf text = {0};
  ae_buf_str(&text, ae_buf_view(log));
  for (const char *at = ae_buf_cstr(&text); (at = strstr(at, what)); at++)
    count++;
  ae_buf_clear(&text);
  return count;
}

/* A runaway print fills no disk: what is left out is counted and named, also
 * where the handler is stopped. */
static void one_call_logs_so_much(void **unused) {
  (void)unused;
  app a = {.handler_ms = 200, .patience = 1000};
  app_open(&a, "talker.lua",
           "local event = require('aether.event')\n"
           "local log = require('aether.log')\n"
           "for i = 1, 130 do print('load', i) end\n"
           "local decide, evolve = {}, {}\n"
           "function decide.few() for i = 1, 100 do print('few', i) end\n"
           "  return {} end\n"
           "function decide.many(_, data)\n"
           "  for i = 1, 60 do log.warn('many') end\n"
           "  return event('Many')\n"
           "end\n"
           "function decide.large()\n"
           "  for i = 1, 20 do print(('large'):rep(1e4)) end\n"
           "  return {} end\n"
           "function decide.spin() while true do print('spin') end end\n"
           "function evolve.Many() for i = 1, 50 do print('evolved') end end\n"
           "return { initial = {}, decide = decide, evolve = evolve }\n",
           NULL);
  assert_int_equal(lines_of(&a.log, ": load\t"), 100);
  assert_contains(ae_buf_cstr(&a.log),
                  "\n2 talker: 30 lines (240 bytes) that its file logged were "
                  "left out: one call may log 100 lines and 64 KB\n");
  ae_state state = app_initial(&a, "talker");
  for (int i = 0; i < 2; i++) {
    ae_buf_reset(&a.log);
    assert_int_equal(app_decide(&a, "talker", state, "few", "{}"), AE_OK);
    assert_int_equal(lines_of(&a.log, "\n"), 100);
    assert_int_equal(lines_of(&a.log, "left out"), 0);
  }
  ae_buf_reset(&a.log);
  assert_int_equal(app_decide(&a, "talker", state, "many", "{}"), AE_OK);
  assert_int_equal(lines_of(&a.log, ": many"), 60);
  assert_int_equal(lines_of(&a.log, ": evolved"), 40);
  assert_contains(ae_buf_cstr(&a.log),
                  "2 talker bank/talker/a-1: 10 lines (70 bytes) that "
                  "evolve.Many logged were left out");
  ae_buf_reset(&a.log);
  assert_int_equal(app_decide(&a, "talker", state, "large", "{}"), AE_OK);
  assert_int_equal(lines_of(&a.log, "\n"), 9);
  assert_contains(ae_buf_cstr(&a.log),
                  ": 12 lines (600000 bytes) that decide.large logged");
  ae_buf_reset(&a.log);
  assert_int_equal(app_decide(&a, "talker", state, "spin", "{}"),
                   AE_SCRIPT_TIMEOUT);
  assert_int_equal(lines_of(&a.log, ": spin\n"), 100);
  assert_int_equal(lines_of(&a.log, "that decide.spin logged were left"), 1);
  assert_contains(ae_buf_cstr(&a.log), "\n2 talker bank/talker/a-1: ");
  /* It was loaded again, with a bound of its own. */
  assert_int_equal(lines_of(&a.log, ": load\t"), 100);
  app_close(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_gets_out),
      cmocka_unit_test(memory_is_limited),
      cmocka_unit_test(garbage_is_no_lack_of_memory),
      cmocka_unit_test(too_small_a_limit_is_said),
      cmocka_unit_test(order_is_that_of_keys),
      cmocka_unit_test(print_goes_to_the_log),
      cmocka_unit_test(print_names_the_actor),
      cmocka_unit_test(one_call_logs_so_much),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
