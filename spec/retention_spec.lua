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

  it("ends at a full disk, loses nothing, and goes on with room again", function()
    local actors = {}
    for index = 1, 100 do
      actors[index] = "counter/" .. index
    end
    settings("nil", "sqlite:disk/events.db")
    program.write(folder .. "/lines", commands(actors, 20))
    program.write(folder .. "/last", commands({ actors[1] }, 1))
    program.write(folder .. "/settings", ([[
      return {
        store = "sqlite:disk/events.db",
        namespaces = { cell = { modules = "cell", retention = { bytes = 1 } } },
      }
    ]]))
    -- Kilobytes left: for nothing, for not even the first bases, for some of
    -- them, for the bases and hardly for the trim, and for all.
    local kb = program.is_slow and { 0, 16, 800, 8000 } or { 0, 16, 100, 400, 600, 700, 800, 900, 8000 }
    local result = program.in_own_mounts([[
      mkdir "$2/disk"
      mount -t tmpfs -o size=24m none "$2/disk"
      "$1" -C "$2" exec --in-flight 100 "$2/lines" >"$2/out"
      cp "$2/settings" "$2/aether.lua"
      cp "$2/disk/events.db" "$2/before"
      for left in $3; do
        cp "$2/before" "$2/disk/events.db"
        room=$(df -k --output=avail "$2/disk" | tail -n 1)
        head -c $(((room - left) * 1024)) /dev/zero >"$2/disk/filler"
        "$1" -C "$2" exec /dev/null >"$2/exec$left" 2>&1 || echo "status $?" >>"$2/exec$left"
        if [ "$left" = 0 ]; then rm "$2/disk/filler"; fi
        "$1" -C "$2" check >"$2/check$left" 2>&1 || echo "status $?" >>"$2/check$left"
        rm -f "$2/disk/filler"
        "$1" -C "$2" exec "$2/last" >"$2/again$left" 2>&1 || :
        "$1" -C "$2" check >>"$2/again$left" 2>&1 || :
        for actor in 1 2 100; do
          "$1" -C "$2" state cell/counter/$actor >>"$2/again$left" 2>&1 || :
        done
      done
    ]], program.aether, folder, table.concat(kb, " "))
    assert.equal(0, result.status, result.out .. result.err)
    local ended = {}
    for _, left in ipairs(kb) do
      local first, check, again =
        program.read(folder .. "/exec" .. left),
        program.read(folder .. "/check" .. left),
        program.read(folder .. "/again" .. left)
      local about = ("%d kB: %s%s%s"):format(left, first, check, again)
      local total = tonumber(check:match("and ([%d,]+) events of 100 actors replay"):gsub(",", ""), 10)
      local through = first:find("retention removed old commits", 1, true)
      local _, full = first:gsub("the disk is full", "")
      if through then
        assert.equal(0, full, about)
        assert.equal(100, total, about)
      else
        assert.equal(1, full, about)
        assert.equal(left == 0, first:find("status 3", 1, true) ~= nil, about)
        assert.equal(left > 0, first:find("retention cannot be applied", 1, true) ~= nil, about)
        assert(total >= 100 and total <= 2000, about)
        assert(again:find("retention removed old commits", 1, true), about)
      end
      ended[left] = not through
      assert(again:find("events of 100 actors replay", 1, true), about)
      assert(again:find('"cell/counter/1","version":21,"state":{"sum":21}', 1, true), about)
      assert(again:find('"cell/counter/2","version":20,"state":{"sum":20}', 1, true), about)
      assert(again:find('"cell/counter/100","version":20,"state":{"sum":20}', 1, true), about)
    end
    assert.same({ true, true, false }, { ended[0], ended[16], ended[8000] })
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

  it("may be applied by two nodes to one stream at a time", function()
    local broker = nats.start()
    local nodes = {}
    local ok, problem = pcall(function()
      local count, rounds = 100, program.is_slow and 10 or os.getenv("AETHER_LONG") and 400 or 40
      local actors = {}
      for index = 1, count do
        actors[index] = "counter/" .. index
      end
      local function start(name)
        nodes[name] = program.start_aether({
          "-C", folder, "run", "--node", name, "--listen", "127.0.0.1:0",
        }, { seconds = 600 })
      end
      local function wait_for(name, what, where)
        return program.wait_for(function()
          assert(nodes[name]:running(), program.read(nodes[name].stderr))
          return program.read(nodes[name][where]):match(what)
        end, name .. " to say " .. what, 300)
      end
      local function stop(name)
        nodes[name]:kill(15)
        local result = nodes[name]:wait()
        nodes[name] = nil
        assert.equal(0, result.status, result.err)
        return result.err
      end
      settings("nil", broker.url)
      local result = program.run_aether({ "-C", folder, "exec", "--in-flight", tostring(count), "-" },
        { stdin = commands(actors, rounds), seconds = 300 })
      assert.equal(0, result.status, result.err)
      -- Each has a whole copy before anything goes.
      for _, name in ipairs({ "left", "right" }) do
        start(name)
        local url = wait_for(name, "Listening on (%S+)\n", "stdout")
        result = program.run_aether({ "-C", folder, "state", "cell/counter/1", "--url", url })
        assert.matches('"version":' .. rounds, result.out, 1, true)
        stop(name)
      end
      settings("{ bytes = 1 }", broker.url)
      start("left")
      start("right")
      local url = wait_for("left", "Listening on (%S+)\n", "stdout")
      result = program.run_aether({ "-C", folder, "exec", "--url", url, "-" },
        { stdin = commands(actors, 3), seconds = 300 })
      assert.equal(0, result.status, result.err)
      for _, name in ipairs({ "left", "right" }) do
        wait_for(name, "retention removed old commits", "stderr")
        local log = stop(name)
        assert.is_nil(log:find('"level":"error"', 1, true), log)
        assert.is_nil(log:find("retention cannot", 1, true), log)
      end
      settings("nil", broker.url)
      assert_right()
      for _, actor in ipairs({ actors[1], actors[count / 2], actors[count] }) do
        assert_sum(rounds + 3, actor)
      end
      local left, versions = events("cell"), {}
      assert(#left >= count and #left <= 4 * count, #left)
      for _, event in ipairs(left) do
        local was = versions[event.actor_id]
        assert(not was or event.version == was + 1, event.actor_id)
        versions[event.actor_id] = event.version
      end
      for index = 1, count do
        assert.equal(rounds + 3, versions[tostring(index)])
      end
    end)
    for _, node_process in pairs(nodes) do
      node_process:kill(9)
      node_process:wait()
    end
    broker:stop()
    if not ok then error(problem, 0) end
  end)
end)
