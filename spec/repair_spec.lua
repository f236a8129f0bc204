-- An actor with records that cannot be read, and what an operator decides.
-- Through the real binary, on the store and through a node.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local long = os.getenv("AETHER_LONG") ~= nil

local folder, store, app
local actor = "cell/counter/a"

local function aether(argv, options)
  return program.run_in(folder, argv, options)
end

local ok = program.ok

-- One commit each.
local function add(first, last, options)
  local outcomes
  for n = first, last do
    local result = counter.exec(folder, app, counter.add("a", n, "id" .. n)
      .. "\n", options)
    outcomes = result.outcomes
  end
  return outcomes[1]
end

local function sql(text)
  local made = program.run({ "sqlite3", store, text })
  assert.equal(0, made.status, made.err)
end

local function damage(...)
  sql(("UPDATE log SET body=zeroblob(60) WHERE position IN (%s)"):format(
    table.concat({ ... }, ",")))
end

local function repair(...)
  return aether({ "repair", actor, "--store", app, "--json", ... })
end

local function said(result)
  return counter.documents(result.out)[1]
end

local function state()
  return json.decode(ok(aether({ "state", actor, "--store", app })).out)
end

local function events()
  local result = ok(counter.events(folder, app, actor))
  counter.by_version(result.events)
  return result.events
end

describe("repair #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
    store = folder .. "/data/events.db"
    program.run({ "mkdir", folder .. "/data" })
    app = "sqlite:" .. store
    add(1, 8)
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("looks, and changes nothing", function()
    local result = ok(repair())
    assert.equal(8, said(result).commits)
    assert.same({}, said(result).holes)
    damage(3, 6)
    local before = program.read(store)
    result = repair()
    assert.equal(1, result.status)
    assert.equal(2, #said(result).holes)
    assert.equal(3, said(result).holes[1].from)
    assert.equal(6, said(result).holes[2].to)
    assert.is_nil(said(result).kept)
    local text = aether({ "repair", actor, "--store", app })
    assert.equal(1, text.status)
    assert.matches("version 3: no known format", text.out)
    assert.matches("%-%-skip goes over them", text.out)
    assert.equal(before, program.read(store))
    assert.equal("failed", add(9, 9).status)
    assert.equal("actor_damaged",
      counter.exec(folder, app, counter.add("a", 9) .. "\n").outcomes[1].error.code)
    assert.equal(3, aether({ "repair", "cell/counter/none", "--store", app })
      .status)
    assert.equal(2, repair("--skip", "--truncate", "--yes").status)
    local asked = repair("--skip")
    assert.equal(2, asked.status)
    assert.matches("%-%-yes", asked.err)
  end)

  it("--skip keeps the versions, and the ids taken", function()
    damage(3, 6)
    local result = ok(repair("--skip", "--yes"))
    assert.equal(2, said(result).removed)
    assert.equal(8, said(result).version)
    local kept = counter.documents(program.read(said(result).kept))
    assert.equal(2, #kept)
    assert.equal(actor, kept[1].actor)
    assert.equal(3, kept[1].version)
    assert.equal(80, #kept[1].record)
    local all = events()
    assert.equal(8, #all)
    assert.equal("$Skipped", all[3].type)
    assert.equal("Added", all[4].type)
    assert.same({ actor = actor, version = 8, state = { count = 6, sum = 27 } },
      state())
    ok(aether({ "check", "--store", app }))
    ok(aether({ "replay", actor, "--store", app }))
    -- Done before: the same outcome. What was lost: never twice.
    assert.is_true(add(2, 2).repeated)
    local lost = add(3, 3)
    assert.equal("failed", lost.status)
    assert.matches("given up by `aether repair`", lost.error.message)
    assert.equal(9, add(9, 9).version)
    assert.equal(8 + 1, #events())
    ok(repair())
  end)

  it("--truncate takes the actor back, and keeps what goes", function()
    damage(6)
    local result = ok(repair("--truncate", "--yes"))
    assert.equal(5, said(result).version)
    assert.equal(3, said(result).removed)
    local kept = counter.documents(program.read(said(result).kept))
    assert.equal(3, #kept)
    assert.equal(8, kept[3].version)
    assert.equal(5, #events())
    assert.same({ count = 5, sum = 15 }, state().state)
    ok(aether({ "check", "--store", app }))
    -- Its ids are free, for what they did is gone.
    assert.is_nil(add(6, 6).repeated)
    assert.equal(7, add(7, 7).version)
    -- All of it: there is nothing left.
    damage(1)
    ok(repair("--truncate", "--yes"))
    assert.equal(0, #events())
    assert.equal(1, add(1, 1).version)
    ok(aether({ "check", "--store", app }))
    assert.not_equal(said(result).kept, nil)
  end)

  it("mends rows that are gone", function()
    sql("DELETE FROM log WHERE position IN (4, 5)")
    local result = repair()
    assert.equal(1, result.status)
    assert.equal("it is missing", said(result).holes[1].cause)
    ok(repair("--skip", "--yes"))
    assert.equal(8, #events())
    ok(aether({ "check", "--store", app }))
    assert.equal(9, add(9, 9).version)
  end)

  it("asks on a terminal", function()
    damage(6)
    local function ask(typed)
      return program.run({ "script", "-qec",
        ("'%s' -C '%s' repair %s --skip --store '%s'"):format(program.aether,
          folder, actor, app), "/dev/null" }, { stdin = typed .. "\n" })
    end
    for _, typed in ipairs({ "no", "", "y", "YES" }) do
      local result = ask(typed)
      assert.equal(3, result.status, result.out)
      assert.matches("keeps the versions", result.out)
      assert.equal(1, repair().status)
    end
    assert.equal(0, ask("yes").status)
    ok(repair())
  end)

  it("leaves no half of it after kill -9", function()
    damage(3, 6, 7)
    program.run({ "cp", store, folder .. "/damaged.db" })
    local rounds = long and 100 or program.is_slow and 4 or 24
    local seen = {}
    for round = 1, rounds do
      program.run({ "cp", folder .. "/damaged.db", store })
      os.remove(store .. "-wal")
      os.remove(store .. "-shm")
      local way = round % 2 == 0 and "--skip" or "--truncate"
      local process = program.start_aether({ "-C", folder, "repair", actor,
        "--store", app, way, "--yes" })
      -- While it reads, keeps, mends.
      local from = round % 3
      program.wait_for(function()
        return from == 0
          or from == 1 and program.size(store .. ".repaired-" .. round
            .. ".ndjson") > 0
          or from == 2 and program.size(store .. "-wal") > 0
          or not process:running()
      end)
      process:kill(9)
      process:wait()
      local left = repair()
      local holes = #said(left).holes
      seen[holes] = true
      if way == "--truncate" then
        assert(holes == 0 or holes == 2, holes .. " holes")
      end
      ok(repair(way, "--yes"))
      ok(repair())
      assert.equal(way == "--skip" and 8 or 2, #events())
    end
    assert(seen[2] or seen[0])
  end)

  it("goes through the node that has the store", function()
    local node = server.start(folder, { args = { "--store", app } })
    local done, problem = pcall(function()
      local url = node.url
      local function send(n)
        return aether({ "send", actor, "add", ('{"n":%d}'):format(n), "--url",
          url })
      end
      -- It lives in the node.
      ok(send(9))
      damage(6)
      local result = aether({ "repair", actor, "--url", url, "--json" })
      assert.equal(1, result.status, result.err)
      assert.equal(6, said(result).holes[1].from)
      -- The store itself is the node's.
      local held = repair("--skip", "--yes")
      assert.equal(3, held.status)
      assert.matches(tostring(node.process.pid), held.err)
      result = ok(aether({ "repair", actor, "--url", url, "--json", "--skip",
        "--yes" }))
      assert.equal(9, said(result).version)
      local is = json.decode(ok(aether({ "state", actor, "--url", url })).out)
      assert.same({ count = 8, sum = 39 }, is.state)
      ok(send(10))
      -- And back.
      damage(4)
      result = ok(aether({ "repair", actor, "--url", url, "--json",
        "--truncate", "--yes" }))
      assert.equal(3, said(result).version)
      is = json.decode(ok(aether({ "state", actor, "--url", url })).out)
      assert.same({ actor = actor, version = 3, state = { count = 3, sum = 6 } },
        is)
      local outcome = json.decode(ok(send(4)).out)
      assert.equal(4, outcome.version)
      assert.equal(3, aether({ "repair", "cell/counter/none", "--url", url })
        .status)
      assert.equal(3, aether({ "repair", "nocell/counter/a", "--url", url })
        .status)
    end)
    node:stop()
    if not done then
      error(problem, 0)
    end
    ok(aether({ "check", "--store", app }))
  end)
end)
