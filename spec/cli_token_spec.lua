--- Tokens: made by `aether token`, kept as hashes in aether.lua.
local json = require("dkjson")
local program = require("spec.support.program")

local folder

local function aether(argv)
  local result = program.run_aether(argv, { cwd = folder })
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return result
end

-- The line for aether.lua that goes to stderr.
local function line_of(result)
  return (assert(result.err:match("\n    ({ name = .+ },)\n"), result.err))
end

describe("aether token #node", function()
  before_each(function()
    folder = program.folder()
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("prints the token once, and the line that keeps its hash", function()
    local result = aether({ "token", "ci" })
    assert.equal(0, result.status, result.err)
    local token = assert(result.out:match("^(aether_%w+)\n$"), result.out)
    assert.equal(50, #token)
    assert(not result.err:find(token, 1, true), "the token on stderr")
    local digest = program.run({ "sha256sum" }, { stdin = token }).out:match("^%x+")
    assert.equal(
      '{ name = "ci", hash = "sha256:' .. digest
        .. '", namespaces = { ">" }, rights = { "command", "read" } },',
      line_of(result)
    )
    assert.not_equal(result.out, aether({ "token", "ci" }).out)
  end)

  it("makes a line that aether.lua takes", function()
    local lines = {}
    for _, argv in ipairs({
      { "token", "ci", "--namespaces", "bank, shop.*", "--rights", "listen,admin" },
      { "token", "prometheus", "--rights", "none" },
    }) do
      lines[#lines + 1] = line_of(aether(argv))
    end
    program.fill(folder, {
      ["aether.lua"] = "return { tokens = {\n" .. table.concat(lines, "\n")
        .. '\n}, grants = { ci = { "shop.>" } } }\n',
      ["bank/account.lua"] = 'return require("aether.aggregate") and {}\n',
    })
    local result = aether({ "config", "--json" })
    assert.equal(0, result.status, result.err)
    local settings = json.decode(result.out).settings
    assert.same({ "bank", "shop.*" }, settings["tokens[1].namespaces"].value)
    assert.same({ "listen", "admin" }, settings["tokens[1].rights"].value)
    assert.equal("prometheus", settings["tokens[2].name"].value)
    assert.equal("hidden", settings["tokens[1].hash"].value)
    assert.same({ "shop.>" }, settings["grants.ci"].value)
    assert(not result.out:find("sha256", 1, true))
    -- A name is given once.
    local again = aether({ "token", "ci" })
    assert.equal(2, again.status)
    assert.equal("", again.out)
    assert(again.err:find("the app has a token ci", 1, true), again.err)
  end)

  it("gives all of it as JSON", function()
    local result = aether({ "token", "ci", "--namespaces", "bank", "--json" })
    assert.equal(0, result.status, result.err)
    local made = json.decode(result.out)
    local digest = program.run({ "sha256sum" }, { stdin = made.token }).out
    assert.equal("sha256:" .. digest:match("^%x+"), made.hash)
    assert.equal("ci", made.name)
    assert.same({ "bank" }, made.namespaces)
    assert.same({ "command", "read" }, made.rights)
  end)

  it("says what is wrong with a name, a pattern or a right", function()
    for _, case in ipairs({
      { { "token", "a b" }, "a token's name is" },
      { { "token", ("x"):rep(65) }, "a token's name is" },
      { { "token", "ci", "--rights", "reed" }, "did you mean read?" },
      { { "token", "ci", "--rights", "read,,listen" }, "no right ''" },
      { { "token", "ci", "--namespaces", "a..b" }, "'a..b' is no namespace" },
      { { "token", "ci", "--namespaces", "a,>.b" }, "'>.b'" },
      { { "token" }, "usage: aether token NAME" },
    }) do
      local result = aether(case[1])
      assert.equal(2, result.status, result.err)
      assert.equal("", result.out)
      assert(result.err:find(case[2], 1, true), result.err)
    end
  end)

  it("still makes one where the settings lack it", function()
    program.write(folder .. "/aether.lua", 'return { tokens = { { name = "ci" } } }\n')
    local result = aether({ "token", "ci" })
    assert.equal(0, result.status, result.err)
    assert(result.out:find("^aether_"))
    assert(result.err:find("tokens[1].hash is missing", 1, true), result.err)
  end)
end)
