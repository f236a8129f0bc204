--- Namespaces with names made to be mistaken for each other, through the
-- command line: nothing of one shows in another, and what is no name gets the
-- same answer everywhere.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")

local NAMESPACES = {
  "a", "A", "a.b", "a_b", "a-b", "a.B", "a.b.c", "ab", "b", "_", "-", "0",
  "a_5fb", "a.5fb", ("n"):rep(63), ("n"):rep(64),
}
local NO_NAMESPACES = {
  "", ".", "..", "*", ">", "a*", "a.*", "a.>", ".a", "a.", "a..b", "%61",
  "a%2eb", "a b", "$aether", "a:b", "a\\b", "ä", "a\204\136", "日本", "a\127b",
  ("n"):rep(65), ("n"):rep(200),
}

local folder

local function aether(argv, stdin)
  local all = { "-C", folder }
  for _, argument in ipairs(argv) do
    all[#all + 1] = argument
  end
  local result = program.run_aether(all, { stdin = stdin })
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return result
end

local function add(namespace, n)
  return ('{"actor":%s,"command":"add","data":{"n":%d},"id":"same"}\n'):format(
    json.encode(namespace .. "/counter/x"), n)
end

describe("names made to confuse #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
    local module = program.read(folder .. "/cell/counter.lua")
    local files = {}
    for _, name in ipairs(NAMESPACES) do
      files[name .. "/counter.lua"] = module
    end
    program.fill(folder, files)
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("keep states, events, ids and counts apart", function()
    local lines = {}
    for index, name in ipairs(NAMESPACES) do
      -- The n-th gets n events, the first under an id that all of them use.
      lines[#lines + 1] = add(name, index)
      for _ = 2, index do
        lines[#lines + 1] = (add(name, index):gsub(',"id":"same"', ""))
      end
    end
    local result = aether({ "exec", "--json", "-" }, table.concat(lines))
    assert.equal(0, result.status, result.err)
    local types = json.decode(result.err).types
    for index, name in ipairs(NAMESPACES) do
      local actor = name .. "/counter/x"
      local counts = types[name .. "/counter"]
      assert.equal(index, counts.commands, name)
      assert.equal(index, counts.events, name)
      local state = json.decode(aether({ "state", "--", actor }).out)
      assert.same({ actor = actor, version = index,
        state = { count = index, sum = index * index } }, state)
      local events = counter.documents(
        aether({ "events", "--json", "--", name }).out)
      assert.equal(index, #events, name)
      for version, event in ipairs(events) do
        assert.same({ name, "x", version, index }, { event.namespace,
          event.actor_id, event.version, event.data.n })
      end
      assert.equal(index,
        #counter.documents(aether({ "events", "--json", "--", actor }).out))
    end
    -- The same ids again: each finds its own outcome.
    lines = {}
    for index, name in ipairs(NAMESPACES) do
      lines[index] = add(name, index)
    end
    local outcomes =
      counter.documents(aether({ "exec", "-" }, table.concat(lines)).out)
    for index, name in ipairs(NAMESPACES) do
      assert.equal(name .. "/counter/x", outcomes[index].actor)
      assert.equal(1, outcomes[index].version)
      assert.equal(index, outcomes[index].events[1].data.n)
    end
  end)

  it("that are none get one answer at every door", function()
    local lines = {}
    for index, name in ipairs(NO_NAMESPACES) do
      lines[index] = add(name, 1)
    end
    local result = aether({ "exec", "-" }, table.concat(lines))
    assert.equal(3, result.status)
    local outcomes = counter.documents(result.out)
    for index, name in ipairs(NO_NAMESPACES) do
      local err = outcomes[index].error
      assert.equal("invalid_name", err.code, name)
      assert(err.message:find("is no namespace: use 1 to 64 of A-Z", 1, true))
      local actor = name .. "/counter/x"
      for _, argv in ipairs({
        { "state", "--", actor }, { "replay", "--", actor },
        { "events", "--", actor }, { "events", "--", name },
      }) do
        result = aether(argv)
        assert.equal(3, result.status, argv[1] .. " " .. name)
        assert.equal("", result.out)
        assert(result.err:find(err.message, 1, true), result.err)
      end
      program.write(folder .. "/aether.lua",
        ("return { namespaces = { [%q] = { modules = 'cell' } } }"):format(name))
      result = aether({ "config" })
      assert.equal(3, result.status, name)
      assert(result.err:find(err.message, 1, true), result.err)
      program.write(folder .. "/aether.lua",
        'return { store = "sqlite:data/events.db" }')
    end
    -- Of a folder, where it can be one's name.
    for _, name in ipairs({ "a*", ">", "%61", "ä", "a b", ("n"):rep(65) }) do
      program.run({ "cp", "-r", folder .. "/cell", folder .. "/" .. name })
      result = aether({ "config" })
      assert.equal(3, result.status, name)
      assert(result.err:find("is no namespace", 1, true), result.err)
      assert(result.err:find("Rename it", 1, true), result.err)
      program.remove(folder .. "/" .. name)
    end
  end)

  it("that nobody has are told from those that somebody has", function()
    for _, name in ipairs({ "B", "a.b.C", "a-B", ("n"):rep(62) }) do
      local outcome =
        counter.documents(aether({ "exec", "-" }, add(name, 1)).out)[1]
      assert.equal("unknown_namespace", outcome.error.code)
      assert.equal(name, outcome.error.name)
    end
  end)
end)
