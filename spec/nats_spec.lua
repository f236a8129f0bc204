--- #node A node whose store is a real nats-server, and clients over NATS.
local certificate = require("spec.support.certificate")
local json = require("dkjson")
local nats = require("spec.support.nats")
local program = require("spec.support.program")
local server = require("spec.support.server")

local TOOLS = program.root .. "/build/tools"

local COUNTER = [[
--- Counts.
local event = require("aether.event")
local counter = { initial = { n = 0 } }
counter.decide = {
  add = function(_, add)
    if add.by == 0 then return nil, "nothing", { hint = "more" } end
    return event("Added", { by = add.by })
  end,
}
counter.evolve = { Added = function(state, added) state.n = state.n + added.by end }
return counter
]]

-- What each line of `requests` was answered.
local function ask(url, requests)
  local lines = {}
  for _, request in ipairs(requests) do
    lines[#lines + 1] = json.encode(request)
  end
  local path = os.tmpname()
  program.write(path, table.concat(lines, "\n") .. "\n")
  local result = program.run(
    { "node", program.root .. "/spec/support/nats.mjs", TOOLS, url },
    { stdin_file = path }
  )
  os.remove(path)
  assert.equal("", result.err)
  local answers = {}
  for line in result.out:gmatch("[^\n]+") do
    answers[#answers + 1] = json.decode(line)
  end
  return answers
end

describe("over NATS #node", function()
  local broker, folder, node

  setup(function()
    assert(program.exists(TOOLS .. "/node_modules/nats/package.json"), "scripts/test fetches the NATS client")
    broker = nats.start()
    folder = program.folder()
    program.fill(folder, { ["cell/counter.lua"] = COUNTER, ["c.d/counter.lua"] = COUNTER })
    node = server.start(folder, { args = { "--store", broker.url, "--node", "left" } })
  end)

  teardown(function()
    if node then node:stop() end
    if broker then broker:stop() end
    program.remove(folder)
  end)

  it("takes commands from any client, and answers as it was asked", function()
    local answers = ask(broker.url, {
      { subject = "aether.commands.cell.counter.a", body = { command = "add", data = { by = 2 }, id = "i-1" } },
      { subject = "aether.commands.cell.counter.a", body = { command = "add", data = { by = 3 } }, msgpack = true },
      { subject = "aether.commands.cell.counter.a", body = { command = "add", data = { by = 2 }, id = "i-1" } },
      { subject = "aether.commands.cell.counter.a", body = { command = "add", data = { by = 0 } } },
      { subject = "aether.commands.cell.counter.a",
        body = { command = "add", data = { by = 1 }, expected_version = 1 } },
    })
    local first, packed, again, no, conflict =
      answers[1].document, answers[2].document, answers[3].document, answers[4].document, answers[5].document
    assert.equal("application/json", answers[1].type)
    assert.equal("accepted", first.status)
    assert.equal("cell/counter/a", first.actor)
    assert.equal(1, first.version)
    assert.equal("Added", first.events[1].type)
    assert.equal("application/msgpack", answers[2].type)
    assert.equal("accepted", packed.status)
    assert.equal(3, packed.events[1].data.by)
    assert.is_true(again.repeated)
    assert.equal(1, again.version)
    assert.equal("rejected", no.status)
    assert.same({ hint = "more" }, no.error.details)
    assert.equal("conflict", conflict.status)
    assert.equal(2, conflict.error.current_version)
  end)

  it("reads names as they are encoded", function()
    local answers = ask(broker.url, {
      { subject = "aether.commands.c_2ed.counter.a_2eb_20_c3_a4", body = { command = "add", data = { by = 1 } } },
    })
    assert.equal("c.d/counter/a.b ä", answers[1].document.actor)
    assert.equal("accepted", answers[1].document.status)
  end)

  it("says what is wrong with a request", function()
    local subject = "aether.commands.cell.counter.a"
    local answers = ask(broker.url, {
      { subject = subject, raw = "{no json" },
      { subject = subject, raw = "" },
      { subject = subject, body = { command = "ad" } },
      { subject = subject, body = { command = "add", actor = "cell/counter/b" } },
      { subject = subject, body = { comand = "add" } },
      { subject = subject, raw = "\193", msgpack = true },
      { subject = "aether.commands.cell.counter", body = { command = "add" } },
      { subject = "aether.commands.cell.count.a", body = { command = "add" } },
      { subject = "aether.commands.cell.counter.a/b", body = { command = "add" } },
    })
    local codes = {}
    for i, answer in ipairs(answers) do
      assert.equal("failed", answer.document and answer.document.status, json.encode(answer))
      codes[i] = answer.document.error.code
    end
    assert.same({
      "malformed", "malformed", "unknown_command", "malformed", "malformed", "malformed",
      "invalid_name", "unknown_type", "invalid_name",
    }, codes)
    assert.equal("add", answers[3].document.error.nearest)
  end)

  it("says that it is not ready without a connection", function()
    local function ready() return node:request("GET", "/readyz").status end
    program.wait_for(function() return ready() == 200 end, "it to be ready")
    broker:kill(9)
    program.wait_for(function() return ready() == 503 end, "it to be not ready")
    broker:start()
    program.wait_for(function() return ready() == 200 end, "it to be ready again")
  end)

  it("goes on after the server was killed", function()
    broker:kill(9)
    broker:start()
    -- Before it is connected again nobody listens there.
    local answer = program.wait_for(function()
      local one = ask(broker.url, {
        { subject = "aether.commands.cell.counter.k", body = { command = "add", data = { by = 1 } } },
      })[1]
      return one.document and one
    end, "an answer of the node")
    assert.equal("accepted", answer.document.status, json.encode(answer))
  end)

  it("has the same history over the command line, and after a restart", function()
    node:stop()
    local state = json.decode(program.run_aether({
      "-C", folder, "state", "cell/counter/a", "--store", broker.url, "--json",
    }).out)
    assert.same({ n = 5 }, state.state)
    node = server.start(folder, { args = { "--store", broker.url, "--node", "left" } })
    local answers = ask(broker.url, {
      { subject = "aether.commands.cell.counter.a",
        body = { command = "add", data = { by = 1 }, expected_version = 2 } },
    })
    assert.equal(3, answers[1].document.version)
  end)

  it("is checked with its history, as the app's own store too", function()
    local result = program.run_aether({ "-C", folder, "check" }, {
      env = { AETHER_STORE = broker.url, AETHER_LISTEN = "127.0.0.1:1" },
    })
    assert.equal(0, result.status, result.err)
    assert.matches("%d+ events of %d+ actors replay", result.out)
  end)

  it("ends where its port is taken", function()
    local result = program.run_aether({
      "-C", folder, "run", "--store", broker.url, "--node", "other",
      "--listen", node.url:match("//(.*)"),
    }, { seconds = 30 })
    assert.equal(3, result.status)
    assert.matches("another program listens there", result.err)
  end)

  it("tells a second node of the same name", function()
    local result = program.run_aether({
      "-C", folder, "run", "--store", broker.url, "--node", "left", "--listen", "127.0.0.1:0",
    }, { seconds = 30 })
    assert.equal(3, result.status)
    assert.matches("left", result.err)
  end)

  it("leaves nothing of followers that have no name", function()
    local path = program.folder()
    local result = program.run_aether({
      "-C", folder, "events", "cell", "--store", broker.url,
    }, { env = { TMPDIR = path } })
    assert.equal(0, result.status)
    assert.matches("Added", result.out)
    assert.equal("", program.run({ "ls", "-A", path }).out)
    program.remove(path)
  end)

  it("takes away what killed ones left, and nothing else", function()
    local path = program.folder()
    local env = { TMPDIR = path }
    local function listed()
      return program.run({ "ls", "-A", path }).out
    end
    local function reader(...)
      return program.start_aether(
        { "-C", folder, "events", "cell", "--store", broker.url, ... },
        { env = env }
      )
    end
    local function follower()
      local one = reader("--follow")
      program.wait_for(function()
        assert(one:running(), program.read(one.stderr))
        return program.size(one.stdout) > 0
      end, "a reader to follow")
      return one
    end
    local killed = follower()
    killed:kill(9)
    killed:wait()
    local left = listed()
    assert.matches("^aether%-follow%-%w+\n$", left)
    left = path .. "/" .. left:sub(1, -2)
    -- What only looks like one.
    program.fill(path, { ["kept/events.db"] = "mine" })
    program.run({ "ln", "-s", path .. "/kept", path .. "/aether-follow-linked" })
    program.fill(path, { ["aether-follow-longer.d/events.db"] = "mine" })
    program.run({ "mkdir", path .. "/aether-follow-others" })
    -- Only root can make one that is another user's.
    local others = program.run({ "chown", "65534", path .. "/aether-follow-others" }).status == 0
    local living = follower()
    assert.is_false(program.exists(left))
    assert.equal(others, program.exists(path .. "/aether-follow-others"))
    assert.equal("mine", program.read(path .. "/kept/events.db"))
    assert.is_true(program.exists(path .. "/aether-follow-linked"))
    assert.equal("mine", program.read(path .. "/aether-follow-longer.d/events.db"))
    -- Several at once, each of which looks at what the others are making.
    local readers, all = {}, nil
    for i = 1, 8 do readers[i] = reader() end
    for i = 1, 8 do
      local result = readers[i]:wait()
      assert.equal(0, result.status, result.err)
      all = all or result.out
      assert.equal(all, result.out)
    end
    -- The one that lives went through all of that.
    local before = program.size(living.stdout)
    ask(broker.url, {
      { subject = "aether.commands.cell.counter.z", body = { command = "add", data = { by = 1 } } },
    })
    program.wait_for(function()
      return program.size(living.stdout) > before
    end, "what is new to be told")
    living:kill(15)
    living:wait()
    local names = listed():gsub("aether%-follow%-others\n", "")
    assert.equal("aether-follow-linked\naether-follow-longer.d\nkept\n", names)
    program.remove(path)
  end)
end)

describe("over a NATS server that wants a password #node", function()
  it("logs in as the store's address says, and shows no password", function()
    local broker = nats.start({ files = {
      ["nats.conf"] = 'authorization { user: ada, password: "ge:he@im" }\n',
    } })
    local folder = program.folder()
    program.fill(folder, { ["cell/counter.lua"] = COUNTER })
    local function with(login) return (broker.url:gsub("//", "//" .. login .. "@")) end
    local right = with("ada:ge:he%%40im")
    local node = server.start(folder, { args = { "--store", right } })
    local added = node:request("POST", "/v1/cell/counter/a/add",
      { ["Content-Type"] = "application/json" }, '{"by":1}')
    assert.equal(200, added.status)
    local shown = node:request("GET", "/v1/admin/status").body
    assert.matches(broker.url, shown, 1, true)
    shown = shown .. json.encode(node:log())
    node:stop()
    for _, args in ipairs({ { "config" }, { "doctor" }, { "events", "cell" } }) do
      local argv = { "-C", folder, unpack(args) }
      local result = program.run_aether(argv, { env = { AETHER_STORE = right, AETHER_LISTEN = "127.0.0.1:1" } })
      assert.is_true(result.status <= 1, result.err)
      shown = shown .. result.out .. result.err
    end
    assert.matches("Added", shown)
    local refused = program.run_aether({ "-C", folder, "events", "cell", "--store", with("ada:gewrong") })
    assert.equal(3, refused.status)
    assert.matches("Authentication Violation", refused.err)
    assert.no_matches("conn%.c", refused.err)
    shown = shown .. refused.err
    assert.no_matches("ge:he", shown)
    assert.no_matches("gewrong", shown)
    broker:stop()
    program.remove(folder)
  end)
end)

describe("over a NATS server without JetStream #node", function()
  it("says so, and does not call itself ready", function()
    local broker = nats.start({ bare = true })
    local folder = program.folder()
    program.fill(folder, { ["cell/counter.lua"] = COUNTER })
    local result = program.run_aether({ "-C", folder, "doctor", "--store", broker.url }, { seconds = 60 })
    assert.equal(1, result.status, result.out)
    assert.matches("wrong +store +JetStream is not enabled [^\n]+" .. broker.port, result.out)
    result = program.run_aether({ "-C", folder, "exec", "--store", broker.url, "-" },
      { stdin = '{"actor":"cell/counter/a","command":"add","data":{"by":1}}\n', seconds = 60 })
    assert.equal(3, result.status, result.err)
    assert.matches("JetStream is not enabled [^\n]+" .. broker.port, result.out)
    local node = server.start(folder, { args = { "--store", broker.url } })
    program.wait_for(function()
      return node:request("GET", "/readyz").status == 503
    end, "it to be not ready")
    result = program.run_aether({ "-C", folder, "status", "--url", node.url })
    assert.equal(1, result.status, result.err)
    assert.matches("JetStream [^\n]+enabled", result.out)
    node:stop()
    broker:stop()
    program.remove(folder)
  end)
end)

describe("over a NATS server that takes little #node", function()
  it("parts what is sent at once, and refuses only what is too large alone", function()
    local broker = nats.start({ files = { ["nats.conf"] = "max_payload: 65536\n" } })
    local folder = program.folder()
    program.fill(folder, { ["cell/note.lua"] = [[
--- Keeps what it is told.
local event = require("aether.event")
return {
  initial = { n = 0 },
  decide = { write = function(_, data) return event("Written", { text = data.text }) end },
  evolve = { Written = function(state) state.n = state.n + 1 end },
}
]] })
    local lines, sizes = {}, {}
    for i = 1, 200 do sizes[i] = 2000 end
    sizes[100], sizes[150] = 55000, 70000
    for i, size in ipairs(sizes) do
      lines[i] = json.encode({
        actor = "cell/note/a", command = "write", id = "i-" .. i, data = { text = ("x"):rep(size) },
      })
    end
    local result = program.run_aether({ "-C", folder, "exec", "-", "--store", broker.url },
      { stdin = table.concat(lines, "\n") .. "\n" })
    assert.equal(3, result.status, result.err)
    local accepted, failed = 0, {}
    for line in result.out:gmatch("[^\n]+") do
      local outcome = json.decode(line)
      if outcome.status == "accepted" then accepted = accepted + 1 else failed[#failed + 1] = outcome end
    end
    assert.equal(199, accepted)
    assert.equal(1, #failed)
    assert.equal(150, failed[1].line)
    assert.equal("too_large", failed[1].error.code)
    assert.matches("max_payload", failed[1].error.message)
    broker:stop()
    program.remove(folder)
  end)
end)

describe("over NATS with TLS #node", function()
  local keys, broker, folder, node

  setup(function()
    keys = program.folder()
    certificate.make(keys, "authority")
    certificate.make(keys, "server", "authority")
    certificate.make(keys, "client", "authority")
    broker = nats.start({ files = { ["nats.conf"] = ([[
tls {
  cert_file: "%s/server.pem"
  key_file: "%s/server.key"
  ca_file: "%s/authority.pem"
  verify: true
}
]]):format(keys, keys, keys) } })
  end)

  teardown(function()
    broker:stop()
    program.remove(keys)
  end)

  before_each(function()
    folder = program.folder()
    program.fill(folder, { ["cell/counter.lua"] = COUNTER })
  end)

  after_each(function()
    if node then node:stop() end
    node = nil
    program.remove(folder)
  end)

  local function settings(text)
    local whole = text:gsub("KEYS", keys)
    program.write(folder .. "/aether.lua", "return { nats = " .. whole .. " }\n")
  end

  local function exec()
    return program.run_aether({ "-C", folder, "exec", "--store", broker.url, "-" }, {
      stdin = '{"actor":"cell/counter/a","command":"add","data":{"by":1}}\n',
      seconds = 60,
    })
  end

  it("stores, reads, and connects again", function()
    settings('{ tls = { ca = "KEYS/authority.pem", certificate = "KEYS/client.pem", key = "KEYS/client.key" } }')
    local result = exec()
    assert.equal(0, result.status, result.err)
    node = server.start(folder, { args = { "--store", broker.url } })
    local function add()
      return node:request("POST", "/v1/cell/counter/a/add", { ["Content-Type"] = "application/json" }, '{"by":1}')
    end
    assert.equal(200, add().status)
    broker:kill(9)
    broker:start()
    program.wait_for(function() return add().status == 200 end, "a command after the server is back")
    assert.is_truthy(node:said("connected to nats-server again"))
  end)

  it("says what is missing", function()
    settings("{}")
    local plain = exec()
    assert.equal(3, plain.status)
    assert.matches("tls = { ca", plain.err, 1, true)
    settings('{ tls = { ca = "KEYS/authority.pem" } }')
    local unknown = exec()
    assert.equal(3, unknown.status, unknown.err)
    assert.matches("certificate =", unknown.err, 1, true)
    settings('{ tls = { ca = "KEYS/client.pem", certificate = "KEYS/client.pem", key = "KEYS/client.key" } }')
    local foreign = exec()
    assert.equal(3, foreign.status, foreign.err)
    assert.matches("certificate", foreign.err)
    settings('{ tls = { ca = "KEYS/none.pem" } }')
    local nothing = exec()
    assert.equal(3, nothing.status, nothing.err)
    assert.matches("none%.pem", nothing.err)
  end)
end)
