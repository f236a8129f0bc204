/* What a namespace may take: quotas, and the bucket that keeps a rate. */
#ifndef AE_NAMESPACE_LIMITS_H
#define AE_NAMESPACE_LIMITS_H

#include "base/status.h"

/* 0 in a member: no limit. */
typedef struct ae_limits {
  double commands_per_s;
  double events_per_s; /* stored */
  uint64_t bytes;      /* of stored records */
  size_t live_actors;  /* held at a time */
} ae_limits;

typedef enum ae_limit {
  AE_LIMIT_COMMANDS,
  AE_LIMIT_EVENTS,
  AE_LIMIT_BYTES,
  AE_LIMIT_ACTORS,
  AE_LIMIT_COUNT
} ae_limit;
/* As in aether.lua: "commands_per_s", "events_per_s", "bytes", "live_actors".
 */
const char *ae_limit_word(ae_limit limit);
/* AE_OVERLOADED: what is over, of which namespace, and what to do. Facts:
 * `queue` (the limit's word), `limit` (its number), and with `wait_ms` above 0
 * `retry_after` (ms). */
ae_status ae_limit_refuse(ae_error *err, ae_limit limit, ae_str ns,
                          const ae_limits *limits, uint64_t wait_ms);

/* A token bucket: fills at `rate` up to what comes in a second, but one token
 * at least. Time is the caller's, in ns, and does not run back. */
typedef struct ae_bucket {
  double rate;   /* tokens a second */
  double tokens; /* at `at`; below 0 it is a debt */
  uint64_t at;
} ae_bucket;
/* Full. `rate` above 0. */
void ae_bucket_init(ae_bucket *bucket, double rate, uint64_t now);
/* Takes a token, where a whole one is there. */
bool ae_bucket_take(ae_bucket *bucket, uint64_t now);
/* Takes so many, whether they are there or not; below 0: gives them back. */
void ae_bucket_spend(ae_bucket *bucket, double tokens);
/* When a whole token is there, from `now` on: in ms, rounded up; 0: it is. */
uint64_t ae_bucket_wait_ms(const ae_bucket *bucket, uint64_t now);

#endif
