/* What a service manager is told, over real sockets. */
#include "door/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"

typedef struct world {
  uv_loop_t loop;
  ae__notify notify;
  int fd; /* the manager's end */
  struct sockaddr_un at;
  char name[64]; /* as in NOTIFY_SOCKET */
  char text[256];
  unsigned long errors;
} world;

/* `name`: a path, or @ and a name of Linux's own. */
static void listen_at(world *w, const char *name) {
  size_t len = strlen(name);
  w->at = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(w->at.sun_path, name, len);
  if (name[0] == '@') w->at.sun_path[0] = 0;
  w->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  assert_true(w->fd >= 0);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
  assert_int_equal(bind(w->fd, (struct sockaddr *)&w->at, size), 0);
  snprintf(w->name, sizeof w->name, "%s", name);
  setenv("NOTIFY_SOCKET", name, 1);
}

static int set_up(void **state) {
  world *w = ae_zalloc(sizeof *w);
  w->fd = -1;
  w->errors = ae_log_errors();
  assert_int_equal(uv_loop_init(&w->loop), 0);
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
  *state = w;
  return 0;
}

static int tear_down(void **state) {
  world *w = *state;
  ae__notify_close(&w->notify);
  uv_run(&w->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->loop), 0);
  if (w->fd >= 0) close(w->fd);
  if (w->name[0] == '/') unlink(w->name);
  assert_int_equal(ae_log_errors(), w->errors);
  ae_free(w);
  return 0;
}

/* The next datagram; "" for none that waits. */
static const char *next(world *w) {
  ssize_t got = recv(w->fd, w->text, sizeof w->text - 1, MSG_DONTWAIT);
  w->text[got > 0 ? got : 0] = 0;
  return w->text;
}

static void ready_and_stopping(world *w) {
  ae__notify_open(&w->notify, &w->loop);
  assert_null(getenv("NOTIFY_SOCKET"));
  assert_string_equal(next(w), "");
  ae__notify_ready(&w->notify, "listening on http://127.0.0.1:1");
  assert_string_equal(next(w),
                      "READY=1\nSTATUS=listening on http://127.0.0.1:1\n");
  ae__notify_stopping(&w->notify, "bye");
  assert_string_equal(next(w), "STOPPING=1\nSTATUS=bye\n");
}

static void at_a_path(void **state) {
  char path[64];
  snprintf(path, sizeof path, "/tmp/test_notify.%d", (int)getpid());
  listen_at(*state, path);
  ready_and_stopping(*state);
}

static void at_a_name_of_linux(void **state) {
  char name[64];
  snprintf(name, sizeof name, "@test_notify.%d", (int)getpid());
  listen_at(*state, name);
  ready_and_stopping(*state);
}

static void pings_come_from_the_loop(void **state) {
  world *w = *state;
  char pid[24];
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  setenv("WATCHDOG_USEC", "2000", 1);
  setenv("WATCHDOG_PID", pid, 1);
  at_a_path(state);
  assert_null(getenv("WATCHDOG_USEC"));
  /* None while the loop does not turn, however late it is. */
  usleep(10000);
  assert_string_equal(next(w), "");
  uv_ref((uv_handle_t *)&w->notify.timer);
  for (int pings = 0; pings < 5; pings++) {
    while (next(w)[0] == 0) uv_run(&w->loop, UV_RUN_ONCE);
    assert_string_equal(w->text, "WATCHDOG=1\n");
  }
}

/* Meant for another process, or for nobody. */
static void no_pings(void **state) {
  world *w = *state;
  static const char *const pairs[][2] = {
      {"2000", "1"}, {"0", NULL}, {"soon", NULL}, {"2000", "me"}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    setenv("WATCHDOG_USEC", pairs[i][0], 1);
    if (pairs[i][1]) setenv("WATCHDOG_PID", pairs[i][1], 1);
    setenv("NOTIFY_SOCKET", "/tmp/nobody-listens-here", 1);
    ae__notify_open(&w->notify, &w->loop);
    assert_int_equal(w->notify.ping_ms, 0);
    ae__notify_close(&w->notify);
    uv_run(&w->loop, UV_RUN_DEFAULT);
  }
  ae__notify_open(&w->notify, &w->loop);
}

/* Nobody asked, or nobody is there: the node goes on. */
static void nobody_to_tell(void **state) {
  world *w = *state;
  static const char *const names[] = {
      NULL, "", "relative", "@", "/", "vsock:2:1234", "/tmp/nobody-is-here"};
  char longer[300];
  memset(longer, 'x', sizeof longer - 1);
  longer[0] = '/';
  longer[sizeof longer - 1] = 0;
  for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
    bool last = i == sizeof names / sizeof *names;
    const char *name = last ? longer : names[i];
    if (name)
      setenv("NOTIFY_SOCKET", name, 1);
    else
      unsetenv("NOTIFY_SOCKET");
    ae__notify_open(&w->notify, &w->loop);
    ae__notify_ready(&w->notify, "here");
    ae__notify_stopping(&w->notify, "bye");
    assert_int_equal(w->notify.failed, name && name[0]);
    ae__notify_close(&w->notify);
    uv_run(&w->loop, UV_RUN_DEFAULT);
  }
  ae__notify_open(&w->notify, &w->loop);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(at_a_path), TEST(at_a_name_of_linux), TEST(pings_come_from_the_loop),
      TEST(no_pings),  TEST(nobody_to_tell),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
