--- A small app of counters, and what store specs do with it: run commands,
-- parse outcomes, compare what was printed with what is stored.
local json = require("dkjson")
local program = require("spec.support.program")

local counter = {}

local module = [[
local event = require("aether.event")
local counter = { initial = { count = 0, sum = 0 } }
local decide = {}
counter.decide = decide
function decide.add(_, add)
  return event("Added", { n = add.n, text = add.text })
end
function decide.refuse(state)
  return nil, "refused", { count = state.count }
end
local evolve = {}
counter.evolve = evolve
function evolve.Added(state, added)
  state.count = state.count + 1
  state.sum = state.sum + added.n
end
return counter
]]

--- Fills a folder with the app.
function counter.app(folder)
  program.fill(folder, {
    ["aether.lua"] = 'return { store = "sqlite:data/events.db" }\n',
    ["cell/counter.lua"] = module,
  })
end

-- dkjson takes a table with a field `n` for an array.
local object = {}
function object.__tojson(fields)
  local parts = {}
  for key, value in pairs(fields) do
    parts[#parts + 1] = json.encode(key) .. ":" .. json.encode(value)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- One NDJSON line: adds `n` to counter `name`, under an id where given.
function counter.add(name, n, id, more)
  local command = {
    actor = "cell/counter/" .. name,
    command = "add",
    data = { n = n },
    id = id,
  }
  for key, value in pairs(more or {}) do
    command[key] = value
  end
  if type(command.data) == "table" then
    command.data = setmetatable(command.data, object)
  end
  return json.encode(command)
end

--- `count` commands over `actors` counters, with ids.
function counter.lines(count, actors, prefix)
  local lines = {}
  for index = 1, count do
    lines[index] = counter.add(
      "c" .. index % actors,
      index,
      ("%s-%d"):format(prefix or "id", index)
    )
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Documents of an NDJSON text; a last line that was cut off is left out.
function counter.documents(text)
  local documents = {}
  for line in text:gmatch("([^\n]*)\n") do
    local document, _, problem = json.decode(line)
    if not document then
      error(("no JSON: %s: %q"):format(tostring(problem), line:sub(1, 200)), 2)
    end
    documents[#documents + 1] = document
  end
  return documents
end

--- Runs `aether exec`; the result also has `outcomes`.
function counter.exec(folder, store, lines, options)
  options = options or {}
  options.stdin = lines
  local result =
    program.run_aether({ "-C", folder, "exec", "--store", store, "-" }, options)
  result.outcomes = counter.documents(result.out)
  return result
end

--- Stored events, as printed.
function counter.events(folder, store, of, options)
  local result = program.run_aether(
    { "-C", folder, "events", of or "cell", "--store", store, "--json" },
    options
  )
  result.events = counter.documents(result.out)
  return result
end

--- Asserts that versions of each actor are 1, 2, 3 …; returns events by actor
-- and version.
function counter.by_version(events)
  local actors = {}
  for _, event in ipairs(events) do
    local versions = actors[event.actor_id] or {}
    actors[event.actor_id] = versions
    versions[#versions + 1] = event
    if event.version ~= #versions then
      error(
        ("%s: version %s where %d should be"):format(
          event.actor_id,
          tostring(event.version),
          #versions
        ),
        2
      )
    end
  end
  return actors
end

return counter
