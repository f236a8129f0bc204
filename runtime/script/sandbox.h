/* Inside the sandbox: what its files share. */
#ifndef AE_SCRIPT_SANDBOX_H
#define AE_SCRIPT_SANDBOX_H

#include <lauxlib.h>

#include "script/state.h"

#define AE_READ_ONLY "read-only" /* what getmetatable says of such a table */

/* Functions for the prelude, each list ends with NULL. */
extern const luaL_Reg ae__text_functions[];
extern const luaL_Reg ae__order_functions[];
/* Before any of them runs, while the real tostring is a global. */
void ae__text_open(lua_State *L);

#endif
