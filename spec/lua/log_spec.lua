-- Runs a script in a LuaJIT of its own and returns what it wrote to stderr.
local function stderr_of(script)
  local file = os.tmpname()
  local handle = assert(io.open(file, "w"))
  handle:write('package.path = "lua/?.lua;" .. package.path\n', script)
  handle:close()
  local pipe = assert(io.popen("luajit " .. file .. " 2>&1 >/dev/null"))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(file)
  return text
end

describe("log", function()
  it("writes a line with its level and fields to stderr", function()
    assert.equal(
      'info: late actor="a-1" minutes=5\nerror: lost\n',
      stderr_of([[
        local log = require("aether.log")
        log.info("late", { minutes = 5, actor = "a-1" })
        log.error("lost")
      ]])
    )
  end)

  it("hands over to the host where there is one", function()
    assert.equal(
      "host got warn and low left=1\nhost got debug and x\n",
      stderr_of([[
        package.preload["aether.host"] = function()
          return {
            log = function(level, text)
              io.stderr:write("host got ", level, " and ", text, "\n")
            end,
          }
        end
        local log = require("aether.log")
        log.warn("low", { left = 1 })
        log.debug("x", {})
      ]])
    )
  end)

  it("raises wrong use at the caller's line", function()
    local log = require("aether.log")
    for _, case in ipairs {
      {
        nil,
        nil,
        'log.info wants a text, as in log.info("late", { minutes = 5 }); got nil',
      },
      { "late", 5, "log.info wants a table of fields second; got 5" },
    } do
      local ok, message = pcall(function()
        log.info(case[1], case[2])
      end)
      assert.is_false(ok)
      local line = debug.getinfo(1, "l").currentline - 3
      assert.is_truthy(
        message:find(("log_spec.lua:%d: "):format(line), 1, true),
        message
      )
      assert.is_truthy(message:find(case[3], 1, true), message)
    end
  end)
end)
