-- Whatever the library offers is annotated, so that editors complete it.
local lfs = require("lfs")

local function lines_of(file)
  local lines = {}
  for line in io.lines(file) do
    lines[#lines + 1] = line
  end
  return lines
end

-- The annotation that stands right above a line.
local function annotation(lines, at)
  local found = {}
  at = at - 1
  while lines[at] and lines[at]:match("^%-%-%-") do
    table.insert(found, 1, lines[at])
    at = at - 1
  end
  return found
end

local function parameters(text)
  local names = {}
  for name in text:gmatch("[%w_]+") do
    names[#names + 1] = name
  end
  return names
end

describe("the library's documentation", function()
  local files, functions = 0, 0

  for file in lfs.dir("lua/aether") do
    if file:match("%.lua$") then
      files = files + 1
      it("covers " .. file, function()
        local lines = lines_of("lua/aether/" .. file)
        assert.matches(
          "^%-%-%- ",
          lines[1],
          "the first line says what the file is"
        )
        for at, line in ipairs(lines) do
          local module, name, arguments =
            line:match("^function ([%w_]+)[.:]([%w_]+)%((.-)%)?$")
          local is_public = module
            and not lines[1]:match("used by")
            and module ~= "checks"
            and module ~= "json"
          if is_public then
            functions = functions + 1
            local above = annotation(lines, at)
            local place = ("%s:%d: %s"):format(file, at, name)
            assert.is_truthy(
              above[1] and above[1]:match("^%-%-%- %S"),
              place .. " says what it does"
            )
            local text = table.concat(above, "\n")
            for _, parameter in ipairs(parameters(arguments)) do
              assert.is_truthy(
                text:find("@param " .. parameter .. "%f[^%w_]"),
                place .. " describes " .. parameter
              )
            end
          end
        end
      end)
    end
  end

  it("looked at something", function()
    assert.is_true(files > 15)
    assert.is_true(functions > 40)
  end)
end)
