#include "door/http/sink.h"

#include "base/mem.h"
#include "door/answer.h"

/* Proxies cut what is silent for a minute; some for half of one. */
#define BEAT_MS 15000

#define ADD(out, literal) ae_buf_add(out, literal, sizeof(literal) - 1)

static void on_beat(uv_timer_t *heart) {
  ae__sink *sink = heart->data;
  if (sink->full) return; /* there is enough to be read */
  ADD(ae__exchange_out(sink->x), ":\n\n");
  sink->full = ae__exchange_send(sink->x);
}

static void start_heart(ae__sink *sink) {
  sink->heart = ae_alloc(sizeof *sink->heart);
  uv_timer_init(&ae_node_loop(sink->x->node)->uv, sink->heart);
  sink->heart->data = sink;
  uv_timer_start(sink->heart, on_beat, BEAT_MS, BEAT_MS);
}

static void on_heart_closed(uv_handle_t *heart) {
  ae_free(heart);
}

static void stop_heart(ae__sink *sink) {
  if (sink->heart) uv_close((uv_handle_t *)sink->heart, on_heart_closed);
  sink->heart = NULL;
}

void ae__sink_begin(ae__sink *sink, ae__exchange *x, bool sse, bool endless) {
  *sink = (ae__sink){.x = x, .sse = sse};
  ae__exchange_add(x, "Cache-Control", AE_STR("no-store"));
  ae__exchange_add(x, "Vary", AE_STR("Accept"));
  /* nginx would collect the answer before it passes it on */
  if (endless) ae__exchange_add(x, "X-Accel-Buffering", AE_STR("no"));
  ae__exchange_begin(x, 200,
                     sse ? "text/event-stream" : "application/x-ndjson");
  if (endless) ae__exchange_endless(x);
  if (endless && sse) start_heart(sink);
}

static void open_block(const ae__sink *sink, ae_buf *out, const char *id,
                       ae_str type) {
  if (!sink->sse) return;
  if (id[0]) {
    ADD(out, "id: ");
    ae_buf_add(out, id, strlen(id));
    ADD(out, "\n");
  }
  ADD(out, "event: ");
  ae_buf_str(out, type);
  ADD(out, "\ndata: ");
}

static void close_block(ae__sink *sink, ae_buf *out, size_t before) {
  if (sink->sse) ADD(out, "\n");
  sink->held += out->len - before;
}

void ae__sink_event(ae__sink *sink, const char *id, const ae_event *event) {
  ae_buf *out = ae__exchange_out(sink->x);
  size_t before = out->len;
  open_block(sink, out, id, event->type);
  ae__answer_event(out, event);
  close_block(sink, out, before);
}

static void add_error(ae__sink *sink, ae_str type, const ae_error *err) {
  ae_buf *out = ae__exchange_out(sink->x);
  size_t before = out->len;
  open_block(sink, out, "", type);
  ae__answer_problem(out, err);
  close_block(sink, out, before);
}

void ae__sink_damage(ae__sink *sink, const ae_error *err) {
  add_error(sink, AE_STR("damaged"), err);
}

void ae__sink_dropped(ae__sink *sink, uint64_t count) {
  ae_buf *out = ae__exchange_out(sink->x);
  size_t before = out->len;
  open_block(sink, out, "", AE_STR("dropped"));
  ae_buf_printf(out, "{\"dropped\":%llu}\n", (unsigned long long)count);
  close_block(sink, out, before);
}

bool ae__sink_send(ae__sink *sink) {
  if (sink->held == 0) return sink->full;
  if (sink->heart) uv_timer_again(sink->heart);
  sink->held = 0;
  sink->full = ae__exchange_send(sink->x);
  return sink->full;
}

void ae__sink_drained(ae__sink *sink) {
  sink->full = false;
}

void ae__sink_end(ae__sink *sink) {
  stop_heart(sink);
  ae__exchange_send(sink->x);
  ae__exchange_end(sink->x);
}

void ae__sink_break(ae__sink *sink, const ae_error *err) {
  stop_heart(sink);
  add_error(sink, AE_STR("failed"), err);
  ae__exchange_send(sink->x);
  ae__exchange_abort(sink->x);
}

void ae__sink_close(ae__sink *sink) {
  stop_heart(sink);
}
