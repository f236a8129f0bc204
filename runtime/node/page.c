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

ae_status ae_page_trimmed(uint64_t trimmed, uint64_t after, ae_error *err) {
  ae_error_set(err, AE_HISTORY_TRIMMED,
               "retention removed events behind position %llu, up to %llu: "
               "what is left can be had from the start, or from there on with "
               "`after` %llu",
               (unsigned long long)after, (unsigned long long)trimmed,
               (unsigned long long)trimmed);
  ae_error_uint(err, "from", trimmed + 1);
  return AE_HISTORY_TRIMMED;
}
