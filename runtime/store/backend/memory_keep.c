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

static void kept_drop(ae__memory *memory, const ae__space *space) {
  ae__memory_kept *kept;
  for (size_t at = 0; (kept = ae_map_next(&memory->kept, &at));) {
    if (kept->actor->space != space) continue;
    ae_map_remove(&memory->kept, (ae_str){(const char *)kept, sizeof *kept});
    ae_free(kept);
  }
}

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
  kept_drop(memory, space);
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

/* -- bases -- */

struct listed {
  ae_base *bases;
  uint32_t count, cap;
  ae_buf ids; /* uint64_t each, of all, in the order of the bases */
};

static ae_base *listed_next(struct listed *listed) {
  if (listed->count == listed->cap) {
    listed->cap = listed->cap ? 2 * listed->cap : 64;
    listed->bases =
        ae_realloc(listed->bases, listed->cap * sizeof *listed->bases);
  }
  return &listed->bases[listed->count++];
}

/* Its commit is trimmed, or lies below the base. */
static bool is_left_over(ae__memory *memory, const ae__memory_actor *actor,
                         uint64_t position) {
  const ae__entry *entry = ae__memory_entry(memory, position);
  return !entry->bytes || entry->first_version <= actor->base;
}

static void ids_list(ae__memory *memory, const ae__memory_actor *actor,
                     struct listed *listed, ae_base *base) {
  ae__memory_id *id;
  ae__memory_kept *kept;
  for (size_t at = 0; (id = ae_map_next(&memory->ids, &at));) {
    const ae__memory_actor *its;
    memcpy(&its, id->key, sizeof its);
    if (its != actor || !is_left_over(memory, actor, id->position)) continue;
    uint64_t hash =
        ae_hash((ae_str){id->key + sizeof its, id->len - sizeof its});
    ae_buf_add(&listed->ids, &hash, sizeof hash);
    base->id_count++;
  }
  for (size_t at = 0; (kept = ae_map_next(&memory->kept, &at));) {
    if (kept->actor != actor) continue;
    ae_buf_add(&listed->ids, &kept->hash, sizeof kept->hash);
    base->id_count++;
  }
}

static void bases_of(ae__memory *memory, const ae__memory_actor *actor,
                     struct listed *listed) {
  for (const ae__memory_snapshot *at = actor->snapshots; at; at = at->next) {
    if (!at->base) continue;
    ae_base *base = listed_next(listed);
    *base = (ae_base){.ref = actor->ref,
                      .version = at->version,
                      .shape = at->shape,
                      .state = {at->state, at->len},
                      .begins = at->version == actor->base};
    if (base->begins) ids_list(memory, actor, listed, base);
  }
}

static void bases_run(ae_task *task) {
  ae__memory *memory;
  ae_bases_read *read = ae__memory_take(task, &memory);
  struct listed listed = {0};
  ae__memory_actor *actor;
  for (size_t at = 0; (actor = ae_map_next(&memory->actors, &at));)
    if (ae_str_eq(actor->ref.ns, read->ns)) bases_of(memory, actor, &listed);
  const uint64_t *ids = (const uint64_t *)(const void *)listed.ids.ptr;
  for (uint32_t i = 0; i < listed.count; i++) {
    listed.bases[i].ids = ids;
    if (ids) ids += listed.bases[i].id_count;
  }
  read->impl = NULL;
  read->next = 0;
  read->cb(read, AE_OK, listed.bases, listed.count, NULL);
  ae_free(listed.bases);
  ae_buf_clear(&listed.ids);
}

ae_status ae__memory_bases(ae_store *store, ae_bases_read *read,
                           ae_error *err) {
  (void)err;
  read->impl = ae__memory_defer(store, read, bases_run);
  return AE_OK;
}

/* -- begin -- */

static bool begun(const ae__memory_actor *actor, const ae_base *base) {
  const ae__memory_snapshot *at = actor->snapshots;
  while (at && !(at->base && at->version == base->version)) at = at->next;
  if (!at || actor->base != base->version) return false;
  return base->state.len == 0 ||
         ae_str_eq((ae_str){at->state, at->len}, base->state);
}

static bool begin_now(ae__memory *memory, const ae_base *base,
                      uint64_t *version) {
  ae__memory_actor *actor = ae__memory_actor_get(memory, &base->ref);
  bool fresh = !actor || actor->gone;
  *version = actor ? actor->version : 0;
  if (fresh ? base->state.len == 0 : !begun(actor, base)) return false;
  if (fresh) {
    actor = ae__memory_actor_make(memory, &base->ref);
    actor->space->stats.actors += actor->gone;
    actor->gone = false;
    actor->version = actor->base = base->version;
    ae__memory_snapshot_put(actor,
                            &(ae_snapshot_write){.version = base->version,
                                                 .shape = base->shape,
                                                 .state = base->state,
                                                 .base = true});
  }
  for (uint32_t i = 0; i < base->id_count; i++) {
    ae__memory_kept *kept = ae_zalloc(sizeof *kept);
    *kept = (ae__memory_kept){actor, base->ids[i]};
    ae_free(ae_map_put(&memory->kept,
                       (ae_str){(const char *)kept, sizeof *kept}, kept));
  }
  return true;
}

ae_status ae__memory_begin(ae_store *store, ae_begin *begin, ae_error *err) {
  (void)err;
  uint64_t version;
  ae_error *refused = NULL;
  if (!begin_now((ae__memory *)store, &begin->base, &version)) {
    refused = ae_zalloc(sizeof *refused);
    ae__begin_refuse(refused, &begin->base, version);
  }
  ae__memory_write_defer(store, &begin->write, refused);
  return AE_OK;
}
