#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "script/app.h"

#define EVENT "local event = require('aether.event')\n"
#define SOUND                                                 \
  "return { initial = {}, decide = { a = function() end },\n" \
  "  evolve = { Done = function() end } }\n"

/* One file, one mistake: what is said of it. */
static void each_mistake_is_told(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    ae_status status;
    const char *message;
  } cases[] = {
      {"return {", AE_SCRIPT_ERROR, "bank/m.lua:1:"},
      {"local x =\n\nend\n", AE_SCRIPT_ERROR, "bank/m.lua:3:"},
      {"", AE_CONTRACT_ERROR, "a module's file returns a table"},
      {"return 7", AE_CONTRACT_ERROR, "this one returned 7"},
      {"\033LJ\002", AE_CONTRACT_ERROR, "the file is bytecode"},
      {"counter = 1\nreturn {}", AE_SCRIPT_ERROR,
       "bank/m.lua:1: global \"counter\" is not allowed; use local"},
      {"return { decide = undefined }", AE_SCRIPT_ERROR,
       "global \"undefined\" is not defined"},
      {"error('at load')", AE_SCRIPT_ERROR, "bank/m.lua:1: at load"},
      {"error('no line', 0)", AE_SCRIPT_ERROR, "bank/m.lua:1: no line"},
      {"return { decide = {}, evolve = {}, snapshoot = {} }", AE_CONTRACT_ERROR,
       "did you mean \"snapshot\"?"},
      {"return { decide = {\n  a = 7 },\n evolve = {} }", AE_CONTRACT_ERROR,
       "bank/m.lua:2: decide.a must be a function"},
      {"return { decide = { Pay = function() end }, evolve = {} }",
       AE_CONTRACT_ERROR, "snake_case"},
      {"return { decide = {}, evolve = {\n paid = function() end } }",
       AE_CONTRACT_ERROR, "bank/m.lua:2: evolve.paid: events are CamelCase"},
      {"return { decide = {} }", AE_CONTRACT_ERROR, "evolve is missing"},
      {"return { decide = 5, evolve = {} }", AE_CONTRACT_ERROR,
       "decide must be a table"},
      {"return { decide = {}, evolve = {},\n initial = { f = print } }",
       AE_CONTRACT_ERROR, "initial.f is a function"},
      {"return { decide = {}, evolve = {}, initial = { 1 } }",
       AE_CONTRACT_ERROR, "initial must be a map"},
      {"return { decide = {}, evolve = {}, snapshot = { every = 0,\n version = "
       "1.5 } }",
       AE_CONTRACT_ERROR, "snapshot.version must be an integer"},
      {"return { decide = {}, evolve = {}, schema = { pay = {} } }",
       AE_CONTRACT_ERROR, "a command that decide does not know"},
      {"return { decide = { pay = function() end }, evolve = {},\n schema = { "
       "pay = 7 } }",
       AE_CONTRACT_ERROR, "schema.pay"},
      {"return { decide = {}, evolve = { Paid = function() end },\n revision = "
       "{ Paid = 3 }, upcast = { Paid = { [2] = function() end } } }",
       AE_CONTRACT_ERROR, "upcast.Paid has no step [1]"},
      {"return { decide = {}, evolve = {}, retry = 'backof' }",
       AE_CONTRACT_ERROR, "did you mean \"backoff\"?"},
      {"return { decide = {}, evolve = {}, react = {} }", AE_CONTRACT_ERROR,
       "has no key \"react\""},
      {"return { project = {}, from = 'acount' }", AE_CONTRACT_ERROR,
       "from names \"acount\", which is no aggregate here; did you mean "
       "\"account\"?"},
      {"return { project = {}, from = { 'account', 'm' } }", AE_CONTRACT_ERROR,
       "from names \"m\""},
      {"return { react = {}, from = 'account', initial = 5 }",
       AE_CONTRACT_ERROR, "initial must be a map"},
      {"return { retry = function() end, patience = 3 }", AE_CONTRACT_ERROR,
       "a policy has no key \"patience\""},
      {"require('m')\nreturn {}", AE_SCRIPT_ERROR,
       "require each other in a circle: m → m"},
      {"while true do local t = {} t[1] = ('x'):rep(1e8) end", AE_SCRIPT_MEMORY,
       "m wanted more memory"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    app a = {0};
    app_try(&a, "account.lua", SOUND, "m.lua", cases[i].text, NULL);
    if (a.status != cases[i].status) {
      fail_msg("%s: %s %s", cases[i].text, ae_status_word(a.status),
               ae_error_text(&a.err));
    }
    assert_null(a.script);
    assert_contains(ae_error_text(&a.err), cases[i].message);
    assert_string_equal(app_fact(&a, "module"), "\"m\"");
    assert_true(a.nmistakes >= 1);
    assert_contains(ae_buf_cstr(&a.mistakes), cases[i].message);
    app_close(&a);
  }
}

static void all_mistakes_are_told_once(void **unused) {
  (void)unused;
  app a = {0};
  app_try(&a, "a.lua", "return { decide = { Bad = 1 }, evol = {} }", "b.lua",
          "local c = require('c')\nreturn c", "c.lua", "return {{}", "d.lua",
          "return require('c')", "Wrong.lua", "return {}", "fine.lua", SOUND,
          NULL);
  assert_int_equal(a.status, AE_CONTRACT_ERROR);
  const char *all = ae_buf_cstr(&a.mistakes);
  assert_contains(all, "bank/Wrong.lua: a module's file name is snake_case");
  assert_contains(all, "decide.Bad: commands are snake_case");
  assert_contains(all, "decide.Bad must be a function");
  assert_contains(all, "no key \"evol\"");
  assert_contains(all, "bank/c.lua:1:");
  const char *c = strstr(all, "bank/c.lua");
  assert_null(strstr(c + 1, "bank/c.lua"));
  app_close(&a);
}

static void cycles_are_shown(void **unused) {
  (void)unused;
  app a = {0};
  app_try(&a, "a.lua", "require('b')\nreturn {}", "b.lua",
          "local c = require('c')\nreturn {}", "c.lua", "return require('a')",
          NULL);
  assert_int_equal(a.status, AE_SCRIPT_ERROR);
  assert_contains(ae_error_text(&a.err), "a → b → c → a");
  app_close(&a);
}

static void kinds_and_names(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "aether.lua", "this is no module", ".hidden.lua", "nor this",
           "notes.txt", "nor this", "account.lua", SOUND, "helper.lua",
           "return { twice = function(n) return 2 * n end }", "list.lua",
           "return { project = { Done = function() end, ['account.Other'] = "
           "function() end }, from = '*' }",
           "mover.lua",
           "return { react = { Done = function() end, rejected = function() "
           "end }, from = { 'account' } }",
           "patient.lua", "return { retry = function() return 0 end }", NULL);
  static const char *const names[] = {"account", "helper", "list", "mover",
                                      "patient"};
  static const ae_module_kind kinds[] = {AE_MODULE_AGGREGATE, AE_MODULE_LIBRARY,
                                         AE_MODULE_PROJECTION,
                                         AE_MODULE_PROCESS, AE_MODULE_POLICY};
  for (size_t i = 0; i < 5; i++) {
    ae_module *module = ae_script_module_at(a.script, i);
    assert_non_null(module);
    assert_true(ae_str_eq(ae_module_name(module), ae_str_of(names[i])));
    assert_int_equal(ae_module_kind_of(module), kinds[i]);
    assert_contains(ae_module_file(module), names[i]);
  }
  assert_null(ae_script_module_at(a.script, 5));
  assert_string_equal(ae_module_event_at(app_module(&a, "list"), 0), "Done");
  assert_string_equal(ae_module_event_at(app_module(&a, "list"), 1),
                      "account.Other");
  assert_string_equal(ae_module_kind_word(AE_MODULE_PROJECTION), "projection");
  ae_module *module;
  assert_int_equal(
      ae_script_aggregate(a.script, AE_STR("acount"), &module, &a.err),
      AE_UNKNOWN_TYPE);
  assert_null(module);
  assert_string_equal(app_fact(&a, "nearest"), "\"account\"");
  assert_int_equal(
      ae_script_aggregate(a.script, AE_STR("helper"), &module, &a.err),
      AE_UNKNOWN_TYPE);
  assert_contains(ae_error_text(&a.err), "that module is a library");
  assert_int_equal(
      ae_script_aggregate(a.script, AE_STR("account"), &module, &a.err), AE_OK);
  app_close(&a);
}

static void folders_without_modules(void **unused) {
  (void)unused;
  app a = {0};
  app_try(&a, "readme.txt", "x", NULL);
  assert_int_equal(a.status, AE_CONTRACT_ERROR);
  assert_contains(ae_error_text(&a.err), "there is no module (*.lua) in");
  app_close(&a);
  ae_script_options options = {.ns = AE_STR("bank"), .folder = "/no/such"};
  ae_script *script;
  ae_error err = {0};
  assert_int_equal(ae_script_open(&options, &script, &err), AE_CONTRACT_ERROR);
  assert_contains(ae_error_text(&err), "cannot read the folder /no/such");
  assert_null(script);
  ae_script_close(NULL);
  ae_error_clear(&err);
}

static void the_revision_is_that_of_the_files(void **unused) {
  (void)unused;
  char first[17] = "";
  static const char *const other[] = {SOUND, SOUND, SOUND " "};
  for (int i = 0; i < 3; i++) {
    app a = {0};
    app_open(&a, "a.lua", SOUND, "b.lua", other[i], NULL);
    ae_str revision = ae_script_revision(a.script);
    if (i == 0) memcpy(first, revision.ptr, 16);
    assert_int_equal(ae_str_eq(revision, ae_str_of(first)), i < 2);
    app_close(&a);
  }
}

/* A module cannot keep what it is told in tables that others see. */
static void modules_are_frozen(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "account.lua",
           EVENT
           "local m = { initial = {}, decide = {}, evolve = {} }\n"
           "local class = require('class')\n"
           "function m.decide.add() m.seen = 1 return {} end\n"
           "function m.decide.replace() m.initial = {} return {} end\n"
           "function m.decide.inner() m.initial.x = 1 return {} end\n"
           "function m.decide.patch() m.decide.add = nil return {} end\n"
           "function m.decide.other() class.total = 5 return {} end\n"
           "function m.decide.send()\n"
           "  local c = class.new(4)\n"
           "  return event('Done', { n = c:get() + c.extra, t = class.table,\n"
           "    list = class.list, start = m.initial })\n"
           "end\n"
           "function m.evolve.Done(state, d) state.d = d end\n"
           "return m\n",
           "class.lua",
           "local class = { extra = 1, table = { a = { b = 1 } }, list = { 3 } "
           "}\n"
           "class.__index = class\n"
           "function class.new(n) return setmetatable({ n = n }, class) end\n"
           "function class:get() return self.n end\n"
           "return class\n",
           NULL);
  static const char *const commands[] = {"add", "replace", "inner", "patch",
                                         "other"};
  ae_state state = app_initial(&a, "account");
  for (size_t i = 0; i < 5; i++) {
    assert_int_equal(app_decide(&a, "account", state, commands[i], "{}"),
                     AE_SCRIPT_ERROR);
    assert_contains(ae_error_text(&a.err), "the table is read-only");
  }
  if (app_decide(&a, "account", state, "send", "{}") != AE_OK) {
    fail_msg("%s", ae_error_text(&a.err));
  }
  assert_string_equal(app_events(&a),
                      "[[\"Done\",1,{\"list\":[3],\"n\":5,\"start\":{},\"t\":{"
                      "\"a\":{\"b\":1}}},null]]");
  app_close(&a);
}

/* -- settings and busted -- */

static ae_status settings(const char *text, char *json, size_t size,
                          ae_error *err) {
  char path[] = "/tmp/aether-settings-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
  ae_buf out = {0}, made = {0};
  ae_status status = ae_script_settings(path, &out, err);
  if (status == AE_OK) {
    ae_json_write(ae_buf_view(&out), &made);
    snprintf(json, size, "%s", ae_buf_cstr(&made));
  } else {
    assert_int_equal(out.len, 0);
  }
  ae_buf_clear(&out);
  ae_buf_clear(&made);
  unlink(path);
  return status;
}

static void settings_become_msgpack(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    ae_status status;
    const char *message;
  } cases[] = {
      {"return { listen = ('x'):rep(2), a = { 1, 2 }, none = {} }", AE_OK,
       "{\"a\":[1,2],\"listen\":\"xx\",\"none\":{}}"},
      {"return {}", AE_OK, "{}"},
      {"return 5", AE_CONTRACT_ERROR, "aether.lua: the file must return a"},
      {"", AE_CONTRACT_ERROR, "it returned nothing"},
      {"return { 1 }", AE_CONTRACT_ERROR, "it returned a list"},
      {"return {", AE_SCRIPT_ERROR, "aether.lua:1:"},
      {"\nreturn os.getenv('HOME')", AE_SCRIPT_ERROR,
       "aether.lua:2: os is not available"},
      {"return { a = { b = print } }", AE_VALUE_ERROR,
       "settings.a.b is a function"},
      {"x = 1 return {}", AE_SCRIPT_ERROR, "is not allowed; use local"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char json[512] = "";
    ae_error err = {0};
    ae_status status = settings(cases[i].text, json, sizeof json, &err);
    if (status != cases[i].status) {
      fail_msg("%s: %s", cases[i].text, ae_error_text(&err));
    }
    assert_contains(status == AE_OK ? json : ae_error_text(&err),
                    cases[i].message);
    ae_error_clear(&err);
  }
  ae_error err = {0};
  ae_buf out = {0};
  assert_int_equal(ae_script_settings("/no/such/aether.lua", &out, &err),
                   AE_NOT_FOUND);
  ae_error_clear(&err);
}

static void write_spec(const char *folder, const char *text) {
  char path[300];
  snprintf(path, sizeof path, "%s/spec", folder);
  mkdir(path, 0700);
  snprintf(path, sizeof path, "%s/spec/a_spec.lua", folder);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void busted_runs_inside(void **unused) {
  (void)unused;
  static const char sound[] =
      "local event = require('aether.event')\n"
      "local given = require('aether.scenario')('account')\n"
      "it('adds', function()\n"
      "  given(event('Added', { n = 1 })):when('add', { n = 2 })\n"
      "    :expect(event('Added', { n = 2 }))\n"
      "end)\n"
      "it('is LuaJIT', function() assert(jit) end)\n";
  static const struct {
    const char *text;
    int status;
  } cases[] = {{sound, 0},
               {"it('fails', function() error('no') end)", 1},
               {"return +", 1},
               {"it('leaves', function() os.exit(7) end)", 7}};
  app a = {0};
  app_open(&a, "account.lua",
           EVENT
           "return { initial = {}, decide = { add = function(_, d)\n"
           "  return event('Added', { n = d.n }) end },\n"
           "  evolve = { Added = function(s, d) s.n = d.n end } }\n",
           NULL);
  char output[] = "-o", kind[] = "plainTerminal";
  char *argv[] = {output, kind, NULL};
  char before[256], after[256];
  assert_non_null(getcwd(before, sizeof before));
  fflush(stdout);
  int out = dup(STDOUT_FILENO), err_out = dup(STDERR_FILENO);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_spec(a.folder, cases[i].text);
    ae_error err = {0};
    assert_non_null(freopen("/dev/null", "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    int status = ae_script_busted(a.folder, 2, argv, &err);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err_out, STDERR_FILENO);
    assert_string_equal(ae_error_text(&err), "");
    assert_int_equal(status, cases[i].status);
    ae_error_clear(&err);
  }
  close(out);
  close(err_out);
  assert_non_null(getcwd(after, sizeof after));
  assert_string_equal(before, after);
  ae_error err = {0};
  assert_int_equal(ae_script_busted("/no/such", 0, argv, &err), 3);
  assert_int_equal(err.status, AE_NOT_FOUND);
  ae_error_clear(&err);
  char path[300];
  snprintf(path, sizeof path, "%s/spec/a_spec.lua", a.folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/spec", a.folder);
  rmdir(path);
  app_close(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_mistake_is_told),
      cmocka_unit_test(all_mistakes_are_told_once),
      cmocka_unit_test(cycles_are_shown),
      cmocka_unit_test(kinds_and_names),
      cmocka_unit_test(folders_without_modules),
      cmocka_unit_test(the_revision_is_that_of_the_files),
      cmocka_unit_test(modules_are_frozen),
      cmocka_unit_test(settings_become_msgpack),
      cmocka_unit_test(busted_runs_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
