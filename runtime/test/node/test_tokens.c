#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "node/config.h"

static char folder[256];
static char path[300];
static ae_config config;
static ae_error err;

static int set_up(void **state) {
  (void)state;
  const char *tmp = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/tokens.XXXXXX", tmp ? tmp : "/tmp");
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/aether.lua", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  unlink(path);
  rmdir(folder);
  ae_config_clear(&config);
  ae_error_clear(&err);
  return 0;
}

/* Loads an app whose aether.lua returns this. */
static ae_status load(const char *table) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "local one, two = 'sha256:%064d', 'sha256:%064X'\nreturn %s\n",
          1, 0xabc, table);
  fclose(file);
  ae_config_clear(&config);
  ae_error_clear(&err);
  return ae_config_load(folder, NULL, &config, &err);
}

static void assert_says(const char *table, const char *part) {
  assert_int_equal(load(table), AE_MALFORMED);
  if (!strstr(ae_error_text(&err), part))
    fail_msg("%s: \"%s\" lacks %s", table, ae_error_text(&err), part);
}

#define CI \
  "{ name = 'ci', hash = one, namespaces = { 'bank', 'shop.*' }, rights = "

static void takes_tokens_and_grants(void **state) {
  (void)state;
  assert_int_equal(load("{}"), AE_OK);
  assert_int_equal(config.token_count, 0);
  assert_int_equal(
      load("{ tokens = { " CI "{ 'command', 'listen' } },"
           "{ name = 'ops', hash = two, namespaces = { '>' }, rights = {} } },"
           "grants = { ci = { 'bank.>', '*' } } }"),
      AE_OK);
  assert_int_equal(config.token_count, 2);
  const ae_token *ci = &config.tokens[0], *ops = &config.tokens[1];
  assert_string_equal(ci->grant.name, "ci");
  assert_int_equal(ci->grant.rights, AE_RIGHT_COMMAND | AE_RIGHT_LISTEN);
  assert_false(ci->grant.all);
  assert_int_equal(ci->grant.namespace_count, 2);
  assert_string_equal(ci->grant.namespaces[1], "shop.*");
  assert_int_equal(ci->grant.wildcard_count, 2);
  assert_string_equal(ci->grant.wildcards[0], "bank.>");
  assert_int_equal(ci->hash[30], 0);
  assert_int_equal(ci->hash[31], 1);
  assert_int_equal(ops->grant.rights, 0);
  assert_int_equal(ops->grant.wildcard_count, 0);
  assert_int_equal(ops->hash[30], 0xa);
  assert_int_equal(ops->hash[31], 0xbc);
}

static void says_what_is_missing_or_wrong(void **state) {
  (void)state;
  assert_says("{ tokens = { { hash = one } } }", "tokens[1].name is missing");
  assert_says("{ tokens = { { name = 'ci', namespaces = { 'a' } } } }",
              "tokens[1].hash is missing; `aether token");
  assert_says("{ tokens = { { name = 'ci', hash = one } } }",
              "tokens[1].namespaces is missing");
  assert_says(
      "{ tokens = { { name = 'ci', hash = one, namespaces = { 'a' } } } }",
      "tokens[1].rights is missing");
  assert_says(
      "{ tokens = { { name = 'ci', hash = one, namespaces = {}, "
      "rights = {} } } }",
      "the token ci has no namespaces");
  assert_says("{ tokens = { " CI "{ 'reed' } } } }",
              "tokens[1].rights[1]: there is no right 'reed'; did you mean "
              "read?");
  assert_says("{ tokens = { " CI "{ 'xyzzy' } } } }", "command, read, listen");
  assert_says("{ tokens = { { name = 'ci', hash = 'aether_abc' } } }",
              "tokens[1].hash: must be sha256:HEX");
  assert_null(strstr(ae_error_text(&err), "aether_abc"));
  assert_says("{ tokens = { { name = 'ci', hash = one .. '0' } } }",
              "tokens[1].hash: must be");
  assert_says("{ tokens = { { name = 'ci', hash = one:sub(1, -2) .. 'g' } } }",
              "tokens[1].hash: must be");
  assert_says("{ tokens = { { name = 'c i' } } }", "tokens[1].name: a token's");
  assert_says("{ tokens = { { nam = 'ci' } } }", "did you mean name?");
  assert_says("{ tokens = { " CI "{} }, " CI "{} } } }",
              "tokens[1] and tokens[2] are both called ci");
  assert_says("{ tokens = { " CI
              "{} }, { name = 'x', hash = one, "
              "namespaces = { 'a' }, rights = {} } } }",
              "the tokens ci and x have the same hash");
}

static void grants_are_of_tokens_that_may_listen(void **state) {
  (void)state;
  assert_says("{ tokens = { " CI
              "{ 'listen' } } }, grants = { cj = { '>' } } }",
              "grants.cj: there is no such token; did you mean ci?");
  assert_says("{ grants = { ci = { '>' } } }", "there is no such token");
  assert_says("{ tokens = { " CI "{ 'read' } } }, grants = { ci = { '>' } } }",
              "lacks the right listen");
  assert_says("{ tokens = { " CI
              "{ 'listen' } } }, grants = { ci = { 'bank' } } }",
              "grants.ci[1]: bank has no wildcard");
  assert_says("{ grants = { ['c i'] = { '>' } } }", "a token's name");
}

static void hashes_are_not_shown(void **state) {
  (void)state;
  assert_int_equal(load("{ tokens = { " CI "{ 'read' } } } }"), AE_OK);
  size_t seen = 0;
  for (size_t i = 0; i < config.setting_count; i++) {
    ae_setting *setting = &config.settings[i];
    ae_buf text = {0};
    ae_json_write(ae_buf_view(&setting->value), &text);
    assert_null(strstr(ae_buf_cstr(&text), "sha256"));
    if (strcmp(setting->key, "tokens[1].hash") == 0) {
      assert_string_equal(ae_buf_cstr(&text), "\"hidden\"");
      seen++;
    }
    if (strcmp(setting->key, "tokens[1].rights") == 0) {
      assert_string_equal(ae_buf_cstr(&text), "[\"read\"]");
      seen++;
    }
    ae_buf_clear(&text);
  }
  assert_int_equal(seen, 2);
}

static void a_variable_is_wrong_usage(void **state) {
  (void)state;
  setenv("AETHER_TOKENS", "[{\"name\":\"a\"}]", 1);
  assert_int_equal(load("{}"), AE_USAGE);
  assert_non_null(strstr(ae_error_text(&err), "AETHER_TOKENS: tokens[1].hash"));
  unsetenv("AETHER_TOKENS");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_tokens_and_grants),
      cmocka_unit_test(says_what_is_missing_or_wrong),
      cmocka_unit_test(grants_are_of_tokens_that_may_listen),
      cmocka_unit_test(hashes_are_not_shown),
      cmocka_unit_test(a_variable_is_wrong_usage),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
