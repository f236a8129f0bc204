/* `aether dev`: a node for the one who writes the app. It prints each command
 * with what became of it, and catches a decide that changes its state. */
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/answer.h"
#include "door/findings.h"
#include "door/serve.h"
#include "door/terminal.h"
#include "node/watch.h"

#define DATA_MAX \
  1000 /* bytes of a command's or an event's data that are shown */

typedef struct dev {
  uv_prepare_t prepare; /* prints before the loop waits */
  ae_buf out;
  bool broken; /* nobody reads stdout any more */
  ae__serve *serve;
  ae_watch *watch; /* NULL: saves are not seen */
  bool *saved;     /* by namespace: since its reload began */
  bool *reloading; /* it is being reloaded */
  bool *gone;      /* its folder is not there */
  ae_reload reload;
  bool busy; /* it is under way */
} dev;

/* -- what is printed -- */

/* Names come from outside: what would move the cursor does not. */
static void add_clean(ae_buf *out, ae_str text) {
  for (size_t i = 0; i < text.len; i++) {
    bool control = (unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f;
    ae_buf_byte(out, control ? '?' : (uint8_t)text.ptr[i]);
  }
}

static void add_data(ae_buf *out, ae_str packed) {
  size_t before = out->len;
  ae_json_write(packed, out);
  size_t len = out->len - before;
  if (len <= DATA_MAX) return;
  out->len = before + DATA_MAX;
  while (out->len > before && ((uint8_t)out->ptr[out->len] & 0xc0) == 0x80)
    out->len--; /* not inside a character */
  ae_buf_printf(out, "… (%zu bytes)", len);
}

static void add_time(ae_buf *out) {
  int64_t now = ae_clock_now();
  time_t seconds = (time_t)(now / 1000000);
  struct tm local;
  localtime_r(&seconds, &local);
  ae_buf_printf(out, "%s%02d:%02d:%02d.%03d%s ", ae__color(stdout, AE__DIM),
                local.tm_hour, local.tm_min, local.tm_sec,
                (int)(now / 1000 % 1000), ae__color(stdout, AE__PLAIN));
}

static void add_command(ae_buf *out, const ae_command *command) {
  ae_buf name = {0};
  ae_ref_format(&command->ref, &name);
  add_clean(out, ae_buf_view(&name));
  ae_buf_clear(&name);
  ae_buf_printf(out, " %s", ae__color(stdout, AE__BOLD));
  add_clean(out, command->name);
  ae_buf_printf(out, "%s ", ae__color(stdout, AE__PLAIN));
  add_data(out, command->data);
}

static void add_verdict(ae_buf *out, const ae_outcome *outcome) {
  static const ae__ink inks[] = {[AE__ACCEPTED] = AE__GREEN,
                                 [AE__REJECTED] = AE__YELLOW,
                                 [AE__CONFLICT] = AE__YELLOW,
                                 [AE__FAILED] = AE__RED};
  ae__verdict verdict = ae__verdict_of(outcome->status);
  ae_buf_printf(out, " %s%s%s", ae__color(stdout, inks[verdict]),
                ae__verdict_word(verdict), ae__color(stdout, AE__PLAIN));
  if (verdict == AE__ACCEPTED)
    ae_buf_printf(out, " v%llu", (unsigned long long)outcome->version);
  if (outcome->repeated) ae_buf_printf(out, " (repeated)");
}

/* Of a rejection the reason and its details, of others the message. */
static void add_error(ae_buf *out, const ae_error *err) {
  ae_buf packed = {0};
  ae_str details;
  ae_error_render(err, &packed);
  ae_buf_byte(out, ' ');
  if (err->status != AE_REJECTED)
    ae_buf_printf(out, "%s: ", ae_status_word(err->status));
  add_clean(out, ae_buf_view(&err->message));
  if (ae_unpack_field(ae_buf_view(&packed), "details", &details)) {
    ae_buf_byte(out, ' ');
    add_data(out, details);
  }
  ae_buf_clear(&packed);
}

static void add_events(ae_buf *out, ae_outcome *outcome) {
  ae_event event;
  while (ae_outcome_event(outcome, &event)) {
    ae_buf_printf(out, "             v%llu %s",
                  (unsigned long long)event.version,
                  ae__color(stdout, AE__BOLD));
    add_clean(out, event.type);
    ae_buf_printf(out, "%s ", ae__color(stdout, AE__PLAIN));
    add_data(out, event.data);
    ae_buf_byte(out, '\n');
  }
}

static void on_outcome(void *data, const ae_command *command,
                       ae_outcome *outcome) {
  ae__serve *serve = data;
  dev *d = serve->options->data;
  if (d->broken) return;
  add_time(&d->out);
  add_command(&d->out, command);
  add_verdict(&d->out, outcome);
  if (outcome->error) add_error(&d->out, outcome->error);
  ae_buf_byte(&d->out, '\n');
  add_events(&d->out, outcome);
}

static void print(dev *d) {
  if (d->out.len > 0 && !d->broken)
    d->broken = !ae__write_out(d->out.ptr, d->out.len);
  ae_buf_reset(&d->out);
}

static void on_prepare(uv_prepare_t *prepare) {
  ae__serve *serve = prepare->data;
  dev *d = serve->options->data;
  print(d);
  if (d->broken) ae__serve_stop(serve);
}

/* -- beside the node: what begins with it and ends before it -- */

/* -- saves -- */

static bool is_saved(void *data, ae_str ns) {
  const dev *d = data;
  const ae_config *config = &d->serve->config;
  for (size_t i = 0; i < config->namespace_count; i++)
    if (ae_str_eq(ae_str_of(config->namespaces[i].name), ns))
      return d->reloading[i];
  return false;
}

static void say(const ae_buf *text) {
  for (const char *at = text->ptr, *end = at + text->len; at < end;) {
    const char *line = memchr(at, '\n', (size_t)(end - at));
    ae__say("%.*s", (int)(line - at), at);
    at = line + 1;
  }
}

static void say_found(void *data, const ae_reload_finding *finding) {
  ae_buf packed = {0}, text = {0};
  (void)data;
  ae__finding_pack(finding, &packed);
  ae__finding_text(ae_buf_view(&packed), &text);
  say(&text);
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

static void say_reloaded(void *data, const ae_reloaded *one) {
  (void)data;
  if (strcmp(one->was, one->revision) == 0)
    ae__say("%.*s: as before", AE_FMT(one->ns));
  else if (one->actors == 0)
    ae__say("%.*s: reloaded", AE_FMT(one->ns));
  else
    ae__say("%.*s: reloaded; %u actors replayed", AE_FMT(one->ns), one->actors);
}

static void reload(dev *d);

static void on_done(ae_reload *done, ae_status status, const ae_error *err) {
  dev *d = done->data;
  (void)err; /* it was among what was found */
  d->busy = false;
  if (status == AE_CANCELED) return;
  if (status != AE_OK)
    ae__say("%snot reloaded%s: the old code goes on",
            ae__color(stderr, AE__RED), ae__color(stderr, AE__PLAIN));
  reload(d);
}

static void reload(dev *d) {
  bool any = false;
  for (size_t i = 0; i < d->serve->config.namespace_count; i++) {
    any |= d->reloading[i] = d->saved[i];
    d->saved[i] = false;
  }
  if (!any) return;
  print(d); /* what was before stands before */
  d->reload = (ae_reload){.wanted = is_saved,
                          .quiet = true,
                          .found = say_found,
                          .each = say_reloaded,
                          .done = on_done,
                          .data = d};
  ae_error err = {0};
  d->busy = ae_node_reload(d->serve->node, &d->reload, &err) == AE_OK;
  if (!d->busy) ae__complain_of(NULL, err.status, &err);
  ae_error_clear(&err);
}

static void on_moved(void *data, const char *folder, bool there) {
  dev *d = data;
  const ae_config *config = &d->serve->config;
  for (size_t i = 0; i < config->namespace_count; i++)
    if (strcmp(config->namespaces[i].folder, folder) == 0) d->gone[i] = !there;
  print(d);
  if (there)
    ae__say("%s is there again", folder);
  else
    ae__say(
        "%s%s is not there any more%s: the old code goes on until it is "
        "back",
        ae__color(stderr, AE__RED), folder, ae__color(stderr, AE__PLAIN));
}

/* What is saved while another save is being judged waits for its turn. */
static void on_saved(void *data, const char *const *paths, size_t count) {
  dev *d = data;
  const ae_config *config = &d->serve->config;
  for (size_t i = 0; i < config->namespace_count; i++) {
    const char *folder = config->namespaces[i].folder;
    size_t len = strlen(folder);
    if (d->gone[i]) continue;
    for (size_t k = 0; k < count; k++)
      if (strncmp(paths[k], folder, len) == 0 && paths[k][len] == '/' &&
          !strchr(paths[k] + len + 1, '/'))
        d->saved[i] = true;
  }
  if (!d->busy) reload(d);
}

static void watch(ae__serve *serve) {
  dev *d = serve->options->data;
  const ae_config *config = &serve->config;
  d->saved = ae_zalloc(config->namespace_count);
  d->reloading = ae_zalloc(config->namespace_count);
  d->gone = ae_zalloc(config->namespace_count);
  const char **folders =
      ae_zalloc((config->namespace_count + 1) * sizeof *folders);
  for (size_t i = 0; i < config->namespace_count; i++)
    folders[i] = config->namespaces[i].folder;
  const ae_watch_options options = {.folders = folders,
                                    .suffix = ".lua",
                                    .changed = on_saved,
                                    .moved = on_moved,
                                    .data = d};
  ae_error err = {0};
  if (ae_watch_open(&serve->loop, &options, &d->watch, &err) != AE_OK)
    ae__say("saves are not seen: %s", ae_error_text(&err));
  ae_error_clear(&err);
  ae_free(folders);
}

static void on_started(ae__serve *serve) {
  dev *d = serve->options->data;
  d->serve = serve;
  watch(serve);
  uv_prepare_init(&serve->loop.uv, &d->prepare);
  d->prepare.data = serve;
  uv_prepare_start(&d->prepare, on_prepare);
  uv_unref((uv_handle_t *)&d->prepare);
  ae_actors_observe(ae_node_actors(serve->node), on_outcome, serve);
}

static void on_stopped(ae__serve *serve) {
  dev *d = serve->options->data;
  ae_actors_observe(ae_node_actors(serve->node), NULL, NULL);
  ae_watch_close(d->watch);
  uv_close((uv_handle_t *)&d->prepare, NULL);
  print(d);
}

int ae__dev_run(const ae__args *args) {
  dev d = {0};
  const ae__serve_options options = {
      .strict = true, .started = on_started, .stopped = on_stopped, .data = &d};
  int exit = ae__serve_run(args, &options);
  ae_buf_clear(&d.out);
  ae_free(d.saved);
  ae_free(d.reloading);
  ae_free(d.gone);
  return exit;
}
