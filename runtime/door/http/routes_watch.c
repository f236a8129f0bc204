/* Health, readiness, metrics and the API's description. */
#include "base/mem.h"
#include "door/http/auth.h"
#include "door/http/metrics.h"
#include "door/http/openapi.h"
#include "door/mark.h"

static void say(ae__exchange *x, const char *word) {
  ae_buf body = {0};
  ae_buf_printf(&body, "{\"status\":\"%s\"}\n", word);
  ae__exchange_add(x, "Cache-Control", AE_STR("no-store"));
  ae__exchange_answer(x, 200, "application/json", ae_buf_view(&body));
  ae_buf_clear(&body);
}

/* That there is an answer says that the loop lives: nothing else is asked, so
 * that nobody restarts a node whose store has failed. */
static void start_health(ae__exchange *x) {
  char mark[AE__MARK_LEN + 1];
  ae__mark(ae_node_config(x->node), mark);
  ae__exchange_add(x, AE__MARK_HEADER, ae_str_of(mark));
  say(x, "ok");
}

/* Open to all, so it says what kind of thing is wrong, and not where. */
static void start_ready(ae__exchange *x) {
  ae_status status = ae_node_ready(x->node, NULL);
  if (status == AE_OK) {
    say(x, "ready");
    return;
  }
  ae_error err = {0};
  ae_error_set(
      &err, status, "%s; `aether status` says more",
      status == AE_CANCELED ? "the node is stopping" : ae_status_text(status));
  ae__exchange_add(x, "Cache-Control", AE_STR("no-store"));
  ae__exchange_refuse(x, 503, &err);
  ae_error_clear(&err);
}

static void start_openapi(ae__exchange *x) {
  ae_buf body = {0};
  ae__openapi_write(x->node, x->grant, &body);
  ae__exchange_add(x, "Cache-Control", AE_STR("no-cache"));
  ae__exchange_answer(x, 200, "application/json", ae_buf_view(&body));
  ae_buf_clear(&body);
}

const ae__route ae__routes_watch[] = {{.method = AE__METHOD_GET,
                                       .path = "/healthz",
                                       .name = "healthz",
                                       .start = start_health},
                                      {.method = AE__METHOD_GET,
                                       .path = "/readyz",
                                       .name = "readyz",
                                       .start = start_ready},
                                      {.method = AE__METHOD_GET,
                                       .path = "/metrics",
                                       .name = "metrics",
                                       .right = AE__RIGHT_ANY,
                                       .start = ae__metrics_start,
                                       .gone = ae__metrics_gone},
                                      {.method = AE__METHOD_GET,
                                       .path = "/v1/openapi.json",
                                       .name = "openapi",
                                       .right = AE__RIGHT_ANY,
                                       .start = start_openapi},
                                      {0}};
