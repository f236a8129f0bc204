/* Commits that cannot be read give way, in memory: for tests, mostly. */
#include "base/mem.h"
#include "store/backend/memory.h"

/* An entry's record leaves its place in the counts. */
static void leave(ae__memory *memory, ae__entry *entry) {
  ae_stats *stats = &entry->actor->space->stats;
  if (!entry->bytes) return;
  stats->commits--;
  stats->events -= entry->events;
  stats->bytes -= entry->len;
  ae__memory_record_drop(memory, entry);
}

/* Ids of commits behind `after` and before `until` lead to `to`; 0: they are
 * free again. */
static void ids_lead(ae__memory *memory, const ae__memory_actor *actor,
                     const ae_mend *mend, uint64_t to) {
  ae__memory_id *id;
  uint64_t until = mend->until ? mend->until : UINT64_MAX;
  for (size_t at = 0; (id = ae_map_next(&memory->ids, &at));) {
    const ae__memory_actor *its;
    memcpy(&its, id->key, sizeof its);
    if (its != actor || id->position <= mend->after || id->position >= until)
      continue;
    id->position = to;
    if (to > 0) continue;
    ae_map_remove(&memory->ids, (ae_str){id->key, id->len});
    ae_free(id);
  }
}

static void snapshots_drop(ae__memory_actor *actor, const ae_mend *mend) {
  bool all = mend->record.len == 0;
  for (ae__memory_snapshot **at = &actor->snapshots; *at;) {
    ae__memory_snapshot *snapshot = *at;
    if (snapshot->version <= mend->version || (snapshot->base && !all)) {
      at = &snapshot->next;
      continue;
    }
    *at = snapshot->next;
    ae_free(snapshot);
    actor->space->stats.snapshots--;
  }
}

static void put(ae__memory *memory, ae__memory_actor *actor,
                const ae_mend *mend, uint64_t position) {
  ae__entry *entry = ae__memory_entry(memory, position);
  entry->actor = actor;
  entry->before = mend->after;
  entry->bytes = ae__memory_record_put(memory, mend->record);
  entry->first_version = mend->version + 1;
  entry->len = (uint32_t)mend->record.len;
  entry->events = mend->event_count;
  ae_stats *stats = &actor->space->stats;
  stats->commits++;
  stats->events += mend->event_count;
  stats->bytes += mend->record.len;
}

static uint64_t last_of(ae__memory *memory, const ae__space *space) {
  uint64_t at = memory->position;
  while (at > 0) {
    const ae__entry *entry = ae__memory_entry(memory, at);
    if (entry->bytes && entry->actor->space == space) break;
    at--;
  }
  return at;
}

static ae_status mend_now(ae__memory *memory, ae_mend *mend, ae_error *err) {
  ae__memory_actor *actor = ae__memory_actor_get(memory, &mend->ref);
  uint64_t top = 0, behind = 0;
  mend->removed = mend->position = 0;
  if (!actor || actor->version != mend->latest)
    return ae__mend_refuse(err, mend, actor ? actor->version : 0);
  for (uint64_t at = actor->last, before; at > mend->after; at = before) {
    ae__entry *entry = ae__memory_entry(memory, at);
    before = entry->before;
    if (mend->until > 0 && at >= mend->until) {
      behind = at;
      continue;
    }
    if (top == 0) top = at;
    mend->removed += entry->bytes != NULL;
    leave(memory, entry);
  }
  if (mend->record.len > 0 && top == 0)
    return ae_error_set(err, AE_STORE_FULL, "there is no position between");
  ids_lead(memory, actor, mend, mend->record.len > 0 ? top : 0);
  snapshots_drop(actor, mend);
  uint64_t now = mend->after;
  if (mend->record.len > 0) {
    put(memory, actor, mend, top);
    now = mend->position = top;
  }
  if (behind > 0) {
    ae__memory_entry(memory, behind)->before = now;
  } else {
    actor->last = now;
    actor->version = mend->version + mend->event_count;
    actor->space->stats.position = last_of(memory, actor->space);
  }
  if (actor->version == 0 && actor->last == 0 && !actor->gone) {
    actor->gone = true;
    actor->space->stats.actors--;
  }
  return AE_OK;
}

static void mend_run(ae_task *task) {
  ae__memory *memory;
  ae_mend *mend = ae__memory_take(task, &memory);
  ae_error err = {0};
  ae_status status = mend_now(memory, mend, &err);
  mend->write.impl = NULL;
  mend->write.cb(&mend->write, status, status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
}

/* Later, because a page that is being looked at points into the records. */
ae_status ae__memory_mend(ae_store *store, ae_mend *mend, ae_error *err) {
  (void)err;
  mend->write.impl = ae__memory_defer(store, mend, mend_run);
  return AE_OK;
}
