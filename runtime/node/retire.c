/* The log from its start, some actors in a round:
 *
 *   count ─► scan ─► a state for each actor, saved as a base ─► trim ─┐
 *              ▲                                                      │
 *              └────────────── there is more behind ──────────────────┘
 *
 * Of each actor the last commit that is to go tells the base's version; where
 * that is its last one of all, which stays, it is the version before.
 *
 * 1. What goes rests on bases that the code which runs made in this very run:
 *    where an earlier run left one behind it, of other code perhaps, the new
 *    one is made at its version, and is preferred then. A reload in the midst
 *    ends the run.
 * 2. Nothing goes that is behind what rounds were done for. */
#include "node/retire.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "namespace/name.h"

#define ROUND 65536u     /* actors */
#define PAGE (64u << 10) /* bytes decoded in one turn */
#define AT_ONCE 16u      /* states built at a time */
#define NAMED 3u         /* failures in the log */
#define LEAST (1u << 20) /* bytes of a round, at first */
#define ROUNDS 16u       /* between two trims */

typedef struct retiring retiring;

/* An actor that has something to go. */
typedef struct old {
  uint64_t base; /* history starts after it as yet */
  uint64_t first_version, version, position; /* of the last commit to go */
  uint64_t bytes;                            /* of all of them */
  size_t type, len;
  char name[]; /* TYPE/ID */
} old;

typedef struct job {
  retiring *r;
  old *actor;
  uint64_t version;      /* of the base that is made */
  ae_snapshot_read left; /* by an earlier run */
  ae_lookup lookup;
  ae_state_read state;
  ae_snapshot_write base;
} job;

struct retiring {
  ae_retire *of;
  const ae_script *script; /* that makes the states */
  ae_stats_read stats;
  ae_scan scan;
  ae_trim trim;
  ae_map found;
  old **actors;
  size_t count, next;
  uint64_t excess; /* bytes of records that are too many */
  uint64_t quota;  /* bytes that the round takes for it: grows, for much of it
                      may be what stays */
  uint64_t least;  /* of a quota */
  uint64_t taken;  /* bytes in the round */
  uint64_t gain;   /* bytes since the last trim, of actors with new bases */
  unsigned rounds; /* since then */
  bool trimmed;    /* in this run */
  uint64_t after;  /* position up to which rounds were done */
  bool last;       /* nothing is to go behind this round */
  job jobs[AT_ONCE];
  size_t running;
  ae_status status;
  ae_error error;
};

static void round_start(retiring *r);
static void pump(retiring *r);

static void clear_round(retiring *r) {
  for (size_t i = 0; i < r->count; i++) ae_free(r->actors[i]);
  ae_free(r->actors);
  ae_map_clear(&r->found);
  r->actors = NULL;
  r->count = r->next = 0;
  r->taken = 0;
}

static void finish(retiring *r) {
  ae_retire *of = r->of;
  ae_status status = r->status;
  ae_error err = {0};
  clear_round(r);
  ae_error_move(&err, &r->error);
  of->impl = NULL;
  ae_free(r);
  of->done(of, status, status == AE_OK ? NULL : &err);
  ae_error_clear(&err);
}

/* The first that goes wrong ends it all. */
static void fail(retiring *r, ae_status status, const ae_error *err) {
  if (r->status != AE_OK) return;
  r->status = status;
  if (err)
    ae_error_copy(&r->error, err);
  else
    ae_error_set(&r->error, status, "it was ended before");
}

/* -- the store lets go -- */

static void round_end(retiring *r) {
  clear_round(r);
  if (r->status != AE_OK || r->last)
    finish(r);
  else
    round_start(r);
}

static void on_trimmed(ae_write *write, ae_status status, const ae_error *err) {
  retiring *r = write->data;
  r->of->trimmed += r->trim.trimmed;
  r->of->left = r->trim.left;
  if (status != AE_OK) fail(r, status, err);
  r->trimmed = true;
  r->rounds = 0;
  r->gain = 0;
  round_end(r);
}

/* It walks through all that stays, so not for little. Bases may be there that
 * were made before, and not used. */
static bool is_worth_it(const retiring *r) {
  if (r->last) return r->gain > 0 || !r->trimmed;
  if (r->gain == 0) return false;
  return r->rounds >= ROUNDS || (r->excess > 0 && r->gain >= r->excess);
}

static void trim(retiring *r) {
  ae_error err = {0};
  r->rounds++;
  if (!is_worth_it(r)) {
    round_end(r);
    return;
  }
  r->trim = (ae_trim){.write = {.cb = on_trimmed, .data = r},
                      .ns = r->of->ns,
                      .before = r->of->before,
                      .bytes = r->of->bytes,
                      .until = r->after,
                      .enough = &r->of->enough};
  ae_status status = ae_store_trim(r->of->store, &r->trim, &err);
  if (status != AE_OK) {
    fail(r, status, &err);
    finish(r);
  }
  ae_error_clear(&err);
}

/* -- a base for each actor -- */

static ae_ref ref_of(const retiring *r, const old *actor) {
  return (ae_ref){
      .ns = r->of->ns,
      .type = {actor->name, actor->type},
      .id = {actor->name + actor->type + 1, actor->len - actor->type - 1}};
}

/* It keeps what it has; the others go on. */
static void spare(job *j, ae_status status, const ae_error *err) {
  retiring *r = j->r;
  if (status == AE_CANCELED || status == AE_STORE_UNAVAILABLE ||
      status == AE_STORE_FULL || status == AE_STORE_UNCERTAIN)
    fail(r, status, err);
  if (r->status != AE_OK || r->of->failed++ >= NAMED) return;
  ae_buf name = {0};
  ae_ref ref = ref_of(r, j->actor);
  ae_ref_format(&ref, &name);
  ae_log(AE_LOG_WARN,
         "retention keeps what is old of an actor: there is no state to begin "
         "its history with",
         "actor", ae_buf_cstr(&name), "cause",
         err ? ae_error_text(err) : ae_status_text(status), NULL);
  ae_buf_clear(&name);
}

static void job_end(job *j) {
  retiring *r = j->r;
  j->actor = NULL;
  r->running--;
  pump(r);
}

static void on_saved(ae_write *write, ae_status status, const ae_error *err) {
  job *j = write->data;
  if (status == AE_OK) {
    j->r->of->bases++;
    j->r->gain += j->actor->bytes;
  } else {
    spare(j, status, err);
  }
  job_end(j);
}

/* 0: what is old of it stays, for nothing else tells its state. */
static int64_t shape_of(const retiring *r, const old *actor) {
  ae_str type = {actor->name, actor->type};
  ae_module *module = ae_script_find(ae_realm_script(r->of->realm), type);
  if (!module || ae_module_kind_of(module) != AE_MODULE_AGGREGATE) return 0;
  return ae_module_snapshot_shape(module);
}

static void on_state(ae_state_read *read, ae_status status, uint64_t version,
                     ae_str state, const ae_error *err) {
  job *j = read->data;
  ae_error problem = {0};
  int64_t shape = shape_of(j->r, j->actor);
  if (status != AE_OK) {
    spare(j, status, err);
  } else if (shape != 0 && j->r->status == AE_OK) {
    j->base = (ae_snapshot_write){.write = {.cb = on_saved, .data = j},
                                  .ref = read->ref,
                                  .version = version,
                                  .shape = shape,
                                  .state = state,
                                  .base = true};
    status = ae_store_save_snapshot(j->r->of->store, &j->base, &problem);
    if (status == AE_OK) return;
    spare(j, status, &problem);
  }
  ae_error_clear(&problem);
  job_end(j);
}

static void on_left(ae_snapshot_read *read, ae_status status,
                    const ae_error *err) {
  job *j = read->data;
  if (status != AE_OK) {
    spare(j, status, err);
    job_end(j);
    return;
  }
  if (read->version > j->version) j->version = read->version;
  j->state = (ae_state_read){
      .ref = read->ref, .at = j->version, .cb = on_state, .data = j};
  ae_actors_state(j->r->of->actors, &j->state);
}

/* Of no shape, so bases alone. */
static void ask_left(job *j) {
  ae_error err = {0};
  j->left = (ae_snapshot_read){
      .ref = j->lookup.ref, .at_most = UINT64_MAX, .cb = on_left, .data = j};
  ae_status status = ae_store_load_snapshot(j->r->of->store, &j->left, &err);
  if (status != AE_OK) {
    spare(j, status, &err);
    job_end(j);
  }
  ae_error_clear(&err);
}

static void on_lookup(ae_lookup *lookup, ae_status status,
                      const ae_error *err) {
  job *j = lookup->data;
  const old *actor = j->actor;
  if (status != AE_OK) spare(j, status, err);
  uint64_t version = actor->version;
  if (lookup->last == actor->position) version = actor->first_version - 1;
  if (status != AE_OK || j->r->status != AE_OK || version <= actor->base) {
    job_end(j);
    return;
  }
  j->version = version;
  ask_left(j);
}

/* Once for each aggregate. */
static void remember_bare(ae_retire *of, ae_str type) {
  ae_buf word = {0};
  ae_buf_printf(&word, "%.*s ", AE_FMT(type));
  const char *at = of->bare.len ? ae_buf_cstr(&of->bare) : "";
  while ((at = strstr(at, ae_buf_cstr(&word))) && at != of->bare.ptr &&
         at[-1] != ' ')
    at++;
  if (!at) ae_buf_str(&of->bare, ae_buf_view(&word));
  ae_buf_clear(&word);
}

static void job_start(job *j, old *actor) {
  retiring *r = j->r;
  ae_error err = {0};
  j->actor = actor;
  r->running++;
  j->lookup = (ae_lookup){.ref = ref_of(r, actor), .cb = on_lookup, .data = j};
  ae_status status = ae_store_lookup(r->of->store, &j->lookup, &err);
  if (status != AE_OK) {
    fail(r, status, &err);
    j->actor = NULL;
    r->running--;
  }
  ae_error_clear(&err);
}

/* The next that has something to go; NULL: there is none. */
static old *choose(retiring *r) {
  while (r->status == AE_OK && r->next < r->count) {
    old *actor = r->actors[r->next++];
    if (actor->version <= actor->base) continue;
    if (shape_of(r, actor) != 0) return actor;
    remember_bare(r->of, (ae_str){actor->name, actor->type});
  }
  return NULL;
}

static void pump(retiring *r) {
  if (r->of->enough || ae_realm_script(r->of->realm) != r->script)
    fail(r, AE_CANCELED, NULL);
  for (size_t i = 0; i < AT_ONCE; i++) {
    old *actor = r->jobs[i].actor ? NULL : choose(r);
    if (actor) job_start(&r->jobs[i], actor);
  }
  if (r->running > 0) return;
  if (r->status != AE_OK)
    finish(r);
  else
    trim(r);
}

/* -- what is to go -- */

static void remember(retiring *r, const ae_record *record,
                     const ae_commit *commit) {
  char name[AE_TYPE_MAX + 1 + AE_ID_MAX];
  const ae_ref *ref = &record->ref;
  memcpy(name, ref->type.ptr, ref->type.len);
  name[ref->type.len] = '/';
  memcpy(name + ref->type.len + 1, ref->id.ptr, ref->id.len);
  size_t len = ref->type.len + 1 + ref->id.len;
  old *actor = ae_map_get(&r->found, (ae_str){name, len});
  if (!actor) {
    actor = ae_zalloc(sizeof *actor + len);
    actor->type = ref->type.len;
    actor->len = len;
    memcpy(actor->name, name, len);
    ae_map_put(&r->found, (ae_str){actor->name, len}, actor);
  }
  actor->base = record->base;
  actor->first_version = commit->first_version;
  actor->version = ae_commit_version(commit);
  actor->position = record->position;
  actor->bytes += record->bytes.len;
}

/* False: nothing is to go from here on. */
static bool take(retiring *r, const ae_record *record) {
  ae_commit commit;
  /* Damage stays, and its actor. */
  if (ae_commit_decode(record->bytes, &commit, NULL) != AE_OK) return true;
  bool is_old = r->of->before > 0 && commit.time < r->of->before;
  if (!is_old && r->taken >= r->quota) return false;
  r->taken += record->bytes.len;
  remember(r, record, &commit);
  return true;
}

static void round_look(retiring *r) {
  old *actor;
  r->actors = ae_alloc((r->found.count + 1) * sizeof *r->actors);
  for (size_t at = 0; (actor = ae_map_next(&r->found, &at));)
    r->actors[r->count++] = actor;
  ae_map_clear(&r->found);
  pump(r);
}

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  retiring *r = scan->data;
  if (status != AE_OK) {
    fail(r, status, err);
    round_look(r);
    return;
  }
  bool more = true;
  for (uint32_t i = 0; i < page->count && more; i++) {
    more = take(r, &page->records[i]);
    r->last = !more && r->quota == 0;
    if (more) r->after = page->records[i].position;
    more = more && r->found.count < ROUND;
  }
  if (more && page->end) r->last = true;
  if (more && !page->end && !r->of->enough) {
    ae_scan_more(scan);
    return;
  }
  if (!page->end) ae_scan_end(scan);
  round_look(r);
}

static void round_start(retiring *r) {
  const ae_retire *of = r->of;
  ae_error err = {0};
  r->excess = of->bytes > 0 && of->left > of->bytes ? of->left - of->bytes : 0;
  if (r->excess == 0 && of->before == 0) {
    finish(r);
    return;
  }
  r->quota = r->excess > 0 && r->excess < r->least ? r->least : r->excess;
  r->least *= 2;
  r->scan = (ae_scan){.ns = of->ns,
                      .after = r->after,
                      .until = UINT64_MAX,
                      .page = PAGE,
                      .cb = on_page,
                      .data = r};
  ae_status status = ae_store_scan(of->store, &r->scan, &err);
  if (status != AE_OK) {
    fail(r, status, &err);
    finish(r);
  }
  ae_error_clear(&err);
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  retiring *r = read->data;
  r->of->left = read->stats.bytes;
  if (status != AE_OK) {
    fail(r, status, err);
    finish(r);
  } else {
    round_start(r);
  }
}

ae_status ae_retire_start(ae_retire *retire, ae_error *err) {
  retiring *r = ae_zalloc(sizeof *r);
  r->of = retire;
  r->script = ae_realm_script(retire->realm);
  r->least = LEAST;
  for (size_t i = 0; i < AT_ONCE; i++) r->jobs[i].r = r;
  r->stats = (ae_stats_read){.ns = retire->ns, .cb = on_stats, .data = r};
  ae_status status = ae_store_stats(retire->store, &r->stats, err);
  retire->impl = r;
  if (status != AE_OK) {
    retire->impl = NULL;
    ae_free(r);
  }
  return status;
}

void ae_retire_clear(ae_retire *retire) {
  ae_buf_clear(&retire->bare);
}
