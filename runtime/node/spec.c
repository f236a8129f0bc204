#include "node/spec.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "script/script.h"

int ae_spec_run(const char *app, int argc, char **argv, ae_error *err) {
  int status = ae_script_busted(app, argc, argv, err);
  if (err->status != AE_OK) return ae_status_exit(AE_NOT_FOUND);
  /* busted's status is the number of failures. */
  return status == 0 ? 0 : ae_status_exit(AE_REJECTED);
}

ae_status ae_spec_ready(ae_error *err) {
  char version[] = "--version";
  char *argv[] = {version, NULL};
  fflush(stdout);
  int out = dup(STDOUT_FILENO);
  int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDOUT_FILENO);
  ae_spec_run(".", 1, argv, err);
  fflush(stdout);
  if (out >= 0) dup2(out, STDOUT_FILENO);
  if (out >= 0) close(out);
  if (nothing >= 0) close(nothing);
  return err->status;
}
