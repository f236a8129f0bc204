/* What the command line asks of a node: /v1/admin/WORD, one segment, with what
 * else is needed in the query.
 *
 * A route here has the right `admin`, which the connection has looked for by
 * then, in any namespace. In which ones, the route looks itself: what it shows
 * by the grant (ae_node_status), what it changes with ae__auth_allows; and
 * what concerns the whole node needs ae__auth_sees_all. */
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/http/auth.h"
#include "door/http/want.h"
#include "node/status.h"

typedef struct asked {
  ae_status_read read;
  ae_grant grant;  /* the exchange's, which may be gone before the answer */
  ae__exchange *x; /* NULL: gone */
} asked;

static void on_status(ae_status_read *read, ae_str document) {
  asked *a = read->data;
  if (a->x) {
    ae_buf body = {0};
    ae_json_write(document, &body);
    ae_buf_byte(&body, '\n');
    ae__exchange_add(a->x, "Cache-Control", AE_STR("no-store"));
    ae__exchange_answer(a->x, 200, "application/json", ae_buf_view(&body));
    ae_buf_clear(&body);
    a->x->context = NULL;
  }
  ae_free(a);
}

static void start_status(ae__exchange *x) {
  asked *a = ae_zalloc(sizeof *a);
  a->x = x;
  a->grant = *x->grant;
  a->read.grant = &a->grant;
  a->read.cb = on_status;
  a->read.data = a;
  x->context = a;
  ae_node_status(x->node, &a->read);
}

static void gone(ae__exchange *x) {
  asked *a = x->context;
  if (a) a->x = NULL;
}

const ae__route ae__routes_admin[] = {{.method = AE__METHOD_GET,
                                       .path = "/v1/admin/status",
                                       .name = "status",
                                       .right = AE_RIGHT_ADMIN,
                                       .start = start_status,
                                       .gone = gone},
                                      {0}};
