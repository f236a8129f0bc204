--- The contract of a projection: a module with `project`.
local contract = require("aether.contract")
local value = require("aether.value")

local projection = {}

---@class aether.projection
---@field from string|string[] the aggregates whose events it takes in; "*": all
---@field project table<string, fun(row: table, data: table, event: table): false?>
---@field row? table what a new row starts as; copied for each
---@field key? fun(event: table, rows: table): string|string[]|nil
---@field version? integer raised: all rows are built anew
---@field on_error? "retry"|"park"|"stop"

local KEYS = {
  from = true,
  project = true,
  row = true,
  key = true,
  version = true,
  on_error = true,
}
local ON_ERROR = { retry = true, park = true, stop = true }

--- Everything that is wrong with a projection.
---@param module table what its file returned
---@param name string its file's name
---@return aether.mistake[] mistakes empty: none
function projection.check(module, name)
  local mistakes = {}
  contract.name(mistakes, name)
  contract.keys(mistakes, "a projection", module, KEYS)
  contract.from(mistakes, module.from)
  contract.start(mistakes, "row", module.row)
  contract.handlers(
    mistakes,
    "project",
    module.project,
    contract.is_event_of,
    'names are those of events, as in Deposited or ["account.Deposited"]',
    "row, data, event"
  )
  if module.key ~= nil and type(module.key) ~= "function" then
    contract.add(
      mistakes,
      "key",
      "key must be a function(event, rows); it is a %s",
      type(module.key)
    )
  end
  contract.positive(mistakes, "version", module.version)
  if module.on_error ~= nil and not ON_ERROR[module.on_error] then
    contract.add(
      mistakes,
      "on_error",
      'on_error must be "retry", "park" or "stop"; got %s',
      value.show(module.on_error, 60)
    )
  end
  return mistakes
end

return projection
