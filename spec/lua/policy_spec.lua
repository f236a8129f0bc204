local policy = require("aether.policy")

local function conflict(attempt, by_caller)
  return { attempt = attempt, expected_by_caller = by_caller or false }
end

local function ctx(share)
  return {
    random = function()
      return share
    end,
  }
end

describe("the standard policies", function()
  it("are modules that keep the contract", function()
    for _, name in ipairs { "immediately", "backoff", "never" } do
      assert.same({}, policy.check(policy[name], name))
    end
  end)

  it(
    "backoff waits longer each time, half of it random, and gives up",
    function()
      assert.equal(1, policy.backoff.retry(conflict(1), ctx(0)))
      assert.equal(2, policy.backoff.retry(conflict(1), ctx(1)))
      assert.equal(8, policy.backoff.retry(conflict(4), ctx(0)))
      assert.equal(12, policy.backoff.retry(conflict(4), ctx(0.5)))
      assert.equal(1000, policy.backoff.retry(conflict(10), ctx(1)))
      local delay, reason = policy.backoff.retry(conflict(11), ctx(0))
      assert.is_nil(delay)
      assert.equal("too_many_conflicts", reason)
    end
  )

  it("immediately does not wait, and gives up too", function()
    assert.equal(0, policy.immediately.retry(conflict(1), ctx(1)))
    assert.equal(0, policy.immediately.retry(conflict(100), ctx(1)))
    local delay, reason = policy.immediately.retry(conflict(101), ctx(1))
    assert.is_nil(delay)
    assert.equal("too_many_conflicts", reason)
  end)

  it("never gives up at once", function()
    local delay, reason = policy.never.retry(conflict(1), ctx(0))
    assert.is_nil(delay)
    assert.equal("not_retried", reason)
  end)

  it("give up where the caller named the version", function()
    for _, name in ipairs { "immediately", "backoff", "never" } do
      local delay, reason = policy[name].retry(conflict(1, true), ctx(0))
      assert.is_nil(delay)
      assert.equal("expected_version", reason)
    end
  end)
end)
