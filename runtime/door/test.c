/* `aether test`, and `--watch`: a process of its own for each run, so that
 * nothing of one run is left in the next. */
#include <signal.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "door/interrupt.h"
#include "door/subcommand.h"
#include "door/terminal.h"
#include "node/spec.h"
#include "node/watch.h"

#define SHOWN 5 /* changed files that are named */

typedef struct rerun {
  const ae__args *args;
  const char *app;
  ae_loop loop;
  ae_watch *watch;
  ae__interrupt interrupt;
  uv_process_t child;
  bool runs;      /* the child */
  bool stopped;   /* … by a save: it may be one that would never end */
  bool ends;      /* no further run */
  ae_buf changed; /* while it runs; empty: nothing */
  uint64_t began; /* ns, monotonic */
  int exit;
} rerun;

static void on_run_closed(uv_handle_t *handle);

static void end(rerun *r) {
  if (r->ends) return;
  r->ends = true;
  ae_watch_close(r->watch);
  ae__interrupt_end(&r->interrupt);
}

static void on_exit(uv_process_t *child, int64_t status, int signal) {
  rerun *r = AE_CONTAINER(child, rerun, child);
  double seconds = (double)(ae_clock_mono() - r->began) / 1e9;
  uv_close((uv_handle_t *)child, on_run_closed);
  if (r->ends || r->stopped) return;
  if (status > 1 || signal) {
    /* It said why; what is saved next may mend it. */
    ae__say("the specs did not run to their end, after %.2f s", seconds);
  } else {
    ae__say("%s%s%s in %.2f s",
            ae__color(stderr, status == 0 ? AE__GREEN : AE__RED),
            status == 0 ? "passed" : "failed", ae__color(stderr, AE__PLAIN),
            seconds);
  }
  if (r->changed.len == 0) ae__say("waiting for a save; Ctrl-C ends");
}

static void start(rerun *r) {
  const ae__args *args = r->args;
  char **argv = ae_zalloc((size_t)(args->count + 5) * sizeof *argv);
  char name[] = "aether", test[] = "test", c[] = "-C";
  char *app = ae_strdup(r->app);
  int count = 0;
  argv[count++] = name;
  argv[count++] = test;
  argv[count++] = c;
  argv[count++] = app;
  for (int i = 0; i < args->count; i++) argv[count++] = args->rest[i];
  uv_stdio_container_t stdio[3];
  for (int fd = 0; fd < 3; fd++) {
    stdio[fd].flags = UV_INHERIT_FD;
    stdio[fd].data.fd = fd;
  }
  const uv_process_options_t options = {.file = "/proc/self/exe",
                                        .args = argv,
                                        .exit_cb = on_exit,
                                        .stdio = stdio,
                                        .stdio_count = 3};
  fflush(stdout);
  r->began = ae_clock_mono();
  r->runs = true;
  r->stopped = false;
  int failure = uv_spawn(&r->loop.uv, &r->child, &options);
  if (failure) {
    ae__say("the specs cannot be run: %s", uv_strerror(failure));
    r->exit = ae_status_exit(AE_NOT_FOUND);
    uv_close((uv_handle_t *)&r->child, on_run_closed);
    end(r);
  }
  ae_free(app);
  ae_free(argv);
}

static void start_again(rerun *r) {
  if (ae__terminal(stdout)) {
    fputs("\033[H\033[2J\033[3J", stdout);
    fflush(stdout);
  }
  ae__say("changed: %s", ae_buf_cstr(&r->changed));
  ae_buf_reset(&r->changed);
  start(r);
}

static void on_run_closed(uv_handle_t *handle) {
  rerun *r = AE_CONTAINER((uv_process_t *)handle, rerun, child);
  r->runs = false;
  if (!r->ends && r->changed.len > 0) start_again(r);
}

/* A path as it is seen from the app's folder. */
static const char *below(const rerun *r, const char *path) {
  size_t len = strlen(r->app);
  bool inside = strncmp(path, r->app, len) == 0 && path[len] == '/';
  return inside ? path + len + 1 : path;
}

static void on_changed(void *data, const char *const *paths, size_t count) {
  rerun *r = data;
  ae_buf_reset(&r->changed);
  for (size_t i = 0; i < count && i < SHOWN; i++)
    ae_buf_printf(&r->changed, "%s%s", i ? ", " : "", below(r, paths[i]));
  if (count > SHOWN) ae_buf_printf(&r->changed, " and %zu more", count - SHOWN);
  if (!r->runs) {
    start_again(r);
  } else if (!r->stopped && uv_is_active((uv_handle_t *)&r->child)) {
    r->stopped = true;
    uv_process_kill(&r->child, SIGTERM);
  }
}

static void on_interrupt(void *data) {
  rerun *r = data;
  end(r);
  if (r->runs) uv_process_kill(&r->child, SIGTERM);
}

static int run_again_and_again(const ae__args *args) {
  rerun r = {.args = args, .app = args->app ? args->app : "."};
  ae_error err = {0};
  const char *folders[] = {r.app, NULL};
  const ae_watch_options options = {
      .folders = folders, .suffix = ".lua", .changed = on_changed, .data = &r};
  struct stat info;
  if (stat(r.app, &info) != 0 || !S_ISDIR(info.st_mode)) {
    ae_error_set(&err, AE_NOT_FOUND, "there is no folder %s", r.app);
    return ae__complain(args, &err);
  }
  if (ae_loop_init(&r.loop, &err) != AE_OK) return ae__complain(args, &err);
  if (ae_watch_open(&r.loop, &options, &r.watch, &err) == AE_OK) {
    ae__interrupt_listen(&r.interrupt, &r.loop.uv, on_interrupt, &r);
    start(&r);
  } else {
    r.exit = ae__complain(args, &err);
  }
  ae_loop_run(&r.loop);
  ae_loop_clear(&r.loop);
  ae_buf_clear(&r.changed);
  return r.exit;
}

int ae__test_run(const ae__args *args) {
  ae_error err = {0};
  if (ae__args_get(args, "watch")) return run_again_and_again(args);
  int exit =
      ae_spec_run(args->app ? args->app : ".", args->count, args->rest, &err);
  if (err.status != AE_OK) ae__complain(args, &err);
  ae_error_clear(&err);
  return exit;
}
