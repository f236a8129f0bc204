#include "door/stream.h"

#include "base/mem.h"
#include "door/ask.h"

#define SLOT_KEEP (2u << 10) /* bytes a slot keeps for its next line */
#define LIKELY_LEAST 256u
#define RING_LEAST 16u

typedef struct slot {
  ae_command command;
  ae_buf bytes; /* what command points at */
  ae_buf out;   /* its outcome's line, where it waits for others */
  size_t held;  /* bytes counted in stream->held */
  ae__asked asked;
  ae__stream *of;
  struct slot *next; /* among the free */
  bool done;
} slot;

struct ae__stream {
  ae__stream_options options;
  slot **ring;
  size_t size;   /* of the ring, a power of two; grows up to 4 * limit */
  slot *free;    /* slots for reuse */
  uint64_t head; /* the next line to come out */
  uint64_t tail; /* the next one taken */
  size_t in_flight;
  size_t held;
  size_t likely; /* bytes of an outcome: the greatest of late */
  ae__stream_counts counts;
  bool forgotten; /* freed with something in flight */
};

static slot *slot_at(const ae__stream *stream, uint64_t at) {
  return stream->ring[at & (stream->size - 1)];
}

static void hold(ae__stream *stream, slot *at, size_t bytes) {
  at->held += bytes;
  stream->held += bytes;
  if (stream->options.budget) stream->options.budget->in_use += bytes;
}

static void release(ae__stream *stream, slot *at) {
  stream->held -= at->held;
  if (stream->options.budget) stream->options.budget->in_use -= at->held;
  at->held = 0;
  if (at->bytes.cap > SLOT_KEEP) ae_buf_clear(&at->bytes);
  if (at->out.cap > SLOT_KEEP) ae_buf_clear(&at->out);
  ae_buf_reset(&at->out);
  at->done = false;
  at->next = stream->free;
  stream->free = at;
}

static void come_out(ae__stream *stream) {
  while (stream->head < stream->tail && slot_at(stream, stream->head)->done) {
    slot *at = slot_at(stream, stream->head++);
    if (at->out.len > 0)
      ae_buf_str(stream->options.out(stream->options.data),
                 ae_buf_view(&at->out));
    release(stream, at);
    stream->counts.out++;
  }
}

static void expect_like(ae__stream *stream, size_t len) {
  size_t likely = stream->likely - stream->likely / 64;
  if (likely < len) likely = len;
  stream->likely = likely < LIKELY_LEAST ? LIKELY_LEAST : likely;
}

/* Where the outcome goes: straight out for the head, else into the slot. */
static ae_buf *place_of(ae__stream *stream, slot *at) {
  return slot_at(stream, stream->head) == at
             ? stream->options.out(stream->options.data)
             : &at->out;
}

static void settle(ae__stream *stream, slot *at, ae__verdict verdict) {
  stream->counts.by[verdict]++;
  at->done = true;
  hold(stream, at, at->out.len);
  come_out(stream);
}

static void clear(ae__stream *stream) {
  while (stream->free) {
    slot *at = stream->free;
    stream->free = at->next;
    ae_buf_clear(&at->bytes);
    ae_buf_clear(&at->out);
    ae_free(at);
  }
  ae_free(stream->ring);
  ae_free(stream);
}

static void land(ae__stream *stream) {
  stream->in_flight--;
  if (stream->options.budget) stream->options.budget->in_flight--;
}

static void on_outcome(ae_command *command, ae_outcome *outcome) {
  slot *at = command->context;
  ae__stream *stream = at->of;
  land(stream);
  if (stream->forgotten) {
    release(stream, at);
    if (stream->in_flight == 0) clear(stream);
    return;
  }
  ae_buf *out = place_of(stream, at);
  size_t before = out->len;
  stream->counts.events += outcome->repeated ? 0 : outcome->event_count;
  ae__answer_outcome(out, &at->asked, outcome);
  expect_like(stream, out->len - before);
  settle(stream, at, ae__verdict_of(outcome->status));
  stream->options.answered(stream->options.data);
}

static void fail(ae__stream *stream, slot *at, const ae_error *err) {
  ae__answer_failed(place_of(stream, at), &at->asked, err);
  settle(stream, at, AE__FAILED);
}

static void grow(ae__stream *stream) {
  size_t size = stream->size ? 2 * stream->size : RING_LEAST;
  slot **ring = ae_alloc(size * sizeof *ring);
  for (uint64_t at = stream->head; at < stream->tail; at++)
    ring[at & (size - 1)] = slot_at(stream, at);
  ae_free(stream->ring);
  stream->ring = ring;
  stream->size = size;
}

static slot *take_slot(ae__stream *stream, uint64_t number) {
  AE_ASSERT(ae__stream_has_room(stream));
  slot *at = stream->free;
  if (at)
    stream->free = at->next;
  else
    at = ae_zalloc(sizeof *at);
  if (stream->tail - stream->head == stream->size) grow(stream);
  stream->ring[stream->tail++ & (stream->size - 1)] = at;
  at->of = stream;
  at->asked = (ae__asked){.line = number};
  stream->counts.lines++;
  return at;
}

void ae__stream_take(ae__stream *stream, uint64_t number, ae_str line) {
  ae_error err = {0};
  slot *at = take_slot(stream, number);
  ae_status status =
      ae__ask_read(line, &at->bytes, &at->command, &at->asked, &err);
  hold(stream, at, at->bytes.len);
  if (status == AE_OK && stream->options.check)
    status = stream->options.check(stream->options.data, &at->command, &err);
  if (status == AE_OK) {
    at->command.cb = on_outcome;
    at->command.context = at;
    stream->in_flight++;
    if (stream->options.budget) stream->options.budget->in_flight++;
    ae_actors_submit(stream->options.actors, &at->command);
  } else {
    fail(stream, at, &err);
  }
  ae_error_clear(&err);
}

void ae__stream_refuse(ae__stream *stream, uint64_t number,
                       const ae_error *err) {
  fail(stream, take_slot(stream, number), err);
}

bool ae__stream_has_room(const ae__stream *stream) {
  const ae__stream_options *options = &stream->options;
  const ae__stream_budget *budget = options->budget;
  if (stream->head == stream->tail) return true;
  if (stream->in_flight >= options->limit) return false;
  if (stream->tail - stream->head >= 4 * options->limit) return false;
  size_t coming = (stream->in_flight + 1) * stream->likely;
  if (stream->held + coming >= options->held) return false;
  if (!budget) return true;
  return budget->in_flight < budget->limit && budget->in_use < budget->held;
}

bool ae__stream_is_idle(const ae__stream *stream) {
  return stream->head == stream->tail;
}

const ae__stream_counts *ae__stream_count(const ae__stream *stream) {
  return &stream->counts;
}

ae__stream *ae__stream_new(const ae__stream_options *options) {
  ae__stream *stream = ae_zalloc(sizeof *stream);
  stream->options = *options;
  stream->likely = LIKELY_LEAST;
  return stream;
}

void ae__stream_free(ae__stream *stream) {
  if (!stream) return;
  for (; stream->head < stream->tail; stream->head++) {
    slot *at = slot_at(stream, stream->head);
    if (at->done) release(stream, at);
  }
  stream->forgotten = true;
  if (stream->in_flight == 0) clear(stream);
}
