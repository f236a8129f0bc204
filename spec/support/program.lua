--- Runs the built binary (or any program) as a process of its own: arguments
-- go over unchanged, output comes back whole, nothing outlives a spec.
local ffi = require("ffi")

ffi.cdef([[
  int fork(void);
  int execvp(const char *file, char *const argv[]);
  void _exit(int status);
  int wait4(int pid, int *status, int options, long *usage);
  int kill(int pid, int signal);
  int open(const char *path, int flags, ...);
  int dup2(int from, int to);
  int close(int fd);
  int chdir(const char *path);
  int setsid(void);
  int setenv(const char *name, const char *value, int overwrite);
  int unsetenv(const char *name);
  unsigned alarm(unsigned seconds);
  char *mkdtemp(char *pattern);
  char *realpath(const char *path, char *resolved);
  void free(void *pointer);
  int poll(void *fds, unsigned long count, int timeout_ms);
]])

local program = {}

local O_RDONLY, O_WRONLY, O_APPEND = 0, 1, 1024
local WNOHANG = 1

local function absolute(path)
  local resolved = ffi.C.realpath(path, nil)
  if resolved == nil then
    return path
  end
  local text = ffi.string(resolved)
  ffi.C.free(resolved)
  return text
end

--- The binary under test; AETHER names another build.
program.aether = absolute(os.getenv("AETHER") or "build/aether")
--- Under a sanitizer everything takes ten times as long: loops over random
-- places are shorter there.
program.is_slow = os.getenv("SPEC_SLOW") ~= nil
--- The repository.
program.root = absolute(".")

function program.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function program.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

function program.exists(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

--- Bytes of a file, 0 where there is none.
function program.size(path)
  local file = io.open(path, "rb")
  if not file then
    return 0
  end
  local size = file:seek("end")
  file:close()
  return size
end

--- Waits for a condition, not for a time: polls until it holds.
function program.wait_for(condition, what, seconds)
  local deadline = os.time() + (seconds or 60)
  while true do
    local value = condition()
    if value then
      return value
    end
    if os.time() > deadline then
      error("waited in vain for " .. (what or "a condition"), 2)
    end
    ffi.C.poll(nil, 0, 1)
  end
end

--- A folder of one's own; program.remove when done.
function program.folder()
  local pattern = (os.getenv("TMPDIR") or "/tmp") .. "/spec.XXXXXX"
  local buffer = ffi.new("char[?]", #pattern + 1, pattern)
  assert(ffi.C.mkdtemp(buffer) ~= nil, "mkdtemp failed")
  return ffi.string(buffer)
end

function program.remove(folder)
  program.run({ "rm", "-rf", "--", folder })
end

--- Makes files from a table: path (folders are made) to text.
function program.fill(folder, files)
  for path, text in pairs(files) do
    local below = path:match("^(.*)/")
    if below then
      program.run({ "mkdir", "-p", folder .. "/" .. below })
    end
    program.write(folder .. "/" .. path, text)
  end
end

local Process = {}
Process.__index = Process

local function exit_status(word)
  local signal = word % 128
  if signal ~= 0 then
    return nil, signal
  end
  return math.floor(word / 256) % 256
end

--- Starts a process. `argv` is a list; options: `stdin` (text) or
-- `stdin_file`, `stdout_file`, `stderr_file`, `cwd`, `env` (name to value,
-- false unsets), `session` (of its own, without a terminal), `seconds` after which it is ended (default 60).
function program.start(argv, options)
  options = options or {}
  local process = setmetatable({ folder = program.folder() }, Process)
  local stdin = options.stdin_file or "/dev/null"
  if options.stdin then
    stdin = process.folder .. "/stdin"
    program.write(stdin, options.stdin)
  end
  process.stdout = options.stdout_file or process.folder .. "/stdout"
  process.stderr = options.stderr_file or process.folder .. "/stderr"
  -- There to be read even if the process is killed before it opens them.
  assert(io.open(process.stdout, "ab")):close()
  assert(io.open(process.stderr, "ab")):close()
  local args = ffi.new("const char *[?]", #argv + 1)
  for index, argument in ipairs(argv) do
    args[index - 1] = argument
  end
  args[#argv] = nil
  io.stdout:flush()
  io.stderr:flush()
  local pid = ffi.C.fork()
  if pid == 0 then
    local function redirect(path, flags, to)
      local fd = ffi.C.open(path, flags)
      if fd < 0 or ffi.C.dup2(fd, to) < 0 then
        ffi.C._exit(126)
      end
      if fd > 2 then
        ffi.C.close(fd)
      end
    end
    redirect(stdin, O_RDONLY, 0)
    redirect(process.stdout, O_WRONLY + O_APPEND, 1)
    redirect(process.stderr, O_WRONLY + O_APPEND, 2)
    for fd = 3, 63 do
      ffi.C.close(fd)
    end
    ffi.C.unsetenv("AETHER_LONG") -- the specs' own, not settings
    ffi.C.unsetenv("AETHER_SEED")
    ffi.C.unsetenv("AETHER_NATS_SERVER")
    if options.session then
      ffi.C.setsid()
    end
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
    -- Survives exec: a program that hangs is ended by SIGALRM.
    ffi.C.alarm(options.seconds or 60)
    ffi.C.execvp(argv[1], ffi.cast("char *const *", args))
    ffi.C._exit(127)
  end
  assert(pid > 0, "fork failed")
  process.pid = pid
  return process
end

function Process:kill(signal)
  ffi.C.kill(self.pid, signal or 9)
end

-- Takes the end of the process in; false if it runs on.
local function reap(process, options)
  local word, usage = ffi.new("int[1]"), ffi.new("long[18]")
  if ffi.C.wait4(process.pid, word, options, usage) ~= process.pid then
    return false
  end
  process.ended = word[0]
  -- struct rusage: ru_utime, ru_stime, ru_maxrss
  process.cpu_ms = tonumber(usage[0] + usage[2]) * 1000
    + tonumber(usage[1] + usage[3]) / 1000
  process.peak_kb = tonumber(usage[4])
  return true
end

function Process:running()
  return not self.ended and not reap(self, WNOHANG)
end

--- Waits for the end: { status, signal, out, err, peak_kb, cpu_ms }.
function Process:wait()
  while not self.ended do
    reap(self, 0)
  end
  local status, signal = exit_status(self.ended)
  local result = {
    status = status,
    signal = signal,
    peak_kb = self.peak_kb,
    cpu_ms = self.cpu_ms,
    out = program.read(self.stdout),
    err = program.read(self.stderr),
  }
  for _, name in ipairs({ "stdin", "stdout", "stderr" }) do
    os.remove(self.folder .. "/" .. name)
  end
  os.remove(self.folder)
  return result
end

--- Runs to the end. `argv` is a list of arguments; the rest as in start.
function program.run(argv, options)
  return program.start(argv, options):wait()
end

--- Runs the binary under test with these arguments.
function program.run_aether(argv, options)
  return program.start_aether(argv, options):wait()
end

function program.start_aether(argv, options)
  local all = { program.aether }
  for _, argument in ipairs(argv) do
    all[#all + 1] = argument
  end
  return program.start(all, options)
end

--- Runs a shell script in a mount namespace of its own, so that what it mounts
-- goes away with it.
function program.in_own_mounts(script, ...)
  -- Root needs no user namespace, which a chroot does not allow.
  local how = program.run({ "unshare", "-m", "true" }).status == 0 and "-m" or "-rm"
  local result = program.run({ "unshare", how, "sh", "-euc", script, "sh", ... }, { seconds = 300 })
  assert(result.signal == nil, result.err)
  return result
end

--- run_aether in a folder (-C); it does not die of a signal.
function program.run_in(folder, argv, options)
  local result = program.run_aether({ "-C", folder, unpack(argv) }, options)
  assert(result.signal == nil, "died of a signal: " .. result.err)
  return result
end

--- The result, which is success.
function program.ok(result)
  assert(result.status == 0, result.err)
  return result
end

--- The result is this failure: its status, nothing on stdout, `part` said.
function program.failed(result, status, part)
  assert(result.status == status, result.err)
  assert(result.out == "", result.out)
  assert(result.err:find(part, 1, true), result.err)
end

return program
