/* A thread of one's own for blocking work (fsync, SQLite), fed in batches. */
#ifndef AE_LOOP_WORK_H
#define AE_LOOP_WORK_H

#include "loop/loop.h"

typedef struct ae_worker ae_worker;

/* Runs on the worker's thread with all tasks pushed so far, oldest first,
 * linked by `next`. A task's `run` is not called: the handler knows its kind.
 */
typedef void (*ae_worker_handler)(void *data, ae_task *batch);

/* `spin_us`: how long the thread looks for more work after a batch before it
 * sleeps (a wake-up of another core costs about 30 µs), where looking finds
 * some: in vain, it sleeps at once for a while. 0 is never. */
ae_status ae_worker_start(ae_worker **out, const char *name, unsigned spin_us,
                          ae_worker_handler handler, void *data, ae_error *err);
/* From the loop thread. */
void ae_worker_push(ae_worker *worker, ae_task *task);
/* Handles what was pushed before, then ends the thread and frees it. Blocks:
 * for closing only. */
void ae_worker_stop(ae_worker *worker);

#endif
