--- A namespace's `retention`, through the built program: what goes, what stays,
-- and what is said to who asks for what is gone.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local json = require("dkjson")
local nats = require("spec.support.nats")
local program = require("spec.support.program")

local COUNTER = [[
local event = require("aether.event")
return {
  initial = { sum = 0 },
  %s
  decide = {
    add = function(_, add) return event("Added", { n = add.n }) end,
  },
  evolve = { Added = function(state, added) state.sum = state.sum + added.n end },
}
]]

local folder, node

local function settings(retention, store)
  program.write(folder .. "/aether.lua", ([[
    return {
      store = "%s",
      namespaces = { cell = { modules = "cell", retention = %s } },
    }
  ]]):format(store or "sqlite:events.db", retention))
end

local function module(name, snapshot)
  program.fill(folder, { ["cell/" .. name .. ".lua"] = COUNTER:format(snapshot) })
end

-- `count` commands for each of the actors, in turns; their ids begin with
-- `prefix`, where there is one.
local function commands(actors, count, prefix)
  local lines = {}
  for round = 1, count do
    for _, actor in ipairs(actors) do
      lines[#lines + 1] = json.encode({
        actor = "cell/" .. actor,
        command = "add",
        data = setmetatable({ n = 1 }, { __jsontype = "object",
          __tojson = function() return '{"n":1}' end }),
        id = prefix and ("%s-%s-%d"):format(prefix, actor, round) or nil,
      })
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function aether(...)
  return program.run_aether({ "-C", folder, ... })
end

local function exec(lines, status)
  -- One at a time: a commit holds one command.
  local result = program.run_aether(
    { "-C", folder, "exec", "--in-flight", "1", "-" }, { stdin = lines })
  assert.equal(status or 0, result.status, result.err)
  return counter.documents(result.out), result.err
end

local function events(of, ...)
  local result = aether("events", of, "--json", ...)
  return counter.documents(result.out), result
end

local function assert_sum(sum, actor)
  local result = aether("state", "cell/" .. actor, "--json")
  assert.equal(0, result.status, result.err)
  local document = json.decode(result.out)
  assert.equal(sum, document.version, actor)
  assert.equal(sum, document.state.sum, actor)
end

local function assert_right()
  local result = aether("check")
  assert.equal(0, result.status, result.err .. result.out)
end

describe("retention #node", function()
  before_each(function()
    folder = program.folder()
    module("counter", "snapshot = { version = 1, every = 100 },")
  end)

  after_each(function()
    if node and not node.server.process.ended then node:stop() end
    node = nil
    program.remove(folder)
  end)

  it("keeps states, last commits and ids, and says what is gone", function()
    module("bare", "")
    settings("nil")
    exec(commands({ "counter/a", "counter/b", "bare/c" }, 20, "id"))
    assert.equal(60, #(events("cell")))
    settings("{ bytes = 3000 }")
    local outcomes, err = exec(commands({ "counter/a" }, 1))
    assert.equal(21, outcomes[1].version)
    assert(err:find("aggregates without `snapshot`", 1, true), err)
    assert(err:find("bare", 1, true), err)
    assert_sum(21, "counter/a")
    assert_sum(20, "counter/b")
    assert_sum(20, "bare/c")
    assert_right()
    assert.equal(20, #(events("cell/bare/c")))
    assert.equal(1, #(events("cell/counter/b")))
    local left, result = events("cell/counter/a")
    assert.equal(3, result.status)
    assert(result.err:find("history_trimmed", 1, true), result.err)
    assert.equal(21, left[#left].version)
    -- As it was then.
    result = aether("state", "cell/counter/a", "--at", "3", "--json")
    assert.equal(3, result.status)
    assert(result.err:find("history_trimmed", 1, true), result.err)
    -- A command takes effect once, even where nobody knows the outcome.
    outcomes = exec(commands({ "counter/a" }, 1, "id"), 3)
    assert.equal("history_trimmed", outcomes[1].error.code)
    assert_sum(21, "counter/a")
    -- Going on behind what is gone; from the start there is what there is.
    local _
    _, result = events("cell", "--after", "2.0")
    assert.equal(3, result.status)
    assert.equal("", result.out)
    assert(result.err:find("history_trimmed", 1, true), result.err)
    local rest
    rest, result = events("cell")
    assert.equal(0, result.status, result.err)
    assert(#rest >= 22 and #rest < 60, #rest)
    local last = rest[#rest]
    rest, result = events("cell", "--after", ("%d.0"):format(last.position - 1))
    assert.equal(0, result.status, result.err)
    assert.equal(1, #rest)
    -- What is left can be taken elsewhere.
    local copy = aether("export", "cell").out
    local copied = "sqlite:" .. folder .. "/copy.db"
    result = program.run_aether({ "-C", folder, "import", "cell", "-",
      "--store", copied }, { stdin = copy })
    assert.equal(0, result.status, result.err)
    result = aether("state", "cell/counter/b", "--store", copied, "--json")
    assert.equal(20, json.decode(result.out).state.sum, result.err)
    exec(commands({ "counter/a", "counter/b" }, 30))
    assert_sum(51, "counter/a")
    assert_sum(50, "counter/b")
    assert_right()
  end)

  it("goes on from a base where snapshot.version is raised", function()
    settings("{ bytes = 1 }")
    exec(commands({ "counter/a" }, 20))
    assert.equal(1, #(events("cell/counter/a")))
    module("counter", "snapshot = { version = 2, every = 100 },")
    assert_sum(20, "counter/a")
    module("counter", "")
    assert_sum(20, "counter/a")
    settings("nil")
    exec(commands({ "counter/a" }, 5))
    assert_sum(25, "counter/a")
    assert_right()
  end)

  it("is applied by a node, whose streams say what is gone", function()
    settings("nil")
    exec(commands({ "counter/a", "counter/b" }, 20))
    settings("{ bytes = 1 }")
    node = http.start(folder, { store = "sqlite:" .. folder .. "/events.db" })
    program.wait_for(function()
      return node.server:said("retention removed old commits")
    end, "what is old to go")
    local answer = node:request("/v1/cell/events")
    assert.equal(200, answer.status)
    assert.equal(2, #http.documents(answer.body))
    answer = node:request("/v1/cell/events?after=3")
    assert.equal(410, answer.status)
    assert.equal("history_trimmed", answer.json.code)
    local from = answer.json.from
    answer = node:request("/v1/cell/events?after=" .. from - 1)
    assert.equal(200, answer.status)
    for _, of in ipairs({ "cell", "cell/counter/a" }) do
      answer = node:request("/v1/" .. of .. "/events", {
        headers = { "Accept: text/event-stream",
          of == "cell" and "Last-Event-ID: 3.0" or "Last-Event-ID: 3" },
      })
      assert.equal(410, answer.status)
      assert.equal("history_trimmed", answer.json.code)
    end
    local followed = aether("events", "cell", "--after", "3.0", "--follow",
      "--url", node.url)
    assert.equal(3, followed.status, followed.err)
    assert(followed.err:find("retention removed", 1, true), followed.err)
    assert.equal(20, node:request("/v1/cell/counter/a").json.state.sum)
    node:stop()
    assert_right()
  end)

  it("may be killed at any moment, beside readers", function()
    settings("nil")
    local actors = {}
    for index = 1, program.is_slow and 60 or 300 do
      actors[index] = "counter/" .. index
    end
    for _ = 1, 2 do -- each at once, so there are two commits or more of each
      local result = program.run_aether({ "-C", folder, "exec", "-" },
        { stdin = commands(actors, 4) })
      assert.equal(0, result.status, result.err)
    end
    settings("{ bytes = 1 }")
    local last = actors[#actors]
    for round = 1, 3 do
      node = http.start(folder, { store = "sqlite:" .. folder .. "/events.db" })
      -- At first most often while states are saved, then while commits go.
      if round < 3 then
        assert(#(events("cell/" .. actors[round * 10])) > 0)
      else
        program.wait_for(function()
          return #(events("cell")) < 8 * #actors
        end, "something to go")
      end
      node:crash()
      assert_right()
      assert_sum(8, actors[1])
      assert_sum(8, last)
    end
    exec(commands({ last }, 1))
    assert_right()
    assert_sum(9, last)
    assert_sum(8, actors[1])
    local last_of, commits = {}, 0
    for _, event in ipairs((events("cell"))) do
      local position = last_of[event.actor_id]
      if position ~= event.position then commits = commits + 1 end
      last_of[event.actor_id] = event.position
    end
    assert.equal(#actors, commits)
  end)

  it("holds for JetStream too, and for who follows it anew", function()
    local broker = nats.start()
    local ok, problem = pcall(function()
      settings("{ bytes = 3000 }", broker.url)
      exec(commands({ "counter/a", "counter/b" }, 40))
      -- Each command below has a follower of its own, filled from the stream.
      local left = events("cell")
      assert(#left < 80 and #left >= 2, #left)
      assert_sum(40, "counter/a")
      assert_sum(40, "counter/b")
      assert_right()
      exec(commands({ "counter/a" }, 40))
      assert_sum(80, "counter/a")
      assert_sum(40, "counter/b")
      assert_right()
    end)
    broker:stop()
    if not ok then error(problem, 0) end
  end)
end)
