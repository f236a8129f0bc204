local schema = require("aether.schema")
local value = require("aether.value")

local function refused(description, data)
  local ok, path, expected, got = schema.check(description, data)
  assert.is_nil(ok)
  return ("%s | %s | %s"):format(path, expected, got)
end

local function raised(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local line = debug.getinfo(f, "S").linedefined + 1
  local at, text = message:match("schema_spec%.lua:(%d+): (.*)$")
  assert.equal(line, tonumber(at), message)
  return text
end

describe("the constructors of schema", function()
  it("make plain tables", function()
    assert.same(
      { kind = "integer", min = 1, max = 5 },
      schema.integer { min = 1, max = 5 }
    )
    assert.same(
      { kind = "optional", item = { kind = "any" } },
      schema.optional(schema.any())
    )
    assert.is_nil(getmetatable(schema.record { a = schema.string() }))
  end)

  it("raise an unknown or wrong option at the caller's line", function()
    assert.equal(
      'schema.integer has no option "mni"; did you mean "min"?',
      raised(function()
        local _ = schema.integer { mni = 1 }
      end)
    )
    assert.equal(
      "schema.integer: min must be an integer; got 1.5",
      raised(function()
        local _ = schema.integer { min = 1.5 }
      end)
    )
    assert.equal(
      'schema.string: pattern must be a Lua pattern; got "["',
      raised(function()
        local _ = schema.string { pattern = "[" }
      end)
    )
    assert.equal(
      "schema.integer: the least allowed, 5, is above the most, 1",
      raised(function()
        local _ = schema.integer { min = 5, max = 1 }
      end)
    )
    assert.equal(
      "schema.integer wants a table of options; got 5",
      raised(function()
        local _ = schema.integer(5)
      end)
    )
    assert.equal(
      "schema.list is a function: call it, as in schema.integer()",
      raised(function()
        local _ = schema.list(schema.string)
      end)
    )
    assert.equal(
      "schema.optional wants a description such as schema.integer(); got 5",
      raised(function()
        local _ = schema.optional(5)
      end)
    )
    assert.equal(
      'schema.record: the field "a": the field "b" wants a description such as schema.integer(); got 3',
      raised(function()
        local _ = schema.record { a = { b = 3 } }
      end)
    )
    assert.equal(
      "schema.record: fields have names; got the key 1",
      raised(function()
        local _ = schema.record { schema.string() }
      end)
    )
    assert.matches(
      "^schema.enum wants a list of strings",
      raised(function()
        local _ = schema.enum {}
      end)
    )
    assert.equal(
      "schema.enum: [2] must be a string in a list; got 5",
      raised(function()
        local _ = schema.enum { "a", 5 }
      end)
    )
  end)

  it("say what is wrong with a command's schema", function()
    assert.is_nil(schema.problem {})
    assert.is_nil(schema.problem { amount = schema.integer() })
    assert.is_nil(schema.problem(schema.open {}))
    assert.is_nil(schema.problem { kind = schema.string() })
    assert.matches("^must be a table of fields", schema.problem("integer"))
    assert.equal(
      'the field "amount" is a function: call it, as in schema.integer()',
      schema.problem { amount = schema.integer }
    )
    assert.matches(
      "^describes a value of kind integer, but",
      schema.problem(schema.integer())
    )
  end)
end)

describe("schema.check", function()
  it("takes what fits", function()
    local order = {
      id = schema.string { pattern = "^%a+%-%d+$" },
      items = schema.list(
        { price = schema.number { above = 0 }, count = schema.integer() },
        { min_length = 1 }
      ),
      state = schema.enum { "new", "paid" },
      labels = schema.optional(schema.map(schema.string())),
      note = schema.optional(schema.any()),
      gift = schema.boolean(),
    }
    assert.is_true(schema.check(order, {
      id = "o-1",
      items = {
        { price = 1.5, count = 2 },
        { price = 1LL, count = 9007199254740993LL },
      },
      state = "paid",
      labels = { a = "b" },
      note = value.null,
      gift = false,
    }))
    assert.is_true(schema.check({}, {}))
  end)

  it("says where, what was expected and what came", function()
    local d =
      { items = schema.list { price = schema.integer { min = 1, max = 9 } } }
    assert.equal(
      'items[2].price | an integer, at least 1 and at most 9 | "x"',
      refused(d, {
        items = { { price = 1 }, { price = "x" } },
      })
    )
    assert.equal(
      "items[1].price | an integer, at least 1 and at most 9 | nothing",
      refused(d, { items = { {} } })
    )
    assert.equal("items | a list | nothing", refused(d, {}))
    assert.equal(
      "items | a list | { a = 1 }",
      refused(d, { items = { a = 1 } })
    )
    assert.equal(" | a map | 5", refused(d, 5))
    assert.equal(" | a map | { 1 }", refused(d, { 1 }))
  end)

  it("wants integers that are exact", function()
    local d = { n = schema.integer() }
    assert.is_true(schema.check(d, { n = -2 ^ 53 }))
    assert.is_true(schema.check(d, { n = 18446744073709551615ULL }))
    for _, wrong in ipairs {
      1.5,
      2 ^ 54,
      0 / 0,
      math.huge,
      "1",
      value.null,
      true,
    } do
      assert.is_nil((schema.check(d, { n = wrong })))
    end
  end)

  it("compares limits with 64-bit integers exactly", function()
    local d = { n = schema.integer { min = 0, max = 9007199254740993LL } }
    assert.is_true(schema.check(d, { n = 9007199254740993LL }))
    assert.is_nil((schema.check(d, { n = 9007199254740994LL })))
    assert.is_nil((schema.check(d, { n = -1LL })))
    assert.is_nil((schema.check(d, { n = 18446744073709551615ULL })))
  end)

  it("wants numbers within their limits", function()
    local d = { n = schema.number { above = 0, below = 1 } }
    assert.is_true(schema.check(d, { n = 0.5 }))
    assert.equal("n | a number, above 0 and below 1 | 0", refused(d, { n = 0 }))
    assert.equal("n | a number, above 0 and below 1 | 1", refused(d, { n = 1 }))
    assert.equal(
      "n | a number, above 0 and below 1 | nan",
      refused(d, { n = 0 / 0 })
    )
  end)

  it("wants strings of a length and a pattern", function()
    local d = {
      s = schema.string { min_length = 2, max_length = 3, pattern = "^%l+$" },
    }
    assert.is_true(schema.check(d, { s = "abc" }))
    assert.equal(
      's | a string of 2 to 3 bytes | "abcd"',
      refused(d, { s = "abcd" })
    )
    assert.equal(
      's | a string that matches the pattern "^%l+$" | "aB"',
      refused(d, { s = "aB" })
    )
    assert.equal("s | a string of 2 to 3 bytes | nothing", refused(d, {}))
  end)

  it("bounds what a pattern may cost by a length", function()
    local d = { s = schema.string { pattern = "^(.-)x(.-)y$" } }
    assert.is_true(schema.check(d, { s = "ax" .. ("b"):rep(250) .. "y" }))
    assert.matches(
      "at most 256 bytes",
      refused(d, { s = "ax" .. ("b"):rep(300) .. "y" })
    )
    local long = { s = schema.string { pattern = "^a+$", max_length = 1000 } }
    assert.is_true(schema.check(long, { s = ("a"):rep(1000) }))
  end)

  it("refuses unknown fields, naming the nearest", function()
    local d =
      { amount = schema.integer(), to = schema.optional(schema.string()) }
    assert.equal(
      'amuont | one of the fields amount, to | an unknown field; did you mean "amount"?',
      refused(d, { amuont = 5 })
    )
    assert.equal(
      "speed | one of the fields amount, to | an unknown field",
      refused(d, { amount = 5, speed = 1 })
    )
    assert.equal(
      "b | the field a | an unknown field",
      refused({ a = schema.any() }, { a = 1, b = 1 })
    )
    assert.equal(
      "a | left out: there are no fields | an unknown field",
      refused({}, { b = 1, a = 1 })
    )
    assert.equal("amount | an integer | nothing", refused(d, { speed = 5 }))
  end)

  it("takes other fields where it is open", function()
    local d = schema.open { amount = schema.integer() }
    assert.is_true(schema.check(d, { amount = 1, whatever = { 1 } }))
    assert.equal("amount | an integer | nothing", refused(d, { amont = 1 }))
  end)

  it("takes one of an enum", function()
    local d = {
      state = schema.enum { "new", "paid" },
      one = schema.optional(schema.enum { "x" }),
    }
    assert.equal(
      'state | one of "new", "paid" | "sold"',
      refused(d, { state = "sold" })
    )
    assert.equal('one | "x" | "y"', refused(d, { state = "new", one = "y" }))
  end)

  it("wants lists and maps of a length, and lists without twins", function()
    local d =
      { l = schema.list(schema.any(), { max_length = 3, unique = true }) }
    assert.is_true(schema.check(d, { l = {} }))
    assert.is_true(schema.check(d, { l = { 1, "1", { 1 } } }))
    assert.equal(
      "l | a list of at most 3 items | { 1, 2, 3, 4 }",
      refused(d, { l = { 1, 2, 3, 4 } })
    )
    assert.equal(
      "l[3] | an item that is not in the list yet | { a = 1 }",
      refused(d, { l = { { a = 1 }, 1, { a = 1 } } })
    )
    local m = { m = schema.map(schema.integer(), { min_length = 1 }) }
    assert.equal("m | a map of at least 1 key | {}", refused(m, { m = {} }))
    assert.equal(
      "m | a map of at least 1 key | { 5 }",
      refused(m, { m = { 5 } })
    )
    assert.equal(
      'm["a b"] | an integer | "x"',
      refused(m, { m = { ["a b"] = "x" } })
    )
  end)

  it("takes anything that can be stored as any", function()
    local d = { x = schema.any() }
    assert.is_true(schema.check(d, { x = { { value.null } } }))
    assert.equal(
      "x.f[1] | a value that can be stored | one that is a function, which cannot be stored",
      refused(d, { x = { f = { print } } })
    )
    assert.equal("x | a value | nothing", refused(d, {}))
  end)

  it("tells null from nothing", function()
    local d = { n = schema.optional(schema.integer()) }
    assert.is_true(schema.check(d, {}))
    assert.equal("n | an integer | null", refused(d, { n = value.null }))
  end)
end)

describe("schema.to_json_schema", function()
  it("describes the same, as draft 2020-12", function()
    local d = {
      amount = schema.integer { min = 1, description = "in cents" },
      rate = schema.optional(schema.number { above = 0, below = 1 }),
      code = schema.string { pattern = "^%u%d%.[%w_]-$", min_length = 3 },
      tags = schema.list(schema.string(), { unique = true, max_length = 5 }),
      state = schema.enum { "new", "paid" },
      extra = schema.map(schema.any()),
      gift = schema.boolean(),
      address = schema.open { street = schema.string() },
    }
    assert.same({
      type = "object",
      additionalProperties = false,
      required = {
        "address",
        "amount",
        "code",
        "extra",
        "gift",
        "state",
        "tags",
      },
      properties = {
        amount = { type = "integer", minimum = 1, description = "in cents" },
        rate = { type = "number", exclusiveMinimum = 0, exclusiveMaximum = 1 },
        code = {
          type = "string",
          pattern = "^[A-Z][0-9]\\.[A-Za-z0-9_]*?$",
          minLength = 1,
          maxLength = 256,
        },
        tags = {
          type = "array",
          items = { type = "string" },
          uniqueItems = true,
          maxItems = 5,
        },
        state = { enum = { "new", "paid" } },
        extra = { type = "object", additionalProperties = {} },
        gift = { type = "boolean" },
        address = {
          type = "object",
          additionalProperties = true,
          required = { "street" },
          properties = { street = { type = "string" } },
        },
      },
    }, schema.to_json_schema(d))
    assert.is_true(value.check(schema.to_json_schema(d)))
  end)

  it("puts a pattern that has no equal into words", function()
    local json =
      schema.to_json_schema { s = schema.string { pattern = "%b()" } }
    assert.is_nil(json.properties.s.pattern)
    assert.equal(
      'Matches the Lua pattern "%b()"',
      json.properties.s.description
    )
  end)
end)
