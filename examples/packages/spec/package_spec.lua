local event = require("aether.event")
local given = require("aether.scenario")("package")

local at = "2026-01-02 03:04:05"

local function report(state, version)
  return "report", { at = at, state = state, version = version }
end

local function happened(name, version)
  return event(name, { at = at, version = version })
end

describe("a package", function()
  it("is installed step by step", function()
    given()
      :when("install", { at = at, to = "1" })
      :expect(event("InstallStarted", { at = at, to = "1" }))
      :when(report("half-installed", "1"))
      :expect(happened("HalfInstalled", "1"))
      :when(report("unpacked", "1"))
      :expect(happened("Unpacked", "1"))
      :when("configure", { at = at, version = "1" })
      :expect(happened("ConfigureStarted", "1"))
      :when(report("half-configured", "1"))
      :expect(happened("HalfConfigured", "1"))
      :when(report("installed", "1"))
      :expect(happened("Installed", "1"))
      :state({
        status = "installed",
        version = "1",
        installed = "1",
        upgrades = 0,
        at = at,
      })
  end)

  it("of the base image is first met when it is upgraded", function()
    given()
      :when("upgrade", { at = at, from = "1", to = "2" })
      :when(report("half-configured", "1"))
      :when(report("unpacked", "1"))
      :when(report("half-installed", "1"))
      :when(report("unpacked", "2"))
      :expect(happened("Unpacked", "2"))
      :when(report("installed", "2"))
      :expect(event("Upgraded", { at = at, from = "1", to = "2" }))
      :state({
        status = "installed",
        version = "2",
        installed = "2",
        upgrades = 1,
        at = at,
      })
  end)

  it("of the base image is first met when its triggers run", function()
    given()
      :when("process_triggers", { at = at, version = "1" })
      :when(report("half-configured", "1"))
      :when(report("installed", "1"))
      :expect(happened("TriggersProcessed", "1"))
  end)

  it("hears the same state twice, and nothing happens", function()
    given(happened("Installed", "1")):when(report("installed", "1")):expect()
    given(happened("Unpacked", "1")):when(report("unpacked", "1")):expect()
    given(happened("Unpacked", "1"), happened("ConfigureStarted", "1"))
      :when(report("unpacked", "1"))
      :expect()
  end)

  it("waits for triggers, and takes them in", function()
    given(happened("Installed", "1"))
      :when(report("triggers-pending", "1"))
      :expect(happened("TriggersPending", "1"))
      :when(report("triggers-awaited", "1"))
      :expect(happened("TriggersAwaited", "1"))
      :when(report("installed", "1"))
      :expect(happened("TriggersProcessed", "1"))
  end)

  it("is configured again", function()
    given(happened("Installed", "1"))
      :when("configure", { at = at, version = "1" })
      :when(report("installed", "1"))
      :expect(happened("Configured", "1"))
      :state({
        status = "installed",
        version = "1",
        installed = "1",
        upgrades = 0,
        at = at,
      })
  end)

  it("is removed, purged, and comes back", function()
    given(happened("Installed", "1"))
      :when("remove", { at = at, version = "1" })
      :expect(happened("RemoveStarted", "1"))
      :when(report("config-files", "1"))
      :expect(happened("Removed", "1"))
      :state({ status = "config-files", version = "1", upgrades = 0, at = at })
      :when("purge", { at = at, version = "1" })
      :expect(happened("PurgeStarted", "1"))
      :when(report("not-installed"))
      :expect(happened("Purged", "1"))
      :state({ status = "not-installed", upgrades = 0, at = at })
      :when("install", { at = at, to = "2" })
      :when(report("installed", "2"))
      :expect(happened("Installed", "2"))
  end)

  it("disappears when another one takes all its files", function()
    given()
      :when("disappear", { at = at, version = "1" })
      :expect(happened("DisappearStarted", "1"))
      :when(report("not-installed"))
      :expect(happened("Purged", "1"))
  end)

  it("keeps or takes the settings files that come with it", function()
    given()
      :when("settle_conffile", { at = at, file = "/etc/a", decision = "keep" })
      :expect(event("ConffileKept", { at = at, file = "/etc/a" }))
      :when(
        "settle_conffile",
        { at = at, file = "/etc/a", decision = "install" }
      )
      :expect(event("ConffileInstalled", { at = at, file = "/etc/a" }))
  end)

  it("has only the states that dpkg has, at a time that is one", function()
    given():when(report("exploded", "1")):invalid("state")
    given():when("configure", { at = "today" }):invalid("at")
  end)
end)

describe("the machine", function()
  it("counts the runs of dpkg", function()
    local start = { at = at, kind = "archives", command = "unpack" }
    require("aether.scenario")("machine")()
      :when("start_dpkg", start)
      :expect(event("DpkgStarted", start))
      :state({ runs = 1, at = at })
  end)
end)
