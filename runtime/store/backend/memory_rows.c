/* Snapshots, rows of projections, and counts, in memory. */
#include "store/backend/memory.h"

#include "base/mem.h"

/* -- requests that have no task of their own -- */

struct request {
  ae_task task;
  ae__memory *memory;
  void *of; /* the caller's struct */
};

void *ae__memory_defer(ae_store *store, void *of, void (*run)(ae_task *task)) {
  struct request *request = ae_zalloc(sizeof *request);
  request->memory = (ae__memory *)store;
  request->of = of;
  request->task.run = run;
  ae_loop_defer(store->loop, &request->task);
  return request;
}

void *ae__memory_take(ae_task *task, ae__memory **memory) {
  struct request *request = AE_CONTAINER(task, struct request, task);
  void *of = request->of;
  *memory = request->memory;
  ae_free(request);
  return of;
}

static void write_run(ae_task *task) {
  ae_write *write = AE_CONTAINER(task, ae_write, task);
  write->cb(write, AE_OK, NULL);
}

static void write_refused_run(ae_task *task) {
  ae_write *write = AE_CONTAINER(task, ae_write, task);
  ae_error *err = write->impl;
  write->impl = NULL;
  write->cb(write, err->status, err);
  ae_error_clear(err);
  ae_free(err);
}

void ae__memory_write_defer(ae_store *store, ae_write *write, ae_error *err) {
  write->impl = err;
  write->task.run = err ? write_refused_run : write_run;
  ae_loop_defer(store->loop, &write->task);
}

/* -- snapshots -- */

/* All bases stay, and the newest few of the others. */
static void snapshots_prune(ae__memory_actor *actor) {
  unsigned kept = 0;
  ae__memory_snapshot **at = &actor->snapshots;
  while (*at) {
    ae__memory_snapshot *snapshot = *at;
    if (snapshot->base || ++kept <= AE__SNAPSHOTS_KEPT) {
      at = &snapshot->next;
      continue;
    }
    *at = snapshot->next;
    ae_free(snapshot);
    actor->space->stats.snapshots--;
  }
}

void ae__memory_snapshot_put(ae__memory_actor *actor,
                             const ae_snapshot_write *given) {
  ae__memory_snapshot *made = ae_alloc(sizeof *made + given->state.len);
  *made = (ae__memory_snapshot){.version = given->version,
                                .shape = given->shape,
                                .base = given->base,
                                .len = given->state.len};
  if (made->len > 0) memcpy(made->state, given->state.ptr, made->len);
  ae__memory_snapshot **at = &actor->snapshots;
  while (*at && (*at)->version > made->version) at = &(*at)->next;
  made->next = *at;
  *at = made;
  actor->space->stats.snapshots++;
  for (at = &made->next; *at && (*at)->version == made->version;) {
    ae__memory_snapshot *old = *at;
    if (old->shape != made->shape) {
      at = &old->next;
      continue;
    }
    made->base |= old->base;
    *at = old->next;
    ae_free(old);
    actor->space->stats.snapshots--;
  }
  snapshots_prune(actor);
}

void ae__memory_snapshots_forget(ae__memory_actor *actor, uint64_t below) {
  ae__memory_snapshot **at = &actor->snapshots;
  while (*at && (*at)->version >= below) at = &(*at)->next;
  while (*at) {
    ae__memory_snapshot *old = *at;
    *at = old->next;
    ae_free(old);
    actor->space->stats.snapshots--;
  }
}

ae_status ae__memory_save_snapshot(ae_store *store, ae_snapshot_write *snapshot,
                                   ae_error *err) {
  (void)err;
  ae__memory_actor *actor =
      ae__memory_actor_get((ae__memory *)store, &snapshot->ref);
  ae_error *refused = NULL;
  if (actor && snapshot->version >= 1 && snapshot->version <= actor->version) {
    ae__memory_snapshot_put(actor, snapshot);
  } else {
    refused = ae_zalloc(sizeof *refused);
    ae__snapshot_refuse(refused, &snapshot->ref, snapshot->version);
  }
  ae__memory_write_defer(store, &snapshot->write, refused);
  return AE_OK;
}

static void load_run(ae_task *task) {
  ae__memory *memory;
  ae_snapshot_read *read = ae__memory_take(task, &memory);
  ae__memory_actor *actor = ae__memory_actor_get(memory, &read->ref);
  const ae__memory_snapshot *at = actor ? actor->snapshots : NULL;
  while (at && (at->version > read->at_most ||
                !((at->base && !read->fitting) || at->shape == read->shape)))
    at = at->next;
  read->impl = NULL;
  read->version = at ? at->version : 0;
  read->base = at && at->base;
  read->state = at ? (ae_str){at->state, at->len} : (ae_str){0};
  read->cb(read, AE_OK, NULL);
}

ae_status ae__memory_load_snapshot(ae_store *store, ae_snapshot_read *read,
                                   ae_error *err) {
  (void)err;
  read->impl = ae__memory_defer(store, read, load_run);
  return AE_OK;
}

/* -- rows: a skip list for each projection -- */

#define LEVELS 20

struct row {
  ae_str key;   /* into `bytes` */
  ae_str value; /* into `bytes` */
  unsigned levels;
  struct row **next; /* as many as levels, behind the struct */
};

struct projection { /* name: NAMESPACE/PROJECTION */
  uint64_t checkpoint;
  uint64_t random;
  struct row *first[LEVELS];
  size_t len;
  char name[];
};

static ae_str projection_name(ae_buf *buf, ae_str ns, ae_str name) {
  ae_buf_str(buf, ns);
  ae_buf_byte(buf, '/');
  ae_buf_str(buf, name);
  return ae_buf_view(buf);
}

static struct projection *projection_get(ae__memory *memory, ae_str ns,
                                         ae_str name) {
  ae_buf buf = {0};
  struct projection *found =
      ae_map_get(&memory->projections, projection_name(&buf, ns, name));
  ae_buf_clear(&buf);
  return found;
}

static struct projection *projection_make(ae__memory *memory, ae_str ns,
                                          ae_str name) {
  ae_buf buf = {0};
  ae_str full = projection_name(&buf, ns, name);
  struct projection *made = ae_zalloc(sizeof *made + full.len);
  made->random = 0x9e3779b97f4a7c15u;
  made->len = full.len;
  memcpy(made->name, full.ptr, full.len);
  ae_map_put(&memory->projections, (ae_str){made->name, made->len}, made);
  ae_buf_clear(&buf);
  return made;
}

static unsigned levels_draw(struct projection *projection) {
  projection->random ^= projection->random << 13;
  projection->random ^= projection->random >> 7;
  projection->random ^= projection->random << 17;
  unsigned levels = 1;
  for (uint64_t bits = projection->random; levels < LEVELS && (bits & 3) == 0;
       bits >>= 2)
    levels++;
  return levels;
}

static struct row *row_new(unsigned levels, ae_str key, ae_str value) {
  size_t head = sizeof(struct row) + levels * sizeof(struct row *);
  struct row *made = ae_alloc(head + key.len + value.len);
  char *bytes = (char *)made + head;
  made->levels = levels;
  made->next = (struct row **)(made + 1);
  made->key = (ae_str){bytes, key.len};
  made->value = (ae_str){bytes + key.len, value.len};
  if (key.len > 0) memcpy(bytes, key.ptr, key.len);
  memcpy(bytes + key.len, value.ptr, value.len);
  return made;
}

/* The first row not before `key`; `before`: the links that lead to it. */
static struct row *rows_seek(struct projection *projection, ae_str key,
                             struct row **before[LEVELS]) {
  struct row **links = projection->first;
  struct row *found = NULL;
  for (int level = LEVELS - 1; level >= 0; level--) {
    while (links[level] && ae_str_cmp(links[level]->key, key) < 0)
      links = links[level]->next;
    if (before) before[level] = &links[level];
    found = links[level];
  }
  return found;
}

static void row_put(struct projection *projection, const ae_row *given) {
  struct row **before[LEVELS];
  struct row *found = rows_seek(projection, given->key, before);
  if (found && ae_str_eq(found->key, given->key)) {
    for (unsigned level = 0; level < found->levels; level++)
      *before[level] = found->next[level];
    ae_free(found);
  }
  if (given->value.len == 0) return;
  struct row *made = row_new(levels_draw(projection), given->key, given->value);
  for (unsigned level = 0; level < made->levels; level++) {
    made->next[level] = *before[level];
    *before[level] = made;
  }
}

ae_status ae__memory_put_rows(ae_store *store, ae_rows_write *rows,
                              ae_error *err) {
  (void)err;
  ae__memory *memory = (ae__memory *)store;
  struct projection *projection =
      projection_get(memory, rows->ns, rows->projection);
  uint64_t checkpoint = projection ? projection->checkpoint : 0;
  ae_error *refused = NULL;
  if (checkpoint != rows->was) {
    refused = ae_zalloc(sizeof *refused);
    ae__rows_refuse(refused, rows, checkpoint);
  } else {
    if (!projection)
      projection = projection_make(memory, rows->ns, rows->projection);
    for (uint32_t i = 0; i < rows->count; i++)
      row_put(projection, &rows->rows[i]);
    projection->checkpoint = rows->checkpoint;
  }
  ae__memory_write_defer(store, &rows->write, refused);
  return AE_OK;
}

/* What changes nothing. */
ae_status ae__memory_probe(ae_store *store, ae_write *write, ae_error *err) {
  (void)err;
  ae__memory_write_defer(store, write, NULL);
  return AE_OK;
}

ae_status ae__memory_compact(ae_store *store, ae_write *write, ae_error *err) {
  return ae__memory_probe(store, write, err);
}

static bool starts_with(ae_str text, ae_str prefix) {
  return text.len >= prefix.len &&
         (prefix.len == 0 || memcmp(text.ptr, prefix.ptr, prefix.len) == 0);
}

static uint32_t rows_find(struct projection *projection,
                          const ae_rows_read *read, ae_row **out) {
  uint32_t count = 0, cap = 0;
  bool by_prefix = !read->exact && ae_str_cmp(read->prefix, read->from) > 0;
  struct row *at =
      rows_seek(projection, by_prefix ? read->prefix : read->from, NULL);
  for (; at && count < read->limit; at = at->next[0]) {
    if (read->exact && !ae_str_eq(at->key, read->from)) break;
    if (!starts_with(at->key, read->prefix)) break;
    if (read->after && ae_str_eq(at->key, read->from)) continue;
    if (count == cap) {
      cap = cap ? 2 * cap : 16;
      *out = ae_realloc(*out, cap * sizeof **out);
    }
    (*out)[count++] = (ae_row){.key = at->key, .value = at->value};
  }
  return count;
}

static void rows_run(ae_task *task) {
  ae__memory *memory;
  ae_rows_read *read = ae__memory_take(task, &memory);
  struct projection *projection =
      projection_get(memory, read->ns, read->projection);
  ae_row *rows = NULL;
  uint32_t count = projection ? rows_find(projection, read, &rows) : 0;
  read->impl = NULL;
  read->checkpoint = projection ? projection->checkpoint : 0;
  read->cb(read, AE_OK, rows, count, NULL);
  ae_free(rows);
}

ae_status ae__memory_read_rows(ae_store *store, ae_rows_read *read,
                               ae_error *err) {
  (void)err;
  read->impl = ae__memory_defer(store, read, rows_run);
  return AE_OK;
}

void ae__memory_rows_clear(ae__memory *memory, ae_str ns) {
  struct projection *projection;
  for (size_t at = 0; (projection = ae_map_next(&memory->projections, &at));) {
    ae_str name = {projection->name, projection->len};
    if (ns.ptr && !(starts_with(name, ns) && name.ptr[ns.len] == '/')) continue;
    ae_map_remove(&memory->projections, name);
    for (struct row *next, *row = projection->first[0]; row; row = next) {
      next = row->next[0];
      ae_free(row);
    }
    ae_free(projection);
  }
  if (!ns.ptr) ae_map_clear(&memory->projections);
}

/* -- counts -- */

static void stats_run(ae_task *task) {
  ae__memory *memory;
  ae_stats_read *read = ae__memory_take(task, &memory);
  ae_stats *sum = &read->stats;
  *sum = (ae_stats){0};
  ae__space *space;
  for (size_t at = 0; (space = ae_map_next(&memory->spaces, &at));) {
    if (read->ns.ptr && !ae_str_eq(read->ns, space->name)) continue;
    sum->commits += space->stats.commits;
    sum->events += space->stats.events;
    sum->actors += space->stats.actors;
    sum->snapshots += space->stats.snapshots;
    sum->bytes += space->stats.bytes;
    if (space->stats.position > sum->position)
      sum->position = space->stats.position;
    if (read->ns.ptr) sum->trimmed = space->stats.trimmed;
  }
  read->impl = NULL;
  read->cb(read, AE_OK, NULL);
}

ae_status ae__memory_stats(ae_store *store, ae_stats_read *read,
                           ae_error *err) {
  (void)err;
  read->impl = ae__memory_defer(store, read, stats_run);
  return AE_OK;
}
