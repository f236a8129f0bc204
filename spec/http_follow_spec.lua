--- Server-sent events that are resumed: over connections that break, over nodes
-- that end, with Node's fetch and a browser's EventSource. Nothing is missing,
-- and nothing comes twice.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local program = require("spec.support.program")

local SIGKILL, SIGTERM = 9, 15

-- What a follower printed: "POSITION.INDEX TYPE ID" a line.
local function seen(follower)
  local lines = {}
  for line in program.read(follower.stdout):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

local function stored(node)
  local lines = {}
  for _, event in ipairs(
    http.documents(node:request("/v1/cell/events").body)
  ) do
    lines[#lines + 1] =
      ("%d.%d %s %s"):format(event.position, event.index, event.type, event.id)
  end
  return lines
end

-- Tables of thousands of lines are no message.
local function assert_lines(wanted, got)
  for index = 1, math.max(#wanted, #got) do
    if wanted[index] ~= got[index] then
      error(
        ("line %d of %d is %s, not %s of %d"):format(
          index, #got, tostring(got[index]), tostring(wanted[index]), #wanted
        ),
        2
      )
    end
  end
end

describe("events that are followed #node", function()
  local folder, node, store, sent

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    store = "sqlite:" .. folder .. "/events.db"
    node = http.start(folder, { store = store })
    sent = 0
  end)

  after_each(function()
    if not node.server.process.ended then
      node:stop()
    end
    program.remove(folder)
  end)

  local function send(count)
    local lines = {}
    for index = 1, count do
      sent = sent + 1
      lines[index] = counter.add("f" .. sent % 3, sent)
    end
    node:run(table.concat(lines, "\n"))
  end

  local function restart(signal)
    local port = node.port
    node.server:kill(signal)
    node.server:wait()
    node = http.start(folder, { store = store, port = port })
  end

  local function wait_for(follower, count)
    program.wait_for(function()
      if not follower:running() then
        error("the follower ended: " .. follower:wait().err, 0)
      end
      return #seen(follower) >= count
    end, count .. " events", 100)
  end

  local function assert_whole(follower)
    wait_for(follower, sent)
    assert_lines(stored(node), seen(follower))
    assert.equal(sent, #seen(follower))
  end

  it("go on where a client cut the connection", function()
    send(100)
    local follower = http.start_script("follow.mjs", {
      node.port, "/v1/cell/events", 37,
    })
    for _ = 1, 10 do
      send(53)
      wait_for(follower, sent - 60)
    end
    assert_whole(follower)
    follower:kill()
    follower:wait()
  end)

  it("go on where the node ended, and where it was killed", function()
    local follower = http.start_script("follow.mjs", {
      node.port, "/v1/cell/events?types=Added",
    })
    for round = 1, 6 do
      send(200)
      -- Not all of it has come: that is when it ends.
      wait_for(follower, sent - 150)
      restart(round % 2 == 0 and SIGKILL or SIGTERM)
    end
    send(10)
    assert_whole(follower)
    follower:kill()
    follower:wait()
  end)

  it("go on in a browser's EventSource", function()
    program.write(folder .. "/page.js", [[
      let came = 0;
      await new Promise((resolve) => {
        const source = new EventSource("/v1/cell/events?types=Added");
        source.addEventListener("Added", (event) => {
          const { id, type } = JSON.parse(event.data);
          say(`${event.lastEventId} ${type} ${id}`);
          if (++came === 500) resolve(source.close());
        });
      });]])
    send(100)
    local follower = http.start_script("browser.mjs", {
      node.url .. "/v1/cell/counter/f1", folder .. "/page.js",
    })
    wait_for(follower, 100)
    restart(SIGTERM)
    send(200)
    wait_for(follower, 300)
    restart(SIGKILL)
    send(200)
    local result = follower:wait()
    assert.equal(0, result.status, result.err)
    local lines = {}
    for line in result.out:gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line
    end
    assert.equal("null", table.remove(lines))
    assert_lines(stored(node), lines)
    assert.equal(500, #lines)
  end)

  -- A page of another origin, in the browser of a person on this machine.
  it("are not for pages of other origins", function()
    send(5)
    local page = http.start_script("page.mjs", {})
    local origin = program.wait_for(function()
      return program.read(page.stdout):match("http://%S+")
    end, "a page of another origin")
    program.write(folder .. "/page.js", ([[
      const node = %q;
      const events = await new Promise((resolve) => {
        const source = new EventSource(node + "/v1/cell/events");
        source.onerror = () => resolve("refused");
        source.addEventListener("Added", () => resolve("read"));
      });
      const tried = async (path, options) => {
        try {
          const response = await fetch(node + path, options);
          return response.type === "opaque" ? "opaque" : await response.text();
        } catch (error) {
          return "refused";
        }
      };
      return [
        events,
        await tried("/v1/cell/counter/f1"),
        await tried("/v1/cell/counter/f1", { mode: "no-cors" }),
        await tried("/v1/cell/counter/f1/add", {
          method: "POST", mode: "no-cors", body: '{"n":1}',
        }),
        await tried("/v1/cell/counter/f1/add", {
          method: "POST", mode: "no-cors",
        }),
        await tried("/v1/cell/counter/f1/add", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: '{"n":1}',
        }),
        await tried("/v1/commands", {
          method: "POST", mode: "no-cors",
          body: '{"actor":"cell/counter/f1","command":"add","data":{"n":1}}',
        }),
      ].join(" ");]]):format(node.url))
    local result = http.script("browser.mjs", { origin, folder .. "/page.js" })
    page:kill()
    page:wait()
    assert.equal(0, result.status, result.err)
    assert.equal(
      '"refused refused opaque opaque opaque refused opaque"\n',
      result.out
    )
    assert.equal(5, #stored(node))
  end)

  it("show a sign of life while nothing comes", function()
    local quiet = node:open(
      "/v1/cell/events",
      { headers = { "Accept: text/event-stream" } }
    )
    quiet.wait(function(body)
      return body:find("^:\n\n") and 1 or 0
    end, 1)
    send(1)
    local blocks = http.blocks(quiet.wait(function(body)
      return select(2, body:gsub("data:", ""))
    end, 1))
    quiet.stop()
    assert.equal("", blocks[1].comment)
    assert.equal(1, blocks[#blocks].data.data.n)
  end)
end)
