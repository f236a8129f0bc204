--- The contract of an aggregate: a module with `decide`.
local command = require("aether.command")
local contract = require("aether.contract")
local event = require("aether.event")
local nearest = require("aether.nearest")
local schema = require("aether.schema")
local upcast = require("aether.upcast")
local value = require("aether.value")

local aggregate = {}

---@class aether.aggregate
---@field initial? table the state of an actor without events; copied for each
---@field decide table<string, fun(state: table, data: table, ctx: aether.ctx): any, string?, table?>
---@field evolve table<string, fun(state: table, data: table, event: table)>
---@field snapshot? { version: integer, every?: integer }
---@field schema? table<string, table> by command
---@field upcast? table<string, table<integer, fun(data: table): table, string?>>
---@field revision? table<string, integer> the current one of each event type
---@field retry? string a policy

---@class aether.ctx
---@field now integer µs since 1970, UTC
---@field uuid fun(): string
---@field random fun(low?: integer, high?: integer): number as math.random
---@field actor string NAMESPACE/TYPE/ID
---@field version integer of the state
---@field metadata table

local KEYS = {
  initial = true,
  decide = true,
  evolve = true,
  snapshot = true,
  schema = true,
  upcast = true,
  revision = true,
  retry = true,
}

local function check_snapshot(snapshot, mistakes)
  if snapshot == nil then
    return
  elseif type(snapshot) ~= "table" or snapshot == value.null then
    return contract.add(
      mistakes,
      "snapshot",
      "snapshot must be a table, as in { version = 1, every = 100 }; got %s",
      value.show(snapshot, 60)
    )
  end
  local known = { version = true, every = true }
  contract.keys(mistakes, "snapshot", snapshot, known)
  if snapshot.version == nil then
    contract.add(
      mistakes,
      "snapshot",
      "snapshot has no version: say version = 1, and raise it when the state changes shape"
    )
  end
  contract.positive(mistakes, "snapshot.version", snapshot.version)
  contract.positive(mistakes, "snapshot.every", snapshot.every)
end

local function check_schema(module, mistakes)
  local schemas = module.schema
  if schemas == nil then
    return
  elseif type(schemas) ~= "table" or schemas == value.null then
    return contract.add(
      mistakes,
      "schema",
      "schema must be a table by command, as in { deposit = { amount = schema.integer() } }; got %s",
      value.show(schemas, 60)
    )
  end
  local decide = type(module.decide) == "table" and module.decide or {}
  for _, name in ipairs(value.keys(schemas)) do
    local key = "schema." .. tostring(name)
    if decide[name] == nil then
      contract.add(
        mistakes,
        key,
        "%s describes a command that decide does not know%s",
        key,
        nearest.hint(name, decide)
      )
    end
    local problem = schema.problem(schemas[name])
    if problem then
      contract.add(mistakes, key, "%s: %s", key, problem)
    end
  end
end

--- Everything that is wrong with an aggregate.
---@param module table what its file returned
---@param name string its file's name
---@return aether.mistake[] mistakes empty: none
function aggregate.check(module, name)
  local mistakes = {}
  contract.name(mistakes, name)
  contract.keys(mistakes, "an aggregate", module, KEYS)
  contract.start(mistakes, "initial", module.initial)
  contract.handlers(
    mistakes,
    "decide",
    module.decide,
    command.is_name,
    "commands are snake_case verbs, as in deposit or close_account",
    "state, data, ctx"
  )
  if module.evolve == nil then
    contract.add(
      mistakes,
      "evolve",
      "evolve is missing: each event that decide makes needs an entry there"
    )
  else
    contract.handlers(
      mistakes,
      "evolve",
      module.evolve,
      event.is_type,
      "events are CamelCase facts in the past tense, as in Deposited",
      "state, data, event"
    )
  end
  check_snapshot(module.snapshot, mistakes)
  check_schema(module, mistakes)
  upcast.check(module, mistakes)
  if module.retry ~= nil and not command.is_name(module.retry) then
    contract.add(
      mistakes,
      "retry",
      'retry names a policy, as in retry = "backoff"; got %s',
      value.show(module.retry, 60)
    )
  end
  return mistakes
end

return aggregate
