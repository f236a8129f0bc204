/* A state from the newest fitting snapshot and the events after it.
 *
 *   ae__load ─► snapshot? ─► read from snapshot + 1 ─► evolve ─► done
 *      ▲           ▲                 │ history starts later: its base, of
 *      │           │                 │ whatever snapshot.version
 *      │           └─────────────────┤ (once)
 *      └─────────────────────────────┘ the script was stopped meanwhile, or
 *                                      another took its place
 */
#include "actor/internal.h"
#include "store/replay.h"

#define EVOLVE_AT_ONCE 256

static void begin(ae__loader *loader);
static void read_events(ae__loader *loader);

static void finish(ae__loader *loader, ae_status status, const ae_error *err) {
  if (status != AE_OK) {
    ae_script_drop(loader->type->module, loader->state);
    loader->state = 0;
  }
  loader->type->counts.loaded++;
  ae_actors *actors = loader->actors;
  loader->cb(loader, status, err);
  ae__release(actors);
}

ae_script_event ae__script_event(const ae_event *event) {
  return (ae_script_event){.id = event->id,
                           .type = event->type,
                           .revision = event->revision,
                           .version = event->version,
                           .time = event->time,
                           .data = event->data,
                           .metadata = event->metadata,
                           .command_metadata = event->command_metadata};
}

static ae_status evolve(ae__loader *loader, const ae_script_event *events,
                        size_t count, ae_error *err) {
  if (count == 0) return AE_OK;
  size_t done = 0;
  ae_status status =
      ae_script_evolve(loader->type->module, loader->state, loader->ref.ns,
                       loader->ref.id, events, count, &done, err);
  loader->version += done;
  if (status != AE_OK && status != AE_SCRIPT_MEMORY)
    ae_error_add(err, " (replaying version %llu)",
                 (unsigned long long)loader->version + 1);
  return status;
}

static ae_status gap(ae__loader *loader, uint64_t found, uint64_t position,
                     ae_error *err) {
  ae_buf name = {0};
  ae_ref_format(&loader->ref, &name);
  ae_error_set(err, AE_REPLAY_ERROR,
               "%s: version %llu is missing from the store", ae_buf_cstr(&name),
               (unsigned long long)loader->version + 1);
  ae_error_str(err, "actor", ae_buf_view(&name));
  ae_error_uint(err, "version", loader->version + 1);
  ae_error_uint(err, "position", position);
  ae_error_cstr(err, "cause", found ? "gap in versions" : "record is missing");
  ae_buf_clear(&name);
  return AE_REPLAY_ERROR;
}

static ae_status take_page(ae__loader *loader, const ae_page *page,
                           ae_error *err) {
  ae_script_event events[EVOLVE_AT_ONCE];
  size_t count = 0;
  ae_replay replay;
  ae_replay_init(&replay, page, loader->version + 1, loader->to);
  ae_event event;
  ae_status status;
  while ((status = ae_replay_next(&replay, &event, err)) == AE_OK) {
    if (event.version != loader->version + count + 1) {
      status = evolve(loader, events, count, err);
      return status == AE_OK ? gap(loader, event.version, event.position, err)
                             : status;
    }
    events[count++] = ae__script_event(&event);
    if (count == EVOLVE_AT_ONCE) {
      if ((status = evolve(loader, events, count, err)) != AE_OK) return status;
      count = 0;
    }
  }
  if (status != AE_NOT_FOUND) return status;
  return evolve(loader, events, count, err);
}

static void on_snapshot(ae_snapshot_read *read, ae_status status,
                        const ae_error *err) {
  ae__loader *loader = read->data;
  if (status != AE_OK) {
    finish(loader, status, err);
    return;
  }
  if (!ae_script_holds(loader->type->module, loader->state)) {
    begin(loader);
    return;
  }
  ae_error problem = {0};
  if (read->version > loader->version) {
    ae_state state = 0;
    status =
        ae_script_load(loader->type->module, read->state, &state, &problem);
    if (status == AE_OK) {
      ae_script_drop(loader->type->module, loader->state);
      loader->state = state;
      loader->version = read->version;
    } else if (read->base || status == AE_SCRIPT_MEMORY) {
      finish(loader, status, &problem);
      ae_error_clear(&problem);
      return;
    } else {
      ae_buf name = {0};
      ae_ref_format(&loader->ref, &name);
      ae_log(AE_LOG_WARN, "a snapshot cannot be read; replaying instead",
             "actor", ae_buf_cstr(&name), "cause", ae_error_text(&problem),
             NULL);
      ae_buf_clear(&name);
    }
  }
  ae_error_clear(&problem);
  read_events(loader);
}

static void ask_snapshot(ae__loader *loader) {
  loader->snapshot = (ae_snapshot_read){
      .ref = loader->ref,
      .at_most = loader->to,
      .shape = ae_module_snapshot_shape(loader->type->module),
      .fitting = !loader->based,
      .cb = on_snapshot,
      .data = loader};
  ae_error err = {0};
  ae_status status =
      ae_store_load_snapshot(loader->actors->store, &loader->snapshot, &err);
  if (status != AE_OK) finish(loader, status, &err);
  ae_error_clear(&err);
}

static ae_status trimmed(ae__loader *loader, uint64_t base, ae_error *err) {
  ae_error_set(err, AE_HISTORY_TRIMMED,
               "the history of %.*s/%.*s/%.*s starts after version %llu",
               AE_FMT(loader->ref.ns), AE_FMT(loader->ref.type),
               AE_FMT(loader->ref.id), (unsigned long long)base);
  ae_error_uint(err, "from", base + 1);
  return AE_HISTORY_TRIMMED;
}

/* A damaged file can hold a snapshot of a version that was never stored. */
static void start_over(ae__loader *loader, uint64_t latest) {
  ae_buf name = {0};
  ae_error err = {0};
  ae_status status;
  ae_ref_format(&loader->ref, &name);
  if (loader->based) {
    ae_error_set(&err, AE_REPLAY_ERROR,
                 "%s: its base snapshot is of version %llu, and the newest "
                 "event of version %llu",
                 ae_buf_cstr(&name), (unsigned long long)loader->version,
                 (unsigned long long)latest);
    ae_error_str(&err, "actor", ae_buf_view(&name));
    ae_error_uint(&err, "version", loader->version);
    ae_error_cstr(&err, "cause", "events are missing");
    status = AE_REPLAY_ERROR;
  } else {
    ae_log(AE_LOG_WARN,
           "a snapshot is newer than all events; replaying instead", "actor",
           ae_buf_cstr(&name), NULL);
    ae_script_drop(loader->type->module, loader->state);
    loader->state = 0;
    loader->version = 0;
    status = ae_script_initial(loader->type->module, &loader->state, &err);
  }
  ae_buf_clear(&name);
  if (status == AE_OK)
    read_events(loader);
  else
    finish(loader, status, &err);
  ae_error_clear(&err);
}

static void on_page(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  ae__loader *loader = read->data;
  if (status != AE_OK) {
    finish(loader, status, err);
    return;
  }
  ae_error problem = {0};
  if (!ae_script_holds(loader->type->module, loader->state)) {
    if (!page->end) ae_read_end(read);
    begin(loader);
    return;
  }
  if (!loader->replayed && read->base > loader->version) {
    /* Only the base snapshot tells what was before. */
    if (!page->end) ae_read_end(read);
    if (loader->based) {
      status = trimmed(loader, read->base, &problem);
      finish(loader, status, &problem);
    } else {
      loader->based = true;
      ask_snapshot(loader);
    }
    ae_error_clear(&problem);
    return;
  }
  if (!loader->replayed && loader->version > read->latest) {
    if (!page->end) ae_read_end(read);
    start_over(loader, read->latest);
    return;
  }
  loader->replayed = true;
  loader->latest = read->latest;
  status = take_page(loader, page, &problem);
  if (status == AE_OK && !page->end) {
    ae_read_more(read);
    ae_error_clear(&problem);
    return;
  }
  if (!page->end) ae_read_end(read);
  uint64_t wanted = loader->to < loader->latest ? loader->to : loader->latest;
  if (status == AE_OK && loader->version < wanted)
    status = gap(loader, 0, 0, &problem);
  finish(loader, status, &problem);
  ae_error_clear(&problem);
}

static void read_events(ae__loader *loader) {
  loader->read = (ae_read){.ref = loader->ref,
                           .from = loader->version + 1,
                           .to = loader->to,
                           .cb = on_page,
                           .data = loader};
  ae_error err = {0};
  ae_status status = ae_store_read(loader->actors->store, &loader->read, &err);
  if (status != AE_OK) finish(loader, status, &err);
  ae_error_clear(&err);
}

static void begin(ae__loader *loader) {
  loader->state = 0;
  loader->version = 0;
  loader->based = loader->replayed = false;
  ae_error err = {0};
  ae_status status = ae__type_check(loader->type, &err);
  if (status == AE_OK)
    status = ae_script_initial(loader->type->module, &loader->state, &err);
  if (status != AE_OK)
    finish(loader, status, &err);
  else if (ae_module_snapshot_shape(loader->type->module))
    ask_snapshot(loader);
  else
    read_events(loader);
  ae_error_clear(&err);
}

void ae__load(ae__loader *loader) {
  ae__hold(loader->actors);
  begin(loader);
}
