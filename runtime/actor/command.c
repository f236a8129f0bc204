/* Commands of an actor: decided in batches, stored as one commit.
 *
 *         work            loaded           work, ids         no repeat
 *   COLD ──────► LOADING ────────► READY ───────────► LOOKING ─────┐
 *    ▲              │ failed         │ ▲  work, no ids              ▼
 *    │◄─────────────┘                │ └──── stored ◄───────── COMMITTING
 *    │◄───────── evicted ────────────┘                              │
 *    │◄── cut, conflict, failed, somebody else wrote ───────────────┘
 *
 *   transition              function
 *   COLD → LOADING          load
 *   LOADING → READY, COLD   on_loaded
 *   READY → LOOKING         look_up
 *   LOOKING → COMMITTING    on_looked_up → decide → store
 *   LOOKING → COLD          on_looked_up: the version is not the state's, or
 *                           the state is gone
 *   READY → COLD            run: the state is gone; evicted
 *   COMMITTING → READY      complete
 *   COMMITTING → COLD       complete (cut), fail
 *
 * Invariants
 * 1. A batch is there exactly in LOOKING and COMMITTING.
 * 2. In READY the state is that of `version`, and `version` is stored; or it
 *    went with its script, and then the actor is cooled before it is used.
 * 3. No outcome that rests on a decision leaves before the append answered.
 * 4. A command is in one place: the queue, a batch, a conflict or a delay;
 *    what joined it hangs on it.
 * 5. Deciding stops at a command that spoils the state (the batch is cut);
 *    what was decided before is stored, then the state is replayed.
 */
#include "actor/internal.h"
#include "base/clock.h"

/* Commands taken in and actors run in one turn of the loop. Few enough that
 * what they touch stays in the cache until the answers come, and that the
 * store's thread begins with the first while the next are decided; enough to
 * share a turn's cost. */
#define AT_ONCE 128
#define AHEAD 8       /* commands fetched before they are looked at */
#define CACHE_LINE 64 /* of about any machine; wrong, it is slower */

void ae__actor_cool(ae__actor *actor) {
  ae_script_drop(actor->type->module, actor->state);
  actor->state = 0;
  actor->version = 0;
  actor->phase = AE__COLD;
  for (ae_list *at = actor->queue.next; at != &actor->queue; at = at->next)
    ae__command_of(at)->marks &= (uint8_t)~AE__LOOKED;
}

static void on_loaded(ae__loader *loader, ae_status status,
                      const ae_error *err) {
  ae__actor *actor = loader->data;
  ae__type *type = actor->type;
  ae_actors *actors = type->realm->actors;
  AE_ASSERT_CMP(actor->phase, ==, AE__LOADING);
  actor->state = loader->state;
  actor->version = loader->version;
  ae_free(loader);
  if (status == AE_OK) {
    actor->phase = AE__READY;
    ae__actor_mark(actor);
    return;
  }
  ae__actor_cool(actor);
  if (status == AE_SCRIPT_MEMORY && !actor->relieved &&
      ae__realm_relieve(type->realm)) {
    actor->relieved = true;
    ae__actor_mark(actor);
    return;
  }
  /* Who comes while these are answered gets a load of its own. */
  ae_list failed;
  ae_list_init(&failed);
  ae_list *link;
  while ((link = ae_list_shift(&actor->queue))) ae_list_push(&failed, link);
  actor->pins++;
  ae__reads_fail(actor, status, err);
  ae_error shown = err ? *err : (ae_error){0};
  if (status == AE_REPLAY_ERROR) shown.status = status = AE_ACTOR_DAMAGED;
  while ((link = ae_list_shift(&failed)))
    ae__answer_error(actors, type, ae__command_of(link), status, 0, &shown);
  actor->pins--;
  ae__actor_mark(actor);
}

static void load(ae__actor *actor) {
  ae__loader *loader = ae_zalloc(sizeof *loader);
  loader->actors = actor->type->realm->actors;
  loader->type = actor->type;
  loader->ref = ae__actor_ref(actor);
  loader->to = UINT64_MAX;
  loader->cb = on_loaded;
  loader->data = actor;
  actor->phase = AE__LOADING;
  ae__load(loader);
}

/* -- turns -- */

static void flush_later(ae_actors *actors) {
  if (actors->flushing) return;
  actors->flushing = true;
  ae_loop_defer(actors->loop, &actors->flush);
}

void ae__actor_mark(ae__actor *actor) {
  ae_actors *actors = actor->type->realm->actors;
  actor->used = true;
  if (ae_list_empty(&actor->dirty)) ae_list_push(&actors->dirty, &actor->dirty);
  flush_later(actors);
}

static void run(ae__actor *actor) {
  if (actor->phase != AE__COLD && actor->phase != AE__READY) return;
  if (actor->phase == AE__READY && (!ae__actor_holds(actor) || actor->stale))
    ae__actor_cool(actor);
  if (actor->phase == AE__COLD) actor->stale = false;
  if (actor->phase == AE__READY && !ae_list_empty(&actor->reads)) {
    actor->pins++;
    ae__reads_serve(actor);
    actor->pins--;
    if (!ae__actor_holds(actor)) ae__actor_cool(actor);
  }
  if (ae_list_empty(&actor->queue) && ae_list_empty(&actor->reads)) return;
  if (actor->phase == AE__COLD) {
    load(actor);
  } else {
    ae__batch_start(actor);
  }
}

/* A command with an id that is under way already takes its outcome.
 * AE_DUPLICATE: it joined; AE_ID_REUSED: the id belongs to another command. */
static ae_status join(ae__actor *actor, ae_command *command, ae_error *err) {
  for (ae_list *at = actor->ids.next; at != &actor->ids; at = at->next) {
    ae_command *first = AE_CONTAINER(at, ae_command, id_link);
    if (!ae_str_eq(first->id, command->id)) continue;
    if (first->digest == command->digest) {
      command->joined = first->joined;
      first->joined = command;
      return AE_DUPLICATE;
    }
    return ae__id_reused(command, err);
  }
  ae_list_push(&actor->ids, &command->id_link);
  return AE_OK;
}

/* A command on its way to its actor. */
typedef struct arrival {
  ae_command *command;
  ae__type *type;
  uint64_t hash; /* of the actor's id */
} arrival;

/* `before`: one whose names hold, or NULL: most have the same. */
static ae_status check(ae_actors *actors, ae_command *command,
                       const arrival *before, ae__type **type, ae_error *err) {
  ae_status status;
  const ae_ref *ref = &command->ref;
  if (actors->closing)
    return ae_error_set(err, AE_CANCELED, "the node is stopping");
  if (before && ae_str_eq(ref->ns, before->type->realm->name) &&
      ae_str_eq(ref->type, before->type->name)) {
    *type = before->type;
    return ae_id_check(ref->id, err);
  }
  if ((status = ae_namespace_check(ref->ns, err)) != AE_OK ||
      (status = ae_type_check(ref->type, err)) != AE_OK ||
      (status = ae_id_check(ref->id, err)) != AE_OK)
    return status;
  return ae__type_find(actors, ref, type, err);
}

/* So many of one namespace may wait; those of others do not count. */
static ae_status enqueue(ae_realm *realm, ae_command *command, ae_error *err) {
  size_t limit = realm->actors->queue_limit;
  if (realm->waiting < limit) {
    realm->waiting++;
    command->marks |= AE__WAITING;
    return AE_OK;
  }
  ae_error_set(err, AE_OVERLOADED,
               "%zu commands to %.*s are waiting; send more when some were "
               "answered",
               limit, AE_FMT(realm->name));
  ae_error_cstr(err, "queue", "commands");
  ae_error_uint(err, "limit", limit);
  return AE_OVERLOADED;
}

static void arrive(ae_actors *actors, const arrival *it) {
  ae_command *command = it->command;
  ae_error err = {0};
  ae__actor *actor = ae__actor_make(it->type, command->ref.id, it->hash);
  if (!actor) {
    ae_status full = ae__quota_full(it->type->realm, &err);
    ae__answer_error(actors, it->type, command, full, 0, &err);
    ae_error_clear(&err);
    return;
  }
  if (command->id.ptr) {
    command->digest = ae_command_digest(command->name, command->data);
    ae_status status = join(actor, command, &err);
    if (status == AE_ID_REUSED)
      ae__answer_error(actors, it->type, command, status, 0, &err);
    ae_error_clear(&err);
    if (status != AE_OK) return;
  }
  ae_list_push(&actor->queue, &command->link);
  if (actor->phase == AE__READY || actor->phase == AE__COLD)
    ae__actor_mark(actor);
}

void ae__command_take(ae_actors *actors, ae_command *command) {
  arrival it = {.command = command};
  ae_error err = {0};
  ae_status status = check(actors, command, NULL, &it.type, &err);
  if (status == AE_OK) status = enqueue(it.type->realm, command, &err);
  if (status == AE_OK) status = ae__quota_admit(it.type->realm, command, &err);
  if (status == AE_OK) {
    it.hash = ae_map_hash(command->ref.id);
    arrive(actors, &it);
  } else {
    ae__answer_error(actors, it.type, command, status, 0, &err);
  }
  ae_error_clear(&err);
}

static ae_command **arrival_at(const ae__arrivals *arrivals, size_t n) {
  return &arrivals->ring[(arrivals->first + n) & (arrivals->cap - 1)];
}

static void fetch_arrival(const ae__arrivals *arrivals, size_t n) {
  const char *command = (const char *)*arrival_at(arrivals, n);
  for (size_t at = 0; at <= sizeof(ae_command); at += CACHE_LINE)
    __builtin_prefetch(command + at, 1);
}

static void arrivals_push(ae__arrivals *arrivals, ae_command *command) {
  if (arrivals->count == arrivals->cap) {
    ae__arrivals old = *arrivals;
    arrivals->cap = old.cap ? 2 * old.cap : 64;
    arrivals->ring = ae_alloc(arrivals->cap * sizeof *arrivals->ring);
    arrivals->first = 0;
    for (size_t n = 0; n < old.count; n++)
      *arrival_at(arrivals, n) = *arrival_at(&old, n);
    ae_free(old.ring);
  }
  *arrival_at(arrivals, arrivals->count++) = command;
}

/* With thousands of actors each look-up misses the cache twice; here the misses
 * of a turn's commands overlap. */
static void take_in(ae_actors *actors) {
  arrival arrivals[AT_ONCE];
  unsigned count = 0;
  ae__arrivals *incoming = &actors->incoming;
  for (size_t n = 0; n < AHEAD && n < incoming->count; n++)
    fetch_arrival(incoming, n);
  for (unsigned n = 0; n < AT_ONCE && incoming->count > 0; n++) {
    if (incoming->count > AHEAD) fetch_arrival(incoming, AHEAD);
    ae_command *command = *arrival_at(incoming, 0);
    incoming->first++;
    incoming->count--;
    ae__type *type = NULL;
    ae_error err = {0};
    const arrival *before = count > 0 ? &arrivals[count - 1] : NULL;
    ae_status status = check(actors, command, before, &type, &err);
    if (status == AE_OK) status = enqueue(type->realm, command, &err);
    if (status == AE_OK && type->realm->limited) {
      if (ae__quota_park(type->realm, command)) continue;
      status = ae__quota_admit(type->realm, command, &err);
    }
    if (status == AE_OK) {
      uint64_t hash = ae_map_hash(command->ref.id);
      ae_map_fetch(&type->actors, hash);
      arrivals[count++] = (arrival){command, type, hash};
    } else {
      ae__answer_error(actors, type, command, status, 0, &err);
    }
    ae_error_clear(&err);
  }
  for (unsigned i = 0; i < count; i++) {
    const char *actor =
        ae_map_guess(&arrivals[i].type->actors, arrivals[i].hash);
    for (size_t at = 0; actor && at <= sizeof(ae__actor); at += CACHE_LINE)
      __builtin_prefetch(actor + at, 1);
  }
  for (unsigned i = 0; i < count; i++) arrive(actors, &arrivals[i]);
}

void ae__flush(ae_actors *actors) {
  take_in(actors);
  ae_store_cork(actors->store);
  actors->now = ae_clock_now();
  for (unsigned n = 0; n < AT_ONCE; n++) {
    ae_list *link = ae_list_shift(&actors->dirty);
    if (!link) break;
    ae__actor *actor = AE_CONTAINER(link, ae__actor, dirty);
    run(actor);
  }
  actors->now = 0;
  ae_store_uncork(actors->store);
  ae_loop_time_passed(actors->loop);
  actors->flushing =
      !ae_list_empty(&actors->dirty) || actors->incoming.count > 0;
  if (actors->flushing) ae_loop_defer(actors->loop, &actors->flush);
}

void ae_actors_submit(ae_actors *actors, ae_command *command) {
  ae_list_init(&command->id_link);
  command->joined = NULL;
  command->digest = 0;
  command->attempt = 0;
  command->marks = 0;
  command->submitted = ae_loop_time(actors->loop);
  actors->waiting++;
  ae__hold(actors);
  arrivals_push(&actors->incoming, command);
  flush_later(actors);
}
