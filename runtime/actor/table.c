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

ae_status ae__type_find(ae_actors *actors, const ae_ref *ref, ae__type **out,
                        ae_error *err) {
  ae_realm *realm = ae_map_get(&actors->realms, ref->ns);
  if (!realm) return unknown_namespace(actors, ref->ns, err);
  ae__type *type = type_of(realm, ref->type);
  if (!type) {
    ae_module *module;
    ae_status status =
        ae_script_aggregate(realm->script, ref->type, &module, err);
    if (status != AE_OK) return status;
    type = ae_zalloc(sizeof *type);
    type->realm = realm;
    type->module = module;
    type->name = ae_module_name(module);
    type->next = realm->types;
    realm->types = type;
  }
  *out = type;
  return AE_OK;
}

ae__actor *ae__actor_find(ae__type *type, ae_str id) {
  return ae_map_get(&type->actors, id);
}

ae__actor *ae__actor_make(ae__type *type, ae_str id, uint64_t hash) {
  ae__actor *actor = ae_map_get_hashed(&type->actors, id, hash);
  if (actor) return actor;
  AE_ASSERT_CMP(id.len, <=, UINT8_MAX);
  actor = ae_zalloc(sizeof *actor + id.len);
  memcpy(actor->id, id.ptr, id.len);
  actor->id_len = (uint8_t)id.len;
  actor->type = type;
  actor->phase = AE__COLD;
  ae_list_init(&actor->idle);
  ae_list_init(&actor->dirty);
  ae_list_init(&actor->queue);
  ae_list_init(&actor->reads);
  ae_list_init(&actor->ids);
  ae_map_put_hashed(&type->actors, (ae_str){actor->id, actor->id_len}, hash,
                    actor);
  type->realm->live++;
  return actor;
}

static void evict(ae__actor *actor) {
  ae__type *type = actor->type;
  AE_ASSERT(actor->phase == AE__READY || actor->phase == AE__COLD);
  AE_ASSERT(ae_list_empty(&actor->queue) && ae_list_empty(&actor->reads));
  ae_list_remove(&actor->idle);
  ae_list_remove(&actor->dirty);
  ae_script_drop(type->module, actor->state);
  ae_map_remove(&type->actors, (ae_str){actor->id, actor->id_len});
  type->realm->live--;
  type->counts.evicted++;
  ae_free(actor);
}

void ae__actor_touch(ae__actor *actor) {
  ae_list_remove(&actor->idle);
}

void ae__actor_rest(ae__actor *actor) {
  AE_ASSERT_CMP(actor->pins, ==, 0);
  ae_list_remove(&actor->idle);
  ae_list_push(&actor->type->realm->idle, &actor->idle);
}

void ae__realm_trim(ae_realm *realm) {
  while (realm->live > realm->cap && !ae_list_empty(&realm->idle))
    evict(AE_CONTAINER(realm->idle.next, ae__actor, idle));
}

void ae__realm_relieve(ae_realm *realm) {
  size_t idle = 0;
  for (ae_list *at = realm->idle.next; at != &realm->idle; at = at->next)
    idle++;
  for (size_t n = (idle + 1) / 2; n > 0; n--)
    evict(AE_CONTAINER(realm->idle.next, ae__actor, idle));
  ae_script_collect(realm->script);
}

void ae__realm_free(ae_realm *realm) {
  while (!ae_list_empty(&realm->idle))
    evict(AE_CONTAINER(realm->idle.next, ae__actor, idle));
  AE_ASSERT_CMP(realm->live, ==, 0);
  while (realm->types) {
    ae__type *type = realm->types;
    realm->types = type->next;
    ae_map_clear(&type->actors);
    ae_free(type);
  }
  ae_free(realm);
}

const ae_type_counts *ae_realm_counts(ae_realm *realm, ae_str name) {
  ae__type *type = type_of(realm, name);
  return type ? &type->counts : NULL;
}

size_t ae_realm_live(const ae_realm *realm) {
  return realm->live;
}
