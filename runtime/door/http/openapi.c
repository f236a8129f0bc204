#include "door/http/openapi.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/http/comments.h"
#include "door/secret.h"

#define ADD(out, literal) ae_buf_add(out, literal, sizeof(literal) - 1)

/* What openapi.json has: members of one object each, as JSON. */
typedef enum fixed {
  COMMAND,
  STATE,
  ACTOR_EVENTS,
  EVENTS,
  PATHS,
  COMPONENTS,
  FIXED_COUNT
} fixed;
static const char *const fixed_keys[FIXED_COUNT] = {
    "command", "state", "actor_events", "events", "paths", "components"};

typedef struct page {
  ae_node *node;
  const ae_grant *grant;
  ae_buf fixed[FIXED_COUNT];
  ae_buf *out;
} page;

/* -- JSON, as it is written -- */

/* A comma where something stands before. */
static void comma(ae_buf *out) {
  char last = out->ptr[out->len - 1];
  if (last != '{' && last != '[' && last != ':') ae_buf_byte(out, ',');
}

static void key(ae_buf *out, ae_str name) {
  comma(out);
  ae_json_write_str(name, out);
  ae_buf_byte(out, ':');
}

/* An object or array that is shut with its last character. */
static void begin(ae_buf *out, const char *name, char bracket) {
  key(out, ae_str_of(name));
  ae_buf_byte(out, (uint8_t)bracket);
}

static void text(ae_buf *out, const char *name, ae_str value) {
  key(out, ae_str_of(name));
  ae_json_write_str(value, out);
}

/* -- openapi.json -- */

/* An object's members: its text without the braces. */
static void read_fixed(page *p) {
  ae_buf packed = {0};
  ae_str whole = {ae__openapi_json, ae__openapi_json_len}, object;
  AE_ASSERT(ae_json_read(whole, &packed, NULL) == AE_OK);
  for (int i = 0; i < FIXED_COUNT; i++) {
    ae_buf *to = &p->fixed[i];
    AE_ASSERT(ae_unpack_field(ae_buf_view(&packed), fixed_keys[i], &object));
    ae_json_write(object, to);
    AE_ASSERT_CMP(to->len, >, 2);
    to->len -= 2;
    memmove(to->ptr, to->ptr + 1, to->len);
  }
  ae_buf_clear(&packed);
}

static void members(page *p, fixed of) {
  comma(p->out);
  ae_buf_str(p->out, ae_buf_view(&p->fixed[of]));
}

/* -- the app's own -- */

/* A path with one operation, begun; shut with `shut`. Names of namespaces,
 * types and commands need no escapes in a path. */
static void begin_operation(page *p, const char *method, const char *ns,
                            ae_str type, const char *rest, const char *name) {
  ae_buf path = {0}, id = {0}, tag = {0};
  ae_buf_printf(&path, "/v1/%s", ns);
  ae_buf_printf(&id, "%s", ns);
  ae_buf_printf(&tag, "%s", ns);
  if (type.len > 0) {
    ae_buf_printf(&path, "/%.*s", AE_FMT(type));
    ae_buf_printf(&id, ".%.*s", AE_FMT(type));
    ae_buf_printf(&tag, "/%.*s", AE_FMT(type));
  }
  ae_buf_printf(&path, "%s", rest);
  ae_buf_printf(&id, ".%s", name);
  begin(p->out, ae_buf_cstr(&path), '{');
  begin(p->out, method, '{');
  text(p->out, "operationId", ae_buf_view(&id));
  begin(p->out, "tags", '[');
  ae_json_write_str(ae_buf_view(&tag), p->out);
  ADD(p->out, "]");
  ae_buf_clear(&path);
  ae_buf_clear(&id);
  ae_buf_clear(&tag);
}

static void shut(page *p) {
  ADD(p->out, "}}");
}

/* The first sentence or line of a comment, and all of it. */
static void describe(page *p, const char *otherwise, ae_str words) {
  size_t end = 0;
  while (end < words.len && words.ptr[end] != '\n' &&
         !(words.ptr[end] == '.' &&
           (end + 1 == words.len || words.ptr[end + 1] == ' ')))
    end++;
  text(p->out, "summary",
       words.len > 0 ? (ae_str){words.ptr, end} : ae_str_of(otherwise));
  if (words.len > 0) text(p->out, "description", words);
}

static void body(page *p, ae_module *module, const char *command) {
  ae_buf schema = {0};
  ae_str fields;
  bool has = ae_module_command_schema(module, ae_str_of(command), &schema);
  bool some = has && ae_unpack_field(ae_buf_view(&schema), "required", &fields);
  begin(p->out, "requestBody", '{');
  key(p->out, AE_STR("required")); /* no body is an empty object */
  ae_buf_str(p->out, some ? AE_STR("true") : AE_STR("false"));
  begin(p->out, "content", '{');
  begin(p->out, "application/json", '{');
  key(p->out, AE_STR("schema"));
  if (has)
    ae_json_write(ae_buf_view(&schema), p->out);
  else
    ADD(p->out, "{\"type\":\"object\"}");
  ADD(p->out, "}}}");
  ae_buf_clear(&schema);
}

static void one_aggregate(page *p, const char *ns, ae_module *module) {
  ae_str type = ae_module_name(module);
  ae__comments *comments = ae__comments_of(ae_module_file(module));
  ae_buf rest = {0};
  const char *name;
  for (size_t i = 0; (name = ae_module_command_at(module, i)); i++) {
    ae_buf_reset(&rest);
    ae_buf_printf(&rest, "/{id}/%s", name);
    begin_operation(p, "post", ns, type, ae_buf_cstr(&rest), name);
    describe(p, name, ae__comments_command(comments, ae_str_of(name)));
    body(p, module, name);
    members(p, COMMAND);
    shut(p);
  }
  ae_buf_clear(&rest);
  ae__comments_free(comments);
  begin_operation(p, "get", ns, type, "/{id}", "getState");
  members(p, STATE);
  shut(p);
  begin_operation(p, "get", ns, type, "/{id}/events", "getEvents");
  members(p, ACTOR_EVENTS);
  shut(p);
}

static ae_module *aggregate_at(ae_script *script, size_t *at) {
  ae_module *module;
  while (script && (module = ae_script_module_at(script, (*at)++)))
    if (ae_module_kind_of(module) == AE_MODULE_AGGREGATE) return module;
  return NULL;
}

static void paths_of(page *p, const char *ns) {
  ae_script *script = ae_node_script(p->node, ae_str_of(ns));
  ae_module *module;
  for (size_t at = 0; (module = aggregate_at(script, &at));)
    one_aggregate(p, ns, module);
  begin_operation(p, "get", ns, (ae_str){0}, "/events", "followEvents");
  members(p, EVENTS);
  shut(p);
}

static void tag(page *p, const char *ns, ae_module *module) {
  ae_buf name = {0};
  ae_buf_printf(&name, "%s", ns);
  if (module) ae_buf_printf(&name, "/%.*s", AE_FMT(ae_module_name(module)));
  comma(p->out);
  ADD(p->out, "{");
  text(p->out, "name", ae_buf_view(&name));
  if (module) {
    ae__comments *comments = ae__comments_of(ae_module_file(module));
    ae_str words = ae__comments_module(comments);
    if (words.len > 0) text(p->out, "description", words);
    ae__comments_free(comments);
  }
  ADD(p->out, "}");
  ae_buf_clear(&name);
}

static void tags_of(page *p, const char *ns) {
  ae_script *script = ae_node_script(p->node, ae_str_of(ns));
  ae_module *module;
  tag(p, ns, NULL);
  for (size_t at = 0; (module = aggregate_at(script, &at));) tag(p, ns, module);
}

static void revision_of(page *p, const char *ns) {
  ae_script *script = ae_node_script(p->node, ae_str_of(ns));
  if (script) ae_buf_str(p->out, ae_script_revision(script));
}

static void each(page *p, void (*one)(page *p, const char *ns)) {
  const ae_config *config = ae_node_config(p->node);
  for (size_t i = 0; i < config->namespace_count; i++) {
    const char *name = config->namespaces[i].name;
    if (ae__auth_sees(p->grant, ae_str_of(name))) one(p, name);
  }
}

/* It changes with the modules that the document is made of. */
static void version(page *p) {
  ae_buf revisions = {0}, shown = {0};
  page of = {.node = p->node, .grant = p->grant, .out = &revisions};
  uint8_t hash[AE_TOKEN_HASH];
  each(&of, revision_of);
  ae__secret_hash(ae_buf_view(&revisions), hash);
  ae__secret_show(hash, &shown);
  text(p->out, "version", (ae_str){shown.ptr + shown.len - 64, 16});
  ae_buf_clear(&revisions);
  ae_buf_clear(&shown);
}

void ae__openapi_write(ae_node *node, const ae_grant *grant, ae_buf *out) {
  page p = {.node = node, .grant = grant, .out = out};
  read_fixed(&p);
  ADD(out, "{\"openapi\":\"3.1.0\"");
  begin(out, "info", '{');
  text(out, "title", AE_STR("Aether"));
  version(&p);
  text(out, "description",
       AE_STR("Commands go to actors, which decide events; events are stored, "
              "and make the actors' states. This is made from the modules that "
              "are loaded now."));
  ADD(out, "}");
  begin(out, "servers", '[');
  ADD(out, "{\"url\":\"/\"}]");
  begin(out, "security", '[');
  if (ae_node_config(node)->token_count == 0) ADD(out, "{},");
  ADD(out, "{\"token\":[]}]");
  begin(out, "tags", '[');
  each(&p, tags_of);
  ADD(out, "]");
  begin(out, "paths", '{');
  each(&p, paths_of);
  members(&p, PATHS);
  ADD(out, "}");
  begin(out, "components", '{');
  members(&p, COMPONENTS);
  ADD(out, "}}\n");
  for (int i = 0; i < FIXED_COUNT; i++) ae_buf_clear(&p.fixed[i]);
}
