-- Tries to get out of the sandbox, as hostile modules would, through the real
-- binary: none may reach the machine, the host, or another actor's world.
local json = require("dkjson")
local program = require("spec.support.program")

-- Each attack is the body of a function inside a module: it must fail, or
-- return something false. What it returns otherwise is what it got hold of.
local attacks = {
  -- names that a sandbox does not have
  { "io", "return io" },
  { "os", "return os" },
  { "debug", "return debug" },
  { "jit", "return jit" },
  { "ffi", "return ffi" },
  { "package", "return package" },
  { "_G.io", "return _G.io or _G.os or _G.package or _G.debug" },
  { "rawget of io", "return rawget(_G, 'io')" },
  { "dofile", "return dofile('/etc/hostname')" },
  { "loadfile", "return loadfile('/etc/hostname')" },
  { "newproxy", "return newproxy(true)" },
  { "collectgarbage", "return collectgarbage('stop')" },
  { "module", "module('evil') return true" },
  { "string.dump", "return string.dump(function() end)" },
  { "dump as a method", "return (''):dump() or ('').dump" },
  { "gcinfo", "return gcinfo()" },
  -- require
  { "require ffi", "return require('ffi')" },
  { "require jit", "return require('jit')" },
  { "require jit.util", "return require('jit.util')" },
  { "require io", "return require('io')" },
  { "require os", "return require('os')" },
  { "require debug", "return require('debug')" },
  { "require package", "return require('package')" },
  { "require _G", "return require('_G').io" },
  { "require string.buffer", "return require('string.buffer')" },
  { "require table.new", "return require('table.new')" },
  { "require of a rock", "return require('lfs') or require('busted')" },
  { "require upwards", "return require('../outside')" },
  { "require upwards with dots", "return require('..outside')" },
  { "require of an absolute path", "return require('/etc/hostname')" },
  { "require with a NUL", "return require('helper\\0/../outside')" },
  { "require of a neighbour", "return require('other.secret')" },
  { "require of a neighbour's path", "return require('../other/secret')" },
  { "require out of aether", "return require('aether/../../outside')" },
  { "require of a long name", "return require(('x'):rep(100000))" },
  { "require of nothing", "return require('')" },
  { "require of no string", "return require({})" },
  -- code from data
  {
    "bytecode through load",
    "return load('\\27LJ\\2\\8\\3\\1\\0\\0\\0\\0\\1\\1K\\0\\1\\0\\0')",
  },
  {
    "bytecode through loadstring",
    "return loadstring('\\27LJ\\2\\8\\3\\1\\0\\0\\0\\0\\1\\1K\\0\\1\\0\\0')",
  },
  {
    "bytecode in pieces",
    [[local at = 0
      return load(function()
        at = at + 1
        return ({ '\27', 'LJ', '\2\8\3\1\0\0\0\0\1\1K\0\1\0\0' })[at]
      end)]],
  },
  { "text that asks for io", "return load('return io')()" },
  {
    "text in another environment",
    "return load('x = 1 return true', 'x', 't', _G)()",
  },
  { "text that writes globals", "return load('pwned = 1 return pwned')()" },
  -- environments
  { "getfenv of the caller", "return getfenv(2)" },
  { "getfenv of the thread", "return getfenv(0)" },
  { "getfenv of a host function", "return getfenv(print)" },
  { "setfenv of itself", "setfenv(1, { x = 1 }) return x" },
  { "setfenv of a host function", "setfenv(print, {}) return true" },
  { "a new global", "pwned = 1 return pwned" },
  { "a global through _G", "_G.pwned = 1 return pwned" },
  { "a global by rawset", "rawset(_G, 'pwned', 1) return pwned" },
  { "a lost print", "print = nil return print == nil" },
  { "another metatable of _G", "return setmetatable(_G, {})" },
  { "the metatable of _G", "return getmetatable(_G).__newindex" },
  -- what all share
  {
    "a method of all strings",
    "getmetatable('').__index.evil = error return ('').evil",
  },
  {
    "an index of all strings",
    "getmetatable('').__index = function() return 1 end return ('').evil",
  },
  {
    "a string metatable by rawset",
    "rawset(getmetatable(''), '__index', {}) return true",
  },
  { "another string metatable", "return setmetatable('', {})" },
  { "arithmetic on strings", "getmetatable('').__add = error return true" },
  { "another string.format", "string.format = error return true" },
  { "another table.sort", "table.sort = error return true" },
  { "another math.floor", "math.floor = error return true" },
  { "string.format by rawset", "rawset(string, 'format', 1) return true" },
  { "a metatable for string", "return setmetatable(string, {})" },
  { "table.insert into string", "table.insert(string, 1) return true" },
  { "table.sort of math", "math[1] = 2 return true" },
  {
    "a changed library",
    "require('aether.event').new = error return true",
  },
  {
    "a library by rawset",
    "rawset(require('aether.value'), 'null', 1) return true",
  },
  {
    "a library's metatable",
    "return setmetatable(require('aether.event'), {})",
  },
  {
    "the inside of a library's metatable",
    [[local meta = getmetatable(require('aether.value').null)
      meta.__tostring = error
      return true]],
  },
  {
    "the inside of a list's metatable",
    [[local meta = getmetatable(require('aether.value').array({}))
      meta.__index = function() return 'evil' end
      return require('aether.value').array({})[1] ]],
  },
  {
    "a neighbour module's table",
    "require('helper').answer = 43 return true",
    allowed = "is this namespace's own",
  },
  {
    "the mark of arrays",
    [[require('aether.value').array_mt.__metatable = nil
      return type(getmetatable(require('aether.value').array({}))) == 'table']],
  },
  {
    "a loaded registry",
    "return package.loaded or _G.loaded or require('package').loaded",
  },
  -- error handlers and tracebacks
  {
    "debug in an error handler",
    [[local _, got = xpcall(error, function() return debug end)
      return type(got) == 'table' and got]],
  },
  {
    "debug.traceback as the handler",
    "local _, got = xpcall(error, debug.traceback) return got",
  },
  {
    "getfenv in an error handler",
    [[local _, got = xpcall(error, function() return getfenv(2) end)
      return type(got) == 'table' and got]],
  },
  {
    "a function behind an error",
    [[local ok, got = pcall(require, 'nothing.here')
      return not ok and type(got) ~= 'string' and got]],
  },
  {
    "paths of the machine in an error",
    [[local _, got = pcall(error, 'x', 1)
      return got:find('/', 1, true) and got:find('^/')]],
  },
  -- coroutines
  {
    "io in a coroutine",
    "return coroutine.wrap(function() return io end)()",
  },
  {
    "the environment of a coroutine",
    "return getfenv(coroutine.create(function() end))",
  },
  { "yield out of decide", "return coroutine.yield('out')" },
  {
    "yield across pcall",
    "local ok, got = pcall(coroutine.yield, 1) return ok and got",
  },
  { "the host's coroutine", "return coroutine.running()" },
  {
    "resume of the host's coroutine",
    "return coroutine.resume(coroutine.running())",
  },
  -- finalizers and proxies
  {
    "__gc of a table",
    "setmetatable({}, { __gc = function() pwned = 1 end }) return pwned",
  },
  {
    "__gc by newproxy",
    "getmetatable(newproxy(true)).__gc = error return true",
  },
  -- 64-bit integers are cdata; that must not be a door to ffi
  {
    "the metatable of a cdata",
    "return type(getmetatable(1LL)) == 'table'",
  },
  { "another metatable of a cdata", "return setmetatable(1LL, {})" },
  { "a field of a cdata", "return (1LL).x" },
  { "a cdata called", "return (1LL)()" },
  { "a cdata written", "local x = 1LL x[0] = 1 return x" },
  -- time, chance and addresses
  { "os.time", "return os.time()" },
  { "os.clock", "return os.clock()" },
  { "os.getenv", "return os.getenv('PATH')" },
  { "os.execute", "return os.execute('true')" },
  { "io.popen", "return io.popen('true')" },
  { "io.open", "return io.open('/etc/passwd')" },
  {
    "the address of a table",
    "return tostring({}):find('%x%x%x%x%x%x')",
  },
  {
    "the address of a function",
    "return tostring(print):find('%x%x%x%x%x%x')",
  },
  {
    "the address of a coroutine",
    "return tostring(coroutine.create(error)):find('%x%x%x%x%x%x')",
  },
  {
    "an address by format",
    "return string.format('%s', {}):find('%x%x%x%x%x%x')",
  },
  {
    "an address by format %p",
    "return string.format('%p', {}):find('%x%x%x%x%x%x')",
  },
  {
    "an address in an error",
    "local _, got = pcall(error, {}) return tostring(got):find('%x%x%x%x%x%x')",
  },
  {
    "an address by concat of a cdata",
    "return tostring(1i):find('0x')",
  },
}

-- Bombs: what is asked for is too much; the command fails, the rest goes on.
local bombs = {
  { "string.rep of a gigabyte", "return ('x'):rep(2^30)" },
  { "string.rep of too much", "return #('x'):rep(2^31 + 5) > 0" },
  { "string.rep of all", "return #('x'):rep(math.huge) > 0" },
  {
    "doubling a string",
    "local s = 'x' for _ = 1, 60 do s = s .. s end return s",
  },
  {
    "a table without end",
    "local t = {} for i = 1, 2^30 do t[i] = i end return t",
  },
  {
    "a map without end",
    "local t = {} for i = 1, 2^30 do t['k' .. i] = true end return t",
  },
  {
    "closures without end",
    [[local t = {}
      for i = 1, 2^30 do t[i] = function() return i end end
      return t]],
  },
  {
    "coroutines without end",
    [[local t = {}
      for i = 1, 2^30 do
        t[i] = coroutine.create(function() coroutine.yield() end)
        coroutine.resume(t[i])
      end
      return t]],
  },
  {
    "bombs in pcall",
    [[local ok
      for _ = 1, 20 do ok = pcall(string.rep, 'x', 2^30) end
      return ok]],
  },
  {
    "a bomb in an error handler",
    [[return (xpcall(error, function() return ('x'):rep(2^30) end))]],
  },
  { "recursion", "local function f() return 1 + f() end return f()" },
  {
    "recursion by tostring",
    [[local t = setmetatable({}, {})
      getmetatable(t).__tostring = function() return tostring(t) end
      return tostring(t)]],
  },
  {
    "recursion by index",
    [[local t = setmetatable({}, {})
      getmetatable(t).__index = function(_, k) return t[k .. 'x'] end
      return t.x]],
  },
  {
    "an index chain that is a ring",
    "local t = {} setmetatable(t, { __index = t }) return t.x",
  },
  {
    "recursion by pcall",
    [[local function f() return pcall(f) end
      local ok, got = f()
      return ok and got ~= nil and got]],
    allowed = "ends by itself",
  },
  {
    "recursion by gsub",
    [[local function f() return (('x'):gsub('x', f)) end
      return f()]],
  },
  {
    "recursion by sort",
    [[local function f() table.sort({ 2, 1 }, f) return true end
      return f()]],
  },
  {
    "recursion by coroutines",
    [[local function f() return coroutine.wrap(f)() end
      return f()]],
  },
  {
    "recursion in an error handler",
    [[local function handler() error('again') end
      return (xpcall(error, handler))]],
  },
  {
    "recursion by concat",
    [[local t = setmetatable({}, {})
      getmetatable(t).__concat = function(a, b) return a .. b end
      return t .. t]],
  },
  { "unpack of too much", "return unpack({}, 1, 1e8)" },
  { "unpack around the limit", "return unpack({}, -2^31, 2^31 - 1)" },
  { "bytes of too much", "return (('x'):rep(1e7)):byte(1, -1)" },
  { "a wide format", "return ('%99999999d'):format(1)" },
  { "table.concat of nothing", "return table.concat({}, 'x', 1, 1e9)" },
  { "tonumber of rubbish", "return tonumber(('9'):rep(1e6) .. 'x')" },
  {
    "a pattern too complex",
    "return (('x'):rep(3e5)):find(('x?'):rep(3e5) .. 'y')",
  },
  {
    "the iterator of pairs on what is no table",
    [[local f = pairs({ 1, 2, 3 })
      for _, what in ipairs({ 'text', 5, true, print, 1LL }) do
        pcall(f, what, 0)
      end
      pcall(f)
      pcall(f, nil, nil)
      return f('text', 0)]],
  },
  {
    "the iterator of pairs with odd controls",
    [[for _, t in ipairs({ { 1, 2 }, { a = 1 }, {} }) do
        local f = pairs(t)
        for _, at in ipairs({ -1, 1e300, 0/0, 'x', {}, 2^31 }) do
          pcall(f, t, at)
        end
      end
      error('through')]],
  },
  { "next of nonsense", "return next({ 1 }, {})" },
  { "next of no table", "return next('x')" },
  { "print of much", "print(unpack({}, 1, 7000)) error('printed')" },
  { "format without arguments", "return ('%s %d'):format()" },
  { "format of no text", "return string.format({}, 1)" },
  { "tonumber in a base", "return tonumber({}, 99)" },
  { "table.concat of tables", "return table.concat({ {}, {} })" },
  { "select of nonsense", "return select(-5, 1)" },
  { "math of nonsense", "return math.floor({})" },
  { "bits of nonsense", "return bit.lshift({}, 1)" },
  { "a broken pattern", "return ('x'):find('[')" },
  { "a pattern that ends early", "return ('x'):find('%')" },
  { "an error that is nil", "error(nil)" },
  { "an error that is a table", "error({})" },
  {
    "an error whose text fails",
    "error(setmetatable({}, { __tostring = function() error('no') end }))",
  },
  {
    "an error whose text is no text",
    "error(setmetatable({}, { __tostring = function() return {} end }))",
  },
  { "an error that is a function", "error(print)" },
  { "an error that is a cdata", "error(1LL)" },
  { "an error of 10 MB", "error(('x'):rep(1e7))" },
  { "an error that is not UTF-8", "error('\\255\\254\\0\\1')" },
  {
    "a comparator that lies",
    [[local t = {}
      for i = 1, 1000 do t[i] = i end
      table.sort(t, function() return true end)
      error('sorted')]],
  },
}

-- Answers of decide that break its contract, and values nobody can store.
local answers = {
  { "nothing", "return" },
  { "false", "return false" },
  { "a number", "return 1" },
  { "a string", "return 'Tried'" },
  { "a function", "return print" },
  { "nil without a reason", "return nil" },
  { "a reason that is a table", "return nil, {}" },
  { "a reason that is a number", "return nil, 5" },
  { "a reason of 10 MB", "return nil, ('x'):rep(1e7)", allowed = "is asked for" },
  { "a reason that is not UTF-8", "return nil, '\\255\\254'" },
  { "details with a function", "return nil, 'no', { f = print }" },
  { "an event by hand", "return { type = 'Tried', data = {} }" },
  { "an event nobody evolves", "return event('Unheard', {})" },
  { "an event without data", "return event('Tried', 5)" },
  { "an event of no name", "return event('', {})" },
  { "an event of a bad name", "return event('a/b c', {})" },
  { "an event named by a table", "return event({}, {})" },
  { "a list with a hole", "return { event('Tried', {}), nil, 5 }" },
  { "a list of lists", "return { { event('Tried', {}) } }" },
  {
    "too many events",
    [[local t = {}
      for i = 1, 300000 do t[i] = event('Tried', { i = ('x'):rep(20) }) end
      return t]],
  },
  { "a function in data", "return event('Tried', { f = print })" },
  { "a coroutine in data", "return event('Tried', coroutine.create(error))" },
  {
    "a cycle in data",
    "local t = {} t.t = t return event('Tried', { t = t })",
  },
  {
    "data too deep",
    [[local t = {}
      for _ = 1, 100000 do t = { t = t } end
      return event('Tried', { t = t })]],
  },
  {
    "arrays too deep",
    [[local t = { 1 }
      for _ = 1, 100000 do t = { t } end
      return event('Tried', { t = t })]],
  },
  { "NaN", "return event('Tried', { x = 0/0 })" },
  { "infinity", "return event('Tried', { x = 1/0 })" },
  { "NaN in details", "return nil, 'no', { x = 0/0 }" },
  { "a table as a key", "return event('Tried', { [{}] = 1 })" },
  { "true as a key", "return event('Tried', { [true] = 1 })" },
  { "half a key", "return event('Tried', { [1.5] = 1 })" },
  { "a cdata as a key", "return event('Tried', { [1LL] = 1 })" },
  { "a complex number", "return event('Tried', { x = 1i })" },
  {
    "a key twice, as text and number",
    "return event('Tried', { ['1'] = 1, [1] = 2, x = 3 })",
    allowed = "both keys are kept or refused",
  },
  {
    "data that fails when it is read",
    [[return event('Tried', setmetatable({}, {
        __index = error, __pairs = error, __len = error }))]],
    allowed = "raw tables are read without metamethods",
  },
  { "state in an answer", "return state" },
  {
    "a state that is no more",
    "for k in pairs(state) do state[k] = nil end return nil",
  },
  {
    "a function in the state",
    "return event('Poisoned', { kind = 'f' })",
    allowed = "the state is not looked at until it is shown or kept",
  },
  { "an evolve that fails", "return event('Poisoned', { kind = 'error' })" },
  { "an evolve that bombs", "return event('Poisoned', { kind = 'bomb' })" },
  { "an evolve that escapes", "return event('Poisoned', { kind = 'io' })" },
  { "an evolve with chance", "return event('Poisoned', { kind = 'chance' })" },
  { "data of 9 MB", "return event('Tried', { x = ('x'):rep(9 * 2^20) })" },
}

local innocent = [[
--- Says whether the world is still as it was.
local event = require("aether.event")
local innocent = { initial = { pings = 0 } }
local decide = {}
innocent.decide = decide
function decide.ping()
  assert(rawequal(("x").upper, string.upper), "strings were changed")
  assert(("%d"):format(math.floor(5.5)) == "5", "libraries were changed")
  local list = { 3, 1, 2 }
  table.sort(list)
  assert(table.concat(list) == "123", "sort was changed")
  assert(not pcall(function() return pwned + 1 end), "a global was left")
  return event("Pinged", {})
end
local evolve = {}
innocent.evolve = evolve
function evolve.Pinged(state)
  state.pings = state.pings + 1
end
return innocent
]]

local poison = [[
function evolve.Tried() end
function evolve.Poisoned(state, poisoned)
  local kind = poisoned.kind
  if kind == "f" then
    state.f = function() end
  elseif kind == "cycle" then
    state.state = state
  elseif kind == "nan" then
    state.x = 0 / 0
  elseif kind == "error" then
    error("no")
  elseif kind == "bomb" then
    state.x = ("x"):rep(2 ^ 30)
  elseif kind == "io" then
    state.x = io.open("/etc/passwd")
  elseif kind == "chance" then
    state.x = math.random()
  end
end
]]

local function hostile_module(entries, wrap)
  local text = {
    'local event = require("aether.event")',
    "local hostile = { initial = { tries = 0 } }",
    "local decide, evolve = {}, {}",
    "hostile.decide, hostile.evolve = decide, evolve",
    poison,
  }
  for index, entry in ipairs(entries) do
    text[#text + 1] = wrap(("try_%d"):format(index), entry[2])
  end
  text[#text + 1] = "return hostile"
  return table.concat(text, "\n")
end

-- Whether an attack holds is told apart from what it answers.
local function as_attack(name, body)
  return ([[
function decide.%s(state)
  local got = (function() %s end)()
  if got then return event("Tried", {}) end
  return nil, "held"
end]]):format(name, body)
end

local function as_answer(name, body)
  return ("function decide.%s(state) %s end"):format(name, body)
end

-- An empty JSON object, not an empty array.
local function object()
  return setmetatable({}, { __jsontype = "object" })
end

local folder

local function app(files)
  program.fill(folder, {
    ["aether.lua"] = "return { namespaces = { cell = { limits = { handler_ms = 2000 } } } }\n",
    ["outside.lua"] = "return { outside = true }\n",
    ["other/secret.lua"] = "return { secret = true }\n",
    ["cell/helper.lua"] = "return { answer = 42 }\n",
    ["cell/innocent.lua"] = innocent,
  })
  program.fill(folder, files)
end

local function run(commands)
  local lines = {}
  for index, command in ipairs(commands) do
    lines[index] = json.encode(command)
  end
  local result = program.run_aether(
    { "-C", folder, "exec", "--store", "memory", "-" },
    { stdin = table.concat(lines, "\n") .. "\n", seconds = 240 }
  )
  assert(
    result.signal == nil and result.status <= 3,
    ("the host died (signal %s): %s"):format(
      tostring(result.signal),
      result.err:sub(-2000)
    )
  )
  local outcomes = {}
  for line in result.out:gmatch("[^\n]+") do
    local outcome, _, problem = json.decode(line)
    assert(outcome, ("no JSON: %s: %s"):format(tostring(problem), line))
    outcomes[outcome.line] = outcome
  end
  assert.equal(#commands, #outcomes, result.err:sub(-2000))
  return outcomes
end

-- Runs every entry on an actor of its own, an innocent command behind each;
-- `judge` looks at the entry's outcome and returns what is wrong with it.
local function try_all(entries, wrap, judge)
  app({ ["cell/hostile.lua"] = hostile_module(entries, wrap) })
  local commands = {}
  for index in ipairs(entries) do
    commands[#commands + 1] = {
      actor = ("cell/hostile/h%d"):format(index),
      command = ("try_%d"):format(index),
      data = object(),
    }
    commands[#commands + 1] = {
      actor = ("cell/innocent/i%d"):format(index % 3),
      command = "ping",
      data = object(),
    }
  end
  local outcomes = run(commands)
  local wrong = {}
  for index, entry in ipairs(entries) do
    local outcome = outcomes[index * 2 - 1]
    local after = outcomes[index * 2]
    local problem = not entry.allowed and judge(outcome)
    if problem then
      wrong[#wrong + 1] = ("%s: %s: %s"):format(
        entry[1],
        problem,
        json.encode(outcome):sub(1, 300)
      )
    end
    if after.status ~= "accepted" then
      wrong[#wrong + 1] = ("after %s an innocent command fails: %s"):format(
        entry[1],
        json.encode(after):sub(1, 300)
      )
    end
  end
  assert(#wrong == 0, "\n" .. table.concat(wrong, "\n"))
end

local function not_accepted(outcome)
  return outcome.status == "accepted" and "succeeded"
end

local function failed_well(outcome)
  if outcome.status == "accepted" then
    return "succeeded"
  end
  local problem = outcome.error
  if not problem or not problem.code or not problem.message then
    return "no code or message"
  end
  if #json.encode(problem) > 20000 then
    return "an error of more than 20 kB"
  end
end

local failures = {
  script_error = true,
  contract_error = true,
  value_error = true,
  script_memory = true,
  too_large = true,
}

local function failed(outcome)
  return failed_well(outcome)
    or outcome.status ~= "failed" and "not failed"
    or not failures[outcome.error.code] and "another code"
end

-- Walks everything a module can reach, and reports what has no business
-- there: functions by forbidden names, and shared tables that can be written.
local crawler = [[
local crawler = {}

local forbidden = {
  dump = true, popen = true, execute = true, exit = true,
  getenv = true, rename = true, tmpname = true, time = true,
  clock = true, loadlib = true, getinfo = true, getlocal = true,
  getupvalue = true, setupvalue = true, sethook = true, getregistry = true,
  getfenv = true, setfenv = true, dofile = true, loadfile = true,
  newproxy = true, collectgarbage = true, cdef = true, cast = true,
  randomseed = true, upvalueid = true, upvaluejoin = true,
}

function crawler.crawl(roots)
  local seen, found, queue = {}, {}, {}
  local function push(value, path)
    local kind = type(value)
    if kind == "userdata" or kind == "thread" then
      found[#found + 1] = path .. " is a " .. kind
    end
    if kind == "table" and not seen[value] then
      seen[value] = true
      queue[#queue + 1] = { value, path }
    end
    local meta = getmetatable(value)
    if type(meta) == "table" and not seen[meta] then
      seen[meta] = true
      queue[#queue + 1] = { meta, path .. "<meta>" }
    end
  end
  for path, root in pairs(roots) do
    push(root, path)
  end
  local at = 0
  while queue[at + 1] do
    at = at + 1
    local value, path = queue[at][1], queue[at][2]
    local keys = { "pwned", 1 }
    for key, inner in pairs(value) do
      keys[#keys + 1] = key
      local name = path .. "." .. tostring(key)
      if type(inner) == "function" and forbidden[key] then
        found[#found + 1] = name
      end
      push(key, name .. "<key>")
      push(inner, name)
    end
    for _, key in pairs(keys) do
      local before = rawget(value, key)
      pcall(function() value[key] = "pwned" end)
      local ok, now = pcall(function() return value[key] end)
      if ok and rawequal(now, "pwned") then
        found[#found + 1] = path .. "." .. tostring(key) .. " can be written"
        value[key] = before
      end
    end
  end
  return found
end

return crawler
]]

-- Each of these is a module file: loading it must fail with a clear mistake
-- that names the file, or do no harm.
local modules = {
  { "no table", "return 5", "table" },
  { "nothing", "", "table" },
  { "a syntax error", "local function(", "evil.lua:1" },
  { "a runtime error", "\n\nerror('while loading')", "while loading" },
  { "an error that is a table", "error({})" },
  { "an error that is nil", "error(nil)" },
  { "an error of 10 MB", "error(('x'):rep(1e7))" },
  { "an error that is not UTF-8", "error('\255\254')" },
  { "bytecode", "\27LJ\2\8\3\1\0\0\0\0\1\1K\0\1\0\0", "evil.lua" },
  { "a NUL", "return \0 {}", "evil.lua" },
  { "rubbish", ("\255\0\27"):rep(1000), "evil.lua" },
  { "io", "local f = io.open('/etc/passwd') return {}", "io" },
  { "os", "os.execute('true') return {}", "os" },
  { "a global", "pwned = 1 return {}", "pwned" },
  { "a global function", "function pwned() end return {}", "pwned" },
  { "require of ffi", "local ffi = require('ffi') return {}", "ffi" },
  { "require of itself", "return require('evil')", "evil" },
  { "require of nothing", "return require('helpr')", "helper" },
  { "memory", "local s = ('x'):rep(2^30) return {}", "memory" },
  { "recursion", "local function f() return 1 + f() end return f()", "evil" },
  { "deep nesting", "return " .. ("{"):rep(1e5) .. ("}"):rep(1e5), "evil.lua" },
  {
    "deep brackets",
    "return " .. ("("):rep(1e5) .. "1" .. (")"):rep(1e5),
    "evil.lua",
  },
  { "yield", "coroutine.yield(1) return {}", "evil" },
  { "decide that is no table", "return { decide = 5 }", "decide" },
  {
    "a command that is no function",
    "return { decide = { try = 5 }, evolve = {} }",
    "try",
  },
  {
    "a command of a bad name",
    "return { decide = { ['no way'] = function() end }, evolve = {} }",
    "no way",
  },
  {
    "an initial that cannot be stored",
    "return { initial = { f = print }, decide = {}, evolve = {} }",
    "initial",
  },
  {
    "an initial that is a ring",
    "local t = {} t.t = t return { initial = t, decide = {}, evolve = {} }",
    "initial",
  },
  {
    "a policy that is nowhere",
    "return { initial = {}, decide = {}, evolve = {}, retry = 'bakoff' }",
    "backoff",
  },
  {
    "a key nobody knows",
    "return { initial = {}, decide = {}, evolve = {}, snapshto = {} }",
    "snapshot",
  },
  {
    "a snapshot of nonsense",
    "return { initial = {}, decide = {}, evolve = {}, "
      .. "snapshot = { version = 'x', every = -1 } }",
    "snapshot",
  },
  {
    "two kinds at once",
    "return { decide = {}, evolve = {}, project = {}, react = {} }",
    "evil",
  },
}

describe("the sandbox #node", function()
  before_each(function()
    folder = program.folder()
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("holds against every attack in decide", function()
    try_all(attacks, as_attack, not_accepted)
  end)

  it("survives every bomb, says so, and goes on", function()
    try_all(bombs, as_attack, failed_well)
  end)

  it("refuses every answer that breaks the contract", function()
    try_all(answers, as_answer, failed)
  end)

  it("has nothing forbidden or writable within reach", function()
    app({
      ["cell/crawler.lua"] = crawler,
      ["cell/hostile.lua"] = [[
        local crawl = require("crawler").crawl
        local decide = {}
        function decide.crawl(_, _, ctx)
          local roots = { _G = _G, string_meta = getmetatable("") }
          for _, name in ipairs({
            "string", "table", "math", "bit", "coroutine", "aether.event",
            "aether.command", "aether.value", "aether.schema", "aether.log",
          }) do
            local ok, library = pcall(require, name)
            roots[name] = ok and library or nil
          end
          for name, value in pairs({
            string = string, table = table, math = math, bit = bit,
            coroutine = coroutine,
          }) do
            roots[name] = value
          end
          roots.null = require("aether.value").null
          return nil, "found", { found = crawl(roots), actor = ctx.version }
        end
        return { initial = {}, decide = decide, evolve = {} }
      ]],
    })
    local outcome = run({
      { actor = "cell/hostile/h", command = "crawl", data = object() },
    })[1]
    assert.equal("rejected", outcome.status, json.encode(outcome))
    local found = outcome.error.details.found
    assert(#found == 0, "\n" .. table.concat(found, "\n"))
  end)

  it("does not let one actor's state into another's", function()
    app({
      ["cell/hostile.lua"] = [[
        local event = require("aether.event")
        local decide, evolve = {}, {}
        function decide.poison() return event("Poisoned", {}) end
        function decide.look(state)
          return nil, "saw", { deep = state.deep.value }
        end
        function evolve.Poisoned(state) state.deep.value = "poisoned" end
        return {
          initial = { deep = { value = "clean" } },
          decide = decide, evolve = evolve,
        }
      ]],
    })
    local outcomes = run({
      { actor = "cell/hostile/a", command = "poison", data = object() },
      { actor = "cell/hostile/b", command = "look", data = object() },
      { actor = "cell/hostile/a", command = "look", data = object() },
    })
    assert.equal("clean", outcomes[2].error.details.deep)
    assert.equal("poisoned", outcomes[3].error.details.deep)
  end)

  describe("while a module loads", function()
    for _, entry in ipairs(modules) do
      it("survives " .. entry[1], function()
        app({ ["cell/evil.lua"] = entry[2] })
        local result = program.run_aether({ "-C", folder, "check" })
        assert.is_nil(result.signal, result.err:sub(-2000))
        assert.equal(1, result.status, result.out .. result.err)
        local said = result.out .. result.err
        assert.matches("evil", said, 1, true)
        assert(said:find(entry[3] or "evil", 1, true), said:sub(1, 2000))
        assert(#said < 20000, "it said " .. #said .. " bytes")
      end)
    end

    it("does not follow what is no file", function()
      app({ ["cell/good.lua"] = innocent })
      program.run({ "mkdir", folder .. "/cell/folder.lua" })
      program.run({ "mkfifo", folder .. "/cell/pipe.lua" })
      program.run({ "ln", "-s", "nowhere", folder .. "/cell/dangling.lua" })
      local result = program.run_aether({ "-C", folder, "check" }, {
        seconds = 20,
      })
      assert.is_nil(result.signal, "it hangs")
      assert(result.status == 0 or result.status == 1, result.err)
    end)

    it("keeps to the settings' own sandbox", function()
      for _, settings in ipairs({
        "os.execute('true') return {}",
        "return { store = io.open('/etc/passwd'):read('*a') }",
        "return 5",
        "return",
        "error('no')",
        "return {",
        "return { stroe = 'memory' }",
        "return { store = 5 }",
        "return { store = 'nonsense:x' }",
        "return { namespaces = { ['../up'] = {} } }",
        "return { namespaces = { cell = { modules = 5 } } }",
        "return { namespaces = { cell = { limits = { memory_mb = -1 } } } }",
        "return { namespaces = { cell = { modules = 'nowhere' } } }",
        "local t = {} t.t = t return t",
        "return { store = ('x'):rep(2^30) }",
        "return setmetatable({}, { __index = error, __pairs = error, x = 1 })"
          .. ", pwned.x",
        "\27LJ\2",
      }) do
        app({ ["aether.lua"] = settings })
        local result = program.run_aether({ "-C", folder, "check" })
        local said = result.out .. result.err
        assert.is_nil(result.signal, settings .. ": " .. said)
        assert(result.status ~= 0, settings .. " passes")
        assert.matches("aether.lua", said, 1, true)
        assert(#said < 20000, "it said " .. #said .. " bytes")
      end
    end)
  end)
end)
