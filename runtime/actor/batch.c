/* A batch: commands of one actor, decided one after another on the state that
 * the one before it left, and stored as one commit. The states that it moves
 * its actor through are drawn in command.c. One file, longer than most: all of
 * it works on the items of a batch. */
#include "actor/internal.h"
#include "base/clock.h"

#define BATCH_COMMANDS 1024
#define BATCH_BYTES (256u << 10)
#define HEAD_ROOM (64u << 10) /* of a record, at most, besides its commands */
#define RECORD_ROOM (AE_RECORD_MAX - HEAD_ROOM)
#define COMMAND_ROOM 64 /* of a command in a record, besides its texts */

/* What was decided of one command. */
typedef struct item {
  ae_command *command;
  ae_status status;
  uint64_t version;            /* of the actor after it */
  uint32_t first;              /* its first event */
  uint32_t count;              /* its events */
  size_t reason, reason_len;   /* in batch->text: rejected */
  size_t details, details_len; /* in batch->text: rejected */
  ae_error *error;             /* other failures; owned */
} item;

struct ae__batch {
  ae_append append;
  ae__actor *actor;
  ae__batch *next;  /* in the pool */
  ae_list commands; /* not yet decided */
  item *items;
  uint32_t item_count, item_cap;
  uint32_t kept_count; /* the commit's commands, in actors->kept */
  size_t kept_bytes;   /* they take in the record, besides their events */
  size_t room;         /* for all of them in the store's record */
  ae_buf text;
  ae_buf reason, details; /* the script writes here */
  uint32_t event_count;
  uint32_t id_count;
  uint64_t base;    /* version it is decided on */
  uint32_t lookups; /* under way */
  bool stale;       /* a lookup saw another version */
  bool cut;         /* the state is spoiled */
};

typedef struct lookup {
  ae_lookup request;
  ae__batch *batch;
  ae_command *command;
} lookup;

static void decide(ae__batch *batch);

/* -- batches -- */

static ae_actors *actors_of(const ae__batch *batch) {
  return batch->actor->type->realm->actors;
}

static ae__batch *batch_take(ae__actor *actor) {
  ae_actors *actors = actor->type->realm->actors;
  ae__batch *batch = actors->pool;
  if (batch)
    actors->pool = batch->next;
  else
    batch = ae_zalloc(sizeof *batch);
  batch->actor = actor;
  ae_list_init(&batch->commands);
  actor->batch = batch;
  return batch;
}

static void buf_shrink(ae_buf *buf) {
  if (buf->cap > BATCH_BYTES)
    ae_buf_clear(buf);
  else
    ae_buf_reset(buf);
}

static void batch_done(ae__batch *batch) {
  AE_ASSERT(ae_list_empty(&batch->commands));
  AE_ASSERT_CMP(batch->lookups, ==, 0);
  ae_actors *actors = batch->actor->type->realm->actors;
  batch->actor->batch = NULL;
  for (uint32_t i = 0; i < batch->item_count; i++) {
    if (!batch->items[i].error) continue;
    ae_error_clear(batch->items[i].error);
    ae_free(batch->items[i].error);
  }
  buf_shrink(&batch->append.record);
  buf_shrink(&batch->text);
  batch->item_count = batch->kept_count = 0;
  batch->kept_bytes = 0;
  batch->event_count = batch->id_count = 0;
  batch->stale = batch->cut = false;
  batch->next = actors->pool;
  actors->pool = batch;
}

void ae__pool_free(ae__batch *pool) {
  while (pool) {
    ae__batch *batch = pool;
    pool = batch->next;
    ae_buf_clear(&batch->append.record);
    ae_buf_clear(&batch->text);
    ae_buf_clear(&batch->reason);
    ae_buf_clear(&batch->details);
    ae_free(batch->items);
    ae_free(batch);
  }
}

/* Puts `list` before what waits in the actor's queue. */

static void queue_front(ae__actor *actor, ae_list *list) {
  if (ae_list_empty(list)) return;
  ae_list *first = list->next, *last = list->prev;
  ae_list *head = &actor->queue;
  last->next = head->next;
  head->next->prev = last;
  head->next = first;
  first->prev = head;
  ae_list_init(list);
}

/* -- repeated command ids -- */

static void all_looked_up(ae__batch *batch) {
  ae__actor *actor = batch->actor;
  if (batch->stale || !ae__actor_holds(actor)) {
    queue_front(actor, &batch->commands);
    batch_done(batch);
    ae__actor_cool(actor);
    ae__actor_mark(actor);
    return;
  }
  decide(batch);
}

static void on_looked_up(ae_lookup *request, ae_status status,
                         const ae_error *err) {
  lookup *found = AE_CONTAINER(request, lookup, request);
  ae__batch *batch = found->batch;
  ae__actor *actor = batch->actor;
  ae_actors *actors = actor->type->realm->actors;
  ae_command *command = found->command;
  batch->lookups--;
  if (status != AE_OK) {
    ae_list_remove(&command->link);
    ae__answer_error(actors, actor->type, command, status, actor->version, err);
  } else if (request->position) {
    ae_list_remove(&command->link);
    ae__answer_repeated(actor, command, request->record, request->position);
  } else {
    command->marks |= AE__LOOKED;
    if (request->version != actor->version) batch->stale = true;
  }
  ae_free(found);
  if (batch->lookups == 0) all_looked_up(batch);
}

static void look_up(ae__batch *batch) {
  ae__actor *actor = batch->actor;
  ae_actors *actors = actor->type->realm->actors;
  actor->phase = AE__LOOKING;
  batch->lookups = 1; /* this loop's own */
  ae_list *next;
  for (ae_list *at = batch->commands.next; at != &batch->commands; at = next) {
    next = at->next;
    ae_command *command = ae__command_of(at);
    if (!command->id.ptr || (command->marks & AE__LOOKED)) continue;
    lookup *request = ae_zalloc(sizeof *request);
    request->batch = batch;
    request->command = command;
    request->request.ref = ae__actor_ref(actor);
    request->request.command_id = command->id;
    request->request.cb = on_looked_up;
    ae_error err = {0};
    batch->lookups++;
    ae_status status = ae_store_lookup(actors->store, &request->request, &err);
    if (status != AE_OK) {
      ae_free(request);
      batch->lookups--;
      ae_list_remove(&command->link);
      ae__answer_error(actors, actor->type, command, status, actor->version,
                       &err);
    }
    ae_error_clear(&err);
  }
  if (--batch->lookups == 0) all_looked_up(batch);
}

/* -- deciding -- */

static item *item_add(ae__batch *batch, ae_command *command) {
  if (batch->item_count == batch->item_cap) {
    batch->item_cap = batch->item_cap ? batch->item_cap * 2 : 4;
    batch->items =
        ae_realloc(batch->items, batch->item_cap * sizeof *batch->items);
  }
  item *it = &batch->items[batch->item_count++];
  *it = (item){.command = command,
               .status = AE_OK,
               .version = batch->actor->version,
               .first = batch->event_count};
  return it;
}

static void item_fail(item *it, ae_status status, ae_error *err) {
  it->status = status;
  it->error = ae_zalloc(sizeof *it->error);
  ae_error_move(it->error, err);
}

static bool is_kept(const item *it, uint32_t events) {
  return it->command->id.ptr || events > 0;
}

static void keep(ae__batch *batch, const item *it, size_t bytes) {
  const ae_command *command = it->command;
  if (!is_kept(it, it->count)) return;
  batch->kept_bytes += bytes;
  ae_actors *actors = actors_of(batch);
  if (batch->kept_count == actors->kept_cap) {
    actors->kept_cap = actors->kept_cap ? actors->kept_cap * 2 : 4;
    actors->kept =
        ae_realloc(actors->kept, actors->kept_cap * sizeof *actors->kept);
  }
  ae_commit_command *kept = &actors->kept[batch->kept_count++];
  *kept = (ae_commit_command){.events = it->count,
                              .id = command->id,
                              .digest = command->digest,
                              .metadata = command->metadata};
  if (command->id.ptr) batch->id_count++;
}

/* `kept` points into batch->text only when it no longer grows. */
static void keep_reasons(ae__batch *batch) {
  ae_commit_command *kept = actors_of(batch)->kept;
  uint32_t at = 0;
  for (uint32_t i = 0; i < batch->item_count; i++) {
    const item *it = &batch->items[i];
    bool decided = it->status == AE_OK || it->status == AE_REJECTED;
    if (!decided || !is_kept(it, it->count)) continue;
    if (it->status == AE_REJECTED) {
      kept[at].reason = (ae_str){batch->text.ptr + it->reason, it->reason_len};
      kept[at].details =
          (ae_str){batch->text.ptr + it->details, it->details_len};
    }
    at++;
  }
  AE_ASSERT_CMP(at, ==, batch->kept_count);
}

static void took_rejection(ae__batch *batch, item *it, ae_decide *decision) {
  it->status = AE_REJECTED;
  it->reason = batch->text.len;
  it->reason_len = decision->reason.len;
  ae_buf_str(&batch->text, ae_buf_view(&decision->reason));
  it->details = batch->text.len;
  it->details_len = decision->details.len;
  ae_buf_str(&batch->text, ae_buf_view(&decision->details));
}

/* One command does not fit the record: alone it is too large, with others it
 * waits for the next commit. */
static void over_record(ae__batch *batch, item *it, size_t before,
                        size_t bytes) {
  ae_command *command = it->command;
  ae_buf *events = &actors_of(batch)->events;
  size_t size = events->len - before + bytes;
  events->len = before;
  batch->cut = true;
  if (batch->kept_count == 0) {
    ae_error err = {0};
    ae_error_set(&err, AE_TOO_LARGE,
                 "the command's events, metadata and details take %zu bytes; a "
                 "commit holds at most %u: make them smaller",
                 size, RECORD_ROOM);
    ae_error_uint(&err, "limit", RECORD_ROOM);
    item_fail(it, AE_TOO_LARGE, &err);
  } else {
    batch->item_count--;
    ae_list_unshift(&batch->commands, &command->link);
  }
}

/* What is alone and too large for this store alone is refused by it: it knows
 * why. */
static bool fits(const ae__batch *batch, size_t bytes) {
  return bytes <= batch->room ||
         (batch->kept_count == 0 && bytes <= RECORD_ROOM);
}

static size_t room_of(const ae_store *store) {
  size_t most = ae_store_record_max(store);
  return most - (most / 16 < HEAD_ROOM ? most / 16 : HEAD_ROOM);
}

static void decide_one(ae__batch *batch, ae_command *command, ae_uuid id,
                       int64_t now) {
  ae__actor *actor = batch->actor;
  ae__type *type = actor->type;
  item *it = item_add(batch, command);
  if (command->expects && !(command->marks & AE__WAIVED) &&
      !ae_expected_holds(command->expected_version, actor->version)) {
    it->status = AE_VERSION_CONFLICT;
    return;
  }
  ae_buf *events = &actors_of(batch)->events;
  size_t before = events->len;
  ae_decide decision = {
      .command = command->name,
      .data = command->data,
      .metadata = command->metadata,
      .ns = type->realm->name,
      .id = {actor->id, actor->id_len},
      .version = actor->version,
      .now = now,
      .seed = ae_uuid7_random(&type->realm->actors->uuid),
      .first_id = ae_uuid_plus(id, batch->event_count),
      .events = events,
      .reason = batch->reason,
      .details = batch->details,
  };
  ae_buf_reset(&decision.reason);
  ae_buf_reset(&decision.details);
  ae_error err = {0};
  ae_status status =
      ae_script_decide(type->module, actor->state, &decision, &err);
  batch->reason = decision.reason;
  batch->details = decision.details;
  if (status == AE_OK) {
    size_t bytes = command->id.len + command->metadata.len +
                   decision.reason.len + decision.details.len + COMMAND_ROOM;
    bool kept = is_kept(it, decision.event_count);
    if (kept && !fits(batch, events->len + batch->kept_bytes + bytes)) {
      over_record(batch, it, before, bytes);
    } else {
      it->count = decision.event_count;
      batch->event_count += it->count;
      actor->version += it->count;
      it->version = actor->version;
      if (decision.rejected) took_rejection(batch, it, &decision);
      keep(batch, it, bytes);
    }
  } else if (status == AE_INVALID_COMMAND || status == AE_UNKNOWN_COMMAND) {
    item_fail(it, status, &err);
  } else {
    events->len = before;
    batch->cut = true;
    if (status == AE_SCRIPT_MEMORY && !actor->relieved &&
        ae__realm_relieve(type->realm)) {
      actor->relieved = true;
      batch->item_count--;
      ae_list_unshift(&batch->commands, &command->link);
    } else {
      item_fail(it, status, &err);
    }
  }
  ae_error_clear(&err);
}

/* -- storing -- */

static void complete(ae__batch *batch, uint64_t position);
static void fail(ae__batch *batch, ae_status status, uint64_t current,
                 const ae_error *err);

static void on_appended(ae_append *append) {
  ae__batch *batch = AE_CONTAINER(append, ae__batch, append);
  batch->actor->handle = append->handle;
  if (append->status == AE_OK)
    complete(batch, append->position);
  else
    fail(batch, append->status, append->current_version, &append->error);
}

static void store(ae__batch *batch, ae_uuid id, int64_t now) {
  ae__actor *actor = batch->actor;
  ae__type *type = actor->type;
  ae_actors *actors = type->realm->actors;
  keep_reasons(batch);
  ae_append *append = &batch->append; /* what is not set here stays zero */
  append->ref = ae__actor_ref(actor);
  append->expected_version = batch->base;
  append->event_count = batch->event_count;
  append->id_count = batch->id_count;
  append->handle = actor->handle;
  append->cb = on_appended;
  ae_commit commit = {
      .ref = append->ref,
      .first_version = batch->base + 1,
      .time = now,
      .id = id,
      .module_revision = ae_script_revision(type->realm->script),
      .node = actors->node};
  ae_commit_encode(&append->record, &commit, actors->kept, batch->kept_count,
                   ae_buf_view(&actors->events), batch->event_count);
  ae_error err = {0};
  ae_status status = ae_store_append(actors->store, append, &err);
  if (status != AE_OK) fail(batch, status, 0, &err);
  ae_error_clear(&err);
}

static void decide(ae__batch *batch) {
  ae__actor *actor = batch->actor;
  actor->phase = AE__COMMITTING;
  batch->base = actor->version;
  ae_actors *actors = actor->type->realm->actors;
  int64_t now = actors->now ? actors->now : ae_clock_now();
  ae_uuid id = ae_uuid7_make(&actors->uuid, now);
  buf_shrink(&actors->events);
  batch->room = room_of(actors->store);
  size_t most = batch->room / 2 < BATCH_BYTES ? batch->room / 2 : BATCH_BYTES;
  while (!batch->cut && actors->events.len + batch->kept_bytes < most) {
    ae_list *link = ae_list_shift(&batch->commands);
    if (!link) break;
    decide_one(batch, ae__command_of(link), id, now);
  }
  if (batch->kept_count > 0)
    store(batch, id, now);
  else
    complete(batch, 0);
}

static void answer_item(ae__batch *batch, item *it, ae__stored *stored,
                        uint64_t position) {
  ae__type *type = batch->actor->type;
  ae_actors *actors = type->realm->actors;
  ae_command *command = it->command;
  ae_outcome outcome = {.status = it->status, .version = it->version};
  ae_error err = {0};
  if (it->error) {
    outcome.error = it->error;
  } else if (it->status == AE_REJECTED) {
    ae_str reason = {batch->text.ptr + it->reason, it->reason_len};
    ae_error_set(&err, AE_REJECTED, "%.*s", AE_FMT(reason));
    ae_error_str(&err, "reason", reason);
    if (it->details_len)
      ae_error_pack(&err, "details",
                    (ae_str){batch->text.ptr + it->details, it->details_len});
    outcome.error = &err;
  }
  if (!it->error && (it->count > 0 || command->id.ptr)) {
    outcome.position = position;
    outcome.stored = stored;
    outcome.first_event = it->first;
    outcome.event_count = it->count;
  }
  ae__answer(actors, type, command, &outcome);
  ae_error_clear(&err);
}

/* Before the outcomes: who has one finds its events with every subscription
 * that had room for them. */
static void publish(const ae__batch *batch, uint64_t position) {
  ae_bus *bus = batch->actor->type->realm->actors->bus;
  if (!bus || batch->event_count == 0) return;
  ae_ref ref = ae__actor_ref(batch->actor);
  ae_bus_publish(bus, &ref, ae_buf_view(&batch->append.record),
                 batch->event_count, position);
}

static void complete(ae__batch *batch, uint64_t position) {
  ae__actor *actor = batch->actor;
  ae_realm *realm = actor->type->realm;
  realm->batches++;
  if (position) ae__quota_store(realm, batch->append.record.len);
  publish(batch, position);
  bool snapshot = false;
  if (batch->cut) {
    ae__actor_cool(actor);
  } else {
    actor->phase = AE__READY;
    actor->relieved = false;
    if (ae__actor_holds(actor)) {
      uint64_t every = ae_module_snapshot_every(actor->type->module);
      snapshot = every > 0 && actor->version / every > batch->base / every;
    }
  }
  if (snapshot) ae__snapshot_save(actor);
  queue_front(actor, &batch->commands);
  actor->pins++;     /* an outcome may bring new commands, not evict it */
  ae__stored stored; /* its large rest is filled where somebody asks */
  stored.record = ae_buf_view(&batch->append.record);
  stored.decoded = false;
  stored.cursor.position = position;
  for (uint32_t i = 0; i < batch->item_count; i++) {
    item *it = &batch->items[i];
    if (it->status == AE_VERSION_CONFLICT) {
      ae_list one;
      ae_list_init(&one);
      ae_list_push(&one, &it->command->link);
      ae__conflicted(actor, &one, it->command->expected_version, it->version);
    } else {
      answer_item(batch, it, &stored, position);
    }
  }
  batch_done(batch);
  actor->pins--;
  if (!ae_list_empty(&actor->queue) || !ae_list_empty(&actor->reads))
    ae__actor_mark(actor);
  actor->used = true;
}

/* The append did not happen: nothing that was decided holds. */
static void fail(ae__batch *batch, ae_status status, uint64_t current,
                 const ae_error *err) {
  ae__actor *actor = batch->actor;
  ae_actors *actors = actor->type->realm->actors;
  uint64_t base = batch->base;
  ae_list again, conflicted;
  ae_list_init(&again);
  ae_list_init(&conflicted);
  actor->pins++;
  for (uint32_t i = 0; i < batch->item_count; i++) {
    item *it = &batch->items[i];
    ae_command *command = it->command;
    bool decided = it->status == AE_OK || it->status == AE_REJECTED;
    command->marks &= (uint8_t)~AE__LOOKED;
    if (it->status == AE_INVALID_COMMAND || it->status == AE_UNKNOWN_COMMAND)
      answer_item(batch, it, NULL, 0);
    else if (status == AE_VERSION_CONFLICT && decided)
      ae_list_push(&conflicted, &command->link);
    else if (status == AE_VERSION_CONFLICT || status == AE_DUPLICATE)
      ae_list_push(&again, &command->link);
    else
      ae__answer_error(actors, actor->type, command, status, base, err);
  }
  queue_front(actor, &batch->commands);
  queue_front(actor, &again);
  batch_done(batch);
  ae__actor_cool(actor);
  if (!ae_list_empty(&conflicted))
    ae__conflicted(actor, &conflicted, base, current);
  actor->pins--;
  ae__actor_mark(actor);
}

void ae__batch_start(ae__actor *actor) {
  ae__batch *batch = batch_take(actor);
  bool look = false;
  for (uint32_t n = 0; n < BATCH_COMMANDS; n++) {
    ae_list *link = ae_list_shift(&actor->queue);
    if (!link) break;
    ae_list_push(&batch->commands, link);
    ae_command *command = ae__command_of(link);
    look |= command->id.ptr && !(command->marks & AE__LOOKED);
  }
  if (look)
    look_up(batch);
  else
    decide(batch);
}
