--- #node One history, one state, byte for byte: in processes of their own, with
-- other addresses and on what looks like another processor.
local json = require("dkjson")
local program = require("spec.support.program")

local MIXER = [[
local event = require("aether.event")
local mixer = { initial = { order = {}, seen = {}, text = "", sum = 0, wild = 0.5 },
  snapshot = { version = 1, every = 4 } }
mixer.decide = { mix = function(_, mix) return event("Mixed", mix) end }
local function walk(state, t, depth)
  for key, item in pairs(t) do
    state.order[#state.order + 1] = tostring(key)
    if #state.order > 40 then table.remove(state.order, 1) end
    state.seen[key] = (state.seen[key] or 0) + depth
    if type(item) == "table" then
      walk(state, item, depth + 1)
    elseif type(item) == "number" then
      state.sum = (state.sum + math.sin(item) ^ 2 + math.exp(item % 7) + math.abs(item) ^ 0.3) % 1e6
    else
      state.text = (state.text .. tostring(item)):sub(-99)
      if type(item) == "cdata" then state.big = item + 1 end
    end
  end
end
mixer.evolve = { Mixed = function(state, mixed)
  walk(state, mixed, 1)
  for i = 1, 300 do -- enough to be compiled
    -- A last bit that differs grows until all of them do.
    state.wild = math.abs(math.sin(math.exp(state.wild) * math.log(2 + state.wild ^ 2) * 3 + i))
  end
  state.shown = ("%.17g %.17g %s"):format(state.sum, state.wild, tostring(walk))
  state.first = next(state.seen)
  state.last = mixed
end }
return mixer
]]

local WORDS = { "a", "größe", "日本", "😀", "e\204\129", "1", "zz top", "key" }

local function value(depth)
  local kind = math.random(depth < 3 and 7 or 5)
  if kind == 1 then
    return math.random(1000) - 500
  elseif kind == 2 then
    return (math.random() - 0.5) * 10 ^ math.random(-5, 9)
  elseif kind == 3 then
    return WORDS[math.random(#WORDS)]
  elseif kind == 4 then -- beyond 2^53
    return ("@922337203685477%04d"):format(math.random(0, 5807))
  elseif kind == 5 then
    return math.random(2) == 1
  end
  local made = {}
  for _ = 1, math.random(6) do
    made[kind == 6 and WORDS[math.random(#WORDS)] or #made + 1] =
      value(depth + 1)
  end
  return made
end

describe("one history #node", function()
  local folder

  before_each(function()
    folder = program.folder()
    program.fill(folder, { ["bank/mixer.lua"] = MIXER })
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("makes one state in every process", function()
    local seed = tonumber(os.getenv("AETHER_SEED")) or os.time()
    math.randomseed(seed)
    local lines = {}
    for i = 1, 400 do
      local data = {}
      for _ = 1, 4 do
        data[WORDS[math.random(#WORDS)]] = value(1)
      end
      lines[i] = json
        .encode({ actor = "bank/mixer/" .. i % 9, command = "mix", data = data })
        :gsub('"@(%d+)"', "%1")
    end
    local function run(name, argv, env, store)
      local all = { program.aether, "-C", folder }
      for i, word in ipairs(argv) do
        table.insert(all, i, word)
      end
      for _, word in ipairs(store) do
        all[#all + 1] = word
      end
      local result = program.run(all, {
        stdin = table.concat(lines, "\n") .. "\n",
        env = env,
      })
      assert.equal(0, result.status, name .. ", seed " .. seed .. result.err)
      return result
    end
    local function snapshots(store)
      local list = program.run({ "sqlite3", store, "SELECT actor, version, hex(state) FROM snapshots "
        .. "ORDER BY actor, version" })
      assert.equal(0, list.status, list.err)
      return list.out
    end
    local elsewhere = { GLIBC_TUNABLES = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4" }
    local one, other = folder .. "/one.db", folder .. "/other.db"
    run("one", {}, {}, { "exec", "--in-flight", "1", "--store", "sqlite:" .. one, "-" })
    run("other", { "setarch", "-R" }, elsewhere, { "exec", "--in-flight", "1", "--store", "sqlite:" .. other, "-" })
    local states = snapshots(one)
    assert(#states > 9 * 400, #states)
    assert.equal(states, snapshots(other), "seed " .. seed)
    -- And what the events make says the same of every snapshot.
    run("check", {}, elsewhere, { "check", "--store", "sqlite:" .. one })
    run("check", {}, {}, { "check", "--store", "sqlite:" .. other })
  end)
end)
