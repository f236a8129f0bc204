#include "door/http/listen.h"

#include "base/mem.h"
#include "bus/bus.h"
#include "door/http/auth.h"
#include "door/http/sink.h"
#include "door/http/want.h"
#include "namespace/pattern.h"

#define SLICE (64u << 10) /* bytes written before the client is looked at */

typedef struct listener {
  ae__sink sink;
  ae_subscription *subscription;
  uint64_t dropped; /* noticed so far */
  uint64_t untold;  /* of these */
  size_t before;    /* events to come before the client is told of them */
} listener;

/* A full subscription drops what is new, so what it holds then comes before
 * what it dropped. */
static void notice_drops(listener *l) {
  ae_subscription_counts counts;
  ae_subscription_count(l->subscription, &counts);
  if (counts.dropped == l->dropped) return;
  if (l->untold == 0) l->before = counts.held;
  l->untold += counts.dropped - l->dropped;
  l->dropped = counts.dropped;
}

static void tell_drops(listener *l) {
  if (l->untold == 0 || l->before > 0) return;
  ae__sink_dropped(&l->sink, l->untold);
  l->untold = 0;
}

static void pull(listener *l) {
  ae_event event;
  for (;;) {
    notice_drops(l);
    tell_drops(l);
    if (l->sink.held >= SLICE) ae__sink_send(&l->sink);
    if (l->sink.full || !ae_subscription_next(l->subscription, &event)) break;
    ae__sink_event(&l->sink, "", &event);
    if (l->before > 0) l->before--;
  }
  ae__sink_send(&l->sink);
}

static void on_wake(ae_subscription *subscription, void *data) {
  (void)subscription;
  listener *l = data;
  if (!l->sink.full) pull(l);
}

/* A name is looked up among those granted; a pattern with wildcards needs a
 * grant of its own, which subscribing looks at. */
static ae_status check(const ae__exchange *x, ae_str pattern, ae_error *err) {
  static const char *const known[] = {"pattern", "types", "actor", NULL};
  ae_status status = ae__want_check(x, known, err);
  if (status != AE_OK) return status;
  if (!pattern.ptr) {
    ae_error_set(err, AE_MALFORMED,
                 "which namespaces? `pattern` names one, as `bank`, or "
                 "several, as `bank.*` or `>`");
    ae_error_cstr(err, "at", "pattern");
    return AE_MALFORMED;
  }
  status = ae_pattern_check(pattern, err);
  if (status != AE_OK || ae_pattern_wild(pattern)) return status;
  return ae__auth_allows(x->node, x->grant, AE_RIGHT_LISTEN, pattern, err);
}

void ae__listen_start(ae__exchange *x) {
  ae_str types = ae__exchange_query(x, "types"), *list = NULL;
  ae_subscription_options options = {
      .pattern = ae__exchange_query(x, "pattern"),
      .actor = ae__exchange_query(x, "actor"),
      .grant = x->grant,
      .wake = on_wake,
  };
  ae_error err = {0};
  listener *l = ae_zalloc(sizeof *l);
  options.data = l;
  ae_status status = check(x, options.pattern, &err);
  if (status == AE_OK && options.actor.ptr && options.actor.len == 0) {
    ae_error_set(&err, AE_MALFORMED,
                 "`actor` is TYPE/ID, each a name, `*`, or a start and `*`");
    ae_error_cstr(&err, "at", "actor");
    status = AE_MALFORMED;
  }
  if (status == AE_OK && types.ptr)
    status = ae__want_list(types, "types", &list, &options.type_count, &err);
  options.types = list;
  if (status == AE_OK)
    status = ae_bus_subscribe(ae_node_bus(x->node), &options, &l->subscription,
                              &err);
  ae_free(list);
  if (status == AE_OK) {
    x->context = l;
    ae__sink_begin(&l->sink, x, ae__want_sse(x), true);
  } else {
    ae_free(l);
    ae__exchange_fail(x, &err);
  }
  ae_error_clear(&err);
}

void ae__listen_drained(ae__exchange *x) {
  listener *l = x->context;
  if (!l) return;
  ae__sink_drained(&l->sink);
  pull(l);
}

void ae__listen_gone(ae__exchange *x) {
  listener *l = x->context;
  if (!l) return;
  ae_subscription_close(l->subscription);
  ae__sink_close(&l->sink);
  ae_free(l);
}
