/* The store's figures are asked for; all others are taken when the last of
 * those has come, so that one document is of one moment. */
#include "door/http/metrics.h"

#include <stdlib.h>

#include "base/mem.h"
#include "bus/bus.h"
#include "door/http/exposition.h"
#include "door/http/process.h"
#include "door/http/server.h"

/* One namespace, or the whole store. */
typedef struct room {
  ae_stats_read read;
  struct scrape *of;
  ae_str name; /* ptr NULL: the whole store */
  bool answered;
  ae_script *script; /* NULL: none is loaded */
  size_t memory_limit;
  uint64_t live;
  ae_realm_counts realm;
  ae_bus_counts bus;
  size_t first_row, row_count; /* of its aggregates */
} room;

/* One aggregate. */
typedef struct row {
  ae_str ns, type;
  ae_type_counts counts;
} row;

/* Of one kind, in one namespace. */
typedef struct problem {
  ae_str ns; /* len 0: of the whole node */
  ae_status status;
  uint64_t count;
} problem;

typedef struct scrape {
  ae__exchange *x; /* NULL: gone */
  ae_node *node;
  const ae_grant *grant;
  bool all; /* series of the whole process too */
  room whole;
  room *rooms; /* in the order of their names */
  size_t room_count;
  row *rows;
  size_t row_count, row_room;
  problem *problems;
  size_t problem_count;
  size_t pending;
  ae_task task; /* where the store was not asked */
} scrape;

/* -- taking -- */

static row *add_row(scrape *s, ae_str ns, ae_str type) {
  if (s->row_count == s->row_room) {
    s->row_room = s->row_room ? 2 * s->row_room : 16;
    s->rows = ae_realloc(s->rows, s->row_room * sizeof(row));
  }
  s->rows[s->row_count] = (row){.ns = ns, .type = type};
  return &s->rows[s->row_count++];
}

static int by_name(const void *name, const void *one) {
  return ae_str_cmp(*(const ae_str *)name, ((const room *)one)->name);
}

/* The aggregate's: of those that are loaded, or a new one for what was. */
static row *row_of(scrape *s, ae_str ns, ae_str type) {
  const room *in = bsearch(&ns, s->rooms, s->room_count, sizeof(room), by_name);
  for (size_t i = 0; in && i < in->row_count; i++)
    if (ae_str_eq(s->rows[in->first_row + i].type, type))
      return &s->rows[in->first_row + i];
  return add_row(s, ns, type);
}

static void take_counts(void *data, ae_str ns, ae_str type,
                        const ae_type_counts *counts) {
  scrape *s = data;
  if (ae__auth_sees(s->grant, ns)) row_of(s, ns, type)->counts = *counts;
}

static void take_room(scrape *s, room *one) {
  one->script = ae_node_script(s->node, one->name);
  ae_realm *realm = ae_node_realm(s->node, one->name);
  if (realm) ae_realm_count(realm, &one->realm);
  one->live = one->realm.live;
  ae_bus *bus = ae_node_bus(s->node);
  if (bus) ae_bus_count(bus, one->name, &one->bus);
  ae_module *module;
  one->first_row = s->row_count;
  for (size_t i = 0;
       one->script && (module = ae_script_module_at(one->script, i)); i++)
    if (ae_module_kind_of(module) == AE_MODULE_AGGREGATE)
      add_row(s, one->name, ae_module_name(module));
  one->row_count = s->row_count - one->first_row;
}

/* -- writing: of namespaces -- */

typedef struct figure {
  const char *name, *type, *help;
  size_t offset; /* of a uint64_t */
} figure;

static void label_room(ae__exposition *e, const room *one) {
  ae__label(e, "namespace", one->name);
}

static void write_scripts(scrape *s, ae__exposition *e) {
  ae__family(e, "aether_script_memory_bytes", "gauge",
             "Memory that the Lua state of the namespace takes.");
  for (size_t i = 0; i < s->room_count; i++) {
    if (!s->rooms[i].script) continue;
    ae__sample(e, "");
    label_room(e, &s->rooms[i]);
    ae__value(e, ae_script_memory(s->rooms[i].script));
  }
  ae__family(e, "aether_script_memory_limit_bytes", "gauge",
             "Memory that it may take (limits.memory_mb).");
  for (size_t i = 0; i < s->room_count; i++) {
    ae__sample(e, "");
    label_room(e, &s->rooms[i]);
    ae__value(e, s->rooms[i].memory_limit);
  }
  ae__family(e, "aether_script_info", "gauge",
             "The revision of the modules that is loaded.");
  for (size_t i = 0; i < s->room_count; i++) {
    if (!s->rooms[i].script) continue;
    ae__sample(e, "");
    label_room(e, &s->rooms[i]);
    ae__label(e, "revision", ae_script_revision(s->rooms[i].script));
    ae__value(e, 1);
  }
}

static void write_rooms(scrape *s, ae__exposition *e, const figure *figures,
                        bool store) {
  for (; figures->name; figures++) {
    ae__family(e, figures->name, figures->type, figures->help);
    for (size_t i = 0; i < s->room_count; i++) {
      const room *one = &s->rooms[i];
      if (store && !one->answered) continue;
      ae__sample(e, "");
      label_room(e, one);
      ae__value(e, *(const uint64_t *)((const char *)one + figures->offset));
    }
  }
}

static const figure of_room[] = {
    {"aether_actors_live", "gauge", "Actors in memory.", offsetof(room, live)},
    {"aether_bus_published_total", "counter",
     "Events published on the bus, listened to or not.",
     offsetof(room, bus.published)},
    {"aether_bus_received_total", "counter",
     "Events of other nodes, for each pattern that is listened to.",
     offsetof(room, bus.received)},
    {"aether_bus_delivered_total", "counter",
     "Events that subscriptions took from the bus.",
     offsetof(room, bus.delivered)},
    {"aether_bus_dropped_total", "counter",
     "Events that full subscriptions dropped.", offsetof(room, bus.dropped)},
    {0}};

static const figure of_store[] = {
    {"aether_store_commits", "gauge", "Commits stored now.",
     offsetof(room, read.stats.commits)},
    {"aether_store_events", "gauge", "Events stored now.",
     offsetof(room, read.stats.events)},
    {"aether_store_actors", "gauge", "Actors that have events.",
     offsetof(room, read.stats.actors)},
    {"aether_store_snapshots", "gauge", "Snapshots stored now.",
     offsetof(room, read.stats.snapshots)},
    {"aether_store_record_bytes", "gauge", "Bytes of the commits stored now.",
     offsetof(room, read.stats.bytes)},
    {"aether_store_position", "gauge", "Position of the last commit.",
     offsetof(room, read.stats.position)},
    {0}};

static void write_subscriptions(scrape *s, ae__exposition *e) {
  ae__family(e, "aether_bus_subscriptions", "gauge",
             "Subscriptions that match the namespace now.");
  for (size_t i = 0; i < s->room_count; i++) {
    ae__sample(e, "");
    label_room(e, &s->rooms[i]);
    ae__value(e, s->rooms[i].bus.subscriptions);
  }
}

/* Between the nodes, over all namespaces. */
static void write_abroad(scrape *s, ae__exposition *e) {
  ae_bus_abroad counts;
  ae_bus *bus = ae_node_bus(s->node);
  if (!s->all || !bus || !ae_bus_abroad_count(bus, &counts)) return;
  ae__family(e, "aether_bus_sent_total", "counter",
             "Events that went to the other nodes' listeners.");
  ae__sample(e, "");
  ae__value(e, counts.sent);
  ae__family(e, "aether_bus_unsent_total", "counter",
             "Events that did not, without a connection or too large.");
  ae__sample(e, "");
  ae__value(e, counts.unsent);
  ae__family(e, "aether_bus_malformed_total", "counter",
             "Messages to the bus that were no events.");
  ae__sample(e, "");
  ae__value(e, counts.malformed);
}

static void begin_limit(ae__exposition *e, const room *one, unsigned limit) {
  ae__sample(e, "");
  label_room(e, one);
  ae__label(e, "limit", ae_str_of(ae_limit_word((ae_limit)limit)));
}

static void write_limits(scrape *s, ae__exposition *e) {
  ae__family(e, "aether_limit_refused_total", "counter",
             "Commands refused because the namespace is at a limit.");
  for (size_t i = 0; i < s->room_count; i++)
    for (unsigned k = 0; k < AE_LIMIT_COUNT; k++) {
      begin_limit(e, &s->rooms[i], k);
      ae__value(e, s->rooms[i].realm.refused[k]);
    }
  ae__family(e, "aether_limit", "gauge",
             "What the namespace may take; without a series, no limit.");
  for (size_t i = 0; i < s->room_count; i++) {
    const ae_limits *limits = &s->rooms[i].realm.limits;
    const double values[AE_LIMIT_COUNT] = {
        [AE_LIMIT_COMMANDS] = limits->commands_per_s,
        [AE_LIMIT_EVENTS] = limits->events_per_s,
        [AE_LIMIT_BYTES] = (double)limits->bytes,
        [AE_LIMIT_ACTORS] = (double)limits->live_actors};
    for (unsigned k = 0; k < AE_LIMIT_COUNT; k++) {
      if (values[k] == 0) continue;
      begin_limit(e, &s->rooms[i], k);
      ae__value_double(e, values[k]);
    }
  }
}

static void count_problem(void *data, ae_str ns, const ae_error *err) {
  scrape *s = data;
  if (ns.len == 0 ? !s->all : !ae__auth_sees(s->grant, ns)) return;
  for (size_t i = 0; i < s->problem_count; i++) {
    problem *known = &s->problems[i];
    if (known->status != err->status || !ae_str_eq(known->ns, ns)) continue;
    known->count++;
    return;
  }
  size_t size = (s->problem_count + 1) * sizeof(problem);
  s->problems = ae_realloc(s->problems, size);
  s->problems[s->problem_count++] = (problem){ns, err->status, 1};
}

static void write_problems(scrape *s, ae__exposition *e) {
  ae_node_wrong(s->node, count_problem, s);
  ae__family(e, "aether_wrong", "gauge",
             "Things that are wrong now; `aether status` says more.");
  for (size_t i = 0; i < s->problem_count; i++) {
    ae__sample(e, "");
    ae__label(e, "namespace", s->problems[i].ns);
    ae__label(e, "code", ae_str_of(ae_status_word(s->problems[i].status)));
    ae__value(e, s->problems[i].count);
  }
}

/* -- writing: of aggregates -- */

static const figure of_type[] = {
    {"aether_conflicts_total", "counter",
     "Version conflicts that commands met, retried ones too.",
     offsetof(row, counts.conflicts)},
    {"aether_retries_total", "counter",
     "Times that a policy had a command decided again.",
     offsetof(row, counts.retries)},
    {"aether_events_total", "counter", "Events that commands brought.",
     offsetof(row, counts.events)},
    {"aether_actors_loaded_total", "counter",
     "Actors built from snapshot and events.", offsetof(row, counts.loaded)},
    {"aether_actors_evicted_total", "counter", "Actors that left memory.",
     offsetof(row, counts.evicted)},
    {"aether_snapshots_saved_total", "counter", "Snapshots that were saved.",
     offsetof(row, counts.snapshots)},
    {0}};

static void begin_row(ae__exposition *e, const row *one, const char *suffix) {
  ae__sample(e, suffix);
  ae__label(e, "namespace", one->ns);
  ae__label(e, "type", one->type);
}

static void write_outcomes(const scrape *s, ae__exposition *e) {
  ae__family(e, "aether_commands_total", "counter",
             "Commands by what became of them.");
  for (size_t i = 0; i < s->row_count; i++) {
    const ae_type_counts *counts = &s->rows[i].counts;
    const struct {
      const char *word;
      uint64_t count;
    } outcomes[] = {{"accepted", counts->accepted},
                    {"rejected", counts->rejected},
                    {"conflict", counts->commands - counts->accepted -
                                     counts->rejected - counts->failed},
                    {"failed", counts->failed}};
    for (size_t k = 0; k < 4; k++) {
      begin_row(e, &s->rows[i], "");
      ae__label(e, "outcome", ae_str_of(outcomes[k].word));
      ae__value(e, outcomes[k].count);
    }
  }
}

static void write_durations(const scrape *s, ae__exposition *e) {
  ae__family(e, "aether_command_duration_seconds", "histogram",
             "From a command's arrival to its outcome, waiting, storing and "
             "retries included.");
  for (size_t i = 0; i < s->row_count; i++) {
    const row *one = &s->rows[i];
    uint64_t sum = 0;
    for (size_t k = 0; k <= AE_TOOK; k++) {
      char bound[32] = "+Inf";
      if (k < AE_TOOK)
        snprintf(bound, sizeof bound, "%.9g", (double)ae_took_bounds[k] / 1e9);
      sum += one->counts.took[k];
      begin_row(e, one, "_bucket");
      ae__label(e, "le", ae_str_of(bound));
      ae__value(e, sum);
    }
    begin_row(e, one, "_sum");
    ae__value_ns(e, one->counts.took_ns);
    begin_row(e, one, "_count");
    ae__value(e, sum);
  }
}

static void write_rows(const scrape *s, ae__exposition *e) {
  write_outcomes(s, e);
  for (const figure *of = of_type; of->name; of++) {
    ae__family(e, of->name, of->type, of->help);
    for (size_t i = 0; i < s->row_count; i++) {
      begin_row(e, &s->rows[i], "");
      ae__value(e, *(const uint64_t *)((const char *)&s->rows[i] + of->offset));
    }
  }
  write_durations(s, e);
}

/* -- writing: of the whole process -- */

static void one(ae__exposition *e, const char *name, const char *type,
                const char *help, uint64_t value) {
  ae__family(e, name, type, help);
  ae__sample(e, "");
  ae__value(e, value);
}

static void write_http(const scrape *s, ae__exposition *e) {
  static const char *const classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
  const ae__http *http = s->x->http;
  ae__http_counts counts;
  ae__http_count(http, &counts);
  one(e, "aether_http_connections", "gauge", "Open connections.",
      counts.connections);
  one(e, "aether_http_connections_accepted_total", "counter",
      "Connections that were taken.", counts.accepted);
  one(e, "aether_http_connections_refused_total", "counter",
      "Connections turned away because there were too many.", counts.refused);
  one(e, "aether_http_received_bytes_total", "counter",
      "Bytes that came over connections.", counts.bytes_in);
  one(e, "aether_http_sent_bytes_total", "counter",
      "Bytes that were sent over connections.", counts.bytes_out);
  one(e, "aether_http_unauthenticated_total", "counter",
      "Requests without a token, or with one that is none.",
      ae__auth_refused(http->auth));
  ae__family(e, "aether_http_requests_total", "counter",
             "Requests by route and class of status.");
  ae__route_counts route;
  for (size_t at = 0; ae__http_route_count(http, at, &route); at++)
    for (size_t k = 1; k < 6; k++) {
      if (route.requests[k] == 0 && !(route.route && k == 2)) continue;
      ae__sample(e, "");
      ae__label(e, "route",
                ae_str_of(route.route ? route.route->name : "none"));
      ae__label(e, "code", ae_str_of(classes[k]));
      ae__value(e, route.requests[k]);
    }
}

static void write_node(const scrape *s, ae__exposition *e) {
  const ae_config *config = ae_node_config(s->node);
  ae_pulse_counts pulse;
  ae__family(e, "aether_build_info", "gauge", "The program, and the node.");
  ae__sample(e, "");
  ae__label(e, "version", AE_STR(AE_VERSION));
  ae__label(e, "node", ae_str_of(config->node));
  ae__value(e, 1);
  ae_node_pulse(s->node, &pulse);
  one(e, "aether_loop_beats_total", "counter", "Beats of the loop's pulse.",
      pulse.beats);
  one(e, "aether_loop_standstills_total", "counter",
      "Times that the loop stood still for seconds.", pulse.standstills);
  ae__family(e, "aether_loop_lag_seconds", "gauge",
             "How late the last beat came.");
  ae__sample(e, "");
  ae__value_double(e, pulse.late_ms / 1e3);
  ae__family(e, "aether_loop_lag_max_seconds", "gauge",
             "How late any beat came.");
  ae__sample(e, "");
  ae__value_double(e, pulse.longest_ms / 1e3);
  if (s->whole.answered) {
    one(e, "aether_store_file_bytes", "gauge", "Of the store on disk.",
        s->whole.read.stats.file_bytes);
    one(e, "aether_store_unindexed_commits", "gauge",
        "Commits behind the index's watermark.", s->whole.read.stats.unindexed);
  }
}

static void write_all(scrape *s, ae_buf *out) {
  ae__exposition e = {.out = out};
  one(&e, "aether_ready", "gauge", "1 where the node takes commands.",
      ae_node_ready(s->node, NULL) == AE_OK);
  write_problems(s, &e);
  write_rows(s, &e);
  write_rooms(s, &e, of_room, false);
  write_subscriptions(s, &e);
  write_abroad(s, &e);
  write_limits(s, &e);
  write_scripts(s, &e);
  write_rooms(s, &e, of_store, true);
  if (!s->all) return;
  write_http(s, &e);
  write_node(s, &e);
  ae__process_write(&e, ae_node_started(s->node));
}

/* -- the exchange -- */

static void answer(scrape *s) {
  ae_buf body = {0};
  for (size_t i = 0; i < s->room_count; i++) take_room(s, &s->rooms[i]);
  ae_actors *actors = ae_node_actors(s->node);
  if (actors) ae_actors_counts(actors, take_counts, s);
  write_all(s, &body);
  ae__exchange_add(s->x, "Cache-Control", AE_STR("no-store"));
  ae__exchange_answer(s->x, 200, AE__EXPOSITION_TYPE, ae_buf_view(&body));
  ae_buf_clear(&body);
  s->x->context = NULL;
}

static void finish(scrape *s) {
  if (--s->pending > 0) return;
  if (s->x) answer(s);
  ae_free(s->problems);
  ae_free(s->rows);
  ae_free(s->rooms);
  ae_free(s);
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  (void)err; /* the series that are missing, and aether_wrong, tell of it */
  room *of = read->data;
  of->answered = status == AE_OK;
  finish(of->of);
}

static void on_task(ae_task *task) {
  finish(AE_CONTAINER(task, scrape, task));
}

static void ask(scrape *s, room *of) {
  ae_store *store = ae_node_store(s->node);
  of->of = s;
  of->read.ns = of->name;
  of->read.cb = on_stats;
  of->read.data = of;
  if (store && ae_store_stats(store, &of->read, NULL) == AE_OK) s->pending++;
}

void ae__metrics_start(ae__exchange *x) {
  const ae_config *config = ae_node_config(x->node);
  scrape *s = ae_zalloc(sizeof *s);
  s->x = x;
  s->node = x->node;
  s->grant = x->grant;
  s->all = ae__auth_sees_all(x->grant);
  s->rooms = ae_zalloc((config->namespace_count + 1) * sizeof(room));
  x->context = s;
  s->pending = 1; /* the task's */
  for (size_t i = 0; i < config->namespace_count; i++) {
    const ae_namespace_config *ns = &config->namespaces[i];
    if (!ae__auth_sees(s->grant, ae_str_of(ns->name))) continue;
    room *of = &s->rooms[s->room_count++];
    of->name = ae_str_of(ns->name);
    of->memory_limit = ns->memory;
    ask(s, of);
  }
  if (s->all) ask(s, &s->whole);
  s->task.run = on_task;
  ae_loop_defer(x->http->loop, &s->task);
}

void ae__metrics_gone(ae__exchange *x) {
  scrape *s = x->context;
  if (s) s->x = NULL;
}
