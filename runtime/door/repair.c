/* `aether repair`: what cannot be read of an actor's history is shown, then an
 * operator decides. On the store, or through the node that has it. */
#include "node/repair.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/session.h"
#include "door/terminal.h"

typedef struct repairing {
  ae__session session;
  ae_repair repair;
  ae_repair_way way;
  ae_str actor;
  bool yes, json;
  char *side;
  int exit;
} repairing;

/* -- what is said, from the document of ae_repair_pack -- */

static uint64_t uint_of(ae_str map, const char *key) {
  ae_str value;
  uint64_t number = 0;
  if (!ae_unpack_field(map, key, &value)) return 0;
  ae_unpack at = ae_unpack_of(value);
  return ae_unpack_uint(&at, &number) ? number : 0;
}

static ae_str text_of(ae_str map, const char *key) {
  ae_str value, text = {0};
  if (!ae_unpack_field(map, key, &value)) return text;
  ae_unpack at = ae_unpack_of(value);
  return ae_unpack_str(&at, &text) ? text : (ae_str){0};
}

static uint32_t holes_of(ae_str map, ae_unpack *at) {
  ae_str value;
  uint32_t count = 0;
  if (!ae_unpack_field(map, "holes", &value)) return 0;
  *at = ae_unpack_of(value);
  return ae_unpack_array(at, &count) ? count : 0;
}

static void print_hole(FILE *out, ae_str hole) {
  uint64_t from = uint_of(hole, "from"), to = uint_of(hole, "to");
  ae_str cause = text_of(hole, "cause");
  if (to < from)
    fprintf(out, "  behind version %llu, a commit without events",
            (unsigned long long)to);
  else if (to == from)
    fprintf(out, "  version %llu", (unsigned long long)from);
  else
    fprintf(out, "  versions %llu to %llu", (unsigned long long)from,
            (unsigned long long)to);
  fprintf(out, ": %.*s\n", AE_FMT(cause));
}

/* What was found; true: something is wrong. */
static bool print_found(FILE *out, ae_str document) {
  ae_unpack at;
  ae_str hole, actor = text_of(document, "actor");
  uint64_t base = uint_of(document, "base");
  uint32_t count = holes_of(document, &at);
  fprintf(out, "%.*s: version %llu, %s commit%s can be read%s", AE_FMT(actor),
          (unsigned long long)uint_of(document, "version"),
          ae__count(uint_of(document, "commits")),
          uint_of(document, "commits") == 1 ? "" : "s",
          count > 0 ? "; these cannot:\n" : ", all there are");
  for (uint32_t i = 0; i < count && ae_unpack_skip(&at, &hole); i++)
    print_hole(out, hole);
  if (count == 0 && base > 0)
    fprintf(out, " behind version %llu", (unsigned long long)base);
  if (count == 0) fprintf(out, "\n");
  return count > 0;
}

static void print_plan(FILE *out, ae_repair_way way, ae_str document) {
  ae_unpack at;
  ae_str hole;
  uint64_t behind = uint_of(document, "behind");
  if (holes_of(document, &at) == 0 || !ae_unpack_skip(&at, &hole)) return;
  if (way == AE_REPAIR_SKIP)
    fprintf(out,
            "In their place comes a commit that keeps the versions and means "
            "nothing: the state\n"
            "is built without them, and snapshots made since go.");
  else
    fprintf(out,
            "The actor goes back to version %llu: %s commit%s behind that can "
            "be read go too, and\n"
            "their command ids may be used again.",
            (unsigned long long)uint_of(hole, "from") - 1, ae__count(behind),
            behind == 1 ? "" : "s");
  fprintf(out,
          "\nRows of projections may still hold what goes. It is kept in a "
          "file.\n");
}

static void print_done(ae_str document) {
  ae_str kept = text_of(document, "kept");
  uint64_t removed = uint_of(document, "removed");
  printf("repaired: it is at version %llu; %s commit%s gave way",
         (unsigned long long)uint_of(document, "version"), ae__count(removed),
         removed == 1 ? "" : "s");
  if (kept.len > 0) printf(", kept in %.*s", AE_FMT(kept));
  printf("\n");
}

static bool confirmed(repairing *r, ae_str document) {
  char line[16] = "";
  if (!r->json) print_found(stderr, document);
  if (r->yes) return true;
  print_plan(stderr, r->way, document);
  fprintf(stderr, "Type yes to go on: ");
  fflush(stderr);
  if (!fgets(line, sizeof line, stdin)) line[0] = 0;
  line[strcspn(line, "\r\n")] = 0;
  return strcmp(line, "yes") == 0;
}

static void print(repairing *r, ae_str document) {
  ae_unpack at;
  bool wrong = holes_of(document, &at) > 0;
  bool looked = r->way == AE_REPAIR_LOOK;
  if (wrong && looked) r->exit = ae_status_exit(AE_REJECTED);
  if (r->json) {
    ae_buf text = {0};
    ae_json_write(document, &text);
    printf("%s\n", ae_buf_cstr(&text));
    ae_buf_clear(&text);
  } else if (wrong && !looked) {
    print_done(document);
  } else if (print_found(stdout, document)) {
    printf(
        "--skip goes over them, --truncate takes the actor back to before "
        "the first; see `aether help repair`\n");
  }
}

/* -- on the store -- */

static bool confirm(ae_repair *repair) {
  repairing *r = repair->data;
  ae_buf packed = {0};
  ae_repair_pack(repair, &packed);
  bool is = confirmed(r, ae_buf_view(&packed));
  ae_buf_clear(&packed);
  return is;
}

static void on_done(ae_repair *repair, ae_status status, const ae_error *err) {
  repairing *r = repair->data;
  if (status == AE_OK) {
    ae_buf packed = {0};
    ae_repair_pack(repair, &packed);
    print(r, ae_buf_view(&packed));
    ae_buf_clear(&packed);
  } else {
    r->exit = ae__complain_of(r->session.args, status, err);
  }
  ae__session_end(&r->session);
}

static void on_store(repairing *r) {
  ae_error err = {0};
  ae_repair *repair = &r->repair;
  r->side = ae_repair_side(&r->session.config);
  repair->way = r->way;
  repair->side = r->side;
  repair->node = r->session.config.node;
  repair->confirm = confirm;
  repair->done = on_done;
  repair->data = r;
  ae_ref_parse(r->actor, &repair->ref, NULL);
  if (ae_repair_start(ae_node_store(r->session.node), repair, &err) == AE_OK)
    ae__session_run(&r->session);
  else
    r->exit = ae__complain(r->session.args, &err);
  ae_repair_clear(repair);
  ae_free(r->side);
}

/* -- through a node -- */

static ae_status ask(repairing *r, ae_repair_way way, ae_buf *document,
                     ae_error *err) {
  ae_buf path = {0};
  ae_buf_printf(&path, "/v1/admin/repair?actor=");
  ae__client_segment(&path, r->actor);
  if (way != AE_REPAIR_LOOK)
    ae_buf_printf(&path, "&way=%s",
                  way == AE_REPAIR_SKIP ? "skip" : "truncate");
  ae__call call = {.post = way != AE_REPAIR_LOOK, .path = ae_buf_cstr(&path)};
  ae_status status = ae__client_call(r->session.client, &call, err);
  ae_buf_reset(document);
  if (status == AE_OK)
    status = ae_json_read(ae_buf_view(&call.answer), document, err);
  ae_buf_clear(&path);
  ae_buf_clear(&call.answer);
  return status;
}

static void through_node(repairing *r) {
  ae_buf document = {0};
  ae_unpack at;
  ae_error err = {0};
  ae_status status = ask(r, AE_REPAIR_LOOK, &document, &err);
  bool wrong = status == AE_OK && holes_of(ae_buf_view(&document), &at) > 0;
  if (wrong && r->way != AE_REPAIR_LOOK) {
    if (confirmed(r, ae_buf_view(&document)))
      status = ask(r, r->way, &document, &err);
    else
      status = ae_error_set(&err, AE_CANCELED, "nothing was changed");
  }
  if (status == AE_OK)
    print(r, ae_buf_view(&document));
  else
    r->exit = ae__complain(r->session.args, &err);
  ae_buf_clear(&document);
}

static ae_status read_way(repairing *r, const ae__args *args, ae_error *err) {
  bool skip = ae__args_get(args, "skip") != NULL;
  bool truncate = ae__args_get(args, "truncate") != NULL;
  r->yes = ae__args_get(args, "yes") != NULL;
  r->json = ae__args_json(args);
  if (skip && truncate)
    return ae_error_set(err, AE_USAGE,
                        "--skip goes over what cannot be read, --truncate "
                        "takes it away: one of them");
  if (skip) r->way = AE_REPAIR_SKIP;
  if (truncate) r->way = AE_REPAIR_TRUNCATE;
  if (r->way == AE_REPAIR_LOOK || r->yes || ae__terminal(stdin)) return AE_OK;
  return ae_error_set(err, AE_USAGE,
                      "there is no terminal to ask whether that is meant: say "
                      "so with --yes");
}

int ae__repair_run(const ae__args *args) {
  repairing *r = ae_zalloc(sizeof *r);
  ae_error err = {0};
  ae_ref ref;
  r->actor = ae_str_of(args->rest[0]);
  ae_status status = ae_ref_parse(r->actor, &ref, &err);
  if (status == AE_OK) status = read_way(r, args, &err);
  int exit = status == AE_OK ? 0 : ae__complain(args, &err);
  if (exit == 0)
    exit = ae__session_ask(
        &r->session, args,
        r->way == AE_REPAIR_LOOK ? AE__READ_EVENTS : AE__CHANGE_STORE);
  if (exit == 0) {
    if (r->session.client)
      through_node(r);
    else
      on_store(r);
    ae__session_clear(&r->session);
    exit = r->exit;
  }
  ae_free(r);
  return exit;
}
