/* How outcomes, states, events and errors are written: JSON, one document a
 * line, the same at every door (API.md). */
#ifndef AE_DOOR_ANSWER_H
#define AE_DOOR_ANSWER_H

#include "actor/actor.h"

/* What an outcome counts as. */
typedef enum ae__verdict {
  AE__ACCEPTED,
  AE__REJECTED,
  AE__CONFLICT, /* a version conflict, or a command id used again */
  AE__FAILED,
} ae__verdict;
ae__verdict ae__verdict_of(ae_status status);
const char *ae__verdict_word(ae__verdict verdict);

/* What a command line said, as far as it was understood; ptr NULL: nothing. */
typedef struct ae__asked {
  uint64_t line; /* 0: it was none */
  ae_str actor;
  ae_str command;
  ae_str id;
} ae__asked;

/* An outcome's line, with its newline. */
void ae__answer_outcome(ae_buf *out, const ae__asked *asked,
                        ae_outcome *outcome);
/* A command that never came to the actors: failed. */
void ae__answer_failed(ae_buf *out, const ae__asked *asked,
                       const ae_error *err);
/* {"actor":…,"version":…,"state":…} with its newline; over several lines with
 * `pretty`. */
void ae__answer_state(ae_buf *out, const ae_ref *ref, uint64_t version,
                      ae_str state, bool pretty);
void ae__answer_event(ae_buf *out, const ae_event *event);
/* The same for people: a line with version, time, type and data. */
void ae__answer_event_text(ae_buf *out, const ae_event *event, bool actor,
                           const char *strong, const char *dim,
                           const char *plain);
/* {"error":{"code":…,"message":…,…}} with its newline. */
void ae__answer_problem(ae_buf *out, const ae_error *err);
/* "2026-11-23T12:00:00.123456Z". */
void ae__answer_time(ae_buf *out, int64_t time);

#endif
