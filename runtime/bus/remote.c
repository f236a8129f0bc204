/* Events of other nodes become records again, so that a subscription holds and
 * gives them as it does this node's own. */
#include "bus/remote.h"

#include "base/log.h"
#include "bus/internal.h"
#include "namespace/pattern.h"

/* -- interests -- */

static void begin(ae_bus_interest *interest) {
  ae_bus_remote *remote = interest->bus->remote;
  interest->listening =
      remote->vtab->listen(remote, interest, interest->pattern);
}

static void finish(ae_bus_interest *interest) {
  ae_bus_remote *remote = interest->bus->remote;
  if (interest->listening) remote->vtab->unlisten(remote, interest->listening);
  interest->listening = NULL;
}

void ae__interest_enter(ae_bus *bus, ae_subscription *subscription) {
  ae_str pattern = subscription->pattern;
  ae_bus_interest *interest = ae_map_get(&bus->interests, pattern);
  if (!interest) {
    interest = ae_zalloc(sizeof *interest + pattern.len);
    memcpy(interest->text, pattern.ptr, pattern.len);
    interest->bus = bus;
    interest->pattern = (ae_str){interest->text, pattern.len};
    ae_list_init(&interest->subscriptions);
    ae_map_put(&bus->interests, interest->pattern, interest);
    if (bus->remote) begin(interest);
  }
  subscription->interest = interest;
  ae_list_push(&interest->subscriptions, &subscription->peers);
}

void ae__interest_leave(ae_bus *bus, ae_subscription *subscription) {
  ae_bus_interest *interest = subscription->interest;
  ae_list_remove(&subscription->peers);
  if (!ae_list_empty(&interest->subscriptions)) return;
  if (bus->remote) finish(interest);
  ae_map_remove(&bus->interests, interest->pattern);
  ae_free(interest);
}

void ae_bus_attach(ae_bus *bus, ae_bus_remote *remote) {
  AE_ASSERT(bus->remote == NULL);
  bus->remote = remote;
  size_t at = 0;
  ae_bus_interest *interest;
  while ((interest = ae_map_next(&bus->interests, &at))) begin(interest);
}

void ae_bus_detach(ae_bus *bus) {
  size_t at = 0;
  ae_bus_interest *interest;
  while ((interest = ae_map_next(&bus->interests, &at))) finish(interest);
  bus->remote = NULL;
}

/* -- sending -- */

void ae__remote_publish(ae_bus *bus, ae_str record, uint64_t position) {
  ae_commit commit;
  ae_commit_cursor cursor;
  ae_event event;
  ae_commit_trust(&cursor, &commit, record, position);
  while (ae_commit_next(&cursor, &event)) {
    if (bus->remote->vtab->publish(bus->remote, &event))
      bus->abroad.sent++;
    else
      bus->abroad.unsent++;
  }
}

/* -- reading what came -- */

enum {
  ID,
  TYPE,
  REVISION,
  NAMESPACE,
  ACTOR_TYPE,
  ACTOR_ID,
  VERSION,
  POSITION,
  INDEX,
  TIMESTAMP,
  DATA,
  METADATA,
  FIELDS
};
static const char *const field_names[FIELDS] = {
    "id",      "type",     "revision", "namespace", "actor_type", "actor_id",
    "version", "position", "index",    "timestamp", "data",       "metadata",
};

/* What is metadata to who looks, and a member of the event to the host. */
enum { COMMAND_ID, CAUSATION_ID, MODULE_REVISION, NODE, EPOCH, KEYS };
static const char *const key_names[KEYS] = {
    "command_id", "causation_id", "module_revision", "node", "epoch",
};

static int name_of(ae_str name, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (ae_str_eq(name, ae_str_of(names[i]))) return i;
  return -1;
}

/* The values of `names` in `map`, which is one whole map; others are left to
 * `rest` (may be NULL), key and value. */
static bool take_fields(ae_str map, const char *const *names, int count,
                        ae_str *values, ae_buf *rest, uint32_t *left) {
  ae_unpack at = ae_unpack_of(map);
  uint32_t pairs;
  if (!ae_unpack_map(&at, &pairs)) return false;
  while (pairs--) {
    ae_str key, value, name;
    if (!ae_unpack_skip(&at, &key) || !ae_unpack_skip(&at, &value))
      return false;
    ae_unpack text = ae_unpack_of(key);
    int found = ae_unpack_str(&text, &name) ? name_of(name, names, count) : -1;
    if (found >= 0) {
      values[found] = value;
    } else if (rest) {
      ae_buf_str(rest, key);
      ae_buf_str(rest, value);
      ++*left;
    }
  }
  return ae_unpack_end(&at);
}

static bool text_of(ae_str value, ae_str *out) {
  ae_unpack at = ae_unpack_of(value);
  return ae_unpack_str(&at, out);
}

static bool uint_of(ae_str value, uint64_t *out) {
  ae_unpack at = ae_unpack_of(value);
  return ae_unpack_uint(&at, out);
}

/* The host's own of the metadata into the commit, the rest into `own`. */
static bool take_metadata(ae_str metadata, ae_commit *commit,
                          ae_commit_command *command, ae_buf *own) {
  ae_str values[KEYS] = {{0}};
  ae_buf pairs = {0};
  uint32_t count = 0;
  bool fine =
      take_fields(metadata, key_names, KEYS, values, &pairs, &count) &&
      (!values[COMMAND_ID].ptr || text_of(values[COMMAND_ID], &command->id)) &&
      (!values[MODULE_REVISION].ptr ||
       text_of(values[MODULE_REVISION], &commit->module_revision)) &&
      (!values[NODE].ptr || text_of(values[NODE], &commit->node)) &&
      (!values[EPOCH].ptr || uint_of(values[EPOCH], &commit->epoch));
  /* The host adds it again where it is the command's id. */
  bool causation = values[CAUSATION_ID].ptr &&
                   !(values[COMMAND_ID].ptr &&
                     ae_str_eq(values[CAUSATION_ID], values[COMMAND_ID]));
  if (fine && count + causation > 0) {
    ae_pack_map(own, count + causation);
    ae_buf_str(own, ae_buf_view(&pairs));
    if (causation) {
      ae_pack_cstr(own, key_names[CAUSATION_ID]);
      ae_buf_str(own, values[CAUSATION_ID]);
    }
  }
  ae_buf_clear(&pairs);
  return fine;
}

/* What is wrong with it, or NULL. */
static const char *read_fields(const ae_str *values, ae__told *told,
                               ae_commit *commit, ae_str *type,
                               uint64_t *revision) {
  uint64_t index, time;
  ae_str id;
  for (int i = 0; i < FIELDS; i++)
    if (!values[i].ptr) return field_names[i];
  if (!text_of(values[ID], &id) || !ae_uuid_parse(id, &commit->id)) return "id";
  if (!text_of(values[TYPE], type)) return "type";
  if (!uint_of(values[REVISION], revision)) return "revision";
  if (!text_of(values[NAMESPACE], &commit->ref.ns)) return "namespace";
  if (!text_of(values[ACTOR_TYPE], &commit->ref.type)) return "actor_type";
  if (!text_of(values[ACTOR_ID], &commit->ref.id)) return "actor_id";
  if (!uint_of(values[VERSION], &commit->first_version) ||
      commit->first_version == 0)
    return "version";
  if (!uint_of(values[POSITION], &told->position)) return "position";
  if (!uint_of(values[INDEX], &index) || index > UINT32_MAX) return "index";
  if (!uint_of(values[TIMESTAMP], &time) || time > INT64_MAX)
    return "timestamp";
  told->index = (uint32_t)index;
  commit->time = (int64_t)time;
  return NULL;
}

static ae_status refuse(ae_error *err, const char *what, const char *which) {
  ae_error_set(err, AE_MALFORMED, "%s%s", what, which);
  ae_error_cstr(err, "at", which);
  return AE_MALFORMED;
}

ae_status ae__remote_read(ae_str body, ae_str ns, ae_buf *record,
                          ae__told *told, ae_error *err) {
  ae_str values[FIELDS] = {{0}}, type;
  ae_commit commit = {0};
  ae_commit_command command = {.events = 1};
  uint64_t revision;
  ae_buf_reset(record);
  if (!take_fields(body, field_names, FIELDS, values, NULL, NULL))
    return refuse(err, "the body is no msgpack map", "");
  const char *wrong = read_fields(values, told, &commit, &type, &revision);
  if (wrong) return refuse(err, "missing, or no such value: ", wrong);
  if (!ae_str_eq(commit.ref.ns, ns))
    return refuse(err, "the subject names another ", "namespace");
  ae_buf own = {0}, event = {0};
  bool fine = take_metadata(values[METADATA], &commit, &command, &own);
  ae_pack_array(&event, 4);
  ae_pack_str(&event, type);
  ae_pack_uint(&event, revision);
  ae_buf_str(&event, values[DATA]);
  if (own.len > 0)
    ae_buf_str(&event, ae_buf_view(&own));
  else
    ae_pack_nil(&event);
  ae_status status = AE_OK;
  if (!fine)
    status = refuse(err, "no such value: ", "metadata");
  else
    ae_commit_encode(record, &commit, &command, 1, ae_buf_view(&event), 1);
  ae_buf_clear(&own);
  ae_buf_clear(&event);
  /* All else that a record promises is looked at where records are. */
  ae_commit decoded;
  if (status == AE_OK)
    status = ae_commit_decode(ae_buf_view(record), &decoded, err);
  if (status == AE_OK) told->ref = decoded.ref;
  return status;
}

/* -- receiving -- */

static void complain(ae_bus *bus, ae_str ns, const ae_error *err) {
  bus->abroad.malformed++;
  if (bus->abroad.malformed > 1) return;
  ae_buf name = {0};
  ae_buf_str(&name, ns);
  ae_log(AE_LOG_WARN,
         "a message to the bus is no event; further ones are counted only",
         "namespace", ae_buf_cstr(&name), "cause", ae_error_text(err), NULL);
  ae_buf_clear(&name);
}

void ae_bus_receive(ae_bus_interest *interest, ae_str ns, ae_str body) {
  ae_bus *bus = interest->bus;
  ae_error err = {0};
  ae__told told;
  if (ae__remote_read(body, ns, &bus->record, &told, &err) != AE_OK) {
    complain(bus, ns, &err);
    ae_error_clear(&err);
    return;
  }
  ae__topic *topic = ae_map_get(&bus->topics, ns);
  if (!topic) topic = bus->elsewhere;
  topic->received++;
  bus->abroad.received++;
  ae__news news = {.bus = bus,
                   .topic = topic,
                   .ref = &told.ref,
                   .record = ae_buf_view(&bus->record),
                   .event_count = 1,
                   .position = told.position,
                   .index = told.index};
  for (ae_list *at = interest->subscriptions.next;
       at != &interest->subscriptions; at = at->next)
    ae__subscription_offer(AE_CONTAINER(at, ae_subscription, peers), &news);
}
