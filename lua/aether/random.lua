--- Repeatable randomness for specs: what ctx.random() and ctx.uuid() draw from.
local bit = require("bit")

local random = {}

--- A source that always gives the same numbers for the same seed.
---@param seed integer
---@return fun(low?: integer, high?: integer): number as math.random
function random.source(seed)
  local x = bit.bxor(bit.tobit(seed * 2654435761 % 2 ^ 32), 0x5bd1e995)
  if x == 0 then
    x = 1
  end
  local function draw()
    x = bit.bxor(x, bit.lshift(x, 13))
    x = bit.bxor(x, bit.rshift(x, 17))
    x = bit.bxor(x, bit.lshift(x, 5))
    return (x % 2 ^ 32) / 2 ^ 32
  end
  for _ = 1, 8 do
    draw() -- near seeds part
  end
  return function(low, high)
    if low == nil then
      return draw()
    elseif high == nil then
      low, high = 1, low
    end
    if type(low) ~= "number" or type(high) ~= "number" or low > high then
      error("ctx.random(low, high) wants two numbers, the smaller first", 2)
    end
    return math.floor(low + draw() * (high - low + 1))
  end
end

--- A UUIDv7 of a time and a source.
---@param now integer µs since 1970
---@param draw fun(low?: integer, high?: integer): number
---@return string
function random.uuid(now, draw)
  local ms = math.floor(now / 1000)
  local high, low = math.floor(ms / 2 ^ 16), ms % 2 ^ 16
  return ("%08x-%04x-7%03x-%04x-%06x%06x"):format(
    high % 2 ^ 32,
    low,
    draw(0, 0xfff),
    0x8000 + draw(0, 0x3fff),
    draw(0, 0xffffff),
    draw(0, 0xffffff)
  )
end

return random
