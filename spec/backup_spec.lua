-- Backups of a store that is in use, and the way back. Through the real binary.
local counter = require("spec.support.counter")
local program = require("spec.support.program")

local long = os.getenv("AETHER_LONG") ~= nil

local folder, store, app

local function aether(argv, options)
  return program.run_in(folder, argv, options)
end

local function backup(target, ...)
  return aether({ "backup", target, "--json", ... })
end

local ok, failed = program.ok, program.failed

local function exec(lines, target)
  return ok(counter.exec(folder, target or app, lines))
end

local function events(target)
  return ok(counter.events(folder, "sqlite:" .. target)).out
end

-- Events of a store up to a position, one line each.
local function prefix(text, position)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    if tonumber(line:match('"position":(%d+)')) <= position then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n") .. (#lines > 0 and "\n" or "")
end

local function files(of)
  local result = program.run({ "ls", "-A", of })
  return result.out
end

describe("a backup #node", function()
  before_each(function()
    folder = program.folder()
    counter.app(folder)
    store = folder .. "/data/events.db"
    program.run({ "mkdir", folder .. "/data" })
    app = "sqlite:" .. store
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("is a store of one file, read back", function()
    exec(counter.lines(500, 7))
    local target = folder .. "/b.db"
    local result = ok(backup(target))
    local said = counter.documents(result.out)[1]
    assert.equal(target, said.file)
    assert.equal(500, said.events)
    assert.equal(7, said.actors)
    assert.equal(0, said.damaged)
    assert.equal(program.size(target), said.bytes)
    assert.equal(events(store), events(target))
    assert.equal("", program.run({ "ls", target .. "-wal" }).out)
    ok(aether({ "check", "--store", "sqlite:" .. target }))
    local text = ok(aether({ "backup", folder .. "/text.db" })).out
    assert(text:find("500 events of 7 actors", 1, true), text)
    assert(text:find("read it back", 1, true), text)
    -- It goes on as a store of its own.
    exec(counter.lines(10, 7, "more"), "sqlite:" .. target)
  end)

  it("is a prefix of what is written at full speed meanwhile", function()
    local text = ("x"):rep(300)
    local lines = {}
    local count = program.is_slow and 10000 or 40000
    for n = 1, count do
      lines[n] = counter.add("c" .. n % 101, n, nil, {
        data = { n = n, text = text },
      })
    end
    program.write(folder .. "/lines", table.concat(lines, "\n") .. "\n")
    local writer = program.start_aether(
      { "-C", folder, "exec", folder .. "/lines" },
      { stdout_file = "/dev/null", seconds = 300 }
    )
    local made = {}
    for round = 1, 3 do
      program.wait_for(function()
        local written = program.size(store .. "-wal") + program.size(store)
        return written > round * 500000 or not writer:running()
      end, "some commits")
      local target = ("%s/%d.db"):format(folder, round)
      local result = ok(backup(target))
      made[round] = counter.documents(result.out)[1]
    end
    local written = writer:wait()
    assert(written.status == 0, written.err)
    assert(made[1].position < count, "nothing was written meanwhile")
    local all = events(store)
    for round, said in ipairs(made) do
      local target = ("%s/%d.db"):format(folder, round)
      assert(said.position > 0)
      if round > 1 then
        assert(said.position >= made[round - 1].position)
      end
      ok(aether({ "check", "--store", "sqlite:" .. target }, { seconds = 120 }))
      local own = events(target)
      assert(own == prefix(all, said.position), "backup " .. round)
      counter.by_version(counter.documents(own))
    end
  end)

  it("does not overwrite unless it is asked to", function()
    exec(counter.lines(5, 2))
    local target = folder .. "/b.db"
    program.write(target, "precious")
    failed(backup(target), 3, "--force")
    assert.equal("precious", program.read(target))
    ok(backup(target, "--force"))
    assert.equal(events(store), events(target))
    exec(counter.lines(5, 2, "more"))
    ok(backup(target, "--force"))
    assert.equal(events(store), events(target))
    assert.equal("", (program.run({ "sh", "-c", 'ls "$1"/*.partial', "sh",
      folder }).out))
  end)

  it("says why it cannot be made", function()
    failed(backup(folder .. "/b.db"), 3, "there is no store")
    exec(counter.lines(5, 2))
    failed(backup(store), 2, "the store itself")
    failed(backup(store, "--force"), 2, "the store itself")
    for _, part in ipairs({ "-wal", "-shm", "-journal", ".lock" }) do
      failed(backup(store .. part, "--force"), 2, "the store itself")
    end
    program.run({ "ln", "-s", store, folder .. "/link.db" })
    program.run({ "ln", store, folder .. "/hard.db" })
    failed(backup(folder .. "/link.db", "--force"), 2, "the store itself")
    failed(backup(folder .. "/hard.db", "--force"), 2, "the store itself")
    failed(backup(folder), 2, "is a folder")
    failed(backup(folder .. "/none/b.db"), 3, "make its folder first")
    failed(backup("/dev/null", "--force"), 2, "no regular file")
    failed(aether({ "backup" }), 2, "usage: aether backup")
    failed(
      aether({ "backup", folder .. "/b.db", "--store", "memory" }),
      2,
      "nothing to back up"
    )
    -- One that a writer died with would lend its log to the new file.
    program.write(folder .. "/b.db-wal", "a log")
    failed(backup(folder .. "/b.db", "--force"), 3, "in use")
    local lock = folder .. "/c.db.partial"
    local other = program.start({ "flock", "-F", lock, "sh", "-c",
      'echo held; exec sleep 60' })
    program.wait_for(function()
      return program.read(other.stdout) == "held\n" or not other:running()
    end, "the lock")
    failed(backup(folder .. "/c.db"), 3, "under way")
    other:kill(9)
    other:wait()
  end)

  it("says that there is no room, and leaves nothing", function()
    exec(counter.lines(20000, 7))
    local script = [[
      ulimit -f 500
      status=0
      "$1" -C "$2" backup "$2/limited.db" >"$2/out" 2>"$2/err" || status=$?
      echo "$status" >"$2/status"
    ]]
    local result =
      program.run({ "sh", "-euc", script, "sh", program.aether, folder })
    assert(result.status == 0, result.err)
    assert.equal("3\n", program.read(folder .. "/status"))
    assert.matches("full", program.read(folder .. "/err"))
    local how = program.run({ "unshare", "-m", "true" }).status == 0 and "-m"
      or "-rm"
    result = program.run({ "unshare", how, "sh", "-euc", [[
      mkdir "$2/disk"
      mount -t tmpfs -o size=1m none "$2/disk"
      echo good >"$2/disk/b.db"
      status=0
      "$1" -C "$2" backup --force "$2/disk/b.db" >"$2/out" 2>"$2/err" ||
        status=$?
      echo "$status" >"$2/status"
      ls -A "$2/disk" >"$2/left"
      cat "$2/disk/b.db" >>"$2/left"
      mount -o remount,ro,bind "$2/disk"
      "$1" -C "$2" backup "$2/disk/new.db" >>"$2/out" 2>>"$2/err" ||
        echo "$?" >>"$2/status"
    ]], "sh", program.aether, folder })
    assert(result.status == 0, result.err)
    assert.equal("3\n3\n", program.read(folder .. "/status"))
    assert.equal("b.db\ngood\n", program.read(folder .. "/left"))
    assert.matches("full", program.read(folder .. "/err"))
    assert.matches("Read%-only", program.read(folder .. "/err"))
    assert.equal("", program.read(folder .. "/out"))
  end)

  it("fails at each step without a trace", function()
    exec(counter.lines(5000, 7))
    program.write(folder .. "/b.db", "good")
    local before = files(folder)
    for _, point in ipairs({ "backup.open", "copy.open", "copy.step",
      "copy.sync", "backup.name" }) do
      for nth = 1, 2 do
        local result = aether({ "backup", folder .. "/b.db", "--force" }, {
          env = { AETHER_FAULT = ("%s:%d:ENOSPC"):format(point, nth) },
        })
        if nth == 1 then
          assert.equal(3, result.status, point)
          assert(#result.err > 40, result.err)
        end
        if result.status ~= 0 then
          assert.equal("good", program.read(folder .. "/b.db"))
        else
          program.write(folder .. "/b.db", "good")
        end
        assert.equal(before, files(folder))
      end
    end
  end)

  it("is whole or not there after kill -9 and SIGTERM", function()
    local text = ("x"):rep(1000)
    local lines = {}
    for n = 1, 8000 do
      lines[n] = counter.add("c" .. n % 101, n, nil, {
        data = { n = n, text = text },
      })
    end
    exec(table.concat(lines, "\n") .. "\n")
    local all = events(store)
    local target = folder .. "/b.db"
    local rounds = long and 60 or program.is_slow and 4 or 12
    local cut = 0
    for round = 1, rounds do
      local process = program.start_aether({ "-C", folder, "backup", target })
      local at = math.random(0, program.size(store))
      program.wait_for(function()
        return program.size(target .. ".partial") >= at
          or program.exists(target)
          or not process:running()
      end)
      process:kill(round % 4 == 0 and 15 or 9)
      local result = process:wait()
      if program.exists(target) then
        assert(all == events(target), "round " .. round)
        os.remove(target)
      else
        cut = cut + 1
        if result.status then
          assert.equal(3, result.status)
          assert(not program.exists(target .. ".partial"), "was left")
        end
      end
    end
    assert.equal(all, events(store))
    assert(cut > rounds / 4, cut .. " of " .. rounds .. " were cut")
    ok(backup(target))
    assert.equal(all, events(target))
    assert(not program.exists(target .. ".partial"), "was left")
  end)

  it("of a damaged store is kept, and takes no good one's place", function()
    exec(counter.lines(50, 3))
    local target, second = folder .. "/b.db", folder .. "/second.db"
    ok(backup(target))
    local made = program.run({ "sqlite3", store,
      "UPDATE log SET body=zeroblob(60) WHERE position=3" })
    assert.equal(0, made.status, made.err)
    local result = backup(second)
    assert.equal(1, result.status)
    assert.equal(1, counter.documents(result.out)[1].damaged)
    assert.matches("position 3", result.err)
    assert(program.exists(second))
    local good = program.read(target)
    result = backup(target, "--force")
    assert.equal(1, result.status)
    assert.equal(target .. ".damaged", counter.documents(result.out)[1].file)
    assert(good == program.read(target), "the good one was overwritten")
  end)
end)

describe("a restore #node", function()
  local target

  before_each(function()
    folder = program.folder()
    counter.app(folder)
    store = folder .. "/data/events.db"
    app = "sqlite:" .. store
    target = folder .. "/b.db"
    program.run({ "mkdir", folder .. "/data" })
    exec(counter.lines(300, 7))
    ok(backup(target))
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("puts a backup into an app that has no store", function()
    local before = events(store)
    program.remove(folder .. "/data")
    local text = ok(aether({ "restore", target })).out
    assert(text:find("300 events of 7 actors", 1, true), text)
    assert.equal(before, events(store))
    local again = exec(counter.lines(300, 7))
    assert.equal(300, #again.outcomes)
    assert.equal(before, events(store))
  end)

  it("refuses over a store, and keeps that when it is asked to", function()
    local before = events(store)
    exec(counter.lines(5, 2, "more"))
    local now = events(store)
    failed(aether({ "restore", target }), 3, "--force")
    assert.equal(now, events(store))
    local result = ok(aether({ "restore", target, "--force", "--json" }))
    local said = counter.documents(result.out)[1]
    assert.equal(before, events(store))
    assert.equal(now, events(said.kept))
    local second = ok(aether({ "restore", target, "--force", "--json" }))
    assert.not_equal(said.kept, counter.documents(second.out)[1].kept)
    assert.equal(before, events(store))
  end)

  it("refuses while a writer holds the store, and says its pid", function()
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
    local result = aether({ "restore", target, "--force" })
    failed(result, 3, tostring(writer.pid))
    pipe:write(counter.add("w", 2), "\n")
    pipe:flush()
    program.wait_for(function()
      return select(2, program.read(writer.stdout):gsub("\n", "")) == 2
        or not writer:running()
    end, "the second outcome")
    writer:kill(15)
    assert.matches("2 accepted", writer:wait().err)
    pipe:close()
    ok(aether({ "restore", target, "--force" }))
  end)

  it("looks at the file first", function()
    local now = events(store)
    local function refused(file, status, part, ...)
      local result = aether({ "restore", file, "--force", ... })
      assert.equal(status, result.status, result.err)
      assert(result.err:find(part, 1, true), result.err)
      assert.equal(now, events(store))
      assert.equal("events.db\nevents.db.lock\n",
        (files(folder .. "/data"):gsub("events.db%-%a+\n", "")))
    end
    refused(folder .. "/none.db", 3, "no such file")
    refused(folder, 3, "folder")
    program.write(folder .. "/text.db", ("a letter "):rep(200))
    refused(folder .. "/text.db", 3, "no SQLite database")
    program.write(folder .. "/empty.db", "")
    refused(folder .. "/empty.db", 3, "nothing was ever stored")
    refused(store, 2, "the store itself")
    program.write(folder .. "/short.db", program.read(target):sub(1, 30000))
    refused(folder .. "/short.db", 3, "damaged")
    program.run({ "sqlite3", folder .. "/songs.db",
      "CREATE TABLE songs(title)" })
    refused(folder .. "/songs.db", 3, "another application")
    failed(aether({ "restore", target, "--store", "memory" }), 2, "no file")
    failed(aether({ "restore", target, "--store",
      "sqlite:" .. folder .. "/none/events.db" }), 3, "folder is not there")
    -- Damage: refused, unless it is asked for.
    local made = program.run({ "sqlite3", target,
      "UPDATE log SET body=zeroblob(60) WHERE position=1" })
    assert.equal(0, made.status, made.err)
    refused(target, 3, "position 1")
    local result = aether({ "restore", target, "--force", "--damaged" })
    assert.equal(0, result.status, result.err)
    assert.matches("position 1", result.err)
    assert.not_equal(now, counter.events(folder, app).out)
  end)

  it("leaves a whole store after kill -9 and at each failing step", function()
    local before = events(store)
    exec(counter.lines(3000, 31, "more"))
    local now = events(store)
    local big = folder .. "/big.db"
    ok(backup(big))
    local states = { [before] = "before", [now] = "now" }
    for _, point in ipairs({ "copy.open", "copy.step", "copy.sync",
      "place.keep", "place.fill" }) do
      local result = aether({ "restore", target, "--force" }, {
        env = { AETHER_FAULT = point .. ":1" },
      })
      assert.equal(3, result.status, point .. result.err)
      assert.equal(now, events(store))
    end
    local seen = {}
    local rounds = long and 80 or program.is_slow and 4 or 15
    for round = 1, rounds do
      local from = round % 2 == 1 and target or big
      local process =
        program.start_aether({ "-C", folder, "restore", from, "--force" })
      local size = math.random(1, program.size(from))
      local begun = false
      program.wait_for(function()
        local now_size = program.size(store .. ".restore")
        begun = begun or now_size > 0
        -- While it is copied, or when it takes the place.
        return now_size >= size
          or round % 3 == 0 and begun and now_size == 0
          or not process:running()
      end)
      process:kill(9)
      process:wait()
      local state = states[events(store)]
      assert(state, "neither of the two stores, in round " .. round)
      seen[state] = true
    end
    ok(aether({ "restore", target, "--force" }))
    assert.equal(before, events(store))
    assert(not files(folder .. "/data"):find("events.db.restore\n"), "was left")
    assert(seen.now or seen.before)
  end)
end)
