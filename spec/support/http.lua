--- A node of one's own (server.lua), and requests to it with curl.
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local http = {}

local Node = {}
Node.__index = Node

--- Starts `aether run` for an app and waits until it listens. Options: `store`
-- (default: memory), `port` (default: a free one), `args`, and those of
-- program.start.
function http.start(folder, options)
  local all = { seconds = 120 }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  all.args = { "--store", all.store or "memory", unpack(all.args or {}) }
  if all.port then
    all.args[#all.args + 1] = "--listen"
    all.args[#all.args + 1] = "127.0.0.1:" .. all.port
  end
  local node = setmetatable({ server = server.start(folder, all) }, Node)
  node.url = node.server.url
  node.port = tonumber(node.server.port)
  return node
end

--- Ends it as a person would.
function Node:stop()
  return self.server:stop()
end

--- `kill -9`, as it happens.
function Node:crash()
  self.server:kill(9)
  return self.server:wait()
end

--- Kilobytes that its process has in memory.
function Node:memory()
  return self.server:memory_kb()
end

-- Status, headers (lower case names; several of one name are joined) and body
-- of what `curl -i` printed.
local function parse(text)
  local head, body
  repeat -- 100 Continue and the like come first
    head, body = text:match("^(.-\r\n)\r\n(.*)$")
    assert(head, "no HTTP: " .. text:sub(1, 200))
    text = body
  until not head:match("^HTTP/%S+ 1")
  local response = { headers = {}, body = body, head = head }
  response.status = tonumber(head:match("^HTTP/%S+ (%d+)"))
  for name, value in head:gmatch("\n([^:\r\n]+): *([^\r\n]*)") do
    name = name:lower()
    local before = response.headers[name]
    response.headers[name] = before and before .. ", " .. value or value
  end
  if (response.headers["content-type"] or ""):match("json$") and body ~= "" then
    if not response.headers["content-type"]:match("ndjson") then
      response.json = assert(json.decode(body), body)
    end
  end
  return response
end

--- The arguments of curl for a request. Options: `method`, `body`, `type` (of
-- the body, default application/json; false: none), `headers` (a list),
-- `token`, `more` (arguments).
local function curl(node, path, options)
  local argv = { "curl", "-sS", "-i", "--path-as-is", "--globoff" }
  local function add(...)
    for _, argument in ipairs({ ... }) do
      argv[#argv + 1] = argument
    end
  end
  if options.method == "HEAD" then
    add("--head")
  elseif options.method then
    add("-X", options.method)
  end
  if options.body then
    add("--data-binary", "@-")
    if options.type ~= false then
      add("-H", "Content-Type: " .. (options.type or "application/json"))
    else
      add("-H", "Content-Type:")
    end
  end
  if options.token then
    add("-H", "Authorization: Bearer " .. options.token)
  end
  for _, header in ipairs(options.headers or {}) do
    add("-H", header)
  end
  add(unpack(options.more or {}))
  add(node.url .. path)
  return argv
end

--- One request, to its end: { status, headers, body, json, head }.
function Node:request(path, options)
  options = options or {}
  local result = program.run(curl(self, path, options), {
    stdin = options.body,
    seconds = options.seconds or 60,
  })
  if result.status ~= 0 then
    error(("curl %s: %s"):format(path, result.err), 2)
  end
  return parse(result.out)
end

--- A command; `data` is JSON, or nothing.
function Node:send(path, data, options)
  local all = { method = "POST", body = data }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return self:request("/v1/" .. path, all)
end

--- NDJSON commands; the outcomes are `documents` of what comes back.
function Node:run(lines, options)
  local all = { method = "POST", type = "application/x-ndjson", body = lines }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  local response = self:request("/v1/commands", all)
  response.documents = http.documents(response.body)
  return response
end

--- Documents of an NDJSON body.
function http.documents(text)
  local documents = {}
  for line in text:gmatch("([^\n]*)\n") do
    documents[#documents + 1] = assert(json.decode(line), line)
  end
  return documents
end

--- Events (blocks) of an event stream: { id, event, data (decoded), comment }.
-- One that was cut off is left out.
function http.blocks(text)
  local blocks = {}
  for block in text:gmatch("(.-\n)\n") do
    local one = {}
    for name, value in block:gmatch("([^:\n]*):? ?([^\n]*)\n") do
      one[name == "" and "comment" or name] = value
    end
    one.data = one.data and assert(json.decode(one.data), one.data)
    blocks[#blocks + 1] = one
  end
  return blocks
end

--- A request that goes on: `head()` is the answer's head once it came, `read()`
-- the body so far, `stop()` ends it.
function Node:open(path, options)
  local argv = curl(self, path, options or {})
  -- With -i curl keeps the head back until there is some of the body.
  argv[2], argv[3] = "-sSN", "-v"
  local process = program.start(argv, {
    seconds = options and options.seconds or 120,
  })
  local stream = { process = process }
  function stream.head()
    local said = program.read(process.stderr)
    local head = said:match("\n(< HTTP/.-\n< \r\n)")
    return head and head:gsub("\n< ", "\n"):sub(3)
  end
  function stream.read()
    return program.read(process.stdout)
  end
  --- Waits until `count(body)` is at least `wanted`; the body.
  function stream.wait(count, wanted)
    return program.wait_for(function()
      local body = stream.read()
      return count(body) >= wanted and body
    end, wanted .. " of " .. path)
  end
  --- Ends it; the body.
  function stream.stop()
    process:kill(15)
    return process:wait().out
  end
  return stream
end

--- Runs a script of spec/support with Node.js, and waits.
function http.script(name, arguments, options)
  return http.start_script(name, arguments, options):wait()
end

function http.start_script(name, arguments, options)
  local argv = { "node", program.root .. "/spec/support/" .. name }
  for _, argument in ipairs(arguments) do
    argv[#argv + 1] = tostring(argument)
  end
  return program.start(argv, options)
end

return http
