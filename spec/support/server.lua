--- A node under test: `aether run` (or `dev`) on a port that is free, and plain
-- HTTP/1.1 to it over connections that are kept.
local json = require("dkjson")
local program = require("spec.support.program")
local socket = require("socket")

local server = {}

local Server = {}
Server.__index = Server

--- Starts a node of the app in `folder`, and waits until it listens. Options:
-- `command` ("run"), `args` (behind it), and those of program.start.
function server.start(folder, options)
  options = options or {}
  local argv = { "-C", folder, options.command or "run" }
  argv[#argv + 1] = "--listen"
  argv[#argv + 1] = "127.0.0.1:0"
  for _, argument in ipairs(options.args or {}) do
    argv[#argv + 1] = argument
  end
  local self = setmetatable({}, Server)
  self.process = program.start_aether(argv, options)
  self.url = program.wait_for(function()
    return self:out():match("Listening on (https?://%S+)\n")
      or not self.process:running() and "none"
  end, "the node to listen")
  if self.url == "none" then
    error("the node ended: " .. self.process:wait().err, 2)
  end
  self.host, self.port = self.url:match("^https?://(.*):(%d+)$")
  self.pid = self.process.pid
  return self
end

--- What it printed so far.
function Server:out()
  return program.read(self.process.stdout)
end

--- Its log so far: lines as documents.
function Server:log()
  local lines = {}
  for line in program.read(self.process.stderr):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = json.decode(line) or { message = line }
  end
  return lines
end

--- Whether a line of the log has this message; the line.
function Server:said(message)
  for _, line in ipairs(self:log()) do
    if line.message:find(message, 1, true) then
      return line
    end
  end
  return false
end

function Server:kill(signal)
  self.process:kill(signal)
end

--- Waits for its end, and gives what program.run does.
function Server:wait()
  return self.process:wait()
end

--- SIGTERM, then the end, which must be a clean one.
function Server:stop()
  if not self.process.ended then
    self:kill(15)
  end
  local result = self:wait()
  if result.status ~= 0 then
    error(
      ("the node ended with %s: %s"):format(
        result.signal and "signal " .. result.signal or result.status,
        result.err:sub(-2000)
      ),
      2
    )
  end
  return result
end

--- Kilobytes of memory that it takes now.
function Server:memory_kb()
  local status = program.read(("/proc/%d/status"):format(self.pid))
  return tonumber(status:match("VmRSS:%s*(%d+) kB"))
end

-- -- HTTP --

local Connection = {}
Connection.__index = Connection

--- A connection to the node. It does not block: `send` and `receive` return
-- what is possible now.
function Server:connect()
  local tcp = assert(socket.connect(self.host, self.port))
  tcp:setoption("tcp-nodelay", true)
  tcp:settimeout(0)
  return setmetatable({ tcp = tcp, unsent = "", got = "" }, Connection)
end

function Connection:close()
  self.tcp:close()
end

-- socket.select asks for it.
function Connection:getfd()
  return self.tcp:getfd()
end

function Connection.dirty()
  return false
end

--- Puts a request behind what is to be sent. Headers: name to value.
function Connection:ask(method, path, headers, body)
  local lines = {
    ("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"):format(method, path),
  }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
  end
  if body then
    lines[#lines + 1] = ("Content-Length: %d\r\n"):format(#body)
  end
  lines[#lines + 1] = "\r\n"
  lines[#lines + 1] = body or ""
  self.unsent = self.unsent .. table.concat(lines)
end

--- Sends and reads what can be at this moment. False: the connection is over;
-- what came before the end can still be taken with `answer`.
function Connection:turn()
  local alive = true
  if #self.unsent > 0 then
    local sent, problem, part = self.tcp:send(self.unsent)
    self.unsent = self.unsent:sub((sent or part) + 1)
    alive = sent ~= nil or problem == "timeout"
  end
  local chunk, problem, part = self.tcp:receive(65536)
  self.got = self.got .. (chunk or part or "")
  self.over = self.over or not chunk and problem ~= "timeout" or not alive
  return not self.over
end

-- The body that begins at `from`, and what stands behind it; nil: not all of
-- it is there. `over`: nothing more comes.
local function body_of(text, from, headers, over)
  local length = tonumber(headers["content-length"])
  if length then
    if #text < from + length - 1 then
      return nil
    end
    return text:sub(from, from + length - 1), from + length
  end
  if headers["transfer-encoding"] ~= "chunked" then
    if not over then
      return nil
    end
    return text:sub(from), #text + 1
  end
  local parts = {}
  while true do
    local size, start = text:match("^(%x+)[^\r\n]*\r\n()", from)
    if not size then
      return nil
    end
    size = tonumber(size, 16)
    if #text < start + size + 1 then
      return nil
    end
    if size == 0 then
      return table.concat(parts), start + 2
    end
    parts[#parts + 1] = text:sub(start, start + size - 1)
    from = start + size + 2
  end
end

--- The next whole answer that came: { status, headers, body }, or nil.
function Connection:answer()
  local head, from = self.got:match("^(.-\r\n)\r\n()")
  if not head then
    return nil
  end
  local status = tonumber(head:match("^HTTP/1%.1 (%d%d%d)"))
  assert(status, "no HTTP: " .. head:sub(1, 200))
  local headers = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+):%s*([^\r\n]*)") do
    headers[name:lower()] = value
  end
  local body, behind = "", from
  if status >= 200 and status ~= 204 and status ~= 304 then
    body, behind = body_of(self.got, from, headers, self.over)
    if not body then
      return nil
    end
  end
  self.got = self.got:sub(behind)
  if status < 200 then
    return self:answer()
  end
  return { status = status, headers = headers, body = body }
end

--- The lines of a streamed answer so far, without waiting for its end: each
-- line once. The answer must be the only one of its connection.
function Connection:lines()
  if not self.streaming then
    local head, from = self.got:match("^(.-\r\n)\r\n()")
    if not head then
      return {}
    end
    self.status = tonumber(head:match("^HTTP/1%.1 (%d+)"))
    self.chunked = head:lower():find("transfer-encoding: chunked", 1, true)
    self.streaming = { text = "" }
    self.got = self.got:sub(from)
  end
  local stream = self.streaming
  if not self.chunked then
    stream.text, self.got = stream.text .. self.got, ""
  end
  while self.chunked do
    local size, start = self.got:match("^(%x+)[^\r\n]*\r\n()")
    size = size and tonumber(size, 16)
    if not size or #self.got < start + size + 1 then
      break
    end
    stream.ended = stream.ended or size == 0
    stream.text = stream.text .. self.got:sub(start, start + size - 1)
    self.got = self.got:sub(start + size + 2)
  end
  local lines, behind = {}, 1
  for line, after in stream.text:gmatch("([^\n]*)\n()") do
    lines[#lines + 1], behind = line, after
  end
  stream.text = stream.text:sub(behind)
  return lines
end

--- One request on a connection of its own; waits for the answer.
function Server:request(method, path, headers, body)
  local connection = self:connect()
  connection:ask(method, path, headers, body)
  local answer = program.wait_for(function()
    connection:turn()
    return connection:answer() or connection.over and { body = "" }
  end, method .. " " .. path)
  connection:close()
  return answer
end

--- Waits until one of the connections can be read (or one with something to
-- send can be written), shortly.
function server.wait(connections)
  local writers = {}
  for _, connection in ipairs(connections) do
    if #connection.unsent > 0 then
      writers[#writers + 1] = connection
    end
  end
  socket.select(connections, writers, 0.05)
end

return server
