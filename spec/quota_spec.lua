--- Quotas of a namespace, through the built program. A rate of next to nothing
-- is a bucket with one token that never fills again.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local json = require("dkjson")
local program = require("spec.support.program")

local folder

local function app(limits)
  program.write(folder .. "/aether.lua", ([[
    return {
      store = "sqlite:data/events.db",
      namespaces = {
        a = { modules = "cell", limits = %s },
        ["a.b"] = { modules = "cell" },
      },
    }
  ]]):format(limits))
end

local function command(actor, name)
  return ('{"actor":"%s","command":"%s","data":{"n":1}}'):format(
    actor, name or "add")
end

local function exec(...)
  local result = program.run_aether({ "-C", folder, "exec", "-" }, {
    stdin = table.concat({ ... }, "\n") .. "\n",
  })
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return counter.documents(result.out), result
end

local function statuses(outcomes)
  local list = {}
  for index, outcome in ipairs(outcomes) do
    list[index] = outcome.error and outcome.error.code or outcome.status
  end
  return list
end

describe("a namespace's quota #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("refuses commands above their rate, and says when to come again", function()
    app("{ commands_per_s = 0.001 }")
    local outcomes, result = exec(
      command("a/counter/x"), command("a/counter/y"), command("a.b/counter/x"),
      command("a/counter/x"), command("a.b/counter/x"))
    assert.equal(3, result.status)
    assert.same({ "accepted", "overloaded", "accepted", "overloaded",
      "accepted" }, statuses(outcomes))
    local err = outcomes[2].error
    assert.equal("failed", outcomes[2].status)
    assert.equal("commands_per_s", err.queue)
    assert.equal(0.001, err.limit)
    assert(err.retry_after > 900000 and err.retry_after <= 1000000)
    assert(err.message:find("a takes 0.001 commands a second", 1, true))
    assert(err.message:find("limits.commands_per_s", 1, true))
  end)

  it("refuses events above their rate, not what stores none", function()
    app("{ events_per_s = 0.001 }")
    local outcomes = exec(command("a/counter/x", "refuse"))
    assert.same({ "rejected" }, statuses(outcomes))
    outcomes = exec(command("a/counter/x"), command("a/counter/x"),
      command("a.b/counter/x"))
    assert.same({ "accepted", "overloaded", "accepted" }, statuses(outcomes))
    assert.equal("events_per_s", outcomes[2].error.queue)
  end)

  it("refuses to store more bytes, from the first command after a start", function()
    app("{ bytes = 500 }")
    local many = {}
    for index = 1, 20 do
      many[index] = command("a/counter/" .. index)
    end
    -- One at a time, so that what is under way does not go over the limit.
    local result = program.run_aether(
      { "-C", folder, "exec", "--in-flight", "1", "-" },
      { stdin = table.concat(many, "\n") .. "\n" })
    local outcomes = counter.documents(result.out)
    local accepted = 0
    for _, status in ipairs(statuses(outcomes)) do
      if status == "accepted" then
        accepted = accepted + 1
      else
        assert.equal("overloaded", status)
      end
    end
    assert(accepted > 2 and accepted < 10, accepted)
    outcomes = exec(command("a/counter/x"), command("a.b/counter/x"))
    assert.same({ "overloaded", "accepted" }, statuses(outcomes))
    assert.equal("bytes", outcomes[1].error.queue)
    assert.equal(500, outcomes[1].error.limit)
    assert.is_nil(outcomes[1].error.retry_after)
    -- What is there can be read.
    local state = program.run_aether({ "-C", folder, "state", "a/counter/1" })
    assert.equal(0, state.status, state.err)
    app("{ bytes = 100000 }")
    assert.same({ "accepted" }, statuses(exec(command("a/counter/x"))))
  end)

  it("says what the store said where it cannot tell the bytes", function()
    app("{ bytes = 100000 }")
    assert.same({ "accepted" }, statuses(exec(command("a/counter/x"))))
    local result = program.run_aether({ "-C", folder, "exec", "-" }, {
      stdin = command("a/counter/x") .. "\n" .. command("a.b/counter/y") .. "\n",
      env = { AETHER_FAULT = "sqlite.stats:1" },
    })
    assert.same({ "store_unavailable", "accepted" },
      statuses(counter.documents(result.out)))
    assert.same({ "accepted" }, statuses(exec(command("a/counter/x"))))
  end)

  it("keeps no more actors live than it may", function()
    app("{ live_actors = 2 }")
    local many = {}
    for index = 1, 50 do
      many[index] = command("a/counter/" .. index % 10)
    end
    local result = program.run_aether(
      { "-C", folder, "exec", "--in-flight", "2", "-" },
      { stdin = table.concat(many, "\n") .. "\n" })
    assert.equal(0, result.status, result.err)
    local outcomes
    outcomes, result = exec(unpack(many))
    assert.equal(3, result.status)
    local last = outcomes[10].error
    assert.same({ "overloaded", "live_actors", 2 },
      { last.code, last.queue, last.limit })
  end)

  it("is 429 over HTTP with Retry-After, and slows no other namespace", function()
    app("{ commands_per_s = 0.001, live_actors = 3 }")
    local node = http.start(folder)
    assert.equal(200, node:send("a/counter/x/add", '{"n":1}').status)
    local answer = node:send("a/counter/x/add", '{"n":1}')
    assert.equal(429, answer.status)
    assert.equal("overloaded", answer.json.code)
    assert.equal("commands_per_s", answer.json.queue)
    local seconds = tonumber(answer.headers["retry-after"])
    assert(seconds >= 900 and seconds <= 1000, seconds)
    -- A flood of the one between the commands of the other.
    local lines, sent = {}, 0
    for index = 1, 2000 do
      lines[index] = command("a/counter/" .. index)
      if index % 10 == 0 then
        sent = sent + 1
        lines[index] = command("a.b/counter/x")
      end
    end
    local outcomes = node:run(table.concat(lines, "\n") .. "\n").documents
    local version = 0
    for index, outcome in ipairs(outcomes) do
      if index % 10 == 0 then
        version = version + 1
        assert.same({ "accepted", version }, { outcome.status, outcome.version })
      else
        assert.equal("overloaded", outcome.error.code)
      end
    end
    assert.equal(sent, version)
    assert.equal(200, node:send("a.b/counter/x/add", '{"n":1}').status)
    -- Reading goes on.
    local state = node:request("/v1/a/counter/x").json
    assert.same({ 1, 1 }, { state.version, state.state.count })
    node:stop()
  end)

  it("is shown with the settings, and checked", function()
    app("{ events_per_s = 2.5, bytes = 1000 }")
    local result = program.run_aether({ "-C", folder, "config", "--json" })
    local settings = json.decode(result.out).settings
    assert.equal(2.5, settings["namespaces.a.limits.events_per_s"].value)
    assert.equal("file", settings["namespaces.a.limits.events_per_s"].source)
    assert.equal(1000, settings["namespaces.a.limits.bytes"].value)
    assert.is_nil(settings["namespaces.a.limits.commands_per_s"].value)
    assert.equal(100000, settings["namespaces.a.limits.live_actors"].value)
    assert.equal("default", settings["namespaces.a.b.limits.bytes"].source)
    for _, wrong in ipairs({
      { "{ events_per_s = 0 }", "above 0" },
      { "{ bytes = 1.5 }", "a whole number" },
      { "{ bytes = 0 }", "a whole number" },
      { "{ byts = 1 }", "did you mean bytes?" },
    }) do
      app(wrong[1])
      result = program.run_aether({ "-C", folder, "config" })
      assert.equal(3, result.status)
      assert(result.err:find(wrong[2], 1, true), result.err)
    end
  end)
end)
