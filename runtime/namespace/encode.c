#include "namespace/encode.h"

static bool itself(uint8_t c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c >= '0' && c <= '9') || c == '-';
}

void ae_encode(ae_str name, ae_buf *out) {
  static const char digits[] = "0123456789abcdef";
  ae_buf_reserve(out, name.len);
  for (size_t i = 0; i < name.len; i++) {
    uint8_t c = (uint8_t)name.ptr[i];
    if (itself(c)) {
      ae_buf_byte(out, c);
    } else {
      ae_buf_byte(out, '_');
      ae_buf_byte(out, (uint8_t)digits[c >> 4]);
      ae_buf_byte(out, (uint8_t)digits[c & 15]);
    }
  }
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool ae_decode(ae_str token, ae_buf *out) {
  size_t len = out->len;
  for (size_t i = 0; i < token.len; i++) {
    uint8_t c = (uint8_t)token.ptr[i];
    if (c == '_' && token.len - i > 2) {
      int high = digit(token.ptr[i + 1]);
      int low = digit(token.ptr[i + 2]);
      if (high < 0 || low < 0) break;
      c = (uint8_t)(high << 4 | low);
      if (itself(c)) break; /* a second token for the same name */
      i += 2;
    } else if (!itself(c)) {
      break;
    }
    ae_buf_byte(out, c);
    if (i + 1 == token.len) return true;
  }
  out->len = len;
  return token.len == 0;
}
