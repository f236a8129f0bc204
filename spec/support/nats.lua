--- Real nats-servers with JetStream for specs: one, or three that replicate,
-- with ports and folders of their own, and networks that can be cut.
local http = require("socket.http")
local json = require("dkjson")
local program = require("spec.support.program")
local socket = require("socket")

local nats = {}

--- The server that is run; AETHER_NATS_SERVER names another than the path's.
nats.program = os.getenv("AETHER_NATS_SERVER") or "nats-server"

--- A server to run that is of this version or newer: the one above, or what
-- scripts/test fetched; nil: there is none.
function nats.newer(major, minor)
  local fetched = {}
  for _, version in ipairs({ "2.15.1", "2.10.27" }) do
    fetched[#fetched + 1] = program.root .. "/build/tools/nats-server-" .. version
  end
  for _, path in ipairs({ nats.program, unpack(fetched) }) do
    local said = program.run({ path, "--version" }).out
    local a, b = said:match("v(%d+)%.(%d+)")
    if a and tonumber(a) * 1000 + tonumber(b) >= major * 1000 + minor then return path end
  end
  return nil
end

local Nats = {}
Nats.__index = Nats

-- Below those that the system gives to connections, which could have it by the
-- time that the server listens.
local function free_port()
  local chance = assert(io.open("/dev/urandom", "rb"))
  local bound, port
  repeat
    local high, low = chance:read(2):byte(1, 2)
    port = 10000 + (high * 256 + low) % 22000
    bound = socket.bind("127.0.0.1", port)
  until bound
  bound:close()
  chance:close()
  return port
end

local function answers(host, port)
  local connection = socket.connect(host, port)
  if connection then connection:close() end
  return connection ~= nil
end

--- On the same port and folder as before.
function Nats:start()
  local argv = {
    self.program, "-a", self.host, "-p", tostring(self.port), "-sd", self.folder,
  }
  if not self.bare then argv[#argv + 1] = "-js" end
  if self.space then argv = { "ip", "netns", "exec", self.space, unpack(argv) } end
  if self.config then
    argv[#argv + 1] = "-c"
    argv[#argv + 1] = self.config
  end
  self.process = program.start(argv, { env = self.env, seconds = 600 })
  program.wait_for(function()
    assert(self.process:running(), "nats-server ended")
    return answers(self.host, self.port)
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
-- `env`, and `bare`: without JetStream.
function nats.start(options)
  options = options or {}
  local self = setmetatable({
    folder = program.folder(), port = free_port(), env = options.env,
    host = "127.0.0.1", program = nats.program, bare = options.bare,
  }, Nats)
  if options.files then
    program.fill(self.folder, options.files)
    self.config = self.folder .. "/nats.conf"
  end
  self.url = ("nats://%s:%d"):format(self.host, self.port)
  self:start()
  return self
end

-- -- proxies that do harm (nats_proxy.mjs) --

local Proxy = {}
Proxy.__index = Proxy

--- One for each of these ports; `ports` are where they listen.
function nats.proxy(seed, targets)
  local self = setmetatable({}, Proxy)
  local argv = { "node", program.root .. "/spec/support/nats_proxy.mjs", tostring(seed) }
  for _, target in ipairs(targets) do argv[#argv + 1] = tostring(target) end
  self.process = program.start(argv, { seconds = 600 })
  self.ports = {}
  local line = program.wait_for(function()
    assert(self.process:running(), "the proxy ended")
    return program.read(self.process.stdout):match("^(.*)\n")
  end, "the proxy to listen")
  for port in line:gmatch("%d+") do self.ports[#self.ports + 1] = tonumber(port) end
  self.control = assert(socket.connect("127.0.0.1", table.remove(self.ports)))
  return self
end

--- Tells it what to do; its answer.
function Proxy:tell(line)
  assert(self.control:send(line .. "\n"))
  return assert(self.control:receive())
end

function Proxy:stop()
  self.control:close()
  self.process:kill(9)
  self.process:wait()
end

-- -- three that replicate --

local Cluster = {}
Cluster.__index = Cluster

local function run(...)
  local result = program.run({ ... })
  return result.status == 0, result.err
end

-- Each server in a network namespace, all on one bridge.
local spaces = {}
spaces.__index = spaces

function spaces.make(self)
  local mark = tostring(socket.gettime() * 1000):sub(-6):gsub("%D", "0")
  self.bridge, self.links, self.spaces, self.hosts = "aeb" .. mark, {}, {}, {}
  local net = ("10.%d.%d."):format(64 + mark % 64, mark % 251)
  local function ip(...)
    local ok, err = run("ip", ...)
    if not ok then error({ reason = "ip " .. table.concat({ ... }, " ") .. ": " .. err:gsub("%s+$", "") }) end
  end
  ip("link", "add", self.bridge, "type", "bridge")
  ip("addr", "add", net .. "254/24", "dev", self.bridge)
  ip("link", "set", self.bridge, "up")
  for i = 1, 3 do
    local space, link, inner = "aes" .. mark .. i, "ael" .. mark .. i, "aei" .. mark .. i
    ip("netns", "add", space)
    self.spaces[i] = space
    ip("link", "add", link, "type", "veth", "peer", "name", inner)
    ip("link", "set", inner, "netns", space)
    ip("link", "set", link, "master", self.bridge, "up")
    ip("-n", space, "addr", "add", net .. i .. "/24", "dev", inner)
    ip("-n", space, "link", "set", inner, "up")
    ip("-n", space, "link", "set", "lo", "up")
    self.links[i], self.hosts[i] = link, net .. i
  end
end

function spaces.remove(self)
  for _, space in ipairs(self.spaces or {}) do run("ip", "netns", "del", space) end
  if self.bridge then run("ip", "link", "del", self.bridge) end
end

--- Why a cluster of network namespaces cannot be made here; nil: it can.
function nats.no_spaces()
  local trial = {}
  local ok, problem = pcall(spaces.make, trial)
  spaces.remove(trial)
  if ok then return nil end
  return type(problem) == "table" and problem.reason or tostring(problem)
end

--- Three servers. Options: `network`: "spaces" (network namespaces), or
-- "proxies", through which all goes that they say to each other and to clients;
-- `seed` of the latter; `program`.
function nats.cluster(options)
  options = options or {}
  local self = setmetatable({ servers = {}, links = {} }, Cluster)
  local routes, hosts, clients = {}, {}, {}
  if options.network == "spaces" then spaces.make(self) end
  for i = 1, 3 do
    routes[i], hosts[i] = free_port(), self.hosts and self.hosts[i] or "127.0.0.1"
  end
  local function route(_, to)
    return ("nats-route://%s:%d"):format(hosts[to], routes[to])
  end
  if options.network == "proxies" then
    local targets, at = {}, {}
    for from = 1, 3 do
      for to = 1, 3 do
        if from ~= to then
          targets[#targets + 1] = routes[to]
          at[from * 10 + to] = #targets
          self.links[#targets] = { from, to }
        end
      end
    end
    for i = 1, 3 do
      clients[i] = free_port()
      targets[#targets + 1] = clients[i]
      self.links[#targets] = { i }
    end
    self.proxy = nats.proxy(options.seed or 1, targets)
    route = function(from, to)
      return "nats-route://127.0.0.1:" .. self.proxy.ports[at[from * 10 + to]]
    end
  end
  local urls = {}
  for i = 1, 3 do
    local others = {}
    for to = 1, 3 do
      if to ~= i then others[#others + 1] = '"' .. route(i, to) .. '"' end
    end
    local lines = {
      ('server_name: "s%d"'):format(i),
      ('http: "%s:%d"'):format(hosts[i], free_port()),
      "cluster {", '  name: "specs"',
      ('  listen: "%s:%d"'):format(hosts[i], routes[i]),
      "  routes: [ " .. table.concat(others, ", ") .. " ]",
    }
    local monitor = lines[2]:match('"(.*)"')
    if self.proxy then
      -- Nobody learns of a way around the proxies.
      lines[#lines + 1] = '  advertise: "127.0.0.1:1"'
      table.insert(lines, 1, ('client_advertise: "127.0.0.1:%d"'):format(self.proxy.ports[6 + i]))
    end
    lines[#lines + 1] = "}\n"
    local server = setmetatable({
      folder = program.folder(), port = clients[i] or free_port(), host = hosts[i],
      space = self.spaces and self.spaces[i], name = "s" .. i, monitor = monitor,
      program = options.program or nats.program,
    }, Nats)
    server.config = server.folder .. "/nats.conf"
    program.write(server.config, table.concat(lines, "\n"))
    server.url = ("nats://%s:%d"):format(hosts[i], self.proxy and self.proxy.ports[6 + i] or server.port)
    urls[i] = server.url
    self.servers[i] = server
    server:start()
  end
  self.url = table.concat(urls, ",")
  return self
end

-- What a server's monitor says of JetStream; nil: nothing.
local function jsz(server, query)
  local body, status = http.request(("http://%s/jsz?%s"):format(server.monitor, query))
  return status == 200 and json.decode(body) or nil
end

--- Waits until the cluster has a leader that all three know: then streams can
-- be made.
function Cluster:wait_ready()
  program.wait_for(function()
    local leader
    for _, server in ipairs(self.servers) do
      local said = jsz(server, "")
      local name = said and said.meta_cluster and said.meta_cluster.leader
      if not name or (leader and name ~= leader) then return false end
      leader = name
    end
    return leader
  end, "the cluster to have a leader")
end

-- What the leader of a stream says of it, and which it is (not `but`); nil: no
-- server leads it.
local function led(self, stream, but)
  for i, server in ipairs(self.servers) do
    local said = i ~= but and not server.process.ended and jsz(server, "accounts=1&streams=1") or {}
    for _, account in ipairs(said.account_details or {}) do
      for _, detail in ipairs(account.stream_detail or {}) do
        if detail.name == stream and detail.cluster and detail.cluster.leader == server.name then
          return detail, i
        end
      end
    end
  end
  return nil
end

--- Which server says that it leads a stream (1 to 3; another than `but`), or nil.
function Cluster:leader(stream, but)
  return select(2, led(self, stream, but))
end

--- Whether all three have what is in the stream.
function Cluster:whole(stream)
  local detail = led(self, stream)
  local replicas = detail and detail.cluster.replicas or {}
  for _, replica in ipairs(replicas) do
    if not replica.current or (replica.lag or 0) > 0 then return false end
  end
  return #replicas == 2
end

function Cluster:wait_leader(stream)
  return program.wait_for(function() return self:leader(stream) end, "a leader of " .. stream)
end

-- Nothing goes to server `i` nor comes from it, or again; with `peers` it is
-- parted from the other servers only.
local function switch(self, i, cut, peers)
  if self.spaces then
    assert(not peers)
    assert(run("ip", "link", "set", self.links[i], cut and "down" or "up"))
    return
  end
  local numbers = {}
  for number, link in ipairs(self.links) do
    if (link[1] == i or link[2] == i) and not (peers and cut and not link[2]) then
      numbers[#numbers + 1] = tostring(number)
    end
  end
  self.proxy:tell((cut and "stall " or "flow ") .. table.concat(numbers, " "))
end

function Cluster:cut(i, peers) switch(self, i, true, peers) end

function Cluster:heal(i) switch(self, i, false) end

--- Ends them and removes their folders.
function Cluster:stop()
  for _, server in ipairs(self.servers) do server:stop() end
  if self.proxy then self.proxy:stop() end
  spaces.remove(self)
end

return nats
