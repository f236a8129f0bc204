/* Whatever a request says, to a real app with its real routes: it is answered,
 * nothing of it is an error of the program's own, and nothing stays behind.
 *
 * The input is cut at its zero bytes: the rest of the target, header lines, the
 * body. Its first byte says the method, what the body is and how the target
 * starts, its second in which pieces it is sent, and how much the client takes
 * of the answer at first. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/http_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition)                                               \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

#define AT_ONCE 3000 /* inputs before the store is given up */

static const char *const MODULE =
    "local event = require('aether.event')\n"
    "local counter = { initial = { n = 0 } }\n"
    "counter.decide = {\n"
    "  add = function(_, add) return event('Added', { n = add.n }) end,\n"
    "  refuse = function(state) return nil, 'refused', state end }\n"
    "counter.evolve = { Added = function(state) state.n = state.n + 1 end }\n"
    "return counter\n";

static struct {
  char folder[64];
  char file[128];
  ae_config config;
  ae_loop loop;
  ae_node *node;
  ae__http http;
  unsigned used;
} app;

static void closed(void *data) {
  (void)data;
}

static void turn(void) {
  for (int i = 0; i < 64; i++) uv_run(&app.loop.uv, UV_RUN_NOWAIT);
}

static void open_app(void) {
  const ae_config_flag flags[] = {{"store", "memory"}, {0}};
  const ae_node_options options = {
      .config = &app.config, .modules = true, .store = true};
  MUST(ae_config_load(app.folder, flags, &app.config, NULL) == AE_OK);
  MUST(ae_loop_init(&app.loop, NULL) == AE_OK);
  MUST(ae_node_open(&app.loop, &options, &app.node, NULL) == AE_OK);
  http_wire_server(&app.http, &app.loop, ae__routes_all, NULL);
  app.http.node = app.node;
  app.used = 0;
}

static void close_app(void) {
  http_wire_server_clear(&app.http);
  ae_node_close(app.node, closed, NULL);
  ae_loop_run(&app.loop);
  ae_loop_clear(&app.loop);
  ae_config_clear(&app.config);
}

static void end(void) {
  close_app();
  unlink(app.file);
  *strrchr(app.file, '/') = 0;
  rmdir(app.file);
  rmdir(app.folder);
}

static void start(void) {
  const char *tmp = getenv("TMPDIR");
  snprintf(app.folder, sizeof app.folder, "%s/fuzz.XXXXXX", tmp ? tmp : "/tmp");
  MUST(mkdtemp(app.folder));
  snprintf(app.file, sizeof app.file, "%s/cell", app.folder);
  MUST(mkdir(app.file, 0777) == 0);
  snprintf(app.file, sizeof app.file, "%s/cell/counter.lua", app.folder);
  FILE *file = fopen(app.file, "w");
  MUST(file && fputs(MODULE, file) >= 0 && fclose(file) == 0);
  open_app();
  atexit(end);
}

static ae_str next(ae_str *rest) {
  const char *zero = rest->len ? memchr(rest->ptr, 0, rest->len) : NULL;
  size_t size = zero ? (size_t)(zero - rest->ptr) : rest->len;
  ae_str part = {rest->ptr, size};
  size += zero != NULL;
  *rest = (ae_str){rest->ptr + size, rest->len - size};
  return part;
}

/* A line of its own, whatever is in it; none that ends the head. */
static void add_line(ae_buf *head, ae_str text) {
  size_t before = head->len;
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] != '\r' && text.ptr[i] != '\n')
      ae_buf_byte(head, (uint8_t)text.ptr[i]);
  if (head->len > before) ae_buf_str(head, AE_STR("\r\n"));
}

static void write_request(ae_buf *out, uint8_t how, ae_str input) {
  static const char *const methods[] = {"GET ", "POST ", "HEAD ", "POST "};
  static const char *const types[] = {"application/json",
                                      "application/x-ndjson"};
  static const char *const starts[] = {
      "",
      "commands",
      "cell/counter/a",
      "cell/counter/a/add",
      "cell/counter/a/events?",
      "cell/events?",
      "events?pattern=cell&",
      "cell/",
  };
  ae_str target = next(&input);
  ae_str headers[4] = {{0}};
  for (size_t i = 0; i < 4 && memchr(input.ptr ? input.ptr : "", 0, input.len);
       i++)
    headers[i] = next(&input);
  ae_buf_str(out, ae_str_of(methods[how & 3]));
  ae_buf_printf(out, "/v1/%s", starts[how >> 3 & 7]);
  for (size_t i = 0; i < target.len; i++)
    if ((uint8_t)target.ptr[i] > ' ' && (uint8_t)target.ptr[i] < 0x7f)
      ae_buf_byte(out, (uint8_t)target.ptr[i]);
  ae_buf_str(out, AE_STR(" HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
  for (size_t i = 0; i < 4; i++) add_line(out, headers[i]);
  if (how & 1)
    ae_buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                  types[how >> 2 & 1], input.len);
  ae_buf_str(out, AE_STR("\r\n"));
  if (how & 1) ae_buf_str(out, input);
}

/* Its status; the module does what it says, so 500 is ours. */
static void check(ae_buf *got) {
  const char *text = ae_buf_cstr(got);
  MUST(got->len > 12 && strncmp(text, "HTTP/1.1 ", 9) == 0);
  long status = strtol(text + 9, NULL, 10);
  if (status >= 500 && status != 501) fprintf(stderr, "%.2000s\n", text);
  MUST(status >= 200 && (status < 500 || status == 501));
  MUST(!strstr(text, "\"code\":\"contract_error\""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len < 2) return 0;
  if (!app.node) start();
  if (app.used++ == AT_ONCE) {
    close_app();
    open_app();
  }
  ae_buf request = {0};
  http_wire *wire = ae_alloc(sizeof *wire);
  write_request(&request, data[0], (ae_str){(const char *)data + 2, len - 2});
  http_wire_open(wire, &app.http);
  wire->room = (size_t)(data[1] & 15) * 64;
  size_t step = 1 + (size_t)(data[1] >> 4) * 37;
  for (size_t at = 0; at < request.len && !wire->closed; at += step) {
    size_t some = request.len - at < step ? request.len - at : step;
    for (int tries = 0; !http_wire_send(wire, request.ptr + at, some);
         tries++) {
      if (wire->closed || wire->shut) break;
      MUST(tries < 100000);
      http_wire_take(wire, 997);
      turn();
    }
  }
  turn();
  http_wire_take(wire, SIZE_MAX / 2);
  turn();
  http_wire_eof(wire);
  turn();
  check(&wire->got);
  http_wire_clear(wire);
  turn();
  ae_free(wire);
  ae_buf_clear(&request);
  return 0;
}
