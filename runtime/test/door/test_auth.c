#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "door/http_wire.h"
#include "door/secret.h"

/* -- tokens -- */

static const char *bank_only[] = {"bank", "shop.*"};
static const char *every[] = {">"};
static const char *wild[] = {"bank.>"};
static ae_token tokens[] = {
    {.grant = {.name = "ci",
               .rights = AE_RIGHT_COMMAND | AE_RIGHT_LISTEN,
               .namespaces = bank_only,
               .namespace_count = 2,
               .wildcards = wild,
               .wildcard_count = 1}},
    {.grant = {.name = "ops",
               .rights = AE_RIGHT_ADMIN,
               .namespaces = every,
               .namespace_count = 1}},
};
static ae_namespace_config namespaces[] = {
    {.name = (char *)"bank"},
    {.name = (char *)"secret"},
    {.name = (char *)"shop.eu"},
};
static ae_config with_tokens = {.listen = (char *)"0.0.0.0:7070",
                                .tokens = tokens,
                                .token_count = 2,
                                .namespaces = namespaces,
                                .namespace_count = 3};
static ae_config without = {.listen = (char *)"127.0.0.1:7070",
                            .namespaces = namespaces,
                            .namespace_count = 3};
static ae__auth *strict, *open_to_here;
static ae_node *node, *node_without;
static ae_loop loop;
static ae_error err;

static int set_up(void **state) {
  (void)state;
  ae__secret_hash(AE_STR("aether_ci"), tokens[0].hash);
  ae__secret_hash(AE_STR("aether_ops"), tokens[1].hash);
  assert_int_equal(ae_loop_init(&loop, NULL), AE_OK);
  const ae_node_options one = {.config = &with_tokens};
  const ae_node_options two = {.config = &without};
  assert_int_equal(ae_node_open(&loop, &one, &node, NULL), AE_OK);
  assert_int_equal(ae_node_open(&loop, &two, &node_without, NULL), AE_OK);
  assert_int_equal(ae__auth_new(&with_tokens, false, &strict, &err), AE_OK);
  assert_int_equal(ae__auth_new(&without, true, &open_to_here, &err), AE_OK);
  return 0;
}

static void closed(void *data) {
  (void)data;
}

static int tear_down(void **state) {
  (void)state;
  ae__auth_free(strict);
  ae__auth_free(open_to_here);
  ae_node_close(node, closed, NULL);
  ae_node_close(node_without, closed, NULL);
  ae_loop_run(&loop);
  ae_loop_clear(&loop);
  ae_error_clear(&err);
  return 0;
}

static void refuses_to_be_open_to_all(void **state) {
  (void)state;
  ae__auth *auth;
  without.listen = (char *)"0.0.0.0:7070";
  assert_int_equal(ae__auth_new(&without, false, &auth, &err), AE_USAGE);
  without.listen = (char *)"127.0.0.1:7070";
  assert_null(auth);
  assert_non_null(strstr(ae_error_text(&err), "0.0.0.0:7070"));
  assert_non_null(strstr(ae_error_text(&err), "aether token"));
  ae__auth_free(NULL);
}

/* NULL: refused. */
static const char *who(ae__auth *auth, const char *authorization,
                       bool loopback) {
  const ae_grant *grant;
  uint64_t refused = ae__auth_refused(auth);
  ae__auth_asked asked = {.authorization = ae_str_of(authorization),
                          .loopback = loopback};
  ae_status status = ae__auth_who(auth, &asked, &grant, &err);
  assert_int_equal(status, grant ? AE_OK : AE_UNAUTHENTICATED);
  assert_int_equal(ae__auth_refused(auth), refused + !grant);
  return grant ? grant->name : NULL;
}

static void knows_tokens_by_their_hash(void **state) {
  (void)state;
  assert_string_equal(who(strict, "Bearer aether_ci", false), "ci");
  assert_string_equal(who(strict, "bearer   aether_ops ", true), "ops");
  static const char *const bad[] = {
      "Bearer aether_c",
      "Bearer aether_cii",
      "Bearer AETHER_CI",
      "Bearer",
      "Bearer ",
      "Beareraether_ci",
      "Basic aether_ci",
      "aether_ci",
      "",
      "Bearer aether_ci, Bearer aether_ops",
      "Bearer \"aether_ci\"",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (who(strict, bad[i], true)) fail_msg("%s was let in", bad[i]);
  /* The hash itself is no token. */
  ae_buf shown = {0};
  ae_buf_printf(&shown, "Bearer ");
  ae__secret_show(tokens[0].hash, &shown);
  assert_null(who(strict, ae_buf_cstr(&shown), true));
  ae_buf_clear(&shown);
  /* Nor is being near: with tokens, a proxy in front is near too. */
  assert_null(who(strict, NULL, true));
}

static bool let_in(const char *host, const char *origin, const char *site) {
  const ae_grant *grant;
  ae__auth_asked asked = {.loopback = true,
                          .host = ae_str_of(host),
                          .origin = ae_str_of(origin),
                          .fetch_site = ae_str_of(site)};
  ae_status status = ae__auth_who(open_to_here, &asked, &grant, &err);
  if (status == AE_OK) assert_true(grant->all);
  return status == AE_OK;
}

static void without_tokens_this_machine_alone_is_served(void **state) {
  (void)state;
  assert_string_equal(who(open_to_here, NULL, true), "local");
  assert_string_equal(who(open_to_here, "Bearer x", true), "local");
  assert_null(who(open_to_here, NULL, false));
  ae__auth_asked proxied = {.loopback = true, .forwarded = true};
  const ae_grant *grant;
  assert_int_equal(ae__auth_who(open_to_here, &proxied, &grant, &err),
                   AE_UNAUTHENTICATED);
  assert_non_null(strstr(ae_error_text(&err), "proxy"));
  static const char *const here[] = {
      "localhost",      "localhost:7070",  "LocalHost:1", "127.0.0.1",
      "127.0.0.1:7070", "127.255.0.9:443", "[::1]",       "[::1]:7070"};
  for (size_t i = 0; i < sizeof here / sizeof *here; i++)
    if (!let_in(here[i], NULL, NULL)) fail_msg("%s was refused", here[i]);
  static const char *const elsewhere[] = {
      "",
      "evil.example",
      "evil.example:7070",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "127.0.0.1@evil.example",
      "evil.example#127.0.0.1",
      "10.0.0.1",
      "[::2]:7070",
      "[::1",
      "[::1]evil.example",
      "::1",
      "localhost:",
      "localhost:65536",
      "localhost:000080",
      "localhost:evil",
      "[localhost]",
      "0.0.0.0",
      "127.1",
      "2130706433",
  };
  for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
    if (let_in(elsewhere[i], NULL, NULL))
      fail_msg("%s was let in", elsewhere[i]);
}

static void a_web_page_of_another_site_is_refused(void **state) {
  (void)state;
  assert_true(let_in("localhost:7070", "http://localhost:7070", NULL));
  assert_true(
      let_in("localhost:7070", "https://LOCALHOST:7070", "same-origin"));
  assert_true(let_in("localhost:7070", NULL, "none"));
  assert_false(let_in("localhost:7070", "http://evil.example", NULL));
  assert_false(let_in("localhost:7070", "http://localhost:8080", NULL));
  assert_false(let_in("localhost:7070", "http://localhost", NULL));
  assert_false(let_in("localhost:7070", "null", NULL));
  assert_false(let_in("localhost:7070", "", NULL));
  assert_false(let_in("localhost:7070", "localhost:7070", NULL));
  assert_false(let_in(NULL, "http://localhost:7070", NULL));
  assert_false(let_in("localhost:7070", NULL, "cross-site"));
  assert_false(let_in("localhost:7070", NULL, "same-site"));
  assert_non_null(strstr(ae_error_text(&err), "web page"));
}

static void knows_loopback_addresses(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool loopback;
  } all[] = {{"127.0.0.1", true},
             {"127.9.9.9", true},
             {"10.0.0.1", false},
             {"0.0.0.0", false},
             {"::1", true},
             {"::", false},
             {"::ffff:127.0.0.1", true},
             {"::ffff:10.0.0.1", false},
             {"fe80::1", false},
             {"::127.0.0.1", false}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool six = strchr(all[i].text, ':') != NULL;
    assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, all[i].text,
                               six ? (void *)&v6.sin6_addr : &v4.sin_addr),
                     1);
    if (ae__auth_loopback(six ? (void *)&v6 : (void *)&v4) != all[i].loopback)
      fail_msg("%s", all[i].text);
  }
  assert_false(ae__auth_loopback(&(struct sockaddr){.sa_family = AF_UNIX}));
}

/* -- what -- */

static ae__http http;
static http_wire wire;
static ae_buf got;

/* Says who asks. */
static void say(ae__exchange *x) {
  ae__exchange_answer(x, 200, "text/plain", ae_str_of(x->grant->name));
}

static const ae__route routes[] = {
    {.method = AE__METHOD_GET,
     .path = "/v1/{ns}/{type}",
     .right = AE_RIGHT_COMMAND,
     .start = say},
    {.method = AE__METHOD_GET,
     .path = "/v1/commands",
     .right = AE_RIGHT_COMMAND,
     .start = say},
    {.method = AE__METHOD_GET,
     .path = "/v1/admin/status",
     .right = AE_RIGHT_ADMIN,
     .start = say},
    {.method = AE__METHOD_GET,
     .path = "/metrics",
     .right = AE__RIGHT_ANY,
     .start = say},
    {.method = AE__METHOD_GET, .path = "/healthz", .start = say},
    {0}};
static const ae__route *const tables[] = {routes, NULL};

/* The whole answer to GET; `token` NULL: none is sent. */
static const char *get(const char *path, const char *token) {
  ae_buf bytes = {0};
  ae_buf_printf(&bytes, "GET %s HTTP/1.1\r\nHost: node\r\n", path);
  if (token) ae_buf_printf(&bytes, "Authorization: Bearer %s\r\n", token);
  ae_buf_printf(&bytes, "\r\n");
  http_wire_open(&wire, &http);
  assert_true(http_wire_send(&wire, bytes.ptr, bytes.len));
  ae_buf_move(&got, &wire.got);
  http_wire_clear(&wire);
  ae_buf_clear(&bytes);
  return ae_buf_cstr(&got);
}

static void assert_got(const char *answer, int status, const char *part) {
  char head[32];
  snprintf(head, sizeof head, "HTTP/1.1 %d ", status);
  if (strncmp(answer, head, strlen(head)) != 0 || !strstr(answer, part))
    fail_msg("%d with %s, not %s", status, part, answer);
  bool challenged = strstr(answer, "\r\nWWW-Authenticate: Bearer ") != NULL;
  assert_int_equal(challenged, status == 401);
}

static int serve(void **state) {
  (void)state;
  http_wire_server(&http, &loop, tables, NULL);
  ae__auth_free(http.auth);
  http.auth = strict;
  http.node = node;
  return 0;
}

static int serve_no_more(void **state) {
  (void)state;
  ae_buf_clear(&got);
  http.auth = NULL; /* it is torn down with the others */
  http_wire_server_clear(&http);
  return 0;
}

static void a_route_needs_its_right(void **state) {
  (void)state;
  assert_got(get("/v1/commands", "aether_ci"), 200, "\r\nci");
  assert_got(get("/v1/commands", "aether_ops"), 403, "\"needs\":\"command\"");
  assert_got(get("/v1/commands", "aether_ops"), 403,
             "the token ops lacks the right command");
  assert_got(get("/v1/commands", "aether_x"), 401, "error=\"invalid_token\"");
  assert_got(get("/v1/commands", NULL), 401, "\"needs\":\"a token\"");
  assert_got(get("/v1/admin/status", "aether_ops"), 200, "\r\nops");
  assert_got(get("/v1/admin/status", "aether_ci"), 403, "\"needs\":\"admin\"");
  assert_got(get("/metrics", "aether_ci"), 200, "\r\nci");
  assert_got(get("/metrics", NULL), 401, "realm=\"aether\"\r\n");
  assert_got(get("/healthz", NULL), 200, "\r\nnobody");
  assert_got(get("/healthz", "aether_x"), 200, "\r\nnobody");
  assert_got(get("/nowhere", NULL), 404, "\"code\":\"not_found\"");
}

/* The body, but for the name that was asked for. */
static char *body_for(const char *ns) {
  char path[64];
  snprintf(path, sizeof path, "/v1/%s/account", ns);
  const char *answer = get(path, "aether_ci");
  assert_got(answer, 404, "unknown_namespace");
  char *body = ae_strdup(strstr(answer, "\r\n\r\n"));
  for (char *at; (at = strstr(body, ns));) memset(at, '?', strlen(ns));
  return body;
}

static void another_namespace_looks_like_none(void **state) {
  (void)state;
  assert_got(get("/v1/bank/account", "aether_ci"), 200, "\r\nci");
  assert_got(get("/v1/shop.eu/account", "aether_ci"), 200, "\r\nci");
  char *there = body_for("secret"), *nowhere = body_for("sacred");
  assert_string_equal(there, nowhere);
  ae_free(there);
  ae_free(nowhere);
  /* Nothing that is not granted is offered as the nearest. */
  assert_null(strstr(get("/v1/secre/account", "aether_ci"), "nearest"));
  assert_got(get("/v1/bnk/account", "aether_ci"), 404, "did you mean bank?");
  /* One that is seen says which right is lacking. */
  assert_got(get("/v1/secret/account", "aether_ops"), 403, "needs");
  /* shop.* are its children only. */
  assert_got(get("/v1/shop/account", "aether_ci"), 404, "unknown_namespace");
  const ae_grant *ci = &tokens[0].grant, *ops = &tokens[1].grant;
  assert_true(ae__auth_sees(ci, AE_STR("shop.eu")));
  assert_false(ae__auth_sees(ci, AE_STR("secret")));
  assert_false(ae__auth_sees_all(ci));
  assert_true(ae__auth_sees_all(ops));
}

/* -- secrets -- */

static void makes_tokens(void **state) {
  (void)state;
  char one[AE__SECRET_LEN + 1], two[AE__SECRET_LEN + 1];
  unsigned seen[256] = {0};
  for (size_t i = 0; i < 200; i++) {
    assert_int_equal(ae__secret_make(one, &err), AE_OK);
    assert_int_equal(strlen(one), AE__SECRET_LEN);
    assert_memory_equal(one, "aether_", 7);
    for (const char *at = one + 7; *at; at++) seen[(uint8_t)*at]++;
  }
  assert_int_equal(ae__secret_make(two, &err), AE_OK);
  assert_string_not_equal(one, two);
  unsigned kinds = 0;
  for (size_t i = 0; i < 256; i++) {
    kinds += seen[i] > 0;
    if (seen[i] > 0) assert_true(i < 128 && (i >= '0' && i <= 'z'));
  }
  assert_int_equal(kinds, 62);
  uint8_t hash[AE_TOKEN_HASH], other[AE_TOKEN_HASH];
  ae_buf text = {0};
  ae__secret_hash(AE_STR("abc"), hash);
  ae__secret_show(hash, &text);
  assert_string_equal(ae_buf_cstr(&text),
                      "sha256:ba7816bf8f01cfea414140de5dae2223"
                      "b00361a396177a9cb410ff61f20015ad");
  ae_buf_clear(&text);
  memcpy(other, hash, sizeof other);
  assert_true(ae__secret_same(hash, other));
  other[31] ^= 1;
  assert_false(ae__secret_same(hash, other));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refuses_to_be_open_to_all),
      cmocka_unit_test(knows_tokens_by_their_hash),
      cmocka_unit_test(without_tokens_this_machine_alone_is_served),
      cmocka_unit_test(a_web_page_of_another_site_is_refused),
      cmocka_unit_test(knows_loopback_addresses),
      cmocka_unit_test_setup_teardown(a_route_needs_its_right, serve,
                                      serve_no_more),
      cmocka_unit_test_setup_teardown(another_namespace_looks_like_none, serve,
                                      serve_no_more),
      cmocka_unit_test(makes_tokens),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
