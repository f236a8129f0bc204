#include "door/http/want.h"

#include <stdio.h>

#include "base/mem.h"
#include "namespace/name.h"

static ae_status wrong(ae_error *err, const char *at, ae_str got,
                       const char *wanted) {
  ae_error_set(err, AE_MALFORMED, "`%s` must be %s, not ", at, wanted);
  ae_error_quote(err, got);
  ae_error_cstr(err, "at", at);
  return AE_MALFORMED;
}

/* Segments may hold slashes, so that the name is never split again. */
ae_status ae__want_actor(const ae__exchange *x, ae_buf *names, ae_ref *ref,
                         ae_error *err) {
  const ae_ref sent = {ae__exchange_segment(x, "ns"),
                       ae__exchange_segment(x, "type"),
                       ae__exchange_segment(x, "id")};
  size_t from = names->len;
  ae_ref_format(&sent, names);
  const char *at = names->ptr + from;
  ref->ns = (ae_str){at, sent.ns.len};
  ref->type = (ae_str){at + sent.ns.len + 1, sent.type.len};
  ref->id = (ae_str){ref->type.ptr + sent.type.len + 1, sent.id.len};
  ae_status status = ae_type_check(ref->type, err);
  return status == AE_OK ? ae_id_check(ref->id, err) : status;
}

/* -- the query -- */

static ae_status unknown(ae_str name, const char *const *known, ae_error *err) {
  ae_nearest near;
  ae_nearest_init(&near, name);
  for (size_t i = 0; known[i]; i++)
    ae_nearest_offer(&near, ae_str_of(known[i]));
  ae_str best = ae_nearest_best(&near);
  ae_error_set(err, AE_MALFORMED, "there is no parameter ");
  ae_error_quote(err, name);
  if (best.len > 0) {
    ae_error_add(err, "; did you mean `%.*s`?", AE_FMT(best));
  } else {
    ae_error_add(err, known[0] ? "; there is" : " here, nor any other");
    for (size_t i = 0; known[i]; i++)
      ae_error_add(err, "%s `%s`", i ? "," : "", known[i]);
  }
  ae_error_str(err, "at", name);
  if (best.len > 0) ae_error_str(err, "nearest", best);
  return AE_MALFORMED;
}

ae_status ae__want_check(const ae__exchange *x, const char *const *known,
                         ae_error *err) {
  ae_str name, value;
  uint64_t seen = 0;
  for (size_t n = 0; ae__exchange_query_at(x, n, &name, &value); n++) {
    size_t i = 0;
    while (known[i] && !ae_str_eq(name, ae_str_of(known[i]))) i++;
    if (!known[i]) return unknown(name, known, err);
    if (seen & UINT64_C(1) << i) {
      ae_error_set(err, AE_MALFORMED, "`%s` stands twice; once is enough",
                   known[i]);
      ae_error_cstr(err, "at", known[i]);
      return AE_MALFORMED;
    }
    seen |= UINT64_C(1) << i;
  }
  return AE_OK;
}

ae_status ae__want_uint(const ae__exchange *x, const char *name, uint64_t least,
                        uint64_t most, uint64_t fallback, uint64_t *out,
                        ae_error *err) {
  ae_str text = ae__exchange_query(x, name);
  *out = fallback;
  if (!text.ptr) return AE_OK;
  if (ae_str_uint(text, out) && *out >= least && *out <= most) return AE_OK;
  char range[80];
  if (most >= UINT64_MAX - 1)
    snprintf(range, sizeof range, "a whole number from %llu",
             (unsigned long long)least);
  else
    snprintf(range, sizeof range, "a whole number from %llu to %llu",
             (unsigned long long)least, (unsigned long long)most);
  return wrong(err, name, text, range);
}

ae_status ae__want_bool(const ae__exchange *x, const char *name, bool fallback,
                        bool *out, ae_error *err) {
  ae_str text = ae__exchange_query(x, name);
  *out = text.ptr ? ae_str_eq(text, AE_STR("true")) : fallback;
  if (!text.ptr || *out || ae_str_eq(text, AE_STR("false"))) return AE_OK;
  return wrong(err, name, text, "`true` or `false`");
}

ae_status ae__want_list(ae_str from, const char *name, ae_str **out,
                        size_t *count, ae_error *err) {
  size_t names = 1;
  for (size_t i = 0; i < from.len; i++) names += from.ptr[i] == ',';
  *out = ae_alloc(names * sizeof **out);
  *count = 0;
  const char *at = from.ptr, *end = from.ptr + from.len;
  for (;;) {
    const char *comma = memchr(at, ',', (size_t)(end - at));
    ae_str one = {at, (size_t)((comma ? comma : end) - at)};
    if (one.len == 0) {
      ae_free(*out);
      *out = NULL;
      *count = 0;
      return wrong(err, name, from, "names with commas between them");
    }
    (*out)[(*count)++] = one;
    if (!comma) return AE_OK;
    at = comma + 1;
  }
}

ae_status ae__want_cursor(ae_str text, const char *at, ae__cursor_at *out,
                          ae_error *err) {
  const char *dot = memchr(text.ptr, '.', text.len);
  ae_str position = {text.ptr, dot ? (size_t)(dot - text.ptr) : text.len};
  bool good =
      ae_str_uint(position, &out->position) && out->position < UINT64_MAX;
  out->index = UINT64_MAX;
  if (dot) {
    ae_str index = {dot + 1, text.len - position.len - 1};
    good = good && ae_str_uint(index, &out->index) && out->index <= UINT32_MAX;
  }
  if (good) return AE_OK;
  return wrong(err, at, text, "POSITION or POSITION.INDEX, as 17 or 17.0");
}

/* -- preconditions -- */

/* One entity tag off the front of a list; false: the list is over or is none.
 */
static bool next_tag(ae_str *list, ae_str *tag, bool *weak) {
  const char *at = list->ptr, *end = at + list->len;
  while (at < end && (*at == ' ' || *at == '\t' || *at == ',')) at++;
  *weak = end - at >= 2 && at[0] == 'W' && at[1] == '/';
  if (*weak) at += 2;
  if (at == end || *at != '"') return false;
  const char *from = ++at;
  while (at < end && *at != '"') at++;
  if (at == end) return false;
  *tag = (ae_str){from, (size_t)(at - from)};
  at++;
  while (at < end && (*at == ' ' || *at == '\t')) at++;
  if (at < end && *at != ',') return false;
  *list = (ae_str){at, (size_t)(end - at)};
  return true;
}

ae_status ae__want_if_match(const ae__exchange *x, bool *given,
                            uint64_t *version, ae_error *err) {
  static const char name[] = "If-Match";
  ae_str text = ae__exchange_header(x, "if-match");
  *given = text.ptr != NULL;
  if (ae__exchange_header(x, "if-none-match").ptr) {
    ae_error_set(err, AE_MALFORMED,
                 "`If-None-Match` is for reading; a command that wants an "
                 "actor without events says `If-Match: \"0\"`");
    ae_error_cstr(err, "at", "If-None-Match");
    return AE_MALFORMED;
  }
  if (!*given) return AE_OK;
  ae_str rest = text, tag, further;
  bool weak, other;
  if (ae_str_eq(text, AE_STR("*")))
    return wrong(err, name, text,
                 "a version in quotes, as \"3\" (every actor has a state, so "
                 "that `*` would always hold)");
  if (!next_tag(&rest, &tag, &weak))
    return wrong(err, name, text, "a version in quotes, as \"3\"");
  if (weak)
    return wrong(err, name, text,
                 "a version in quotes, as \"3\" (a weak tag never matches)");
  if (next_tag(&rest, &further, &other) || rest.len > 0)
    return wrong(err, name, text, "one version in quotes, as \"3\"");
  if (!ae_str_uint(tag, version) || *version == UINT64_MAX)
    return wrong(err, name, text,
                 "a version in quotes, as \"3\", the ETag of a state or an "
                 "outcome");
  return AE_OK;
}

bool ae__want_has(const ae__exchange *x, uint64_t version) {
  ae_str rest = ae__exchange_header(x, "if-none-match");
  if (!rest.ptr) return false;
  if (ae_str_eq(rest, AE_STR("*"))) return true;
  char text[24];
  int len = snprintf(text, sizeof text, "%llu", (unsigned long long)version);
  ae_str tag;
  bool weak;
  while (next_tag(&rest, &tag, &weak))
    if (ae_str_eq(tag, (ae_str){text, (size_t)len})) return true;
  return false;
}

void ae__want_tag(ae__exchange *x, uint64_t version) {
  char text[24];
  int len =
      snprintf(text, sizeof text, "\"%llu\"", (unsigned long long)version);
  ae__exchange_add(x, "ETag", (ae_str){text, (size_t)len});
}

/* -- what is sent -- */

static bool equal_any_case(ae_str a, ae_str b) {
  if (a.len != b.len) return false;
  for (size_t i = 0; i < a.len; i++) {
    char c = a.ptr[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    if (c != b.ptr[i]) return false;
  }
  return true;
}

static ae_str trim(ae_str text) {
  while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
    text.ptr++;
    text.len--;
  }
  while (text.len > 0 &&
         (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
    text.len--;
  return text;
}

/* What stands before `by`, with blanks taken off; `text` becomes what stands
 * behind. */
static ae_str cut(ae_str *text, char by) {
  const char *at = text->len ? memchr(text->ptr, by, text->len) : NULL;
  size_t len = at ? (size_t)(at - text->ptr) : text->len;
  ae_str part = {text->ptr, len};
  size_t skip = at ? len + 1 : len;
  *text = (ae_str){text->ptr + skip, text->len - skip};
  return trim(part);
}

/* The value of a parameter, its quotes taken off. */
static ae_str value_of(ae_str parameter, const char *name) {
  ae_str key = cut(&parameter, '=');
  if (!equal_any_case(key, ae_str_of(name))) return (ae_str){0};
  ae_str value = trim(parameter);
  if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
    value = (ae_str){value.ptr + 1, value.len - 2};
  return value;
}

static bool is_one_of(ae_str type, const char *const *types) {
  ae_str essence = cut(&type, ';');
  bool known = false;
  for (; *types && !known; types++)
    known = equal_any_case(essence, ae_str_of(*types));
  while (type.len > 0) {
    ae_str charset = value_of(cut(&type, ';'), "charset");
    if (charset.len > 0 && !equal_any_case(charset, AE_STR("utf-8")))
      return false;
  }
  return known;
}

static void refuse_type(ae__exchange *x, ae_str type,
                        const char *const *types) {
  ae_error err = {0};
  ae_buf accepted = {0};
  for (size_t i = 0; types[i]; i++)
    ae_buf_printf(&accepted, "%s%s", i ? ", " : "", types[i]);
  ae_error_set(&err, AE_MALFORMED, "the body must be %s, in UTF-8, and ",
               ae_buf_cstr(&accepted));
  if (type.ptr)
    ae_error_quote(&err, type);
  else
    ae_error_add(&err, "no Content-Type");
  ae_error_add(&err, " was sent");
  ae_error_cstr(&err, "at", "Content-Type");
  ae_error_str(&err, "accepts", ae_buf_view(&accepted));
  ae__exchange_add(x, "Accept", ae_buf_view(&accepted));
  ae__exchange_refuse(x, 415, &err);
  ae_buf_clear(&accepted);
  ae_error_clear(&err);
}

bool ae__want_content(ae__exchange *x, const char *const *types) {
  ae_str type = ae__exchange_header(x, "content-type");
  if (type.ptr && is_one_of(type, types)) return true;
  refuse_type(x, type, types);
  return false;
}

ae_status ae__want_text(const ae__exchange *x, const char *header, size_t most,
                        ae_str *out, ae_error *err) {
  *out = ae__exchange_header(x, header);
  if (!out->ptr) return AE_OK;
  if (out->len > 0 && out->len <= most && ae_str_utf8(*out)) return AE_OK;
  char rule[48];
  snprintf(rule, sizeof rule, "1 to %zu bytes of UTF-8", most);
  return wrong(err, header, *out, rule);
}

/* 0 to 1000: how much a range of Accept is liked. */
static unsigned liking(ae_str parameters) {
  while (parameters.len > 0) {
    ae_str q = value_of(cut(&parameters, ';'), "q");
    if (q.len == 0) continue;
    if (q.ptr[0] != '0') return 1000;
    unsigned value = 0, digit = 100;
    for (size_t i = 2; i < q.len && digit > 0; i++, digit /= 10)
      if (q.ptr[i] >= '0' && q.ptr[i] <= '9')
        value += digit * (unsigned)(q.ptr[i] - '0');
    return value;
  }
  return 1000;
}

bool ae__want_sse(const ae__exchange *x) {
  ae_str rest = ae__exchange_header(x, "accept");
  unsigned sse = 0, lines = 0;
  while (rest.len > 0) {
    ae_str one = cut(&rest, ',');
    ae_str type = cut(&one, ';');
    unsigned like = liking(one);
    if (equal_any_case(type, AE_STR("text/event-stream"))) sse = like;
    if (equal_any_case(type, AE_STR("application/x-ndjson")) ||
        equal_any_case(type, AE_STR("application/ndjson")))
      lines = like;
  }
  return sse > 0 && sse >= lines;
}
