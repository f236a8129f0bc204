/* Durations counted in log-linear buckets: what a percentile says is at most
 * 1/64 above the true one. */
#ifndef AE_NODE_HISTOGRAM_H
#define AE_NODE_HISTOGRAM_H

#include <stdint.h>

#define AE__BUCKETS (64 * 59)

typedef struct ae__histogram {
  uint64_t counts[AE__BUCKETS];
  uint64_t total;
} ae__histogram;

void ae__histogram_add(ae__histogram *histogram, uint64_t value);
/* The least value that `part` (0..1) of all do not exceed; 0: none added. */
uint64_t ae__histogram_at(const ae__histogram *histogram, double part);

#endif
