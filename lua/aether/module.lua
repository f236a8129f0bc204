--- What kind of module a file returned, and whether it keeps its contract.
local aggregate = require("aether.aggregate")
local contract = require("aether.contract")
local nearest = require("aether.nearest")
local policy = require("aether.policy")
local process = require("aether.process")
local projection = require("aether.projection")
local value = require("aether.value")

local module = {}

-- The key that makes a table one of a kind.
local KINDS =
  { decide = "aggregate", project = "projection", react = "process" }
-- Keys that only make sense beside such a key.
local ALONE = {
  evolve = "decide",
  initial = "decide or react",
  snapshot = "decide",
  upcast = "decide",
  row = "project",
}

---@alias aether.kind "aggregate"|"projection"|"process"|"policy"|"library"

--- The kind of a module, from the table that it holds.
---@param t table
---@return aether.kind
function module.kind(t)
  for _, key in ipairs { "decide", "project", "react" } do
    if t[key] ~= nil then
      return KINDS[key]
    end
  end
  return type(t.retry) == "function" and "policy" or "library"
end

local function check_kinds(t, mistakes)
  local found = {}
  for _, key in ipairs { "decide", "project", "react" } do
    if t[key] ~= nil then
      found[#found + 1] = key
    end
  end
  if #found > 1 then
    contract.add(
      mistakes,
      found[2],
      "a module is of one kind, but this one has %s: split it",
      table.concat(found, " and ")
    )
  end
end

-- A library may hold anything, but not what looks like a forgotten handler.
local function check_library(t, mistakes)
  for _, key in ipairs(nearest.names(t)) do
    local near = nearest.find(key, nearest.names(KINDS))
    if near and type(t[key]) == "table" then
      contract.add(
        mistakes,
        key,
        "%q is none of the keys that make a kind of module; did you mean %q?",
        key,
        near
      )
    elseif ALONE[key] and type(t[key]) == "table" then
      contract.add(
        mistakes,
        key,
        "%s without %s: a module with it needs both",
        key,
        ALONE[key]
      )
    end
  end
end

--- The kind of what a file returned, and everything that is wrong with it.
---@param t any what the file returned
---@param name string its file's name, without ".lua"
---@return aether.kind|nil kind nil: it is no module at all
---@return aether.mistake[] mistakes empty: none
function module.check(t, name)
  if type(t) ~= "table" or t == value.null then
    local mistakes = {}
    contract.add(
      mistakes,
      nil,
      "a module's file returns a table; this one returned %s (is `return %s` missing at its end?)",
      t == nil and "nothing" or value.show(t, 60),
      tostring(name)
    )
    return nil, mistakes
  end
  local kind = module.kind(t)
  local mistakes
  if kind == "aggregate" then
    mistakes = aggregate.check(t, name)
  elseif kind == "projection" then
    mistakes = projection.check(t, name)
  elseif kind == "process" then
    mistakes = process.check(t, name)
  elseif kind == "policy" then
    mistakes = policy.check(t, name)
  else
    mistakes = {}
    check_library(t, mistakes)
  end
  check_kinds(t, mistakes)
  return kind, mistakes
end

return module
