#include "event/event.h"

#include "base/map.h"

/* What the host knows of an event, as metadata. */
enum { COMMAND_ID, CAUSATION_ID, MODULE_REVISION, NODE, EPOCH, HOST_KEYS };
static const char *const host_keys[HOST_KEYS] = {
    "command_id", "causation_id", "module_revision", "node", "epoch",
};

typedef struct merge {
  ae_str command; /* maps; len 0: none */
  ae_str own;
  bool host;           /* the host's are wanted; nobody else may set them */
  bool set[HOST_KEYS]; /* which of them there are */
} merge;

static bool has(ae_str map, ae_str key) {
  ae_unpack at = ae_unpack_of(map);
  uint32_t count;
  if (!map.len || !ae_unpack_map(&at, &count)) return false;
  while (count--) {
    ae_str name;
    if (!ae_unpack_skip(&at, &name)) return false;
    if (ae_str_eq(name, key)) return true;
    if (!ae_unpack_skip(&at, NULL)) return false;
  }
  return false;
}

static bool hosts(const merge *from, ae_str key) {
  ae_unpack at = ae_unpack_of(key);
  ae_str name;
  if (!from->host || !ae_unpack_str(&at, &name)) return false;
  for (int i = 0; i < HOST_KEYS; i++) {
    if (ae_str_eq(name, ae_str_of(host_keys[i])))
      return from->set[i] || i != CAUSATION_ID; /* a command may name that */
  }
  return false;
}

/* The pairs of `map` that neither `over` nor the host overrides: their number,
 * and with `out` their bytes. */
static uint32_t pairs(const merge *from, ae_str map, ae_str over, ae_buf *out) {
  ae_unpack at = ae_unpack_of(map);
  uint32_t count, taken = 0;
  if (!map.len || !ae_unpack_map(&at, &count)) return 0;
  while (count--) {
    ae_str key, value;
    if (!ae_unpack_skip(&at, &key) || !ae_unpack_skip(&at, &value)) break;
    if (has(over, key) || hosts(from, key)) continue;
    taken++;
    if (!out) continue;
    ae_buf_str(out, key);
    ae_buf_str(out, value);
  }
  return taken;
}

static void host_pairs(const ae_event *event, const merge *from, ae_buf *out) {
  for (int i = 0; i < HOST_KEYS; i++) {
    if (!from->set[i]) continue;
    ae_pack_cstr(out, host_keys[i]);
    switch (i) {
      case COMMAND_ID:
      case CAUSATION_ID:
        ae_pack_str(out, event->command_id);
        break;
      case MODULE_REVISION:
        ae_pack_str(out, event->module_revision);
        break;
      case NODE:
        ae_pack_str(out, event->node);
        break;
      default:
        ae_pack_uint(out, event->epoch);
    }
  }
}

void ae_event_metadata(const ae_event *event, bool host, ae_buf *out) {
  merge from = {
      .command = event->command_metadata, .own = event->metadata, .host = host};
  if (host) {
    static const char causation[] =
        "\xac"
        "causation_id";
    ae_str key = {causation, sizeof causation - 1};
    bool given = has(from.command, key) || has(from.own, key);
    from.set[COMMAND_ID] = event->command_id.ptr != NULL;
    from.set[CAUSATION_ID] = event->command_id.ptr && !given;
    from.set[MODULE_REVISION] = event->module_revision.len > 0;
    from.set[NODE] = event->node.len > 0;
    from.set[EPOCH] = event->epoch > 0;
  }
  uint32_t count = pairs(&from, from.command, from.own, NULL) +
                   pairs(&from, from.own, (ae_str){0}, NULL);
  for (int i = 0; i < HOST_KEYS; i++) count += from.set[i];
  ae_pack_map(out, count);
  pairs(&from, from.command, from.own, out);
  pairs(&from, from.own, (ae_str){0}, out);
  host_pairs(event, &from, out);
}

void ae_event_render(const ae_event *event, ae_buf *out) {
  char id[37];
  ae_uuid_format(event->id, id);
  ae_pack_map(out, 12);
  ae_pack_cstr(out, "id");
  ae_pack_str(out, (ae_str){id, 36});
  ae_pack_cstr(out, "type");
  ae_pack_str(out, event->type);
  ae_pack_cstr(out, "revision");
  ae_pack_uint(out, event->revision);
  ae_pack_cstr(out, "namespace");
  ae_pack_str(out, event->ref.ns);
  ae_pack_cstr(out, "actor_type");
  ae_pack_str(out, event->ref.type);
  ae_pack_cstr(out, "actor_id");
  ae_pack_str(out, event->ref.id);
  ae_pack_cstr(out, "version");
  ae_pack_uint(out, event->version);
  ae_pack_cstr(out, "position");
  ae_pack_uint(out, event->position);
  ae_pack_cstr(out, "index");
  ae_pack_uint(out, event->index);
  ae_pack_cstr(out, "timestamp");
  ae_pack_int(out, event->time);
  ae_pack_cstr(out, "data");
  if (event->data.len) {
    ae_buf_str(out, event->data);
  } else {
    ae_pack_map(out, 0);
  }
  ae_pack_cstr(out, "metadata");
  ae_event_metadata(event, true, out);
}

/* The same data in another order of keys or another width of numbers is the
 * same command. */
uint64_t ae_command_digest(ae_str name, ae_str data) {
  ae_buf bytes = {0};
  ae_buf_reserve(&bytes, name.len + 1 + data.len);
  ae_buf_str(&bytes, name);
  ae_buf_byte(&bytes, 0);
  if (!ae_pack_canonical(data, &bytes)) ae_buf_str(&bytes, data);
  uint64_t digest = ae_hash(ae_buf_view(&bytes));
  ae_buf_clear(&bytes);
  return digest;
}
