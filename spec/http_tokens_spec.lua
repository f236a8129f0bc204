--- Who is let in over HTTP, and what a token sees: with real curl.
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local folder, node

-- Names that are easily taken for one another.
local NAMES = { "a", "a.b", "a_b", "A", "b" }

local function module_of(name, index)
  return ([[
--- Kept by %s alone.
local event = require("aether.event")
local schema = require("aether.schema")
local thing = { initial = {}, schema = { mark = { by = schema.string() } } }
thing.decide = { mark = function(_, mark) return event("Marked%d", mark) end }
thing.evolve = { Marked%d = function() end }
return thing
]]):format(name, index, index)
end

-- An app with a namespace for each name, an aggregate in it whose name tells
-- whose it is, and the tokens: name to { namespaces, rights }.
local function make_app(tokens)
  local lines, secrets = {}, {}
  for name, token in pairs(tokens) do
    local argv = { "token", name, "--json", "--namespaces", token[1] }
    argv[#argv + 1] = "--rights"
    argv[#argv + 1] = token[2]
    local made = json.decode(program.run_aether(argv, { cwd = folder }).out)
    secrets[name] = made.token
    local quoted = {}
    for _, right in ipairs(made.rights) do
      quoted[#quoted + 1] = ("%q"):format(right)
    end
    lines[#lines + 1] = ("{ name = %q, hash = %q, namespaces = { %q }, rights = { %s } },"):format(
      name, made.hash, made.namespaces[1], table.concat(quoted, ", ")
    )
  end
  local files = {
    ["aether.lua"] = "return { tokens = {\n" .. table.concat(lines, "\n") .. "\n} }\n",
  }
  for index, name in ipairs(NAMES) do
    files[name .. ("/thing%d.lua"):format(index)] = module_of(name, index)
  end
  program.fill(folder, files)
  return secrets
end

-- { status, body, headers } of what curl got. Options: `token`, `headers` (a
-- list), `method`, `url` in place of the node's.
local function curl(path, options)
  options = options or {}
  local argv = { "curl", "-sS", "-i", "--path-as-is", "--globoff" }
  local headers = options.headers or {}
  if options.token then
    headers = { "Authorization: Bearer " .. options.token, unpack(headers) }
  end
  for _, header in ipairs(headers) do
    argv[#argv + 1] = "-H"
    argv[#argv + 1] = header
  end
  if options.method then
    argv[#argv + 1] = "-X"
    argv[#argv + 1] = options.method
  end
  argv[#argv + 1] = (options.url or node.url) .. path
  local result = program.run(argv)
  assert(result.status == 0, result.err)
  local head, body = result.out:match("^(.-)\r\n\r\n(.*)$")
  return {
    status = tonumber(head:match("^HTTP/1.1 (%d+)")),
    head = head,
    body = body,
  }
end

local function assert_status(expected, answer)
  if answer.status ~= expected then
    error(("%d, not %d: %s"):format(answer.status, expected, answer.body), 2)
  end
  local challenged = answer.head:find("WWW%-Authenticate: Bearer ") ~= nil
  assert.equal(expected == 401, challenged)
end

describe("who is let in over HTTP #node", function()
  before_each(function()
    folder = program.folder()
    node = nil
  end)

  after_each(function()
    if node and not node.process.ended then
      node:kill(9)
      node:wait()
    end
    program.remove(folder)
  end)

  it("serves this machine alone where there are no tokens", function()
    make_app({})
    node = server.start(folder, { args = { "--store", "memory" } })
    assert_status(200, curl("/metrics"))
    assert_status(200, curl("/v1/admin/status"))
    assert_status(200, curl("/metrics", { headers = { "Host: localhost" } }))
    assert_status(200, curl("/metrics", { headers = { "Origin: " .. node.url } }))
    -- A page in a browser of this machine, by whatever way it comes.
    for _, header in ipairs({
      "Host: evil.example",
      "Host: evil.example:" .. node.port,
      "Host: localhost.evil.example",
      "Origin: http://evil.example",
      "Origin: http://localhost:1",
      "Origin: null",
      "Sec-Fetch-Site: cross-site",
      "X-Forwarded-For: 127.0.0.1",
      "Forwarded: for=127.0.0.1",
    }) do
      local answer = curl("/metrics", { headers = { header } })
      assert_status(401, answer)
      assert.equal("unauthenticated", json.decode(answer.body).code)
      assert_status(401, curl("/v1/a/thing1/x/mark", {
        method = "POST",
        headers = { header },
      }))
      assert_status(200, curl("/healthz", { headers = { header } }))
    end
    node:stop()
  end)

  it("does not start where others could reach it without tokens", function()
    make_app({})
    local result = program.run_aether(
      { "run", "--store", "memory", "--listen", "0.0.0.0:0" },
      { cwd = folder }
    )
    assert.equal(2, result.status, result.err)
    assert.equal("", result.out)
    assert(result.err:find("`aether token NAME`", 1, true), result.err)
  end)

  it("needs a token where there is one, also of this machine", function()
    local secrets = make_app({ one = { "a", "read" } })
    node = server.start(folder, { args = { "--store", "memory" } })
    for _, path in ipairs({ "/metrics", "/v1/openapi.json", "/v1/admin/status" }) do
      local answer = curl(path)
      assert_status(401, answer)
      assert.equal("application/problem+json", answer.head:match("Content%-Type: ([^\r]+)"))
      assert_status(401, curl(path, { token = secrets.one .. "x" }))
      assert_status(401, curl(path, { token = secrets.one:sub(1, -2) }))
      assert_status(401, curl(path, { headers = { "Authorization: Basic eDp5" } }))
    end
    assert_status(200, curl("/metrics", { token = secrets.one }))
    assert_status(200, curl("/healthz"))
    assert_status(200, curl("/readyz"))
    local forbidden = curl("/v1/admin/status", { token = secrets.one })
    assert_status(403, forbidden)
    assert.equal("admin", json.decode(forbidden.body).needs)
    -- Nothing of the secret is said or logged.
    assert(not node:stop().err:find(secrets.one, 1, true))
  end)

  it("is reached from elsewhere with a token", function()
    local secrets = make_app({ one = { ">", "none" } })
    node = server.start(folder, { args = { "--store", "memory", "--listen", "0.0.0.0:0" } })
    local url = "http://127.0.0.1:" .. node.port
    assert_status(401, curl("/metrics", { url = url }))
    assert_status(200, curl("/metrics", { url = url, token = secrets.one }))
    assert(node:said("unencrypted"))
    node:stop()
  end)

  it("shows a token nothing of namespaces that are not its own", function()
    local secrets = make_app({
      a = { "a", "command,read,listen,admin" },
      all = { ">", "command,read,listen,admin" },
    })
    for index, name in ipairs(NAMES) do
      local line = ('{"actor":"%s/thing%d/planted-%d","command":"mark","data":{"by":"planted"}}\n'):format(
        name, index, index
      )
      local result = program.run_aether({ "exec", "-" }, { cwd = folder, stdin = line })
      assert.equal(0, result.status, result.err)
    end
    node = server.start(folder)
    local paths = { "/metrics", "/v1/openapi.json", "/v1/admin/status" }
    for _, name in ipairs({ "a.b", "a_b", "A", "b", "nowhere" }) do
      for _, rest in ipairs({ "/events", "/thing2/planted-2", "/thing2/planted-2/events" }) do
        paths[#paths + 1] = "/v1/" .. name .. rest
      end
    end
    for _, path in ipairs(paths) do
      local answer = curl(path, { token = secrets.a })
      for index = 2, #NAMES do
        for _, sign in ipairs({
          "thing" .. index,
          "planted-" .. index,
          "Marked" .. index,
          ("namespace=%q"):format(NAMES[index]),
          ("Kept by %s alone"):format(NAMES[index]),
          folder .. "/" .. NAMES[index],
        }) do
          -- What it asked for, it may be told back.
          if not path:find(sign, 1, true) and answer.body:find(sign, 1, true) then
            error(("GET %s shows %s: %s"):format(path, sign, answer.body))
          end
        end
      end
    end
    local mine = curl("/metrics", { token = secrets.a }).body
    assert(mine:find('aether_store_events{namespace="a"} 1\n', 1, true), mine)
    assert(not mine:find("process_", 1, true), "the whole process")
    assert(not mine:find("aether_http_", 1, true), "everybody's requests")
    local all = curl("/metrics", { token = secrets.all }).body
    for _, name in ipairs(NAMES) do
      local series = ('aether_store_events{namespace="%s"} 1\n'):format(name)
      assert(all:find(series, 1, true), series)
    end
    assert(all:find("\nprocess_cpu_seconds_total ", 1, true))
    -- One that is there looks like one that is not.
    local there = curl("/v1/b/events", { token = secrets.a })
    local nowhere = curl("/v1/c/events", { token = secrets.a })
    assert.equal(there.status, nowhere.status)
    assert.equal((there.body:gsub("'b'", "'c'"):gsub('"b"', '"c"')), nowhere.body)
    node:stop()
  end)
end)
