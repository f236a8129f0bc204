/* A call is a transfer of libcurl's multi interface, which is driven here: it
 * waits for the node, for the input that a body comes from, and for signals.
 *
 * 1. A command is never sent twice: libcurl repeats a request on its own where
 *    a kept connection turns out to be dead, so those with a body get a new
 *    connection each. */
#include "door/client/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/client/internal.h"
#include "door/mark.h"

#define CONNECT_MS 5000L
#define SILENT_S 60L           /* without a byte, where the answer has an end */
#define LINE_MOST (512u << 20) /* an outcome holds its events, as JSON */
#define BODY_MOST (1u << 20)   /* of a problem */
#define PULL_AGAIN_NS UINT64_C(3000000000)
#define SET(client, option, value) \
  ae__curl.easy_setopt((client)->easy, CURLOPT_##option, value)

/* -- signals -- */

static int signal_pipe = -1;

/* Only what a signal handler may call. */
static void on_signal(int number) {
  (void)number;
  int before = errno;
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  if (write(signal_pipe, "", 1) < 0) errno = 0; /* it is full: that will do */
  errno = before;
}

static void watch_signals(ae__client *client) {
  AE_ASSERT_CMP(signal_pipe, ==, -1);
  AE_ASSERT_CMP(uv_pipe(client->wakes, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE), ==,
                0);
  signal_pipe = client->wakes[1];
  client->watching = true;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigfillset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

static void unwatch_signals(ae__client *client) {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal_pipe = -1;
  close(client->wakes[0]);
  close(client->wakes[1]);
}

/* -- what comes -- */

static size_t on_header(char *bytes, size_t size, size_t count, void *data) {
  static const char name[] = AE__MARK_HEADER ":";
  ae__client *client = data;
  size_t len = size * count;
  if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0) client->mark[0] = 0;
  if (len <= 2) { /* the head ends */
    ae__curl.easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &client->http);
    client->call->begun = client->http == 200;
  }
  if (len < sizeof name || strncasecmp(bytes, name, sizeof name - 1) != 0)
    return len;
  const char *at = bytes + sizeof name - 1, *end = bytes + len;
  while (at < end && *at == ' ') at++;
  while (end > at && (end[-1] == '\r' || end[-1] == '\n')) end--;
  if ((size_t)(end - at) < sizeof client->mark)
    snprintf(client->mark, sizeof client->mark, "%.*s", (int)(end - at), at);
  return len;
}

static bool give_lines(ae__client *client) {
  ae_str line;
  for (;;) {
    switch (ae__lines_next(&client->lines, &line)) {
      case AE__LINES_LINE:
        /* The last one of an answer that broke is cut, and not given. */
        if (client->call->line(client->call->data, line)) break;
        client->call->enough = true;
        return false;
      case AE__LINES_LONG:
        break;
      default:
        return true;
    }
  }
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data) {
  ae__client *client = data;
  ae__call *call = client->call;
  size_t len = size * count;
  ae__curl.easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &client->http);
  if (client->http != 200) {
    if (client->body.len + len <= BODY_MOST)
      ae_buf_add(&client->body, bytes, len);
    return len;
  }
  if (!call->line) {
    ae_buf_add(&call->answer, bytes, len);
    return len;
  }
  ae__lines_feed(&client->lines, (ae_str){bytes, len}, false);
  if (!give_lines(client)) return CURL_WRITEFUNC_ERROR;
  if (!call->flush || call->flush(call->data)) return len;
  call->enough = true;
  return CURL_WRITEFUNC_ERROR;
}

static size_t on_pull(char *to, size_t size, size_t count, void *data) {
  ae__client *client = data;
  ssize_t got = client->call->pull(client->call->data, to, size * count);
  if (got >= 0) return (size_t)got;
  client->waiting = true;
  client->since = ae_clock_mono();
  return CURL_READFUNC_PAUSE;
}

/* -- what went wrong -- */

bool ae__client_problem(ae_str packed, const char *key, ae_error *err) {
  ae_unpack cursor = ae_unpack_of(packed);
  uint32_t count;
  ae_str code, text, value;
  if (!ae_unpack_field(packed, "code", &code) ||
      !ae_unpack_field(packed, key, &text) || !ae_unpack_map(&cursor, &count))
    return false;
  ae_unpack in_code = ae_unpack_of(code), in_text = ae_unpack_of(text);
  if (!ae_unpack_str(&in_code, &code) || !ae_unpack_str(&in_text, &text))
    return false;
  ae_status status = AE_UNREACHABLE; /* a newer node's word */
  for (int i = AE_REJECTED; i < AE_STATUS_COUNT; i++)
    if (ae_str_eq(code, ae_str_of(ae_status_word((ae_status)i))))
      status = (ae_status)i;
  ae_error_set(err, status, "%.*s", AE_FMT(text));
  for (uint32_t i = 0; i < count; i++) {
    ae_str name;
    char fact[64];
    if (!ae_unpack_str(&cursor, &name) || !ae_unpack_skip(&cursor, &value))
      break;
    bool ours =
        ae_str_eq(name, AE_STR("code")) || ae_str_eq(name, ae_str_of(key)) ||
        ae_str_eq(name, AE_STR("title")) ||
        (ae_str_eq(name, AE_STR("status")) && strcmp(key, "detail") == 0);
    if (ours || name.len >= sizeof fact) continue;
    snprintf(fact, sizeof fact, "%.*s", AE_FMT(name));
    ae_error_pack(err, fact, value);
  }
  return true;
}

static ae_status refused(ae__client *client, ae_error *err) {
  ae_buf packed = {0};
  bool read = ae_json_read(ae_buf_view(&client->body), &packed, NULL) == AE_OK;
  if (!read || !ae__client_problem(ae_buf_view(&packed), "detail", err))
    ae_error_set(err, AE_UNREACHABLE,
                 "what answers at %s is no node of Aether (HTTP status %ld)",
                 client->url, client->http);
  else if (err->status == AE_UNAUTHENTICATED)
    ae_error_add(err, getenv("AETHER_TOKEN")
                          ? "; the token is taken from AETHER_TOKEN"
                          : "; put one into AETHER_TOKEN");
  ae_buf_clear(&packed);
  return err->status;
}

/* Under TLS 1.3 a server refuses after the handshake, without a word. */
static bool wants_certificate(const ae__client *client, CURLcode code) {
  return !client->certificate && strncmp(client->url, "https:", 6) == 0 &&
         (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
          code == CURLE_SEND_ERROR || code == CURLE_SSL_CONNECT_ERROR);
}

static ae_status unreachable(ae__client *client, CURLcode code, ae_error *err) {
  const char *problem =
      client->problem[0] ? client->problem : ae__curl.easy_strerror(code);
  const char *hint = "";
  if (client->call->begun)
    return ae_error_set(err, AE_UNREACHABLE,
                        "the node at %s went away in the middle of its answer",
                        client->url);
  if (code == CURLE_SSL_PINNEDPUBKEYNOTMATCH)
    hint =
        ": it has another certificate than the app's `tls` names; SIGHUP has "
        "the node read that again";
  else if (code == CURLE_PEER_FAILED_VERIFICATION)
    hint = "; AETHER_CA names a file of who signs its certificate";
  else if (wants_certificate(client, code))
    hint =
        "; if it wants certificates, it gets that of AETHER_CERTIFICATE and "
        "AETHER_KEY";
  return ae_error_set(err, AE_UNREACHABLE, "no node answers at %s: %s%s",
                      client->url, problem, hint);
}

/* -- a call -- */

static void add_header(ae__client *client, const char *format,
                       const char *value) {
  ae_buf text = {0};
  ae_buf_printf(&text, format, value);
  client->headers = ae__curl.slist_append(client->headers, ae_buf_cstr(&text));
  ae_buf_clear(&text);
}

static void set_tls(ae__client *client) {
  if (client->ca) SET(client, CAINFO, client->ca);
  if (client->certificate) SET(client, SSLCERT, client->certificate);
  if (client->key) SET(client, SSLKEY, client->key);
  if (!client->pin) return;
  /* The very key that the app's certificate has says more than any name. */
  SET(client, PINNEDPUBLICKEY, client->pin);
  SET(client, SSL_VERIFYPEER, 0L);
  SET(client, SSL_VERIFYHOST, 0L);
}

static void set_up(ae__client *client, const ae__call *call) {
  const char *token = getenv("AETHER_TOKEN");
  ae_buf url = {0};
  ae_buf_printf(&url, "%s%s", client->url, call->path);
  ae__curl.easy_reset(client->easy);
  SET(client, URL, ae_buf_cstr(&url));
  ae_buf_clear(&url);
  SET(client, PATH_AS_IS, 1L);
  SET(client, PROTOCOLS_STR, "http,https");
  SET(client, NOPROXY, "*");
  SET(client, NOSIGNAL, 1L);
  SET(client, HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(client, USERAGENT, "aether/" AE_VERSION);
  SET(client, TCP_KEEPALIVE, 1L);
  SET(client, TCP_KEEPIDLE, 30L);
  SET(client, TCP_KEEPINTVL, 10L);
  SET(client, CONNECTTIMEOUT_MS, CONNECT_MS);
  if (!call->endless) {
    SET(client, LOW_SPEED_LIMIT, 1L);
    SET(client, LOW_SPEED_TIME, SILENT_S);
  }
  SET(client, ERRORBUFFER, client->problem);
  SET(client, HEADERFUNCTION, on_header);
  SET(client, HEADERDATA, client);
  SET(client, WRITEFUNCTION, on_body);
  SET(client, WRITEDATA, client);
  set_tls(client);
  add_header(client, "Expect:%s", "");
  if (token && token[0]) add_header(client, "Authorization: Bearer %s", token);
  if (call->type) add_header(client, "Content-Type: %s", call->type);
  if (call->post) {
    SET(client, FRESH_CONNECT, 1L);
    SET(client, POST, 1L);
    SET(client, POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    SET(client, POSTFIELDS, call->body.ptr ? call->body.ptr : "");
  }
  if (call->pull) {
    add_header(client, "Transfer-Encoding: %s", "chunked");
    SET(client, POSTFIELDS, NULL);
    SET(client, POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    SET(client, READFUNCTION, on_pull);
    SET(client, READDATA, client);
    SET(client, UPLOAD_BUFFERSIZE, 256L << 10);
  }
  SET(client, BUFFERSIZE, 256L << 10);
  SET(client, HTTPHEADER, client->headers);
}

/* Waits until something can be done; false: interrupted. */
static bool wait(ae__client *client, unsigned ms) {
  struct curl_waitfd more[2] = {
      {.fd = client->wakes[0], .events = CURL_WAIT_POLLIN}};
  unsigned count = 1;
  if (client->waiting)
    more[count++] = (struct curl_waitfd){.fd = client->call->pull_fd,
                                         .events = CURL_WAIT_POLLIN};
  ae__curl.multi_poll(client->multi, more, count, (int)ms, NULL);
  if (more[0].revents) client->interrupted = true;
  bool long_ago = ae_clock_mono() - client->since > PULL_AGAIN_NS;
  if (count > 1 && (more[1].revents || long_ago)) {
    client->waiting = false;
    ae__curl.easy_pause(client->easy, CURLPAUSE_CONT);
  }
  return !client->interrupted;
}

/* False: interrupted. */
static bool transfer(ae__client *client, CURLcode *code) {
  int running, left;
  for (;;) {
    ae__curl.multi_perform(client->multi, &running);
    for (CURLMsg *done;
         (done = ae__curl.multi_info_read(client->multi, &left));)
      *code = done->data.result;
    if (running == 0) return true;
    if (!wait(client, 1000)) return false;
  }
}

ae_status ae__client_call(ae__client *client, ae__call *call, ae_error *err) {
  CURLcode code = CURLE_OK;
  client->call = call;
  client->http = 0;
  client->waiting = call->enough = false;
  client->problem[0] = 0;
  call->begun = false;
  ae_buf_reset(&call->answer);
  ae_buf_reset(&client->body);
  ae__lines_init(&client->lines, LINE_MOST);
  set_up(client, call);
  ae__curl.multi_add_handle(client->multi, client->easy);
  bool over = !client->interrupted && transfer(client, &code);
  ae__curl.easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &client->http);
  long sent = 0;
  ae__curl.easy_getinfo(client->easy, CURLINFO_REQUEST_SIZE, &sent);
  call->sent = sent > 0;
  ae__curl.multi_remove_handle(client->multi, client->easy);
  ae__curl.slist_free_all(client->headers);
  client->headers = NULL;
  ae__lines_close(&client->lines);
  if (!over) return ae_error_set(err, AE_CANCELED, "interrupted");
  if (call->enough) return AE_OK;
  if (code != CURLE_OK) return unreachable(client, code, err);
  if (client->http == 200) return AE_OK;
  return refused(client, err);
}

bool ae__client_sleep(ae__client *client, unsigned ms) {
  client->waiting = false;
  return !client->interrupted && wait(client, ms);
}

bool ae__client_interrupted(const ae__client *client) {
  return client->interrupted;
}

const char *ae__client_url(const ae__client *client) {
  return client->url;
}

ae__client *ae__client_new(char *url) {
  ae__client *client = ae_zalloc(sizeof *client);
  client->url = url;
  client->multi = ae__curl.multi_init();
  client->easy = ae__curl.easy_init();
  AE_ASSERT(client->multi && client->easy);
  watch_signals(client);
  return client;
}

void ae__client_close(ae__client *client) {
  if (!client) return;
  unwatch_signals(client);
  ae__curl.easy_cleanup(client->easy);
  ae__curl.multi_cleanup(client->multi);
  ae_buf_clear(&client->body);
  ae_free(client->url);
  ae_free(client->ca);
  ae_free(client->certificate);
  ae_free(client->key);
  ae_free(client->pin);
  ae_free(client);
}

void ae__client_segment(ae_buf *out, ae_str text) {
  bool dots = ae_str_eq(text, AE_STR(".")) || ae_str_eq(text, AE_STR(".."));
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '~' ||
                 (c == '.' && !dots);
    if (plain)
      ae_buf_byte(out, c);
    else
      ae_buf_printf(out, "%%%02X", c);
  }
}
