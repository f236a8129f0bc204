--- Words to the operator. In the host they go to its log; elsewhere to stderr.
local value = require("aether.value")

local log = {}

local inside, host = pcall(require, "aether.host")

local function write(level, text, fields)
  if type(text) ~= "string" then
    error(
      ('log.%s wants a text, as in log.%s("late", { minutes = 5 }); got %s'):format(
        level,
        level,
        value.show(text, 60)
      ),
      3
    )
  elseif fields ~= nil and type(fields) ~= "table" then
    error(
      ("log.%s wants a table of fields second; got %s"):format(
        level,
        value.show(fields, 60)
      ),
      3
    )
  end
  if fields and next(fields) ~= nil then
    local parts = { text }
    for _, key in ipairs(value.keys(fields)) do
      parts[#parts + 1] = tostring(key) .. "=" .. value.show(fields[key], 200)
    end
    text = table.concat(parts, " ")
  end
  if inside then
    host.log(level, text)
  else
    io.stderr:write(level, ": ", text, "\n")
  end
end

--- Something that only helps to find a fault.
---@param text string
---@param fields? table
function log.debug(text, fields)
  write("debug", text, fields)
end

--- Something worth knowing.
---@param text string
---@param fields? table
function log.info(text, fields)
  write("info", text, fields)
end

--- Something that an operator should look at.
---@param text string
---@param fields? table
function log.warn(text, fields)
  write("warn", text, fields)
end

--- Something that went wrong.
---@param text string
---@param fields? table
function log.error(text, fields)
  write("error", text, fields)
end

return log
