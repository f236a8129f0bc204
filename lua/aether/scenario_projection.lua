--- Scenarios of projections.
local events = require("aether.scenario_events")
local report = require("aether.report")
local value = require("aether.value")

---@class aether.scenario.projection
local scenario = {}
scenario.__index = scenario

-- Rows for reading: `rows[key]` is a copy, nil where there is none.
local function reader(rows)
  return setmetatable({}, {
    __index = function(_, key)
      return value.copy(rows[key])
    end,
    __newindex = function()
      error("rows are read-only: project changes its own row", 2)
    end,
    __metatable = "aether.rows",
  })
end

local function keys_of(self, e)
  local key = self.subject.module.key
  if not key then
    return { e.actor_id }
  end
  local _, results = report.call("key", key, e, reader(self.rows))
  local keys = results[1]
  if type(keys) == "string" then
    keys = { keys }
  end
  for i, name in ipairs(type(keys) == "table" and keys or { keys }) do
    if type(name) ~= "string" then
      report.fail(
        "key must return a text or a list of texts",
        ("  %s: item %d is %s"):format(
          report.place(key),
          i,
          value.show(name, 60)
        )
      )
    end
  end
  return keys or {}
end

local function fold_row(row, handler, name, e)
  local whole = value.copy(e)
  local _, results =
    report.call("project." .. name, handler, row, whole.data, whole)
  if results[1] == false then
    return nil
  elseif results[1] ~= nil then
    report.fail(
      ("project.%s returned %s"):format(name, value.show(results[1], 60)),
      ("  %s: change the row in place; return false to delete it"):format(
        report.place(handler)
      )
    )
  end
  local ok, path, problem = value.check(row)
  if not ok then
    report.fail(
      ("project.%s left a row that cannot be stored"):format(name),
      ("  row%s %s"):format(path == "" and "" or "." .. path, problem)
    )
  end
  return row
end

local function fold(self, e)
  local module = self.subject.module
  local handler, name = events.handler(module.project, e)
  if not handler or not events.is_from(module.from, e.actor_type) then
    return
  end
  for _, key in ipairs(keys_of(self, e)) do
    local before = self.rows[key] or module.row or {}
    local row = fold_row(value.copy(before), handler, name, e)
    local twin = fold_row(value.copy(before), handler, name, e)
    report.same(
      ("project.%s is not repeatable: the same event gave two rows"):format(
        name
      ),
      row,
      twin
    )
    self.rows[key] = row
  end
end

--- A row holds exactly this; `false`: there is no such row.
---@param key string
---@param expected table|false
---@return aether.scenario.projection self
function scenario:row(key, expected)
  if expected ~= false and type(expected) ~= "table" then
    report.fail(
      (":row wants what the row %s holds, or false where there is none; got %s"):format(
        value.show(key),
        value.show(expected, 60)
      )
    )
  end
  local title = ("%s: the row %s is another one"):format(
    self.subject.name,
    value.show(key)
  )
  report.same(title, expected or nil, self.rows[key])
  return self
end

report.hide(debug.getinfo(1, "S").source)

return function(subject, past)
  local self = setmetatable({ subject = subject, rows = {} }, scenario)
  for _, e in
    ipairs(events.of(subject, past, events.first_of(subject.module.from)))
  do
    fold(self, e)
  end
  return self
end
