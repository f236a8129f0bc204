--- What a person has at the prompt of `aether repl`: given, state, help, and
--- how a result is shown. The host opens it; a module has no use for it.
local event = require("aether.event")
local nearest = require("aether.nearest")
local value = require("aether.value")

local prompt = {}

---@class aether.prompt.module
---@field name string
---@field kind string
---@field commands string[]
---@field events string[]

---@class aether.prompt.host
---@field namespace string
---@field modules aether.prompt.module[] in the order of their names
---@field ask fun(request: table): boolean, any what the host knows
---@field utf8 fun(text: string): boolean

local WIDTH = 76 -- columns; what is longer goes on several lines
local DEPTH = 64

local opened, is_text -- the host and its check of UTF-8, of this state

-- ── Showing ──────────────────────────────────────────────────────────────

local function string_text(text)
  local shown = value.show(text)
  if is_text(text) then
    return shown
  end
  return (
    shown:gsub("[\128-\255]", function(c)
      return ("\\%03d"):format(c:byte())
    end)
  )
end

local show

local function close(first, parts, last, indent)
  if #parts == 0 then
    return first .. last
  end
  local length, broken = #indent + #first + #last, false
  for _, part in ipairs(parts) do
    length = length + #part + 2
    broken = broken or part:find("\n", 1, true) ~= nil
  end
  if length <= WIDTH and not broken then
    return first .. " " .. table.concat(parts, ", ") .. " " .. last
  end
  local inner = indent .. "  "
  return first
    .. "\n"
    .. inner
    .. table.concat(parts, ",\n" .. inner)
    .. ",\n"
    .. indent
    .. last
end

local function show_table(t, on_way, indent, depth)
  local parts, inner = {}, indent .. "  "
  if value.is_array(t) then
    for i, item in ipairs(t) do
      parts[i] = show(item, on_way, inner, depth + 1)
    end
    return close(#parts == 0 and "array {" or "{", parts, "}", indent)
  end
  for i, key in ipairs(value.keys(t)) do
    local name = type(key) == "string"
        and not key:find("^[%a_][%w_]*$")
        and "[" .. string_text(key) .. "]"
      or value.path("", key)
    parts[i] = name .. " = " .. show(t[key], on_way, inner, depth + 1)
  end
  return close("{", parts, "}", indent)
end

local function show_event(e, on_way, indent, depth)
  local parts = {
    string_text(e.type),
    show(e.data, on_way, indent, depth + 1),
  }
  if e.metadata ~= nil or e.revision ~= nil then
    parts[3] = show(
      { metadata = e.metadata, revision = e.revision },
      on_way,
      indent,
      depth + 1
    )
  end
  return "event(" .. table.concat(parts, ", ") .. ")"
end

function show(v, on_way, indent, depth)
  if type(v) == "string" then
    return string_text(v)
  elseif type(v) ~= "table" or v == value.null then
    return value.show(v)
  elseif on_way[v] or depth > DEPTH then
    return on_way[v] and "<cycle>" or "<deeper>"
  end
  on_way[v] = true
  local text = (event.is(v) and show_event or show_table)(
    v,
    on_way,
    indent,
    depth
  )
  on_way[v] = nil
  return text
end

-- ── Completing ───────────────────────────────────────────────────────────

local function members(t)
  local names = {}
  if type(t) == "string" then
    t = string
  end
  if type(t) == "table" and t ~= value.null then
    for key in pairs(t) do
      names[key] = true
    end
    local mark = getmetatable(t)
    if mark == "aether.prompt" then
      names.when = true
    end
  end
  return names
end

-- What stands before the dot, followed through tables.
local function find(globals, path)
  local at = globals
  for name in path:gmatch("[%w_]+") do
    if type(at) ~= "table" or at == value.null then
      return nil
    end
    if at == globals then
      local own = rawget(globals, name)
      if own == nil and members(_G)[name] then
        own = _G[name]
      end
      at = own
    elseif members(at)[name] then
      at = at[name]
    else
      return nil
    end
  end
  return at
end

local function quoted(host)
  local names = {}
  for _, module in ipairs(host.modules) do
    names[module.name] = true
    for _, list in ipairs({ module.commands, module.events }) do
      for _, name in ipairs(list) do
        names[name] = true
      end
    end
  end
  return names
end

local KEYWORDS = "and break do else elseif end false for function if in local "
  .. "nil not or repeat return then true until while"

local decided = {
  details = true,
  events = true,
  rejected = true,
  state = true,
  version = true,
}

local function complete(host, globals, line)
  local names, word = {}, line:match("[\"']([%w_]*)$")
  if word then
    names = quoted(host)
  else
    local path, last = line:match("([%a_][%w_%.]*)[%.:]([%w_]*)$")
    local method = line:match("%):([%w_]*)$")
    local field = line:match("%)%.([%w_]*)$")
    if path then
      word, names = last, members(find(globals, path))
    elseif method then
      word, names = method, { when = true }
    elseif field then
      word, names = field, decided
    else
      word = line:match("([%a_][%w_]*)$") or ""
      for name in pairs(globals) do
        names[name] = true
      end
      for name in pairs(_G) do
        names[name] = true
      end
      for name in KEYWORDS:gmatch("%a+") do
        names[name] = true
      end
    end
  end
  local found = {}
  for name in pairs(names) do
    if
      type(name) == "string"
      and name:sub(1, #word) == word
      and name:find("^[%a_][%w_]*$")
    then
      found[#found + 1] = name
    end
  end
  table.sort(found)
  return { word = #word, names = value.array(found) }
end

-- ── Deciding ─────────────────────────────────────────────────────────────

local function lists(list)
  local names = {}
  for _, name in ipairs(list) do
    names[name] = true
  end
  return names
end

local function aggregate_of(host, name)
  local known = {}
  for _, module in ipairs(host.modules) do
    if module.kind == "aggregate" then
      known[module.name] = true
      if module.name == name then
        return module
      end
    end
  end
  error(
    ('namespace %s has no aggregate "%s"%s'):format(
      host.namespace,
      name,
      nearest.hint(name, known)
    ),
    0
  )
end

-- The aggregate that is meant: its name was not said, so its command and its
-- events must say it.
local function which(host, command, events)
  local all, found = {}, {}
  for _, module in ipairs(host.modules) do
    if module.kind == "aggregate" then
      local commands, types = lists(module.commands), lists(module.events)
      for name in pairs(commands) do
        all[name] = true
      end
      local fits = commands[command] ~= nil
      for _, e in ipairs(events) do
        fits = fits and types[e.type] ~= nil
      end
      if fits then
        found[#found + 1] = module.name
      end
    end
  end
  if #found == 1 then
    return found[1]
  elseif #found > 1 then
    error(
      ('several aggregates have "%s": say which, as in given("%s", …)'):format(
        command,
        found[1]
      ),
      0
    )
  elseif all[command] then
    error(
      ('no aggregate has both "%s" and these events'):format(command),
      0
    )
  end
  error(
    ('no aggregate of namespace %s has a command "%s"%s'):format(
      host.namespace,
      tostring(command),
      nearest.hint(tostring(command), all)
    ),
    0
  )
end

local function ask(host, request)
  local ok, answer = host.ask(request)
  if not ok then
    error(answer, 0)
  end
  return answer
end

-- "account/a-1", also with the namespace before it.
local function split(host, text)
  local of, id = text:match("^([^/]+)/(.+)$")
  if of == host.namespace then
    local inner_of, inner_id = id:match("^([^/]+)/(.+)$")
    local known = {}
    for _, module in ipairs(host.modules) do
      known[module.name] = true
    end
    if inner_of and not known[of] then
      of, id = inner_of, inner_id
    end
  end
  return of, id
end

local function read(host, name, at)
  if type(name) ~= "string" or not split(host, name) then
    error(
      'state wants an actor, as in state("account/a-1"); got '
        .. value.show(name, 60),
      3
    )
  end
  local of, id = split(host, name)
  aggregate_of(host, of)
  if at ~= nil and (not value.is_integer(at) or value.less(at, 0)) then
    error("state wants a version second; got " .. value.show(at, 60), 3)
  end
  local answer = ask(host, { ask = "state", type = of, id = id, at = at })
  return answer.state, answer.version, of, id
end

local when

local function past(fields)
  return setmetatable(
    fields,
    { __index = { when = when }, __metatable = "aether.prompt" }
  )
end

function when(self, command, data, metadata)
  local host = opened
  if type(self) ~= "table" or getmetatable(self) ~= "aether.prompt" then
    error('write a colon, as in given(…):when("withdraw", { amount = 5 })', 2)
  elseif type(command) ~= "string" then
    error(
      "when wants the name of a command; got " .. value.show(command, 60),
      2
    )
  elseif self.error ~= nil then
    error("nothing follows on an error", 2)
  end
  for what, t in pairs({ data = data, metadata = metadata }) do
    if type(t) ~= "table" or t == value.null then
      error(
        ("the %s of a command is a map, as in { amount = 5 }; got %s"):format(
          what,
          value.show(t, 60)
        ),
        2
      )
    end
  end
  local events, plain = self.past or {}, {}
  for i, e in ipairs(events) do
    plain[i] = {
      type = e.type,
      data = e.data,
      revision = e.revision,
      metadata = e.metadata,
    }
  end
  local answer = ask(host, {
    ask = "decide",
    type = self.type or which(host, command, events),
    id = self.id or "a-1",
    version = self.version,
    state = self.state,
    past = value.array(plain),
    command = command,
    data = data or {},
    metadata = metadata,
  })
  local made = {}
  for i, e in ipairs(answer.events) do
    local revision = e.revision
    made[i] = event(
      e.type,
      e.data,
      { metadata = e.metadata, revision = revision ~= 1 and revision or nil }
    )
  end
  return past({
    type = answer.type,
    id = self.id,
    version = answer.version,
    state = answer.state,
    rejected = answer.reason,
    details = answer.details,
    events = answer.reason == nil and value.array(made) or nil,
  })
end

local function given(host, ...)
  local list, count = { ... }, select("#", ...)
  if count == 1 and type(list[1]) == "table" and not event.is(list[1]) then
    list, count = list[1], #list[1]
  end
  local fields, events = {}, {}
  for i = 1, count do
    local item = list[i]
    if event.is(item) then
      events[#events + 1] = item
    elseif i == 1 and type(item) == "string" then
      if item:find("/", 1, true) then
        fields.state, fields.version, fields.type, fields.id = read(host, item)
      else
        fields.type = aggregate_of(host, item).name
      end
    else
      error(
        (
          'given wants an actor or an aggregate first, as in "account/a-1" '
          .. 'or "account", and event(type, data); item %d is %s'
        ):format(
          i,
          value.show(item, 60)
        ),
        3
      )
    end
  end
  if #events > 0 then
    fields.past = events
  end
  return past(fields)
end

-- ── Opening ──────────────────────────────────────────────────────────────

local HELP = [[
given(event("Deposited", { amount = 10 })):when("withdraw", { amount = 4 })
    what a command would do after these events
given("account/a-1"):when("withdraw", { amount = 4 })
    what it would do to a stored actor; :when again goes on from there
given("account", event(…), …)
    says which aggregate, where several know the command
state("account/a-1")   a stored actor's state; state("account/a-1", 3) as it was
                       at version 3
help("account")        a module's commands and events
Modules are there by their names, event, command and value too. What is
assigned without local stays. Nothing is stored.]]

local function help(host, globals, name)
  if name == nil then
    globals.print(HELP)
    local names = {}
    for i, module in ipairs(host.modules) do
      names[i] = ("  %-20s %s"):format(module.name, module.kind)
    end
    globals.print(
      "Modules of namespace "
        .. host.namespace
        .. ":\n"
        .. table.concat(names, "\n")
    )
    return
  end
  local known = {}
  for _, module in ipairs(host.modules) do
    known[module.name] = true
    if module.name == name or rawget(globals, module.name) == name then
      globals.print(module.name .. ": " .. module.kind)
      for _, what in ipairs({ "commands", "events" }) do
        if #module[what] > 0 then
          globals.print(
            ("  %-9s %s"):format(what, table.concat(module[what], ", "))
          )
        end
      end
      return
    end
  end
  local text = tostring(name)
  error(
    ('namespace %s has no module "%s"%s'):format(
      host.namespace,
      text,
      nearest.hint(text, known)
    ),
    2
  )
end

--- Opens the prompt.
---@param host aether.prompt.host
---@return table globals what a line at the prompt sees
---@return fun(v: any): string show
---@return fun(line: string): table complete
function prompt.open(host)
  is_text = host.utf8
  opened = host
  local globals = setmetatable({}, { __index = _G })
  globals.print = print
  for _, module in ipairs(host.modules) do
    if rawget(_G, module.name) == nil then
      globals[module.name] = require(module.name)
    end
  end
  globals.event = event
  globals.command = require("aether.command")
  globals.value = value
  function globals.given(...)
    return (given(host, ...))
  end
  function globals.state(name, at)
    local found = read(host, name, at)
    return found
  end
  function globals.help(name)
    help(host, globals, name)
  end
  return globals, function(v)
    return show(v, {}, "", 1)
  end, function(line)
    return complete(host, globals, line)
  end
end

return prompt
