local random = require("aether.random")

describe("repeatable randomness", function()
  it("gives the same numbers for the same seed, others for others", function()
    local a, b, c = random.source(7), random.source(7), random.source(8)
    local same = 0
    for _ = 1, 100 do
      local x = a()
      assert.equal(x, b())
      same = same + (x == c() and 1 or 0)
    end
    assert.equal(0, same)
  end)

  it("takes the arguments of math.random", function()
    local draw, seen = random.source(1), {}
    for _ = 1, 1000 do
      local share, one, two = draw(), draw(6), draw(-2, 2)
      assert.is_true(share >= 0 and share < 1)
      assert.is_true(one >= 1 and one <= 6 and one == math.floor(one))
      assert.is_true(two >= -2 and two <= 2 and two == math.floor(two))
      seen[one] = true
    end
    assert.equal(6, #seen)
    assert.has_error(function()
      draw(2, 1)
    end, "ctx.random(low, high) wants two numbers, the smaller first")
  end)

  it("spreads evenly, also over seeds that follow each other", function()
    local counts = {}
    for i = 1, 10 do
      counts[i] = 0
    end
    for seed = 0, 9999 do
      local at = random.source(seed)(10)
      counts[at] = counts[at] + 1
    end
    for i = 1, 10 do
      assert.is_true(
        counts[i] > 850 and counts[i] < 1150,
        i .. ": " .. counts[i]
      )
    end
  end)

  it("makes UUIDs of version 7 that carry the time", function()
    local draw = random.source(1)
    local one = random.uuid(1700000000000000, draw)
    assert.matches(
      "^018bcfe5%-6800%-7%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$",
      one
    )
    assert.are_not.equal(one, random.uuid(1700000000000000, draw))
  end)
end)
