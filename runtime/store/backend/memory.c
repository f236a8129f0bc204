/* The log in memory: append, open and close. */
#include "store/backend/memory.h"

#include <inttypes.h>

#include "base/mem.h"
#include "store/concurrency/once.h"

/* -- actors and namespaces -- */

ae__space *ae__memory_space_get(ae__memory *memory, ae_str name) {
  return ae_map_get(&memory->spaces, name);
}

static ae__space *space_make(ae__memory *memory, ae_str name) {
  ae__space *space = ae__memory_space_get(memory, name);
  if (space) return space;
  space = ae_zalloc(sizeof *space + name.len);
  memcpy(space->bytes, name.ptr, name.len);
  space->name = (ae_str){space->bytes, name.len};
  ae_map_put(&memory->spaces, space->name, space);
  return space;
}

ae__memory_actor *ae__memory_actor_get(ae__memory *memory, const ae_ref *ref) {
  ae__key key;
  ae__key_of(&key, ref);
  return ae_map_get(&memory->actors, (ae_str){key.bytes, key.len});
}

static ae__memory_actor *actor_make(ae__memory *memory, const ae__key *key,
                                    uint64_t hash) {
  ae__memory_actor *actor = ae_zalloc(sizeof *actor + key->len);
  memcpy(actor->key, key->bytes, key->len);
  actor->len = key->len;
  actor->ref = ae__key_ref((ae_str){actor->key, key->len});
  actor->space = space_make(memory, actor->ref.ns);
  actor->space->stats.actors++;
  ae_map_put_hashed(&memory->actors, (ae_str){actor->key, key->len}, hash,
                    actor);
  return actor;
}

ae__memory_actor *ae__memory_actor_make(ae__memory *memory, const ae_ref *ref) {
  ae__key key;
  ae__key_of(&key, ref);
  ae_str name = {key.bytes, key.len};
  uint64_t hash = ae_map_hash(name);
  ae__memory_actor *actor = ae_map_get_hashed(&memory->actors, name, hash);
  return actor ? actor : actor_make(memory, &key, hash);
}

void ae__memory_snapshots_clear(ae__memory_actor *actor) {
  while (actor->snapshots) {
    ae__memory_snapshot *snapshot = actor->snapshots;
    actor->snapshots = snapshot->next;
    ae_free(snapshot);
  }
}

static void actor_free(ae__memory_actor *actor) {
  ae__memory_snapshots_clear(actor);
  ae_free(actor);
}

/* -- command ids -- */

static ae_str id_key(ae_buf *buf, const ae__memory_actor *actor, ae_str id) {
  ae_buf_add(buf, &actor, sizeof actor);
  ae_buf_str(buf, id);
  return ae_buf_view(buf);
}

uint64_t ae__memory_id_get(ae__memory *memory, ae__memory_actor *actor,
                           ae_str id) {
  ae_buf buf = {0};
  ae__memory_id *held = ae_map_get(&memory->ids, id_key(&buf, actor, id));
  ae_buf_clear(&buf);
  if (held || memory->kept.count == 0) return held ? held->position : 0;
  ae__memory_kept kept = {actor, ae_hash(id)};
  ae_str key = {(const char *)&kept, sizeof kept};
  return ae_map_get(&memory->kept, key) ? UINT64_MAX : 0;
}

static void id_put(ae__memory *memory, const ae__memory_actor *actor, ae_str id,
                   uint64_t position) {
  ae__memory_id *held = ae_alloc(sizeof *held + sizeof actor + id.len);
  held->position = position;
  held->len = sizeof actor + id.len;
  memcpy(held->key, &actor, sizeof actor);
  memcpy(held->key + sizeof actor, id.ptr, id.len);
  ae_free(ae_map_put(&memory->ids, (ae_str){held->key, held->len}, held));
}

/* -- append -- */

static ae__chunk *chunk_of(const char *record) {
  return (ae__chunk *)((uintptr_t)record & ~(uintptr_t)(AE__CHUNK - 1));
}

static ae__chunk *chunk_make(ae__memory *memory, size_t record) {
  bool own = record > AE__CHUNK / 4;
  size_t size = own ? record : AE__CHUNK - sizeof(ae__chunk);
  ae__chunk *fresh = ae_aligned(AE__CHUNK, sizeof *fresh + size);
  *fresh = (ae__chunk){.size = size};
  if (own) return fresh;
  if (memory->chunk && memory->chunk->live == 0) ae_free(memory->chunk);
  return memory->chunk = fresh;
}

char *ae__memory_record_put(ae__memory *memory, ae_str record) {
  ae__chunk *chunk = memory->chunk;
  if (!chunk || chunk->size - chunk->used < record.len)
    chunk = chunk_make(memory, record.len);
  char *at = chunk->bytes + chunk->used;
  memcpy(at, record.ptr, record.len);
  chunk->used += record.len;
  chunk->live++;
  return at;
}

void ae__memory_record_drop(ae__memory *memory, ae__entry *entry) {
  ae__chunk *chunk = chunk_of(entry->bytes);
  entry->bytes = NULL;
  if (--chunk->live == 0 && chunk != memory->chunk) ae_free(chunk);
}

static uint64_t entry_put(ae__memory *memory, ae__memory_actor *actor,
                          const ae_append *append) {
  uint64_t position = ++memory->position;
  if ((position - 1) / AE__SEGMENT == memory->segment_count) {
    size_t count = memory->segment_count;
    if ((count & (count - 1)) == 0)
      memory->segments = ae_realloc(
          memory->segments, (count ? 2 * count : 1) * sizeof *memory->segments);
    memory->segments[memory->segment_count++] =
        ae_alloc(AE__SEGMENT * sizeof(ae__entry));
  }
  ae__entry *entry = ae__memory_entry(memory, position);
  entry->actor = actor;
  entry->before = actor->last;
  entry->bytes = ae__memory_record_put(memory, ae_buf_view(&append->record));
  entry->first_version = actor->version + 1;
  entry->len = (uint32_t)append->record.len;
  entry->events = append->event_count;
  actor->last = position;
  actor->version += append->event_count;
  ae_stats *stats = &actor->space->stats;
  stats->actors += actor->gone;
  actor->gone = false;
  stats->commits++;
  stats->events += append->event_count;
  stats->bytes += entry->len;
  stats->position = position;
  return position;
}

/* AE_OK: none of the record's ids is stored for the actor. */
static ae_status ids_check(ae__memory *memory, ae__memory_actor *actor,
                           ae__once *once, ae_append *append) {
  ae_str id;
  ae_status status =
      ae__once_init(once, ae_buf_view(&append->record), &append->error);
  if (status != AE_OK) return status;
  ae__once walk = *once;
  while (actor && ae__once_next(&walk, &id)) {
    append->position = ae__memory_id_get(memory, actor, id);
    if (append->position > 0) return AE_DUPLICATE;
  }
  return AE_OK;
}

static ae_status append_now(ae__memory *memory, ae_append *append) {
  ae__key key;
  uint64_t hash = 0;
  /* Actors of this store stay where they are until it closes. */
  ae__memory_actor *actor = (ae__memory_actor *)(uintptr_t)append->handle;
  if (!actor) {
    ae__key_of(&key, &append->ref);
    ae_str name = {key.bytes, key.len};
    hash = ae_map_hash(name);
    actor = ae_map_get_hashed(&memory->actors, name, hash);
  }
  append->current_version = actor ? actor->version : 0;
  append->position = 0;
  if (!ae_expected_holds(append->expected_version, append->current_version))
    return ae_conflict_set(&append->error, &append->ref,
                           append->expected_version, append->current_version, 1,
                           NULL);
  ae__once once;
  if (append->id_count > 0) {
    ae_status status = ids_check(memory, actor, &once, append);
    if (status != AE_OK) return status;
  }
  if (!actor) actor = actor_make(memory, &key, hash);
  append->handle = (uint64_t)(uintptr_t)actor;
  append->position = entry_put(memory, actor, append);
  append->current_version = actor->version;
  ae_str id;
  while (append->id_count > 0 && ae__once_next(&once, &id))
    id_put(memory, actor, id, append->position);
  return AE_OK;
}

static void answer_run(ae_task *task) {
  ae__memory *memory = AE_CONTAINER(task, ae__memory, answer);
  ae_task *next = memory->done;
  memory->done = NULL;
  memory->done_last = &memory->done;
  while (next) {
    ae_append *append = AE_CONTAINER(next, ae_append, task);
    next = next->next;
    ae__append_answer(&memory->store, append);
  }
}

/* With thousands of actors each one is a cache miss: while one is carried out,
 * those behind it are fetched. */
#define AHEAD 6

static const ae_task *fetch_ahead(const ae_task *ahead) {
  if (!ahead) return NULL;
  const ae_append *append = AE_CONTAINER(ahead, ae_append, task);
  __builtin_prefetch((const void *)(uintptr_t)append->handle, 1);
  return ahead->next;
}

static void flush(ae_store *store) {
  ae__memory *memory = (ae__memory *)store;
  ae_task *task = memory->asked;
  if (!task) return;
  if (!memory->done) ae_loop_defer(store->loop, &memory->answer);
  *memory->done_last = task;
  memory->done_last = memory->asked_last;
  memory->asked = NULL;
  memory->asked_last = &memory->asked;
  uint64_t position = memory->position;
  const ae_task *ahead = task;
  for (int n = 0; n < AHEAD; n++) ahead = fetch_ahead(ahead);
  for (; task; task = task->next) {
    ahead = fetch_ahead(ahead);
    ae_append *append = AE_CONTAINER(task, ae_append, task);
    append->status = append_now(memory, append);
  }
  if (memory->position > position) ae__memory_wake(memory);
}

static ae_status append(ae_store *store, ae_append *append, ae_error *err) {
  ae__memory *memory = (ae__memory *)store;
  (void)err;
  append->task.next = NULL;
  *memory->asked_last = &append->task;
  memory->asked_last = &append->task.next;
  if (store->corked == 0) flush(store);
  return AE_OK;
}

/* -- open and close -- */

static ae_status memory_open(ae_loop *loop, const ae_store_options *options,
                             const char *path, ae_store **out, ae_error *err) {
  if (*path != '\0')
    return ae_error_set(err, AE_USAGE,
                        "a store in memory has no file: write just \"memory\", "
                        "not \"memory:%s\"",
                        path);
  ae__memory *memory = ae_zalloc(sizeof *memory);
  memory->store.backend = &ae__memory_backend;
  memory->store.loop = loop;
  memory->store.mode = options->mode;
  memory->answer.run = answer_run;
  memory->asked_last = &memory->asked;
  memory->done_last = &memory->done;
  ae_list_init(&memory->cursors);
  ae_list_init(&memory->waiting);
  *out = &memory->store;
  return AE_OK;
}

static void memory_free(ae__memory *memory) {
  void *value;
  for (uint64_t at = 1; at <= memory->position; at++) {
    ae__entry *entry = ae__memory_entry(memory, at);
    if (entry->bytes) ae__memory_record_drop(memory, entry);
  }
  ae_free(memory->chunk);
  for (size_t i = 0; i < memory->segment_count; i++)
    ae_free(memory->segments[i]);
  ae_free(memory->segments);
  for (size_t at = 0; (value = ae_map_next(&memory->actors, &at));)
    actor_free(value);
  ae_map_clear(&memory->actors);
  for (size_t at = 0; (value = ae_map_next(&memory->ids, &at));) ae_free(value);
  ae_map_clear(&memory->ids);
  for (size_t at = 0; (value = ae_map_next(&memory->kept, &at));)
    ae_free(value);
  ae_map_clear(&memory->kept);
  for (size_t at = 0; (value = ae_map_next(&memory->spaces, &at));)
    ae_free(value);
  ae_map_clear(&memory->spaces);
  ae__memory_rows_clear(memory, (ae_str){0});
  ae_free(memory);
}

static void close_run(ae_task *task) {
  ae__memory *memory = AE_CONTAINER(task, ae__memory, close);
  void (*closed)(void *data) = memory->closed;
  void *data = memory->closed_data;
  memory_free(memory);
  closed(data);
}

/* Tasks run in the order deferred, so all that was asked before is answered
 * when the last of them runs. */
static void memory_close(ae_store *store, void (*cb)(void *data), void *data) {
  ae__memory *memory = (ae__memory *)store;
  memory->closed = cb;
  memory->closed_data = data;
  memory->close.run = close_run;
  ae__memory_cancel(memory);
  ae_loop_defer(store->loop, &memory->close);
}

const ae_backend ae__memory_backend = {
    .scheme = "memory",
    .promise = "lives as long as the process",
    .open = memory_open,
    .close = memory_close,
    .append = append,
    .flush = flush,
    .read = ae__memory_read,
    .read_more = ae__memory_read_more,
    .read_end = ae__memory_read_end,
    .scan = ae__memory_scan,
    .scan_more = ae__memory_scan_more,
    .scan_end = ae__memory_scan_end,
    .lookup = ae__memory_lookup,
    .load_snapshot = ae__memory_load_snapshot,
    .read_rows = ae__memory_read_rows,
    .stats = ae__memory_stats,
    .save_snapshot = ae__memory_save_snapshot,
    .put_rows = ae__memory_put_rows,
    .trim = ae__memory_trim,
    .probe = ae__memory_probe,
    .copy = ae__memory_copy,
    .inspect = ae__memory_inspect,
    .drop = ae__memory_delete,
    .bases = ae__memory_bases,
    .begin = ae__memory_begin,
    .mend = ae__memory_mend,
    .compact = ae__memory_compact,
};
