--- dpkg's log, line by line, as commands; and what dpkg-query says. See dpkg(1),
--- under --log.
local dpkg = {}

local STAMP = "^(%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d) (%S+) (.+)$"

-- An action in the log → a command of the aggregate, and what its data takes
-- from the two versions that the line ends with.
local actions = {
  install = { "install", "from", "to" },
  upgrade = { "upgrade", "from", "to" },
  configure = { "configure", "version" },
  trigproc = { "process_triggers", "version" },
  remove = { "remove", "version" },
  purge = { "purge", "version" },
  disappear = { "disappear", "version" },
}

local MACHINE = "packages/machine/this"

local function version_of(text)
  if text ~= "<none>" and text ~= "" then
    return text
  end
end

local function actor_of(package)
  return "packages/package/" .. package
end

local function action(at, word, rest)
  local package, first, second = rest:match("^(%S+) (%S+) (%S+)$")
  if not package then
    return nil
  end
  local known = actions[word]
  local data = { at = at, [known[2]] = version_of(first) }
  if known[3] then
    data[known[3]] = version_of(second)
  end
  return { actor = actor_of(package), command = known[1], data = data }
end

local function status(at, rest)
  local state, package, version = rest:match("^(%S+) (%S+) (%S+)$")
  if not state then
    return nil
  end
  return {
    actor = actor_of(package),
    command = "report",
    data = { at = at, state = state, version = version_of(version) },
  }
end

local function startup(at, rest)
  local kind, command = rest:match("^(%S+) (%S+)$")
  if not kind then
    return nil
  end
  return {
    actor = MACHINE,
    command = "start_dpkg",
    data = { at = at, kind = kind, command = command },
  }
end

-- The line names no package: it belongs to the one that is being configured.
local function conffile(at, rest, current)
  local file, decision = rest:match("^(.+) (%S+)$")
  if not file then
    return nil
  end
  return {
    actor = current or MACHINE,
    command = "settle_conffile",
    data = { at = at, file = file, decision = decision },
  }
end

--- A reader of one log. Its answer for a line is a command, as a table that
--- `aether exec` takes, or nil where the line is none of dpkg's. A command's id
--- is its line, and which of several equal ones it is: reading the same log
--- again gives the same ids.
---@return fun(line: string): table|nil
function dpkg.reader()
  local seen, current = {}, nil
  return function(line)
    local at, word, rest = line:match(STAMP)
    if not at then
      return nil
    end
    local command
    if actions[word] then
      command = action(at, word, rest)
      current = command and word == "configure" and command.actor or nil
    elseif word == "status" then
      command = status(at, rest)
    elseif word == "startup" then
      command = startup(at, rest)
      current = nil
    elseif word == "conffile" then
      command = conffile(at, rest, current)
    end
    if command then
      seen[line] = (seen[line] or 0) + 1
      command.id = seen[line] == 1 and line
        or ("%s #%d"):format(line, seen[line])
    end
    return command
  end
end

--- The order in which logs were written, oldest first: dpkg.log.10.gz before
--- dpkg.log.9.gz, dpkg.log-20260101 before dpkg.log-20260201, dpkg.log last.
---@param names string[] names of files, also others
---@return string[]
function dpkg.order(names)
  local logs = {}
  for _, name in ipairs(names) do
    local rest = name:match("^dpkg%.log(.*)$")
    local plain = rest and rest:gsub("%.%a[%a%d]*$", "")
    if plain == "" and rest == "" then
      logs[#logs + 1] = { name = name, class = 2, key = 0 }
    elseif plain and plain:find("^%.%d+$") then
      logs[#logs + 1] =
        { name = name, class = 1, key = -tonumber(plain:sub(2)) }
    elseif plain and plain:find("^%-%d+$") then
      logs[#logs + 1] = { name = name, class = 0, key = tonumber(plain:sub(2)) }
    end
  end
  table.sort(logs, function(a, b)
    if a.class ~= b.class then
      return a.class < b.class
    end
    return a.key < b.key
  end)
  for i, log in ipairs(logs) do
    logs[i] = log.name
  end
  return logs
end

--- What dpkg-query says, from the lines of
--- `${binary:Package} ${Architecture} ${Version} ${db:Status-Status}`: packages
--- by name and architecture, as the log writes them.
---@param text string
---@return table<string, { version: string|nil, status: string }>
function dpkg.installed(text)
  local packages = {}
  for line in text:gmatch("[^\n]+") do
    local name, architecture, version, state =
      line:match("^(%S+) (%S*) (%S*) (%S+)$")
    if name and state ~= "not-installed" then
      local bare = name:gsub(":[^:]*$", "")
      local key = architecture ~= "" and bare .. ":" .. architecture or bare
      packages[key] =
        { version = version ~= "" and version or nil, status = state }
    end
  end
  return packages
end

-- States in which dpkg leaves a package in peace.
dpkg.settled =
  { installed = true, ["config-files"] = true, ["not-installed"] = true }

--- Holds the states that Aether has against what dpkg-query says.
---@param states table<string, table> by package
---@param installed table<string, table> as dpkg.installed gives them
---@return string[] differences one line each, in order
---@return integer agreed
---@return string[] unsettled packages that dpkg left half-way
function dpkg.compare(states, installed)
  local names, differences, unsettled, agreed = {}, {}, {}, 0
  for name in pairs(states) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local state, known = states[name], installed[name]
    local ours = state.status .. " " .. (state.version or "-")
    local theirs = known and known.status .. " " .. (known.version or "-")
      or "not-installed -"
    if not dpkg.settled[state.status] or state.doing then
      unsettled[#unsettled + 1] = ("%s: %s%s"):format(
        name,
        ours,
        state.doing and ", in " .. state.doing or ""
      )
    elseif ours == theirs then
      agreed = agreed + 1
    else
      differences[#differences + 1] = ("%s: Aether has %s, dpkg-query says %s"):format(
        name,
        ours,
        theirs
      )
    end
  end
  return differences, agreed, unsettled
end

return dpkg
