/* A growable run of bytes. Zero-initialised it is empty and owns nothing. */
#ifndef AE_BASE_BUF_H
#define AE_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

typedef struct ae_buf {
  char *ptr;  /* owned; NULL while cap is 0 */
  size_t len; /* bytes in use */
  size_t cap; /* bytes there are */
} ae_buf;

void ae_buf_clear(ae_buf *buf); /* frees; the buf is empty and usable again */
void ae_buf_grow(ae_buf *buf, size_t more); /* room for `more` beyond len */
void ae_buf_printf(ae_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ae_buf_vprintf(ae_buf *buf, const char *format, va_list args);
/* The bytes with a NUL behind (not counted in len). */
const char *ae_buf_cstr(ae_buf *buf);
/* `to` is freed and takes over what `from` holds; `from` becomes empty. */
void ae_buf_move(ae_buf *to, ae_buf *from);

static inline void ae_buf_reset(ae_buf *buf) {
  buf->len = 0;
}

static inline void ae_buf_reserve(ae_buf *buf, size_t more) {
  if (buf->cap - buf->len < more) ae_buf_grow(buf, more);
}

static inline void ae_buf_add(ae_buf *buf, const void *bytes, size_t len) {
  if (len == 0) return;
  ae_buf_reserve(buf, len);
  memcpy(buf->ptr + buf->len, bytes, len);
  buf->len += len;
}

static inline void ae_buf_byte(ae_buf *buf, uint8_t byte) {
  ae_buf_reserve(buf, 1);
  buf->ptr[buf->len++] = (char)byte;
}

static inline void ae_buf_str(ae_buf *buf, ae_str str) {
  ae_buf_add(buf, str.ptr, str.len);
}

static inline ae_str ae_buf_view(const ae_buf *buf) {
  return (ae_str){buf->ptr, buf->len};
}

#endif
