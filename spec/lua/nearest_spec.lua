local nearest = require("aether.nearest")

describe("nearest", function()
  it("counts letters inserted, left out, exchanged and swapped", function()
    assert.equal(0, nearest.distance("deposit", "deposit"))
    assert.equal(1, nearest.distance("deposit", "depost"))
    assert.equal(1, nearest.distance("depost", "deposit"))
    assert.equal(1, nearest.distance("deposit", "debosit"))
    assert.equal(1, nearest.distance("deposit", "depoist"))
    assert.equal(7, nearest.distance("", "deposit"))
    assert.equal(7, nearest.distance("deposit", ""))
  end)

  it("agrees with the plain recursive definition", function()
    local function slow(a, b)
      if a == "" or b == "" then
        return #a + #b
      end
      local same = a:sub(-1) == b:sub(-1)
      local best = math.min(
        slow(a:sub(1, -2), b) + 1,
        slow(a, b:sub(1, -2)) + 1,
        slow(a:sub(1, -2), b:sub(1, -2)) + (same and 0 or 1)
      )
      if
        #a > 1
        and #b > 1
        and a:sub(-2, -2) == b:sub(-1)
        and a:sub(-1) == b:sub(-2, -2)
      then
        best = math.min(best, slow(a:sub(1, -3), b:sub(1, -3)) + 1)
      end
      return best
    end
    local words = { "", "a", "ab", "ba", "abc", "acb", "cab", "bcaa", "aabb" }
    for _, a in ipairs(words) do
      for _, b in ipairs(words) do
        assert.equal(slow(a, b), nearest.distance(a, b), a .. "/" .. b)
      end
    end
  end)

  it("finds what was meant, in any case of letters", function()
    local names = { "deposit", "withdraw", "open" }
    assert.equal("deposit", nearest.find("Deposit", names))
    assert.equal("withdraw", nearest.find("withdrew", names))
    assert.is_nil(nearest.find("transfer", names))
    assert.is_nil(nearest.find("x", {}))
    assert.is_nil(nearest.find("x", { "y", "z" }))
    assert.equal("xy", nearest.find("xz", { "xy", "yy" }))
  end)

  it("gives the same answer for names that are equally near", function()
    assert.equal("aa", nearest.find("ax", { "ab", "aa" }))
    assert.equal("aa", nearest.find("ax", { "aa", "ab" }))
  end)

  it("bounds its work by the first letters of a name", function()
    local long = ("x"):rep(100000)
    assert.equal(0, nearest.distance(long, long .. "y"))
  end)

  it("hints at the nearest name, else at what is known", function()
    local known = { deposit = 1, open = 1 }
    assert.equal('; did you mean "deposit"?', nearest.hint("depost", known))
    assert.equal("; known: deposit, open", nearest.hint("transfer", known))
    assert.equal("; known: deposit, open", nearest.hint(3, known))
    assert.equal("", nearest.hint("transfer", {}))
    local many = {}
    for i = 1, 20 do
      many[("name%02d_of_many"):format(i)] = true
    end
    assert.matches("name12_of_many, …$", nearest.hint("transfer", many))
  end)
end)
