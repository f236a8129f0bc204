-- The whole example, on this very machine, with the built binary.
local here = debug.getinfo(1, "S").source:match("^@(.*)/") or "."
local app = here .. "/.."

local function aether()
  return os.getenv("AETHER") or app .. "/../../build/aether"
end

-- Exit status, stdout and stderr of a command.
local function run(command)
  local errors = os.tmpname()
  local pipe = assert(
    io.popen(
      ("AETHER='%s'; export AETHER; %s 2>%s; echo $?"):format(
        aether(),
        command,
        errors
      )
    )
  )
  local text = pipe:read("*a")
  pipe:close()
  local handle = assert(io.open(errors))
  local said = handle:read("*a")
  handle:close()
  os.remove(errors)
  local out, status = text:match("^(.-)(%d+)\n$")
  return tonumber(status), out, said
end

describe("the life of every package of this machine #node", function()
  local folder, store

  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert.equal(0, os.execute("mkdir '" .. folder .. "'"))
    store = "sqlite:" .. folder .. "/events.db"
    local status, _, said = run(("'%s/commands' '%s'"):format(app, folder))
    assert.equal(0, status, said)
  end)

  teardown(function()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  local function exec()
    return run(
      ("\"$AETHER\" -C '%s' exec '%s/commands.ndjson' --store '%s'"):format(
        app,
        folder,
        store
      )
    )
  end

  local function compare()
    return run(("'%s/compare' '%s' --store '%s'"):format(app, folder, store))
  end

  local function events()
    local status, out, said = run(
      ("\"$AETHER\" -C '%s' events packages --json --store '%s'"):format(
        app,
        store
      )
    )
    assert.equal(0, status, said)
    return out
  end

  local function lines(text)
    return select(2, text:gsub("\n", ""))
  end

  it("agrees with dpkg-query", function()
    local status, out, said = exec()
    assert.equal(0, status, said)
    local handle = assert(io.open(folder .. "/commands.ndjson"))
    assert.equal(lines(handle:read("*a")), lines(out))
    handle:close()
    status, out, said = compare()
    assert.equal(0, status, out .. said)
    assert.matches("^The life of [%d,]+ packages, %d+%-%d+%-%d+ to ", out)
    local newest
    for line in io.lines(folder .. "/log") do
      local at = line:match("^(.-) status installed ")
        or line:match("^(.-) status not%-installed ")
      newest = at or newest
    end
    assert.is_truthy(out:find("last changes:\n    " .. newest, 1, true), out)
    assert.matches("dpkg%-query agrees on all [%d,]+ packages\n$", out)
  end)

  it("changes nothing when it is run again", function()
    local before = events()
    assert.is_true(lines(before) > 0)
    local status, _, said = exec()
    assert.equal(0, status, said)
    assert.equal(before, events())
  end)

  it("shows each difference", function()
    local handle = assert(io.open(folder .. "/installed"))
    local installed = handle:read("*a")
    handle:close()
    local name
    local _, known = compare()
    assert.matches("agrees on all", known)
    for line in io.lines(folder .. "/log") do
      local candidate = line:match(" status installed (%S+):%S+ ")
      local escaped = candidate and candidate:gsub("%p", "%%%0")
      if escaped and installed:find("%f[^\n%z]" .. escaped .. "[ :]") then
        name = candidate
      end
    end
    assert.is_truthy(name)
    local escaped = name:gsub("%p", "%%%0")
    local changed = ("\n" .. installed):gsub(
      "(\n" .. escaped .. "%S* %S+) %S+ ",
      "%1 0.0-none "
    )
    handle = assert(io.open(folder .. "/installed", "w"))
    handle:write((changed:sub(2)))
    handle:close()
    local status, out = compare()
    handle = assert(io.open(folder .. "/installed", "w"))
    handle:write(installed)
    handle:close()
    assert.equal(1, status, out)
    assert.matches("dpkg%-query disagrees on %d+ of [%d,]+ packages:\n", out)
    assert.is_truthy(out:find("\n    " .. name .. ":", 1, true), out)
    assert.matches("dpkg%-query says installed 0.0%-none\n", out)
  end)

  it("says what is missing", function()
    local status, _, said =
      run(("'%s/compare' '%s/nothing' --store '%s'"):format(app, folder, store))
    assert.equal(3, status)
    assert.matches("run `commands .*` first", said)
    status, _, said = run(("'%s/compare' '%s'"):format(app, folder))
    assert.equal(2, status)
    assert.matches("usage: compare", said)
  end)
end)
