--- Runs a program on a terminal of its own (a pty), as a person would: keys go
-- in, what is shown comes out.
local ffi = require("ffi")
local program = require("spec.support.program")

ffi.cdef([[
  struct spec_winsize { unsigned short row, col, x, y; };
  int forkpty(int *master, char *name, const void *termp,
              const struct spec_winsize *size);
  long read(int fd, void *bytes, size_t count);
  long write(int fd, const void *bytes, size_t count);
  struct spec_termios { unsigned iflag, oflag, cflag, lflag; char rest[64]; };
  int tcgetattr(int fd, struct spec_termios *termios);
  struct spec_pollfd { int fd; short events, revents; };
]])

local terminal = {}
local Terminal = {}
Terminal.__index = Terminal

local WNOHANG, POLLIN, READ, ICANON = 1, 1, 4096, 2

--- Starts the binary under test; options: `cwd`, `env` (name to value, false
-- unsets), `seconds` after which it is ended (default 60).
function terminal.start_aether(argv, options)
  options = options or {}
  local all = { program.aether }
  for _, argument in ipairs(argv) do
    all[#all + 1] = argument
  end
  local args = ffi.new("const char *[?]", #all + 1)
  for index, argument in ipairs(all) do
    args[index - 1] = argument
  end
  args[#all] = nil
  local master = ffi.new("int[1]")
  local size = ffi.new("struct spec_winsize", { 40, 200, 0, 0 })
  io.stdout:flush()
  io.stderr:flush()
  local pid = ffi.C.forkpty(master, nil, nil, size)
  if pid == 0 then
    for fd = 3, 63 do
      ffi.C.close(fd)
    end
    ffi.C.setenv("TERM", "xterm", 1)
    for name, value in pairs(options.env or {}) do
      if value then
        ffi.C.setenv(name, value, 1)
      else
        ffi.C.unsetenv(name)
      end
    end
    if options.cwd and ffi.C.chdir(options.cwd) ~= 0 then
      ffi.C._exit(126)
    end
    ffi.C.alarm(options.seconds or 60)
    ffi.C.execvp(all[1], ffi.cast("char *const *", args))
    ffi.C._exit(127)
  end
  assert(pid > 0, "forkpty failed")
  return setmetatable(
    { pid = pid, master = master[0], shown = "", from = 1 },
    Terminal
  )
end

-- Takes in what was shown; waits for it, but not for ever.
local function take(term)
  local poll = ffi.new("struct spec_pollfd[1]", { { term.master, POLLIN, 0 } })
  ffi.C.poll(poll, 1, 50)
  if poll[0].revents == 0 then
    return true
  end
  local bytes = ffi.new("char[?]", READ)
  local count = tonumber(ffi.C.read(term.master, bytes, READ))
  if count <= 0 then
    return false -- nobody has the other end any more
  end
  term.shown = term.shown .. ffi.string(bytes, count)
  return true
end

--- Keys, as the terminal sends them.
function Terminal:type(keys)
  assert(ffi.C.write(self.master, keys, #keys) == #keys)
end

--- Waits until a text is shown behind what was waited for before, and returns
-- what was shown since then.
function Terminal:wait_for(text)
  local deadline = os.time() + 60
  while true do
    local first, last = self.shown:find(text, self.from, true)
    if first then
      local since = self.shown:sub(self.from, last)
      self.from = last + 1
      return since
    end
    if not take(self) or os.time() > deadline then
      error(
        ("waited in vain for %q; shown: %q"):format(
          text,
          self.shown:sub(self.from)
        ),
        2
      )
    end
  end
end

--- Waits for a prompt, and until the program takes single keys: what comes
-- before, the terminal itself still edits.
function Terminal:wait_for_prompt(text)
  self:wait_for(text)
  local termios = ffi.new("struct spec_termios")
  program.wait_for(function()
    assert(ffi.C.tcgetattr(self.master, termios) == 0)
    return require("bit").band(termios.lflag, ICANON) == 0
  end, "single keys")
end

--- Waits for the end: { status, signal, shown }.
function Terminal:wait()
  local word = ffi.new("int[1]")
  while ffi.C.wait4(self.pid, word, WNOHANG, nil) ~= self.pid do
    take(self)
  end
  while take(self) and self.shown:sub(self.from) ~= "" do
    self.from = #self.shown + 1
  end
  ffi.C.close(self.master)
  self.ended = true
  local signal = word[0] % 128
  return {
    status = signal == 0 and math.floor(word[0] / 256) % 256 or nil,
    signal = signal ~= 0 and signal or nil,
    shown = self.shown,
  }
end

--- For after_each: nothing outlives a spec.
function Terminal:finish()
  if not self.ended then
    ffi.C.kill(self.pid, 9)
    self:wait()
  end
end

return terminal
