-- Reloading a node that has history: what is refused, and that the old code
-- goes on; rollback, revisions, and saves in `aether dev`.
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local long = os.getenv("AETHER_LONG") ~= nil

local MODULE = [[
local event = require("aether.event")
local account = {
  initial = { balance = 0 },
  snapshot = { version = 1, every = 4 },
}
account.decide = {
  deposit = function(_, deposit) return event("Deposited", { amount = deposit.amount }) end,
  close = function() return event("Closed") end,
}
account.evolve = {
  Deposited = function(state, deposited) state.balance = state.balance + deposited.amount end,
  Closed = function(state) state.closed = true end,
}
return account
]]

-- The module with some of its lines changed.
local function changed(...)
  local text = MODULE
  for _, pair in ipairs({ ... }) do
    local from, to = text:find(pair[1], 1, true)
    assert(from, pair[1])
    text = text:sub(1, from - 1) .. pair[2] .. text:sub(to + 1)
  end
  return text
end

local DEPOSITED =
  "Deposited = function(state, deposited) state.balance = state.balance + deposited.amount end,"

describe("reload of a node with history #node", function()
  local folder, node

  local function write(text, name)
    program.fill(folder, { [name or "bank/account.lua"] = text })
  end

  local function start(command, args)
    node = server.start(folder, {
      command = command or "run",
      args = args or { "--store", "sqlite:" .. folder .. "/events.db" },
      seconds = 600,
    })
  end

  local function aether(...)
    return program.run_aether(
      { "-C", folder, ... },
      { env = { AETHER_URL = node.url } }
    )
  end

  local function post(path, body)
    local answer = node:request(
      "POST",
      path,
      { ["Content-Type"] = "application/json" },
      body or "{}"
    )
    return answer.status, json.decode(answer.body)
  end

  local function deposit(id, amount)
    local status, outcome = post(
      "/v1/bank/account/" .. id .. "/deposit",
      ('{"amount":%d}'):format(amount or 1)
    )
    assert.equal(200, status, json.encode(outcome))
    return outcome
  end

  local function state(id)
    local answer = node:request("GET", "/v1/bank/account/" .. id, {})
    return json.decode(answer.body).state
  end

  local function revisions()
    local answer =
      node:request("GET", "/v1/admin/revisions?namespace=bank", {})
    return json.decode(answer.body).revisions
  end

  before_each(function()
    folder = program.folder()
    write(MODULE)
    program.write(
      folder .. "/aether.lua",
      'return { namespaces = { bank = { limits = { handler_ms = 20 } } } }'
    )
  end)

  after_each(function()
    if node and not node.process.ended then
      node:kill(9)
      node:wait()
    end
    program.remove(folder)
  end)

  -- What a refusal says, and that nothing has changed.
  local function refused(text, code, ...)
    local before = deposit("a")
    write(text)
    local status, problem = post("/v1/admin/reload?namespace=bank")
    assert(status >= 400, text)
    assert.equal(code, problem.code, json.encode(problem))
    assert.equal("bank", problem.namespace)
    for _, part in ipairs({ ... }) do
      local all = json.encode(problem)
      assert(all:find(part, 1, true), all .. "\nlacks " .. part)
    end
    local after = deposit("a")
    assert.equal(before.version + 1, after.version)
    assert.equal(
      before.events[1].metadata.module_revision,
      after.events[1].metadata.module_revision
    )
    assert.equal(after.version, state("a").balance)
    write(MODULE)
    return problem
  end

  it("is refused for every kind of mistake, and the old code goes on", function()
    start()
    for _ = 1, 6 do
      deposit("b")
    end
    -- syntax
    refused(changed({ "return account", "return account end" }), "script_error",
      "bank/account.lua:14:", "'<eof>' expected near 'end'")
    -- a handler that is none, and a key that is none
    refused(changed({ "close = function() return event(\"Closed\") end", "close = 7" }),
      "contract_error", "decide.close must be a function")
    refused(changed({ "initial =", "inital =" }), "contract_error",
      "did you mean \\\"initial\\\"?")
    -- without an end
    refused(changed({ "return account", "while true do end" }), "script_timeout",
      "bank/account.lua: loading was stopped", "\"limit\":200")
    refused("error('not today')", "script_error", "bank/account.lua:1: not today")
    -- handlers that stored events need
    local problem = refused(changed({ DEPOSITED, "" }), "contract_error",
      "account takes Deposited of revision 1 no more", "bank/account/b, version 1",
      "keep evolve.Deposited")
    assert.equal("mistake", problem.findings[1].kind)
    assert.is_true(problem.findings[1].refuses)
    -- history that fails
    problem = refused(
      changed({ DEPOSITED, "Deposited = function(state) state.balance = state.balance + nil end," }),
      "script_error", "bank/account.lua:11:", "replaying version 1", "bank/account/"
    )
    assert.equal("failure", problem.findings[1].kind)
    problem = refused(
      changed({ DEPOSITED, "Deposited = function() while true do end end," }),
      "script_timeout", "evolve.Deposited was stopped"
    )
    assert.equal("failure", problem.findings[1].kind)
    -- a state that differs
    problem = refused(
      changed({ "state.balance + deposited.amount", "state.balance + 2 * deposited.amount" }),
      "contract_error", "bank/account/b at version 6 would have another state",
      "raise snapshot.version in " .. folder .. "/bank/account.lua"
    )
    local by_actor = {}
    for _, finding in ipairs(problem.findings) do
      by_actor[finding.actor] = finding
    end
    local finding = by_actor["bank/account/b"]
    assert.equal("difference", finding.kind)
    assert.same({ { path = "balance", before = 6, after = 12 } }, finding.changes)
    -- the folder is gone
    program.run({ "mv", folder .. "/bank", folder .. "/elsewhere" })
    local status, gone = post("/v1/admin/reload")
    assert.equal(500, status)
    assert.matches("cannot read the folder", gone.detail)
    program.run({ "mv", folder .. "/elsewhere", folder .. "/bank" })
    assert.equal(1, #revisions())
    assert.is_false(node:said("bug"))
    node:stop()
  end)

  it("goes on where snapshot.version says so, and shows what differs", function()
    start()
    for _ = 1, 6 do
      deposit("a")
    end
    write(changed(
      { "version = 1", "version = 2" },
      { "state.balance + deposited.amount", "state.balance + 2 * deposited.amount" }
    ))
    local status, answer = post("/v1/admin/reload?namespace=bank")
    assert.equal(200, status, json.encode(answer))
    assert.equal(1, answer.reloaded[1].actors)
    assert.equal(6, answer.reloaded[1].events)
    assert.equal(1, #answer.findings)
    assert.equal("difference", answer.findings[1].kind)
    assert.is_false(answer.findings[1].refuses)
    assert.same({ balance = 12 }, state("a"))
    deposit("a", 5)
    assert.same({ balance = 22 }, state("a"))
    node:stop()
  end)

  it("lets go of what no stored event needs, and says what commands are gone", function()
    start()
    deposit("a")
    write(changed(
      { 'close = function() return event("Closed") end,', "" },
      { "Closed = function(state) state.closed = true end,", "" }
    ))
    local result = aether("reload", "bank")
    assert.equal(0, result.status, result.err)
    assert.matches("note: bank/account has no command close any more", result.err)
    assert.matches("^bank  revision %x+ %(was %x+%); 1 actors replayed in %d+ ms\n$", result.out)
    assert.equal(404, (post("/v1/bank/account/a/close")))
    -- Once it is stored, it stays needed.
    write(MODULE)
    assert.equal(0, aether("reload").status)
    assert.equal(200, (post("/v1/bank/account/a/close")))
    write(changed({ "Closed = function(state) state.closed = true end,", "" },
      { 'close = function() return event("Closed") end,', "" }))
    result = aether("reload", "--json")
    assert.equal(3, result.status)
    assert.matches("takes Closed of revision 1 no more", result.err)
    node:stop()
  end)

  it("needs the upcasters of what is stored", function()
    start()
    deposit("a")
    local second = changed(
      { "account.evolve = {", [[
account.revision = { Deposited = 2 }
account.upcast = { Deposited = { function(data) return { cents = data.amount * 100 } end } }
account.evolve = {]] },
      { "version = 1", "version = 2" },
      { "{ amount = deposit.amount }", "{ cents = deposit.amount * 100 }" },
      { "state.balance + deposited.amount", "state.balance + deposited.cents" }
    )
    write(second)
    assert.equal(0, aether("reload").status)
    assert.same({ balance = 100 }, state("a"))
    deposit("a")
    assert.same({ balance = 200 }, state("a"))
    -- Back is not possible any more: an event of revision 2 is stored.
    local result = aether("rollback", "bank")
    assert.equal(3, result.status)
    assert.matches("takes Deposited of revision 2 no more", result.err)
    assert.same({ balance = 200 }, state("a"))
    node:stop()
  end)

  it("tries without changing anything", function()
    start()
    deposit("a")
    write(changed({ "close = function", "finish = function" }))
    local result = aether("reload", "--dry-run")
    assert.equal(0, result.status, result.err)
    assert.matches("%(now %x+%)", result.out)
    assert.equal(404, (post("/v1/bank/account/a/finish")))
    assert.equal(1, #revisions())
    write(changed({ DEPOSITED, "" }))
    assert.equal(3, aether("reload", "--dry-run").status)
    node:stop()
  end)

  it("is what check says of the whole store, beside the node", function()
    write(changed({ "every = 4", "every = 1000" }))
    start(nil, {})
    for i = 1, 15 do
      deposit("a" .. i, i)
      deposit("a" .. i, i)
    end
    local function check(...)
      local result = aether("check", ...)
      return result, json.decode(result.out:match("([^\n]*)\n$") or "")
    end
    local result, summary = check("--json")
    assert.equal(0, result.status, result.err)
    assert.is_false(summary.compared)
    assert.equal(30, summary.events)
    -- Another state under the same snapshot.version: the first are shown.
    local twice = { "state.balance + deposited.amount", "state.balance + 2 * deposited.amount" }
    write(changed({ "every = 4", "every = 1000" }, twice, { "close = function", "finish = function" }))
    result = check()
    assert.equal(1, result.status)
    assert.matches("comparing with the code that runs at http://", result.err)
    assert.matches("\nbank/account/a%d+ at version 2 would have another state: where the new one is "
      .. "right, raise snapshot.version in [^\n]*/bank/account.lua\n    balance: %d+ → %d+\n", result.out)
    assert.matches("^note: bank/account has no command close any more\n", result.out)
    assert.matches("\n5 more actors of bank/account: contract_error %(%-%-json shows all%)\n15 mistakes\n$",
      result.out)
    assert.equal(10, select(2, result.out:gsub(" → ", "")))
    result, summary = check("--json")
    assert.same({ true, 15, 15 }, { summary.compared, summary.differing, summary.mistakes })
    assert.equal(17, select(2, result.out:gsub("\n", "")))
    -- Under another one it may.
    write(changed({ "every = 4", "every = 1000" }, twice, { "version = 1", "version = 2" }))
    result = check()
    assert.equal(0, result.status, result.out)
    assert.matches("\nnote: 5 more actors of bank/account: contract_error", result.out)
    assert.matches("; 15 of their states differ from what runs\n$", result.out)
    -- The old code is stopped by the actor that the new one can take.
    write(changed({ "every = 4", "every = 1000" }, { DEPOSITED,
      "Deposited = function(state, d) if d.amount == 7 then while true do end end state.balance = 0 end," }))
    assert.matches("bank/account/a7: .*evolve.Deposited was stopped", check().out)
    -- Nothing of it has reached the node, which goes on.
    assert.equal(14, state("a7").balance)
    assert.equal(1, #revisions())
    -- A node that does not tell: the history is checked all the same.
    result = program.run_aether({ "-C", folder, "check" }, { env = { AETHER_URL = "http://127.0.0.1:1" } })
    assert.matches("not compared with the code that runs: ", result.err)
    assert.equal(1, result.status)
    result = aether("check", "--url", "http://127.0.0.1:1")
    assert.equal(3, result.status)
    node:stop()
  end)

  it("lists what ran, and goes back and forth", function()
    start()
    local first = deposit("a").events[1].metadata.module_revision
    write(changed({ "close =", "finish =" }))
    assert.equal(0, aether("reload").status)
    local second = deposit("a").events[1].metadata.module_revision
    assert.not_equal(first, second)
    local list = revisions()
    assert.equal(2, #list)
    assert.same({ first, second }, { list[1].revision, list[2].revision })
    assert.same({ false, true }, { list[1].current, list[2].current })
    local result = aether("rollback", "bank")
    assert.equal(0, result.status, result.err)
    assert.equal(first, deposit("a").events[1].metadata.module_revision)
    assert.equal(200, (post("/v1/bank/account/a/close")))
    result = aether("rollback", "bank")
    assert.equal(3, result.status)
    assert.matches("no revision before the current one", result.err)
    result = aether("revisions", "bank")
    assert.matches("bank  " .. first .. "  %S+ %S+  1 module  %(current%)\n", result.out)
    assert.equal(0, aether("rollback", "bank", second:sub(1, 6)).status)
    assert.equal(second, deposit("a").events[1].metadata.module_revision)
    local ran = {}
    for _, one in ipairs(revisions()) do
      ran[#ran + 1] = one.revision .. (one.current and " now" or "")
    end
    assert.same({ first, second, first, second .. " now" }, ran)
    result = aether("rollback", "bank", "zzz")
    assert.equal(3, result.status)
    assert.matches("has no revision 'zzz'; see `aether revisions bank`", result.err)
    assert.equal(400, (post("/v1/admin/rollback")))
    assert.equal(404, (post("/v1/admin/rollback?namespace=bonk")))
    -- The folder was not touched: a reload has what is in it.
    assert.matches("as before", aether("reload").out)
    node:stop()
  end)

  it("goes back in time where the same code ran twice", function()
    local text = { a = MODULE, b = changed({ "close =", "finish =" }), c = changed({ "close =", "leave =" }) }
    start()
    local letters = { [deposit("a").events[1].metadata.module_revision] = "a" }
    local function reload(letter)
      write(text[letter])
      assert.equal(0, aether("reload").status)
      letters[deposit("a").events[1].metadata.module_revision] = letter
    end
    local function back()
      local result = aether("rollback", "bank")
      return result.status == 0 and letters[deposit("a").events[1].metadata.module_revision] or result.err
    end
    local function ran()
      local all = {}
      for _, one in ipairs(revisions()) do all[#all + 1] = letters[one.revision] end
      return table.concat(all)
    end
    reload("b")
    reload("a")
    assert.equal("aba", ran())
    assert.equal("b", back())
    assert.equal("a", back())
    assert.matches("no revision before the current one", back())
    assert.equal("ababa", ran())
    -- What came after counts from there on.
    reload("c")
    reload("b")
    assert.equal("c", back())
    assert.equal("a", back())
    assert.equal("ababacbca", ran())
    assert.matches("no revision before the current one", back())
    node:stop()
  end)

  it("brings a quarantined module back", function()
    write(changed({ "account.decide = {", "account.decide = { spin = function() while true do end end," }))
    start()
    deposit("a")
    for _ = 1, 3 do
      assert.equal(504, (post("/v1/bank/account/a/spin")))
    end
    assert.equal(503, (post("/v1/bank/account/a/deposit", '{"amount":1}')))
    assert.equal(503, node:request("GET", "/readyz", {}).status)
    -- As it is: back all the same.
    assert.equal(0, aether("reload").status)
    assert.equal(200, node:request("GET", "/readyz", {}).status)
    deposit("a")
    for _ = 1, 3 do
      assert.equal(504, (post("/v1/bank/account/a/spin")))
    end
    write(changed({ "account.decide = {", "account.decide = { spin = function() return {} end," }))
    assert.equal(0, aether("reload").status)
    assert.equal(200, (post("/v1/bank/account/a/spin")))
    node:stop()
  end)

  it("takes one at a time, and a stop waits for none", function()
    program.write(
      folder .. "/aether.lua",
      'return { namespaces = { bank = { limits = { handler_ms = 60000 } } } }'
    )
    start()
    deposit("a")
    write("while true do end")
    local connection = node:connect()
    connection:ask("POST", "/v1/admin/reload", {}, "")
    program.wait_for(function()
      connection:turn()
      return connection.unsent == ""
    end, "the request to be sent")
    local status, problem
    program.wait_for(function()
      status, problem = post("/v1/admin/reload")
      return status == 429
    end, "the first to be under way")
    assert.equal("overloaded", problem.code)
    -- Nobody waits meanwhile.
    deposit("a")
    assert.equal(200, node:request("GET", "/readyz", {}).status)
    node:kill(9)
    node:wait()
    connection:close()
    program.write(folder .. "/aether.lua", "return {}")
    write(MODULE)
    start()
    deposit("a")
    write("for i = 1, 1e8 do local s = 'x' .. i end return {}")
    connection = node:connect()
    connection:ask("POST", "/v1/admin/reload", {}, "")
    program.wait_for(function()
      connection:turn()
      return post("/v1/admin/reload") == 429
    end, "it to be under way again")
    node:stop()
    connection:close()
  end)

  it("grows no memory, under load", function()
    start("run", { "--store", "memory" })
    local count = long and 200 or program.is_slow and 10 or 40
    for i = 1, 200 do
      deposit("a" .. i)
    end
    local connections, sent, answered = {}, 0, 0
    for n = 1, 4 do
      connections[n] = node:connect()
    end
    local function turn()
      for n, connection in ipairs(connections) do
        connection:turn()
        local answer = connection:answer()
        if answer then
          answered = answered + 1
          assert.equal(200, answer.status, answer.body)
          connection.waits = false
        end
        if not connection.waits then
          sent = sent + 1
          connection.waits = true
          connection:ask(
            "POST",
            ("/v1/bank/account/a%d/deposit"):format((sent * 7 + n) % 200 + 1),
            { ["Content-Type"] = "application/json" },
            '{"amount":1}'
          )
        end
      end
      server.wait(connections)
    end
    local reloading = node:connect()
    local function reload(n)
      write(MODULE .. "-- " .. n .. "\n")
      reloading:ask("POST", "/v1/admin/reload", {}, "")
      while true do
        turn()
        reloading:turn()
        local answer = reloading:answer()
        if answer then
          assert.equal(200, answer.status, answer.body)
          return json.decode(answer.body).reloaded[1]
        end
      end
    end
    for n = 1, 10 do
      reload(n)
    end
    local before = node:memory_kb()
    for n = 11, 10 + count do
      local one = reload(n)
      assert.not_equal(one.was, one.revision)
      assert.equal(100, one.actors)
      assert.equal(0, one.skipped)
    end
    -- What commands add is in it: a memory store keeps them all.
    local grown = node:memory_kb() - before
    assert(grown < 10 * 1024 + answered, ("%d kB more, %d commands"):format(grown, answered))
    assert.equal(10, #revisions())
    local sum = 0
    for i = 1, 200 do
      sum = sum + state("a" .. i).balance
    end
    for _, connection in ipairs(connections) do
      while connection.waits do
        connection:turn()
        if connection:answer() then
          connection.waits = false
        end
      end
      connection:close()
    end
    reloading:close()
    assert(sum >= 200 + answered)
    node:stop()
  end)

  -- -- dev --

  local function printed(text, times)
    return program.wait_for(function()
      local err = program.read(node.process.stderr)
      local count = select(2, err:gsub(text:gsub("%p", "%%%0"), ""))
      return count >= (times or 1) and err
    end, text)
  end

  it("follows saves in aether dev, also those by rename and of many files", function()
    start("dev", { "--store", "memory" })
    deposit("a")
    -- An editor that writes beside and renames.
    write(changed({ "close =", "finish =" }), "bank/.account.lua.swp")
    os.rename(folder .. "/bank/.account.lua.swp", folder .. "/bank/account.lua")
    printed("bank: reloaded; 1 actors replayed")
    assert.equal(200, (post("/v1/bank/account/b/finish")))
    -- A mistake, and that the old goes on.
    write("return {")
    printed("bank/account.lua:1:")
    printed("not reloaded: the old code goes on")
    assert.equal(200, (post("/v1/bank/account/c/finish")))
    -- A state that differs.
    write(changed({ "state.balance + deposited.amount", "state.balance - deposited.amount" }))
    local err = printed("not reloaded: the old code goes on", 2)
    assert.matches("bank/account/a at version 1 would have another state: where the new one is "
      .. "right, raise snapshot.version in [^\n]*\naether:     balance: 1 → %-1\n", err)
    -- Many files, at once.
    for i = 1, 20 do
      write("return { n = " .. i .. " }", "bank/part" .. i .. ".lua")
    end
    write(changed({ "return account", 'account.initial.n = require("part20").n return account' },
      { "version = 1", "version = 2" }))
    printed("bank: reloaded", 2)
    program.wait_for(function()
      return state("z").n == 20
    end, "the last save to be live")
    node:stop()
  end)
end)
