#include "node/histogram.h"

/* Below 64 each value has its own bucket; above, 64 to each doubling. */
static unsigned bucket_of(uint64_t value) {
  if (value < 64) return (unsigned)value;
  unsigned shift = 57 - (unsigned)__builtin_clzll(value);
  return 64 * (shift + 1) + (unsigned)((value >> shift) & 63);
}

static uint64_t most_in(unsigned bucket) {
  if (bucket < 64) return bucket;
  unsigned shift = bucket / 64 - 1;
  uint64_t least = (uint64_t)(64 + bucket % 64) << shift;
  return least + ((UINT64_C(1) << shift) - 1);
}

void ae__histogram_add(ae__histogram *histogram, uint64_t value) {
  histogram->counts[bucket_of(value)]++;
  histogram->total++;
}

uint64_t ae__histogram_at(const ae__histogram *histogram, double part) {
  if (histogram->total == 0) return 0;
  double exact = part * (double)histogram->total;
  uint64_t wanted = (uint64_t)exact;
  if ((double)wanted < exact || wanted == 0) wanted++;
  uint64_t seen = 0;
  for (unsigned i = 0; i < AE__BUCKETS; i++) {
    seen += histogram->counts[i];
    if (seen >= wanted) return most_in(i);
  }
  return most_in(AE__BUCKETS - 1);
}
