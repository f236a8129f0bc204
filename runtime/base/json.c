/* Reading JSON: a scan decides, by RFC 8259, whether the text is JSON at all,
 * and says where it is not; then json-c builds the values.
 *
 * json-c alone takes too much, in its strict mode too (0.16): integers beyond
 * 64 bits become the nearest limit and 1e400 infinity, of two equal keys the
 * last wins, a key ends at \u0000, half a surrogate pair becomes U+FFFD; NaN,
 * Infinity, "1.", "-01" and raw control characters pass. And 0.18 refuses what
 * it should take, non-ASCII text in strict mode. */
#include "base/json.h"

#include <json-c/json.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"

/* -- the scan -- */

typedef struct object {
  size_t at;        /* of its brace */
  uint32_t members; /* as written, equal keys counted each */
} object;

typedef struct scan {
  const char *text;
  const char *at;
  const char *end;
  bool finite; /* look for the number that is too great for a double */
  const char *wrong;
  const char *where;
  object *objects; /* in the order of their braces; owned */
  size_t count;
  size_t room;
} scan;

static bool fail(scan *s, const char *where, const char *wrong) {
  s->where = where;
  s->wrong = wrong;
  return false;
}

static void space(scan *s) {
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' ||
                            *s->at == '\r')) {
    s->at++;
  }
}

static bool is_digit(const scan *s) {
  return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static bool digits(scan *s) {
  if (!is_digit(s)) return false;
  while (is_digit(s)) s->at++;
  return true;
}

/* Integers: at 18 digits or fewer there is nothing to look at. */
static bool integer_fits(const char *from, const char *end) {
  bool negative = *from == '-';
  if (negative) from++;
  if (end - from <= 18) return true;
  uint64_t value;
  if (!ae_str_uint((ae_str){from, (size_t)(end - from)}, &value)) return false;
  return !negative || value <= UINT64_C(1) << 63;
}

static bool is_finite(const char *from, const char *end) {
  ae_buf copy = {0};
  ae_buf_add(&copy, from, (size_t)(end - from));
  bool finite = isfinite(strtod(ae_buf_cstr(&copy), NULL));
  ae_buf_clear(&copy);
  return finite;
}

static bool number(scan *s) {
  const char *from = s->at;
  if (*s->at == '-') s->at++;
  const char *first = s->at;
  if (!digits(s)) return fail(s, s->at, "a digit was expected");
  if (*first == '0' && s->at - first > 1) {
    return fail(s, from, "a number cannot begin with a zero");
  }
  bool integer = true;
  if (s->at < s->end && *s->at == '.') {
    integer = false;
    s->at++;
    if (!digits(s)) return fail(s, s->at, "a digit was expected");
  }
  if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
    integer = false;
    s->at++;
    if (s->at < s->end && (*s->at == '+' || *s->at == '-')) s->at++;
    if (!digits(s)) return fail(s, s->at, "a digit was expected");
  }
  if (integer && !integer_fits(from, s->at)) {
    return fail(s, from,
                "an integer is between -2^63 and 2^64-1; write a greater "
                "number as a string, or with a decimal point");
  }
  if (s->finite && !integer && !is_finite(from, s->at)) {
    return fail(s, from, "the number is too great for a double");
  }
  return true;
}

/* The four digits at `at`, or -1. */
static int hex4(const char *at, const char *end) {
  if (end - at < 4) return -1;
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/* At the character behind the backslash. */
static bool escape(scan *s, bool key) {
  const char *from = s->at - 1;
  if (s->at == s->end) return fail(s, from, "the text ends in a string");
  char c = *s->at++;
  if (c != 'u') {
    if (c && strchr("\"\\/bfnrt", c)) return true;
    return fail(s, from, "an unknown escape in a string");
  }
  int code = hex4(s->at, s->end);
  if (code < 0) return fail(s, from, "\\u needs four hexadecimal digits");
  s->at += 4;
  if (code == 0 && key) return fail(s, from, "a key cannot hold \\u0000");
  if (code < 0xd800 || code > 0xdfff) return true;
  int low = -1;
  if (code < 0xdc00 && s->end - s->at >= 6 && memcmp(s->at, "\\u", 2) == 0) {
    low = hex4(s->at + 2, s->end);
  }
  if (low < 0xdc00 || low > 0xdfff) {
    return fail(s, from, "half of a surrogate pair is no character");
  }
  s->at += 6;
  return true;
}

/* At the opening quote. */
static bool string(scan *s, bool key) {
  const char *from = s->at++;
  while (s->at < s->end) {
    uint8_t c = (uint8_t)*s->at;
    if (c == '"') {
      s->at++;
      return true;
    }
    if (c == '\\') {
      s->at++;
      if (!escape(s, key)) return false;
    } else if (c < ' ') {
      return fail(s, s->at, "a control character in a string; escape it");
    } else if (c < 0x80) {
      s->at++;
    } else {
      size_t len =
          ae__str_sequence((const uint8_t *)s->at, (size_t)(s->end - s->at));
      if (!len) return fail(s, s->at, "the text is not UTF-8");
      s->at += len;
    }
  }
  return fail(s, from, "a string without an end");
}

static bool word(scan *s, ae_str text) {
  if ((size_t)(s->end - s->at) < text.len ||
      memcmp(s->at, text.ptr, text.len) != 0) {
    return fail(s, s->at, "a value was expected");
  }
  s->at += text.len;
  return true;
}

static bool scalar(scan *s) {
  switch (*s->at) {
    case '"':
      return string(s, false);
    case 't':
      return word(s, AE_STR("true"));
    case 'f':
      return word(s, AE_STR("false"));
    case 'n':
      return word(s, AE_STR("null"));
    case '-':
      return number(s);
    default:
      if (is_digit(s)) return number(s);
      return fail(s, s->at, "a value was expected");
  }
}

static void add_object(scan *s) {
  if (s->count == s->room) {
    s->room = s->room ? 2 * s->room : 16;
    s->objects = ae_realloc(s->objects, s->room * sizeof *s->objects);
  }
  s->objects[s->count++] = (object){.at = (size_t)(s->at - s->text)};
}

/* A key with its colon, at the quote. */
static bool key(scan *s, size_t object_index) {
  if (s->at == s->end || *s->at != '"') {
    return fail(s, s->at, "a key in double quotes was expected");
  }
  if (!string(s, true)) return false;
  space(s);
  if (s->at == s->end || *s->at != ':') {
    return fail(s, s->at, "a ':' was expected behind the key");
  }
  s->at++;
  s->objects[object_index].members++;
  space(s);
  return true;
}

#define NO_OBJECT SIZE_MAX /* an array's place in `open` */

/* One value with all it holds, space around it. */
static bool value(scan *s) {
  size_t open[AE_PACK_DEPTH]; /* objects by their index, or NO_OBJECT */
  unsigned depth = 0;
  space(s);
  for (;;) {
    if (s->at == s->end) return fail(s, s->at, "the text ends too early");
    if (*s->at == '[' || *s->at == '{') {
      bool array = *s->at == '[';
      if (depth == AE_PACK_DEPTH) {
        return fail(s, s->at, "more than 64 levels inside each other");
      }
      open[depth++] = array ? NO_OBJECT : s->count;
      if (!array) add_object(s);
      s->at++;
      space(s);
      bool empty = s->at < s->end && *s->at == (array ? ']' : '}');
      if (!empty) {
        if (!array && !key(s, open[depth - 1])) return false;
        continue;
      }
      s->at++;
      depth--;
    } else if (!scalar(s)) {
      return false;
    }
    /* Behind a value: close levels until there is another to come. */
    for (;;) {
      space(s);
      if (depth == 0) return true;
      bool array = open[depth - 1] == NO_OBJECT;
      if (s->at == s->end) return fail(s, s->at, "the text ends too early");
      char c = *s->at;
      if (c == ',') {
        s->at++;
        space(s);
        if (!array && !key(s, open[depth - 1])) return false;
        break;
      }
      if (c != (array ? ']' : '}')) {
        return fail(
            s, s->at,
            array ? "a ',' or ']' was expected" : "a ',' or '}' was expected");
      }
      s->at++;
      depth--;
    }
  }
}

static bool whole(scan *s) {
  space(s);
  if (s->at == s->end) return fail(s, s->text, "the text is empty");
  if (!value(s)) return false;
  if (s->at < s->end) return fail(s, s->at, "more text behind the value");
  return true;
}

/* -- the values -- */

typedef struct reader {
  const scan *scan;
  ae_buf *out;
  size_t object; /* of scan->objects: the next */
} reader;

typedef enum outcome { READ, INFINITE, DUPLICATE } outcome;

static outcome read_value(reader *r, json_object *from);

static outcome read_map(reader *r, json_object *from) {
  uint32_t members = r->scan->objects[r->object].members;
  /* json-c keeps one of two equal keys: fewer than were written. */
  if ((uint32_t)json_object_object_length(from) != members) return DUPLICATE;
  r->object++;
  ae_pack_map(r->out, members);
  json_object_object_foreach(from, name, child) {
    ae_pack_cstr(r->out, name);
    outcome result = read_value(r, child);
    if (result != READ) return result;
  }
  return READ;
}

static outcome read_value(reader *r, json_object *from) {
  switch (json_object_get_type(from)) {
    case json_type_null:
      ae_pack_nil(r->out);
      break;
    case json_type_boolean:
      ae_pack_bool(r->out, json_object_get_boolean(from));
      break;
    case json_type_int: {
      int64_t number = json_object_get_int64(from);
      if (number == INT64_MAX) { /* also what json-c says of greater ones */
        ae_pack_uint(r->out, json_object_get_uint64(from));
      } else {
        ae_pack_int(r->out, number);
      }
      break;
    }
    case json_type_double: {
      double number = json_object_get_double(from);
      if (!isfinite(number)) return INFINITE;
      ae_pack_double(r->out, number);
      break;
    }
    case json_type_string:
      ae_pack_str(r->out, (ae_str){json_object_get_string(from),
                                   (size_t)json_object_get_string_len(from)});
      break;
    case json_type_array: {
      size_t count = json_object_array_length(from);
      ae_pack_array(r->out, (uint32_t)count);
      for (size_t i = 0; i < count; i++) {
        outcome result = read_value(r, json_object_array_get_idx(from, i));
        if (result != READ) return result;
      }
      break;
    }
    case json_type_object:
      return read_map(r, from);
  }
  return READ;
}

/* -- one tokener a thread -- */

static pthread_key_t tokener_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_tokener(void *tokener) {
  json_tokener_free(tokener);
}

static void make_key(void) {
  AE_ASSERT_CMP(pthread_key_create(&tokener_key, free_tokener), ==, 0);
}

static json_tokener *get_tokener(void) {
  pthread_once(&once, make_key);
  json_tokener *tokener = pthread_getspecific(tokener_key);
  if (!tokener) {
    tokener = json_tokener_new_ex(AE_PACK_DEPTH + 2);
    AE_ASSERT(tokener != NULL);
    pthread_setspecific(tokener_key, tokener);
  }
  json_tokener_reset(tokener);
  return tokener;
}

/* NULL with json_tokener_success is the value null. */
static json_object *parse(ae_str text, enum json_tokener_error *error) {
  json_tokener *tokener = get_tokener();
  json_object *root = json_tokener_parse_ex(tokener, text.ptr, (int)text.len);
  *error = json_tokener_get_error(tokener);
  if (*error == json_tokener_continue) {
    /* A number alone could go on: the NUL says that it does not. */
    root = json_tokener_parse_ex(tokener, "", 1);
    *error = json_tokener_get_error(tokener);
  }
  return root;
}

/* -- errors -- */

static ae_status malformed(ae_error *err, size_t at, const char *wrong) {
  ae_error_set(err, AE_MALFORMED, "no JSON, at byte %zu: %s", at, wrong);
  ae_error_uint(err, "at", at);
  return AE_MALFORMED;
}

static ae_status infinite(ae_error *err, ae_str text) {
  scan again = {.text = text.ptr,
                .at = text.ptr,
                .end = text.ptr + text.len,
                .finite = true};
  whole(&again);
  ae_free(again.objects);
  size_t at = again.where ? (size_t)(again.where - text.ptr) : 0;
  return malformed(err, at, "the number is too great for a double");
}

ae_status ae_json_read(ae_str text, ae_buf *out, ae_error *err) {
  if (text.len > INT_MAX - 1) {
    ae_error_set(err, AE_TOO_LARGE, "a JSON text has at most %d bytes",
                 INT_MAX - 1);
    ae_error_uint(err, "limit", INT_MAX - 1);
    return AE_TOO_LARGE;
  }
  if (text.len == 0) return malformed(err, 0, "the text is empty");
  scan s = {.text = text.ptr, .at = text.ptr, .end = text.ptr + text.len};
  size_t len = out->len;
  ae_status status = AE_OK;
  if (!whole(&s)) {
    status = malformed(err, (size_t)(s.where - s.text), s.wrong);
  } else {
    enum json_tokener_error error;
    json_object *root = parse(text, &error);
    reader r = {.scan = &s, .out = out};
    if (error != json_tokener_success) {
      status = malformed(err, 0, json_tokener_error_desc(error));
    } else {
      switch (read_value(&r, root)) {
        case READ:
          break;
        case INFINITE:
          status = infinite(err, text);
          break;
        case DUPLICATE:
          status = malformed(err, s.objects[r.object].at,
                             "an object has two equal keys");
          break;
      }
    }
    json_object_put(root);
  }
  ae_free(s.objects);
  if (status) out->len = len;
  return status;
}
