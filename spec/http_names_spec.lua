--- Names made to confuse, through every path of HTTP.
local counter = require("spec.support.counter")
local http = require("spec.support.http")
local json = require("dkjson")
local program = require("spec.support.program")

local NAMESPACES = { "a", "a.b", "a_b", "A", "a-b", ("n"):rep(64) }
local IDS = {
  "a", "a.b", "a_b", "A", "*", ">", "..", ".", "%", "%2F", "%2f", "%00", "/",
  "//", "a/b", "a/events", "events", "ü", "u\204\136", "日本", "🙂", " ", "a b",
  "+", "a+b", "?", "a?b=c", "#", "&", "=", "\"", "'", "\\", "<b>", "{id}",
  "\t", "\n", "\r\n", "\127", "a\226\128\174b", ("x"):rep(200), ("x"):rep(255),
  ("ü"):rep(127),
}
local NOT_NAMESPACES = {
  "..", ".", "*", ">", "a.*", "a.>", "a..b", ".a", "a.", "ü", "a b", "a/b", "%",
  "%61", "%2e%2e", "a%2eb", "", ("n"):rep(65), ("n"):rep(200), "a\n", "$aether",
}
local NOT_UTF8 = { "%ff", "%c3", "%c0%ae", "%ed%a0%80" }

-- Every byte but letters and digits as %HH.
local function encode(name)
  return (name:gsub("[^%w]", function(byte)
    return ("%%%02x"):format(byte:byte())
  end))
end

describe("names over HTTP #node", function()
  local folder, node

  setup(function()
    folder = program.folder()
    counter.app(folder)
    local module = program.read(folder .. "/cell/counter.lua")
    local files = {}
    for _, name in ipairs(NAMESPACES) do
      files[name .. "/counter.lua"] = module
    end
    program.fill(folder, files)
    node = http.start(folder)
  end)

  teardown(function()
    node:stop()
    program.remove(folder)
  end)

  it("keeps actors apart whatever their ids are", function()
    for index, id in ipairs(IDS) do
      local path = "cell/counter/" .. encode(id)
      local sent = node:send(path .. "/add", ('{"n":%d}'):format(index))
      assert.equal(200, sent.status, sent.body)
      assert.equal("cell/counter/" .. id, sent.json.actor)
      assert.equal(1, sent.json.version)
      assert.equal(id, sent.json.events[1].actor_id)
    end
    for index, id in ipairs(IDS) do
      local path = "/v1/cell/counter/" .. encode(id)
      local state = node:request(path).json
      assert.equal("cell/counter/" .. id, state.actor)
      assert.equal(1, state.version)
      assert.equal(index, state.state.sum)
      local events = http.documents(node:request(path .. "/events").body)
      assert.equal(1, #events)
      assert.equal(id, events[1].actor_id)
      assert.equal(index, events[1].data.n)
      local link = node:request(path .. "/events?limit=1").headers.link
      assert.is_nil(link)
    end
    -- The same actors as lines of commands, and a page that is linked.
    local lines = {}
    for index, id in ipairs(IDS) do
      lines[index] = json.encode({
        actor = "cell/counter/" .. id, command = "refuse",
      })
    end
    local outcomes = node:run(table.concat(lines, "\n")).documents
    for index, id in ipairs(IDS) do
      assert.equal("cell/counter/" .. id, outcomes[index].actor)
      assert.same({ count = 1 }, outcomes[index].error.details)
      node:send("cell/counter/" .. encode(id) .. "/add", '{"n":1}')
      local first = node:request(
        "/v1/cell/counter/" .. encode(id) .. "/events?limit=1"
      )
      local next_page = first.headers.link:match("^<(.-)>; rel")
      local event = http.documents(node:request(next_page).body)[1]
      assert.equal(id, event.actor_id)
      assert.equal(2, event.version)
    end
  end)

  it("reads a path as it is sent", function()
    -- Not encoded where that may be, `..` among them: nothing is walked up.
    for _, id in ipairs({ "..", ".", "*", "a.b", "a_b", "a-b", "~", "'", "a+b",
      "$", "!", "(", ":", "@", "&", "=", "a;b", "a,b" }) do
      local sent = node:send("cell/counter/" .. id .. "/refuse")
      assert.equal(422, sent.status, sent.body)
      local state = node:request("/v1/cell/counter/" .. id).json
      assert.equal("cell/counter/" .. id, state.actor)
    end
    for _, path in ipairs({
      "/v1/cell/../cell/counter/a", "/v1//cell/counter/a", "/v1/cell/counter/",
      "/v1/cell//a", "/v1/cell/counter/a/", "//v1/cell/counter/a", "/v1", "/",
      "/v1/cell", "/v1/cell/counter", "/v1/cell/counter/a/events/x",
    }) do
      local response = node:request(path)
      assert.is_true(response.status == 404 or response.status == 400,
        path .. ": " .. response.status)
      assert.equal("application/problem+json", response.headers["content-type"])
    end
    for _, bytes in ipairs(NOT_UTF8) do
      for _, path in ipairs({
        "/v1/cell/counter/", "/v1/cell/", "/v1/", "/v1/cell/events?after=",
      }) do
        local response = node:request(path .. bytes)
        assert.equal(400, response.status, path .. bytes)
        assert.equal("malformed", response.json.code)
      end
    end
    for _, bytes in ipairs({ "%", "%2", "%zz", "%%", "%+1" }) do
      assert.equal(400, node:request("/v1/cell/counter/" .. bytes).status)
      assert.equal(400, node:request("/v1/cell/events?after=" .. bytes).status)
    end
  end)

  it("keeps namespaces apart", function()
    for index, name in ipairs(NAMESPACES) do
      for _ = 1, index do
        local sent = node:send(name .. "/counter/same/add", '{"n":1}')
        assert.equal(200, sent.status, sent.body)
      end
    end
    for index, name in ipairs(NAMESPACES) do
      local state = node:request("/v1/" .. encode(name) .. "/counter/same").json
      assert.equal(name .. "/counter/same", state.actor)
      assert.equal(index, state.version)
      local events = http.documents(node:request("/v1/" .. name .. "/events").body)
      assert.equal(index, #events)
      for _, event in ipairs(events) do
        assert.equal(name, event.namespace)
      end
    end
  end)

  it("knows no other namespaces", function()
    for _, name in ipairs(NOT_NAMESPACES) do
      for _, path in ipairs({ "/counter/x", "/counter/x/events", "/events" }) do
        local response = node:request("/v1/" .. encode(name) .. path)
        assert.equal(404, response.status, name .. path .. response.body)
        if name ~= "" then
          assert.equal("unknown_namespace", response.json.code)
          assert.equal(name, response.json.name)
        end
      end
      local sent = node:send(encode(name) .. "/counter/x/add", '{"n":1}')
      assert.equal(404, sent.status)
    end
  end)

  it("takes no type and no command for what it is not", function()
    for _, name in ipairs({ "..", "*", ">", "Counter", "cou nter", "%", "ü",
      "counter/x", ("c"):rep(200), "events", "commands" }) do
      for _, path in ipairs({ "/x", "/x/events" }) do
        local response = node:request("/v1/cell/" .. encode(name) .. path)
        assert.equal("invalid_name", response.json.code, name)
        assert.equal(400, response.status)
      end
      local sent = node:send("cell/counter/x/" .. encode(name), "{}")
      assert.equal("unknown_command", sent.json.code, name)
      assert.equal(404, sent.status)
    end
    assert.equal(0, node:request("/v1/cell/counter/x").json.version)
  end)
end)
