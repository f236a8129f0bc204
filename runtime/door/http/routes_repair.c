/* GET and POST /v1/admin/repair?actor=A: what cannot be read of an actor's
 * history, and with POST and way=skip or way=truncate what becomes of it. */
#include "base/json.h"
#include "base/mem.h"
#include "door/http/auth.h"
#include "door/http/want.h"
#include "node/repair.h"

typedef struct repairing {
  ae_repair repair;
  ae_node *node;
  ae__exchange *x; /* NULL: gone; what was begun is done all the same */
  ae_buf name;     /* the actor's */
  char *side;
} repairing;

static void free_it(repairing *r) {
  ae_repair_clear(&r->repair);
  ae_buf_clear(&r->name);
  ae_free(r->side);
  ae_free(r);
}

static void answer(repairing *r) {
  ae_buf packed = {0}, body = {0};
  ae_repair_pack(&r->repair, &packed);
  ae_json_write(ae_buf_view(&packed), &body);
  ae_buf_byte(&body, '\n');
  ae__exchange_add(r->x, "Cache-Control", AE_STR("no-store"));
  ae__exchange_answer(r->x, 200, "application/json", ae_buf_view(&body));
  ae_buf_clear(&packed);
  ae_buf_clear(&body);
}

static void on_done(ae_repair *repair, ae_status status, const ae_error *err) {
  repairing *r = repair->data;
  /* Also after a failure: some of it may have been changed before. */
  if (repair->way != AE_REPAIR_LOOK)
    ae_actors_forget(ae_node_actors(r->node), &repair->ref);
  if (r->x) {
    r->x->context = NULL;
    if (status == AE_OK)
      answer(r);
    else
      ae__exchange_fail(r->x, err);
  }
  free_it(r);
}

static ae_status read_query(ae__exchange *x, repairing *r, ae_error *err) {
  static const char *const look[] = {"actor", NULL};
  static const char *const change[] = {"actor", "way", NULL};
  bool post = x->method == AE__METHOD_POST;
  ae_status status = ae__want_check(x, post ? change : look, err);
  if (status != AE_OK) return status;
  ae_str actor = ae__exchange_query(x, "actor");
  if (!actor.ptr) {
    ae_error_set(err, AE_MALFORMED, "the query lacks actor=NAMESPACE/TYPE/ID");
    ae_error_cstr(err, "at", "actor");
    return AE_MALFORMED;
  }
  ae_buf_str(&r->name, actor);
  status = ae_ref_parse(ae_buf_view(&r->name), &r->repair.ref, err);
  if (status == AE_OK)
    status = ae__auth_allows(x->node, x->grant, AE_RIGHT_ADMIN,
                             r->repair.ref.ns, err);
  ae_str way = ae__exchange_query(x, "way");
  if (status == AE_OK && way.ptr)
    status = ae_repair_way_of(way, &r->repair.way, err);
  return status;
}

static void start(ae__exchange *x) {
  repairing *r = ae_zalloc(sizeof *r);
  ae_error err = {0};
  const ae_config *config = ae_node_config(x->node);
  ae_status status = read_query(x, r, &err);
  r->x = x;
  r->node = x->node;
  r->side = ae_repair_side(config);
  r->repair.side = r->side;
  r->repair.node = config->node;
  r->repair.done = on_done;
  r->repair.data = r;
  x->context = r;
  if (status == AE_OK)
    status = ae_repair_start(ae_node_store(x->node), &r->repair, &err);
  if (status != AE_OK) {
    x->context = NULL;
    ae__exchange_fail(x, &err);
    free_it(r);
  }
  ae_error_clear(&err);
}

static void gone(ae__exchange *x) {
  repairing *r = x->context;
  if (r) r->x = NULL;
}

const ae__route ae__routes_repair[] = {{.method = AE__METHOD_GET,
                                        .path = "/v1/admin/repair",
                                        .name = "repair_look",
                                        .right = AE_RIGHT_ADMIN,
                                        .start = start,
                                        .gone = gone},
                                       {.method = AE__METHOD_POST,
                                        .path = "/v1/admin/repair",
                                        .name = "repair",
                                        .right = AE_RIGHT_ADMIN,
                                        .start = start,
                                        .gone = gone},
                                       {0}};
