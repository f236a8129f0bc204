--- Specs of modules: given what happened, when a command comes, expect …
---
---     local event = require("aether.event")
---     local given = require("aether.scenario")("account")
---
---     given(event("Deposited", { amount = 10 }))
---       :when("withdraw", { amount = 11 })
---       :rejected("insufficient_funds", { balance = 10 })
---
--- The module is found in the app's folder: see aether.app. A mistake in it
--- fails the spec that uses it. A failure is raised at the line of the spec.
local app = require("aether.app")
local event = require("aether.event")
local module = require("aether.module")
local policy = require("aether.policy")
local report = require("aether.report")
local value = require("aether.value")

---@class aether.scenario.subject
---@field module table
---@field name string
---@field namespace string
---@field other fun(name: string): table|nil modules of the same namespace

---@class aether.scenario.given a past: events, with the actor they belong to
---@field event aether.event
---@field actor_type string|nil nil: not said
---@field actor_id string|nil

report.hide(debug.getinfo(1, "S").source)

local kinds = {
  aggregate = require("aether.scenario_aggregate"),
  projection = require("aether.scenario_projection"),
  process = require("aether.scenario_process"),
  policy = require("aether.scenario_policy"),
}

local function complain(mistakes, what)
  local lines = {}
  for _, mistake in ipairs(mistakes) do
    lines[#lines + 1] = "  " .. mistake.message
  end
  report.fail(what .. " breaks the contract of a module", unpack(lines))
end

-- The events of given(…): several, or one list; a text says which actor those
-- after it belong to: "a-2" or "account/a-2".
local function past(...)
  local list, count = { ... }, select("#", ...)
  if count == 1 and type(list[1]) == "table" and not event.is(list[1]) then
    list, count = list[1], #list[1]
  end
  local events, actor_type, actor_id = {}, nil, nil
  for i = 1, count do
    local item = list[i]
    if type(item) == "string" then
      local of, id = item:match("^([^/]+)/(.+)$")
      actor_type, actor_id = of, id or item
    elseif event.is(item) then
      events[#events + 1] =
        { event = item, actor_type = actor_type, actor_id = actor_id }
    else
      report.fail(
        ("given: item %d must be event(type, data) or an actor's id; got %s"):format(
          i,
          value.show(item, 80)
        )
      )
    end
  end
  return events
end

local function subject_of(name)
  if type(name) ~= "string" then
    report.fail(
      'scenario wants the name of a module, as in require("aether.scenario")("account"); got '
        .. value.show(name, 60)
    )
  end
  local _, file = report.caller()
  local root = app.root(file or "./spec.lua")
  local ok, found, where, namespace, other = pcall(app.load, root, name)
  if not ok then
    report.fail(
      "the module " .. name .. " cannot be loaded",
      "  " .. tostring(found)
    )
  elseif found == nil and namespace == nil then
    if policy[name] and name ~= "check" then
      return {
        module = policy[name],
        name = name,
        namespace = "default",
        other = function() end,
      }
    end
    report.fail(where)
  end
  return {
    module = found,
    name = name:match("[^/]+$"),
    namespace = namespace,
    other = other,
  },
    where
end

--- Finds a module of the app.
---@param name string "account", or "bank/account"
---@return fun(...: aether.event|string|table): table given
return function(name)
  local subject, where = subject_of(name)
  local kind, mistakes = module.check(subject.module, subject.name)
  if #mistakes > 0 then
    complain(mistakes, where or subject.name)
  elseif not kinds[kind] then
    report.fail(
      ("%s is a library: a spec can require it and call it"):format(
        where or subject.name
      )
    )
  end
  return function(...)
    return (kinds[kind](subject, past(...)))
  end
end
