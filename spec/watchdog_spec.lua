-- Modules that do not end by themselves, through the real binary: each is
-- stopped, and nobody else notices.
local counter = require("spec.support.counter")
local hostile = require("spec.support.hostile")
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local LIMIT = 20 -- ms of CPU time
local long = os.getenv("AETHER_LONG") ~= nil

local function module(more, functions)
  local parts = {
    [[
local event = require("aether.event")
local schema = require("aether.schema")
local module = { initial = { n = 0 }, decide = {}, evolve = {}, schema = {},
  upcast = {}, revision = {} }
local decide, evolve = module.decide, module.evolve
function decide.add() return event("Added", { n = 1 }) end
function evolve.Added(state) state.n = state.n + 1 end
]],
    (more or "") .. "\n",
  }
  for name, body in pairs(functions or {}) do
    parts[#parts + 1] = ("function decide.%s(state, data, ctx)\n%s\nend\n"):format(
      name,
      body
    )
  end
  parts[#parts + 1] = "return module\n"
  return table.concat(parts)
end

local function settings(after)
  return ([[
return { namespaces = {
  bad = { limits = { handler_ms = %d, quarantine_after = %d } },
  cell = {},
} }
]]):format(LIMIT, after)
end

local function line(actor, command, data, more)
  local all = { actor = actor, command = command, data = data }
  for key, value in pairs(more or {}) do
    all[key] = value
  end
  return json.encode(all)
end

local none = setmetatable({}, { __jsontype = "object" })

describe("a module that does not end #node", function()
  local folder, node

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    node = nil
  end)

  after_each(function()
    if node and not node.process.ended then
      node:kill(9)
      node:wait()
    end
    program.remove(folder)
  end)

  local function exec(lines, options)
    return counter.exec(
      folder,
      "memory",
      table.concat(lines, "\n") .. "\n",
      options
    )
  end

  local function fill_hostile()
    local functions = {}
    for index, kind in ipairs(hostile) do
      functions["h" .. index] = kind[2]
    end
    program.fill(folder, {
      ["aether.lua"] = settings(1000000),
      ["bad/hostile.lua"] = module(nil, functions),
    })
  end

  it("is stopped, of every kind, and others are served", function()
    assert(#hostile >= 40)
    fill_hostile()
    local lines, took = {}, {}
    for index = 1, #hostile do
      lines[#lines + 1] = line("bad/hostile/a", "h" .. index, none)
      lines[#lines + 1] = counter.add("c", index)
      lines[#lines + 1] = line("bad/hostile/b", "add", none)
    end
    local result = exec(lines, { seconds = 300 })
    assert.equal(#lines, #result.outcomes, result.err)
    for index, kind in ipairs(hostile) do
      local stopped = result.outcomes[3 * index - 2]
      local problem = stopped.error or {}
      assert.equal(
        "script_timeout",
        problem.code,
        kind[1] .. ": " .. json.encode(stopped)
      )
      assert.equal("hostile", problem.module)
      assert.equal(LIMIT, problem.limit)
      took[index] = problem.took
      assert.matches(
        "^bad/hostile.lua:%d+: decide.h"
          .. index
          .. " was stopped: it took more than 20 ms %(limits.handler_ms%); "
          .. "actor bad/hostile/a$",
        problem.message
      )
      for at = 3 * index - 1, 3 * index do
        local outcome = result.outcomes[at]
        assert.equal("accepted", outcome.status, json.encode(outcome))
        assert.equal(index, outcome.version)
      end
    end
    -- Each within 20 ms more. Counting begins up to 4 ms late; and the thread
    -- that counts may find no processor free, so what was late may try again.
    for _ = 1, program.is_slow and 0 or 3 do
      local late, again = {}, {}
      for index, ms in pairs(took) do
        if ms >= LIMIT + 20 - 4 then
          late[#late + 1] = index
          again[#again + 1] = line("bad/hostile/a", "h" .. index, none)
        end
      end
      if #late == 0 then
        return
      end
      for at, outcome in ipairs(exec(again, { seconds = 300 }).outcomes) do
        took[late[at]] = math.min(took[late[at]], outcome.error.took)
      end
    end
    for index, ms in pairs(took) do
      assert(
        program.is_slow or ms < LIMIT + 20 - 4,
        hostile[index][1] .. " took " .. ms .. " ms"
      )
    end
  end)

  it("is stopped many times in one process", function()
    fill_hostile()
    local count = long and 1000 or program.is_slow and 20 or 60
    local seed = tonumber(os.getenv("AETHER_SEED")) or long and os.time() or 1
    math.randomseed(seed)
    node = server.start(folder, {
      args = { "--store", "memory" },
      seconds = 1200,
    })
    local function stop(times, from)
      local lines = {}
      for index = 1, times do
        lines[#lines + 1] =
          line("bad/hostile/a", "h" .. math.random(#hostile), none)
        lines[#lines + 1] = counter.add("c", index)
      end
      local connection = node:connect()
      connection:ask(
        "POST",
        "/v1/commands",
        { ["Content-Type"] = "application/x-ndjson" },
        table.concat(lines, "\n") .. "\n"
      )
      local outcomes = {}
      while #outcomes < #lines do
        assert(connection:turn() or #connection.got > 0, "the node hung up")
        for _, outcome in ipairs(connection:lines()) do
          outcomes[#outcomes + 1] = json.decode(outcome)
        end
        server.wait({ connection })
      end
      connection:close()
      for index = 1, times do
        local stopped, served = outcomes[2 * index - 1], outcomes[2 * index]
        local code = stopped.error and stopped.error.code
        assert.equal(
          "script_timeout",
          code,
          "seed " .. seed .. json.encode(stopped)
        )
        assert.equal("accepted", served.status, json.encode(served))
        assert.equal(from + index, served.version)
      end
    end
    local function count_of(what)
      local list =
        program.run({ "ls", ("/proc/%d/%s"):format(node.pid, what) })
      return select(2, list.out:gsub("\n", "\n"))
    end
    stop(#hostile, 0)
    local memory, threads = node:memory_kb(), count_of("task")
    local files = count_of("fd")
    stop(count, #hostile)
    assert(
      node:memory_kb() < memory + 10 * 1024,
      ("%d kB, then %d kB"):format(memory, node:memory_kb())
    )
    assert.equal(threads, count_of("task"))
    assert.equal(files, count_of("fd"))
    local status =
      json.decode(node:request("GET", "/v1/admin/status", {}).body)
    assert.equal(count + #hostile, status.namespaces.bad.stopped)
    assert.equal(0, status.namespaces.cell.stopped)
    node:stop()
  end)

  it("is stopped in every handler, and what was decided before is kept", function()
    program.fill(folder, {
      ["aether.lua"] = settings(1000000),
      ["bad/patient.lua"] = "return { retry = function() while true do end end }",
      ["bad/hostile.lua"] = module([[
module.retry = "patient"
function decide.spin() return event("Spun") end
function evolve.Spun() while true do end end
module.schema.match = { s = schema.string { pattern = ("a?"):rep(30) .. ("a"):rep(30) .. "$" } }
function decide.match() return {} end
function decide.twice() return { event("Added"), event("Spun") } end
]]),
    })
    local result = exec({
      line("bad/hostile/a", "add", none),
      line("bad/hostile/a", "spin", none),
      line("bad/hostile/a", "add", none),
      line("bad/hostile/a", "twice", none),
      line("bad/hostile/a", "match", { s = ("a"):rep(29) .. "b" }),
      line("bad/hostile/a", "add", none, { expected_version = 1 }),
      line("bad/hostile/a", "add", none),
    })
    local codes, versions = {}, {}
    for index, outcome in ipairs(result.outcomes) do
      codes[index] = outcome.error and outcome.error.code or outcome.status
      versions[index] = outcome.version or false
    end
    assert.same({
      "accepted",
      "script_timeout",
      "accepted",
      "script_timeout",
      "script_timeout",
      "script_timeout",
      "accepted",
    }, codes)
    assert.equal(1, versions[1])
    assert.equal(2, versions[3])
    assert.equal(3, versions[7])
    assert.matches("evolve.Spun was stopped", result.outcomes[2].error.message)
    assert.equal("patient", result.outcomes[6].error.module)
  end)

  it("is stopped while it loads", function()
    for text, place in pairs({
      ["while true do end"] = "bad/hostile.lua",
      ["return require('other')"] = "bad/other.lua",
      ["return setmetatable({}, { __index = function() while true do end end })"] = "bad/hostile.lua",
    }) do
      program.fill(folder, {
        ["aether.lua"] = settings(3),
        ["bad/hostile.lua"] = text,
        ["bad/other.lua"] = place == "bad/other.lua" and "while true do end"
          or "return {}",
      })
      local result = exec({ counter.add("c", 1) })
      assert.equal(3, result.status)
      assert.equal("", result.out)
      assert.matches(
        place:gsub("%p", "%%%0")
          .. ": loading was stopped: it took more than 200 ms "
          .. "%(10 times limits.handler_ms%)",
        result.err
      )
    end
  end)

  it("is stopped in the settings", function()
    program.write(folder .. "/aether.lua", "while true do end")
    local result = program.run_aether({ "-C", folder, "config" })
    assert.equal(3, result.status)
    assert.matches("aether.lua: loading was stopped", result.err)
  end)

  it("is stopped when history is checked and replayed", function()
    program.fill(folder, {
      ["aether.lua"] = settings(3),
      ["bad/hostile.lua"] = module(),
      ["bad/fine.lua"] = module(),
    })
    local store = "sqlite:" .. folder .. "/events.db"
    local lines = {}
    for index = 1, 20 do
      lines[#lines + 1] = line("bad/hostile/a" .. index, "add", none)
      lines[#lines + 1] = line("bad/fine/a" .. index, "add", none)
      lines[#lines + 1] = counter.add("c", index)
    end
    local made =
      counter.exec(folder, store, table.concat(lines, "\n") .. "\n")
    assert.equal(0, made.status, made.err)
    program.write(
      folder .. "/bad/hostile.lua",
      module("function evolve.Added() while true do end end")
    )
    local check = program.run_aether({ "-C", folder, "check", "--store", store })
    assert.equal(1, check.status)
    local text = check.out .. check.err
    assert.matches("bad/hostile/a1: .*evolve.Added was stopped", text)
    assert.matches("bad/hostile.lua is quarantined", text)
    assert(#text < 4000, text)
    local replay = program.run_aether({
      "-C", folder, "replay", "bad/hostile/a2", "--store", store,
    })
    assert.equal(3, replay.status)
    assert.matches("evolve.Added was stopped", replay.err)
  end)

  it("is quarantined after some times in a row, and others go on", function()
    program.fill(folder, {
      ["aether.lua"] = settings(3),
      ["bad/hostile.lua"] = module(nil, { spin = "while true do end" }),
      ["bad/fine.lua"] = module(),
    })
    node = server.start(folder, { args = { "--store", "memory" } })
    local function send(actor, command)
      local answer = node:request(
        "POST",
        "/v1/" .. actor .. "/" .. command,
        { ["Content-Type"] = "application/json" },
        "{}"
      )
      return answer.status, json.decode(answer.body)
    end
    local function ready()
      local answer = node:request("GET", "/readyz", {})
      return answer.status, answer.body
    end
    assert.equal(504, (send("bad/hostile/a", "spin")))
    assert.equal(504, (send("bad/hostile/a", "spin")))
    assert.equal(200, (send("bad/hostile/b", "add"))) -- breaks the row
    for _ = 1, 3 do
      assert.equal(200, (ready()))
      local status, problem = send("bad/hostile/a", "spin")
      assert.equal(504, status)
      assert.equal("script_timeout", problem.code)
    end
    for _, command in ipairs({ "spin", "add" }) do
      local status, problem = send("bad/hostile/a", command)
      assert.equal(503, status)
      assert.equal("module_quarantined", problem.code)
      assert.equal("hostile", problem.module)
      assert.matches("decide.spin was stopped", problem.cause)
      assert(problem.since > 1e15)
    end
    assert.equal(200, (send("bad/fine/a", "add")))
    assert.equal(422, (send("cell/counter/a", "refuse")))
    local status, body = ready()
    assert.equal(503, status)
    assert.matches("module_quarantined", body)
    local document =
      json.decode(node:request("GET", "/v1/admin/status", {}).body)
    assert.equal(5, document.namespaces.bad.stopped)
    assert.is_false(document.ready)
    local by_name = {}
    for _, one in ipairs(document.namespaces.bad.modules) do
      by_name[one.name] = one
    end
    assert.is_nil(by_name.fine.quarantined)
    assert.matches("was stopped", by_name.hostile.quarantined.cause)
    assert.equal("module_quarantined", document.wrong[1].code)
    assert.equal("bad", document.wrong[1].namespace)
    node:stop()
  end)
end)
