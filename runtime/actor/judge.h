/* History as judge of new code: actors that were used of late are replayed
 * through it, on another thread, and what comes out is compared with what they
 * are under the code that runs. Nothing of it is seen by commands. */
#ifndef AE_ACTOR_JUDGE_H
#define AE_ACTOR_JUDGE_H

#include "actor/actor.h"
#include "loop/work.h"

typedef struct ae_judge ae_judge;

/* What is wrong with one actor. Lives until the callback returns. */
typedef struct ae_judged {
  ae_ref ref;
  uint64_t version;
  const ae_module *module; /* the new one */
  const ae_error *err;     /* the new code fails; NULL: the states differ */
  ae_str before;           /* msgpack: under the code that runs */
  ae_str after;            /* under the new one */
} ae_judged;

/* The caller's memory, zeroed before use, kept with all it points at until
 * `done`. */
struct ae_judge {
  ae_realm *realm;
  ae_script *script; /* the new code; nobody else uses it meanwhile */
  ae_worker *worker; /* whose handler calls run of each task */
  uint32_t most;     /* actors, those used of late first; 0: none */
  void (*found)(ae_judge *judge, const ae_judged *judged);
  /* Once, never before ae_judge_start returned. AE_OK also where something was
   * found. AE_CANCELED after ae_judge_stop. */
  void (*done)(ae_judge *judge, ae_status status, const ae_error *err);
  void *data;
  uint32_t actors;  /* replayed so far */
  uint32_t skipped; /* of these not compared: the code that runs has no state of
                       them either */
  uint64_t events;
  void *impl; /* private */
};

void ae_judge_start(ae_judge *judge);
void ae_judge_stop(ae_judge *judge); /* after `done` it is harmless */

#endif
