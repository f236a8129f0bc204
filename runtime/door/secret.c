#include "door/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include "base/mem.h"

ae_status ae__secret_make(char out[AE__SECRET_LEN + 1], ae_error *err) {
  static const char digits[] =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  uint8_t bytes[64];
  size_t at = sizeof AE__SECRET_PREFIX - 1;
  memcpy(out, AE__SECRET_PREFIX, at);
  while (at < AE__SECRET_LEN) {
    ssize_t got = getrandom(bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      ae_error_set(err, AE_STORE_UNAVAILABLE,
                   "the system gives no random bytes: %s", strerror(errno));
      ae_error_cstr(err, "cause", strerror(errno));
      return AE_STORE_UNAVAILABLE;
    }
    /* What is beyond the last whole 62 is left out: no digit is likelier. */
    for (ssize_t i = 0; i < got && at < AE__SECRET_LEN; i++)
      if (bytes[i] < 248) out[at++] = digits[bytes[i] % 62];
  }
  out[at] = 0;
  OPENSSL_cleanse(bytes, sizeof bytes);
  return AE_OK;
}

void ae__secret_hash(ae_str token, uint8_t out[AE_TOKEN_HASH]) {
  /* Looked up and allocated once: it costs more than a short text's digest.
   * The loop thread's, or that of a program without one. */
  static EVP_MD *sha256;
  static EVP_MD_CTX *context;
  if (!context) {
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    context = EVP_MD_CTX_new();
    AE_ASSERT(sha256 && context);
  }
  unsigned len = 0;
  int good = EVP_DigestInit_ex2(context, sha256, NULL) &&
             EVP_DigestUpdate(context, token.ptr, token.len) &&
             EVP_DigestFinal_ex(context, out, &len);
  AE_ASSERT(good);
  AE_ASSERT_CMP(len, ==, AE_TOKEN_HASH);
}

bool ae__secret_same(const uint8_t a[AE_TOKEN_HASH],
                     const uint8_t b[AE_TOKEN_HASH]) {
  return CRYPTO_memcmp(a, b, AE_TOKEN_HASH) == 0;
}

void ae__secret_show(const uint8_t hash[AE_TOKEN_HASH], ae_buf *out) {
  ae_buf_printf(out, "sha256:");
  for (size_t i = 0; i < AE_TOKEN_HASH; i++)
    ae_buf_printf(out, "%02x", hash[i]);
}
