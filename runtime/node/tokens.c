#include "node/tokens.h"

#include "base/mem.h"
#include "base/pack.h"
#include "namespace/pattern.h"

/* A list's texts, each owned; NULL for none. */
static const char **texts_of(ae_str list, size_t *count) {
  ae_unpack cursor = ae_unpack_of(list);
  uint32_t there = 0;
  *count = 0;
  if (!ae_unpack_array(&cursor, &there) || there == 0) return NULL;
  const char **texts = ae_alloc(there * sizeof *texts);
  for (ae_str text; *count < there && ae_unpack_str(&cursor, &text);)
    texts[(*count)++] = ae__str_copy(text);
  return texts;
}

static bool text_field(ae_str map, const char *key, ae_str *out) {
  ae_str value;
  if (!ae_unpack_field(map, key, &value)) return false;
  ae_unpack cursor = ae_unpack_of(value);
  return ae_unpack_str(&cursor, out);
}

static ae_token *token_of(const ae_config *config, ae_str name) {
  for (size_t i = 0; i < config->token_count; i++)
    if (ae_str_eq(name, ae_str_of(config->tokens[i].grant.name)))
      return &config->tokens[i];
  return NULL;
}

static ae_status missing(ae_error *err, const char *where, uint32_t at,
                         const char *key, const char *mend) {
  return ae_error_set(err, AE_MALFORMED, "%s: tokens[%u].%s is missing; %s",
                      where, at, key, mend);
}

/* Added only when it is whole. */
static ae_status add_token(ae_config *config, const char *where, uint32_t at,
                           ae_str fields, ae_error *err) {
  ae_str name, text, namespaces, rights;
  ae_token token = {0};
  if (!text_field(fields, "name", &name))
    return missing(err, where, at, "name", "logs and grants call it by that");
  if (!text_field(fields, "hash", &text))
    return missing(err, where, at, "hash",
                   "`aether token NAME` makes a token and prints its hash");
  if (!ae_unpack_field(fields, "namespaces", &namespaces))
    return missing(err, where, at, "namespaces",
                   "list names and patterns; { \">\" } is all of them");
  if (!ae_unpack_field(fields, "rights", &rights))
    return missing(err, where, at, "rights",
                   "list some of command, read, listen and admin");
  ae__token_hash(text, token.hash);
  for (size_t i = 0; i < config->token_count; i++) {
    const ae_token *other = &config->tokens[i];
    if (ae_str_eq(name, ae_str_of(other->grant.name)))
      return ae_error_set(err, AE_MALFORMED,
                          "%s: tokens[%zu] and tokens[%u] are both called "
                          "%s; give each its own name",
                          where, i + 1, at, other->grant.name);
    if (memcmp(other->hash, token.hash, sizeof token.hash) == 0)
      return ae_error_set(err, AE_MALFORMED,
                          "%s: the tokens %s and %.*s have the same hash; "
                          "make one for each",
                          where, other->grant.name, AE_FMT(name));
  }
  token.grant.namespaces = texts_of(namespaces, &token.grant.namespace_count);
  if (token.grant.namespace_count == 0)
    return ae_error_set(err, AE_MALFORMED,
                        "%s: the token %.*s has no namespaces, so it could do "
                        "nothing; { \">\" } is all of them",
                        where, AE_FMT(name));
  ae_unpack cursor = ae_unpack_of(rights);
  uint32_t count = 0;
  ae_unpack_array(&cursor, &count);
  for (; count > 0 && ae_unpack_str(&cursor, &text); count--)
    token.grant.rights |= ae_right_of(text);
  token.grant.name = ae__str_copy(name);
  size_t size = (config->token_count + 1) * sizeof token;
  config->tokens = ae_realloc(config->tokens, size);
  config->tokens[config->token_count++] = token;
  return AE_OK;
}

static ae_status nobody(const ae_config *config, const char *where, ae_str name,
                        ae_error *err) {
  ae_nearest near;
  ae_nearest_init(&near, name);
  for (size_t i = 0; i < config->token_count; i++)
    ae_nearest_offer(&near, ae_str_of(config->tokens[i].grant.name));
  ae_str best = ae_nearest_best(&near);
  ae_error_set(err, AE_MALFORMED, "%s: grants.%.*s: there is no such token",
               where, AE_FMT(name));
  if (best.len > 0) ae_error_add(err, "; did you mean %.*s?", AE_FMT(best));
  return AE_MALFORMED;
}

static ae_status add_grant(ae_config *config, const char *where, ae_str name,
                           ae_str patterns, ae_error *err) {
  ae_token *token = token_of(config, name);
  if (!token) return nobody(config, where, name, err);
  if (!(token->grant.rights & AE_RIGHT_LISTEN))
    return ae_error_set(err, AE_MALFORMED,
                        "%s: grants.%.*s lets a token subscribe that lacks "
                        "the right listen; add it to the token's rights",
                        where, AE_FMT(name));
  token->grant.wildcards = texts_of(patterns, &token->grant.wildcard_count);
  for (size_t i = 0; i < token->grant.wildcard_count; i++) {
    const char *pattern = token->grant.wildcards[i];
    if (!ae_pattern_wild(ae_str_of(pattern)))
      return ae_error_set(err, AE_MALFORMED,
                          "%s: grants.%.*s[%zu]: %s has no wildcard; a name "
                          "needs no grant, the token's namespaces do",
                          where, AE_FMT(name), i + 1, pattern);
  }
  return AE_OK;
}

/* What a person wrote in a variable is wrong usage. */
static ae_status of_source(const ae__found *key, ae_status status,
                           ae_error *err) {
  if (status == AE_OK || key->source < AE_SETTING_VARIABLE) return status;
  if (err) err->status = AE_USAGE;
  return AE_USAGE;
}

ae_status ae__tokens_find(ae_config *config, const ae__found *tokens,
                          const ae__found *grants, ae_error *err) {
  ae_unpack cursor = ae_unpack_of(ae_buf_view(&tokens->value));
  uint32_t count = 0;
  ae_str name, value;
  if (!ae_unpack_array(&cursor, &count)) count = 0;
  for (uint32_t i = 0; i < count && ae_unpack_skip(&cursor, &value); i++) {
    ae_status status = add_token(config, tokens->where, i + 1, value, err);
    if (status != AE_OK) return of_source(tokens, status, err);
  }
  cursor = ae_unpack_of(ae_buf_view(&grants->value));
  if (!ae_unpack_map(&cursor, &count)) count = 0;
  for (; count > 0; count--) {
    if (!ae_unpack_str(&cursor, &name) || !ae_unpack_skip(&cursor, &value))
      break;
    ae_status status = add_grant(config, grants->where, name, value, err);
    if (status != AE_OK) return of_source(grants, status, err);
  }
  return AE_OK;
}

static void free_texts(const char **texts, size_t count) {
  for (size_t i = 0; i < count; i++) ae_free((char *)texts[i]);
  ae_free(texts);
}

void ae__tokens_clear(ae_config *config) {
  for (size_t i = 0; i < config->token_count; i++) {
    ae_grant *grant = &config->tokens[i].grant;
    ae_free((char *)grant->name);
    free_texts(grant->namespaces, grant->namespace_count);
    free_texts(grant->wildcards, grant->wildcard_count);
  }
  ae_free(config->tokens);
}
