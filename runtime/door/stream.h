/* Commands in, outcomes out, in the order of the lines: a window slides over
 * the input.
 *
 *   line ─► slot (parsed, submitted) ─► done (outcome rendered) ─► out
 *           └──────────── tail … head: at most the window's slots ─┘
 *
 * 1. Outcomes come out in the order of the lines, from the head.
 * 2. At most `limit` slots are submitted and not done.
 * 3. What slots hold, and what those in flight will likely bring, stays within
 *    `held` bytes, or there is only one of them: a line that does not get done
 *    stops the reading, not the memory.
 * 4. What comes out was acknowledged by the store before. */
#ifndef AE_DOOR_STREAM_H
#define AE_DOOR_STREAM_H

#include "door/answer.h"

typedef struct ae__stream ae__stream;

/* What several streams have together. */
typedef struct ae__stream_budget {
  size_t limit;     /* commands in flight, of all of them */
  size_t held;      /* bytes */
  size_t in_flight; /* private, as the next: what is in use */
  size_t in_use;
} ae__stream_budget;

typedef struct ae__stream_options {
  ae_actors *actors;
  size_t limit; /* commands in flight */
  size_t held;  /* bytes */
  /* Outlives the stream; NULL: none. A stream that has nothing in flight takes
   * a line also where the others have used it up, so that all go on. */
  ae__stream_budget *budget;
  /* Whether a command may be submitted; else its outcome is the error. NULL:
   * all may. */
  ae_status (*check)(void *data, const ae_command *command, ae_error *err);
  /* Where the next outcome is to be appended. */
  ae_buf *(*out)(void *data);
  /* A command was answered: there may be more in `out`, and room again. Never
   * inside a function of this header. */
  void (*answered)(void *data);
  void *data;
} ae__stream_options;

typedef struct ae__stream_counts {
  uint64_t lines; /* taken */
  uint64_t out;   /* outcomes that came out */
  uint64_t by[4]; /* by ae__verdict */
  uint64_t events;
} ae__stream_counts;

ae__stream *ae__stream_new(const ae__stream_options *options);
/* Nothing is called back after it. What is in flight ends alone. NULL is
 * harmless. */
void ae__stream_free(ae__stream *stream);
/* Whether a line may be taken now. */
bool ae__stream_has_room(const ae__stream *stream);
/* Reads and submits one line; there must be room. `number`: of the line. What
 * is wrong with it is its outcome. */
void ae__stream_take(ae__stream *stream, uint64_t number, ae_str line);
/* A line whose outcome is `err`; there must be room. */
void ae__stream_refuse(ae__stream *stream, uint64_t number,
                       const ae_error *err);
/* Every line taken has come out. */
bool ae__stream_is_idle(const ae__stream *stream);
const ae__stream_counts *ae__stream_count(const ae__stream *stream);

#endif
