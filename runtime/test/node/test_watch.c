/* Saves in real folders, as editors make them. */
#include "node/watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define WAIT_MS 20000 /* for what must come; it never takes so long */

typedef struct world {
  ae_loop loop;
  char root[64];
  char folder[80]; /* that is watched */
  ae_watch *watch;
  ae_buf told;    /* paths below `folder`, each with a blank behind */
  unsigned times; /* told */
  bool late;
  bool moves;  /* told that folders are gone and there */
  bool closes; /* the watch, when told */
} world;

static void on_changed(void *data, const char *const *paths, size_t count) {
  world *w = data;
  w->times++;
  for (size_t i = 0; i < count; i++) {
    assert_memory_equal(paths[i], w->folder, strlen(w->folder));
    ae_buf_printf(&w->told, "%s ", paths[i] + strlen(w->folder) + 1);
  }
  if (w->closes) ae_watch_close(w->watch);
  ae_loop_stop(&w->loop);
}

static void on_moved(void *data, const char *folder, bool there) {
  world *w = data;
  assert_string_equal(folder, w->folder);
  ae_buf_printf(&w->told, "%s", there ? "there: " : "gone ");
  ae_loop_stop(&w->loop);
}

static void run(world *w, const char *format, ...) {
  char command[600], line[800];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  snprintf(line, sizeof line, "cd %s && %s", w->root, command);
  assert_int_equal(system(line), 0);
}

static void open_watch(world *w) {
  const char *folders[] = {w->folder, NULL};
  const ae_watch_options options = {.folders = folders,
                                    .suffix = ".lua",
                                    .changed = on_changed,
                                    .moved = w->moves ? on_moved : NULL,
                                    .data = w};
  ae_error err = {0};
  assert_int_equal(ae_watch_open(&w->loop, &options, &w->watch, &err), AE_OK);
}

static int start(void **state) {
  world *w = ae_zalloc(sizeof *w);
  snprintf(w->root, sizeof w->root, "/tmp/aether-watch-XXXXXX");
  assert_non_null(mkdtemp(w->root));
  snprintf(w->folder, sizeof w->folder, "%s/app", w->root);
  assert_int_equal(ae_loop_init(&w->loop, NULL), AE_OK);
  run(w, "mkdir app app/bank && echo 1 > app/bank/account.lua");
  *state = w;
  return 0;
}

static int finish(void **state) {
  world *w = *state;
  if (!w->closes) ae_watch_close(w->watch);
  ae_loop_run(&w->loop);
  ae_loop_clear(&w->loop);
  run(w, "rm -rf -- %s", w->root);
  ae_buf_clear(&w->told);
  ae_free(w);
  return 0;
}

static void on_late(uv_timer_t *timer) {
  world *w = timer->data;
  w->late = true;
  ae_loop_stop(&w->loop);
}

static void timer_closed(uv_handle_t *handle) {
  ae_free(handle);
}

/* Until `wanted` was told, and what was told since the last. */
static void expect(world *w, const char *wanted) {
  uv_timer_t *timer = ae_zalloc(sizeof *timer);
  uv_timer_init(&w->loop.uv, timer);
  timer->data = w;
  uv_timer_start(timer, on_late, WAIT_MS, 0);
  while (!strstr(ae_buf_cstr(&w->told), wanted) && !w->late)
    ae_loop_run(&w->loop);
  uv_close((uv_handle_t *)timer, timer_closed);
  if (w->late)
    fail_msg("waited for %s, was told %s", wanted, ae_buf_cstr(&w->told));
  assert_string_equal(ae_buf_cstr(&w->told), wanted);
  ae_buf_reset(&w->told);
}

static void saves_are_told(void **state) {
  world *w = *state;
  open_watch(w);
  run(w, "echo 2 > app/bank/account.lua");
  expect(w, "bank/account.lua ");
  run(w, "rm app/bank/account.lua");
  expect(w, "bank/account.lua ");
  run(w,
      "touch app/a.txt app/.hidden.lua app/bank/4913 && "
      "echo 3 > app/aether.lua");
  expect(w, "aether.lua ");
}

/* vim: the old one is moved away, a new one is made. Others: a file beside is
 * moved over it. */
static void renames_are_told(void **state) {
  world *w = *state;
  open_watch(w);
  run(w,
      "mv app/bank/account.lua app/bank/account.lua~ && "
      "echo 2 > app/bank/account.lua && rm app/bank/account.lua~");
  expect(w, "bank/account.lua ");
  run(w,
      "echo 3 > app/bank/.account.lua.swx && "
      "mv app/bank/.account.lua.swx app/bank/account.lua");
  expect(w, "bank/account.lua ");
  /* The watch has not stayed with the file that was moved over. */
  run(w, "echo 4 >> app/bank/account.lua");
  expect(w, "bank/account.lua ");
}

static void many_at_once_are_told_together(void **state) {
  world *w = *state;
  open_watch(w);
  run(w,
      "for i in 1 2 3 4 5 6 7 8 9; do echo $i > app/bank/m$i.lua; done && "
      "echo 1 > app/z.lua");
  expect(w,
         "bank/m1.lua bank/m2.lua bank/m3.lua bank/m4.lua bank/m5.lua "
         "bank/m6.lua bank/m7.lua bank/m8.lua bank/m9.lua z.lua ");
  assert_int_equal(w->times, 1);
}

static void folders_come_and_go(void **state) {
  world *w = *state;
  open_watch(w);
  run(w, "mkdir app/shop && echo 1 > app/shop/cart.lua");
  expect(w, "shop/cart.lua ");
  run(w, "echo 2 > app/shop/cart.lua");
  expect(w, "shop/cart.lua ");
  run(w, "mkdir -p new/in && echo 1 > new/in/deep.lua && mv new app/new");
  expect(w, "new/in/deep.lua ");
  run(w, "rm -r app/shop && echo 1 > app/bank/b.lua");
  while (!strstr(ae_buf_cstr(&w->told), "b.lua")) ae_loop_run(&w->loop);
  ae_buf_reset(&w->told);
  /* As a checkout does it: the whole folder is another. */
  run(w, "mkdir other && echo 1 > other/c.lua && mv app old && mv other app");
  expect(w, "c.lua ");
  run(w, "echo 2 > app/c.lua");
  expect(w, "c.lua ");
}

static void a_folder_is_waited_for(void **state) {
  world *w = *state;
  run(w, "mv app later");
  open_watch(w);
  run(w, "mv later app");
  expect(w, "bank/account.lua ");
  run(w, "echo 2 > app/bank/account.lua");
  expect(w, "bank/account.lua ");
}

static void it_can_be_closed_when_told(void **state) {
  world *w = *state;
  w->closes = true;
  open_watch(w);
  run(w, "echo 2 > app/bank/account.lua");
  expect(w, "bank/account.lua ");
}

/* The system does not tell that a folder above moved, nor that another stands
 * in its place. */
static void folders_that_move_are_told(void **state) {
  world *w = *state;
  run(w,
      "mkdir one two && mv app one && ln -s one above && "
      "mkdir -p two/app/bank && echo 3 > two/app/bank/new.lua && "
      "ln -s two next");
  snprintf(w->folder, sizeof w->folder, "%s/above/app", w->root);
  w->moves = true;
  open_watch(w);
  run(w, "mv above away");
  expect(w, "gone ");
  run(w, "echo 2 > one/app/bank/account.lua && mv away above");
  expect(w, "there: bank/account.lua ");
  run(w, "mv -T next above"); /* at once */
  expect(w, "bank/new.lua ");
  run(w, "echo 4 > two/app/bank/new.lua");
  expect(w, "bank/new.lua ");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
  const struct CMUnitTest tests[] = {
      TEST(saves_are_told),
      TEST(renames_are_told),
      TEST(many_at_once_are_told_together),
      TEST(folders_come_and_go),
      TEST(a_folder_is_waited_for),
      TEST(folders_that_move_are_told),
      TEST(it_can_be_closed_when_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
