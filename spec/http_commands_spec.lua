--- Commands over HTTP: one by one, and as lines in a stream.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local json = require("dkjson")
local program = require("spec.support.program")

describe("commands over HTTP #node", function()
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

  local function data(n)
    return ('{"n":%d}'):format(n)
  end

  local function problem(response, status, code, at)
    assert.equal(status, response.status, response.body)
    assert.equal("application/problem+json", response.headers["content-type"])
    assert.equal(code, response.json.code)
    assert.equal(status, response.json.status)
    assert.is_true(#response.json.detail > 5)
    if at then
      assert.equal(at, response.json.at)
    end
    return response.json
  end

  it("answers one with the outcome that exec prints", function()
    local response = node:send("cell/counter/one/add", data(5))
    assert.equal(200, response.status)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal('"1"', response.headers.etag)
    local outcome = response.json
    assert.is_nil(outcome.line)
    local printed =
      counter.exec(folder, "memory", counter.add("one", 5)).outcomes[1]
    for name in pairs(printed) do
      assert(name == "line" or outcome[name] ~= nil, "no " .. name)
    end
    assert.equal("cell/counter/one", outcome.actor)
    assert.equal("add", outcome.command)
    assert.equal("accepted", outcome.status)
    assert.equal(1, outcome.version)
    assert.equal("Added", outcome.events[1].type)
    assert.equal(5, outcome.events[1].data.n)
    assert.equal(0, outcome.events[1].index)
  end)

  it("takes no body as no data, and numbers exactly", function()
    local response = node:send("cell/counter/none/refuse")
    problem(response, 422, "rejected")
    response = node:send("cell/counter/none/add", '{"n":9007199254740993}')
    assert.matches('"data":{"n":9007199254740993}', response.body, 1, true)
    response = node:send("cell/counter/none/add", '{"n":18446744073709551616}')
    assert.matches("2%^64", problem(response, 400, "malformed").detail)
  end)

  it("says why decide said no", function()
    node:send("cell/counter/no/add", data(5))
    local said = problem(node:send("cell/counter/no/refuse"), 422, "rejected")
    assert.equal("refused", said.reason)
    assert.same({ count = 1 }, said.details)
  end)

  it("compares If-Match with the version", function()
    local function add(tag)
      return node:send(
        "cell/counter/match/add",
        data(1),
        { headers = { "If-Match: " .. tag } }
      )
    end
    assert.equal(200, add('"0"').status)
    local said = problem(add('"0"'), 409, "version_conflict")
    assert.equal(0, said.attempted_version)
    assert.equal(1, said.current_version)
    assert.equal('"2"', add('"1"').headers.etag)
    for _, tag in ipairs({
      "*", 'W/"2"', '"2", "3"', "2", '"two"', '"', '"2" "3"', '"-1"',
      '"18446744073709551616"', '"18446744073709551615"',
    }) do
      problem(add(tag), 400, "malformed", "If-Match")
    end
    local response = node:send("cell/counter/match/add", data(1), {
      headers = { "If-None-Match: *" },
    })
    said = problem(response, 400, "malformed", "If-None-Match")
    assert.matches('If-Match: "0"', said.detail, 1, true)
    assert.equal(2, node:request("/v1/cell/counter/match").json.version)
  end)

  it("does a command once under its Idempotency-Key", function()
    local function add(key, n)
      return node:send(
        "cell/counter/once/add",
        data(n or 1),
        { headers = { "Idempotency-Key: " .. key } }
      )
    end
    local first = add("k-1").json
    assert.equal("k-1", first.id)
    assert.equal("k-1", first.events[1].metadata.command_id)
    -- As it stands, or as a string of structured headers.
    local again = add('"k-1"')
    assert.equal(200, again.status)
    assert.equal('"1"', again.headers.etag)
    assert.is_true(again.json.repeated)
    assert.equal(first.events[1].id, again.json.events[1].id)
    assert.equal("k-1", problem(add("k-1", 2), 409, "id_reused").id)
    assert.equal('a"b\\c', add('"a\\"b\\\\c"').json.id)
    assert.equal("müll", add("müll").json.id)
    local longest = ("x"):rep(255)
    assert.equal(longest, add(longest).json.id)
    for _, key in ipairs({
      ("x"):rep(256), '""', '"', '"a', '"a"b', '"a\\b"', "\255\254",
    }) do
      problem(add(key), 400, "malformed")
    end
    local response = node:send("cell/counter/once/add", data(1), {
      more = { "-H", "Idempotency-Key;" },
    })
    problem(response, 400, "malformed")
    assert.equal(4, node:request("/v1/cell/counter/once").json.version)
  end)

  it("hands correlation and trace on to the events", function()
    local trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    local function metadata(...)
      local response = node:send(
        "cell/counter/trace/add",
        data(1),
        { headers = { ... } }
      )
      assert.equal(200, response.status, response.body)
      return response.json.events[1].metadata
    end
    local got = metadata("traceparent: " .. trace, "X-Correlation-Id: c-1")
    assert.equal(trace, got.traceparent)
    assert.equal("c-1", got.correlation_id)
    assert.equal("c-2", metadata("Correlation-Id: c-2").correlation_id)
    -- What is no trace is not passed on, and no mistake (W3C Trace Context).
    for _, wrong in ipairs({
      trace:upper(), trace .. "-x", trace:sub(1, 54), "ff" .. trace:sub(3),
      trace:gsub("0af7651916cd43dd8448eb211c80319c", ("0"):rep(32)),
      trace:gsub("b7ad6b7169203331", ("0"):rep(16)), "x", trace:gsub("-", "_"),
    }) do
      assert.is_nil(metadata("traceparent: " .. wrong).traceparent)
    end
    local later = "cc" .. trace:sub(3) .. "-more"
    assert.equal(later, metadata("traceparent: " .. later).traceparent)
    problem(
      node:send("cell/counter/trace/add", data(1), {
        headers = { "X-Correlation-Id: " .. ("x"):rep(256) },
      }),
      400, "malformed", "x-correlation-id"
    )
  end)

  it("demands JSON, and says what it takes", function()
    local function add(options)
      return node:send("cell/counter/type/add", '{"n":1}', options)
    end
    for _, good in ipairs({
      "application/json", "Application/JSON; charset=UTF-8",
      'application/json;charset="utf-8"', "application/json ; x=y",
    }) do
      assert.equal(200, add({ type = good }).status, good)
    end
    for _, bad in ipairs({
      "text/plain", "application/x-www-form-urlencoded", "application/json5",
      "application/json; charset=latin1", "json", false,
    }) do
      local response = add({ type = bad })
      problem(response, 415, "malformed", "Content-Type")
      assert.equal("application/json", response.headers.accept)
    end
    local response = add({ headers = { "Content-Encoding: gzip" } })
    problem(response, 415, "malformed")
    response = add({ headers = { "Content-Encoding: identity" } })
    assert.equal(200, response.status)
  end)

  it("says where the body is no data", function()
    local function add(body)
      return problem(node:send("cell/counter/bad/add", body), 400, "malformed")
    end
    assert.equal(6, add('{"n":1x}').at)
    assert.matches("object", add("[1]").detail)
    assert.matches("object", add('"n"').detail)
    assert.matches("equal keys", add('{"n":1,"n":2}').detail)
    assert.matches("UTF%-8", add('{"n":"\255"}').detail)
    assert.matches("empty", add(" ").detail)
    add(("["):rep(100000))
  end)

  it("names the nearest of what is not there", function()
    local function nearest(path, code)
      return problem(node:send(path, "{}"), 404, code).nearest
    end
    assert.equal("add", nearest("cell/counter/x/ad", "unknown_command"))
    assert.equal("counter", nearest("cell/conter/x/add", "unknown_type"))
    assert.equal("cell", nearest("cel/counter/x/add", "unknown_namespace"))
    problem(
      node:send("cell/counter/x/add?dry=true", "{}"),
      400, "malformed", "dry"
    )
    problem(node:send("cell/Counter/x/add", "{}"), 400, "invalid_name")
    problem(
      node:send("cell/counter/" .. ("x"):rep(256) .. "/add", "{}"),
      400, "invalid_name"
    )
    problem(
      node:send("cell/counter/x/" .. ("a"):rep(256), "{}"),
      400, "invalid_name"
    )
  end)

  describe("as lines", function()
    it("gives an outcome for each line, in their order", function()
      local lines = {}
      for index = 1, 3000 do
        lines[index] = index % 7 == 0 and "nonsense"
          or counter.add("l" .. index % 13, index)
      end
      local response = node:run(table.concat(lines, "\n"))
      assert.equal(200, response.status)
      assert.equal("application/x-ndjson", response.headers["content-type"])
      assert.equal(3000, #response.documents)
      local versions = {}
      for index, outcome in ipairs(response.documents) do
        assert.equal(index, outcome.line)
        if index % 7 == 0 then
          assert.equal("failed", outcome.status)
          assert.equal("malformed", outcome.error.code)
        else
          local version = (versions[outcome.actor] or 0) + 1
          versions[outcome.actor] = version
          assert.equal(version, outcome.version)
          assert.equal(index, outcome.events[1].data.n)
        end
      end
    end)

    it("goes on behind whatever a line is", function()
      local response = node:run(table.concat({
        "\239\187\191" .. counter.add("w", 1, "w-1"),
        "",
        "  \t\r",
        counter.add("w", 2) .. "\r",
        '{"actor":"cell/counter/w","command":"refuse"}',
        '{"actor":"cel/counter/w","command":"add"}',
        '{"actor":"../counter/w","command":"add"}',
        counter.add("w", 3, nil, { expected_version = 7 }),
        ("x"):rep(9000000),
        counter.add("w", 3, "w-1"),
        counter.add("w", 4, nil, { metadata = { user = "ann" } }),
      }, "\n"))
      local said = {}
      for index, outcome in ipairs(response.documents) do
        said[index] = ("%d %s %s"):format(
          outcome.line,
          outcome.status,
          outcome.error and outcome.error.code or outcome.version
        )
      end
      assert.same({
        "1 accepted 1", "4 accepted 2", "5 rejected rejected",
        "6 failed unknown_namespace", "7 failed invalid_name",
        "8 conflict version_conflict", "9 failed too_large",
        "10 conflict id_reused", "11 accepted 3",
      }, said)
      local last = response.documents[#response.documents]
      assert.equal("ann", last.events[1].metadata.user)
    end)

    it("takes no lines", function()
      local response = node:run("")
      assert.equal(200, response.status)
      assert.equal("", response.body)
      response = node:run("\n\n")
      assert.equal("", response.body)
    end)

    it("demands NDJSON", function()
      for _, bad in ipairs({ "application/json", "text/plain", false }) do
        local response = node:request("/v1/commands", {
          method = "POST", body = counter.add("t", 1), type = bad,
        })
        problem(response, 415, "malformed", "Content-Type")
        assert.matches("application/x-ndjson", response.json.accepts, 1, true)
      end
      local response = node:request("/v1/commands?window=3", {
        method = "POST", body = "", type = "application/x-ndjson",
      })
      problem(response, 400, "malformed", "window")
    end)

    it("answers while more is to come", function()
      local result = http.script("duplex.mjs", { node.port, 25 })
      assert.equal(0, result.status, result.err)
      assert.equal("25\n", result.out)
    end)

    -- What waits for such a client is bounded, and nobody else notices.
    it("stops reading from a client that does not read", function()
      local before = node:memory()
      local greedy = http.start_script("greedy.mjs", { node.port, 300 })
      program.wait_for(function()
        return program.read(greedy.stdout):find("stuck")
      end, "the node to stop reading")
      assert.equal(200, node:send("cell/counter/calm/add", data(1)).status)
      local sent = tonumber(program.read(greedy.stdout):match("(%d+) bytes"))
      assert(sent < 40e6, sent .. " bytes were taken")
      local grown = node:memory() - before
      assert(grown < 100000, grown .. " kB more")
      greedy:kill(9)
      greedy:wait()
      assert.equal(200, node:send("cell/counter/calm/add", data(1)).status)
    end)

    it("survives clients that leave in the midst", function()
      for index = 1, 20 do
        local result = http.script("leave.mjs", { node.port, index })
        assert.equal(0, result.status, result.err)
      end
      local state = node:request("/v1/cell/counter/leaver").json
      local events = node:request("/v1/cell/counter/leaver/events").body
      assert.equal(state.version, #http.documents(events))
    end)
  end)

  it("counts versions of an actor without gaps, from many clients", function()
    local clients = {}
    for client = 1, 4 do
      local lines = {}
      for index = 1, 500 do
        lines[index] = counter.add("many", index, client .. "-" .. index)
      end
      local path = ("%s/many-%d"):format(folder, client)
      program.write(path, table.concat(lines, "\n"))
      clients[client] = program.start({
        "curl", "-sS", "--data-binary", "@" .. path,
        "-H", "Content-Type: application/x-ndjson", node.url .. "/v1/commands",
      })
    end
    local seen = {}
    for _, client in ipairs(clients) do
      for _, outcome in ipairs(http.documents(client:wait().out)) do
        assert.equal("accepted", outcome.status)
        assert.is_nil(seen[outcome.version])
        seen[outcome.version] = true
      end
    end
    assert.equal(2000, #seen)
  end)

  it("has JSON that json.encode made", function()
    local text = json.encode({ n = 1, text = 'ü "\\\n\1' })
    local response = node:send("cell/counter/text/add", text)
    assert.equal('ü "\\\n\1', response.json.events[1].data.text)
  end)
end)
