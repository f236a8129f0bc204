--- Scenarios of processes.
local command = require("aether.command")
local events = require("aether.scenario_events")
local report = require("aether.report")
local value = require("aether.value")

---@class aether.scenario.process
local scenario = {}
scenario.__index = scenario

-- react answers commands, one by one or as a list.
local function commands_of(name, handler, count, results)
  local list = results
  if
    count == 1
    and type(results[1]) == "table"
    and not command.is(results[1])
  then
    list, count = results[1], #results[1]
  elseif count == 1 and results[1] == nil then
    count = 0
  end
  local commands = {}
  for i = 1, count do
    if not command.is(list[i]) then
      report.fail(
        ("react.%s returned %s"):format(name, value.show(list[i], 80)),
        ("  %s: return what command(type, id, name, data) makes, or nothing"):format(
          report.place(handler)
        )
      )
    end
    local ok, path, problem = value.check(list[i].data)
    if not ok then
      report.fail(
        ("react.%s sends %s, whose data cannot be stored"):format(
          name,
          list[i].name
        ),
        ("  %s: data%s %s"):format(
          report.place(handler),
          path == "" and "" or "." .. path,
          problem
        )
      )
    end
    commands[i] = list[i]
  end
  return commands
end

local function plain(commands)
  local list = value.array {}
  for i, c in ipairs(commands) do
    list[i] = {
      actor_type = c.actor_type,
      actor_id = c.actor_id,
      name = c.name,
      data = c.data,
      metadata = c.metadata,
    }
  end
  return list
end

local function react_once(name, handler, state, data, e)
  local answer =
    { state = value.copy(state), later = value.array {}, finished = false }
  local count, results =
    report.call("react." .. name, handler, answer.state, value.copy(data), {
      event = value.copy(e),
      after = function(duration, later)
        if
          type(duration) ~= "number"
          or duration < 0
          or not command.is(later)
        then
          error("ctx.after wants milliseconds and a command", 2)
        end
        answer.later[#answer.later + 1] =
          { after = duration, command = plain({ later })[1] }
      end,
      finish = function()
        answer.finished = true
      end,
    })
  answer.commands = commands_of(name, handler, count, results)
  local ok, path, problem = value.check(answer.state)
  if not ok then
    report.fail(
      ("react.%s left a state that cannot be stored"):format(name),
      ("  state%s %s"):format(path == "" and "" or "." .. path, problem)
    )
  end
  return answer
end

local function react(self, name, handler, data, e)
  local state = self.states[self.key] or self.subject.module.initial or {}
  local answer = react_once(name, handler, state, data, e)
  local again = react_once(name, handler, state, data, e)
  report.same(
    ("react.%s is not repeatable: the same event was answered in two ways"):format(
      name
    ),
    {
      commands = plain(answer.commands),
      state = answer.state,
      later = answer.later,
    },
    {
      commands = plain(again.commands),
      state = again.state,
      later = again.later,
    }
  )
  self.states[self.key] = not answer.finished and answer.state or nil
  self.sent, self.later, self.is_finished =
    answer.commands, answer.later, answer.finished
end

local function take(self, e)
  local module = self.subject.module
  self.sent, self.later = {}, {}
  local handler, name = events.handler(module.react, e)
  if not handler or not events.is_from(module.from, e.actor_type) then
    return
  end
  local key = e.actor_id
  if module.key then
    local _, results = report.call("key", module.key, value.copy(e))
    key = results[1]
    if key == nil then
      return
    elseif type(key) ~= "string" then
      report.fail(
        "key must return a text or nil",
        ("  %s: it returned %s"):format(
          report.place(module.key),
          value.show(key, 60)
        )
      )
    end
  end
  self.key = key
  react(self, name, handler, e.data, e)
end

local function answer_to(self, name, problem)
  local handler = self.subject.module.react[name]
  if not handler then
    report.fail(("%s has no react.%s"):format(self.subject.name, name))
  elseif not self.key then
    report.fail(
      (":when_%s comes after an event that the process reacted to"):format(name)
    )
  end
  react(self, name, handler, problem, self.last)
  return self
end

--- A command that the last answer sent was rejected.
---@param rejection { command: aether.command, error: table, position?: integer }
---@return aether.scenario.process self
function scenario:when_rejected(rejection)
  return (answer_to(self, "rejected", rejection))
end

--- A command that the last answer sent could not be done at all.
---@param failure { command: aether.command, error: table, position?: integer }
---@return aether.scenario.process self
function scenario:when_failed(failure)
  return (answer_to(self, "failed", failure))
end

--- The last answer sent exactly these commands, in this order; none: nothing.
---@param ... aether.command
---@return aether.scenario.process self
function scenario:sends(...)
  local wanted = { ... }
  for i = 1, select("#", ...) do
    if not command.is(wanted[i]) then
      report.fail(
        (":sends wants commands made by command(…); got %s"):format(
          value.show(wanted[i], 80)
        )
      )
    end
  end
  report.same(
    ("%s: it sends other commands"):format(self.subject.name),
    plain(wanted),
    plain(self.sent)
  )
  return self
end

--- The last answer sends this command later.
---@param duration number ms
---@param later aether.command
---@return aether.scenario.process self
function scenario:sends_after(duration, later)
  report.same(
    ("%s: it sends other commands later"):format(self.subject.name),
    value.array { { after = duration, command = plain({ later })[1] } },
    self.later
  )
  return self
end

--- The instance that the last event belonged to is done.
---@return aether.scenario.process self
function scenario:finished()
  if not self.is_finished then
    report.fail(("%s: it is not finished"):format(self.subject.name))
  end
  return self
end

--- The state of the instance that the last event belonged to.
---@param expected table
---@return aether.scenario.process self
function scenario:state(expected)
  report.same(
    ("%s: the state is another one"):format(self.subject.name),
    expected,
    self.key and self.states[self.key]
  )
  return self
end

report.hide(debug.getinfo(1, "S").source)

return function(subject, past)
  local self = setmetatable(
    { subject = subject, states = {}, sent = {}, later = {} },
    scenario
  )
  for _, e in
    ipairs(events.of(subject, past, events.first_of(subject.module.from)))
  do
    self.last = e
    take(self, e)
  end
  return self
end
