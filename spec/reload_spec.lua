--- #node `aether reload`: other code for a node that runs.
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local COUNTER = [[
local event = require("aether.event")
local counter = { initial = { n = 0 }, snapshot = { version = 1, every = 50 } }
counter.decide = { add = function(_, add) return event("Added", { by = add.by * %d }) end }
counter.evolve = { Added = function(state, added) state.n = state.n + added.by end }
return counter
]]

local long = os.getenv("AETHER_LONG") ~= nil

describe("aether reload #node", function()
  local folder, node

  local function write(text)
    program.fill(folder, { ["cell/counter.lua"] = text })
  end

  local function aether(...)
    return program.run_aether({ "-C", folder, ... }, { env = { AETHER_URL = node.url } })
  end

  local function add(by)
    local result = aether("send", "cell/counter/a", "add", json.encode({ by = by }), "--json")
    return json.decode(result.out)
  end

  local function state()
    return json.decode(aether("state", "cell/counter/a", "--json").out).state.n
  end

  before_each(function()
    folder = program.folder()
    write(COUNTER:format(1))
    program.fill(folder, { ["other/counter.lua"] = COUNTER:format(1) })
    node = server.start(folder, {
      args = { "--store", "sqlite:" .. folder .. "/events.db" },
      seconds = long and 600 or nil,
    })
  end)

  after_each(function()
    node:stop()
    program.remove(folder)
  end)

  it("decides by the new code, on the state that the events make", function()
    add(1)
    write(COUNTER:format(10))
    assert.equal(1, add(1).events[1].data.by)
    local result = aether("reload", "cell", "--json")
    assert.equal(0, result.status, result.err)
    local one = json.decode(result.out).reloaded[1]
    assert.equal("cell", one.namespace)
    assert.not_equal(one.was, one.revision)
    local outcome = add(1)
    assert.equal(10, outcome.events[1].data.by)
    assert.equal(one.revision, outcome.events[1].metadata.module_revision)
    assert.equal(3, outcome.version)
    assert.equal(12, state())
  end)

  it("tells people what it did, for every namespace", function()
    local result = aether("reload")
    assert.equal(0, result.status)
    assert.matches("cell  revision %x+, as before\nother  revision %x+, as before\n", result.out)
  end)

  it("refuses what is wrong, and goes on as before", function()
    add(1)
    for _, case in ipairs({
      { "return {", "counter.lua" },
      { "return { decide = { add = 1 } }", "counter.lua" },
      { "while true do end", "handler_ms" },
      { "error('no good')", "no good" },
    }) do
      write(case[1])
      local result = aether("reload")
      assert.equal(3, result.status, case[1])
      assert.truthy(result.err:find(case[2], 1, true), result.err)
      assert.equal("accepted", add(1).status)
    end
    os.remove(folder .. "/cell/counter.lua")
    program.fill(folder, { ["cell/another.lua"] = COUNTER:format(1) })
    local result = aether("reload")
    assert.equal(3, result.status)
    assert.matches("counter is gone", result.err)
    assert.equal("accepted", add(1).status)
    assert.equal(6, state())
  end)

  it("knows which namespaces there are", function()
    local result = aether("reload", "cel")
    assert.equal(3, result.status)
    assert.matches("did you mean cell%?", result.err)
  end)

  it("loses no command under load, and mixes no revisions in one", function()
    local count = long and 400000 or program.is_slow and 4000 or 20000
    local actors = long and 100000 or 97
    local lines = {}
    for i = 1, count do
      lines[i] = json.encode({
        actor = "cell/counter/" .. i % actors, command = "add", data = { by = 1 }, id = "i-" .. i,
      })
    end
    program.write(folder .. "/load.ndjson", table.concat(lines, "\n") .. "\n")
    local load = program.start_aether(
      { "-C", folder, "exec", folder .. "/load.ndjson" },
      { env = { AETHER_URL = node.url }, seconds = 600 }
    )
    local reloads = 0
    while load:running() and reloads < 60 do
      write(COUNTER:format(reloads % 2 * 9 + 1))
      assert.equal(0, aether("reload", "cell").status)
      reloads = reloads + 1
    end
    local result = load:wait()
    assert.equal(0, result.status, result.err)
    assert.is_true(reloads > 1)
    local sums, factor, outcomes = {}, {}, 0
    for line in result.out:gmatch("[^\n]+") do
      local outcome = json.decode(line)
      assert.equal("accepted", outcome.status)
      assert.equal(1, #outcome.events)
      outcomes = outcomes + 1
      local event = outcome.events[1]
      local revision = event.metadata.module_revision
      factor[revision] = factor[revision] or event.data.by
      assert.equal(factor[revision], event.data.by)
      sums[event.actor_id] = (sums[event.actor_id] or 0) + event.data.by
    end
    assert.equal(count, outcomes)
    local looked = 0
    for id, sum in pairs(sums) do
      looked = looked + 1
      if looked > 200 then
        break
      end
      local answer = node:request("GET", "/v1/cell/counter/" .. id, {})
      assert.equal(sum, json.decode(answer.body).state.n)
    end
    assert.equal(0, aether("check").status)
  end)
end)
