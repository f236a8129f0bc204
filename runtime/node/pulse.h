/* Whether the loop lives. A timer on the loop beats; a thread beside it looks
 * at the beats, and says so in the log when none came for too long, and when
 * they come again.
 *
 * A loop that stands still answers nobody: whoever asks for /healthz gets no
 * answer, and systemd's watchdog no ping. That is the sign; this one tells the
 * person who looks why the node was silent. */
#ifndef AE_NODE_PULSE_H
#define AE_NODE_PULSE_H

#include "loop/loop.h"

typedef struct ae_pulse ae_pulse;

typedef struct ae_pulse_options {
  unsigned every_ms;        /* between beats; 0: 1000 */
  unsigned silence_ms;      /* without a beat that is a standstill; 0: 5000 */
  void (*beat)(void *data); /* at each beat, on the loop thread; may be NULL */
  void *data;
} ae_pulse_options;

typedef struct ae_pulse_counts {
  uint64_t beats;
  uint64_t standstills; /* that are over */
  double late_ms;       /* the last beat came so much later than due */
  double longest_ms;    /* any did */
} ae_pulse_counts;

/* Does not keep the loop running. */
ae_status ae_pulse_start(ae_loop *loop, const ae_pulse_options *options,
                         ae_pulse **out, ae_error *err);
/* No beat after it; `cb` when it is gone, never before the return. */
void ae_pulse_stop(ae_pulse *pulse, void (*cb)(void *data), void *data);
/* From the loop thread. */
void ae_pulse_count(const ae_pulse *pulse, ae_pulse_counts *out);

#endif
