/* Prometheus' text format, 0.0.4: families of samples with their labels. */
#ifndef AE_DOOR_HTTP_EXPOSITION_H
#define AE_DOOR_HTTP_EXPOSITION_H

#include "base/buf.h"

#define AE__EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef struct ae__exposition {
  ae_buf *out;
  const char *family; /* the one that was begun */
  unsigned labels;    /* of the sample under way */
} ae__exposition;

/* `type`: "counter", "gauge", "histogram". All samples of a family follow. */
void ae__family(ae__exposition *e, const char *name, const char *type,
                const char *help);
/* A sample: begun, its labels, its value. `suffix`: "_bucket", or "". */
void ae__sample(ae__exposition *e, const char *suffix);
void ae__label(ae__exposition *e, const char *name, ae_str value);
void ae__value(ae__exposition *e, uint64_t value);
void ae__value_double(ae__exposition *e, double value);
/* In seconds, to the last digit. */
void ae__value_ns(ae__exposition *e, uint64_t ns);

#endif
