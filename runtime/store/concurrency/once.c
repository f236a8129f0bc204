#include "store/concurrency/once.h"

#include "base/map.h"
#include "event/skip.h"

ae_status ae__once_init(ae__once *once, ae_str record, ae_error *err) {
  ae_status status = ae_commit_decode(record, &once->commit, err);
  if (status != AE_OK) return status;
  once->commands = ae_unpack_of(once->commit.commands);
  once->left = once->commit.command_count;
  return AE_OK;
}

bool ae__once_next(ae__once *once, ae_str *id) {
  while (once->left > 0) {
    ae_commit_command command;
    once->left--;
    if (!ae_commit_command_next(&once->commands, &command)) return false;
    if (!command.id.ptr) continue;
    *id = command.id;
    return true;
  }
  return false;
}

bool ae__once_holds(ae_str record, ae_str id) {
  ae__once once;
  ae_str held;
  if (ae__once_init(&once, record, NULL) != AE_OK) return false;
  if (ae_skip_is(&once.commit)) return true;
  while (ae__once_next(&once, &held))
    if (ae_str_eq(held, id)) return true;
  return false;
}

uint64_t ae__once_hash(ae_str id) {
  return ae_hash(id);
}
