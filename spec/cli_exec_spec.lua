--- `aether exec`: outcomes, their order, the summary, signals and pipes.
local counter = require("spec.support.counter")
local json = require("dkjson")
local program = require("spec.support.program")

local SIGINT, SIGTERM = 2, 15

local folder

local function lines(...)
  return table.concat({ ... }, "\n") .. "\n"
end

local function exec(input, options)
  local result = counter.exec(folder, "memory", input, options)
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return result
end

-- Starts `aether exec -` with a pipe that stays open; returns the process and
-- a function that sends text.
local function start_on_pipe(store)
  local fifo = folder .. "/fifo"
  program.run({ "mkfifo", fifo })
  local process = program.start_aether(
    { "-C", folder, "exec", "--store", store, "-" },
    { stdin_file = fifo }
  )
  -- Opened for reading too, so that the opening does not wait.
  local pipe = assert(io.open(fifo, "r+"))
  return process, function(text)
    assert(pipe:write(text))
    assert(pipe:flush())
  end, pipe
end

local function wait_for_lines(process, count)
  program.wait_for(function()
    local _, have = program.read(process.stdout):gsub("\n", "")
    return have >= count
  end, count .. " outcomes", 20)
end

describe("aether exec #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("prints the outcomes of API.md", function()
    local result = exec(lines(
      counter.add("a", 5, "one"),
      counter.add("a", 6),
      '{"actor":"cell/counter/a","command":"refuse","id":"two"}',
      counter.add("a", 7, nil, { expected_version = 1 }),
      "nonsense",
      counter.add("a", 5, "one"),
      counter.add("a", 6, "one"),
      '{"actor":"cell/counter/a","command":"ad"}',
      '{"actor":"cell/conter/a","command":"add"}',
      '{"actor":"cel/counter/a","command":"add"}'
    ))
    assert.equal(3, result.status)
    local all = result.outcomes
    assert.equal(10, #all)
    local text = result.out:match("[^\n]+")
    assert.matches(
      '^{"line":1,"actor":"cell/counter/a","command":"add","id":"one",'
        .. '"status":"accepted","version":1,"position":%d+,"events":%[{"id":',
      text
    )
    local event = all[1].events[1]
    assert.equal("Added", event.type)
    assert.equal(1, event.version)
    assert.equal(all[1].position, event.position)
    assert.equal("cell", event.namespace)
    assert.equal("counter", event.actor_type)
    assert.equal("a", event.actor_id)
    assert.equal(5, event.data.n)
    assert.equal("one", event.metadata.command_id)
    assert.equal(2, all[2].version)
    assert.is_nil(all[2].id)
    assert.equal("rejected", all[3].status)
    assert.equal("rejected", all[3].error.code)
    assert.equal("refused", all[3].error.reason)
    assert.same({ count = 2 }, all[3].error.details)
    assert.equal("conflict", all[4].status)
    assert.equal("version_conflict", all[4].error.code)
    assert.equal(1, all[4].error.attempted_version)
    assert.equal(2, all[4].error.current_version)
    assert.equal("failed", all[5].status)
    assert.equal("malformed", all[5].error.code)
    assert.equal(5, all[5].line)
    assert.equal("accepted", all[6].status)
    assert.equal(all[1].events[1].id, all[6].events[1].id)
    assert.equal(1, all[6].version)
    assert.equal("conflict", all[7].status)
    assert.equal("id_reused", all[7].error.code)
    assert.equal("unknown_command", all[8].error.code)
    assert.equal("add", all[8].error.nearest)
    assert.equal("unknown_type", all[9].error.code)
    assert.equal("counter", all[9].error.nearest)
    assert.equal("unknown_namespace", all[10].error.code)
    assert.equal("cell", all[10].error.nearest)
    assert.matches(
      "10 commands: 3 accepted, 1 rejected, 2 conflicts, 4 failed; 2 events",
      result.err
    )
    assert.matches("lives as long as the process", result.err)
  end)

  it("says by its status what happened", function()
    assert.equal(0, exec(lines(counter.add("a", 1))).status)
    local rejected = '{"actor":"cell/counter/a","command":"refuse"}'
    assert.equal(1, exec(lines(counter.add("a", 1), rejected)).status)
    local conflict = counter.add("a", 1, nil, { expected_version = 9 })
    assert.equal(1, exec(lines(conflict)).status)
    assert.equal(3, exec(lines(rejected, "x")).status)
  end)

  it("sums up in JSON with --json", function()
    local result = program.run_aether(
      { "-C", folder, "exec", "--store", "memory", "--json", "-" },
      { stdin = lines(counter.add("a", 1), "x") }
    )
    local summary = json.decode(result.err)
    assert.equal(2, summary.commands)
    assert.equal(1, summary.accepted)
    assert.equal(1, summary.failed)
    assert.equal(1, summary.events)
    assert.is_number(summary.seconds)
    assert.is_number(summary.rate)
    assert.is_false(summary.interrupted)
    local of_type = summary.types["cell/counter"]
    assert.equal(1, of_type.accepted)
    assert.equal(0, of_type.conflicts)
    assert.equal(0, of_type.retries)
  end)

  it("keeps the order of lines and of an actor's commands", function()
    local input = {}
    for index = 1, 3000 do
      input[index] = index % 7 == 0 and "nonsense"
        or counter.add("c" .. index % 13, index)
    end
    for _, in_flight in ipairs({ "1", "2", "1000", "65536" }) do
      local result = program.run_aether({
        "-C", folder, "exec", "--store", "memory", "--in-flight", in_flight,
        "-",
      }, { stdin = table.concat(input, "\n") })
      local versions = {}
      local outcomes = counter.documents(result.out)
      assert.equal(3000, #outcomes)
      for index, outcome in ipairs(outcomes) do
        assert.equal(index, outcome.line)
        if outcome.status == "accepted" then
          local version = (versions[outcome.actor] or 0) + 1
          versions[outcome.actor] = version
          assert.equal(version, outcome.version)
          assert.equal(index, outcome.events[1].data.n)
        end
      end
    end
  end)

  it("goes on behind any number of lines that are no commands", function()
    program.write(folder .. "/in", ("nonsense\n"):rep(20000) .. counter.add("a", 1))
    local result = program.run_aether({
      "-C", folder, "exec", "--store", "memory", folder .. "/in",
    })
    assert.equal(3, result.status)
    local outcomes = counter.documents(result.out)
    assert.equal(20001, #outcomes)
    assert.equal("accepted", outcomes[20001].status)
  end)

  it("reads a file, and says when there is none", function()
    program.write(folder .. "/in", lines(counter.add("a", 1)))
    local result = program.run_aether({
      "-C", folder, "exec", "--store", "memory", folder .. "/in",
    })
    assert.equal(0, result.status)
    for _, name in ipairs({ folder .. "/none", folder }) do
      result = program.run_aether({
        "-C", folder, "exec", "--store", "memory", name,
      })
      assert.equal(3, result.status)
      assert.equal("", result.out)
      assert(result.err:find(name, 1, true), result.err)
    end
  end)

  it("takes a byte order mark and any line end", function()
    local good = counter.add("a", 1)
    assert.equal(0, exec("\239\187\191" .. good .. "\r\n" .. good).status)
    assert.equal(0, exec("\239\187\191").status)
    assert.equal(0, exec("").status)
  end)

  it("answers while its input is still open", function()
    local process, send, pipe = start_on_pipe("memory")
    for index = 1, 20 do
      send(counter.add("a", index) .. "\n")
      wait_for_lines(process, index)
    end
    -- Half a line waits for the rest.
    local line = counter.add("a", 21) .. "\n"
    send(line:sub(1, 20))
    send(line:sub(21))
    wait_for_lines(process, 21)
    process:kill(SIGTERM)
    local result = process:wait()
    pipe:close()
    assert.equal(0, result.status)
    assert.equal(21, #counter.documents(result.out))
    assert(result.err:find("interrupted after 21 commands", 1, true),
      result.err)
  end)

  for _, case in ipairs({ { "SIGINT", SIGINT }, { "SIGTERM", SIGTERM } }) do
    it("ends with a summary at " .. case[1], function()
      -- More than can be done in the time, from a file without an end.
      local store = "sqlite:" .. folder .. "/events.db"
      local fifo = folder .. "/many"
      program.run({ "mkfifo", fifo })
      local source = program.start({
        "sh", "-c", 'exec yes "$1" > "$2"', "sh",
        '{"actor":"cell/counter/a","command":"add","data":{"n":1}}', fifo,
      })
      local process = program.start_aether(
        { "-C", folder, "exec", "--store", store, fifo }
      )
      wait_for_lines(process, 100)
      process:kill(case[2])
      local result = process:wait()
      source:kill(9)
      source:wait()
      assert.equal(0, result.status, result.err)
      local outcomes = counter.documents(result.out)
      assert.equal("\n", result.out:sub(-1))
      assert(
        result.err:find(
          ("interrupted after %d commands: %d accepted"):format(
            #outcomes,
            #outcomes
          ),
          1,
          true
        ),
        result.err
      )
      local stored = counter.events(folder, store).events
      assert.equal(#outcomes, #stored)
    end)
  end

  it("says its summary also at a signal behind the last outcome", function()
    -- Nobody reads stderr yet, and it is full: there it stands with all done.
    local fifo = folder .. "/err"
    program.run({ "mkfifo", fifo })
    local full = assert(io.open(fifo, "r+"))
    program.run({ "dd", "if=/dev/zero", "of=" .. fifo, "oflag=nonblock", "bs=1024" })
    local process = program.start_aether(
      { "-C", folder, "exec", "--store", "sqlite:" .. folder .. "/events.db", "-" },
      { stdin = lines(counter.add("a", 1), counter.add("a", 2)), stderr_file = fifo }
    )
    local WRITE_TO_STDERR = "^1 0x2 "
    program.wait_for(function()
      return program.read(("/proc/%d/syscall"):format(process.pid)):find(WRITE_TO_STDERR)
    end, "the summary to be written", 20)
    process:kill(SIGTERM)
    local drain = program.start({ "tr", "-d", "\\0" }, { stdin_file = fifo })
    process.stderr = "/dev/null" -- it is the fifo, which the other one reads
    local result = process:wait()
    full:close()
    assert.matches("^aether: 2 commands: 2 accepted, .* 2 events; [^\n]*\n$", drain:wait().out)
    assert.is_nil(result.signal)
    assert.equal(0, result.status)
  end)

  it("ends at a second signal, also in a handler without an end", function()
    program.fill(folder, {
      ["cell/spin.lua"] = [[
        return {
          initial = {},
          decide = {
            go = function()
              print("turning")
              while true do end
            end,
          },
          evolve = {},
        }
      ]],
    })
    local process = program.start_aether(
      { "-C", folder, "exec", "--store", "memory", "-" },
      { stdin = '{"actor":"cell/spin/a","command":"go"}\n' }
    )
    program.wait_for(function()
      return program.read(process.stderr):find("turning", 1, true)
    end, "the handler's start", 20)
    process:kill(SIGTERM)
    -- The first is taken in once nobody listens for it any more.
    program.wait_for(function()
      local caught = program
        .read(("/proc/%d/status"):format(process.pid))
        :match("SigCgt:%s*%x*(%x%x%x%x)")
      return math.floor(tonumber(caught, 16) / 2 ^ (SIGTERM - 1)) % 2 == 0
    end, "the first signal", 20)
    assert.is_true(process:running())
    process:kill(SIGTERM)
    assert.equal(SIGTERM, process:wait().signal)
  end)

  it("does not stop at what is too large", function()
    local result = exec(lines(
      counter.add("a", 1),
      counter.add("a", 2, nil, { data = { n = 1, text = ("x"):rep(9e6) } }),
      counter.add("a", 3)
    ))
    assert.equal(3, result.status)
    assert.equal("too_large", result.outcomes[2].error.code)
    assert.equal(8388608, result.outcomes[2].error.limit)
    assert.equal(2, result.outcomes[3].version)
  end)

  it("does not say again what cannot be a name", function()
    local result = exec(lines(
      '{"actor":"' .. ("x"):rep(1e6) .. '","command":"add"}',
      '{"actor":"cell/counter/a","command":"' .. ("x"):rep(1e6) .. '"}'
    ))
    assert(#result.out < 5000)
  end)
end)
