-- A node as a process: how it starts, says that it is there, and ends.
local counter = require("spec.support.counter")
local program = require("spec.support.program")
local server = require("spec.support.server")
local unix = require("socket.unix")

describe("aether run #node", function()
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

  it("listens, answers, and ends on SIGTERM and on SIGINT", function()
    for _, signal in ipairs({ 15, 2 }) do
      node = server.start(folder)
      assert.equal("127.0.0.1", node.host)
      assert.equal(404, node:request("GET", "/nowhere").status)
      local started = node:said("node started")
      assert.equal("info", started.level)
      assert.equal(node.url, started.url)
      assert.equal("cell", started.namespaces)
      assert.equal("is fsynced", started.commit)
      node:kill(signal)
      local result = node:wait()
      assert.equal(0, result.status, result.err)
      assert.matches("stopped", result.err)
      assert.equal("Listening on " .. node.url .. "\n", result.out)
      -- Nothing of it is left: the next one starts on the same store.
      assert.is_false(program.exists(folder .. "/data/events.db-wal"))
    end
  end)

  it("takes little memory where nothing happens", function()
    node = server.start(folder)
    assert.equal(404, node:request("GET", "/nowhere").status)
    local kb = node:memory_kb()
    assert(kb > 1000 and (program.is_slow or kb < 20 * 1024), kb .. " KB")
    node:stop()
  end)

  it("logs what modules say, and of which actor it was", function()
    program.fill(folder, {
      ["cell/talker.lua"] = [[
        local log = require("aether.log")
        print("loaded")
        return { initial = {}, evolve = {}, decide = {
          talk = function()
            print("first\nsecond", 2)
            log.warn("late", { minutes = 5 })
            return {}
          end,
          shout = function() print("big" .. ("é"):rep(1e6)) return {} end,
        } }
      ]],
    })
    node = server.start(folder, { args = { "--store", "memory" } })
    local path = "/v1/cell/talker/a%20b/"
    assert.equal(200, node:request("POST", path .. "talk", {}, "").status)
    assert.equal(200, node:request("POST", path .. "shout", {}, "").status)
    local function logged(message, level, actor)
      local line = assert(node:said(message), message)
      assert.same({ level, "cell", "talker", actor },
        { line.level, line.namespace, line.module, line.actor })
    end
    logged("loaded", "info", nil)
    logged("first\nsecond\t2", "info", "cell/talker/a b")
    logged("late minutes=5", "warn", "cell/talker/a b")
    logged("big" .. ("é"):rep(4094) .. "… (2000003 bytes in all)", "info",
      "cell/talker/a b")
    node:stop()
  end)

  it("tells the second node of a store the first one's pid", function()
    node = server.start(folder)
    local second = program.run_aether({
      "-C",
      folder,
      "run",
      "--listen",
      "127.0.0.1:0",
    })
    assert.equal(3, second.status, second.out)
    assert.equal("", second.out)
    assert.matches("the process " .. node.pid .. ":", second.err, 1, true)
    node:stop()
  end)

  it("says that a port is taken, and leaves nothing open", function()
    node = server.start(folder)
    local second = program.run_aether({
      "-C",
      folder,
      "run",
      "--store",
      "memory",
      "--listen",
      "127.0.0.1:" .. node.port,
    })
    assert.equal(3, second.status, second.out)
    assert.equal("", second.out)
    assert.matches("127.0.0.1:" .. node.port, second.err, 1, true)
    assert.matches("--listen", second.err, 1, true)
    node:stop()
    -- A store that was opened before the port was found taken is closed.
    local blocker = server.start(folder, { args = { "--store", "memory" } })
    local refused = program.run_aether({
      "-C",
      folder,
      "run",
      "--listen",
      "127.0.0.1:" .. blocker.port,
    })
    blocker:stop()
    assert.equal(3, refused.status)
    assert.is_false(program.exists(folder .. "/data/events.db-wal"))
    node = server.start(folder)
    node:stop()
  end)

  it("lists every mistake of the modules, and does not start", function()
    program.fill(folder, {
      ["cell/broken.lua"] = "return { decide = 5 }\n",
      ["other/worse.lua"] = "return {\n",
    })
    local result = program.run_aether({ "-C", folder, "run" })
    assert.equal(3, result.status)
    assert.equal("", result.out)
    assert.matches("broken.lua", result.err, 1, true)
    assert.matches("worse.lua", result.err, 1, true)
    assert.matches("not started: %d mistakes in the modules", result.err)
    assert.is_false(program.exists(folder .. "/data"))
  end)

  it("says that a folder is no app, and what a setting must be", function()
    program.run({ "mkdir", folder .. "/empty" })
    local empty = program.run_aether({ "-C", folder .. "/empty", "run" })
    assert.equal(3, empty.status)
    assert.matches("aether new", empty.err, 1, true)
    for _, case in ipairs({
      { "--listen", "nowhere", "HOST:PORT" },
      { "--listen", "127.0.0.1:99999", "HOST:PORT" },
      { "--node", "a b", "--node" },
      { "--drain", "soon", "--drain" },
      { "--store", "floppy:a", "sqlite:FILE" },
    }) do
      local result =
        program.run_aether({ "-C", folder, "run", case[1], case[2] })
      assert.equal(2, result.status, result.err)
      assert.matches(case[3], result.err, 1, true)
    end
  end)

  it("takes its settings from flags, variables and aether.lua", function()
    program.write(
      folder .. "/aether.lua",
      'return { store = "memory", node = "of-file", listen = "127.0.0.1:1" }\n'
    )
    node = server.start(folder, {
      env = { AETHER_NODE = "of-variable", AETHER_LISTEM = "x" },
    })
    assert.equal("of-variable", node:said("node started").node)
    assert.equal("memory", node:said("node started").store)
    assert.is_table(node:said("lives as long as the process"))
    assert.equal("AETHER_LISTEN", node:said("is no setting").nearest)
    node:stop()
    node = server.start(folder, {
      args = { "--node", "of-flag" },
      env = { AETHER_NODE = "of-variable", AETHER_LOG = "warn" },
    })
    assert.is_false(node:said("node started"))
    assert.is_table(node:said("lives as long as the process"))
    local result = node:stop()
    assert.is_nil(result.err:find('"info"', 1, true))
  end)

  it("waits for what is under way, no longer than it is told", function()
    node = server.start(folder)
    local connection = node:connect()
    connection:ask("POST", "/v1/cell/counter/a/add", {
      ["Content-Length"] = "100",
    })
    connection.unsent = connection.unsent .. "half a bo"
    while #connection.unsent > 0 do
      connection:turn()
    end
    -- Taken in: answers come in the order of the requests, and this one is not
    -- complete, so that nothing comes; another connection shows that it turns.
    assert.equal(404, node:request("GET", "/nowhere").status)
    node:kill(15)
    program.wait_for(function()
      return node:said("stopping")
    end)
    program.wait_for(function()
      return not pcall(node.connect, node)
    end, "the port to be closed")
    assert.is_true(node.process:running())
    node:kill(15)
    local result = node:wait()
    connection:close()
    assert.equal(15, result.signal)

    node = server.start(folder, { args = { "--drain", "0" } })
    connection = node:connect()
    connection.unsent = "POST /v1/cell/counter/a/add HTTP/1.1\r\nHost: x\r\n"
    connection:turn()
    assert.equal(404, node:request("GET", "/nowhere").status)
    node:stop()
    connection:close()
  end)

  -- Asked of the node, as those who balance load do.
  local function is_ready()
    local answer = node:request("GET", "/readyz")
    assert(answer.status == 200 or answer.status == 503, answer.body)
    return answer.status == 200
  end

  local function add()
    return node:request(
      "POST",
      "/v1/cell/counter/a/add",
      { ["Content-Type"] = "application/json" },
      '{"n":1}'
    )
  end

  it("ends what has no end of its own when it stops", function()
    node = server.start(folder)
    local followers = {}
    for _, path in ipairs({
      "/v1/cell/events?follow=true",
      "/v1/events?pattern=cell",
    }) do
      local connection = node:connect()
      connection:ask("GET", path)
      program.wait_for(function()
        connection:turn()
        return #connection:lines() == 0 and connection.streaming
      end, "an answer to begin")
      followers[#followers + 1] = connection
    end
    local follower = followers[1]
    assert.equal(200, add().status)
    local lines = {}
    program.wait_for(function()
      follower:turn()
      for _, line in ipairs(follower:lines()) do
        lines[#lines + 1] = line
      end
      return #lines == 1
    end, "the event")
    node:kill(15)
    local result = node:wait()
    assert.equal(0, result.status, result.err)
    assert.is_nil(result.err:find("cutting", 1, true), result.err)
    for _, connection in ipairs(followers) do
      program.wait_for(function()
        return not connection:turn()
      end, "the end of what is followed")
      connection:lines()
      -- A whole answer, not one that was cut.
      local stream = connection.streaming
      assert(
        stream and stream.ended,
        ("%s, then %q"):format(connection.status, connection.got)
      )
      connection:close()
    end
  end)

  it("is not ready while its store is gone, and ready again after", function()
    local file = folder .. "/data/events.db"
    node = server.start(folder)
    assert.equal(200, add().status)
    assert.is_true(is_ready())
    assert(os.rename(file, file .. ".away"))
    local refused = add()
    assert.equal(503, refused.status)
    assert.matches("removed or replaced", refused.body)
    assert.is_false(is_ready())
    assert.equal(200, node:request("GET", "/healthz").status)
    program.wait_for(function()
      return node:said("the store cannot be written")
    end)
    assert.is_false(is_ready())
    assert(os.rename(file .. ".away", file))
    program.wait_for(is_ready, "the node to find its store")
    assert.equal(200, add().status)
    program.wait_for(function()
      return node:said("the store can be written again")
    end)
    node:stop()
    assert.equal(2, #counter.events(folder, "sqlite:" .. file).events)
  end)

  it("tells systemd that it is ready, alive and stopping", function()
    local path = folder .. "/notify"
    local manager = assert(unix.dgram())
    assert(manager:bind(path))
    manager:settimeout(60)
    node = server.start(folder, {
      env = { NOTIFY_SOCKET = path, WATCHDOG_USEC = "20000" },
    })
    local ready = assert(manager:receive())
    assert.equal("READY=1\nSTATUS=listening on " .. node.url .. "\n", ready)
    for _ = 1, 3 do
      assert.equal("WATCHDOG=1\n", assert(manager:receive()))
    end
    node:kill(15)
    local told
    repeat
      told = assert(manager:receive())
    until told ~= "WATCHDOG=1\n"
    assert.matches("^STOPPING=1\n", told)
    assert.equal(0, node:wait().status)
    manager:close()
  end)
end)
