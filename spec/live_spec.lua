--- Subcommands that ask a running node, and say the same as from its store:
-- exec, state, events, listen.
local json = require("dkjson")
local live = require("spec.support.live")
local program = require("spec.support.program")

local app

local COMMANDS = [[
{"actor":"bank/account/a-1","command":"open","id":"1"}
{"actor":"bank/account/a-1","command":"deposit","data":{"amount":9007199254740993},"id":"2"}

{"actor":"bank/account/ü/../b","command":"open","metadata":{"by":"\"status\":\"accepted\" [{"}}
{"actor":"bank/account/a-1","command":"withdraw","data":{"amount":-1}}
no command
{"actor":"bank/account/ü/../b","command":"withdraw","data":{"amount":5}}
{"actor":"bank/account/a-1","command":"deposit","data":{"amount":9007199254740993},"id":"2"}
{"actor":"bank/account/a-1","command":"open","expected_version":9}]]

local function deposit(n, id)
  return ('{"actor":"bank/account/a-1","command":"deposit","data":{"amount":%d},"id":"%s"}\n')
    :format(n, id)
end

local function exec(text, ...)
  return app:run({ "exec", "-", ... }, { stdin = text })
end

-- What differs from run to run; actors are stored in any order.
local function plain(text)
  return (text:gsub('"id":"%x+%-[%x%-]+"', '"id":"…"'):gsub('"timestamp":%d+', '"timestamp":0')
    :gsub('"position":%d+', '"position":0')
    :gsub('"node":"[^"]*"', '"node":"…"'):gsub("[%d.]+ seconds.*", "…"))
end

local function store_of()
  return "sqlite:" .. app.folder .. "/node.db"
end

describe("exec through a node #node", function()
  before_each(function()
    app = live.app()
  end)

  after_each(function()
    app:clear()
  end)

  it("prints what it prints on a store, in the order of the lines", function()
    app:start()
    local there = exec(COMMANDS)
    local here = exec(COMMANDS, "--store", "memory")
    assert.equal(3, there.status, there.err)
    assert.equal(here.status, there.status)
    assert.equal(plain(here.out), plain(there.out))
    local function summary(result)
      return plain(result.err:match("aether: %d+ commands[^\n]*"))
    end
    assert.equal(summary(here), summary(there))
    assert.matches("running on the node at " .. app.node.url, there.err, 1, true)
    local document = json.decode(exec(deposit(1, "x"), "--json").err)
    assert.equal(1, document.accepted)
    assert.equal(1, document.events)
  end)

  it("opens the app's own store where no node answers", function()
    app.port = nil
    local result = exec(COMMANDS)
    assert.equal(3, result.status)
    assert.is_true(program.exists(app.folder .. "/data/events.db"))
  end)

  it("says who holds the store, and where no node answers", function()
    app:start({ store = "sqlite:" .. app.folder .. "/data.db" })
    local result = app:run({ "exec", "-" }, { stdin = COMMANDS, env = {
      AETHER_LISTEN = "127.0.0.1:1", AETHER_STORE = "sqlite:" .. app.folder .. "/data.db",
    } })
    assert.equal(3, result.status)
    assert.equal("", result.out)
    assert.matches("the process " .. app.node.server.pid, result.err, 1, true)
    assert.matches("no node answers at http://127.0.0.1:1:", result.err, 1, true)
  end)

  it("answers each command while more come", function()
    app:start()
    local fifo = app.folder .. "/fifo"
    program.run({ "mkfifo", fifo })
    local process = program.start({
      "sh", "-c", '"$0" -C "$1" exec - < "$2"', program.aether, app.folder, fifo,
    }, app:options())
    local pipe = assert(io.open(fifo, "w"))
    for n = 1, 3 do
      pipe:write(n == 1 and '{"actor":"bank/account/a-1","command":"open"}\n' or deposit(n, n))
      pipe:flush()
      program.wait_for(function()
        return select(2, program.read(process.stdout):gsub("\n", "")) == n
      end, "outcome " .. n)
    end
    pipe:close()
    local result = process:wait()
    assert.equal(0, result.status, result.err)
  end)

  it("takes many from two at once, each once and in order", function()
    app:start()
    local count = program.is_slow and 500 or 5000
    local parts = { {}, {} }
    exec('{"actor":"bank/account/a-1","command":"open"}\n')
    for n = 1, count do
      parts[1][n], parts[2][n] = deposit(1, "a" .. n), deposit(1, "b" .. n)
    end
    local both = {}
    for n = 1, 2 do
      both[n] = app:begin({ "exec", "-", "--json" }, { stdin = table.concat(parts[n]) })
    end
    for n = 1, 2 do
      local result = both[n]:wait()
      assert.equal(0, result.status, result.err)
      local line = 0
      for outcome in result.out:gmatch("[^\n]+") do
        line = line + 1
        assert.equal(line, tonumber(outcome:match('^{"line":(%d+)')))
      end
      assert.equal(count, line)
      assert.equal(count, json.decode(result.err).events)
    end
    local state = json.decode(app:run({ "state", "bank/account/a-1" }).out)
    assert.equal(2 * count, state.state.balance)
    assert.equal(2 * count + 1, state.version)
  end)

  it("tells when the node dies, and nothing takes effect twice", function()
    app:start()
    exec('{"actor":"bank/account/a-1","command":"open"}\n')
    local count = program.is_slow and 2000 or 30000
    local lines = {}
    for n = 1, count do
      lines[n] = deposit(1, n)
    end
    lines = table.concat(lines)
    local process = app:begin({ "exec", "-" }, { stdin = lines })
    program.wait_for(function()
      return program.size(process.stdout) > 0
    end, "an outcome")
    app.node:crash()
    local result = process:wait()
    assert.equal(3, result.status)
    assert.matches("went away in the middle", result.err, 1, true)
    assert.matches("take effect once", result.err, 1, true)
    app:start()
    result = exec(lines)
    assert.equal(0, result.status, result.err:sub(-500))
    local state = json.decode(app:run({ "state", "bank/account/a-1" }).out)
    assert.equal(count, state.state.balance)
  end)
end)

describe("reading through a node #node", function()
  before_each(function()
    app = live.app()
    app:start()
    exec(COMMANDS)
  end)

  after_each(function()
    app:clear()
  end)

  -- The same from the node and from the store beside it.
  local function assert_same(argv, options)
    local there = app:run(argv, options)
    local with = { unpack(argv) }
    with[#with + 1] = "--store"
    with[#with + 1] = store_of()
    local here = app:run(with, options)
    assert.equal(here.out, there.out)
    assert.equal(here.status, there.status, there.err)
    if not options or options.errors ~= false then
      assert.equal(here.err, there.err)
    end
    return there
  end

  it("gives states as the store does", function()
    local result = assert_same({ "state", "bank/account/a-1" })
    assert.matches("9007199254740993", result.out, 1, true)
    assert_same({ "state", "bank/account/a-1", "bank/account/ü/../b", "--at", "1" })
    assert_same({ "state", "-" }, { stdin = "bank/account/ü/../b\n\nbank/account/none\n" })
    assert_same({ "state", "bank/account/a-1", "--at", "7" })
    assert_same({ "state", "none/account/a", "bank/account/a-1" })
    assert_same({ "state", "bank/acount/a", "bank/account" })
  end)

  it("gives events as the store does", function()
    local result = assert_same({ "events", "bank" })
    assert.equal(3, select(2, result.out:gsub("\n", "")))
    assert_same({ "events", "bank/account/a-1" })
    assert_same({ "events", "bank/account/a-1", "--after", "1" })
    assert_same({ "events", "bank/account/ü/../b" })
    assert_same({ "events", "bank/account/none" })
    assert_same({ "events", "bank", "--after", "1" })
    assert_same({ "events", "bank", "--after", "1.0", "--type", "Deposited" })
    assert_same({ "events", "bank", "--after", "99" })
    assert_same({ "events", "none" }, { errors = false }) -- said in other words
  end)

  it("looks the same on a terminal", function()
    for _, argv in ipairs({
      { "events", "bank" }, { "events", "bank/account/a-1" }, { "state", "bank/account/a-1" },
    }) do
      local there = app:on_terminal(argv)
      argv[#argv + 1] = "--store"
      argv[#argv + 1] = store_of()
      assert.equal(app:on_terminal(argv).out, there.out)
    end
  end)

  it("says so where it reads the app's own store instead", function()
    app.node:stop()
    local result = app:run({ "events", "bank/account/a-1" },
      { env = { AETHER_STORE = store_of() } })
    assert.equal(0, result.status, result.err)
    assert.matches("no node answers at http://127.0.0.1:" .. app.port, result.err, 1, true)
    assert.matches("reading the app's own store, sqlite:", result.err, 1, true)
    result = app:run({ "events", "bank", "--url", app.node.url })
    assert.equal(3, result.status)
    result = app:run({ "events", "bank", "--url", app.node.url, "--store", "memory" })
    assert.equal(2, result.status)
  end)

  it("ends quietly where nobody reads on", function()
    local lines = {}
    for n = 1, 3000 do
      lines[n] = deposit(1, "p" .. n)
    end
    exec(table.concat(lines))
    local result = program.run({
      "sh", "-c", '"$0" -C "$1" events bank | head -n 1', program.aether, app.folder,
    }, app:options())
    assert.equal(1, select(2, result.out:gsub("\n", "")))
    assert.matches("nobody reads stdout any more", result.err, 1, true)
  end)

  it("follows over restarts without a gap or a repeat", function()
    local followers = {
      app:begin({ "events", "bank", "--follow" }),
      app:begin({ "events", "bank/account/a-1", "--follow" }),
      app:begin({ "events", "bank", "--follow", "--type", "Deposited" }),
    }
    local function wait_for_all(round)
      local wanted = { 3 + 50 * round, 2 + 50 * round, 1 + 50 * round }
      for n, follower in ipairs(followers) do
        program.wait_for(function()
          return select(2, program.read(follower.stdout):gsub("\n", "")) >= wanted[n]
        end, "what is followed")
      end
    end
    wait_for_all(0)
    local rounds = program.is_slow and 2 or 4
    for round = 1, rounds do
      local lines = {}
      for n = 1, 50 do
        lines[n] = deposit(1, ("r%d-%d"):format(round, n))
      end
      assert.equal(0, exec(table.concat(lines)).status)
      if round % 2 == 0 then
        app.node:stop()
      else
        app.node:crash()
      end
      app:start()
      wait_for_all(round)
    end
    local expected = {
      app:run({ "events", "bank" }).out,
      app:run({ "events", "bank/account/a-1" }).out,
      app:run({ "events", "bank", "--type", "Deposited" }).out,
    }
    for n, follower in ipairs(followers) do
      follower:kill(2)
      local result = follower:wait()
      assert.equal(0, result.status, result.err)
      assert.equal(expected[n], result.out)
      assert.matches("asking again until it answers", result.err, 1, true)
    end
  end)

  it("does not follow what will not be there", function()
    local result = app:run({ "events", "none", "--follow" })
    assert.equal(3, result.status)
    assert.matches("there is no namespace 'none'", result.err, 1, true)
  end)
end)

describe("aether listen #node", function()
  before_each(function()
    app = live.app()
    app:start()
  end)

  after_each(function()
    app:clear()
  end)

  local function listening(count)
    return program.wait_for(function()
      local status = json.decode(app:run({ "status", "--json" }).out or "")
      return status and status.namespaces.bank.bus.subscriptions == count
    end, "the subscription")
  end

  it("prints what happens, and goes on behind a restart", function()
    local all = app:begin({ "listen", "bank" })
    local some = app:begin({ "listen", ">", "--type", "Deposited", "--actor", "account/a-*" })
    listening(2)
    exec(COMMANDS)
    program.wait_for(function()
      return program.read(all.stdout) == app:run({ "events", "bank" }).out
        and program.read(some.stdout)
          == app:run({ "events", "bank", "--type", "Deposited" }).out
    end, "the events")
    app.node:crash()
    app:start()
    listening(2)
    exec(deposit(1, "again"))
    program.wait_for(function()
      return select(2, program.read(all.stdout):gsub("\n", "")) == 4
    end, "what came behind")
    all:kill(2)
    some:kill(15)
    local result = all:wait()
    assert.equal(0, result.status, result.err)
    assert.matches("what is published meanwhile is missed", result.err, 1, true)
    assert.equal(0, some:wait().status)
  end)

  it("says what is no pattern, and that no node answers", function()
    local result = app:run({ "listen", "a..b" })
    assert.equal(3, result.status)
    app.node:stop()
    result = app:run({ "listen", "bank" })
    assert.equal(3, result.status)
    assert.matches("no node answers", result.err, 1, true)
  end)
end)
