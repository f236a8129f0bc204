#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/pack.h"

void ae_json_write_str(ae_str text, ae_buf *out) {
  static const char digits[] = "0123456789abcdef";
  const uint8_t *at = (const uint8_t *)text.ptr;
  const uint8_t *end = at + text.len;
  const uint8_t *from = at; /* not yet copied */
  ae_buf_reserve(out, text.len + 2);
  ae_buf_byte(out, '"');
  while (at < end) {
    uint8_t c = *at;
    if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
      at++;
      continue;
    }
    size_t len = c >= 0x80 ? ae__str_sequence(at, (size_t)(end - at)) : 0;
    /* U+0080 to U+009F are control characters too: terminals obey them. */
    bool control = len == 2 && c == 0xc2 && at[1] < 0xa0;
    if (len && !control) {
      at += len;
      continue;
    }
    ae_buf_add(out, from, (size_t)(at - from));
    from = ++at;
    if (control) {
      c = *at++;
      from = at;
    } else if (c >= 0x80) {
      ae_buf_str(out, AE_STR("\xef\xbf\xbd")); /* U+FFFD for damage */
      continue;
    }
    static const char escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char brief = 0;
    for (const char *pair = escapes; *pair; pair += 2) {
      if ((uint8_t)pair[0] == c) brief = pair[1];
    }
    ae_buf_byte(out, '\\');
    if (brief) {
      ae_buf_byte(out, (uint8_t)brief);
    } else {
      ae_buf_str(out, AE_STR("u00"));
      ae_buf_byte(out, (uint8_t)digits[c >> 4]);
      ae_buf_byte(out, (uint8_t)digits[c & 15]);
    }
  }
  ae_buf_add(out, from, (size_t)(at - from));
  ae_buf_byte(out, '"');
}

static void write_base64(ae_str bytes, ae_buf *out) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  ae_buf_reserve(out, (bytes.len + 2) / 3 * 4 + 2);
  ae_buf_byte(out, '"');
  for (size_t i = 0; i < bytes.len; i += 3) {
    size_t left = bytes.len - i;
    uint32_t group = (uint32_t)(uint8_t)bytes.ptr[i] << 16;
    if (left > 1) group |= (uint32_t)(uint8_t)bytes.ptr[i + 1] << 8;
    if (left > 2) group |= (uint8_t)bytes.ptr[i + 2];
    ae_buf_byte(out, (uint8_t)digits[group >> 18]);
    ae_buf_byte(out, (uint8_t)digits[group >> 12 & 63]);
    ae_buf_byte(out, left > 1 ? (uint8_t)digits[group >> 6 & 63] : '=');
    ae_buf_byte(out, left > 2 ? (uint8_t)digits[group & 63] : '=');
  }
  ae_buf_byte(out, '"');
}

static bool base64_digit(char c, uint32_t *out) {
  if (c >= 'A' && c <= 'Z')
    *out = (uint32_t)(c - 'A');
  else if (c >= 'a' && c <= 'z')
    *out = (uint32_t)(c - 'a') + 26;
  else if (c >= '0' && c <= '9')
    *out = (uint32_t)(c - '0') + 52;
  else if (c == '+' || c == '/')
    *out = c == '+' ? 62 : 63;
  else
    return false;
  return true;
}

bool ae_json_base64(ae_str text, ae_buf *out) {
  if (text.len % 4 != 0) return false;
  for (size_t i = 0; i < text.len; i += 4) {
    uint32_t group = 0, digit;
    int pad = 0;
    for (int k = 0; k < 4; k++) {
      char c = text.ptr[i + (size_t)k];
      bool end = c == '=' && i + 4 == text.len && k >= 2;
      if (end) pad++;
      if (!end && (pad > 0 || !base64_digit(c, &digit))) return false;
      group = group << 6 | (end ? 0 : digit);
    }
    for (int k = 0; k < 3 - pad; k++)
      ae_buf_byte(out, (uint8_t)(group >> (16 - 8 * k)));
  }
  return true;
}

static void write_uint(uint64_t value, ae_buf *out) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  ae_buf_add(out, digits + at, sizeof digits - at);
}

static void write_int(int64_t value, ae_buf *out) {
  if (value < 0) ae_buf_byte(out, '-');
  write_uint(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, out);
}

static void write_double(double value, ae_buf *out) {
  if (!isfinite(value)) { /* JSON has no word for it */
    ae_buf_str(out, AE_STR("null"));
    return;
  }
  char text[32];
  /* 15 digits are always kept, but not those of the very smallest numbers. */
  int least = fabs(value) < DBL_MIN ? 1 : 15;
  for (int digits = least; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  ae_buf_str(out, ae_str_of(text));
  /* Without a point it would be read back as an integer. */
  if (!strpbrk(text, ".e")) ae_buf_str(out, AE_STR(".0"));
}

/* A whole value may stand inside an envelope (an outcome, an event). */
#define DEPTH_MAX (AE_PACK_DEPTH + 16)

typedef struct writer {
  ae_unpack at;
  ae_buf *out;
  int indent; /* of the present line; -1: compact */
  unsigned depth;
} writer;

static void line(writer *w) {
  if (w->indent < 0) return;
  ae_buf_byte(w->out, '\n');
  for (int i = 0; i < w->indent; i++) ae_buf_byte(w->out, ' ');
}

static void open_level(writer *w, char bracket) {
  ae_buf_byte(w->out, (uint8_t)bracket);
  w->depth++;
  if (w->indent >= 0) w->indent += 2;
}

static void close_level(writer *w, char bracket) {
  w->depth--;
  if (w->indent >= 0) w->indent -= 2;
  line(w);
  ae_buf_byte(w->out, (uint8_t)bracket);
}

static bool value(writer *w);

static bool key(writer *w) {
  ae_pack_item item;
  if (!ae_unpack_next(&w->at, &item)) item.type = AE_PACK_NIL; /* no key */
  if (item.type == AE_PACK_STR) {
    ae_json_write_str(item.str, w->out);
    return true;
  }
  if (item.type == AE_PACK_BIN) {
    write_base64(item.str, w->out);
    return true;
  }
  ae_buf_byte(w->out, '"');
  bool fine = true;
  if (item.type == AE_PACK_UINT) {
    write_uint(item.u, w->out);
  } else if (item.type == AE_PACK_INT) {
    write_int(item.i, w->out);
  } else {
    fine = false;
  }
  ae_buf_byte(w->out, '"');
  return fine;
}

static bool array(writer *w, uint32_t count) {
  if (count == 0) {
    ae_buf_str(w->out, AE_STR("[]"));
    return true;
  }
  bool fine = true;
  open_level(w, '[');
  for (uint32_t i = 0; fine && i < count; i++) {
    if (i) ae_buf_byte(w->out, ',');
    line(w);
    fine = value(w);
  }
  close_level(w, ']');
  return fine;
}

static bool map(writer *w, uint32_t count) {
  if (count == 0) {
    ae_buf_str(w->out, AE_STR("{}"));
    return true;
  }
  bool fine = true;
  open_level(w, '{');
  for (uint32_t i = 0; fine && i < count; i++) {
    if (i) ae_buf_byte(w->out, ',');
    line(w);
    fine = key(w);
    ae_buf_byte(w->out, ':');
    if (w->indent >= 0) ae_buf_byte(w->out, ' ');
    if (fine) {
      fine = value(w);
    } else {
      ae_buf_str(w->out, AE_STR("null"));
    }
  }
  close_level(w, '}');
  return fine;
}

/* False at damage: the cursor is lost then, the levels above only close. What
 * was written is JSON in any case. */
static bool value(writer *w) {
  ae_pack_item item;
  if (w->depth > DEPTH_MAX || !ae_unpack_next(&w->at, &item)) {
    ae_buf_str(w->out, AE_STR("null"));
    return false;
  }
  switch (item.type) {
    case AE_PACK_NIL:
      ae_buf_str(w->out, AE_STR("null"));
      break;
    case AE_PACK_BOOL:
      ae_buf_str(w->out, item.b ? AE_STR("true") : AE_STR("false"));
      break;
    case AE_PACK_INT:
      write_int(item.i, w->out);
      break;
    case AE_PACK_UINT:
      write_uint(item.u, w->out);
      break;
    case AE_PACK_DOUBLE:
      write_double(item.d, w->out);
      break;
    case AE_PACK_STR:
      ae_json_write_str(item.str, w->out);
      break;
    case AE_PACK_BIN:
      write_base64(item.str, w->out);
      break;
    case AE_PACK_ARRAY:
      return array(w, item.count);
    case AE_PACK_MAP:
      return map(w, item.count);
  }
  return true;
}

void ae_json_write(ae_str bytes, ae_buf *out) {
  writer w = {.at = ae_unpack_of(bytes), .out = out, .indent = -1};
  value(&w);
}

void ae_json_write_pretty(ae_str bytes, int indent, ae_buf *out) {
  writer w = {.at = ae_unpack_of(bytes), .out = out, .indent = indent};
  value(&w);
}
