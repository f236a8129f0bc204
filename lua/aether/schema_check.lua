--- Checks data against a description; used by aether.schema.
local nearest = require("aether.nearest")
local value = require("aether.value")

local show = value.show
local is_integer, is_number = value.is_integer, value.is_number

-- Each answers true, or nil, path from the value on, expected, got; they read
-- well as "PATH must be EXPECTED; got GOT".
local checks = {}

local function run(description, v)
  return checks[description.kind](description, v)
end

local function wrong(expected, v)
  return nil, "", expected, v == nil and "nothing" or show(v, 80)
end

local function beneath(key, path)
  local head = value.path("", key)
  if path == "" then
    return head
  end
  return head .. (path:sub(1, 1) == "[" and "" or ".") .. path
end

local function range_text(noun, description)
  local parts = {}
  for _, bound in ipairs {
    { "at least ", "min" },
    { "above ", "above" },
    { "at most ", "max" },
    { "below ", "below" },
  } do
    local limit = description[bound[2]]
    if limit ~= nil then
      parts[#parts + 1] = bound[1] .. show(limit)
    end
  end
  return noun .. (#parts > 0 and ", " .. table.concat(parts, " and ") or "")
end

local function within(description, v)
  local less = value.less
  local min, max, above, below =
    description.min, description.max, description.above, description.below
  return not (min ~= nil and less(v, min))
    and not (max ~= nil and less(max, v))
    and not (above ~= nil and not less(above, v))
    and not (below ~= nil and not less(v, below))
end

function checks.integer(description, v)
  if is_integer(v) and within(description, v) then
    return true
  end
  return wrong(range_text("an integer", description), v)
end

function checks.number(description, v)
  if is_number(v) and within(description, v) then
    return true
  end
  return wrong(range_text("a number", description), v)
end

function checks.boolean(_, v)
  if type(v) == "boolean" then
    return true
  end
  return wrong("true or false", v)
end

local function length_text(noun, unit, description)
  local low, high = description.min_length, description.max_length
  if (high or low) == 1 then
    unit = unit:gsub("s$", "")
  end
  if low and high then
    return ("%s of %d to %d %s"):format(noun, low, high, unit)
  elseif low then
    return ("%s of at least %d %s"):format(noun, low, unit)
  elseif high then
    return ("%s of at most %d %s"):format(noun, high, unit)
  end
  return noun
end

local function fits(description, length)
  return length >= (description.min_length or 0)
    and length <= (description.max_length or length)
end

function checks.string(description, v)
  if type(v) ~= "string" or not fits(description, #v) then
    return wrong(length_text("a string", "bytes", description), v)
  elseif description.pattern and not v:find(description.pattern) then
    return wrong(
      "a string that matches the pattern " .. show(description.pattern),
      v
    )
  end
  return true
end

function checks.enum(description, v)
  local names = {}
  for i, known in ipairs(description.values) do
    if v == known then
      return true
    end
    names[i] = show(known)
  end
  return wrong(
    #names == 1 and names[1] or "one of " .. table.concat(names, ", "),
    v
  )
end

function checks.any(_, v)
  local ok, path, problem = value.check(v)
  if ok then
    return true
  elseif v == nil then
    return wrong("a value", nil)
  end
  return nil, path, "a value that can be stored", "one that " .. problem
end

function checks.optional(description, v)
  if v == nil then
    return true
  end
  return run(description.item, v)
end

-- The index of the first item that stands in the list before; nil for none.
local function find_twin(list)
  local plain, others = {}, {}
  for i = 1, #list do
    local item = list[i]
    if type(item) ~= "table" and type(item) ~= "cdata" then
      if plain[item] then
        return i
      end
      plain[item] = true
    else
      local shown = show(item) -- the same text, the same value
      if others[shown] then
        return i
      end
      others[shown] = true
    end
  end
end

function checks.list(description, v)
  local is_list = type(v) == "table"
    and v ~= value.null
    and (value.is_array(v) or next(v) == nil)
  if not is_list or not fits(description, #v) then
    return wrong(length_text("a list", "items", description), v)
  end
  for i = 1, #v do
    local ok, path, expected, got = run(description.item, v[i])
    if not ok then
      return nil, beneath(i, path), expected, got
    end
  end
  local twin = description.unique and find_twin(v)
  if twin then
    return nil,
      beneath(twin, ""),
      "an item that is not in the list yet",
      show(v[twin], 80)
  end
  return true
end

local function is_map(v)
  return type(v) == "table" and v ~= value.null and not value.is_array(v)
end

function checks.map(description, v)
  local keys = is_map(v) and value.keys(v)
  if not keys or not fits(description, #keys) then
    return wrong(length_text("a map", "keys", description), v)
  end
  for _, key in ipairs(keys) do
    local ok, path, expected, got = run(description.item, v[key])
    if not ok then
      return nil, beneath(key, path), expected, got
    end
  end
  return true
end

-- The first in order, so that the same data always gives the same answer.
local function unknown_field(fields, v)
  for _, key in ipairs(value.keys(v)) do
    if fields[key] == nil then
      local names = nearest.names(fields)
      local expected = "left out: there are no fields"
      if #names > 0 then
        expected = (#names == 1 and "the field " or "one of the fields ")
          .. table.concat(names, ", ")
      end
      local near = type(key) == "string" and nearest.find(key, names)
      return nil,
        value.path("", key),
        expected,
        near and ("an unknown field; did you mean %q?"):format(near)
          or "an unknown field"
    end
  end
end

function checks.record(description, v)
  local fields, order = description.fields, description.order
  if not is_map(v) then
    return wrong("a map", v)
  end
  for i = 1, #order do
    local name = order[i]
    local ok, path, expected, got = run(fields[name], v[name])
    if not ok then
      if v[name] == nil and not description.open then
        -- A misspelt field is both missing and unknown: say the more useful.
        for _, key in ipairs(value.keys(v)) do
          if fields[key] == nil and nearest.find(tostring(key), { name }) then
            return unknown_field(fields, { [key] = true })
          end
        end
      end
      return nil, beneath(name, path), expected, got
    end
  end
  if not description.open then
    for key in pairs(v) do
      if fields[key] == nil then
        return unknown_field(fields, v)
      end
    end
  end
  return true
end

return run
