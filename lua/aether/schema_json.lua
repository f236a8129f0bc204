--- A description as JSON Schema, draft 2020-12; used by aether.schema.
local value = require("aether.value")

local show = value.show

local classes = {
  a = "A-Za-z",
  d = "0-9",
  l = "a-z",
  u = "A-Z",
  w = "A-Za-z0-9",
  x = "A-Fa-f0-9",
  s = "\\s",
}

-- The same as a regular expression of ECMA-262; nil where there is none.
local function pattern_to_regex(pattern)
  local out, i, in_set = {}, 1, false
  if pattern:find("%z") then
    return nil
  end
  while i <= #pattern do
    local c = pattern:sub(i, i)
    if c == "%" then
      i = i + 1
      c = pattern:sub(i, i)
      if classes[c] then
        out[#out + 1] = in_set and classes[c] or "[" .. classes[c] .. "]"
      elseif c:find("%w") then
        return nil -- %b, %f, back references, complements, punctuation
      else
        out[#out + 1] = "\\" .. c
      end
    elseif c == "[" and not in_set then
      in_set = true
      out[#out + 1] = c
      if pattern:sub(i + 1, i + 1) == "^" then
        out[#out + 1] = "^"
        i = i + 1
      end
      if pattern:sub(i + 1, i + 1) == "]" then
        return nil
      end
    elseif c == "]" and in_set then
      in_set = false
      out[#out + 1] = c
    elseif in_set then
      out[#out + 1] = (c == "[" or c == "\\") and "\\" .. c or c
    elseif c == "-" then
      out[#out + 1] = "*?"
    elseif c == "^" and i > 1 or c == "$" and i < #pattern then
      out[#out + 1] = "\\" .. c
    elseif c:find("[{}|\\]") then
      out[#out + 1] = "\\" .. c
    else
      out[#out + 1] = c
    end
    i = i + 1
  end
  return table.concat(out)
end

local json = {}

local function to_json(description)
  local result = json[description.kind](description)
  result.description = result.description or description.description
  return result
end

function json.integer(description)
  return {
    type = "integer",
    minimum = description.min,
    maximum = description.max,
  }
end

function json.number(description)
  return {
    type = "number",
    minimum = description.min,
    maximum = description.max,
    exclusiveMinimum = description.above,
    exclusiveMaximum = description.below,
  }
end

-- Lengths are in bytes here and in characters there: a least length in bytes
-- cannot be told, a most length only as a bound.
function json.string(description)
  local result = { type = "string", maxLength = description.max_length }
  if description.min_length and description.min_length > 0 then
    result.minLength = 1
  end
  if description.pattern then
    result.pattern = pattern_to_regex(description.pattern)
    if not result.pattern then
      result.description = (
        description.description and description.description .. " " or ""
      )
        .. "Matches the Lua pattern "
        .. show(description.pattern)
    end
  end
  return result
end

function json.boolean()
  return { type = "boolean" }
end

function json.enum(description)
  return { enum = value.array(value.copy(description.values)) }
end

function json.any()
  return {}
end

function json.optional(description)
  return to_json(description.item)
end

function json.list(description)
  return {
    type = "array",
    items = to_json(description.item),
    minItems = description.min_length,
    maxItems = description.max_length,
    uniqueItems = description.unique,
  }
end

function json.map(description)
  return {
    type = "object",
    additionalProperties = to_json(description.item),
    minProperties = description.min_length,
    maxProperties = description.max_length,
  }
end

function json.record(description)
  local properties, required = {}, value.array {}
  for _, name in ipairs(description.order) do
    local field = description.fields[name]
    properties[name] = to_json(field)
    if field.kind ~= "optional" then
      required[#required + 1] = name
    end
  end
  return {
    type = "object",
    properties = properties,
    required = #required > 0 and required or nil,
    additionalProperties = description.open or false,
  }
end

return to_json
