--- The command line beside a node: an app of its own, a node of it on a free
-- port, and subcommands that find it there.
local http = require("spec.support.http")
local json = require("dkjson")
local program = require("spec.support.program")

local live = {}

local Live = {}
Live.__index = Live

--- A small app (a bank) in a folder of its own; `settings` is put into
-- aether.lua.
function live.app(settings)
  local self = setmetatable({ folder = program.folder() }, Live)
  local made = program.run_aether({ "new", self.folder })
  assert(made.status == 0, made.err)
  self:settings(settings or "")
  return self
end

function Live:settings(text)
  program.write(
    self.folder .. "/aether.lua",
    ("return { namespaces = { bank = { modules = 'bank' } }, %s }\n"):format(text)
  )
end

--- A token's line for aether.lua, and the token.
function Live:token(name, namespaces, rights)
  local made = json.decode(program.run_aether({
    "-C", self.folder, "token", name, "--json", "--namespaces", namespaces,
    "--rights", rights,
  }).out)
  local quoted = {}
  for _, right in ipairs(made.rights) do
    quoted[#quoted + 1] = ("%q"):format(right)
  end
  return ("{ name = %q, hash = %q, namespaces = { %q }, rights = { %s } },"):format(
    name, made.hash, namespaces, table.concat(quoted, ", ")
  ), made.token
end

--- Starts a node; options as in http.start. One that is started again listens
-- where the last one did.
function Live:start(options)
  local all = { store = "sqlite:" .. self.folder .. "/node.db", port = self.port }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  self.node = http.start(self.folder, all)
  self.port = self.node.port
  return self.node
end

function Live:options(options)
  local all = { env = { AETHER_LISTEN = "127.0.0.1:" .. (self.port or 1) } }
  for name, value in pairs(options or {}) do
    if name == "env" then
      for key, text in pairs(value) do
        all.env[key] = text
      end
    else
      all[name] = value
    end
  end
  return all
end

--- Runs a subcommand beside the node; options as in program.run.
function Live:run(argv, options)
  return self:begin(argv, options):wait()
end

--- Starts one.
function Live:begin(argv, options)
  return program.start_aether(
    { "-C", self.folder, unpack(argv) }, self:options(options)
  )
end

--- The same on a terminal: output and errors come together.
function Live:on_terminal(argv, options)
  local words = { program.aether, "-C", self.folder, unpack(argv) }
  for index, word in ipairs(words) do
    words[index] = "'" .. word:gsub("'", "'\\''") .. "'"
  end
  options = self:options(options)
  options.env.NO_COLOR = "1"
  return program.run(
    { "script", "-qec", table.concat(words, " "), "/dev/null" }, options
  )
end

--- Waits until a subcommand has a connection to the node.
function Live:wait_for_connection()
  program.wait_for(function()
    return program.run({
      "ss", "-Htn", "state", "established", "dport = :" .. self.port,
    }).out:find("127.0.0.1", 1, true)
  end, "a connection")
end

--- Ends the node and removes the folder.
function Live:clear()
  if self.node and not self.node.server.process.ended then
    self.node.server:kill(9)
    self.node.server:wait()
  end
  program.remove(self.folder)
end

return live
