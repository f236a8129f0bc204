/* ctx: one userdata for all calls, which looks into the call under way. What
 * it answers depends on the call's facts and seed alone. */
#include <lauxlib.h>
#include <math.h>

#include "script/state.h"

static uint64_t mix(uint64_t *seed) { /* splitmix64 */
  uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void ae__ctx_begin(ae_script *script, ae_ctx_kind kind, uint64_t seed,
                   const ae_decide *decide) {
  script->ctx_kind = kind;
  script->decide = decide;
  script->has_metadata = false;
  for (int i = 0; i < 4; i++) script->random.state[i] = mix(&seed);
  script->random.seeded = true;
}

void ae__ctx_end(ae_script *script) {
  script->ctx_kind = AE_CTX_NONE;
}

static ae_script *check_live(lua_State *L, const char *what) {
  ae_script *script = ae__script_of(L);
  if (script->ctx_kind == AE_CTX_NONE) {
    ae__raise(L,
              "ctx.%s: ctx belongs to one call of decide; it cannot be kept, "
              "and evolve has none",
              what);
  }
  return script;
}

AE__HOST_FUNCTION(ctx_uuid) {
  ae_script *script = check_live(L, "uuid");
  if (script->ctx_kind != AE_CTX_DECIDE) {
    return ae__raise(L, "ctx.uuid: a policy has only ctx.random");
  }
  char text[37];
  ae_uuid_format(ae_uuid7_make(&script->random, script->decide->now), text);
  lua_pushlstring(L, text, 36);
  return 1;
}

/* As math.random: (), (n), (low, high). */
AE__HOST_FUNCTION(ctx_random) {
  ae_script *script = check_live(L, "random");
  if (lua_isuserdata(L, 1)) {
    return ae__raise(L, "ctx.random: call it with a dot, as in ctx.random(6)");
  }
  uint64_t bits = ae_uuid7_random(&script->random);
  if (lua_gettop(L) == 0) {
    lua_pushnumber(L, (double)(bits >> 11) * 0x1p-53);
    return 1;
  }
  double low = 1, high = luaL_checknumber(L, 1);
  if (lua_gettop(L) > 1) {
    low = high;
    high = luaL_checknumber(L, 2);
  }
  low = ceil(low);
  high = floor(high);
  if (!(low >= -AE_EXACT && high <= AE_EXACT && low <= high)) {
    return ae__raise(L, "ctx.random: there is no integer between %f and %f",
                     low, high);
  }
  uint64_t range = (uint64_t)(high - low) + 1;
  lua_pushnumber(L, low + (double)(((__uint128_t)bits * range) >> 64));
  return 1;
}

static void push_metadata(ae_script *script, lua_State *L) {
  const ae_decide *decide = script->decide;
  if (!script->has_metadata) {
    if (decide->metadata.len == 0) {
      lua_newtable(L);
    } else if (!ae__decode_all(&script->codec, L, decide->metadata,
                               "metadata")) {
      lua_pushlstring(L, script->codec.problem.ptr, script->codec.problem.len);
      ae__raise(L, "%s", lua_tostring(L, -1));
    }
    if (lua_istable(L, -1)) ae__freeze(script, L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, script->metadata_ref);
    script->has_metadata = true;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->metadata_ref);
}

/* upvalues: uuid, random */
AE__HOST_FUNCTION(ctx_index) {
  const char *key = lua_tostring(L, 2);
  if (!key) return ae__raise(L, "ctx has only named fields");
  ae_script *script = check_live(L, key);
  if (!strcmp(key, "random")) {
    lua_pushvalue(L, lua_upvalueindex(2));
    return 1;
  }
  if (script->ctx_kind == AE_CTX_POLICY) {
    return ae__raise(L, "ctx.%s: a policy's ctx has only random()", key);
  }
  const ae_decide *decide = script->decide;
  if (!strcmp(key, "now")) {
    lua_pushnumber(L, (double)decide->now);
  } else if (!strcmp(key, "uuid")) {
    lua_pushvalue(L, lua_upvalueindex(1));
  } else if (!strcmp(key, "version")) {
    lua_pushnumber(L, (double)decide->version);
  } else if (!strcmp(key, "metadata")) {
    push_metadata(script, L);
  } else if (!strcmp(key, "actor")) {
    lua_pushlstring(L, decide->ns.ptr ? decide->ns.ptr : "", decide->ns.len);
    lua_pushfstring(L, "/%s/", script->at->name);
    lua_pushlstring(L, decide->id.ptr ? decide->id.ptr : "", decide->id.len);
    lua_concat(L, 3);
  } else {
    return ae__raise(L,
                     "ctx has no field \"%s\"; it has now, uuid(), random(), "
                     "actor, version and metadata",
                     key);
  }
  return 1;
}

AE__HOST_FUNCTION(ctx_newindex) {
  return ae__raise(L, "ctx is read-only; keep what changes in state");
}

AE__HOST_FUNCTION(ctx_tostring) {
  lua_pushliteral(L, "ctx");
  return 1;
}

void ae__ctx_open(ae_script *script, lua_State *L) {
  lua_newuserdata(L, 1);
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, ctx_uuid);
  lua_pushcfunction(L, ctx_random);
  lua_pushcclosure(L, ctx_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, ctx_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, ctx_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "aether.ctx");
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  script->ctx_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
