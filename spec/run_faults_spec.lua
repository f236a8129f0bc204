-- A node that is stopped, or killed, while clients send to it: what was
-- acknowledged is stored, and each command once.
local counter = require("spec.support.counter")
local load = require("spec.support.load")
local program = require("spec.support.program")
local server = require("spec.support.server")

local long = os.getenv("AETHER_LONG") ~= nil
local seed = tonumber(os.getenv("AETHER_SEED")) or long and os.time() or 1
local ROUNDS = long and 30 or program.is_slow and 2 or 4
local COMMANDS, ACTORS = 600, 17

describe("a node under load #node", function()
  local folder, store

  setup(function()
    math.randomseed(seed)
  end)

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    store = "sqlite:" .. folder .. "/data/events.db"
  end)

  after_each(function()
    program.remove(folder)
  end)

  -- What is stored, by command id, after checking that no id is there twice.
  local function stored_by_id(at)
    local result = counter.events(folder, store)
    assert(result.status == 0, at .. result.err)
    counter.by_version(result.events)
    local by_id = {}
    for _, event in ipairs(result.events) do
      local id = event.metadata.command_id
      assert(id, at .. "an event without a command's id")
      assert(not by_id[id], at .. id .. " is stored twice")
      by_id[id] = event
    end
    return by_id
  end

  local function check_acknowledged(acknowledged, by_id, at)
    for id, outcome in pairs(acknowledged) do
      local event = by_id[id]
      assert(event, at .. "lost " .. id)
      assert.equal(outcome.event, event.id, at .. id)
      assert.equal(outcome.version, event.version, at .. id)
      assert.equal(outcome.position, event.position, at .. id)
      assert.equal(outcome.actor, event.actor_id, at .. id)
    end
  end

  -- Rounds of load, in each of which the node is ended once by `signal`, at a
  -- random moment; `look` is called after each end.
  local function rounds(signal, look)
    local cut, resent = 0, 0
    local node = server.start(folder, { seconds = 600 })
    for round = 1, ROUNDS do
      local at = ("round %d, AETHER_SEED=%d: "):format(round, seed)
      local sender = load.new("r" .. round, COMMANDS, ACTORS)
      local moment = math.random(0, COMMANDS - 100)
      local done = sender:run(node, moment, function()
        node:kill(signal)
      end)
      cut = cut + (done and 0 or 1)
      look(node:wait(), sender, at)
      node = server.start(folder, { seconds = 600 })
      local before = sender.repeated
      assert(sender:run(node), at .. "the node ended by itself")
      resent = resent + sender.repeated - before
      node:stop()
      local by_id = stored_by_id(at)
      check_acknowledged(sender.acknowledged, by_id, at)
      local stored = 0
      for id in pairs(by_id) do
        stored = stored + (sender.commands[id] and 1 or 0)
      end
      assert.equal(COMMANDS, stored, at)
      node = server.start(folder, { seconds = 600 })
    end
    node:stop()
    local checked =
      program.run_aether({ "-C", folder, "check", "--store", store })
    assert(checked.status == 0, checked.out .. checked.err)
    assert(cut >= ROUNDS / 2, cut .. " of them came in the middle")
    return resent
  end

  it("keeps what it acknowledged over kill -9, once", function()
    rounds(9, function(result, sender, at)
      assert.equal(9, result.signal, at)
      check_acknowledged(sender.acknowledged, stored_by_id(at), at)
    end)
  end)

  it("answers what it has stored before SIGTERM ends it", function()
    local resent = rounds(15, function(result, sender, at)
      assert.equal(0, result.status, at .. result.err)
      assert.is_nil(result.err:find("cutting", 1, true), result.err)
      local by_id = stored_by_id(at)
      check_acknowledged(sender.acknowledged, by_id, at)
      for id in pairs(by_id) do
        local mine = sender.commands[id] ~= nil
        assert(not mine or sender.acknowledged[id], at .. id .. " unanswered")
      end
    end)
    -- So nothing had to be sent twice.
    assert.equal(0, resent)
  end)
end)
