--- A real nats-server with JetStream for specs: its own port and folder.
local program = require("spec.support.program")
local socket = require("socket")

local nats = {}

local Nats = {}
Nats.__index = Nats

local function free_port()
  local bound = assert(socket.bind("127.0.0.1", 0))
  local _, port = bound:getsockname()
  bound:close()
  return tonumber(port)
end

local function answers(port)
  local connection = socket.connect("127.0.0.1", port)
  if connection then connection:close() end
  return connection ~= nil
end

--- On the same port and folder as before.
function Nats:start()
  self.process = program.start({
    "nats-server", "-a", "127.0.0.1", "-p", tostring(self.port), "-js",
    "-sd", self.folder,
  })
  program.wait_for(function()
    assert(self.process:running(), "nats-server ended")
    return answers(self.port)
  end, "nats-server to listen")
end

function Nats:kill(signal)
  self.process:kill(signal)
  self.process:wait()
end

--- Ends it and removes its folder.
function Nats:stop()
  if not self.process.ended then self:kill(9) end
  program.remove(self.folder)
end

function nats.start()
  local self = setmetatable({ folder = program.folder(), port = free_port() }, Nats)
  self.url = "nats://127.0.0.1:" .. self.port
  self:start()
  return self
end

return nats
