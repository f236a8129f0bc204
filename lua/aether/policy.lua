--- What to do after a version conflict: the standard policies, and the contract
--- of those that an app writes.
local contract = require("aether.contract")

---@class aether.conflict
---@field namespace string
---@field actor_type string
---@field actor_id string
---@field attempted_version integer
---@field current_version integer
---@field attempt integer 1 at the first conflict
---@field elapsed_ms number since then
---@field expected_by_caller boolean the command named its expected_version
---@field command { name: string, data: table, metadata: table }
---@field events table[] whole events that others stored meanwhile

---@class aether.policy
---@field retry fun(conflict: aether.conflict, ctx: table): number?, string?

local policy = {}

local TOO_MANY = 10 -- conflicts of one command before backoff gives up
local AT_ONCE = 100 -- and before immediately does
local LONGEST = 1000 -- ms

-- Whoever names a version wants that one and no other.
local function given_up(conflict, most)
  if conflict.expected_by_caller then
    return "expected_version"
  elseif conflict.attempt > most then
    return "too_many_conflicts"
  end
end

--- Decide again at once, up to 100 times.
---@type aether.policy
policy.immediately = {
  retry = function(conflict)
    local reason = given_up(conflict, AT_ONCE)
    if reason then
      return nil, reason
    end
    return 0
  end,
}

--- Decide again after about 2, 4, 8 … ms and at most a second, up to 10 times.
--- Half of each delay is random, so that rivals do not meet again.
---@type aether.policy
policy.backoff = {
  retry = function(conflict, ctx)
    local reason = given_up(conflict, TOO_MANY)
    if reason then
      return nil, reason
    end
    local delay = math.min(2 ^ conflict.attempt, LONGEST)
    return delay / 2 + ctx.random() * delay / 2
  end,
}

--- Never decide again: the conflict is the answer.
---@type aether.policy
policy.never = {
  retry = function(conflict)
    return nil, given_up(conflict, math.huge) or "not_retried"
  end,
}

--- Everything that is wrong with a policy of an app.
---@param module table what its file returned
---@param name string its file's name
---@return aether.mistake[] mistakes empty: none
function policy.check(module, name)
  local mistakes = {}
  contract.name(mistakes, name)
  contract.keys(mistakes, "a policy", module, { retry = true })
  if type(module.retry) ~= "function" then
    contract.add(
      mistakes,
      "retry",
      "retry must be a function(conflict, ctx); it is a %s",
      type(module.retry)
    )
  end
  return mistakes
end

return policy
