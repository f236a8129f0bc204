#include "bus/bus.h"

#include "bus/internal.h"
#include "namespace/pattern.h"

/* Wakes subscriptions at the end of a turn. By itself, because it may be under
 * way when the bus goes. */
struct ae__waker {
  ae_task task;
  ae_loop *loop;
  ae_bus *bus; /* NULL: gone */
  bool deferred;
};

static void on_turn(ae_task *task) {
  ae__waker *waker = AE_CONTAINER(task, ae__waker, task);
  waker->deferred = false;
  if (waker->bus)
    ae__subscriptions_wake(waker->bus);
  else
    ae_free(waker);
}

void ae__bus_wake_later(ae_bus *bus) {
  ae__waker *waker = bus->waker;
  if (waker->deferred) return;
  waker->deferred = true;
  ae_loop_defer(waker->loop, &waker->task);
}

ae_bus *ae_bus_new(ae_loop *loop) {
  ae_bus *bus = ae_zalloc(sizeof *bus);
  ae_list_init(&bus->wild);
  ae_list_init(&bus->waking);
  bus->elsewhere = ae_zalloc(sizeof *bus->elsewhere);
  bus->waker = ae_zalloc(sizeof *bus->waker);
  *bus->waker = (ae__waker){.task = {.run = on_turn}, .loop = loop, .bus = bus};
  return bus;
}

/* -- topics -- */

static void attach(ae__topic *topic, ae_subscription *subscription) {
  if (topic->count == topic->cap) {
    topic->cap = topic->cap ? topic->cap * 2 : 4;
    topic->listeners =
        ae_realloc(topic->listeners, topic->cap * sizeof *topic->listeners);
  }
  topic->listeners[topic->count++] = subscription;
}

static void detach(ae__topic *topic, const ae_subscription *subscription) {
  size_t i = 0;
  while (i < topic->count && topic->listeners[i] != subscription) i++;
  AE_ASSERT_CMP(i, <, topic->count);
  memmove(&topic->listeners[i], &topic->listeners[i + 1],
          (topic->count - i - 1) * sizeof *topic->listeners);
  topic->count--;
}

static ae__topic *topic_make(ae_bus *bus, ae_str name) {
  ae__topic *topic = ae_map_get(&bus->topics, name);
  if (topic) return topic;
  topic = ae_zalloc(sizeof *topic + name.len);
  memcpy(topic->text, name.ptr, name.len);
  topic->name = (ae_str){topic->text, name.len};
  for (ae_list *at = bus->wild.next; at != &bus->wild; at = at->next) {
    ae_subscription *wild = AE_CONTAINER(at, ae_subscription, link);
    if (ae_pattern_match(wild->pattern, name)) attach(topic, wild);
  }
  ae_map_put(&bus->topics, topic->name, topic);
  return topic;
}

static void topic_free(ae_bus *bus, ae__topic *topic) {
  if (bus->recent == topic) bus->recent = NULL;
  ae_map_remove(&bus->topics, topic->name);
  ae_free(topic->listeners);
  ae_free(topic);
}

void ae__bus_enter(ae_bus *bus, ae_subscription *subscription) {
  bus->subscriptions++;
  ae__interest_enter(bus, subscription);
  if (!ae_pattern_wild(subscription->pattern)) {
    subscription->topic = topic_make(bus, subscription->pattern);
    subscription->topic->named++;
    attach(subscription->topic, subscription);
    return;
  }
  ae_list_push(&bus->wild, &subscription->link);
  size_t at = 0;
  ae__topic *topic;
  while ((topic = ae_map_next(&bus->topics, &at)))
    if (ae_pattern_match(subscription->pattern, topic->name))
      attach(topic, subscription);
}

void ae__bus_leave(ae_bus *bus, ae_subscription *subscription) {
  bus->subscriptions--;
  ae__interest_leave(bus, subscription);
  ae__topic *topic = subscription->topic;
  if (topic) {
    detach(topic, subscription);
    /* Its counts stay; a name that nothing came from leaves no trace. */
    if (--topic->named == 0 && topic->published == 0 && topic->received == 0)
      topic_free(bus, topic);
    return;
  }
  ae_list_remove(&subscription->link);
  size_t at = 0;
  while ((topic = ae_map_next(&bus->topics, &at)))
    if (ae_pattern_match(subscription->pattern, topic->name))
      detach(topic, subscription);
}

void ae_bus_free(ae_bus *bus) {
  if (!bus) return;
  AE_ASSERT_CMP(bus->subscriptions, ==, 0);
  AE_ASSERT(bus->remote == NULL);
  size_t at = 0;
  ae__topic *topic;
  while ((topic = ae_map_next(&bus->topics, &at))) topic_free(bus, topic);
  ae_map_clear(&bus->topics);
  ae_map_clear(&bus->interests);
  ae_buf_clear(&bus->record);
  ae_free(bus->elsewhere);
  ae__notices_free(bus);
  if (bus->waker->deferred)
    bus->waker->bus = NULL; /* it frees itself */
  else
    ae_free(bus->waker);
  ae_free(bus);
}

/* -- publishing -- */

void ae_bus_publish(ae_bus *bus, const ae_ref *ref, ae_str record,
                    uint32_t event_count, uint64_t position) {
  if (event_count == 0) return;
  ae__topic *topic = bus->recent;
  if (!topic || !ae_str_eq(topic->name, ref->ns))
    bus->recent = topic = topic_make(bus, ref->ns);
  topic->published += event_count;
  if (bus->remote) ae__remote_publish(bus, record, position);
  if (topic->count == 0) return;
  ae__news news; /* its large rest is filled where a filter asks */
  news.bus = bus;
  news.topic = topic;
  news.ref = ref;
  news.record = record;
  news.event_count = event_count;
  news.index = 0;
  news.position = position;
  news.decoded = false;
  news.notice = NULL;
  for (size_t i = 0; i < topic->count; i++)
    ae__subscription_offer(topic->listeners[i], &news);
}

static const ae__topic *topic_find(const ae_bus *bus, ae_str ns) {
  return ae_map_get(&bus->topics, ns);
}

bool ae_bus_listened(const ae_bus *bus, ae_str ns) {
  const ae__topic *topic = topic_find(bus, ns);
  if (topic) return topic->count > 0;
  for (ae_list *at = bus->wild.next; at != &bus->wild; at = at->next)
    if (ae_pattern_match(AE_CONTAINER(at, ae_subscription, link)->pattern, ns))
      return true;
  return false;
}

void ae_bus_count(const ae_bus *bus, ae_str ns, ae_bus_counts *out) {
  *out = (ae_bus_counts){0};
  const ae__topic *topic = topic_find(bus, ns);
  if (topic) {
    *out = (ae_bus_counts){.published = topic->published,
                           .received = topic->received,
                           .delivered = topic->delivered,
                           .dropped = topic->dropped,
                           .subscriptions = topic->count};
    return;
  }
  for (ae_list *at = bus->wild.next; at != &bus->wild; at = at->next)
    out->subscriptions +=
        ae_pattern_match(AE_CONTAINER(at, ae_subscription, link)->pattern, ns);
}

bool ae_bus_abroad_count(const ae_bus *bus, ae_bus_abroad *out) {
  *out = bus->abroad;
  return bus->remote != NULL;
}
