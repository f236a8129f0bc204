local module = require("aether.module")
local policy = require("aether.policy")
local schema = require("aether.schema")
local value = require("aether.value")

local function noop() end

-- The messages of all mistakes, one a line.
local function mistakes(t, name)
  local kind, found = module.check(t, name or "account")
  local lines = {}
  for i, mistake in ipairs(found) do
    lines[i] = mistake.message
  end
  return table.concat(lines, "\n"), kind, found
end

local function account(changes)
  local t = {
    initial = { balance = 0 },
    decide = { deposit = noop },
    evolve = { Deposited = noop },
  }
  for key, item in pairs(changes or {}) do
    t[key] = item
  end
  return t
end

describe("the kind of a module", function()
  it("is told from the table that it holds", function()
    assert.equal("aggregate", module.kind { decide = {} })
    assert.equal("projection", module.kind { project = {} })
    assert.equal("process", module.kind { react = {} })
    assert.equal("policy", module.kind { retry = noop })
    assert.equal("library", module.kind { retry = "backoff" })
    assert.equal("library", module.kind {})
  end)

  it("is one only", function()
    assert.equal(
      "a module is of one kind, but this one has decide and react: split it",
      (mistakes(account { react = {} }):match("[^\n]*$"))
    )
  end)

  it("is none where the file returned no table", function()
    local text, kind = mistakes(nil)
    assert.is_nil(kind)
    assert.equal(
      "a module's file returns a table; this one returned nothing (is `return account` missing at its end?)",
      text
    )
    assert.matches("returned 5 ", (mistakes(5)))
    assert.matches("returned null ", (mistakes(value.null)))
  end)

  it("is suspected where a library holds what looks like handlers", function()
    assert.equal("", (mistakes { helper = noop, limits = { 1 } }))
    assert.equal(
      '"decid" is none of the keys that make a kind of module; did you mean "decide"?',
      (mistakes { decid = {} })
    )
    assert.equal(
      "evolve without decide: a module with it needs both",
      (mistakes { evolve = {} })
    )
  end)
end)

describe("the contract of an aggregate", function()
  it("is kept by a whole one", function()
    assert.equal("", (mistakes(account {
      snapshot = { version = 1, every = 100 },
      schema = { deposit = { amount = schema.integer() } },
      revision = { Deposited = 3 },
      upcast = { Deposited = { noop, noop }, PaidIn = { noop } },
      retry = "patient",
    })))
    assert.equal("", (mistakes { decide = {}, evolve = {} }))
  end)

  it("names each mistake with its key", function()
    local text, kind, found = mistakes {
      initial = { f = noop },
      decide = { Deposit = noop, withdraw = 5 },
      evolv = {},
    }
    assert.equal("aggregate", kind)
    assert.equal(
      table.concat({
        'an aggregate has no key "evolv"; did you mean "evolve"?',
        "initial.f is a function, which cannot be stored",
        "decide.Deposit: commands are snake_case verbs, as in deposit or close_account",
        "decide.withdraw must be a function(state, data, ctx); it is a number",
        "evolve is missing: each event that decide makes needs an entry there",
      }, "\n"),
      text
    )
    assert.equal("evolv", found[1].key)
    assert.equal("initial.f", found[2].key)
    assert.equal("decide.Deposit", found[3].key)
  end)

  it("wants names that can stand in an address", function()
    assert.matches("file name is snake_case", (mistakes(account(), "Account")))
    assert.matches(
      '"events" cannot be the name',
      (mistakes(account(), "events"))
    )
  end)

  it("wants helpers to be local", function()
    assert.matches(
      'no key "fee": make it a local function',
      (mistakes(account { fee = noop }))
    )
  end)

  it("wants tables where tables are", function()
    assert.equal(
      "decide must be a table of functions; it is a function",
      (mistakes(account { decide = noop }))
    )
    assert.equal(
      "initial must be a map, as in { balance = 0 }; got { 1 }",
      (mistakes(account { initial = { 1 } }))
    )
    assert.matches(
      "^evolve.deposited: events are CamelCase",
      (mistakes(account { evolve = { deposited = noop } }))
    )
  end)

  it("wants a snapshot's version", function()
    assert.matches(
      "snapshot has no version",
      (mistakes(account { snapshot = { every = 10 } }))
    )
    assert.equal(
      "snapshot.every must be an integer from 1; got 0",
      (mistakes(account { snapshot = { version = 1, every = 0 } }))
    )
    assert.matches(
      'snapshot has no key "evry"; did you mean "every"?',
      (mistakes(account { snapshot = { version = 1, evry = 5 } }))
    )
    assert.matches(
      "snapshot must be a table",
      (mistakes(account { snapshot = 1 }))
    )
  end)

  it("wants schemas of known commands", function()
    assert.equal(
      'schema.depost describes a command that decide does not know; did you mean "deposit"?',
      (mistakes(account { schema = { depost = {} } }))
    )
    assert.equal(
      'schema.deposit: the field "amount" is a function: call it, as in schema.integer()',
      (mistakes(account { schema = { deposit = { amount = schema.integer } } }))
    )
    assert.matches(
      "^schema must be a table by command",
      (mistakes(account { schema = 5 }))
    )
  end)

  it("wants whole chains of upcasters", function()
    assert.matches(
      "^revision.Deposited is 2, but nothing brings older ones there",
      (mistakes(account { revision = { Deposited = 2 } }))
    )
    assert.equal(
      "upcast.Deposited has no step [2], which brings revision 2 to 3",
      (
        mistakes(account {
          revision = { Deposited = 3 },
          upcast = { Deposited = { noop } },
        })
      )
    )
    assert.equal(
      "upcast.Deposited[2] makes revision 3, but revision.Deposited says 2 is the current one",
      (
        mistakes(account {
          revision = { Deposited = 2 },
          upcast = { Deposited = { noop, noop } },
        })
      )
    )
    assert.equal(
      "upcast.Deposited makes revision 2, but nothing says that it is the current one: "
        .. "add revision = { Deposited = 2 }",
      (mistakes(account { upcast = { Deposited = { noop } } }))
    )
    assert.equal(
      'revision.Depositd names an event that nobody evolves; did you mean "Deposited"?',
      (mistakes(account { revision = { Depositd = 1 } }))
    )
    assert.equal(
      "upcast.Paid[1] must be a function(data); it is a number",
      (mistakes(account { upcast = { Paid = { 5 } } }))
    )
    assert.matches(
      '^upcast: "paid" is no CamelCase',
      (mistakes(account { upcast = { paid = { noop } } }))
    )
    assert.matches(
      "steps are numbered by the revision",
      (mistakes(account { upcast = { Paid = { [0] = noop, noop } } }))
    )
    assert.equal(
      "revision.Deposited must be an integer from 1; got 1.5",
      (mistakes(account { revision = { Deposited = 1.5 } }))
    )
    assert.equal(
      "upcast must be a table by event type; it is a number",
      (mistakes(account { upcast = 5 }))
    )
  end)

  it("wants the name of a policy", function()
    assert.equal(
      'retry names a policy, as in retry = "backoff"; got 5',
      (mistakes(account { retry = 5 }))
    )
  end)
end)

describe("the contract of a projection", function()
  it("is kept by a whole one", function()
    local text, kind = mistakes {
      from = { "account", "order" },
      row = { balance = 0 },
      version = 2,
      key = noop,
      on_error = "park",
      project = { Deposited = noop, ["order.Created"] = noop },
    }
    assert.equal("", text)
    assert.equal("projection", kind)
    assert.equal("", (mistakes { from = "*", project = {} }))
  end)

  it("names each mistake", function()
    assert.equal(
      table.concat({
        'a projection has no key "rows"; did you mean "row"?',
        'from[2] must be an aggregate\'s snake_case name; got "Order"',
        'project.created: names are those of events, as in Deposited or ["account.Deposited"]',
        "key must be a function(event, rows); it is a string",
        'version must be an integer from 1; got "2"',
        'on_error must be "retry", "park" or "stop"; got "skip"',
      }, "\n"),
      (
        mistakes {
          from = { "account", "Order" },
          rows = {},
          version = "2",
          key = "id",
          on_error = "skip",
          project = { created = noop },
        }
      )
    )
    assert.matches(
      '^from must be an aggregate\'s name, a list of names or "%*"; got nil',
      (mistakes { project = {} })
    )
  end)
end)

describe("the contract of a process", function()
  it("is kept by a whole one", function()
    local text, kind = mistakes {
      from = "account",
      initial = {},
      key = noop,
      react = { Requested = noop, rejected = noop, failed = noop },
    }
    assert.equal("", text)
    assert.equal("process", kind)
  end)

  it("names each mistake", function()
    assert.matches(
      "^react.refused: names are those of events",
      (mistakes { from = "account", react = { refused = noop } })
    )
    assert.equal(
      "key must be a function(event); it is a number",
      (mistakes { from = "account", key = 1, react = {} })
    )
    assert.matches(
      'no key "start"',
      (mistakes { from = "account", start = {}, react = {} })
    )
  end)
end)

describe("the contract of a policy", function()
  it("is one function", function()
    local text, kind = mistakes { retry = noop }
    assert.equal("", text)
    assert.equal("policy", kind)
    assert.matches(
      '^a policy has no key "most"',
      (mistakes { retry = noop, most = 5 })
    )
    assert.equal(
      "retry must be a function(conflict, ctx); it is a nil",
      policy.check({}, "patient")[1].message
    )
  end)
end)
