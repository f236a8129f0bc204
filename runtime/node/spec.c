#include "node/spec.h"

#include "script/script.h"

int ae_spec_run(const char *app, int argc, char **argv, ae_error *err) {
  int status = ae_script_busted(app, argc, argv, err);
  if (err->status != AE_OK) return ae_status_exit(AE_NOT_FOUND);
  /* busted's status is the number of failures. */
  return status == 0 ? 0 : ae_status_exit(AE_REJECTED);
}
