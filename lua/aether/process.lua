--- The contract of a process: a module with `react`.
local contract = require("aether.contract")

local process = {}

---@class aether.process
---@field from string|string[] the aggregates whose events it reacts to; "*": all
---@field react table<string, fun(state: table, data: table, ctx: table): ...>
---@field initial? table the state of a new instance; copied for each
---@field key? fun(event: table): string|nil which instance; nil: none

local KEYS = { from = true, react = true, initial = true, key = true }

local function is_reaction(name)
  return name == "rejected" or name == "failed" or contract.is_event_of(name)
end

--- Everything that is wrong with a process.
---@param module table what its file returned
---@param name string its file's name
---@return aether.mistake[] mistakes empty: none
function process.check(module, name)
  local mistakes = {}
  contract.name(mistakes, name)
  contract.keys(mistakes, "a process", module, KEYS)
  contract.from(mistakes, module.from)
  contract.start(mistakes, "initial", module.initial)
  contract.handlers(
    mistakes,
    "react",
    module.react,
    is_reaction,
    'names are those of events, as in Deposited or ["account.Deposited"], or rejected, or failed',
    "state, data, ctx"
  )
  if module.key ~= nil and type(module.key) ~= "function" then
    contract.add(
      mistakes,
      "key",
      "key must be a function(event); it is a %s",
      type(module.key)
    )
  end
  return mistakes
end

return process
