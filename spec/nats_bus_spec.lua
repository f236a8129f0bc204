--- #node The bus of two nodes of one app, over a real nats-server.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local nats = require("spec.support.nats")
local program = require("spec.support.program")

local TOOLS = program.root .. "/build/tools"
local SPACES = { "cell", "c.d", "c.d.e", "a1", "a2", "a3", "a4", "a5", "a6", "a7" }

local function count_lines(text)
  return select(2, text:gsub("\n", ""))
end

-- Events of `text` that are not of the actor `warm`.
local function told(text)
  local events = {}
  for _, event in ipairs(http.documents(text)) do
    if event.actor_id ~= "warm" then events[#events + 1] = event end
  end
  return events
end

describe("the bus over NATS #node", function()
  local broker, folder, left, right

  local function start(name)
    return http.start(folder, { store = broker.url, args = { "--node", name } })
  end

  setup(function()
    assert(program.exists(TOOLS .. "/node_modules/nats/package.json"), "scripts/test fetches the NATS client")
    broker = nats.start()
    folder = program.folder()
    counter.app(folder)
    local module = program.read(folder .. "/cell/counter.lua")
    for _, space in ipairs(SPACES) do
      program.fill(folder, { [space .. "/counter.lua"] = module })
    end
    left, right = start("left"), start("right")
  end)

  teardown(function()
    if left then left:stop() end
    if right then right:stop() end
    if broker then broker:stop() end
    program.remove(folder)
  end)

  local function add(node, actor, n)
    local answer = node:send(actor .. "/add", ('{"n":%d}'):format(n or 1))
    assert.equal(200, answer.status, answer.body)
    return answer.json.events[1]
  end

  -- A listener at `node` that hears what `other` stores: a subscription takes
  -- a moment to reach the server.
  local function listen(node, other, pattern, space)
    local stream = node:open("/v1/events?pattern=" .. pattern)
    program.wait_for(stream.head, "the answer's head")
    assert.matches("^HTTP/1.1 200", stream.head())
    program.wait_for(function()
      add(other, (space or pattern) .. "/counter/warm")
      return count_lines(stream.read()) > 0
    end, "what the other node stores, for " .. pattern)
    return stream
  end

  local function wait_told(stream, count)
    return program.wait_for(function()
      local text = stream.read()
      local events = told(text:match("^.*\n") or "")
      return #events >= count and events
    end, count .. " events")
  end

  -- What has come until now and nothing behind it: a last event of each node.
  local function all_told(stream, space, count)
    add(left, space .. "/counter/end-left")
    add(right, space .. "/counter/end-right")
    wait_told(stream, count + 2)
    local events = {}
    for _, event in ipairs(told(stream.stop())) do
      if not event.actor_id:find("^end%-") then events[#events + 1] = event end
    end
    assert.equal(count, #events)
    return events
  end

  it("tells at one node what any stored, once and in order", function()
    local stream = listen(left, right, "cell")
    local stored = {}
    for round = 1, 12 do
      for name = 1, 3 do
        local event = add(round % 3 == 0 and left or right, "cell/counter/x" .. name, round)
        stored[event.id] = event
      end
    end
    local events = all_told(stream, "cell", 36)
    counter.by_version(events)
    for _, event in ipairs(events) do
      assert.same(stored[event.id], event)
    end
  end)

  it("tells a batch's events with their positions", function()
    local stream = listen(right, left, "a1")
    local lines = {}
    for n = 1, 40 do
      lines[n] = ('{"actor":"a1/counter/batch","command":"add","data":{"n":%d}}\n'):format(n)
    end
    local outcomes = left:run(table.concat(lines)).documents
    local events = all_told(stream, "a1", 40)
    counter.by_version(events)
    for n, event in ipairs(events) do
      assert.same(outcomes[n].events[1], event)
    end
  end)

  it("means the same by a pattern here and there", function()
    local exact = listen(left, right, "c.d")
    local star = listen(left, right, "c.*", "c.d")
    local rest = listen(left, right, "c.%3E", "c.d")
    local all = listen(left, right, "%3E", "c.d")
    for _, node in ipairs({ right, left }) do
      add(node, "c.d/counter/p")
      add(node, "c.d.e/counter/p")
      add(node, "a2/counter/p")
    end
    local function heard(stream, count)
      local spaces = {}
      for _, event in ipairs(all_told(stream, "c.d", count)) do
        spaces[event.namespace] = (spaces[event.namespace] or 0) + 1
      end
      return spaces
    end
    -- Each call adds two of c.d, of actors that are left out.
    assert.same({ ["c.d"] = 2 }, heard(exact, 2))
    assert.same({ ["c.d"] = 2 }, heard(star, 2))
    assert.same({ ["c.d"] = 2, ["c.d.e"] = 2 }, heard(rest, 4))
    assert.same({ ["c.d"] = 2, ["c.d.e"] = 2, a2 = 2 }, heard(all, 6))
  end)

  it("keeps ten namespaces of two nodes apart", function()
    local streams = {}
    for i, space in ipairs(SPACES) do
      local node, other = left, right
      if i % 2 == 0 then node, other = right, left end
      streams[space] = listen(node, other, space)
    end
    for n = 1, 3 do
      for _, space in ipairs(SPACES) do
        add(left, space .. "/counter/t" .. n, n)
        add(right, space .. "/counter/t" .. n, n)
      end
    end
    for _, space in ipairs(SPACES) do
      local events = all_told(streams[space], space, 6)
      counter.by_version(events)
      for _, event in ipairs(events) do
        assert.equal(space, event.namespace)
      end
    end
  end)

  it("is heard by any client, and goes on after the server was killed", function()
    local client = program.start({
      "node", program.root .. "/spec/support/nats_listen.mjs", TOOLS, broker.url, "aether.events.>",
    }, { seconds = 120 })
    local function messages()
      local text = program.read(client.stdout)
      assert.equal("", program.read(client.stderr))
      local found = {}
      local lines = (text:match("^.*\n") or ""):gsub("^listening\n", "")
      for _, one in ipairs(http.documents(lines)) do
        found[#found + 1] = one
      end
      return found
    end
    program.wait_for(function()
      return program.read(client.stdout):find("listening", 1, true)
    end, "the client to listen")
    local event = add(left, "c.d/counter/client", 7)
    program.wait_for(function() return #messages() > 0 end, "the client to hear")
    local first = messages()[1]
    assert.equal("aether.events.c.d", first.subject)
    assert.equal("Added", first.headers["Aether-Type"])
    assert.equal("c.d/counter/client", first.headers["Aether-Actor"])
    assert.equal("1", first.headers["Aether-Version"])
    assert.equal(event.id, first.headers["Nats-Msg-Id"])
    assert.same(event, first.document)

    local stream = listen(left, right, "a3")
    broker:kill(9)
    broker:start()
    -- Commands wait for the store; listeners come back with the connection.
    program.wait_for(function()
      right:send("a3/counter/again/add", '{"n":1}')
      local events = told(stream.read():match("^.*\n") or "")
      return #events > 0
    end, "the listener to hear again")
    local heard = #messages()
    program.wait_for(function()
      right:send("a3/counter/again/add", '{"n":1}')
      return #messages() > heard
    end, "the client to hear again")
    client:kill(15)
    client:wait()
    local last = 0
    for _, one in ipairs(told(stream.stop())) do
      assert.is_true(one.version > last)
      last = one.version
    end
  end)

  it("counts in the metrics what went out and what came", function()
    local metrics = right:request("/metrics").body
    assert.is_true(tonumber(metrics:match("\naether_bus_sent_total (%d+)")) > 0)
    assert.equal(0, tonumber(metrics:match("\naether_bus_malformed_total (%d+)")))
    assert.is_true(tonumber(metrics:match('\naether_bus_received_total{namespace="a1"} (%d+)')) >= 41)
  end)
end)
