/* Events of what the store's read half gives. */
#ifndef AE_NODE_PAGE_H
#define AE_NODE_PAGE_H

#include "store/read.h"

/* Calls back for each event from a version on (0: all of a scan), and for each
 * record that cannot be read. */
void ae_page_each(const ae_page *page, uint64_t from,
                  void (*event)(void *data, const ae_event *event),
                  void (*damage)(void *data, const ae_error *err), void *data);

/* The same until `event` says false: it wants no more. True: that was all. */
bool ae_page_until(const ae_page *page, uint64_t from,
                   bool (*event)(void *data, const ae_event *event),
                   void (*damage)(void *data, const ae_error *err), void *data);

/* AE_HISTORY_TRIMMED, for who wants to go on behind a position of a namespace
 * where retention removed commits up to a later one (ae_stats.trimmed). */
ae_status ae_page_trimmed(uint64_t trimmed, uint64_t after, ae_error *err);

#endif
