--- Nodes on JetStream under load while something is done to them, and a checker
-- of what must hold all the same: what was acknowledged is stored, as it was
-- said; each command once; versions without a gap; states as the events make
-- them. The spec that uses it has a table of faults.
local counter = require("spec.support.counter")
local json = require("dkjson")
local load = require("spec.support.load")
local nats = require("spec.support.nats")
local program = require("spec.support.program")
local server = require("spec.support.server")
local socket = require("socket")

local faults = {}

local Trial = {}
Trial.__index = Trial

--- Options (a fault of the table): `name`; `servers` (1 or 3); `network` of a
-- cluster, and its `program`; `proxy`: the nodes reach their one server through it; `load`, options of
-- load.new and `actors`; `act(trial)`, which does the harm, and yields through
-- the trial's functions. `seed` is said wherever something is wrong.
function faults.new(fault, seed)
  local self = setmetatable({ fault = fault, seed = seed, nodes = {}, ended = {}, logs = {} }, Trial)
  self.folder = program.folder()
  counter.app(self.folder)
  if fault.servers == 3 then
    program.fill(self.folder, { ["aether.lua"] = "return { replicas = 3 }\n" })
    self.cluster = nats.cluster({ network = fault.network, seed = seed, program = fault.program })
    self.cluster:wait_ready()
    self.url, self.direct = self.cluster.url, self.cluster.url
  else
    self.broker = nats.start()
    self.url, self.direct = self.broker.url, self.broker.url
  end
  if fault.proxy then
    self.proxy = nats.proxy(seed, { self.broker.port })
    self.url = "nats://127.0.0.1:" .. self.proxy.ports[1]
  end
  for _, name in ipairs({ "left", "right" }) do self:start(name) end
  local options = fault.load or {}
  options.rivals = true
  options.singles = options.singles or 4
  options.streams = options.streams or 1
  self.load = load.new("id", 1, options.actors or 11, options)
  self.run = self.load:start(self.nodes, function()
    self:acknowledged(100)
    fault.act(self)
    self:acknowledged(100)
  end)
  return self
end

--- Starts the node of this name, anew where it was killed.
function Trial:start(name)
  -- Each begins with the servers in another order.
  local urls = {}
  for url in self.url:gmatch("[^,]+") do urls[#urls + 1] = url end
  if name == "right" then table.insert(urls, table.remove(urls, 1)) end
  self.nodes[name] = server.start(self.folder, {
    args = { "--store", table.concat(urls, ","), "--node", name }, seconds = 1200,
  })
end

-- -- what an act may do; these yield --

--- Until the condition holds.
function Trial.wait(_, condition, what, seconds)
  local deadline = socket.gettime() + (seconds or 60)
  while true do
    local value = condition()
    if value then return value end
    if socket.gettime() > deadline then error("waited in vain for " .. what, 2) end
    coroutine.yield()
  end
end

--- Until so many commands more are acknowledged.
function Trial:acknowledged(count)
  local goal = self.load.answered + count
  self:wait(function() return self.load.answered >= goal end, count .. " acknowledged commands", 90)
end

--- The time that a fault lasts.
function Trial:seconds(seconds)
  local goal = socket.gettime() + seconds
  self:wait(function() return socket.gettime() >= goal end, "the time", seconds + 60)
end

local function count_in(text, message)
  return select(2, text:gsub(message:gsub("%p", "%%%0"), ""))
end

--- How many lines of the nodes' logs have this.
function Trial:logged(message)
  local sum = 0
  for _, node in pairs(self.nodes) do
    sum = sum + count_in(program.read(node.process.stderr), message)
  end
  for _, log in ipairs(self.ended) do sum = sum + count_in(log, message) end
  return sum
end

--- Until the logs have it so often more than now, or since `before`.
function Trial:says(message, before, times)
  before = before or self:logged(message)
  self:wait(function() return self:logged(message) >= before + (times or 1) end, "a word in the log: " .. message)
end

--- Ends a node by `kill -9`.
function Trial:crash(name)
  local node = self.nodes[name]
  self.nodes[name] = nil
  node:kill(9)
  self.ended[#self.ended + 1] = node:wait().err
end

-- -- the checker --

local function fold(events, upto)
  local state = { count = 0, sum = 0 }
  for version = 1, upto do
    state.count, state.sum = version, state.sum + events[version].data.n
  end
  return state
end

-- Of each node, before it ends: no actor is other than its events make it. What
-- another node stored last a node may not have seen yet.
local function check_states(self, actors)
  for name, node in pairs(self.nodes) do
    for actor, events in pairs(actors) do
      local answer = node:request("GET", "/v1/cell/counter/" .. actor)
      assert(answer.status == 200, name .. ": " .. answer.status .. " " .. answer.body)
      local state = json.decode(answer.body)
      assert(state.version <= #events, ("%s: %s is at %d of %d"):format(name, actor, state.version, #events))
      local want = fold(events, state.version)
      assert(state.state.count == want.count and state.state.sum == want.sum,
        ("%s: %s is %s"):format(name, actor, answer.body))
    end
  end
end

local function check_commands(self, events)
  local by_id = {}
  for _, event in ipairs(events) do
    local id = event.metadata.command_id
    local command = assert(self.load.commands[id], "stored, and nobody's: " .. tostring(id))
    assert(not by_id[id], tostring(id) .. " is stored twice")
    assert(event.actor_id == command.actor and event.data.n == command.n, id .. " is another's")
    by_id[id] = event
  end
  local count = 0
  for id, outcome in pairs(self.load.acknowledged) do
    local event = assert(by_id[id], "acknowledged, and not stored: " .. id)
    assert(outcome.event == event.id and outcome.version == event.version
      and outcome.position == event.position and outcome.actor == event.actor_id,
      id .. " was acknowledged as another event than is stored")
    count = count + 1
  end
  assert(count == #events and count == self.load.count,
    ("%d acknowledged, %d stored, %d sent"):format(count, #events, self.load.count))
end

local NOT_READY, READY = "the store cannot be written; not ready", "the store can be written again"

-- Nothing is an error that ends well, and each word has a cause or a name.
local function check_log(self)
  local text = table.concat(self.logs)
  for line in text:gmatch("[^\n]+") do
    local entry = assert(json.decode(line), "no line of a log: " .. line)
    assert(entry.level ~= "error" or entry.message == NOT_READY, "in the log: " .. line)
  end
  for _, message in ipairs(self.fault.says or {}) do
    assert(text:find(message, 1, true), "the log does not say: " .. message .. "\n" .. text)
  end
end

--- After load.drive: all that must hold.
function Trial:check()
  assert(not self.run.problem, self.run.problem)
  -- From the stream, by a reader that has nothing of it yet.
  local stored = counter.events(self.folder, self.direct)
  assert(stored.status == 0, stored.err)
  local actors = counter.by_version(stored.events)
  check_commands(self, stored.events)
  check_states(self, actors)
  for name, node in pairs(self.nodes) do
    program.wait_for(function()
      local text = program.read(node.process.stderr)
      return count_in(text, NOT_READY) <= count_in(text, READY)
    end, "a node that is ready again")
    self.nodes[name] = nil
    self.logs[#self.logs + 1] = node:stop().err
  end
  for _, log in ipairs(self.ended) do self.logs[#self.logs + 1] = log end
  check_log(self)
  local replay = program.run_aether({ "-C", self.folder, "check", "--store", self.direct })
  assert(replay.status == 0, "aether check: " .. (replay.status or "hung") .. replay.out .. replay.err)
end

--- Ends what runs of it.
function Trial:stop()
  for _, node in pairs(self.nodes) do
    if not node.process.ended then
      node:kill(9)
      node:wait()
    end
  end
  if self.proxy then self.proxy:stop() end
  if self.broker then self.broker:stop() end
  if self.cluster then self.cluster:stop() end
  program.remove(self.folder)
end

return faults
