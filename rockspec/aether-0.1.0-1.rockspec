rockspec_format = "3.0"
package = "aether"
version = "0.1.0-1"

-- Built from a clone: `luarocks make rockspec/aether-0.1.0-1.rockspec` in it.
source = {
  url = "git+file://.",
}

description = {
  summary = "A Lua-scriptable event runtime",
  detailed = [[
    Aether runs a domain that is written as a folder of small Lua modules: commands come in,
    aggregates decide, events are stored, versioned and replayable. The rock holds the binary
    `aether` and the Lua library, with which specs of an app also run in plain LuaJIT.
  ]],
  license = "MIT",
}

supported_platforms = { "linux" }

dependencies = {
  "lua == 5.1", -- LuaJIT 2.1
}

-- The C libraries that CMakeLists.txt asks pkg-config for.
external_dependencies = {
  LUAJIT = { header = "luajit-2.1/luajit.h" },
  UV = { header = "uv.h" },
  MSGPACK = { header = "msgpack.h" },
  JSONC = { header = "json-c/json.h" },
  SQLITE = { header = "sqlite3.h" },
  XXHASH = { header = "xxhash.h" },
}

build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    AETHER_LUA_DIR = "$(LUADIR)",
    AETHER_TESTS = "OFF",
  },
  copy_directories = { "examples" },
}

test = {
  type = "busted",
}
