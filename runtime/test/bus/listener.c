#include "bus/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
/* cmocka wants these before it */
#include <cmocka.h>

const ae_grant everything = {
    .name = "test", .rights = AE_RIGHTS_ALL, .all = true};

void listening_open(listening *l) {
  assert_int_equal(ae_loop_init(&l->loop, NULL), AE_OK);
  l->bus = ae_bus_new(&l->loop);
}

void listening_close(listening *l) {
  ae_bus_free(l->bus);
  ae_loop_clear(&l->loop);
}

static void put_event(ae_buf *events, ae_str type, const ae_buf *text) {
  ae_pack_array(events, 4);
  ae_pack_str(events, type);
  ae_pack_uint(events, 1);
  ae_pack_map(events, 1);
  ae_pack_cstr(events, "text");
  ae_pack_str(events, ae_buf_view(text));
  ae_pack_nil(events);
}

/* The next word of `*text`; len 0: none. */
static ae_str word(const char **text) {
  while (**text == ' ') (*text)++;
  const char *from = *text;
  while (**text && **text != ' ') (*text)++;
  return (ae_str){from, (size_t)(*text - from)};
}

void publish_sized(ae_bus *bus, const char *actor, const char *types,
                   uint64_t version, uint64_t position, size_t size) {
  ae_ref ref;
  ae_error err = {0};
  if (ae_ref_parse(ae_str_of(actor), &ref, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
  ae_buf events = {0}, text = {0}, record = {0};
  for (size_t i = 0; i < size; i++) ae_buf_byte(&text, 'x');
  ae_commit_command command = {0};
  for (ae_str type; (type = word(&types)).len; command.events++)
    put_event(&events, type, &text);
  ae_commit commit = {
      .ref = ref, .first_version = version, .time = 1700000000000000};
  ae_commit_encode(&record, &commit, &command, 1, ae_buf_view(&events),
                   command.events);
  ae_bus_publish(bus, &ref, ae_buf_view(&record), command.events, position);
  ae_buf_clear(&events); /* what is held must be a copy */
  ae_buf_clear(&text);
  ae_buf_clear(&record);
}

void publish(ae_bus *bus, const char *actor, const char *types,
             uint64_t version, uint64_t position) {
  publish_sized(bus, actor, types, version, position, 0);
}

static void on_wake(ae_subscription *subscription, void *data) {
  ear *e = data;
  assert_ptr_equal(e->subscription, subscription);
  e->wakes++;
}

ae_status ear_open(ear *e, listening *l, const char *pattern, const char *types,
                   const char *actor, size_t buffer, ae_error *err) {
  ae_str list[16];
  size_t count = 0;
  for (ae_str type; types && (type = word(&types)).len;) list[count++] = type;
  ae_subscription_options options = {.pattern = ae_str_of(pattern),
                                     .types = list,
                                     .type_count = count,
                                     .actor = ae_str_of(actor),
                                     .buffer = buffer,
                                     .grant = &everything,
                                     .wake = on_wake,
                                     .data = e};
  *e = (ear){0};
  return ae_bus_subscribe(l->bus, &options, &e->subscription, err);
}

void ear_new(ear *e, listening *l, const char *pattern) {
  ae_error err = {0};
  if (ear_open(e, l, pattern, NULL, NULL, 0, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
}

void ear_close(ear *e) {
  ae_subscription_close(e->subscription);
  e->subscription = NULL;
}

const char *ear_hears(ear *e) {
  static ae_buf heard;
  ae_buf_reset(&heard);
  ae_event event;
  while (ae_subscription_next(e->subscription, &event)) {
    ae_ref_format(&event.ref, &heard);
    ae_buf_printf(&heard, " %llu %.*s\n", (unsigned long long)event.version,
                  AE_FMT(event.type));
  }
  /* Not left for a leak check to find. */
  static char text[1 << 16];
  assert_true(heard.len < sizeof text);
  memcpy(text, heard.ptr ? heard.ptr : "", heard.len);
  text[heard.len] = 0;
  ae_buf_clear(&heard);
  return text;
}

void ear_counts(const ear *e, uint64_t delivered, uint64_t dropped,
                size_t held) {
  ae_subscription_counts counts;
  ae_subscription_count(e->subscription, &counts);
  assert_int_equal(counts.delivered, delivered);
  assert_int_equal(counts.dropped, dropped);
  assert_int_equal(counts.held, held);
}

void bus_counts(const listening *l, const char *ns, uint64_t published,
                uint64_t delivered, uint64_t dropped, size_t subscriptions) {
  ae_bus_counts counts;
  ae_bus_count(l->bus, ae_str_of(ns), &counts);
  assert_int_equal(counts.published, published);
  assert_int_equal(counts.delivered, delivered);
  assert_int_equal(counts.dropped, dropped);
  assert_int_equal(counts.subscriptions, subscriptions);
  assert_int_equal(ae_bus_listened(l->bus, ae_str_of(ns)), subscriptions > 0);
}
