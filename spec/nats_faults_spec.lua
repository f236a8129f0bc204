--- #node Faults under load, with nats-server as the store: a table of what is
-- done, all of it at once, and a checker of what must hold (support/faults.lua).
-- AETHER_LONG=1 does it for longer, and with network namespaces where they can
-- be made; AETHER_SEED repeats a run.
local faults = require("spec.support.faults")
local load = require("spec.support.load")
local nats = require("spec.support.nats")
local program = require("spec.support.program")

local long = os.getenv("AETHER_LONG") ~= nil
local seed = tonumber(os.getenv("AETHER_SEED")) or long and os.time() or 1

local LOST, AGAIN = "lost the connection to nats-server", "connected to nats-server again"
local SILENT, ANSWERS = "JetStream does not answer", "JetStream answers again"

local is_newer = nats.newer(2, 10) == nats.program

local SIGSTOP, SIGCONT = 19, 18

local function rounds(short, much)
  return long and much or program.is_slow and 1 or short
end

local TABLE = {
  {
    name = "kill -9 of the server",
    says = { LOST, AGAIN },
    act = function(trial)
      for round = 1, rounds(4, 40) do
        trial:acknowledged(math.random(1, 300))
        local lost, again = trial:logged(LOST), trial:logged(AGAIN)
        trial.broker:kill(9)
        if round % 2 == 0 then trial:says(LOST, lost, 2) end
        trial.broker:start()
        trial:says(AGAIN, again, 2)
      end
    end,
  },
  {
    name = "kill -9 of each node",
    act = function(trial)
      for round = 1, rounds(4, 40) do
        trial:acknowledged(math.random(1, 300))
        local name = round % 2 == 0 and "left" or "right"
        trial:crash(name)
        trial:acknowledged(math.random(1, 100)) -- by the other
        trial:start(name)
      end
    end,
  },
  {
    name = "the server ended and started with all that was sent under way",
    says = { LOST, AGAIN },
    load = { streams = 3, lines = 500, actors = 300 },
    act = function(trial)
      for _ = 1, rounds(2, 20) do
        trial:acknowledged(1)
        local again = trial:logged(AGAIN)
        trial.broker:kill(15)
        trial.broker:start()
        trial:says(AGAIN, again, 2)
      end
    end,
  },
  {
    name = "a server that stands still",
    says = { SILENT, ANSWERS },
    act = function(trial)
      for _ = 1, rounds(1, 3) do
        local silent = trial:logged(SILENT)
        trial.broker.process:kill(SIGSTOP)
        if long then trial:seconds(20) end
        trial:says(SILENT, silent)
        trial.broker.process:kill(SIGCONT)
        trial:acknowledged(100)
      end
    end,
  },
  {
    name = "answers that are lost",
    proxy = true,
    says = { SILENT, ANSWERS },
    act = function(trial)
      for _ = 1, rounds(1, 20) do
        local goal = tonumber(trial.proxy:tell("eaten")) + 12
        trial.proxy:tell("eat 0.1")
        trial:wait(function() return tonumber(trial.proxy:tell("eaten")) >= goal end, "answers to be lost")
        trial.proxy:tell("eat 0")
        trial:acknowledged(100)
      end
    end,
  },
  {
    name = "kill -9 of each of three servers in turn",
    servers = 3,
    act = function(trial)
      -- The leader first; a short run ends there.
      local victim = trial.cluster:wait_leader("cell_events")
      for round = 1, rounds(1, is_newer and 24 or 3) do
        local server = trial.cluster.servers[victim]
        victim = victim % 3 + 1
        trial:acknowledged(math.random(1, 100))
        server:kill(9)
        trial:acknowledged(100) -- by the two others
        server:start()
        -- 2.9.10 may lose what it has acknowledged where the next is killed before
        -- this one has caught up. With others half of the rounds do so.
        if not is_newer or round % 2 == 0 then
          trial:wait(function() return trial.cluster:whole("cell_events") end, "three replicas")
        end
      end
    end,
  },
}

-- A leader is parted from the two others, which have another one soon, and
-- comes back.
local function cut(peers)
  return function(trial)
    for _ = 1, rounds(1, 8) do
      trial:acknowledged(math.random(1, 100))
      local leader = trial.cluster:wait_leader("cell_events")
      trial.cluster:cut(leader, peers)
      trial:wait(function() return trial.cluster:leader("cell_events", leader) end, "another leader")
      trial:seconds(2)
      trial.cluster:heal(leader)
      trial:acknowledged(100)
    end
  end
end

-- A leader of 2.9.10 that was cut off may have other messages than the others
-- afterwards, and keep them: nothing that its clients could mend.
local newer = nats.newer(2, 10)
if newer then
  TABLE[#TABLE + 1] = {
    name = "a leader that is parted from the other servers, and comes back",
    servers = 3, network = "proxies", program = newer,
    says = { SILENT, ANSWERS },
    act = cut(true),
  }
else
  print("NOT TESTED: a leader that is cut off, for want of nats-server 2.10 or newer")
end

local no_spaces = long and nats.no_spaces()
if no_spaces then
  print("NOT TESTED: a leader in a network namespace that is cut off: " .. no_spaces)
elseif long and newer then
  TABLE[#TABLE + 1] = {
    name = "a leader whose network is cut, and healed",
    servers = 3, network = "spaces", program = newer,
    act = cut(false),
  }
end

describe("faults under load, AETHER_SEED=" .. seed .. " #node", function()
  local trials = {}

  setup(function()
    math.randomseed(seed)
    local runs = {}
    for i, fault in ipairs(TABLE) do
      trials[i] = faults.new(fault, seed)
      runs[i] = trials[i].run
    end
    load.drive(runs)
  end)

  teardown(function()
    for _, trial in ipairs(trials) do trial:stop() end
  end)

  for i, fault in ipairs(TABLE) do
    it(fault.name, function() trials[i]:check() end)
  end
end)
