--- A client that keeps its ids: it sends commands over many connections at
-- once, remembers what was acknowledged, and sends again what was not.
local counter = require("spec.support.counter")
local json = require("dkjson")
local server = require("spec.support.server")

local load = {}

local Load = {}
Load.__index = Load

local SINGLES, STREAMS = 12, 3
local LINES = 25 -- of a stream's body

--- `count` commands over `actors` counters; ids begin with `prefix`.
function load.new(prefix, count, actors)
  local self = setmetatable({}, Load)
  self.commands, self.pending, self.acknowledged = {}, {}, {}
  for n = 1, count do
    local id = ("%s-%d"):format(prefix, n)
    self.commands[id] = { actor = "c" .. n % actors, n = n, id = id }
    self.pending[n] = id
  end
  self.count, self.answered, self.repeated = count, 0, 0
  return self
end

local function take(self)
  return table.remove(self.pending)
end

-- What was not acknowledged is to be sent again.
local function give_back(self, ids)
  for id in pairs(ids) do
    if not self.acknowledged[id] then
      table.insert(self.pending, 1, id)
    end
  end
end

local function acknowledge(self, id, outcome)
  assert(self.commands[id], "an outcome of nobody's command: " .. tostring(id))
  assert(not self.acknowledged[id], "a second outcome of " .. id)
  self.acknowledged[id] = {
    actor = self.commands[id].actor,
    version = outcome.version,
    position = outcome.position,
    event = outcome.events[1].id,
  }
  self.answered = self.answered + 1
  self.repeated = self.repeated + (outcome.repeated and 1 or 0)
end

-- Those that say "not now": the same again later.
local function is_later(status)
  return status == 429 or status == 503
end

-- -- one command a request, over a connection that is kept --

local Single = {}
Single.__index = Single

function Single:begin()
  local id = take(self.load)
  if not id then
    return
  end
  local command = self.load.commands[id]
  self.ids = { [id] = true }
  self.connection:ask(
    "POST",
    ("/v1/cell/counter/%s/add"):format(command.actor),
    { ["Content-Type"] = "application/json", ["Idempotency-Key"] = id },
    ('{"n":%d}'):format(command.n)
  )
end

function Single:look()
  local answer = self.connection:answer()
  if not answer then
    return
  end
  local id = next(self.ids)
  if answer.status == 200 then
    acknowledge(self.load, id, json.decode(answer.body))
  else
    assert(is_later(answer.status), answer.status .. ": " .. answer.body)
    give_back(self.load, self.ids)
  end
  self.ids = nil
  self.finished = (answer.headers.connection or ""):lower() == "close"
end

-- -- many commands in one body, outcomes line by line --

local Stream = {}
Stream.__index = Stream

function Stream:begin()
  local lines = {}
  while #lines < LINES do
    local id = take(self.load)
    if not id then
      break
    end
    self.ids = self.ids or {}
    self.ids[id] = true
    local command = self.load.commands[id]
    lines[#lines + 1] = counter.add(command.actor, command.n, id)
  end
  if self.ids then
    self.connection:ask(
      "POST",
      "/v1/commands",
      { ["Content-Type"] = "application/x-ndjson" },
      table.concat(lines, "\n") .. "\n"
    )
  end
end

function Stream:look()
  for _, line in ipairs(self.connection:lines()) do
    local outcome = assert(json.decode(line), line)
    if outcome.status == "accepted" then
      acknowledge(self.load, outcome.id, outcome)
    else
      local code = outcome.error and outcome.error.code
      local later = code == "overloaded" or code == "store_unavailable"
      assert(later or code == "canceled", line)
    end
  end
  if self.connection.streaming and self.connection.streaming.ended then
    give_back(self.load, self.ids)
    self.ids, self.finished = nil, true
  end
end

-- -- all together --

-- Takes what there is of one client; false: it is of no more use.
local function turn(client)
  if not client.ids then
    client:begin()
  end
  local alive = client.connection:turn()
  if client.ids then
    client:look()
  end
  if client.finished or not alive then
    if client.ids then
      give_back(client.load, client.ids)
    end
    client.connection:close()
    return false
  end
  return true
end

local function fill(self, node, clients)
  local kinds = { [Single] = SINGLES, [Stream] = STREAMS }
  for client in pairs(clients) do
    local kind = getmetatable(client)
    kinds[kind] = kinds[kind] - 1
  end
  for kind, missing in pairs(kinds) do
    for _ = 1, missing do
      local ok, connection = pcall(node.connect, node)
      if not ok then
        return
      end
      clients[setmetatable({ load = self, connection = connection }, kind)] =
        true
    end
  end
end

--- Sends until all is acknowledged (true) or the node has ended (false). `at`:
-- once so many are acknowledged, `act` is called.
function Load:run(node, at, act)
  local clients = {}
  while true do
    if act and self.answered >= at then
      act()
      act = nil
    end
    if self.answered == self.count then
      break
    end
    if #self.pending > 0 then
      fill(self, node, clients)
    end
    local connections = {}
    for client in pairs(clients) do
      if turn(client) then
        connections[#connections + 1] = client.connection
      else
        clients[client] = nil
      end
    end
    if #connections > 0 then
      server.wait(connections)
    elseif not node.process:running() then
      return false
    end
  end
  for client in pairs(clients) do
    client.connection:close()
  end
  return true
end

return load
