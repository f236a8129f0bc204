#include "node/page.h"

#include "store/replay.h"

bool ae_page_until(const ae_page *page, uint64_t from,
                   bool (*event)(void *data, const ae_event *event),
                   void (*damage)(void *data, const ae_error *err),
                   void *data) {
  ae_replay replay;
  ae_event one;
  ae_error err = {0};
  ae_status status;
  bool more = true;
  ae_replay_init(&replay, page, from, UINT64_MAX);
  while (more &&
         (status = ae_replay_next(&replay, &one, &err)) != AE_NOT_FOUND) {
    if (status == AE_OK)
      more = event(data, &one);
    else
      damage(data, &err);
  }
  ae_error_clear(&err);
  return more;
}

typedef struct each {
  void (*event)(void *data, const ae_event *event);
  void (*damage)(void *data, const ae_error *err);
  void *data;
} each;

static bool pass_event(void *data, const ae_event *event) {
  const each *to = data;
  to->event(to->data, event);
  return true;
}

static void pass_damage(void *data, const ae_error *err) {
  const each *to = data;
  to->damage(to->data, err);
}

void ae_page_each(const ae_page *page, uint64_t from,
                  void (*event)(void *data, const ae_event *event),
                  void (*damage)(void *data, const ae_error *err), void *data) {
  each to = {event, damage, data};
  ae_page_until(page, from, pass_event, pass_damage, &to);
}
