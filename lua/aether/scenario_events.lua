--- Whole events, as handlers get them, from what a spec gives.
local report = require("aether.report")
local upcast = require("aether.upcast")
local value = require("aether.value")

local events = {}

local START = 1700000000000000 -- µs: the time of the first event of a spec

events.START = START

--- The current shape of an event that a spec gives.
---@param aggregate table|nil whose event it is, where that is known
---@param e aether.event
---@return string type
---@return table data a copy
---@return integer revision
function events.bring(aggregate, e)
  local data = value.copy(e.data)
  if not aggregate then
    if e.revision and e.revision > 1 then
      report.fail(
        ("given: %s of revision %d, but its aggregate is not in the app"):format(
          e.type,
          e.revision
        )
      )
    end
    return e.type, data, 1
  end
  local revision = e.revision or upcast.current(aggregate, e.type)
  local ok, name, brought, current =
    pcall(upcast.bring, aggregate, e.type, revision, data)
  if not ok then
    report.fail(
      "given: an old event cannot be brought up",
      "  " .. tostring(name)
    )
  end
  return name, brought, current
end

--- A whole event.
---@param e aether.event
---@param fields table namespace, actor_type, actor_id, version, and the
---  position of what is stored already
---@param aggregate table|nil
---@return table
function events.whole(e, fields, aggregate)
  local ok, path, problem = value.check(e.data)
  if not ok then
    report.fail(
      ("%s: data%s %s"):format(
        e.type,
        path == "" and "" or "." .. path,
        problem
      )
    )
  end
  local name, data, revision = events.bring(aggregate, e)
  local place = fields.position or fields.version
  return {
    id = ("018bcfe5-6800-7000-8000-%012x"):format(place),
    type = name,
    revision = revision,
    namespace = fields.namespace,
    actor_type = fields.actor_type,
    actor_id = fields.actor_id,
    version = fields.version,
    position = fields.position,
    timestamp = START + place * 1000000,
    data = data,
    metadata = value.copy(e.metadata or {}),
  }
end

--- The whole events of a past: versions rise per actor, positions over all.
---@param subject aether.scenario.subject
---@param past aether.scenario.given[]
---@param default_type string the type of actors that are not said
---@return table[]
function events.of(subject, past, default_type)
  local versions, list = {}, {}
  for i, item in ipairs(past) do
    local actor_type = item.actor_type or default_type
    local actor_id = item.actor_id or "1"
    local key = actor_type .. "/" .. actor_id
    versions[key] = (versions[key] or 0) + 1
    local aggregate = subject.other(actor_type)
    list[i] = events.whole(item.event, {
      namespace = subject.namespace,
      actor_type = actor_type,
      actor_id = actor_id,
      version = versions[key],
      position = i,
    }, type(aggregate) == "table" and aggregate.evolve and aggregate or nil)
  end
  return list
end

--- The handler of an event: `handlers["account.Deposited"]` goes before
--- `handlers.Deposited`.
---@param handlers table<string, function>
---@param e table a whole event
---@return function|nil handler
---@return string name
function events.handler(handlers, e)
  local full = e.actor_type .. "." .. e.type
  if handlers[full] then
    return handlers[full], full
  end
  return handlers[e.type], e.type
end

--- Whether `from` of a projection or process takes in this type of actor.
---@param from string|string[]
---@param actor_type string
---@return boolean
function events.is_from(from, actor_type)
  if from == "*" or from == actor_type then
    return true
  end
  for _, name in ipairs(type(from) == "table" and from or {}) do
    if name == actor_type then
      return true
    end
  end
  return false
end

--- The type of an actor that a spec does not say: the first of `from`.
---@param from string|string[]
---@return string
function events.first_of(from)
  return type(from) == "table" and from[1] or from ~= "*" and from or "any"
end

report.hide(debug.getinfo(1, "S").source)

return events
