/* `aether token`: makes one. Nothing is kept: the hash goes into aether.lua by
 * hand, the token to whom it is for. */
#include "base/json.h"
#include "base/pack.h"
#include "door/secret.h"
#include "door/subcommand.h"
#include "door/terminal.h"
#include "namespace/pattern.h"

/* A list of a flag: texts parted by commas, blanks around them left out. */
typedef struct listed {
  ae_str rest;
  ae_str text; /* the present one */
} listed;

static ae_str trimmed(ae_str text) {
  while (text.len > 0 && text.ptr[0] == ' ')
    text = (ae_str){text.ptr + 1, text.len - 1};
  while (text.len > 0 && text.ptr[text.len - 1] == ' ') text.len--;
  return text;
}

static bool next(listed *list) {
  if (!list->rest.ptr) return false;
  const char *comma = memchr(list->rest.ptr, ',', list->rest.len);
  size_t len = comma ? (size_t)(comma - list->rest.ptr) : list->rest.len;
  list->text = trimmed((ae_str){list->rest.ptr, len});
  list->rest =
      comma ? (ae_str){comma + 1, list->rest.len - len - 1} : (ae_str){NULL, 0};
  return true;
}

static ae_status check(const char *flag, const char *list,
                       ae_status (*one)(ae_str text, ae_error *err),
                       uint32_t *count, ae_error *err) {
  ae_error why = {0};
  ae_status status = AE_OK;
  *count = 0;
  for (listed at = {.rest = ae_str_of(list)}; status == AE_OK && next(&at);) {
    ++*count;
    if (one(at.text, &why) != AE_OK)
      status =
          ae_error_set(err, AE_USAGE, "--%s: %s", flag, ae_error_text(&why));
  }
  ae_error_clear(&why);
  return status;
}

/* The names of a list, quoted for Lua: names, patterns and rights hold nothing
 * that would need more. */
static void say_list(ae_buf *out, const char *list, uint32_t count) {
  ae_buf_printf(out, "{");
  for (listed at = {.rest = ae_str_of(list)}; count > 0 && next(&at); count--)
    ae_buf_printf(out, " \"%.*s\"%s", AE_FMT(at.text), count > 1 ? "," : " ");
  ae_buf_printf(out, "}");
}

static void pack_list(ae_buf *out, const char *key, const char *list,
                      uint32_t count) {
  ae_pack_cstr(out, key);
  ae_pack_array(out, count);
  for (listed at = {.rest = ae_str_of(list)}; count > 0 && next(&at); count--)
    ae_pack_text(out, at.text);
}

/* Where the settings cannot be read, `token` may be what mends them. */
static ae_status check_new(const ae__args *args, ae_error *err) {
  ae_config config;
  ae_status status = AE_OK;
  ae_error why = {0};
  if (ae__args_config(args, &config, &why) != AE_OK)
    ae__say("the name was not compared with the app's tokens: %s",
            ae_error_text(&why));
  for (size_t i = 0; i < config.token_count && status == AE_OK; i++)
    if (strcmp(config.tokens[i].grant.name, args->rest[0]) == 0)
      status = ae_error_set(err, AE_USAGE,
                            "the app has a token %s; name the new one "
                            "otherwise, or take the old one out of its "
                            "settings first",
                            args->rest[0]);
  ae_error_clear(&why);
  ae_config_clear(&config);
  return status;
}

static void print_json(const char *name, const char *token, ae_str hash,
                       const char *namespaces, uint32_t namespace_count,
                       const char *rights, uint32_t right_count) {
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, 5);
  ae_pack_cstr(&packed, "name");
  ae_pack_cstr(&packed, name);
  ae_pack_cstr(&packed, "token");
  ae_pack_cstr(&packed, token);
  ae_pack_cstr(&packed, "hash");
  ae_pack_text(&packed, hash);
  pack_list(&packed, "namespaces", namespaces, namespace_count);
  pack_list(&packed, "rights", rights, right_count);
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

int ae__token_run(const ae__args *args) {
  const char *name = args->rest[0];
  const char *namespaces = ae__args_get(args, "namespaces");
  const char *rights = ae__args_get(args, "rights");
  if (!namespaces) namespaces = ">";
  if (!rights) rights = "command,read";
  uint32_t namespace_count = 0, right_count = 0;
  char token[AE__SECRET_LEN + 1];
  ae_error err = {0}, why = {0};
  ae_status status = AE_OK;
  if (ae_token_name_check(ae_str_of(name), &why) != AE_OK)
    status = ae_error_set(&err, AE_USAGE, "%s", ae_error_text(&why));
  ae_error_clear(&why);
  if (status == AE_OK)
    status = check("namespaces", namespaces, ae_pattern_check, &namespace_count,
                   &err);
  if (status == AE_OK && strcmp(rights, "none") != 0)
    status = check("rights", rights, ae_right_check, &right_count, &err);
  if (status == AE_OK) status = check_new(args, &err);
  if (status == AE_OK) status = ae__secret_make(token, &err);
  if (status != AE_OK) return ae__complain(args, &err);
  uint8_t hash[AE_TOKEN_HASH];
  ae_buf shown = {0}, line = {0};
  ae__secret_hash(ae_str_of(token), hash);
  ae__secret_show(hash, &shown);
  ae_buf_printf(&line, "{ name = \"%s\", hash = \"%s\", namespaces = ", name,
                ae_buf_cstr(&shown));
  say_list(&line, namespaces, namespace_count);
  ae_buf_printf(&line, ", rights = ");
  say_list(&line, rights, right_count);
  if (ae__args_json(args))
    print_json(name, token, ae_buf_view(&shown), namespaces, namespace_count,
               rights, right_count);
  else
    printf("%s\n", token);
  ae__say(
      "the token is on stdout, this once. Put this line into `tokens = "
      "{ … }` of aether.lua and restart the node:");
  fprintf(stderr, "    %s },\n", ae_buf_cstr(&line));
  ae_buf_clear(&shown);
  ae_buf_clear(&line);
  return 0;
}
