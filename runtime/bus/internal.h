/* What the files of this context share. */
#ifndef AE_BUS_INTERNAL_H
#define AE_BUS_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/remote.h"

/* A namespace that was published to, or that somebody listens to by name. */
typedef struct ae__topic {
  ae_str name;                 /* into `text` */
  ae_subscription **listeners; /* all that match, oldest first */
  size_t count, cap;
  size_t named; /* of them, those without wildcards */
  uint64_t published, received, delivered, dropped;
  char text[];
} ae__topic;

typedef struct ae__waker ae__waker;
typedef struct ae__notice ae__notice;

struct ae_bus {
  ae_map topics;     /* name → ae__topic */
  ae__topic *recent; /* published to last; NULL: not known */
  ae_list wild;      /* subscriptions with wildcards, ae_subscription.link */
  ae_list waking;    /* ae_subscription.waking, oldest first */
  size_t subscriptions;
  ae__notice *spare; /* for the next records */
  unsigned spares;
  ae__waker *waker;
  ae_map interests;      /* pattern → ae_bus_interest */
  ae_bus_remote *remote; /* NULL: this node is alone */
  ae__topic *elsewhere;  /* namespaces that only other nodes know: so that what
                            comes from there leaves no names behind */
  ae_bus_abroad abroad;
  ae_buf record; /* of what is being received */
};

/* -- notice.c: a published record, held by those who took some of it -- */
struct ae__notice {
  ae_bus *bus;
  ae__topic *topic;
  ae__notice *next; /* in bus->spare */
  uint32_t holders;
  uint32_t index; /* of its first event in its commit */
  bool decoded;
  uint64_t position;
  size_t len, room; /* of `bytes` */
  ae_commit commit; /* once it is decoded: slices of `bytes` */
  char bytes[];
};

/* A record on its way to its listeners. */
typedef struct ae__news {
  ae_bus *bus;
  ae__topic *topic;
  const ae_ref *ref;
  ae_str record;
  uint32_t event_count;
  uint32_t index; /* of its first event in its commit */
  uint64_t position;
  bool decoded;       /* for a filter of types */
  ae_commit commit;   /* then: slices of `record` */
  ae__notice *notice; /* NULL until somebody takes some of it */
} ae__news;

/* Held once more. */
ae__notice *ae__notice_take(ae__news *news);
void ae__notice_release(ae__notice *notice);
void ae__notices_free(ae_bus *bus); /* the spare ones */
void ae__notice_walk(ae__notice *notice, ae_commit_cursor *cursor);
void ae__news_walk(ae__news *news, ae_commit_cursor *cursor);

/* -- filter.c: which events of a namespace -- */
typedef struct ae__part {
  ae_str text;
  bool prefix; /* else the whole name */
} ae__part;

typedef struct ae__filter {
  ae__part type, id;   /* of actors */
  const ae_str *types; /* of events, ae__types_sort; count 0: all */
  size_t type_count;
  bool any_actor;
} ae__filter;

/* AE_OK, or AE_INVALID_NAME. `filter` then points at the options' texts, not
 * sorted yet. */
ae_status ae__filter_init(ae__filter *filter,
                          const ae_subscription_options *options,
                          ae_error *err);
bool ae__filter_actor(const ae__filter *filter, const ae_ref *ref);
void ae__types_sort(ae_str *types, size_t count);
/* Who asks for thousands of types must not slow the publisher. */
static inline bool ae__filter_type(const ae__filter *filter, ae_str type) {
  if (filter->type_count == 0) return true;
  size_t from = 0, to = filter->type_count;
  while (from < to) {
    size_t middle = from + (to - from) / 2;
    int order = ae_str_cmp(type, filter->types[middle]);
    if (order == 0) return true;
    if (order < 0)
      to = middle;
    else
      from = middle + 1;
  }
  return false;
}

/* -- subscription.c -- */
/* What it holds of one record. */
typedef struct ae__held {
  ae__notice *notice;
  uint32_t left; /* events to give, of those that its filter lets through */
} ae__held;

typedef enum ae__subscription_phase {
  AE__ARMED,
  AE__WAKING,
  AE__AWAKE,
} ae__subscription_phase;

struct ae_subscription {
  ae_bus *bus;
  ae__topic *topic; /* NULL: with wildcards */
  uint8_t phase;
  size_t held;   /* events */
  size_t buffer; /* of them at most */
  size_t bytes;  /* of the records in the ring */
  uint64_t delivered, dropped;
  ae__held *ring; /* `cap` is 0 or a power of two */
  size_t first, count, cap;
  bool walking;            /* `cursor` stands in the first of the ring */
  ae_commit_cursor cursor; /* behind the event given last */
  ae__notice *given;       /* kept for the slices of that event; NULL: it is in
                              the ring still, or there was none */
  ae__filter filter;
  void (*wake)(ae_subscription *subscription, void *data);
  void *data;
  ae_str pattern;
  ae_list waking; /* in bus->waking, or what a turn took of it */
  ae_list link;   /* in bus->wild */
  ae_bus_interest *interest;
  ae_list peers; /* in interest->subscriptions */
  char text[];   /* of pattern and filter */
};

/* Takes what matches and has room. */
void ae__subscription_offer(ae_subscription *subscription, ae__news *news);
/* Wakes those that were in bus->waking when it began. */
void ae__subscriptions_wake(ae_bus *bus);

/* -- remote.c: other nodes -- */
/* A pattern with all its subscriptions. */
struct ae_bus_interest {
  ae_bus *bus;
  ae_str pattern; /* into `text` */
  ae_list subscriptions;
  void *listening; /* the remote's; NULL: none */
  char text[];
};

/* A remote event's facts beside its record. */
typedef struct ae__told {
  ae_ref ref; /* slices of the record */
  uint64_t position;
  uint32_t index;
} ae__told;

void ae__interest_enter(ae_bus *bus, ae_subscription *subscription);
void ae__interest_leave(ae_bus *bus, ae_subscription *subscription);
/* What this node stored, to the remote there is. */
void ae__remote_publish(ae_bus *bus, ae_str record, uint64_t position);
/* A rendered event as a record of its own, into `record`, which is emptied
 * first. AE_MALFORMED or AE_REPLAY_ERROR. */
ae_status ae__remote_read(ae_str body, ae_str ns, ae_buf *record,
                          ae__told *told, ae_error *err);

/* -- bus.c -- */
void ae__bus_enter(ae_bus *bus, ae_subscription *subscription);
void ae__bus_leave(ae_bus *bus, ae_subscription *subscription);
/* ae__subscriptions_wake in a moment. */
void ae__bus_wake_later(ae_bus *bus);

#endif
