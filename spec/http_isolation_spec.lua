--- A crawl through every path of HTTP that names or shows what is stored, as
-- one namespace's token: it finds nothing of the others, and cannot tell one
-- that is there from one that is not.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local json = require("dkjson")
local program = require("spec.support.program")

-- The token's own, and those that it must not see. `zz` and `a.z` are not
-- there at all.
local OWN = "a"
local OTHERS = { "a.b", "a_b", "A", "ab", "b" }
local ABSENT = { ["a.b"] = "a.z", a_b = "a_z", A = "Z", ab = "az", b = "z" }

-- An aggregate of its own for each namespace, so that every name in it tells
-- whose it is.
local function module_of(index)
  return ([[
local event = require("aether.event")
local secret = { initial = { hidden%d = 0 } }
secret.decide = {
  reveal%d = function(_, data)
    return event("Revealed%d", { text = data.text })
  end,
}
secret.evolve = {
  Revealed%d = function(state) state.hidden%d = state.hidden%d + 1 end,
}
return secret
]]):format(index, index, index, index, index, index)
end

local RIGHTS = { "command", "read", "listen", "admin" }

describe("a token over HTTP #node", function()
  local folder, node, secrets

  setup(function()
    folder = program.folder()
    counter.app(folder)
    local module = program.read(folder .. "/cell/counter.lua")
    local files = { ["a/counter.lua"] = module }
    for index, name in ipairs(OTHERS) do
      files[name .. "/counter.lua"] = module
      files[("%s/vault%d.lua"):format(name, index)] = module_of(index)
    end
    secrets = {}
    local lines = {}
    local function token(name, rights)
      local made = json.decode(program.run_aether({
        "-C", folder, "token", name, "--json",
        "--namespaces", name == "all" and ">" or OWN, "--rights", rights,
      }).out)
      secrets[name] = made.token
      local quoted = {}
      for index, right in ipairs(made.rights) do
        quoted[index] = ("%q"):format(right)
      end
      lines[#lines + 1] =
        ("{ name = %q, hash = %q, namespaces = { %q }, rights = { %s } },"):format(
          name, made.hash, made.namespaces[1], table.concat(quoted, ", ")
        )
    end
    token("mine", "command,read,listen,admin")
    token("all", "command,read,listen,admin")
    for _, right in ipairs(RIGHTS) do
      token(right, right)
    end
    token("none", "none")
    files["aether.lua"] = "return { tokens = {\n"
      .. table.concat(lines, "\n")
      .. "\n} }\n"
    program.fill(folder, files)
    node = http.start(folder)
    for index, name in ipairs(OTHERS) do
      for _ = 1, 3 do
        local sent = node:send(
          ("%s/vault%d/planted%d/reveal%d"):format(name, index, index, index),
          ('{"text":"planted%d"}'):format(index),
          { token = secrets.all }
        )
        assert.equal(200, sent.status, sent.body)
      end
      node:send(name .. "/counter/same/add", '{"n":100}', { token = secrets.all })
    end
    node:send("a/counter/same/add", '{"n":1}', { token = secrets.all })
  end)

  teardown(function()
    node:stop()
    program.remove(folder)
  end)

  -- What would tell of the other namespaces, besides what was asked for.
  local function assert_silent(text, asked)
    for index in ipairs(OTHERS) do
      for _, sign in ipairs({
        "vault" .. index, "planted" .. index, "reveal" .. index,
        "Revealed" .. index, "hidden" .. index, '"n":100', '"sum":100',
      }) do
        if text:find(sign, 1, true) and not asked:find(sign, 1, true) then
          error(("%s shows %s: %s"):format(asked, sign, text), 2)
        end
      end
    end
  end

  -- The answer without what differs in any two: the date, the name asked for.
  local function faceless(response, name)
    local plain = name:gsub("%p", "%%%0")
    local text = response.head .. "\n" .. response.body
    return (text:gsub("Date: [^\r]*", ""):gsub("Content%-Length: %d+", "")
      :gsub("'" .. plain .. "'", "'?'"):gsub('"' .. plain .. '"', '"?"')
      :gsub(plain .. "/", "?/"):gsub("/v1/" .. plain, "/v1/?"))
  end

  local PATHS = {
    "/events", "/events?after=1.0", "/events?follow=true", "/events?types=X",
    "/events?colour=1", "/vault%d/planted%d", "/vault%d/planted%d?at=1",
    "/vault%d/planted%d/events", "/vault%d/planted%d/events?follow=true",
    "/vault/x", "/vault%d/", "/counter/same", "/counter/same/events",
    "/projections/vault%d", "/projections/vault%d/x", "/admin/status", "",
    "/vault%d", "/vault%d/planted%d/reveal%d",
  }

  it("cannot tell a namespace that is there from one that is not", function()
    for index, name in ipairs(OTHERS) do
      if program.is_slow and index > 1 then
        break
      end
      local absent = ABSENT[name]
      for _, path in ipairs(PATHS) do
        path = path:gsub("%%d", index)
        for _, options in ipairs({
          {}, { method = "HEAD" }, { headers = { "Accept: text/event-stream" } },
          { method = "POST", body = '{"text":"x"}' }, { method = "DELETE" },
        }) do
          options.token = secrets.mine
          options.seconds = 10
          local there = node:request("/v1/" .. name .. path, options)
          local nowhere = node:request("/v1/" .. absent .. path, options)
          assert.is_true(there.status >= 400, path)
          assert.equal(
            faceless(nowhere, absent),
            faceless(there, name),
            (options.method or "GET") .. " " .. name .. path
          )
          assert_silent(there.body, path)
        end
      end
    end
  end)

  it("cannot tell by commands in lines, nor by listening", function()
    for index, name in ipairs(OTHERS) do
      local absent = ABSENT[name]
      local function outcome(of, right)
        local response = node:run(
          ('{"actor":"%s/vault%d/planted%d","command":"reveal%d"}\n'):format(
            of, index, index, index
          ),
          { token = secrets[right] }
        )
        local said = response.documents[1]
        assert.equal("failed", said.status)
        assert.equal("unknown_namespace", said.error.code)
        local error = json.encode(said.error)
        assert_silent(error, "")
        return (error:gsub(of:gsub("%p", "%%%0"), "?"))
      end
      assert.equal(outcome(absent, "mine"), outcome(name, "mine"))
      assert.equal(outcome(absent, "command"), outcome(name, "command"))
      local function listen(pattern)
        return node:request("/v1/events?pattern=" .. pattern, {
          token = secrets.mine,
        })
      end
      local there = listen(name)
      assert.equal(404, there.status)
      assert.equal(faceless(listen(absent), absent), faceless(there, name))
    end
    -- A wildcard needs a grant of its own, which nobody here has.
    for _, pattern in ipairs({ "*", "%3E", "a.*", "a.%3E", "*.b" }) do
      local response = node:request("/v1/events?pattern=" .. pattern, {
        token = secrets.mine,
      })
      assert.equal(403, response.status)
      assert.equal("forbidden", response.json.code)
      assert_silent(response.body, "")
    end
  end)

  it("is told of names near to a mistake only in its own", function()
    for _, path in ipairs({
      "a.bb/counter/x", "A_b/counter/x", "aa/counter/x", "bb/events",
      "a/vault/x", "a/vault1/x", "a/vault1/planted1/events",
    }) do
      local response = node:request("/v1/" .. path, { token = secrets.mine })
      local near = response.json.nearest
      assert(not near or near == "a" or near == "counter", path .. tostring(near))
      assert_silent(response.body, path)
    end
    local sent = node:send("a/counter/x/reveal1", "{}", { token = secrets.mine })
    assert.equal("unknown_command", sent.json.code)
    assert_silent(sent.body, "reveal1")
  end)

  it("sees and hears its own, while others are busy", function()
    local SSE = { "Accept: text/event-stream" }
    local streams = {}
    for index, path in ipairs({
      "/v1/a/events?follow=true", "/v1/events?pattern=a",
      "/v1/a/counter/same/events?follow=true&after=1",
    }) do
      streams[2 * index - 1] = node:open(path, { token = secrets.mine })
      streams[2 * index] = node:open(path, {
        token = secrets.mine, headers = SSE,
      })
    end
    for _, stream in ipairs(streams) do
      program.wait_for(stream.head, "the answer's head")
    end
    local lines = {}
    for _ = 1, 200 do
      for index, name in ipairs(OTHERS) do
        lines[#lines + 1] = counter.add("same", 100)
          :gsub("cell/", name .. "/")
        lines[#lines + 1] =
          ('{"actor":"%s/vault%d/planted%d","command":"reveal%d","data":{"text":"x"}}'):format(
            name, index, index, index
          )
      end
    end
    lines[#lines + 1] = '{"actor":"a/counter/same","command":"add","data":{"n":7}}'
    local outcomes =
      node:run(table.concat(lines, "\n"), { token = secrets.all }).documents
    assert.equal("accepted", outcomes[#outcomes].status)
    for index, stream in ipairs(streams) do
      stream.wait(function(body)
        return body:find('"n":7', 1, true) and 1 or 0
      end, 1)
      local body = stream.stop()
      assert_silent(body, "stream " .. index)
      local _, events = body:gsub('"namespace":"a"', "")
      local _, all = body:gsub('"namespace":', "")
      assert.equal(all, events)
    end
    for _, path in ipairs({ "/v1/a/events", "/v1/a/counter/same" }) do
      local body = node:request(path, { token = secrets.mine }).body
      assert_silent(body, path)
    end
  end)

  -- Which right opens what; the others are told which one it needs.
  it("does with its rights what they are for", function()
    local doors = {
      { "command", "POST", "/v1/a/counter/rights/add", '{"n":1}' },
      { "command", "POST", "/v1/commands", "", "application/x-ndjson" },
      { "read", "GET", "/v1/a/counter/rights" },
      { "read", "GET", "/v1/a/counter/rights/events" },
      { "read", "GET", "/v1/a/events" },
      { "listen", "HEAD", "/v1/events?pattern=a" },
    }
    for _, door in ipairs(doors) do
      local needs, method, path, body, type = unpack(door)
      for _, right in ipairs({ "command", "read", "listen", "admin", "none" }) do
        local response = node:request(path, {
          method = method, body = body, type = type, token = secrets[right],
        })
        if right == needs then
          assert.equal(200, response.status, path .. response.body)
        else
          assert.equal(403, response.status, path .. " with " .. right)
          if response.json then
            assert.equal("forbidden", response.json.code)
            assert.equal(needs, response.json.needs)
          end
        end
      end
      local nobody = node:request(path, { method = method, body = body, type = type })
      assert.equal(401, nobody.status)
      assert.matches("^Bearer", nobody.headers["www-authenticate"])
    end
    -- A line of a namespace where the token may not command.
    local lines = node:run(
      '{"actor":"a/counter/rights","command":"add","data":{"n":1}}',
      { token = secrets.mine }
    )
    assert.equal("accepted", lines.documents[1].status)
  end)
end)
