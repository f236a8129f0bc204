/* Reloading, one namespace after the other, and then all at once:
 *
 *            ┌────────────────────────── next namespace ──────────────────┐
 *            ▼                                                            │
 *   start ─► LOADING ─► COMPARING ─────────────────► JUDGING ─► next ─────┘
 *            (worker)   contract.c: what new code    judge.c      │ all
 *              │  │     lost, and the store holds      │          ▼
 *              │  │                     │              │        SWAP ─► done
 *              │  └─ the same as runs ──┼──────────────┼─► next
 *              └── a mistake ───────────┴──────────────┴─► done: refused
 *
 *   transition               function
 *   → LOADING                load
 *   LOADING → COMPARING      on_loaded
 *   COMPARING → JUDGING      on_compared
 *   JUDGING → next           on_judged
 *   → SWAP                   take_over
 *   → done                   finish
 *
 * Invariants
 * 1. Until SWAP nothing that runs has changed; SWAP is one task of the loop, so
 *    that nobody up the stack holds anything of the old code.
 * 2. A fresh script is the worker's while LOADING, the judge's while JUDGING,
 *    else the loop's. What is not needed any more, old or fresh, the worker
 *    closes: that takes long where a script has many states.
 * 3. One reload at a time; while it is under way the node does not close.
 */
#include "node/reload.h"

#include <stdio.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/reloading.h"

#define FOUND_MAX 20 /* actors that are told of, then the judge stops */

/* A mistake that was found while loading, for the loop to tell. */
typedef struct mistake {
  struct mistake *next;
  ae_error err;
} mistake;

typedef struct step {
  ae__room *room;
  ae_script *fresh;
  ae_reloaded facts;
} step;

typedef struct run {
  ae_reload *of;
  ae_node *node;
  step *steps;
  size_t count, at;
  bool stopped;
  const ae__revision *back; /* NULL: what is in the folder */
  uint64_t from;            /* ns, when this phase began */
  ae_task first, last_turn;
  /* LOADING */
  ae_task task, loaded;
  ae_status status;
  ae_error err;
  mistake *mistakes, **last;
  ae__contract contract;
  ae_judge judge;
  uint32_t found;
  /* what refuses */
  ae_error refusal; /* the first */
  uint32_t refusals;
} run;

/* Of a node that reloads. */
struct ae__reloader {
  ae_node *node;
  ae_worker *worker;
  run *current; /* NULL: none */
  bool nice;    /* the worker's */
  void (*closed)(void *data);
  void *data;
};

static void next(run *r);
static void finish(run *r, ae_status status, const ae_error *err);

static step *at_hand(run *r) {
  return &r->steps[r->at];
}

static double ms_since(uint64_t from) {
  return (double)(ae_clock_mono() - from) / 1e6;
}

/* -- the worker -- */

/* Where processors are short, the loop thread goes first: on Linux each thread
 * has a niceness of its own. */
#define NICE 5

static void run_tasks(void *data, ae_task *task) {
  struct ae__reloader *reloader = data;
  if (!reloader->nice) setpriority(PRIO_PROCESS, 0, NICE);
  reloader->nice = true;
  while (task) {
    ae_task *rest = task->next;
    task->run(task);
    task = rest;
  }
}

typedef struct closing {
  ae_task task;
  ae_script *script;
} closing;

static void close_now(ae_task *task) {
  closing *it = AE_CONTAINER(task, closing, task);
  ae_script_close(it->script);
  ae_free(it);
}

static void close_later(ae_node *node, ae_script *script) {
  if (!script) return;
  closing *it = ae_zalloc(sizeof *it);
  it->task.run = close_now;
  it->script = script;
  ae_worker_push(node->reloader->worker, &it->task);
}

/* -- what is found -- */

static void tell(run *r, ae_reload_finding *finding) {
  finding->ns = at_hand(r)->room->name;
  if (finding->refuses && r->refusals++ == 0)
    ae_error_copy(&r->refusal, finding->err);
  if (r->of->found) r->of->found(r->of->data, finding);
}

static void tell_error(run *r, ae_reload_kind kind, const ae_error *err) {
  ae_reload_finding finding = {
      .kind = kind, .refuses = kind != AE_RELOAD_NOTE, .err = err};
  tell(r, &finding);
}

/* -- LOADING -- */

static void on_mistake(void *data, const ae_error *err) {
  run *r = data;
  mistake *one = ae_zalloc(sizeof *one);
  ae_error_copy(&one->err, err);
  *r->last = one;
  r->last = &one->next;
}

static void load(ae_task *task) {
  run *r = AE_CONTAINER(task, run, task);
  step *s = at_hand(r);
  const ae_namespace_config *config = s->room->config;
  ae_script_options options;
  ae__room_options(r->node, s->room, &options);
  if (r->back) ae__revision_sources(r->back, &options);
  options.mistake = on_mistake;
  options.data = r;
  r->status = ae_script_open(&options, &s->fresh, &r->err);
  if (r->status == AE_OK && config->retry)
    r->status = ae_script_policy(s->fresh, ae_str_of(config->retry), &r->err);
  ae_loop_post(r->node->loop, &r->loaded);
}

static bool tell_mistakes(run *r) {
  bool any = r->mistakes != NULL;
  while (r->mistakes) {
    mistake *one = r->mistakes;
    r->mistakes = one->next;
    tell_error(r, AE_RELOAD_MISTAKE, &one->err);
    ae_error_clear(&one->err);
    ae_free(one);
  }
  r->last = &r->mistakes;
  if (r->status != AE_OK && !any) {
    tell_error(r, AE_RELOAD_MISTAKE, &r->err);
    any = true;
  }
  ae_error_clear(&r->err);
  return any;
}

static bool is_well(ae_script *script) {
  const ae_module *module;
  for (size_t i = 0; (module = ae_script_module_at(script, i)); i++)
    if (ae_module_quarantined(module, NULL)) return false;
  return true;
}

static void on_loaded(ae_task *task) {
  run *r = AE_CONTAINER(task, run, loaded);
  step *s = at_hand(r);
  s->facts.load_ms = ms_since(r->from);
  ae_loop_release(r->node->loop);
  if (tell_mistakes(r) || r->stopped) {
    finish(r, AE_OK, NULL);
    return;
  }
  ae_str revision = ae_script_revision(s->fresh);
  snprintf(s->facts.revision, sizeof s->facts.revision, "%.*s",
           AE_FMT(revision));
  if (strcmp(s->facts.was, s->facts.revision) == 0 &&
      is_well(s->room->script)) {
    close_later(r->node, s->fresh);
    s->fresh = NULL;
    r->at++;
    next(r);
    return;
  }
  r->contract.room = s->room;
  r->contract.fresh = s->fresh;
  ae__contract_check(&r->contract);
}

/* -- COMPARING -- */

static void on_lost(ae__contract *contract, const ae_error *err) {
  tell_error(AE_CONTAINER(contract, run, contract), AE_RELOAD_MISTAKE, err);
}

static void on_note(ae__contract *contract, const ae_error *err) {
  tell_error(AE_CONTAINER(contract, run, contract), AE_RELOAD_NOTE, err);
}

static void on_compared(ae__contract *contract, ae_status status,
                        const ae_error *err) {
  run *r = AE_CONTAINER(contract, run, contract);
  step *s = at_hand(r);
  if (status != AE_OK || r->refusals > 0 || r->stopped) {
    finish(r, status, err);
    return;
  }
  r->from = ae_clock_mono();
  r->found = 0;
  r->judge.realm = s->room->realm;
  r->judge.script = s->fresh;
  r->judge.worker = r->node->reloader->worker;
  r->judge.most = r->node->config->judge_actors;
  ae_judge_start(&r->judge);
}

/* -- JUDGING -- */

/* While snapshots say that the state is the same, it has to be. */
bool ae__difference(const ae_ref *ref, uint64_t version, const ae_module *old,
                    const ae_module *fresh, ae_error *err) {
  ae_buf actor = {0};
  int64_t shape = ae_module_snapshot_shape(fresh);
  bool wrong = shape > 0 && old && ae_module_snapshot_shape(old) == shape;
  ae_ref_format(ref, &actor);
  ae_error_set(err, AE_CONTRACT_ERROR,
               "%s at version %llu would have another state",
               ae_buf_cstr(&actor), (unsigned long long)version);
  if (wrong)
    ae_error_add(err,
                 ": where the new one is right, raise snapshot.version in %s",
                 ae_module_file(fresh));
  ae_error_str(err, "module", ae_module_name(fresh));
  ae_error_str(err, "actor", ae_buf_view(&actor));
  ae_error_uint(err, "version", version);
  ae_buf_clear(&actor);
  return wrong;
}

static void on_judged_one(ae_judge *judge, const ae_judged *judged) {
  run *r = judge->data;
  ae_error err = {0};
  ae_buf actor = {0};
  ae_ref_format(&judged->ref, &actor);
  ae_reload_finding finding = {.kind = AE_RELOAD_FAILURE,
                               .refuses = true,
                               .err = judged->err,
                               .actor = ae_buf_view(&actor),
                               .version = judged->version};
  if (!judged->err) {
    ae_module *old;
    if (ae_script_aggregate(at_hand(r)->room->script, judged->ref.type, &old,
                            NULL) != AE_OK)
      old = NULL;
    finding.kind = AE_RELOAD_DIFFERENCE;
    finding.refuses = ae__difference(&judged->ref, judged->version, old,
                                     judged->module, &err);
    finding.err = &err;
    finding.before = judged->before;
    finding.after = judged->after;
  }
  tell(r, &finding);
  ae_error_clear(&err);
  ae_buf_clear(&actor);
  if (++r->found == FOUND_MAX) ae_judge_stop(judge);
}

static void on_judged(ae_judge *judge, ae_status status, const ae_error *err) {
  run *r = judge->data;
  step *s = at_hand(r);
  s->facts.judge_ms = ms_since(r->from);
  s->facts.actors = judge->actors;
  s->facts.skipped = judge->skipped;
  s->facts.events = judge->events;
  if (status == AE_CANCELED && !r->stopped) status = AE_OK; /* it saw enough */
  if (status != AE_OK || r->refusals > 0 || r->stopped) {
    finish(r, status, err);
    return;
  }
  r->at++;
  next(r);
}

/* -- SWAP -- */

static void take_over(run *r) {
  for (size_t i = 0; i < r->count; i++) {
    step *s = &r->steps[i];
    ae__room *room = s->room;
    if (!s->fresh) continue;
    uint64_t from = ae_clock_mono();
    ae_actors_swap(room->realm, s->fresh);
    s->facts.swap_us = ms_since(from) * 1e3;
    close_later(r->node, room->script);
    room->script = s->fresh;
    s->fresh = NULL;
    room->loaded = ae_clock_now();
    ae__revision_note(room, room->script, r->back);
    if (r->of->quiet) continue;
    ae_log(AE_LOG_INFO,
           r->back ? "modules were rolled back" : "modules were loaded anew",
           "namespace", room->config->name, "revision", s->facts.revision,
           "was", s->facts.was, NULL);
  }
}

static void next(run *r) {
  if (r->at < r->count && !r->stopped) {
    r->from = ae_clock_mono();
    ae_loop_hold(r->node->loop);
    ae_worker_push(r->node->reloader->worker, &r->task);
    return;
  }
  ae_loop_defer(r->node->loop, &r->last_turn);
}

static void last_turn(ae_task *task) {
  run *r = AE_CONTAINER(task, run, last_turn);
  if (!r->stopped) {
    if (!r->of->dry_run) take_over(r);
    for (size_t i = 0; i < r->count && r->of->each; i++)
      r->of->each(r->of->data, &r->steps[i].facts);
  }
  finish(r, AE_OK, NULL);
}

/* -- start and end -- */

static void free_run(run *r) {
  for (size_t i = 0; i < r->count; i++) close_later(r->node, r->steps[i].fresh);
  while (r->mistakes) {
    mistake *one = r->mistakes;
    r->mistakes = one->next;
    ae_error_clear(&one->err);
    ae_free(one);
  }
  ae_error_clear(&r->err);
  ae_error_clear(&r->refusal);
  ae_free(r->steps);
  ae_free(r);
}

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_reload *of = r->of;
  struct ae__reloader *reloader = r->node->reloader;
  ae_error why = {0};
  if (r->stopped) {
    status = ae_error_set(&why, AE_CANCELED, "the node is stopping");
  } else if (r->refusals > 0) {
    status = r->refusal.status;
    ae_error_copy(&why, &r->refusal);
    if (r->refusals > 1) ae_error_add(&why, " (and %u more)", r->refusals - 1);
    ae_error_str(&why, "namespace", at_hand(r)->room->name);
  } else if (status != AE_OK) {
    ae_error_copy(&why, err);
  }
  if (status != AE_OK && r->at < r->count && !r->stopped && !of->quiet)
    ae_log(AE_LOG_WARN, "a reload was refused; the old code goes on",
           "namespace", at_hand(r)->room->config->name, "cause",
           ae_error_text(&why), NULL);
  reloader->current = NULL;
  of->impl = NULL;
  of->done(of, status, &why);
  ae_error_clear(&why);
  free_run(r);
  if (reloader->closed) ae__reloader_close(reloader);
}

static void first(ae_task *task) {
  next(AE_CONTAINER(task, run, first));
}

static ae_status find_rooms(run *r, ae_error *err) {
  ae_node *node = r->node;
  const ae_reload *of = r->of;
  r->steps = ae_zalloc((node->count + 1) * sizeof *r->steps);
  for (size_t i = 0; i < node->count; i++) {
    ae__room *room = &node->rooms[i];
    if (of->ns.ptr ? !ae_str_eq(of->ns, room->name)
                   : of->wanted && !of->wanted(of->data, room->name))
      continue;
    step *s = &r->steps[r->count++];
    s->room = room;
    s->facts.ns = room->name;
    ae_str was = ae_script_revision(room->script);
    snprintf(s->facts.was, sizeof s->facts.was, "%.*s", AE_FMT(was));
    snprintf(s->facts.revision, sizeof s->facts.revision, "%.*s", AE_FMT(was));
  }
  const ae_namespace_config *unused;
  if (of->ns.ptr && r->count == 0)
    return ae_config_namespace(node->config, of->ns, &unused, err);
  if (of->revision.ptr) {
    AE_ASSERT_CMP(r->count, ==, 1);
    return ae__revision_find(r->steps[0].room, of->revision, &r->back, err);
  }
  return AE_OK;
}

static ae_status reloader_of(ae_node *node, ae_error *err) {
  if (node->reloader) return AE_OK;
  struct ae__reloader *reloader = ae_zalloc(sizeof *reloader);
  reloader->node = node;
  ae_status status =
      ae_worker_start(&reloader->worker, "reload", 0, run_tasks, reloader, err);
  if (status == AE_OK)
    node->reloader = reloader;
  else
    ae_free(reloader);
  return status;
}

ae_status ae_node_reload(ae_node *node, ae_reload *reload, ae_error *err) {
  AE_ASSERT(node->actors != NULL);
  ae_status status = reloader_of(node, err);
  if (status != AE_OK) return status;
  if (node->reloader->current || node->reloader->closed) {
    ae_error_set(err, AE_OVERLOADED,
                 "another reload is under way; try again when it is done");
    ae_error_cstr(err, "queue", "reloads");
    ae_error_uint(err, "limit", 1);
    return AE_OVERLOADED;
  }
  run *r = ae_zalloc(sizeof *r);
  r->of = reload;
  r->node = node;
  r->last = &r->mistakes;
  r->task.run = load;
  r->loaded.run = on_loaded;
  r->contract = (ae__contract){
      .node = node, .lost = on_lost, .note = on_note, .done = on_compared};
  r->judge = (ae_judge){.found = on_judged_one, .done = on_judged, .data = r};
  status = find_rooms(r, err);
  if (status != AE_OK) {
    free_run(r);
    return status;
  }
  reload->impl = r;
  node->reloader->current = r;
  r->first.run = first;
  r->last_turn.run = last_turn;
  ae_loop_defer(node->loop, &r->first);
  return AE_OK;
}

void ae__reloader_close(struct ae__reloader *reloader) {
  run *r = reloader->current;
  if (r) { /* it comes back here */
    r->stopped = true;
    r->contract.stopped = true;
    ae_judge_stop(&r->judge);
    return;
  }
  ae_worker_stop(reloader->worker); /* closes what it was given */
  reloader->node->reloader = NULL;
  void (*closed)(void *) = reloader->closed;
  void *data = reloader->data;
  ae_free(reloader);
  closed(data);
}

void ae__reload_end(ae_node *node, void (*cb)(void *data), void *data) {
  struct ae__reloader *reloader = node->reloader;
  reloader->closed = cb;
  reloader->data = data;
  ae__reloader_close(reloader);
}
