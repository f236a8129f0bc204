local command = require("aether.command")
local event = require("aether.event")
local value = require("aether.value")

-- The line of the function's only statement, and the message behind it.
local function raised(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  local line = debug.getinfo(f, "S").linedefined + 1
  local at, text = message:match("event_spec%.lua:(%d+): (.*)$")
  assert.equal(line, tonumber(at), message)
  return text
end

describe("event", function()
  it("is a plain table with a mark", function()
    local e = event("Deposited", { amount = 5 })
    assert.equal("Deposited", e.type)
    assert.same({ amount = 5 }, e.data)
    assert.is_nil(e.metadata)
    assert.is_nil(e.revision)
    assert.is_true(event.is(e))
    assert.is_false(event.is { type = "Deposited", data = {} })
    assert.is_false(event.is("Deposited"))
    assert.is_false(event.is(value.null))
  end)

  it("has empty data where none is given", function()
    assert.same({}, event("Closed").data)
  end)

  it("takes metadata, or options, as third", function()
    assert.same(
      { user = "ada" },
      event("Closed", {}, { user = "ada" }).metadata
    )
    assert.is_nil(event("Closed", {}, {}).metadata)
    local old = event("Closed", {}, { revision = 1 })
    assert.equal(1, old.revision)
    assert.is_nil(old.metadata)
    local both = event(
      "Closed",
      {},
      { revision = 2, metadata = { user = "ada" } }
    )
    assert.equal(2, both.revision)
    assert.same({ user = "ada" }, both.metadata)
    local mixed = event("Closed", {}, { revision = 2, user = "ada" })
    assert.is_nil(mixed.revision)
    assert.same({ revision = 2, user = "ada" }, mixed.metadata)
  end)

  it("raises wrong use at the caller's line", function()
    assert.equal(
      'event type "deposited" is not CamelCase: say what happened, as in "Deposited" or "OrderShipped"',
      raised(function()
        local _ = event("deposited", {})
      end)
    )
    assert.equal(
      'event wants its type first, as in event("Deposited", { amount = 5 }); got { amount = 5 }',
      raised(function()
        local _ = event { amount = 5 }
      end)
    )
    for _, data in ipairs { { 1, 2 }, value.array {}, value.null, "x", 5 } do
      assert.equal(
        'the data of event "Deposited" must be a map, as in { amount = 5 }; got '
          .. value.show(data),
        raised(function()
          local _ = event("Deposited", data)
        end)
      )
    end
    assert.equal(
      'the metadata of event "Deposited" must be a map, as in { amount = 5 }; got "ada"',
      raised(function()
        local _ = event("Deposited", {}, "ada")
      end)
    )
    for _, revision in ipairs { 0, 1.5, "1", -1 } do
      assert.equal(
        'the revision of event "Deposited" must be an integer from 1; got '
          .. value.show(revision),
        raised(function()
          local _ = event("Deposited", {}, { revision = revision })
        end)
      )
    end
  end)

  it("keeps no endless list of types", function()
    local before
    for i = 1, 20000 do
      local _ = event("Type" .. i)
      if i == 5000 then
        collectgarbage()
        before = collectgarbage("count")
      end
    end
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 500)
  end)

  it("knows what can be a type", function()
    assert.is_true(event.is_type("Deposited"))
    assert.is_true(event.is_type("D2"))
    for _, wrong in ipairs {
      "deposited",
      "",
      "Depo-sited",
      "order.Created",
      5,
      {},
    } do
      assert.is_false(event.is_type(wrong))
    end
  end)

  it("says what is wrong with what decide returned", function()
    local evolve = { Deposited = function() end }
    assert.is_nil(event.problem(event("Deposited"), evolve))
    assert.equal(
      'nobody evolves "Depositd": write evolve.Depositd, empty if the state does not change; '
        .. 'did you mean "Deposited"?',
      event.problem(event("Depositd"), evolve)
    )
    assert.matches(
      "a plain table is no event",
      event.problem({ type = "Deposited" }, evolve)
    )
    assert.matches("makes an event; got 5$", event.problem(5, evolve))
  end)
end)

describe("command", function()
  it("is a plain table with a mark", function()
    local c = command(
      "account",
      "a-1",
      "deposit",
      { amount = 5 },
      { user = "ada" }
    )
    assert.equal("account", c.actor_type)
    assert.equal("a-1", c.actor_id)
    assert.equal("deposit", c.name)
    assert.same({ amount = 5 }, c.data)
    assert.same({ user = "ada" }, c.metadata)
    assert.is_true(command.is(c))
    assert.is_false(command.is(event("Closed")))
    assert.same({}, command("account", "a-1", "close").data)
  end)

  it("raises wrong use at the caller's line", function()
    local wrong = {
      { "wants an actor's type first", "Account", "a-1", "deposit" },
      { "wants an actor's type first", nil, "a-1", "deposit" },
      { "wants an actor's id second", "account", "", "deposit" },
      { "wants an actor's id second", "account", ("x"):rep(256), "deposit" },
      {
        "wants a command's snake_case name third",
        "account",
        "a-1",
        "Deposit",
      },
      {
        'the data of command "deposit" must be a map; got 5',
        "account",
        "a-1",
        "deposit",
        5,
      },
      {
        'the metadata of command "deposit" must be a map; got 5',
        "account",
        "a-1",
        "deposit",
        {},
        5,
      },
    }
    for _, case in ipairs(wrong) do
      local text = raised(function()
        local _ = command(case[2], case[3], case[4], case[5], case[6])
      end)
      assert.is_truthy(text:find(case[1], 1, true), text)
    end
  end)
end)
