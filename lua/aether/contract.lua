--- What the checks of all kinds of modules share.
local command = require("aether.command")
local nearest = require("aether.nearest")
local value = require("aether.value")

local contract = {}

---@class aether.mistake
---@field message string what is wrong and what to do
---@field key string|nil where in the module's table, such as "decide.withdraw"

-- Names that mean something else in addresses.
local RESERVED =
  { events = true, commands = true, projections = true, admin = true }

--- Appends a mistake.
---@param mistakes aether.mistake[]
---@param key string|nil
---@param message string with the places of what follows
---@param ... any
function contract.add(mistakes, key, message, ...)
  mistakes[#mistakes + 1] = { key = key, message = message:format(...) }
end
local add = contract.add

--- The keys of a module's table.
---@param mistakes aether.mistake[]
---@param kind string
---@param module table
---@param known table<string, boolean>
function contract.keys(mistakes, kind, module, known)
  for _, key in ipairs(value.keys(module)) do
    if not known[key] then
      local hint = nearest.hint(key, known)
      if type(module[key]) == "function" and not hint:find("mean", 1, true) then
        hint =
          ": make it a local function, or put it into a module without handlers"
      end
      add(
        mistakes,
        tostring(key),
        "%s has no key %s%s",
        kind,
        value.show(key, 60),
        hint
      )
    end
  end
end

--- The name of a module: its file's.
---@param mistakes aether.mistake[]
---@param name string
function contract.name(mistakes, name)
  if not command.is_name(name) then
    add(
      mistakes,
      nil,
      "a module's file name is snake_case, as in bank_account.lua; got %s",
      value.show(name, 60)
    )
  elseif RESERVED[name] then
    add(
      mistakes,
      nil,
      "%q cannot be the name of a module: it means something else in an address",
      name
    )
  end
end

--- A table of functions by name.
---@param mistakes aether.mistake[]
---@param key string "decide", "evolve", …
---@param handlers any
---@param is_name fun(name: any): boolean
---@param rule string what names look like, with an example
---@param arguments string for the message
function contract.handlers(mistakes, key, handlers, is_name, rule, arguments)
  if type(handlers) ~= "table" or handlers == value.null then
    return add(
      mistakes,
      key,
      "%s must be a table of functions; it is a %s",
      key,
      type(handlers)
    )
  end
  for _, name in ipairs(value.keys(handlers)) do
    local at = key .. "." .. tostring(name)
    if not is_name(name) then
      add(mistakes, at, "%s: %s", at, rule)
    end
    if type(handlers[name]) ~= "function" then
      add(
        mistakes,
        at,
        "%s must be a function(%s); it is a %s",
        at,
        arguments,
        type(handlers[name])
      )
    end
  end
end

--- A table that is copied as the start of something.
---@param mistakes aether.mistake[]
---@param key string "initial" or "row"
---@param map any nil is well: an empty one
function contract.start(mistakes, key, map)
  if map == nil then
    return
  elseif type(map) ~= "table" or map == value.null or value.is_array(map) then
    return add(
      mistakes,
      key,
      "%s must be a map, as in { balance = 0 }; got %s",
      key,
      value.show(map, 60)
    )
  end
  local ok, path, problem = value.check(map)
  if not ok then
    path = key
      .. (path == "" and "" or path:sub(1, 1) == "[" and path or "." .. path)
    add(mistakes, path, "%s %s", path, problem)
  end
end

--- An integer from 1, where it is there.
---@param mistakes aether.mistake[]
---@param key string
---@param v any
function contract.positive(mistakes, key, v)
  if
    v ~= nil
    and (type(v) ~= "number" or v < 1 or v ~= math.floor(v) or v > 2 ^ 53)
  then
    add(
      mistakes,
      key,
      "%s must be an integer from 1; got %s",
      key,
      value.show(v, 60)
    )
  end
end

--- `from` of a projection or a process.
---@param mistakes aether.mistake[]
---@param from any
function contract.from(mistakes, from)
  local list = from
  if from == "*" then
    return
  elseif type(from) == "string" then
    list = { from }
  elseif not value.is_array(from) or #from == 0 then
    return add(
      mistakes,
      "from",
      'from must be an aggregate\'s name, a list of names or "*"; got %s',
      value.show(from, 60)
    )
  end
  for i, name in ipairs(list) do
    if not command.is_name(name) then
      local at = type(from) == "string" and "from" or ("from[%d]"):format(i)
      add(
        mistakes,
        at,
        "%s must be an aggregate's snake_case name; got %s",
        at,
        value.show(name, 60)
      )
    end
  end
end

--- Whether a name is that of an event: "Created", or "order.Created".
---@param name any
---@return boolean
function contract.is_event_of(name)
  return type(name) == "string"
    and (name:find("^%u%w*$") or name:find("^%l[%l%d_]*%.%u%w*$")) ~= nil
end

return contract
