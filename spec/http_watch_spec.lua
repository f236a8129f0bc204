--- What watches a node: health, readiness, metrics, the API's description.
local json = require("dkjson")
local program = require("spec.support.program")
local server = require("spec.support.server")

local folder, node

local ACCOUNT = [[
--- A bank account.
-- It never goes below zero.
local event = require("aether.event")
local schema = require("aether.schema")

local account = {
  initial = { balance = 0 },
  retry = "never",
  schema = {
    deposit = { amount = schema.integer { min = 1 } },
    close = {},
  },
}

local decide = {}
account.decide = decide

--- Puts money in. There is no limit.
function decide.deposit(_, deposit)
  return event("Deposited", { amount = deposit.amount })
end

function decide.withdraw(state, withdraw)
  if withdraw.amount > state.balance then
    return nil, "insufficient_funds"
  end
  return event("Withdrawn", { amount = withdraw.amount })
end

function decide.close() return {} end
function decide.fail() error("unlucky") end

account.evolve = {
  Deposited = function(state, deposited) state.balance = state.balance + deposited.amount end,
  Withdrawn = function(state, withdrawn) state.balance = state.balance - withdrawn.amount end,
}

return account
]]

-- A program of build/tools; scripts/test fetches it.
local function tool(name)
  local path = program.root .. "/build/tools/" .. name
  assert(program.exists(path), path .. " is not there; scripts/test fetches it")
  return path
end

local function get(path, headers)
  return node:request("GET", path, headers)
end

-- Series of a Prometheus text: "name{labels}" to value.
local function series_of(text)
  local series = {}
  for line in text:gmatch("([^\n]+)\n") do
    if line:sub(1, 1) ~= "#" then
      local name, value = line:match("^(.+) (%S+)$")
      assert(not series[name], "twice: " .. name)
      series[name] = tonumber(value)
    end
  end
  return series
end

local function check_metrics(text)
  local path = folder .. "/metrics"
  program.write(path, text)
  local result = program.run({ tool("promtool"), "check", "metrics" }, { stdin_file = path })
  assert.equal(0, result.status, result.err .. result.out)
  assert.equal("", result.err .. result.out)
end

describe("watching a node #node", function()
  before_each(function()
    folder = program.folder()
    node = nil
    program.fill(folder, { ["bank/account.lua"] = ACCOUNT })
  end)

  after_each(function()
    if node and not node.process.ended then
      node:kill(9)
      node:wait()
    end
    program.remove(folder)
  end)

  it("is alive and ready", function()
    node = server.start(folder)
    local health = get("/healthz")
    assert.equal(200, health.status)
    assert.equal('{"status":"ok"}\n', health.body)
    assert.equal("no-store", health.headers["cache-control"])
    local ready = get("/readyz")
    assert.equal(200, ready.status)
    assert.equal('{"status":"ready"}\n', ready.body)
    node:stop()
  end)

  it("has metrics that promtool has nothing to say of", function()
    node = server.start(folder)
    local answer = get("/metrics")
    assert.equal(200, answer.status)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
    check_metrics(answer.body)
    -- Every family says what it is, once, and its series stand together.
    local families, current = {}, nil
    for line in answer.body:gmatch("([^\n]+)\n") do
      local family = line:match("^# HELP (%S+) %S") or line:match("^# TYPE (%S+) %l+$")
      if line:sub(1, 7) == "# HELP " then
        assert(family and not families[family], line)
        families[family], current = true, family
      elseif line:sub(1, 7) == "# TYPE " then
        assert.equal(current, family)
      else
        local name = line:match("^[%w_]+")
        assert(name == current or name:match("^(.*)_%l+$") == current, line)
      end
    end
    node:stop()
  end)

  it("counts to the last command", function()
    program.fill(folder, {
      ["aa/account.lua"] = ACCOUNT,
      ["zoo/account.lua"] = ACCOUNT,
      ["bank/purse.lua"] = ACCOUNT,
    })
    node = server.start(folder)
    local function send(command, data, headers)
      headers = headers or {}
      headers["Content-Type"] = "application/json"
      return node:request("POST", "/v1/bank/account/a/" .. command, headers, data).status
    end
    for _ = 1, 3 do
      assert.equal(200, send("deposit", '{"amount":1}'))
    end
    assert.equal(422, send("withdraw", '{"amount":9}'))
    assert.equal(409, send("deposit", '{"amount":1}', { ["If-Match"] = '"1"' }))
    assert.equal(500, send("fail", "{}"))
    assert.equal(400, send("deposit", "{}"))
    assert.equal(404, get("/nowhere").status)
    local text = get("/metrics").body
    check_metrics(text)
    local series = series_of(text)
    local of = '{namespace="bank",type="account"'
    local function commands(outcome)
      return series["aether_commands_total" .. of .. ',outcome="' .. outcome .. '"}']
    end
    assert.equal(3, commands("accepted"))
    assert.equal(1, commands("rejected"))
    assert.equal(1, commands("conflict"))
    assert.equal(2, commands("failed"))
    for _, other in ipairs({
      'namespace="aa",type="account"',
      'namespace="bank",type="purse"',
      'namespace="zoo",type="account"',
    }) do
      assert.equal(0, series["aether_commands_total{" .. other .. ',outcome="accepted"}'])
      assert.equal(0, series["aether_command_duration_seconds_count{" .. other .. "}"])
    end
    assert.equal(1, series["aether_conflicts_total" .. of .. "}"])
    assert.equal(0, series["aether_retries_total" .. of .. "}"])
    assert.equal(3, series["aether_events_total" .. of .. "}"])
    assert.equal(1, series['aether_actors_live{namespace="bank"}'])
    assert.equal(3, series['aether_bus_published_total{namespace="bank"}'])
    assert.equal(3, series['aether_store_commits{namespace="bank"}'])
    assert.equal(3, series['aether_store_position{namespace="bank"}'])
    assert(series['aether_script_memory_bytes{namespace="bank"}'] > 10000)
    assert(series["process_resident_memory_bytes"] > 1e6)
    assert(series["process_open_fds"] > 3)
    assert(series["aether_store_file_bytes"] > 0)
    assert.equal(1, series["aether_ready"])
    local requests = "aether_http_requests_total"
    assert.equal(3, series[requests .. '{route="command",code="2xx"}'])
    assert.equal(3, series[requests .. '{route="command",code="4xx"}'])
    assert.equal(1, series[requests .. '{route="command",code="5xx"}'])
    assert.equal(1, series[requests .. '{route="none",code="4xx"}'])
    -- The histogram: rising, and all of them in the end.
    local before, bounds = 0, 0
    local buckets = '{namespace="bank",type="account",le="([^"]+)"} (%d+)'
    for bound, count in text:gmatch("_duration_seconds_bucket" .. buckets) do
      assert(tonumber(count) >= before, bound)
      before, bounds = tonumber(count), bounds + 1
    end
    assert.equal(19, bounds)
    assert.equal(7, before)
    assert.equal(7, series["aether_command_duration_seconds_count" .. of .. "}"])
    assert(series["aether_command_duration_seconds_sum" .. of .. "}"] > 0)
    node:stop()
  end)

  it("counts what a quota refused", function()
    program.write(folder .. "/aether.lua", [[
return { namespaces = { bank = { limits = { commands_per_s = 0.001 } } } }
]])
    node = server.start(folder)
    local function send()
      local headers = { ["Content-Type"] = "application/json" }
      return node:request("POST", "/v1/bank/account/a/close", headers, "{}").status
    end
    assert.equal(200, send())
    assert.equal(429, send())
    assert.equal(429, send())
    local text = get("/metrics").body
    check_metrics(text)
    local series = series_of(text)
    local of = '{namespace="bank",limit="commands_per_s"}'
    assert.equal(2, series["aether_limit_refused_total" .. of])
    assert.equal(0.001, series["aether_limit" .. of])
    assert.is_nil(series['aether_limit{namespace="bank",limit="events_per_s"}'])
    node:stop()
  end)

  it("describes its API so that a validator takes it", function()
    node = server.start(folder)
    local answer = get("/v1/openapi.json")
    assert.equal(200, answer.status)
    assert.equal("application/json", answer.headers["content-type"])
    local path = folder .. "/openapi.json"
    program.write(path, answer.body)
    local result = program.run({ "node", tool("node_modules/.bin/validate-api"), path })
    assert.equal(0, result.status, result.out .. result.err)
    assert.equal(true, json.decode(result.out).valid, result.out)
    local document = json.decode(answer.body)
    assert.equal("3.1.0", document.openapi)
    local deposit = document.paths["/v1/bank/account/{id}/deposit"].post
    assert.equal("bank.account.deposit", deposit.operationId)
    assert.equal("Puts money in", deposit.summary)
    assert.equal("Puts money in. There is no limit.", deposit.description)
    assert.equal(true, deposit.requestBody.required)
    assert.same({
      type = "object",
      properties = { amount = { type = "integer", minimum = 1 } },
      required = { "amount" },
      additionalProperties = false,
    }, deposit.requestBody.content["application/json"].schema)
    local withdraw = document.paths["/v1/bank/account/{id}/withdraw"].post
    assert.equal("withdraw", withdraw.summary)
    assert.is_nil(withdraw.description)
    assert.equal(false, withdraw.requestBody.required)
    assert(document.paths["/v1/bank/account/{id}"].get)
    assert(document.paths["/v1/bank/events"].get)
    local described
    for _, tag in ipairs(document.tags) do
      described = tag.name == "bank/account" and tag.description or described
    end
    assert.equal("A bank account.\nIt never goes below zero.", described)
    -- Every path that it tells of is there.
    for template, operations in pairs(document.paths) do
      if operations.get and not template:find("/v1/events", 1, true) then
        local status = get((template:gsub("{id}", "x"))).status
        assert(status == 200, template .. ": " .. status)
      end
    end
    node:stop()
  end)

  it("shows its status to who may administer it", function()
    node = server.start(folder)
    local answer = get("/v1/admin/status")
    assert.equal(200, answer.status)
    local status = json.decode(answer.body)
    assert.equal(node.url, status.url)
    assert.equal(true, status.ready)
    assert(status.namespaces.bank.revision:match("^%x+$"))
    node:stop()
  end)
end)
