#include "namespace/limits.h"

#include <math.h>

#include "base/mem.h"
#include "base/pack.h"

/* -- buckets -- */

#define WHOLE (1 - 1e-6) /* a token, but for rounding */

static double room(const ae_bucket *bucket) {
  return bucket->rate > 1 ? bucket->rate : 1;
}

static double tokens_at(const ae_bucket *bucket, uint64_t now) {
  double passed = now > bucket->at ? (double)(now - bucket->at) / 1e9 : 0;
  double tokens = bucket->tokens + bucket->rate * passed;
  double most = room(bucket);
  return tokens < most ? tokens : most;
}

void ae_bucket_init(ae_bucket *bucket, double rate, uint64_t now) {
  AE_ASSERT(rate > 0);
  *bucket = (ae_bucket){.rate = rate, .at = now};
  bucket->tokens = room(bucket);
}

bool ae_bucket_take(ae_bucket *bucket, uint64_t now) {
  bucket->tokens = tokens_at(bucket, now);
  if (now > bucket->at) bucket->at = now;
  if (bucket->tokens < WHOLE) return false;
  bucket->tokens--;
  return true;
}

void ae_bucket_spend(ae_bucket *bucket, double tokens) {
  bucket->tokens -= tokens;
  double most = room(bucket);
  if (bucket->tokens > most) bucket->tokens = most;
}

uint64_t ae_bucket_wait_ms(const ae_bucket *bucket, uint64_t now) {
  double missing = WHOLE - tokens_at(bucket, now);
  if (missing <= 0) return 0;
  double ms = ceil(missing / bucket->rate * 1000);
  /* Rates of next to nothing: longer than anybody waits. */
  return ms < 1e15 ? (uint64_t)ms : (uint64_t)1e15;
}

/* -- what is said -- */

const char *ae_limit_word(ae_limit limit) {
  static const char *const words[AE_LIMIT_COUNT] = {
      "commands_per_s", "events_per_s", "bytes", "live_actors"};
  return words[limit];
}

static double number_of(const ae_limits *limits, ae_limit limit) {
  switch (limit) {
    case AE_LIMIT_COMMANDS:
      return limits->commands_per_s;
    case AE_LIMIT_EVENTS:
      return limits->events_per_s;
    case AE_LIMIT_BYTES:
      return (double)limits->bytes;
    default:
      return (double)limits->live_actors;
  }
}

static void say(ae_error *err, ae_limit limit, ae_str ns, double number) {
  switch (limit) {
    case AE_LIMIT_COMMANDS:
      ae_error_set(err, AE_OVERLOADED, "%.*s takes %.15g commands a second",
                   AE_FMT(ns), number);
      break;
    case AE_LIMIT_EVENTS:
      ae_error_set(err, AE_OVERLOADED,
                   "%.*s stores %.15g events a second, and is ahead of that",
                   AE_FMT(ns), number);
      break;
    case AE_LIMIT_BYTES:
      ae_error_set(err, AE_OVERLOADED,
                   "the stored records of %.*s take the %.15g bytes that it "
                   "may hold: raise its limit, or let retention remove old "
                   "events",
                   AE_FMT(ns), number);
      break;
    default:
      ae_error_set(err, AE_OVERLOADED,
                   "all of the %.15g actors that %.*s may hold live are at "
                   "work: send it again when some were answered, or raise the "
                   "limit",
                   number, AE_FMT(ns));
  }
}

ae_status ae_limit_refuse(ae_error *err, ae_limit limit, ae_str ns,
                          const ae_limits *limits, uint64_t wait_ms) {
  if (!err) return AE_OVERLOADED;
  double number = number_of(limits, limit);
  say(err, limit, ns, number);
  if (wait_ms > 0)
    ae_error_add(err, ": send it again in %llu ms",
                 (unsigned long long)wait_ms);
  ae_error_add(err, " (limits.%s)", ae_limit_word(limit));
  ae_error_cstr(err, "queue", ae_limit_word(limit));
  if (number == floor(number) && number < 0x1p53) {
    ae_error_uint(err, "limit", (uint64_t)number);
  } else {
    ae_buf packed = {0};
    ae_pack_double(&packed, number);
    ae_error_pack(err, "limit", ae_buf_view(&packed));
    ae_buf_clear(&packed);
  }
  if (wait_ms > 0) ae_error_uint(err, "retry_after", wait_ms);
  return AE_OVERLOADED;
}
