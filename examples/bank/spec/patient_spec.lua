local event = require("aether.event")
local given = require("aether.scenario")("patient")

local deposit = { name = "deposit", data = { amount = 5 }, metadata = {} }
local withdraw = { name = "withdraw", data = { amount = 5 }, metadata = {} }
local deposited = event("Deposited", { amount = 1 })

describe("the policy patient", function()
  it("waits a little longer each time", function()
    given(deposited)
      :conflict({ attempt = 1, command = withdraw })
      :retries({ 20, 30 })
    given(deposited)
      :conflict({ attempt = 5, command = withdraw })
      :retries({ 320, 330 })
  end)

  it("gives up after five times", function()
    given(deposited)
      :conflict({ attempt = 6, command = withdraw })
      :gives_up("too_many_conflicts")
  end)

  it("does not wait where deposits met", function()
    given(deposited, deposited):conflict({ command = deposit }):retries(0)
    given(deposited, event("Closed"))
      :conflict({ command = deposit })
      :retries({ 20, 30 })
  end)

  it("gives up where the caller named the version", function()
    given(deposited)
      :conflict({ expected_by_caller = true })
      :gives_up("expected_version")
  end)
end)
