--- A client that keeps its ids: it sends commands over many connections at
-- once, remembers what was acknowledged, and sends again what was not.
local counter = require("spec.support.counter")
local json = require("dkjson")
local server = require("spec.support.server")
local socket = require("socket")

local load = {}

local Load = {}
Load.__index = Load

local SINGLES, STREAMS = 12, 3
local LINES = 25 -- of a stream's body

--- `count` commands over `actors` counters; ids begin with `prefix`. Options:
-- `singles` and `streams`, how many connections of each kind to a node; `lines`
-- of a stream's body; `rivals`: other nodes write too, so that a command may be
-- in conflict for longer than it is tried.
function load.new(prefix, count, actors, options)
  options = options or {}
  local self = setmetatable({}, Load)
  self.commands, self.pending, self.acknowledged = {}, {}, {}
  self.prefix, self.actors, self.count = prefix, actors, 0
  self.answered, self.repeated, self.refused = 0, 0, {}
  self.singles, self.streams = options.singles or SINGLES, options.streams or STREAMS
  self.lines, self.rivals = options.lines or LINES, options.rivals
  self:more(count)
  return self
end

--- So many commands more.
function Load:more(count)
  for n = self.count + 1, self.count + count do
    local id = ("%s-%d"):format(self.prefix, n)
    self.commands[id] = { actor = "c" .. n % self.actors, n = n, id = id }
    table.insert(self.pending, 1, id)
  end
  self.count = self.count + count
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
local LATER = { overloaded = true, store_unavailable = true, store_uncertain = true }

local function is_later(self, code)
  self.refused[code or "?"] = (self.refused[code or "?"] or 0) + 1
  return LATER[code] or code == "version_conflict" and self.rivals
end

local PAUSE = 0.02 -- seconds, behind such an answer

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
    local problem = json.decode(answer.body) or {}
    assert(is_later(self.load, problem.code), answer.status .. ": " .. answer.body)
    give_back(self.load, self.ids)
    self.rests = socket.gettime() + PAUSE
  end
  self.ids = nil
  self.finished = (answer.headers.connection or ""):lower() == "close"
end

-- -- many commands in one body, outcomes line by line --

local Stream = {}
Stream.__index = Stream

function Stream:begin()
  local lines = {}
  while #lines < self.load.lines do
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
      assert(code == "canceled" or is_later(self.load, code), line)
      self.rests = socket.gettime() + PAUSE
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
  if not client.ids and (client.rests or 0) <= socket.gettime() then
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
  local kinds = { [Single] = self.singles, [Stream] = self.streams }
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

-- All clients of a node, once; adds the connections of those that are of use.
local function turn_all(self, node, clients, connections)
  if #self.pending > 0 then
    fill(self, node, clients)
  end
  for client in pairs(clients) do
    if turn(client) then
      connections[#connections + 1] = client.connection
    else
      clients[client] = nil
    end
  end
end

local function close_all(clients)
  for client in pairs(clients) do
    client.connection:close()
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
    local connections = {}
    turn_all(self, node, clients, connections)
    if #connections > 0 then
      server.wait(connections)
    elseif not node.process:running() then
      return false
    end
  end
  close_all(clients)
  return true
end

-- -- several at once --

local Run = {}
Run.__index = Run

--- Sends to `nodes` (a table, which may change meanwhile) while `script` runs, a
-- function that is gone on with at each turn and yields until it is over; then
-- until all is acknowledged. There are always commands to send. load.drive does it.
function Load:start(nodes, script)
  return setmetatable({
    load = self, nodes = nodes, thread = coroutine.create(script), clients = {},
    idle = socket.gettime(), answered = 0,
  }, Run)
end

-- Goes on with the script.
function Run:script()
  local ok, problem = coroutine.resume(self.thread)
  assert(ok, problem)
  if coroutine.status(self.thread) == "dead" then
    self.thread = nil
  elseif #self.load.pending == 0 then
    self.load:more(self.load.lines)
  end
end

local QUIET = 90 -- seconds

-- Once around; false: it is over.
function Run:turn(connections)
  if self.thread then
    self:script()
  end
  if not self.thread and self.load.answered == self.load.count then
    self:close()
    return false
  end
  local present = {}
  for _, node in pairs(self.nodes) do
    present[node] = true
    self.clients[node] = self.clients[node] or {}
    turn_all(self.load, node, self.clients[node], connections)
  end
  for node, clients in pairs(self.clients) do
    if not present[node] then -- what it was asked is asked of another
      for client in pairs(clients) do
        if client.ids then
          give_back(self.load, client.ids)
        end
      end
      close_all(clients)
      self.clients[node] = nil
    end
  end
  if self.load.answered > self.answered then
    self.answered, self.idle = self.load.answered, socket.gettime()
  elseif socket.gettime() - self.idle > QUIET then
    error(("nothing was acknowledged for %d s, behind %d of %d commands"):format(
      QUIET, self.answered, self.load.count))
  end
  return true
end

function Run:close()
  for _, clients in pairs(self.clients) do
    close_all(clients)
  end
  self.clients = {}
end

--- Goes on with all of them together until each is over; `run.problem` is what
-- one ended with.
function load.drive(runs)
  local left = #runs
  while left > 0 do
    local connections = {}
    for _, run in ipairs(runs) do
      if not run.over then
        local ok, more = xpcall(run.turn, debug.traceback, run, connections)
        if not ok or not more then
          run.over, run.problem = true, not ok and more or nil
          run:close()
          left = left - 1
        end
      end
    end
    server.wait(connections)
  end
end

return load
