#define _GNU_SOURCE /* memmem */
#include "door/bench_client.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/bench_load.h"

#define READ_BYTES 65536
#define BODY \
  "{\"amount\":5,\"memo\":\"rent of the second floor, for November\"}"

/* One connection. */
typedef struct peer {
  ae__bench_client *client;
  uv_tcp_t tcp;
  uv_connect_t connect;
  uv_write_t write;
  bool writing;
  ae_buf out;      /* to be sent */
  ae_buf sent;     /* on its way */
  ae_buf in;       /* not yet understood */
  bool asked;      /* something, once */
  bool answering;  /* the head of the answer was read */
  bool ended;      /* nothing more is asked */
  size_t skip;     /* bytes of a body to come */
  uint64_t *times; /* ns: when each command in flight was sent; a ring */
  unsigned first, waiting;
} peer;

struct ae__bench_client {
  ae__bench_client_options options;
  struct sockaddr_in address;
  uv_loop_t loop;
  uv_thread_t thread;
  peer *peers;
  uint64_t random, until; /* ns, monotonic */
  ae_status status;
  ae_error err;
  ae_task done;
};

static void fail(ae__bench_client *client, const char *what, ae_str text) {
  if (client->status != AE_OK) return;
  client->status = AE_STORE_UNAVAILABLE;
  ae_error_set(&client->err, client->status, "%s", what);
  if (text.len > 0) ae_error_quote(&client->err, text);
}

static void hang_up(peer *p) {
  p->ended = true;
  if (!uv_is_closing((uv_handle_t *)&p->tcp))
    uv_close((uv_handle_t *)&p->tcp, NULL);
}

/* -- out -- */

static bool goes_on(ae__bench_client *client, uint64_t now) {
  if (client->options.stop() && client->status == AE_OK) {
    client->status = AE_CANCELED;
    ae_error_set(&client->err, AE_CANCELED, "interrupted");
  }
  return client->status == AE_OK && now < client->until;
}

static unsigned pick(ae__bench_client *client) {
  return (unsigned)(ae__bench_random(&client->random) % client->options.actors);
}

static void note_sent(peer *p, uint64_t now) {
  unsigned most = p->client->options.in_flight;
  p->times[(p->first + p->waiting++) % most] = now;
}

static void put_request(peer *p) {
  ae_buf_printf(&p->out,
                "POST /v1/bank/account/a-%u/deposit HTTP/1.1\r\n"
                "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n" BODY,
                pick(p->client), sizeof BODY - 1);
}

static void put_number(ae_buf *out, unsigned number) {
  char digits[10];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  ae_buf_add(out, digits + at, sizeof digits - at);
}

/* Lines, as many as may be on their way, as one chunk; its size is written in
 * front when they are there. */
static void put_lines(peer *p, uint64_t now) {
  enum { SIZE = 10 };
  ae_buf *out = &p->out;
  size_t from = out->len;
  ae_buf_str(out, AE_STR("00000000\r\n"));
  while (p->waiting < p->client->options.in_flight) {
    ae_buf_str(out, AE_STR("{\"actor\":\"bank/account/a-"));
    put_number(out, pick(p->client));
    ae_buf_str(out, AE_STR("\",\"command\":\"deposit\",\"data\":" BODY "}\n"));
    note_sent(p, now);
  }
  size_t size = out->len - from - SIZE;
  for (int i = 7; i >= 0; i--, size >>= 4)
    out->ptr[from + (size_t)i] = "0123456789abcdef"[size & 15];
  ae_buf_str(out, AE_STR("\r\n"));
}

static void on_written(uv_write_t *write, int status);

static void flush(peer *p) {
  if (p->writing || p->out.len == 0) return;
  uv_stream_t *stream = (uv_stream_t *)&p->tcp;
  uv_buf_t buf = uv_buf_init(p->out.ptr, (unsigned)p->out.len);
  int taken = uv_try_write(stream, &buf, 1);
  if (taken == (int)p->out.len) {
    ae_buf_reset(&p->out);
    return;
  }
  size_t at = taken > 0 ? (size_t)taken : 0;
  ae_buf_move(&p->sent, &p->out);
  buf = uv_buf_init(p->sent.ptr + at, (unsigned)(p->sent.len - at));
  p->writing = uv_write(&p->write, stream, &buf, 1, on_written) == 0;
}

static void on_written(uv_write_t *write, int status) {
  peer *p = write->data;
  p->writing = false;
  if (status == 0) flush(p);
}

/* What goes out next, now that something has come in. The first of each
 * connection goes out however long connecting took. */
static void ask(peer *p) {
  ae__bench_client *client = p->client;
  unsigned most = client->options.in_flight;
  uint64_t now = ae_clock_mono();
  bool more = goes_on(client, now);
  if (!p->asked) more = client->status == AE_OK;
  p->asked = true;
  if (p->ended) return;
  if (client->options.lines) {
    /* In bunches: a line here and there would be a write each. */
    bool room = p->waiting < most && p->waiting <= most - most / 4;
    if (more && room) put_lines(p, now);
    if (!more) ae_buf_str(&p->out, AE_STR("0\r\n\r\n"));
    p->ended = !more;
  } else if (more) {
    put_request(p);
    note_sent(p, now);
  } else {
    hang_up(p);
    return;
  }
  flush(p);
}

/* -- in -- */

static void note_answer(peer *p, uint64_t now) {
  unsigned most = p->client->options.in_flight;
  AE_ASSERT_CMP(p->waiting, >, 0);
  ae__histogram_add(p->client->options.histogram, now - p->times[p->first]);
  p->first = (p->first + 1) % most;
  p->waiting--;
}

static void drop(ae_buf *buf, size_t len) {
  buf->len -= len;
  if (buf->len > 0) memmove(buf->ptr, buf->ptr + len, buf->len);
}

/* True: the head is there, and is that of an answer that is none of failure. */
static bool read_head(peer *p) {
  ae_buf *in = &p->in;
  char *end = in->len > 0 ? memmem(in->ptr, in->len, "\r\n\r\n", 4) : NULL;
  if (!end) return false;
  size_t len = (size_t)(end - in->ptr) + 4;
  if (len < 16 || memcmp(in->ptr, "HTTP/1.1 200", 12) != 0) {
    fail(p->client, "the node answered ", ae_buf_view(in));
    return false;
  }
  char *length = memmem(in->ptr, len, "Content-Length: ", 16);
  p->skip = length ? strtoul(length + 16, NULL, 10) : 0;
  drop(in, len);
  return true;
}

static void read_answer(peer *p, uint64_t now) {
  if (!p->answering) p->answering = read_head(p);
  if (!p->answering || p->in.len < p->skip) return;
  drop(&p->in, p->skip);
  p->answering = false;
  note_answer(p, now);
}

/* JSON holds no bare CR: what ends with CR LF is the framing of chunks. */
static void read_outcomes(peer *p, uint64_t now) {
  static const char word[] = "\"status\":\"accepted\"";
  if (!p->answering && !(p->answering = read_head(p))) return;
  const char *at = p->in.ptr, *end = at + p->in.len, *line = at;
  while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
    size_t len = (size_t)(at - line);
    if (len > 0 && at[-1] != '\r') {
      size_t seen = len < 200 ? len : 200;
      if (!memmem(line, seen, word, sizeof word - 1))
        fail(p->client, "a command was not accepted: ", (ae_str){line, len});
      if (p->waiting > 0) note_answer(p, now);
    }
    line = ++at;
  }
  drop(&p->in, (size_t)(line - p->in.ptr));
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out) {
  (void)wanted;
  ae_buf *in = &((peer *)handle->data)->in;
  ae_buf_reserve(in, READ_BYTES);
  *out = uv_buf_init(in->ptr + in->len, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf) {
  (void)buf;
  peer *p = stream->data;
  ae__bench_client *client = p->client;
  if (len == 0) return;
  if (len < 0) {
    if (p->waiting > 0) fail(client, "the node cut a connection", AE_STR(""));
    hang_up(p);
    return;
  }
  p->in.len += (size_t)len;
  bool lines = client->options.lines;
  (lines ? read_outcomes : read_answer)(p, ae_clock_mono());
  if (client->status != AE_OK || (p->ended && p->waiting == 0))
    hang_up(p);
  else if (lines || p->waiting == 0)
    ask(p);
}

/* -- its thread -- */

static void on_connected(uv_connect_t *connect, int status) {
  peer *p = connect->data;
  if (status != 0) {
    fail(p->client, uv_strerror(status), AE_STR(""));
    hang_up(p);
    return;
  }
  uv_tcp_nodelay(&p->tcp, 1);
  uv_read_start((uv_stream_t *)&p->tcp, on_room, on_read);
  if (p->client->options.lines)
    ae_buf_str(&p->out,
               AE_STR("POST /v1/commands HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                      "Content-Type: application/x-ndjson\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n"));
  ask(p);
}

static void dial(ae__bench_client *client, peer *p) {
  p->client = client;
  p->times = ae_alloc(sizeof *p->times * client->options.in_flight);
  p->tcp.data = p->connect.data = p->write.data = p;
  uv_tcp_init(&client->loop, &p->tcp);
  int error =
      uv_tcp_connect(&p->connect, &p->tcp,
                     (const struct sockaddr *)&client->address, on_connected);
  if (error) on_connected(&p->connect, error);
}

static void run(void *data) {
  ae__bench_client *client = data;
  unsigned count = client->options.connections;
  client->until = ae_clock_mono() + (uint64_t)(client->options.seconds * 1e9);
  client->peers = ae_zalloc(sizeof(peer) * count);
  for (unsigned i = 0; i < count; i++) dial(client, &client->peers[i]);
  uv_run(&client->loop, UV_RUN_DEFAULT);
  for (unsigned i = 0; i < count; i++) {
    peer *p = &client->peers[i];
    ae_buf_clear(&p->out);
    ae_buf_clear(&p->sent);
    ae_buf_clear(&p->in);
    ae_free(p->times);
  }
  ae_free(client->peers);
  ae_loop_post(client->options.loop, &client->done);
}

static void on_done(ae_task *task) {
  ae__bench_client *client = AE_CONTAINER(task, ae__bench_client, done);
  client->options.done(client->options.data);
}

ae_status ae__bench_client_start(const ae__bench_client_options *options,
                                 ae__bench_client **out, ae_error *err) {
  ae__bench_client *client = ae_zalloc(sizeof *client);
  const char *port = strrchr(options->url, ':') + 1;
  client->options = *options;
  client->random = AE__BENCH_SEED;
  client->done.run = on_done;
  uv_ip4_addr("127.0.0.1", atoi(port), &client->address);
  int error = uv_loop_init(&client->loop);
  if (error == 0) {
    error = uv_thread_create(&client->thread, run, client);
    if (error) uv_loop_close(&client->loop);
  }
  if (error) {
    ae_free(client);
    return ae_error_set(err, AE_STORE_UNAVAILABLE,
                        "the benchmark's client cannot run: %s",
                        uv_strerror(error));
  }
  *out = client;
  return AE_OK;
}

ae_status ae__bench_client_end(ae__bench_client *client, ae_error *err) {
  uv_thread_join(&client->thread);
  AE_ASSERT_CMP(uv_loop_close(&client->loop), ==, 0);
  ae_status status = client->status;
  if (status != AE_OK) ae_error_move(err, &client->err);
  ae_error_clear(&client->err);
  ae_free(client);
  return status;
}
