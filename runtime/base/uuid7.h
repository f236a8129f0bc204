/* UUIDv7 (RFC 9562). Not thread-safe: one generator an owner. */
#ifndef AE_BASE_UUID7_H
#define AE_BASE_UUID7_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct ae_uuid {
  uint8_t bytes[16];
} ae_uuid;

/* Seeded from the system's randomness at the first use when zeroed. */
typedef struct ae_uuid7 {
  uint64_t state[4]; /* xoshiro256** */
  bool seeded;
} ae_uuid7;

/* A new id for `now` (µs since 1970). Its low 32 bits start below 2^31, so
 * that ae_uuid_plus has room. */
ae_uuid ae_uuid7_make(ae_uuid7 *generator, int64_t now);
/* `base` with `n` added to its low 32 bits: the id of the n-th of a run. */
ae_uuid ae_uuid_plus(ae_uuid base, uint32_t n);
/* 36 characters and a NUL. */
void ae_uuid_format(ae_uuid id, char out[37]);
bool ae_uuid_parse(ae_str text, ae_uuid *out);
/* 64 random bits of the generator. */
uint64_t ae_uuid7_random(ae_uuid7 *generator);

#endif
