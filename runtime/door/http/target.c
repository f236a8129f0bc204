/* The target of a request: path, segments, query. Percent-encoding is taken
 * off exactly once, after the path was split, so that %2F stays inside its
 * segment; `.` and `..` are names like others. */
#include "door/http/request.h"

static int digit(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  byte |= 0x20;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static int bad(ae_error *err, const char *what, ae_str text) {
  ae_error_set(err, AE_MALFORMED, "%s: ", what);
  ae_error_quote(err, text);
  return 400;
}

/* Into r->decoded, which has room for all of the target. What has nothing to
 * decode stays where it is. */
static int decode(ae__request *r, ae_str text, bool query, ae_str *out,
                  ae_error *err) {
  *out = text;
  bool plain = !memchr(text.ptr, '%', text.len) &&
               !(query && memchr(text.ptr, '+', text.len));
  if (plain || text.len == 0) return 0;
  char *to = r->decoded.ptr + r->decoded.len;
  out->ptr = to;
  for (size_t i = 0; i < text.len; i++) {
    char byte = text.ptr[i];
    if (byte == '%') {
      int high = i + 2 < text.len ? digit((uint8_t)text.ptr[i + 1]) : -1;
      int low = i + 2 < text.len ? digit((uint8_t)text.ptr[i + 2]) : -1;
      if (high < 0 || low < 0)
        return bad(err, "a percent sign is not followed by two digits", text);
      byte = (char)(high << 4 | low);
      i += 2;
      if (byte == 0) return bad(err, "%00 is no character of a name", text);
    } else if (byte == '+' && query) {
      byte = ' ';
    }
    *to++ = byte;
  }
  out->len = (size_t)(to - out->ptr);
  r->decoded.len += out->len;
  if (!ae_str_utf8(*out)) return bad(err, "this is not UTF-8", text);
  return 0;
}

/* The part before `stop`; `rest` moves behind it, and is ptr NULL at the end.
 */
static ae_str until(ae_str *rest, char stop) {
  ae_str part = *rest;
  const char *found = memchr(part.ptr, stop, part.len);
  if (!found) {
    *rest = (ae_str){0};
    return part;
  }
  part.len = (size_t)(found - part.ptr);
  rest->ptr += part.len + 1;
  rest->len -= part.len + 1;
  return part;
}

static int read_query(ae__request *r, ae_str query, ae_error *err) {
  for (size_t count = 0; query.ptr;) {
    ae_str value = until(&query, '&');
    if (value.len == 0) continue;
    if (count++ == AE__PARAMS_MAX) {
      ae_error_set(err, AE_TOO_LARGE, "a query has at most %d parameters",
                   AE__PARAMS_MAX);
      ae_error_uint(err, "limit", AE__PARAMS_MAX);
      return 400;
    }
    ae_str name = until(&value, '=');
    if (!value.ptr) value = AE_STR("");
    ae__param param;
    int status = decode(r, name, true, &param.name, err);
    if (status == 0) status = decode(r, value, true, &param.value, err);
    if (status != 0) return status;
    ae_buf_add(&r->params, &param, sizeof param);
  }
  return 0;
}

/* http://HOST/PATH, as a proxy would ask: the host was for the proxy. */
static int strip_origin(ae_str *target, ae_error *err) {
  if (target->len > 0 && target->ptr[0] == '/') return 0;
  ae_str rest = *target;
  ae_str scheme = until(&rest, ':');
  bool web =
      ae_str_eq(scheme, AE_STR("http")) || ae_str_eq(scheme, AE_STR("https"));
  if (!web || rest.len < 3 || memcmp(rest.ptr, "//", 2) != 0)
    return bad(err, "the target must be a path that begins with /", *target);
  size_t at = 2;
  while (at < rest.len && rest.ptr[at] != '/' && rest.ptr[at] != '?') at++;
  if (at == 2 || at == rest.len || rest.ptr[at] == '?')
    return bad(err, "the target has no path after its host", *target);
  *target = (ae_str){rest.ptr + at, rest.len - at};
  return 0;
}

int ae__target_read(ae__request *r, ae_error *err) {
  ae_str target = r->target;
  /* OPTIONS * and CONNECT host:port: 405 will say what there is. */
  if (r->x.method == AE__METHOD_OTHER && target.ptr[0] != '/') {
    r->x.path = target;
    return 0;
  }
  int status = strip_origin(&target, err);
  if (status != 0) return status;
  if (memchr(target.ptr, '#', target.len))
    return bad(err, "a fragment is not sent to a server", target);
  ae_buf_reserve(&r->decoded, target.len);
  ae_str query = target;
  r->x.path = until(&query, '?');
  ae_str path = {r->x.path.ptr + 1, r->x.path.len - 1};
  while (path.ptr && status == 0) {
    ae_str segment = until(&path, '/');
    /* One more than there can be: such a path matches no route. */
    if (r->x.segment_count == AE__SEGMENTS_MAX) {
      r->x.segment_count++;
      break;
    }
    status =
        decode(r, segment, false, &r->x.segments[r->x.segment_count++], err);
  }
  if (status == 0) status = read_query(r, query, err);
  return status;
}

/* -- what the route asks -- */

bool ae__exchange_query_at(const ae__exchange *x, size_t n, ae_str *name,
                           ae_str *value) {
  const ae__request *r = (const ae__request *)x;
  if (n >= r->params.len / sizeof(ae__param)) return false;
  const ae__param *param = (const ae__param *)(void *)r->params.ptr + n;
  *name = param->name;
  *value = param->value;
  return true;
}

ae_str ae__exchange_query(const ae__exchange *x, const char *name) {
  ae_str key, value, wanted = ae_str_of(name);
  for (size_t i = 0; ae__exchange_query_at(x, i, &key, &value); i++)
    if (ae_str_eq(key, wanted)) return value;
  return (ae_str){0};
}

ae_str ae__exchange_segment(const ae__exchange *x, const char *name) {
  ae_str pattern = ae_str_of(x->route->path), wanted = ae_str_of(name);
  pattern.ptr++;
  pattern.len--;
  for (unsigned i = 0; pattern.ptr && i < x->segment_count; i++) {
    ae_str part = until(&pattern, '/');
    if (part.len < 2 || part.ptr[0] != '{') continue;
    part.ptr++;
    part.len -= 2;
    if (ae_str_eq(part, wanted)) return x->segments[i];
  }
  return (ae_str){0};
}
