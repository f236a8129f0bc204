--- The known name that a mistyped one was probably meant to be.
local nearest = {}

local LONGEST = 64 -- bytes of a name that are looked at: bounds the cost
local MOST = 12 -- names that a hint lists

--- Letters inserted, left out, exchanged or swapped between two words.
---@param a string
---@param b string
---@return integer
function nearest.distance(a, b)
  a, b = a:sub(1, LONGEST), b:sub(1, LONGEST)
  local before, last, row = {}, {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = last[j - 1] + (same and 0 or 1)
      best = math.min(best, last[j] + 1, row[j - 1] + 1)
      if
        i > 1
        and j > 1
        and a:byte(i) == b:byte(j - 1)
        and a:byte(i - 1) == b:byte(j)
      then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- The name of the list that is nearest to `word`; nil where none is near.
---@param word string
---@param names string[]
---@return string|nil
function nearest.find(word, names)
  local found
  local length = math.min(#word, LONGEST)
  -- A third of the letters may differ, one at least, but never all.
  local least = math.min(math.max(1, math.floor(length / 3)) + 1, length)
  local lower = word:lower()
  for _, name in ipairs(names) do
    if type(name) == "string" then
      local distance = nearest.distance(lower, name:lower())
      if distance < least or (distance == least and found and name < found) then
        found, least = name, distance
      end
    end
  end
  return found
end

--- The string keys of a table, sorted.
---@param map table
---@return string[]
function nearest.names(map)
  local names = {}
  for name in pairs(map) do
    if type(name) == "string" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- What a message says behind an unknown name: the nearest known one, or the
--- known ones; "" where there are none.
---@param word any
---@param map table its string keys are the known names
---@return string
function nearest.hint(word, map)
  local names = nearest.names(map)
  if #names == 0 then
    return ""
  end
  local found = type(word) == "string" and nearest.find(word, names)
  if found then
    return ('; did you mean "%s"?'):format(found)
  end
  local some = table.concat(names, ", ", 1, math.min(#names, MOST))
  return "; known: " .. some .. (#names > MOST and ", …" or "")
end

return nearest
