#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"

void ae_buf_clear(ae_buf *buf) {
  ae_free(buf->ptr);
  *buf = (ae_buf){0};
}

void ae_buf_grow(ae_buf *buf, size_t more) {
  AE_ASSERT(more <= SIZE_MAX / 2 - buf->len);
  size_t need = buf->len + more;
  size_t cap = buf->cap ? buf->cap : 64;
  while (cap < need) cap *= 2;
  if (cap == buf->cap) return;
  buf->ptr = ae_realloc(buf->ptr, cap);
  buf->cap = cap;
}

void ae_buf_vprintf(ae_buf *buf, const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  /* Most lines fit what is there; the others are formatted once more. */
  size_t room = buf->cap - buf->len;
  int len =
      vsnprintf(buf->ptr ? buf->ptr + buf->len : NULL, room, format, again);
  va_end(again);
  AE_ASSERT_CMP(len, >=, 0);
  if ((size_t)len >= room) {
    ae_buf_reserve(buf, (size_t)len + 1);
    vsnprintf(buf->ptr + buf->len, (size_t)len + 1, format, args);
  }
  buf->len += (size_t)len;
}

void ae_buf_printf(ae_buf *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  ae_buf_vprintf(buf, format, args);
  va_end(args);
}

const char *ae_buf_cstr(ae_buf *buf) {
  ae_buf_reserve(buf, 1);
  buf->ptr[buf->len] = 0;
  return buf->ptr;
}

void ae_buf_move(ae_buf *to, ae_buf *from) {
  if (to == from) return;
  ae_free(to->ptr);
  *to = *from;
  *from = (ae_buf){0};
}
