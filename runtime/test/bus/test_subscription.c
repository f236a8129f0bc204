/* The queue of a subscription: what it holds, drops, and when it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/log.h"
#include "bus/listener.h"

static void a_full_one_drops_the_new_to_the_event(void **state) {
  (void)state;
  listening l;
  ear reader, sleeper, picky;
  listening_open(&l);
  ear_new(&reader, &l, "b");
  assert_int_equal(ear_open(&sleeper, &l, "b", NULL, NULL, 4, NULL), AE_OK);
  assert_int_equal(ear_open(&picky, &l, "b", "Y", NULL, 3, NULL), AE_OK);
  for (uint64_t i = 0; i < 10; i++) {
    publish(l.bus, "b/t/x", "X Y X", 1 + i * 3, i + 1);
    ear_hears(&reader);
  }
  ear_counts(&reader, 30, 0, 0);
  ear_counts(&sleeper, 0, 26, 4);
  ear_counts(&picky, 0, 7, 3);
  bus_counts(&l, "b", 30, 30, 33, 3);
  /* It kept the oldest, one of them out of the middle of a commit. */
  assert_string_equal(ear_hears(&sleeper),
                      "b/t/x 1 X\nb/t/x 2 Y\nb/t/x 3 X\nb/t/x 4 X\n");
  assert_string_equal(ear_hears(&picky), "b/t/x 2 Y\nb/t/x 5 Y\nb/t/x 8 Y\n");
  publish(l.bus, "b/t/x", "X", 31, 11);
  assert_string_equal(ear_hears(&sleeper), "b/t/x 31 X\n");
  ear_counts(&sleeper, 5, 26, 0);
  ear_counts(&picky, 3, 7, 0);
  bus_counts(&l, "b", 31, 38, 33, 3);
  ear_close(&reader);
  ear_close(&sleeper);
  ear_close(&picky);
  listening_close(&l);
}

static void it_holds_a_hundred_unless_it_says(void **state) {
  (void)state;
  listening l;
  ear e;
  listening_open(&l);
  ear_new(&e, &l, "b");
  for (uint64_t i = 1; i <= 130; i++) publish(l.bus, "b/t/x", "X", i, i);
  ear_counts(&e, 0, 30, AE_BUS_BUFFER);
  ear_close(&e);
  listening_close(&l);
}

static void its_bytes_are_bounded_too(void **state) {
  (void)state;
  enum { BIG = 3 << 20 };
  listening l;
  ear e;
  listening_open(&l);
  ear_new(&e, &l, "b");
  for (uint64_t i = 1; i <= 4; i++)
    publish_sized(l.bus, "b/t/x", "X", i, i, BIG);
  ear_counts(&e, 0, 2, 2);
  publish(l.bus, "b/t/x", "X", 5, 5); /* a short one has room */
  ear_counts(&e, 0, 2, 3);
  assert_string_equal(ear_hears(&e), "b/t/x 1 X\nb/t/x 2 X\nb/t/x 5 X\n");
  /* Alone, one of any length is held. */
  publish_sized(l.bus, "b/t/x", "X", 6, 6, AE_BUS_BYTES);
  publish(l.bus, "b/t/x", "X", 7, 7);
  ear_counts(&e, 3, 3, 1);
  assert_string_equal(ear_hears(&e), "b/t/x 6 X\n");
  ear_close(&e);
  listening_close(&l);
}

static void it_is_told_once_until_it_has_read_all(void **state) {
  (void)state;
  listening l;
  ear e;
  ae_event event;
  listening_open(&l);
  ear_new(&e, &l, "b");
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 0);
  publish(l.bus, "b/t/x", "X", 1, 1);
  publish(l.bus, "b/t/x", "X", 2, 2);
  assert_int_equal(e.wakes, 0); /* not inside publish */
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 1);
  publish(l.bus, "b/t/x", "X", 3, 3);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 1); /* it has not said that it read all */
  for (int i = 0; i < 3; i++)
    assert_true(ae_subscription_next(e.subscription, &event));
  publish(l.bus, "b/t/x", "X", 4, 4);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 1);
  assert_true(ae_subscription_next(e.subscription, &event));
  assert_false(ae_subscription_next(e.subscription, &event));
  publish(l.bus, "b/t/x", "X", 5, 5);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 2);
  ear_hears(&e);
  /* Read before it was told: there is nothing to tell. */
  publish(l.bus, "b/t/x", "X", 6, 6);
  ear_hears(&e);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 2);
  publish(l.bus, "b/t/x", "X", 7, 7);
  ear_hears(&e);
  publish(l.bus, "b/t/x", "X", 8, 8);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 3);
  ear_hears(&e);
  /* Fetched to the last, though nobody said so: the next is told of. */
  publish(l.bus, "b/t/x", "X", 9, 9);
  assert_true(ae_subscription_next(e.subscription, &event));
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 3);
  publish(l.bus, "b/t/x", "X", 10, 10);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 4);
  ear_close(&e);
  listening_close(&l);
}

static void no_wake_comes_after_the_close(void **state) {
  (void)state;
  listening l;
  ear e;
  listening_open(&l);
  ear_new(&e, &l, "b");
  publish(l.bus, "b/t/x", "X", 1, 1);
  ear_close(&e);
  ae_loop_run(&l.loop);
  assert_int_equal(e.wakes, 0);
  publish(l.bus, "b/t/x", "X", 2, 2);
  bus_counts(&l, "b", 2, 0, 0, 0);
  ae_subscription_close(NULL);
  /* The bus may go while a turn's wake is due. */
  ear_new(&e, &l, "b");
  publish(l.bus, "b/t/x", "X", 3, 3);
  ear_close(&e);
  listening_close(&l);
  ae_bus_free(NULL);
}

/* -- what a wake may do -- */

typedef struct pair {
  listening *l;
  ae_subscription *both[2];
  int wakes;
  int rounds;
} pair;

static void close_both(ae_subscription *subscription, void *data) {
  pair *p = data;
  (void)subscription;
  p->wakes++;
  ae_subscription_close(p->both[0]);
  ae_subscription_close(p->both[1]);
}

static void a_wake_may_close_itself_and_others(void **state) {
  (void)state;
  listening l;
  pair p = {.l = &l};
  listening_open(&l);
  ae_subscription_options options = {.pattern = AE_STR("b"),
                                     .grant = &everything,
                                     .wake = close_both,
                                     .data = &p};
  for (int i = 0; i < 2; i++)
    assert_int_equal(ae_bus_subscribe(l.bus, &options, &p.both[i], NULL),
                     AE_OK);
  publish(l.bus, "b/t/x", "X", 1, 1);
  ae_loop_run(&l.loop);
  assert_int_equal(p.wakes, 1);
  bus_counts(&l, "b", 1, 0, 0, 0);
  listening_close(&l);
}

static void publish_again(ae_subscription *subscription, void *data) {
  pair *p = data;
  ae_event event;
  p->wakes++;
  while (ae_subscription_next(subscription, &event)) continue;
  if (--p->rounds > 0) publish(p->l->bus, "b/t/x", "X", 1, 1);
}

static void mark_turn(ae_task *task) {
  (void)task;
}

static void a_wake_that_publishes_does_not_keep_the_turn(void **state) {
  (void)state;
  listening l;
  pair p = {.l = &l, .rounds = 5};
  listening_open(&l);
  ae_subscription_options options = {.pattern = AE_STR("b"),
                                     .grant = &everything,
                                     .wake = publish_again,
                                     .data = &p};
  assert_int_equal(ae_bus_subscribe(l.bus, &options, &p.both[0], NULL), AE_OK);
  publish(l.bus, "b/t/x", "X", 1, 1);
  for (int turn = 1; turn <= 5; turn++) {
    ae_task task = {.run = mark_turn};
    ae_loop_defer(&l.loop, &task);
    uv_run(&l.loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(p.wakes, turn);
  }
  ae_loop_run(&l.loop);
  assert_int_equal(p.wakes, 5);
  ae_subscription_close(p.both[0]);
  listening_close(&l);
}

/* -- against a model that is trivially right -- */

#define ACTORS 4
#define EARS 6
#define HELD_MAX 5

typedef struct expected {
  uint64_t version;
  int actor;
  char type;
} expected;

typedef struct model {
  bool open;
  bool wild;
  char types[4];  /* of events, "" for all */
  int only_actor; /* -1: any */
  size_t buffer;
  expected queue[HELD_MAX];
  size_t held;
  uint64_t delivered, dropped;
  ear ear;
} model;

static bool wants(const model *m, int actor, char type) {
  if (!m->open) return false;
  /* actors 0 and 1 are of namespace b, the others of b.c */
  if (!m->wild && actor > 1) return false;
  if (m->only_actor >= 0 && m->only_actor != actor) return false;
  return !m->types[0] || strchr(m->types, type);
}

static const char *const actors[ACTORS] = {"b/t/0", "b/t/1", "b.c/t/2",
                                           "b.c/u/3"};

static void model_open(model *m, listening *l, unsigned random) {
  static const char *const some[] = {"", "X", "XY", "Z"};
  *m = (model){.open = true,
               .wild = random & 1,
               .only_actor = random & 2 ? (int)(random >> 4) % ACTORS : -1,
               .buffer = 1 + (random >> 8) % HELD_MAX};
  strcpy(m->types, some[(random >> 2) % 4]);
  char types[8] = "";
  for (const char *at = m->types; *at; at++)
    snprintf(types + strlen(types), 4, "%c ", *at);
  assert_int_equal(
      ear_open(&m->ear, l, m->wild ? ">" : "b", types,
               m->only_actor >= 0 ? strchr(actors[m->only_actor], '/') + 1 : "",
               m->buffer, NULL),
      AE_OK);
}

static void model_publish(model *m, int actor, const char *types,
                          uint64_t version) {
  for (; *types; types++, version++) {
    if (!wants(m, actor, *types)) continue;
    if (m->held == m->buffer) {
      m->dropped++;
      continue;
    }
    m->queue[m->held++] = (expected){version, actor, *types};
  }
}

static void model_next(model *m) {
  ae_event event;
  bool got = ae_subscription_next(m->ear.subscription, &event);
  assert_int_equal(got, m->held > 0);
  if (!got) return;
  ae_buf name = {0};
  ae_ref_format(&event.ref, &name);
  assert_string_equal(ae_buf_cstr(&name), actors[m->queue[0].actor]);
  ae_buf_clear(&name);
  assert_int_equal(event.version, m->queue[0].version);
  assert_int_equal(event.type.ptr[0], m->queue[0].type);
  m->delivered++;
  m->held--;
  memmove(m->queue, m->queue + 1, m->held * sizeof *m->queue);
}

static void it_does_what_a_plain_queue_does(void **state) {
  (void)state;
  listening l;
  model models[EARS] = {0};
  uint64_t versions[ACTORS] = {0};
  listening_open(&l);
  srandom(7);
  for (int step = 0; step < 20000; step++) {
    unsigned dice = (unsigned)random();
    model *m = &models[dice % EARS];
    dice /= EARS;
    if (!m->open) {
      model_open(m, &l, dice);
    } else if (dice % 16 == 0) {
      ear_close(&m->ear);
      m->open = false;
    } else if (dice % 16 < 10) {
      model_next(m);
    } else {
      int actor = (int)((dice >> 4) % ACTORS);
      char types[4] = "", spaced[8] = "";
      int count = 1 + (int)((dice >> 8) % 3);
      for (int i = 0; i < count; i++) {
        types[i] = "XYZ"[(dice >> (10 + 2 * i)) % 3];
        snprintf(spaced + 2 * i, 3, "%c ", types[i]);
      }
      types[count] = 0;
      publish(l.bus, actors[actor], spaced, versions[actor] + 1, 1);
      for (int i = 0; i < EARS; i++)
        model_publish(&models[i], actor, types, versions[actor] + 1);
      versions[actor] += (uint64_t)count;
    }
    for (int i = 0; i < EARS; i++)
      if (models[i].open)
        ear_counts(&models[i].ear, models[i].delivered, models[i].dropped,
                   models[i].held);
    if (step % 64 == 0) uv_run(&l.loop.uv, UV_RUN_NOWAIT);
  }
  for (int i = 0; i < EARS; i++)
    if (models[i].open) ear_close(&models[i].ear);
  listening_close(&l);
}

int main(void) {
  ae_log_setup(AE_LOG_ERROR, AE_LOG_JSON);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_full_one_drops_the_new_to_the_event),
      cmocka_unit_test(it_holds_a_hundred_unless_it_says),
      cmocka_unit_test(its_bytes_are_bounded_too),
      cmocka_unit_test(it_is_told_once_until_it_has_read_all),
      cmocka_unit_test(no_wake_comes_after_the_close),
      cmocka_unit_test(a_wake_may_close_itself_and_others),
      cmocka_unit_test(a_wake_that_publishes_does_not_keep_the_turn),
      cmocka_unit_test(it_does_what_a_plain_queue_does),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
