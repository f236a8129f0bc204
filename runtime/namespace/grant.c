#include "namespace/grant.h"

#include "namespace/pattern.h"

static const struct {
  ae_right right;
  const char *word;
} rights[] = {
    {AE_RIGHT_COMMAND, "command"},
    {AE_RIGHT_READ, "read"},
    {AE_RIGHT_LISTEN, "listen"},
    {AE_RIGHT_ADMIN, "admin"},
};
#define RIGHTS (sizeof rights / sizeof *rights)

unsigned ae_right_of(ae_str word) {
  for (size_t i = 0; i < RIGHTS; i++)
    if (ae_str_eq(word, ae_str_of(rights[i].word))) return rights[i].right;
  return 0;
}

const char *ae_right_word(ae_right right) {
  for (size_t i = 0; i < RIGHTS; i++)
    if (rights[i].right == right) return rights[i].word;
  return "no right";
}

bool ae_grant_allows(const ae_grant *grant, ae_right right, ae_str ns) {
  if (!(grant->rights & right)) return false;
  if (grant->all) return true;
  for (size_t i = 0; i < grant->namespace_count; i++)
    if (ae_pattern_match(ae_str_of(grant->namespaces[i]), ns)) return true;
  return false;
}

static bool may_use(const ae_grant *grant, ae_str pattern) {
  if (!(grant->rights & AE_RIGHT_LISTEN)) return false;
  if (grant->all) return true;
  for (size_t i = 0; i < grant->wildcard_count; i++)
    if (ae_pattern_covers(ae_str_of(grant->wildcards[i]), pattern)) return true;
  return false;
}

ae_status ae_grant_subscribe(const ae_grant *grant, ae_str pattern,
                             ae_error *err) {
  const char *name = grant->name ? grant->name : "nobody";
  if (!ae_pattern_wild(pattern)) {
    if (ae_grant_allows(grant, AE_RIGHT_LISTEN, pattern)) return AE_OK;
    ae_error_set(err, AE_FORBIDDEN, "%s may not listen in %.*s", name,
                 AE_FMT(pattern));
    ae_error_cstr(err, "needs", ae_right_word(AE_RIGHT_LISTEN));
    return AE_FORBIDDEN;
  }
  if (may_use(grant, pattern)) return AE_OK;
  if (!(grant->rights & AE_RIGHT_LISTEN)) {
    ae_error_set(err, AE_FORBIDDEN, "%s may not listen", name);
    ae_error_cstr(err, "needs", ae_right_word(AE_RIGHT_LISTEN));
    return AE_FORBIDDEN;
  }
  ae_error_set(err, AE_FORBIDDEN,
               "%s may not listen to several namespaces by the pattern %.*s; "
               "`grants` in aether.lua can allow it",
               name, AE_FMT(pattern));
  ae_buf needs = {0};
  ae_buf_printf(&needs, "a grant of %.*s", AE_FMT(pattern));
  ae_error_str(err, "needs", ae_buf_view(&needs));
  ae_buf_clear(&needs);
  return AE_FORBIDDEN;
}
