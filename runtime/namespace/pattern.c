#include "namespace/pattern.h"

#include "namespace/name.h"

/* The token at *at; *at then stands behind its dot, beyond the end after the
 * last. */
static ae_str token(ae_str text, size_t *at) {
  size_t from = *at;
  while (*at < text.len && text.ptr[*at] != '.') (*at)++;
  ae_str found = {text.ptr + from, *at - from};
  (*at)++;
  return found;
}

static bool is(ae_str text, char c) {
  return text.len == 1 && text.ptr[0] == c;
}

static ae_status refuse(ae_error *err, ae_str pattern, const char *why) {
  ae_error_set(err, AE_INVALID_NAME, "%s", "");
  ae_error_quote(err, pattern);
  ae_error_add(err, " is no namespace pattern: %s", why);
  return AE_INVALID_NAME;
}

ae_status ae_pattern_check(ae_str pattern, ae_error *err) {
  if (pattern.len == 0 || pattern.len > AE_NAMESPACE_MAX) {
    return refuse(err, pattern, "it has 1 to 64 bytes");
  }
  for (size_t at = 0; at <= pattern.len;) {
    ae_str part = token(pattern, &at);
    if (is(part, '>')) {
      if (at <= pattern.len) {
        return refuse(err, pattern, "'>' stands for the rest and comes last");
      }
    } else if (!is(part, '*') && ae_namespace_check(part, NULL)) {
      return refuse(err, pattern,
                    part.len == 0
                        ? "an empty token; dots stand between tokens"
                        : "a token is '*', a last '>', or of A-Z, a-z, 0-9, "
                          "'_' and '-'");
    }
  }
  return AE_OK;
}

bool ae_pattern_wild(ae_str pattern) {
  for (size_t at = 0; at <= pattern.len;) {
    ae_str part = token(pattern, &at);
    if (is(part, '*') || is(part, '>')) return true;
  }
  return false;
}

bool ae_pattern_match(ae_str pattern, ae_str name) {
  size_t in_pattern = 0, in_name = 0;
  while (in_pattern <= pattern.len && in_name <= name.len) {
    ae_str wanted = token(pattern, &in_pattern);
    if (is(wanted, '>')) return true;
    ae_str part = token(name, &in_name);
    if (!is(wanted, '*') && !ae_str_eq(wanted, part)) return false;
  }
  return in_pattern > pattern.len && in_name > name.len;
}

/* Token by token: a `*` of `narrow` is more than any name, and its `>` more
 * than any number of tokens. */
bool ae_pattern_covers(ae_str wide, ae_str narrow) {
  size_t in_wide = 0, in_narrow = 0;
  while (in_wide <= wide.len && in_narrow <= narrow.len) {
    ae_str outer = token(wide, &in_wide);
    if (is(outer, '>')) return true;
    ae_str inner = token(narrow, &in_narrow);
    if (is(inner, '>')) return false;
    if (!is(outer, '*') && !ae_str_eq(outer, inner)) return false;
  }
  return in_wide > wide.len && in_narrow > narrow.len;
}
