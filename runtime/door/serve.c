#include "door/serve.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "door/terminal.h"

#define DRAIN_S 20 /* where --drain says nothing */
#define DRAIN_LOOK_MS 10

/* -- the end -- */

static void on_node_closed(void *data) {
  (void)data;
}

static void on_http_closed(void *data) {
  ae__serve *serve = data;
  serve->http = NULL;
  ae__nats_close(serve->nats);
  serve->nats = NULL;
  if (serve->options->stopped) serve->options->stopped(serve);
  ae_node_close(serve->node, on_node_closed, NULL);
  serve->node = NULL;
  ae__notify_close(&serve->notify);
  ae__interrupt_end(&serve->interrupt);
}

static unsigned connections(const ae__serve *serve) {
  ae__http_counts counts;
  ae__http_count(serve->http, &counts);
  return counts.connections;
}

static void on_look(uv_timer_t *timer) {
  ae__serve *serve = timer->data;
  unsigned left = connections(serve);
  bool late = ae_clock_mono() - serve->drained >= serve->drain_ns;
  if ((left > 0 || !ae__nats_is_idle(serve->nats)) && !late) return;
  if (left > 0) {
    char count[16];
    snprintf(count, sizeof count, "%u", left);
    ae_log(AE_LOG_WARN, "cutting connections that did not come to an end",
           "connections", count, NULL);
  }
  uv_close((uv_handle_t *)timer, NULL);
  uv_close((uv_handle_t *)&serve->hangup, NULL);
  ae__http_close(serve->http, on_http_closed, serve);
}

void ae__serve_stop(ae__serve *serve) {
  if (serve->stopping) return;
  serve->stopping = true;
  uv_signal_stop(&serve->hangup);
  ae_log(AE_LOG_INFO, "stopping: finishing what is under way", NULL);
  ae__notify_stopping(&serve->notify, "finishing what is under way");
  ae_node_drain(serve->node);
  if (serve->options->stopping) serve->options->stopping(serve);
  ae__http_drain(serve->http);
  ae__nats_drain(serve->nats);
  serve->drained = ae_clock_mono();
  uv_timer_start(&serve->timer, on_look, 0, DRAIN_LOOK_MS);
}

static void on_interrupt(void *data) {
  ae__serve_stop(data);
}

static void on_hangup(uv_signal_t *signal, int number) {
  (void)number;
  ae__serve *serve = signal->data;
  ae_error err = {0};
  if (strncmp(ae__http_url(serve->http), "https:", 6) != 0)
    ae_log(AE_LOG_INFO, "SIGHUP: no certificate is set that could be read",
           NULL);
  else if (ae__http_renew(serve->http, &err) == AE_OK)
    ae_log(AE_LOG_INFO, "the certificate was read again", NULL);
  else
    ae_log(AE_LOG_ERROR, "the old certificate stays", "cause",
           ae_error_text(&err), NULL);
  ae_error_clear(&err);
}

static void listen_for_hangup(ae__serve *serve) {
  uv_signal_init(&serve->loop.uv, &serve->hangup);
  serve->hangup.data = serve;
  int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (terminal >= 0)
    close(terminal);
  else
    uv_signal_start(&serve->hangup, on_hangup, SIGHUP);
}

/* -- the start -- */

static void on_mistake(void *data, ae_str ns, const ae_error *err) {
  (void)ns;
  ae__serve *serve = data;
  serve->mistakes++;
  ae__complain_of(NULL, err->status, err);
}

static ae_status configure(ae__serve *serve, ae_error *err) {
  uint64_t seconds;
  ae_status status =
      ae__args_uint(serve->args, "drain", 0, 86400, DRAIN_S, &seconds, err);
  serve->drain_ns = seconds * 1000000000;
  if (status == AE_OK)
    status = ae__args_config(serve->args, &serve->config, err);
  return status;
}

static ae_status open_node(ae__serve *serve, ae_error *err) {
  const ae_node_options options = {.config = &serve->config,
                                   .modules = true,
                                   .store = true,
                                   .mode = AE_STORE_WRITE,
                                   .named = true,
                                   .strict = serve->options->strict,
                                   .mistake = on_mistake,
                                   .data = serve};
  ae_status status = ae_node_open(&serve->loop, &options, &serve->node, err);
  if (status != AE_OK) return status;
  const ae__http_options http = {.loop = &serve->loop, .node = serve->node};
  status = ae__http_open(&http, &serve->http, err);
  if (status == AE_OK) status = ae__nats_open(serve->node, &serve->nats, err);
  if (status == AE_OK) status = ae_node_start(serve->node, err);
  return status;
}

static void list_namespaces(const ae_config *config, ae_buf *out) {
  for (size_t i = 0; i < config->namespace_count; i++)
    ae_buf_printf(out, "%s%s", i ? ", " : "", config->namespaces[i].name);
}

static void say_stray(void *data, const char *name, const char *nearest) {
  (void)data;
  ae_log(AE_LOG_WARN, "a variable in the environment is no setting", "name",
         name, "nearest", nearest, NULL);
}

static void say_start(const ae__serve *serve) {
  const ae_config *config = &serve->config;
  const char *promise = ae_store_promise(ae_node_store(serve->node));
  ae_buf names = {0};
  char modules[24], pid[24];
  list_namespaces(config, &names);
  snprintf(modules, sizeof modules, "%zu", ae_node_module_count(serve->node));
  snprintf(pid, sizeof pid, "%d", (int)uv_os_getpid());
  ae_log(AE_LOG_INFO, "node started", "node", config->node, "version",
         AE_VERSION, "pid", pid, "url", ae__http_url(serve->http), "store",
         config->store, "commit", promise, "namespaces", ae_buf_cstr(&names),
         "modules", modules, NULL);
  if (strcmp(config->store, "memory") == 0)
    ae_log(AE_LOG_WARN,
           "the memory store: what is stored lives as long as the process",
           NULL);
  ae_config_strays(say_stray, NULL);
  ae_buf_clear(&names);
}

static void start(ae__serve *serve) {
  const char *url = ae__http_url(serve->http);
  ae_buf status = {0};
  ae_node_set_url(serve->node, url);
  uv_timer_init(&serve->loop.uv, &serve->timer);
  serve->timer.data = serve;
  listen_for_hangup(serve);
  ae__interrupt_listen(&serve->interrupt, &serve->loop.uv, on_interrupt, serve);
  ae__notify_open(&serve->notify, &serve->loop.uv);
  say_start(serve);
  printf("Listening on %s\n", url);
  fflush(stdout);
  ae_buf_printf(&status, "listening on %s", url);
  ae__notify_ready(&serve->notify, ae_buf_cstr(&status));
  ae_buf_clear(&status);
  if (serve->options->started) serve->options->started(serve);
}

static void undo_node(void *data) {
  ae__serve *serve = data;
  if (serve->node) ae_node_close(serve->node, on_node_closed, NULL);
}

/* What was opened before something failed. The loop ends with the node: its
 * store may be a connection. */
static void undo(ae__serve *serve) {
  ae__nats_close(serve->nats);
  if (serve->http)
    ae__http_close(serve->http, undo_node, serve);
  else
    undo_node(serve);
  ae_loop_run(&serve->loop);
}

static int refuse(const ae__serve *serve, ae_error *err) {
  if (serve->mistakes == 0) return ae__complain(NULL, err);
  ae__say("not started: %u mistake%s in the modules", serve->mistakes,
          serve->mistakes == 1 ? "" : "s");
  int exit = ae_status_exit(err->status);
  ae_error_clear(err);
  return exit;
}

int ae__serve_run(const ae__args *args, const ae__serve_options *options) {
  ae__serve serve = {.args = args, .options = options};
  ae_error err = {0};
  int exit = 0;
  ae_status status = configure(&serve, &err);
  if (status == AE_OK) status = ae_loop_init(&serve.loop, &err);
  if (status != AE_OK) {
    ae_config_clear(&serve.config);
    return ae__complain(NULL, &err);
  }
  if (open_node(&serve, &err) == AE_OK) {
    start(&serve);
    ae_loop_run(&serve.loop);
    ae_log(AE_LOG_INFO, "stopped", NULL);
  } else {
    exit = refuse(&serve, &err);
    undo(&serve);
  }
  ae_loop_clear(&serve.loop);
  ae_config_clear(&serve.config);
  return exit;
}
