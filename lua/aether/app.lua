--- Finds and loads the modules of an app outside the host, in surroundings like
--- the host's: what is not there in a node is not there in a spec either.
---
--- The app's folder is the nearest one above a spec that holds `aether.lua`, or
--- the one that holds the folder `spec`. Its namespaces are those that
--- `aether.lua` names; else each folder in it that holds a Lua file, and the
--- folder itself as the namespace `default`.
local nearest = require("aether.nearest")
local value = require("aether.value")

local app = {}

local function exists(file)
  local handle = io.open(file, "rb")
  if not handle then
    return false
  end
  local readable = handle:read(0) ~= nil or handle:seek("end") == 0
  handle:close()
  return readable
end

local function parent(path)
  return path:match("^(.+)/[^/]*$") or (path:sub(1, 1) == "/" and "/" or ".")
end

local function absolute(path)
  local lfs = require("lfs")
  if path:sub(1, 1) ~= "/" then
    path = lfs.currentdir() .. "/" .. path
  end
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

--- The folder of the app that a file belongs to.
---@param file string a spec
---@return string folder the file's own where nothing above looks like an app
function app.root(file)
  local own = parent(absolute(file))
  local folder = own
  while folder ~= "/" do
    if exists(folder .. "/aether.lua") then
      return folder
    elseif folder:match("[^/]*$") == "spec" then
      return parent(folder)
    end
    folder = parent(folder)
  end
  return own
end

-- ------------------------------------------------------------ surroundings

local function sorted_next(t, key)
  local keys = value.keys(t)
  if key == nil then
    local first = keys[1]
    return first, first ~= nil and t[first] or nil
  end
  for i, known in ipairs(keys) do
    if known == key then
      local after = keys[i + 1]
      return after, after ~= nil and t[after] or nil
    end
  end
  error("next: there is no such key", 2)
end

local function sorted_pairs(t)
  if type(t) ~= "table" then
    error("pairs wants a table; got " .. value.show(t, 60), 2)
  end
  local keys, i = value.keys(t), 0
  return function()
    repeat
      i = i + 1
    until keys[i] == nil or t[keys[i]] ~= nil
    if keys[i] ~= nil then
      return keys[i], t[keys[i]]
    end
  end,
    t,
    nil
end

local function only(library, names)
  local some = {}
  for name in names:gmatch("[%w_]+") do
    some[name] = library[name]
  end
  return some
end

local function strong_setmetatable(t, mt)
  if type(mt) == "table" and rawget(mt, "__mode") ~= nil then
    error(
      "weak tables are not there in a node: what they hold is up to chance",
      2
    )
  end
  return setmetatable(t, mt)
end

local ABSENT = {
  io = "a module has no files: what it needs comes with a command",
  os = "the time is ctx.now",
  debug = "it is not there in a node",
  ffi = "it is not there in a node",
  jit = "it is not there in a node",
  package = "it is not there in a node",
  load = "code comes from module files only",
  loadstring = "code comes from module files only",
  loadfile = "code comes from module files only",
  dofile = "code comes from module files only",
  collectgarbage = "it is not there in a node",
  getfenv = "it is not there in a node",
  setfenv = "it is not there in a node",
  newproxy = "it is not there in a node",
}

local function surroundings()
  local known = only(
    _G,
    "_VERSION assert error getmetatable ipairs pcall print rawequal rawget "
      .. "rawset select tonumber tostring type unpack xpcall"
  )
  known.setmetatable = strong_setmetatable
  known.next, known.pairs = sorted_next, sorted_pairs
  known.string = only(
    string,
    "byte char find format gmatch gsub len lower match rep reverse sub upper"
  )
  known.table = only(table, "concat insert maxn remove sort")
  known.math = only(
    math,
    "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge "
      .. "ldexp log log10 max min modf pi pow rad sin sinh sqrt tan tanh"
  )
  known.bit = only(
    require("bit"),
    "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex"
  )
  known.coroutine = only(coroutine, "create resume running status wrap yield")
  setmetatable(known.math, {
    __index = function(_, key)
      if key == "random" or key == "randomseed" then
        error("math." .. key .. " is not there in a node: use ctx.random()", 2)
      end
    end,
  })
  local loading = true
  local env = setmetatable({}, {
    __index = function(_, key)
      local item = known[key]
      if item == nil and ABSENT[key] then
        error(("%s is not there in a node: %s"):format(key, ABSENT[key]), 2)
      end
      return item
    end,
    __newindex = function(_, key, item)
      if not loading then
        error(
          ("%s is written as a global: a module keeps nothing between calls, use local"):format(
            tostring(key)
          ),
          2
        )
      end
      known[key] = item
    end,
  })
  known._G = env
  return env, known, function()
    loading = false
  end
end

local function run(file, env)
  local chunk, problem = loadfile(file)
  if not chunk then
    error(problem, 0)
  end
  return setfenv(chunk, env)()
end

-- A namespace: its folder's files, each loaded once.
local function loader(folder)
  local env, known, done = surroundings()
  local loaded, on_way = {}, {}

  local function take(name)
    local file = folder .. "/" .. name:gsub("%.", "/") .. ".lua"
    if on_way[name] then
      error(("require goes round: %q is still being loaded"):format(name), 3)
    elseif loaded[name] == nil then
      on_way[name] = true
      local result = run(file, env)
      on_way[name] = nil
      loaded[name] = { result }
    end
    return loaded[name][1], file
  end

  known.require = function(name)
    if type(name) ~= "string" then
      error("require wants a name; got " .. value.show(name, 60), 2)
    elseif name == "aether" or name:find("^aether%.") then
      return require(name)
    elseif not exists(folder .. "/" .. name:gsub("%.", "/") .. ".lua") then
      error(
        ("there is no module %q: require reaches aether.* and the files of %s"):format(
          name,
          folder
        ),
        2
      )
    end
    return (take(name))
  end

  return function(name)
    local result, file = take(name)
    done()
    return result, file
  end
end

-- ------------------------------------------------------------------ finding

local function folders_in(root)
  local lfs = require("lfs")
  local found = {}
  for name in lfs.dir(root) do
    local mode = name:sub(1, 1) ~= "."
      and lfs.attributes(root .. "/" .. name, "mode")
    if mode == "directory" and name ~= "spec" then
      found[#found + 1] = name
    end
  end
  table.sort(found)
  return found
end

local function modules_in(folder)
  local lfs = require("lfs")
  local names = {}
  if lfs.attributes(folder, "mode") == "directory" then
    for file in lfs.dir(folder) do
      local name = file:match("^([%w_]+)%.lua$")
      if name then
        names[name] = true
      end
    end
  end
  return names
end

--- The namespaces of an app: name → folder.
---@param root string
---@return table<string, string>
function app.namespaces(root)
  local spaces = {}
  if exists(root .. "/aether.lua") then
    local env = surroundings()
    local settings = run(root .. "/aether.lua", env)
    if type(settings) == "table" and type(settings.namespaces) == "table" then
      for name, space in pairs(settings.namespaces) do
        local folder = type(space) == "table" and space.modules or name
        spaces[name] = folder:sub(1, 1) == "/" and folder
          or root .. "/" .. folder
      end
      return spaces
    end
  end
  spaces.default = root
  for _, folder in ipairs(folders_in(root)) do
    if next(modules_in(root .. "/" .. folder)) ~= nil then
      spaces[folder] = root .. "/" .. folder
    end
  end
  return spaces
end

--- Loads a module of an app, fresh, with what it requires.
---@param root string
---@param name string "account", or "bank/account" where several have one
---@return table|nil module nil: there is none; a file with a mistake raises
---@return string file_or_problem
---@return string|nil namespace
---@return fun(name: string): table|nil other others of the same namespace
function app.load(root, name)
  local wanted, short = name:match("^([^/]+)/([^/]+)$")
  short = short or name
  local spaces, found, all = app.namespaces(root), {}, {}
  for _, space in ipairs(value.keys(spaces)) do
    local names = modules_in(spaces[space])
    if spaces[space] == root then
      names.aether = nil
    end
    for known in pairs(names) do
      all[known] = true
    end
    if names[short] and (not wanted or wanted == space) then
      found[#found + 1] = space
    end
  end
  if #found == 0 then
    return nil,
      ("there is no module %q under %s%s"):format(
        name,
        root,
        nearest.hint(short, all)
      )
  elseif #found > 1 then
    return nil,
      ("%q is in several namespaces: say which, as in %q"):format(
        name,
        found[1] .. "/" .. short
      )
  end
  local take = loader(spaces[found[1]])
  local function other(sibling)
    if modules_in(spaces[found[1]])[sibling] then
      return (take(sibling))
    end
  end
  local module, file = take(short)
  return module, file, found[1], other
end

return app
