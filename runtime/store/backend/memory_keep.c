/* What operators ask of a store in memory. */
#include "store/backend/memory.h"

#include "base/mem.h"

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

/* -- delete -- */

/* Their keys begin with the actor's address. */
static void ids_drop(ae__memory *memory, const ae__space *space) {
  ae__memory_id *id;
  for (size_t at = 0; (id = ae_map_next(&memory->ids, &at));) {
    const ae__memory_actor *actor;
    memcpy(&actor, id->key, sizeof actor);
    if (actor->space != space) continue;
    ae_map_remove(&memory->ids, (ae_str){id->key, id->len});
    ae_free(id);
  }
}

/* Appends know actors by their address, so each stays where it is, empty. */
static void actors_drop(ae__memory *memory, const ae__space *space) {
  ae__memory_actor *actor;
  for (size_t at = 0; (actor = ae_map_next(&memory->actors, &at));) {
    if (actor->space != space) continue;
    ae__memory_snapshots_clear(actor);
    actor->version = actor->last = actor->base = 0;
    actor->gone = true;
  }
}

static void delete_now(ae__memory *memory, ae_delete *delete) {
  ae__space *space = ae__memory_space_get(memory, delete->ns);
  delete->commits = space ? space->stats.commits : 0;
  delete->events = space ? space->stats.events : 0;
  delete->actors = space ? space->stats.actors : 0;
  ae__memory_rows_clear(memory, delete->ns);
  if (!space) return;
  for (uint64_t position = 1; position <= memory->position; position++) {
    ae__entry *entry = ae__memory_entry(memory, position);
    if (entry->bytes && entry->actor->space == space)
      ae__memory_record_drop(memory, entry);
  }
  ids_drop(memory, space);
  actors_drop(memory, space);
  space->stats = (ae_stats){0};
}

static void delete_run(ae_task *task) {
  ae__memory *memory;
  ae_delete *delete = ae__memory_take(task, &memory);
  delete_now(memory, delete);
  delete->write.impl = NULL;
  delete->write.cb(&delete->write, AE_OK, NULL);
}

ae_status ae__memory_delete(ae_store *store, ae_delete *delete, ae_error *err) {
  (void)err;
  delete->write.impl = ae__memory_defer(store, delete, delete_run);
  return AE_OK;
}
