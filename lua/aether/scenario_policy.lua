--- Scenarios of policies.
local events = require("aether.scenario_events")
local nearest = require("aether.nearest")
local random = require("aether.random")
local report = require("aether.report")
local value = require("aether.value")

---@class aether.scenario.policy
local scenario = {}
scenario.__index = scenario

local DEFAULTS = {
  actor_type = "account",
  actor_id = "1",
  attempted_version = 1,
  current_version = 2,
  attempt = 1,
  elapsed_ms = 0,
  expected_by_caller = false,
  command = { name = "change", data = {}, metadata = {} },
}
local FIELDS = { namespace = true, events = true, seed = true }
for key in pairs(DEFAULTS) do
  FIELDS[key] = true
end

local function ask(self, conflict, seed)
  local retry = self.subject.module.retry
  local draw = random.source(seed)
  local count, results =
    report.call("retry", retry, value.copy(conflict), { random = draw })
  local delay, reason = results[1], results[2]
  local place = report.place(retry)
  if
    count > 0
    and delay == nil
    and type(reason) == "string"
    and reason ~= ""
  then
    return { reason = reason }
  elseif
    type(delay) ~= "number"
    or delay ~= delay
    or delay < 0
    or delay == math.huge
  then
    report.fail(
      ("retry returned %s"):format(value.show(delay, 60)),
      ('  %s: return milliseconds from 0 to decide again, or nil, "reason" to give up'):format(
        place
      )
    )
  end
  return { delay = delay }
end

--- A command met a version conflict. What is left out has usual values; `seed`
--- sets what ctx.random() gives.
---@param conflict table
---@return aether.scenario.policy self
function scenario:conflict(conflict)
  conflict = value.copy(conflict or {})
  for _, key in ipairs(value.keys(conflict)) do
    if not FIELDS[key] then
      report.fail(
        ("a conflict has no %s%s"):format(
          value.show(key, 60),
          nearest.hint(key, FIELDS)
        )
      )
    end
  end
  for key, usual in pairs(DEFAULTS) do
    if conflict[key] == nil then
      conflict[key] = value.copy(usual)
    end
  end
  conflict.namespace = conflict.namespace or self.subject.namespace
  conflict.events = conflict.events
    or events.of(self.subject, self.past, conflict.actor_type)
  local seed = conflict.seed or 1
  conflict.seed = nil
  self.answer = ask(self, conflict, seed)
  local again = ask(self, conflict, seed)
  report.same(
    "retry is not repeatable: the same conflict was answered in two ways",
    self.answer,
    again
  )
  return self
end

local function answered(self, verb)
  if not self.answer then
    report.fail((":%s comes after :conflict { … }"):format(verb))
  end
  return self.answer
end

local function shown(answer)
  return answer.delay
      and ("retries after %s ms"):format(value.show(answer.delay))
    or ("gives up: %q"):format(answer.reason)
end

--- It decides again after so many ms, or within a range of them.
---@param ms? number|number[] { least, most }; nil: after any time
---@return aether.scenario.policy self
function scenario:retries(ms)
  local answer = answered(self, "retries")
  local low, high = ms, ms
  if type(ms) == "table" then
    low, high = ms[1], ms[2]
  end
  low, high = low or 0, high or math.huge
  if not answer.delay or answer.delay < low or answer.delay > high then
    local expected = "retries"
    if ms ~= nil then
      expected = low == high and ("retries after %s ms"):format(value.show(low))
        or ("retries after %s to %s ms"):format(
          value.show(low),
          value.show(high)
        )
    end
    report.fail(
      self.subject.name,
      "  expected: " .. expected,
      "  got:      " .. shown(answer)
    )
  end
  return self
end

--- It gives up.
---@param reason? string nil: any
---@return aether.scenario.policy self
function scenario:gives_up(reason)
  local answer = answered(self, "gives_up")
  if not answer.reason or (reason ~= nil and answer.reason ~= reason) then
    report.fail(
      self.subject.name,
      "  expected: gives up" .. (reason and (": %q"):format(reason) or ""),
      "  got:      " .. shown(answer)
    )
  end
  return self
end

report.hide(debug.getinfo(1, "S").source)

return function(subject, past)
  return setmetatable({ subject = subject, past = past }, scenario)
end
