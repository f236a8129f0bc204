/* Snapshots: a cache, saved now and then; a failure is only logged. */
#include "actor/internal.h"

typedef struct snapshot {
  ae_snapshot_write write;
  ae_actors *actors;
  ae_buf state;
  ae_buf name;
} snapshot;

static void snapshot_free(snapshot *it) {
  ae__release(it->actors);
  ae_buf_clear(&it->state);
  ae_buf_clear(&it->name);
  ae_free(it);
}

static void on_saved(ae_write *write, ae_status status, const ae_error *err) {
  snapshot *it = AE_CONTAINER(write, snapshot, write.write);
  if (status != AE_OK)
    ae_log(AE_LOG_WARN, "a snapshot was not saved", "actor",
           ae_buf_cstr(&it->name), "cause", ae_error_text(err), NULL);
  snapshot_free(it);
}

void ae__snapshot_save(ae__actor *actor) {
  ae__type *type = actor->type;
  snapshot *it = ae_zalloc(sizeof *it);
  it->actors = type->realm->actors;
  ae__hold(it->actors);
  ae_ref ref = ae__actor_ref(actor);
  ae_ref_format(&ref, &it->name);
  ae_error err = {0};
  ae_status status =
      ae_script_dump(type->module, actor->state, &it->state, &err);
  if (status == AE_OK) {
    it->write =
        (ae_snapshot_write){.write = {.cb = on_saved},
                            .ref = ref,
                            .version = actor->version,
                            .shape = ae_module_snapshot_shape(type->module),
                            .state = ae_buf_view(&it->state)};
    status = ae_store_save_snapshot(it->actors->store, &it->write, &err);
  }
  if (status == AE_OK) {
    type->counts.snapshots++;
  } else {
    ae_log(AE_LOG_WARN, "a snapshot was not made", "actor",
           ae_buf_cstr(&it->name), "cause", ae_error_text(&err), NULL);
    snapshot_free(it);
  }
  ae_error_clear(&err);
}
