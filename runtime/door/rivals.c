#include "door/rivals.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"

static ae_str text_of(ae_str map, const char *key) {
  ae_str value, text = {0};
  if (!ae_unpack_field(map, key, &value)) return text;
  ae_unpack cursor = ae_unpack_of(value);
  ae_unpack_str(&cursor, &text);
  return text;
}

/* One revision of the answer; those without sources are not the current. */
static void add(ae__rivals *rivals, ae_str revision, ae_node *node) {
  ae_str ns = text_of(revision, "namespace"), map;
  ae_script *own = ae_node_script(node, ns);
  uint32_t count;
  if (!own || !ae_unpack_field(revision, "sources", &map)) return;
  if (ae_str_eq(text_of(revision, "revision"), ae_script_revision(own))) return;
  ae_unpack cursor = ae_unpack_of(map);
  if (!ae_unpack_map(&cursor, &count) || count == 0) return;
  ae_script_source *sources = ae_zalloc(count * sizeof *sources);
  bool whole = true;
  for (uint32_t i = 0; i < count && whole; i++)
    whole = ae_unpack_str(&cursor, &sources[i].name) &&
            ae_unpack_str(&cursor, &sources[i].text);
  if (!whole) {
    ae_free(sources);
    return;
  }
  rivals->items =
      ae_realloc(rivals->items, (rivals->count + 1) * sizeof *rivals->items);
  rivals->items[rivals->count++] = (ae_check_rival){ns, sources, count};
}

static ae_status ask(ae__rivals *rivals, ae__client *client, ae_node *node,
                     ae_error *err) {
  ae__call call = {.path = "/v1/admin/revisions?sources=true"};
  ae_str list, one;
  uint32_t count;
  ae_status status = ae__client_call(client, &call, err);
  if (status == AE_OK)
    status = ae_json_read(ae_buf_view(&call.answer), &rivals->answer, err);
  ae_buf_clear(&call.answer);
  if (status != AE_OK) return status;
  rivals->asked = true;
  snprintf(rivals->url, sizeof rivals->url, "%s", ae__client_url(client));
  if (!ae_unpack_field(ae_buf_view(&rivals->answer), "revisions", &list))
    return AE_OK;
  ae_unpack cursor = ae_unpack_of(list);
  if (!ae_unpack_array(&cursor, &count)) return AE_OK;
  for (uint32_t i = 0; i < count && ae_unpack_skip(&cursor, &one); i++)
    add(rivals, one, node);
  return AE_OK;
}

ae_status ae__rivals_ask(ae__rivals *rivals, const ae__args *args,
                         const ae_config *config, ae_node *node,
                         ae_error *err) {
  ae__client *client;
  bool named;
  if (config->store_source == AE_SETTING_FLAG && !ae__args_get(args, "url"))
    return AE_OK;
  ae_status status = ae__client_open(args, config, &client, &named, err);
  if (status == AE_UNREACHABLE && !named) { /* none runs */
    ae_error_clear(err);
    return AE_OK;
  }
  if (status == AE_OK) status = ask(rivals, client, node, err);
  ae__client_close(client);
  return status;
}

void ae__rivals_clear(ae__rivals *rivals) {
  for (size_t i = 0; i < rivals->count; i++)
    ae_free((ae_script_source *)rivals->items[i].sources);
  ae_free(rivals->items);
  ae_buf_clear(&rivals->answer);
}
