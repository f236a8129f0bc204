/* What the tests of the bus share: records, and somebody who listens. */
#ifndef AE_TEST_BUS_LISTENER_H
#define AE_TEST_BUS_LISTENER_H

#include "base/mem.h"
#include "bus/bus.h"

typedef struct listening {
  ae_loop loop;
  ae_bus *bus;
} listening;

void listening_open(listening *l);
void listening_close(listening *l);

/* A commit of `actor` (NAMESPACE/TYPE/ID) with these types of events, parted by
 * spaces, from `version` on; `size` bytes of text in each. */
void publish_sized(ae_bus *bus, const char *actor, const char *types,
                   uint64_t version, uint64_t position, size_t size);
void publish(ae_bus *bus, const char *actor, const char *types,
             uint64_t version, uint64_t position);

/* A subscription, and how often it was told. */
typedef struct ear {
  ae_subscription *subscription;
  int wakes;
} ear;
extern const ae_grant everything;
/* `types` parted by spaces; NULL: all. `actor` NULL: any. */
ae_status ear_open(ear *e, listening *l, const char *pattern, const char *types,
                   const char *actor, size_t buffer, ae_error *err);
/* The same, and it must work. */
void ear_new(ear *e, listening *l, const char *pattern);
void ear_close(ear *e);
/* What it holds, fetched: "NAMESPACE/TYPE/ID VERSION EVENT" with a line break
 * behind each. Valid until the next call. */
const char *ear_hears(ear *e);
void ear_counts(const ear *e, uint64_t delivered, uint64_t dropped,
                size_t held);
void bus_counts(const listening *l, const char *ns, uint64_t published,
                uint64_t delivered, uint64_t dropped, size_t subscriptions);

#endif
