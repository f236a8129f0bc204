--- A bank account. It never goes below zero, and only an empty one closes.
local event = require("aether.event")
local schema = require("aether.schema")

local amount = schema.integer { min = 1, description = "in cents" }

local account = {
  initial = { open = false, balance = 0 },
  snapshot = { version = 1, every = 100 },
  retry = "patient",
  revision = { Deposited = 2 },
  schema = {
    open = { owner = schema.string { min_length = 1, max_length = 100 } },
    deposit = { amount = amount, note = schema.optional(schema.string()) },
    withdraw = { amount = amount },
    close = {},
  },
}

local decide = {}
account.decide = decide

function decide.open(state, open)
  if state.owner then
    return nil, "already_opened"
  end
  return event("Opened", { owner = open.owner })
end

function decide.deposit(state, deposit)
  if not state.open then
    return nil, "not_open"
  end
  return event("Deposited", { amount = deposit.amount, note = deposit.note })
end

function decide.withdraw(state, withdraw)
  if not state.open then
    return nil, "not_open"
  elseif withdraw.amount > state.balance then
    return nil, "insufficient_funds", { balance = state.balance }
  end
  return event("Withdrawn", { amount = withdraw.amount })
end

function decide.close(state)
  if not state.open then
    return nil, "not_open"
  elseif state.balance > 0 then
    return nil, "not_empty", { balance = state.balance }
  end
  return event("Closed")
end

local evolve = {}
account.evolve = evolve

function evolve.Opened(state, opened)
  state.open = true
  state.owner = opened.owner
end

function evolve.Deposited(state, deposited)
  state.balance = state.balance + deposited.amount
end

function evolve.Withdrawn(state, withdrawn)
  state.balance = state.balance - withdrawn.amount
end

function evolve.Closed(state)
  state.open = false
end

-- At first a deposit said its sum in whole euros.
account.upcast = {
  Deposited = {
    [1] = function(deposited)
      return { amount = deposited.euros * 100, note = deposited.note }
    end,
  },
}

return account
