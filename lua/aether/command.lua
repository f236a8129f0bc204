--- command(actor_type, actor_id, name, data[, metadata]): what a process sends.
local value = require("aether.value")

local command = {}

---@class aether.command
---@field actor_type string
---@field actor_id string
---@field name string snake_case
---@field data table a map
---@field metadata table|nil

local mark = { __metatable = "aether.command" }
local EXAMPLE = ', as in command("account", "a-1", "deposit", { amount = 5 })'

local function is_map(t)
  return type(t) == "table" and t ~= value.null and not value.is_array(t)
end

local function make(actor_type, actor_id, name, data, metadata)
  if not command.is_name(actor_type) then
    error(
      "command wants an actor's type first"
        .. EXAMPLE
        .. "; got "
        .. value.show(actor_type, 60),
      3
    )
  elseif type(actor_id) ~= "string" or #actor_id < 1 or #actor_id > 255 then
    error(
      "command wants an actor's id second, a string of 1 to 255 bytes; got "
        .. value.show(actor_id, 60),
      3
    )
  elseif not command.is_name(name) then
    error(
      "command wants a command's snake_case name third"
        .. EXAMPLE
        .. "; got "
        .. value.show(name, 60),
      3
    )
  elseif data ~= nil and not is_map(data) then
    error(
      ("the data of command %q must be a map; got %s"):format(
        name,
        value.show(data, 60)
      ),
      3
    )
  elseif metadata ~= nil and not is_map(metadata) then
    error(
      ("the metadata of command %q must be a map; got %s"):format(
        name,
        value.show(metadata, 60)
      ),
      3
    )
  end
  return setmetatable({
    actor_type = actor_type,
    actor_id = actor_id,
    name = name,
    data = data or {},
    metadata = metadata,
  }, mark)
end

--- Whether a value was made by command(…).
---@param v any
---@return boolean
function command.is(v)
  return type(v) == "table" and getmetatable(v) == "aether.command"
end

--- Whether a text can name a command, a type or a module: snake_case.
---@param name any
---@return boolean
function command.is_name(name)
  return type(name) == "string" and name:find("^%l[%l%d_]*$") ~= nil
end

---@class aether.command.module
---@overload fun(actor_type: string, actor_id: string, name: string, data?: table, metadata?: table): aether.command
--- Makes a command to another actor of the same namespace. Wrong use raises at
--- the caller's line.
return setmetatable(command, {
  __call = function(_, ...)
    return (make(...)) -- no tail call: levels count frames
  end,
})
