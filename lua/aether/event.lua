--- event(type, data[, metadata]): something that happened.
local nearest = require("aether.nearest")
local value = require("aether.value")

local event = {}

---@class aether.event
---@field type string CamelCase, in the past tense
---@field data table a map
---@field metadata table|nil
---@field revision integer|nil nil: the current one

local mark = { __metatable = "aether.event" }

-- Types seen to be well formed. Bounded: a type may be made from data.
local known, known_count, KNOWN = {}, 0, 1024

-- Raises at the line of whoever called event(…): four frames up.
local CALLER = 4

local function check_type(name)
  if type(name) ~= "string" then
    error(
      'event wants its type first, as in event("Deposited", { amount = 5 }); got '
        .. value.show(name, 60),
      CALLER
    )
  elseif not name:find("^%u%w*$") then
    error(
      ("event type %s is not CamelCase: say what happened, as in %s"):format(
        value.show(name, 60),
        '"Deposited" or "OrderShipped"'
      ),
      CALLER
    )
  end
  if known_count >= KNOWN then
    known, known_count = {}, 0
  end
  known[name], known_count = true, known_count + 1
end

local function is_map(t)
  return type(t) == "table"
    and t ~= value.null
    and t[1] == nil
    and getmetatable(t) == nil
end

-- { revision = 1 }, { metadata = {…} } or both are options; any other table is
-- metadata.
local function is_options(t)
  local any = false
  for key in pairs(t) do
    if key ~= "revision" and key ~= "metadata" then
      return false
    end
    any = true
  end
  return any
end

local function check_map(name, what, t)
  if
    not is_map(t)
    and (type(t) ~= "table" or t == value.null or value.is_array(t))
  then
    error(
      ("%s of event %q must be a map, as in { amount = 5 }; got %s"):format(
        what,
        name,
        value.show(t, 60)
      ),
      CALLER
    )
  end
end

local function make(name, data, third)
  if not known[name] then
    check_type(name)
  end
  if data == nil then
    data = {}
  elseif not is_map(data) then
    check_map(name, "the data", data)
  end
  if third == nil then
    return setmetatable({ type = name, data = data }, mark)
  end
  check_map(name, "the metadata", third)
  if not is_options(third) then
    if next(third) == nil then
      third = nil
    end
    return setmetatable({ type = name, data = data, metadata = third }, mark)
  end
  local revision, metadata = third.revision, third.metadata
  if
    revision ~= nil
    and (
      type(revision) ~= "number"
      or revision < 1
      or revision ~= math.floor(revision)
      or revision > 2 ^ 53
    )
  then
    error(
      ("the revision of event %q must be an integer from 1; got %s"):format(
        name,
        value.show(revision, 60)
      ),
      3
    )
  end
  if metadata ~= nil then
    check_map(name, "the metadata", metadata)
  end
  return setmetatable(
    { type = name, data = data, metadata = metadata, revision = revision },
    mark
  )
end

--- Whether a value was made by event(…).
---@param v any
---@return boolean
function event.is(v)
  return type(v) == "table" and getmetatable(v) == "aether.event"
end

--- Whether a text can be the type of an event.
---@param name any
---@return boolean
function event.is_type(name)
  return type(name) == "string" and name:find("^%u%w*$") ~= nil
end

--- The mistakes of something that should be an event; used on what `decide`
--- returned.
---@param v any
---@param evolve table the aggregate's, by type
---@return string|nil problem what is wrong and what to do
function event.problem(v, evolve)
  if not event.is(v) then
    if type(v) == "table" and type(rawget(v, "type")) == "string" then
      return 'a plain table is no event: make it with event(type, data), from require("aether.event")'
    end
    return "event(type, data) makes an event; got " .. value.show(v, 60)
  end
  if evolve[v.type] == nil then
    return ('nobody evolves "%s": write evolve.%s, empty if the state does not change%s'):format(
      v.type,
      v.type,
      nearest.hint(v.type, evolve)
    )
  end
end

---@class aether.event.module
---@overload fun(type: string, data?: table, third?: table): aether.event
--- Makes an event. `third` is metadata, or options where it has no other keys
--- than `revision` (which old shape `data` has) and `metadata`. Wrong use raises
--- at the caller's line.
return setmetatable(event, {
  __call = function(_, name, data, third)
    return (make(name, data, third)) -- no tail call: levels count frames
  end,
})
