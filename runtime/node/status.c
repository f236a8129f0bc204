/* The status document. What is at hand is packed at once; the store's figures
 * are asked for, and the document is put together when the last has come. */
#include "node/status.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"
#include "node/internal.h"

/* A map whose length is known at its end. */
typedef struct fields {
  ae_buf pairs;
  uint32_t count;
} fields;

static ae_buf *field(fields *map, const char *key) {
  map->count++;
  ae_pack_cstr(&map->pairs, key);
  return &map->pairs;
}

static void put_uint(fields *map, const char *key, uint64_t value) {
  ae_pack_uint(field(map, key), value);
}

static void put_text(fields *map, const char *key, const char *value) {
  ae_buf *at = field(map, key);
  if (value)
    ae_pack_text(at, ae_str_of(value));
  else
    ae_pack_nil(at);
}

/* Whole numbers as such; 0 where that means that there is none. */
static void put_limit(fields *map, const char *key, double value) {
  ae_buf *at = field(map, key);
  if (value == 0)
    ae_pack_nil(at);
  else if (value > 0 && value < 9e15 && value == (double)(uint64_t)value)
    ae_pack_uint(at, (uint64_t)value);
  else
    ae_pack_double(at, value);
}

static void fields_close(fields *map, ae_buf *out) {
  ae_pack_map(out, map->count);
  ae_buf_str(out, ae_buf_view(&map->pairs));
  ae_buf_clear(&map->pairs);
  map->count = 0;
}

/* -- the reading -- */

typedef struct reading reading;

/* Figures asked of the store. */
typedef struct asked {
  ae_stats_read stats;
  reading *of;
  ae__room *room; /* NULL: all of the store */
  fields map;     /* what was at hand of the namespace */
  ae_error err;
} asked;

struct reading {
  ae_status_read *read;
  ae_node *node;
  fields map; /* of the node */
  asked whole;
  asked *rooms;
  size_t count;
  size_t pending;
  ae_task task;
};

static bool sees(const reading *r, ae_str ns) {
  return ae_grant_allows(r->read->grant, AE_RIGHT_ADMIN, ns);
}

/* What tells of all namespaces together tells of each. */
static bool sees_all(const ae_grant *grant) {
  if (!(grant->rights & AE_RIGHT_ADMIN)) return false;
  if (grant->all) return true;
  for (size_t i = 0; i < grant->namespace_count; i++)
    if (strcmp(grant->namespaces[i], ">") == 0) return true;
  return false;
}

/* -- a namespace -- */

static void put_names(fields *map, const char *key, const ae_module *module,
                      const char *(*at)(const ae_module *module,
                                        size_t index)) {
  uint32_t count = 0;
  while (at(module, count)) count++;
  ae_buf *out = field(map, key);
  ae_pack_array(out, count);
  for (uint32_t i = 0; i < count; i++) ae_pack_cstr(out, at(module, i));
}

static void put_quarantine(fields *map, const ae_module *module) {
  ae_str cause;
  int64_t since = ae_module_quarantined(module, &cause);
  if (!since) return;
  fields one = {0};
  ae_pack_int(field(&one, "since"), since);
  ae_pack_text(field(&one, "cause"), cause);
  fields_close(&one, field(map, "quarantined"));
}

static void put_modules(fields *map, ae_script *script) {
  uint32_t count = 0;
  while (ae_script_module_at(script, count)) count++;
  ae_buf *out = field(map, "modules");
  ae_pack_array(out, count);
  for (uint32_t i = 0; i < count; i++) {
    fields one = {0};
    const ae_module *module = ae_script_module_at(script, i);
    ae_module_kind kind = ae_module_kind_of(module);
    ae_pack_text(field(&one, "name"), ae_module_name(module));
    put_text(&one, "kind", ae_module_kind_word(kind));
    put_text(&one, "file", ae_module_file(module));
    put_quarantine(&one, module);
    if (kind == AE_MODULE_AGGREGATE) {
      put_names(&one, "commands", module, ae_module_command_at);
      put_names(&one, "events", module, ae_module_event_at);
    }
    fields_close(&one, out);
  }
}

static void put_limits(fields *map, const ae_namespace_config *config) {
  fields one = {0};
  put_limit(&one, "handler_ms", config->handler_ms);
  put_limit(&one, "quarantine_after", config->quarantine_after);
  put_limit(&one, "memory_mb", (double)(config->memory >> 20));
  put_limit(&one, "live_actors", (double)config->live_actors);
  put_limit(&one, "commands_per_s", config->commands_per_s);
  put_limit(&one, "events_per_s", config->events_per_s);
  put_limit(&one, "bytes", (double)config->bytes);
  fields_close(&one, field(map, "limits"));
  put_limit(&one, "days", (double)config->retention_days);
  put_limit(&one, "bytes", (double)config->retention_bytes);
  fields_close(&one, field(map, "retention"));
}

static void put_refused(fields *map, const ae_realm *realm) {
  fields one = {0};
  ae_realm_counts counts;
  ae_realm_count(realm, &counts);
  for (int i = 0; i < AE_LIMIT_COUNT; i++)
    put_uint(&one, ae_limit_word((ae_limit)i), counts.refused[i]);
  fields_close(&one, field(map, "refused"));
}

typedef struct typed {
  ae_str ns;
  fields map;
} typed;

static void put_type(void *data, ae_str ns, ae_str type,
                     const ae_type_counts *counts) {
  typed *types = data;
  if (!ae_str_eq(ns, types->ns)) return;
  fields one = {0};
  put_uint(&one, "commands", counts->commands);
  put_uint(&one, "accepted", counts->accepted);
  put_uint(&one, "rejected", counts->rejected);
  put_uint(&one, "conflicts", counts->conflicts);
  put_uint(&one, "retries", counts->retries);
  put_uint(&one, "failed", counts->failed);
  put_uint(&one, "events", counts->events);
  put_uint(&one, "loaded", counts->loaded);
  put_uint(&one, "evicted", counts->evicted);
  put_uint(&one, "snapshots", counts->snapshots);
  types->map.count++;
  ae_pack_text(&types->map.pairs, type);
  fields_close(&one, &types->map.pairs);
}

static void put_bus(fields *map, const ae_bus *bus, ae_str ns) {
  fields one = {0};
  ae_bus_counts counts;
  ae_bus_count(bus, ns, &counts);
  put_uint(&one, "published", counts.published);
  put_uint(&one, "received", counts.received);
  put_uint(&one, "delivered", counts.delivered);
  put_uint(&one, "dropped", counts.dropped);
  put_uint(&one, "subscriptions", counts.subscriptions);
  fields_close(&one, field(map, "bus"));
}

/* Between the nodes; nothing where there are no others. */
static void put_abroad(fields *map, const ae_bus *bus) {
  ae_bus_abroad counts;
  if (!ae_bus_abroad_count(bus, &counts)) return;
  fields one = {0};
  put_uint(&one, "sent", counts.sent);
  put_uint(&one, "unsent", counts.unsent);
  put_uint(&one, "received", counts.received);
  put_uint(&one, "malformed", counts.malformed);
  fields_close(&one, field(map, "bus"));
}

static void put_room(fields *map, ae_node *node, const ae__room *room) {
  put_text(map, "folder", room->config->folder);
  ae_pack_text(field(map, "revision"), ae_script_revision(room->script));
  ae_pack_int(field(map, "loaded"), room->loaded);
  put_uint(map, "memory_bytes", ae_script_memory(room->script));
  put_uint(map, "stopped", ae_script_stops(room->script));
  put_uint(map, "live_actors", ae_realm_live(room->realm));
  put_limits(map, room->config);
  put_refused(map, room->realm);
  put_modules(map, room->script);
  typed types = {.ns = room->name};
  ae_actors_counts(node->actors, put_type, &types);
  fields_close(&types.map, field(map, "types"));
  put_bus(map, node->bus, room->name);
}

/* -- the store -- */

static void put_stats(fields *map, const asked *one) {
  const ae_stats *stats = &one->stats.stats;
  if (one->err.status != AE_OK) {
    ae_error_render(&one->err, field(map, "error"));
    return;
  }
  put_uint(map, "commits", stats->commits);
  put_uint(map, "events", stats->events);
  put_uint(map, "actors", stats->actors);
  put_uint(map, "snapshots", stats->snapshots);
  put_uint(map, "bytes", stats->bytes);
  put_uint(map, "position", stats->position);
  if (one->room) return;
  put_uint(map, "file_bytes", stats->file_bytes);
  put_uint(map, "unindexed", stats->unindexed);
}

static void settle(reading *r);

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  asked *one = read->data;
  if (status != AE_OK && err) ae_error_copy(&one->err, err);
  if (status != AE_OK) one->err.status = status;
  settle(one->of);
}

/* Of a server that does not answer nobody waits for it to. */
static void ask(asked *one, ae_str ns) {
  ae_store *store = one->of->node->store;
  if (ae_store_wire(store) && ae_store_health(store, &one->err) != AE_OK)
    return;
  one->stats = (ae_stats_read){.ns = ns, .cb = on_stats, .data = one};
  if (ae_store_stats(store, &one->stats, &one->err) == AE_OK)
    one->of->pending++;
}

/* -- what is wrong -- */

typedef struct wrongs {
  const reading *of;
  ae_buf list;
  uint32_t count;
} wrongs;

static void put_wrong(void *data, ae_str ns, const ae_error *err) {
  wrongs *all = data;
  if (ns.len > 0 && !sees(all->of, ns)) return;
  ae_error one = {0};
  ae_error_copy(&one, err);
  if (ns.len > 0) ae_error_str(&one, "namespace", ns);
  ae_error_render(&one, &all->list);
  ae_error_clear(&one);
  all->count++;
}

/* -- the node -- */

static void put_pulse(fields *map, const ae_node *node) {
  fields one = {0};
  ae_pulse_counts counts;
  ae_node_pulse(node, &counts);
  put_uint(&one, "beats", counts.beats);
  put_uint(&one, "standstills", counts.standstills);
  ae_pack_double(field(&one, "late_ms"), counts.late_ms);
  ae_pack_double(field(&one, "longest_ms"), counts.longest_ms);
  fields_close(&one, field(map, "pulse"));
}

static void put_node(reading *r) {
  fields *map = &r->map;
  ae_node *node = r->node;
  uint64_t up = ae_clock_mono() - node->started_mono;
  put_text(map, "node", node->config->node);
  put_text(map, "version", AE_VERSION);
  put_uint(map, "pid", (uint64_t)getpid());
  ae_pack_int(field(map, "started"), node->started);
  ae_pack_double(field(map, "uptime_s"), (double)(up / 1000000) / 1000);
  put_text(map, "url", node->url);
  ae_pack_bool(field(map, "ready"), ae_node_ready(node, NULL) == AE_OK);
  ae_pack_bool(field(map, "draining"), node->draining);
  put_pulse(map, node);
  wrongs all = {.of = r};
  ae_node_wrong(node, put_wrong, &all);
  ae_pack_array(field(map, "wrong"), all.count);
  ae_buf_str(&map->pairs, ae_buf_view(&all.list));
  ae_buf_clear(&all.list);
  if (sees_all(r->read->grant)) put_abroad(map, node->bus);
  put_text(&r->whole.map, "url", node->config->store);
  put_text(&r->whole.map, "promise", ae_store_promise(node->store));
}

/* -- putting it together -- */

static void finish(reading *r) {
  fields *map = &r->map;
  if (sees_all(r->read->grant)) put_stats(&r->whole.map, &r->whole);
  fields_close(&r->whole.map, field(map, "store"));
  fields rooms = {0};
  for (size_t i = 0; i < r->count; i++) {
    asked *one = &r->rooms[i];
    fields store = {0};
    put_stats(&store, one);
    fields_close(&store, field(&one->map, "store"));
    rooms.count++;
    ae_pack_text(&rooms.pairs, one->room->name);
    fields_close(&one->map, &rooms.pairs);
    ae_error_clear(&one->err);
  }
  fields_close(&rooms, field(map, "namespaces"));
  ae_buf document = {0};
  fields_close(map, &document);
  ae_status_read *read = r->read;
  ae_error_clear(&r->whole.err);
  ae_free(r->rooms);
  ae_free(r);
  read->impl = NULL;
  read->cb(read, ae_buf_view(&document));
  ae_buf_clear(&document);
}

static void settle(reading *r) {
  if (--r->pending == 0) finish(r);
}

static void run(ae_task *task) {
  settle(AE_CONTAINER(task, reading, task));
}

void ae_node_status(ae_node *node, ae_status_read *read) {
  AE_ASSERT(node->store && node->actors);
  reading *r = ae_zalloc(sizeof *r);
  *r = (reading){.read = read, .node = node, .pending = 1};
  r->task.run = run;
  r->whole.of = r;
  r->rooms = ae_zalloc(sizeof(asked) * (node->count + 1));
  read->impl = r;
  put_node(r);
  for (size_t i = 0; i < node->count; i++) {
    if (!sees(r, node->rooms[i].name)) continue;
    asked *one = &r->rooms[r->count++];
    one->of = r;
    one->room = &node->rooms[i];
    put_room(&one->map, node, one->room);
    ask(one, one->room->name);
  }
  if (sees_all(read->grant)) ask(&r->whole, (ae_str){0});
  /* Nothing may have been asked; the store may answer before the return. */
  ae_loop_defer(node->loop, &r->task);
}
