--- The bus over HTTP: who hears what, and what is said of what was missed.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local program = require("spec.support.program")

local SIGUSR2 = 12
local SSE = { headers = { "Accept: text/event-stream" } }

local function count_lines(text)
  return select(2, text:gsub("\n", ""))
end

local function data(n)
  return ('{"n":%d}'):format(n)
end

describe("the bus over HTTP #node", function()
  local folder, node

  setup(function()
    folder = program.folder()
    counter.app(folder)
    local module = program.read(folder .. "/cell/counter.lua")
    program.fill(folder, {
      ["bank/counter.lua"] = module,
      ["bank/meter.lua"] = module:gsub("Added", "Measured"),
      ["bank.eu/counter.lua"] = module,
    })
    node = http.start(folder)
  end)

  teardown(function()
    node:stop()
    program.remove(folder)
  end)

  -- It listens from its head on.
  local function listen(query, options)
    local stream = node:open("/v1/events?" .. query, options)
    program.wait_for(stream.head, "the answer's head")
    assert.matches("^HTTP/1.1 200", stream.head())
    return stream
  end

  local function add(path)
    assert.equal(200, node:send(path .. "/add", data(1)).status)
  end

  it("tells what happens from now on", function()
    add("cell/counter/before")
    local lines, blocks = listen("pattern=cell"), listen("pattern=cell", SSE)
    assert.matches("application/x%-ndjson", lines.head())
    assert.matches("text/event%-stream", blocks.head())
    local stored = {}
    for index = 1, 5 do
      stored[index] =
        node:send("cell/counter/now/add", data(index)).json.events[1]
      lines.wait(count_lines, index)
    end
    local told = http.documents(lines.stop())
    assert.same(stored, told)
    local body = blocks.wait(count_lines, 15)
    blocks.stop()
    for index, block in ipairs(http.blocks(body)) do
      assert.equal("Added", block.event)
      assert.same(stored[index], block.data)
      assert.is_nil(block.id) -- the bus cannot be resumed
    end
  end)

  it("tells who asked, by namespace, type and actor", function()
    local cases = {
      { "pattern=bank", { "bank/counter/a1", "bank/counter/b", "bank/meter/a2" } },
      { "pattern=bank.*", { "bank.eu/counter/a3" } },
      { "pattern=*", { "bank/counter/a1", "bank/counter/b", "bank/meter/a2",
        "cell/counter/a4" } },
      { "pattern=%3E", { "bank/counter/a1", "bank/counter/b", "bank/meter/a2",
        "bank.eu/counter/a3", "cell/counter/a4" } },
      { "pattern=bank&types=Measured", { "bank/meter/a2" } },
      { "pattern=bank&types=Measured,Nothing,Added", { "bank/counter/a1",
        "bank/counter/b", "bank/meter/a2" } },
      { "pattern=bank&actor=counter/*", { "bank/counter/a1", "bank/counter/b" } },
      { "pattern=%3E&actor=*/a*", { "bank/counter/a1", "bank/meter/a2",
        "bank.eu/counter/a3", "cell/counter/a4" } },
      { "pattern=bank&actor=meter/a2", { "bank/meter/a2" } },
    }
    for _, case in ipairs(cases) do
      case.stream = listen(case[1])
    end
    add("bank/counter/a1")
    add("bank/counter/b")
    add("bank/meter/a2")
    add("bank.eu/counter/a3")
    add("cell/counter/a4")
    for _, case in ipairs(cases) do
      case.stream.wait(count_lines, #case[2])
    end
    for _, case in ipairs(cases) do
      local body = case.stream.stop()
      local told = {}
      for index, event in ipairs(http.documents(body)) do
        told[index] = ("%s/%s/%s"):format(
          event.namespace, event.actor_type, event.actor_id
        )
      end
      assert.same(case[2], told, case[1])
    end
  end)

  it("says what is wrong with the question", function()
    local function refuse(query, status, code, at)
      local response = node:request("/v1/events" .. query)
      assert.equal(status, response.status, response.body)
      assert.equal(code, response.json.code)
      if at then
        assert.equal(at, response.json.at)
      end
      return response.json
    end
    refuse("", 400, "malformed", "pattern")
    assert.equal(
      "pattern",
      refuse("?patern=bank", 400, "malformed", "patern").nearest
    )
    for _, pattern in ipairs({ "", "a..b", "%3E.a", "%C3%BC", "a.", "a%20b" }) do
      refuse("?pattern=" .. pattern, 400, "invalid_name")
    end
    assert.equal("cell", refuse("?pattern=cel", 404, "unknown_namespace").nearest)
    refuse("?pattern=bank&types=", 400, "malformed", "types")
    refuse("?pattern=bank&actor=", 400, "malformed", "actor")
    refuse("?pattern=bank&actor=counter", 400, "invalid_name")
    refuse("?pattern=bank&after=1", 400, "malformed", "after")
  end)

  it("answers HEAD, and ends when the node does", function()
    local head = node:request("/v1/events?pattern=cell", { method = "HEAD" })
    assert.equal(200, head.status)
    assert.equal("", head.body)
    local other = http.start(folder)
    local stream = other:open("/v1/events?pattern=cell")
    program.wait_for(stream.head, "the answer's head")
    other:stop()
    assert.equal(0, stream.process:wait().status)
  end)

  -- What was given and what was dropped is what was stored, to the event.
  it("says how many a slow client missed, and nobody waits for it", function()
    local total = 20000
    local slow = http.start_script("slow.mjs", {
      node.port, "/v1/events?pattern=cell", total + 1,
    })
    program.wait_for(function()
      return program.read(slow.stdout):find("listening")
    end, "a slow listener")
    local before = node:memory()
    local text = ("x"):rep(1000)
    local lines = {}
    for index = 1, total do
      lines[index] = counter.add("fast" .. index % 7, index, nil, {
        data = { n = index, text = text },
      })
    end
    local documents = node:run(table.concat(lines, "\n")).documents
    assert.equal(total, #documents)
    local grown = node:memory() - before
    assert(grown < 150000, grown .. " kB more") -- the store keeps 20 MB of it
    slow:kill(SIGUSR2) -- it reads from now on
    add("cell/counter/last")
    local result = slow:wait()
    assert.equal(0, result.status, result.err)
    local told, dropped = result.out:match("(%d+) events, (%d+) dropped")
    assert.equal(total + 1, tonumber(told) + tonumber(dropped))
    assert(tonumber(dropped) > 0, "none was dropped")
  end)
end)
