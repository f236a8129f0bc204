#include "wire/nkey.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

enum {
  SEED_LEN = 58,   /* letters of a seed */
  SEED_RAW = 36,   /* bytes: two of prefix, 32 of key, two of sum */
  PUBLIC_RAW = 35, /* one of prefix */
  PREFIX_SEED = 18 << 3,
  PREFIX_USER = 20 << 3,
};

/* CRC-16/XMODEM. */
static uint16_t sum_of(const uint8_t *bytes, size_t len) {
  uint16_t sum = 0;
  for (size_t i = 0; i < len; i++) {
    sum ^= (uint16_t)(bytes[i] << 8);
    for (int bit = 0; bit < 8; bit++)
      sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ 0x1021 : sum << 1);
  }
  return sum;
}

static bool decode(const char *text, size_t len, uint8_t *out) {
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < len; i++) {
    const char *at = memchr(alphabet, text[i], 32);
    if (!at) return false;
    bits = bits << 5 | (uint32_t)(at - alphabet);
    have += 5;
    if (have < 8) continue;
    have -= 8;
    *out++ = (uint8_t)(bits >> have);
  }
  return true;
}

static void encode(const uint8_t *bytes, size_t len, char *out) {
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < len; i++) {
    bits = bits << 8 | bytes[i];
    have += 8;
    while (have >= 5) {
      have -= 5;
      *out++ = alphabet[bits >> have & 31];
    }
  }
  if (have > 0) *out++ = alphabet[bits << (5 - have) & 31];
  *out = 0;
}

static bool public_of(const uint8_t secret[32], uint8_t out[32]) {
  EVP_PKEY *key =
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, 32);
  size_t len = 32;
  bool done = key && EVP_PKEY_get_raw_public_key(key, out, &len) == 1;
  EVP_PKEY_free(key);
  return done;
}

bool ae__nkey_public(const char *file, char out[AE__NKEY_LEN + 1]) {
  char text[4096];
  uint8_t seed[SEED_RAW], key[PUBLIC_RAW];
  FILE *in = fopen(file, "re");
  if (!in) return false;
  text[fread(text, 1, sizeof text - 1, in)] = 0;
  fclose(in);
  const char *at = strstr(text, "SU");
  bool done = at && strlen(at) >= SEED_LEN && decode(at, SEED_LEN, seed) &&
              (seed[0] & 0xf8) == PREFIX_SEED &&
              sum_of(seed, SEED_RAW - 2) ==
                  (uint16_t)(seed[SEED_RAW - 2] | seed[SEED_RAW - 1] << 8) &&
              public_of(seed + 2, key + 1);
  OPENSSL_cleanse(text, sizeof text);
  OPENSSL_cleanse(seed, sizeof seed);
  if (!done) return false;
  key[0] = PREFIX_USER;
  uint16_t sum = sum_of(key, PUBLIC_RAW - 2);
  key[PUBLIC_RAW - 2] = (uint8_t)sum;
  key[PUBLIC_RAW - 1] = (uint8_t)(sum >> 8);
  encode(key, PUBLIC_RAW, out);
  return true;
}
