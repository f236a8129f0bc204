/* `aether bench http`: a node behind its HTTP door, and a client in the same
 * process on a thread of its own. */
#ifndef AE_DOOR_BENCH_HTTP_H
#define AE_DOOR_BENCH_HTTP_H

#include "node/bench.h"

/* As those of bench.h. */
ae_status ae__bench_http(const ae_bench_options *options,
                         ae_bench_report report, void *data, ae_error *err);

#endif
