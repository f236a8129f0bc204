-- A namespace leaves one store and enters another. Through the real binary.
local counter = require("spec.support.counter")
local nats = require("spec.support.nats")
local program = require("spec.support.program")

local long = os.getenv("AETHER_LONG") ~= nil

local folder, store, app

local function aether(argv, options)
  return program.run_in(folder, argv, options)
end

local ok, failed = program.ok, program.failed

local function exec(lines, target)
  return ok(counter.exec(folder, target or app, lines, { seconds = 120 }))
end

local function export(target, name)
  return ok(aether({ "export", name or "cell", "--store", target or app }))
end

local function import(text, target, name)
  return ok(aether({ "import", name or "cell", "--store", target }, {
    stdin = text,
  }))
end

-- What is the same in two exports of the same: all but times, places, sums.
local function essence(text)
  return (text:gsub('"time":%d+}', "}"):gsub('"position":%d+,', "")
    :gsub('"sum":"%x+"}}\n$', ""))
end

local function events(target, name)
  local text = ok(counter.events(folder, target, name)).out
  return (text:gsub('"position":%d+,', ""))
end

local unicode = { "é", "日本", "a b", "a/b", "🙂", "%2e", '"', "\\", "..", "''" }

local function values()
  local lines = {}
  for index, id in ipairs(unicode) do
    lines[#lines + 1] = counter.add(id, index, "cmd " .. id, {
      data = { n = index, text = ("ü\1\127"):rep(index) },
      metadata = { correlation_id = "c-" .. id, user = id },
    })
    lines[#lines + 1] = counter.add(id, index, "no " .. id, {
      command = "refuse",
    })
  end
  return table.concat(lines, "\n") .. "\n"
end

describe("export and import #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
    program.fill(folder, {
      ["other/counter.lua"] = program.read(folder .. "/cell/counter.lua"),
    })
    store = folder .. "/data/events.db"
    program.run({ "mkdir", folder .. "/data" })
    app = "sqlite:" .. store
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("keep ids, outcomes of commands, versions, times and metadata", function()
    ok(aether({ "exec", "-" }, { stdin = counter.lines(200, 7) }))
    local first = counter.exec(folder, app, values())
    assert.equal(1, first.status)
    local text = export().out
    local target = "sqlite:" .. folder .. "/new.db"
    import(text, target)
    assert.equal(events(app), events(target))
    assert.equal(essence(text), essence(export(target).out))
    -- The same commands again: what became of them then, and nothing new.
    local again = counter.exec(folder, target, values())
    assert.equal(1, again.status)
    for index, outcome in ipairs(again.outcomes) do
      local before = first.outcomes[index]
      assert.equal(before.status, outcome.status)
      assert.equal(before.version, outcome.version)
      if outcome.status == "accepted" then
        assert.is_true(outcome.repeated)
        assert.equal(before.events[1].id, outcome.events[1].id)
      end
    end
    assert.equal(events(app), events(target))
    -- With other data an id is taken.
    local reused = counter.exec(folder, target,
      counter.add(unicode[1], 99, "cmd " .. unicode[1]) .. "\n")
    assert.equal("conflict", reused.outcomes[1].status)
    assert.equal("id_reused", reused.outcomes[1].error.code)
    ok(aether({ "check", "--store", target }))
    exec(counter.lines(10, 7, "more"), target)
  end)

  it("give the namespace another name, beside the first", function()
    exec(counter.lines(50, 7))
    local text = export().out
    local told = import(text, app, "other")
    assert(told.out:find("50 events, as other", 1, true), told.out)
    local moved = events(app, "other"):gsub('"other"', '"cell"')
    assert.equal(events(app), moved)
    ok(aether({ "check" }))
    local state = ok(aether({ "state", "other/counter/c1", "--json" })).out
    assert.equal(ok(aether({ "state", "cell/counter/c1", "--json" })).out,
      (state:gsub("other/", "cell/")))
    local strange = import(text, app, "strange")
    assert.matches("the app has no namespace strange yet", strange.err)
  end)

  it("change nothing the second time", function()
    exec(counter.lines(3000, 31))
    local text = export().out
    local target = "sqlite:" .. folder .. "/new.db"
    program.write(folder .. "/e.ndjson", text)
    ok(aether({ "import", "cell", folder .. "/e.ndjson", "--store", target }))
    local once = export(target).out
    for _, argv in ipairs({ { folder .. "/e.ndjson" }, { "-" }, {} }) do
      local result = ok(aether(
        { "import", "cell", "--store", target, "--json", argv[1] },
        { stdin_file = folder .. "/e.ndjson" }
      ))
      local said = counter.documents(result.out)[1]
      assert.equal(3000, said.events)
      assert.equal(said.commits, said.present)
      assert.equal(0, said.stored)
      assert.equal(essence(once), essence(export(target).out))
    end
    -- It goes on, and the import still changes nothing.
    exec(counter.lines(10, 31, "more"), target)
    local now = events(target)
    local result = ok(aether({ "import", "cell", folder .. "/e.ndjson",
      "--store", target }))
    assert(result.out:find("gone on by ", 1, true), result.out)
    assert.equal(now, events(target))
    -- What holds something else is left as it is.
    exec(counter.lines(10, 31, "x"), "sqlite:" .. folder .. "/else.db")
    now = events("sqlite:" .. folder .. "/else.db")
    failed(aether({ "import", "cell", folder .. "/e.ndjson", "--store",
      "sqlite:" .. folder .. "/else.db" }), 1, "nothing was stored")
    assert.equal(now, events("sqlite:" .. folder .. "/else.db"))
  end)

  it("give one moment of a store that is written at full speed", function()
    local lines = {}
    local count = program.is_slow and 8000 or 30000
    for n = 1, count do
      lines[n] = counter.add("c" .. n % 101, n, "id" .. n)
    end
    program.write(folder .. "/lines", table.concat(lines, "\n") .. "\n")
    local writer = program.start_aether(
      { "-C", folder, "exec", folder .. "/lines" },
      { stdout_file = "/dev/null", seconds = 300 }
    )
    program.wait_for(function()
      return program.size(store .. "-wal") + program.size(store) > 400000
        or not writer:running()
    end, "some commits")
    local text = export().out
    local meanwhile = writer:running()
    assert(writer:wait().status == 0)
    assert(meanwhile, "nothing was written meanwhile")
    local target = "sqlite:" .. folder .. "/new.db"
    import(text, target)
    ok(aether({ "check", "--store", target }, { seconds = 120 }))
    local part, all = events(target), events(app)
    assert(#part > 0 and #part < #all)
    assert(part == all:sub(1, #part), "is no prefix")
    -- Later all of it goes on from there.
    import(export().out, target)
    assert(events(target) == all, "differs")
  end)

  it("go on after kill -9 at any moment", function()
    local lines = {}
    local count = 4000
    for n = 1, count do
      lines[n] = counter.add("c" .. n % 101, n, "id" .. n, {
        data = { n = n, text = ("y"):rep(300) },
      })
    end
    exec(table.concat(lines, "\n") .. "\n")
    local whole = export().out
    program.write(folder .. "/e.ndjson", whole)
    -- An export that was killed is no export.
    for round = 1, 4 do
      local process = program.start_aether({ "-C", folder, "export", "cell" })
      local at = math.random(1, #whole - 1)
      program.wait_for(function()
        return program.size(process.stdout) >= at or not process:running()
      end)
      process:kill(9)
      local cut = process:wait().out
      if #cut < #whole then
        program.write(folder .. "/cut", cut)
        local target = ("%s/none%d.db"):format(folder, round)
        failed(aether({ "import", "cell", folder .. "/cut", "--store",
          "sqlite:" .. target }), 3, "nothing was stored")
        assert.equal("", events("sqlite:" .. target))
      end
    end
    local target = folder .. "/new.db"
    local rounds = long and 60 or program.is_slow and 4 or 12
    local cut = 0
    for round = 1, rounds do
      local process = program.start_aether(
        { "-C", folder, "import", "cell", folder .. "/e.ndjson", "--store",
          "sqlite:" .. target }
      )
      local at = program.size(target .. "-wal") + math.random(0, 400000)
      program.wait_for(function()
        return program.size(target .. "-wal") >= at or not process:running()
      end)
      process:kill(9)
      local signal = process:wait().signal
      cut = cut + (signal and 1 or 0)
      if program.exists(target) and round % 3 == 0 then
        local stored = counter.events(folder, "sqlite:" .. target)
        if stored.status == 0 then
          counter.by_version(stored.events)
        end
      end
      if not signal and round < rounds then
        for _, suffix in ipairs({ "", "-wal", "-shm", ".lock" }) do
          os.remove(target .. suffix)
        end
      end
    end
    assert(cut > 0, "none was cut")
    ok(aether({ "import", "cell", folder .. "/e.ndjson", "--store",
      "sqlite:" .. target }))
    assert(essence(whole) == essence(export("sqlite:" .. target).out))
  end)

  it("go on after a full disk", function()
    local lines = {}
    for n = 1, 1500 do
      lines[n] = counter.add("c" .. n % 11, n, "id" .. n, {
        data = { n = n, text = ("y"):rep(1000) },
      })
    end
    exec(table.concat(lines, "\n") .. "\n")
    program.write(folder .. "/e.ndjson", export().out)
    local how = program.run({ "unshare", "-m", "true" }).status == 0 and "-m"
      or "-rm"
    local result = program.run({ "unshare", how, "sh", "-euc", [[
      mkdir "$2/disk" "$2/copy"
      mount -t tmpfs -o size=1m none "$2/disk"
      status=0
      "$1" -C "$2" import cell "$2/e.ndjson" \
        --store "sqlite:$2/disk/events.db" >"$2/out" 2>"$2/err" || status=$?
      echo "$status" >>"$2/out"
      cp "$2/disk/"* "$2/copy/"
    ]], "sh", program.aether, folder })
    assert(result.status == 0, result.err)
    assert.equal("3\n", program.read(folder .. "/out"))
    assert.matches("full", program.read(folder .. "/err"))
    local target = "sqlite:" .. folder .. "/copy/events.db"
    local said = ok(aether({ "import", "cell", folder .. "/e.ndjson", "--json",
      "--store", target }))
    assert.equal(1500, counter.documents(said.out)[1].events)
    assert(events(target) == events(app), "differs")
  end)

  it("say what is wrong", function()
    exec(counter.lines(5, 2))
    local text = export().out
    failed(aether({ "export", "none" }), 3, "holds nothing")
    failed(aether({ "export", "a/b" }), 3, "no namespace")
    failed(aether({ "import", "a/b" }, { stdin = text }), 3, "no namespace")
    failed(aether({ "import", "x", folder .. "/none" }), 3, "cannot be read")
    failed(aether({ "import", "x" }, { stdin = "hello\n" }), 3, "line 1")
    failed(aether({ "import", "x" }), 3, "its last line is missing")
    failed(aether({ "import", "x" }, { stdin = text .. text }), 3,
      "behind the last line")
    failed(aether({ "import", "x" }, {
      stdin = text:gsub('"n":3', '"n":4'),
    }), 3, "sum differs")
    local lost = program.run({ "sh", "-c", [["$1" -C "$2" export cell | true]],
      "sh", program.aether, folder })
    assert.equal(0, lost.status)
    local fifo = folder .. "/fifo"
    program.run({ "mkfifo", fifo })
    local writer = program.start_aether(
      { "-C", folder, "exec", "-" },
      { stdin_file = fifo }
    )
    local pipe = assert(io.open(fifo, "r+"))
    pipe:write(counter.add("w", 1), "\n")
    pipe:flush()
    program.wait_for(function()
      return program.read(writer.stdout):find("\n") or not writer:running()
    end, "the first outcome")
    failed(aether({ "import", "x" }, { stdin = text }), 3, tostring(writer.pid))
    ok(aether({ "export", "cell" }))
    pipe:close()
    writer:kill(15)
    writer:wait()
  end)

  it("go over damage where they are asked to", function()
    exec(counter.lines(20, 20))
    local made = program.run({ "sqlite3", store,
      "UPDATE log SET body=zeroblob(60) WHERE position=7" })
    assert.equal(0, made.status, made.err)
    local result = aether({ "export", "cell" })
    assert.equal(3, result.status)
    assert.matches("position 7", result.err)
    assert.matches("--skip-damaged", result.err, 1, true)
    assert(not result.out:find('{"end"', 1, true))
    result = aether({ "export", "cell", "--skip-damaged" })
    assert.equal(1, result.status)
    assert.matches("position 7", result.err)
    local target = "sqlite:" .. folder .. "/new.db"
    import(result.out, target)
    local stored = counter.events(folder, target)
    counter.by_version(stored.events)
    assert.equal(20, #stored.events)
    local skipped = 0
    for _, event in ipairs(stored.events) do
      skipped = skipped + (event.type == "$Skipped" and 1 or 0)
    end
    assert.equal(1, skipped)
    -- It means nothing, and history goes on behind it.
    ok(aether({ "check", "--store", target }))
    exec(counter.lines(20, 20, "more"), target)
    ok(aether({ "check", "--store", target }))
  end)

  it("move between SQLite and JetStream", function()
    local server = nats.start()
    exec(counter.lines(600, 31))
    counter.exec(folder, app, values())
    local text = export().out
    local done, problem = pcall(function()
      import(text, server.url)
      assert(events(app) == events(server.url), "differs in JetStream")
      import(text, server.url)
      local target = "sqlite:" .. folder .. "/back.db"
      import(export(server.url).out, target)
      assert(events(app) == events(target), "differs on the way back")
      assert.equal(essence(text), essence(export(target).out))
      failed(aether({ "backup", folder .. "/b.db", "--store", server.url }), 2,
        "aether export")
      ok(aether({ "delete", "cell", "--yes", "--store", server.url }))
      assert.equal("", events(server.url))
    end)
    server:stop()
    if not done then
      error(problem, 0)
    end
  end)

  it("take what is larger than a line of commands", function()
    local big = ("z"):rep(3000000)
    exec(counter.add("big", 1, "b", { data = { n = 1, text = big } }) .. "\n")
    local target = "sqlite:" .. folder .. "/new.db"
    import(export().out, target)
    assert(events(target) == events(app), "differs")
  end)
end)
