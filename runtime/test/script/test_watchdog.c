#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "script/app.h"
#include "script/watchdog.h"

#define LIMIT 20 /* ms */

static const char head[] =
    "local event = require('aether.event')\n"
    "local m = { initial = { n = 0 }, decide = {}, evolve = {},\n"
    "  schema = {}, upcast = {}, revision = {} }\n"
    "local decide, evolve = m.decide, m.evolve\n"
    "function decide.add() return event('Added') end\n"
    "function evolve.Added(state) state.n = state.n + 1 end\n";

/* Runaways of every kind; spec/watchdog_spec.lua has more. */
static const char *const bodies[] = {
    "while true do end",
    "while true do pcall(error, 'x') end",
    "while true do pcall(ctx.uuid, 1) pcall(require, 'nothing') end",
    "local s = ('a'):rep(100000) return s:find(('.-'):rep(8) .. 'b')",
    "local t = {} while true do t[#t % 1000 + 1] = { ('x'):rep(100) } end",
    "while true do local s = ('x'):rep(1000000) .. 'y' end",
    "local x = 1.5 while true do x = x ^ 1.0001 + math.sin(x) end",
    "local t = {} for i = 1, 1000 do t[i] = i end\n"
    "while true do pcall(table.sort, t, function() return true end) end",
    "local f = coroutine.wrap(function() while true do coroutine.yield() end\n"
    "end) while true do f() end",
    "local t = setmetatable({}, { __tostring = function() while true do end\n"
    "end }) print(t)",
    "xpcall(error, function() while true do end end)",
    "local t = {} for i = 1, 50000 do t['k' .. i] = i end\n"
    "while true do for k in pairs(t) do end end",
    "local t = {} for i = 1, 26 do t = { t, t } end return event('Added', t)",
    "while true do print('x') end",
    "while true do m_is_no_global() end",
};
#define BODIES (sizeof bodies / sizeof *bodies)

static void open_bodies(app *a, unsigned patience) {
  ae_buf text = {0};
  ae_buf_printf(&text, "%s", head);
  for (size_t i = 0; i < BODIES; i++)
    ae_buf_printf(&text, "function decide.c%zu(state, data, ctx)\n%s\nend\n", i,
                  bodies[i]);
  ae_buf_printf(&text, "return m\n");
  a->handler_ms = LIMIT;
  a->patience = patience;
  app_open_account(a, ae_buf_cstr(&text));
  ae_buf_clear(&text);
}

static void add_works(app *a) {
  ae_state state = app_initial(a, "account");
  ae_status status = app_decide(a, "account", state, "add", "{}");
  if (status != AE_OK) fail_msg("%s", ae_error_text(&a->err));
  assert_string_equal(app_state(a, "account", state), "{\"n\":1}");
  ae_script_drop(app_module(a, "account"), state);
}

static void is_stopped(app *a, size_t body) {
  char command[16];
  snprintf(command, sizeof command, "c%zu", body);
  ae_state state = app_initial(a, "account");
  ae_status status = app_decide(a, "account", state, command, "{}");
  /* A global that is not there ends the last one at once. */
  ae_status wanted = body == BODIES - 1 ? AE_SCRIPT_ERROR : AE_SCRIPT_TIMEOUT;
  if (status != wanted)
    fail_msg("%s\n%s %s", bodies[body], ae_status_word(status),
             ae_error_text(&a->err));
  ae_script_drop(app_module(a, "account"), state);
}

static void stops_what_does_not_stop(void **unused) {
  (void)unused;
  app a = {0};
  open_bodies(&a, 1000);
  for (size_t i = 0; i < BODIES; i++) {
    uint64_t before = ae_script_stops(a.script);
    is_stopped(&a, i);
    assert_int_equal(ae_script_stops(a.script) - before, i < BODIES - 1);
    add_works(&a);
  }
  app_close(&a);
}

static void says_what_was_stopped(void **unused) {
  (void)unused;
  app a = {0};
  open_bodies(&a, 1000);
  ae_module *module = app_module(&a, "account");
  ae_state state = app_initial(&a, "account");
  ae_state other = app_initial(&a, "account");
  assert_true(ae_script_holds(module, other));
  assert_false(ae_script_holds(module, 0));
  assert_int_equal(app_decide(&a, "account", state, "c0", "{}"),
                   AE_SCRIPT_TIMEOUT);
  assert_contains(ae_error_text(&a.err),
                  "bank/account.lua:7: decide.c0 was stopped: it took more "
                  "than 20 ms (limits.handler_ms); actor bank/account/a-1");
  assert_string_equal(app_fact(&a, "module"), "\"account\"");
  assert_string_equal(app_fact(&a, "limit"), "20");
  assert_int_equal(a.decide.event_count, 0);
  assert_int_equal(a.events.len, 0);
  /* All states went with it; whoever uses one is told. */
  assert_false(ae_script_holds(module, state));
  assert_false(ae_script_holds(module, other));
  assert_int_equal(app_decide(&a, "account", other, "add", "{}"), AE_NOT_FOUND);
  ae_buf bytes = {0};
  assert_int_equal(ae_script_dump(module, other, &bytes, &a.err), AE_NOT_FOUND);
  ae_script_drop(module, state);
  ae_script_drop(module, other);
  ae_state fresh = app_initial(&a, "account");
  assert_true(fresh != state && fresh != other);
  assert_int_equal(app_decide(&a, "account", fresh, "add", "{}"), AE_OK);
  ae_buf_clear(&bytes);
  app_close(&a);
}

/* -- every way into a script -- */

static ae_status evolve_one(app *a, const char *type, uint64_t revision) {
  ae_state state = app_initial(a, "account");
  ae_buf data = {0};
  pack_json("{}", &data);
  ae_script_event event = {.type = ae_str_of(type),
                           .revision = revision,
                           .version = 1,
                           .data = ae_buf_view(&data)};
  size_t done;
  ae_error_clear(&a->err);
  ae_status status =
      ae_script_evolve(app_module(a, "account"), state, AE_STR("bank"),
                       AE_STR("a-1"), &event, 1, &done, &a->err);
  ae_buf_clear(&data);
  ae_script_drop(app_module(a, "account"), state);
  return status;
}

static void every_handler_is_limited(void **unused) {
  (void)unused;
  static const char text[] =
      "local schema = require('aether.schema')\n"
      "function decide.match() return {} end\n"
      "m.schema.match = { s = schema.string { pattern = '.-.-.-.-.-.-b$',\n"
      "  max_length = 200000 } }\n"
      "function decide.spin() return event('Spun') end\n"
      "function evolve.Spun() while true do end end\n"
      "m.upcast.Old = { [1] = function() while true do end end }\n"
      "return m\n";
  static const char patient[] =
      "return { retry = function() while true do end end }";
  app a = {.handler_ms = LIMIT, .patience = 1000};
  ae_buf module = {0}, data = {0};
  ae_buf_printf(&module, "%s%s", head, text);
  app_open(&a, "account.lua", ae_buf_cstr(&module), "patient.lua", patient,
           NULL);
  ae_state state = app_initial(&a, "account");
  assert_int_equal(app_decide(&a, "account", state, "spin", "{}"),
                   AE_SCRIPT_TIMEOUT);
  assert_contains(ae_error_text(&a.err), "evolve.Spun was stopped");
  assert_int_equal(a.events.len, 0);
  assert_int_equal(a.decide.event_count, 0);
  assert_int_equal(evolve_one(&a, "Spun", 1), AE_SCRIPT_TIMEOUT);
  assert_int_equal(evolve_one(&a, "Old", 1), AE_SCRIPT_TIMEOUT);
  assert_contains(ae_error_text(&a.err), "upcast.Old was stopped");
  ae_buf json = {0};
  ae_buf_printf(&json, "{\"s\":\"%0100000d\"}", 0);
  state = app_initial(&a, "account");
  if (app_decide(&a, "account", state, "match", ae_buf_cstr(&json)) !=
      AE_SCRIPT_TIMEOUT)
    fail_msg("%s", ae_error_text(&a.err));
  pack_json("{}", &data);
  ae_retry retry = {.ns = AE_STR("bank"),
                    .type = AE_STR("account"),
                    .id = AE_STR("a-1"),
                    .attempt = 1,
                    .command = AE_STR("add"),
                    .data = ae_buf_view(&data),
                    .aggregate = app_module(&a, "account")};
  assert_int_equal(ae_script_retry(a.script, AE_STR("patient"), &retry, &a.err),
                   AE_SCRIPT_TIMEOUT);
  assert_string_equal(app_fact(&a, "module"), "\"patient\"");
  assert_false(retry.again);
  add_works(&a);
  ae_buf_clear(&retry.reason);
  ae_buf_clear(&json);
  ae_buf_clear(&data);
  ae_buf_clear(&module);
  app_close(&a);
}

/* Many handlers of one call each have the whole time. */
static void each_handler_has_its_own_time(void **unused) {
  (void)unused;
  static const char text[] =
      "function evolve.Slow(state)\n"
      "  local x = 0\n"
      "  for i = 1, 300000 do x = x + #('x' .. i % 1000) end\n"
      "  state.n = state.n + 1\n"
      "end\n"
      "return m\n";
  enum { COUNT = 40 };
  app a = {.handler_ms = 100};
  ae_buf module = {0}, data = {0};
  ae_buf_printf(&module, "%s%s", head, text);
  app_open_account(&a, ae_buf_cstr(&module));
  pack_json("{}", &data);
  ae_script_event events[COUNT];
  for (int i = 0; i < COUNT; i++)
    events[i] = (ae_script_event){.type = AE_STR("Slow"),
                                  .revision = 1,
                                  .version = (uint64_t)i + 1,
                                  .data = ae_buf_view(&data)};
  ae_state state = app_initial(&a, "account");
  size_t done;
  struct timespec from, to;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
  ae_status status =
      ae_script_evolve(app_module(&a, "account"), state, AE_STR("bank"),
                       AE_STR("a-1"), events, COUNT, &done, &a.err);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
  if (status != AE_OK) fail_msg("%s", ae_error_text(&a.err));
  double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 +
              (double)(to.tv_nsec - from.tv_nsec) / 1e6;
  if (ms < 100) fail_msg("all together took only %.1f ms", ms);
  ae_buf_clear(&module);
  ae_buf_clear(&data);
  app_close(&a);
}

static void loading_is_limited(void **unused) {
  (void)unused;
  static const struct {
    const char *text;
    const char *message;
  } cases[] = {
      {"while true do end return {}", "bank/account.lua: loading was stopped"},
      {"return setmetatable({}, { __index = function() while true do end end "
       "})",
       "bank/account.lua: loading was stopped"},
      {"return require('other')", "bank/other.lua: loading was stopped"},
      {"local t = {} for i = 1, 24 do t = { a = t, b = t } end\n"
       "return { initial = t, decide = {}, evolve = {} }",
       "bank/account.lua: loading was stopped"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    app a = {.handler_ms = LIMIT};
    app_try(&a, "account.lua", cases[i].text, "other.lua",
            i == 2 ? "while true do end" : "return {}", NULL);
    if (a.status != AE_SCRIPT_TIMEOUT)
      fail_msg("%s\n%s %s", cases[i].text, ae_status_word(a.status),
               ae_error_text(&a.err));
    assert_contains(ae_error_text(&a.err), cases[i].message);
    assert_contains(ae_error_text(&a.err),
                    "it took more than 200 ms (10 times limits.handler_ms)");
    assert_string_equal(app_fact(&a, "limit"), "200");
    assert_int_equal(a.nmistakes, 1);
    app_close(&a);
  }
}

static void settings_are_limited(void **unused) {
  (void)unused;
  char file[] = "/tmp/aether-settings-XXXXXX";
  int fd = mkstemp(file);
  assert_true(fd >= 0);
  static const char text[] = "while true do end return {}";
  assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
  close(fd);
  ae_buf out = {0};
  ae_error err = {0};
  assert_int_equal(ae_script_settings(file, &out, &err), AE_SCRIPT_TIMEOUT);
  assert_contains(ae_error_text(&err),
                  "aether.lua: loading was stopped: it took more than 1000 ms");
  assert_int_equal(out.len, 0);
  ae_error_clear(&err);
  ae_buf_clear(&out);
  unlink(file);
}

/* -- quarantine -- */

static void stopped_too_often_is_quarantined(void **unused) {
  (void)unused;
  static const char other[] =
      "local event = require('aether.event')\n"
      "return { initial = {}, decide = { go = function() return event('Gone')\n"
      "end }, evolve = { Gone = function(s) s.gone = true end } }\n";
  app a = {.handler_ms = LIMIT, .patience = 3};
  ae_buf text = {0};
  ae_buf_printf(&text,
                "%sfunction decide.spin() while true do end end\nreturn m\n",
                head);
  app_open(&a, "account.lua", ae_buf_cstr(&text), "other.lua", other, NULL);
  ae_module *module = app_module(&a, "account");
  ae_str cause;
  for (int round = 0; round < 5; round++) {
    /* What ends by itself in between breaks the row. */
    if (round == 2) add_works(&a);
    assert_int_equal(ae_module_quarantined(module, &cause), 0);
    ae_state state = app_initial(&a, "account");
    assert_int_equal(app_decide(&a, "account", state, "spin", "{}"),
                     AE_SCRIPT_TIMEOUT);
  }
  assert_true(ae_module_quarantined(module, &cause) > 0);
  assert_contains(cause.ptr, "decide.spin was stopped");
  ae_state state = 0;
  uint64_t stops = ae_script_stops(a.script);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(ae_script_initial(module, &state, &a.err),
                     AE_MODULE_QUARANTINED);
    assert_int_equal(app_decide(&a, "account", state, "add", "{}"),
                     AE_MODULE_QUARANTINED);
    assert_string_equal(app_fact(&a, "module"), "\"account\"");
    assert_contains(app_fact(&a, "cause"), "decide.spin was stopped");
    assert_contains(ae_error_text(&a.err),
                    "bank/account.lua is quarantined: it was stopped 3 times "
                    "in a row");
    char since[32];
    snprintf(since, sizeof since, "%lld",
             (long long)ae_module_quarantined(module, NULL));
    assert_string_equal(app_fact(&a, "since"), since);
  }
  assert_int_equal(ae_script_stops(a.script), stops);
  ae_state its = app_initial(&a, "other");
  assert_int_equal(app_decide(&a, "other", its, "go", "{}"), AE_OK);
  ae_buf_clear(&text);
  app_close(&a);
}

/* -- the host's own code -- */

static struct {
  int begun, ended;
  bool stop; /* the process */
} hook;

static void on_print(void) {
  hook.begun++;
  if (hook.stop) {
    raise(SIGSTOP);
  } else {
    /* Until its time is up, and the watchdog has seen that. */
    while (!ae__watched_late()) continue;
  }
  hook.ended++;
}

static void host_code_comes_to_its_end(void **unused) {
  (void)unused;
  app a = {.handler_ms = LIMIT, .on_log = on_print};
  ae_buf text = {0};
  ae_buf_printf(
      &text,
      "%sfunction decide.say() print('a') print('b') end\n"
      "function decide.sort() local t = { 3, 1, 2 }\n"
      "  table.sort(t, function(a, b) print(a) return a < b end) end\n"
      "return m\n",
      head);
  app_open_account(&a, ae_buf_cstr(&text));
  static const char *const commands[] = {"say", "sort"};
  for (int i = 0; i < 2; i++) {
    memset(&hook, 0, sizeof hook);
    ae_state state = app_initial(&a, "account");
    assert_int_equal(app_decide(&a, "account", state, commands[i], "{}"),
                     AE_SCRIPT_TIMEOUT);
    assert_int_equal(hook.begun, 1);
    assert_int_equal(hook.ended, 1);
  }
  ae_buf_clear(&text);
  app_close(&a);
}

/* A process that stands still takes no time. */
static void a_stopped_process_is_not_late(void **unused) {
  (void)unused;
  memset(&hook, 0, sizeof hook);
  hook.stop = true;
  pid_t child = fork();
  if (child == 0) {
    app a = {.handler_ms = LIMIT, .on_log = on_print};
    ae_buf text = {0};
    ae_buf_printf(&text,
                  "%sfunction decide.say() print('a') for i = 1, 1e5 do end\n"
                  "return event('Added') end\nreturn m\n",
                  head);
    app_open_account(&a, ae_buf_cstr(&text));
    ae_state state = app_initial(&a, "account");
    ae_status status = app_decide(&a, "account", state, "say", "{}");
    bool fine = status == AE_OK && hook.ended == 1;
    if (!fine) print_error("%s\n", ae_error_text(&a.err));
    ae_buf_clear(&text);
    app_close(&a);
    _exit(fine ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, WUNTRACED), child);
  assert_true(WIFSTOPPED(status));
  const struct timespec pause = {.tv_nsec = 10 * LIMIT * 1000000};
  nanosleep(&pause, NULL);
  kill(child, SIGCONT);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* -- threads, memory -- */

static void *stop_some(void *data) {
  app *a = data;
  for (int i = 0; i < 3; i++) {
    char command[] = {'c', (char)('0' + i), 0};
    ae_state state = 0;
    if (ae_script_initial(app_module(a, "account"), &state, &a->err) ||
        app_decide(a, "account", state, command, "{}") != AE_SCRIPT_TIMEOUT)
      return data;
  }
  return NULL;
}

/* Each on its own thread, and then handed over to this one. */
static void threads_are_watched_each(void **unused) {
  (void)unused;
  enum { COUNT = 3 };
  app apps[COUNT];
  pthread_t threads[COUNT];
  memset(apps, 0, sizeof apps);
  for (int i = 0; i < COUNT; i++) open_bodies(&apps[i], 1000);
  for (int i = 0; i < COUNT; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, stop_some, &apps[i]), 0);
  for (int i = 0; i < COUNT; i++) {
    void *failed;
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
  }
  for (int i = 0; i < COUNT; i++) {
    add_works(&apps[i]);
    is_stopped(&apps[i], 0);
    app_close(&apps[i]);
  }
}

static size_t count_of(const char *folder) {
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  size_t count = 0;
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

static long resident_kb(void) {
  long all, resident;
  FILE *file = fopen("/proc/self/statm", "r");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%ld %ld", &all, &resident), 2);
  fclose(file);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Mapped memory that can be executed and belongs to no file. */
static size_t areas_of_code(void) {
  FILE *file = fopen("/proc/self/maps", "r");
  assert_non_null(file);
  char line[512];
  size_t count = 0;
  while (fgets(line, sizeof line, file))
    if (strstr(line, "r-xp") && !strchr(line, '/') && !strchr(line, '['))
      count++;
  fclose(file);
  return count;
}

static void many_stops_leave_nothing(void **unused) {
  (void)unused;
  int stops = getenv("AETHER_LONG") ? 1000 : 40;
  size_t threads = count_of("/proc/self/task");
  app a = {0}, other = {0};
  open_bodies(&a, UINT32_MAX);
  open_bodies(&other, 3);
  srand(7);
  for (size_t i = 0; i < BODIES; i++) is_stopped(&a, i);
  long memory = resident_kb();
  size_t areas = areas_of_code(), files = count_of("/proc/self/fd");
  for (int i = 0; i < stops; i++) {
    is_stopped(&a, (size_t)rand() % (BODIES - 1));
    add_works(&other);
  }
  assert_int_equal(ae_script_stops(other.script), 0);
  assert_int_equal(ae_script_stops(a.script), stops + BODIES - 1);
  long more = resident_kb() - memory;
  if (more > 10 * 1024) fail_msg("%ld kB more after %d stops", more, stops);
  if (areas_of_code() > areas + 4)
    fail_msg("%zu areas of machine code, %zu before", areas_of_code(), areas);
  assert_int_equal(count_of("/proc/self/fd"), files);
  app_close(&a);
  app_close(&other);
  assert_int_equal(count_of("/proc/self/task"), threads);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stops_what_does_not_stop),
      cmocka_unit_test(says_what_was_stopped),
      cmocka_unit_test(every_handler_is_limited),
      cmocka_unit_test(each_handler_has_its_own_time),
      cmocka_unit_test(loading_is_limited),
      cmocka_unit_test(settings_are_limited),
      cmocka_unit_test(stopped_too_often_is_quarantined),
      cmocka_unit_test(host_code_comes_to_its_end),
      cmocka_unit_test(a_stopped_process_is_not_late),
      cmocka_unit_test(threads_are_watched_each),
      cmocka_unit_test(many_stops_leave_nothing),
  };
  ae_log_setup(AE_LOG_ERROR + 1, AE_LOG_TEXT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
