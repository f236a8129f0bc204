#include "node/page.h"

#include "store/replay.h"

void ae_page_each(const ae_page *page, uint64_t from,
                  void (*event)(void *data, const ae_event *event),
                  void (*damage)(void *data, const ae_error *err), void *data) {
  ae_replay replay;
  ae_event one;
  ae_error err = {0};
  ae_status status;
  ae_replay_init(&replay, page, from, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &one, &err)) != AE_NOT_FOUND) {
    if (status == AE_OK)
      event(data, &one);
    else
      damage(data, &err);
  }
  ae_error_clear(&err);
}
