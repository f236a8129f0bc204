/* Inside loading: what its files share. */
#ifndef AE_SCRIPT_LOAD_H
#define AE_SCRIPT_LOAD_H

#include "script/state.h"

/* -- mistake.c -- */
/* Takes over `found`; tells each text once. */
void ae__report(ae_script *script, ae_error *found);
/* The line of the file that sets the last name of `key` ("snapshot.every"); 0:
 * none is found. */
int ae__line_of(const ae_module *module, ae_str key);
/* AE_CONTRACT_ERROR with file and line (0: not known) before the text. */
void ae__mistake(const ae_script *script, const ae_module *module, int line,
                 ae_str text, ae_error *out);

/* -- handler.c -- */
/* Looks up what a checked module's table (at `table`) holds. May raise. */
void ae__take(ae_module *module, lua_State *L, int table);
/* Undoes ae__take, and what a run that failed left behind. */
void ae__forget(ae_module *module);

/* -- require.c -- */
/* Work for the gate: runs the module's file unless that was done. */
void ae__load_module(ae_script *script, lua_State *L, void *module);

/* -- folder.c -- */
/* Runs and checks all modules, in a new state. */
ae_status ae__load_all(ae_script *script, ae_error *err);
/* Undoes it, as far as it is outside of the state. */
void ae__unload(ae_script *script);

/* -- policy.c -- */
/* Work for the gate: finds the policies of the standard library. */
void ae__take_policies(ae_script *script, lua_State *L, void *unused);

#endif
