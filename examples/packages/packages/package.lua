--- The life of one Debian package, as dpkg's log tells it. The actor's id is
--- the package's name with its architecture: "libc6:amd64".
---
--- dpkg first says what it begins (install, upgrade, configure, …), then each
--- state that the package passes through. Only some states last.
local event = require("aether.event")
local schema = require("aether.schema")

local states = {
  "not-installed",
  "config-files",
  "half-installed",
  "unpacked",
  "half-configured",
  "triggers-awaited",
  "triggers-pending",
  "installed",
}

-- The event of a state that is always news in the same way.
local passing = {
  ["half-installed"] = "HalfInstalled",
  ["unpacked"] = "Unpacked",
  ["half-configured"] = "HalfConfigured",
  ["triggers-awaited"] = "TriggersAwaited",
  ["triggers-pending"] = "TriggersPending",
}

local at = schema.string { pattern = "^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$" }
local version = schema.string { min_length = 1, max_length = 1000 }
local maybe = schema.optional(version)

local package = {
  initial = { status = "not-installed", upgrades = 0 },
  snapshot = { version = 1, every = 100 },
  schema = {
    install = { at = at, from = maybe, to = version },
    upgrade = { at = at, from = maybe, to = version },
    configure = { at = at, version = maybe },
    process_triggers = { at = at, version = maybe },
    remove = { at = at, version = maybe },
    purge = { at = at, version = maybe },
    disappear = { at = at, version = maybe },
    report = { at = at, state = schema.enum(states), version = maybe },
    settle_conffile = {
      at = at,
      file = schema.string { min_length = 1 },
      decision = schema.enum { "install", "keep" },
    },
  },
}

-- ------------------------------------------------------------------ decide

local decide = {}
package.decide = decide

function decide.install(_, install)
  return event(
    "InstallStarted",
    { at = install.at, from = install.from, to = install.to }
  )
end

function decide.upgrade(_, upgrade)
  return event(
    "UpgradeStarted",
    { at = upgrade.at, from = upgrade.from, to = upgrade.to }
  )
end

function decide.configure(_, configure)
  return event(
    "ConfigureStarted",
    { at = configure.at, version = configure.version }
  )
end

function decide.process_triggers(_, triggers)
  return event(
    "TriggersStarted",
    { at = triggers.at, version = triggers.version }
  )
end

function decide.remove(_, remove)
  return event("RemoveStarted", { at = remove.at, version = remove.version })
end

function decide.purge(_, purge)
  return event("PurgeStarted", { at = purge.at, version = purge.version })
end

function decide.disappear(_, disappear)
  return event(
    "DisappearStarted",
    { at = disappear.at, version = disappear.version }
  )
end

-- What it means that dpkg calls the package installed depends on its past.
local function installed(state, report)
  local before = state.installed
  if not before then
    return event("Installed", { at = report.at, version = report.version })
  elseif before ~= report.version then
    return event(
      "Upgraded",
      { at = report.at, from = before, to = report.version }
    )
  elseif state.triggers then
    return event(
      "TriggersProcessed",
      { at = report.at, version = report.version }
    )
  end
  return event("Configured", { at = report.at, version = report.version })
end

function decide.report(state, report)
  local is_news = report.state ~= state.status
    or report.version ~= state.version
  if not is_news and not state.doing and state.at then
    return {} -- dpkg often says the same state twice
  elseif report.state == "installed" then
    return installed(state, report)
  elseif report.state == "config-files" then
    return event("Removed", { at = report.at, version = report.version })
  elseif report.state == "not-installed" then
    return event("Purged", { at = report.at, version = state.version })
  elseif not is_news and state.at then
    return {}
  end
  return event(
    passing[report.state],
    { at = report.at, version = report.version }
  )
end

function decide.settle_conffile(_, conffile)
  local kind = conffile.decision == "keep" and "ConffileKept"
    or "ConffileInstalled"
  return event(kind, { at = conffile.at, file = conffile.file })
end

-- ------------------------------------------------------------------ evolve

local evolve = {}
package.evolve = evolve

-- dpkg began something. A package of the base image is met here first.
local function begin(state, doing, started, before)
  if not state.at and before then
    state.status, state.version, state.installed = "installed", before, before
  end
  state.doing = doing
  state.at = started.at
end

function evolve.InstallStarted(state, started)
  begin(state, "install", started)
end

function evolve.UpgradeStarted(state, started)
  begin(state, "upgrade", started, started.from)
end

function evolve.ConfigureStarted(state, started)
  begin(state, "configure", started)
end

function evolve.TriggersStarted(state, started)
  begin(state, "triggers", started, started.version)
  state.triggers = true
end

function evolve.RemoveStarted(state, started)
  begin(state, "remove", started, started.version)
end

function evolve.PurgeStarted(state, started)
  begin(state, "purge", started)
end

function evolve.DisappearStarted(state, started)
  begin(state, "disappear", started, started.version)
end

local function pass(state, status, passed)
  state.status = status
  state.version = passed.version
  state.at = passed.at
end

function evolve.HalfInstalled(state, passed)
  pass(state, "half-installed", passed)
end

function evolve.Unpacked(state, passed)
  pass(state, "unpacked", passed)
end

function evolve.HalfConfigured(state, passed)
  pass(state, "half-configured", passed)
end

function evolve.TriggersAwaited(state, passed)
  pass(state, "triggers-awaited", passed)
  state.triggers = true
end

function evolve.TriggersPending(state, passed)
  pass(state, "triggers-pending", passed)
  state.triggers = true
end

-- A state that lasts: whatever dpkg was doing is done.
local function settle(state, status, version_now, settled)
  state.status = status
  state.version = version_now
  state.at = settled.at
  state.doing = nil
  state.triggers = nil
end

function evolve.Installed(state, fact)
  settle(state, "installed", fact.version, fact)
  state.installed = fact.version
end

function evolve.Configured(state, fact)
  settle(state, "installed", fact.version, fact)
end

function evolve.TriggersProcessed(state, fact)
  settle(state, "installed", fact.version, fact)
end

function evolve.Upgraded(state, upgraded)
  settle(state, "installed", upgraded.to, upgraded)
  state.installed = upgraded.to
  state.upgrades = state.upgrades + 1
end

function evolve.Removed(state, fact)
  settle(state, "config-files", fact.version, fact)
  state.installed = nil
end

function evolve.Purged(state, fact)
  settle(state, "not-installed", nil, fact)
  state.installed = nil
end

function evolve.ConffileInstalled() end

function evolve.ConffileKept() end

return package
