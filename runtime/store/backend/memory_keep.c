/* What operators ask of a store in memory. */
#include "store/backend/memory.h"

ae_status ae__memory_copy(ae_store *store, ae_copy *copy, ae_error *err) {
  (void)store, (void)copy;
  return ae_error_set(err, AE_USAGE,
                      "a store in memory has nothing to back up: what is in it "
                      "lives as long as the process");
}

static void inspect_run(ae_task *task) {
  ae__memory *memory;
  ae_inspect *inspect = ae__memory_take(task, &memory);
  inspect->file_bytes = inspect->log_bytes = inspect->free_bytes = 0;
  inspect->unindexed = 0;
  inspect->problem = (ae_str){0};
  inspect->impl = NULL;
  inspect->cb(inspect, AE_OK, NULL);
}

ae_status ae__memory_inspect(ae_store *store, ae_inspect *inspect,
                             ae_error *err) {
  (void)err;
  inspect->impl = ae__memory_defer(store, inspect, inspect_run);
  return AE_OK;
}
