/* GET /metrics: what is counted, for Prometheus. */
#ifndef AE_DOOR_HTTP_METRICS_H
#define AE_DOOR_HTTP_METRICS_H

#include "door/http/auth.h"

/* Answers `x` with the series of the namespaces that its grant sees; those of
 * the whole process only where it sees all. The store is asked first. */
void ae__metrics_start(ae__exchange *x);
void ae__metrics_gone(ae__exchange *x);

#endif
