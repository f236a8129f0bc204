-- `aether repl`: what a person, or a script, asks of a namespace.
local counter = require("spec.support.counter")
local program = require("spec.support.program")
local terminal = require("spec.support.terminal")

local account = [[
local event = require("aether.event")
local schema = require("aether.schema")
local account = {
  initial = { balance = 0 },
  schema = { deposit = { amount = schema.integer { min = 1 } } },
}
account.decide = {
  deposit = function(_, deposit)
    return event("Deposited", { amount = deposit.amount })
  end,
  withdraw = function(state, withdraw)
    if withdraw.amount > state.balance then
      return nil, "insufficient_funds", { balance = state.balance }
    end
    return event("Withdrawn", { amount = withdraw.amount })
  end,
}
account.evolve = {
  Deposited = function(state, deposited)
    state.balance = state.balance + deposited.amount
  end,
  Withdrawn = function(state, withdrawn)
    state.balance = state.balance - withdrawn.amount
  end,
}
return account
]]

describe("aether repl #node", function()
  local folder, running

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    program.fill(folder, { ["cell/account.lua"] = account })
  end)

  after_each(function()
    if running then
      running:finish()
    end
    running = nil
    program.remove(folder)
  end)

  -- Runs an input; what was printed, and what went wrong.
  local function ask(text, ...)
    local result = program.run_aether(
      { "repl", "-C", folder, ... },
      { stdin = text, env = { HOME = folder } }
    )
    assert(result.signal == nil, result.err)
    local problems = {}
    for line in result.err:gmatch("[^\n]+") do
      if not line:find("reading the app's own store", 1, true) then
        problems[#problems + 1] = line
      end
    end
    return result.out, table.concat(problems, "\n"), result.status
  end

  local function store(...)
    local result = program.run_aether(
      { "exec", "-C", folder, "-" },
      { stdin = table.concat({ ... }, "\n") }
    )
    assert.equal(0, result.status, result.err .. result.out)
  end

  it("prints results so that they can be read", function()
    local out, problems, status = ask([[
x = { b = 2, a = 1, [3] = "three", list = { 1, 2 }, f = print }
x
9007199254740993LL, -1LL, 18446744073709551615ULL, 0.1, 1e300
"größe\n", "\255\0a", value.null, {}, value.array {}
for i = 1, 2 do
  print(i, x.list[i])
end

nil
("long "):rep(10), { one = ("long "):rep(10), two = { three = ("l"):rep(30) } }
]])
    assert.equal("", problems)
    assert.equal(0, status)
    assert.equal(
      [[
{ [3] = "three", a = 1, b = 2, f = <function>, list = { 1, 2 } }
9007199254740993
-1
18446744073709551615
0.1
1e+300
"größe\n"
"\255\000a"
null
{}
array {}
1	1
2	2
nil
"long long long long long long long long long long "
{
  one = "long long long long long long long long long long ",
  two = { three = "llllllllllllllllllllllllllllll" },
}
]],
      out
    )
  end)

  it("decides on events, and says what it would do", function()
    local out, problems, status = ask([[
given(event("Deposited", { amount = 10 })):when("withdraw", { amount = 4 })
given(event("Deposited", { amount = 10 })):when("withdraw", { amount = 11 })
given("account"):when("deposit", { amount = 9007199254740993LL }):when("withdraw", { amount = 1 }).state
given("counter", event("Added", { n = 2 })):when("refuse").details
]])
    assert.equal("", problems)
    assert.equal(0, status)
    assert.equal(
      [[
{
  events = { event("Withdrawn", { amount = 4 }) },
  state = { balance = 6 },
  type = "account",
  version = 2,
}
{
  details = { balance = 10 },
  rejected = "insufficient_funds",
  state = { balance = 10 },
  type = "account",
  version = 1,
}
{ balance = 9007199254740992 }
{ count = 1 }
]],
      out
    )
    assert.is_false(program.exists(folder .. "/data/events.db"))
  end)

  it("decides on what is stored, and stores nothing", function()
    local _, problems, status = ask('state("counter/a")')
    assert.equal(1, status)
    assert(problems:find("there is no store", 1, true), problems)
    store(counter.add("a", 5), counter.add("a", 6), counter.add("b/c", 1))
    local stored = program.run_aether({ "events", "-C", folder, "cell" }).out
    local out
    out, problems, status = ask([[
state("counter/a")
state("counter/a", 1)
state("cell/counter/b/c").sum
state("counter/none")
given("counter/a"):when("add", { n = 7 }):when("add", { n = 8 })
given("counter/a", event("Added", { n = 100 })):when("refuse").details
local s = state("counter/a"); s.count = 0; print(s.count)
state("counter/a").count
]])
    assert.equal("", problems)
    assert.equal(0, status)
    assert.equal(
      [[
{ count = 2, sum = 11 }
{ count = 1, sum = 5 }
1
{ count = 0, sum = 0 }
{
  events = { event("Added", { n = 8 }) },
  id = "a",
  state = { count = 4, sum = 26 },
  type = "counter",
  version = 4,
}
{ count = 3 }
0
2
]],
      out
    )
    assert.equal(
      stored,
      program.run_aether({ "events", "-C", folder, "cell" }).out
    )
  end)

  it("says what is wrong, goes on, and ends with 1", function()
    local cases = {
      { "1 +\n", "^stdin:1: the input ends" },
      { "x = = 1", "^stdin:1: unexpected symbol near '='" },
      { "local x\n\nx = )", "^stdin:3: unexpected symbol" },
      { "print(nope)", '^stdin:1: global "nope" is not defined' },
      { "\n\nnope = nope + 1", '^stdin:3: global "nope"' },
      { "error({ a = 1 })", "^the error is { a = 1 }$" },
      { "account.decide.withdraw()", "^cell/account.lua:12: attempt to index" },
      {
        "local function f() account.decide.withdraw() end f()",
        "^cell/account.lua:12: .*\n    stdin:1 in f\n    stdin:1$",
      },
      { 'given("account"):when("withdra", {})', 'did you mean "withdraw"' },
      { 'given("acount"):when("withdraw", {})', 'did you mean "account"' },
      { 'given("account"):when("deposit", { amount = 0 })', "deposit: amount" },
      {
        'given("account"):when("withdraw", {})',
        "^cell/account.lua:12: attempt to compare",
      },
      { 'given("account"):when("withdraw", 5)', "the data of a command is a map" },
      { 'given("account").when("withdraw")', "write a colon" },
      { "given(5)", "given wants an actor" },
      { 'given(event("Nope")):when("add", {})', 'no aggregate has both "add"' },
      { 'given():when("nope")', 'no aggregate of namespace cell has a command "nope"' },
      { "state(5)", "state wants an actor" },
      { 'state("nope/a")', 'no aggregate "nope"' },
      { 'help("acount")', 'did you mean "account"' },
      { 'io.open("x")', "io is not available" },
      { "os.exit()", "os is not available" },
      { "string.rep = nil", "read%-only\"?" },
      { "coroutine.yield()", "no coroutine to leave" },
      { "\27LJ", "wrong mode" },
    }
    for _, case in ipairs(cases) do
      local out, problems, status = ask(case[1] .. "\n")
      assert.matches(case[2], problems, case[1])
      assert.equal(1, status, case[1])
      assert.equal("", out, case[1])
    end
    local out, problems, status = ask("nope\n1 + 1\n")
    assert.equal("2\n", out)
    assert.matches("nope", problems)
    assert.equal(1, status)
  end)

  it("ends what takes too long or too much, and goes on", function()
    program.fill(folder, {
      ["cell/loop.lua"] = [[
return {
  initial = {},
  decide = { spin = function() while true do end end },
  evolve = {},
}
]],
    })
    store(counter.add("a", 5))
    for _, text in ipairs({
      "while true do end",
      "while true do pcall(function() while true do end end) end",
      "coroutine.wrap(function() while true do end end)()",
      "local function f() return f() end f()",
      'while true do state("counter/a") end',
      "table.sort({ 3, 2, 1 }, function() while true do end end)",
      'given("loop"):when("spin")',
    }) do
      local out, problems, status =
        ask(text .. "\n1 + 1\n", "cell", "--timeout", "200")
      assert.matches("stopped: it took more than 200 ms", problems, text)
      assert.equal("2\n", out, text)
      assert.equal(1, status)
    end
    -- Inside of a function of the library, which no error ends.
    local out, problems = ask(
      'x = 1\nreturn ("a"):rep(100000):find((".-"):rep(8) .. "b")\n1 + 1\n',
      "cell", "--timeout", "200")
    assert.equal("2\n", out)
    assert.matches("stopped: it took more than 200 ms %(%-%-timeout%); what was assigned is gone", problems)
    assert.is_nil(problems:find("handler", 1, true), problems)
    program.write(
      folder .. "/aether.lua",
      'return { namespaces = { cell = { modules = "cell", limits = { memory_mb = 4 } } } }'
    )
    out, problems = ask([[
local t = {} ; while true do t[#t + 1] = ("x"):rep(1000) .. #t end
1 + 1
]])
    assert.matches("more memory than the 4 MB", problems)
    assert.equal("2\n", out)
  end)

  it("wants one namespace, and says which there are", function()
    program.fill(folder, { ["other/thing.lua"] = "return { a = 1 }" })
    local result = program.run_aether({ "repl", "-C", folder })
    assert.equal(2, result.status)
    assert(result.err:find("cell, other", 1, true), result.err)
    assert.equal("1\n", (ask("thing.a\n", "other")))
    result = program.run_aether({ "repl", "-C", folder, "othr" })
    assert.equal(3, result.status)
    assert(result.err:find("other", 1, true), result.err)
  end)

  it("edits, completes, remembers and interrupts on a terminal", function()
    local options = {
      env = { HOME = folder, XDG_STATE_HOME = false, LC_ALL = "C.UTF-8" },
    }
    running = terminal.start_aether({ "repl", "-C", folder }, options)
    running:wait_for_prompt("cell> ")
    running:type("1 + 41\r")
    running:wait_for("\n42")
    running:wait_for_prompt("cell> ")
    -- An input of several lines.
    running:type("for i = 1, 2 do\r")
    running:wait_for_prompt("    > ")
    running:type('print("line " .. i) end\r')
    running:wait_for("line 1")
    running:wait_for("line 2")
    running:wait_for_prompt("cell> ")
    -- Words: of a global, of a module, of a command.
    running:type('giv\t("acc\t"):wh\t("depo\t", { amount = 12 }).st\8\8state\r')
    running:wait_for("{ balance = 12 }")
    running:wait_for_prompt("cell> ")
    running:type("string.re\t")
    running:wait_for("rep      reverse")
    running:type("verse('abc')\r")
    running:wait_for('"cba"')
    running:wait_for_prompt("cell> ")
    -- Ctrl-C: a line, and what runs.
    running:type("1 + 1000\3")
    running:wait_for("^C")
    running:wait_for_prompt("cell> ")
    running:type("print(6 * 7) while true do end\r")
    running:wait_for("\n42")
    running:type("\3")
    running:wait_for("interrupted")
    running:wait_for_prompt("cell> ")
    -- Characters of several bytes; arrow left, and one taken away.
    running:type('"grüße"\27[D\27[D\127\r')
    running:wait_for('\n"grüe"')
    running:wait_for_prompt("cell> ")
    running:type("\4")
    assert.equal(0, running:wait().status)

    -- What was typed is there again.
    running = terminal.start_aether({ "repl", "-C", folder }, options)
    running:wait_for_prompt("cell> ")
    running:type("\27[A\27[A\27[A\r")
    running:wait_for('"cba"')
    running:wait_for_prompt("cell> ")
    running:type("\4")
    assert.equal(0, running:wait().status)
    local history = folder .. "/.local/state/aether/history"
    assert.equal(
      "600 " .. history .. "\n",
      program.run({ "stat", "-c", "%a %n", history }).out
    )
  end)
end)
