/*  stats ─► scan ─► page ─► snapshots of the actors new in it ─► evolve ─┐
 *             ▲                                                          │
 *             └──────────────────────────────────────────────────────────┘
 *
 * Invariants: an actor's state is in the script (`state`) or dumped (`saved`),
 * or it is not followed (`over`). States in a script stay below half of its
 * memory: then all of them are dumped. When a handler is stopped, all states in
 * its script are gone, and what had one is over. */
#include "node/check.h"

#include "base/map.h"
#include "base/mem.h"
#include "node/script_event.h"
#include "store/replay.h"

#define EVOLVE_AT_ONCE 256

typedef struct run run;
typedef struct followed followed;

/* A namespace, as the store knows it. */
typedef struct realm {
  char *name;
  ae_script *script; /* NULL: the app has no such namespace */
  const ae_namespace_config *config;
  followed *live; /* those whose state is in the script */
  struct realm *next;
} realm;

/* A type in it. */
typedef struct kind {
  realm *of;
  char *name;
  ae_module *module; /* NULL: the app has no such aggregate */
  bool over;         /* it is quarantined */
  ae_map actors;     /* id → followed */
  struct kind *next;
} kind;

struct followed {
  kind *of;
  ae_state state; /* 0: not in the script */
  ae_buf saved;
  uint64_t version;
  uint64_t stored; /* version that the last commit left it at; 0: none yet */
  bool asked;      /* its snapshot has been asked for */
  bool over;
  ae_snapshot_read read;
  uint64_t snapshot_version; /* 0: none to compare */
  ae_buf snapshot;
  run *run;
  followed *next_live;
  size_t id_len;
  char id[];
};

struct run {
  ae_check *of;
  ae_node *node;
  realm *realms;
  kind *kinds;
  kind *last; /* most often the next one too */
  ae_stats_read stats;
  ae_scan scan;
  bool scanning; /* to be ended by us */
  bool stopped;
  bool at_end;
  ae_record *records; /* the page's, copied */
  followed **actors;  /* whose they are */
  uint32_t record_count;
  ae_buf bytes;
  unsigned pending; /* snapshots asked for */
  ae_buf dumped;
};

/* -- who is who -- */

static char *dup_str(ae_str text) {
  char *copy = ae_alloc(text.len + 1);
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = 0;
  return copy;
}

static void mistake(run *r, const ae_error *err, ae_str snapshot,
                    ae_str replayed) {
  r->of->counts.mistakes++;
  r->of->mistake(r->of, err, snapshot, replayed);
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
      AE_OK)
    made->script = ae_node_script(r->node, name);
  else {
    ae_error_add(&err, " (the store holds events of it)");
    mistake(r, &err, (ae_str){0}, (ae_str){0});
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
  if (made->of->script && ae_script_aggregate(made->of->script, ref->type,
                                              &made->module, &err) != AE_OK) {
    made->module = NULL;
    ae_error_add(&err, " (the store holds events of %.*s/%.*s)",
                 AE_FMT(ref->ns), AE_FMT(ref->type));
    mistake(r, &err, (ae_str){0}, (ae_str){0});
  }
  ae_error_clear(&err);
  return made;
}

static followed *actor_of(run *r, const ae_ref *ref) {
  kind *of = kind_of(r, ref);
  uint64_t hash = ae_map_hash(ref->id);
  followed *actor = ae_map_get_hashed(&of->actors, ref->id, hash);
  if (actor) return actor;
  actor = ae_zalloc(sizeof *actor + ref->id.len);
  actor->of = of;
  actor->run = r;
  actor->over = !of->module;
  actor->id_len = ref->id.len;
  memcpy(actor->id, ref->id.ptr, ref->id.len);
  ae_str id = {actor->id, actor->id_len};
  ae_map_put_hashed(&of->actors, id, hash, actor);
  r->of->counts.actors++;
  return actor;
}

static ae_ref ref_of(const followed *actor) {
  return (ae_ref){ae_str_of(actor->of->of->name),
                  ae_str_of(actor->of->name),
                  {actor->id, actor->id_len}};
}

/* -- states -- */

static void give_up(followed *actor) {
  actor->over = true;
  if (actor->state) ae_script_drop(actor->of->module, actor->state);
  actor->state = 0;
  ae_buf_clear(&actor->saved);
  ae_buf_clear(&actor->snapshot);
}

/* Puts the actor's name before the message, and among the facts. */
static void name_it(const followed *actor, ae_error *err) {
  ae_ref ref = ref_of(actor);
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

static void report(followed *actor, ae_error *err) {
  name_it(actor, err);
  mistake(actor->run, err, (ae_str){0}, (ae_str){0});
  give_up(actor);
}

/* Dumps all states of a script, so that there is room again. */
static void save_all(realm *of) {
  for (followed *actor = of->live; actor; actor = actor->next_live) {
    if (!actor->state) continue;
    ae_error err = {0};
    ae_buf_reset(&actor->saved);
    ae_status status =
        ae_script_dump(actor->of->module, actor->state, &actor->saved, &err);
    ae_script_drop(actor->of->module, actor->state);
    actor->state = 0;
    if (status != AE_OK) report(actor, &err);
    ae_error_clear(&err);
  }
  of->live = NULL;
  ae_script_collect(of->script);
}

/* A handler was stopped: who had a state in the script is told of together. */
static void lose_all(run *r, realm *of) {
  uint64_t lost = 0;
  for (followed *actor = of->live; actor; actor = actor->next_live) {
    if (!actor->state || ae_script_holds(actor->of->module, actor->state))
      continue;
    give_up(actor);
    lost++;
  }
  of->live = NULL;
  if (lost == 0) return;
  ae_error err = {0};
  ae_error_set(&err, AE_SCRIPT_TIMEOUT,
               "namespace %s: %llu more actors were being replayed when a "
               "handler was stopped, and are not checked",
               of->name, (unsigned long long)lost);
  mistake(r, &err, (ae_str){0}, (ae_str){0});
  ae_error_clear(&err);
}

static ae_status wake(followed *actor, ae_error *err) {
  realm *of = actor->of->of;
  if (actor->state) return AE_OK;
  if (of->live && ae_script_memory(of->script) > of->config->memory / 2)
    save_all(of);
  ae_status status =
      actor->saved.len > 0
          ? ae_script_load(actor->of->module, ae_buf_view(&actor->saved),
                           &actor->state, err)
          : ae_script_initial(actor->of->module, &actor->state, err);
  if (status != AE_OK) return status;
  actor->next_live = of->live;
  of->live = actor;
  return AE_OK;
}

static ae_status compare(followed *actor, ae_error *err) {
  run *r = actor->run;
  ae_buf_reset(&r->dumped);
  ae_status status =
      ae_script_dump(actor->of->module, actor->state, &r->dumped, err);
  if (status != AE_OK) return status;
  ae_str replayed = ae_buf_view(&r->dumped);
  ae_str snapshot = ae_buf_view(&actor->snapshot);
  if (ae_str_eq(replayed, snapshot)) return AE_OK;
  ae_error_set(err, AE_REPLAY_ERROR,
               "the snapshot at version %llu differs from what the events "
               "make; raise snapshot.version in %s where the new state is "
               "right",
               (unsigned long long)actor->version,
               ae_module_file(actor->of->module));
  ae_error_uint(err, "version", actor->version);
  name_it(actor, err);
  mistake(r, err, snapshot, replayed);
  ae_error_clear(err);
  return AE_OK;
}

static ae_status evolve(followed *actor, const ae_script_event *events,
                        size_t count, ae_error *err) {
  if (count == 0) return AE_OK;
  size_t done = 0;
  ae_status status = ae_script_evolve(
      actor->of->module, actor->state, ae_str_of(actor->of->of->name),
      (ae_str){actor->id, actor->id_len}, events, count, &done, err);
  actor->version += done;
  if (status != AE_OK) {
    ae_error_add(err, " (replaying version %llu)",
                 (unsigned long long)actor->version + 1);
    return status;
  }
  if (actor->version == actor->snapshot_version) return compare(actor, err);
  return AE_OK;
}

/* One commit's events. Groups end where a snapshot is to be compared. */
static ae_status take_record(followed *actor, const ae_page *page,
                             ae_error *err) {
  ae_script_event events[EVOLVE_AT_ONCE];
  size_t count = 0;
  ae_replay replay;
  ae_event event;
  const ae_record *record = page->records;
  if (record->first_version <= actor->stored)
    return ae_error_set(err, AE_REPLAY_ERROR, "version %llu is stored twice",
                        (unsigned long long)record->first_version);
  actor->stored = record->first_version - 1 + record->event_count;
  ae_status status = wake(actor, err);
  if (status != AE_OK) return status;
  ae_replay_init(&replay, page, actor->version + 1, UINT64_MAX);
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

/* -- pages -- */

static void free_run(run *r) {
  while (r->kinds) {
    kind *one = r->kinds;
    followed *actor;
    r->kinds = one->next;
    for (size_t at = 0; (actor = ae_map_next(&one->actors, &at));) {
      give_up(actor);
      ae_free(actor);
    }
    ae_map_clear(&one->actors);
    ae_free(one->name);
    ae_free(one);
  }
  while (r->realms) {
    realm *one = r->realms;
    r->realms = one->next;
    ae_free(one->name);
    ae_free(one);
  }
  ae_free(r->records);
  ae_free(r->actors);
  ae_buf_clear(&r->bytes);
  ae_buf_clear(&r->dumped);
  ae_free(r);
}

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_check *of = r->of;
  if (r->scanning) ae_scan_end(&r->scan);
  free_run(r);
  of->impl = NULL;
  of->done(of, status, err);
}

static void take_page(run *r) {
  ae_error err = {0};
  for (uint32_t i = 0; i < r->record_count; i++) {
    const ae_record *record = &r->records[i];
    followed *actor = r->actors[i];
    r->of->counts.commits++;
    if (actor->over || actor->of->over) continue;
    ae_page one = {.records = record, .count = 1, .end = true};
    ae_status status = take_record(actor, &one, &err);
    if (status == AE_MODULE_QUARANTINED) {
      actor->of->over = true;
      mistake(r, &err, (ae_str){0}, (ae_str){0});
    } else if (status != AE_OK) {
      report(actor, &err);
    }
    if (status == AE_SCRIPT_TIMEOUT) lose_all(r, actor->of->of);
    ae_error_clear(&err);
  }
  if (r->of->progress) r->of->progress(r->of);
  if (r->stopped)
    finish(r, AE_CANCELED, NULL);
  else if (r->at_end)
    finish(r, AE_OK, NULL);
  else
    ae_scan_more(&r->scan);
}

static void on_snapshot(ae_snapshot_read *read, ae_status status,
                        const ae_error *err) {
  followed *actor = read->data;
  run *r = actor->run;
  if (status != AE_OK) {
    ae_error copy = {0};
    ae_error_set(&copy, status, "its snapshot cannot be read: %s",
                 err ? ae_error_text(err) : ae_status_text(status));
    report(actor, &copy);
    ae_error_clear(&copy);
  } else if (read->version > 0 && read->base) {
    /* What is before it may be gone: replay starts here. */
    actor->version = read->version;
    ae_buf_str(&actor->saved, read->state);
  } else if (read->version > 0 && !r->of->no_snapshots) {
    actor->snapshot_version = read->version;
    ae_buf_str(&actor->snapshot, read->state);
  }
  if (--r->pending == 0) take_page(r);
}

static void ask_snapshot(run *r, followed *actor) {
  ae_error err = {0};
  actor->read =
      (ae_snapshot_read){.ref = ref_of(actor),
                         .at_most = UINT64_MAX,
                         .shape = ae_module_snapshot_shape(actor->of->module),
                         .cb = on_snapshot,
                         .data = actor};
  if (ae_store_load_snapshot(ae_node_store(r->node), &actor->read, &err) ==
      AE_OK)
    r->pending++;
  else
    report(actor, &err);
  ae_error_clear(&err);
}

/* The page is the store's; it is needed until the snapshots are there. */
static void copy_page(run *r, const ae_page *page) {
  r->record_count = page->count;
  r->records = ae_realloc(r->records, sizeof(ae_record) * (page->count + 1));
  r->actors = ae_realloc(r->actors, sizeof(followed *) * (page->count + 1));
  ae_buf_reset(&r->bytes);
  size_t size = 0;
  for (uint32_t i = 0; i < page->count; i++) {
    const ae_record *from = &page->records[i];
    size += from->bytes.len + from->ref.ns.len + from->ref.type.len +
            from->ref.id.len;
  }
  ae_buf_reserve(&r->bytes, size + 1);
  for (uint32_t i = 0; i < page->count; i++) {
    r->records[i] = page->records[i];
    ae_str *parts[] = {&r->records[i].bytes, &r->records[i].ref.ns,
                       &r->records[i].ref.type, &r->records[i].ref.id};
    for (size_t k = 0; k < 4; k++) {
      const char *at = r->bytes.ptr + r->bytes.len;
      ae_buf_str(&r->bytes, *parts[k]);
      parts[k]->ptr = at;
    }
  }
}

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = scan->data;
  if (status != AE_OK) {
    r->scanning = false;
    finish(r, status, err);
    return;
  }
  r->at_end = page->end;
  if (page->end) r->scanning = false;
  copy_page(r, page);
  r->pending = 1; /* holds the page until all are asked */
  for (uint32_t i = 0; i < r->record_count; i++) {
    followed *actor = actor_of(r, &r->records[i].ref);
    r->actors[i] = actor;
    if (actor->asked || actor->over) continue;
    actor->asked = true;
    if (ae_module_snapshot_shape(actor->of->module) ||
        r->records[i].first_version > 1)
      ask_snapshot(r, actor);
  }
  if (--r->pending == 0) take_page(r);
}

static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  run *r = stats->data;
  ae_error why = {0};
  if (status == AE_OK) {
    r->of->total = stats->stats.commits;
    r->scan =
        (ae_scan){.until = stats->stats.position, .cb = on_page, .data = r};
    status = ae_store_scan(ae_node_store(r->node), &r->scan, &why);
    r->scanning = status == AE_OK;
    err = &why;
  }
  if (status != AE_OK) finish(r, status, err);
  ae_error_clear(&why);
}

ae_status ae_check_start(ae_node *node, ae_check *check, ae_error *err) {
  run *r = ae_zalloc(sizeof *r);
  r->of = check;
  r->node = node;
  r->stats = (ae_stats_read){.cb = on_stats, .data = r};
  check->impl = r;
  ae_status status = ae_store_stats(ae_node_store(node), &r->stats, err);
  if (status == AE_OK) return AE_OK;
  check->impl = NULL;
  free_run(r);
  return status;
}

void ae_check_stop(ae_check *check) {
  run *r = check->impl;
  if (r) r->stopped = true;
}
