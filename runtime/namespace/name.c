#include "namespace/name.h"

/* What a byte may be part of: names are checked with each record read. */
enum { IN_NAMESPACE = 1, IN_TYPE = 2, STARTS_TYPE = 4 };
#define LOWER (IN_NAMESPACE | IN_TYPE | STARTS_TYPE)
#define DIGIT (IN_NAMESPACE | IN_TYPE)

static const uint8_t kind[256] = {
    ['a' ... 'z'] = LOWER, ['A' ... 'Z'] = IN_NAMESPACE, ['0' ... '9'] = DIGIT,
    ['_'] = DIGIT,         ['.'] = IN_NAMESPACE,         ['-'] = IN_NAMESPACE,
};

static ae_status refuse(ae_error *err, const char *what, ae_str name,
                        const char *rule) {
  ae_error_set(err, AE_INVALID_NAME, "%s", "");
  ae_error_quote(err, name);
  ae_error_add(err, " is no %s: %s", what, rule);
  return AE_INVALID_NAME;
}

static const char namespace_rule[] =
    "use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', no dot at an end and no "
    "two side by side";

ae_status ae_namespace_check(ae_str name, ae_error *err) {
  bool fine = name.len > 0 && name.len <= AE_NAMESPACE_MAX;
  bool dot = true; /* as if one stood before the name */
  for (size_t i = 0; fine && i < name.len; i++) {
    uint8_t c = (uint8_t)name.ptr[i];
    fine = (kind[c] & IN_NAMESPACE) && !(dot && c == '.');
    dot = c == '.';
  }
  if (fine && !dot) return AE_OK;
  return refuse(err, "namespace", name, namespace_rule);
}

static bool word(ae_str name) {
  if (name.len == 0 || name.len > AE_TYPE_MAX) return false;
  if (!(kind[(uint8_t)name.ptr[0]] & STARTS_TYPE)) return false;
  for (size_t i = 1; i < name.len; i++) {
    if (!(kind[(uint8_t)name.ptr[i]] & IN_TYPE)) return false;
  }
  return true;
}

static const char word_rule[] =
    "use a-z, then a-z, 0-9 and '_', at most 64 in all";

ae_status ae_type_check(ae_str name, ae_error *err) {
  if (!word(name)) return refuse(err, "type", name, word_rule);
  static const char *const taken[] = {"events", "commands", "projections",
                                      "admin"};
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
    if (ae_str_eq(name, ae_str_of(taken[i]))) {
      return refuse(err, "type", name,
                    "the doors use that word themselves; choose another");
    }
  }
  return AE_OK;
}

ae_status ae_module_check(ae_str name, ae_error *err) {
  return word(name) ? AE_OK : refuse(err, "module", name, word_rule);
}

ae_status ae_id_check(ae_str id, ae_error *err) {
  if (id.len > 0 && id.len <= AE_ID_MAX && ae_str_utf8(id)) return AE_OK;
  return refuse(err, "id", id, "use 1 to 255 bytes of UTF-8");
}
