--- What only reads: state, events, replay, check; and test, doctor, bench.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")

local folder, store

local function aether(argv, options)
  local all = { "-C", folder }
  for _, argument in ipairs(argv) do
    all[#all + 1] = argument
  end
  local result = program.run_aether(all, options)
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return result
end

-- A command that reads `store`.
local function read(argv, options)
  local all = { unpack(argv) }
  all[#all + 1] = "--store"
  all[#all + 1] = store
  return aether(all, options)
end

local function exec(...)
  local input = table.concat({ ... }, "\n")
  local result = counter.exec(folder, store, input)
  assert(result.status == 0, result.err .. result.out)
  return result
end

local module = [[
local event = require("aether.event")
local counter = {
  initial = { count = 0, sum = 0 },
  snapshot = { version = 1, every = 2 },
}
counter.decide = {
  add = function(_, add) return event("Added", { n = add.n }) end,
}
counter.evolve = {
  Added = function(state, added)
    state.count = state.count + 1
    state.sum = state.sum + %s
  end,
}
return counter
]]

local function write_module(what)
  program.write(folder .. "/cell/counter.lua", module:format(what))
end

local function start()
  folder = program.folder()
  counter.app(folder)
  write_module("added.n")
  store = "sqlite:" .. folder .. "/events.db"
end

local function finish()
  program.remove(folder)
end

describe("aether state #node", function()
  before_each(start)
  after_each(finish)

  it("shows a state now and as it was", function()
    exec(counter.add("a", 5), counter.add("a", 6), counter.add("a", 7))
    local result = read({ "state", "cell/counter/a" })
    assert.equal(0, result.status, result.err)
    assert.equal(
      '{"actor":"cell/counter/a","version":3,"state":{"count":3,"sum":18}}\n',
      result.out
    )
    for version, sum in pairs({ [0] = 0, 5, 11, 18 }) do
      local state = json.decode(
        read({ "state", "cell/counter/a", "--at", tostring(version) }).out
      )
      assert.equal(version, state.version)
      assert.equal(sum, state.state.sum)
    end
    result = read({ "state", "cell/counter/a", "--at", "4" })
    assert.equal(3, result.status)
    assert(result.err:find("there is no version 4", 1, true), result.err)
  end)

  it("keeps a state that is a list, in a snapshot too", function()
    program.write(
      folder .. "/cell/counter.lua",
      [[
        local event = require("aether.event")
        local list = { initial = {}, snapshot = { version = 1, every = 2 } }
        list.decide = {
          add = function(state) return event("Added", { n = #state }) end,
        }
        list.evolve = {
          Added = function(state, added) state[#state + 1] = added.n end,
        }
        return list
      ]]
    )
    for _ = 1, 3 do
      local result = exec(counter.add("a", 0), counter.add("a", 0))
      assert(not result.err:find("snapshot", 1, true), result.err)
    end
    assert.equal(
      '{"actor":"cell/counter/a","version":6,"state":[0,1,2,3,4,5]}\n',
      read({ "state", "cell/counter/a" }).out
    )
  end)

  it("has version 0 for an actor without events", function()
    exec(counter.add("a", 1))
    local state = json.decode(read({ "state", "cell/counter/new" }).out)
    assert.equal(0, state.version)
    assert.equal(0, state.state.count)
  end)

  it("shows many, from arguments and from stdin, in the order asked", function()
    local input, names = {}, {}
    for index = 1, 700 do
      input[index] = counter.add("c" .. index, index)
      names[index] = "cell/counter/c" .. 701 - index
    end
    exec(unpack(input))
    local result = read(
      { "state", "-" },
      { stdin = table.concat(names, "\n") .. "\n\n" }
    )
    assert.equal(0, result.status, result.err)
    local states = counter.documents(result.out)
    assert.equal(700, #states)
    for index, state in ipairs(states) do
      assert.equal(names[index], state.actor)
      assert.equal(701 - index, state.state.sum)
    end
    result = read({ "state", "cell/counter/c9", "cell/counter/c3" })
    states = counter.documents(result.out)
    assert.equal("cell/counter/c9", states[1].actor)
    assert.equal("cell/counter/c3", states[2].actor)
  end)

  it("goes on behind a name that is none, and says it", function()
    exec(counter.add("a", 1))
    local result = read({ "state", "-" }, {
      stdin = "cell/counter/a\ncell/countre/a\ncel/counter/a\nnone\n"
        .. "cell/counter/a\r\n",
    })
    assert.equal(3, result.status)
    assert.equal(2, #counter.documents(result.out))
    assert(result.err:find("did you mean \"counter\"", 1, true), result.err)
    assert(result.err:find("NAMESPACE/TYPE/ID", 1, true), result.err)
    result = read({ "state", "cell/countre/a", "--json" })
    assert.equal("unknown_type", json.decode(result.err).error.code)
    assert.equal("counter", json.decode(result.err).error.nearest)
  end)

  it("says that there is no store yet", function()
    local result = read({ "state", "cell/counter/a" })
    assert.equal(3, result.status)
    assert(result.err:find("no store at", 1, true), result.err)
    assert(not program.exists(folder .. "/events.db"))
  end)

  it("says that it opened the app's own store", function()
    assert.equal(
      0,
      aether({ "exec", "-" }, { stdin = counter.add("a", 1) }).status
    )
    local result = aether({ "state", "cell/counter/a" })
    assert.equal(0, result.status)
    assert(result.err:find("the app's own store", 1, true), result.err)
    assert(program.exists(folder .. "/data/events.db"))
    store = "sqlite:" .. folder .. "/data/events.db"
    assert.equal("", read({ "state", "cell/counter/a" }).err)
  end)
end)

describe("aether events #node", function()
  before_each(start)
  after_each(finish)

  it("shows what is stored, as exec printed it", function()
    local done = exec(
      counter.add("a", 1), counter.add("b", 2), counter.add("a", 3)
    )
    local by_id = {}
    for _, outcome in ipairs(done.outcomes) do
      by_id[outcome.events[1].id] = outcome.events[1]
    end
    local all = counter.documents(read({ "events", "cell" }).out)
    assert.equal(3, #all)
    for _, event in ipairs(all) do
      assert.same(by_id[event.id], event)
    end
    local of_a = counter.documents(read({ "events", "cell/counter/a" }).out)
    assert.equal(2, #of_a)
    assert.equal(1, of_a[1].version)
    assert.equal(2, of_a[2].version)
  end)

  it("goes on behind a version, a position or a cursor", function()
    local input = {}
    for index = 1, 5 do
      input[index] = counter.add("a", index)
    end
    exec(unpack(input))
    exec(counter.add("b", 6))
    local function numbers(argv)
      local result = read(argv)
      assert.equal(0, result.status, result.err)
      local found = {}
      for index, event in ipairs(counter.documents(result.out)) do
        found[index] = event.data.n
      end
      return found
    end
    assert.same({ 3, 4, 5 },
      numbers({ "events", "cell/counter/a", "--after", "2" }))
    assert.same({}, numbers({ "events", "cell/counter/a", "--after", "5" }))
    assert.same({}, numbers({ "events", "cell/counter/a", "--after", "99" }))
    assert.same({ 1, 2, 3, 4, 5, 6 }, numbers({ "events", "cell" }))
    -- Each event's cursor, taken from the whole list, leads behind it.
    local all = counter.documents(read({ "events", "cell" }).out)
    local index_of, last = {}, nil
    for place, event in ipairs(all) do
      index_of[place] = event.position == last and index_of[place - 1] + 1 or 0
      last = event.position
      local cursor = ("%d.%d"):format(event.position, index_of[place])
      local rest = numbers({ "events", "cell", "--after", cursor })
      assert.equal(#all - place, #rest, cursor)
    end
    assert.same({ 6 },
      numbers({ "events", "cell", "--after", tostring(all[5].position) }))
    assert.same({ 6 }, numbers({ "events", "cell/counter/b" }))
    assert.same({ 1, 2, 3, 4, 5, 6 },
      numbers({ "events", "cell", "--type", "Added" }))
    assert.same({}, numbers({ "events", "cell", "--type", "Gone" }))
  end)

  it("follows what is stored from now on", function()
    exec(counter.add("a", 1), counter.add("b", 1))
    for _, of in ipairs({ "cell", "cell/counter/a" }) do
      local process = program.start_aether({
        "-C", folder, "events", of, "--follow", "--json", "--store", store,
      })
      local function seen()
        local _, count = program.read(process.stdout):gsub("\n", "")
        return count
      end
      local before = of == "cell" and nil or 1
      program.wait_for(function()
        before = before or (seen() > 1 and seen())
        return before and seen() >= before
      end, "what is there", 20)
      exec(counter.add("a", 7), counter.add("b", 7))
      local more = of == "cell" and 2 or 1
      program.wait_for(function()
        return seen() >= before + more
      end, "what is new", 20)
      process:kill(2)
      local result = process:wait()
      assert.equal(0, result.status, result.err)
      local events = counter.documents(result.out)
      assert.equal(7, events[#events].data.n)
      store = "sqlite:" .. folder .. "/second.db"
      exec(counter.add("a", 1))
    end
  end)

  it("knows which namespaces there are", function()
    exec(counter.add("a", 1))
    local result = read({ "events", "cel" })
    assert.equal(3, result.status)
    assert(result.err:find("did you mean cell?", 1, true), result.err)
    assert.equal(3, read({ "events", "no good" }).status)
    local none = read({ "events", "cell/countr/a" })
    assert.equal("", none.out)
    assert(none.err:find("cell/countr/a has no events", 1, true), none.err)
    assert.equal(0, none.status)
    -- The store is read without an app too.
    program.run({ "rm", "-r", folder .. "/cell", folder .. "/aether.lua" })
    assert.equal(1, #counter.documents(read({ "events", "cell" }).out))
  end)
end)

describe("aether replay #node", function()
  before_each(start)
  after_each(finish)

  it("shows each event, the state after it and what changed", function()
    exec(counter.add("a", 5), counter.add("a", 6))
    local steps = counter.documents(
      read({ "replay", "cell/counter/a", "--json" }).out
    )
    assert.equal(2, #steps)
    assert.equal("Added", steps[2].event.type)
    assert.equal(2, steps[2].version)
    assert.same({ count = 2, sum = 11 }, steps[2].state)
    assert.same({
      { path = "count", before = 1, after = 2 },
      { path = "sum", before = 5, after = 11 },
    }, steps[2].changed)
    local text = read({ "replay", "cell/counter/a" }).out
    assert(text:find("sum: 5 → 11", 1, true), text)
    assert(text:find('state {"count":2,"sum":11}', 1, true), text)
  end)

  it("tries a changed aggregate on real history", function()
    exec(counter.add("a", 5), counter.add("a", 6))
    local other = folder .. "/changed.txt"
    program.write(other, module:format("2 * added.n"))
    local steps = counter.documents(
      read({ "replay", "cell/counter/a", "--json", "--module", other }).out
    )
    assert.equal(22, steps[2].state.sum)
    assert.equal(11, json.decode(read({ "state", "cell/counter/a" }).out).state.sum)
    program.write(other, "return {")
    local result = read({ "replay", "cell/counter/a", "--module", other })
    assert.equal(3, result.status)
    assert(result.err:find(other .. ":1", 1, true), result.err)
    result = read({ "replay", "cell/counter/a", "--module", folder .. "/cell" })
    assert.equal(3, result.status)
    assert.matches("/cell is no file", result.err)
    result = read({ "replay", "cell/counter/a", "--module", folder .. "/no" })
    assert.equal(3, result.status)
    assert(result.err:find(folder .. "/no", 1, true), result.err)
  end)

  it("stops where the module does, and says where", function()
    exec(counter.add("a", 5), counter.add("a", 6))
    write_module("(added.n ~= 6 and added.n or nil)")
    local result = read({ "replay", "cell/counter/a", "--json" })
    assert.equal(3, result.status)
    assert.equal(1, #counter.documents(result.out))
    local failure = json.decode(result.err).error
    assert.equal("script_error", failure.code)
    assert.equal(12, failure.line)
    assert(failure.message:find("version 2", 1, true), failure.message)
    write_module("(added.n == 6 and 0 / 0 or added.n)")
    result = read({ "replay", "cell/counter/a", "--json" })
    assert.equal(1, #counter.documents(result.out))
    failure = json.decode(result.err).error
    assert.equal("value_error", failure.code)
    assert.matches("state%.sum is not a number", failure.message)
    assert.matches("%(after version 2, Added%)$", failure.message)
    assert.equal(3, read({ "replay", "cell/nothing/a" }).status)
    assert.equal(3, read({ "replay", "cell" }).status)
    result = read({ "replay", "cell/counter/none" })
    assert.equal(0, result.status)
    assert(result.err:find("no events", 1, true), result.err)
  end)
end)

describe("aether check #node", function()
  before_each(start)
  after_each(finish)

  it("replays history, and finds nothing where nothing is", function()
    local input = {}
    for index = 1, 500 do
      input[index] = counter.add("c" .. index % 37, index)
    end
    exec(unpack(input))
    local result = read({ "check" })
    assert.equal(0, result.status, result.out .. result.err)
    assert(result.out:find("500 events of 37 actors", 1, true), result.out)
    local summary = json.decode(read({ "check", "--json" }).out)
    assert.equal(500, summary.events)
    assert.equal(37, summary.actors)
    assert.equal(0, summary.mistakes)
  end)

  it("reports each mistake of a module with file and line", function()
    program.fill(folder, {
      ["cell/broken.lua"] = "local x =\n\nreturn {",
      ["cell/odd.lua"] = "return 5",
      ["cell/unfit.lua"] =
        "return { initial = {}, decide = { Bad = function() end }, evolve = {} }",
    })
    local result = aether({ "check" })
    assert.equal(1, result.status, result.err)
    assert.matches("broken.lua:3", result.out)
    assert.matches("odd.lua", result.out)
    assert.matches("unfit.lua", result.out)
    local documents = counter.documents(aether({ "check", "--json" }).out)
    local summary = documents[#documents]
    assert.equal(#documents - 1, summary.mistakes)
    assert(summary.mistakes >= 3)
    for index = 1, summary.mistakes do
      assert.is_string(documents[index].error.code)
    end
  end)

  it("reports what history says against the modules", function()
    exec(counter.add("a", 1), counter.add("b", 2), counter.add("b", 3))
    write_module("(added.n ~= 3 and added.n or nil)")
    local result = read({ "check" })
    assert.equal(1, result.status)
    assert.matches("cell/counter/b: .*counter.lua:12", result.out)
    assert(result.out:find("version 2", 1, true), result.out)
    assert(not result.out:find("cell/counter/a", 1, true), result.out)
    os.rename(folder .. "/cell/counter.lua", folder .. "/cell/countr.lua")
    result = read({ "check" })
    assert.equal(1, result.status)
    assert.matches("counter.*countr", result.out)
    assert.matches("\n1 mistake\n$", result.out)
    program.run({ "mv", folder .. "/cell", folder .. "/call" })
    result = read({ "check" })
    assert.equal(1, result.status)
    assert.matches("namespace cell", result.out)
  end)

  it("reports a snapshot that the events do not make", function()
    exec(counter.add("a", 1), counter.add("a", 2), counter.add("a", 4))
    exec(counter.add("a", 8), counter.add("b", 1))
    assert.equal(0, read({ "check" }).status)
    write_module("2 * added.n")
    local result = read({ "check" })
    assert.equal(1, result.status, result.out)
    assert.matches("cell/counter/a: the snapshot at version %d", result.out)
    assert.matches("sum: %d+ → %d+", result.out)
    assert(not result.out:find("counter/b", 1, true), result.out)
  end)

  it("takes more actors than the script has memory for", function()
    program.write(
      folder .. "/aether.lua",
      "return { namespaces = { cell = { limits = { memory_mb = 2 } } } }"
    )
    local input = {}
    for index = 1, 12000 do
      input[index] = counter.add("c" .. index % 6000, index)
    end
    exec(table.concat(input, "\n"))
    local result = read({ "check" })
    assert.equal(0, result.status, result.out:sub(1, 2000) .. result.err)
    assert(result.out:find("12,000 events of 6,000 actors", 1, true), result.out)
  end)
end)

describe("aether test #node", function()
  before_each(start)
  after_each(finish)

  it("runs specs, and says by its status how they went", function()
    local text = [[
      local event = require("aether.event")
      local given = require("aether.scenario")("counter")
      it("adds", function()
        given():when("add", { n = 1 }):expect(event("Added", { n = %d }))
      end)
    ]]
    program.fill(folder, { ["spec/counter_spec.lua"] = text:format(1) })
    local result = aether({ "test" })
    assert.equal(0, result.status, result.out .. result.err)
    assert.matches("1 success", result.out)
    program.fill(folder, { ["spec/counter_spec.lua"] = text:format(2) })
    result = aether({ "test", "--output=TAP" })
    assert.equal(1, result.status, result.out .. result.err)
    assert.matches("not ok 1", result.out)
  end)
end)

describe("aether doctor #node", function()
  before_each(start)
  after_each(finish)

  local function findings(argv, options)
    local result = aether(argv, options)
    local by_name = {}
    for _, finding in ipairs(counter.documents(result.out)) do
      by_name[finding.check] = finding
    end
    return by_name, result
  end

  it("finds nothing wrong here, and changes nothing", function()
    local found, result = findings({ "doctor", "--json" })
    assert.equal(0, result.status, result.out .. result.err)
    for _, name in ipairs({ "lua", "files", "clock", "settings", "folder",
      "disk", "store" }) do
      assert.equal("ok", found[name].status, name)
    end
    assert(not program.exists(folder .. "/data/events.db"))
    assert.matches("ok +lua", aether({ "doctor" }).out)
  end)

  it("names the process that writes", function()
    local fifo = folder .. "/fifo"
    program.run({ "mkfifo", fifo })
    local writer = program.start_aether(
      { "-C", folder, "exec", "--store", store, "-" },
      { stdin_file = fifo }
    )
    local pipe = assert(io.open(fifo, "r+"))
    pipe:write(counter.add("a", 1), "\n")
    pipe:flush()
    program.wait_for(function()
      return program.read(writer.stdout) ~= ""
    end, "the first outcome", 20)
    local found, result = findings({ "doctor", "--json", "--store", store })
    pipe:close()
    writer:wait()
    assert.equal(0, result.status, result.out)
    assert.equal("note", found.store.status)
    assert(found.store.text:find(tostring(writer.pid), 1, true),
      found.store.text)
  end)

  it("says what is wrong, with its mend", function()
    program.write(folder .. "/aether.lua", "return { stoer = 1 }")
    local found, result = findings({ "doctor", "--json" })
    assert.equal(1, result.status)
    assert.equal("wrong", found.settings.status)
    assert.is_string(found.settings.mend)
    program.write(folder .. "/aether.lua", "return {}")
    program.write(folder .. "/no.db", ("this is no database "):rep(500))
    found, result = findings({
      "doctor", "--json", "--store", "sqlite:" .. folder .. "/no.db",
    })
    assert.equal(1, result.status)
    assert.equal("wrong", found.store.status)
    found, result = findings({ "doctor", "--json" }, {
      env = { AETHER_STOER = "memory" },
    })
    assert.equal(0, result.status)
    assert(result.out:find("AETHER_STORE", 1, true))
    assert.is_table(found.settings)
  end)
end)

describe("aether bench #node", function()
  before_each(start)
  after_each(finish)

  local fields = { "name", "params", "operations", "seconds", "rate", "p50_us",
    "p99_us", "cores", "durable" }

  local function bench(argv)
    local all = { "bench" }
    for _, argument in ipairs(argv) do
      all[#all + 1] = argument
    end
    all[#all + 1] = "--json"
    local result = program.run_aether(all, {
      env = { TMPDIR = folder .. "/tmp" },
    })
    assert.equal(0, result.status, result.err)
    local runs = counter.documents(result.out)
    for _, run in ipairs(runs) do
      for _, field in ipairs(fields) do
        assert(run[field] ~= nil, field)
      end
      assert(run.operations > 0 and run.rate > 0 and run.seconds > 0)
      assert(run.p50_us <= run.p99_us)
    end
    local left = program.run({ "ls", "-A", folder .. "/tmp" }).out
    assert.equal("", left)
    return runs
  end

  before_each(function()
    program.run({ "mkdir", folder .. "/tmp" })
  end)

  it("has a line a run, the one with most in flight first", function()
    local runs = bench({ "commands", "--store", "memory", "--seconds", "0.1",
      "--actors", "50", "--in-flight", "64" })
    assert.equal(3, #runs)
    assert.equal("commands", runs[1].name)
    assert.equal(64, runs[1].params.in_flight)
    assert.equal(1, runs[2].params.in_flight)
    assert.equal("limit", runs[3].name)
    assert.equal("memory", runs[1].durable)
    assert(runs[1].actor_bytes > 0)
    assert.is_number(runs[3].ratio)
  end)

  it("holds SQLite against SQLite alone", function()
    local runs = bench({ "commands", "--seconds", "0.1", "--actors", "50" })
    assert.equal(4, #runs)
    assert.equal("sqlite", runs[1].params.store)
    assert.equal("bare_commit", runs[3].name)
    assert.is_number(runs[3].ratio)
    assert(runs[1].durable == "fsynced" or runs[1].durable == "tmpfs")
  end)

  it("measures replay and the limit", function()
    local runs = bench({ "replay", "--seconds", "0.1", "--actors", "20" })
    assert.equal(1, #runs)
    assert.equal(0, runs[1].operations % 2000)
    runs = bench({ "limit", "--seconds", "0.1" })
    assert.equal(1, #runs)
    assert.equal("nothing", runs[1].durable)
  end)

  it("measures the bus, and counts what it drops to the event", function()
    local runs = bench({ "bus", "--seconds", "0.2", "--actors", "50",
      "--in-flight", "256" })
    assert.equal(6, #runs)
    for index, subscribers in ipairs({ 10, 1, 0, 1, 1, 2 }) do
      assert.equal(subscribers, runs[index].params.subscribers)
    end
    for index = 1, 2 do
      assert.equal("deliveries", runs[index].name)
      assert.equal(runs[index].operations, runs[index].delivered)
      assert.equal(0, runs[index].dropped)
      assert.equal("nothing", runs[index].durable)
    end
    -- The one that reads misses nothing; the other keeps a hundred each time.
    local names = { "publish", "publish_read", "publish_full",
      "publish_read_full" }
    for index, name in ipairs(names) do
      local run = runs[index + 2]
      local reads, sleeps = index % 2 == 0, index > 2
      assert.equal(name, run.name)
      assert.equal("memory", run.params.store)
      assert.equal(256, run.params.in_flight)
      assert.equal(reads and run.operations or 0, run.delivered)
      assert(run.dropped < run.operations)
      assert.equal(sleeps, run.dropped > 0)
      assert.equal(index > 1, run.ratio ~= nil)
    end
  end)

  it("measures commands over HTTP, as lines and one by one", function()
    for _, in_flight in ipairs({ 256, 3, 1 }) do
      local runs = bench({ "http", "--store", "memory", "--seconds", "0.1",
        "--actors", "50", "--in-flight", tostring(in_flight) })
      assert.equal(2, #runs)
      assert.equal("http_ndjson", runs[1].name)
      assert.equal(in_flight, runs[1].params.in_flight)
      assert.equal("http_requests", runs[2].name)
      assert.equal(64, runs[2].params.in_flight)
      for _, run in ipairs(runs) do
        assert.equal("memory", run.durable)
        assert(run.operations > 0 and run.p99_us >= run.p50_us)
      end
    end
    assert.equal("fsynced", bench({ "http", "--seconds", "0.1" })[1].durable)
  end)

  it("keeps a file that a person names, and touches none that is there", function()
    local file = folder .. "/bench.db"
    bench({ "replay", "--seconds", "0.01", "--actors", "2", "--store",
      "sqlite:" .. file })
    assert(program.exists(file))
    local again = program.run_aether({ "bench", "commands", "--store",
      "sqlite:" .. file })
    assert.equal(2, again.status)
    assert(again.err:find("there already", 1, true), again.err)
  end)

  it("tells what a reload takes, and for how long nobody is served", function()
    local long = os.getenv("AETHER_LONG") ~= nil
    local reload
    -- Processor time: what the reload did itself. What else the machine does
    -- adds to it, so that the least of some runs tells.
    for _ = 1, long and 5 or 1 do
      local runs = bench({ "reload", "--seconds", long and "10" or "0.1",
        "--actors", long and "100000" or "50" })
      assert.equal("commands", runs[1].name)
      reload = runs[2]
      assert.equal("reload", reload.name)
      assert(reload.load_ms > 0 and reload.judge_ms > 0 and reload.swap_us > 0)
      assert(runs[1].pause_ms > 0 and reload.pause_ms > 0)
      if reload.pause_cpu_ms < 10 then
        return
      end
    end
    assert(not long or program.is_slow, json.encode(reload))
  end)

  it("removes its folder when it is interrupted", function()
    local process = program.start_aether(
      { "bench", "commands", "--seconds", "50" },
      { env = { TMPDIR = folder .. "/tmp" } }
    )
    program.wait_for(function()
      return program.run({ "ls", "-A", folder .. "/tmp" }).out ~= ""
    end, "its folder", 20)
    process:kill(2)
    local result = process:wait()
    assert.equal(3, result.status)
    assert(result.err:find("interrupted", 1, true), result.err)
    assert.equal("", program.run({ "ls", "-A", folder .. "/tmp" }).out)
  end)
end)
