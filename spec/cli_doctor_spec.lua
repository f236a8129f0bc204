--- `aether doctor` about what serving over HTTP needs.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")
local socket = require("socket")

local folder, node

-- All findings of one check, and the exit status.
local function findings(about, env)
  local result = program.run_aether({ "-C", folder, "doctor", "--json" }, { env = env })
  assert(result.signal == nil, result.err)
  local found = {}
  for _, finding in ipairs(counter.documents(result.out)) do
    if finding.check == about then
      found[#found + 1] = finding
    end
  end
  assert(#found > 0, about .. ": " .. result.out .. result.err)
  return found, result.status
end

local function assert_finds(status, part, found)
  assert.equal(status, found.status, found.text)
  assert(found.text:find(part, 1, true), found.text)
  assert.equal(status ~= "ok", found.mend ~= nil)
end

local function openssl(argv)
  local result = program.run({ "openssl", unpack(argv) }, { cwd = folder })
  assert.equal(0, result.status, result.err)
end

-- NAME.pem and NAME.key, valid for so many days (expired: below 0).
local function make_certificate(name, days)
  openssl({ "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-subj", "/CN=localhost", "-keyout", name .. ".key", "-out", name .. ".csr" })
  openssl({ "x509", "-req", "-in", name .. ".csr", "-signkey", name .. ".key",
    "-days", tostring(days), "-out", name .. ".pem" })
end

local function use_tls(certificate, key)
  program.write(
    folder .. "/aether.lua",
    ("return { listen = '127.0.0.1:0', tls = { certificate = %q, key = %q } }\n"):format(
      certificate, key
    )
  )
end

describe("aether doctor about HTTP #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
    node = nil
  end)

  after_each(function()
    if node and not node.process.ended then
      node:kill(9)
      node:wait()
    end
    program.remove(folder)
  end)

  it("says whether the address is free, and who holds it", function()
    local listen = { AETHER_LISTEN = "127.0.0.1:0" }
    assert_finds("ok", "127.0.0.1:0 is free", findings("listen", listen)[1])
    node = server.start(folder)
    listen.AETHER_LISTEN = "127.0.0.1:" .. node.port
    assert_finds("note", "process " .. node.pid, findings("listen", listen)[1])
    node:stop()
    assert_finds("ok", "is free", findings("listen", listen)[1])
    -- Another program: this one.
    local other = assert(socket.bind("127.0.0.1", 0))
    local _, port = other:getsockname()
    listen.AETHER_LISTEN = "127.0.0.1:" .. port
    local found, status = findings("listen", listen)
    other:close()
    local own = program.read("/proc/self/stat"):match("^%d+")
    assert_finds("wrong", "is in use by process " .. own, found[1])
    assert.equal(1, status)
    listen.AETHER_LISTEN = "nowhere.invalid:7070"
    assert_finds("wrong", "nowhere.invalid", findings("listen", listen)[1])
    -- A block that is for documentation alone, so no machine's.
    listen.AETHER_LISTEN = "192.0.2.1:7070"
    assert_finds("wrong", "cannot be listened on", findings("listen", listen)[1])
  end)

  it("looks at tokens", function()
    local here = { AETHER_LISTEN = "127.0.0.1:0" }
    assert_finds("ok", "there are none", findings("tokens", here)[1])
    local found, status = findings("tokens", { AETHER_LISTEN = "0.0.0.0:0" })
    assert_finds("wrong", "`aether token NAME`", found[1])
    assert.equal(1, status)
    local made = json.decode(
      program.run_aether({ "token", "ci", "--json", "--namespaces", "bank" }).out
    )
    program.write(
      folder .. "/aether.lua",
      ('return { tokens = { { name = "ci", hash = %q, namespaces = { "bank" }, rights = {} } } }\n'):format(
        made.hash
      )
    )
    found, status = findings("tokens", here)
    assert_finds("ok", "1: ci", found[1])
    assert_finds("note", "ci is for none of the app's namespaces", found[2])
    assert.equal(0, status)
    found = findings("tls", { AETHER_LISTEN = "0.0.0.0:0" })
    assert_finds("note", "unencrypted", found[1])
    program.write(folder .. "/aether.lua", 'return { tokens = { { name = "ci" } } }\n')
    found, status = findings("settings")
    assert_finds("wrong", "tokens[1].hash is missing", found[1])
    assert.equal(1, status)
  end)

  it("looks at certificates", function()
    make_certificate("good", 365)
    make_certificate("soon", 3)
    make_certificate("old", -1)
    use_tls("good.pem", "good.key")
    local found, status = findings("tls")
    assert_finds("ok", "good.pem is valid until", found[1])
    assert.equal(1, #found)
    assert.equal(0, status)
    use_tls("soon.pem", "soon.key")
    assert_finds("note", " more days, until ", findings("tls")[1])
    use_tls("old.pem", "old.key")
    found, status = findings("tls")
    assert_finds("wrong", "was valid until", found[1])
    assert.equal(1, status)
    use_tls("good.pem", "soon.key")
    assert_finds("wrong", "soon.key", findings("tls")[1])
    use_tls("good.pem", "nowhere.key")
    assert_finds("wrong", "No such file", findings("tls")[1])
    use_tls("aether.lua", "good.key")
    assert_finds("wrong", "aether.lua", findings("tls")[1])
    program.run({ "chmod", "644", folder .. "/good.key" })
    use_tls("good.pem", "good.key")
    assert_finds("note", "can be read by everybody", findings("tls")[2])
    program.write(folder .. "/aether.lua", "return { tls = { certificate = 'good.pem' } }\n")
    assert_finds("wrong", "tls.key is not set", findings("tls")[1])
  end)

  it("compares the limit of open files with the connections", function()
    local function limited(files)
      local result = program.run({
        "sh", "-c", "ulimit -n " .. files .. " && exec " .. program.aether .. " -C "
          .. folder .. " doctor --json",
      })
      for _, finding in ipairs(counter.documents(result.out)) do
        if finding.check == "files" then
          return finding
        end
      end
    end
    assert_finds("wrong", "only 128 files", limited(128))
    assert_finds("note", "1024 may be open", limited(1024))
    local most = program.run({ "sh", "-c", "ulimit -Hn" }).out
    if most:match("unlimited") or tonumber(most) >= 8192 then
      assert.is_nil(limited(8192).mend)
    end
  end)
end)
