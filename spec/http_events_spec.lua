--- States and stored events over HTTP.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local program = require("spec.support.program")

local SSE = { headers = { "Accept: text/event-stream" } }

local function data(n)
  return ('{"n":%d}'):format(n)
end

local function count_lines(text)
  return select(2, text:gsub("\n", ""))
end

-- "POSITION.INDEX" of each event.
local function cursors(events)
  local all = {}
  for index, event in ipairs(events) do
    all[index] = ("%d.%d"):format(event.position, event.index)
  end
  return all
end

describe("states and events over HTTP #node", function()
  local folder, node

  setup(function()
    folder = program.folder()
    counter.app(folder)
    node = http.start(folder)
  end)

  teardown(function()
    node:stop()
    program.remove(folder)
  end)

  local function problem(response, status, code, at)
    assert.equal(status, response.status, response.body)
    assert.equal("application/problem+json", response.headers["content-type"])
    assert.equal(code, response.json.code)
    if at then
      assert.equal(at, response.json.at)
    end
    return response.json
  end

  local function get(path, ...)
    local headers = { ... }
    return node:request("/v1/" .. path, { headers = headers })
  end

  local function events(path, ...)
    local response = get(path, ...)
    assert.equal(200, response.status, response.body)
    assert.equal("application/x-ndjson", response.headers["content-type"])
    return http.documents(response.body), response
  end

  describe("a state", function()
    it("has a version, which is its tag", function()
      local response = get("cell/counter/fresh")
      assert.equal(200, response.status)
      assert.equal('"0"', response.headers.etag)
      assert.equal(
        '{"actor":"cell/counter/fresh","version":0,'
          .. '"state":{"count":0,"sum":0}}\n',
        response.body
      )
      node:send("cell/counter/state/add", data(5))
      node:send("cell/counter/state/add", data(6))
      response = get("cell/counter/state")
      assert.equal('"2"', response.headers.etag)
      assert.same({ count = 2, sum = 11 }, response.json.state)
      response = get("cell/counter/state?at=1")
      assert.equal('"1"', response.headers.etag)
      assert.same({ count = 1, sum = 5 }, response.json.state)
      assert.same({ count = 0, sum = 0 }, get("cell/counter/state?at=0").json.state)
    end)

    it("is not sent to who has it", function()
      node:send("cell/counter/kept/add", data(5))
      for _, tag in ipairs({ '"1"', 'W/"1"', '"7", "1"', '"7" , W/"1" ', "*" }) do
        local response = get("cell/counter/kept", "If-None-Match: " .. tag)
        assert.equal(304, response.status, tag)
        assert.equal('"1"', response.headers.etag)
        assert.equal("", response.body)
      end
      for _, tag in ipairs({ '"2"', "1", '"11"', '"', '"2', "W/1", '""', "," }) do
        local response = get("cell/counter/kept", "If-None-Match: " .. tag)
        assert.equal(200, response.status, tag)
      end
    end)

    it("answers HEAD as GET, without the body", function()
      local head = node:request("/v1/cell/counter/kept", { method = "HEAD" })
      local full = get("cell/counter/kept")
      assert.equal(200, head.status)
      assert.equal("", head.body)
      for _, name in ipairs({ "etag", "content-length", "content-type" }) do
        assert.equal(full.headers[name], head.headers[name])
      end
    end)

    it("says what is wrong with the question", function()
      local said = problem(get("cell/counter/kept?at=9"), 404, "not_found")
      assert.matches("version 1", said.detail)
      for _, at in ipairs({
        "x", "-1", "", "1.5", "18446744073709551616", "%31x", "+1",
      }) do
        problem(get("cell/counter/kept?at=" .. at), 400, "malformed", "at")
      end
      said = problem(get("cell/counter/kept?ta=1"), 400, "malformed", "ta")
      assert.equal("at", said.nearest)
      problem(get("cell/counter/kept?at=1&at=1"), 400, "malformed", "at")
      said = problem(get("cell/count/kept"), 404, "unknown_type")
      assert.equal("counter", said.nearest)
      problem(get("cel/counter/kept"), 404, "unknown_namespace")
      problem(get("cell/events/kept"), 400, "invalid_name")
    end)
  end)

  describe("an actor's events", function()
    setup(function()
      local lines = {}
      for index = 1, 25 do
        lines[index] = counter.add("history", index)
      end
      node:run(table.concat(lines, "\n"))
    end)

    it("come as lines, behind a version", function()
      local all = events("cell/counter/history/events")
      assert.equal(25, #all)
      for index, event in ipairs(all) do
        assert.equal(index, event.version)
        assert.equal(index, event.data.n)
      end
      local some = events("cell/counter/history/events?after=20")
      assert.equal(5, #some)
      assert.same(all[21], some[1])
      assert.same({}, (events("cell/counter/history/events?after=25")))
      assert.same({}, (events("cell/counter/history/events?after=99")))
      assert.same({}, (events("cell/counter/nobody/events")))
    end)

    it("are linked, page by page", function()
      local path, seen, pages = "/v1/cell/counter/history/events?limit=10", {}, 0
      while path do
        local response = node:request(path)
        for _, event in ipairs(http.documents(response.body)) do
          seen[#seen + 1] = event.version
        end
        pages = pages + 1
        path = (response.headers.link or ""):match('^<([^>]*)>; rel="next"$')
      end
      assert.equal(3, pages)
      assert.equal(25, #seen)
      assert.same({ 1, 2, 25 }, { seen[1], seen[2], seen[25] })
      local _, response = events("cell/counter/history/events?limit=25")
      assert.is_nil(response.headers.link)
    end)

    it("are chosen by type", function()
      assert.equal(25, #events("cell/counter/history/events?types=Added"))
      assert.equal(3, #events("cell/counter/history/events?types=X,Added&limit=3"))
      assert.same({}, (events("cell/counter/history/events?types=Removed")))
    end)

    it("say what is wrong with the question", function()
      local path = "cell/counter/history/events?"
      for parameter, values in pairs({
        after = { "x", "-1", "1.0", "" },
        limit = { "0", "x", "-1", "" },
        follow = { "yes", "1", "TRUE", "" },
        types = { "", ",", "A,", "A,,B" },
      }) do
        for _, value in ipairs(values) do
          local asked = path .. parameter .. "=" .. value
          local said = problem(get(asked), 400, "malformed", parameter)
          assert.matches("`" .. parameter .. "`", said.detail, 1, true)
        end
      end
      local said = problem(get(path .. "afte=1"), 400, "malformed", "afte")
      assert.equal("after", said.nearest)
      said = problem(get(path .. "colour=1"), 400, "malformed", "colour")
      assert.matches("`types`", said.detail, 1, true)
      problem(get("cell/conter/x/events"), 404, "unknown_type")
      problem(get("cell/Counter/x/events"), 400, "invalid_name")
      problem(
        get("cell/counter/x/events", "Last-Event-ID: 1.0"),
        400, "malformed", "Last-Event-ID"
      )
    end)

    it("are followed", function()
      local stream = node:open("/v1/cell/counter/followed/events?follow=true")
      node:send("cell/counter/followed/add", data(1))
      stream.wait(count_lines, 1)
      node:send("cell/counter/other/add", data(1))
      node:run(counter.add("followed", 2) .. "\n" .. counter.add("followed", 3))
      local got = http.documents(stream.wait(count_lines, 3))
      stream.stop()
      for index, event in ipairs(got) do
        assert.equal("followed", event.actor_id)
        assert.equal(index, event.version)
      end
      local sse = node:open(
        "/v1/cell/counter/followed/events",
        { headers = { "Accept: text/event-stream", "Last-Event-ID: 2" } }
      )
      node:send("cell/counter/followed/add", data(4))
      local blocks = http.blocks(sse.wait(count_lines, 8))
      sse.stop()
      assert.same({ "3", "4" }, { blocks[1].id, blocks[2].id })
    end)
  end)

  describe("a namespace's events", function()
    local all

    setup(function()
      local lines = {}
      for index = 1, 3000 do
        lines[index] = counter.add("n" .. index % 3, index)
      end
      node:run(table.concat(lines, "\n"))
      all = events("cell/events")
    end)

    it("come in the store's order, behind a cursor", function()
      assert(#all >= 3000)
      local several
      for index = 2, #all do
        local before, event = all[index - 1], all[index]
        if event.position == before.position then
          assert.equal(before.index + 1, event.index)
          several = several or index
        else
          assert(event.position > before.position)
          assert.equal(0, event.index)
        end
      end
      assert(several, "no commit holds several events")
      -- In the midst of a commit, at its end, behind all.
      local ids = cursors(all)
      for _, at in ipairs({ several - 1, several, 1, #all - 1, #all }) do
        local rest = events("cell/events?after=" .. ids[at])
        assert.equal(#all - at, #rest)
        if rest[1] then
          assert.same(all[at + 1], rest[1])
        end
      end
      local behind = events("cell/events?after=" .. all[several].position)
      assert(behind[1].position > all[several].position)
      assert.same({}, (events("cell/events?after=999999999")))
      assert.equal(#all, #events("cell/events?after=0.0"))
    end)

    it("come in pages, none lost and none twice", function()
      local seen, after = {}, "0"
      repeat
        local page = events("cell/events?limit=700&after=" .. after)
        for _, event in ipairs(page) do
          seen[#seen + 1] = event
        end
        after = page[1] and cursors(page)[#page] or after
      until #page < 700
      assert.same(cursors(all), cursors(seen))
    end)

    it("are chosen by type", function()
      assert.equal(7, #events("cell/events?types=Added&limit=7"))
      assert.same({}, (events("cell/events?types=Removed")))
    end)

    it("say what is wrong with the question", function()
      for _, after in ipairs({ "x", "1.x", ".1", "1.", "1.2.3", "", "-1.0" }) do
        problem(get("cell/events?after=" .. after), 400, "malformed", "after")
        if after ~= "" then
          problem(
            get("cell/events", "Last-Event-ID: " .. after),
            400, "malformed", "Last-Event-ID"
          )
        end
      end
      problem(get("cel/events"), 404, "unknown_namespace")
    end)

    it("are server-sent events where these are asked for", function()
      local first = get("cell/events?follow=false&limit=2", SSE.headers[1])
      assert.equal("text/event-stream", first.headers["content-type"])
      assert.equal("no-store", first.headers["cache-control"])
      local blocks = http.blocks(first.body)
      assert.equal(2, #blocks)
      assert.equal(cursors(all)[1], blocks[1].id)
      assert.equal("Added", blocks[1].event)
      assert.same(all[1], blocks[1].data)
      -- The last one that came counts, not where the first question began.
      local rest = get(
        "cell/events?follow=false&limit=1&after=0",
        SSE.headers[1],
        "Last-Event-ID: " .. blocks[2].id
      )
      assert.equal(cursors(all)[3], http.blocks(rest.body)[1].id)
      for accept, kind in pairs({
        ["text/event-stream;q=0.5, */*"] = "text/event-stream",
        ["application/x-ndjson, text/event-stream;q=0.9"] = "application/x-ndjson",
        ["text/event-stream;q=0"] = "application/x-ndjson",
        ["TEXT/Event-Stream ; q=1.0,application/x-ndjson;q=0.3"] = "text/event-stream",
        ["*/*"] = "application/x-ndjson",
        ["text/*"] = "application/x-ndjson",
      }) do
        local response = get("cell/events?limit=1&follow=false", "Accept: " .. accept)
        assert.equal(kind, response.headers["content-type"], accept)
      end
    end)

    it("are followed, and end when the node does", function()
      local other = http.start(folder)
      local lines = other:open("/v1/cell/events?follow=true")
      local blocks = other:open("/v1/cell/events", SSE)
      for index = 1, 100 do
        other:send("cell/counter/live/add", data(index))
        lines.wait(count_lines, index)
      end
      blocks.wait(count_lines, 400)
      other:stop()
      for _, stream in ipairs({ lines, blocks }) do
        assert.equal(0, stream.process:wait().status)
      end
    end)

    it("answer HEAD, also where they would go on", function()
      for _, query in ipairs({ "", "?follow=true", "?limit=1" }) do
        local response = node:request("/v1/cell/events" .. query, {
          method = "HEAD",
        })
        assert.equal(200, response.status)
        assert.equal("", response.body)
      end
    end)

    it("wait for who reads slowly, in bounded memory", function()
      local store = "sqlite:" .. folder .. "/slow.db"
      local other = http.start(folder, { store = store })
      local text = ("x"):rep(2000)
      local lines = {}
      for index = 1, 10000 do
        lines[index] = counter.add("big", index, nil, {
          data = { n = index, text = text },
        })
      end
      other:run(table.concat(lines, "\n"))
      local before = other:memory()
      local stalled = {}
      for index, accept in ipairs({ "text/event-stream", "application/x-ndjson" }) do
        stalled[index] = http.start_script("stalled.mjs", {
          other.port, 50, "/v1/cell/events?follow=true", accept,
        })
      end
      for _, script in ipairs(stalled) do
        program.wait_for(function()
          return program.read(script.stdout):find("asked")
        end, "clients that do not read")
      end
      -- Somebody who reads gets all of it meanwhile.
      assert.equal(10000, #http.documents(other:request("/v1/cell/events").body))
      local grown = other:memory() - before
      for _, script in ipairs(stalled) do
        assert(script:running(), "the clients that do not read are gone")
      end
      -- 100 clients with 20 MB each that nobody reads
      assert(grown < 100000, grown .. " kB more")
      for _, script in ipairs(stalled) do
        script:kill(9)
        script:wait()
      end
      other:stop()
    end)
  end)

  it("reports a damaged record, and gives the rest", function()
    local path = folder .. "/damaged.db"
    local other = http.start(folder, { store = "sqlite:" .. path })
    for index = 1, 5 do
      other:send("cell/counter/hurt/add", data(index))
    end
    other:stop()
    local done = program.run({
      "sqlite3", path,
      "UPDATE log SET body = x'0102030405' WHERE position = 3",
    })
    assert.equal(0, done.status, done.err)
    other = http.start(folder, { store = "sqlite:" .. path })
    for _, of in ipairs({ "cell/events", "cell/counter/hurt/events" }) do
      local documents = http.documents(other:request("/v1/" .. of).body)
      assert.equal(5, #documents)
      local damage = documents[3].error
      assert.equal("replay_error", damage.code)
      assert.equal("cell/counter/hurt", damage.actor)
      assert.equal(3, damage.version)
      assert.equal(3, damage.position)
      assert.equal("0102030405", damage.bytes)
      assert.equal(4, documents[4].version)
      local response = other:request("/v1/" .. of .. "?follow=false", SSE)
      local blocks = http.blocks(response.body)
      assert.equal("damaged", blocks[3].event)
      assert.equal("replay_error", blocks[3].data.error.code)
    end
    problem(other:send("cell/counter/hurt/add", data(6)), 500, "actor_damaged")
    problem(other:request("/v1/cell/counter/hurt"), 500, "replay_error")
    other:stop()
  end)
end)
