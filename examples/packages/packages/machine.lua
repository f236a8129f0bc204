--- The machine itself: each run of dpkg, and what its log says of no package.
local event = require("aether.event")
local schema = require("aether.schema")

local at = schema.string { pattern = "^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$" }

local machine = {
  initial = { runs = 0 },
  snapshot = { version = 1, every = 1000 },
  schema = {
    start_dpkg = {
      at = at,
      kind = schema.string { min_length = 1 },
      command = schema.string { min_length = 1 },
    },
    settle_conffile = {
      at = at,
      file = schema.string { min_length = 1 },
      decision = schema.enum { "install", "keep" },
    },
  },
}

local decide = {}
machine.decide = decide

function decide.start_dpkg(_, start)
  return event(
    "DpkgStarted",
    { at = start.at, kind = start.kind, command = start.command }
  )
end

function decide.settle_conffile(_, conffile)
  local kind = conffile.decision == "keep" and "ConffileKept"
    or "ConffileInstalled"
  return event(kind, { at = conffile.at, file = conffile.file })
end

local evolve = {}
machine.evolve = evolve

function evolve.DpkgStarted(state, started)
  state.runs = state.runs + 1
  state.at = started.at
end

function evolve.ConffileInstalled() end

function evolve.ConffileKept() end

return machine
