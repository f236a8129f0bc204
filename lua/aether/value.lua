--- What can be stored: numbers, strings, booleans, null, arrays and maps.
local value = {}

local DEPTH = 64 -- arrays and maps inside each other, at most
local EXACT = 2 ^ 53 -- integers up to here are exact as Lua numbers

--- Null, as a value of its own. It is true in a condition: compare with it.
---@type table
value.null = setmetatable({}, {
  __metatable = "aether.null",
  __tostring = function()
    return "null"
  end,
  __index = function(_, key)
    error(
      ('null has no "%s": compare with value.null first'):format(tostring(key)),
      2
    )
  end,
  __newindex = function()
    error("null cannot be written to", 2)
  end,
})

-- The mark of an array. The host puts it on every array that it reads. Out of
-- reach: whoever could write to it would change all arrays.
local array_mt = { __metatable = "aether.array" }

local null = value.null

--- Marks a table as an array, so that it stays one when it is empty.
---@param t table
---@return table t the same table
function value.array(t)
  if type(t) ~= "table" or t == null then
    error("value.array wants a table, got " .. value.show(t), 2)
  end
  local mark = getmetatable(t)
  if mark == nil then
    return setmetatable(t, array_mt)
  elseif mark ~= "aether.array" then
    error("value.array wants a table without a metatable", 2)
  end
  return t
end

-- Keys 1..n and no other. An empty table is an array only where it is marked.
local function is_array(t)
  local n = #t
  if n == 0 then
    return getmetatable(t) == "aether.array" and next(t) == nil
  end
  local count = 0
  for key in pairs(t) do
    if type(key) ~= "number" then
      return false
    end
    count = count + 1
  end
  if count ~= n then
    return false
  end
  for i = 1, n do
    if rawget(t, i) == nil then
      return false
    end
  end
  return true
end

--- Whether a value is stored as an array: a table with the keys 1..n, or an
--- empty one that is marked. A marked one that got other keys is a map.
---@param t any
---@return boolean
function value.is_array(t)
  return type(t) == "table" and t ~= null and is_array(t)
end

--- Whether a value is one of LuaJIT's 64-bit integers.
---@param v any
---@return boolean
function value.is_integer64(v)
  return type(v) == "cdata" and tostring(v):find("^%-?%d+U?LL$") ~= nil
end
local is_integer64 = value.is_integer64

--- Whether a value is stored as an integer.
---@param v any
---@return boolean
function value.is_integer(v)
  if type(v) == "number" then
    return v == math.floor(v) and v >= -EXACT and v <= EXACT
  end
  return is_integer64(v)
end

--- Whether a value is a number that can be stored.
---@param v any
---@return boolean
function value.is_number(v)
  if type(v) == "number" then
    return v == v and v ~= math.huge and v ~= -math.huge
  end
  return is_integer64(v)
end

local function unsigned(v)
  return tostring(v):byte(-3) == 85 -- "U"
end

local function key_less(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then
    return ta == "number" or (tb ~= "number" and ta < tb)
  end
  if ta == "number" or ta == "string" then
    return a < b
  end
  return false
end

--- The keys of a table in the order in which they are stored: integers first,
--- rising, then strings.
---@param t table
---@return any[]
function value.keys(t)
  local keys = {}
  for key in pairs(t) do
    keys[#keys + 1] = key
  end
  table.sort(keys, key_less)
  return keys
end

--- A deep copy. Null stays null and arrays stay arrays; tables that the value
--- holds twice are copied twice.
---@generic T
---@param v T
---@return T
function value.copy(v)
  if type(v) ~= "table" or v == null then
    return v
  end
  local copy = {}
  for key, item in pairs(v) do
    copy[key] = type(item) == "table" and value.copy(item) or item
  end
  if getmetatable(v) == "aether.array" then
    setmetatable(copy, array_mt)
  end
  return copy
end

-- A whole number as cdata, so that it compares exactly; nil where it is none,
-- or beyond 64 bits.
local function widen(v)
  if v ~= math.floor(v) or v < -2 ^ 63 or v >= 2 ^ 64 then
    return nil
  end
  return v < 2 ^ 63 and 0LL + v or 0ULL + v
end

-- Two cdata; LuaJIT would compare a negative one as if it were huge.
local function wide_less(a, b)
  local ua, ub = unsigned(a), unsigned(b)
  if ua == ub then
    return a < b
  elseif ub then
    return a < 0 or a < b
  end
  return b > 0 and a < b
end

--- a < b, exact between numbers and 64-bit integers.
---@param a number|ffi.cdata*
---@param b number|ffi.cdata*
---@return boolean
function value.less(a, b)
  if type(a) == "number" and type(b) == "number" then
    return a < b
  elseif type(a) == "number" then
    if a >= 2 ^ 64 or a ~= a then
      return false
    elseif a < -2 ^ 63 then
      return true
    end
    return wide_less(widen(math.floor(a)), b)
  elseif type(b) == "number" then
    if b >= 2 ^ 64 then
      return true
    elseif b < -2 ^ 63 or b ~= b then
      return false
    end
    return wide_less(a, widen(math.ceil(b)))
  end
  return wide_less(a, b)
end

local function equal_number(a, b)
  if type(a) == "number" then
    a = widen(a)
  elseif type(b) == "number" then
    b = widen(b)
  end
  return a ~= nil and b ~= nil and not wide_less(a, b) and not wide_less(b, a)
end

local function numeric(v)
  return type(v) == "number" or is_integer64(v)
end

local function equal(a, b, depth)
  if a == b and type(a) ~= "cdata" and type(b) ~= "cdata" then
    return true
  elseif type(a) == "cdata" or type(b) == "cdata" then
    return numeric(a) and numeric(b) and equal_number(a, b)
  elseif type(a) ~= "table" or type(b) ~= "table" or a == null or b == null then
    return false
  elseif depth > DEPTH then
    error("value.equal: nested deeper than " .. DEPTH .. ", or a cycle", 0)
  end
  for key, item in pairs(a) do
    if not equal(item, rawget(b, key), depth + 1) then
      return false
    end
  end
  for key in pairs(b) do
    if rawget(a, key) == nil then
      return false
    end
  end
  return next(a) ~= nil or is_array(a) == is_array(b)
end

--- Whether two values are stored alike. 64-bit integers compare by value, also
--- with numbers; an empty array is no empty map.
---@param a any
---@param b any
---@return boolean
function value.equal(a, b)
  return equal(a, b, 1)
end

local function number_text(v)
  if v ~= v then
    return "nan"
  elseif v == math.huge or v == -math.huge then
    return v > 0 and "inf" or "-inf"
  elseif v == math.floor(v) and v > -2 ^ 63 and v < 2 ^ 63 then
    return ("%d"):format(v)
  end
  for digits = 14, 16 do
    local text = ("%." .. digits .. "g"):format(v)
    if tonumber(text) == v then
      return text
    end
  end
  return ("%.17g"):format(v)
end

local escapes = {
  ['"'] = '\\"',
  ["\\"] = "\\\\",
  ["\n"] = "\\n",
  ["\r"] = "\\r",
  ["\t"] = "\\t",
}

local function string_text(v)
  return '"'
    .. v:gsub('[%c"\\\127]', function(c)
      return escapes[c] or ("\\%03d"):format(c:byte())
    end)
    .. '"'
end

local function key_text(key)
  if type(key) == "string" then
    return key:find("^[%a_][%w_]*$") and key or "[" .. string_text(key) .. "]"
  end
  return "["
    .. (type(key) == "number" and number_text(key) or "<" .. type(key) .. ">")
    .. "]"
end

local function path_of(path, key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return path == "" and key or path .. "." .. key
  end
  return path .. key_text(key)
end

--- A path with one more key: "items[2]" and "price" give "items[2].price".
---@param path string "" is the value itself
---@param key any
---@return string
function value.path(path, key)
  return path_of(path, key)
end

local function show(v, on_way, depth)
  local kind = type(v)
  if kind == "string" then
    return string_text(v)
  elseif kind == "number" then
    return number_text(v)
  elseif kind == "nil" or kind == "boolean" then
    return tostring(v)
  elseif is_integer64(v) then
    return (tostring(v):gsub("U?LL$", ""))
  elseif kind ~= "table" then
    return "<" .. kind .. ">"
  elseif v == null then
    return "null"
  elseif on_way[v] or depth > DEPTH then
    return on_way[v] and "<cycle>" or "<deeper>"
  end
  on_way[v] = true
  local parts = {}
  local array = is_array(v)
  if array then
    for i, item in ipairs(v) do
      parts[i] = show(item, on_way, depth + 1)
    end
  else
    for i, key in ipairs(value.keys(v)) do
      parts[i] = key_text(key) .. " = " .. show(v[key], on_way, depth + 1)
    end
  end
  on_way[v] = nil
  if #parts == 0 then
    return array and "array {}" or "{}"
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- One line of text for messages; the same value always gives the same text.
---@param v any
---@param limit? integer bytes, at most; the rest is cut off and marked with "…"
---@return string
function value.show(v, limit)
  local text = show(v, {}, 1)
  if limit and #text > limit then
    local cut = limit
    while
      cut > 0
      and text:byte(cut + 1) >= 0x80
      and text:byte(cut + 1) < 0xC0
    do
      cut = cut - 1 -- not in the middle of a character
    end
    return text:sub(1, cut) .. "…"
  end
  return text
end

local check

local function check_table(v, path, on_way, depth)
  local mark = getmetatable(v)
  if mark ~= nil and mark ~= "aether.array" then
    return nil, path, "is a table with a metatable, which would not be stored"
  elseif on_way[v] then
    return nil, path, "holds itself (a cycle)"
  elseif depth > DEPTH then
    return nil, path, "is nested deeper than " .. DEPTH
  end
  on_way[v] = true
  for _, key in ipairs(value.keys(v)) do
    local at = path_of(path, key)
    if type(key) == "number" then
      if key ~= math.floor(key) or key < -EXACT or key > EXACT then
        return nil, at, "has a key that is no integer"
      end
    elseif type(key) ~= "string" then
      return nil,
        at,
        "has a key that is a " .. type(key) .. "; keys are strings or integers"
    end
    local ok, where, problem = check(v[key], at, on_way, depth + 1)
    if not ok then
      return nil, where, problem
    end
  end
  on_way[v] = nil
  return true
end

function check(v, path, on_way, depth)
  local kind = type(v)
  if kind == "table" then
    if v == null then
      return true
    end
    return check_table(v, path, on_way, depth)
  elseif kind == "number" then
    if v ~= v then
      return nil, path, "is not a number (NaN)"
    elseif v == math.huge or v == -math.huge then
      return nil, path, "is infinite"
    end
    return true
  elseif kind == "string" or kind == "boolean" then
    return true
  elseif kind == "cdata" then
    if is_integer64(v) then
      return true
    end
    return nil, path, "is cdata that is no 64-bit integer"
  elseif kind == "nil" then
    return nil, path, "is nil; value.null is the null that can be stored"
  end
  return nil, path, "is a " .. kind .. ", which cannot be stored"
end

--- Whether a value can be stored.
---@param v any
---@return boolean|nil ok
---@return string|nil path to what cannot; "" is the value itself
---@return string|nil problem such as "is a function, which cannot be stored"
function value.check(v)
  return check(v, "", {}, 1)
end

local function diff(a, b, path, found, depth)
  if
    type(a) == "table"
    and type(b) == "table"
    and a ~= null
    and b ~= null
    and depth <= DEPTH
  then
    local both = {}
    for key in pairs(a) do
      both[key] = true
    end
    for key in pairs(b) do
      both[key] = true
    end
    if next(both) ~= nil then
      for _, key in ipairs(value.keys(both)) do
        diff(
          rawget(a, key),
          rawget(b, key),
          path_of(path, key),
          found,
          depth + 1
        )
      end
      return found
    end
  end
  if not equal(a, b, depth) then
    found[#found + 1] = { path = path, left = a, right = b }
  end
  return found
end

---@class aether.difference
---@field path string "" is the value itself
---@field left any nil: not there
---@field right any nil: not there

--- Where two values differ, in the order of their keys.
---@param a any
---@param b any
---@return aether.difference[]
function value.diff(a, b)
  return diff(a, b, "", {}, 1)
end

return value
