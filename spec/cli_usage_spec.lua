--- The command line itself: help, options, exit statuses, settings, new apps.
local json = require("dkjson")
local program = require("spec.support.program")

local subcommands = {
  "new", "test", "check", "replay", "exec", "state", "events", "backup",
  "restore", "export", "import", "repair", "delete", "config", "token",
  "nats-permissions", "doctor", "bench", "help", "version",
}

local folder

local function aether(argv, options)
  options = options or {}
  options.cwd = options.cwd or folder
  local result = program.run_aether(argv, options)
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return result
end

-- Wrong usage: status 2, nothing on stdout, and the message says this.
local function assert_usage(argv, part)
  local result = aether(argv)
  assert.equal(2, result.status, table.concat(argv, " ") .. ": " .. result.err)
  assert.equal("", result.out)
  assert(result.err:find(part, 1, true), result.err)
end

describe("the command line #node", function()
  before_each(function()
    folder = program.folder()
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("lists all subcommands in groups", function()
    local result = aether({ "help" })
    assert.equal(0, result.status)
    assert.equal("", result.err)
    for _, name in ipairs(subcommands) do
      assert(result.out:find("\n  " .. name:gsub("%-", "%%-") .. " +%S"), name)
    end
    assert(result.out:find("\nRun commands\n", 1, true))
    assert(not result.out:find("\27"), "colour without a terminal")
    assert.equal(result.out, aether({ "--help" }).out)
    assert.equal(result.out, aether({ "-h" }).out)
  end)

  it("has help with an example for each", function()
    for _, name in ipairs(subcommands) do
      local result = aether({ "help", name })
      assert.equal(0, result.status, result.err)
      assert(result.out:find("usage: aether " .. name, 1, true), result.out)
      assert(result.out:find("\nexample:\n  .*aether"), result.out)
      if name ~= "test" then
        assert.equal(result.out, aether({ name, "--help" }).out)
        assert.equal(result.out, aether({ name, "-h" }).out)
      end
      for line in result.out:gmatch("[^\n]+") do
        local _, length = line:gsub("[^\128-\191]", "")
        assert(length <= 100, line)
      end
    end
    assert.equal(aether({ "help", "test" }).out, aether({ "test", "-h" }).out)
  end)

  it("has examples that work", function()
    assert.equal(0, aether({ "new", "app" }).status)
    local app = folder .. "/app"
    local first = aether({ "exec", "commands.ndjson" }, { cwd = app })
    assert.equal(0, first.status, first.err)
    local path = program.aether:match("^(.*)/") .. ":" .. os.getenv("PATH")
    -- `test` knows busted's options, and `new` makes the folder it tests.
    for _, name in ipairs(subcommands) do
      local help = aether({ "help", name }).out
      local example = help:match("\nexample:\n  ([^\n]+)\n")
      local result = program.run(
        { "sh", "-c", example },
        { cwd = app, env = { PATH = path }, seconds = 120 }
      )
      local status = name == "exec" and 1 or 0 -- the account is open already
      assert(
        result.status == status,
        example .. ": " .. result.err .. result.out
      )
      assert(#result.out > 0, example)
    end
  end)

  it("suggests the nearest", function()
    assert_usage({ "exce" }, "did you mean exec?")
    assert_usage({ "help", "confg" }, "did you mean config?")
    assert_usage({ "xyzzyx" }, "aether help")
    assert_usage({ "exec", "--stroe", "memory", "-" }, "did you mean --store?")
    assert_usage({ "exec", "--stroe=memory", "-" }, "did you mean --store?")
    assert_usage({ "bench", "comands" }, "did you mean commands?")
    assert_usage({ "bench", "xyzzyx" }, "http and jetstream")
  end)

  it("says what is wrong with options and arguments", function()
    local none = aether({})
    assert.equal(2, none.status)
    assert.equal("", none.out)
    assert(none.err:find("usage: aether", 1, true))
    assert_usage({ "exec" }, "usage: aether exec FILE|-")
    assert_usage({ "exec", "a", "b" }, "one argument too many")
    assert_usage({ "exec", "-x", "-" }, "no -x")
    assert_usage({ "exec", "--store" }, "--store needs URL")
    assert_usage({ "exec", "--store=", "-" }, "got nothing")
    assert_usage({ "exec", "--json=5", "-" }, "takes nothing")
    assert_usage({ "exec", "--store", "postgres://x", "-" }, "sqlite:FILE")
    for _, number in ipairs({ "0", "-1", "x", "65537", "1.5", "" }) do
      assert_usage({ "exec", "--in-flight", number, "-" }, "--in-flight")
    end
    assert_usage({ "state" }, "usage: aether state")
    assert_usage({ "state", "a/b/c", "--at", "x" }, "--at")
    assert_usage({ "state", "-", "a/b/c" }, "stdin")
    assert_usage({ "events", "a", "--after", "x" }, "POSITION.INDEX")
    assert_usage({ "events", "a/b/c", "--after", "1.2" }, "a version")
    assert_usage({ "bench", "limit", "--store", "memory" }, "--store")
    assert_usage({ "bench", "replay", "--in-flight", "5" }, "--in-flight")
    assert_usage({ "bench", "limit", "--seconds", "0" }, "--seconds")
    assert_usage({ "version", "x" }, "one argument too many")
    assert_usage({ "-C", folder, "new", "x" }, "takes no -C")
    assert_usage({ "-C" }, "-C")
    assert_usage({ "-Cnowhere", "config" }, "nowhere")
    assert_usage({ "config", "-C", "nowhere" }, "nowhere")
  end)

  it("ends options at --", function()
    local result = aether({ "exec", "--store", "memory", "--", "--nofile" })
    assert.equal(3, result.status)
    assert(result.err:find("--nofile", 1, true), result.err)
  end)

  it("says where an app would be", function()
    for _, argv in ipairs({
      { "exec", "-" }, { "state", "a/b/c" }, { "check" },
      { "replay", "a/b/c" },
    }) do
      local result = aether(argv)
      assert.equal(3, result.status, result.err)
      assert(result.err:find("aether new DIR", 1, true), result.err)
    end
  end)

  it("prints its version", function()
    assert.matches("^aether %d+%.%d+%.%d+\n$", aether({ "version" }).out)
    assert.equal(aether({ "version" }).out, aether({ "--version" }).out)
    local document = json.decode(aether({ "version", "--json" }).out)
    assert.equal("aether", document.name)
  end)

  it("says that stdout cannot be written", function()
    local result = program.run({
      "sh", "-c", 'exec "$1" help >/dev/full', "sh", program.aether,
    })
    assert.equal(3, result.status)
    assert(result.err:find("stdout cannot be written", 1, true), result.err)
  end)
end)

describe("aether new #node", function()
  before_each(function()
    folder = program.folder()
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("makes an app that works, whatever the folder is called", function()
    for _, name in ipairs({
      "app", "an app", "o'app", "äpp", "a/../b", "$(x)`y`", "--",
    }) do
      local dir = folder .. "/" .. name
      if name:find("/", 1, true) then
        program.run({ "mkdir", folder .. "/a" })
      end
      local argv = { "new", dir }
      if name == "--" then
        dir, argv = folder .. "/--x", { "new", "--", "--x" }
      end
      local made = aether(argv)
      assert.equal(0, made.status, made.err)
      assert(made.out:find("aether exec commands.ndjson", 1, true))
      -- What it says next can be pasted into a shell.
      local cd = made.out:match("\n  (cd [^\n]+)\n")
      local went = program.run(
        { "sh", "-c", cd .. " && ls aether.lua bank/account.lua" },
        { cwd = folder }
      )
      assert.equal(0, went.status, cd .. ": " .. went.err)
      local test = aether({ "test" }, { cwd = dir })
      assert.equal(0, test.status, test.out .. test.err)
      local check = aether({ "-C", dir, "check" })
      assert.equal(0, check.status, check.out .. check.err)
      local exec = aether({ "exec", "commands.ndjson" }, { cwd = dir })
      assert.equal(0, exec.status, exec.out .. exec.err)
      assert(exec.err:find("5 commands: 5 accepted", 1, true), exec.err)
      local state = aether({ "state", "bank/account/a-1" }, { cwd = dir })
      assert.same(
        { balance = 70, open = true },
        json.decode(state.out).state
      )
      check = aether({ "-C", dir, "check" })
      assert.equal(0, check.status, check.out .. check.err)
    end
  end)

  it("takes an empty folder, and leaves any other as it is", function()
    program.run({ "mkdir", folder .. "/empty" })
    assert.equal(0, aether({ "new", "empty" }).status)
    program.fill(folder, { ["full/x"] = "kept" })
    local result = aether({ "new", "full" })
    assert.equal(2, result.status)
    assert(result.err:find("not empty", 1, true), result.err)
    assert.equal("kept", program.read(folder .. "/full/x"))
    assert(not program.exists(folder .. "/full/aether.lua"))
    assert.equal(2, aether({ "new", "" }).status)
    program.write(folder .. "/file", "x")
    assert.equal(3, aether({ "new", "file" }).status)
    assert.equal(3, aether({ "new", "no/such/parent" }).status)
  end)
end)

describe("aether config #node", function()
  before_each(function()
    folder = program.folder()
    program.fill(folder, {
      ["bank/account.lua"] = "return {}",
      ["aether.lua"] = [[return {
        store = "sqlite:data/e.db",
        replicas = 3,
        nats = { user = "me", password = "swordfish" },
        namespaces = { bank = { limits = { memory_mb = 32 } } },
      }]],
    })
  end)

  after_each(function()
    program.remove(folder)
  end)

  local function settings(argv, env)
    local all = { "config", "--json" }
    for _, argument in ipairs(argv or {}) do
      all[#all + 1] = argument
    end
    local result = aether(all, { env = env })
    assert.equal(0, result.status, result.err)
    return json.decode(result.out).settings, result
  end

  it("says what holds and where it came from", function()
    local from = settings()
    local here = program.run({ "sh", "-c", "cd " .. folder .. " && pwd -P" })
      .out:match("[^\n]+")
    assert.same({
      value = "sqlite:" .. here .. "/data/e.db",
      source = "file",
      from = "aether.lua",
    }, from.store)
    assert.same({ value = 3, source = "file", from = "aether.lua" },
      from.replicas)
    assert.equal("default", from.shards.source)
    assert.equal(32, from["namespaces.bank.limits.memory_mb"].value)
    assert.equal("file", from["namespaces.bank.limits.memory_mb"].source)
    assert.equal("default", from["namespaces.bank.limits.handler_ms"].source)
    assert.equal(here .. "/bank", from["namespaces.bank.modules"].value)
    local text = aether({ "config" }).out
    assert(text:find("replicas += 3  %(aether.lua%)"), text)
  end)

  it("puts flags over variables over the file", function()
    local from = settings({}, { AETHER_STORE = "sqlite:v.db" })
    assert.same({
      value = "sqlite:v.db", source = "variable", from = "AETHER_STORE",
    }, from.store)
    from = settings(
      { "--store", "memory" },
      { AETHER_STORE = "sqlite:v.db", AETHER_REPLICAS = "5" }
    )
    assert.same({ value = "memory", source = "flag", from = "--store" },
      from.store)
    assert.equal(5, from.replicas.value)
    from = settings({}, { AETHER_JUDGE = '{"actors":7}' })
    assert.equal(7, from["judge.actors"].value)
    assert.equal("AETHER_JUDGE", from["judge.actors"].from)
  end)

  it("does not show what is secret", function()
    local _, result = settings()
    assert(not result.out:find("swordfish", 1, true))
    assert(not aether({ "config" }).out:find("swordfish", 1, true))
  end)

  it("names a variable that is none", function()
    local _, result = settings({}, { AETHER_STOER = "memory" })
    assert(result.err:find("did you mean AETHER_STORE?", 1, true), result.err)
  end)

  it("refuses a variable that makes no sense", function()
    local result = aether({ "config" }, { env = { AETHER_REPLICAS = "many" } })
    assert.equal(2, result.status)
    assert(result.err:find("AETHER_REPLICAS", 1, true), result.err)
    result = aether({ "config" }, { env = { AETHER_REPLICAS = "9" } })
    assert.equal(2, result.status)
    assert(result.err:find("from 1 to 5", 1, true), result.err)
  end)

  it("names the nearest key of aether.lua", function()
    for text, part in pairs({
      ["return { stoer = 'memory' }"] = "did you mean store?",
      ["return { namespaces = { bank = { limit = {} } } }"] =
        "namespaces.bank.limit is no setting; did you mean limits?",
      ["return { replicas = 'x' }"] = "replicas must be a whole number",
      ["return { namespaces = { bank = { modules = 'bnk' } } }"] =
        "no such folder",
      ["return 5"] = "table",
      ["return {"] = "aether.lua",
      ["x = "] = "aether.lua",
      ["error('no')"] = "aether.lua",
      ["while true do local x = ('x'):rep(1e9) end"] = "aether.lua",
    }) do
      program.write(folder .. "/aether.lua", text)
      local result = aether({ "config" })
      assert.equal(3, result.status, text .. ": " .. result.err)
      assert(result.err:find(part, 1, true), text .. ": " .. result.err)
      assert.equal(1, aether({ "check" }).status, text)
    end
  end)

  it("finds namespaces by their folders", function()
    os.remove(folder .. "/aether.lua")
    program.fill(folder, {
      ["root.lua"] = "return {}",
      ["shop.eu/order.lua"] = "return {}",
      ["spec/x_spec.lua"] = "",
      ["data/x.lua"] = "return {}",
      ["other/readme"] = "",
      ["tests/x_spec.lua"] = "",
      [".hidden/x.lua"] = "return {}",
    })
    local from = settings()
    local names = {}
    for key in pairs(from) do
      names[#names + 1] = key:match("^namespaces%.(.*)%.modules$")
    end
    table.sort(names)
    assert.same({ "bank", "default", "shop.eu" }, names)
    program.fill(folder, { ["no space/x.lua"] = "return {}" })
    local result = aether({ "config" })
    assert.equal(3, result.status)
    assert(result.err:find("no space", 1, true), result.err)
  end)
end)
