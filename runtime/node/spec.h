/* The app's specs, run by busted inside this process. */
#ifndef AE_NODE_SPEC_H
#define AE_NODE_SPEC_H

#include "base/status.h"

/* `argv`: what goes to busted; without a file or folder among it, spec/ of
 * the app runs. The exit status: 0, 1 where a spec failed, 3 with `err` where
 * busted could not be run. */
int ae_spec_run(const char *app, int argc, char **argv, ae_error *err);
/* Whether busted can be run here; prints nothing. */
ae_status ae_spec_ready(ae_error *err);

#endif
