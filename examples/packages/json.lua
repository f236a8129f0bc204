--- JSON, as far as commands, events and states need it.
local json = {}

local escapes = {
  ['"'] = '\\"',
  ["\\"] = "\\\\",
  ["\n"] = "\\n",
  ["\r"] = "\\r",
  ["\t"] = "\\t",
}
local letters = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function quote(text)
  return '"'
    .. text:gsub('[%c"\\]', function(c)
      return escapes[c] or ("\\u%04x"):format(c:byte())
    end)
    .. '"'
end

--- One line of JSON, keys in order. Tables are objects, or arrays where they
--- hold items from 1 on.
---@param v string|number|boolean|table
---@return string
function json.encode(v)
  if type(v) == "string" then
    return quote(v)
  elseif type(v) ~= "table" then
    return tostring(v)
  end
  local parts = {}
  if v[1] ~= nil then
    for i, item in ipairs(v) do
      parts[i] = json.encode(item)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local keys = {}
  for key in pairs(v) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = quote(key) .. ":" .. json.encode(v[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function utf8(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return string.char(
      0xE0 + math.floor(code / 4096),
      0x80 + math.floor(code / 64) % 64,
      0x80 + code % 64
    )
  end
  return string.char(
    0xF0 + math.floor(code / 262144),
    0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64,
    0x80 + code % 64
  )
end

local function wrong(at, what)
  error(("not JSON at byte %d: %s"):format(at, what), 0)
end

local read

local function read_string(text, at)
  local parts, from = {}, at + 1
  while true do
    local stop = text:find('["\\]', from)
    if not stop then
      wrong(at, "a string without an end")
    end
    parts[#parts + 1] = text:sub(from, stop - 1)
    if text:sub(stop, stop) == '"' then
      return table.concat(parts), stop + 1
    end
    local letter = text:sub(stop + 1, stop + 1)
    from = stop + 2
    if letter == "u" then
      local code = tonumber(
        text:match("^%x%x%x%x", from) or wrong(stop, "\\u wants four digits"),
        16
      )
      from = from + 4
      local low = code >= 0xD800
        and code < 0xDC00
        and text:match("^\\u([dD][c-fC-F]%x%x)", from)
      if low then
        code = 0x10000 + (code - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00
        from = from + 6
      end
      parts[#parts + 1] = utf8(code)
    else
      parts[#parts + 1] = letters[letter] or letter
    end
  end
end

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local function read_items(text, at, close, item)
  local found = {}
  at = skip(text, at + 1)
  if text:sub(at, at) == close then
    return found, at + 1
  end
  while true do
    at = skip(text, item(found, at))
    local c = text:sub(at, at)
    if c == close then
      return found, at + 1
    elseif c ~= "," then
      wrong(at, "wants , or " .. close)
    end
    at = skip(text, at + 1)
  end
end

local words = { ["true"] = true, ["false"] = false }

function read(text, at)
  at = skip(text, at)
  local c = text:sub(at, at)
  if c == '"' then
    return read_string(text, at)
  elseif c == "{" then
    return read_items(text, at, "}", function(object, from)
      if text:sub(from, from) ~= '"' then
        wrong(from, "wants a key")
      end
      local key, after = read_string(text, from)
      after = skip(text, after)
      if text:sub(after, after) ~= ":" then
        wrong(after, "wants :")
      end
      object[key], after = read(text, after + 1)
      return after
    end)
  elseif c == "[" then
    return read_items(text, at, "]", function(array, from)
      local after
      array[#array + 1], after = read(text, from)
      return after
    end)
  end
  local word = text:match("^%a+", at)
  if word then
    if word ~= "null" and words[word] == nil then
      wrong(at, word)
    end
    return words[word], at + #word
  end
  local number = text:match("^%-?%d[%d.eE+-]*", at)
  if not number or not tonumber(number) then
    wrong(at, "wants a value")
  end
  return tonumber(number), at + #number
end

--- The value of a text; null is nil. Raises where it is no JSON.
---@param text string
---@return any
function json.decode(text)
  local v, at = read(text, 1)
  at = skip(text, at)
  if at <= #text then
    wrong(at, "more behind the value")
  end
  return v
end

return json
