#include "actor/internal.h"

static ae__type *type_of(ae_realm *realm, ae_str name) {
  ae__type **link = &realm->types;
  for (ae__type *type = *link; type; link = &type->next, type = *link) {
    if (!ae_str_eq(type->name, name)) continue;
    if (link != &realm->types) { /* the one in use stays in front */
      *link = type->next;
      type->next = realm->types;
      realm->types = type;
    }
    return type;
  }
  return NULL;
}

static ae_status unknown_namespace(ae_actors *actors, ae_str name,
                                   ae_error *err) {
  ae_nearest nearest;
  ae_nearest_init(&nearest, name);
  size_t at = 0;
  ae_realm *realm;
  while ((realm = ae_map_next(&actors->realms, &at)))
    ae_nearest_offer(&nearest, realm->name);
  ae_str best = ae_nearest_best(&nearest);
  ae_error_set(err, AE_UNKNOWN_NAMESPACE, "there is no namespace '%.*s'",
               AE_FMT(name));
  if (best.len) ae_error_add(err, "; did you mean '%.*s'?", AE_FMT(best));
  ae_error_str(err, "name", name);
  if (best.len) ae_error_str(err, "nearest", best);
  return AE_UNKNOWN_NAMESPACE;
}

ae_status ae__type_check(const ae__type *type, ae_error *err) {
  ae_module *module;
  if (type->module) return AE_OK;
  return ae_script_aggregate(type->realm->script, type->name, &module, err);
}

ae_status ae__type_find(ae_actors *actors, const ae_ref *ref, ae__type **out,
                        ae_error *err) {
  ae_realm *realm = ae_map_get(&actors->realms, ref->ns);
  if (!realm) return unknown_namespace(actors, ref->ns, err);
  ae__type *type = type_of(realm, ref->type);
  if (type && !type->module) return ae__type_check(type, err);
  if (!type) {
    ae_module *module;
    ae_status status =
        ae_script_aggregate(realm->script, ref->type, &module, err);
    if (status != AE_OK) return status;
    type = ae_zalloc(sizeof *type);
    type->realm = realm;
    type->module = module;
    ae_str name = ae_module_name(module);
    char *copy = ae_alloc(name.len);
    memcpy(copy, name.ptr, name.len);
    type->name = (ae_str){copy, name.len};
    type->next = realm->types;
    realm->types = type;
  }
  *out = type;
  return AE_OK;
}

ae__actor *ae__actor_find(ae__type *type, ae_str id) {
  return ae_map_get(&type->actors, id);
}

void ae_actors_forget(ae_actors *actors, const ae_ref *ref) {
  ae_realm *realm = ae_map_get(&actors->realms, ref->ns);
  ae__type *type = realm ? realm->types : NULL;
  while (type && !ae_str_eq(type->name, ref->type)) type = type->next;
  ae__actor *actor = type ? ae__actor_find(type, ref->id) : NULL;
  if (!actor) return;
  actor->stale = true; /* what is under way with it ends first */
  actor->used = false;
  ae__actor_mark(actor);
}

/* Nothing is under way with it. */
static bool is_idle(const ae__actor *actor) {
  return (actor->phase == AE__READY || actor->phase == AE__COLD) &&
         actor->pins == 0 && ae_list_empty(&actor->dirty) &&
         ae_list_empty(&actor->queue) && ae_list_empty(&actor->reads);
}

static void evict(ae__actor *actor) {
  ae__type *type = actor->type;
  AE_ASSERT(is_idle(actor));
  ae_list_remove(&actor->ring);
  ae_script_drop(type->module, actor->state);
  ae_map_remove(&type->actors, (ae_str){actor->id, actor->id_len});
  type->realm->live--;
  type->counts.evicted++;
  ae_free(actor);
}

static ae__actor *at_hand(const ae_realm *realm) {
  return AE_CONTAINER(realm->ring.next, ae__actor, ring);
}

static void hand_on(ae_realm *realm, ae__actor *actor) {
  ae_list_remove(&actor->ring);
  ae_list_push(&realm->ring, &actor->ring);
}

/* Room for another actor. By the clock (Corbato 1968): an idle actor goes that
 * was not used since the hand went by. Where the hand meets none soon, any idle
 * one does. Both looks are bounded, so that a table of busy actors costs no
 * turn of the whole ring each time: the next goes on where this one stopped. */
static bool make_room(ae_realm *realm) {
  enum { UNUSED_LOOKS = 64, LOOKS = 1024 };
  bool some_idle = false;
  for (size_t n = 0; n < LOOKS && realm->live >= realm->limits.live_actors;
       n++) {
    if (n >= realm->live && !some_idle) break; /* once around */
    ae__actor *actor = at_hand(realm);
    bool idle = is_idle(actor);
    some_idle |= idle;
    if (idle && (!actor->used || n >= UNUSED_LOOKS)) {
      evict(actor);
    } else {
      actor->used = false;
      hand_on(realm, actor);
    }
  }
  return realm->live < realm->limits.live_actors;
}

ae__actor *ae__actor_make(ae__type *type, ae_str id, uint64_t hash) {
  ae__actor *actor = ae_map_get_hashed(&type->actors, id, hash);
  if (actor) return actor;
  if (type->realm->live >= type->realm->limits.live_actors &&
      !make_room(type->realm))
    return NULL;
  AE_ASSERT_CMP(id.len, <=, UINT8_MAX);
  actor = ae_zalloc(sizeof *actor + id.len);
  memcpy(actor->id, id.ptr, id.len);
  actor->id_len = (uint8_t)id.len;
  actor->type = type;
  actor->phase = AE__COLD;
  ae_list_init(&actor->dirty);
  ae_list_init(&actor->queue);
  ae_list_init(&actor->reads);
  ae_list_init(&actor->ids);
  ae_map_put_hashed(&type->actors, (ae_str){actor->id, actor->id_len}, hash,
                    actor);
  ae_list_push(&type->realm->ring, &actor->ring);
  type->realm->live++;
  return actor;
}

bool ae__realm_relieve(ae_realm *realm) {
  if (realm->batches < realm->relieved) return false;
  size_t least = realm->live / 2;
  for (size_t n = realm->live; n > 0 && realm->live > least; n--) {
    ae__actor *actor = at_hand(realm);
    if (is_idle(actor))
      evict(actor);
    else
      hand_on(realm, actor);
  }
  ae_script_collect(realm->script);
  realm->relieved = realm->batches + realm->live / 4 + 1;
  return true;
}

void ae__realm_free(ae_realm *realm) {
  while (!ae_list_empty(&realm->ring)) evict(at_hand(realm));
  AE_ASSERT_CMP(realm->live, ==, 0);
  while (realm->types) {
    ae__type *type = realm->types;
    realm->types = type->next;
    ae_map_clear(&type->actors);
    ae_free((char *)type->name.ptr);
    ae_free(type);
  }
  ae_free(realm);
}

void ae_actors_observe(ae_actors *actors,
                       void (*each)(void *data, const ae_command *command,
                                    ae_outcome *outcome),
                       void *data) {
  actors->observe = each;
  actors->observe_data = data;
}

/* -- another script -- */

/* Whatever holds a state of the old one (live actors, loads, batches) sees by
 * its number that it is gone, when it next looks. */
void ae_actors_swap(ae_realm *realm, ae_script *script) {
  realm->script = script;
  for (ae__type *type = realm->types; type; type = type->next)
    if (ae_script_aggregate(script, type->name, &type->module, NULL) != AE_OK)
      type->module = NULL;
}

ae_script *ae_realm_script(const ae_realm *realm) {
  return realm->script;
}

/* Commands wait meanwhile, so not all of a large ring is looked at. */
void ae_realm_recent(const ae_realm *realm, uint32_t most,
                     void (*each)(void *data, const ae_ref *ref), void *data) {
  uint32_t given = 0;
  for (int used = 1; used >= 0; used--) {
    const ae_list *at = realm->ring.prev; /* the hand came by last */
    uint64_t looks = (uint64_t)most * 8 + 1024;
    for (; at != &realm->ring && given < most && looks > 0; at = at->prev) {
      looks--;
      const ae__actor *actor = AE_CONTAINER(at, ae__actor, ring);
      if (actor->used != used) continue;
      ae_ref ref = ae__actor_ref(actor);
      each(data, &ref);
      given++;
    }
  }
}

void ae_actors_counts(ae_actors *actors,
                      void (*each)(void *data, ae_str ns, ae_str type,
                                   const ae_type_counts *counts),
                      void *data) {
  size_t at = 0;
  ae_realm *realm;
  while ((realm = ae_map_next(&actors->realms, &at)))
    for (const ae__type *type = realm->types; type; type = type->next)
      each(data, realm->name, type->name, &type->counts);
}

size_t ae_realm_live(const ae_realm *realm) {
  return realm->live;
}
