--- Scenarios of aggregates.
local event = require("aether.event")
local events = require("aether.scenario_events")
local nearest = require("aether.nearest")
local random = require("aether.random")
local report = require("aether.report")
local schema = require("aether.schema")
local upcast = require("aether.upcast")
local value = require("aether.value")

---@class aether.scenario.aggregate
local scenario = {}
scenario.__index = scenario

local OVERRIDES = { now = true, metadata = true, seed = true, id = true }

local function check_state(self, what)
  local ok, path, problem = value.check(self.now_state)
  if not ok then
    report.fail(
      ("%s left a state that cannot be stored"):format(what),
      ("  state%s %s"):format(path == "" and "" or "." .. path, problem)
    )
  end
end

local function evolve(self, e)
  local module = self.subject.module
  local whole = events.whole(e, {
    namespace = self.subject.namespace,
    actor_type = self.subject.name,
    actor_id = self.id,
    version = self.version + 1,
  }, module)
  local handler = module.evolve[whole.type]
  if not handler then
    report.fail(
      ("nobody evolves %q%s"):format(
        whole.type,
        nearest.hint(whole.type, module.evolve)
      )
    )
  end
  local what = "evolve." .. whole.type
  local twin, copy = value.copy(self.now_state), value.copy(whole)
  report.call(what, handler, self.now_state, whole.data, whole)
  report.call(what, handler, twin, copy.data, copy)
  report.same(
    what .. " is not repeatable: it evolved the same state in two ways",
    self.now_state,
    twin
  )
  self.version = self.version + 1
  check_state(self, what)
end

local function context(self, overrides)
  local now = overrides.now or events.START + (self.version + 1) * 1000000
  local draw = random.source(overrides.seed or 1)
  local subject = self.subject
  local fields = {
    now = now,
    random = draw,
    uuid = function()
      return random.uuid(now, draw)
    end,
    actor = ("%s/%s/%s"):format(subject.namespace, subject.name, self.id),
    version = self.version,
    metadata = value.copy(overrides.metadata or {}),
  }
  return setmetatable({}, {
    __index = function(_, key)
      if fields[key] == nil then
        error(
          ("ctx has no field %s%s"):format(
            value.show(key),
            nearest.hint(key, fields)
          ),
          2
        )
      end
      return fields[key]
    end,
    __newindex = function()
      error("ctx is read-only; keep what changes in state", 2)
    end,
  })
end

local function check_rejection(what, place, count, results)
  local reason, details = results[2], results[3]
  if type(reason) ~= "string" or reason == "" then
    report.fail(
      what .. " returned nothing",
      ("  %s: return an event, a list of events, {} (accepted, nothing happened), or "):format(
        place
      ) .. 'nil, "reason", details'
    )
  elseif count > 3 then
    report.fail(
      what .. ' returned more than nil, "reason", details',
      "  " .. place
    )
  end
  if details ~= nil then
    local ok, path, problem = value.check(details)
    if not ok then
      report.fail(
        ("%s gave details that cannot be stored"):format(what),
        ("  %s: details%s %s"):format(
          place,
          path == "" and "" or "." .. path,
          problem
        )
      )
    end
  end
  return { kind = "rejected", reason = reason, details = details }
end

local function check_event(self, what, place, e)
  local module = self.subject.module
  local problem = event.problem(e, module.evolve)
  if problem then
    report.fail(
      what .. " decided something that cannot be stored",
      ("  %s: %s"):format(place, problem)
    )
  end
  for _, part in ipairs { "data", "metadata" } do
    local ok, path, wrong = value.check(e[part] or {})
    if not ok then
      report.fail(
        ("%s decided %s, which cannot be stored"):format(what, e.type),
        ("  %s: %s%s %s"):format(
          place,
          part,
          path == "" and "" or "." .. path,
          wrong
        )
      )
    end
  end
  local current = upcast.current(module, e.type)
  if e.revision and e.revision ~= current then
    report.fail(
      ("%s decided %s of revision %d"):format(what, e.type, e.revision),
      ("  %s: new events have the current revision, %d"):format(place, current)
    )
  end
end

-- What decide answered, checked: events, or a rejection.
local function outcome_of(self, what, place, count, results)
  local first = results[1]
  if first == nil then
    return check_rejection(what, place, count, results)
  elseif type(first) ~= "table" or first == value.null then
    report.fail(
      ("%s returned %s"):format(what, value.show(first, 80)),
      ('  %s: return an event, a list of events, {} or nil, "reason", details'):format(
        place
      )
    )
  elseif count > 1 then
    report.fail(
      what .. " returned several values",
      ("  %s: return several events as one list, { event(…), event(…) }"):format(
        place
      )
    )
  end
  local list = event.is(first) and { first } or first
  for _, key in ipairs(value.keys(list)) do
    if type(key) ~= "number" or key < 1 or key > #list then
      report.fail(
        ("%s returned a table that is no list of events"):format(what),
        ("  %s: it has the key %s; event(type, data) makes an event"):format(
          place,
          value.show(key, 60)
        )
      )
    end
    check_event(self, what, place, list[key])
  end
  return { kind = "accepted", events = list }
end

local function decide_once(self, what, command, data, overrides)
  local handler = self.subject.module.decide[command]
  local state = value.copy(self.now_state)
  local count, results = report.call(
    what,
    handler,
    state,
    value.copy(data),
    context(self, overrides)
  )
  local changes = report.differences(self.now_state, state)
  if #changes > 0 then
    report.fail(
      what
        .. " changes its state: decide only says what happened, evolve changes the state",
      "  " .. report.place(handler),
      unpack(changes)
    )
  end
  return outcome_of(self, what, report.place(handler), count, results)
end

local function plain(outcome)
  if outcome.kind == "rejected" then
    return { reason = outcome.reason, details = outcome.details }
  end
  local list = value.array {}
  for i, e in ipairs(outcome.events) do
    list[i] = { type = e.type, data = e.data, metadata = e.metadata }
  end
  return list
end

--- A command comes in. Several may follow each other; what is expected after
--- one is what it decided.
---@param command string
---@param data? table
---@param overrides? { now?: integer, metadata?: table, seed?: integer, id?: string }
---@return aether.scenario.aggregate self
function scenario:when(command, data, overrides)
  local module = self.subject.module
  data, overrides = data or {}, overrides or {}
  if not module.decide[command] then
    report.fail(
      ("%s decides no command %s%s"):format(
        self.subject.name,
        value.show(command, 60),
        nearest.hint(command, module.decide)
      )
    )
  elseif
    type(data) ~= "table"
    or value.is_array(data)
    or data == value.null
  then
    report.fail(
      ("when: the data of %s must be a map; got %s"):format(
        command,
        value.show(data, 80)
      )
    )
  end
  for _, key in ipairs(value.keys(overrides)) do
    if not OVERRIDES[key] then
      report.fail(
        ("when: there is no %s to set%s"):format(
          value.show(key),
          nearest.hint(key, OVERRIDES)
        )
      )
    end
  end
  self.id = overrides.id or self.id
  self.title = self.subject.name
    .. ": "
    .. command
    .. " "
    .. value.show(data, 200)
  local described = module.schema and module.schema[command]
  if described then
    local ok, path, expected, got = schema.check(described, data)
    if not ok then
      self.outcome =
        { kind = "invalid", path = path, expected = expected, got = got }
      return self
    end
  end
  local what = "decide." .. command
  local outcome = decide_once(self, what, command, data, overrides)
  local again = decide_once(self, what, command, data, overrides)
  report.same(
    what
      .. " is not repeatable: with the same state, data and ctx it decided in two ways",
    plain(outcome),
    plain(again)
  )
  self.outcome = outcome
  for _, e in ipairs(outcome.events or {}) do
    evolve(self, e)
  end
  return self
end

local function show_event(e)
  return e.type .. " " .. value.show(e.data, 500)
end

local function rejection_line(label, reason, details)
  local text = ("  %s rejected, %s"):format(label, value.show(reason))
  return details == nil and text or text .. " " .. value.show(details, 500)
end

local function outcome_lines(outcome)
  if outcome.kind == "rejected" then
    return { rejection_line("got:     ", outcome.reason, outcome.details) }
  elseif outcome.kind == "invalid" then
    return {
      ("  got:      invalid, %s: expected %s, got %s"):format(
        outcome.path == "" and "the data" or outcome.path,
        outcome.expected,
        outcome.got
      ),
    }
  end
  local lines = {}
  for i, e in ipairs(outcome.events) do
    lines[i] = (i == 1 and "  got:      " or "            ") .. show_event(e)
  end
  return #lines > 0 and lines
    or { "  got:      accepted, and nothing happened" }
end

local function decided(self, verb)
  if not self.outcome then
    report.fail((':%s comes after :when("command", data)'):format(verb))
  end
  return self.outcome
end

local function otherwise(self, expected, differences)
  local lines = { self.title, unpack(expected) }
  for _, line in ipairs(outcome_lines(self.outcome)) do
    lines[#lines + 1] = line
  end
  if #differences > 0 then
    lines[#lines + 1] = "  where they differ:"
    for _, line in ipairs(differences) do
      lines[#lines + 1] = line
    end
  end
  report.fail(unpack(lines))
end

-- What the expected event says of metadata and revision counts; what it leaves
-- out does not.
local function event_differences(expected, got)
  local left =
    { type = expected.type, data = expected.data, metadata = expected.metadata }
  return report.differences(left, {
    type = got.type,
    data = got.data,
    metadata = expected.metadata and got.metadata or nil,
  })
end

--- The command was accepted, and exactly these events happened, in this order;
--- without any: nothing happened.
---@param ... aether.event
---@return aether.scenario.aggregate self
function scenario:expect(...)
  local outcome, wanted = decided(self, "expect"), { ... }
  if
    #wanted == 1
    and type(wanted[1]) == "table"
    and not event.is(wanted[1])
  then
    wanted = wanted[1]
  end
  local lines = {}
  for i = 1, #wanted do
    if not event.is(wanted[i]) then
      report.fail(
        (":expect wants events made by event(type, data); got %s"):format(
          value.show(wanted[i], 80)
        )
      )
    end
    lines[i] = (i == 1 and "  expected: " or "            ")
      .. show_event(wanted[i])
  end
  if #wanted == 0 then
    lines = { "  expected: accepted, and nothing happened" }
  end
  if outcome.kind ~= "accepted" or #outcome.events ~= #wanted then
    otherwise(self, lines, {})
  end
  local differences = {}
  for i = 1, #wanted do
    for _, line in ipairs(event_differences(wanted[i], outcome.events[i])) do
      differences[#differences + 1] = #wanted == 1 and line
        or ("    event %d, %s"):format(i, line:gsub("^ +", ""))
    end
  end
  if #differences > 0 then
    otherwise(self, lines, differences)
  end
  return self
end

--- The command was rejected.
---@param reason string
---@param details? any nil: not looked at
---@return aether.scenario.aggregate self
function scenario:rejected(reason, details)
  local outcome = decided(self, "rejected")
  if type(reason) ~= "string" then
    report.fail(
      (':rejected wants the reason, as in :rejected("insufficient_funds"); got %s'):format(
        value.show(reason, 60)
      )
    )
  end
  local expected = { rejection_line("expected:", reason, details) }
  if outcome.kind ~= "rejected" or outcome.reason ~= reason then
    otherwise(self, expected, {})
  end
  local differences = details ~= nil
      and report.differences(details, outcome.details)
    or {}
  if #differences > 0 then
    otherwise(self, expected, differences)
  end
  return self
end

--- The data did not fit the command's schema.
---@param path? string where, such as "items[2].price"; nil: anywhere
---@return aether.scenario.aggregate self
function scenario:invalid(path)
  local outcome = decided(self, "invalid")
  if outcome.kind ~= "invalid" or (path ~= nil and outcome.path ~= path) then
    otherwise(
      self,
      { "  expected: invalid" .. (path and ", " .. path or "") },
      {}
    )
  end
  return self
end

--- The whole state now is this one.
---@param expected table
---@return aether.scenario.aggregate self
function scenario:state(expected)
  report.same(
    ("%s: the state is another one"):format(self.subject.name),
    expected,
    self.now_state
  )
  return self
end

report.hide(debug.getinfo(1, "S").source)

return function(subject, past)
  local self = setmetatable({
    subject = subject,
    now_state = value.copy(subject.module.initial or {}),
    version = 0,
    id = "1",
    outcome = nil,
  }, scenario)
  for _, item in ipairs(past) do
    if item.actor_type and item.actor_type ~= subject.name then
      report.fail(
        ("given: a scenario of %s cannot take events of %s"):format(
          subject.name,
          item.actor_type
        )
      )
    end
    if item.actor_id then
      if self.version > 0 and item.actor_id ~= self.id then
        report.fail("given: a scenario of an aggregate is about one actor")
      end
      self.id = item.actor_id
    end
    evolve(self, item.event)
  end
  return self
end
