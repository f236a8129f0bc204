-- `aether test --watch`: the specs run again whenever a file is saved.
local program = require("spec.support.program")
local terminal = require("spec.support.terminal")

local module = [[
local event = require("aether.event")
local counter = { initial = { sum = 0 } }
counter.decide = { add = function(_, add) return event("Added", add) end }
counter.evolve = { Added = function(state, added) state.sum = state.sum + %s end }
return counter
]]

local specs = [[
local event = require("aether.event")
local given = require("aether.scenario")("counter")
it("adds", function()
  given():when("add", { n = 2 }):state({ sum = 2 })
end)
]]

local CTRL_C = "\3"
local CLEAR = "\27[H\27[2J"

describe("aether test --watch #node", function()
  local folder, running

  before_each(function()
    folder = program.folder()
    program.fill(folder, {
      ["cell/counter.lua"] = module:format("added.n"),
      ["spec/counter_spec.lua"] = specs,
    })
  end)

  after_each(function()
    if running and running.finish then
      running:finish()
    elseif running and not running.ended then
      running:kill(9)
      running:wait()
    end
    running = nil
    program.remove(folder)
  end)

  local function waits()
    return running:wait_for("waiting for a save; Ctrl-C ends")
  end

  it("runs them on each save, says what changed, and ends", function()
    running =
      terminal.start_aether({ "test", "-C", folder, "--watch", "--output=TAP" })
    local shown = waits()
    assert(shown:find("ok 1 - adds", 1, true), shown)
    assert.matches("passed.* in %d+%.%d%d s", shown)
    assert.is_nil(shown:find(CLEAR, 1, true))

    program.write(folder .. "/cell/counter.lua", module:format("7"))
    shown = waits()
    assert(shown:find(CLEAR, 1, true), shown)
    assert(shown:find("changed: cell/counter.lua", 1, true), shown)
    assert(shown:find("not ok 1 - adds", 1, true), shown)
    assert.matches("failed.* in %d+%.%d%d s", shown)

    -- As an editor that writes beside, and renames.
    program.write(folder .. "/cell/.new", module:format("added.n"))
    assert(os.rename(folder .. "/cell/.new", folder .. "/cell/counter.lua"))
    shown = waits()
    assert(shown:find("changed: cell/counter.lua", 1, true), shown)
    assert.matches("\nok 1 %- adds", shown)

    program.write(folder .. "/cell/counter.lua", "return {")
    shown = waits()
    assert(shown:find("counter.lua:1:", 1, true), shown)

    running:type(CTRL_C)
    assert.equal(0, running:wait().status)
  end)

  it("ends while specs run, and with them", function()
    local began = folder .. "/began"
    program.write(
      folder .. "/spec/counter_spec.lua",
      ("it('waits', function() io.open(%q, 'w'):close() while true do end end)"):format(
        began
      )
    )
    running = terminal.start_aether({ "test", "-C", folder, "--watch" })
    program.wait_for(function()
      return program.exists(began)
    end, "the spec's begin")
    running:type(CTRL_C)
    assert.equal(0, running:wait().status)
  end)

  it("is ended by Ctrl-C without --watch too, also in an endless loop", function()
    local began = folder .. "/began"
    program.write(folder .. "/cell/counter.lua", "while true do pcall(error) end")
    program.write(
      folder .. "/spec/counter_spec.lua",
      ("io.open(%q, 'w'):close()\n%s"):format(began, specs)
    )
    running = terminal.start_aether({ "test", "-C", folder })
    program.wait_for(function()
      return program.exists(began)
    end, "the specs' begin")
    running:type(CTRL_C)
    assert.equal(2, running:wait().signal)
    local help = program.run_aether({ "test", "--help" }).out
    assert.matches("No time limit holds here: Ctrl%-C, or a save", help)
  end)

  it("leaves specs that run for the save that comes", function()
    local began = folder .. "/began"
    program.write(
      folder .. "/spec/counter_spec.lua",
      ("it('waits', function() io.open(%q, 'w'):close() while true do end end)"):format(
        began
      )
    )
    running = program.start_aether({ "test", "--watch", "--output=TAP" }, { cwd = folder })
    program.wait_for(function()
      return program.exists(began)
    end, "the spec's begin")
    program.write(folder .. "/spec/counter_spec.lua", "it('is mended', function() end)")
    program.wait_for(function()
      return program.read(running.stdout):find("ok 1 - is mended", 1, true)
    end, "the mended spec")
    running:kill(15)
    assert.equal(0, running:wait().status)
  end)

  it("clears nothing where there is no terminal", function()
    running = program.start_aether(
      { "test", "--watch", "--output=TAP" },
      { cwd = folder }
    )
    local function told(text)
      program.wait_for(function()
        return program.read(running.stderr):find(text)
      end, text)
    end
    told("waiting for a save")
    program.write(folder .. "/cell/counter.lua", module:format("added.n * 1"))
    told("changed: cell/counter.lua\n.*waiting for a save")
    running:kill(15)
    local result = running:wait()
    assert.equal(0, result.status)
    assert.is_nil((result.out .. result.err):find("\27", 1, true))
    assert.equal(2, select(2, result.out:gsub("ok 1 %- adds", "")))
    result = program.run_aether({ "test", "-C", folder .. "/no", "--watch" })
    assert.equal(3, result.status)
    assert(result.err:find(folder .. "/no", 1, true), result.err)
  end)
end)
