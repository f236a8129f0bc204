#include "base/uuid7.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

static void seed(ae_uuid7 *generator) {
  size_t have = 0;
  while (have < sizeof generator->state) {
    ssize_t got = getrandom((char *)generator->state + have,
                            sizeof generator->state - have, 0);
    if (got < 0 && errno == EINTR) continue;
    AE_ASSERT_CMP(got, >, 0);
    have += (size_t)got;
  }
  generator->state[0] |= 1; /* all zero would stay zero */
  generator->seeded = true;
}

static uint64_t rotate(uint64_t x, int by) {
  return (x << by) | (x >> (64 - by));
}

uint64_t ae_uuid7_random(ae_uuid7 *generator) {
  if (!generator->seeded) seed(generator);
  uint64_t *s = generator->state;
  uint64_t result = rotate(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

/* 16 bytes, most significant first. */
static ae_uuid id_of(uint64_t high, uint64_t low) {
  uint64_t halves[2] = {htobe64(high), htobe64(low)};
  ae_uuid id;
  memcpy(id.bytes, halves, sizeof id.bytes);
  return id;
}

/* 48 bits of milliseconds, version, 12 bits of the fraction of a millisecond
 * (RFC 9562, 6.2, method 3), variant, 62 random bits. */
ae_uuid ae_uuid7_make(ae_uuid7 *generator, int64_t now) {
  uint64_t us = now > 0 ? (uint64_t)now : 0;
  uint64_t fraction = us % 1000 * 4096 / 1000;
  uint64_t random = ae_uuid7_random(generator);
  random &= UINT64_C(0x3fffffff7fffffff);
  return id_of(us / 1000 << 16 | UINT64_C(0x7000) | fraction,
               UINT64_C(0x8000000000000000) | random);
}

ae_uuid ae_uuid_plus(ae_uuid base, uint32_t n) {
  uint32_t low;
  memcpy(&low, base.bytes + 12, sizeof low);
  low = htobe32(be32toh(low) + n);
  memcpy(base.bytes + 12, &low, sizeof low);
  return base;
}

static bool dash_before(int byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void ae_uuid_format(ae_uuid id, char out[37]) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 16; i++) {
    if (dash_before(i)) *out++ = '-';
    *out++ = digits[id.bytes[i] >> 4];
    *out++ = digits[id.bytes[i] & 15];
  }
  *out = 0;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool ae_uuid_parse(ae_str text, ae_uuid *out) {
  if (text.len != 36) return false;
  const char *at = text.ptr;
  ae_uuid id;
  for (int i = 0; i < 16; i++) {
    if (dash_before(i) && *at++ != '-') return false;
    int high = digit(at[0]);
    int rest = digit(at[1]);
    if (high < 0 || rest < 0) return false;
    id.bytes[i] = (uint8_t)(high << 4 | rest);
    at += 2;
  }
  *out = id;
  return true;
}
