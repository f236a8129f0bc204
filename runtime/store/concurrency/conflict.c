#include "store/concurrency/conflict.h"

#include <inttypes.h>

ae_status ae_conflict_set(ae_error *err, const ae_ref *ref, uint64_t attempted,
                          uint64_t current, uint64_t attempts,
                          const char *reason) {
  if (!err) return AE_VERSION_CONFLICT;
  ae_error_set(err, AE_VERSION_CONFLICT,
               "%.*s/%.*s/%.*s is at version %" PRIu64 ", version %" PRIu64
               " was expected",
               AE_FMT(ref->ns), AE_FMT(ref->type), AE_FMT(ref->id), current,
               attempted);
  ae_error_str(err, "namespace", ref->ns);
  ae_error_str(err, "actor_type", ref->type);
  ae_error_str(err, "actor_id", ref->id);
  ae_error_uint(err, "attempted_version", attempted);
  ae_error_uint(err, "current_version", current);
  ae_error_uint(err, "attempts", attempts);
  if (reason) ae_error_cstr(err, "reason", reason);
  return AE_VERSION_CONFLICT;
}
