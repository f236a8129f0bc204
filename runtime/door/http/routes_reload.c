/* Other code for namespaces: reload, rollback, revisions. What changes a
 * namespace needs the right `admin` there. */
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/findings.h"
#include "door/http/auth.h"
#include "door/http/want.h"

typedef struct asked {
  ae_reload reload;
  ae__exchange *x; /* NULL: gone; the reload goes on */
  ae_grant grant;
  ae_buf names;    /* that `reload` points at */
  ae_buf reloaded; /* maps */
  uint32_t reloaded_count;
  ae_buf findings; /* maps */
  uint32_t finding_count;
} asked;

static bool is_mine(void *data, ae_str ns) {
  const asked *a = data;
  return ae_grant_allows(&a->grant, AE_RIGHT_ADMIN, ns);
}

static void on_found(void *data, const ae_reload_finding *finding) {
  asked *a = data;
  a->finding_count++;
  ae__finding_pack(finding, &a->findings);
}

static void on_reloaded(void *data, const ae_reloaded *one) {
  asked *a = data;
  a->reloaded_count++;
  ae__reloaded_pack(one, &a->reloaded);
}

static void put_list(ae_buf *out, const char *key, uint32_t count,
                     const ae_buf *members) {
  ae_pack_cstr(out, key);
  ae_pack_array(out, count);
  ae_buf_str(out, ae_buf_view(members));
}

static void answer(ae__exchange *x, const ae_buf *packed) {
  ae_buf body = {0};
  ae_json_write(ae_buf_view(packed), &body);
  ae_buf_byte(&body, '\n');
  ae__exchange_add(x, "Cache-Control", AE_STR("no-store"));
  ae__exchange_answer(x, 200, "application/json", ae_buf_view(&body));
  ae_buf_clear(&body);
}

static void free_asked(asked *a) {
  if (a->x) a->x->context = NULL;
  ae_buf_clear(&a->names);
  ae_buf_clear(&a->reloaded);
  ae_buf_clear(&a->findings);
  ae_free(a);
}

static void on_done(ae_reload *reload, ae_status status, const ae_error *err) {
  asked *a = reload->data;
  ae_buf packed = {0};
  if (a->x && status == AE_OK) {
    ae_pack_map(&packed, 3);
    put_list(&packed, "reloaded", a->reloaded_count, &a->reloaded);
    put_list(&packed, "findings", a->finding_count, &a->findings);
    ae_pack_cstr(&packed, "dry_run");
    ae_pack_bool(&packed, reload->dry_run);
    answer(a->x, &packed);
  } else if (a->x) {
    ae_error told = {0};
    ae_error_copy(&told, err);
    ae_pack_array(&packed, a->finding_count);
    ae_buf_str(&packed, ae_buf_view(&a->findings));
    ae_error_pack(&told, "findings", ae_buf_view(&packed));
    ae__exchange_fail(a->x, &told);
    ae_error_clear(&told);
  }
  ae_buf_clear(&packed);
  free_asked(a);
}

static ae_str keep(asked *a, ae_str text) {
  ae_str copy = {a->names.ptr + a->names.len, text.len};
  ae_buf_str(&a->names, text);
  return copy;
}

static void start(ae__exchange *x, const char *const *known, bool back) {
  asked *a = ae_zalloc(sizeof *a);
  ae_error err = {0};
  ae_str ns = ae__exchange_query(x, "namespace");
  ae_str revision = ae__exchange_query(x, "revision");
  a->x = x;
  x->context = a;
  a->grant = *x->grant;
  a->reload = (ae_reload){.wanted = is_mine,
                          .found = on_found,
                          .each = on_reloaded,
                          .done = on_done,
                          .data = a};
  ae_status status = ae__want_check(x, known, &err);
  if (status == AE_OK)
    status = ae__want_bool(x, "dry_run", false, &a->reload.dry_run, &err);
  if (status == AE_OK && back && !ns.ptr) {
    status = ae_error_set(&err, AE_MALFORMED,
                          "which namespace? say ?namespace=NAME");
    ae_error_cstr(&err, "at", "namespace");
  }
  if (status == AE_OK && ns.ptr)
    status = ae__auth_allows(x->node, x->grant, AE_RIGHT_ADMIN, ns, &err);
  ae_buf_reserve(&a->names, ns.len + revision.len + 1);
  if (ns.ptr) a->reload.ns = keep(a, ns);
  if (back) a->reload.revision = keep(a, revision);
  if (status == AE_OK) status = ae_node_reload(x->node, &a->reload, &err);
  if (status != AE_OK) {
    ae__exchange_fail(x, &err);
    free_asked(a);
  }
  ae_error_clear(&err);
}

static void start_reload(ae__exchange *x) {
  static const char *const known[] = {"namespace", "dry_run", NULL};
  start(x, known, false);
}

static void start_rollback(ae__exchange *x) {
  static const char *const known[] = {"namespace", "revision", "dry_run", NULL};
  start(x, known, true);
}

static void gone(ae__exchange *x) {
  asked *a = x->context;
  if (a) a->x = NULL;
}

/* -- revisions -- */

typedef struct listed {
  ae_str ns;
  ae_buf maps;
  uint32_t count;
  bool sources; /* of the current one */
} listed;

/* Its modules by name, where JSON can say them. */
static void add_sources(const ae_revision *one, ae_buf *out) {
  ae_pack_cstr(out, "sources");
  ae_pack_map(out, one->modules);
  for (uint32_t i = 0; i < one->modules; i++) {
    ae_pack_text(out, one->sources[i].name);
    ae_pack_text(out, one->sources[i].text);
  }
}

static bool is_text(const ae_revision *one) {
  for (uint32_t i = 0; i < one->modules; i++)
    if (!ae_str_utf8(one->sources[i].text)) return false;
  return true;
}

static void add_revision(void *data, const ae_revision *one) {
  listed *l = data;
  bool sources = l->sources && one->current && is_text(one);
  l->count++;
  ae_pack_map(&l->maps, 5 + sources);
  ae_pack_cstr(&l->maps, "namespace");
  ae_pack_text(&l->maps, l->ns);
  ae_pack_cstr(&l->maps, "revision");
  ae_pack_text(&l->maps, one->revision);
  ae_pack_cstr(&l->maps, "loaded");
  ae_pack_int(&l->maps, one->loaded);
  ae_pack_cstr(&l->maps, "current");
  ae_pack_bool(&l->maps, one->current);
  ae_pack_cstr(&l->maps, "modules");
  ae_pack_uint(&l->maps, one->modules);
  if (sources) add_sources(one, &l->maps);
}

static void start_revisions(ae__exchange *x) {
  static const char *const known[] = {"namespace", "sources", NULL};
  const ae_config *config = ae_node_config(x->node);
  ae_str ns = ae__exchange_query(x, "namespace");
  listed l = {0};
  ae_error err = {0};
  ae_status status = ae__want_check(x, known, &err);
  if (status == AE_OK)
    status = ae__want_bool(x, "sources", false, &l.sources, &err);
  if (status == AE_OK && ns.ptr)
    status = ae__auth_allows(x->node, x->grant, AE_RIGHT_ADMIN, ns, &err);
  for (size_t i = 0; i < config->namespace_count && status == AE_OK; i++) {
    l.ns = ae_str_of(config->namespaces[i].name);
    if (ns.ptr ? !ae_str_eq(ns, l.ns)
               : !ae_grant_allows(x->grant, AE_RIGHT_ADMIN, l.ns))
      continue;
    status = ae_node_revisions(x->node, l.ns, add_revision, &l, &err);
  }
  if (status == AE_OK) {
    ae_buf packed = {0};
    ae_pack_map(&packed, 1);
    put_list(&packed, "revisions", l.count, &l.maps);
    answer(x, &packed);
    ae_buf_clear(&packed);
  } else {
    ae__exchange_fail(x, &err);
  }
  ae_buf_clear(&l.maps);
  ae_error_clear(&err);
}

const ae__route ae__routes_reload[] = {{.method = AE__METHOD_POST,
                                        .path = "/v1/admin/reload",
                                        .name = "reload",
                                        .right = AE_RIGHT_ADMIN,
                                        .start = start_reload,
                                        .gone = gone},
                                       {.method = AE__METHOD_POST,
                                        .path = "/v1/admin/rollback",
                                        .name = "rollback",
                                        .right = AE_RIGHT_ADMIN,
                                        .start = start_rollback,
                                        .gone = gone},
                                       {.method = AE__METHOD_GET,
                                        .path = "/v1/admin/revisions",
                                        .name = "revisions",
                                        .right = AE_RIGHT_ADMIN,
                                        .start = start_revisions},
                                       {0}};
