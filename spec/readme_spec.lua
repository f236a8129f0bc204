-- The README's five minutes and its talk over HTTP, run as they are written:
-- commands, edits, and what is shown of the output. `…` there stands for any
-- text; alone on a line, for any lines.
local http = require("spec.support.http")
local program = require("spec.support.program")

-- A section's blocks in order: { kind, text, before }, where `before` is the
-- paragraph above the block.
local function blocks(readme, section)
  local found, paragraph = {}, {}
  local inside, ended, block = false, false, nil
  for line in (readme .. "\n"):gmatch("([^\n]*)\n") do
    if block then
      if line == "```" then
        found[#found + 1] = block
        block, paragraph = nil, {}
      else
        block.lines[#block.lines + 1] = line
      end
    elseif line:match("^## ") then
      inside = line == section
    elseif inside and line:match("^```") then
      block = {
        kind = line:match("^```(%w*)"),
        lines = {},
        before = table.concat(paragraph, " "),
      }
    elseif line == "" then
      ended = true
    else
      paragraph = ended and {} or paragraph
      paragraph[#paragraph + 1], ended = line, false
    end
  end
  assert(not block, "a block of the README does not end")
  return found
end

-- `console` blocks: { command, output lines }.
local function commands(block)
  local list = {}
  for _, line in ipairs(block.lines) do
    local command = line:match("^%$ (.*)")
    if command then
      list[#list + 1] = { command = command, output = {} }
    else
      assert(list[1], "a console block that begins with no command: " .. line)
      local output = list[#list].output
      output[#output + 1] = line
    end
  end
  return list
end

local function as_pattern(line)
  return "^" .. line:gsub("%p", "%%%0"):gsub("…", ".*") .. "$"
end

-- Whether lines from `at` on match the shown ones from `from` on.
local function matches(shown, from, lines, at)
  if from > #shown then
    return at > #lines
  elseif shown[from] == "…" then
    for next_at = at, #lines + 1 do
      if matches(shown, from + 1, lines, next_at) then
        return true
      end
    end
    return false
  end
  return at <= #lines
    and lines[at]:match(as_pattern(shown[from]))
    and matches(shown, from + 1, lines, at + 1)
end

local function check_output(command, shown, output)
  local lines = {}
  for line in output:gmatch("([^\n]*)\n?") do
    lines[#lines + 1] = line
  end
  while lines[#lines] == "" do
    lines[#lines] = nil
  end
  if not matches(shown, 1, lines, 1) then
    error(
      ("$ %s\nshows in the README:\n%s\nand prints:\n%s"):format(
        command,
        table.concat(shown, "\n"),
        output
      ),
      0
    )
  end
end

-- "… to `FILE`, above … `LINE`:" puts the block above the last such line.
local function edit(folder, block)
  local names = {}
  for name in block.before:gmatch("`([^`]*)`") do
    names[#names + 1] = name
  end
  return names,
    function(file, line)
      local path = folder .. "/" .. file
      local text = "\n" .. program.read(path)
      local at, from = nil, 1
      while true do
        local found = text:find("\n" .. line .. "\n", from, true)
        if not found then
          break
        end
        at, from = found, found + 1
      end
      assert(at, ("%s has no line %q"):format(file, line))
      program.write(
        path,
        (text:sub(1, at) .. table.concat(block.lines, "\n") .. "\n" .. text:sub(
          at + 1
        )):sub(2)
      )
    end
end

describe("the README #node", function()
  local folder
  local readme = program.read("README.md")

  before_each(function()
    folder = program.folder()
  end)

  after_each(function()
    program.remove(folder)
  end)

  it("has five minutes that work as written", function()
    local bin = folder .. "/bin"
    program.run({ "mkdir", bin, folder .. "/work" })
    program.run({ "ln", "-s", program.aether, bin .. "/aether" })
    local ran, edited, last_file = 0, 0, nil
    for _, block in ipairs(blocks(readme, "## Five minutes")) do
      if block.kind == "console" then
        for _, step in ipairs(commands(block)) do
          local result = program.run({ "sh", "-c", step.command .. " 2>&1" }, {
            cwd = folder .. "/work",
            env = { PATH = bin .. ":" .. os.getenv("PATH") },
          })
          check_output(step.command, step.output, result.out)
          ran = ran + 1
        end
      else
        assert.equal("lua", block.kind)
        local names, apply = edit(folder .. "/work", block)
        local file = #names > 1 and names[1] or last_file
        apply(file, names[#names])
        last_file = file
        edited = edited + 1
      end
    end
    assert(ran >= 8 and edited >= 3, ran .. " commands, " .. edited .. " edits")
  end)

  it("talks over HTTP as written", function()
    program.run_aether({ "new", "myapp" }, { cwd = folder })
    local node, ran = nil, 0
    for _, block in ipairs(blocks(readme, "## Talk to it over HTTP")) do
      for _, step in ipairs(commands(block)) do
        if step.command == "aether -C myapp run" then
          node = http.start(folder .. "/myapp", { store = "memory" })
          local printed = node.server:out():gsub(node.port, "7070")
          check_output(step.command, step.output, printed)
        else
          local command, count =
            step.command:gsub("127%.0%.0%.1:7070", "127.0.0.1:" .. node.port)
          assert.equal(1, count, step.command)
          local result = program.run({ "sh", "-c", command .. " 2>&1" }, {
            cwd = folder,
          })
          check_output(step.command, step.output, (result.out:gsub("\r", "")))
        end
        ran = ran + 1
      end
    end
    node:stop()
    assert(ran >= 10, ran .. " commands")
  end)

  it("names commands, folders and files that are there", function()
    for path in readme:gmatch("`(%l+/[%w_/.-]+)`") do
      if
        not path:match("^myapp/")
        and not path:match("^data/")
        and not path:match("^build/")
      then
        assert(
          program.run({ "test", "-e", path }).status == 0
            or program.exists("runtime/" .. path)
            or program.run({ "test", "-e", "runtime/" .. path }).status == 0
            or program.run({ "test", "-e", "runtime/test/" .. path }).status
              == 0,
          "the README names " .. path
        )
      end
    end
    local help = program.run_aether({ "help" }).out
    for name in readme:gmatch("`aether (%l+)[ `]") do
      if name ~= "run" then
        assert(help:find("\n  " .. name .. " "), "no aether " .. name)
      end
    end
  end)
end)
