--- A real nats-server with JetStream for specs: its own port and folder.
local program = require("spec.support.program")
local socket = require("socket")

local nats = {}

--- The server that is run; AETHER_NATS_SERVER names another than the path's.
nats.program = os.getenv("AETHER_NATS_SERVER") or "nats-server"

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
  local argv = {
    nats.program, "-a", "127.0.0.1", "-p", tostring(self.port), "-js",
    "-sd", self.folder,
  }
  if self.config then
    argv[#argv + 1] = "-c"
    argv[#argv + 1] = self.config
  end
  self.process = program.start(argv, { env = self.env, seconds = 600 })
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

--- What it has logged since it was started.
function Nats:log()
  return program.read(self.process.stderr)
end

--- Options: `files` (name to text, beside its data; nats.conf is what it reads)
-- and `env`.
function nats.start(options)
  options = options or {}
  local self = setmetatable({ folder = program.folder(), port = free_port(), env = options.env }, Nats)
  if options.files then
    program.fill(self.folder, options.files)
    self.config = self.folder .. "/nats.conf"
  end
  self.url = "nats://127.0.0.1:" .. self.port
  self:start()
  return self
end

return nats
