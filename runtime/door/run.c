/* `aether run`. */
#include "door/serve.h"

int ae__run_run(const ae__args *args) {
  return ae__serve_run(args, &(ae__serve_options){0});
}
