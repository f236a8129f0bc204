#include "base/status.h"

#include "base/mem.h"
#include "base/pack.h"

#define QUOTE_MAX 80 /* bytes of a text from outside that a message shows */

static const struct {
  const char *word;
  const char *text;
  int http;
  int exit;
} table[AE_STATUS_COUNT] = {
#define X(name, word, http, exit, text) [AE_##name] = {word, text, http, exit},
    AE_STATUS_MAP(X)
#undef X
};

const char *ae_status_word(ae_status status) {
  AE_ASSERT_CMP(status, <, AE_STATUS_COUNT);
  return table[status].word;
}

const char *ae_status_text(ae_status status) {
  AE_ASSERT_CMP(status, <, AE_STATUS_COUNT);
  return table[status].text;
}

int ae_status_http(ae_status status) {
  AE_ASSERT_CMP(status, <, AE_STATUS_COUNT);
  return table[status].http;
}

int ae_status_exit(ae_status status) {
  AE_ASSERT_CMP(status, <, AE_STATUS_COUNT);
  return table[status].exit;
}

void ae__error_free(ae_error *err) {
  ae_buf_clear(&err->message);
  ae_buf_clear(&err->facts);
  err->status = AE_OK;
  err->nfacts = 0;
}

/* ae_error_text hands the message out as a C string without changing it, so
 * the NUL is put behind it here, after every change. */
static void add(ae_error *err, const char *format, va_list args) {
  ae_buf_vprintf(&err->message, format, args);
  ae_buf_cstr(&err->message);
}

ae_status ae_error_set(ae_error *err, ae_status status, const char *format,
                       ...) {
  if (!err) return status;
  /* An argument may be what `err` held so far: format first, then forget. */
  ae_buf fresh = {0};
  va_list args;
  va_start(args, format);
  ae_buf_vprintf(&fresh, format, args);
  va_end(args);
  ae_buf_cstr(&fresh);
  ae_buf_move(&err->message, &fresh);
  ae_buf_reset(&err->facts);
  err->nfacts = 0;
  err->status = status;
  return status;
}

void ae_error_add(ae_error *err, const char *format, ...) {
  if (!err) return;
  va_list args;
  va_start(args, format);
  add(err, format, args);
  va_end(args);
}

void ae_error_quote(ae_error *err, ae_str text) {
  if (!err) return;
  ae_buf *out = &err->message;
  const uint8_t *at = (const uint8_t *)text.ptr;
  const uint8_t *end = at + text.len;
  const uint8_t *cut = text.len > QUOTE_MAX ? at + QUOTE_MAX : end;
  ae_buf_byte(out, '\'');
  while (at < cut) {
    size_t len = ae__str_sequence(at, (size_t)(end - at));
    bool control =
        *at < ' ' || *at == 0x7f || (len == 2 && *at == 0xc2 && at[1] < 0xa0);
    bool plain = len && !control && *at != '\'' && *at != '\\';
    if (plain) {
      ae_buf_add(out, at, len);
      at += len;
    } else {
      ae_buf_printf(out, "\\x%02x", *at++);
    }
  }
  if (cut < end) ae_buf_str(out, AE_STR(" …"));
  ae_buf_byte(out, '\'');
  ae_buf_cstr(out);
}

static void key(ae_error *err, const char *name) {
  ae_pack_cstr(&err->facts, name);
  err->nfacts++;
}

void ae_error_str(ae_error *err, const char *name, ae_str value) {
  if (!err) return;
  key(err, name);
  ae_pack_text(&err->facts, value);
}

void ae_error_cstr(ae_error *err, const char *name, const char *value) {
  ae_error_str(err, name, ae_str_of(value));
}

void ae_error_int(ae_error *err, const char *name, int64_t value) {
  if (!err) return;
  key(err, name);
  ae_pack_int(&err->facts, value);
}

void ae_error_uint(ae_error *err, const char *name, uint64_t value) {
  if (!err) return;
  key(err, name);
  ae_pack_uint(&err->facts, value);
}

void ae_error_pack(ae_error *err, const char *name, ae_str value) {
  if (!err) return;
  key(err, name);
  ae_buf_str(&err->facts, value);
}

void ae_error_move(ae_error *to, ae_error *from) {
  if (to == from) return;
  if (!to) {
    ae_error_clear(from);
    return;
  }
  ae_error_clear(to);
  if (!from) return;
  *to = *from;
  *from = (ae_error){0};
}

void ae_error_copy(ae_error *to, const ae_error *from) {
  if (!to || to == from) return;
  ae_error_clear(to);
  to->status = from->status;
  to->nfacts = from->nfacts;
  ae_buf_str(&to->message, ae_buf_view(&from->message));
  if (to->message.len > 0) ae_buf_cstr(&to->message);
  ae_buf_str(&to->facts, ae_buf_view(&from->facts));
}

void ae_error_render(const ae_error *err, ae_buf *out) {
  ae_pack_map(out, 2 + err->nfacts);
  ae_pack_cstr(out, "code");
  ae_pack_cstr(out, ae_status_word(err->status));
  ae_pack_cstr(out, "message");
  ae_pack_text(out, ae_buf_view(&err->message));
  ae_buf_str(out, ae_buf_view(&err->facts));
}

const char *ae_error_text(const ae_error *err) {
  return err->message.len ? err->message.ptr : "";
}
