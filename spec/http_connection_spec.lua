--- What lies below the routes of the HTTP door, with curl and with clients that
-- no library would be: connections, framing, limits, TLS, crowds.
local certificates = require("spec.support.certificate")
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local program = require("spec.support.program")

describe("an HTTP connection #node", function()
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

  -- Sends bytes as they are; what came back until the node closed, or until
  -- `enough` of what came so far.
  local function raw(bytes, enough)
    local connection = node.server:connect()
    connection.unsent = bytes
    program.wait_for(function()
      connection:turn()
      return connection.over or enough and enough(connection.got)
    end, "an answer to " .. bytes:sub(1, 60))
    connection:close()
    return connection.got
  end

  local function count(text, part)
    local _, times = text:gsub(part, "")
    return times
  end

  local get = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
  local closing = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    .. "Connection: close\r\n\r\n"

  it("is kept for the next request", function()
    local url = node.url .. "/healthz"
    local result = program.run({
      "curl", "-sS", "-w", "%{http_code} %{num_connects}\n",
      "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", url, url, url,
    })
    assert.equal("200 1\n200 0\n200 0\n", result.out, result.err)
  end)

  it("ends where the client asks for it", function()
    local got = raw(closing)
    assert.matches("^HTTP/1.1 200 ", got)
    assert.matches("\r\nConnection: close\r\n", got, 1, true)
  end)

  it("answers requests that come in one go, in their order", function()
    local parts, wanted = {}, {}
    for i = 1, 300 do
      local path = i % 3 == 0 and "/healthz" or "/nowhere/" .. i
      parts[i] = get:gsub("/healthz", path)
      wanted[i] = i % 3 == 0 and "200" or "404 /nowhere/" .. i
    end
    parts[#parts + 1] = closing
    local got, statuses = raw(table.concat(parts)), {}
    for status, body in got:gmatch("HTTP/1%.1 (%d%d%d).-\r\n\r\n(%b{})") do
      local path = body:match("nothing at '([^']*)'")
      statuses[#statuses + 1] = status .. (path and " " .. path or "")
    end
    assert.equal(301, #statuses)
    for i = 1, 300 do
      assert.equal(wanted[i], statuses[i])
    end
  end)

  it("takes bodies in chunks", function()
    local response = node:send("cell/counter/chunked/add", '{"n":5}', {
      headers = { "Transfer-Encoding: chunked" },
    })
    assert.equal(200, response.status)
    assert.equal(5, response.json.events[1].data.n)
  end)

  it("tells a client that waits for it to send the body", function()
    local head = "POST /v1/cell/counter/expect/add HTTP/1.1\r\n"
      .. "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
      .. "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n"
    local connection = node.server:connect()
    connection.unsent = head
    program.wait_for(function()
      connection:turn()
      return connection.got:match("^HTTP/1.1 100 Continue\r\n\r\n$")
    end, "100 Continue")
    connection.unsent = '{"n":1}'
    local answer = program.wait_for(function()
      connection:turn()
      return connection:answer()
    end, "the outcome")
    assert.equal(200, answer.status)
    connection:close()
  end)

  it("answers who has closed its half", function()
    local connection = node.server:connect()
    assert(connection.tcp:send(get))
    connection.tcp:shutdown("send")
    program.wait_for(function()
      connection:turn()
      return connection.over
    end, "the end")
    assert.matches("^HTTP/1.1 200 .*\r\n\r\n{", connection.got)
    connection:close()
  end)

  it("has limits, and says which", function()
    local function refused(status, options, path)
      local response = node:request(path or "/v1/cell/counter/a/add", options)
      assert.equal(status, response.status, response.body)
      assert.equal("application/problem+json", response.headers["content-type"])
      assert(response.json.limit > 10, response.body)
      return response
    end
    refused(414, {}, "/" .. ("x"):rep(17000))
    refused(431, { headers = { "X: " .. ("x"):rep(17000) } })
    local many = {}
    for i = 1, 70 do
      many[i] = "X" .. i .. ": y"
    end
    refused(431, { headers = many })
    local big = ("x"):rep(8 * 1024 * 1024 + 1)
    refused(413, { method = "POST", body = big })
    refused(413, {
      method = "POST",
      body = big,
      headers = { "Transfer-Encoding: chunked", "Expect:" },
    })
    assert.equal(200, node:request("/healthz").status)
  end)

  it("says what can be done where something else is asked", function()
    local response = node:request("/healthz", { method = "DELETE" })
    assert.equal(405, response.status)
    assert.equal("GET, HEAD", response.headers.allow)
    response = node:request("/v1/commands", { method = "HEAD" })
    assert.equal(405, response.status)
    assert.equal("POST", response.headers.allow)
    response = node:request("/healthz", { method = "HEAD" })
    assert.equal(200, response.status)
    assert.equal("", response.body)
    assert.equal("16", response.headers["content-length"])
  end)

  it("is no way to send two requests as one", function()
    local post = "POST /v1/cell/counter/smuggled/add HTTP/1.1\r\n"
      .. "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
    for _, framing in ipairs({
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
      "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
      "Content-Length: 5, 5\r\n\r\n12345",
      "Transfer-Encoding: chunked\r\n\r\n0\n\n",
      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
      "Content-Length: 0\n\n",
    }) do
      local got = raw(post .. framing .. get)
      assert.matches("^HTTP/1.1 400 ", got)
      assert.equal(1, count(got, "HTTP/1%.1 "), got)
    end
    assert.equal(0, node:request("/v1/cell/counter/smuggled").json.version)
  end)

  it("lives through bytes that are nothing", function()
    math.randomseed(tonumber(os.getenv("AETHER_SEED")) or 7)
    local starts = { "", get, "GET / HTTP/1.1\r\n", "POST /v1/commands HTTP/1.1"
      .. "\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n" }
    for i = 1, 100 do
      local bytes = {}
      for k = 1, math.random(1, 3000) do
        bytes[k] = string.char(math.random(0, 255))
      end
      local connection = node.server:connect()
      connection.unsent = starts[i % #starts + 1] .. table.concat(bytes)
      for _ = 1, 3 do
        connection:turn()
      end
      connection:close()
    end
    assert.equal(200, node:request("/healthz").status)
  end)

  it("is one of a thousand", function()
    local before = node:memory()
    local crowd = http.start_script("crowd.mjs", { node.port, 1000 })
    local said = program.wait_for(function()
      return program.read(crowd.stdout):match("here (%d+ %d+)\n")
    end, "a thousand answers")
    assert.equal("1000 0", said)
    -- Kernel aside: sockets and their buffers are not the node's.
    local each = (node:memory() - before) / 1000
    assert(program.is_slow or each < 8, each .. " KB a connection")
    assert.equal(200, node:request("/healthz").status)
    crowd:kill(9)
    crowd:wait()
    program.wait_for(function()
      local metrics = node:request("/metrics").body
      return tonumber(metrics:match("\naether_http_connections (%d+)")) < 10
    end, "the thousand to be gone")
  end)

  it("takes a body of 100 MB in bounded memory", function()
    local lines = folder .. "/lines"
    local file = assert(io.open(lines, "wb"))
    local text = ("x"):rep(10000)
    local line = ('{"actor":"cell/counter/big","command":"refuse","data":'
      .. '{"text":"%s"}}\n'):format(text)
    local all = math.floor(100 * 1024 * 1024 / #line)
    for _ = 1, all do
      file:write(line)
    end
    file:close()
    local before = node:memory()
    local uploading = program.start({
      "curl", "-sS", "-T", lines, "-X", "POST", "-H",
      "Content-Type: application/x-ndjson", node.url .. "/v1/commands",
    }, { seconds = 300 })
    local most = 0
    while uploading:running() do
      most = math.max(most, node:memory())
      local asked = os.time()
      assert.equal(200, node:request("/healthz").status)
      assert(os.time() - asked < 20) -- others are served meanwhile
    end
    local result = uploading:wait()
    assert.equal(0, result.status, result.err)
    assert.equal(all, count(result.out, '"status":"rejected"'))
    assert(most - before < 65536, most - before .. " KB more")
  end)
end)

describe("the times of an HTTP connection #node", function()
  local folder, node

  setup(function()
    folder = program.folder()
    counter.app(folder)
    program.write(folder .. "/aether.lua", [[return { http = {
      connections = 50, header_kb = 1, header_s = 1, body_s = 1, idle_s = 1,
      send_s = 1 } }]])
    node = http.start(folder)
  end)

  teardown(function()
    node:stop()
    program.remove(folder)
  end)

  -- What the node says to who sends that, and then nothing more.
  local function waits_for(bytes)
    local connection = node.server:connect()
    connection.unsent = bytes
    program.wait_for(function()
      connection:turn()
      return connection.over
    end, "the node to lose patience")
    connection:close()
    return connection.got
  end

  it("end where nothing comes", function()
    assert.equal("", waits_for(""))
    assert.matches("^HTTP/1.1 408 ", waits_for("GET / HTTP/1.1\r\nHo"))
    assert.matches("^HTTP/1.1 408 ", waits_for("POST /v1/cell/counter/a/add "
      .. "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
      .. "Content-Length: 7\r\n\r\n{"))
    local idle = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert.matches("^HTTP/1.1 200 .*}%s*$", waits_for(idle))
  end)

  it("come with its limits from the settings", function()
    local response = node:request("/" .. ("x"):rep(1100))
    assert.equal(414, response.status)
    assert.equal(1024, response.json.limit)
  end)

  local function metric(name)
    local metrics = node:request("/metrics").body
    return tonumber(metrics:match("\naether_http_" .. name .. " (%d+)"))
  end

  it("end for those who never read, and others notice nothing", function()
    local lines = {}
    for i = 1, 20000 do
      lines[i] = ('{"actor":"cell/counter/c-%d","command":"add",'
        .. '"data":{"n":1,"text":"%s"}}\n'):format(i % 100, ("x"):rep(1000))
    end
    assert.equal(20000, #node:run(table.concat(lines)).documents)
    local before, sent = node:memory(), metric("sent_bytes_total")
    local accepted = metric("connections_accepted_total")
    local stalled = http.start_script("stalled.mjs",
      { node.port, 20, "/v1/cell/events?follow=true", "text/event-stream" })
    program.wait_for(function()
      return program.read(stalled.stdout):match("asked")
    end, "the stalled")
    program.wait_for(function()
      accepted = accepted + 2 -- these two
      assert.equal(200, node:send("cell/counter/other/add", '{"n":1}').status)
      local all_came = metric("connections_accepted_total") >= accepted + 20
      accepted = accepted + 1
      assert(node:memory() - before < 40000, node:memory() - before)
      return metric("connections") <= 2 and all_came
    end, "the node to cut them")
    -- They were owed all of it, and got what the sockets hold.
    sent = metric("sent_bytes_total") - sent
    assert(sent > 20 * 1e4 and sent < 20 * 2e7 / 2, sent)
    stalled:kill(9)
    stalled:wait()
  end)

  it("has room for so many", function()
    local crowd = http.start_script("crowd.mjs", { node.port, 60 })
    local said = program.wait_for(function()
      return program.read(crowd.stdout):match("here (%d+ %d+)\n")
    end, "sixty answers")
    local answered = tonumber(said:match("^%d+"))
    assert(answered >= 49 and answered < 60, said)
    crowd:kill(9)
    crowd:wait()
    program.wait_for(function()
      local ok, count = pcall(metric, "connections") -- 503 while there is no room
      return ok and count and count < 10
    end, "room")
  end)
end)

describe("HTTP over TLS #node", function()
  local folder, node

  local function certificate(name, signer)
    certificates.make(folder, name, signer)
  end

  local function settings(text)
    program.write(folder .. "/aether.lua", "return { tls = {" .. text .. "} }")
  end

  local function curl(...)
    return program.run({ "curl", "-sS", "-w", "%{http_code}", ... })
  end

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    certificate("one")
    node = nil
  end)

  after_each(function()
    if node then
      node:stop()
    end
    program.remove(folder)
  end)

  it("serves from TLS 1.2 on, and says so to who comes without", function()
    settings([[certificate = "one.pem", key = "one.key"]])
    node = http.start(folder)
    assert.matches("^https://127.0.0.1:%d+$", node.url)
    local trust = folder .. "/one.pem"
    local function get(...)
      return curl("--cacert", trust, node.url .. "/healthz", ...)
    end
    assert.matches("200$", get().out)
    assert.matches("200$", get("--tlsv1.2", "--tls-max", "1.2").out)
    assert.equal(35, get("--tls-max", "1.1").status)
    assert.equal(60, curl(node.url .. "/healthz").status)
    local plain = curl("http://127.0.0.1:" .. node.port .. "/healthz")
    assert.matches("use https://.*400$", plain.out)
    local lines = {}
    for i = 1, 20000 do
      lines[i] = counter.add("tls", i)
    end
    program.write(folder .. "/lines", table.concat(lines, "\n") .. "\n")
    local sent = program.run({
      "curl", "-sS", "--cacert", trust, "-T", folder .. "/lines", "-X",
      "POST", "-H", "Content-Type: application/x-ndjson",
      node.url .. "/v1/commands",
    })
    local _, accepted = sent.out:gsub('"status":"accepted"', "")
    assert.equal(20000, accepted, sent.err)
  end)

  it("asks clients for certificates where `ca` is set", function()
    certificate("signer")
    certificate("client", "signer")
    settings([[certificate = "one.pem", key = "one.key", ca = "signer.pem"]])
    node = http.start(folder)
    local function get(name)
      local argv = { "--cacert", folder .. "/one.pem", node.url .. "/healthz" }
      if name then
        argv[#argv + 1] = "--cert"
        argv[#argv + 1] = folder .. "/" .. name .. ".pem"
        argv[#argv + 1] = "--key"
        argv[#argv + 1] = folder .. "/" .. name .. ".key"
      end
      return curl(unpack(argv))
    end
    assert.matches("200$", get("client").out)
    assert.not_equal(0, get().status)
    assert.not_equal(0, get("one").status)
  end)

  it("does not start with what is no certificate or not its key", function()
    certificate("other")
    for text, part in pairs({
      [ [[certificate = "none.pem", key = "one.key"]] ] = "none.pem: No such",
      [ [[certificate = "one.key", key = "one.key"]] ] = "one.key: it holds none",
      [ [[certificate = "one.pem", key = "other.key"]] ] = "another certificate's",
      [ [[certificate = "one.pem"]] ] = "has no key",
      [ [[key = "one.key"]] ] = "has no certificate",
    }) do
      settings(text)
      local result = program.run_aether({
        "-C", folder, "run", "--store", "memory", "--listen", "127.0.0.1:0",
      })
      assert.equal(2, result.status, result.err)
      assert.matches(part, result.err, 1, true)
    end
  end)

  it("takes up a certificate that was renewed, on SIGHUP", function()
    certificate("two")
    settings([[certificate = "now.pem", key = "now.key"]])
    local function use(name)
      for _, kind in ipairs({ ".pem", ".key" }) do
        program.write(folder .. "/now" .. kind,
          program.read(folder .. "/" .. name .. kind))
      end
    end
    local function get(name)
      return curl("--cacert", folder .. "/" .. name .. ".pem",
        node.url .. "/healthz").status
    end
    use("one")
    node = http.start(folder, { session = true })
    assert.equal(0, get("one"))
    use("two")
    program.write(folder .. "/now.key", "no key")
    node.server:kill(1)
    program.wait_for(function()
      return node.server:said("the old certificate stays")
    end, "the refusal")
    assert.equal(0, get("one"))
    use("two")
    node.server:kill(1)
    program.wait_for(function()
      return node.server:said("the certificate was read again")
    end, "the renewal")
    assert.equal(0, get("two"))
    assert.equal(60, get("one"))
  end)
end)
