/* Retention in memory: commits below base snapshots go, some in each turn of
 * the loop. */
#include "base/mem.h"
#include "store/backend/memory.h"

#define AT_ONCE 2048u /* commits looked at in one turn */

typedef struct trimming {
  ae_task task;
  ae__memory *memory;
  ae_trim *trim;
  uint64_t at; /* position of the next */
} trimming;

static uint64_t base_of(const ae__memory_actor *actor) {
  const ae__memory_snapshot *snapshot = actor->snapshots;
  while (snapshot && !snapshot->base) snapshot = snapshot->next;
  return snapshot ? snapshot->version : 0;
}

static void remove_entry(ae__memory *memory, ae__entry *entry, uint64_t base) {
  ae__memory_actor *actor = entry->actor;
  ae_stats *stats = &actor->space->stats;
  stats->commits--;
  stats->events -= entry->events;
  stats->bytes -= entry->len;
  if (actor->base < base) {
    actor->base = base;
    ae__memory_snapshots_forget(actor, base);
  }
  ae__memory_record_drop(memory, entry);
}

/* False: nothing behind it is to go. */
static bool look_at(ae__memory *memory, ae_trim *trim, const ae__space *space,
                    uint64_t position) {
  if (trim->until > 0 && position > trim->until) return false;
  ae__entry *entry = ae__memory_entry(memory, position);
  if (!entry->bytes || entry->actor->space != space) return true;
  ae__memory_actor *actor = entry->actor;
  uint64_t base = base_of(actor);
  if (entry->first_version - 1 + entry->events > base) return true;
  if (actor->last == position) return true;
  bool heavy = trim->bytes > 0 && space->stats.bytes > trim->bytes;
  if (!heavy && trim->before == 0) return false;
  ae_commit commit;
  if (ae_commit_decode((ae_str){entry->bytes, entry->len}, &commit, NULL) !=
      AE_OK)
    return true; /* damaged: an operator decides */
  if (!heavy && commit.time >= trim->before) return false;
  remove_entry(memory, entry, base);
  if (actor->space->stats.trimmed < position)
    actor->space->stats.trimmed = position;
  trim->trimmed++;
  return true;
}

static void end(trimming *it, ae_status status) {
  ae_trim *trim = it->trim;
  ae_error err = {0};
  const ae__space *space = ae__memory_space_get(it->memory, trim->ns);
  trim->left = space ? space->stats.bytes : 0;
  ae_free(it);
  if (status != AE_OK) ae_error_set(&err, status, "it was ended before");
  trim->write.cb(&trim->write, status, status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
}

static void run(ae_task *task) {
  trimming *it = AE_CONTAINER(task, trimming, task);
  ae__memory *memory = it->memory;
  const ae__space *space = ae__memory_space_get(memory, it->trim->ns);
  bool more = space != NULL;
  for (unsigned n = 0; more && n < AT_ONCE; n++) {
    more = it->at <= memory->position;
    if (more) more = look_at(memory, it->trim, space, it->at++);
  }
  if (!more)
    end(it, AE_OK);
  else if ((it->trim->enough && *it->trim->enough) || memory->store.closing)
    end(it, AE_CANCELED);
  else
    ae_loop_defer(memory->store.loop, task);
}

/* Later, because a page that is being looked at points into the records. */
ae_status ae__memory_trim(ae_store *store, ae_trim *trim, ae_error *err) {
  (void)err;
  trimming *it = ae_zalloc(sizeof *it);
  it->memory = (ae__memory *)store;
  it->trim = trim;
  it->at = 1;
  it->task.run = run;
  trim->trimmed = 0;
  ae_loop_defer(store->loop, &it->task);
  return AE_OK;
}
