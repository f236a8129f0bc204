/* Reading an actor's state, now or as it was. A live actor answers once no
 * commit of it is in flight; any other is built for this one read, without a
 * place in the table. */
#include "actor/internal.h"

static void answer(ae__state_job *job, ae_status status, uint64_t version,
                   ae_str state, const ae_error *err) {
  ae_actors *actors = job->actors;
  job->read->cb(job->read, status, version, state, err);
  ae_free(job->loader);
  ae_free(job);
  ae__release(actors);
}

static void dump(ae__state_job *job, ae_module *module, ae_state state,
                 uint64_t version) {
  ae_buf bytes = {0};
  ae_error err = {0};
  ae_status status = ae_script_dump(module, state, &bytes, &err);
  answer(job, status, version, ae_buf_view(&bytes), &err);
  ae_error_clear(&err);
  ae_buf_clear(&bytes);
}

void ae__reads_serve(ae__actor *actor) {
  ae_list *link;
  while (ae__actor_holds(actor) && (link = ae_list_shift(&actor->reads)))
    dump(AE_CONTAINER(link, ae__state_job, link), actor->type->module,
         actor->state, actor->version);
}

void ae__reads_fail(ae__actor *actor, ae_status status, const ae_error *err) {
  ae_list failed;
  ae_list_init(&failed);
  ae_list *link;
  while ((link = ae_list_shift(&actor->reads))) ae_list_push(&failed, link);
  while ((link = ae_list_shift(&failed)))
    answer(AE_CONTAINER(link, ae__state_job, link), status, 0, (ae_str){0},
           err);
}

static void on_loaded(ae__loader *loader, ae_status status,
                      const ae_error *err) {
  ae__state_job *job = loader->data;
  if (status != AE_OK) {
    answer(job, status, 0, (ae_str){0}, err);
    return;
  }
  ae__type *type = loader->type; /* the loader goes with the job */
  ae_state state = loader->state;
  uint64_t wanted = job->read->at;
  if (wanted != UINT64_MAX && loader->version < wanted) {
    ae_error late = {0};
    ae_error_set(&late, AE_NOT_FOUND,
                 "%.*s/%.*s/%.*s is at version %llu; there is no version %llu",
                 AE_FMT(loader->ref.ns), AE_FMT(loader->ref.type),
                 AE_FMT(loader->ref.id), (unsigned long long)loader->version,
                 (unsigned long long)wanted);
    ae_error_uint(&late, "version", loader->version);
    answer(job, AE_NOT_FOUND, loader->version, (ae_str){0}, &late);
    ae_error_clear(&late);
  } else {
    dump(job, loader->type->module, state, loader->version);
  }
  ae_script_drop(type->module, state);
}

static void start(ae_task *task) {
  ae__state_job *job = AE_CONTAINER(task, ae__state_job, task);
  const ae_ref *ref = &job->read->ref;
  ae_error err = {0};
  ae__type *type;
  ae_status status;
  if ((status = ae_namespace_check(ref->ns, &err)) != AE_OK ||
      (status = ae_type_check(ref->type, &err)) != AE_OK ||
      (status = ae_id_check(ref->id, &err)) != AE_OK ||
      (status = ae__type_find(job->actors, ref, &type, &err)) != AE_OK) {
    answer(job, status, 0, (ae_str){0}, &err);
    ae_error_clear(&err);
    return;
  }
  ae__actor *actor = NULL;
  if (job->read->at == UINT64_MAX) actor = ae__actor_find(type, ref->id);
  if (actor && actor->phase != AE__COLD) {
    ae_list_push(&actor->reads, &job->link);
    if (actor->phase == AE__READY) ae__actor_mark(actor);
    return;
  }
  job->loader = ae_zalloc(sizeof *job->loader);
  *job->loader = (ae__loader){.actors = job->actors,
                              .type = type,
                              .ref = *ref,
                              .to = job->read->at,
                              .cb = on_loaded,
                              .data = job};
  ae__load(job->loader);
}

void ae_actors_state(ae_actors *actors, ae_state_read *read) {
  ae__state_job *job = ae_zalloc(sizeof *job);
  job->task.run = start;
  job->actors = actors;
  job->read = read;
  ae_list_init(&job->link);
  ae__hold(actors);
  ae_loop_defer(actors->loop, &job->task);
}
