/* Streams of commands through a real app on a memory store. */
#include "door/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "node/node.h"

static const char *const COUNTER =
    "local event = require('aether.event')\n"
    "local counter = { initial = { n = 0 } }\n"
    "counter.decide = {\n"
    "  add = function(_, add) return event('Added', { n = add.n }) end,\n"
    "  stuff = function(_, stuff)\n"
    "    return event('Added', { n = 1, text = ('x'):rep(stuff.size) })\n"
    "  end }\n"
    "counter.evolve = { Added = function(state, added)\n"
    "  state.n = state.n + added.n end }\n"
    "return counter\n";

typedef struct app {
  char folder[32];
  ae_config config;
  ae_loop loop;
  ae_node *node;
  ae_buf out;
  unsigned answered;
} app;

static void path_in(const app *a, const char *name, char path[64]) {
  snprintf(path, 64, "%s/%s", a->folder, name);
}

static int open_app(void **state) {
  app *a = ae_zalloc(sizeof *a);
  char path[64];
  strcpy(a->folder, "/tmp/test_stream.XXXXXX");
  if (!mkdtemp(a->folder)) return -1;
  path_in(a, "cell", path);
  mkdir(path, 0777);
  path_in(a, "cell/counter.lua", path);
  FILE *file = fopen(path, "w");
  fputs(COUNTER, file);
  fclose(file);
  const ae_config_flag flags[] = {{"store", "memory"}, {0}};
  if (ae_config_load(a->folder, flags, &a->config, NULL) != AE_OK) return -1;
  if (ae_loop_init(&a->loop, NULL) != AE_OK) return -1;
  const ae_node_options options = {
      .config = &a->config, .modules = true, .store = true};
  if (ae_node_open(&a->loop, &options, &a->node, NULL) != AE_OK) return -1;
  *state = a;
  return 0;
}

static void closed(void *data) {
  (void)data;
}

static int close_app(void **state) {
  app *a = *state;
  char path[64];
  ae_node_close(a->node, closed, NULL);
  ae_loop_run(&a->loop);
  ae_loop_clear(&a->loop);
  ae_config_clear(&a->config);
  ae_buf_clear(&a->out);
  path_in(a, "cell/counter.lua", path);
  unlink(path);
  path_in(a, "cell", path);
  rmdir(path);
  rmdir(a->folder);
  ae_free(a);
  return 0;
}

static ae_buf *out_of(void *data) {
  return &((app *)data)->out;
}

static void on_answered(void *data) {
  ((app *)data)->answered++;
}

static ae__stream_options options_of(app *a, size_t limit) {
  return (ae__stream_options){.actors = ae_node_actors(a->node),
                              .limit = limit,
                              .held = 1u << 20,
                              .out = out_of,
                              .answered = on_answered,
                              .data = a};
}

static void take(ae__stream *stream, uint64_t number, const char *line) {
  ae__stream_take(stream, number, ae_str_of(line));
}

#define ADD(id) \
  "{\"actor\":\"cell/counter/" id "\",\"command\":\"add\",\"data\":{\"n\":1}}"

static void assert_lines_in_order(ae_buf *out, unsigned count) {
  const char *at = ae_buf_cstr(out);
  for (unsigned number = 1; number <= count; number++) {
    char start[32];
    snprintf(start, sizeof start, "{\"line\":%u,", number);
    assert_memory_equal(at, start, strlen(start));
    at = strchr(at, '\n') + 1;
  }
  assert_int_equal(*at, 0);
}

static void keeps_the_order_of_lines(void **state) {
  app *a = *state;
  ae__stream_options options = options_of(a, 8);
  ae__stream *stream = ae__stream_new(&options);
  unsigned number = 0;
  while (number < 500) {
    while (number < 500 && ae__stream_has_room(stream)) {
      number++;
      if (number % 5 == 0)
        take(stream, number, "nonsense");
      else
        take(stream, number, number % 2 ? ADD("a") : ADD("b"));
    }
    ae_loop_run(&a->loop);
  }
  assert_true(ae__stream_is_idle(stream));
  assert_lines_in_order(&a->out, 500);
  const ae__stream_counts *counts = ae__stream_count(stream);
  assert_int_equal(counts->lines, 500);
  assert_int_equal(counts->out, 500);
  assert_int_equal(counts->by[AE__ACCEPTED], 400);
  assert_int_equal(counts->by[AE__FAILED], 100);
  assert_int_equal(counts->events, 400);
  assert_int_equal(a->answered, 400);
  ae__stream_free(stream);
}

static void has_no_more_in_flight_than_told(void **state) {
  app *a = *state;
  ae__stream_options options = options_of(a, 3);
  ae__stream *stream = ae__stream_new(&options);
  for (unsigned number = 1; number <= 3; number++) {
    assert_true(ae__stream_has_room(stream));
    take(stream, number, ADD("a"));
  }
  assert_false(ae__stream_has_room(stream));
  ae_loop_run(&a->loop);
  assert_true(ae__stream_has_room(stream));
  ae__stream_free(stream);
}

/* Where others have used it up, a stream still goes on with a line at a time.
 */
static void shares_a_budget(void **state) {
  app *a = *state;
  ae__stream_budget budget = {.limit = 4, .held = 1u << 20};
  ae__stream_options options = options_of(a, 100);
  options.budget = &budget;
  ae__stream *greedy = ae__stream_new(&options);
  ae__stream *modest = ae__stream_new(&options);
  unsigned taken = 0;
  while (ae__stream_has_room(greedy)) take(greedy, ++taken, ADD("a"));
  assert_int_equal(taken, 4);
  assert_true(ae__stream_has_room(modest));
  take(modest, 1, ADD("b"));
  assert_false(ae__stream_has_room(modest));
  ae_loop_run(&a->loop);
  assert_true(ae__stream_is_idle(greedy) && ae__stream_is_idle(modest));
  assert_int_equal(budget.in_flight, 0);
  assert_int_equal(budget.in_use, 0);
  ae__stream_free(greedy);
  ae__stream_free(modest);
}

/* What outcomes bring is not known before; what the last ones brought is. */
static void expects_outcomes_like_those_of_late(void **state) {
  app *a = *state;
  ae__stream_options options = options_of(a, 100);
  ae__stream *stream = ae__stream_new(&options);
  const char *line =
      "{\"actor\":\"cell/counter/a\",\"command\":\"stuff\","
      "\"data\":{\"size\":300000}}";
  take(stream, 1, line);
  ae_loop_run(&a->loop);
  assert_true(a->out.len > 300000);
  unsigned taken = 0;
  while (ae__stream_has_room(stream)) take(stream, 2 + taken++, line);
  assert_int_equal(taken, 3);
  ae_loop_run(&a->loop);
  ae__stream_free(stream);
}

/* One that nobody wants any more ends alone, and gives back what it held. */
static void is_forgotten_in_flight(void **state) {
  app *a = *state;
  ae__stream_budget budget = {.limit = 100, .held = 1u << 20};
  ae__stream_options options = options_of(a, 100);
  options.budget = &budget;
  ae__stream *stream = ae__stream_new(&options);
  take(stream, 1, ADD("a"));
  take(stream, 2, "nonsense");
  take(stream, 3, ADD("b"));
  ae__stream_free(stream);
  ae_loop_run(&a->loop);
  assert_int_equal(a->answered, 0);
  assert_int_equal(a->out.len, 0);
  assert_int_equal(budget.in_flight, 0);
  assert_int_equal(budget.in_use, 0);
  options.budget = NULL;
  stream = ae__stream_new(&options);
  take(stream, 1, ADD("a"));
  ae_loop_run(&a->loop);
  assert_non_null(strstr(ae_buf_cstr(&a->out), "\"version\":2,"));
  ae__stream_free(stream);
}

static ae_status nothing_of_b(void *data, const ae_command *command,
                              ae_error *err) {
  (void)data;
  if (!ae_str_eq(command->ref.id, AE_STR("b"))) return AE_OK;
  return ae_error_set(err, AE_FORBIDDEN, "not b");
}

static void checks_before_it_submits(void **state) {
  app *a = *state;
  ae__stream_options options = options_of(a, 100);
  options.check = nothing_of_b;
  ae__stream *stream = ae__stream_new(&options);
  take(stream, 1, ADD("b"));
  take(stream, 2, ADD("a"));
  ae_loop_run(&a->loop);
  assert_lines_in_order(&a->out, 2);
  const char *text = ae_buf_cstr(&a->out);
  assert_non_null(strstr(text,
                         "\"status\":\"failed\",\"error\":{\"code\":"
                         "\"forbidden\",\"message\":\"not b\"}}\n"));
  assert_int_equal(ae__stream_count(stream)->by[AE__ACCEPTED], 1);
  ae__stream_free(stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_app, close_app)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(keeps_the_order_of_lines), TEST(has_no_more_in_flight_than_told),
      TEST(shares_a_budget),          TEST(expects_outcomes_like_those_of_late),
      TEST(is_forgotten_in_flight),   TEST(checks_before_it_submits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
