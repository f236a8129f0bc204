local lfs = require("lfs")

local ACCOUNT = [[
local event = require("aether.event")
local account = {
  initial = { balance = 0 },
  schema = { deposit = { amount = require("aether.schema").integer { min = 1 } } },
  revision = { Deposited = 2 },
  upcast = { Deposited = { function(data) return { amount = data.cents } end } },
}
account.decide = {
  deposit = function(state, deposit)
    return event("Deposited", { amount = deposit.amount })
  end,
  withdraw = function(state, withdraw, ctx)
    if withdraw.amount > state.balance then
      return nil, "insufficient_funds", { balance = state.balance }
    end
    return event("Withdrawn", { amount = withdraw.amount }, { by = ctx.metadata.user })
  end,
  split = function(state, split)
    return { event("Withdrawn", { amount = 1 }), event("Deposited", { amount = 1 }) }
  end,
  look = function() return {} end,
  draw = function(_, _, ctx)
    return event("Drawn", {
      id = ctx.uuid(), n = ctx.random(1, 6), share = ctx.random(), now = ctx.now,
      actor = ctx.actor, version = ctx.version,
    })
  end,
}
account.evolve = {
  Deposited = function(state, deposited) state.balance = state.balance + deposited.amount end,
  Withdrawn = function(state, withdrawn) state.balance = state.balance - withdrawn.amount end,
  Drawn = function(state, drawn, event) state.drawn = { drawn, event.version, event.type } end,
}
return account
]]

local folders = {}

-- An app in a folder of its own; its spec is run from its file, as busted does.
local function app(files)
  local root = os.tmpname()
  os.remove(root)
  assert(lfs.mkdir(root))
  folders[#folders + 1] = root
  for name, text in pairs(files) do
    local folder = name:match("^(.*)/")
    if folder then
      lfs.mkdir(root .. "/" .. folder)
    end
    local handle = assert(io.open(root .. "/" .. name, "w"))
    handle:write(text)
    handle:close()
  end
  lfs.mkdir(root .. "/spec")
  return root
end

local HEAD = [[
local event, command = require("aether.event"), require("aether.command")
local scenario = require("aether.scenario")
]]

-- Runs a spec's text; what it raises, with the folder cut off, or "passes".
local function run(root, text)
  local chunk =
    assert(loadstring(HEAD .. text, "@" .. root .. "/spec/some_spec.lua"))
  local ok, message = pcall(chunk)
  if ok then
    return "passes"
  end
  return (tostring(message):gsub(root:gsub("%p", "%%%0") .. "/", ""))
end

local function bank(text)
  return run(
    app { ["bank/account.lua"] = ACCOUNT },
    'local given = scenario("account")\n' .. text
  )
end

-- An aggregate whose `deposit` is written as given.
local function deposit(body, text)
  local source = [[
local event = require("aether.event")
local count = 0
return {
  initial = { balance = 0, list = {} },
  decide = { deposit = function(state, deposit, ctx) ]] .. body .. [[ end },
  evolve = { Deposited = function(state, deposited) state.balance = state.balance + 1 end },
}]]
  return run(
    app { ["bank/account.lua"] = source },
    'local given = scenario("account")\n'
      .. (text or 'given():when("deposit"):expect(event("Deposited"))')
  )
end

after_each(function()
  for _, root in ipairs(folders) do
    os.execute("rm -rf '" .. root .. "'")
  end
  folders = {}
end)

describe("a scenario of an aggregate", function()
  it("passes where all is as expected", function()
    assert.equal(
      "passes",
      bank [[
        given(event("Deposited", { amount = 10 }))
          :when("withdraw", { amount = 11 }):rejected("insufficient_funds", { balance = 10 })
          :when("withdraw", { amount = 4 }):expect(event("Withdrawn", { amount = 4 }))
          :state({ balance = 6 })
          :when("look"):expect()
          :when("split"):expect(event("Withdrawn", { amount = 1 }), event("Deposited", { amount = 1 }))
          :when("split"):expect { event("Withdrawn", { amount = 1 }), event("Deposited", { amount = 1 }) }
          :when("deposit", { amount = 0 }):invalid("amount")
        given { event("Deposited", { amount = 1 }), event("Deposited", { amount = 2 }) }:state { balance = 3 }
        given():state { balance = 0 }
      ]]
    )
  end)

  it("starts each from the beginning", function()
    assert.equal(
      "passes",
      bank [[
        given():when("deposit", { amount = 1 }):state { balance = 1 }
        given():when("deposit", { amount = 1 }):state { balance = 1 }
      ]]
    )
  end)

  it("brings old events up", function()
    assert.equal(
      "passes",
      bank [[given(event("Deposited", { cents = 7 }, { revision = 1 })):state { balance = 7 }]]
    )
    assert.matches(
      "given: an old event cannot be brought up\n  Deposited of revision 3 was stored by newer code",
      bank [[given(event("Deposited", {}, { revision = 3 }))]]
    )
  end)

  it("gives a ctx that is the same each time, and can be set", function()
    assert.equal(
      "passes",
      bank [[
        local function drawn(overrides)
          local found
          given(event("Deposited", { amount = 1 })):when("draw", {}, overrides)
          local _, message = pcall(function()
            given(event("Deposited", { amount = 1 })):when("draw", {}, overrides):expect()
          end)
          return tostring(message):match("got: .*")
        end
        local one = drawn { now = 1e15, seed = 7, id = "a-1" }
        assert(one == drawn { now = 1e15, seed = 7, id = "a-1" })
        assert(one ~= drawn { now = 1e15, seed = 8, id = "a-1" })
        assert(one:find('now = 1000000000000000', 1, true), one)
        assert(one:find('actor = "bank/account/a-1"', 1, true), one)
        assert(one:find('version = 1', 1, true), one)
        assert(one:find('id = "%x+%-%x+%-7%x+%-%x+%-%x+"'), one)
        given():when("withdraw", { amount = 0 }, { metadata = { user = "ada" } })
          :expect(event("Withdrawn", { amount = 0 }, { by = "ada" }))
      ]]
    )
    assert.equal(
      'spec/some_spec.lua:4: when: there is no "nwo" to set; did you mean "now"?',
      bank [[given():when("draw", {}, { nwo = 5 })]]
    )
  end)

  it("looks at metadata where the expected event has some", function()
    local when =
      [[given():when("withdraw", { amount = 0 }, { metadata = { user = "ada" } })]]
    assert.equal(
      "passes",
      bank(when .. [[:expect(event("Withdrawn", { amount = 0 }))]])
    )
    assert.matches(
      'metadata.by: expected "bob", got "ada"',
      bank(
        when .. [[:expect(event("Withdrawn", { amount = 0 }, { by = "bob" }))]]
      )
    )
  end)

  it("numbers events and tells the time of ctx by the version", function()
    assert.equal(
      "passes",
      bank [[
        given(event("Drawn", { n = 1 }), event("Drawn", { n = 2 }))
          :state { balance = 0, drawn = { { n = 2 }, 2, "Drawn" } }
        local _, message = pcall(function()
          given(event("Drawn")):when("draw"):expect()
        end)
        assert(tostring(message):find("now = 1700000002000000", 1, true), message)
      ]]
    )
  end)

  it("is about one actor, whose id can be said", function()
    assert.equal(
      "passes",
      bank [[
        local deposited = event("Deposited", { amount = 1 })
        given("account/a-1", deposited, "a-1", deposited):state { balance = 2 }
      ]]
    )
    assert.matches(
      "given: a scenario of an aggregate is about one actor",
      bank [[given("a-1", event("Deposited", { amount = 1 }), "a-2", event("Deposited", { amount = 1 }))]]
    )
    assert.matches(
      "when: the data of look must be a map; got null",
      bank [[given():when("look", require("aether.value").null)]]
    )
    assert.matches(
      "decide.deposit returned null",
      deposit('return require("aether.value").null')
    )
  end)

  it("gives a ctx that is read-only and has nothing else", function()
    assert.matches(
      'bank/account.lua:5: ctx has no field "actr"; did you mean "actor"?',
      deposit("return ctx.actr")
    )
    assert.matches(
      "bank/account.lua:5: ctx is read%-only; keep what changes in state",
      deposit("ctx.now = 5")
    )
  end)

  it("shows what was expected and what came, at the spec's line", function()
    assert.equal(
      table.concat({
        "spec/some_spec.lua:5: account: withdraw { amount = 4 }",
        "  expected: Withdrawn { amount = 5 }",
        "  got:      Withdrawn { amount = 4 }",
        "  where they differ:",
        "    data.amount: expected 5, got 4",
      }, "\n"),
      bank(
        '\ngiven(event("Deposited", { amount = 10 })):when("withdraw", { amount = 4 })'
          .. ':expect(event("Withdrawn", { amount = 5 }))'
      )
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: withdraw { amount = 1 }",
        "  expected: Withdrawn { amount = 1 }",
        '  got:      rejected, "insufficient_funds" { balance = 0 }',
      }, "\n"),
      bank [[given():when("withdraw", { amount = 1 }):expect(event("Withdrawn", { amount = 1 }))]]
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: split {}",
        "  expected: accepted, and nothing happened",
        "  got:      Withdrawn { amount = 1 }",
        "            Deposited { amount = 1 }",
      }, "\n"),
      bank [[given():when("split"):expect()]]
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: withdraw { amount = 1 }",
        '  expected: rejected, "insufficient_funds" { balance = 1 }',
        '  got:      rejected, "insufficient_funds" { balance = 0 }',
        "  where they differ:",
        "    balance: expected 1, got 0",
      }, "\n"),
      bank [[given():when("withdraw", { amount = 1 }):rejected("insufficient_funds", { balance = 1 })]]
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: deposit { amount = 0 }",
        '  expected: rejected, "no"',
        "  got:      invalid, amount: expected an integer, at least 1, got 0",
      }, "\n"),
      bank [[given():when("deposit", { amount = 0 }):rejected("no")]]
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: look {}",
        "  expected: invalid, amount",
        "  got:      accepted, and nothing happened",
      }, "\n"),
      bank [[given():when("look"):invalid("amount")]]
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: the state is another one",
        "  expected: { balance = 1, open = true }",
        "  got:      { balance = 0 }",
        "  where they differ:",
        "    balance: expected 1, got 0",
        "    open: expected true, got nothing",
      }, "\n"),
      bank [[given():state { balance = 1, open = true }]]
    )
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: account: split {}",
        "  expected: Withdrawn { amount = 1 }",
        "            Deposited { amount = 2 }",
        "  got:      Withdrawn { amount = 1 }",
        "            Deposited { amount = 1 }",
        "  where they differ:",
        "    event 2, data.amount: expected 2, got 1",
      }, "\n"),
      bank [[given():when("split"):expect(event("Withdrawn", { amount = 1 }), event("Deposited", { amount = 2 }))]]
    )
  end)

  it("says what a spec gets wrong", function()
    local cases = {
      {
        [[given():when("depost", {})]],
        'account decides no command "depost"; did you mean "deposit"?',
      },
      {
        [[given():when("deposit", 5)]],
        "when: the data of deposit must be a map; got 5",
      },
      {
        [[given(event("Depositd"))]],
        'nobody evolves "Depositd"; did you mean "Deposited"?',
      },
      {
        [[given(5)]],
        "given: item 1 must be event(type, data) or an actor's id; got 5",
      },
      { [[given():expect()]], ':expect comes after :when("command", data)' },
      {
        [[given():when("look"):expect(5)]],
        ":expect wants events made by event(type, data); got 5",
      },
      { [[given():when("look"):rejected()]], ":rejected wants the reason" },
      {
        [[given("order/1", event("Deposited"))]],
        "given: a scenario of account cannot take events of order",
      },
    }
    for _, case in ipairs(cases) do
      local message = bank(case[1])
      assert.is_truthy(
        message:find("spec/some_spec.lua:4: " .. case[2], 1, true),
        message
      )
    end
  end)

  it("catches a decide that changes its state", function()
    assert.equal(
      table.concat({
        "spec/some_spec.lua:4: decide.deposit changes its state: "
          .. "decide only says what happened, evolve changes the state",
        "  bank/account.lua:5",
        "    list[1]: expected nothing, got 1",
      }, "\n"),
      deposit('state.list[1] = 1 return event("Deposited")')
    )
  end)

  it("catches a decide that is not repeatable", function()
    local message =
      deposit('count = count + 1 return event("Deposited", { n = count })')
    assert.matches(
      "decide.deposit is not repeatable: with the same state, data and ctx it decided in two ways",
      message
    )
    assert.matches("%[1%].data.n: expected 1, got 2", message)
  end)

  it("catches a decide that returns nothing, or something else", function()
    local cases = {
      {
        "",
        "decide.deposit returned nothing\n  bank/account.lua:5: return an event, a list of events, {}",
      },
      { "return nil", "decide.deposit returned nothing" },
      {
        "return true",
        "decide.deposit returned true\n  bank/account.lua:5: return an event",
      },
      {
        'return { type = "Deposited" }',
        'returned a table that is no list of events\n  bank/account.lua:5: it has the key "type"',
      },
      {
        'return { { type = "Deposited" } }',
        "a plain table is no event: make it with event(type, data)",
      },
      {
        'return event("Deposited"), event("Deposited")',
        "decide.deposit returned several values",
      },
      {
        'return nil, "no", {}, 5',
        'returned more than nil, "reason", details',
      },
      {
        'return nil, "no", print',
        "gave details that cannot be stored\n  bank/account.lua:5: details is a function",
      },
      {
        'return event("Paid")',
        'bank/account.lua:5: nobody evolves "Paid": write evolve.Paid',
      },
      {
        'return event("Deposited", { f = print })',
        "decided Deposited, which cannot be stored\n  bank/account.lua:5: data.f is a function",
      },
      {
        'return event("Deposited", {}, { revision = 2 })',
        "new events have the current revision, 1",
      },
    }
    for _, case in ipairs(cases) do
      local message = deposit(case[1])
      assert.is_truthy(message:find("^spec/some_spec.lua:4: "), message)
      assert.is_truthy(message:find(case[2], 1, true), message)
    end
  end)

  it("shows an error of a handler with its line", function()
    local message = deposit("local x = state.nothing.here return x")
    assert.matches(
      "^spec/some_spec.lua:4: decide.deposit raised an error\n  bank/account.lua:5: attempt to index",
      message
    )
    assert.matches(
      'bank/account.lua:5: event type "deposited" is not CamelCase',
      deposit('return event("deposited")')
    )
    assert.matches(
      'bank/account.lua:5: event type "deposited" is not CamelCase',
      deposit('local e = event("deposited") return e')
    )
  end)

  it(
    "catches an evolve that is not repeatable, or leaves what cannot be stored",
    function()
      local function evolve(body)
        local source = ([[
        local count = 0
        return { decide = {}, evolve = { Deposited = function(state) count = count + 1 %s end } }
      ]]):format(body)
        return run(
          app { ["account.lua"] = source },
          'scenario("account")(require("aether.event")("Deposited"))'
        )
      end
      assert.matches(
        "evolve.Deposited is not repeatable: it evolved the same state in two ways",
        evolve("state.n = count")
      )
      assert.matches(
        "evolve.Deposited left a state that cannot be stored\n  state.f is a function",
        evolve("state.f = print")
      )
      assert.matches("evolve.Deposited raised an error", evolve('error("no")'))
    end
  )
end)

describe("the surroundings of a module in a spec", function()
  local function module(body)
    return run(
      app {
        ["account.lua"] = body
          .. "\nreturn { decide = { go = GO }, evolve = {} }",
      },
      'scenario("account")():when("go"):expect()'
    )
  end

  it("lack what a node lacks", function()
    for _, case in ipairs {
      { "os.time()", "os is not there in a node: the time is ctx.now" },
      { "io.open('x')", "io is not there in a node" },
      {
        "math.random()",
        "math.random is not there in a node: use ctx.random()",
      },
      { "load('x')", "load is not there in a node" },
      { "debug.traceback()", "debug is not there in a node" },
      { "package.loaded.x = 1", "package is not there in a node" },
      {
        "setmetatable({}, { __mode = 'k' })",
        "weak tables are not there in a node",
      },
    } do
      local message = module("GO = function() " .. case[1] .. " return {} end")
      assert.is_truthy(
        message:find("account.lua:1: " .. case[2], 1, true),
        message
      )
    end
    assert.equal(
      "passes",
      module("GO = function() assert(string.dump == nil) return {} end")
    )
  end)

  it("refuse global writes after the load", function()
    assert.matches(
      "account.lua:1: total is written as a global",
      module("GO = function() total = 1 return {} end")
    )
  end)

  it("walk tables in the order of their keys", function()
    local body = [[
      local names = {}
      for i = 26, 1, -1 do names[string.char(96 + i)] = i end
      names[2], names[1] = true, true
      GO = function()
        local order, key = {}, nil
        for name in pairs(names) do order[#order + 1] = name end
        local text = table.concat(order)
        assert(text == "12abcdefghijklmnopqrstuvwxyz", text)
        for _, name in ipairs(order) do
          key = next(names, key)
          assert(key == name)
        end
        assert(next(names, key) == nil and next({}) == nil)
        return {}
      end]]
    assert.equal("passes", module(body))
  end)

  it("let a loop clear what it walks over", function()
    assert.equal(
      "passes",
      module([[GO = function()
        local t, seen = { a = 1, b = 2, c = 3 }, 0
        for k in pairs(t) do t[k] = nil t.c = nil seen = seen + 1 end
        assert(seen == 2 and next(t) == nil)
        return {}
      end]])
    )
  end)

  it("reach the files of the namespace and aether.*", function()
    local root = app {
      ["bank/account.lua"] = [[
        local fees = require("fees")
        return { decide = { go = function() return nil, fees.word end }, evolve = {} }]],
      ["bank/fees.lua"] = 'return { word = "too_high", value = require("aether.value") }',
    }
    assert.equal(
      "passes",
      run(root, 'scenario("account")():when("go"):rejected("too_high")')
    )
    assert.matches(
      'there is no module "lfs": require reaches aether%.%* and the files of bank',
      run(
        app { ["bank/account.lua"] = 'require("lfs")' },
        'scenario("account")'
      )
    )
    assert.matches(
      'require goes round: "account" is still being loaded',
      run(app { ["account.lua"] = 'require("account")' }, 'scenario("account")')
    )
  end)
end)

describe("finding a module", function()
  local EMPTY = "return { decide = {}, evolve = {} }"

  it("looks into each folder with modules, and the app's own", function()
    assert.equal(
      "passes",
      run(app { ["account.lua"] = EMPTY }, 'scenario("account")')
    )
    assert.equal(
      "passes",
      run(app { ["bank/account.lua"] = EMPTY }, 'scenario("account")')
    )
    assert.equal(
      "passes",
      run(app { ["a/x.lua"] = EMPTY, ["b/x.lua"] = EMPTY }, 'scenario("b/x")')
    )
    assert.equal(
      'spec/some_spec.lua:3: "x" is in several namespaces: say which, as in "a/x"',
      run(app { ["a/x.lua"] = EMPTY, ["b/x.lua"] = EMPTY }, 'scenario("x")')
    )
  end)

  it("follows aether.lua where there is one", function()
    local files = {
      ["aether.lua"] = 'return { namespaces = { money = { modules = "src" } } }',
      ["src/account.lua"] = ACCOUNT,
      ["other/account.lua"] = "no Lua at all",
    }
    assert.equal(
      "passes",
      run(app(files), 'scenario("account")():state { balance = 0 }')
    )
    assert.equal("passes", run(app(files), 'scenario("money/account")'))
  end)

  it("says what is there where the name is not", function()
    local message =
      run(app { ["bank/account.lua"] = EMPTY }, 'scenario("acount")')
    assert.matches(
      '^spec/some_spec.lua:3: there is no module "acount" under .*; did you mean "account"%?$',
      message
    )
    assert.matches(
      "scenario wants the name of a module",
      run(app {}, "scenario(5)")
    )
  end)

  it("knows the standard policies", function()
    assert.equal(
      "passes",
      run(app {}, 'scenario("never")():conflict {}:gives_up("not_retried")')
    )
    assert.equal(
      "passes",
      run(
        app {},
        'scenario("backoff")():conflict { attempt = 3 }:retries { 4, 8 }'
      )
    )
  end)

  it("lists the mistakes of a module", function()
    assert.equal(
      table.concat({
        "spec/some_spec.lua:3: bank/account.lua breaks the contract of a module",
        '  an aggregate has no key "evolv"; did you mean "evolve"?',
        "  evolve is missing: each event that decide makes needs an entry there",
      }, "\n"),
      run(
        app { ["bank/account.lua"] = "return { decide = {}, evolv = {} }" },
        'scenario("account")'
      )
    )
    assert.matches(
      "the module account cannot be loaded\n  bank/account.lua:1: ",
      run(app { ["bank/account.lua"] = "return {" }, 'scenario("account")')
    )
    assert.matches(
      "is a library: a spec can require it",
      run(app { ["bank/fees.lua"] = "return {}" }, 'scenario("fees")')
    )
  end)
end)

describe("a scenario of a projection", function()
  local BALANCES = [[
    local balances = { from = "account", row = { balance = 0 }, version = 1 }
    balances.project = {
      Deposited = function(row, deposited, event)
        row.balance = row.balance + deposited.amount
        row.at = event.version
      end,
      Closed = function() return false end,
      ["account.Withdrawn"] = function(row, withdrawn) row.balance = row.balance - withdrawn.amount end,
      Withdrawn = function() error("the full name goes first") end,
    }
    return balances]]

  local function balances(text)
    local root =
      app { ["bank/account.lua"] = ACCOUNT, ["bank/balances.lua"] = BALANCES }
    return run(root, 'local given = scenario("balances")\n' .. text)
  end

  it("folds events into rows", function()
    assert.equal(
      "passes",
      balances [[
        given("a-1", event("Deposited", { amount = 5 }), event("Withdrawn", { amount = 2 }),
            "a-2", event("Deposited", { amount = 1 }), "account/a-3", event("Deposited", { amount = 9 }),
            event("Closed"), "order/a-4", event("Deposited", { amount = 9 }), "a-1", event("Unheard"))
          :row("a-1", { balance = 3, at = 1 })
          :row("a-2", { balance = 1, at = 1 })
          :row("a-3", false)
          :row("a-4", false)
        given(event("Deposited", { cents = 5 }, { revision = 1 })):row("1", { balance = 5, at = 1 })
      ]]
    )
  end)

  it("shows where a row differs", function()
    assert.equal(
      table.concat({
        'spec/some_spec.lua:4: balances: the row "1" is another one',
        "  expected: { at = 1, balance = 4 }",
        "  got:      { at = 1, balance = 5 }",
        "  where they differ:",
        "    balance: expected 4, got 5",
      }, "\n"),
      balances [[given(event("Deposited", { amount = 5 })):row("1", { at = 1, balance = 4 })]]
    )
    assert.matches(
      "expected nothing, got { at = 1",
      balances [[given(event("Deposited", { amount = 5 })):row("1", false)]]
    )
    assert.matches(":row wants what the row", balances [[given():row("1")]])
  end)

  local function projection(body, key)
    local source = ('local n = 0 return { from = "*", %s project = { Made = function(row, made) %s end } }'):format(
      key or "",
      body
    )
    return run(
      app { ["made.lua"] = source },
      'scenario("made")(event("Made", { to = "x" })):row("x", { n = 1 }):row("y", { n = 1 })'
    )
  end

  it("takes the key from the module", function()
    assert.equal(
      "passes",
      projection(
        "row.n = 1",
        'key = function(event) return { event.data.to, "y" } end,'
      )
    )
    assert.matches(
      "key must return a text or a list of texts",
      projection("row.n = 1", "key = function() return 5 end,")
    )
    assert.equal(
      "passes",
      projection(
        "row.n = 1",
        'key = function(event, rows) assert(rows.x == nil) return { "x", "y" } end,'
      )
    )
  end)

  it("catches what a node would refuse", function()
    local key = 'key = function() return { "x", "y" } end,'
    assert.matches("project.Made returned 5", projection("return 5", key))
    assert.matches(
      "project.Made is not repeatable",
      projection("n = n + 1 row.n = n", key)
    )
    assert.matches(
      "project.Made left a row that cannot be stored\n  row.f is a function",
      projection("row.f = print", key)
    )
    assert.matches(
      "project.Made raised an error",
      projection("error('no')", key)
    )
  end)
end)

describe("a scenario of a process", function()
  local TRANSFER = [[
    local command = require("aether.command")
    local transfer = {
      from = "account",
      initial = { step = 0 },
      key = function(event) return event.data.transfer_id end,
    }
    transfer.react = {
      TransferRequested = function(state, requested, ctx)
        state.from, state.amount = ctx.event.actor_id, requested.amount
        ctx.after(5000, command("account", state.from, "remind"))
        return command("account", state.from, "withdraw", { amount = state.amount }),
          command("account", requested.to, "deposit", { amount = state.amount })
      end,
      rejected = function(state, rejection, ctx)
        if rejection.command.name == "deposit" then
          return command("account", state.from, "deposit", { amount = state.amount })
        end
        ctx.finish()
      end,
    }
    return transfer]]

  local function transfer(text)
    return run(
      app { ["bank/transfer.lua"] = TRANSFER },
      'local given = scenario("transfer")\n' .. text
    )
  end

  it("sends commands, and hears of rejections", function()
    assert.equal(
      "passes",
      transfer [[
        local requested = event("TransferRequested", { transfer_id = "t", amount = 5, to = "b" })
        local back = command("account", "b", "deposit", { amount = 5 })
        given("a", requested)
          :sends(command("account", "a", "withdraw", { amount = 5 }), back)
          :sends_after(5000, command("account", "a", "remind"))
          :state { step = 0, from = "a", amount = 5 }
          :when_rejected { command = back, error = { reason = "closed" } }
          :sends(command("account", "a", "deposit", { amount = 5 }))
          :when_rejected { command = command("account", "a", "withdraw"), error = {} }
          :sends()
          :finished()
        given("a", event("TransferRequested", { amount = 5, to = "b" })):sends()
        given("order/a", requested):sends()
      ]]
    )
  end)

  it("shows which commands differ", function()
    local message =
      transfer [[given("a", event("TransferRequested", { transfer_id = "t", amount = 5, to = "b" })):sends()]]
    assert.matches(
      "^spec/some_spec.lua:4: transfer: it sends other commands",
      message
    )
    assert.matches('%[1%]: expected nothing, got { actor_id = "a"', message)
    assert.matches(
      "transfer: it is not finished",
      transfer [[given():finished()]]
    )
    assert.matches(
      "transfer has no react.failed",
      transfer [[given():when_failed {}]]
    )
    assert.matches(
      "comes after an event that the process reacted to",
      transfer [[given():when_rejected {}]]
    )
  end)

  it("catches a react that answers otherwise", function()
    local source =
      'return { from = "*", react = { Made = function() return 5 end } }'
    assert.matches(
      "react.Made returned 5\n  made.lua:1: return what command",
      run(app { ["made.lua"] = source }, 'scenario("made")(event("Made"))')
    )
  end)
end)

describe("a scenario of a policy", function()
  local function policy(body, text)
    local source = "local n = 0 return { retry = function(conflict, ctx) "
      .. body
      .. " end }"
    return run(
      app { ["patient.lua"] = source },
      'local given = scenario("patient")\n' .. text
    )
  end

  it("asks for a delay or a reason", function()
    local body = [[
      if conflict.attempt > 2 then return nil, "enough" end
      if #conflict.events == 1 and conflict.events[1].type == "Deposited" then return 0 end
      return 10 * conflict.attempt + ctx.random(0, 5)]]
    assert.equal(
      "passes",
      policy(
        body,
        [[
        given():conflict { attempt = 2 }:retries { 20, 25 }:retries()
        given():conflict { attempt = 3 }:gives_up("enough"):gives_up()
        given(event("Deposited")):conflict { command = { name = "deposit", data = {} } }:retries(0)
      ]]
      )
    )
    assert.equal(
      'spec/some_spec.lua:4: patient\n  expected: retries after 5 ms\n  got:      gives up: "enough"',
      policy(body, "given():conflict { attempt = 3 }:retries(5)")
    )
    assert.equal(
      'spec/some_spec.lua:4: patient\n  expected: gives up: "enough"\n  got:      retries after 0 ms',
      policy(body, 'given(event("Deposited")):conflict {}:gives_up("enough")')
    )
  end)

  it("catches what a node would refuse", function()
    local ask = "given():conflict {}"
    assert.matches(
      "retry returned nil\n  patient.lua:1: return milliseconds from 0",
      policy("", ask)
    )
    assert.matches("retry returned %-1", policy("return -1", ask))
    assert.matches('retry returned "5"', policy('return "5"', ask))
    assert.matches("retry is not repeatable", policy("n = n + 1 return n", ask))
    assert.matches(
      'a conflict has no "attempts"; did you mean "attempt"%?',
      policy("return 0", "given():conflict { attempts = 2 }")
    )
    assert.matches(
      ":retries comes after :conflict",
      policy("return 0", "given():retries()")
    )
  end)
end)

describe("busted", function()
  it(
    "counts what a scenario raises as a failure, with the spec's line",
    function()
      local root = app { ["account.lua"] = ACCOUNT }
      local handle = assert(io.open(root .. "/spec/account_spec.lua", "w"))
      handle:write [[
local given = require("aether.scenario")("account")
it("fails", function()
  given():state({ balance = 1 })
end)
]]
      handle:close()
      local here = lfs.currentdir()
      local run_busted =
        "cd '%s' && busted --lua=luajit --lpath='%s/lua/?.lua' -o plainTerminal spec 2>&1"
      local pipe = assert(io.popen(run_busted:format(root, here)))
      local text = pipe:read("*a")
      pipe:close()
      assert.matches("0 successes / 1 failure / 0 errors", text)
      assert.matches(
        "spec/account_spec.lua:3: account: the state is another one",
        text
      )
      assert.matches("balance: expected 1, got 0", text)
    end
  )
end)
