#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "script/app.h"

/* An aggregate that hands its data through an event into its state. */
static const char keeper[] =
    "local event = require('aether.event')\n"
    "local value = require('aether.value')\n"
    "local function many()\n"
    "  local t = {}\n"
    "  for i = 1, 40 do t['k' .. i] = i end\n"
    "  return t\n"
    "end\n"
    "local keeper = { initial = {}, decide = {}, evolve = {} }\n"
    "function keeper.decide.keep(_, data)\n"
    "  return event('Kept', { it = data.it })\n"
    "end\n"
    "function keeper.evolve.Kept(state, data) state.it = data.it end\n"
    "function keeper.decide.spread()\n"
    "  local t = many(); t.it = { many() }\n"
    "  return event('Spread', t)\n"
    "end\n"
    "function keeper.evolve.Spread(state, data)\n"
    "  for k, v in pairs(data) do state[k] = v end\n"
    "end\n"
    "function keeper.decide.make(_, data)\n"
    "  local made = {\n"
    "    nan = function() return 0 / 0 end,\n"
    "    inf = function() return -1 / 0 end,\n"
    "    cycle = function() local t = {}; t.a = { t }; return t end,\n"
    "    func = function() return { items = { 1, 2, { price = print } } } "
    "end,\n"
    "    thread = function() return coroutine.create(print) end,\n"
    "    float_key = function() return { [1.5] = 1 } end,\n"
    "    bool_key = function() return { [true] = 1 } end,\n"
    "    table_key = function() return { [{}] = 1 } end,\n"
    "    wide_key = function() return { [2 ^ 53 * 4] = 1 } end,\n"
    "    cdata_key = function() return { [1LL] = 1 } end,\n"
    "    bad_key = function() return { ['\\255'] = 1 } end,\n"
    "    odd_key = function() return { ['a b'] = { ['x\"'] = print } } end,\n"
    "    complex = function() return 2i end,\n"
    "    object = function() return setmetatable({}, { __index = {} }) end,\n"
    "    wide_func = function() local t = many(); t.k20 = print return t end,\n"
    "    wide_cycle = function() local t = many(); t.me = t return t end,\n"
    "    wide_bool = function() local t = many(); t[true] = 1 return t end,\n"
    "    hole = function() return value.array { 1, nil, 3 } end,\n"
    "    deep = function() local t = {}; for _ = 1, 70 do t = { t } end\n"
    "      return t end,\n"
    "    bomb = function() local t = 'xxxxxxxxxxxxxxxxxxxx'\n"
    "      for _ = 1, 40 do t = { t, t } end return t end,\n"
    "    event = function() return event('Kept') end,\n"
    "    sparse = function() return { 1, 2, [7] = 3 } end,\n"
    "    mixed = function() return { 10, 20, b = 1, a = 2, [-3] = 0 } end,\n"
    "    empty = function() return { value.array {}, {}, value.null } end,\n"
    "    int64 = function() return { 9007199254740993LL,\n"
    "      -9223372036854775807LL - 1, 18446744073709551615ULL, 5LL } end,\n"
    "    halves = function() return { 0.1, -0.0, 1e300, 2 ^ 53, -2 ^ 53,\n"
    "      2 ^ 60 } end,\n"
    "    bytes = function() return '\\0\\255x' end,\n"
    "  }\n"
    "  return event('Kept', { it = made[data.what]() })\n"
    "end\n"
    "function keeper.decide.add(state)\n"
    "  return event('Kept', { it = state.it + 1LL })\n"
    "end\n"
    "function keeper.decide.show(state)\n"
    "  return event('Kept', { it = tostring(state.it) .. type(state.it) })\n"
    "end\n"
    "function keeper.decide.push(state, data)\n"
    "  local it = value.copy(state.it); it[data.key] = 'new'\n"
    "  return event('Kept', { it = it })\n"
    "end\n"
    "return keeper\n";

/* -- every value that JSON can say goes through Lua and comes back -- */

static uint64_t seed;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

static void make_text(ae_buf *out) {
  static const char *const some[] = {"",  "a",      "amount", "ü",
                                     "z", "\n\x01", "a.b",    "0123456789"};
  ae_buf text = {0};
  ae_buf_printf(&text, "%s", some[draw(8)]);
  for (uint32_t n = draw(8) == 0 ? draw(300) : 0; n > 0; n--) {
    ae_buf_byte(&text, (uint8_t)('a' + draw(26)));
  }
  ae_pack_str(out, ae_buf_view(&text));
  ae_buf_clear(&text);
}

static void make_any(ae_buf *out, int depth) {
  uint64_t bits = (uint64_t)draw(UINT32_MAX) << 32 | draw(UINT32_MAX);
  uint32_t count = draw(20) == 0 ? draw(80) : draw(5);
  double number;
  switch (draw(depth > 4 ? 7 : 10)) {
    case 0:
      ae_pack_nil(out);
      break;
    case 1:
      ae_pack_bool(out, draw(2));
      break;
    case 2:
      ae_pack_int(out, (int64_t)(bits >> draw(64)) * (draw(2) ? 1 : -1));
      break;
    case 3:
      ae_pack_uint(out, bits >> draw(64));
      break;
    case 4:
      memcpy(&number, &bits, 8);
      ae_pack_double(out, isfinite(number) ? number : 0.5);
      break;
    case 5:
      make_text(out);
      break;
    case 6:
      ae_pack_bin(out, (ae_str){"\xff\x00\xfe", 1 + draw(3)});
      break;
    case 7:
      ae_pack_array(out, count);
      for (; count > 0; count--) make_any(out, depth + 1);
      break;
    default:
      ae_pack_map(out, count);
      for (; count > 0; count--) {
        ae_buf key = {0};
        ae_buf_printf(&key, "k%u", count * 7919 % 257);
        if (draw(4)) {
          ae_pack_str(out, ae_buf_view(&key));
        } else {
          ae_pack_int(out, -(int64_t)count * 1000);
        }
        ae_buf_clear(&key);
        make_any(out, depth + 1);
      }
  }
}

static ae_status keep(app *a, ae_state *state, ae_str it) {
  ae_buf data = {0};
  ae_pack_map(&data, 1);
  ae_pack_cstr(&data, "it");
  ae_buf_str(&data, it);
  ae_buf_reset(&a->events);
  a->decide.command = AE_STR("keep");
  a->decide.data = ae_buf_view(&data);
  a->decide.ns = AE_STR("bank");
  a->decide.id = AE_STR("x");
  a->decide.events = &a->events;
  ae_module *module = app_module(a, "keeper");
  if (*state == 0) *state = app_initial(a, "keeper");
  ae_status status = ae_script_decide(module, *state, &a->decide, &a->err);
  ae_buf_clear(&data);
  return status;
}

/* The map {"it": …} of the event just made. */
static ae_str kept(app *a) {
  ae_unpack at = ae_unpack_of(ae_buf_view(&a->events));
  uint32_t count;
  ae_str name, data;
  uint64_t revision;
  assert_true(ae_unpack_array(&at, &count) && ae_unpack_str(&at, &name) &&
              ae_unpack_uint(&at, &revision) && ae_unpack_skip(&at, &data));
  return data;
}

static void round_trips(void **unused) {
  (void)unused;
  app a = {0}, b = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  app_open(&b, "keeper.lua", keeper, NULL);
  ae_state sa = 0, sb = 0;
  for (int i = 0; i < 3000; i++) {
    seed = (uint64_t)i;
    ae_buf value = {0}, wanted = {0}, dump = {0};
    make_any(&value, 0);
    ae_pack_map(&wanted, 1);
    ae_pack_cstr(&wanted, "it");
    assert_true(ae_pack_canonical(ae_buf_view(&value), &wanted));
    if (keep(&a, &sa, ae_buf_view(&value)) != AE_OK) {
      fail_msg("%d: %s", i, ae_error_text(&a.err));
    }
    /* A double with an integer value becomes that integer, so: compare with
     * what a second passage makes, byte for byte. */
    ae_str once = kept(&a);
    assert_true(ae_pack_valid(once));
    ae_str field;
    assert_true(ae_unpack_field(once, "it", &field));
    assert_int_equal(keep(&b, &sb, field), AE_OK);
    assert_true(ae_str_eq(once, kept(&b)));
    ae_buf again = {0};
    assert_true(ae_pack_canonical(once, &again));
    assert_true(ae_str_eq(once, ae_buf_view(&again)));
    assert_int_equal(ae_script_dump(app_module(&a, "keeper"), sa, &dump, NULL),
                     AE_OK);
    assert_true(ae_str_eq(ae_buf_view(&dump), once));
    if (value.ptr[0] != (char)0xcb && !memchr(value.ptr, 0xcb, value.len)) {
      assert_true(ae_str_eq(once, ae_buf_view(&wanted)));
    }
    ae_buf_clear(&again);
    ae_buf_clear(&value);
    ae_buf_clear(&wanted);
    ae_buf_clear(&dump);
  }
  app_close(&a);
  app_close(&b);
}

/* -- what Lua makes -- */

static void make_is(app *a, const char *what, const char *json) {
  ae_state state = app_initial(a, "keeper");
  char data[64];
  snprintf(data, sizeof data, "{\"what\":\"%s\"}", what);
  ae_status status = app_decide(a, "keeper", state, "make", data);
  if (status != AE_OK) fail_msg("%s: %s", what, ae_error_text(&a->err));
  char wanted[512];
  snprintf(wanted, sizeof wanted, "[[\"Kept\",1,{\"it\":%s},null]]", json);
  assert_string_equal(app_events(a), wanted);
  ae_script_drop(app_module(a, "keeper"), state);
}

static void writes_what_lua_makes(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  make_is(&a, "sparse", "{\"1\":1,\"2\":2,\"7\":3}");
  make_is(&a, "mixed", "{\"-3\":0,\"1\":10,\"2\":20,\"a\":2,\"b\":1}");
  make_is(&a, "empty", "[[],{},null]");
  make_is(&a, "int64",
          "[9007199254740993,-9223372036854775808,18446744073709551615,5]");
  make_is(&a, "halves",
          "[0.1,0,1e+300,9007199254740992,-9007199254740992,"
          "1.152921504606847e+18]");
  make_is(&a, "bytes", "\"AP94\"");
  app_close(&a);
}

static void make_fails(app *a, const char *what, const char *message) {
  ae_state state = app_initial(a, "keeper");
  char data[64];
  snprintf(data, sizeof data, "{\"what\":\"%s\"}", what);
  ae_status status = app_decide(a, "keeper", state, "make", data);
  if (status != AE_VALUE_ERROR) {
    fail_msg("%s: %s %s", what, ae_status_word(status), ae_error_text(&a->err));
  }
  assert_contains(ae_error_text(&a->err), message);
  assert_contains(ae_error_text(&a->err), "bank/keeper.lua:");
  assert_int_equal(a->decide.event_count, 0);
  assert_int_equal(a->events.len, 0);
  ae_script_drop(app_module(a, "keeper"), state);
}

static void refuses_what_cannot_be_stored(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  make_fails(&a, "nan", "data.it is not a number");
  make_fails(&a, "inf", "data.it is infinite");
  make_fails(&a, "cycle", "data.it.a[1] holds itself");
  make_fails(&a, "func", "data.it.items[3].price is a function");
  make_fails(&a, "thread", "data.it is a thread");
  make_fails(&a, "float_key", "data.it has the key 1.5");
  make_fails(&a, "bool_key", "data.it has a key that is a boolean");
  make_fails(&a, "table_key", "data.it has a key that is a table");
  make_fails(&a, "wide_key", "data.it has the key");
  make_fails(&a, "cdata_key", "data.it has a key that is a cdata");
  make_fails(&a, "bad_key", "data.it has a key that is not UTF-8");
  make_fails(&a, "odd_key", "data.it[\"a b\"][\"x\\034\"] is a function");
  make_fails(&a, "complex", "data.it is cdata that is no 64-bit integer");
  make_fails(&a, "object", "data.it is a table with a metatable");
  make_fails(&a, "event", "data.it is a table with a metatable");
  make_fails(&a, "wide_func", "data.it.k20 is a function");
  make_fails(&a, "wide_cycle", "data.it.me holds itself");
  make_fails(&a, "wide_bool", "data.it has a key that is a boolean");
  make_fails(&a, "hole", "data.it is an array with a hole");
  make_fails(&a, "deep", "is nested deeper than 64");
  make_fails(&a, "bomb", "takes more than");
  app_close(&a);
}

/* More keys than are sorted on the stack, at the top and below it. */
static void maps_of_many_keys(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  ae_state state = app_initial(&a, "keeper");
  for (int i = 0; i < 3; i++) {
    assert_int_equal(app_decide(&a, "keeper", state, "spread", "{}"), AE_OK);
    assert_contains(app_state(&a, "keeper", state),
                    "{\"it\":[{\"k1\":1,\"k10\":10,");
    assert_contains(app_state(&a, "keeper", state), "}],\"k1\":1,\"k10\":10,");
  }
  assert_int_equal(app_decide(&a, "keeper", state, "keep", "{\"it\":5}"),
                   AE_OK);
  app_close(&a);
}

/* -- 64-bit integers and arrays in Lua -- */

static void wide_integers_stay_exact(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  ae_state state = app_initial(&a, "keeper");
  assert_int_equal(
      app_decide(&a, "keeper", state, "keep", "{\"it\":9007199254740993}"), 0);
  assert_int_equal(app_decide(&a, "keeper", state, "show", "{}"), AE_OK);
  assert_contains(app_events(&a), "9007199254740993LLcdata");
  assert_int_equal(
      app_decide(&a, "keeper", state, "keep", "{\"it\":18446744073709551615}"),
      AE_OK);
  assert_int_equal(app_decide(&a, "keeper", state, "show", "{}"), AE_OK);
  assert_contains(app_events(&a), "18446744073709551615ULLcdata");
  assert_int_equal(
      app_decide(&a, "keeper", state, "keep", "{\"it\":-9007199254740993}"),
      AE_OK);
  assert_int_equal(app_decide(&a, "keeper", state, "add", "{}"), AE_OK);
  assert_string_equal(app_state(&a, "keeper", state),
                      "{\"it\":-9007199254740992}");
  assert_int_equal(
      app_decide(&a, "keeper", state, "keep", "{\"it\":9007199254740992}"), 0);
  assert_int_equal(app_decide(&a, "keeper", state, "show", "{}"), AE_OK);
  assert_contains(app_events(&a), "number");
  app_close(&a);
}

static void arrays_stay_arrays(void **unused) {
  (void)unused;
  app a = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  ae_state state = app_initial(&a, "keeper");
  const char *push = "push";
  assert_int_equal(app_decide(&a, "keeper", state, "keep", "{\"it\":[]}"), 0);
  assert_string_equal(app_state(&a, "keeper", state), "{\"it\":[]}");
  assert_int_equal(app_decide(&a, "keeper", state, push, "{\"key\":1}"), 0);
  assert_string_equal(app_state(&a, "keeper", state), "{\"it\":[\"new\"]}");
  assert_int_equal(app_decide(&a, "keeper", state, push, "{\"key\":3}"),
                   AE_VALUE_ERROR);
  assert_int_equal(app_decide(&a, "keeper", state, push, "{\"key\":\"s\"}"), 0);
  assert_string_equal(app_state(&a, "keeper", state),
                      "{\"it\":{\"1\":\"new\",\"s\":\"new\"}}");
  app_close(&a);
}

/* -- damaged bytes -- */

static void damage_is_an_error(void **unused) {
  (void)unused;
  static const struct {
    const char *bytes;
    size_t len;
  } bad[] = {
      {"", 0},
      {"\xc1", 1},
      {"\xc0", 1},
      {"\xa1x", 2},
      {"\x07", 1},
      {"\x81\xa1x", 3},
      {"\x80\x80", 2},
      {"\xdf\xff\xff\xff\xff", 5},
      {"\x81\xc0\x01", 3},
      {"\x81\xcb\x7f\xf8\0\0\0\0\0\0\x01", 11},
      {"\x81\xa1x\xcb\x7f\xf8\0\0\0\0\0\0", 12},
      {"\x81\xcf\x00\x20\0\0\0\0\0\x01\x01", 11},
  };
  app a = {0};
  app_open(&a, "keeper.lua", keeper, NULL);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ae_state state = 0;
    ae_status status =
        ae_script_load(app_module(&a, "keeper"),
                       (ae_str){bad[i].bytes, bad[i].len}, &state, &a.err);
    assert_int_equal(status, AE_VALUE_ERROR);
    assert_int_equal(state, 0);
    assert_contains(ae_error_text(&a.err), "state");
  }
  ae_buf deep = {0};
  for (int i = 0; i < 100; i++) ae_pack_array(&deep, 1);
  ae_pack_nil(&deep);
  ae_state state;
  assert_int_equal(ae_script_load(app_module(&a, "keeper"), ae_buf_view(&deep),
                                  &state, &a.err),
                   AE_VALUE_ERROR);
  ae_buf_clear(&deep);
  app_close(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trips),
      cmocka_unit_test(writes_what_lua_makes),
      cmocka_unit_test(refuses_what_cannot_be_stored),
      cmocka_unit_test(maps_of_many_keys),
      cmocka_unit_test(wide_integers_stay_exact),
      cmocka_unit_test(arrays_stay_arrays),
      cmocka_unit_test(damage_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
