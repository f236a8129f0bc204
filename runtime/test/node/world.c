#include "node/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pack.h"

static const char module[] =
    "local event = require(\"aether.event\")\n"
    "return {\n"
    "  initial = { sum = 0 },\n"
    "  snapshot = { version = 1, every = 1000 },\n"
    "  decide = { add = function(_, add)\n"
    "    return event(\"Added\", { n = add.n })\n"
    "  end },\n"
    "  evolve = { Added = function(state, added)\n"
    "    state.sum = state.sum + added.n\n"
    "  end },\n"
    "}\n";

static const char *const namespaces[] = {"cell", "other"};
enum { NAMESPACES = 2 };

static void path_in(const world *w, const char *name, const char *file,
                    char out[64]) {
  snprintf(out, 64, "%s/%s%s", w->folder, name, file);
}

static void app_make(const world *w) {
  char path[64];
  for (int i = 0; i < NAMESPACES; i++) {
    path_in(w, namespaces[i], "", path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_in(w, namespaces[i], "/counter.lua", path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(module, file) >= 0);
    assert_int_equal(fclose(file), 0);
  }
}

static void app_drop(const world *w) {
  static const char *const files[] = {"events.db", "events.db-wal",
                                      "events.db-shm", "events.db.lock"};
  char path[64];
  for (int i = 0; i < NAMESPACES; i++) {
    path_in(w, namespaces[i], "/counter.lua", path);
    unlink(path);
    path_in(w, namespaces[i], "", path);
    rmdir(path);
  }
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    path_in(w, files[i], "", path);
    unlink(path);
  }
  assert_int_equal(rmdir(w->folder), 0);
}

world *world_new(const char *store) {
  world *w = ae_zalloc(sizeof *w);
  char url[64];
  ae_error err = {0};
  snprintf(w->folder, sizeof w->folder, "/tmp/test_node.XXXXXX");
  assert_non_null(mkdtemp(w->folder));
  app_make(w);
  if (strcmp(store, "sqlite") == 0)
    snprintf(url, sizeof url, "sqlite:%s/events.db", w->folder);
  else
    snprintf(url, sizeof url, "%s", store);
  const ae_config_flag flags[] = {{"store", url}, {0}};
  assert_int_equal(ae_config_load(w->folder, flags, &w->config, &err), AE_OK);
  assert_int_equal(ae_loop_init(&w->loop, &err), AE_OK);
  const ae_node_options options = {.config = &w->config,
                                   .modules = true,
                                   .store = true,
                                   .mode = AE_STORE_WRITE};
  ae_status status = ae_node_open(&w->loop, &options, &w->node, &err);
  if (status != AE_OK) fail_msg("%s", ae_error_text(&err));
  return w;
}

static void on_closed(void *data) {
  *(bool *)data = true;
}

void world_close(world *w) {
  bool closed = false;
  ae_node_close(w->node, on_closed, &closed);
  assert_false(closed);
  w->node = NULL;
  ae_loop_run(&w->loop);
  assert_true(closed);
}

void world_free(world *w) {
  if (w->node) world_close(w);
  ae_loop_clear(&w->loop);
  ae_config_clear(&w->config);
  app_drop(w);
  ae_free(w);
}

int world_tear_down(void **state) {
  world_free(*state);
  return 0;
}

void world_turn(world *w) {
  ae_loop_hold(&w->loop);
  uv_run(&w->loop.uv, UV_RUN_ONCE);
  ae_loop_release(&w->loop);
}

void world_until(world *w, const bool *flag) {
  for (int turn = 0; !*flag; turn++) {
    assert_true(turn < 1000000);
    world_turn(w);
  }
}

typedef struct added {
  ae_status status;
  bool done;
} added;

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  added *a = command->context;
  a->status = outcome->status;
  a->done = true;
}

ae_status world_add(world *w, const char *ns, const char *id, int n) {
  ae_buf data = {0};
  added a = {0};
  ae_pack_map(&data, 1);
  ae_pack_cstr(&data, "n");
  ae_pack_int(&data, n);
  ae_command command = {
      .ref = {ae_str_of(ns), AE_STR("counter"), ae_str_of(id)},
      .name = AE_STR("add"),
      .data = ae_buf_view(&data),
      .cb = on_outcome,
      .context = &a};
  ae_actors_submit(ae_node_actors(w->node), &command);
  world_until(w, &a.done);
  ae_buf_clear(&data);
  return a.status;
}
