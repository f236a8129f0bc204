--- Brings an event of an old revision to the current one, by the upcasters of
--- its aggregate.
local nearest = require("aether.nearest")
local value = require("aether.value")

local upcast = {}

--- The revision that an event of this type is made with now.
---@param module table an aggregate
---@param type_name string
---@return integer
function upcast.current(module, type_name)
  local revision = module.revision
  return revision and revision[type_name] or 1
end

local function step_of(module, type_name, revision)
  local steps = module.upcast and module.upcast[type_name]
  return steps and steps[revision]
end

local function is_map(t)
  return type(t) == "table" and t ~= value.null and not value.is_array(t)
end

--- Runs `upcast[type][revision]` and so on until the data is current. What was
--- renamed is revision 1 of its new name and goes on from there. Raises where a
--- step is missing, answers no map, or where renames go round.
---@param module table an aggregate
---@param type_name string the type that was stored
---@param revision integer the revision that was stored
---@param data table may be changed
---@return string type the current name
---@return table data
---@return integer revision the current one
function upcast.bring(module, type_name, revision, data)
  if not module.upcast and not module.revision then
    if revision == 1 then
      return type_name, data, 1
    end
  end
  local way, seen
  while true do
    local current = upcast.current(module, type_name)
    local step = revision <= current and step_of(module, type_name, revision)
    if not step then
      if revision == current then
        return type_name, data, revision
      elseif revision > current then
        error(
          ("%s of revision %d was stored by newer code: this code knows revision %d"):format(
            type_name,
            revision,
            current
          ),
          0
        )
      end
      error(
        ("upcast.%s has no step [%d], which brings revision %d to %d"):format(
          type_name,
          revision,
          revision,
          revision + 1
        ),
        0
      )
    end
    local after, renamed = step(data)
    if not is_map(after) then
      error(
        ("upcast.%s[%d] must return the data, a map; it returned %s"):format(
          type_name,
          revision,
          value.show(after, 60)
        ),
        0
      )
    end
    data = after
    if renamed == nil then
      revision = revision + 1
      if
        revision > current
        and not (module.revision and module.revision[type_name])
      then
        error(
          ('upcast.%s[%d] made revision %d: say revision.%s = %d, or return data, "NewName"'):format(
            type_name,
            revision - 1,
            revision,
            type_name,
            revision
          ),
          0
        )
      end
    else
      way = way or { type_name }
      seen = seen or { [type_name] = true }
      if type(renamed) ~= "string" or not renamed:find("^%u%w*$") then
        error(
          ("upcast.%s[%d] renames to %s, which is no CamelCase event type"):format(
            type_name,
            revision,
            value.show(renamed, 60)
          ),
          0
        )
      end
      way[#way + 1] = renamed
      if seen[renamed] then
        error("upcast goes round: " .. table.concat(way, " → "), 0)
      end
      seen[renamed] = true
      type_name, revision = renamed, 1
    end
  end
end

local function add(mistakes, key, message)
  mistakes[#mistakes + 1] = { key = key, message = message }
end

local function check_steps(module, type_name, steps, mistakes)
  local key = "upcast." .. tostring(type_name)
  if type(type_name) ~= "string" or not type_name:find("^%u%w*$") then
    return add(
      mistakes,
      key,
      ("upcast: %s is no CamelCase event type"):format(
        value.show(type_name, 60)
      )
    )
  elseif type(steps) ~= "table" then
    return add(
      mistakes,
      key,
      ("%s must be a table of steps, as in { [1] = function(data) … end }"):format(
        key
      )
    )
  end
  local last = 0
  for _, revision in ipairs(value.keys(steps)) do
    local at = ("%s[%s]"):format(key, tostring(revision))
    if
      type(revision) ~= "number"
      or revision < 1
      or revision ~= math.floor(revision)
    then
      add(
        mistakes,
        at,
        ("%s: steps are numbered by the revision that they start from, 1, 2, …"):format(
          at
        )
      )
    elseif type(steps[revision]) ~= "function" then
      add(
        mistakes,
        at,
        ("%s must be a function(data); it is a %s"):format(
          at,
          type(steps[revision])
        )
      )
    else
      last = math.max(last, revision)
    end
  end
  local stated = type(module.revision) == "table" and module.revision[type_name]
  local current = type(stated) == "number" and stated or last + 1
  for revision = 1, math.min(math.max(last, current - 1), 1000) do
    if steps[revision] == nil then
      add(
        mistakes,
        key,
        ("%s has no step [%d], which brings revision %d to %d"):format(
          key,
          revision,
          revision,
          revision + 1
        )
      )
    end
  end
  local evolved = type(module.evolve) == "table"
    and module.evolve[type_name] ~= nil
  if stated and last >= current then
    add(
      mistakes,
      key,
      ("%s[%d] makes revision %d, but revision.%s says %d is the current one"):format(
        key,
        last,
        last + 1,
        type_name,
        current
      )
    )
  elseif not stated and evolved and last > 0 then
    add(
      mistakes,
      key,
      ("%s makes revision %d, but nothing says that it is the current one: add revision = { %s = %d }"):format(
        key,
        last + 1,
        type_name,
        last + 1
      )
    )
  end
end

local function check_revision(module, type_name, revision, mistakes)
  local key = "revision." .. tostring(type_name)
  if
    type(revision) ~= "number"
    or revision < 1
    or revision ~= math.floor(revision)
    or revision > 2 ^ 31
  then
    return add(
      mistakes,
      key,
      ("%s must be an integer from 1; got %s"):format(
        key,
        value.show(revision, 60)
      )
    )
  end
  local evolve = module.evolve
  if type(evolve) == "table" and evolve[type_name] == nil then
    add(
      mistakes,
      key,
      ("%s names an event that nobody evolves%s"):format(
        key,
        nearest.hint(type_name, evolve)
      )
    )
  end
  local steps = type(module.upcast) == "table" and module.upcast[type_name]
  if revision > 1 and not steps then
    add(
      mistakes,
      key,
      (
        "%s is %d, but nothing brings older ones there: "
        .. "write upcast.%s = { [1] = function(data) … return data end }"
      ):format(key, revision, type_name)
    )
  end
end

--- The mistakes in an aggregate's `upcast` and `revision`, appended.
---@param module table
---@param mistakes aether.mistake[]
function upcast.check(module, mistakes)
  for _, key in ipairs { "revision", "upcast" } do
    local map = module[key]
    if map ~= nil and type(map) ~= "table" then
      add(
        mistakes,
        key,
        ("%s must be a table by event type; it is a %s"):format(key, type(map))
      )
    elseif map then
      for _, type_name in ipairs(value.keys(map)) do
        if key == "revision" then
          check_revision(module, type_name, map[type_name], mistakes)
        else
          check_steps(module, type_name, map[type_name], mistakes)
        end
      end
    end
  end
end

return upcast
