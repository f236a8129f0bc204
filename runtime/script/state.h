/* Inside the Lua host: one state, and the one gate through which all calls
 * into it go. */
#ifndef AE_SCRIPT_STATE_H
#define AE_SCRIPT_STATE_H

#include <lua.h>

#include "base/map.h"
#include "script/alloc.h"
#include "script/script.h"
#include "script/value.h"
#include "script/watchdog.h"

#define AE_MEMORY_DEFAULT ((size_t)64 << 20)
#define AE_MEMORY_LEAST                                 \
  ((size_t)2 << 20) /* the library itself needs about 1 \
                     */

#define AE_LOAD_TIMES 10 /* handler_ms that a module may take to load */

/* What ctx answers for; outside of these it is an error to ask. */
typedef enum ae_ctx_kind {
  AE_CTX_NONE,
  AE_CTX_DECIDE,
  AE_CTX_POLICY,
} ae_ctx_kind;

/* Work inside the protected call. It leaves by return, or by ae__fail. */
typedef void ae_work(ae_script *script, lua_State *L, void *arg);

/* A function of a module, as looked up at load. */
typedef struct ae_handler {
  int ref;  /* registry; 0: none */
  int args; /* parameters it names; many for a vararg */
  int line; /* where it is defined */
} ae_handler;

/* A policy of the standard library. */
typedef struct ae_library_policy {
  char *name;
  ae_handler retry;
} ae_library_policy;

typedef struct ae_script_command {
  char *name;
  ae_handler decide;
  int schema; /* registry; 0: none */
} ae_script_command;

/* An event type that the module evolves, projects, reacts to or upcasts. */
typedef struct ae_script_type {
  char *name;
  const void *interned; /* the name inside the state, for comparing */
  int name_ref;         /* keeps it there */
  ae_handler evolve;
  uint64_t revision;  /* the current one */
  uint64_t last_step; /* upcasters start from revisions 1 to this; 0: none */
  ae_buf head;        /* msgpack: [type, revision, … as far as the data */
} ae_script_type;

/* What a handler's call printed and logged: beyond a bound it is only counted,
 * as commands wait while it is written. */
typedef struct ae_said {
  bool bounded; /* such a call is under way */
  unsigned lines;
  size_t bytes;
  uint64_t left_lines; /* out */
  uint64_t left_bytes;
  ae_buf module, in, actor; /* of the first line that was left out */
} ae_said;

struct ae_module {
  ae_script *script;
  char *name;
  char *file;
  ae_module_kind kind;
  ae_buf source;
  int ref;                     /* registry: its table; 0 until it is loaded */
  bool started;                /* its file is running */
  const ae_module *parent;     /* that required it, while it runs */
  ae_script_command *commands; /* sorted by name */
  size_t ncommands;
  ae_script_type *types; /* sorted by name */
  size_t ntypes;
  const char **events; /* names of the types that have a handler */
  size_t nevents;
  ae_map command_map;
  ae_map type_map;
  int64_t shape;
  uint64_t every;
  char *retry;       /* NULL: not named */
  ae_handler policy; /* kind policy */
  ae_buf initial;    /* msgpack */
  /* survive the state */
  unsigned strikes; /* times in a row that it was stopped */
  int64_t since;    /* µs since 1970: quarantined; 0: it is not */
  char *cause;      /* why, where it is */
};

struct ae_script {
  lua_State *L; /* NULL: a handler was stopped, and loading again failed */
  ae_heap *heap;
  uint32_t generation; /* of L, over all scripts of the process; never 0 */
  char *ns;
  char *folder;
  bool strict;
  size_t memory;       /* bytes that a state may take */
  uint64_t handler_ns; /* CPU time that a handler may take */
  uint64_t load_ns;    /* and a module, while it is loaded */
  unsigned patience;   /* strikes in a row that quarantine a module */
  bool loading;        /* modules are being loaded */
  uint64_t stops;      /* states abandoned so far */
  ae_error down;       /* while L is NULL: why */
  uint64_t again_at;   /* then: ns, monotonic; loading is tried again */
  void (*log)(void *data, ae_log_level level, ae_str module, ae_str actor,
              ae_str text);
  void (*mistake)(void *data, const ae_error *err);
  void *data;
  char revision[17];
  ae_module **modules; /* sorted by name */
  size_t nmodules;
  ae_map module_map;
  ae_library_policy *policies;
  size_t npolicies;
  ae_codec codec;

  /* registry refs */
  int env_ref;      /* what scripts see as _G */
  int library_ref;  /* the same for aether.* */
  int loaded_ref;   /* modules by name, as require gives them */
  int getinfo_ref;  /* debug.getinfo */
  int check_ref;    /* aether.schema.check */
  int json_ref;     /* aether.schema.to_json_schema */
  int bring_ref;    /* aether.upcast.bring */
  int module_ref;   /* aether.module.check */
  int ctx_ref;      /* the one ctx */
  int metadata_ref; /* ctx.metadata of this call, or nil */
  int lists_ref;    /* the lists that modules share, a copy behind each */
  int key_type, key_data, key_metadata, key_revision; /* strings */
  const void *event_ptr;                              /* metatable of events */

  int nlists;  /* in lists_ref */
  bool shares; /* what is frozen now is shared by modules */

  /* the call under way */
  ae_work *work;
  void *arg;
  ae_error *err;
  ae_status status;    /* what ae__fail said */
  const ae_module *at; /* whose code runs, for messages */
  const char *doing;   /* "decide", …; may be NULL */
  ae_str handler;      /* its name; len 0: none */
  int line;            /* where it is defined; 0: not known */
  ae_str actor_type;   /* of the actor it is for; len 0: of none */
  ae_str actor_id;
  uintptr_t stack_limit; /* host code called from Lua does not go below it */
  ae_ctx_kind ctx_kind;
  const ae_decide *decide;
  bool has_metadata;    /* metadata_ref is this call's */
  ae_uuid7 random;      /* of ctx */
  size_t full;          /* bytes in use at which the next call collects */
  ae_buf before, after; /* strict: dumps of the state */
  ae_buf marks;         /* offsets of the events decided */
  ae_buf scratch;       /* of a sort */
  ae_said said;         /* by the call under way */
  ae_error **mistakes;  /* told already */
  size_t nmistakes;
};

/* A state with the standard library in it, and no modules; what is set by
 * options is set. On failure ae__state_close is still due. */
ae_status ae__state_open(ae_script *script, ae_error *err);
void ae__state_close(ae_script *script);
/* The state was left in the midst of something: gives back its memory without
 * looking into it. */
void ae__state_abandon(ae_script *script);

/* -- the gate -- */
/* `module`: whose code runs; may be NULL. AE_SCRIPT_TIMEOUT: it was stopped,
 * and all states of actors are gone. */
ae_status ae__run(ae_script *script, ae_module *module, ae_work *work,
                  void *arg, ae_error *err);
/* lua_call of what is the script's own: it can be stopped. The caller's frames
 * hold nothing that would have to be given back. */
void ae__call(lua_State *L, int args, int results);
/* lua_getfield of what a script made: it may have metamethods. As ae__call. */
void ae__getfield(lua_State *L, int index, const char *key);
/* Inside a call: leaves it with what ae_error_set left in script->err. Adds
 * the facts module, line and message where `line` is not negative (0: none). */
_Noreturn void ae__fail(ae_script *script, lua_State *L, ae_status status,
                        int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same with what the codec complained of. */
_Noreturn void ae__fail_value(ae_script *script, lua_State *L, int line);
/* "bank/account.lua". */
void ae__place(const ae_script *script, const ae_module *module, ae_buf *out);
/* Raises where the C stack is nearly used up: first in all host code that
 * calls back into Lua. */
void ae__guard_stack(ae_script *script, lua_State *L);
/* The script of any of its Lua threads. */
ae_script *ae__script_of(lua_State *L);

/* -- sort.c -- */
/* As qsort, and polls. `size` is a whole number of 8 bytes. */
void ae__sort(ae_script *script, void *items, size_t count, size_t size,
              int (*compare)(const void *, const void *));

/* -- pow.c -- */
/* What LuaJIT has to find as pow. */
extern double (*const ae__pow)(double x, double y);

/* -- mcode.c -- */
/* Gives back the machine code of a state that is not closed. */
void ae__mcode_free(const void *state);

/* -- stop.c -- */
/* Whether the module can be called. AE_MODULE_QUARANTINED; or why the script
 * could not be loaded again. */
ae_status ae__refused(ae_script *script, const ae_module *module,
                      ae_error *err);
static inline ae_status ae__ready(ae_script *script, const ae_module *module,
                                  ae_error *err) {
  if (script->L && (!module || !module->since || script->loading)) return AE_OK;
  return ae__refused(script, module, err);
}
/* After the call was left: says what was stopped, abandons the state, counts
 * it against the module and loads all modules anew. AE_SCRIPT_TIMEOUT. */
ae_status ae__stopped(ae_script *script, ae_module *module, ae_error *err);

/* -- call.c -- */
/* The registry's number of a state; fails where it is gone. */
int ae__ref(ae_script *script, lua_State *L, ae_state state);
/* Whether one well-formed value is a map. */
bool ae__is_map(ae_str bytes);
/* Calls the function that lies on the stack with the state, the data (and the
 * event) behind it; fails where it returns something. */
void ae__call_evolve(ae_script *script, lua_State *L,
                     const ae_script_type *type, int args);
/* Leaves the call with what the codec complained of in a state, and what to do
 * about it; names evolve where it is under way. */
_Noreturn void ae__fail_state(ae_script *script, lua_State *L, int line);
/* Which actor it was, behind what is said of the module. */
void ae__add_actor(ae_error *err, const ae_module *module, ae_str ns,
                   ae_str id);

/* -- sandbox.c, frozen.c, text.c -- */
/* Makes env_ref and library_ref. */
void ae__sandbox_open(ae_script *script, lua_State *L);
/* Makes the table at `index`, and the plain tables in it, read-only. */
void ae__freeze(ae_script *script, lua_State *L, int index);
/* Puts shared lists back as they were; true: one had been written to. */
bool ae__lists_mend(ae_script *script, lua_State *L);
/* ae__run of what a module brings: bounds what the call logs, and tells what
 * was left out of it. */
ae_status ae__run_bounded(ae_script *script, ae_module *module, ae_work *work,
                          void *arg, ae_error *err);
/* Text of the value at `index` without addresses; pushes it. */
void ae__tostring(lua_State *L, int index);

/* -- module.c, require.c, folder.c, policy.c, handler.c -- */
/* require: pushes the module. Raises. */
void ae__require(ae_script *script, lua_State *L, ae_str name, bool library);
/* A whole regular file, at most 8 MB. False with errno; `out` may have grown.
 */
bool ae__read_file(const char *path, ae_buf *out);
/* NULL, with AE_CONTRACT_ERROR in `err`: there is no such policy. `module` gets
 * the namespace's own, or NULL for the library's. */
const ae_handler *ae__policy(ae_script *script, ae_str name, ae_module **module,
                             ae_error *err);
/* A function on top of the stack, popped. */
ae_handler ae__handler(ae_script *script, lua_State *L);
ae_script_command *ae__command(const ae_module *module, ae_str name);
ae_script_type *ae__type(const ae_module *module, ae_str name);

/* -- event.c -- */
/* Pushes the data of a stored event, upcast, and finds what its type is now;
 * fails where the module cannot take it. */
ae_script_type *ae__push_data(ae_script *script, lua_State *L,
                              ae_module *module, const ae_script_event *event);
/* Pushes the event as a whole; its data is at `data` of the stack. `type` says
 * the present name and revision. */
void ae__push_event(ae_script *script, lua_State *L, const ae_module *module,
                    ae_str ns, ae_str id, const ae_script_event *event,
                    const ae_script_type *type, int data);

/* -- ctx.c -- */
void ae__ctx_open(ae_script *script, lua_State *L);
/* Makes ctx answer for this call, until ae__ctx_end or the gate is left.
 * `decide` is NULL for a policy. */
void ae__ctx_begin(ae_script *script, ae_ctx_kind kind, uint64_t seed,
                   const ae_decide *decide);
void ae__ctx_end(ae_script *script);

#endif
