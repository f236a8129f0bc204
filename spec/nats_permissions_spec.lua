--- #node Two tenants of one nats-server, each with what `aether
-- nats-permissions` prints.
local http = require("spec.support.http")
local json = require("dkjson")
local nats = require("spec.support.nats")
local program = require("spec.support.program")

local TOOLS = program.root .. "/build/tools"
local TENANTS = { "bank", "ce-ll.d" }

local COUNTER = [[
local event = require("aether.event")
local counter = { initial = { n = 0 }, snapshot = { version = 1, every = 2 } }
counter.decide = { add = function(_, add) return event("Added", { by = add.by }) end }
counter.evolve = { Added = function(state, added) state.n = state.n + added.by end }
return counter
]]

local function permissions(...)
  local result = program.run_aether({ "nats-permissions", ... })
  assert.equal("", result.err)
  assert.equal(0, result.status)
  return result.out
end

describe("permissions on a nats-server #node", function()
  local broker, apps, nodes = nil, {}, {}

  -- An app with this namespace, which logs in as `user`.
  local function app(space, user)
    local folder = program.folder()
    program.fill(folder, {
      ["aether.lua"] = ('return { nats = { user = "%s", password = "secret-%s" } }\n'):format(user, user),
      [space .. "/counter.lua"] = COUNTER,
    })
    return folder
  end

  local function start(space)
    return http.start(apps[space], { store = broker.url, args = { "--node", "n" } })
  end

  setup(function()
    assert(program.exists(TOOLS .. "/node_modules/nats/package.json"), "scripts/test fetches the NATS client")
    local files = { ["nats.conf"] = "accounts {\n" }
    for i, space in ipairs(TENANTS) do
      files["tenant" .. i] = permissions(space)
      files["nats.conf"] = files["nats.conf"] .. ('  include "tenant%d"\n'):format(i)
    end
    files["nats.conf"] = files["nats.conf"] .. "}\n"
    broker = nats.start({ files = files, env = {
      AETHER_NATS_PASSWORD_bank = "secret-bank",
      AETHER_NATS_PASSWORD_ce_2dll_2ed = "secret-ce-ll.d",
    } })
    for _, space in ipairs(TENANTS) do
      apps[space] = app(space, space)
      nodes[space] = start(space)
    end
  end)

  teardown(function()
    for _, node in pairs(nodes) do node:stop() end
    if broker then broker:stop() end
    for _, folder in pairs(apps) do program.remove(folder) end
  end)

  -- What each of `tries` ended with, then what each subscription heard.
  local function try(user, tries, meanwhile)
    local lines = {}
    for i, one in ipairs(tries) do lines[i] = json.encode(one) end
    local client = program.start({
      "node", program.root .. "/spec/support/nats_try.mjs", TOOLS, broker.url, user, "secret-" .. user,
    }, { stdin = table.concat(lines, "\n") .. "\n" })
    if meanwhile then meanwhile(client) end
    local result = client:wait()
    assert.equal("", result.err)
    local ends = {}
    for line in result.out:gmatch("[^\n]+") do ends[#ends + 1] = json.decode(line) end
    return ends
  end

  it("are enough for a node, its snapshots, its readers and its end", function()
    for _, space in ipairs(TENANTS) do
      local stream = nodes[space]:open("/v1/events?pattern=" .. space)
      program.wait_for(stream.head, "the answer's head")
      for n = 1, 5 do
        local answer = nodes[space]:send(space .. "/counter/a/add", ('{"by":%d}'):format(n))
        assert.equal(200, answer.status, answer.body)
      end
      stream.wait(function(text) return select(2, text:gsub("\n", "")) end, 5)
      stream.stop()
      nodes[space]:stop()
      program.run({ "rm", "-rf", apps[space] .. "/data" })
      nodes[space] = start(space)
      assert.equal(15, nodes[space]:request("/v1/" .. space .. "/counter/a").json.state.n)
      local events = program.run_aether({ "-C", apps[space], "events", space, "--store", broker.url, "--json" })
      assert.equal(0, events.status, events.err)
      assert.equal(200, nodes[space]:request("/readyz").status)
      assert.equal(5, #http.documents(events.out))
    end
    -- The server logs each thing that it refuses.
    assert.is_nil(broker:log():find("Violation", 1, true), broker:log())
  end)

  it("let a tenant's clients in, and show them nothing of the other", function()
    local command = { command = "add", data = { by = 1 } }
    local ends = try("bank", {
      { ["do"] = "subscribe", subject = "aether.events.bank" },
      { ["do"] = "request", subject = "aether.commands.bank.counter.b", body = command },
      { ["do"] = "request", subject = "$JS.API.STREAM.NAMES" },
    })
    assert.equal("ok", ends[1])
    assert.equal("accepted", ends[2].status)
    local streams = ends[3].streams
    table.sort(streams)
    assert.same({ "bank_events", "bank_snapshots" }, streams)
    assert.equal(1, ends[4].messages)
  end)

  it("shut the other's doors", function()
    local other, token = "ce-ll.d", "ce-ll_2ed"
    local subjects = {
      "aether.commands." .. token .. ".counter.a", "aether.events." .. other,
      "aether.log." .. token .. ".counter.a", "aether.snapshots." .. token .. ".counter.a",
      "aether.bases." .. token .. ".counter.a", "$JS.FC." .. token .. "_events.x",
      "$JS.API.STREAM.INFO." .. token .. "_events", "$JS.API.STREAM.MSG.GET." .. token .. "_events",
      "$JS.API.STREAM.DELETE." .. token .. "_events", "$JS.API.STREAM.PURGE." .. token .. "_events",
      "$JS.API.CONSUMER.CREATE." .. token .. "_events", "$JS.API.CONSUMER.MSG.NEXT." .. token .. "_events.x",
      "$JS.API.STREAM.UPDATE." .. token .. "_events",
      "$JS.API.STREAM.SNAPSHOT." .. token .. "_events", "$JS.API.STREAM.CREATE.any",
      "$JS.API.STREAM.LIST", "$JS.API.DIRECT.GET." .. token .. "_events", "$SYS.REQ.SERVER.PING",
    }
    local tries = {}
    for _, subject in ipairs(subjects) do
      tries[#tries + 1] = { ["do"] = "request", subject = subject, body = {} }
    end
    for _, subject in ipairs({
      "aether.events." .. other, "aether.events.>", "aether.log.>", "aether.>", ">", "$SYS.>", "$JS.>",
    }) do
      tries[#tries + 1] = { ["do"] = "subscribe", subject = subject }
    end
    local ends = try("bank", tries)
    for i, one in ipairs(tries) do
      assert.equal("refused", ends[i], one["do"] .. " " .. one.subject)
    end
    for i = #tries + 1, #ends do
      assert.equal(0, ends[i].messages)
    end
    -- A node's own listener for all namespaces hears that node alone.
    local stream = nodes.bank:open("/v1/events?pattern=%3E")
    program.wait_for(function() return nodes.bank.server:said("nats-server says no") end, "a word in the log")
    assert.equal(200, nodes.bank:send("bank/counter/own/add", '{"by":1}').status)
    stream.wait(function(text) return select(2, text:gsub("\n", "")) end, 1)
    stream.stop()
    -- What was refused did nothing.
    local actor = nodes[other]:request("/v1/" .. other .. "/counter/a")
    assert.equal(5, actor.json.version)
  end)

  it("part inboxes: what the other's node is answered", function()
    local go = apps.bank .. "/go"
    local ends = try("bank", {
      { ["do"] = "subscribe", subject = "_INBOX.>" },
      { ["do"] = "await", path = go },
      { ["do"] = "request", subject = "$JS.API.STREAM.NAMES" },
    }, function(client)
      program.wait_for(function() return program.read(client.stdout):find("ok", 1, true) end, "the subscription")
      for _ = 1, 5 do
        assert.equal(200, nodes["ce-ll.d"]:send("ce-ll.d/counter/c/add", '{"by":1}').status)
      end
      program.write(go, "")
    end)
    assert.equal("ok", ends[1])
    assert.equal(1, ends[4].messages) -- its own
  end)

  it("stop a node that serves the other's namespace with these credentials", function()
    local folder = app("ce-ll.d", "bank")
    local result = program.run_aether({
      "-C", folder, "exec", "--store", broker.url, "-",
    }, { stdin = '{"actor":"ce-ll.d/counter/a","command":"add","data":{"by":1}}\n', seconds = 60 })
    assert.equal(3, result.status)
    assert.equal("store_unavailable", http.documents(result.out)[1].error.code)
    assert.matches("Permissions Violation", result.err)
    program.fill(folder, { ["aether.lua"] = 'return { nats = { user = "bank", password = "guess" } }\n' })
    local wrong = program.run_aether({ "-C", folder, "exec", "--store", broker.url, "-" }, { stdin = "" })
    assert.equal(3, wrong.status)
    assert.matches("log in", wrong.err)
    program.remove(folder)
  end)

  it("come with a key too, and as JSON", function()
    local key = "U" .. ("A"):rep(55)
    assert.matches('nkey: "' .. key .. '"', permissions("bank", "--nkey", key))
    local document = json.decode(permissions("a.b", "--json"))
    assert.equal("a.b", document.account)
    assert.equal("AETHER_NATS_PASSWORD_a_2eb", document.password_variable)
    assert.same({ "aether.events.a.b", "aether.commands.a_2eb.>", "_INBOX.>" }, document.subscribe)
    local seed = program.run_aether({ "nats-permissions", "bank", "--nkey", "S" .. ("A"):rep(55) })
    assert.equal(2, seed.status)
    assert.is_nil(seed.err:find("SAAA", 1, true))
    assert.equal(3, program.run_aether({ "nats-permissions", "a..b" }).status)
  end)
end)
