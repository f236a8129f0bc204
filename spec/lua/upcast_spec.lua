local upcast = require("aether.upcast")
local value = require("aether.value")

local module = {
  revision = { Deposited = 3 },
  upcast = {
    Deposited = {
      function(data)
        return { cents = data.euros * 100 }
      end,
      function(data)
        return { amount = data.cents }
      end,
    },
    PaidIn = {
      function(data)
        data.by = "counter"
        data.sum, data.euros = nil, data.sum
        return data, "Deposited"
      end,
    },
  },
}

local function raised(...)
  local ok, message = pcall(upcast.bring, ...)
  assert.is_false(ok)
  return message
end

describe("upcast.bring", function()
  it("leaves what is current alone", function()
    local data = { amount = 5 }
    local name, same, revision = upcast.bring(module, "Deposited", 3, data)
    assert.equal("Deposited", name)
    assert.equal(data, same)
    assert.equal(3, revision)
    assert.equal("Closed", (upcast.bring({}, "Closed", 1, {})))
    assert.equal("Closed", (upcast.bring(module, "Closed", 1, {})))
  end)

  it("takes each step from where the event stands", function()
    local name, data, revision =
      upcast.bring(module, "Deposited", 1, { euros = 3 })
    assert.equal("Deposited", name)
    assert.same({ amount = 300 }, data)
    assert.equal(3, revision)
    local _, later = upcast.bring(module, "Deposited", 2, { cents = 7 })
    assert.same({ amount = 7 }, later)
  end)

  it("goes on under a new name, from its revision 1", function()
    local name, data, revision = upcast.bring(module, "PaidIn", 1, { sum = 2 })
    assert.equal("Deposited", name)
    assert.same({ amount = 200 }, data)
    assert.equal(3, revision)
  end)

  it("says that newer code stored an event", function()
    assert.equal(
      "Deposited of revision 4 was stored by newer code: this code knows revision 3",
      raised(module, "Deposited", 4, {})
    )
    assert.equal(
      "Closed of revision 2 was stored by newer code: this code knows revision 1",
      raised({}, "Closed", 2, {})
    )
  end)

  it("says which step is missing", function()
    assert.equal(
      "upcast.Deposited has no step [1], which brings revision 1 to 2",
      raised({ revision = { Deposited = 2 } }, "Deposited", 1, {})
    )
  end)

  it("wants the data back", function()
    for _, wrong in ipairs { { nil }, { "x" }, { { 1 } }, { value.null } } do
      local broken = {
        revision = { A = 2 },
        upcast = {
          A = {
            function()
              return wrong[1]
            end,
          },
        },
      }
      assert.matches(
        "^upcast.A%[1%] must return the data, a map; it returned ",
        raised(broken, "A", 1, {})
      )
    end
  end)

  it("wants a step to rename, or a revision to be stated", function()
    local broken = {
      upcast = {
        A = {
          function(data)
            return data
          end,
        },
      },
    }
    assert.equal(
      'upcast.A[1] made revision 2: say revision.A = 2, or return data, "NewName"',
      raised(broken, "A", 1, {})
    )
  end)

  it(
    "takes a step of a type that states its revision, or none at all",
    function()
      local function same(data)
        return data
      end
      local name, _, revision = upcast.bring(
        { revision = { A = 2 }, upcast = { A = { same } } },
        "A",
        1,
        {}
      )
      assert.equal("A", name)
      assert.equal(2, revision)
      assert.equal(1, upcast.current({}, "A"))
      assert.equal(1, upcast.current({ revision = { B = 2 } }, "A"))
      assert.equal(2, upcast.current({ revision = { A = 2 } }, "A"))
    end
  )

  it("refuses a name that is none", function()
    local broken = {
      upcast = {
        A = {
          function(data)
            return data, "new name"
          end,
        },
      },
    }
    assert.equal(
      'upcast.A[1] renames to "new name", which is no CamelCase event type',
      raised(broken, "A", 1, {})
    )
  end)

  it("ends where renames go round", function()
    local function to(name)
      return {
        function(data)
          return data, name
        end,
      }
    end
    local round = { upcast = { A = to("B"), B = to("C"), C = to("A") } }
    assert.equal(
      "upcast goes round: A → B → C → A",
      raised(round, "A", 1, {})
    )
    assert.equal(
      "upcast goes round: A → A",
      raised({ upcast = { A = to("A") } }, "A", 1, {})
    )
  end)

  it("lets an upcaster's own error through", function()
    local broken = {
      revision = { A = 2 },
      upcast = {
        A = {
          function(data)
            return { x = data.y.z }
          end,
        },
      },
    }
    assert.matches(
      "upcast_spec.lua:%d+: attempt to index",
      raised(broken, "A", 1, {})
    )
  end)
end)
