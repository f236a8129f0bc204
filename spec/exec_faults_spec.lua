-- What people and pipes send to `aether exec`: every line gets one answer, in
-- order, and nothing that was sent hurts what comes behind it.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")

local folder

local good = counter.add("good", 1)

-- Runs lines with a good command behind each; returns the outcomes of the
-- lines alone, after checking that the good ones went through.
local function between_good(lines)
  local input = {}
  for _, line in ipairs(lines) do
    input[#input + 1] = line
    input[#input + 1] = good
  end
  local result = counter.exec(
    folder,
    "memory",
    table.concat(input, "\n") .. "\n",
    { seconds = 120 }
  )
  assert(result.signal == nil, "it died: " .. result.err:sub(-2000))
  assert.equal(#input, #result.outcomes, result.err:sub(-2000))
  local of_lines = {}
  for index, outcome in ipairs(result.outcomes) do
    assert.equal(index, outcome.line)
    if index % 2 == 0 then
      assert.equal(
        "accepted",
        outcome.status,
        "behind " .. lines[index / 2]:sub(1, 100)
      )
      assert.equal(index / 2, outcome.version)
    else
      of_lines[#of_lines + 1] = outcome
    end
  end
  return of_lines, result
end

local function short(line)
  return ("%q"):format(line:sub(1, 80))
end

describe("aether exec #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("answers every line that is no command with malformed", function()
    local lines = {
      "{",
      "}",
      "null",
      "5",
      '"text"',
      "[]",
      "{}",
      "nonsense",
      good:sub(1, -2),
      good .. "}",
      good .. good,
      "\239\187\191" .. good,
      '{"actor":"cell/counter/a"}',
      '{"command":"add"}',
      '{"actor":5,"command":"add","data":{}}',
      '{"actor":"cell/counter/a","command":5,"data":{}}',
      '{"actor":"cell/counter/a","command":"add","data":5}',
      '{"actor":"cell/counter/a","command":"add","data":[1]}',
      '{"actor":"cell/counter/a","command":"add","data":"x"}',
      '{"actor":"cell/counter/a","command":"add","data":{},"id":5}',
      '{"actor":"cell/counter/a","command":"add","data":{},"id":""}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":1},"idd":"x"}',
      '{"actor":"cell/counter/a","command":"add","data":{},'
        .. '"expected_version":-1}',
      '{"actor":"cell/counter/a","command":"add","data":{},'
        .. '"expected_version":1.5}',
      '{"actor":"cell/counter/a","command":"add","data":{},'
        .. '"expected_version":"1"}',
      '{"actor":"cell/counter/a","command":"add","data":{},"metadata":5}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":01}}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":NaN}}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":1,}}',
      "{'actor':'cell/counter/a','command':'add','data':{'n':1}}",
      '{"actor":"cell/counter/a","command":"add","data":{"n":1}} // note',
      '{"actor":"cell/counter/a","command":"add","data":{"n":"\255"}}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":"\237\160\128"}}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":"\\ud800"}}',
      '{"actor":"cell/counter/a","command":"add","data":{"n":"\1"}}',
      "\0",
      "\255\254\0x",
      ("["):rep(100000),
      ('{"a":'):rep(100000),
      ("x"):rep(1000000),
    }
    local outcomes = between_good(lines)
    for index, outcome in ipairs(outcomes) do
      local at = short(lines[index]) .. ": " .. json.encode(outcome):sub(1, 300)
      assert(outcome.status == "failed", at)
      assert(outcome.error.code == "malformed", at)
      assert(#outcome.error.message > 10, at)
      assert(#json.encode(outcome) < 4000, at)
    end
  end)

  it("answers every name that is none", function()
    local lines, codes = {}, {}
    for actor, code in pairs({
      [""] = "malformed",
      ["cell"] = "malformed",
      ["cell/counter"] = "malformed",
      ["cell/counter/"] = "invalid_name",
      ["/counter/a"] = "invalid_name",
      ["cell//a"] = "invalid_name",
      ["nowhere/counter/a"] = "unknown_namespace",
      ["../counter/a"] = "unknown_namespace",
      ["cell/countr/a"] = "unknown_type",
      ["cell/Counter/a"] = "invalid_name",
      ["cell/co unter/a"] = "invalid_name",
      ["cell/*/a"] = "invalid_name",
      ["ce*ll/counter/a"] = "invalid_name",
      ["ce ll/counter/a"] = "invalid_name",
      [("n"):rep(65) .. "/counter/a"] = "invalid_name",
      ["cell/counter/" .. ("i"):rep(256)] = "invalid_name",
    }) do
      lines[#lines + 1] = json.encode({
        actor = actor,
        command = "add",
        data = { n = 1 },
      })
      codes[#codes + 1] = code
    end
    for index, outcome in ipairs((between_good(lines))) do
      local at = lines[index] .. ": " .. json.encode(outcome)
      assert(outcome.status == "failed", at)
      local code = outcome.error.code
      assert(
        code == codes[index] or code == "invalid_name" or code == "malformed",
        at
      )
    end
  end)

  it("takes every id that is one", function()
    local ids = {
      "a/b/c",
      "..",
      "*",
      ">",
      " ",
      "%2F",
      "a\0b",
      "\127",
      "ünïcödé 🦆",
      ("i"):rep(255),
      "'; DROP TABLE events; --",
      "\n",
      "$aether",
    }
    local lines = {}
    for index, id in ipairs(ids) do
      lines[index] = counter.add(id, index)
    end
    local outcomes = between_good(lines)
    for index, outcome in ipairs(outcomes) do
      assert(outcome.status == "accepted", json.encode(outcome))
      assert.equal(1, outcome.version)
      assert.equal("cell/counter/" .. ids[index], outcome.actor)
    end
  end)

  it("keeps numbers exact to 64 bits", function()
    local numbers = {
      "0",
      "-1",
      "9007199254740993",
      "9223372036854775807",
      "-9223372036854775808",
      "18446744073709551615",
    }
    local lines = {}
    for index, number in ipairs(numbers) do
      lines[index] = '{"actor":"cell/counter/n'
        .. index
        .. '","command":"add","data":{"n":0,"text":'
        .. number
        .. "}}"
    end
    local _, result = between_good(lines)
    for _, number in ipairs(numbers) do
      assert(result.out:find('"text":' .. number .. "}", 1, true), number)
    end
  end)

  it("refuses numbers beyond", function()
    for _, outcome in
      ipairs((between_good({
        '{"actor":"cell/counter/a","command":"add","data":{"n":1e999}}',
        '{"actor":"cell/counter/a","command":"add","data":{"n":' .. ("9"):rep(
          100000
        ) .. "}}",
      })))
    do
      assert(outcome.status == "failed", json.encode(outcome):sub(1, 300))
    end
  end)

  it("reads lines as they come", function()
    -- Windows line ends, empty lines, no line end at the end.
    local result = counter.exec(
      folder,
      "memory",
      good .. "\r\n" .. "\n\n  \n" .. good .. "\n" .. good
    )
    assert(result.status == 0, result.err .. result.out)
    local versions = {}
    for _, outcome in ipairs(result.outcomes) do
      versions[#versions + 1] = outcome.version
    end
    assert.same({ 1, 2, 3 }, versions)
  end)

  it("takes nothing at all", function()
    local result = counter.exec(folder, "memory", "")
    assert(result.status == 0, result.err)
    assert.equal("", result.out)
  end)

  it("takes a line up to the record's limit, and says what is more", function()
    local outcomes = between_good({
      counter.add("big", 1, nil, {
        data = { n = 1, text = ("x"):rep(4 * 2 ^ 20) },
      }),
      counter.add("big", 1, nil, {
        data = { n = 1, text = ("x"):rep(30 * 2 ^ 20) },
      }),
    })
    assert.equal("accepted", outcomes[1].status)
    assert.equal("failed", outcomes[2].status)
    assert.equal("too_large", outcomes[2].error.code)
  end)

  it("streams: memory does not grow with the file", function()
    local text = ("x"):rep(900)
    local function peak(count)
      local path = folder .. "/many"
      local file = assert(io.open(path, "wb"))
      for n = 1, count do
        file:write(
          counter.add("m" .. n % 50, n, nil, { data = { n = n, text = text } }),
          "\n"
        )
      end
      file:close()
      local store = ("sqlite:%s/%d.db"):format(folder, count)
      local result = program.run_aether(
        { "-C", folder, "exec", "--store", store, path },
        { stdout_file = folder .. "/out", seconds = 240 }
      )
      assert(result.status == 0, result.err)
      local _, lines = result.out:gsub("\n", "")
      assert.equal(count, lines)
      os.remove(folder .. "/out")
      return result.peak_kb
    end
    local small, large = peak(20000), peak(120000)
    assert(large < small + 40000, ("%d kB, then %d kB"):format(small, large))
  end)

  it("ends quietly when nobody reads any more", function()
    program.write(folder .. "/lines", counter.lines(50000, 11))
    local store = "sqlite:" .. folder .. "/events.db"
    local result = program.run({
      "sh",
      "-c",
      '"$1" -C "$2" exec --store "$3" "$2/lines" 2>"$2/err" | head -n 5',
      "sh",
      program.aether,
      folder,
      store,
    })
    assert.is_nil(result.signal)
    local printed = counter.documents(result.out)
    assert.equal(5, #printed)
    assert(
      not program.read(folder .. "/err"):find("rror.*\n.*rror.*\n.*rror"),
      program.read(folder .. "/err"):sub(1, 2000)
    )
    local stored = counter.by_version(counter.events(folder, store).events)
    for _, outcome in ipairs(printed) do
      assert(stored[outcome.actor:match("[^/]*$")][outcome.version])
    end
    -- The same for what only reads.
    for _, words in ipairs({ "events cell --json", "events cell" }) do
      result = program.run({
        "sh",
        "-c",
        '"$1" -C "$2" ' .. words .. ' --store "$3" 2>"$2/err" | head -n 2',
        "sh",
        program.aether,
        folder,
        store,
      })
      assert.is_nil(result.signal)
      assert(#program.read(folder .. "/err") < 300)
    end
  end)

  it("says that what it prints cannot be written", function()
    program.write(folder .. "/lines", counter.lines(2000, 11))
    for _, words in ipairs({
      "exec --store memory " .. folder .. "/lines",
      "help",
      "config",
    }) do
      local result = program.run({
        "sh",
        "-c",
        '"$1" -C "$2" ' .. words .. " >/dev/full",
        "sh",
        program.aether,
        folder,
      })
      assert(
        result.status == 3,
        words .. ": " .. tostring(result.status) .. result.err
      )
      assert.matches("[Nn]o space", result.err)
    end
  end)

  it("runs with standard streams closed", function()
    for _, closed in ipairs({ "<&-", ">&-", "2>&-", "<&- >&- 2>&-" }) do
      local result = program.run({
        "sh",
        "-c",
        '"$1" -C "$2" exec --store "sqlite:$2/closed.db" - ' .. closed,
        "sh",
        program.aether,
        folder,
      }, { stdin = counter.lines(100, 3, closed), seconds = 20 })
      assert.is_nil(result.signal, closed)
      assert(result.status <= 3, closed .. ": " .. tostring(result.status))
    end
    -- No output went into the store.
    local events = counter.events(folder, "sqlite:" .. folder .. "/closed.db")
    assert(events.status == 0, events.err)
    counter.by_version(events.events)
  end)

  it("says which file it cannot read", function()
    for _, name in ipairs({ "nowhere.ndjson", "cell", "" }) do
      local result = program.run_aether({
        "-C",
        folder,
        "exec",
        "--store",
        "memory",
        folder .. "/" .. name,
      })
      assert.equal(3, result.status)
      assert.matches(folder .. "/" .. name, result.err, 1, true)
    end
  end)
end)
