/* The actors of a check and their states.
 *
 * Invariants: a state is in its side's script (`state`) or dumped (`saved`), or
 * the actor is not followed (`over`, of the rival's side `alone`). States in a
 * script stay below half of its memory: then all of them are dumped. When a
 * handler is stopped, all states in its script are gone, and what had one is
 * over. */
#include "node/checking.h"
#include "node/reloading.h"
#include "node/script_event.h"
#include "store/replay.h"

#define EVOLVE_AT_ONCE 256

typedef ae__check_run run;
typedef ae__check_realm realm;
typedef ae__check_kind kind;

static const ae_str none = {0};

/* -- who is who -- */

static char *dup_str(ae_str text) {
  char *copy = ae_alloc(text.len + 1);
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  return copy;
}

static void mistake(run *r, const ae_error *err, ae_str before, ae_str after) {
  r->of->counts.mistakes++;
  r->of->mistake(r->of, err, before, after);
}

static void note(run *r, const ae_error *err, ae_str before, ae_str after) {
  if (r->of->note) r->of->note(r->of, err, before, after);
}

static void note_command(void *data, const ae_error *err) {
  note(data, err, none, none);
}

/* The code that runs elsewhere, loaded here. */
static void open_rival(run *r, realm *of, const ae_check_rival *rival) {
  ae_script_options options;
  ae_error err = {0};
  const ae__room *room = ae__room_of(r->node, rival->ns);
  ae__room_options(r->node, room, &options);
  options.sources = rival->sources;
  options.source_count = rival->source_count;
  if (ae_script_open(&options, &of->scripts[AE__OLD], &err) == AE_OK) {
    ae__contract_commands(rival->ns, of->scripts[AE__OLD], room->script,
                          note_command, r);
  } else {
    of->scripts[AE__OLD] = NULL;
    ae_error_add(&err, " (in the code that runs; it is not compared)");
    note(r, &err, none, none);
  }
  ae_error_clear(&err);
}

static realm *realm_of(run *r, ae_str name) {
  for (realm *one = r->realms; one; one = one->next)
    if (ae_str_eq(ae_str_of(one->name), name)) return one;
  realm *made = ae_zalloc(sizeof *made);
  made->name = dup_str(name);
  made->next = r->realms;
  r->realms = made;
  ae_error err = {0};
  if (ae_config_namespace(ae_node_config(r->node), name, &made->config, &err) ==
      AE_OK) {
    made->scripts[AE__NEW] = ae_node_script(r->node, name);
    for (size_t i = 0; i < r->of->rival_count; i++)
      if (ae_str_eq(r->of->rivals[i].ns, name))
        open_rival(r, made, &r->of->rivals[i]);
  } else {
    ae_error_add(&err, " (the store holds events of it)");
    mistake(r, &err, none, none);
  }
  ae_error_clear(&err);
  return made;
}

static kind *kind_of(run *r, const ae_ref *ref) {
  kind *one = r->last;
  if (one && ae_str_eq(ae_str_of(one->name), ref->type) &&
      ae_str_eq(ae_str_of(one->of->name), ref->ns))
    return one;
  for (one = r->kinds; one; one = one->next)
    if (ae_str_eq(ae_str_of(one->name), ref->type) &&
        ae_str_eq(ae_str_of(one->of->name), ref->ns))
      return r->last = one;
  kind *made = ae_zalloc(sizeof *made);
  made->of = realm_of(r, ref->ns);
  made->name = dup_str(ref->type);
  made->next = r->kinds;
  r->kinds = r->last = made;
  ae_error err = {0};
  ae_script *const *scripts = made->of->scripts;
  for (int side = 0; side < AE__SIDES; side++)
    if (scripts[side] &&
        ae_script_aggregate(scripts[side], ref->type, &made->modules[side],
                            side == AE__NEW ? &err : NULL) != AE_OK)
      made->modules[side] = NULL;
  if (scripts[AE__NEW] && !made->modules[AE__NEW]) {
    ae_error_add(&err, " (the store holds events of %.*s/%.*s)",
                 AE_FMT(ref->ns), AE_FMT(ref->type));
    mistake(r, &err, none, none);
  }
  ae_error_clear(&err);
  return made;
}

ae__checked *ae__check_actor(run *r, const ae_ref *ref) {
  kind *of = kind_of(r, ref);
  uint64_t hash = ae_map_hash(ref->id);
  ae__checked *actor = ae_map_get_hashed(&of->actors, ref->id, hash);
  if (actor) return actor;
  actor = ae_zalloc(sizeof *actor + ref->id.len);
  actor->of = of;
  actor->run = r;
  actor->over = !of->modules[AE__NEW];
  actor->alone = !of->modules[AE__OLD];
  actor->id_len = ref->id.len;
  memcpy(actor->id, ref->id.ptr, ref->id.len);
  ae_str id = {actor->id, actor->id_len};
  ae_map_put_hashed(&of->actors, id, hash, actor);
  r->of->counts.actors++;
  return actor;
}

ae_ref ae__check_ref(const ae__checked *actor) {
  return (ae_ref){ae_str_of(actor->of->of->name),
                  ae_str_of(actor->of->name),
                  {actor->id, actor->id_len}};
}

/* -- states -- */

static void drop(ae__checked *actor, ae__side side) {
  ae__check_half *half = &actor->halves[side];
  if (half->state) ae_script_drop(actor->of->modules[side], half->state);
  half->state = 0;
  ae_buf_clear(&half->saved);
}

static void give_up(ae__checked *actor, ae__side side) {
  actor->alone = true;
  drop(actor, AE__OLD);
  if (side == AE__OLD) return;
  actor->over = true;
  drop(actor, AE__NEW);
  ae_buf_clear(&actor->snapshot);
}

/* Puts the actor's name before the message, and among the facts. */
static void name_it(const ae__checked *actor, ae_error *err) {
  ae_ref ref = ae__check_ref(actor);
  ae_buf name = {0}, text = {0}, facts = {0};
  ae_str known;
  ae_ref_format(&ref, &name);
  ae_buf_printf(&text, "%s: %s", ae_buf_cstr(&name), ae_error_text(err));
  ae_buf_move(&err->message, &text);
  ae_pack_map(&facts, err->nfacts);
  ae_buf_str(&facts, ae_buf_view(&err->facts));
  if (!ae_unpack_field(ae_buf_view(&facts), "actor", &known))
    ae_error_str(err, "actor", ae_buf_view(&name));
  ae_buf_clear(&facts);
  ae_buf_clear(&name);
}

void ae__check_fail(ae__checked *actor, ae_error *err) {
  name_it(actor, err);
  mistake(actor->run, err, none, none);
  give_up(actor, AE__NEW);
}

/* Of the rival nothing is told: it runs, and is what it is. */
static void fail(ae__checked *actor, ae__side side, ae_error *err) {
  if (side == AE__NEW)
    ae__check_fail(actor, err);
  else
    give_up(actor, AE__OLD);
}

/* Dumps all states of a script, so that there is room again. */
static void save_all(realm *of, ae__side side) {
  for (ae__checked *actor = of->live[side]; actor;
       actor = actor->halves[side].next_live) {
    ae__check_half *half = &actor->halves[side];
    if (!half->state) continue;
    ae_error err = {0};
    ae_module *module = actor->of->modules[side];
    ae_buf_reset(&half->saved);
    ae_status status = ae_script_dump(module, half->state, &half->saved, &err);
    ae_script_drop(module, half->state);
    half->state = 0;
    if (status != AE_OK) fail(actor, side, &err);
    ae_error_clear(&err);
  }
  of->live[side] = NULL;
  ae_script_collect(of->scripts[side]);
}

/* A handler was stopped: who had a state in the script is told of together. */
static void lose_all(run *r, realm *of, ae__side side) {
  uint64_t lost = 0;
  for (ae__checked *actor = of->live[side]; actor;
       actor = actor->halves[side].next_live) {
    ae_state state = actor->halves[side].state;
    if (!state || ae_script_holds(actor->of->modules[side], state)) continue;
    give_up(actor, side);
    lost++;
  }
  of->live[side] = NULL;
  if (lost == 0 || side == AE__OLD) return;
  ae_error err = {0};
  ae_error_set(&err, AE_SCRIPT_TIMEOUT,
               "namespace %s: %llu more actors were being replayed when a "
               "handler was stopped, and are not checked",
               of->name, (unsigned long long)lost);
  mistake(r, &err, none, none);
  ae_error_clear(&err);
}

static ae_status wake(ae__checked *actor, ae__side side, ae_error *err) {
  realm *of = actor->of->of;
  ae__check_half *half = &actor->halves[side];
  ae_module *module = actor->of->modules[side];
  if (half->state) return AE_OK;
  if (of->live[side] &&
      ae_script_memory(of->scripts[side]) > of->config->memory / 2)
    save_all(of, side);
  ae_status status =
      half->saved.len > 0
          ? ae_script_load(module, ae_buf_view(&half->saved), &half->state, err)
          : ae_script_initial(module, &half->state, err);
  if (status != AE_OK) return status;
  half->next_live = of->live[side];
  of->live[side] = actor;
  return AE_OK;
}

static ae_status compare(ae__checked *actor, ae_error *err) {
  run *r = actor->run;
  ae_module *module = actor->of->modules[AE__NEW];
  ae_buf_reset(&r->dumped);
  ae_status status =
      ae_script_dump(module, actor->halves[AE__NEW].state, &r->dumped, err);
  if (status != AE_OK) return status;
  ae_str replayed = ae_buf_view(&r->dumped);
  ae_str snapshot = ae_buf_view(&actor->snapshot);
  if (ae_str_eq(replayed, snapshot)) return AE_OK;
  ae_error_set(err, AE_REPLAY_ERROR,
               "the snapshot at version %llu differs from what the events "
               "make; raise snapshot.version in %s where the new state is "
               "right",
               (unsigned long long)actor->version, ae_module_file(module));
  ae_error_uint(err, "version", actor->version);
  name_it(actor, err);
  actor->told = true;
  mistake(r, err, snapshot, replayed);
  ae_error_clear(err);
  return AE_OK;
}

static ae_status evolve_side(ae__checked *actor, ae__side side,
                             const ae_script_event *events, size_t count,
                             size_t *done, ae_error *err) {
  *done = 0;
  ae_status status = wake(actor, side, err);
  if (status != AE_OK) return status;
  return ae_script_evolve(actor->of->modules[side], actor->halves[side].state,
                          ae_str_of(actor->of->of->name),
                          (ae_str){actor->id, actor->id_len}, events, count,
                          done, err);
}

static ae_status evolve(ae__checked *actor, const ae_script_event *events,
                        size_t count, ae_error *err) {
  if (count == 0) return AE_OK;
  size_t done;
  if (!actor->alone) {
    ae_status status = evolve_side(actor, AE__OLD, events, count, &done, NULL);
    if (status != AE_OK) give_up(actor, AE__OLD);
    if (status == AE_SCRIPT_TIMEOUT)
      lose_all(actor->run, actor->of->of, AE__OLD);
  }
  ae_status status = evolve_side(actor, AE__NEW, events, count, &done, err);
  actor->version += done;
  if (status != AE_OK) {
    ae_error_add(err, " (replaying version %llu)",
                 (unsigned long long)actor->version + 1);
    return status;
  }
  if (actor->version == actor->snapshot_version) return compare(actor, err);
  return AE_OK;
}

/* Groups of events end where a snapshot is to be compared. */
static ae_status take(ae__checked *actor, const ae_record *record,
                      ae_error *err) {
  ae_script_event events[EVOLVE_AT_ONCE];
  size_t count = 0;
  ae_replay replay;
  ae_event event;
  const ae_page page = {.records = record, .count = 1, .end = true};
  if (record->first_version <= actor->stored)
    return ae_error_set(err, AE_REPLAY_ERROR, "version %llu is stored twice",
                        (unsigned long long)record->first_version);
  actor->stored = record->first_version - 1 + record->event_count;
  ae_status status;
  ae_replay_init(&replay, &page, actor->version + 1, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &event, err)) == AE_OK) {
    actor->run->of->counts.events++;
    if (event.version != actor->version + count + 1)
      return ae_error_set(err, AE_REPLAY_ERROR,
                          "version %llu is missing from the store",
                          (unsigned long long)(actor->version + count + 1));
    events[count++] = ae__script_event_of(&event);
    if (count < EVOLVE_AT_ONCE && event.version != actor->snapshot_version)
      continue;
    status = evolve(actor, events, count, err);
    count = 0;
    if (status != AE_OK) return status;
  }
  if (status != AE_NOT_FOUND) return status;
  return evolve(actor, events, count, err);
}

void ae__check_take(ae__checked *actor, const ae_record *record) {
  run *r = actor->run;
  ae_error err = {0};
  if (actor->over || actor->of->over) return;
  ae_status status = take(actor, record, &err);
  if (status == AE_MODULE_QUARANTINED) {
    actor->of->over = true;
    mistake(r, &err, none, none);
  } else if (status != AE_OK) {
    ae__check_fail(actor, &err);
  }
  if (status == AE_SCRIPT_TIMEOUT) lose_all(r, actor->of->of, AE__NEW);
  ae_error_clear(&err);
}

/* -- what is new against what runs -- */

static bool state_of(ae__checked *actor, ae__side side, ae_buf *out) {
  ae__check_half *half = &actor->halves[side];
  ae_buf_reset(out);
  if (!half->state) {
    ae_buf_str(out, ae_buf_view(&half->saved));
    return out->len > 0;
  }
  ae_error err = {0};
  ae_status status =
      ae_script_dump(actor->of->modules[side], half->state, out, &err);
  if (status != AE_OK) fail(actor, side, &err);
  ae_error_clear(&err);
  return status == AE_OK;
}

static void compare_sides(run *r, ae__checked *actor) {
  if (actor->over || actor->alone || actor->told) return;
  if (!state_of(actor, AE__OLD, &r->dumped) ||
      !state_of(actor, AE__NEW, &r->other))
    return;
  ae_str before = ae_buf_view(&r->dumped), after = ae_buf_view(&r->other);
  if (ae_str_eq(before, after)) return;
  ae_error err = {0};
  ae_ref ref = ae__check_ref(actor);
  r->of->counts.differing++;
  if (ae__difference(&ref, actor->version, actor->of->modules[AE__OLD],
                     actor->of->modules[AE__NEW], &err))
    mistake(r, &err, before, after);
  else
    note(r, &err, before, after);
  ae_error_clear(&err);
}

void ae__check_sides(run *r) {
  for (kind *one = r->kinds; one; one = one->next) {
    ae__checked *actor;
    for (size_t at = 0;
         one->modules[AE__OLD] && (actor = ae_map_next(&one->actors, &at));)
      compare_sides(r, actor);
  }
}

void ae__check_free(run *r) {
  while (r->kinds) {
    kind *one = r->kinds;
    ae__checked *actor;
    r->kinds = one->next;
    for (size_t at = 0; (actor = ae_map_next(&one->actors, &at));) {
      give_up(actor, AE__NEW);
      ae_free(actor);
    }
    ae_map_clear(&one->actors);
    ae_free(one->name);
    ae_free(one);
  }
  while (r->realms) {
    realm *one = r->realms;
    r->realms = one->next;
    ae_script_close(one->scripts[AE__OLD]);
    ae_free(one->name);
    ae_free(one);
  }
}
