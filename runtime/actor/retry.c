/* After a conflict: what others stored meanwhile is fetched, and each command's
 * policy says whether it is decided again, and when. */
#include "actor/internal.h"
#include "base/clock.h"
#include "store/replay.h"

/* A policy that needs to see more than this gives up: the actor has moved too
 * far from what the command was decided on. */
#define EVENTS_SHOWN 10000
#define BYTES_SHOWN (16u << 20)

typedef struct copied {
  ae_record record; /* without what lived in the page */
  size_t at;        /* its bytes, in conflict.bytes */
} copied;

typedef struct conflict {
  ae__actor *actor;
  ae_list commands; /* in order */
  uint64_t attempted;
  uint64_t current;
  ae_read read;
  ae_buf bytes; /* records, one after the other */
  copied *records;
  size_t record_count, record_cap;
  ae_script_event *events;
  size_t event_count, event_cap;
  bool too_many;
} conflict;

typedef struct delay {
  uv_timer_t timer;
  ae_list link; /* in actors->delayed */
  ae__actor *actor;
  ae_command *command;
} delay;

static ae_actors *actors_of(const ae__actor *actor) {
  return actor->type->realm->actors;
}

static void give_up(ae__actor *actor, ae_command *command, uint64_t attempted,
                    uint64_t current, const char *reason) {
  ae_error err = {0};
  ae_ref ref = ae__actor_ref(actor);
  ae_conflict_set(&err, &ref, attempted, current, command->attempt, reason);
  ae__answer_error(actors_of(actor), actor->type, command, AE_VERSION_CONFLICT,
                   current, &err);
  ae_error_clear(&err);
}

static void on_timer_closed(uv_handle_t *handle) {
  ae_free(AE_CONTAINER(handle, delay, timer));
}

static void delay_end(delay *it) {
  ae_list_remove(&it->link);
  it->actor->pins--;
  uv_close((uv_handle_t *)&it->timer, on_timer_closed);
}

static void on_time(uv_timer_t *timer) {
  delay *it = AE_CONTAINER(timer, delay, timer);
  ae__actor *actor = it->actor;
  ae_list_push(&actor->queue, &it->command->link);
  delay_end(it);
  ae__actor_mark(actor);
}

static void later(ae__actor *actor, ae_command *command, double ms) {
  ae_actors *actors = actors_of(actor);
  delay *it = ae_zalloc(sizeof *it);
  it->actor = actor;
  it->command = command;
  actor->pins++;
  ae_list_push(&actors->delayed, &it->link);
  AE_ASSERT_CMP(uv_timer_init(&actors->loop->uv, &it->timer), ==, 0);
  double most = 1000.0 * 60 * 60 * 24 * 365;
  uint64_t timeout = (uint64_t)(ms < most ? ms + 0.5 : most);
  uv_update_time(&actors->loop->uv);
  uv_timer_start(&it->timer, on_time, timeout, 0);
}

void ae__delays_cancel(ae_actors *actors) {
  while (!ae_list_empty(&actors->delayed)) {
    delay *it = AE_CONTAINER(actors->delayed.next, delay, link);
    ae__actor *actor = it->actor;
    ae_command *command = it->command;
    delay_end(it);
    give_up(actor, command, 0, 0, "stopping");
    ae__actor_mark(actor);
  }
}

static void ask(conflict *it, ae_command *command, ae_list *again) {
  ae__actor *actor = it->actor;
  ae__type *type = actor->type;
  ae_actors *actors = actors_of(actor);
  if (command->attempt++ == 0) command->started = ae_clock_mono();
  type->counts.conflicts++;
  bool by_caller = command->expects;
  ae_retry retry = {
      .ns = type->realm->name,
      .type = type->name,
      .id = {actor->id, actor->id_len},
      .attempted_version = it->attempted,
      .current_version = it->current,
      .attempt = command->attempt,
      .elapsed_ms = (double)(ae_clock_mono() - command->started) / 1e6,
      .command = command->name,
      .data = command->data,
      .metadata = command->metadata,
      .expected_by_caller = by_caller,
      .seed = ae_uuid7_random(&actors->uuid),
      .aggregate = type->module,
      .events = it->events,
      .event_count = it->event_count,
  };
  ae_str policy = type->module ? ae_module_retry(type->module) : (ae_str){0};
  if (policy.len == 0) policy = type->realm->policy;
  ae_error err = {0};
  ae_status status = ae__type_check(type, &err);
  if (status != AE_OK)
    ae__answer_error(actors, type, command, status, it->current, &err);
  else if (actors->closing)
    give_up(actor, command, it->attempted, it->current, "stopping");
  else if (it->too_many)
    give_up(actor, command, it->attempted, it->current, "too_far_behind");
  else if ((status = ae_script_retry(type->realm->script, policy, &retry,
                                     &err)) != AE_OK)
    ae__answer_error(actors, type, command, status, it->current, &err);
  else if (!retry.again)
    give_up(actor, command, it->attempted, it->current,
            ae_buf_cstr(&retry.reason));
  else {
    type->counts.retries++;
    if (by_caller) command->marks |= AE__WAIVED;
    if (retry.delay_ms < 0.5)
      ae_list_push(again, &command->link);
    else
      later(actor, command, retry.delay_ms);
  }
  ae_buf_clear(&retry.reason);
  ae_error_clear(&err);
}

static void conflict_free(conflict *it) {
  AE_ASSERT(ae_list_empty(&it->commands));
  ae_actors *actors = actors_of(it->actor);
  ae_buf_clear(&it->bytes);
  ae_free(it->records);
  ae_free(it->events);
  ae_free(it);
  ae__release(actors);
}

static void finish(conflict *it, ae_status status, const ae_error *err) {
  ae__actor *actor = it->actor;
  ae_actors *actors = actors_of(actor);
  ae_list again;
  ae_list_init(&again);
  ae_list *link;
  while ((link = ae_list_shift(&it->commands))) {
    ae_command *command = AE_CONTAINER(link, ae_command, link);
    if (status == AE_OK)
      ask(it, command, &again);
    else
      ae__answer_error(actors, actor->type, command, status, 0, err);
  }
  while (!ae_list_empty(&again)) { /* before the others, in their order */
    ae_list *last = again.prev;
    ae_list_remove(last);
    ae_list_unshift(&actor->queue, last);
  }
  actor->pins--;
  conflict_free(it);
  ae__actor_mark(actor);
}

static void copy_page(conflict *it, const ae_page *page) {
  for (uint32_t i = 0; i < page->count && !it->too_many; i++) {
    const ae_record *record = &page->records[i];
    if (it->bytes.len + record->bytes.len > BYTES_SHOWN) {
      it->too_many = true;
      break;
    }
    if (it->record_count == it->record_cap) {
      it->record_cap = it->record_cap ? it->record_cap * 2 : 8;
      it->records = ae_realloc(it->records, it->record_cap * sizeof(copied));
    }
    it->records[it->record_count++] = (copied){*record, it->bytes.len};
    ae_buf_str(&it->bytes, record->bytes);
  }
}

/* The copied records' events that the command was not decided on. */
static ae_status list_events(conflict *it, ae_error *err) {
  for (size_t i = 0; i < it->record_count; i++) {
    const copied *at = &it->records[i];
    ae_record record = at->record;
    record.ref = ae__actor_ref(it->actor);
    record.bytes.ptr = it->bytes.ptr + at->at;
    ae_page page = {.records = &record, .count = 1};
    ae_replay replay;
    ae_replay_init(&replay, &page, it->attempted + 1, it->current);
    ae_event event;
    ae_status status;
    while ((status = ae_replay_next(&replay, &event, err)) == AE_OK) {
      if (it->event_count == EVENTS_SHOWN) {
        it->too_many = true;
        return AE_OK;
      }
      if (it->event_count == it->event_cap) {
        it->event_cap = it->event_cap ? it->event_cap * 2 : 8;
        it->events = ae_realloc(it->events, it->event_cap * sizeof *it->events);
      }
      it->events[it->event_count++] = ae__script_event(&event);
    }
    if (status != AE_NOT_FOUND) return status;
  }
  return AE_OK;
}

static void on_page(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  conflict *it = read->data;
  if (status != AE_OK) {
    finish(it, status, err);
    return;
  }
  copy_page(it, page);
  if (!page->end && !it->too_many) {
    ae_read_more(read);
    return;
  }
  if (!page->end) ae_read_end(read);
  ae_error problem = {0};
  status = it->too_many ? AE_OK : list_events(it, &problem);
  if (status == AE_REPLAY_ERROR) status = problem.status = AE_ACTOR_DAMAGED;
  finish(it, status, &problem);
  ae_error_clear(&problem);
}

void ae__conflicted(ae__actor *actor, ae_list *commands, uint64_t attempted,
                    uint64_t current) {
  ae_actors *actors = actors_of(actor);
  conflict *it = ae_zalloc(sizeof *it);
  ae__hold(actors);
  it->actor = actor;
  actor->pins++;
  ae_list_init(&it->commands);
  ae_list *link;
  while ((link = ae_list_shift(commands))) ae_list_push(&it->commands, link);
  it->attempted = attempted;
  it->current = current;
  if (attempted >= current) { /* the caller is ahead: there is nothing to see */
    finish(it, AE_OK, NULL);
    return;
  }
  it->read = (ae_read){.ref = ae__actor_ref(actor),
                       .from = attempted + 1,
                       .to = current,
                       .cb = on_page,
                       .data = it};
  ae_error err = {0};
  ae_status status = ae_store_read(actors->store, &it->read, &err);
  if (status != AE_OK) finish(it, status, &err);
  ae_error_clear(&err);
}
