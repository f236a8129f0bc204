#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "script/app.h"

static const char account[] =
    "local event = require('aether.event')\n"
    "local schema = require('aether.schema')\n"
    "local account = {\n"
    "  initial = { open = false, balance = 0 },\n"
    "  snapshot = { version = 3, every = 50 },\n"
    "  schema = { deposit = { amount = schema.integer { min = 1 } } },\n"
    "  retry = 'never',\n"
    "}\n"
    "local decide = {}\n"
    "account.decide = decide\n"
    "function decide.deposit(_, deposit)\n"
    "  return event('Deposited', { amount = deposit.amount })\n"
    "end\n"
    "function decide.withdraw(state, withdraw)\n"
    "  if withdraw.amount > state.balance then\n"
    "    return nil, 'insufficient_funds', { balance = state.balance }\n"
    "  end\n"
    "  return event('Withdrawn', { amount = withdraw.amount }, { by = 'x' })\n"
    "end\n"
    "function decide.twice(_, data)\n"
    "  local one = { amount = 1, tags = {} }\n"
    "  return { event('Deposited', one), event('Deposited', one) }\n"
    "end\n"
    "function decide.nothing() return {} end\n"
    "function decide.marked()\n"
    "  return require('aether.value').array { event('Deposited', { amount = 1 "
    "}) }\n"
    "end\n"
    "function decide.constant() return require('shared').none end\n"
    "function decide.close() return nil, 'not_empty' end\n"
    "local evolve = {}\n"
    "account.evolve = evolve\n"
    "function evolve.Deposited(state, deposited)\n"
    "  state.balance = state.balance + deposited.amount\n"
    "  if deposited.tags then deposited.tags.seen = true end\n"
    "end\n"
    "function evolve.Withdrawn(state, withdrawn, whole)\n"
    "  state.balance = state.balance - withdrawn.amount\n"
    "  state.last = whole\n"
    "end\n"
    "return account\n";

static void decides_and_evolves(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "account.lua", account, "shared.lua", "return { none = {} }",
           NULL);
  ae_module *module = app_module(&a, "account");
  assert_int_equal(ae_module_kind_of(module), AE_MODULE_AGGREGATE);
  assert_int_equal(ae_module_snapshot_shape(module), 3);
  assert_int_equal(ae_module_snapshot_every(module), 50);
  assert_true(ae_str_eq(ae_module_retry(module), AE_STR("never")));
  assert_string_equal(ae_module_command_at(module, 0), "close");
  assert_null(ae_module_command_at(module, 7));
  assert_string_equal(ae_module_event_at(module, 1), "Withdrawn");
  assert_null(ae_module_event_at(module, 2));
  assert_int_equal(ae_script_revision(a.script).len, 16);

  ae_state state = app_initial(&a, "account");
  assert_string_equal(app_state(&a, "account", state),
                      "{\"balance\":0,\"open\":false}");
  assert_int_equal(
      app_decide(&a, "account", state, "deposit", "{\"amount\":7}"), AE_OK);
  assert_string_equal(app_events(&a),
                      "[[\"Deposited\",1,{\"amount\":7},null]]");
  assert_int_equal(app_decide(&a, "account", state, "twice", "{}"), AE_OK);
  assert_string_equal(app_events(&a),
                      "[[\"Deposited\",1,{\"amount\":1,\"tags\":{}},null],"
                      "[\"Deposited\",1,{\"amount\":1,\"tags\":{}},null]]");
  assert_int_equal(app_decide(&a, "account", state, "nothing", "{}"), AE_OK);
  assert_string_equal(app_events(&a), "[]");
  assert_false(a.decide.rejected);
  assert_int_equal(app_decide(&a, "account", state, "constant", "{}"), AE_OK);
  assert_string_equal(app_events(&a), "[]");
  assert_int_equal(app_decide(&a, "account", state, "marked", "{}"), AE_OK);
  assert_string_equal(app_events(&a),
                      "[[\"Deposited\",1,{\"amount\":1},null]]");
  assert_string_equal(app_state(&a, "account", state),
                      "{\"balance\":10,\"open\":false}");
  app_close(&a);
}

/* Events of the host's own pass, and count. */
static void the_hosts_events_mean_nothing(void **unused) {
  (void)unused;
  app a = {0};
  app_open_account(&a, account);
  ae_buf seven = {0};
  pack_json("{\"amount\":7}", &seven);
  ae_script_event events[3] = {{.type = AE_STR("$Skipped"), .revision = 1},
                               {.type = AE_STR("Deposited"), .revision = 1},
                               {.type = AE_STR("$Skipped"), .revision = 1}};
  for (int i = 0; i < 3; i++) {
    events[i].version = (uint64_t)i + 1;
    events[i].data = ae_buf_view(&seven);
  }
  ae_state state = app_initial(&a, "account");
  size_t done = 0;
  assert_int_equal(
      ae_script_evolve(app_module(&a, "account"), state, AE_STR("bank"),
                       AE_STR("a-1"), events, 3, &done, &a.err),
      AE_OK);
  assert_int_equal(done, 3);
  assert_string_equal(app_state(&a, "account", state),
                      "{\"balance\":7,\"open\":false}");
  ae_buf_clear(&seven);
  app_close(&a);
}

static void rejects(void **unused) {
  (void)unused;
  app a = {0};
  app_open_account(&a, account);
  ae_state state = app_initial(&a, "account");
  assert_int_equal(
      app_decide(&a, "account", state, "withdraw", "{\"amount\":7}"), AE_OK);
  assert_true(a.decide.rejected);
  assert_string_equal(app_reason(&a), "insufficient_funds");
  ae_buf details = {0};
  ae_json_write(ae_buf_view(&a.decide.details), &details);
  assert_string_equal(ae_buf_cstr(&details), "{\"balance\":0}");
  ae_buf_clear(&details);
  assert_int_equal(app_decide(&a, "account", state, "close", "{}"), AE_OK);
  assert_true(a.decide.rejected);
  assert_string_equal(app_reason(&a), "not_empty");
  assert_int_equal(a.decide.details.len, 0);
  assert_int_equal(a.decide.event_count, 0);
  app_close(&a);
}

static void refuses_commands_that_do_not_fit(void **unused) {
  (void)unused;
  app a = {0};
  app_open_account(&a, account);
  ae_state state = app_initial(&a, "account");
  assert_int_equal(
      app_decide(&a, "account", state, "deposit", "{\"amount\":0}"),
      AE_INVALID_COMMAND);
  assert_string_equal(app_fact(&a, "path"), "\"amount\"");
  assert_string_equal(app_fact(&a, "expected"), "\"an integer, at least 1\"");
  assert_string_equal(app_fact(&a, "got"), "\"0\"");
  assert_contains(ae_error_text(&a.err), "deposit: amount must be");
  assert_int_equal(app_decide(&a, "account", state, "deposit", "[1]"),
                   AE_INVALID_COMMAND);
  assert_int_equal(app_decide(&a, "account", state, "close", "7"),
                   AE_INVALID_COMMAND);
  assert_int_equal(app_decide(&a, "account", state, "close", "null"),
                   AE_INVALID_COMMAND);
  assert_int_equal(app_decide(&a, "account", state, "depsit", "{}"),
                   AE_UNKNOWN_COMMAND);
  assert_string_equal(app_fact(&a, "name"), "\"depsit\"");
  assert_string_equal(app_fact(&a, "nearest"), "\"deposit\"");
  assert_string_equal(app_state(&a, "account", state),
                      "{\"balance\":0,\"open\":false}");
  ae_buf schema = {0}, json = {0};
  ae_module *module = app_module(&a, "account");
  assert_true(ae_module_command_schema(module, AE_STR("deposit"), &schema));
  ae_json_write(ae_buf_view(&schema), &json);
  assert_contains(ae_buf_cstr(&json), "\"minimum\":1");
  assert_false(ae_module_command_schema(module, AE_STR("close"), &schema));
  ae_buf_clear(&schema);
  ae_buf_clear(&json);
  app_close(&a);
}

/* A state that was lived through and one that is replayed are the same. */
static void replays_to_the_same_bytes(void **unused) {
  (void)unused;
  app a = {0};
  app_open_account(&a, account);
  ae_module *module = app_module(&a, "account");
  ae_state live = app_initial(&a, "account");
  a.decide.first_id.bytes[15] = 9;
  a.decide.version = 4;
  ae_buf metadata = {0}, own = {0};
  pack_json("{\"user\":\"u\",\"by\":\"command\"}", &metadata);
  pack_json("{\"by\":\"x\"}", &own);
  a.decide.metadata = ae_buf_view(&metadata);
  assert_int_equal(app_decide(&a, "account", live, "deposit", "{\"amount\":7}"),
                   AE_OK);
  a.decide.version = 5;
  assert_int_equal(
      app_decide(&a, "account", live, "withdraw", "{\"amount\":2}"), AE_OK);
  char wanted[1024];
  snprintf(wanted, sizeof wanted, "%s", app_state(&a, "account", live));
  assert_string_equal(
      wanted,
      "{\"balance\":5,\"last\":{\"actor_id\":\"a-1\",\"actor_type\":"
      "\"account\","
      "\"data\":{\"amount\":2},\"id\":\"00000000-0000-0000-0000-000000000009\","
      "\"metadata\":{\"by\":\"x\",\"user\":\"u\"},\"namespace\":\"bank\","
      "\"revision\":1,\"timestamp\":1700000000000000,\"type\":\"Withdrawn\","
      "\"version\":6},\"open\":false}");

  ae_buf seven = {0}, two = {0};
  pack_json("{\"amount\":7}", &seven);
  pack_json("{\"amount\":2}", &two);
  ae_script_event events[2] = {{.type = AE_STR("Deposited"),
                                .revision = 1,
                                .version = 5,
                                .data = ae_buf_view(&seven)},
                               {.type = AE_STR("Withdrawn"),
                                .revision = 1,
                                .version = 6,
                                .time = 1700000000000000,
                                .data = ae_buf_view(&two),
                                .metadata = ae_buf_view(&own),
                                .command_metadata = ae_buf_view(&metadata)}};
  events[1].id.bytes[15] = 9;
  ae_state replayed = app_initial(&a, "account");
  size_t done = 0;
  assert_int_equal(ae_script_evolve(module, replayed, AE_STR("bank"),
                                    AE_STR("a-1"), events, 2, &done, &a.err),
                   AE_OK);
  assert_int_equal(done, 2);
  assert_string_equal(app_state(&a, "account", replayed), wanted);

  /* By way of a snapshot. */
  ae_buf bytes = {0}, again = {0};
  assert_int_equal(ae_script_dump(module, replayed, &bytes, &a.err), AE_OK);
  ae_state loaded;
  assert_int_equal(ae_script_load(module, ae_buf_view(&bytes), &loaded, &a.err),
                   AE_OK);
  assert_int_equal(ae_script_dump(module, loaded, &again, &a.err), AE_OK);
  assert_true(ae_str_eq(ae_buf_view(&bytes), ae_buf_view(&again)));
  ae_buf_clear(&bytes);
  ae_buf_clear(&again);
  ae_buf_clear(&seven);
  ae_buf_clear(&two);
  ae_buf_clear(&metadata);
  ae_buf_clear(&own);
  app_close(&a);
}

/* -- contracts -- */

static const char wrong[] = /* line numbers count */
    "local event = require('aether.event')\n"
    "local wrong = { initial = { n = 0 }, decide = {}, evolve = {} }\n"
    "local decide, evolve = wrong.decide, wrong.evolve\n"
    "function decide.nothing() end\n"
    "function decide.bare_nil() return nil end\n"
    "function decide.number() return 7 end\n"
    "function decide.yes() return true end\n"
    "function decide.plain() return { type = 'Done', data = {} } end\n"
    "function decide.mixed() return { event('Done'), 7 } end\n"
    "function decide.hole() return { event('Done'), nil, event('Done') } end\n"
    "function decide.several() return event('Done'), event('Done') end\n"
    "function decide.unknown() return event('Dont') end\n"
    "function decide.empty_reason() return nil, '' end\n"
    "function decide.table_reason() return nil, {} end\n"
    "function decide.bad_details() return nil, 'no', { f = print } end\n"
    "function decide.list_data() return event('Done', { list = { print } }) "
    "end\n"
    "function decide.old() return event('Done', {}, { revision = 2 }) end\n"
    "function decide.fails() local t = nil; return t.x end\n"
    "function decide.raises() error({ code = 1 }) end\n"
    "function decide.plain_text() error('just so', 0) end\n"
    "function decide.bad_event() return event('done') end\n"
    "function decide.returns() return event('Returned') end\n"
    "function decide.breaks() return { event('Done'), event('Broke') } end\n"
    "function decide.fine() return event('Done') end\n"
    "function evolve.Done(state) state.n = state.n + 1 end\n"
    "function evolve.Returned(state) return state end\n"
    "function evolve.Broke(state) state.n = nil + 1 end\n"
    "return wrong\n";

static void broken_contracts_are_told(void **unused) {
  (void)unused;
  static const struct {
    const char *command;
    ae_status status;
    const char *line; /* JSON */
    const char *message;
  } cases[] = {
      {"nothing", AE_CONTRACT_ERROR, "4", "decide.nothing returned nothing"},
      {"bare_nil", AE_CONTRACT_ERROR, "5", "returned nil alone"},
      {"number", AE_CONTRACT_ERROR, "6", "it returned a number"},
      {"yes", AE_CONTRACT_ERROR, "7", "it returned a boolean"},
      {"plain", AE_CONTRACT_ERROR, "8", "a table that is no event"},
      {"mixed", AE_CONTRACT_ERROR, "9", "something that is no event"},
      {"hole", AE_CONTRACT_ERROR, "10", "a list with a hole"},
      {"several", AE_CONTRACT_ERROR, "11", "several events side by side"},
      {"unknown", AE_CONTRACT_ERROR, "12",
       "made the event Dont, but nothing evolves it: write evolve.Dont"},
      {"empty_reason", AE_CONTRACT_ERROR, "13", "without a reason"},
      {"table_reason", AE_CONTRACT_ERROR, "14", "got a table"},
      {"bad_details", AE_VALUE_ERROR, "15", "details.f is a function"},
      {"list_data", AE_VALUE_ERROR, "16",
       "event Done: data.list[1] is a function"},
      {"old", AE_CONTRACT_ERROR, "17", "of revision 2"},
      {"fails", AE_SCRIPT_ERROR, "18",
       "bank/account.lua:18: attempt to index local 't'"},
      {"raises", AE_SCRIPT_ERROR, "19", "the error is a table"},
      {"plain_text", AE_SCRIPT_ERROR, "20",
       "bank/account.lua:20: just so (in decide.plain_text)"},
      {"bad_event", AE_SCRIPT_ERROR, "21", "is not CamelCase"},
      {"returns", AE_CONTRACT_ERROR, "26", "evolve.Returned returned a table"},
      {"breaks", AE_SCRIPT_ERROR, "27", "(in evolve.Broke)"},
  };
  app a = {0};
  app_open_account(&a, wrong);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ae_state state = app_initial(&a, "account");
    ae_buf_reset(&a.events);
    ae_status status = app_decide(&a, "account", state, cases[i].command, "{}");
    if (status != cases[i].status) {
      fail_msg("%s: %s %s", cases[i].command, ae_status_word(status),
               ae_error_text(&a.err));
    }
    assert_contains(ae_error_text(&a.err), cases[i].message);
    assert_contains(ae_error_text(&a.err), "bank/account.lua:");
    assert_contains(ae_error_text(&a.err), "; actor bank/account/a-1");
    assert_string_equal(app_fact(&a, "line"), cases[i].line);
    assert_string_equal(app_fact(&a, "module"), "\"account\"");
    assert_int_equal(a.events.len, 0);
    assert_int_equal(a.decide.event_count, 0);
    assert_false(a.decide.rejected);
    ae_script_drop(app_module(&a, "account"), state);
  }
  ae_state state = app_initial(&a, "account");
  assert_int_equal(app_decide(&a, "account", state, "fails", "{}"),
                   AE_SCRIPT_ERROR);
  assert_contains(app_fact(&a, "traceback"), "bank/account.lua:18");
  assert_int_equal(app_decide(&a, "account", state, "fine", "{}"), AE_OK);
  app_close(&a);
}

static void what_is_raised_is_shown(void **unused) {
  (void)unused;
  static const struct {
    const char *raises, *shown;
  } cases[] = {
      {"error()", "bank/account.lua:2: raised without a text: error("},
      {"error(nil)", "bank/account.lua:2: raised without a text: error("},
      {"error({})", "bank/account.lua:2: the error is a table: raise a text"},
      {"error('a\\0b\\0')", "bank/account.lua:2: a\\0b\\0 (in decide.raise)"},
      {"error(('a\\0'):rep(2000), 0)", "a\\0a\\0… (4000 bytes in all)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    app a = {0};
    ae_buf text = {0};
    ae_buf_printf(&text,
                  "return { initial = {}, evolve = {}, decide = {\n"
                  "  raise = function() %s return {} end } }\n",
                  cases[i].raises);
    app_open_account(&a, ae_buf_cstr(&text));
    assert_int_equal(
        app_decide(&a, "account", app_initial(&a, "account"), "raise", "{}"),
        AE_SCRIPT_ERROR);
    assert_contains(ae_error_text(&a.err), cases[i].shown);
    ae_buf_clear(&text);
    app_close(&a);
  }
}

static void strict_catches_a_decide_that_changes_its_state(void **unused) {
  (void)unused;
  static const char cheat[] =
      "local event = require('aether.event')\n"
      "return { initial = { n = 0, list = {} }, decide = {\n"
      "  cheat = function(state)\n"
      "    state.list[1] = 1\n"
      "    return event('Done')\n"
      "  end,\n"
      "  refuse = function(state) state.m = 1; return nil, 'no' end,\n"
      "  fair = function() return event('Done') end,\n"
      "}, evolve = { Done = function(state) state.n = state.n + 1 end } }\n";
  app a = {.strict = true};
  app_open_account(&a, cheat);
  ae_state state = app_initial(&a, "account");
  assert_int_equal(app_decide(&a, "account", state, "fair", "{}"), AE_OK);
  assert_int_equal(app_decide(&a, "account", state, "cheat", "{}"),
                   AE_CONTRACT_ERROR);
  assert_contains(ae_error_text(&a.err),
                  "account.lua:3: decide.cheat changed the state (list)");
  state = app_initial(&a, "account");
  assert_int_equal(app_decide(&a, "account", state, "refuse", "{}"),
                   AE_CONTRACT_ERROR);
  assert_contains(ae_error_text(&a.err), "changed the state (m)");
  app_close(&a);
}

/* What evolve must not leave in a state: strict, it is found at once, and
 * named; else where the state is looked at. */
static void states_are_what_can_be_stored(void **unused) {
  (void)unused;
  static const char careless[] =
      "local event = require('aether.event')\n"
      "local careless = { initial = { n = 0, more = {} } }\n"
      "local decide, evolve = {}, {}\n"
      "careless.decide, careless.evolve = decide, evolve\n"
      "for _, name in ipairs({ 'Fine', 'Call', 'Thread', 'Cycle', 'Nan',\n"
      "  'Marked', 'Key' }) do\n"
      "  decide[name:lower()] = function()\n"
      "    return { event('Fine'), event(name) }\n"
      "  end\n"
      "end\n"
      "function decide.cheat(state) state.more.f = print; return {} end\n"
      "function evolve.Fine(state) state.n = state.n + 1 end\n"
      "function evolve.Call(state) state.more.f = print end\n"
      "function evolve.Thread(s) s.t = coroutine.create(print) end\n"
      "function evolve.Cycle(state) state.more.up = state end\n"
      "function evolve.Nan(state) state.n = 0 / 0 end\n"
      "function evolve.Marked(state) state.more = setmetatable({}, {}) end\n"
      "function evolve.Key(state) state[print] = 1 end\n"
      "return careless\n";
  static const struct {
    const char *command, *line, *problem;
  } cases[] = {
      {"call", "13",
       "state.more.f is a function, which cannot be stored "
       "(in evolve.Call): evolve may leave only what can be "
       "stored in the state"},
      {"thread", "14", "state.t is a thread, which cannot be stored"},
      {"cycle", "15", "state.more.up holds itself (a cycle) (in evolve.Cycle)"},
      {"nan", "16", "state.n is not a number (NaN) (in evolve.Nan)"},
      {"marked", "17", "state.more is a table with a metatable"},
      {"key", "18", "state has a key that is a function"},
  };
  app strict = {.strict = true}, quick = {0};
  app_open_account(&strict, careless);
  app_open_account(&quick, careless);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ae_state state = app_initial(&strict, "account");
    assert_int_equal(
        app_decide(&strict, "account", state, cases[i].command, "{}"),
        AE_VALUE_ERROR);
    assert_contains(ae_error_text(&strict.err), cases[i].problem);
    assert_string_equal(app_fact(&strict, "line"), cases[i].line);
    assert_int_equal(strict.decide.event_count, 0);

    ae_module *module = app_module(&quick, "account");
    state = app_initial(&quick, "account");
    assert_int_equal(
        app_decide(&quick, "account", state, cases[i].command, "{}"), AE_OK);
    ae_buf bytes = {0};
    assert_int_equal(ae_script_dump(module, state, &bytes, &quick.err),
                     AE_VALUE_ERROR);
    assert_int_equal(bytes.len, 0);
    ae_buf_clear(&bytes);
    ae_str problem = ae_str_of(cases[i].problem);
    const char *in = strstr(problem.ptr, " (in ");
    ae_buf shown = {0};
    ae_buf_printf(&shown, "bank/account.lua: %.*s",
                  (int)(in ? (size_t)(in - problem.ptr) : problem.len),
                  problem.ptr);
    assert_contains(ae_error_text(&quick.err), ae_buf_cstr(&shown));
    assert_contains(ae_error_text(&quick.err), ": evolve may leave only what");
    ae_buf_clear(&shown);
  }
  ae_state state = app_initial(&strict, "account");
  assert_int_equal(app_decide(&strict, "account", state, "fine", "{}"), AE_OK);
  assert_int_equal(app_decide(&strict, "account", state, "cheat", "{}"),
                   AE_CONTRACT_ERROR);
  assert_contains(ae_error_text(&strict.err),
                  "account.lua:11: decide.cheat changed the state: "
                  "state.more.f is a function");
  app_close(&quick);
  app_close(&strict);
}

/* -- ctx -- */

static void ctx_is_repeatable(void **unused) {
  (void)unused;
  static const char text[] =
      "local event = require('aether.event')\n"
      "local kept\n"
      "local m = { initial = {}, decide = {}, evolve = {} }\n"
      "function m.decide.draw(_, _, ctx)\n"
      "  for _ = 1, 200 do\n"
      "    local r, d, s = ctx.random(), ctx.random(6), ctx.random(-2, 2)\n"
      "    assert(r >= 0 and r < 1 and d >= 1 and d <= 6 and d % 1 == 0)\n"
      "    assert(s >= -2 and s <= 2 and s % 1 == 0)\n"
      "  end\n"
      "  return event('Drawn', { uuid = ctx.uuid(), other = ctx.uuid(),\n"
      "    random = ctx.random(), now = ctx.now, actor = ctx.actor,\n"
      "    version = ctx.version, metadata = ctx.metadata,\n"
      "    user = ctx.metadata.user })\n"
      "end\n"
      "function m.decide.keep(_, _, ctx) kept = ctx return {} end\n"
      "function m.decide.leak() return event('Leaked') end\n"
      "function m.decide.write(_, _, ctx) ctx.now = 1 end\n"
      "function m.decide.change(_, _, ctx) ctx.metadata.user = 1 end\n"
      "function m.decide.typo(_, _, ctx) return ctx.time end\n"
      "function m.decide.colon(_, _, ctx) return ctx:random() end\n"
      "function m.decide.empty(_, _, ctx) return ctx.random(0) end\n"
      "function m.evolve.Drawn(state, d) state.d = d end\n"
      "function m.evolve.Leaked() return kept.now end\n"
      "return m\n";
  char first[2048] = "";
  ae_buf metadata = {0};
  pack_json("{\"user\":\"u\"}", &metadata);
  for (int i = 0; i < 3; i++) {
    app a = {0};
    app_open_account(&a, text);
    a.decide.seed = i < 2 ? 42 : 43;
    a.decide.version = 8;
    a.decide.metadata = ae_buf_view(&metadata);
    ae_state state = app_initial(&a, "account");
    if (app_decide(&a, "account", state, "draw", "{}") != AE_OK) {
      fail_msg("%s", ae_error_text(&a.err));
    }
    const char *events = app_events(&a);
    if (i == 0) snprintf(first, sizeof first, "%s", events);
    assert_int_equal(strcmp(first, events) == 0, i < 2);
    assert_contains(events, "\"now\":1700000000000000");
    assert_contains(events, "\"actor\":\"bank/account/a-1\"");
    assert_contains(events, "\"version\":8");
    assert_contains(events, "\"metadata\":{\"user\":\"u\"}");
    static const struct {
      const char *command, *message;
    } cases[] = {
        {"leak", "evolve has none"}, {"write", "ctx is read-only"},
        {"change", "read-only"},     {"typo", "ctx has no field \"time\""},
        {"colon", "with a dot"},     {"empty", "no integer between"}};
    assert_int_equal(app_decide(&a, "account", state, "keep", "{}"), AE_OK);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
      assert_int_equal(app_decide(&a, "account", state, cases[c].command, "{}"),
                       AE_SCRIPT_ERROR);
      assert_contains(ae_error_text(&a.err), cases[c].message);
    }
    app_close(&a);
  }
  ae_buf_clear(&metadata);
}

/* -- upcasting -- */

static ae_status evolve_one(app *a, ae_state state, const char *type,
                            uint64_t revision, const char *json) {
  ae_buf data = {0};
  pack_json(json, &data);
  ae_script_event event = {.type = ae_str_of(type),
                           .revision = revision,
                           .version = 1,
                           .data = ae_buf_view(&data)};
  size_t done;
  ae_error_clear(&a->err);
  ae_status status =
      ae_script_evolve(app_module(a, "account"), state, AE_STR("bank"),
                       AE_STR("a"), &event, 1, &done, &a->err);
  assert_int_equal(done, status == AE_OK);
  ae_buf_clear(&data);
  return status;
}

static void old_events_are_brought_up(void **unused) {
  (void)unused;
  static const char text[] =
      "local event = require('aether.event')\n"
      "local m = { initial = { n = 0 }, decide = {}, evolve = {},\n"
      "  revision = { Paid = 3 }, upcast = {\n"
      "    Paid = { [1] = function(d) return { cents = d.euros * 100 } end,\n"
      "      [2] = function(d) d.currency = 'EUR' return d end },\n"
      "    Bought = { [1] = function(d) return { euros = d.price }, 'Paid' "
      "end },\n"
      "    Round = { [1] = function(d) return d, 'About' end },\n"
      "    About = { [1] = function(d) return d, 'Round' end },\n"
      "    Odd = { [1] = function() return 7 end },\n"
      "  } }\n"
      "function m.decide.pay() return event('Paid', { cents = 1 }) end\n"
      "function m.evolve.Paid(state, d, e)\n"
      "  state.n, state.currency = state.n + d.cents, d.currency\n"
      "  state.type, state.revision = e.type, e.revision\n"
      "end\n"
      "return m\n";
  app a = {0};
  app_open_account(&a, text);
  ae_state state = app_initial(&a, "account");
  assert_int_equal(evolve_one(&a, state, "Bought", 1, "{\"price\":2}"), AE_OK);
  assert_int_equal(evolve_one(&a, state, "Paid", 1, "{\"euros\":1}"), AE_OK);
  assert_int_equal(evolve_one(&a, state, "Paid", 2, "{\"cents\":5}"), AE_OK);
  assert_string_equal(app_state(&a, "account", state),
                      "{\"currency\":\"EUR\",\"n\":305,\"revision\":3,"
                      "\"type\":\"Paid\"}");
  assert_int_equal(app_decide(&a, "account", state, "pay", "{}"), AE_OK);
  assert_string_equal(app_events(&a), "[[\"Paid\",3,{\"cents\":1},null]]");
  static const struct {
    const char *type;
    uint64_t revision;
    const char *message;
  } cases[] = {{"Paid", 4, "stored by newer code"},
               {"Round", 1, "goes round"},
               {"Odd", 1, "must return the data"},
               {"Unheard", 1, "a stored event Unheard, but nothing evolves"},
               {"Piad", 1, "the nearest is Paid"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_not_equal(
        evolve_one(&a, state, cases[i].type, cases[i].revision, "{}"), AE_OK);
    assert_contains(ae_error_text(&a.err), cases[i].message);
  }
  app_close(&a);
}

/* -- many states, and none left -- */

static void states_are_given_back(void **unused) {
  (void)unused;
  enum { COUNT = 10000 };
  static ae_state states[COUNT];
  app a = {0};
  app_open_account(&a, account);
  ae_module *module = app_module(&a, "account");
  /* The first round leaves the registry at its size. */
  size_t least = 0;
  for (int round = 0; round < 4; round++) {
    ae_script_collect(a.script);
    size_t before = ae_script_memory(a.script);
    if (round == 1) least = before;
    if (round > 1) assert_true(before <= least + 4096);
    for (int i = 0; i < COUNT; i++) {
      assert_int_equal(ae_script_initial(module, &states[i], &a.err), AE_OK);
    }
    ae_script_collect(a.script);
    size_t each = (ae_script_memory(a.script) - before) / COUNT;
    assert_true(each < 1024);
    ae_buf data = {0};
    pack_json("{\"amount\":5}", &data);
    uint64_t bytes = 0;
    assert_int_equal(
        ae_script_limit(module, states, COUNT, AE_STR("deposit"),
                        ae_buf_view(&data), 2 * COUNT, &bytes, &a.err),
        AE_OK);
    assert_int_equal(bytes, 2 * COUNT * 22);
    ae_buf_clear(&data);
    assert_string_equal(app_state(&a, "account", states[COUNT - 1]),
                        "{\"balance\":10,\"open\":false}");
    for (int i = 0; i < COUNT; i++) ae_script_drop(module, states[i]);
  }
  ae_script_drop(module, 0);
  app_close(&a);
}

/* -- policies -- */

static void policies_answer(void **unused) {
  (void)unused;
  static const char patient[] =
      "local patient = {}\n"
      "function patient.retry(conflict, ctx)\n"
      "  local c = conflict\n"
      "  if c.attempt > 5 then return nil, 'too_many_conflicts' end\n"
      "  if c.attempt == 3 then return 0 / 0 end\n"
      "  if c.attempt == 4 then return nil end\n"
      "  assert(c.namespace == 'bank' and c.actor_type == 'account')\n"
      "  assert(c.actor_id == 'a' and c.attempted_version == 4)\n"
      "  assert(c.current_version == 6 and c.expected_by_caller == true)\n"
      "  assert(c.command.name == 'deposit' and c.command.data.amount == 5)\n"
      "  assert(#c.events == 1 and c.events[1].type == 'Deposited')\n"
      "  assert(c.events[1].data.amount == 9 and c.events[1].version == 5)\n"
      "  assert(not pcall(function() return ctx.now end))\n"
      "  return 10 * 2 ^ c.attempt + ctx.random(0, 10)\n"
      "end\n"
      "return patient\n";
  app a = {0};
  app_open(&a, "account.lua", account, "patient.lua", patient, NULL);
  ae_buf data = {0}, nine = {0};
  pack_json("{\"amount\":5}", &data);
  pack_json("{\"amount\":9}", &nine);
  /* The host's own are not shown. */
  ae_script_event events[2] = {{.type = AE_STR("$Skipped"),
                                .revision = 1,
                                .version = 4,
                                .data = ae_buf_view(&nine)},
                               {.type = AE_STR("Deposited"),
                                .revision = 1,
                                .version = 5,
                                .data = ae_buf_view(&nine)}};
  ae_retry retry = {.ns = AE_STR("bank"),
                    .type = AE_STR("account"),
                    .id = AE_STR("a"),
                    .attempted_version = 4,
                    .current_version = 6,
                    .attempt = 1,
                    .command = AE_STR("deposit"),
                    .data = ae_buf_view(&data),
                    .expected_by_caller = true,
                    .seed = 5,
                    .aggregate = app_module(&a, "account"),
                    .events = events,
                    .event_count = 2};
  if (ae_script_retry(a.script, AE_STR("patient"), &retry, &a.err) != AE_OK) {
    fail_msg("%s", ae_error_text(&a.err));
  }
  assert_true(retry.again);
  assert_true(retry.delay_ms >= 20 && retry.delay_ms <= 30);
  retry.attempt = 6;
  assert_int_equal(ae_script_retry(a.script, AE_STR("patient"), &retry, &a.err),
                   AE_OK);
  assert_false(retry.again);
  assert_string_equal(ae_buf_cstr(&retry.reason), "too_many_conflicts");
  for (retry.attempt = 3; retry.attempt < 5; retry.attempt++) {
    assert_int_equal(
        ae_script_retry(a.script, AE_STR("patient"), &retry, &a.err),
        AE_CONTRACT_ERROR);
    assert_contains(ae_error_text(&a.err), "bank/patient.lua:2: the policy");
    assert_false(retry.again);
  }
  retry.expected_by_caller = false;
  retry.attempt = 1;
  assert_int_equal(ae_script_retry(a.script, AE_STR(""), &retry, &a.err),
                   AE_OK);
  assert_true(retry.again && retry.delay_ms > 0);
  assert_int_equal(
      ae_script_retry(a.script, AE_STR("immediately"), &retry, &a.err), AE_OK);
  assert_true(retry.again && retry.delay_ms == 0);
  assert_int_equal(ae_script_retry(a.script, AE_STR("never"), &retry, &a.err),
                   AE_OK);
  assert_false(retry.again);
  assert_true(retry.reason.len > 0);
  assert_int_equal(ae_script_policy(a.script, AE_STR("patient"), &a.err),
                   AE_OK);
  assert_int_equal(ae_script_policy(a.script, AE_STR("backof"), &a.err),
                   AE_CONTRACT_ERROR);
  assert_string_equal(app_fact(&a, "nearest"), "\"backoff\"");
  assert_int_equal(ae_script_policy(a.script, AE_STR("account"), &a.err),
                   AE_CONTRACT_ERROR);
  assert_contains(ae_error_text(&a.err), "which is no policy");
  ae_buf_clear(&retry.reason);
  ae_buf_clear(&data);
  ae_buf_clear(&nine);
  app_close(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(decides_and_evolves),
      cmocka_unit_test(the_hosts_events_mean_nothing),
      cmocka_unit_test(rejects),
      cmocka_unit_test(refuses_commands_that_do_not_fit),
      cmocka_unit_test(replays_to_the_same_bytes),
      cmocka_unit_test(broken_contracts_are_told),
      cmocka_unit_test(what_is_raised_is_shown),
      cmocka_unit_test(strict_catches_a_decide_that_changes_its_state),
      cmocka_unit_test(states_are_what_can_be_stored),
      cmocka_unit_test(ctx_is_repeatable),
      cmocka_unit_test(old_events_are_brought_up),
      cmocka_unit_test(states_are_given_back),
      cmocka_unit_test(policies_answer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
