/* What became of commands, and who is told. */
#include "actor/internal.h"
#include "event/skip.h"

void ae__hold(ae_actors *actors) {
  if (actors->busy++ == 0) ae_loop_hold(actors->loop);
}

void ae__release(ae_actors *actors) {
  AE_ASSERT_CMP(actors->busy, >, 0);
  if (--actors->busy > 0) return;
  ae_loop_release(actors->loop);
  if (!actors->closing || actors->close_deferred) return;
  actors->close_deferred = true;
  ae_loop_defer(actors->loop, &actors->close);
}

static void count(ae__type *type, const ae_command *command,
                  const ae_outcome *outcome) {
  ae_type_counts *counts = &type->counts;
  uint64_t took = ae_loop_time(type->realm->actors->loop) - command->submitted;
  counts->took_ns += took;
  counts->took[ae__took(took)]++;
  counts->commands++;
  if (outcome->status == AE_OK)
    counts->accepted++;
  else if (outcome->status == AE_REJECTED)
    counts->rejected++;
  else if (outcome->status != AE_VERSION_CONFLICT)
    counts->failed++;
  uint32_t events = outcome->repeated ? 0 : outcome->event_count;
  counts->events += events;
  if (command->marks & AE__RESERVED) ae__quota_settle(type->realm, events);
}

void ae__answer(ae_actors *actors, ae__type *type, ae_command *command,
                ae_outcome *outcome) {
  ae_list_remove(&command->id_link);
  while (command) {
    ae_command *next = command->joined;
    if (type) count(type, command, outcome);
    if (command->marks & AE__WAITING) type->realm->waiting--;
    actors->waiting--;
    if (actors->observe) {
      outcome->given = 0;
      actors->observe(actors->observe_data, command, outcome);
    }
    outcome->given = 0;
    command->cb(command, outcome);
    outcome->repeated = true;
    command = next;
    ae__release(actors);
  }
}

void ae__answer_error(ae_actors *actors, ae__type *type, ae_command *command,
                      ae_status status, uint64_t version, const ae_error *err) {
  ae_outcome outcome = {.status = status, .version = version, .error = err};
  ae__answer(actors, type, command, &outcome);
}

bool ae_outcome_event(ae_outcome *outcome, ae_event *event) {
  ae__stored *stored = outcome->stored;
  if (!stored || outcome->given >= outcome->event_count) return false;
  if (!stored->decoded) {
    uint64_t position = stored->cursor.position;
    AE_ASSERT(ae_commit_decode(stored->record, &stored->commit, NULL) == AE_OK);
    ae_commit_walk(&stored->cursor, &stored->commit, position);
    stored->decoded = true;
  }
  uint32_t wanted = outcome->first_event + outcome->given;
  if (stored->cursor.index > wanted)
    ae_commit_walk(&stored->cursor, &stored->commit, stored->cursor.position);
  do {
    if (!ae_commit_next(&stored->cursor, event)) return false;
  } while (event->index < wanted);
  outcome->given++;
  return true;
}

ae_status ae__id_reused(const ae_command *command, ae_error *err) {
  ae_error_set(err, AE_ID_REUSED,
               "the id '%.*s' was used for another command; give each command "
               "its own",
               AE_FMT(command->id));
  ae_error_str(err, "id", command->id);
  return AE_ID_REUSED;
}

void ae__answer_repeated(ae__actor *actor, ae_command *command, ae_str record,
                         uint64_t position) {
  ae_actors *actors = actor->type->realm->actors;
  ae_error err = {0};
  ae__stored stored = {.record = record};
  ae_commit_command kept;
  uint32_t first;
  ae_status status;
  if (record.len == 0) { /* its id is kept, to take effect once all the same */
    status = ae_error_set(&err, AE_HISTORY_TRIMMED,
                          "the command with the id '%.*s' was done before; "
                          "retention removed what became of it",
                          AE_FMT(command->id));
    if (position < UINT64_MAX) ae_error_uint(&err, "from", position + 1);
    ae__answer_error(actors, actor->type, command, status, actor->version,
                     &err);
    ae_error_clear(&err);
    return;
  }
  status = ae_commit_decode(record, &stored.commit, &err);
  if (status == AE_OK && ae_skip_is(&stored.commit)) {
    status =
        ae_error_set(&err, AE_REPLAY_ERROR,
                     "the command with the id '%.*s' was done before; what "
                     "became of it could not be read any more, and was "
                     "given up by `aether repair`",
                     AE_FMT(command->id));
    ae_error_uint(&err, "position", position);
    ae_error_cstr(&err, "cause", "skipped");
  } else if (status == AE_OK &&
             !ae_commit_find(&stored.commit, command->id, &kept, &first)) {
    status = ae_error_set(&err, AE_REPLAY_ERROR,
                          "the commit at position %llu does not hold the "
                          "command id that the store's index names",
                          (unsigned long long)position);
    ae_error_uint(&err, "position", position);
    ae_error_cstr(&err, "cause", "index and record differ");
  }
  if (status != AE_OK) {
    ae__answer_error(actors, actor->type, command, status, actor->version,
                     &err);
  } else if (kept.digest != command->digest) {
    status = ae__id_reused(command, &err);
    ae__answer_error(actors, actor->type, command, status, actor->version,
                     &err);
  } else {
    stored.decoded = true;
    ae_commit_walk(&stored.cursor, &stored.commit, position);
    ae_outcome outcome = {
        .status = AE_OK,
        .version = stored.commit.first_version - 1 + first + kept.events,
        .position = position,
        .repeated = true,
        .event_count = kept.events,
        .first_event = first,
        .stored = &stored};
    if (kept.reason.ptr) {
      outcome.status =
          ae_error_set(&err, AE_REJECTED, "%.*s", AE_FMT(kept.reason));
      ae_error_str(&err, "reason", kept.reason);
      if (kept.details.len) ae_error_pack(&err, "details", kept.details);
      outcome.error = &err;
    }
    ae__answer(actors, actor->type, command, &outcome);
  }
  ae_error_clear(&err);
}
