#include "door/http/http.h"

#include <time.h>

#include "base/mem.h"
#include "door/http/server.h"
#include "door/http/tls.h"

const ae__http_limits ae__http_defaults = {.header = 16384,
                                           .body = 8u << 20,
                                           .line = 8u << 20,
                                           .connections = 4096,
                                           .header_ms = 10000,
                                           .body_ms = 60000,
                                           .idle_ms = 75000,
                                           .send_ms = 30000,
                                           .bodies = 256u << 20};

#define TICK_MS 500

static void fill_limits(ae__http *http, const ae__http_limits *given) {
  ae__http_limits *limits = &http->limits;
  *limits = *given;
#define DEFAULT(member) \
  if (limits->member == 0) limits->member = ae__http_defaults.member
  DEFAULT(header);
  DEFAULT(body);
  DEFAULT(line);
  DEFAULT(connections);
  DEFAULT(header_ms);
  DEFAULT(body_ms);
  DEFAULT(idle_ms);
  DEFAULT(send_ms);
  DEFAULT(bodies);
#undef DEFAULT
  unsigned least = TICK_MS * 4;
  const unsigned waits[] = {limits->header_ms, limits->body_ms, limits->idle_ms,
                            limits->send_ms};
  for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
    if (waits[i] < least) least = waits[i];
  http->tick_ms = least / 4 + 1;
}

static void run_turn(ae_task *task) {
  ae__http *http = AE_CONTAINER(task, ae__http, turn);
  http->turning = false;
  ae__connection_run(http);
  ae__http_let_go(http);
}

void ae__http_init(ae__http *http, const ae__http_options *options) {
  memset(http, 0, sizeof *http);
  http->loop = options->loop;
  http->node = options->node;
  http->routes = options->routes ? options->routes : ae__routes_all;
  fill_limits(http, &options->limits);
  ae_list_init(&http->connections);
  ae_list_init(&http->marks);
  ae_list_init(&http->spares);
  ae__deadline_init(http);
  ae__tally_init(http);
  http->turn.run = run_turn;
  http->read_bytes = ae_alloc(AE__READ_BYTES);
}

void ae__http_clear(ae__http *http) {
  AE_ASSERT(ae_list_empty(&http->connections));
  for (ae_list *link; (link = ae_list_shift(&http->spares));) {
    ae__request *r = AE_CONTAINER(link, ae__request, link);
    ae__request_clear(r);
    ae_free(r);
  }
  ae__auth_free(http->auth);
  ae__tls_free(http->tls);
  ae_buf_clear(&http->nowhere);
  ae_free(http->read_bytes);
  ae_free(http->tally);
  ae_free(http->url);
}

void ae__http_date(ae__http *http) {
  time_t now = time(NULL);
  if (now == http->date_at) return;
  static const char days[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  struct tm utc;
  gmtime_r(&now, &utc);
  /* Not strftime's names: those follow the locale. */
  snprintf(http->date, sizeof http->date,
           "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * utc.tm_wday,
           utc.tm_mday, months + 3 * utc.tm_mon, utc.tm_year + 1900,
           utc.tm_hour, utc.tm_min, utc.tm_sec);
  http->date_at = now;
}

/* -- opening -- */

/* What the settings say, where the options say nothing. */
static void read_limits(const ae_config *config, ae__http_limits *limits) {
  const struct {
    const char *key;
    unsigned unit;
    size_t *size;
    unsigned *number;
  } settings[] = {{"http.connections", 1, NULL, &limits->connections},
                  {"http.header_kb", 1u << 10, &limits->header, NULL},
                  {"http.body_mb", 1u << 20, &limits->body, NULL},
                  {"http.line_mb", 1u << 20, &limits->line, NULL},
                  {"http.header_s", 1000, NULL, &limits->header_ms},
                  {"http.body_s", 1000, NULL, &limits->body_ms},
                  {"http.idle_s", 1000, NULL, &limits->idle_ms},
                  {"http.send_s", 1000, NULL, &limits->send_ms}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    uint64_t value = ae_config_uint(config, settings[i].key) * settings[i].unit;
    if (settings[i].size && *settings[i].size == 0)
      *settings[i].size = (size_t)value;
    if (settings[i].number && *settings[i].number == 0)
      *settings[i].number = (unsigned)value;
  }
}

static ae_status open_tls(const ae_config *config, ae__tls_shared **out,
                          ae_error *err) {
  char *certificate = ae_config_text(config, "tls.certificate");
  char *key = ae_config_text(config, "tls.key");
  char *ca = ae_config_text(config, "tls.ca");
  ae_status status = AE_OK;
  if (certificate && key)
    status = ae__tls_new(certificate, key, ca, out, err);
  else if (certificate || key || ca)
    status = ae_error_set(err, AE_USAGE,
                          "tls needs a certificate and its key, and has no "
                          "%s; set tls = { certificate = \"FILE\", key = "
                          "\"FILE\" }",
                          certificate ? "key" : "certificate");
  ae_free(certificate);
  ae_free(key);
  ae_free(ca);
  return status;
}

static ae_status open_all(ae__http *http, const ae_config *config,
                          const char *listen, ae_error *err) {
  struct sockaddr_storage address;
  const struct sockaddr *generic = (const struct sockaddr *)&address;
  ae_status status = ae__tcp_resolve(listen, &address, err);
  if (status == AE_OK)
    status = ae__auth_new(config, ae__auth_loopback(generic), &http->auth, err);
  if (status == AE_OK) status = open_tls(config, &http->tls, err);
  if (status == AE_OK) status = ae__tcp_listen(http, listen, &address, err);
  if (status == AE_OK && !http->tls && !ae__auth_loopback(generic))
    ae_log(AE_LOG_WARN,
           "tokens and data cross the network unencrypted; set tls, or put a "
           "proxy that does it in front",
           "listen", listen, NULL);
  return status;
}

ae_status ae__http_open(const ae__http_options *options, ae__http **out,
                        ae_error *err) {
  const ae_config *config = ae_node_config(options->node);
  ae__http_options all = *options;
  read_limits(config, &all.limits);
  ae__http *http = ae_alloc(sizeof *http);
  ae__http_init(http, &all);
  ae_status status = open_all(http, config, config->listen, err);
  *out = http;
  if (status == AE_OK) return AE_OK;
  *out = NULL;
  ae__http_close(http, NULL, NULL);
  return status;
}

ae_status ae__http_renew(ae__http *http, ae_error *err) {
  ae__tls_shared *fresh = NULL;
  if (!http->tls) return AE_OK;
  ae_status status = open_tls(ae_node_config(http->node), &fresh, err);
  if (status != AE_OK) return status;
  ae__tls_free(http->tls);
  http->tls = fresh;
  return AE_OK;
}

const char *ae__http_url(const ae__http *http) {
  return http->url;
}

void ae__http_count(const ae__http *http, ae__http_counts *out) {
  *out = http->counts;
}

/* -- closing -- */

void ae__http_drain(ae__http *http) {
  if (http->draining) return;
  http->draining = true;
  ae__tcp_stop_listening(http);
  ae_list *next;
  for (ae_list *at = http->connections.next; at != &http->connections;
       at = next) {
    next = at->next;
    ae__connection_drain(AE_CONTAINER(at, ae__connection, link));
  }
}

void ae__http_let_go(ae__http *http) {
  if (!http->closing || http->turning || !ae__tcp_gone(http)) return;
  void (*cb)(void *) = http->closed;
  void *data = http->closed_data;
  ae__http_clear(http);
  ae__tcp_free(http);
  ae_free(http);
  if (cb) cb(data);
}

void ae__http_close(ae__http *http, void (*cb)(void *data), void *data) {
  http->closing = http->draining = true;
  http->closed = cb;
  http->closed_data = data;
  ae__tcp_close(http);
  while (!ae_list_empty(&http->connections))
    ae__connection_cut(
        AE_CONTAINER(http->connections.next, ae__connection, link));
  /* Nothing was ever opened: the turn is what comes back later. */
  if (http->turning) return;
  http->turning = true;
  ae_loop_defer(http->loop, &http->turn);
}
