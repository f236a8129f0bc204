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
#include "node/reload.h"
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

/* -- reload -- */

typedef struct reloading {
  ae__exchange *x;
  ae_buf packed;
  uint32_t count;
} reloading;

static bool is_mine(void *data, ae_str ns) {
  const reloading *r = data;
  return ae_grant_allows(r->x->grant, AE_RIGHT_ADMIN, ns);
}

static void add_reloaded(void *data, const ae_reloaded *one) {
  reloading *r = data;
  r->count++;
  ae_pack_map(&r->packed, 3);
  ae_pack_cstr(&r->packed, "namespace");
  ae_pack_text(&r->packed, one->ns);
  ae_pack_cstr(&r->packed, "revision");
  ae_pack_cstr(&r->packed, one->revision);
  ae_pack_cstr(&r->packed, "was");
  ae_pack_cstr(&r->packed, one->was);
}

static void answer_reloaded(reloading *r) {
  ae_buf whole = {0}, body = {0};
  ae_pack_map(&whole, 1);
  ae_pack_cstr(&whole, "reloaded");
  ae_pack_array(&whole, r->count);
  ae_buf_str(&whole, ae_buf_view(&r->packed));
  ae_json_write(ae_buf_view(&whole), &body);
  ae_buf_byte(&body, '\n');
  ae__exchange_answer(r->x, 200, "application/json", ae_buf_view(&body));
  ae_buf_clear(&whole);
  ae_buf_clear(&body);
}

static void start_reload(ae__exchange *x) {
  static const char *const known[] = {"namespace", NULL};
  reloading r = {.x = x};
  ae_error err = {0};
  ae_str ns = ae__exchange_query(x, "namespace");
  ae_status status = ae__want_check(x, known, &err);
  if (status == AE_OK && ns.ptr)
    status = ae__auth_allows(x->node, x->grant, AE_RIGHT_ADMIN, ns, &err);
  if (status == AE_OK)
    status = ae_node_reload(x->node, ns, is_mine, add_reloaded, &r, &err);
  if (status == AE_OK)
    answer_reloaded(&r);
  else
    ae__exchange_fail(x, &err);
  ae_error_clear(&err);
  ae_buf_clear(&r.packed);
}

const ae__route ae__routes_admin[] = {{.method = AE__METHOD_GET,
                                       .path = "/v1/admin/status",
                                       .name = "status",
                                       .right = AE_RIGHT_ADMIN,
                                       .start = start_status,
                                       .gone = gone},
                                      {.method = AE__METHOD_POST,
                                       .path = "/v1/admin/reload",
                                       .name = "reload",
                                       .right = AE_RIGHT_ADMIN,
                                       .start = start_reload},
                                      {0}};
