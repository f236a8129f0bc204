--- How a scenario fails: at the line of the spec, with what was expected and
--- what came. Busted counts it as a failure, not as an error of the spec.
local value = require("aether.value")

local report = {}

local own = {}

--- Frames of this file are never the spec's.
---@param source string as debug.getinfo gives it
function report.hide(source)
  own[source] = true
end

--- The place in the spec that called into the scenario: "file:line: ".
---@return string position
---@return string|nil file
function report.caller()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then
      return "", nil
    elseif
      info.what ~= "C"
      and not own[info.source]
      and info.currentline > 0
    then
      local file = info.source:match("^@(.*)$")
      return ("%s:%d: "):format(file or info.short_src, info.currentline), file
    end
    level = level + 1
  end
end

--- Raises a failure.
---@param ... string lines
function report.fail(...)
  local text = report.caller() .. table.concat({ ... }, "\n")
  local busted = package.loaded.busted
  if type(busted) == "table" and type(busted.fail) == "function" then
    busted.fail(text, 0)
  end
  error(text, 0)
end

--- Lines that say where two values differ; empty where they do not.
---@param expected any
---@param got any
---@return string[]
function report.differences(expected, got)
  local lines = {}
  for _, difference in ipairs(value.diff(expected, got)) do
    lines[#lines + 1] = ("    %s: expected %s, got %s"):format(
      difference.path == "" and "all of it" or difference.path,
      difference.left == nil and "nothing" or value.show(difference.left, 200),
      difference.right == nil and "nothing" or value.show(difference.right, 200)
    )
  end
  return lines
end

--- Fails unless two values are alike.
---@param title string
---@param expected any
---@param got any
function report.same(title, expected, got)
  local lines = report.differences(expected, got)
  if #lines == 0 then
    return
  end
  report.fail(
    title,
    "  expected: " .. value.show(expected, 2000),
    "  got:      " .. value.show(got, 2000),
    "  where they differ:",
    unpack(lines)
  )
end

--- Where a function was written: "file:line".
---@param f function
---@return string
function report.place(f)
  local info = debug.getinfo(f, "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

-- The script's own part of a traceback: up to the library that called it.
local function traceback(message)
  local lines = { tostring(message) }
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sln")
    if not info or own[info.source] then
      return table.concat(lines, "\n")
    end
    if info.what ~= "C" and info.currentline > 0 then
      lines[#lines + 1] = ("    at %s:%d"):format(
        info.short_src,
        info.currentline
      )
    end
    level = level + 1
  end
end

--- Calls a handler of a module; an error in it is a failure of the spec.
---@param what string such as "decide.withdraw"
---@param f function
---@param ... any
---@return any ...
function report.call(what, f, ...)
  local function answer(ok, ...)
    if ok then
      return select("#", ...), { ... }
    end
    local message = tostring((...))
    if not message:find("^[^\n]-:%d+: ") then
      -- A tail call (`return event(…)`) leaves no line: say the function's.
      message = report.place(f) .. ": " .. message
    end
    report.fail(what .. " raised an error", "  " .. message)
  end
  return answer(xpcall(f, traceback, ...))
end

report.hide(debug.getinfo(1, "S").source)

return report
