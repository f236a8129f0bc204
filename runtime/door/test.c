/* `aether test`. */
#include "door/subcommand.h"
#include "door/terminal.h"
#include "node/spec.h"

int ae__test_run(const ae__args *args) {
  ae_error err = {0};
  int exit =
      ae_spec_run(args->app ? args->app : ".", args->count, args->rest, &err);
  if (err.status != AE_OK) ae__complain(args, &err);
  ae_error_clear(&err);
  return exit;
}
