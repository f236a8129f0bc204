/* A subscription: a bounded queue of what matches, and when its owner is told.
 *
 *               something taken        the turn ends: wake()
 *        ARMED ─────────────────► WAKING ─────────────────► AWAKE
 *          ▲                        │                         │
 *          └────────────────────────┴──── next() is false ────┘
 *
 *   transition        function
 *   ARMED → WAKING    take
 *   WAKING → AWAKE    ae__subscriptions_wake
 *   WAKING → ARMED    ae__subscriptions_wake: all was fetched before it
 *   … → ARMED         ae_subscription_next
 *   … → gone          ae_subscription_close
 *
 * Invariants
 * 1. ARMED holds nothing.
 * 2. It is in a list of those to wake exactly in WAKING.
 * 3. `held` is the sum of `left` in the ring, and at most `buffer`; each `left`
 *    is 1 at least.
 * 4. delivered + dropped + held is the number of events that matched.
 * 5. What is in the ring is walked in order: only the first has a cursor.
 */
#include "base/log.h"
#include "bus/internal.h"
#include "namespace/pattern.h"

/* -- taking -- */

static ae__held *at(const ae_subscription *it, size_t n) {
  return &it->ring[(it->first + n) & (it->cap - 1)];
}

static void ring_grow(ae_subscription *it) {
  size_t cap = it->cap ? it->cap * 2 : 8;
  ae__held *ring = ae_alloc(sizeof *ring * cap);
  for (size_t i = 0; i < it->count; i++) ring[i] = *at(it, i);
  ae_free(it->ring);
  it->ring = ring;
  it->cap = cap;
  it->first = 0;
}

static void take(ae_subscription *it, ae__news *news, uint32_t events) {
  if (it->count == it->cap) ring_grow(it);
  it->count++;
  *at(it, it->count - 1) = (ae__held){ae__notice_take(news), events};
  it->held += events;
  it->bytes += news->record.len;
  AE_ASSERT_CMP(it->held, <=, it->buffer);
  if (it->phase != AE__ARMED) return;
  it->phase = AE__WAKING;
  ae_list_push(&it->bus->waking, &it->waking);
  ae__bus_wake_later(it->bus);
}

static uint32_t matching(const ae_subscription *it, ae__news *news) {
  if (it->filter.type_count == 0) return news->event_count;
  ae_commit_cursor cursor;
  ae__news_walk(news, &cursor);
  ae_event event;
  uint32_t count = 0;
  while (ae_commit_next(&cursor, &event))
    count += ae__filter_type(&it->filter, event.type);
  return count;
}

void ae__subscription_offer(ae_subscription *it, ae__news *news) {
  if (!ae__filter_actor(&it->filter, news->ref)) return;
  uint32_t count = matching(it, news);
  size_t room = it->buffer - it->held;
  if (it->bytes > 0 && it->bytes + news->record.len > AE_BUS_BYTES) room = 0;
  uint32_t taken = count < room ? count : (uint32_t)room;
  it->dropped += count - taken;
  news->topic->dropped += count - taken;
  if (taken > 0) take(it, news, taken);
}

/* -- giving -- */

static void first_done(ae_subscription *it) {
  ae__held *first = at(it, 0);
  it->given = first->notice; /* the event's slices are in it */
  it->bytes -= first->notice->len;
  it->first++;
  it->count--;
  it->walking = false;
}

static void arm(ae_subscription *it) {
  AE_ASSERT_CMP(it->held, ==, 0);
  if (it->phase == AE__WAKING) ae_list_remove(&it->waking);
  it->phase = AE__ARMED;
}

bool ae_subscription_next(ae_subscription *it, ae_event *event) {
  ae__notice_release(it->given);
  it->given = NULL;
  if (it->count == 0) {
    arm(it);
    return false;
  }
  ae__held *first = at(it, 0);
  if (!it->walking) {
    ae__notice_walk(first->notice, &it->cursor);
    it->walking = true;
  }
  do {
    AE_ASSERT(ae_commit_next(&it->cursor, event));
  } while (!ae__filter_type(&it->filter, event->type));
  event->index += first->notice->index;
  it->delivered++;
  it->held--;
  first->notice->topic->delivered++;
  if (--first->left == 0) first_done(it);
  return true;
}

void ae__subscriptions_wake(ae_bus *bus) {
  /* Only these: one that wakes itself again must not keep the turn. */
  ae_list now;
  ae_list_init(&now);
  while (!ae_list_empty(&bus->waking))
    ae_list_push(&now, ae_list_shift(&bus->waking));
  ae_list *link;
  while ((link = ae_list_shift(&now))) {
    ae_subscription *it = AE_CONTAINER(link, ae_subscription, waking);
    AE_ASSERT_CMP(it->phase, ==, AE__WAKING);
    if (it->held == 0) { /* fetched meanwhile */
      it->phase = AE__ARMED;
      continue;
    }
    it->phase = AE__AWAKE;
    if (it->wake) it->wake(it, it->data);
  }
}

/* -- beginning and end -- */

static ae_str keep(char **to, ae_str text) {
  if (text.len) memcpy(*to, text.ptr, text.len);
  ae_str kept = {*to, text.len};
  *to += text.len;
  return kept;
}

/* What it keeps of the options stands behind it: types, then all texts. */
static ae_subscription *make(ae_bus *bus, const ae_subscription_options *from,
                             const ae__filter *filter) {
  size_t text = from->pattern.len + filter->type.text.len + filter->id.text.len;
  for (size_t i = 0; i < from->type_count; i++) text += from->types[i].len;
  ae_subscription *it = ae_zalloc(sizeof *it + text);
  ae_str *types = ae_alloc(sizeof *types * (from->type_count + 1));
  char *to = it->text;
  it->bus = bus;
  it->phase = AE__ARMED;
  it->buffer = from->buffer ? from->buffer : AE_BUS_BUFFER;
  it->wake = from->wake;
  it->data = from->data;
  it->pattern = keep(&to, from->pattern);
  it->filter = *filter;
  it->filter.type.text = keep(&to, filter->type.text);
  it->filter.id.text = keep(&to, filter->id.text);
  for (size_t i = 0; i < from->type_count; i++)
    types[i] = keep(&to, from->types[i]);
  ae__types_sort(types, from->type_count);
  it->filter.types = types;
  ae_list_init(&it->waking);
  ae_list_init(&it->link);
  ae_list_init(&it->peers);
  return it;
}

static void warn(const ae_subscription_options *options) {
  ae_buf pattern = {0};
  ae_buf_str(&pattern, options->pattern);
  const char *name = options->grant->name;
  ae_log(AE_LOG_WARN, "a subscription to namespaces by a pattern", "pattern",
         ae_buf_cstr(&pattern), "by", name ? name : "", NULL);
  ae_buf_clear(&pattern);
}

ae_status ae_bus_subscribe(ae_bus *bus, const ae_subscription_options *options,
                           ae_subscription **out, ae_error *err) {
  ae__filter filter;
  *out = NULL;
  ae_status status = ae_pattern_check(options->pattern, err);
  if (status == AE_OK) status = ae__filter_init(&filter, options, err);
  if (status == AE_OK)
    status = ae_grant_subscribe(options->grant, options->pattern, err);
  if (status != AE_OK) return status;
  if (ae_pattern_wild(options->pattern)) warn(options);
  *out = make(bus, options, &filter);
  ae__bus_enter(bus, *out);
  return AE_OK;
}

void ae_subscription_close(ae_subscription *it) {
  if (!it) return;
  if (it->phase == AE__WAKING) ae_list_remove(&it->waking);
  ae__notice_release(it->given);
  for (size_t i = 0; i < it->count; i++) ae__notice_release(at(it, i)->notice);
  ae__bus_leave(it->bus, it);
  ae_free(it->ring);
  ae_free((void *)it->filter.types);
  ae_free(it);
}

void ae_subscription_count(const ae_subscription *it,
                           ae_subscription_counts *out) {
  *out = (ae_subscription_counts){
      .delivered = it->delivered, .dropped = it->dropped, .held = it->held};
}
