local value = require("aether.value")

local null = value.null

describe("value.null", function()
  it("is one value, true in a condition, with a name", function()
    assert.is_true(null and true)
    assert.equal("null", tostring(null))
    assert.equal("aether.null", getmetatable(null))
  end)

  it("cannot be written to, nor read as a map", function()
    assert.has_error(function()
      null.x = 1
    end, "null cannot be written to")
    assert.has_error(function()
      return null.amount .. ""
    end, 'null has no "amount": compare with value.null first')
    assert.has_error(function()
      setmetatable(null, {})
    end)
  end)
end)

describe("arrays", function()
  it("are tables with the keys 1..n, and empty ones that are marked", function()
    assert.is_true(value.is_array { 1, 2 })
    assert.is_true(value.is_array(value.array {}))
    assert.is_false(value.is_array {})
    assert.is_false(value.is_array { 1, nil, 3 })
    assert.is_false(value.is_array { [2] = 1 })
    assert.is_false(value.is_array { [1] = 1, [2] = 2, [7] = 7 })
    assert.is_false(value.is_array { 1, x = 2 })
    assert.is_false(value.is_array { [0] = 0, [1] = 1 })
    assert.is_false(value.is_array { [1] = 1, [1.5] = 2 })
    assert.is_false(value.is_array(null))
    assert.is_false(value.is_array("text"))
  end)

  it("stop being ones when they get a string key", function()
    local list = value.array {}
    list.x = 1
    assert.is_false(value.is_array(list))
    list.x = nil
    list[1] = "a"
    assert.is_true(value.is_array(list))
  end)

  it("are marked in place, and once is enough", function()
    local list = {}
    assert.equal(list, value.array(list))
    assert.equal(list, value.array(list))
    assert.equal("aether.array", getmetatable(list))
    local other = debug.getmetatable(value.array({}))
    assert.equal(other, debug.getmetatable(list))
  end)

  it("refuse what is no table", function()
    assert.has_error(function()
      value.array("x")
    end, 'value.array wants a table, got "x"')
    assert.has_error(function()
      value.array(null)
    end, "value.array wants a table, got null")
    assert.has_error(function()
      value.array(setmetatable({}, {}))
    end, "value.array wants a table without a metatable")
  end)
end)

describe("value.copy", function()
  it("is deep, and keeps null and arrays", function()
    local from =
      { a = { b = 1 }, list = value.array {}, none = null, big = 2LL ^ 60 }
    local copy = value.copy(from)
    assert.is_true(value.equal(from, copy))
    assert.are_not.equal(from.a, copy.a)
    assert.equal(null, copy.none)
    assert.is_true(value.is_array(copy.list))
    copy.a.b = 2
    assert.equal(1, from.a.b)
  end)
end)

describe("value.equal", function()
  it("compares by value, deeply", function()
    assert.is_true(value.equal({ 1, { x = "a" } }, { 1, { x = "a" } }))
    assert.is_false(value.equal({ 1, { x = "a" } }, { 1, { x = "b" } }))
    assert.is_false(value.equal({ a = 1 }, { a = 1, b = 2 }))
    assert.is_false(value.equal({ a = 1, b = 2 }, { a = 1 }))
    assert.is_true(value.equal(null, null))
    assert.is_false(value.equal(null, {}))
    assert.is_false(value.equal({ a = false }, {}))
    assert.is_false(value.equal("1", 1))
  end)

  it("tells an empty array from an empty map", function()
    assert.is_false(value.equal(value.array {}, {}))
    assert.is_true(value.equal(value.array {}, value.array {}))
    assert.is_true(value.equal(value.array { 1 }, { 1 }))
  end)

  it("compares 64-bit integers exactly, also with numbers", function()
    assert.is_true(value.equal(5LL, 5))
    assert.is_true(value.equal(5, 5ULL))
    assert.is_true(value.equal(5LL, 5ULL))
    assert.is_true(value.equal({ 9007199254740993LL }, { 9007199254740993LL }))
    assert.is_false(value.equal(9007199254740993LL, 9007199254740992LL))
    assert.is_false(value.equal(9007199254740993LL, 9007199254740992))
    assert.is_false(value.equal(1.5, 1LL))
    assert.is_false(value.equal(-1LL, 18446744073709551615ULL))
    assert.is_false(value.equal(-1, 18446744073709551615ULL))
    assert.is_false(value.equal(9223372036854775807LL, 2 ^ 63))
    assert.is_true(value.equal(9223372036854775808ULL, 2 ^ 63))
    assert.is_true(value.equal(-9223372036854775807LL - 1, -2 ^ 63))
    assert.is_false(value.equal(18446744073709551615ULL, 2 ^ 64))
    assert.is_false(value.equal(math.huge, 1LL))
    assert.is_false(value.equal(5LL, "5"))
    assert.is_false(value.equal(0 / 0, 0LL))
  end)

  it("ends on a cycle", function()
    local a, b = {}, {}
    a[1], b[1] = a, b
    assert.has_error(function()
      value.equal(a, b)
    end, "value.equal: nested deeper than 64, or a cycle")
  end)
end)

describe("value.less", function()
  it("orders numbers and 64-bit integers of any sign exactly", function()
    local rising = {
      -math.huge,
      -2 ^ 63 - 2 ^ 12,
      -2 ^ 63,
      -9223372036854775807LL,
      -1.5,
      -1LL,
      -0.5,
      0ULL,
      0.5,
      1LL,
      1.5,
      2ULL,
      9007199254740992,
      9007199254740993LL,
      9223372036854775807LL,
      9223372036854775808ULL,
      18446744073709551615ULL,
      2 ^ 64,
      math.huge,
    }
    for i, a in ipairs(rising) do
      for j, b in ipairs(rising) do
        assert.equal(
          i < j,
          value.less(a, b),
          value.show(a) .. " < " .. value.show(b)
        )
      end
    end
  end)
end)

describe("numbers that can be stored", function()
  it("are integers to ±2^53 and 64-bit ones, or finite", function()
    for _, v in ipairs { 0, -1, 2 ^ 53, -2 ^ 53, 5LL, 18446744073709551615ULL } do
      assert.is_true(value.is_integer(v))
      assert.is_true(value.is_number(v))
    end
    for _, v in ipairs { 1.5, 2 ^ 53 + 2, -2 ^ 53 - 2, -2 ^ 70 } do
      assert.is_false(value.is_integer(v))
      assert.is_true(value.is_number(v))
    end
    for _, v in ipairs { 0 / 0, math.huge, -math.huge, "1", true, {}, null, 1i } do
      assert.is_false(value.is_integer(v))
      assert.is_false(value.is_number(v))
    end
  end)
end)

describe("value.check", function()
  local function problem(v)
    local ok, path, text = value.check(v)
    assert.is_nil(ok)
    return path .. ": " .. text
  end

  it("takes what can be stored", function()
    assert.is_true(value.check {
      a = 1,
      b = { "x", true, null },
      [3] = 2LL,
      c = value.array {},
    })
    local twice = { 1 }
    assert.is_true(value.check { twice, twice })
  end)

  it("says what cannot be, and where", function()
    assert.equal(
      "items[2].price: is not a number (NaN)",
      problem { items = { {}, { price = 0 / 0 } } }
    )
    assert.equal("a: is infinite", problem { a = -math.huge })
    assert.equal(
      "f: is a function, which cannot be stored",
      problem { f = print }
    )
    assert.equal(
      "co: is a thread, which cannot be stored",
      problem { co = coroutine.create(print) }
    )
    assert.equal(
      '["a b"]: is a function, which cannot be stored',
      problem { ["a b"] = print }
    )
    assert.equal("c: is cdata that is no 64-bit integer", problem { c = 1i })
    assert.equal(
      ": is nil; value.null is the null that can be stored",
      problem(nil)
    )
    assert.equal(
      "o: is a table with a metatable, which would not be stored",
      problem { o = setmetatable({}, {}) }
    )
  end)

  it("refuses odd keys", function()
    assert.is_true(value.check { [2 ^ 53] = 1, [-2 ^ 53] = 2 })
    assert.equal("[1.5]: has a key that is no integer", problem { [1.5] = 1 })
    assert.equal(
      "[18014398509481984]: has a key that is no integer",
      problem { [2 ^ 54] = 1 }
    )
    assert.equal(
      "[<boolean>]: has a key that is a boolean; keys are strings or integers",
      problem { [true] = 1 }
    )
  end)

  it("refuses cycles and depth", function()
    local round = { a = {} }
    round.a.b = round
    assert.equal("a.b: holds itself (a cycle)", problem(round))
    local function nested(depth)
      local v = {}
      for _ = 2, depth do
        v = { v }
      end
      return v
    end
    assert.is_true(value.check(nested(64)))
    assert.matches("%[1%]: is nested deeper than 64$", problem(nested(65)))
  end)

  it("always names the same of several problems", function()
    for _ = 1, 20 do
      local v = {}
      for _, key in ipairs { "z", "m", "b", "q" } do
        v[key] = print
      end
      assert.equal("b: is a function, which cannot be stored", problem(v))
    end
  end)
end)

describe("value.show", function()
  it("writes one line, the same for the same value", function()
    assert.equal("{}", value.show {})
    assert.equal("array {}", value.show(value.array {}))
    assert.equal(
      '{ [1] = 1, [3] = 2, a = { "x", null }, ["b c"] = true }',
      value.show {
        [3] = 2,
        ["b c"] = true,
        a = { "x", null },
        [1] = 1,
      }
    )
    assert.equal('"a\\nb\\"\\\\\\000é"', value.show('a\nb"\\\0é'))
    assert.equal("nil", value.show(nil))
    assert.equal("<function>", value.show(print))
    local round = {}
    round.x = round
    assert.equal("{ x = <cycle> }", value.show(round))
  end)

  it("writes numbers so that they can be told apart", function()
    assert.equal("9007199254740992", value.show(2 ^ 53))
    assert.equal("9007199254740993", value.show(9007199254740993LL))
    assert.equal("18446744073709551615", value.show(18446744073709551615ULL))
    assert.equal("0.1", value.show(0.1))
    assert.equal("0.30000000000000004", value.show(0.1 + 0.2))
    assert.equal("1e+300", value.show(1e300))
    assert.equal("nan", value.show(0 / 0))
    assert.equal("inf", value.show(math.huge))
    assert.equal("9.223372036854776e+18", value.show(2 ^ 63))
    assert.equal("-9.223372036854776e+18", value.show(-2 ^ 63))
    assert.equal("-9007199254740992", value.show(-2 ^ 53))
    assert.equal("-inf", value.show(-math.huge))
  end)

  it("cuts off between characters", function()
    assert.equal('"éé…', value.show("éééé", 5))
    assert.equal('"éé…', value.show("éééé", 6))
    assert.equal('"éééé"', value.show("éééé", 10))
  end)
end)

describe("value.diff", function()
  it("lists each difference with its path, in order", function()
    local found = value.diff(
      { a = 1, items = { { price = 1 }, { price = 2 } }, gone = true },
      { a = 1, items = { { price = 1 }, { price = 3 } }, new = null }
    )
    assert.same({
      { path = "gone", left = true },
      { path = "items[2].price", left = 2, right = 3 },
      { path = "new", right = null },
    }, found)
    assert.same({}, value.diff({ 1, { 2LL } }, { 1, { 2 } }))
  end)

  it("names the value itself with an empty path", function()
    assert.same({ { path = "", left = 1, right = 2 } }, value.diff(1, 2))
    assert.same(
      { { path = "", left = {}, right = value.array {} } },
      value.diff({}, value.array {})
    )
    assert.same({ { path = "", right = 2 } }, value.diff(nil, 2))
  end)
end)

describe("values made at random", function()
  local draw = require("aether.random").source(42)

  local function make(depth)
    local kind = draw(depth > 3 and 5 or 8)
    if kind == 1 then
      return draw(-3, 3)
    elseif kind == 2 then
      return draw() < 0.5
    elseif kind == 3 then
      return null
    elseif kind == 4 then
      return draw(0, 3) * 1LL
    elseif kind == 5 then
      return string.char(draw(97, 100))
    end
    local t = kind == 6 and value.array {} or {}
    for i = 1, draw(0, 3) do
      local key = kind == 8 and string.char(draw(97, 100)) or i
      t[key] = make(depth + 1)
    end
    return t
  end

  it("are equal to their copies, and show alike", function()
    for _ = 1, 2000 do
      local v = make(1)
      local copy = value.copy(v)
      assert.is_true(value.check(v))
      assert.is_true(value.equal(v, copy))
      assert.same({}, value.diff(v, copy))
      assert.equal(value.show(v), value.show(copy))
    end
  end)

  it("are equal just where they show alike and have no difference", function()
    local alike = 0
    for _ = 1, 20000 do
      local a, b = make(2), make(2)
      local same = value.equal(a, b)
      alike = alike + (same and 1 or 0)
      assert.equal(same, value.equal(b, a))
      assert.equal(
        same,
        value.show(a) == value.show(b),
        value.show(a) .. " and " .. value.show(b)
      )
      assert.equal(same, #value.diff(a, b) == 0)
    end
    assert.is_true(alike > 500)
  end)
end)
