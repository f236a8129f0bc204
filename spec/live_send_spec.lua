--- `aether send` and `aether status` with a real node.
local json = require("dkjson")
local live = require("spec.support.live")
local program = require("spec.support.program")

local app

local function send(argv, options)
  local result = app:run({ "send", unpack(argv) }, options)
  return result, result.out ~= "" and json.decode(result.out) or nil
end

describe("aether send #node", function()
  before_each(function()
    app = live.app()
    app:start()
  end)

  after_each(function()
    app:clear()
  end)

  it("prints the outcome, and ends as it says", function()
    local result, outcome = send({ "bank/account/a-1", "open" })
    assert.equal(0, result.status, result.err)
    assert.equal("", result.err)
    assert.equal("accepted", outcome.status)
    assert.equal("Opened", outcome.events[1].type)
    result, outcome = send({ "bank/account/a-1", "deposit", '{"amount":5}', "--id", "d" })
    assert.equal(0, result.status, result.err)
    assert.equal(2, outcome.version)
    result, outcome = send({ "bank/account/a-1", "deposit", "-", "--id", "d" },
      { stdin = '{\n  "amount": 5\n}\n' })
    assert.equal(0, result.status, result.err)
    assert.equal(2, outcome.version)
    assert.is_true(outcome.repeated)
    result, outcome = send({ "bank/account/a-1", "withdraw", '{"amount":50}' })
    assert.equal(1, result.status)
    assert.equal("insufficient_funds", outcome.error.reason)
    result, outcome = send({ "bank/account/a-1", "deposit", '{"amount":1}', "--expect", "7" })
    assert.equal(1, result.status)
    assert.equal("version_conflict", outcome.error.code)
    result, outcome = send({ "bank/account/new", "open", "--expect", "0" })
    assert.equal(0, result.status)
    assert.equal(1, outcome.version)
    result, outcome = send({ "bank/account/a-1", "depost" })
    assert.equal(3, result.status)
    assert.equal("unknown_command", outcome.error.code)
  end)

  it("is the outcome that `exec` prints of the same command", function()
    local command = '{"actor":"bank/account/x","command":"withdraw","data":{"amount":5}}\n'
    local result = send({ "bank/account/x", "withdraw", '{"amount":5}' })
    local executed = app:run({ "exec", "-", "--store", "memory" }, { stdin = command })
    assert.equal(executed.out, result.out)
  end)

  it("takes any id that an actor may have", function()
    for _, id in ipairs({ "ü", "..", "a/b/../c", "%41", "a?b#c", "a b", "*", ">", "x\ny" }) do
      local result, outcome = send({ "bank/account/" .. id, "open" })
      assert.equal(0, result.status, result.err)
      assert.equal("bank/account/" .. id, outcome.actor)
      assert.equal(1, outcome.version)
    end
  end)

  it("says what is wrong with its arguments before it asks", function()
    app.node:crash()
    for part, argv in pairs({
      ["a JSON object"] = { "bank/account/a", "open", "[1]" },
      ["the command's data"] = { "bank/account/a", "open", "{amount:5}" },
      ["--expect must be"] = { "bank/account/a", "open", "--expect", "one" },
      ["usage: aether send"] = { "bank/account/a" },
      ["must be the address"] = { "bank/account/a", "open", "--url", "nonsense" },
      ["must be UTF-8"] = { "bank/account/a", "o\255" },
    }) do
      local result = send(argv)
      assert.equal(2, result.status, part)
      assert.matches(part, result.err, 1, true)
    end
    local result = send({ "bank/account", "open" })
    assert.equal(3, result.status)
  end)

  it("says that no node answers, and where", function()
    app.node:crash()
    local result = send({ "bank/account/a", "open" })
    assert.equal(3, result.status)
    assert.equal("", result.out)
    assert.matches("no node answers at http://127.0.0.1:" .. app.port, result.err, 1, true)
    result = send({ "bank/account/a", "open", "--json" })
    assert.equal("unreachable", json.decode(result.err).error.code)
    result = send({ "bank/account/a", "open", "--url", app.node.url .. "/" })
    assert.equal(3, result.status)
    assert.matches("no node answers at " .. app.node.url .. ":", result.err, 1, true)
  end)

  it("lets no proxy of the environment come between", function()
    local proxy = "http://127.0.0.1:1"
    local result = send({ "bank/account/a", "open" }, {
      env = { http_proxy = proxy, HTTP_PROXY = proxy, ALL_PROXY = proxy, all_proxy = proxy },
    })
    assert.equal(0, result.status, result.err)
  end)

  it("does not take the node of another app for its own", function()
    local other = live.app()
    other.port = app.port
    local result = other:run({ "send", "bank/account/a", "open" })
    assert.equal(3, result.status)
    assert.matches("another app's", result.err, 1, true)
    -- But where a person names it, it is meant.
    result = other:run({ "send", "bank/account/a", "open" },
      { env = { AETHER_URL = app.node.url } })
    assert.equal(0, result.status, result.err)
    other:clear()
    result = send({ "bank/account/a", "open", "--url", "http://127.0.0.1:" .. app.port })
    assert.equal(1, result.status)
  end)

  it("shows people what happened", function()
    local result = app:on_terminal({ "send", "bank/account/a", "open" })
    assert.matches("^accepted: bank/account/a is at version 1\r\n1%.0 .- v1 Opened {}\r\n$",
      result.out)
    result = app:on_terminal({ "send", "bank/account/a", "withdraw", '{"amount":1}' })
    assert.equal("rejected: insufficient_funds {\"balance\":0}\r\n", result.out)
    assert.equal(1, result.status)
    result = app:on_terminal({ "send", "bank/account/b", "open", "--json" })
    assert.equal("accepted", json.decode(result.out).status)
  end)

  it("says that the outcome is not known when the node is killed", function()
    app.node.server:kill(19) -- it stands still
    local process = app:begin({ "send", "bank/account/a", "open", "--id", "1",
      "--url", app.node.url })
    app:wait_for_connection()
    app.node.server:kill(9)
    local result = process:wait()
    assert.equal(3, result.status)
    assert.matches("takes effect once", result.err, 1, true)
  end)

  it("ends at Ctrl-C", function()
    app.node.server:kill(19)
    local process = app:begin({ "send", "bank/account/a", "open", "--url", app.node.url })
    app:wait_for_connection()
    process:kill(2)
    local result = process:wait()
    assert.equal(3, result.status)
    assert.matches("interrupted", result.err, 1, true)
    app.node.server:kill(18)
  end)

  it("ends where nobody reads its outcome", function()
    local result = program.run({
      "sh", "-c", '"$0" -C "$1" send bank/account/a open > /dev/full',
      program.aether, app.folder,
    }, app:options())
    assert.equal(3, result.status)
    assert.matches("stdout cannot be written", result.err, 1, true)
  end)
end)

describe("aether send to a node that is careful #node", function()
  after_each(function()
    app:clear()
  end)

  it("brings the token of AETHER_TOKEN, and never shows it", function()
    app = live.app()
    local bank, bank_token = app:token("bank", "bank", "command")
    local other, other_token = app:token("other", "other", "command")
    app:settings("tokens = { " .. bank .. other .. " }")
    app:start()
    local function try(token)
      local result, outcome = send({ "bank/account/a", "deposit", '{"amount":1}' },
        { env = { AETHER_TOKEN = token } })
      for _, secret in ipairs({ bank_token, other_token, "wrong" }) do
        assert(not (result.out .. result.err):find(secret, 1, true))
      end
      return result, outcome
    end
    local result = try(false)
    assert.equal(3, result.status)
    assert.matches("put one into AETHER_TOKEN", result.err, 1, true)
    result = try("aether_wrong")
    assert.equal(3, result.status)
    assert.matches("taken from AETHER_TOKEN", result.err, 1, true)
    local failed, outcome = try(other_token)
    assert.equal(3, failed.status)
    assert.equal("unknown_namespace", outcome.error.code)
    result = send({ "bank/account/a", "open" }, { env = { AETHER_TOKEN = bank_token } })
    assert.equal(0, result.status, result.err)
    result = app:run({ "status" }, { env = { AETHER_TOKEN = bank_token } })
    assert.equal(3, result.status)
    assert.matches("admin", result.err, 1, true)
  end)

  it("speaks TLS, with the app's own certificate and no other", function()
    app = live.app()
    local function certificate(name)
      local made = program.run({
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" .. name,
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", name .. ".key",
        "-out", name .. ".pem",
      }, { cwd = app.folder })
      assert(made.status == 0, made.err)
    end
    certificate("one")
    certificate("two")
    app:settings("tls = { certificate = 'one.pem', key = 'one.key' }")
    app:start()
    local result = send({ "bank/account/a", "open" })
    assert.equal(0, result.status, result.err)
    -- A person's address is checked by who signed.
    result = send({ "bank/account/b", "open", "--url", app.node.url })
    assert.equal(3, result.status)
    assert.matches("AETHER_CA", result.err, 1, true)
    result = send({ "bank/account/b", "open", "--url", app.node.url },
      { env = { AETHER_CA = app.folder .. "/one.pem" } })
    assert.equal(0, result.status, result.err)
    app:settings("tls = { certificate = 'two.pem', key = 'two.key' }")
    result = send({ "bank/account/c", "open" })
    assert.equal(3, result.status)
    assert.matches("another certificate", result.err, 1, true)
  end)

  it("shows its certificate where one is wanted", function()
    app = live.app()
    local made = program.run({
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
      "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=one",
      "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "one.key",
      "-out", "one.pem",
    }, { cwd = app.folder })
    assert(made.status == 0, made.err)
    app:settings("tls = { certificate = 'one.pem', key = 'one.key', ca = 'one.pem' }")
    app:start()
    local result = send({ "bank/account/a", "open" })
    assert.equal(0, result.status, result.err)
    local named = { AETHER_URL = app.node.url, AETHER_CA = app.folder .. "/one.pem" }
    result = send({ "bank/account/b", "open" }, { env = named })
    assert.equal(3, result.status)
    assert.matches("AETHER_CERTIFICATE", result.err, 1, true)
    named.AETHER_CERTIFICATE = app.folder .. "/one.pem"
    named.AETHER_KEY = app.folder .. "/one.key"
    result = send({ "bank/account/b", "open" }, { env = named })
    assert.equal(0, result.status, result.err)
  end)
end)

describe("aether status #node", function()
  before_each(function()
    app = live.app()
  end)

  after_each(function()
    app:clear()
  end)

  it("tells people how the node is", function()
    app:start()
    send({ "bank/account/a-1", "open" })
    local result = app:run({ "status" })
    assert.equal(0, result.status, result.err)
    assert.matches("^ready  node .-, aether .-, process " .. app.node.server.pid, result.out)
    assert.matches("bank  1 event of 1 actor, 1 live", result.out, 1, true)
    assert.matches("aggregate account: 1 command, 1 accepted, 0 rejected", result.out, 1, true)
    assert.matches("is fsynced", result.out, 1, true)
    result = app:run({ "status", "--json" })
    local document = json.decode(result.out)
    assert.equal(app.node.server.pid, document.pid)
    assert.is_true(document.ready)
    assert.equal(1, document.namespaces.bank.store.events)
  end)

  it("says first what is wrong, and ends with 1", function()
    app:start()
    send({ "bank/account/a-1", "open" })
    -- The database is gone from under the node.
    os.remove(app.folder .. "/node.db")
    send({ "bank/account/a-1", "deposit", '{"amount":1}' })
    local result = app:run({ "status" })
    assert.equal(1, result.status, result.err)
    assert.matches("^wrong .-\nnot ready  node ", result.out)
    result = app:run({ "status", "--json" })
    assert.equal(1, result.status)
    assert.is_false(json.decode(result.out).ready)
  end)

  it("ends with 3 where no node answers", function()
    app.port = nil
    local result = app:run({ "status" })
    assert.equal(3, result.status)
    assert.matches("no node answers at", result.err, 1, true)
  end)

  it("ends with 3 where something else answers", function()
    local listener = require("socket").bind("127.0.0.1", 0)
    app.port = select(2, listener:getsockname())
    local process = app:begin({ "status" })
    local peers = {}
    program.wait_for(function()
      listener:settimeout(0.01)
      local peer = listener:accept()
      if peer then
        peer:settimeout(1)
        peers[#peers + 1] = peer
        peer:receive("*l")
        peer:send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n")
        peer:close()
      end
      return not process:running()
    end, "the end")
    listener:close()
    local result = process:wait()
    assert.equal(3, result.status)
    assert.matches("no node of Aether", result.err, 1, true)
  end)
end)
