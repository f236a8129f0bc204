--- Retries a conflict up to five times, a little later each time; at once where
--- a deposit met nothing but deposits, which do not disturb each other.
local patient = {}

local function only_deposits(events)
  for _, event in ipairs(events) do
    if event.type ~= "Deposited" then
      return false
    end
  end
  return true
end

function patient.retry(conflict, ctx)
  if conflict.expected_by_caller then
    return nil, "expected_version" -- whoever names a version wants no other
  elseif conflict.attempt > 5 then
    return nil, "too_many_conflicts"
  elseif
    conflict.command.name == "deposit" and only_deposits(conflict.events)
  then
    return 0
  end
  return 10 * 2 ^ conflict.attempt + ctx.random(0, 10)
end

return patient
