/* What is said of a version conflict. Others reach it through store.h. */
#ifndef AE_STORE_CONCURRENCY_CONFLICT_H
#define AE_STORE_CONCURRENCY_CONFLICT_H

#include "event/ref.h"

/* Sets AE_VERSION_CONFLICT with all its facts. */
ae_status ae_conflict_set(ae_error *err, const ae_ref *ref, uint64_t attempted,
                          uint64_t current, uint64_t attempts,
                          const char *reason);

#endif
