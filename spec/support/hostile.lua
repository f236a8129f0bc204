--- What does not end by itself, in as many ways as could be thought of: each is
-- the body of a function(state, data, ctx) of a module. Where it is no loop, it
-- takes far longer than any limit.
return {
  -- loops
  { "an empty loop", "while true do end" },
  { "a loop that counts", "local n = 0 for i = 1, math.huge do n = n + i end" },
  { "repeat until false", "repeat local x = state until false" },
  { "goto", "::again:: goto again" },
  {
    "a loop of 64-bit integers",
    "local u = 1ULL while u ~= 0 do u = u + 2 end",
  },
  { "a loop of floats", "local x = 1.5 while true do x = x ^ 1.0001 end" },
  {
    "a loop in libm",
    "local x = 1 while true do x = math.sin(x) + math.exp(x) + math.log(2 + x) end",
  },
  {
    "a loop of fmod",
    "local x = 1 while true do x = math.fmod(x * 7919, 104729) end",
  },
  {
    "a loop of bits",
    "local x = 1 while true do x = bit.bxor(bit.lshift(x, 1), 7) end",
  },
  {
    "a loop that is compiled, left and compiled again",
    [[local n = 0
    while true do
      n = n + 1
      if n % 3 == 0 then n = n + #tostring(n) end
      if n % 1000 == 0 then n = n / 2 end
    end]],
  },
  -- recursion
  {
    "recursion without an end of time",
    "local function f(n) if n > 0 then f(n - 1) f(n - 1) end end f(60)",
  },
  { "tail calls", "local f function f() return f() end f()" },
  {
    "two that call each other",
    "local a, b function a() return b() end function b() return a() end a()",
  },
  -- errors
  { "pcall in a loop", "while true do pcall(error, 'x') end" },
  { "errors of tables in a loop", "while true do pcall(error, {}) end" },
  {
    "an error of the VM in a loop",
    "while true do pcall(function() local x; return x.y end) end",
  },
  { "pcall of pcall", "local function f() pcall(f) pcall(f) end f()" },
  {
    "an error handler that loops",
    "xpcall(error, function() while true do end end)",
  },
  {
    "errors in error handlers",
    "while true do xpcall(error, function() error('y') end) end",
  },
  {
    "stack overflows in a loop",
    "while true do pcall(function() local function f() return 1 + f() end f() end) end",
  },
  {
    "catching its own end",
    "while true do pcall(function() while true do end end) end",
  },
  -- coroutines
  {
    "a coroutine that loops",
    "coroutine.wrap(function() while true do end end)()",
  },
  {
    "yields in a loop",
    "local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end",
  },
  {
    "coroutines in a loop",
    "while true do coroutine.wrap(function() end)() end",
  },
  {
    "coroutines that fail in a loop",
    "while true do coroutine.resume(coroutine.create(function() error('x') end)) end",
  },
  {
    "coroutines in coroutines",
    "local function f() local g = coroutine.wrap(f) return g() end while true do pcall(f) end",
  },
  -- texts
  {
    "a pattern that backtracks",
    "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'c')",
  },
  {
    "a pattern of many choices",
    "return ('a'):rep(100000):find(('.-'):rep(8) .. 'b')",
  },
  {
    "gsub that backtracks",
    "return ('x'):rep(5000):gsub('(.-)(.-)(.-)(.-)y', '')",
  },
  {
    "gmatch in a loop",
    "while true do for w in ('one two'):gmatch('%a+') do end end",
  },
  {
    "gsub with a function that loops",
    "return ('x'):gsub('x', function() while true do end end)",
  },
  {
    "a text that grows, in vain",
    "while true do local s = '' for i = 1, 3000 do s = s .. 'x' end end",
  },
  {
    "texts of a megabyte",
    "while true do local s = ('x'):rep(1000000) .. 'y' end",
  },
  {
    "concat in a loop",
    "local t = {} for i = 1, 1000 do t[i] = 'abcdefgh' end while true do table.concat(t) end",
  },
  {
    "format in a loop",
    "while true do local s = ('%s %d %5.2f'):format('x', 1, 2.5) end",
  },
  {
    "numbers and texts in a loop",
    "while true do local n = tonumber(tostring(1234.5)) end",
  },
  {
    "reverse, upper, byte",
    "local s = ('x'):rep(10000) while true do local t = s:reverse():upper():byte(7) end",
  },
  {
    "a plain find that is quadratic",
    "local s = ('a'):rep(400000) return s:find(('a'):rep(200000) .. 'b', 1, true)",
  },
  {
    "brackets without an end",
    "return ('('):rep(1000000):find('%b()')",
  },
  {
    "a frontier that never comes",
    "local s = ('a'):rep(200000) while true do s:gsub('%f[%W]%f[%w]', '') end",
  },
  {
    "gsub by a table with __index",
    [[local t = setmetatable({}, { __index = function() return false end })
    local s = ('x'):rep(100000) while true do s:gsub('.', t) end]],
  },
  {
    "%q of a long text",
    "local s = ('\\n\\0'):rep(100000) while true do local q = ('%q'):format(s) end",
  },
  {
    "comparing long texts",
    [[local s = ('x'):rep(3000000) local a, b = s .. 'a', s .. 'b'
    while true do local x = a < b end]],
  },
  {
    "texts of bytes and back",
    "local s = ('x'):rep(5000) while true do s = string.char(s:byte(1, -1)) end",
  },
  {
    "numbers that are long texts",
    "local s = ('1'):rep(1000000) while true do local n = tonumber(s) end",
  },
  -- tables
  { "garbage in a loop", "while true do local t = { {}, {}, {} } end" },
  {
    "a table that is filled and emptied",
    "local t = {} while true do t[#t % 1000 + 1] = {} end",
  },
  {
    "sorting with a bad comparator",
    [[local t = {} for i = 1, 1000 do t[i] = i end
    while true do pcall(table.sort, t, function() return true end) end]],
  },
  {
    "sorting in a loop",
    [[local t = {} for i = 1, 10000 do t[i] = i end
    while true do table.sort(t, function(a, b) return a > b end) end]],
  },
  {
    "a comparator that loops",
    "local t = { 2, 1 } table.sort(t, function() while true do end end)",
  },
  {
    "insert and remove at the front",
    [[local t = {} for i = 1, 100000 do t[i] = i end
    while true do table.insert(t, 1, 0) table.remove(t, 1) end]],
  },
  {
    "pairs over many keys",
    [[local t = {} for i = 1, 100000 do t['k' .. i] = i end
    while true do for k, v in pairs(t) do end end]],
  },
  {
    "next over many keys",
    [[local t = {} for i = 1, 100000 do t['k' .. i] = i end
    local k repeat k = next(t, k) until k == 'never']],
  },
  {
    "unpack in a loop",
    "local t = {} for i = 1, 100 do t[i] = i end while true do select('#', unpack(t)) end",
  },
  {
    "sorting long texts that are alike",
    [[local s, t = ('x'):rep(100000), {} for i = 1, 200 do t[i] = s .. i % 7 end
    while true do table.sort(t) end]],
  },
  {
    "lengths of a table with holes",
    [[local t = {} for i = 1, 1000 do t[i * 2 % 1001] = i end
    local n = 0 while true do t[n % 1000] = nil n = n + #t + 1 end]],
  },
  {
    "weak tables, which there are none",
    "while true do pcall(setmetatable, {}, { __mode = 'kv' }) end",
  },
  {
    "a list that the collector walks again and again",
    [[local list for i = 1, 100000 do list = { list } end
    while true do list = { list } list = list[1] end]],
  },
  -- metamethods
  {
    "__index that loops",
    "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
  },
  {
    "__tostring that loops",
    "return tostring(setmetatable({}, { __tostring = function() while true do end end }))",
  },
  {
    "__tostring that calls itself, over and over",
    [[local mt = {}
    mt.__tostring = function() return tostring(setmetatable({}, mt)) end
    while true do pcall(tostring, setmetatable({}, mt)) end]],
  },
  {
    "an error of the host below many of its own functions, over and over",
    [[local mt, n = {}, 0
    mt.__tostring = function()
      n = n + 1
      return n < 2000 and tostring(setmetatable({}, mt)) or ctx.nothing
    end
    while true do
      n = 0
      pcall(tostring, setmetatable({}, mt))
    end]],
  },
  {
    "__tostring in format",
    "return ('%s'):format(setmetatable({}, { __tostring = function() while true do end end }))",
  },
  {
    "__eq in a loop",
    [[local mt = { __eq = function() return false end }
    local a, b = setmetatable({}, mt), setmetatable({}, mt)
    repeat until a == b]],
  },
  {
    "__concat and __call in a loop",
    [[local t = setmetatable({}, { __concat = function(a) return a end, __call = function(self) return self end })
    while true do local x = t() .. 'x' end]],
  },
  {
    "__gc, which tables do not have",
    "while true do setmetatable({}, { __gc = function() while true do end end }) end",
  },
  -- the host's functions
  {
    "words to the operator",
    "while true do print('x') end",
  },
  {
    "tostring of a number that is no number, and of 64-bit integers",
    "while true do local s = tostring(0 / 0) .. tostring(-1ULL) .. tostring(-1LL) end",
  },
  {
    "ctx in a loop",
    "while true do ctx.random() local x = ctx.uuid() .. ctx.actor end",
  },
  {
    "wrong use of ctx in a loop",
    "while true do pcall(ctx.random, 5, 1) pcall(function() return ctx.nothing end) end",
  },
  {
    "require in a loop",
    "while true do require('aether.value') pcall(require, 'nothing') end",
  },
  {
    "globals that are not there",
    "while true do pcall(function() return nothing_here end) end",
  },
  {
    "writing to what is shared",
    "while true do pcall(function() string.x = 1 end) end",
  },
  {
    "copies in a loop",
    [[local value = require('aether.value')
    local t = {} for i = 1, 20000 do t[i] = { i } end
    while true do value.copy(t) end]],
  },
  {
    "a value that is many times its size",
    "local t = {} for i = 1, 26 do t = { t, t } end return event('Added', t)",
  },
  {
    "a map that is many times its size",
    [[local t = {} for i = 1, 40 do t['k' .. i] = i end
    for i = 1, 16 do t = { a = t, b = t } end return event('Added', t)]],
  },
  {
    "details that are many times their size",
    "local t = {} for i = 1, 26 do t = { t, t } end return nil, 'no', t",
  },
}
