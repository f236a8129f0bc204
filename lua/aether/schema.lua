--- What the data of a command must look like. A description is a plain table,
--- so it can be checked, listed and turned into JSON Schema.
local nearest = require("aether.nearest")
local run = require("aether.schema_check")
local to_json = require("aether.schema_json")
local value = require("aether.value")

local schema = {}

---@class aether.schema.description
---@field kind string
---@field description string|nil for people

local EXACT = 2 ^ 53
local NOWHERE = -1000 -- a level of error() that puts no line before the message
local PATTERN_LENGTH = 256 -- bytes of a string with a pattern, unless it says more

local show = value.show
local is_integer, is_number = value.is_integer, value.is_number

-- ---------------------------------------------------------------- options

local function is_count(v)
  return type(v) == "number" and v >= 0 and v == math.floor(v) and v <= EXACT
end

local function is_pattern(v)
  return type(v) == "string" and (pcall(string.find, "", v))
end

local function is_text(v)
  return type(v) == "string"
end

local function is_boolean(v)
  return type(v) == "boolean"
end

-- kind → option → { predicate, what it must be }
local count = { is_count, "an integer from 0" }
local text = { is_text, "a string" }
local options_of = {
  integer = {
    min = { is_integer, "an integer" },
    max = { is_integer, "an integer" },
    description = text,
  },
  number = {
    min = { is_number, "a number" },
    max = { is_number, "a number" },
    above = { is_number, "a number" },
    below = { is_number, "a number" },
    description = text,
  },
  string = {
    min_length = count,
    max_length = count,
    pattern = { is_pattern, "a Lua pattern" },
    description = text,
  },
  boolean = { description = text },
  list = {
    min_length = count,
    max_length = count,
    unique = { is_boolean, "true or false" },
    description = text,
  },
  map = {
    min_length = count,
    max_length = count,
    description = text,
  },
  any = { description = text },
}

-- The constructors below are called by a module; its line is `level` frames up.
local function take_options(kind, options, level)
  local description = { kind = kind }
  if options == nil then
    return description
  elseif type(options) ~= "table" then
    error(
      ("schema.%s wants a table of options; got %s"):format(
        kind,
        show(options, 60)
      ),
      level + 1
    )
  end
  local known = options_of[kind]
  for _, key in ipairs(value.keys(options)) do
    local rule, option = known[key], options[key]
    if not rule then
      error(
        ("schema.%s has no option %s%s"):format(
          kind,
          show(key, 60),
          nearest.hint(key, known)
        ),
        level + 1
      )
    elseif not rule[1](option) then
      error(
        ("schema.%s: %s must be %s; got %s"):format(
          kind,
          key,
          rule[2],
          show(option, 60)
        ),
        level + 1
      )
    end
    description[key] = option
  end
  local low, high = description.min, description.max
  if description.min_length or description.max_length then
    low, high = description.min_length, description.max_length
  end
  if low ~= nil and high ~= nil and value.less(high, low) then
    error(
      ("schema.%s: the least allowed, %s, is above the most, %s"):format(
        kind,
        show(low),
        show(high)
      ),
      level + 1
    )
  end
  return description
end

--- Whether a value is a description made by one of the functions below.
---@param v any
---@return boolean
function schema.is(v)
  return type(v) == "table" and schema.kinds[rawget(v, "kind")] == true
end

schema.kinds = {
  integer = true,
  number = true,
  string = true,
  boolean = true,
  list = true,
  map = true,
  record = true,
  enum = true,
  optional = true,
  any = true,
}

local make_record

local function want_description(what, v, level)
  if schema.is(v) then
    return v
  elseif type(v) == "function" then
    error(what .. " is a function: call it, as in schema.integer()", level + 1)
  elseif type(v) == "table" and v ~= value.null then
    return (make_record(what .. ": ", v, false, level + 1))
  end
  error(
    what .. " wants a description such as schema.integer(); got " .. show(v, 60),
    level + 1
  )
end

-- -------------------------------------------------------------- describing

---@class aether.schema.integer_options
---@field min? integer
---@field max? integer
---@field description? string

--- A whole number, exact to 64 bits.
---@param options? aether.schema.integer_options
---@return aether.schema.description
function schema.integer(options)
  return (take_options("integer", options, 2))
end

---@class aether.schema.number_options
---@field min? number
---@field max? number
---@field above? number
---@field below? number
---@field description? string

--- Any finite number.
---@param options? aether.schema.number_options
---@return aether.schema.description
function schema.number(options)
  return (take_options("number", options, 2))
end

---@class aether.schema.string_options
---@field min_length? integer in bytes
---@field max_length? integer in bytes
---@field pattern? string a Lua pattern, found anywhere unless it has ^ and $
---@field description? string

--- A string. With a `pattern` it has at most 256 bytes unless `max_length` says
--- otherwise: the time that a pattern with several `*`, `+` or `-` takes grows
--- with that power of the length, and the handler's limit applies to it.
---@param options? aether.schema.string_options
---@return aether.schema.description
function schema.string(options)
  local description = take_options("string", options, 2)
  if description.pattern and not description.max_length then
    description.max_length =
      math.max(PATTERN_LENGTH, description.min_length or 0)
  end
  return description
end

--- true or false.
---@param options? { description?: string }
---@return aether.schema.description
function schema.boolean(options)
  return (take_options("boolean", options, 2))
end

---@class aether.schema.list_options
---@field min_length? integer
---@field max_length? integer
---@field unique? boolean no item twice
---@field description? string

--- An array whose items all look alike.
---@param item aether.schema.description|table
---@param options? aether.schema.list_options
---@return aether.schema.description
function schema.list(item, options)
  item = want_description("schema.list", item, 2)
  local description = take_options("list", options, 2)
  description.item = item
  return description
end

--- A map with any keys whose values all look alike.
---@param item aether.schema.description|table
---@param options? { min_length?: integer, max_length?: integer, description?: string }
---@return aether.schema.description
function schema.map(item, options)
  item = want_description("schema.map", item, 2)
  local description = take_options("map", options, 2)
  description.item = item
  return description
end

function make_record(name, fields, open, level)
  if type(fields) ~= "table" or fields == value.null then
    error(
      ("%swants a table of fields; got %s"):format(name, show(fields, 60)),
      level + 1
    )
  end
  local taken, order = {}, value.keys(fields)
  for _, key in ipairs(order) do
    if type(key) ~= "string" then
      error(
        ("%sfields have names; got the key %s"):format(name, show(key, 60)),
        level + 1
      )
    end
    taken[key] = want_description(
      ("%sthe field %q"):format(name, key),
      fields[key],
      level + 1
    )
  end
  return { kind = "record", fields = taken, order = order, open = open }
end

--- A map with these fields and no other. All must be there that are not
--- optional. A plain table of fields means the same.
---@param fields table<string, aether.schema.description|table>
---@return aether.schema.description
function schema.record(fields)
  return (make_record("schema.record: ", fields, false, 2))
end

--- A record that may have other fields too.
---@param fields? table<string, aether.schema.description|table>
---@return aether.schema.description
function schema.open(fields)
  return (make_record("schema.open: ", fields or {}, true, 2))
end

--- One of these strings.
---@param values string[]
---@return aether.schema.description
function schema.enum(values)
  if type(values) ~= "table" or #values == 0 then
    error(
      'schema.enum wants a list of strings, as in schema.enum { "open", "closed" }; got '
        .. show(values, 60),
      2
    )
  end
  local description = { kind = "enum", values = {} }
  for _, key in ipairs(value.keys(values)) do
    if type(key) ~= "number" or type(values[key]) ~= "string" then
      error(
        "schema.enum: "
          .. value.path("", key)
          .. " must be a string in a list; got "
          .. show(values[key], 60),
        2
      )
    end
    description.values[key] = values[key]
  end
  return description
end

--- A field that may be left out.
---@param item aether.schema.description|table
---@return aether.schema.description
function schema.optional(item)
  return {
    kind = "optional",
    item = want_description("schema.optional", item, 2),
  }
end

--- Anything that can be stored.
---@param options? { description?: string }
---@return aether.schema.description
function schema.any(options)
  return (take_options("any", options, 2))
end

--- The mistake in what a module gives as the schema of a command; nil where
--- there is none.
---@param description any a plain table of fields or a record
---@return string|nil problem
function schema.problem(description)
  if type(description) ~= "table" or description == value.null then
    return "must be a table of fields, as in { amount = schema.integer() }; got "
      .. show(description, 60)
  elseif schema.is(description) then
    if description.kind ~= "record" then
      return ("describes a value of kind %s, but a command's data is a map: give a table of fields"):format(
        description.kind
      )
    end
    return nil
  end
  local ok, message = pcall(make_record, "", description, false, NOWHERE)
  if not ok then
    return message
  end
end

-- A command's schema is a plain table of fields; its record is made once.
local records = setmetatable({}, { __mode = "k" })

local function record_of(description)
  if schema.is(description) then
    return description
  end
  local record = records[description]
  if not record then
    local problem = schema.problem(description)
    if problem then
      error("the schema: " .. problem, 3)
    end
    record = make_record("", description, false, NOWHERE)
    records[description] = record
  end
  return record
end

--- Whether data fits a description.
---@param description table a plain table of fields, or what a function of this module made
---@param data any
---@return boolean|nil ok
---@return string|nil path such as "items[2].price"; "" is the data itself
---@return string|nil expected such as "an integer, at least 1"
---@return string|nil got such as "0", or "nothing"
function schema.check(description, data)
  return run(record_of(description), data)
end

--- A description as JSON Schema, draft 2020-12: a plain table.
---@param description table
---@return table
function schema.to_json_schema(description)
  return (to_json(record_of(description)))
end

return schema
