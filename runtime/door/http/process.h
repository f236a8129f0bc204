/* The series that every Prometheus client library gives of its process. */
#ifndef AE_DOOR_HTTP_PROCESS_H
#define AE_DOOR_HTTP_PROCESS_H

#include <stdint.h>

#include "door/http/exposition.h"

/* `started`: µs since 1970. What the system does not tell is left out. */
void ae__process_write(ae__exposition *e, int64_t started);

#endif
