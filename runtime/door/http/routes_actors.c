/* GET /v1/{ns}/{type}/{id}[?at=VERSION]: an actor's state, now or as it was. */
#include "base/mem.h"
#include "door/answer.h"
#include "door/http/want.h"

typedef struct asked {
  ae_state_read read;
  ae__exchange *x; /* NULL: gone */
  ae_buf name;     /* what read.ref points at */
} asked;

static void answered(ae_state_read *read, ae_status status, uint64_t version,
                     ae_str state, const ae_error *err) {
  asked *a = read->data;
  ae__exchange *x = a->x;
  if (x && status != AE_OK) {
    ae_error plain = {0};
    if (!err) ae_error_set(&plain, status, "%s", ae_status_text(status));
    ae__exchange_fail(x, err ? err : &plain);
    ae_error_clear(&plain);
  } else if (x) {
    ae_buf body = {0};
    bool has = ae__want_has(x, version);
    if (!has) ae__answer_state(&body, &read->ref, version, state, false);
    ae__want_tag(x, version);
    ae__exchange_add(x, "Cache-Control", AE_STR("no-cache"));
    ae__exchange_answer(x, has ? 304 : 200, "application/json",
                        ae_buf_view(&body));
    ae_buf_clear(&body);
  }
  if (x) x->context = NULL;
  ae_buf_clear(&a->name);
  ae_free(a);
}

static void start_state(ae__exchange *x) {
  static const char *const known[] = {"at", NULL};
  asked *a = ae_zalloc(sizeof *a);
  ae_error err = {0};
  ae_status status = ae__want_check(x, known, &err);
  if (status == AE_OK)
    status = ae__want_uint(x, "at", 0, UINT64_MAX - 1, UINT64_MAX, &a->read.at,
                           &err);
  if (status == AE_OK) status = ae__want_actor(x, &a->name, &a->read.ref, &err);
  if (status == AE_OK) {
    a->x = x;
    a->read.cb = answered;
    a->read.data = a;
    x->context = a;
    ae_actors_state(ae_node_actors(x->node), &a->read);
  } else {
    ae__exchange_fail(x, &err);
    ae_buf_clear(&a->name);
    ae_free(a);
  }
  ae_error_clear(&err);
}

static void gone_state(ae__exchange *x) {
  asked *a = x->context;
  if (a) a->x = NULL;
}

const ae__route ae__routes_actors[] = {{.method = AE__METHOD_GET,
                                        .path = "/v1/{ns}/{type}/{id}",
                                        .name = "state",
                                        .right = AE_RIGHT_READ,
                                        .start = start_state,
                                        .gone = gone_state},
                                       {0}};
