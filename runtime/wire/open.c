/* Opening and closing the connection. */
#include <unistd.h>

#include "wire/greeting.h"
#include "wire/internal.h"
#include "wire/nkey.h"

enum {
  CONNECT_MS = 2000,
  CLOSE_MS = 1000,
};

/* -- opening -- */

static natsStatus set_servers(ae_wire *wire) {
  const char *list[32];
  int count = 0;
  for (char *at = wire->urls; at && count < 32;) {
    char *comma = strchr(at, ',');
    if (comma) *comma++ = 0;
    list[count++] = at;
    at = comma;
  }
  return natsOptions_SetServers(wire->options, list, count);
}

static natsStatus set_login(ae_wire *wire, const ae_wire_options *options) {
  natsOptions *to = wire->options;
  natsStatus s = NATS_OK;
  if (options->credentials)
    s = natsOptions_SetUserCredentialsFromFiles(to, options->credentials, NULL);
  if (s == NATS_OK && options->nkey) {
    char public[64];
    s = ae__nkey_public(options->nkey, public)
            ? natsOptions_SetNKeyFromSeed(to, public, options->nkey)
            : NATS_INVALID_ARG;
  }
  if (s == NATS_OK && options->user)
    s = natsOptions_SetUserInfo(to, options->user,
                                options->password ? options->password : "");
  if (s == NATS_OK && options->token)
    s = natsOptions_SetToken(to, options->token);
  if (s == NATS_OK && options->tls) s = natsOptions_SetSecure(to, true);
  if (s == NATS_OK && options->ca)
    s = natsOptions_LoadCATrustedCertificates(to, options->ca);
  if (s == NATS_OK && options->certificate)
    s = natsOptions_LoadCertificatesChain(
        to, options->certificate,
        options->key ? options->key : options->certificate);
  return s;
}

static natsStatus set_options(ae_wire *wire, const ae_wire_options *options) {
  natsOptions *to = wire->options;
  unsigned ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
  natsStatus s = set_servers(wire);
  if (s == NATS_OK) s = set_login(wire, options);
  if (s == NATS_OK && options->name) s = natsOptions_SetName(to, options->name);
  if (s == NATS_OK) s = natsOptions_SetTimeout(to, ms);
  /* Without it a lone message waits 1 ms for the flusher. */
  if (s == NATS_OK) s = natsOptions_SetSendAsap(to, true);
  if (s == NATS_OK) s = natsOptions_DisableNoResponders(to, true);
  if (s == NATS_OK) s = natsOptions_SetMaxReconnect(to, -1);
  if (s == NATS_OK) s = natsOptions_SetPingInterval(to, 10000);
  return s == NATS_OK ? ae__wire_hook(wire) : s;
}

static ae_status check_url(const char *url, ae_error *err) {
  for (const char *at = url; at; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, "nats://", 7) == 0 && at[7] && at[7] != ',') continue;
    if (strncmp(at, "tls://", 6) == 0 && at[6] && at[6] != ',') continue;
    return ae_error_set(err, AE_USAGE,
                        "\"%s\" is no list of nats-servers: "
                        "nats://HOST:PORT[,nats://HOST:PORT…]",
                        url);
  }
  return AE_OK;
}

/* Without "(conn.c:2088): " in front; NULL: no more than the status says. */
static const char *said(const char *text, natsStatus s) {
  const char *end = text && *text == '(' ? strstr(text, "): ") : NULL;
  if (end) text = end + 3;
  return text && strcmp(text, natsStatus_GetText(s)) != 0 ? text : NULL;
}

static ae_status connect_failed(const char *url, bool tls, natsStatus s,
                                ae_error *err) {
  natsStatus last = NATS_OK;
  const char *text = said(nats_GetLastError(&last), s);
  const char *mend =
      s == NATS_NO_SERVER ? "is it running, and the address right?"
      : s == NATS_CONNECTION_AUTH_FAILED
          ? "see the setting `nats` of aether.lua for how to log in"
      : s == NATS_SSL_ERROR || (tls && s == NATS_PROTOCOL_ERROR)
          ? "see `nats = { tls = { ca = …, certificate = …, key = … } }` of "
            "aether.lua"
          : "see the settings `store` and `nats` of aether.lua";
  ae_error_set(err, AE_STORE_UNAVAILABLE, "no connection to %s: %s%s%s; %s",
               url, natsStatus_GetText(s), text ? ": " : "", text ? text : "",
               mend);
  ae_error_cstr(err, "cause", natsStatus_GetText(s));
  return AE_STORE_UNAVAILABLE;
}

static void free_wire(ae_wire *wire) {
  natsSubscription_Destroy(wire->inbox);
  natsConnection_Destroy(wire->nc);
  natsOptions_Destroy(wire->options);
  pthread_mutex_destroy(&wire->lock);
  pthread_cond_destroy(&wire->ended);
  ae_buf_clear(&wire->prefix);
  ae__plain_clear(&wire->raw);
  ae_map_clear(&wire->by_sid);
  ae_free(wire->slots);
  ae_free(wire->urls);
  ae_free(wire);
}

static natsStatus name_inbox(ae_wire *wire) {
  natsInbox *inbox = NULL;
  natsStatus s = natsInbox_Create(&inbox);
  if (s == NATS_OK) ae_buf_printf(&wire->prefix, "%s.", inbox);
  natsInbox_Destroy(inbox);
  return s;
}

natsStatus ae__wire_make_inbox(ae_wire *wire) {
  natsStatus s = wire->prefix.len > 0 ? NATS_OK : name_inbox(wire);
  if (s != NATS_OK) return s;
  ae_buf all = {0};
  ae_buf_printf(&all, "%.*s*", (int)wire->prefix.len, wire->prefix.ptr);
  s = natsConnection_SubscribeSync(&wire->inbox, wire->nc, ae_buf_cstr(&all));
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(wire->inbox, -1, -1);
  if (s == NATS_OK)
    wire->inbox_sid = (uint64_t)natsSubscription_GetID(wire->inbox);
  ae_buf_clear(&all);
  return s;
}

/* Whoever connects and fails has been given no socket to poll. */
static void give_up(ae_wire *wire) {
  if (wire->nc) ae__wire_join(wire);
  if (wire->fd >= 0) close(wire->fd);
  free_wire(wire);
}

static bool asks_for_tls(const ae_wire_options *options) {
  return options->tls || options->ca || options->certificate ||
         strstr(options->url, "tls://");
}

/* `again`: the same with `plain` false tells more: the server wants TLS, asked
 * for or not, or it hung up. (A buffer of one byte sends what logs in by parts,
 * so that a server that refuses the first may be gone before it is heard.) */
static ae_status connect_once(ae_wire *wire, const ae_wire_options *options,
                              bool *again, ae_error *err) {
  *again = false;
  wire->urls = ae_strdup(options->url);
  natsStatus s = natsOptions_Create(&wire->options);
  if (s == NATS_OK) s = set_options(wire, options);
  if (s == NATS_OK) s = natsConnection_Connect(&wire->nc, wire->options);
  if (s == NATS_OK) s = ae__wire_make_inbox(wire);
  if (s != NATS_OK) {
    *again = s == NATS_IO_ERROR || s == NATS_CONNECTION_CLOSED;
    return connect_failed(options->url, !wire->plain, s, err);
  }
  ae__wire_learn(wire);
  return ae__greeting(wire->info.server, wire->info.version, &wire->info.bare,
                      again, err);
}

/* Nothing is polled yet. */
static void disconnect(ae_wire *wire) {
  if (wire->nc) ae__wire_join(wire);
  natsSubscription_Destroy(wire->inbox);
  natsConnection_Destroy(wire->nc);
  natsOptions_Destroy(wire->options);
  if (wire->fd >= 0) close(wire->fd);
  wire->inbox = NULL;
  wire->nc = NULL;
  wire->options = NULL;
  wire->fd = -1;
  wire->over = wire->gone = wire->drop = wire->lost = wire->back = false;
  atomic_store(&wire->writing, false);
  ae_buf_reset(&wire->prefix);
  ae_free(wire->urls);
  wire->urls = NULL;
}

/* Past nats.c wherever there is no TLS. What failed so and goes through nats.c,
 * without TLS, failed by chance: it is tried so once more. */
static ae_status connect_well(ae_wire *wire, const ae_wire_options *options,
                              ae_error *err) {
  bool again, may = !asks_for_tls(options);
  wire->plain = may;
  ae_status status = connect_once(wire, options, &again, err);
  for (int i = 0; may && i < 3; i++) {
    if (wire->plain ? !again : status != AE_OK || again) break;
    disconnect(wire);
    wire->plain = !wire->plain;
    ae_error_clear(err);
    status = connect_once(wire, options, &again, err);
  }
  return status;
}

ae_status ae_wire_open(ae_loop *loop, const ae_wire_options *options,
                       ae_wire **out, ae_error *err) {
  *out = NULL;
  if (check_url(options->url, err) != AE_OK) return AE_USAGE;
  ae_wire *wire = ae_zalloc(sizeof *wire);
  wire->loop = loop;
  wire->thread = pthread_self();
  wire->changed = options->changed;
  wire->changed_data = options->data;
  wire->fd = wire->polled_fd = -1;
  wire->closing = true; /* nothing is flushed before the handles are there */
  wire->service.run = ae__wire_serve;
  wire->posted = true; /* the first socket is taken below */
  pthread_mutex_init(&wire->lock, NULL);
  pthread_cond_init(&wire->ended, NULL);
  ae_list_init(&wire->subscriptions);
  ae_list_init(&wire->requests);
  ae_error why = {0};
  ae_status status = connect_well(wire, options, &why);
  if (status != AE_OK) {
    give_up(wire);
    if (err) ae_error_move(err, &why);
    ae_error_clear(&why);
    return status;
  }
  uv_prepare_init(&loop->uv, &wire->prepare);
  uv_timer_init(&loop->uv, &wire->timer);
  uv_timer_init(&loop->uv, &wire->retry);
  uv_unref((uv_handle_t *)&wire->prepare);
  wire->prepare.data = wire->timer.data = wire->retry.data = wire;
  wire->closing = false;
  wire->info.connected = true;
  ae_loop_hold(loop); /* also while there is no socket to poll */
  ae__wire_serve(&wire->service);
  *out = wire;
  return AE_OK;
}

/* -- closing -- */

static void handle_closed(uv_handle_t *handle) {
  ae_wire *wire = handle->data;
  if (--wire->handles > 0) return;
  void (*cb)(void *) = wire->closed;
  void *data = wire->closed_data;
  ae_loop_release(wire->loop);
  free_wire(wire);
  cb(data);
}

static void close_blocking(uv_work_t *work) {
  ae_wire *wire = AE_CONTAINER(work, ae_wire, work);
  ae__wire_join(wire);
}

static void finish_close(ae_task *task) {
  ae_wire *wire = AE_CONTAINER(task, ae_wire, service);
  ae__wire_poll_stop(wire);
  if (wire->fd >= 0) close(wire->fd);
  uv_close((uv_handle_t *)&wire->prepare, handle_closed);
  uv_close((uv_handle_t *)&wire->timer, handle_closed);
  uv_close((uv_handle_t *)&wire->retry, handle_closed);
}

static void blocking_done(uv_work_t *work, int status) {
  (void)status;
  ae_wire *wire = AE_CONTAINER(work, ae_wire, work);
  pthread_mutex_lock(&wire->lock);
  bool posted = wire->posted;
  wire->posted = true;
  wire->service.run = finish_close;
  pthread_mutex_unlock(&wire->lock);
  /* One that is posted comes by itself. */
  if (!posted) ae_loop_post(wire->loop, &wire->service);
}

/* nats.c joins its threads, which may be connecting: not on this one. */
void ae__wire_close_now(ae_wire *wire) {
  uv_queue_work(&wire->loop->uv, &wire->work, close_blocking, blocking_done);
}

static void close_connection(ae_wire *wire) {
  wire->closing = true;
  ae__wire_requests_fail(wire, AE_CANCELED);
  uv_timer_stop(&wire->timer);
  uv_prepare_stop(&wire->prepare);
  uv_timer_stop(&wire->retry);
  ae__wire_poll_stop(wire);
  if (!wire->connecting) ae__wire_close_now(wire);
}

static void all_sent(ae_wire_request *request, ae_status status,
                     const ae_wire_message *answer) {
  (void)status;
  (void)answer;
  close_connection(request->data);
}

void ae_wire_close(ae_wire *wire, void (*cb)(void *data), void *data) {
  AE_ASSERT(ae_list_empty(&wire->subscriptions));
  wire->closed = cb;
  wire->closed_data = data;
  wire->handles = 3;
  wire->last.cb = all_sent;
  wire->last.data = wire;
  wire->last.timeout_ms = CLOSE_MS;
  /* A message to ourselves is behind all that was sent before. */
  ae_status status =
      ae_wire_ask(wire, &wire->last, NULL, NULL, (ae_str){"", 0}, NULL);
  if (status != AE_OK) close_connection(wire);
}
