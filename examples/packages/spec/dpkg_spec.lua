local here = debug.getinfo(1, "S").source:match("^@(.*)/") or "."
package.path = here .. "/../?.lua;" .. package.path
local dpkg = require("dpkg")
local json = require("json")

local LOG = [[
2026-01-02 03:04:05 startup archives unpack
2026-01-02 03:04:05 install nginx:amd64 <none> 1.22.1-9
2026-01-02 03:04:05 status half-installed nginx:amd64 1.22.1-9
2026-01-02 03:04:06 status half-installed nginx:amd64 1.22.1-9
2026-01-02 03:04:06 status half-installed nginx:amd64 1.22.1-9
2026-01-02 03:04:06 status triggers-pending man-db:amd64 2.11.2-2
2026-01-02 03:04:06 status unpacked nginx:amd64 1.22.1-9
2026-01-02 03:04:07 startup packages configure
2026-01-02 03:04:07 configure nginx:amd64 1.22.1-9 <none>
2026-01-02 03:04:07 status half-configured nginx:amd64 1.22.1-9
2026-01-02 03:04:07 conffile /etc/nginx/sites/my site keep
2026-01-02 03:04:07 status triggers-awaited nginx:amd64 1.22.1-9
2026-01-02 03:04:08 trigproc man-db:amd64 2.11.2-2 <none>
2026-01-02 03:04:08 conffile /etc/manpath.config install
2026-01-02 03:04:08 status installed man-db:amd64 2.11.2-2
2026-01-02 03:04:09 upgrade base-files 12.4 12.4+deb12u1
2026-01-02 03:04:10 remove nginx:amd64 1.22.1-9 <none>
2026-01-02 03:04:10 status config-files nginx:amd64 1.22.1-9
2026-01-02 03:04:11 purge nginx:amd64 1.22.1-9 <none>
2026-01-02 03:04:11 status not-installed nginx:amd64 <none>
2026-01-02 03:04:12 disappear old:all 1.0 <none>
]]

local function read(text)
  local reader, list = dpkg.reader(), {}
  for line in text:gmatch("[^\n]+") do
    list[#list + 1] = reader(line) or "none"
  end
  return list
end

describe("a log of dpkg", function()
  local commands = read(LOG)

  local function at(i)
    local command = commands[i]
    return command.actor, command.command, command.data
  end

  it("gives a command for every kind of line", function()
    assert.equal(21, #commands)
    local wanted = {
      [1] = {
        "packages/machine/this",
        "start_dpkg",
        { kind = "archives", command = "unpack" },
      },
      [2] = { "packages/package/nginx:amd64", "install", { to = "1.22.1-9" } },
      [3] = {
        "packages/package/nginx:amd64",
        "report",
        { state = "half-installed", version = "1.22.1-9" },
      },
      [6] = {
        "packages/package/man-db:amd64",
        "report",
        { state = "triggers-pending", version = "2.11.2-2" },
      },
      [7] = {
        "packages/package/nginx:amd64",
        "report",
        { state = "unpacked", version = "1.22.1-9" },
      },
      [9] = {
        "packages/package/nginx:amd64",
        "configure",
        { version = "1.22.1-9" },
      },
      [10] = {
        "packages/package/nginx:amd64",
        "report",
        { state = "half-configured", version = "1.22.1-9" },
      },
      [12] = {
        "packages/package/nginx:amd64",
        "report",
        { state = "triggers-awaited", version = "1.22.1-9" },
      },
      [13] = {
        "packages/package/man-db:amd64",
        "process_triggers",
        { version = "2.11.2-2" },
      },
      [15] = {
        "packages/package/man-db:amd64",
        "report",
        { state = "installed", version = "2.11.2-2" },
      },
      [16] = {
        "packages/package/base-files",
        "upgrade",
        { from = "12.4", to = "12.4+deb12u1" },
      },
      [17] = {
        "packages/package/nginx:amd64",
        "remove",
        { version = "1.22.1-9" },
      },
      [18] = {
        "packages/package/nginx:amd64",
        "report",
        { state = "config-files", version = "1.22.1-9" },
      },
      [19] = {
        "packages/package/nginx:amd64",
        "purge",
        { version = "1.22.1-9" },
      },
      [20] = {
        "packages/package/nginx:amd64",
        "report",
        { state = "not-installed" },
      },
      [21] = { "packages/package/old:all", "disappear", { version = "1.0" } },
    }
    for i, want in pairs(wanted) do
      local actor, command, data = at(i)
      want[3].at = data.at
      assert.matches("^2026%-01%-02 03:04:%d%d$", data.at)
      assert.same(want, { actor, command, data }, "line " .. i)
    end
  end)

  it(
    "gives a conffile to the package that is configured, else to the machine",
    function()
      local actor, command, data = at(11)
      assert.equal("packages/package/nginx:amd64", actor)
      assert.equal("settle_conffile", command)
      assert.same({
        at = "2026-01-02 03:04:07",
        file = "/etc/nginx/sites/my site",
        decision = "keep",
      }, data)
      assert.equal("packages/machine/this", (at(14)))
    end
  )

  it("gives each line an id of its own, the same each time", function()
    local seen = {}
    for _, command in ipairs(commands) do
      assert.is_nil(seen[command.id])
      seen[command.id] = true
    end
    assert.equal(
      "2026-01-02 03:04:06 status half-installed nginx:amd64 1.22.1-9",
      commands[4].id
    )
    assert.equal(
      "2026-01-02 03:04:06 status half-installed nginx:amd64 1.22.1-9 #2",
      commands[5].id
    )
    assert.same(commands, read(LOG))
  end)

  it("says so where a line is none of dpkg's", function()
    assert.same(
      { "none", "none", "none", "none", "none", "none" },
      read(table.concat({
        "hello",
        "2026-01-02 03:04:05 explode nginx:amd64 1 2",
        "2026-01-02 03:04:05 install nginx:amd64",
        "2026-01-02 03:04:05 status installed nginx:amd64",
        "2026-01-02 03:04:05 startup",
        "2026-01-02 03:04:05 conffile /etc/x",
      }, "\n"))
    )
  end)
end)

describe("the order of logs", function()
  it("is that in which they were written", function()
    assert.same(
      {
        "dpkg.log-20251201.gz",
        "dpkg.log-20260101.xz",
        "dpkg.log.12.gz",
        "dpkg.log.3.gz",
        "dpkg.log.2.gz",
        "dpkg.log.1",
        "dpkg.log",
      },
      dpkg.order {
        "alternatives.log",
        "dpkg.log",
        "dpkg.log.1",
        "dpkg.log.12.gz",
        "dpkg.log.2.gz",
        "dpkg.log.3.gz",
        "dpkg.log.save",
        "dpkg.log-20260101.xz",
        "dpkg.log-20251201.gz",
      }
    )
  end)
end)

describe("what dpkg-query says", function()
  local installed = dpkg.installed([[
bash amd64 5.2.15-2+b8 installed
libc6:amd64 amd64 2.36-9 installed
libc6:i386 i386 2.36-9 installed
nano amd64 7.2-1 config-files
gone amd64  not-installed
]])

  it("is kept by name and architecture", function()
    assert.same({
      ["bash:amd64"] = { version = "5.2.15-2+b8", status = "installed" },
      ["libc6:amd64"] = { version = "2.36-9", status = "installed" },
      ["libc6:i386"] = { version = "2.36-9", status = "installed" },
      ["nano:amd64"] = { version = "7.2-1", status = "config-files" },
    }, installed)
  end)

  it("is compared with settled states only", function()
    local differences, agreed, unsettled = dpkg.compare({
      ["bash:amd64"] = { status = "installed", version = "5.2.15-2+b8" },
      ["libc6:i386"] = { status = "installed", version = "2.36-8" },
      ["nano:amd64"] = { status = "installed", version = "7.2-1" },
      ["gone:amd64"] = { status = "not-installed" },
      ["lost:all"] = { status = "installed", version = "1" },
      ["libc6:amd64"] = { status = "half-configured", version = "2.36-9" },
      ["busy:all"] = { status = "installed", version = "1", doing = "upgrade" },
    }, installed)
    assert.same({
      "libc6:i386: Aether has installed 2.36-8, dpkg-query says installed 2.36-9",
      "lost:all: Aether has installed 1, dpkg-query says not-installed -",
      "nano:amd64: Aether has installed 7.2-1, dpkg-query says config-files 7.2-1",
    }, differences)
    assert.equal(2, agreed)
    assert.same({
      "busy:all: installed 1, in upgrade",
      "libc6:amd64: half-configured 2.36-9",
    }, unsettled)
  end)
end)

describe("the example's JSON", function()
  it("reads what it writes", function()
    local v = { a = { 1, 'x\n"\\\t\1é', true, { b = false } }, n = -1.5 }
    assert.same(v, json.decode(json.encode(v)))
    assert.equal(
      '{"a":"\\u0001","b":[1,2]}',
      json.encode { b = { 1, 2 }, a = "\1" }
    )
  end)

  it("reads escapes, null and space", function()
    assert.same(
      { a = "é😀/\n", c = {}, d = {} },
      json.decode(
        ' { "a" : "\\u00e9\\ud83d\\ude00\\/\\n", "b":null,"c":[ ], "d":{ } } '
      )
    )
  end)

  it("says where a text is none", function()
    for text, message in pairs {
      ["{"] = "not JSON at byte 2: wants a key",
      ['{"a"}'] = "not JSON at byte 5: wants :",
      ["[1 2]"] = "not JSON at byte 4: wants , or ]",
      ['"abc'] = "not JSON at byte 1: a string without an end",
      ["nul"] = "not JSON at byte 1: nul",
      ["1 2"] = "not JSON at byte 3: more behind the value",
      [""] = "not JSON at byte 1: wants a value",
    } do
      local ok, got = pcall(json.decode, text)
      assert.is_false(ok)
      assert.equal(message, got)
    end
  end)
end)

describe("the script `commands`", function()
  local folder

  local function write(name, text)
    local handle = assert(io.open(folder .. "/" .. name, "w"))
    handle:write(text)
    handle:close()
  end

  local function text_of(name)
    local handle = assert(io.open(folder .. "/" .. name))
    local text = handle:read("*a")
    handle:close()
    return text
  end

  -- Its exit status and what it says.
  local function run(arguments, environment)
    local pipe = assert(
      io.popen(
        ("%s '%s/../commands' %s 2>&1; echo $?"):format(
          environment or "",
          here,
          arguments
        )
      )
    )
    local text = pipe:read("*a")
    pipe:close()
    local said, status = text:match("^(.*)(%d+)\n$")
    return tonumber(status), said
  end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert.equal(0, os.execute("mkdir '" .. folder .. "'"))
  end)

  after_each(function()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("reads all logs, packed ones too, oldest first", function()
    write(
      "dpkg.log.2",
      "2026-01-01 00:00:00 startup archives unpack\n2026-01-01 00:00:00 startup archives unpack\n"
    )
    assert.equal(0, os.execute("gzip '" .. folder .. "/dpkg.log.2'"))
    write(
      "dpkg.log.1",
      "2026-01-02 00:00:00 install a:all <none> 1\nwhat is this\n"
    )
    write(
      "dpkg.log",
      "2026-01-03 00:00:00 status unpacked a:all 1\n2026-01-03 00:00:01 status instal"
    )
    local status, said = run(("'%s/out' --logs '%s'"):format(folder, folder))
    assert.equal(0, status, said)
    assert.equal(
      "commands: not a line of dpkg's: what is this\n"
        .. "commands: 4 commands from 3 log files, 1 lines not understood\n",
      said
    )
    local ids = {}
    for line in text_of("out/commands.ndjson"):gmatch("[^\n]+") do
      ids[#ids + 1] = json.decode(line).id
    end
    assert.same({
      "2026-01-01 00:00:00 startup archives unpack",
      "2026-01-01 00:00:00 startup archives unpack #2",
      "2026-01-02 00:00:00 install a:all <none> 1",
      "2026-01-03 00:00:00 status unpacked a:all 1",
    }, ids)
    assert.matches("\n?dpkg %S+ %S+ installed\n", text_of("out/installed"))
  end)

  it("reads again where the log grew meanwhile", function()
    write("dpkg.log", "2026-01-01 00:00:00 install a:all <none> 1\n")
    assert.equal(0, os.execute("mkdir '" .. folder .. "/bin'"))
    write(
      "bin/dpkg-query",
      ([[#!/bin/sh
if ! [ -e '%s/asked' ]; then
  touch '%s/asked'
  echo '2026-01-01 00:00:01 status unpacked a:all 1' >> '%s/dpkg.log'
fi
echo 'a all 1 unpacked'
]]):format(folder, folder, folder)
    )
    os.execute("chmod +x '" .. folder .. "/bin/dpkg-query'")
    local status, said = run(
      ("'%s/out' --logs '%s'"):format(folder, folder),
      ("PATH='%s/bin':$PATH"):format(folder)
    )
    assert.equal(0, status, said)
    assert.equal(
      "commands: the log grew meanwhile; reading it again\ncommands: 2 commands from 1 log files\n",
      said
    )
    assert.equal("a all 1 unpacked\n", text_of("out/installed"))
  end)

  it("says what is wrong", function()
    local status, said = run(("'%s/out' --logs '%s'"):format(folder, folder))
    assert.equal(3, status)
    assert.matches("there is no .*/dpkg.log: is this a Debian machine%?", said)
    status, said = run("")
    assert.equal(2, status)
    assert.matches("usage: commands FOLDER", said)
    assert.equal(2, (run("a b")))
    assert.equal(0, (run("--help")))
  end)
end)
