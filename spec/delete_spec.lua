-- A namespace deleted from a store that others live in. Through the real
-- binary.
local counter = require("spec.support.counter")
local program = require("spec.support.program")

local long = os.getenv("AETHER_LONG") ~= nil

local names = { "a", "a.b", "a_b", "A", "ab" }
local folder, store, app

local function aether(argv, options)
  return program.run_in(folder, argv, options)
end

local ok, failed = program.ok, program.failed

local function lines(name, count, text)
  local all = {}
  for n = 1, count do
    all[n] = counter
      .add("c" .. n % 5, n, "id" .. n, { data = { n = n, text = text } })
      :gsub('cell/counter', name .. "/counter", 1)
  end
  return table.concat(all, "\n") .. "\n"
end

local function events(name)
  return ok(counter.events(folder, app, name)).out
end

describe("deleting a namespace #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
    local module = program.read(folder .. "/cell/counter.lua")
    for _, name in ipairs(names) do
      program.fill(folder, { [name .. "/counter.lua"] = module })
    end
    store = folder .. "/data/events.db"
    app = "sqlite:" .. store
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("takes all of it and nothing of others", function()
    local before = {}
    for _, name in ipairs(names) do
      ok(aether({ "exec", "-" }, { stdin = lines(name, 50) }))
    end
    for _, name in ipairs(names) do
      before[name] = events(name)
    end
    for gone, name in ipairs(names) do
      local result = ok(aether({ "delete", name, "--yes" }))
      assert(result.out:find("50 events of 5 actors", 1, true), result.out)
      for index, other in ipairs(names) do
        assert.equal(index <= gone and "" or before[other], events(other))
      end
      ok(aether({ "check" }))
    end
    -- What is deleted begins anew: the same ids take effect again.
    local again = ok(aether({ "exec", "-" }, { stdin = lines("a", 50) }))
    for _, outcome in ipairs(counter.documents(again.out)) do
      assert.is_nil(outcome.repeated)
    end
    counter.by_version(counter.documents(events("a")))
    local second = ok(aether({ "delete", "A", "--yes", "--json" }))
    assert.equal(0, counter.documents(second.out)[1].events)
    assert.equal(again.status, 0)
    assert.not_equal("", events("a"))
  end)

  it("gives the room back, or says that it cannot", function()
    ok(aether({ "exec", "-" }, { stdin = lines("a", 2000, ("q"):rep(2000)) }))
    ok(aether({ "exec", "-" }, { stdin = lines("ab", 500) }))
    program.run({ "cp", store, folder .. "/copy.db" })
    local size = program.size(store)
    local kept = ok(aether({ "delete", "a", "--yes", "--keep-room", "--json" }))
    local said = counter.documents(kept.out)[1]
    assert.equal(false, said.compacted)
    assert(said.free > 4000000, kept.out)
    assert.equal(size, program.size(store))
    -- The same command again gives the room back.
    local result = ok(aether({ "delete", "a", "--yes" }))
    assert(result.out:find("gave back", 1, true), result.out)
    assert(program.size(store) < size / 10)
    assert(not program.read(store):find(("q"):rep(50), 1, true), "is in it")
    assert.equal(500, #counter.documents(events("ab")))
    -- On a disk where it does not fit twice.
    local how = program.run({ "unshare", "-m", "true" }).status == 0 and "-m"
      or "-rm"
    result = program.run({ "unshare", how, "sh", "-euc", [[
      mkdir "$2/disk"
      mount -t tmpfs -o size=9m none "$2/disk"
      mv "$2/copy.db" "$2/disk/events.db"
      "$1" -C "$2" delete ab --yes --json --store "sqlite:$2/disk/events.db"
      "$1" -C "$2" events a --json --store "sqlite:$2/disk/events.db" | wc -l
    ]], "sh", program.aether, folder })
    assert(result.status == 0, result.err)
    assert.matches('"compacted":false', result.out)
    assert.matches("}\n2000\n", result.out)
    assert.matches("MB more are needed", result.err)
  end)

  it("asks for the name, and is not easily mistaken", function()
    failed(aether({ "delete", "a", "--yes" }), 3, "there is no store")
    assert(not program.exists(store), "a store was made")
    ok(aether({ "exec", "-" }, { stdin = lines("a", 5) }))
    local before = events("a")
    failed(aether({ "delete", "a" }), 2, "--yes")
    failed(aether({ "delete", "cel", "--yes" }), 3, "did you mean cell?")
    failed(aether({ "delete", "..", "--yes" }), 3, "is no namespace")
    failed(aether({ "delete", "a/counter/c1", "--yes" }), 3, "is no namespace")
    failed(aether({ "delete" }), 2, "usage")
    for _, typed in ipairs({ "ab", "A", "", "y", "a b" }) do
      local result = program.run({ "script", "-qec",
        ("'%s' -C '%s' delete a"):format(program.aether, folder), "/dev/null" },
        { stdin = typed .. "\n" })
      assert.equal(3, result.status, result.out)
      assert.matches("5 events of 5 actors", result.out)
      assert.equal(before, events("a"))
    end
    local result = program.run({ "script", "-qec",
      ("'%s' -C '%s' delete a"):format(program.aether, folder), "/dev/null" },
      { stdin = "a\n" })
    assert.equal(0, result.status, result.out)
    assert.equal("", events("a"))
  end)

  it("refuses while a writer holds the store", function()
    local fifo = folder .. "/fifo"
    program.run({ "mkfifo", fifo })
    local writer = program.start_aether(
      { "-C", folder, "exec", "-" },
      { stdin_file = fifo }
    )
    local pipe = assert(io.open(fifo, "r+"))
    pipe:write(lines("a", 1))
    pipe:flush()
    program.wait_for(function()
      return program.read(writer.stdout):find("\n") or not writer:running()
    end, "the first outcome")
    failed(aether({ "delete", "a", "--yes" }), 3, tostring(writer.pid))
    assert.not_equal("", events("a"))
    pipe:close()
    writer:kill(9)
    writer:wait()
    ok(aether({ "delete", "a", "--yes" }))
    assert.equal("", events("a"))
  end)

  it("is done or not after kill -9, and done when asked again", function()
    ok(aether({ "exec", "-" }, { stdin = lines("a", 6000, ("q"):rep(500)) }))
    ok(aether({ "exec", "-" }, { stdin = lines("ab", 500) }))
    program.run({ "cp", store, folder .. "/whole.db" })
    local all, others = events("a"), events("ab")
    local rounds = long and 60 or program.is_slow and 4 or 14
    local whole = 0
    for round = 1, rounds do
      local process =
        program.start_aether({ "-C", folder, "delete", "a", "--yes" })
      local at = math.random(0, 6) * 1000000
      program.wait_for(function()
        return at > 0 and program.size(store .. "-wal") >= at
          or not process:running()
      end)
      process:kill(9)
      process:wait()
      local left = events("a")
      assert(left == "" or left == all, "half of it, in round " .. round)
      assert.equal(others, events("ab"))
      whole = whole + (left == "" and 0 or 1)
      ok(aether({ "check" }))
      ok(aether({ "delete", "a", "--yes" }))
      assert.equal("", events("a"))
      assert.equal(others, events("ab"))
      program.run({ "cp", folder .. "/whole.db", store })
    end
    assert(whole < rounds, "none was ever deleted")
  end)
end)
