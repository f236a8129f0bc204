-- `aether dev`: what the one who writes an app sees while it runs.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local careless = [[
local event = require("aether.event")
local careless = { initial = { log = {} } }
local decide = {}
careless.decide = decide
function decide.note(state, note)
  state.log[#state.log + 1] = note.text
  return event("Noted", { text = note.text })
end
local evolve = {}
careless.evolve = evolve
function evolve.Noted() end
return careless
]]

local talker = [[
local decide = {}
function decide.talk(_, talk)
  for _ = 1, talk.lines do print("a word") end
  return {}
end
return { initial = {}, decide = decide, evolve = {} }
]]

describe("aether dev #node", function()
  local folder, node

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    program.fill(folder, { ["cell/careless.lua"] = careless })
    node = nil
  end)

  after_each(function()
    if node and not node.process.ended then
      node:kill(9)
      node:wait()
    end
    program.remove(folder)
  end)

  local function send(actor, command, data, id)
    local answer = node:request(
      "POST",
      "/v1/" .. actor .. "/" .. command,
      { ["Content-Type"] = "application/json", ["Idempotency-Key"] = id },
      data
    )
    return answer.status, json.decode(answer.body)
  end

  -- Printed lines from the first that has `text`, without their times.
  local function printed(text)
    local out = program.wait_for(function()
      local out = node:out()
      return out:find(text, 1, true) and out:sub(-1) == "\n" and out
    end, text)
    local lines = {}
    for line in out:gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line:gsub("^%d%d:%d%d:%d%d%.%d%d%d ", "TIME ")
    end
    return lines
  end

  it("prints commands, what became of them, and their events", function()
    node = server.start(folder, { command = "dev" })
    assert.equal(200, (send("cell/counter/a", "add", '{"n":5}', "id-1")))
    assert.equal(200, (send("cell/counter/a", "add", '{"n":5}', "id-1")))
    assert.equal(422, (send("cell/counter/a", "refuse", "{}")))
    assert.equal(404, (send("cell/counter/a", "addd", "{}")))
    local lines = printed("unknown_command")
    assert.same({
      "Listening on " .. node.url,
      'TIME cell/counter/a add {"n":5} accepted v1',
      '             v1 Added {"n":5}',
      'TIME cell/counter/a add {"n":5} accepted v1 (repeated)',
      '             v1 Added {"n":5}',
      'TIME cell/counter/a refuse {} rejected refused {"count":1}',
    }, {
      lines[1],
      lines[2],
      lines[3],
      lines[4],
      lines[5],
      lines[6],
    })
    assert.matches(
      "^TIME cell/counter/a addd {} failed unknown_command: .*add",
      lines[7]
    )
    assert.equal(7, #lines)
    node:kill(2)
    local result = node:wait()
    assert.equal(0, result.status, result.err)
    local stored =
      counter.events(folder, "sqlite:" .. folder .. "/data/events.db")
    assert.equal(1, #stored.events)
  end)

  it("catches a decide that changes its state, which run does not", function()
    node = server.start(folder, { command = "dev" })
    local status, problem = send("cell/careless/a", "note", '{"text":"x"}')
    assert.equal(500, status)
    assert.equal("contract_error", problem.code)
    local lines = printed("contract_error")
    assert.matches("failed contract_error: .*careless.lua", lines[2])
    node:stop()
    node = server.start(folder, { command = "run" })
    assert.equal(200, (send("cell/careless/a", "note", '{"text":"x"}')))
    node:stop()
  end)

  it("bounds what one call logs, and says how much was left out", function()
    program.fill(folder, { ["cell/talker.lua"] = talker })
    node = server.start(folder, { command = "dev" })
    assert.equal(200, (send("cell/talker/a", "talk", '{"lines":100}')))
    assert.equal(200, (send("cell/talker/a", "talk", '{"lines":20000}')))
    node:kill(2)
    local err = node:wait().err
    assert.equal(200, select(2, err:gsub('"message":"a word"', "")))
    local told = err:match('[^\n]*19900 lines[^\n]*')
    assert(told, err)
    assert.matches('"level":"warn"', told)
    assert.matches("that decide.talk logged were left out", told, 1, true)
    assert.matches('"module":"talker"', told)
    assert.matches('"actor":"cell/talker/a"', told)
  end)

  it("shows names that would move the cursor, and long data, safely", function()
    node = server.start(folder, { command = "dev" })
    local text = ("ä"):rep(3000)
    assert.equal(
      200,
      (send("cell/counter/a%1b%5b31m", "add", '{"n":1,"text":"' .. text .. '"}'))
    )
    local lines = printed("accepted")
    assert.matches("^TIME cell/counter/a%?%[31m add {", lines[2])
    assert.matches("… %(%d+ bytes%) accepted v1$", lines[2])
    assert(#lines[2] < 1200)
    assert.is_nil(lines[2]:find("\195…"), "cut inside a character")
    node:stop()
  end)

  it("ends where nobody reads what it prints", function()
    local fifo = folder .. "/fifo"
    program.run({ "mkfifo", fifo })
    local reader = assert(io.open(fifo, "r+"))
    local process = program.start_aether({
      "-C",
      folder,
      "dev",
      "--listen",
      "127.0.0.1:0",
    }, { stdout_file = fifo })
    local url = reader:read("*l"):match("http://%S+")
    reader:close()
    local told = program.run({
      "curl",
      "-s",
      "-d",
      '{"n":1}',
      "-H",
      "Content-Type: application/json",
      url .. "/v1/cell/counter/a/add",
    })
    assert.matches('"accepted"', told.out)
    program.wait_for(function()
      return not process:running()
    end, "the end")
    os.remove(fifo) -- reading it would wait for a writer
    program.write(fifo, "")
    local result = process:wait()
    assert.equal(0, result.status, result.err)
    assert.matches("nobody reads stdout any more", result.err)
  end)

  it("has a save live at once, and goes on as before where it is wrong", function()
    local path = folder .. "/cell/careless.lua"
    local mended = careless:gsub("  state.log%[#state.log %+ 1%] = note.text\n", "")
    node = server.start(folder, { command = "dev" })
    assert.equal(500, (send("cell/careless/a", "note", '{"text":"x"}')))
    program.write(path, mended)
    program.wait_for(function()
      return program.read(node.process.stderr):find("cell: reloaded\n", 1, true)
    end, "the save to be live")
    assert.equal(200, (send("cell/careless/a", "note", '{"text":"x"}')))
    program.write(path, mended .. "end")
    program.wait_for(function()
      return program.read(node.process.stderr):find("careless.lua:", 1, true)
    end, "the mistake to be told")
    assert.equal(200, (send("cell/careless/a", "note", '{"text":"y"}')))
    assert.equal(0, node:stop().status)
  end)

  it("says that its folder is gone, and reloads once it is back", function()
    local cell, away = folder .. "/cell", folder .. "/away"
    local function told(text)
      program.wait_for(function()
        return program.read(node.process.stderr):find(text, 1, true)
      end, text)
    end
    os.remove(cell .. "/careless.lua")
    node = server.start(folder, { command = "dev" })
    assert(os.rename(cell, away))
    told(cell .. " is not there any more: the old code goes on")
    assert.equal(200, (send("cell/counter/a", "add", '{"n":5}', "id-1")))
    program.write(away .. "/careless.lua", careless)
    assert(os.rename(away, cell))
    told("cell: reloaded")
    assert.equal(500, (send("cell/careless/a", "note", '{"text":"x"}')))
    local err = node:stop().err
    assert.equal(1, select(2, err:gsub("is not there any more", "")), err)
    assert.equal(1, select(2, err:gsub("/cell is there again", "")), err)
  end)
end)
