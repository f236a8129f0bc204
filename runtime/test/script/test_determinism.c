/* One history gives one state, byte for byte: in two states of this process,
 * whatever was done in them before, and in a state that was loaded half-way.
 * The histories are random, with seeds that are printed where one differs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <luajit.h>

#include "script/app.h"
#include "script/state.h"

#define HISTORIES 60
#define EVENTS 40

/* Whatever an evolve can do with what it gets: pairs over mixed keys, floats
 * summed in the order met, texts of them, sorting, 64-bit integers. */
static const char mixer[] =
    "local event = require('aether.event')\n"
    "local mixer = { initial = { seen = {}, order = {}, text = '', sum = 0,\n"
    "  last = {}, big = 0 }, snapshot = { version = 1, every = 7 } }\n"
    "mixer.decide = { mix = function(_, mix) return event('Mixed', mix) end }\n"
    "local function walk(state, t, depth)\n"
    "  for key, item in pairs(t) do\n"
    "    state.order[#state.order + 1] = tostring(key)\n"
    "    if #state.order > 30 then table.remove(state.order, 1) end\n"
    "    if type(item) == 'table' and getmetatable(item) ~= 'aether.null' "
    "then\n"
    "      walk(state, item, depth + 1)\n"
    "    elseif type(item) == 'number' then\n"
    "      state.sum = (state.sum + item / 3) % 1e9\n"
    "    elseif type(item) == 'string' then\n"
    "      state.text = (state.text .. item):sub(-64)\n"
    "    elseif type(item) == 'cdata' then\n"
    "      state.big = item\n"
    "      state.text = (state.text .. tostring(item)):sub(-64)\n"
    "    end\n"
    "    state.seen[key] = (state.seen[key] or 0) + depth\n"
    "  end\n"
    "end\n"
    "mixer.evolve = { Mixed = function(state, mixed, event)\n"
    "  walk(state, mixed, 1)\n"
    "  local keys = {}\n"
    "  for key in pairs(state.seen) do keys[#keys + 1] = tostring(key) end\n"
    "  table.sort(keys, function(a, b) return #a < #b end)\n"
    "  state.first, state.at = keys[1], next(state.seen)\n"
    "  state.shown = tostring(mixed) .. tostring(print)\n"
    "    .. ('%.14g %s'):format(state.sum, tostring(state.sum))\n"
    "  state.last, state.version = mixed, event.version\n"
    "end }\n"
    "return mixer\n";

/* xorshift64*: the same on every machine. */
static uint64_t draw(uint64_t *seed, uint64_t below) {
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return (*seed * UINT64_C(2685821657736338717) >> 11) % below;
}

static const char *const words[] = {
    "a",         "b",
    "key",       "größe",
    "日本",      "\xf0\x9f\x98\x80",
    "",          "\xff\x00\x01",
    "1",         "a b",
    "e\xcc\x81", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"};
#define WORDS (sizeof words / sizeof *words)

static void add_word(uint64_t *seed, ae_buf *out) {
  size_t at = draw(seed, WORDS);
  ae_str word = at == 7 ? (ae_str){words[at], 3} : ae_str_of(words[at]);
  ae_pack_text(out, word);
}

static void add_number(uint64_t *seed, ae_buf *out) {
  uint64_t bits = draw(seed, UINT64_MAX) << 11 | draw(seed, 2048);
  double number;
  switch (draw(seed, 6)) {
    case 0:
      ae_pack_uint(out, draw(seed, 300));
      break;
    case 1:
      ae_pack_int(out, -(int64_t)draw(seed, 70000));
      break;
    case 2: /* beyond 2^53: a cdata */
      ae_pack_uint(out, bits | UINT64_C(1) << 63);
      break;
    case 3:
      ae_pack_int(out, INT64_MIN + (int64_t)draw(seed, 1000));
      break;
    default:
      number = ((double)draw(seed, 1u << 30) - (1 << 29)) / 7.0;
      ae_pack_double(out, draw(seed, 8) ? number : number * 1e200);
  }
}

static void add_value(uint64_t *seed, unsigned depth, ae_buf *out);

/* Keys once each: integers and texts, among them "1" beside 1. */
static void add_map(uint64_t *seed, unsigned depth, ae_buf *out) {
  uint64_t ints = draw(seed, 1024), texts = draw(seed, 1u << WORDS);
  ints &= draw(seed, 1024);
  texts &= ~(UINT64_C(1) << 7); /* a key is no binary */
  ae_pack_map(out, (uint32_t)(__builtin_popcountll(ints) +
                              __builtin_popcountll(texts)));
  size_t turn = draw(seed, WORDS);
  for (size_t i = 0; i < WORDS; i++) { /* in no order */
    size_t at = (i + turn) % WORDS;
    if (texts >> at & 1) {
      ae_pack_cstr(out, words[at]);
      add_value(seed, depth + 1, out);
    }
  }
  for (int i = 9; i >= 0; i--) {
    if (!(ints >> i & 1)) continue;
    ae_pack_int(out, i * 3 - 6);
    add_value(seed, depth + 1, out);
  }
}

static void add_value(uint64_t *seed, unsigned depth, ae_buf *out) {
  uint64_t kind = draw(seed, depth < 3 ? 8 : 6);
  if (kind == 6) {
    add_map(seed, depth, out);
  } else if (kind == 7) {
    uint32_t count = (uint32_t)draw(seed, 5);
    ae_pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) add_value(seed, depth + 1, out);
  } else if (kind == 0) {
    ae_pack_bool(out, draw(seed, 2));
  } else if (kind == 1 && draw(seed, 3) == 0) {
    ae_pack_nil(out);
  } else if (kind < 4) {
    add_number(seed, out);
  } else {
    add_word(seed, out);
  }
}

typedef struct history {
  ae_buf data[EVENTS];
  ae_script_event events[EVENTS];
} history;

static void make_history(history *h, uint64_t seed) {
  for (size_t i = 0; i < EVENTS; i++) {
    ae_buf_reset(&h->data[i]);
    ae_buf map = {0};
    add_map(&seed, 0, &map);
    /* As it is stored; every other as no one would write it. */
    if (i % 2)
      assert_true(ae_pack_canonical(ae_buf_view(&map), &h->data[i]));
    else
      ae_buf_str(&h->data[i], ae_buf_view(&map));
    ae_buf_clear(&map);
    h->events[i] = (ae_script_event){.type = AE_STR("Mixed"),
                                     .revision = 1,
                                     .version = i + 1,
                                     .data = ae_buf_view(&h->data[i])};
  }
}

static void evolve(app *a, ae_state state, const history *h, size_t from,
                   size_t to) {
  size_t done;
  if (ae_script_evolve(app_module(a, "mixer"), state, AE_STR("bank"),
                       AE_STR("a-1"), h->events + from, to - from, &done,
                       &a->err) != AE_OK)
    fail_msg("%s", ae_error_text(&a->err));
}

static void dump(app *a, ae_state state, ae_buf *out) {
  ae_buf_reset(out);
  assert_int_equal(ae_script_dump(app_module(a, "mixer"), state, out, &a->err),
                   AE_OK);
}

static void assert_same(const ae_buf *one, const ae_buf *other, uint64_t seed,
                        const char *what) {
  if (one->len == other->len && memcmp(one->ptr, other->ptr, one->len) == 0)
    return;
  fail_msg("seed %llu, %s: %zu and %zu bytes differ", (unsigned long long)seed,
           what, one->len, other->len);
}

/* What makes LuaJIT's own order of keys differ: other strings, other tables,
 * collections and compiled traces before. */
static void disturb(app *a, uint64_t seed) {
  for (int i = 0; i < 30; i++) {
    ae_buf map = {0};
    ae_state state;
    add_map(&seed, 0, &map);
    assert_int_equal(ae_script_load(app_module(a, "mixer"), ae_buf_view(&map),
                                    &state, &a->err),
                     AE_OK);
    ae_script_drop(app_module(a, "mixer"), state);
    ae_buf_clear(&map);
  }
  ae_script_collect(a->script);
}

static void two_states_agree(void **unused) {
  (void)unused;
  app one = {0}, other = {0};
  static history h;
  ae_buf first = {0}, second = {0}, resumed = {0}, half = {0};
  app_open(&one, "mixer.lua", mixer, NULL);
  app_open(&other, "mixer.lua", mixer, "unused.lua",
           "return { other = 'strings', before = 'them' }", NULL);
  size_t bytes = 0;
  for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
    make_history(&h, seed * 7919);
    if (seed % 3 == 0) disturb(&other, seed);
    ae_state a = app_initial(&one, "mixer"), b = app_initial(&other, "mixer");
    evolve(&one, a, &h, 0, EVENTS);
    for (size_t i = 0; i < EVENTS; i++) evolve(&other, b, &h, i, i + 1);
    dump(&one, a, &first);
    dump(&other, b, &second);
    assert_same(&first, &second, seed, "two states");
    bytes += first.len;

    /* From a snapshot in the midst of it. */
    size_t cut = seed % EVENTS;
    ae_state c = app_initial(&one, "mixer"), d;
    evolve(&one, c, &h, 0, cut);
    dump(&one, c, &half);
    assert_int_equal(ae_script_load(app_module(&other, "mixer"),
                                    ae_buf_view(&half), &d, &other.err),
                     AE_OK);
    evolve(&other, d, &h, cut, EVENTS);
    dump(&other, d, &resumed);
    assert_same(&first, &resumed, seed, "from a snapshot");
    ae_script_drop(app_module(&one, "mixer"), a);
    ae_script_drop(app_module(&one, "mixer"), c);
    ae_script_drop(app_module(&other, "mixer"), b);
    ae_script_drop(app_module(&other, "mixer"), d);
  }
  assert_true(bytes > HISTORIES * 200); /* there was something to compare */
  app_close(&one);
  app_close(&other);
  for (size_t i = 0; i < EVENTS; i++) ae_buf_clear(&h.data[i]);
  ae_buf_clear(&first);
  ae_buf_clear(&second);
  ae_buf_clear(&resumed);
  ae_buf_clear(&half);
}

/* -- arithmetic -- */

/* Each expression over pairs of numbers that are drawn, odd ones among them,
 * often enough to be compiled. A number's text says all its bits but a zero's
 * sign, which its inverse says. */
static const char calculator[] =
    "local event = require('aether.event')\n"
    "local m = { initial = { sums = {} } }\n"
    "m.decide = { go = function() return event('Gone') end }\n"
    "local odd = { 0, -0.0, 1, -1, 0.5, -0.5, 1 / 0, -1 / 0, 0 / 0, 2 ^ 31,\n"
    "  2 ^ 53, -2 ^ 53, 3, 1e300, 1e-310, 0.1, 2 ^ 32 }\n"
    "local function spread(text, sum)\n"
    "  for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 4294967291 end\n"
    "  return sum\n"
    "end\n"
    "local function take(state, at, draw, f)\n"
    "  local sum = 0\n"
    "  for i = 1, 600 do\n"
    "    local x, y = draw(), draw()\n"
    "    local z = f(x, y, i)\n"
    "    if type(z) == 'number' then\n"
    "      sum = spread(('%.17g'):format(z), sum)\n"
    "      if z == 0 then sum = spread(tostring(1 / z), sum) end\n"
    "    end\n"
    "  end\n"
    "  state.sums[at] = sum\n"
    "end\n"
    "m.evolve = { Gone = function(state, gone)\n"
    "  local seed = gone.seed\n"
    "  local function next() seed = seed * 16807 % 2147483647\n"
    "    return seed / 2147483647 end\n"
    "  local function draw()\n"
    "    local kind = math.floor(next() * 4)\n"
    "    if kind == 0 then return odd[math.floor(next() * #odd) + 1] end\n"
    "    if kind == 1 then return math.floor(next() * 40 - 20) end\n"
    "    if kind == 2 then return (next() - 0.5) * 10 end\n"
    "    return (next() - 0.5) * 2 ^ math.floor(next() * 120 - 60)\n"
    "  end\n"
    "  local at = 0\n"
    "  local function add(f) at = at + 1 take(state, at, draw, f) end\n";

static const char *const expressions[] = {"x + y",
                                          "x - y",
                                          "x * y",
                                          "x / y",
                                          "x % y",
                                          "-x",
                                          "x % 3",
                                          "x % -3",
                                          "x % 1",
                                          "0 - x",
                                          "x * 0",
                                          "x * -1",
                                          "x ^ y",
                                          "x ^ 2",
                                          "x ^ 3",
                                          "x ^ 0.5",
                                          "x ^ -1",
                                          "x ^ -2",
                                          "x ^ -0.5",
                                          "2 ^ y",
                                          "10 ^ y",
                                          "x ^ (i % 7)",
                                          "x ^ -(i % 7)",
                                          "1.0000001 ^ i",
                                          "math.pow(x, y)",
                                          "math.exp(x)",
                                          "math.log(x)",
                                          "math.log10(x)",
                                          "math.sqrt(x)",
                                          "math.sin(x)",
                                          "math.cos(x)",
                                          "math.tan(x)",
                                          "math.asin(x / 20)",
                                          "math.acos(x / 20)",
                                          "math.atan(x)",
                                          "math.atan2(x, y)",
                                          "math.sinh(x)",
                                          "math.cosh(x)",
                                          "math.tanh(x)",
                                          "math.deg(x)",
                                          "math.rad(x)",
                                          "math.floor(x)",
                                          "math.ceil(x)",
                                          "math.ceil(x / 4)",
                                          "math.abs(x)",
                                          "math.min(x, y)",
                                          "math.max(x, y)",
                                          "math.min(x, y, 0)",
                                          "math.max(0, x, y)",
                                          "math.min(0 * x, 0)",
                                          "math.fmod(x, y)",
                                          "math.modf(x)",
                                          "(select(2, math.modf(x)))",
                                          "math.frexp(x)",
                                          "math.ldexp(x, i % 60)",
                                          "bit.band(x, 255)",
                                          "bit.tobit(x)",
                                          "bit.lshift(x, 3)",
                                          "bit.arshift(x, y)",
                                          "tonumber(tostring(x))",
                                          "x < y and 1 or 0",
                                          "math.floor(x / y) * y",
                                          "(i % 7) * -1",
                                          "-(i % 7)",
                                          "(i % 7 - 3) % 2",
                                          "x - x % 1",
                                          "#('%5.2f'):format(x)",
                                          "tonumber(('%.3f'):format(y))"};
#define EXPRESSIONS (sizeof expressions / sizeof *expressions)

static void open_calculator(app *a) {
  ae_buf text = {0};
  ae_buf_printf(&text, "%s", calculator);
  for (size_t i = 0; i < EXPRESSIONS; i++)
    ae_buf_printf(&text, "  add(function(x, y, i) return %s end)\n",
                  expressions[i]);
  ae_buf_printf(&text, "end }\nreturn m\n");
  a->handler_ms = 60000;
  app_open(a, "mixer.lua", ae_buf_cstr(&text), NULL);
  ae_buf_clear(&text);
}

static void calculate(app *a, unsigned seed, ae_buf *out) {
  ae_buf data = {0};
  ae_pack_map(&data, 1);
  ae_pack_cstr(&data, "seed");
  ae_pack_uint(&data, seed);
  const ae_script_event event = {.type = AE_STR("Gone"),
                                 .revision = 1,
                                 .version = 1,
                                 .data = ae_buf_view(&data)};
  ae_state state = app_initial(a, "mixer");
  size_t done;
  if (ae_script_evolve(app_module(a, "mixer"), state, AE_STR("bank"),
                       AE_STR("a-1"), &event, 1, &done, &a->err) != AE_OK)
    fail_msg("%s", ae_error_text(&a->err));
  dump(a, state, out);
  ae_script_drop(app_module(a, "mixer"), state);
  ae_buf_clear(&data);
}

static uint64_t sum_at(const ae_buf *state, size_t index) {
  ae_str sums, one = {0};
  uint64_t sum = 0;
  uint32_t count;
  assert_true(ae_unpack_field(ae_buf_view(state), "sums", &sums));
  ae_unpack cursor = ae_unpack_of(sums);
  assert_true(ae_unpack_array(&cursor, &count));
  assert_int_equal(count, EXPRESSIONS);
  for (size_t i = 0; i <= index; i++) ae_unpack_skip(&cursor, &one);
  cursor = ae_unpack_of(one);
  assert_true(ae_unpack_uint(&cursor, &sum));
  return sum;
}

/* Interpreted and compiled code of LuaJIT, and the mathematics of whatever
 * machine this is: the sum over all of it is the same on each. */
static void arithmetic_is_the_same_everywhere(void **unused) {
  (void)unused;
  app compiled = {0}, interpreted = {0};
  ae_buf one = {0}, other = {0};
  uint64_t all = 0;
  open_calculator(&compiled);
  open_calculator(&interpreted);
  luaJIT_setmode(interpreted.script->L, 0,
                 LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  for (unsigned seed = 1; seed <= 8; seed++) {
    calculate(&compiled, seed, &one);
    calculate(&interpreted, seed, &other);
    for (size_t i = 0; i < EXPRESSIONS; i++) {
      if (sum_at(&one, i) != sum_at(&other, i))
        fail_msg("seed %u: compiled, %s is another one", seed, expressions[i]);
      all = all * 31 + sum_at(&one, i);
    }
    assert_same(&one, &other, seed, "compiled and interpreted");
  }
  /* Where an expression is added this is another one, and else never. */
  assert_int_equal(all, UINT64_C(0x5bb0f9c00605c3cc));
  app_close(&compiled);
  app_close(&interpreted);
  ae_buf_clear(&one);
  ae_buf_clear(&other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_states_agree),
      cmocka_unit_test(arithmetic_is_the_same_everywhere)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
